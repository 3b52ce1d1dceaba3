/* Names of columns, tables and users at the server. */
#include <string.h>

#include "dest/postgres/postgres_priv.h"

enum { SQL_BYTES = 4096 };

/* PostgreSQL documentation, "System Columns": every table has them already. */
static const char *const system_columns[] = { "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid" };

enum tr_rc pg_name_check(const struct tr_projection *p, struct tr_err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t n = strlen(p->name[i]);

        if (n == 0 || n > PG_NAME_BYTES)
            return tr_fail(err, TR_REFUSED, "postgres.column_name",
                           "give the column a name of 1 to 63 bytes",
                           "column name %.80s has %zu bytes", p->name[i], n);
        for (size_t k = 0; k < sizeof(system_columns) / sizeof(system_columns[0]); k++)
            if (strcmp(p->name[i], system_columns[k]) == 0)
                return tr_fail(err, TR_REFUSED, "postgres.column_name",
                               "give the column another name",
                               "column name %s is one of PostgreSQL's own", p->name[i]);
    }
    return TR_OK;
}

/* A table is a type, too. Types of arrays make room by themselves. */
enum tr_rc pg_name_free(const struct tr_ctx *cx, struct pg_dest *d, const char *name,
                        struct tr_err *err)
{
    static const char sql[] = "SELECT 1 FROM pg_catalog.pg_type t"
                              " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
                              " WHERE n.nspname = $1 AND t.typname = $2 AND t.typcategory <> 'A'";
    const char *const params[] = { d->schema, name };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    enum tr_rc rc = pg_run(cx, d, sql, 2, params, &r, NULL, err);
    if (rc != TR_OK || PQntuples(r) == 0)
        return rc;
    return tr_fail(err, TR_REFUSED, "postgres.not_a_table", "choose another table_name or schema",
                   "%s.%s is the name of a type", d->schema, name);
}

/* Two users in one schema share one ledger, and only its owner may say so. Not PUBLIC: that is
 * nobody's decision in particular. */
enum tr_rc pg_name_share_ledger(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    static const char who[] =
        "SELECT DISTINCT pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_namespace n"
        " CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x"
        " JOIN pg_catalog.pg_roles r ON r.oid = x.grantee"
        " WHERE n.nspname = $1 AND x.privilege_type = 'CREATE' AND r.rolname <> current_user";
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct tr_buf sql;

    enum tr_rc rc = pg_run(cx, d, who, 1, &d->schema, &r, NULL, err);
    for (int i = 0; rc == TR_OK && i < PQntuples(r); i++) {
        tr_buf_init(&sql, SQL_BYTES);
        tr_buf_printf(&sql, "GRANT SELECT, INSERT, UPDATE ON %s TO %s", d->ledger_sql,
                      PQgetvalue(r, i, 0));
        tr_buf_ch(&sql, '\0');
        rc = sql.failed ? tr_fail_oom(err) : pg_run(cx, d, sql.p, 0, NULL, NULL, NULL, err);
        tr_buf_fini(&sql);
    }
    return rc == TR_OK ? rc : tr_wrap(err, "share the ledger %s", d->ledger_sql);
}
