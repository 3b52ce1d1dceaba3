#include <stdlib.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"
#include "os/clock.h"

enum { SQL_BYTES = 65536 };
enum { WINDOW_FIRST = 1 << 20, WINDOW_MAX = 16 << 20 }; /* bytes of tuples that are tried at once */

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
    size_t sent; /* rows that went into the COPY: fewer when the server spoke before all were out */
    uint64_t line; /* which of them the server named, from 1; 0: none */
    bool bad;      /* the server refused a row */
    char message[256];
};

/* What is left of the attempt before goes with the next statement: a round trip less.
 * Subtransactions that were rolled back are released too, or each would hold locks until the end.
 */
static const char *leave_sql(enum pg_careful_open open)
{
    switch (open) {
    case PG_CAREFUL_NONE:
        break;
    case PG_CAREFUL_GOOD:
        return "RELEASE SAVEPOINT tr_rows;";
    case PG_CAREFUL_BAD:
        return "ROLLBACK TO SAVEPOINT tr_rows; RELEASE SAVEPOINT tr_rows;";
    }
    return "";
}

/* Outside of the savepoint the stage is emptied where it lies: nothing of it gathers. */
static enum tr_rc open_attempt(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    struct tr_buf sql;

    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_z(&sql, leave_sql(l->careful.open));
    if (l->staged)
        tr_buf_z(&sql, "TRUNCATE " PG_STAGE ";");
    tr_buf_z(&sql, "SAVEPOINT tr_rows;");
    tr_buf_z(&sql, l->d->copy_sql);
    tr_buf_ch(&sql, '\0');
    enum tr_rc rc = sql.failed ? tr_fail_oom(err) : pg_copy_start(cx, l->d, sql.p, err);
    tr_buf_fini(&sql);
    if (rc == TR_OK)
        l->careful.open = PG_CAREFUL_NONE;
    return rc;
}

static enum tr_rc try_rows(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                           const size_t *rows, size_t n, struct attempt *ret, struct tr_err *err)
{
    struct tr_receipt before = l->receipt;
    struct pg_class class = { .rc = TR_INTERNAL };
    struct tr_err why = { 0 };

    *ret = (struct attempt){ .sent = n };
    enum tr_rc rc = open_attempt(cx, l, err);
    if (rc != TR_OK)
        return rc;
    l->copied = 0;
    rc = pg_copy_rows(cx, l, b, rows, n, &ret->sent, err);
    if (rc != TR_OK)
        return rc;
    rc = pg_copy_end(cx, l, &class, &ret->line, &why);
    if (rc == TR_OK && l->staged)
        rc = pg_upsert_run(cx, l, &class, &why);
    if (rc == TR_OK) {
        l->receipt.delivered += l->copied;
        l->careful.open = PG_CAREFUL_GOOD;
        return TR_OK;
    }
    if (class.about != PG_ROWS || l->d->conn == NULL) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    before.bytes = l->receipt.bytes;
    l->receipt = before;
    l->careful.open = PG_CAREFUL_BAD;
    ret->bad = true;
    memcpy(ret->message, why.cause, sizeof(ret->message));
    return TR_OK;
}

/* --- which rows to try together --- */

/* The rows of a batch that go to the server, in order. */
struct queue {
    const size_t *rows;
    const uint32_t *bytes; /* of the tuple of each */
    size_t n, at;
    size_t suspect; /* a bad row is among [at, suspect); at: nothing is known */
};

/* As many rows as fit into so many bytes, at least one. */
static size_t rows_within(const struct queue *q, size_t end, uint64_t bytes)
{
    uint64_t sum = 0;
    size_t i = q->at;

    while (i < end && (i == q->at || sum + q->bytes[i] <= bytes))
        sum += q->bytes[i++];
    return i - q->at;
}

static uint64_t bytes_of(const struct queue *q, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = q->at; i < q->at + n; i++)
        sum += q->bytes[i];
    return sum;
}

static size_t next_size(const struct pg_load *l, const struct queue *q, size_t line)
{
    if (q->suspect <= q->at)
        return rows_within(q, q->n, l->careful.window);
    size_t n = q->suspect - q->at;
    return n == 1 ? 1 : line > 1 && line <= n ? line - 1 : n / 2;
}

static void advance(struct pg_load *l, struct queue *q, size_t n)
{
    l->careful.since += bytes_of(q, n);
    q->at += n;
}

/* Every row gets its own verdict: a row is rejected only after it was refused alone, with all good
 * rows before it in place. How much is tried at once doubles while rows are good; behind a bad row
 * it is what lay between that and the one before. So the failed attempts at large cost no more than
 * twice what gets through, and the search within one at most its size again: the rows go over the
 * wire a small number of times, however many of them are bad. */
static enum tr_rc deliver_queue(const struct tr_ctx *cx, struct pg_load *l,
                                const struct tr_batch *b, struct queue *q, struct tr_err *err)
{
    int64_t patience = cx->deadline_us == INT64_MAX ? 0 : cx->deadline_us - tr_clock_boot_us();
    struct tr_ctx each = *cx;
    struct attempt a = { 0 };

    while (q->at < q->n) {
        size_t n = next_size(l, q, a.line);

        if (patience > 0) /* each attempt that comes to an end is progress */
            each.deadline_us = tr_clock_boot_us() + patience;
        enum tr_rc rc = try_rows(&each, l, b, q->rows + q->at, n, &a, err);
        if (rc != TR_OK)
            return rc;
        if (!a.bad) {
            bool searched = q->suspect > q->at;
            advance(l, q, a.sent);
            if (!searched)
                l->careful.window += l->careful.window < WINDOW_MAX ? l->careful.window : 0;
            a.line = 0;
        } else if (n == 1) {
            pg_reject(l, b, q->rows[q->at], a.message);
            advance(l, q, 1);
            l->careful.window = l->careful.since;
            l->careful.since = 0;
            q->suspect = q->at;
            a.line = 0;
        } else {
            q->suspect = q->at + (a.line > 0 && a.line <= a.sent ? (size_t)a.line : a.sent);
        }
    }
    return TR_OK;
}

/* Rows that we refuse ourselves are told once; the rest are the lines of the COPY, in order. */
static enum tr_rc fill_queue(struct pg_load *l, const struct tr_batch *b, size_t *rows,
                             uint32_t *bytes, size_t *ret_n, struct tr_err *err)
{
    struct tr_buf *out = &l->d->out;
    char reason[TR_PGCOPY_REASON];
    size_t n = 0;

    for (size_t i = 0; i < b->rows; i++) {
        tr_buf_clear(out);
        enum tr_pgcopy_row wrote = tr_pgcopy_row(&l->d->fit.copy, b, i, out, reason);
        if (wrote == TR_PGCOPY_FULL)
            return tr_fail_oom(err);
        if (wrote == TR_PGCOPY_REJECTED) {
            pg_reject(l, b, i, reason);
            continue;
        }
        rows[n] = i;
        bytes[n++] = (uint32_t)(out->n < UINT32_MAX ? out->n : UINT32_MAX);
    }
    *ret_n = n;
    return TR_OK;
}

enum tr_rc pg_careful_rows(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                           struct tr_err *err)
{
    size_t *rows = malloc(b->rows * sizeof(*rows));
    uint32_t *bytes = malloc(b->rows * sizeof(*bytes));
    struct queue q = { .rows = rows, .bytes = bytes };
    enum tr_rc rc = rows == NULL || bytes == NULL ? tr_fail_oom(err) : TR_OK;

    if (rc == TR_OK && l->careful.window == 0)
        l->careful.window = WINDOW_FIRST;
    if (rc == TR_OK)
        rc = fill_queue(l, b, rows, bytes, &q.n, err);
    if (rc == TR_OK)
        rc = deliver_queue(cx, l, b, &q, err);
    free(rows);
    free(bytes);
    return rc;
}

enum tr_rc pg_careful_end(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    if (l->careful.open == PG_CAREFUL_NONE)
        return TR_OK;
    enum tr_rc rc = pg_run(cx, l->d, leave_sql(l->careful.open), 0, NULL, NULL, NULL, err);
    if (rc == TR_OK)
        l->careful.open = PG_CAREFUL_NONE;
    return rc;
}
