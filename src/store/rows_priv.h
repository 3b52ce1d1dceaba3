/* What readers of the mutable models share. */
#ifndef TR_STORE_ROWS_PRIV_H
#define TR_STORE_ROWS_PRIV_H

#include "base/arena.h"
#include "store/store_priv.h"

enum { ROWS_BYTES = 8 << 20 /* texts of a batch, about */ };

struct tr_store_rows {
    const struct rows_model *model;
    sqlite3 *db;
    sqlite3_stmt *q[4];
    int32_t project;
    struct tr_range range;
    tr_column_mask columns;
    struct tr_batch batch;
    void *arrays;
    struct tr_arena texts;
    size_t texts_bytes;
    struct tr_group_types types;
    struct tr_arena names;

    /* Where the next batch begins. */
    int stage;
    int64_t changed, row;
    struct tr_buf last; /* the last distinct id of that place */
    bool inside;        /* behind last, within the same person */
    bool done;
};

struct rows_model {
    const char *const *sql; /* up to four statements, NULL ends */
    /* Fills the batch from where the last one ended; sets done. */
    TR_MUST_USE enum tr_rc (*fill)(struct tr_store_rows *, struct tr_err *);
    /* Instants of change in [?2, ?3) of project ?1 in order, each with its number of rows. */
    const char *plan;
    /* Rows in [?2, ?3) that plan does not count; or NULL. */
    const char *plan_more;
    /* The first and the last instant of change in [?2, ?3) of project ?1. */
    const char *extent;
};

extern const struct rows_model rows_persons, rows_groups, rows_sessions;

static inline bool rows_full(const struct tr_store_rows *r)
{
    return r->batch.rows == TR_BATCH_ROWS || r->texts_bytes >= ROWS_BYTES;
}

/* A text of the statement at hand that lives as long as the batch; p == NULL without memory. */
struct tr_str rows_text(struct tr_store_rows *r, sqlite3_stmt *q, int i);

#endif
