#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dest/postgres/postgres_priv.h"

enum { MAX_COLUMNS = 1600, SQL_BYTES = 65536 };

void pg_quote(struct tr_buf *out, const char *name)
{
    tr_buf_ch(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            tr_buf_ch(out, '"');
        tr_buf_ch(out, *name);
    }
    tr_buf_ch(out, '"');
}

static enum tr_rc run_text(const struct tr_ctx *cx, struct pg_dest *d, struct tr_buf *sql,
                           struct pg_class *ret_class, struct tr_err *err)
{
    tr_buf_ch(sql, '\0');
    if (sql->failed)
        return tr_fail_oom(err);
    return pg_run(cx, d, sql->p, 0, NULL, NULL, ret_class, err);
}

static bool is_true(const PGresult *r, int row, int column)
{
    return PQgetvalue(r, row, column)[0] == 't';
}

/* --- the schema --- */

static enum tr_rc read_schema(const struct tr_ctx *cx, struct pg_dest *d, bool *ret_may_create,
                              struct tr_err *err)
{
    static const char sql[] = "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'),"
                              " pg_catalog.has_schema_privilege(n.oid, 'CREATE')"
                              " FROM pg_catalog.pg_namespace n WHERE n.nspname = $1";
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    enum tr_rc rc = pg_run(cx, d, sql, 1, &d->schema, &r, NULL, err);
    if (rc != TR_OK)
        return tr_wrap(err, "read schema %s", d->schema);
    if (PQntuples(r) == 0)
        return tr_fail(err, TR_REFUSED, "postgres.no_schema",
                       "CREATE SCHEMA <schema>; GRANT USAGE, CREATE ON SCHEMA <schema> TO <user>",
                       "schema %s does not exist in database %s", d->schema, PQdb(d->conn));
    if (!is_true(r, 0, 0))
        return tr_fail(err, TR_REFUSED, "postgres.permission_denied",
                       "GRANT USAGE, CREATE ON SCHEMA <schema> TO <user>",
                       "user %s may not use schema %s", PQuser(d->conn), d->schema);
    *ret_may_create = is_true(r, 0, 1);
    return TR_OK;
}

enum tr_rc pg_table_schema(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    bool may_create;

    return read_schema(cx, d, &may_create, err);
}

/* --- one relation --- */

struct relation {
    bool exists;
    char kind; /* pg_class.relkind */
    bool may_insert, may_select, may_update;
    bool filters_rows; /* row security holds for this user */
    bool has_rules;
};

static enum tr_rc read_relation(const struct tr_ctx *cx, struct pg_dest *d, const char *name,
                                struct relation *ret, struct tr_err *err)
{
    static const char sql[] =
        "SELECT c.relkind,"
        " pg_catalog.has_any_column_privilege(c.oid, 'INSERT'),"
        " pg_catalog.has_table_privilege(c.oid, 'SELECT'),"
        " pg_catalog.has_table_privilege(c.oid, 'UPDATE'),"
        " pg_catalog.row_security_active(c.oid), c.relhasrules"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2";
    const char *const params[] = { d->schema, name };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    enum tr_rc rc = pg_run(cx, d, sql, 2, params, &r, NULL, err);
    if (rc != TR_OK)
        return tr_wrap(err, "read table %s", name);
    *ret = (struct relation){ 0 };
    if (PQntuples(r) == 0)
        return TR_OK;
    ret->exists = true;
    ret->kind = PQgetvalue(r, 0, 0)[0];
    ret->may_insert = is_true(r, 0, 1);
    ret->may_select = is_true(r, 0, 2);
    ret->may_update = is_true(r, 0, 3);
    ret->filters_rows = is_true(r, 0, 4);
    ret->has_rules = is_true(r, 0, 5);
    if (ret->kind != 'r' && ret->kind != 'p')
        return tr_fail(err, TR_REFUSED, "postgres.not_a_table", "choose another table_name",
                       "%s.%s is not a table", d->schema, name);
    return TR_OK;
}

static void copy_text(char *to, size_t cap, const PGresult *r, int row, int column)
{
    (void)snprintf(to, cap, "%s", PQgetvalue(r, row, column));
}

/* Columns in order; *ret is for the caller to free. */
static enum tr_rc read_columns(const struct tr_ctx *cx, struct pg_dest *d, const char *name,
                               struct pg_column **ret, size_t *ret_n, struct tr_err *err)
{
    /* A domain may be made of a domain: the last of them is the type, the outermost type modifier,
     * default and collation hold, and NOT NULL of each. */
    static const char sql[] =
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), b.type, b.typmod,"
        " a.attnotnull OR b.not_null,"
        " a.atthasdef OR a.attidentity <> '' OR b.has_default,"
        " a.attgenerated <> '', NOT coalesce(o.collisdeterministic, true), a.attidentity = 'a'"
        " FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid"
        " LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation"
        " CROSS JOIN LATERAL (WITH RECURSIVE chain AS ("
        "  SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault,"
        "  a.atttypmod AS typmod, 1 AS depth FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid"
        "  UNION ALL SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull,"
        "  t.typdefault, CASE WHEN h.typmod < 0 THEN h.typtypmod ELSE h.typmod END, h.depth + 1"
        "  FROM chain h JOIN pg_catalog.pg_type t ON h.typtype = 'd' AND t.oid = h.typbasetype)"
        "  SELECT (pg_catalog.array_agg(oid ORDER BY depth DESC))[1] AS type,"
        "  (pg_catalog.array_agg(typmod ORDER BY depth DESC))[1] AS typmod,"
        "  pg_catalog.bool_or(typnotnull) AS not_null,"
        "  pg_catalog.bool_or(typdefault IS NOT NULL) AS has_default FROM chain) b"
        " WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum";
    const char *const params[] = { d->schema, name };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    enum tr_rc rc = pg_run(cx, d, sql, 2, params, &r, NULL, err);
    if (rc != TR_OK)
        return tr_wrap(err, "read columns of %s", name);
    int n = PQntuples(r);
    struct pg_column *columns = calloc((size_t)n + 1, sizeof(*columns));
    if (columns == NULL)
        return tr_fail_oom(err);
    for (int i = 0; i < n; i++) {
        struct pg_column *c = &columns[i];
        copy_text(c->name, sizeof(c->name), r, i, 0);
        copy_text(c->type_name, sizeof(c->type_name), r, i, 1);
        c->type = (uint32_t)strtoul(PQgetvalue(r, i, 2), NULL, 10);
        c->typmod = (int32_t)strtol(PQgetvalue(r, i, 3), NULL, 10);
        c->not_null = is_true(r, i, 4);
        c->has_default = is_true(r, i, 5);
        c->generated = is_true(r, i, 6);
        c->folds = is_true(r, i, 7);
        c->always = is_true(r, i, 8);
    }
    *ret = columns;
    *ret_n = (size_t)n;
    return TR_OK;
}

static enum tr_rc fail_create(struct pg_dest *d, const char *name, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "postgres.permission_denied",
                   "GRANT USAGE, CREATE ON SCHEMA <schema> TO <user>",
                   "user %s may not create table %s in schema %s", PQuser(d->conn), name,
                   d->schema);
}

/* --- the ledger --- */

static enum tr_rc check_ledger(const struct tr_ctx *cx, struct pg_dest *d,
                               const struct relation *rel, struct tr_err *err)
{
    static const char *const names[] = { "key",      "range_lo", "range_hi",   "delivered",
                                         "rejected", "repaired", "table_name", "committed_at" };
    struct pg_column *columns = NULL;
    size_t n = 0, found = 0;

    if (!rel->may_insert || !rel->may_select || !rel->may_update)
        return tr_fail(err, TR_REFUSED, "postgres.permission_denied",
                       "GRANT SELECT, INSERT, UPDATE ON <schema>.tailrace_ledger TO <user>",
                       "user %s may not use the ledger %s", PQuser(d->conn), d->ledger_sql);
    enum tr_rc rc = read_columns(cx, d, PG_LEDGER, &columns, &n, err);
    if (rc != TR_OK)
        return rc;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            found += strcmp(columns[i].name, names[k]) == 0;
    free(columns);
    if (found != sizeof(names) / sizeof(names[0]))
        return tr_fail(err, TR_REFUSED, "postgres.ledger",
                       "rename that table, or use another schema",
                       "table %s exists and is not a ledger of this program", d->ledger_sql);
    return TR_OK;
}

static enum tr_rc prepare_ledger(const struct tr_ctx *cx, struct pg_dest *d, bool may_create,
                                 struct tr_notice_sink *notices, struct pg_class *ret_class,
                                 struct tr_err *err)
{
    struct relation rel;
    struct tr_buf sql;

    enum tr_rc rc = read_relation(cx, d, PG_LEDGER, &rel, err);
    if (rc != TR_OK)
        return rc;
    if (rel.exists)
        return check_ledger(cx, d, &rel, err);
    if (!may_create)
        return fail_create(d, PG_LEDGER, err);
    rc = pg_name_free(cx, d, PG_LEDGER, err);
    if (rc != TR_OK)
        return rc;
    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_printf(&sql, "CREATE TABLE %s (%s)", d->ledger_sql, pg_ledger_columns);
    rc = run_text(cx, d, &sql, ret_class, err);
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return tr_wrap(err, "create the ledger %s", d->ledger_sql);
    rc = pg_name_share_ledger(cx, d, err);
    if (rc != TR_OK)
        return rc;
    if (notices != NULL)
        notices->notice(notices, "ledger created: " PG_LEDGER);
    return TR_OK;
}

/* --- the table --- */

static void put_primary_key(struct tr_buf *sql, const struct tr_projection *p)
{
    tr_buf_z(sql, ", PRIMARY KEY (");
    for (size_t k = 0; k < p->schema->n_keys; k++)
        for (size_t i = 0; i < p->n; i++)
            if (p->column[i] == p->schema->keys[k]) {
                tr_buf_z(sql, k == 0 ? "" : ", ");
                pg_quote(sql, p->name[i]);
                break;
            }
    tr_buf_ch(sql, ')');
}

static enum tr_rc create_table(const struct tr_ctx *cx, struct pg_dest *d,
                               const struct tr_projection *p, struct tr_notice_sink *notices,
                               struct pg_class *ret_class, struct tr_err *err)
{
    struct tr_buf sql;
    char text[128];

    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_printf(&sql, "CREATE TABLE %s (", d->table_sql);
    for (size_t i = 0, n = 0; i < p->n; i++) {
        if (p->optional[i])
            continue;
        tr_buf_z(&sql, n++ == 0 ? "" : ", ");
        pg_quote(&sql, p->name[i]);
        tr_buf_printf(&sql, " %s", pg_fit_create_type(p->schema, p->column[i]));
    }
    if (p->schema->is_mutable)
        put_primary_key(&sql, p);
    tr_buf_ch(&sql, ')');
    enum tr_rc rc = run_text(cx, d, &sql, ret_class, err);
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return tr_wrap(err, "create table %s", d->table_sql);
    if (notices != NULL) {
        (void)snprintf(text, sizeof(text), "table created: %s", d->table);
        notices->notice(notices, text);
    }
    return TR_OK;
}

/* What the server would say only at the first row. */
static enum tr_rc check_writable(struct pg_dest *d, const struct tr_projection *p,
                                 const struct relation *rel, struct tr_err *err)
{
    if (!rel->may_insert)
        return tr_fail(err, TR_REFUSED, "postgres.permission_denied",
                       "GRANT INSERT ON <schema>.<table> TO <user>",
                       "user %s may not insert into %s", PQuser(d->conn), d->table_sql);
    if (rel->filters_rows && !p->schema->is_mutable)
        return tr_fail(err, TR_REFUSED, "postgres.not_supported",
                       "let the user own the table, or ALTER ROLE <user> BYPASSRLS",
                       "row-level security holds for user %s on %s: COPY cannot write there",
                       PQuser(d->conn), d->table_sql);
    if (rel->has_rules && p->schema->is_mutable)
        return tr_fail(err, TR_REFUSED, "postgres.not_supported",
                       "drop the rules of the table, or use another table",
                       "%s has rules: rows cannot be updated by key there", d->table_sql);
    return TR_OK;
}

static enum tr_rc prepare_table(const struct tr_ctx *cx, struct pg_dest *d,
                                const struct tr_projection *p, bool may_create, struct pg_fit *ret,
                                struct tr_notice_sink *notices, struct pg_class *ret_class,
                                struct tr_err *err)
{
    struct relation rel;
    struct pg_column *columns = NULL;
    size_t n = 0;

    enum tr_rc rc = read_relation(cx, d, d->table, &rel, err);
    if (rc != TR_OK)
        return rc;
    if (!rel.exists && !may_create)
        return fail_create(d, d->table, err);
    if (rel.exists)
        rc = check_writable(d, p, &rel, err);
    else
        rc = pg_name_free(cx, d, d->table, err);
    if (rc == TR_OK && !rel.exists)
        rc = create_table(cx, d, p, notices, ret_class, err);
    if (rc != TR_OK)
        return rc;
    rc = read_columns(cx, d, d->table, &columns, &n, err);
    if (rc == TR_OK)
        rc = pg_fit(p, columns, n, ret, notices, err);
    if (rc == TR_OK && p->schema->is_mutable && !rel.may_update && rel.exists)
        rc = tr_fail(err, TR_REFUSED, "postgres.permission_denied",
                     "GRANT SELECT, INSERT, UPDATE ON <schema>.<table> TO <user>",
                     "user %s may not update %s", PQuser(d->conn), d->table_sql);
    if (rc == TR_OK && p->schema->is_mutable)
        rc = pg_upsert_check(cx, d, ret, err);
    free(columns);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "fit table %s", d->table_sql);
}

/* The server converts to the database's encoding and refuses what that does not have. */
static void notice_encoding(struct pg_dest *d, struct tr_notice_sink *notices)
{
    const char *encoding = PQparameterStatus(d->conn, "server_encoding");
    char text[160];

    if (notices == NULL || encoding == NULL || strcmp(encoding, "UTF8") == 0)
        return;
    (void)snprintf(
        text, sizeof(text),
        "the database's encoding is %s: rows with characters it does not have are rejected",
        encoding);
    notices->notice(notices, text);
}

/* Two exports that start at once must not both create: one lock for each schema, held until the
 * transaction ends. */
static enum tr_rc lock_schema(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    char number[24];
    const char *const params[] = { number };

    (void)snprintf(
        number, sizeof(number), "%lld",
        (long long)tr_hash64(d->schema, strlen(d->schema), UINT64_C(0x7461696c72616365)));
    return pg_run(cx, d, "SELECT pg_catalog.pg_advisory_xact_lock($1)", 1, params, NULL, NULL, err);
}

enum tr_rc pg_table_prepare(const struct tr_ctx *cx, struct pg_dest *d,
                            const struct tr_projection *p, struct pg_fit *ret,
                            struct tr_notice_sink *notices, struct pg_class *ret_class,
                            struct tr_err *err)
{
    bool may_create = false;

    *ret_class = (struct pg_class){ .rc = TR_INTERNAL };
    enum tr_rc rc = pg_name_check(p, err);
    if (rc == TR_OK)
        rc = read_schema(cx, d, &may_create, err);
    if (rc == TR_OK)
        rc = lock_schema(cx, d, err);
    if (rc == TR_OK)
        rc = prepare_ledger(cx, d, may_create, notices, ret_class, err);
    if (rc == TR_OK)
        rc = prepare_table(cx, d, p, may_create, ret, notices, ret_class, err);
    return rc;
}

static bool same_fit(const struct tr_pgcopy *a, const struct tr_pgcopy *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->col[i].column != b->col[i].column || a->col[i].form != b->col[i].form ||
            a->col[i].max_chars != b->col[i].max_chars)
            return false;
    return true;
}

enum tr_rc pg_table_unchanged(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    struct pg_column *columns = NULL;
    struct pg_fit fit;
    size_t n = 0;

    enum tr_rc rc = read_columns(cx, d, d->table, &columns, &n, err);
    if (rc == TR_OK)
        rc = pg_fit(&d->projection, columns, n, &fit, NULL, err);
    free(columns);
    if (rc == TR_OK && !same_fit(&fit.copy, &d->fit.copy))
        rc = tr_fail(err, TR_REFUSED, "postgres.table_changed",
                     "somebody changed the table: start the run again",
                     "the columns of %s are not what they were when the run started", d->table_sql);
    return rc;
}

char *pg_table_copy_sql(const char *table, const struct pg_fit *fit)
{
    struct tr_buf sql;

    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_printf(&sql, "COPY %s (", table);
    for (size_t i = 0; i < fit->copy.n; i++) {
        tr_buf_z(&sql, i == 0 ? "" : ", ");
        pg_quote(&sql, fit->name[i]);
    }
    tr_buf_add(&sql, TR_STR(") FROM STDIN (FORMAT binary)").p,
               sizeof(") FROM STDIN (FORMAT binary)"));
    if (sql.failed)
        tr_buf_fini(&sql);
    return sql.p;
}

/* --- prepare --- */

/* The projection with names of our own: what fit and SQL point into stays as long as the object. */
static enum tr_rc keep_projection(struct pg_dest *d, const struct tr_projection *p,
                                  struct tr_err *err)
{
    size_t bytes = 0;

    for (size_t i = 0; i < p->n; i++)
        bytes += strlen(p->name[i]) + 1;
    char *names = malloc(bytes + 1);
    if (names == NULL)
        return tr_fail_oom(err);
    char *at = names;
    d->projection = *p;
    for (size_t i = 0; i < p->n; i++) {
        size_t n = strlen(p->name[i]) + 1;
        memcpy(at, p->name[i], n);
        d->projection.name[i] = at;
        at += n;
    }
    free(d->names);
    d->names = names;
    return TR_OK;
}

static enum tr_rc prepare_once(const struct tr_ctx *cx, struct pg_dest *d,
                               struct tr_notice_sink *notices, struct pg_class *ret_class,
                               struct tr_err *err)
{
    enum tr_rc rc = pg_begin(cx, d, pg_left_ms(cx), err);

    if (rc != TR_OK)
        return rc;
    rc = pg_table_prepare(cx, d, &d->projection, &d->fit, notices, ret_class, err);
    if (rc == TR_OK)
        rc = pg_commit(cx, d, ret_class, err);
    if (rc != TR_OK)
        pg_reset(d);
    return rc;
}

enum tr_rc pg_prepare(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                      tr_column_mask *ret_used, struct tr_notice_sink *notices, struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);
    struct pg_class class = { .rc = TR_INTERNAL };

    d->prepared = false;
    enum tr_rc rc = pg_name_check(p, err);
    if (rc == TR_OK)
        rc = keep_projection(d, p, err);
    if (rc != TR_OK)
        return rc;
    rc = prepare_once(cx, d, notices, &class, err);
    if (rc != TR_OK &&
        class.about == PG_RACE) /* somebody who does not take our lock: now it is there */
        rc = prepare_once(cx, d, notices, &class, err);
    if (rc != TR_OK && class.about == PG_RACE) /* it is no table, or it would have been found */
        rc = tr_fail(err, TR_REFUSED, "postgres.not_a_table", "choose another table_name or schema",
                     "something of that name is there already: %s", err->cause);
    if (rc == TR_AMBIGUOUS) /* nothing but CREATE: to do it again is safe */
        rc = tr_fail(err, TR_TRANSIENT, "postgres.connection_lost", NULL,
                     "the connection broke while the table was created");
    if (rc != TR_OK)
        return rc;
    free(d->copy_sql);
    d->copy_sql = pg_table_copy_sql(p->schema->is_mutable ? PG_STAGE : d->table_sql, &d->fit);
    if (d->copy_sql == NULL)
        return tr_fail_oom(err);
    if (p->schema->is_mutable && pg_upsert_prepare(d, err) != TR_OK)
        return TR_INTERNAL;
    notice_encoding(d, notices);
    d->prepared = true;
    *ret_used = 0;
    for (size_t i = 0; i < d->fit.copy.n; i++)
        *ret_used |= (tr_column_mask)1 << d->fit.copy.col[i].column;
    return TR_OK;
}

/* --- look --- */

static enum tr_rc look_at_table(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    struct pg_column *columns = NULL;
    struct relation rel;
    size_t n = 0;

    enum tr_rc rc = read_relation(cx, d, d->table, &rel, err);
    d->absent = rc == TR_OK && !rel.exists;
    if (rc != TR_OK || d->absent)
        return rc;
    if (!rel.may_select)
        return tr_fail(err, TR_REFUSED, "postgres.permission_denied",
                       "GRANT SELECT ON <schema>.<table> TO <user>", "user %s may not read %s",
                       PQuser(d->conn), d->table_sql);
    rc = read_columns(cx, d, d->table, &columns, &n, err);
    for (size_t i = 0; i < n; i++) /* nothing is written: what it wants a value in is no matter */
        columns[i].not_null = false;
    if (rc == TR_OK)
        rc = pg_fit(&d->projection, columns, n, &d->fit, NULL, err);
    free(columns);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "fit table %s", d->table_sql);
}

enum tr_rc pg_look(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);

    d->prepared = false;
    enum tr_rc rc = pg_name_check(p, err);
    if (rc == TR_OK)
        rc = keep_projection(d, p, err);
    if (rc == TR_OK)
        rc = pg_begin(cx, d, pg_left_ms(cx), err);
    if (rc != TR_OK)
        return rc;
    rc = pg_table_schema(cx, d, err);
    if (rc == TR_OK)
        rc = look_at_table(cx, d, err);
    pg_reset(d);
    return rc;
}
