#include <stdlib.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"

/* "COPY events, line 17, column event: .."; the table's name may itself hold ", line ". */
static uint64_t line_of(const char *at, const char *end)
{
    while ((at = memmem(at, (size_t)(end - at), ", line ", 7)) != NULL) {
        uint64_t line = 0;

        at += 7;
        while (at < end && *at >= '0' && *at <= '9' && line < UINT32_MAX)
            line = line * 10 + (uint64_t)(*at++ - '0');
        if (line > 0 && (at == end || *at == ',' || *at == ':'))
            return line;
    }
    return 0;
}

uint64_t pg_careful_line(const char *context)
{
    /* what a trigger was doing comes first, the COPY that fired it in a line of its own */
    while (context != NULL) {
        const char *end = strchrnul(context, '\n');
        if (strncmp(context, "COPY ", 5) == 0)
            return line_of(context, end);
        context = *end == '\0' ? NULL : end + 1;
    }
    return 0;
}

/* One COPY of its own over some rows. A row's error leaves the transaction as it was before. */
struct attempt {
    size_t tried;  /* rows that went into the COPY */
    uint64_t line; /* which of them the server named, from 1; 0: none */
    bool bad;      /* the server refused a row */
    char message[256];
};

static enum tr_rc savepoint(const struct tr_ctx *cx, struct pg_load *l, const char *sql,
                            struct tr_err *err)
{
    return pg_run(cx, l->d, sql, 0, NULL, NULL, NULL, err);
}

static enum tr_rc try_rows(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                           const size_t *rows, size_t n, struct attempt *ret, struct tr_err *err)
{
    struct tr_receipt before = l->receipt;
    struct pg_class class = { .rc = TR_INTERNAL };
    struct tr_err why = { 0 };

    *ret = (struct attempt){ .tried = n };
    enum tr_rc rc = savepoint(cx, l, "SAVEPOINT tr_rows", err);
    if (rc == TR_OK && l->staged)
        rc = savepoint(cx, l, "DELETE FROM " PG_STAGE, err);
    if (rc == TR_OK)
        rc = pg_copy_start(cx, l->d, err);
    if (rc != TR_OK)
        return rc;
    l->copied = 0;
    rc = pg_copy_rows(cx, l, b, rows, n, err);
    if (rc != TR_OK)
        return rc;
    rc = pg_copy_end(cx, l, &class, &ret->line, &why);
    if (rc == TR_OK && l->staged)
        rc = pg_upsert_run(cx, l, &class, &why);
    if (rc == TR_OK) {
        l->receipt.delivered += l->copied;
        return savepoint(cx, l, "RELEASE SAVEPOINT tr_rows", err);
    }
    if (class.about != PG_ROWS || l->d->conn == NULL) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    l->receipt = before;
    ret->bad = true;
    memcpy(ret->message, why.cause, sizeof(ret->message));
    return savepoint(cx, l, "ROLLBACK TO SAVEPOINT tr_rows", err);
}

/* Every row gets its own verdict: a row is rejected only after it was refused alone, with all good
 * rows before it in place. The line that the server names says where to split; without it, in half.
 */
static enum tr_rc split(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                        const size_t *rows, size_t n, struct tr_err *err)
{
    struct attempt a;

    while (n > 0) {
        enum tr_rc rc = try_rows(cx, l, b, rows, n, &a, err);
        if (rc != TR_OK || !a.bad)
            return rc;
        if (n == 1) {
            pg_reject(l, b, rows[0], a.message);
            return TR_OK;
        }
        size_t first = n / 2;
        if (a.line > 0 && a.line <= n)
            first = a.line == 1 ? 1 : (size_t)a.line - 1;
        rc = split(cx, l, b, rows, first, err);
        if (rc != TR_OK)
            return rc;
        rows += first;
        n -= first;
        if (a.line > 1 && a.line <= first + n) { /* the named row stands first now */
            rc = split(cx, l, b, rows, 1, err);
            if (rc != TR_OK)
                return rc;
            rows++;
            n--;
        }
    }
    return TR_OK;
}

enum tr_rc pg_careful_rows(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                           struct tr_err *err)
{
    char reason[TR_PGCOPY_REASON];
    size_t n = 0;
    enum tr_rc rc = TR_OK;
    size_t *rows = malloc(b->rows * sizeof(*rows));

    if (rows == NULL)
        return tr_fail_oom(err);
    /* Rows that we refuse ourselves are told once; the rest are the lines of the COPY, in order. */
    for (size_t i = 0; i < b->rows && rc == TR_OK; i++) {
        tr_buf_clear(&l->d->out);
        enum tr_pgcopy_row wrote = tr_pgcopy_row(&l->d->fit.copy, b, i, &l->d->out, reason);
        if (wrote == TR_PGCOPY_FULL)
            rc = tr_fail_oom(err);
        else if (wrote == TR_PGCOPY_REJECTED)
            pg_reject(l, b, i, reason);
        else
            rows[n++] = i;
    }
    if (rc == TR_OK)
        rc = split(cx, l, b, rows, n, err);
    free(rows);
    return rc;
}
