#include <stdio.h>
#include <stdlib.h>

#include "base/metric.h"
#include "meta/sqlite/sql_priv.h"
#include "os/kill.h"

TR_COUNTER(commits, "tailrace_meta_commits_total",
           "Transactions written to the metadata database.");

enum tr_rc sql_fail(struct meta *m, int code, struct tr_err *err)
{
    int primary = code & 0xff;

    if (primary == SQLITE_NOMEM)
        return tr_fail_oom(err);
    if (primary == SQLITE_FULL)
        return tr_fail(err, TR_INTERNAL, "os.no_space",
                       "free space on the disk that holds the data folder",
                       "metadata database: the disk is full");
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED)
        return tr_fail(err, TR_TRANSIENT, "meta.busy",
                       "does another program have meta.db open for writing?",
                       "metadata database: locked by somebody else");
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
        return tr_fail(err, TR_REFUSED, "meta.damaged", "restore meta.db from a backup",
                       "metadata database: %s", sqlite3_errmsg(m->db));
    return tr_fail(err, TR_INTERNAL, "meta.sqlite", NULL, "metadata database: %s (%d)",
                   sqlite3_errmsg(m->db), code);
}

/* ---- statements ---- */

struct sql sql_open_once(struct meta *m, const char *text)
{
    struct sql q = { .m = m };

    q.code = sqlite3_prepare_v2(m->db, text, -1, &q.stmt, NULL);
    return q;
}

struct sql sql_open(struct meta *m, const char *text)
{
    struct sql_kept *slot = NULL;

    for (size_t i = 0; i < SQL_KEPT; i++) {
        struct sql_kept *k = &m->kept[(((uintptr_t)text >> 3) + i) % SQL_KEPT];
        if (k->text == text) {
            if (k->in_use)
                return sql_open_once(m, text); /* nested use of one statement */
            k->in_use = true;
            return (struct sql){ .m = m, .stmt = k->stmt, .kept = k };
        }
        if (k->text == NULL) {
            slot = k;
            break;
        }
    }
    if (slot == NULL)
        return sql_open_once(m, text);

    struct sql q = { .m = m };
    q.code = sqlite3_prepare_v3(m->db, text, -1, SQLITE_PREPARE_PERSISTENT, &q.stmt, NULL);
    if (q.code == SQLITE_OK) {
        *slot = (struct sql_kept){ .text = text, .stmt = q.stmt, .in_use = true };
        q.kept = slot;
    }
    return q;
}

void sql_close(struct sql *q)
{
    if (q->kept == NULL) {
        (void)sqlite3_finalize(q->stmt);
    } else {
        (void)sqlite3_reset(q->stmt);
        (void)sqlite3_clear_bindings(q->stmt);
        q->kept->in_use = false;
    }
    q->stmt = NULL;
    q->kept = NULL;
}

static void bound(struct sql *q, int code)
{
    if (q->code == SQLITE_OK)
        q->code = code;
}

void sql_int(struct sql *q, int64_t v)
{
    if (q->code == SQLITE_OK)
        bound(q, sqlite3_bind_int64(q->stmt, ++q->bound, v));
}

void sql_str(struct sql *q, struct tr_str s)
{
    if (q->code == SQLITE_OK)
        bound(q, sqlite3_bind_text64(q->stmt, ++q->bound, s.p == NULL ? "" : s.p, s.n,
                                     SQLITE_TRANSIENT, SQLITE_UTF8));
}

void sql_text(struct sql *q, const char *z)
{
    sql_str(q, tr_str_of(z));
}

void sql_blob(struct sql *q, const void *p, size_t n)
{
    if (q->code == SQLITE_OK)
        bound(q, sqlite3_bind_blob64(q->stmt, ++q->bound, p == NULL ? "" : p, n, SQLITE_TRANSIENT));
}

void sql_id(struct sql *q, const struct tr_uuid *id)
{
    sql_blob(q, id->b, sizeof(id->b));
}

void sql_id_or_null(struct sql *q, const struct tr_uuid *id)
{
    if (!id_is_nil(id))
        sql_id(q, id);
    else if (q->code == SQLITE_OK)
        bound(q, sqlite3_bind_null(q->stmt, ++q->bound));
}

void sql_account(struct sql *q, const struct tr_account *a)
{
    const uint64_t numbers[] = { a->stored,   a->elsewhere, a->selected,
                                 a->excluded, a->delivered, a->already_there,
                                 a->rejected, a->repaired,  a->bytes };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sql_int(q, (int64_t)numbers[i]);
}

enum tr_rc sql_next(struct sql *q, bool *ret_row, struct tr_err *err)
{
    int code = q->code == SQLITE_OK ? sqlite3_step(q->stmt) : q->code;

    q->read = 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return sql_fail(q->m, code, err);
    *ret_row = code == SQLITE_ROW;
    return TR_OK;
}

enum tr_rc sql_run(struct sql *q, struct tr_err *err)
{
    bool row = false;

    return sql_next(q, &row, err);
}

enum tr_rc sql_exec(struct meta *m, const char *text, struct tr_err *err)
{
    int code = sqlite3_exec(m->db, text, NULL, NULL, NULL);

    return code == SQLITE_OK ? TR_OK : sql_fail(m, code, err);
}

int64_t sql_get_int(struct sql *q)
{
    return sqlite3_column_int64(q->stmt, q->read++);
}

struct tr_str sql_get_str(struct sql *q)
{
    int at = q->read++;
    const void *p = sqlite3_column_blob(q->stmt, at);

    return (struct tr_str){ p, (size_t)sqlite3_column_bytes(q->stmt, at) };
}

void sql_get_text(struct sql *q, char *out, size_t cap)
{
    struct tr_str s = sql_get_str(q);
    size_t n = s.n < cap ? s.n : cap - 1;

    if (n > 0)
        memcpy(out, s.p, n);
    out[n] = '\0';
}

void sql_get_id(struct sql *q, struct tr_uuid *ret)
{
    struct tr_str s = sql_get_str(q);

    memset(ret, 0, sizeof(*ret));
    if (s.n == sizeof(ret->b))
        memcpy(ret->b, s.p, s.n);
}

void sql_get_account(struct sql *q, struct tr_account *ret)
{
    uint64_t *const numbers[] = { &ret->stored,   &ret->elsewhere, &ret->selected,
                                  &ret->excluded, &ret->delivered, &ret->already_there,
                                  &ret->rejected, &ret->repaired,  &ret->bytes };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        *numbers[i] = (uint64_t)sql_get_int(q);
}

/* ---- transactions ---- */

static enum tr_rc begin(struct tx *tx, struct tr_meta *m, const char *text, struct tr_err *err)
{
    tx->m = meta_of(m);
    (void)pthread_mutex_lock(&tx->m->lock);
    TR_CLEANUP(sql_close) struct sql q = sql_open(tx->m, text);
    enum tr_rc rc = sql_run(&q, err);
    tx->is_open = rc == TR_OK;
    return rc;
}

enum tr_rc tx_read(struct tx *tx, struct tr_meta *m, struct tr_err *err)
{
    return begin(tx, m, "BEGIN", err);
}

enum tr_rc tx_write(struct tx *tx, struct tr_meta *m, struct tr_err *err)
{
    tx->writes = true;
    return begin(tx, m, "BEGIN IMMEDIATE", err);
}

enum tr_rc tx_commit(struct tx *tx, enum tr_rc rc, struct tr_err *err)
{
    if (rc != TR_OK)
        return rc;
    if (tx->writes)
        TR_KILL_POINT("meta.commit");

    TR_CLEANUP(sql_close) struct sql q = sql_open(tx->m, "COMMIT");
    rc = sql_run(&q, err);
    if (rc != TR_OK)
        return rc;
    tx->is_open = false;
    if (tx->writes) {
        tr_count(&commits, 1);
        TR_KILL_POINT("meta.committed");
    }
    return TR_OK;
}

void tx_end(struct tx *tx)
{
    if (tx->m == NULL)
        return;
    /* SQLite rolls back by itself after some errors; then there is nothing left to do. */
    if (tx->is_open && sqlite3_get_autocommit(tx->m->db) == 0)
        (void)sqlite3_exec(tx->m->db, "ROLLBACK", NULL, NULL, NULL);
    (void)pthread_mutex_unlock(&tx->m->lock);
}

/* ---- lists ---- */

void *rows_add(struct rows *r)
{
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 16 : r->cap * 2;
        char *p = reallocarray(r->p, cap, r->size);
        if (p == NULL)
            return NULL;
        r->p = p;
        r->cap = cap;
    }
    return memset(r->p + r->n++ * r->size, 0, r->size);
}

void rows_fini(struct rows *r)
{
    free(r->p);
    r->p = NULL;
    r->n = r->cap = 0;
}
