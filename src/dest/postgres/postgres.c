#include "dest/postgres/postgres.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dest/postgres/postgres_priv.h"
#include "os/file.h"

enum { OUT_BYTES = 1 << 30, SQL_NAME_BYTES = 512 };

/* As PostHog's table has them. */
static const struct tr_default_column events[] = {
    { "uuid", NULL }, { "event", NULL },    { "properties", NULL },  { "elements", NULL },
    { "set", NULL },  { "set_once", NULL }, { "distinct_id", NULL }, { "team_id", NULL },
    { "ip", NULL },   { "site_url", NULL }, { "timestamp", NULL },   { NULL, NULL },
};

struct pg_dest *pg_dest_of(struct tr_dest *d)
{
    assert(d->ops == &tr_dest_postgres_ops);
    return (struct pg_dest *)(void *)d;
}

static void pg_close(struct tr_dest *dest)
{
    if (dest == NULL)
        return;
    struct pg_dest *d = pg_dest_of(dest);
    assert(d->load == NULL);
    pg_drop(d);
    tr_file_close(&d->ca_fd);
    tr_buf_fini(&d->out);
    free(d->copy_sql);
    free(d->stage_sql);
    free(d->upsert_sql);
    free(d->reupsert_sql);
    free(d->merged_sql);
    free(d->names);
    free(d->table_sql);
    free(d->ledger_sql);
    free(d);
}

/* libpq reads the authority's certificate from a file: one in memory, that nobody else sees. */
static enum tr_rc keep_ca(struct pg_dest *d, struct tr_err *err)
{
    const char *pem = tr_conf_text(d->conf, "ssl_root_cert");

    if (pem == NULL || pem[0] == '\0')
        return TR_OK;
    d->ca_fd = memfd_create("tailrace-ca", MFD_CLOEXEC);
    if (d->ca_fd < 0)
        return tr_fail_errno(err, errno, "keep ssl_root_cert");
    return tr_file_write_all(d->ca_fd, pem, strlen(pem), err);
}

static char *qualified(const char *schema, const char *name)
{
    struct tr_buf b;

    tr_buf_init(&b, SQL_NAME_BYTES);
    pg_quote(&b, schema);
    tr_buf_ch(&b, '.');
    pg_quote(&b, name);
    tr_buf_ch(&b, '\0');
    if (b.failed)
        tr_buf_fini(&b);
    return b.p;
}

/* Makes the object; the server is asked when there is something to ask. */
static enum tr_rc pg_open_dest(const struct tr_ctx *cx, const struct tr_conf *conf,
                               struct tr_dest **ret, struct tr_err *err)
{
    struct pg_dest *d = calloc(1, sizeof(*d));

    (void)cx;
    if (d == NULL)
        return tr_fail_oom(err);
    d->base.ops = &tr_dest_postgres_ops;
    d->conf = conf;
    d->schema = tr_conf_text(conf, "schema");
    d->table = tr_conf_text(conf, "table_name");
    d->ca_fd = -1;
    d->fit.uuid = -1;
    tr_buf_init(&d->out, OUT_BYTES);
    d->table_sql = qualified(d->schema, d->table);
    d->ledger_sql = qualified(d->schema, PG_LEDGER);
    enum tr_rc rc = TR_OK;
    if (d->table_sql == NULL || d->ledger_sql == NULL)
        rc = tr_fail_oom(err);
    else
        rc = keep_ca(d, err);
    if (rc != TR_OK) {
        pg_close(&d->base);
        return rc;
    }
    *ret = &d->base;
    return TR_OK;
}

const struct tr_dest_ops tr_dest_postgres_ops = {
    .name = "Postgres",
    .caps = TR_DEST_COMMITS_CHUNK | TR_DEST_REPLACES | TR_DEST_RECOUNTS | TR_DEST_UPSERTS,
    .options = pg_options,
    .tests = pg_tests,
    .defaults = { events, tr_default_persons, tr_default_sessions, tr_default_groups },
    .validate = pg_conf_validate,
    .settle = pg_conf_settle,
    .target = pg_conf_target,
    .open = pg_open_dest,
    .test = pg_test,
    .prepare = pg_prepare,
    .look = pg_look,
    .begin = pg_load_begin,
    .lookup = pg_lookup,
    .recount = pg_recount,
    .recount_rows = pg_recount_rows,
    .close = pg_close,
};
