#include <stdio.h>
#include <stdlib.h>

#include "dest/postgres/postgres_priv.h"

enum { SQL_TEXT = 1024, NUMBER_TEXT = 24 };

void pg_uuid_array(struct tr_buf *out, const struct tr_uuid *uuids, size_t n)
{
    char text[TR_UUID_TEXT];

    tr_buf_clear(out);
    tr_buf_ch(out, '{');
    for (size_t i = 0; i < n; i++) {
        tr_uuid_format(&uuids[i], text);
        if (i > 0)
            tr_buf_ch(out, ',');
        tr_buf_add(out, text, sizeof(text) - 1);
    }
    tr_buf_add(out, "}", sizeof("}"));
}

const char *pg_uuid_type(const struct pg_fit *fit)
{
    return fit->copy.col[fit->uuid].form == TR_PGCOPY_UUID ? "uuid" : "text";
}

static enum tr_rc count_block(const struct tr_ctx *cx, struct pg_dest *d, const char *sql, int n,
                              const char *const *params, struct tr_recount *into,
                              struct tr_err *err)
{
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    enum tr_rc rc = pg_run(cx, d, sql, n, params, &r, NULL, err);
    if (rc != TR_OK)
        return rc;
    uint64_t found = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    uint64_t rows = strtoull(PQgetvalue(r, 0, 1), NULL, 10);
    into->found += found;
    into->copies += rows - found;
    return TR_OK;
}

static enum tr_rc count_all(const struct tr_ctx *cx, struct pg_dest *d,
                            const struct tr_owner *owner, const struct tr_uuid *uuids, size_t n,
                            struct tr_recount *into, struct tr_err *err)
{
    char project[NUMBER_TEXT];
    int n_params = 1;
    struct tr_buf sql, array;
    enum tr_rc rc = TR_OK;

    tr_buf_init(&sql, SQL_TEXT);
    tr_buf_init(&array, (size_t)(PG_UUIDS_AT_ONCE + 1) * TR_UUID_TEXT);
    tr_buf_printf(&sql,
                  "SELECT pg_catalog.count(DISTINCT u.id), pg_catalog.count(*)"
                  " FROM pg_catalog.unnest($1::%s[]) AS u(id) JOIN %s AS t ON t.",
                  pg_uuid_type(&d->fit), d->table_sql);
    pg_quote(&sql, d->fit.name[d->fit.uuid]);
    tr_buf_z(&sql, " = u.id");
    rc = pg_owner_sql(d, owner, &sql, &n_params, err);
    tr_buf_ch(&sql, '\0');
    (void)snprintf(project, sizeof(project), "%d", owner->project);
    for (size_t i = 0; i < n && rc == TR_OK; i += PG_UUIDS_AT_ONCE) {
        pg_uuid_array(&array, uuids + i, n - i < PG_UUIDS_AT_ONCE ? n - i : PG_UUIDS_AT_ONCE);
        rc = sql.failed || array.failed
                 ? tr_fail_oom(err)
                 : count_block(cx, d, sql.p, n_params, (const char *const[]){ array.p, project },
                               into, err);
    }
    tr_buf_fini(&array);
    tr_buf_fini(&sql);
    return rc;
}

/* Asks the table itself, not the ledger: keys are not needed. */
enum tr_rc pg_recount(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_owner *owner,
                      const struct tr_key *keys, size_t n_keys, const struct tr_uuid *uuids,
                      size_t n, struct tr_recount *ret, struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);
    struct tr_recount count = { .expected = n };

    (void)keys;
    (void)n_keys;
    if (d->absent) {
        *ret = count;
        return TR_OK;
    }
    if (d->fit.uuid < 0)
        return tr_fail(err, TR_REFUSED, "postgres.no_uuid_column",
                       "add uuid to the export's columns and to the table",
                       "rows cannot be counted again: the table has no column for uuid");
    enum tr_rc rc = pg_begin(cx, d, 0, err);
    /* with row security, rows that this user may not see would look as if they were missing */
    if (rc == TR_OK)
        rc = pg_run(cx, d, "SET LOCAL row_security = off", 0, NULL, NULL, NULL, err);
    if (rc == TR_OK)
        rc = count_all(cx, d, owner, uuids, n, &count, err);
    pg_reset(d);
    if (rc != TR_OK)
        return tr_wrap(err, "count rows in %s", d->table_sql);
    *ret = count;
    return TR_OK;
}
