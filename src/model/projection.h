/* Which columns go where, and what becomes of rows that cannot go. */
#ifndef TR_MODEL_PROJECTION_H
#define TR_MODEL_PROJECTION_H

#include "model/batch.h"

/* n pairs of (the schema's column index, the name at the destination). */
struct tr_projection {
    const struct tr_schema *schema;
    size_t n;
    int column[TR_BATCH_COLUMNS];
    const char *name[TR_BATCH_COLUMNS];
    /* Nobody asked for it: filled when the place has such a column of a type that takes it, never
     * made, not missed. */
    bool optional[TR_BATCH_COLUMNS];
};

/* Leaves only the columns that were asked for. */
void tr_projection_drop_optional(struct tr_projection *p);

tr_column_mask tr_projection_mask(const struct tr_projection *p);

/* The columns a destination takes when an export names none, in order; ends with name == NULL. as:
 * the name at the destination, NULL for the column's own. */
struct tr_default_column {
    const char *name, *as;
};

/* What most places take of these models. */
extern const struct tr_default_column tr_default_persons[], tr_default_sessions[],
    tr_default_groups[];

/* A row that cannot be taken: kept with its reason. The callee copies. Rejects of a load that is
 * not committed are void. The batch has the schema's key columns and inserted_at. */
struct tr_reject_sink {
    void (*reject)(struct tr_reject_sink *, const struct tr_batch *, size_t row,
                   const char *reason);
};

#endif
