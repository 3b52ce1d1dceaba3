/* Rows as tuples of PostgreSQL's binary COPY format (documentation, COPY, "Binary Format").
 *
 * Pure. The caller says which column of the model goes into which type there; it owns the buffer
 * and sends it when it likes: the format has no length in front. Not an encoder of encode.h: what a
 * tuple looks like depends on the types of one table, and the caller must know which rows are in
 * which COPY.
 *
 * Values that the server would refuse are changed (repaired) or their row is rejected, by the rules
 * of docs/destinations/postgres.md. Rows whose flags say that nothing odd is in them are not
 * scanned.
 */
#ifndef TR_ENCODE_PGCOPY_H
#define TR_ENCODE_PGCOPY_H

#include "base/buf.h"
#include "model/batch.h"

/* How a value is written; the model's type in brackets. */
enum tr_pgcopy_form {
    TR_PGCOPY_TEXT,      /* text, varchar, char (all types) */
    TR_PGCOPY_JSONB,     /* jsonb (JSON, TEXTS) */
    TR_PGCOPY_JSON,      /* json (JSON, TEXTS) */
    TR_PGCOPY_UUID,      /* uuid (UUID) */
    TR_PGCOPY_INT2,      /* int2 (INT64) */
    TR_PGCOPY_INT4,      /* int4 (INT64) */
    TR_PGCOPY_INT8,      /* int8 (INT64) */
    TR_PGCOPY_NUMERIC,   /* numeric (INT64) */
    TR_PGCOPY_TIMESTAMP, /* timestamptz; timestamp: the UTC clock (TIME) */
    TR_PGCOPY_BOOL,      /* boolean (BOOL) */
    TR_PGCOPY_FLOAT8,    /* double precision (FLOAT) */
    TR_PGCOPY_FLOAT4,    /* real (FLOAT) */
    TR_PGCOPY_TEXTS,     /* text[] (TEXTS) */
    TR_PGCOPY_VARCHARS,  /* varchar[] (TEXTS) */
};

struct tr_pgcopy_column {
    int column; /* the schema's column index */
    enum tr_pgcopy_form form;
    uint32_t max_chars; /* TEXT: of varchar(n) or char(n); 0: no limit */
    bool whole;         /* TEXT: a key; changed, several would become one: its row is rejected */
};

struct tr_pgcopy {
    const struct tr_schema *schema;
    size_t n;
    struct tr_pgcopy_column col[TR_BATCH_COLUMNS];
};

enum tr_pgcopy_row {
    TR_PGCOPY_WROTE,
    TR_PGCOPY_REPAIRED, /* written after a change */
    TR_PGCOPY_REJECTED, /* nothing written, reason says why */
    TR_PGCOPY_FULL,     /* nothing written: out failed */
};

enum {
    TR_PGCOPY_REASON = 160,
    TR_PGCOPY_MAX_VALUE = 268435455, /* bytes of one value: what jsonb can hold in one container */
};

/* What comes before the first tuple and after the last. */
void tr_pgcopy_head(struct tr_buf *out);
void tr_pgcopy_tail(struct tr_buf *out);

/* Appends one row. Every column of c must be present in b. */
enum tr_pgcopy_row tr_pgcopy_row(const struct tr_pgcopy *c, const struct tr_batch *b, size_t row,
                                 struct tr_buf *out, char reason[TR_PGCOPY_REASON]);

#endif
