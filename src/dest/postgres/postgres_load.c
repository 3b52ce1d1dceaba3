#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"
#include "os/clock.h"
#include "os/kill.h"

/* Waiting longer for another attempt at the same key helps nobody: the engine asks again. */
enum { BEGIN_LOCK_MS = 60000, SQL_TEXT = 1024, NUMBER_TEXT = 24 };

/* Memory that one wide row needed is given back before the next. */
enum { KEEP_BUFFER_BYTES = 16 * PG_FLUSH_BYTES };

static const struct tr_load_ops load_ops;

static struct pg_load *load_of(struct tr_load *l)
{
    assert(l->ops == &load_ops);
    return (struct pg_load *)(void *)l;
}

static void load_free(struct pg_load *l)
{
    l->d->load = NULL;
    tr_buf_fini(&l->d->out);
    free(l);
}

void pg_reject(struct pg_load *l, const struct tr_batch *b, size_t row, const char *reason)
{
    l->receipt.rejected++;
    if (l->spec.rejects != NULL)
        l->spec.rejects->reject(l->spec.rejects, b, row, reason);
}

/* --- COPY --- */

enum tr_rc pg_copy_start(const struct tr_ctx *cx, struct pg_dest *d, const char *sql,
                         struct tr_err *err)
{
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    enum tr_rc rc = pg_run(cx, d, sql, 0, NULL, &r, NULL, err);
    if (rc != TR_OK)
        return tr_wrap(err, "copy to %s", d->table_sql);
    if (PQresultStatus(r) != PGRES_COPY_IN)
        return tr_fail(err, TR_REFUSED, "postgres.protocol", NULL,
                       "the server did not open a COPY");
    tr_buf_clear(&d->out);
    tr_pgcopy_head(&d->out);
    return TR_OK;
}

static enum tr_rc flush(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    struct tr_buf *out = &l->d->out;

    enum tr_rc rc = pg_put(cx, l->d, out->p, out->n, err);
    if (rc != TR_OK)
        return tr_wrap(err, "copy to %s", l->d->table_sql);
    l->receipt.bytes += out->n;
    tr_buf_clear(out);
    if (out->cap > KEEP_BUFFER_BYTES)
        tr_buf_fini(out);
    if (!l->flushed) {
        l->flushed = true;
        TR_KILL_POINT("pg.copy_half");
    }
    return TR_OK;
}

enum tr_rc pg_copy_rows(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                        const size_t *rows, size_t n, size_t *ret_taken, struct tr_err *err)
{
    int64_t patience = cx->deadline_us == INT64_MAX ? 0 : cx->deadline_us - tr_clock_boot_us();
    struct tr_ctx each = *cx;
    struct pg_dest *d = l->d;
    char reason[TR_PGCOPY_REASON];

    *ret_taken = n;

    for (size_t i = 0; i < n; i++) {
        size_t row = rows == NULL ? i : rows[i];
        enum tr_pgcopy_row wrote = tr_pgcopy_row(&d->fit.copy, b, row, &d->out, reason);

        if (wrote == TR_PGCOPY_FULL)
            return tr_fail_oom(err);
        if (wrote == TR_PGCOPY_REJECTED) {
            pg_reject(l, b, row, reason);
            continue;
        }
        l->receipt.repaired += wrote == TR_PGCOPY_REPAIRED;
        l->copied++;
        if (d->out.n >= PG_FLUSH_BYTES) {
            if (patience > 0) /* what went through is progress */
                each.deadline_us = tr_clock_boot_us() + patience;
            enum tr_rc rc = flush(&each, l, err);
            if (rc != TR_OK)
                return rc;
            if (i + 1 < n && pg_interrupted(d)) {
                *ret_taken = i + 1;
                return TR_OK;
            }
        }
    }
    return TR_OK;
}

/* A trigger may drop rows without an error: that is not a delivery. */
static enum tr_rc check_copied(const struct pg_load *l, PGresult *r, struct tr_err *err)
{
    uint64_t kept = strtoull(PQcmdTuples(r), NULL, 10);

    if (kept == l->copied)
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "postgres.rows_dropped",
                   "drop the trigger that leaves rows out, or use a table without it",
                   "the server kept %" PRIu64 " of %" PRIu64 " rows", kept, l->copied);
}

enum tr_rc pg_copy_end(const struct tr_ctx *cx, struct pg_load *l, struct pg_class *ret_class,
                       uint64_t *ret_line, struct tr_err *err)
{
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    tr_pgcopy_tail(&l->d->out);
    if (l->d->out.failed)
        return tr_fail_oom(err);
    enum tr_rc rc = flush(cx, l, err);
    if (rc == TR_OK)
        rc = pg_put_end(cx, l->d, err);
    l->d->line = 0;
    if (rc == TR_OK)
        rc = pg_answer(cx, l->d, &r, ret_class, err);
    if (ret_line != NULL)
        *ret_line = l->d->line;
    if (rc == TR_OK)
        rc = check_copied(l, r, err);
    return rc;
}

/* --- one load --- */

/* Nobody else shall see the error of a row and take it for something to mend. */
static enum tr_rc fail_load(struct pg_load *l, struct tr_err *err)
{
    pg_reset(l->d);
    return err == NULL ? TR_INTERNAL : err->rc;
}

/* The key is there: what its transaction counted. */
static enum tr_rc adopt(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    pg_reset(l->d);
    enum tr_rc rc = pg_open(cx, l->d, err);
    if (rc == TR_OK)
        rc = pg_ledger_read(cx, l->d, &l->spec.key, &l->receipt, err);
    if (rc != TR_OK)
        return rc;
    if (!l->receipt.was_there)
        return tr_fail(err, TR_TRANSIENT, "postgres.ledger", NULL,
                       "the ledger refused the key and does not hold it");
    l->swallow = true;
    return TR_OK;
}

static enum tr_rc start(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    struct pg_class class = { .rc = TR_INTERNAL };
    int64_t left = pg_left_ms(cx);

    enum tr_rc rc =
        pg_begin_load(cx, l->d, left == 0 || left > BEGIN_LOCK_MS ? BEGIN_LOCK_MS : left, err);
    if (rc != TR_OK)
        return rc;
    if (l->d->fit.copy.schema->is_mutable)
        rc = pg_owner_first(cx, l->d, &l->spec, err);
    if (rc != TR_OK)
        return fail_load(l, err);
    rc = pg_ledger_insert(cx, l->d, &l->spec.key, &class, err);
    if (rc != TR_OK && class.about == PG_ROWS)
        return adopt(cx, l, err);
    TR_KILL_POINT("pg.ledger_inserted");
    if (rc == TR_OK && l->spec.careful)
        /* a deferred constraint would speak at COMMIT, when no row can be named any more */
        rc = pg_run(cx, l->d, "SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, NULL, err);
    return rc == TR_OK ? rc : fail_load(l, err);
}

enum tr_rc pg_load_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                         const struct tr_load_spec *spec, struct tr_load **ret, struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);

    assert(d->prepared && d->load == NULL);
    struct pg_load *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return tr_fail_oom(err);
    l->base.ops = &load_ops;
    l->d = d;
    l->spec = *spec;
    d->load = l;
    enum tr_rc rc = start(cx, l, err);
    if (rc != TR_OK) {
        load_free(l);
        return rc;
    }
    *ret = &l->base;
    return TR_OK;
}

static enum tr_rc load_remove(const struct tr_ctx *cx, struct tr_load *load,
                              const struct tr_uuid *uuids, size_t n, struct tr_err *err)
{
    struct pg_load *l = load_of(load);
    const struct pg_fit *fit = &l->d->fit;
    char project[NUMBER_TEXT];
    struct tr_buf sql, array;
    enum tr_rc rc = TR_OK;
    int n_params = 1;

    assert(!l->in_copy);
    if (l->swallow || n == 0)
        return TR_OK;
    if (fit->uuid < 0)
        return tr_fail(err, TR_REFUSED, "postgres.no_uuid_column",
                       "add uuid to the export's columns and to the table",
                       "rows cannot be replaced: the table has no column for uuid");
    tr_buf_init(&sql, SQL_TEXT);
    tr_buf_init(&array, (size_t)(PG_UUIDS_AT_ONCE + 1) * TR_UUID_TEXT);
    tr_buf_printf(&sql, "DELETE FROM %s AS t USING pg_catalog.unnest($1::%s[]) AS u(id) WHERE t.",
                  l->d->table_sql, pg_uuid_type(fit));
    pg_quote(&sql, fit->name[fit->uuid]);
    tr_buf_z(&sql, " = u.id");
    if (!l->alone)
        rc = pg_owner_alone(cx, l->d, &l->spec.key, err);
    l->alone = rc == TR_OK;
    if (rc == TR_OK)
        rc = pg_owner_sql(l->d, &l->spec.owner, &sql, &n_params, err);
    tr_buf_ch(&sql, '\0');
    (void)snprintf(project, sizeof(project), "%d", l->spec.owner.project);
    for (size_t i = 0; i < n && rc == TR_OK; i += PG_UUIDS_AT_ONCE) {
        pg_uuid_array(&array, uuids + i, n - i < PG_UUIDS_AT_ONCE ? n - i : PG_UUIDS_AT_ONCE);
        if (sql.failed || array.failed)
            rc = tr_fail_oom(err);
        else
            rc = pg_run(cx, l->d, sql.p, n_params, (const char *const[]){ array.p, project }, NULL,
                        NULL, err);
    }
    tr_buf_fini(&array);
    tr_buf_fini(&sql);
    if (rc == TR_TRANSIENT && err != NULL && err->id != NULL &&
        strcmp(err->id, "postgres.timeout") == 0)
        return tr_fail(
            err, rc, "postgres.timeout",
            "make an index on the table's uuid column: without one, each chunk reads the "
            "whole table",
            "removing rows from %s takes too long", l->d->table_sql);
    return rc == TR_OK ? rc : tr_wrap(err, "remove rows from %s", l->d->table_sql);
}

/* The server spoke in the middle of the rows: its words, which are an error as a rule. */
static enum tr_rc fail_interrupted(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    enum tr_rc rc = pg_copy_end(cx, l, NULL, NULL, err);

    if (rc != TR_OK)
        return rc;
    return tr_fail(err, TR_TRANSIENT, "postgres.interrupted", NULL,
                   "the server answered in the middle of a COPY");
}

static enum tr_rc copy_batch(const struct tr_ctx *cx, struct pg_load *l, const struct tr_batch *b,
                             struct tr_err *err)
{
    size_t taken = 0;

    if (!l->in_copy) {
        enum tr_rc rc = pg_copy_start(cx, l->d, l->d->copy_sql, err);
        if (rc != TR_OK)
            return rc;
        l->in_copy = true;
    } else if (pg_interrupted(l->d)) {
        return fail_interrupted(cx, l, err);
    }
    enum tr_rc rc = pg_copy_rows(cx, l, b, NULL, b->rows, &taken, err);
    return rc == TR_OK && taken < b->rows ? fail_interrupted(cx, l, err) : rc;
}

static enum tr_rc load_write(const struct tr_ctx *cx, struct tr_load *load,
                             const struct tr_batch *b, struct tr_err *err)
{
    struct pg_load *l = load_of(load);
    enum tr_rc rc = TR_OK;

    if (tr_ctx_cancelled(cx))
        return tr_fail(err, TR_CANCELLED, "postgres.cancelled", NULL, "cancelled");
    if (l->swallow || b->rows == 0)
        return TR_OK;
    if (l->d->conn == NULL)
        return tr_fail(err, TR_TRANSIENT, "postgres.connection_lost", NULL,
                       "the connection is gone");
    if (l->d->stage_sql != NULL && !l->staged)
        rc = pg_upsert_stage(cx, l, err);
    if (rc != TR_OK)
        return rc;
    return l->spec.careful ? pg_careful_rows(cx, l, b, err) : copy_batch(cx, l, b, err);
}

static const char timeout_hint[] =
    "look for a trigger or an index that makes writing slow; --chunk-rows makes all chunks smaller";

static bool is_timeout(const struct tr_err *err)
{
    return err != NULL && err->id != NULL && strcmp(err->id, "postgres.timeout") == 0;
}

static enum tr_rc commit_rows(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    struct pg_class class = { .rc = TR_INTERNAL };
    enum tr_rc rc = TR_OK;

    if (l->d->conn == NULL)
        return tr_fail(err, TR_TRANSIENT, "postgres.connection_lost", NULL,
                       "the connection is gone");
    if (l->in_copy)
        rc = pg_copy_end(cx, l, &class, NULL, err);
    else
        rc = pg_careful_end(cx, l, err);
    if (rc == TR_OK && l->in_copy && l->staged) {
        TR_KILL_POINT("pg.staged");
        rc = pg_upsert_run(cx, l, &class, err);
    }
    if (rc == TR_OK && (l->in_copy || l->spec.careful))
        rc = pg_table_unchanged(cx, l->d, err);
    if (rc == TR_TRANSIENT && l->copied > 1 && is_timeout(err))
        return tr_fail(err, rc, tr_dest_too_wide, timeout_hint,
                       "the server needs too long for %" PRIu64 " rows at once", l->copied);
    if (rc != TR_OK)
        return rc;
    TR_KILL_POINT("pg.copy_done");
    if (!l->spec.careful)
        l->receipt.delivered = l->copied;
    rc = pg_ledger_finish(cx, l->d, &l->spec.key, &l->receipt, err);
    if (rc != TR_OK)
        return rc;
    TR_KILL_POINT("pg.before_commit");
    rc = pg_commit(cx, l->d, &class, err);
    if (rc != TR_OK)
        return rc;
    TR_KILL_POINT("pg.committed");
    return TR_OK;
}

static enum tr_rc load_commit(const struct tr_ctx *cx, struct tr_load *load, struct tr_receipt *ret,
                              struct tr_err *err)
{
    struct pg_load *l = load_of(load);
    enum tr_rc rc = TR_OK;

    if (!l->swallow)
        rc = commit_rows(cx, l, err);
    if (rc == TR_OK)
        *ret = l->receipt;
    else
        pg_reset(l->d);
    load_free(l);
    return rc;
}

static void load_abort(struct tr_load *load)
{
    if (load == NULL)
        return;
    struct pg_load *l = load_of(load);
    pg_reset(l->d);
    load_free(l);
}

static const struct tr_load_ops load_ops = {
    .write = load_write,
    .remove = load_remove,
    .commit = load_commit,
    .abort = load_abort,
};
