/* Rows on their way from a source to an encoder: column-wise views, nothing copied.
 *
 * The reader that made a batch owns it; it and all it points to stay valid until the next call on
 * that reader. A column that nobody asked for has a NULL array.
 */
#ifndef TR_MODEL_BATCH_H
#define TR_MODEL_BATCH_H

#include "base/uuid.h"
#include "model/column.h"

enum { TR_BATCH_ROWS = 4096, TR_BATCH_COLUMNS = 64 };

/* NULL of a TIME or INT64 column. */
#define TR_NULL_INT INT64_MIN

union tr_vector {
    struct tr_str *str;   /* TEXT, JSON, TEXTS; p == NULL is SQL NULL */
    struct tr_uuid *uuid; /* nil is NULL */
    int64_t *i64;         /* INT64, TIME */
    uint8_t *u8;          /* BOOL; 0xFF is NULL */
    double *f64;          /* FLOAT; not a number is NULL */
};

struct tr_batch {
    const struct tr_schema *schema;
    size_t rows;
    union tr_vector col[TR_BATCH_COLUMNS]; /* by the schema's column index; rows long */
    uint32_t *flags;                       /* TR_EVENT_*, per row */
    int64_t *inserted_at;                  /* per row, whether or not the column was asked for */
};

/* Column mask: bit i set = column i of the schema is wanted. */
typedef uint64_t tr_column_mask;

/* Bytes of one value in a column's array. */
size_t tr_type_width(enum tr_type type);

/* The schema's key and version columns. */
tr_column_mask tr_schema_identity(const struct tr_schema *s);

/* Arrays for TR_BATCH_ROWS rows of these columns, in one piece of memory that the caller frees;
 * NULL without memory. */
void *tr_batch_arrays(struct tr_batch *b, const struct tr_schema *schema, tr_column_mask columns);

/* Keeps the rows whose keep[i] is set, in order; every present column is compacted in place. */
void tr_batch_keep(struct tr_batch *b, const bool *keep);

#endif
