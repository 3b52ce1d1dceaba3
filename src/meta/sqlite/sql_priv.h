/* A thin skin over SQLite: statements that are prepared once and kept, binding and reading in
 * order, transactions that end by themselves, errors as struct tr_err.
 *
 *     TR_CLEANUP(sql_close) struct sql q = sql_open(m, "SELECT name FROM project WHERE id = ?");
 *     sql_int(&q, id);
 *     rc = sql_next(&q, &there, err);
 *     ... sql_get_text(&q, ret->name, sizeof(ret->name));
 *
 * A failure to prepare or bind is remembered and told by the step that follows.
 */
#ifndef TR_META_SQLITE_SQL_PRIV_H
#define TR_META_SQLITE_SQL_PRIV_H

#include <pthread.h>
#include <sqlite3.h>

#include "meta/meta.h"

enum { SQL_KEPT = 128 };

struct sql_kept {
    const char *text; /* the literal itself: the address is the key */
    sqlite3_stmt *stmt;
    bool in_use;
};

struct meta {
    struct tr_meta base;
    sqlite3 *db;
    pthread_mutex_t
        lock; /* held from tx_begin to tx_end: one connection, one transaction at a time */
    struct sql_kept kept[SQL_KEPT];
};

static inline struct meta *meta_of(struct tr_meta *m)
{
    return (struct meta *)(void *)m; /* base is the first member */
}

/* ---- statements ---- */

struct sql {
    struct meta *m;
    sqlite3_stmt *stmt;
    struct sql_kept *kept; /* NULL: prepared for this use only */
    int bound, read;
    int code; /* SQLITE_OK, or what went wrong before the first step */
};

/* text must live as long as the program (a literal). */
struct sql sql_open(struct meta *m, const char *text);
/* The same for text that is made at run time; prepared for this use only. */
struct sql sql_open_once(struct meta *m, const char *text);
void sql_close(struct sql *q);

void sql_int(struct sql *q, int64_t v);
void sql_text(struct sql *q, const char *z);
void sql_str(struct sql *q, struct tr_str s);
void sql_blob(struct sql *q, const void *p, size_t n);
void sql_id(struct sql *q, const struct tr_uuid *id);
void sql_id_or_null(struct sql *q, const struct tr_uuid *id); /* nil becomes NULL */
void sql_account(struct sql *q, const struct tr_account *a);  /* nine numbers */

TR_MUST_USE enum tr_rc sql_next(struct sql *q, bool *ret_row, struct tr_err *err);
/* A statement that gives no rows. */
TR_MUST_USE enum tr_rc sql_run(struct sql *q, struct tr_err *err);
/* A statement without parameters that gives no rows. */
TR_MUST_USE enum tr_rc sql_exec(struct meta *m, const char *text, struct tr_err *err);

int64_t sql_get_int(struct sql *q);
struct tr_str sql_get_str(struct sql *q); /* text or blob; valid until the next step */
void sql_get_text(struct sql *q, char *out, size_t cap);
void sql_get_id(struct sql *q, struct tr_uuid *ret); /* NULL becomes nil */
void sql_get_account(struct sql *q, struct tr_account *ret);

enum tr_rc sql_fail(struct meta *m, int code, struct tr_err *err);

static inline bool id_is_nil(const struct tr_uuid *id)
{
    static const struct tr_uuid nil;
    return memcmp(id, &nil, sizeof(nil)) == 0;
}

/* ---- transactions ---- */

struct tx {
    struct meta *m;
    bool is_open;
    bool writes;
};

TR_MUST_USE enum tr_rc tx_read(struct tx *tx, struct tr_meta *m, struct tr_err *err);
TR_MUST_USE enum tr_rc tx_write(struct tx *tx, struct tr_meta *m, struct tr_err *err);
/* rc as it is so far: commits when it is TR_OK. */
TR_MUST_USE enum tr_rc tx_commit(struct tx *tx, enum tr_rc rc, struct tr_err *err);
/* Rolls back what is not committed, lets others in. */
void tx_end(struct tx *tx);

/* ---- lists ---- */

/* A list verb collects its rows inside the transaction and hands them out after it, so that a
 * callback may call any verb. */
struct rows {
    char *p;
    size_t n, cap, size; /* size: bytes of one row */
};

/* Room for one more row, zeroed; NULL when memory ran out. */
void *rows_add(struct rows *r);
void rows_fini(struct rows *r);

#endif
