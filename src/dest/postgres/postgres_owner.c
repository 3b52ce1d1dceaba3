/* In one table there may be rows of several projects, exports and installations, and two of them
 * may have one uuid: an SDK that sends to two projects gives both the same. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"

/* The column that says whose a row is, when this export fills it. */
static const char *team_column(const struct pg_fit *fit)
{
    for (size_t i = 0; i < fit->copy.n; i++)
        if (strcmp(fit->copy.schema->columns[fit->copy.col[i].column].name, "team_id") == 0)
            return fit->name[i];
    return NULL;
}

/* Rows that were there before the column was added have no value in it: they are the owner's when
 * no other project has delivered into the place. */
enum tr_rc pg_owner_sql(const struct pg_dest *d, const struct tr_owner *owner, struct tr_buf *sql,
                        int *ret_n, struct tr_err *err)
{
    const char *name = team_column(&d->fit);

    *ret_n = name == NULL ? 1 : 2;
    if (name == NULL && owner->mixed)
        return tr_fail(err, TR_REFUSED, tr_dest_not_own,
                       "add team_id to the table and to the export's columns, or give each project "
                       "a table of its own",
                       "whose rows they are cannot be told: another project delivers into %s, and "
                       "the export does not fill team_id there",
                       d->table_sql);
    if (name == NULL)
        return TR_OK;
    tr_buf_z(sql, " AND (t.");
    pg_quote(sql, name);
    tr_buf_z(sql, " = $2");
    if (!owner->mixed) {
        tr_buf_z(sql, " OR t.");
        pg_quote(sql, name);
        tr_buf_z(sql, " IS NULL");
    }
    tr_buf_ch(sql, ')');
    return TR_OK;
}

/* A key's text: installation/epoch/export/target/generation/range. Others of this installation that
 * name the same target are the caller's affair. */
enum tr_rc pg_owner_alone(const struct tr_ctx *cx, struct pg_dest *d, const struct tr_key *key,
                          struct tr_err *err)
{
    enum { SQL_BYTES = 1024, NUMBER_TEXT = 24 };
    char installation[TR_UUID_TEXT], export_id[TR_UUID_TEXT], target[NUMBER_TEXT];
    char lo[NUMBER_TEXT], hi[NUMBER_TEXT];
    const char *const params[] = { d->table, lo, hi, installation, export_id, target };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct tr_buf sql;

    tr_uuid_format(&key->installation, installation);
    tr_uuid_format(&key->export_id, export_id);
    (void)snprintf(target, sizeof(target), "%016" PRIx64, key->target);
    (void)snprintf(lo, sizeof(lo), "%" PRId64, key->range.lo);
    (void)snprintf(hi, sizeof(hi), "%" PRId64, key->range.hi);
    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_printf(&sql,
                  "SELECT key FROM %s WHERE table_name = $1 AND delivered > 0 AND range_lo < $3"
                  " AND range_hi > $2 AND (pg_catalog.split_part(key, '/', 1) <> $4"
                  " OR (pg_catalog.split_part(key, '/', 3) <> $5"
                  " AND pg_catalog.split_part(key, '/', 4) <> $6)) LIMIT 1",
                  d->ledger_sql);
    tr_buf_ch(&sql, '\0');
    enum tr_rc rc = sql.failed ? tr_fail_oom(err) : pg_run(cx, d, sql.p, 6, params, &r, NULL, err);
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return tr_wrap(err, "ask the ledger who else writes into %s", d->table_sql);
    if (PQntuples(r) == 0)
        return TR_OK;
    return tr_fail(
        err, TR_REFUSED, tr_dest_not_own,
        "give each installation a table of its own; if that one is gone for good, delete "
        "its keys from tailrace_ledger",
        "whose rows they are cannot be told: %s has rows of this range from another "
        "installation or an export that names the place otherwise (%s)",
        d->table_sql, PQgetvalue(r, 0, 0));
}

/* Who has delivered here before may go on, whoever came later. */
static const char first_sql[] =
    "SELECT NOT EXISTS (SELECT 1 FROM %s WHERE table_name = $1 AND delivered > 0"
    "  AND pg_catalog.split_part(key, '/', 1) = $2)"
    " AND EXISTS (SELECT 1 FROM %s WHERE table_name = $1 AND delivered > 0"
    "  AND pg_catalog.split_part(key, '/', 1) <> $2)"
    " AND EXISTS (SELECT 1 FROM %s t WHERE t.";

enum tr_rc pg_owner_first(const struct tr_ctx *cx, struct pg_dest *d,
                          const struct tr_load_spec *spec, struct tr_err *err)
{
    enum { SQL_BYTES = 2048, NUMBER_TEXT = 24 };
    const char *team = team_column(&d->fit);
    char installation[TR_UUID_TEXT], project[NUMBER_TEXT];
    const char *const params[] = { d->table, installation, project };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct tr_buf sql;

    if (d->known_here || team == NULL)
        return TR_OK;
    tr_uuid_format(&spec->key.installation, installation);
    (void)snprintf(project, sizeof(project), "%d", spec->owner.project);
    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_printf(&sql, first_sql, d->ledger_sql, d->ledger_sql, d->table_sql);
    pg_quote(&sql, team);
    tr_buf_add(&sql, " = $3)", sizeof(" = $3)"));
    enum tr_rc rc = sql.failed ? tr_fail_oom(err) : pg_run(cx, d, sql.p, 3, params, &r, NULL, err);
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return tr_wrap(err, "ask the ledger who else writes into %s", d->table_sql);
    d->known_here = PQgetvalue(r, 0, 0)[0] != 't';
    if (d->known_here)
        return TR_OK;
    return tr_fail(err, TR_REFUSED, tr_dest_not_own,
                   "choose another table_name; if the other installation is gone for good, empty "
                   "the table and delete its keys from tailrace_ledger",
                   "another installation has rows of team_id %d in %s: its versions and ours say "
                   "nothing about each other, so rows would be delivered and not written",
                   spec->owner.project, d->table_sql);
}
