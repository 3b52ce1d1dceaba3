/* The steps of "test this connection", in the order of the table. Each stands alone and leaves
 * nothing behind: what is created is rolled back. */
#include <stdlib.h>

#include "base/time.h"
#include "dest/postgres/postgres_priv.h"
#include "dest/sample.h"
#include "os/random.h"

enum { STEP_CONNECT, STEP_TLS, STEP_SCHEMA, STEP_TABLE, STEP_WRITE, STEP_COUNT };

const struct tr_dest_test pg_tests[] = {
    [STEP_CONNECT] = { "Connect to the server", "The host answers and the user may log in." },
    [STEP_TLS] = { "Check the encryption", "The connection is encrypted as sslmode asks." },
    [STEP_SCHEMA] = { "Find the schema", "It exists and the user may use it." },
    [STEP_TABLE] = { "Check the table",
                     "It can be created, or it exists and its columns fit (rolled back)." },
    [STEP_WRITE] = { "Write a row", "One row is written and rolled back." },
    [STEP_COUNT] = { NULL, NULL },
};

static enum tr_rc check_tls(struct pg_dest *d, struct tr_err *err)
{
    const char *host = tr_conf_text(d->conf, "host");
    bool wanted = strcmp(tr_conf_text(d->conf, "sslmode"), "disable") != 0 && host[0] != '/' &&
                  host[0] != '@';

    if (!wanted || PQsslInUse(d->conn) == 1)
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "postgres.tls", "turn on ssl at the server",
                   "the connection is not encrypted");
}

static enum tr_rc copy_row(const struct tr_ctx *cx, struct pg_dest *d, const struct pg_fit *fit,
                           struct tr_err *err)
{
    char *sql = pg_table_copy_sql(fit->copy.schema->is_mutable ? PG_STAGE : d->table_sql, fit);
    char reason[TR_PGCOPY_REASON];
    struct tr_sample s;

    if (sql == NULL)
        return tr_fail_oom(err);
    tr_sample_fill(&s, fit->copy.schema, 0);
    enum tr_rc rc = pg_run(cx, d, sql, 0, NULL, NULL, NULL, err);
    free(sql);
    if (rc != TR_OK)
        return rc;
    tr_buf_clear(&d->out);
    tr_pgcopy_head(&d->out);
    if (tr_pgcopy_row(&fit->copy, &s.batch, 0, &d->out, reason) != TR_PGCOPY_WROTE)
        return tr_fail(err, TR_INTERNAL, "postgres.test", NULL, "%s", reason);
    tr_pgcopy_tail(&d->out);
    rc = pg_put(cx, d, d->out.p, d->out.n, err);
    if (rc == TR_OK)
        rc = pg_put_end(cx, d, err);
    return rc == TR_OK ? pg_answer(cx, d, NULL, NULL, err) : rc;
}

/* As a run does it: rows that change go through the stage. */
static enum tr_rc write_row(const struct tr_ctx *cx, struct pg_dest *d, const struct pg_fit *fit,
                            struct tr_err *err)
{
    struct tr_key key = { .installation = tr_random_uuid4() };
    struct pg_load l = { .d = d, .copied = 1 };
    struct pg_class class;
    bool staged = fit->copy.schema->is_mutable;

    d->fit = *fit;
    enum tr_rc rc = staged ? pg_upsert_prepare(d, err) : TR_OK;
    if (rc == TR_OK)
        rc = pg_ledger_insert(cx, d, &key, &class, err);
    if (rc == TR_OK && staged)
        rc = pg_upsert_stage(cx, &l, err);
    if (rc == TR_OK)
        rc = copy_row(cx, d, fit, err);
    return rc == TR_OK && staged ? pg_upsert_run(cx, &l, &class, err) : rc;
}

static enum tr_rc check_table(const struct tr_ctx *cx, struct pg_dest *d,
                              const struct tr_projection *p, bool write, struct tr_err *err)
{
    struct pg_class class;
    struct pg_fit fit;

    enum tr_rc rc = pg_begin(cx, d, 10 * 1000, err);
    if (rc == TR_OK)
        rc = pg_table_prepare(cx, d, p, &fit, NULL, &class, err);
    if (rc == TR_OK && write)
        rc = write_row(cx, d, &fit, err);
    pg_reset(d);
    return rc;
}

enum tr_rc pg_test(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   size_t step, struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);
    enum tr_rc rc;

    if (step == STEP_CONNECT)
        pg_drop(d); /* what matters is whether a new connection can be made */
    rc = pg_open(cx, d, err);
    if (rc != TR_OK)
        return rc;
    switch (step) {
    case STEP_TLS:
        return check_tls(d, err);
    case STEP_SCHEMA:
        rc = pg_table_schema(cx, d, err);
        pg_reset(d);
        return rc;
    case STEP_TABLE:
        return check_table(cx, d, p, false, err);
    case STEP_WRITE:
        return check_table(cx, d, p, true, err);
    default:
        return TR_OK;
    }
}
