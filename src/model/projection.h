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
};

/* A row that cannot be taken: kept with its reason. The callee copies. Rejects of a load that is
 * not committed are void. */
struct tr_reject_sink {
    void (*reject)(struct tr_reject_sink *, const struct tr_uuid *uuid, int64_t inserted_at,
                   const char *reason);
};

#endif
