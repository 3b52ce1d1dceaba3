/* Mutable models: rows go by COPY into a temporary stage, and from it into the table in one
 * statement that keeps, of two rows with one key, the one with the higher version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "dest/postgres/postgres_priv.h"

enum { SQL_BYTES = 65536, ARRAY_BYTES = 64 << 20, PARAMS = 8 };

static const char *name_of(const struct pg_fit *fit, int column)
{
    for (size_t i = 0; i < fit->copy.n; i++)
        if (fit->copy.col[i].column == column)
            return fit->name[i];
    return ""; /* pg_fit saw to it */
}

/* The names of some of the model's columns, each quoted behind a prefix, with commas. */
static void put_list(struct tr_buf *sql, const struct pg_fit *fit, const char *prefix,
                     const int *columns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tr_buf_z(sql, i == 0 ? "" : ", ");
        tr_buf_z(sql, prefix);
        pg_quote(sql, name_of(fit, columns[i]));
    }
}

static void put_all(struct tr_buf *sql, const struct pg_fit *fit)
{
    for (size_t i = 0; i < fit->copy.n; i++) {
        tr_buf_z(sql, i == 0 ? "" : ", ");
        pg_quote(sql, fit->name[i]);
    }
}

/* --- the key --- */

static enum tr_rc fail_no_key(struct pg_dest *d, const struct pg_fit *fit, struct tr_err *err)
{
    const struct tr_schema *s = fit->copy.schema;
    struct tr_buf sql;

    tr_buf_init(&sql, SQL_BYTES);
    put_list(&sql, fit, "", s->keys, s->n_keys);
    tr_buf_ch(&sql, '\0');
    enum tr_rc rc = tr_fail(err, TR_REFUSED, "postgres.no_primary_key",
                            "run that statement as the table's owner, or use another table",
                            "rows cannot be updated without a key: ALTER TABLE %s ADD PRIMARY KEY "
                            "(%s)",
                            d->table_sql, sql.failed ? ".." : sql.p);
    tr_buf_fini(&sql);
    return rc;
}

/* A unique index over just the key columns, which ON CONFLICT can take: not partial, no expression,
 * not deferrable. */
enum tr_rc pg_upsert_check(const struct tr_ctx *cx, struct pg_dest *d, const struct pg_fit *fit,
                           struct tr_err *err)
{
    static const char sql[] =
        "SELECT 1 FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid"
        " AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL"
        " AND (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text)"
        "  FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) k(n)"
        "  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.n)"
        " = (SELECT pg_catalog.array_agg(x ORDER BY x)"
        "  FROM pg_catalog.unnest($3::text[]) x) LIMIT 1";
    const struct tr_schema *s = fit->copy.schema;
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct tr_buf names;

    tr_buf_init(&names, SQL_BYTES);
    tr_buf_ch(&names, '{');
    for (size_t i = 0; i < s->n_keys; i++) {
        tr_buf_z(&names, i == 0 ? "" : ",");
        pg_array_text(&names, tr_str_of(name_of(fit, s->keys[i])));
    }
    tr_buf_add(&names, "}", sizeof("}"));
    const char *const params[] = { d->schema, d->table, names.p };
    enum tr_rc rc = names.failed ? tr_fail_oom(err) : pg_run(cx, d, sql, 3, params, &r, NULL, err);
    tr_buf_fini(&names);
    if (rc != TR_OK)
        return tr_wrap(err, "look for a key");
    return PQntuples(r) > 0 ? TR_OK : fail_no_key(d, fit, err);
}

/* --- the statements --- */

static bool is_key(const struct tr_schema *s, int column)
{
    return s->columns[column].role == TR_ROLE_KEY;
}

/* What differs of the other columns, though the version is the same: another export of the
 * installation has written the row, with columns of its own. json has no equality but as text. */
static void put_differs(struct tr_buf *sql, const struct pg_fit *fit)
{
    const struct tr_schema *s = fit->copy.schema;
    bool any = false;

    for (size_t i = 0; i < fit->copy.n; i++) {
        const struct tr_pgcopy_column *c = &fit->copy.col[i];
        const char *as = c->form == TR_PGCOPY_JSON ? "::text" : "";

        if (s->columns[c->column].role == TR_ROLE_KEY ||
            s->columns[c->column].role == TR_ROLE_VERSION)
            continue;
        tr_buf_z(sql, any ? " OR t." : " OR ((");
        if (!any) {
            put_list(sql, fit, "t.", s->versions, s->n_versions);
            tr_buf_z(sql, ") = (");
            put_list(sql, fit, "EXCLUDED.", s->versions, s->n_versions);
            tr_buf_z(sql, ") AND (t.");
        }
        pg_quote(sql, fit->name[i]);
        tr_buf_printf(sql, "%s IS DISTINCT FROM EXCLUDED.", as);
        pg_quote(sql, fit->name[i]);
        tr_buf_z(sql, as);
        any = true;
    }
    tr_buf_z(sql, any ? "))" : "");
}

/* Of the stage: how many keys, how many of them are in the table in this version or a newer one,
 * and how many in a newer one. */
static char *merged_sql(const struct pg_dest *d)
{
    const struct pg_fit *fit = &d->fit;
    const struct tr_schema *s = fit->copy.schema;
    struct tr_buf sql;

    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_z(&sql, "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE (");
    put_list(&sql, fit, "t.", s->versions, s->n_versions);
    tr_buf_z(&sql, ") >= (");
    put_list(&sql, fit, "s.", s->versions, s->n_versions);
    tr_buf_z(&sql, ")), pg_catalog.count(*) FILTER (WHERE (");
    put_list(&sql, fit, "t.", s->versions, s->n_versions);
    tr_buf_z(&sql, ") > (");
    put_list(&sql, fit, "s.", s->versions, s->n_versions);
    tr_buf_z(&sql, ")) FROM (SELECT DISTINCT ON (");
    put_list(&sql, fit, "", s->keys, s->n_keys);
    tr_buf_z(&sql, ") * FROM " PG_STAGE " ORDER BY ");
    put_list(&sql, fit, "", s->keys, s->n_keys);
    for (size_t i = 0; i < s->n_versions; i++) {
        tr_buf_z(&sql, ", ");
        pg_quote(&sql, name_of(fit, s->versions[i]));
        tr_buf_z(&sql, " DESC NULLS LAST");
    }
    tr_buf_printf(&sql, ") s LEFT JOIN %s t ON (", d->table_sql);
    put_list(&sql, fit, "t.", s->keys, s->n_keys);
    tr_buf_z(&sql, ") = (");
    put_list(&sql, fit, "s.", s->keys, s->n_keys);
    tr_buf_add(&sql, ")", sizeof(")"));
    if (sql.failed)
        tr_buf_fini(&sql);
    return sql.p;
}

/* The weightiest version that differs decides; a version that is missing in the table is the
 * lowest. Rows of one key within the stage: the newest. */
static char *upsert_sql(const struct pg_dest *d, const char *older)
{
    const struct pg_fit *fit = &d->fit;
    const struct tr_schema *s = fit->copy.schema;
    struct tr_buf sql;
    size_t n = 0;

    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_printf(&sql, "INSERT INTO %s AS t (", d->table_sql);
    put_all(&sql, fit);
    tr_buf_z(&sql, ") SELECT DISTINCT ON (");
    put_list(&sql, fit, "", s->keys, s->n_keys);
    tr_buf_z(&sql, ") ");
    put_all(&sql, fit);
    tr_buf_z(&sql, " FROM " PG_STAGE " ORDER BY ");
    put_list(&sql, fit, "", s->keys, s->n_keys);
    for (size_t i = 0; i < s->n_versions; i++) {
        tr_buf_z(&sql, ", ");
        pg_quote(&sql, name_of(fit, s->versions[i]));
        tr_buf_z(&sql, " DESC NULLS LAST");
    }
    tr_buf_z(&sql, " ON CONFLICT (");
    put_list(&sql, fit, "", s->keys, s->n_keys);
    tr_buf_z(&sql, ") DO UPDATE SET ");
    for (size_t i = 0; i < fit->copy.n; i++) {
        if (is_key(s, fit->copy.col[i].column))
            continue;
        tr_buf_z(&sql, n++ == 0 ? "" : ", ");
        pg_quote(&sql, fit->name[i]);
        tr_buf_z(&sql, " = EXCLUDED.");
        pg_quote(&sql, fit->name[i]);
    }
    tr_buf_z(&sql, " WHERE ((");
    put_list(&sql, fit, "t.", s->versions, s->n_versions);
    tr_buf_printf(&sql, ") %s (", older);
    put_list(&sql, fit, "EXCLUDED.", s->versions, s->n_versions);
    tr_buf_z(&sql, ")) IS NOT FALSE");
    put_differs(&sql, fit);
    tr_buf_ch(&sql, '\0');
    if (sql.failed)
        tr_buf_fini(&sql);
    return sql.p;
}

static char *stage_sql(const struct pg_dest *d)
{
    struct tr_buf sql;

    tr_buf_init(&sql, SQL_BYTES);
    tr_buf_z(&sql, "CREATE TEMPORARY TABLE tailrace_stage ON COMMIT DROP AS SELECT ");
    put_all(&sql, &d->fit);
    tr_buf_printf(&sql, " FROM %s WITH NO DATA", d->table_sql);
    tr_buf_ch(&sql, '\0');
    if (sql.failed)
        tr_buf_fini(&sql);
    return sql.p;
}

enum tr_rc pg_upsert_prepare(struct pg_dest *d, struct tr_err *err)
{
    free(d->stage_sql);
    free(d->upsert_sql);
    free(d->reupsert_sql);
    free(d->merged_sql);
    d->merged_sql = merged_sql(d);
    d->stage_sql = stage_sql(d);
    d->upsert_sql = upsert_sql(d, "<");
    d->reupsert_sql = upsert_sql(d, "<=");
    if (d->stage_sql == NULL || d->upsert_sql == NULL || d->reupsert_sql == NULL ||
        d->merged_sql == NULL)
        return tr_fail_oom(err);
    return TR_OK;
}

enum tr_rc pg_upsert_stage(const struct tr_ctx *cx, struct pg_load *l, struct tr_err *err)
{
    enum tr_rc rc = pg_run(cx, l->d, l->d->stage_sql, 0, NULL, NULL, NULL, err);

    if (rc != TR_OK)
        return tr_wrap(err, "make the stage");
    l->staged = true;
    return TR_OK;
}

/* A trigger may leave rows out without an error: that is no delivery. When fewer rows were written
 * than sent, the others must be there already. */
static enum tr_rc check_merged(const struct tr_ctx *cx, struct pg_load *l, uint64_t written,
                               struct pg_class *ret_class, struct tr_err *err)
{
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    if (written >= l->copied)
        return TR_OK;
    enum tr_rc rc = pg_run(cx, l->d, l->d->merged_sql, 0, NULL, &r, ret_class, err);
    if (rc != TR_OK)
        return rc;
    uint64_t keys = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    uint64_t there = strtoull(PQgetvalue(r, 0, 1), NULL, 10);
    if (l->spec.replace) /* what is no newer had to be written */
        there = strtoull(PQgetvalue(r, 0, 2), NULL, 10) + written;
    if (there >= keys)
        return TR_OK;
    *ret_class = (struct pg_class){ TR_REFUSED, PG_ELSE, "postgres.rows_dropped", NULL };
    return tr_fail(err, TR_REFUSED, "postgres.rows_dropped",
                   "drop the trigger that leaves rows out, or use a table without it",
                   "the server kept %llu of %llu rows", (unsigned long long)there,
                   (unsigned long long)keys);
}

enum tr_rc pg_upsert_run(const struct tr_ctx *cx, struct pg_load *l, struct pg_class *ret_class,
                         struct tr_err *err)
{
    const char *sql = l->spec.replace ? l->d->reupsert_sql : l->d->upsert_sql;
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    enum tr_rc rc = pg_run(cx, l->d, sql, 0, NULL, &r, ret_class, err);

    if (rc == TR_OK)
        rc = check_merged(cx, l, strtoull(PQcmdTuples(r), NULL, 10), ret_class, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "update %s", l->d->table_sql);
}

/* --- recount --- */

/* An element of an array literal; NUL, which the table cannot hold, as it was written there. */
void pg_array_text(struct tr_buf *out, struct tr_str s)
{
    tr_buf_ch(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0') {
            tr_buf_z(out, "\xEF\xBF\xBD");
            continue;
        }
        if (s.p[i] == '"' || s.p[i] == '\\')
            tr_buf_ch(out, '\\');
        tr_buf_ch(out, s.p[i]);
    }
    tr_buf_ch(out, '"');
}

static void put_element(struct tr_buf *out, const struct tr_batch *b, int column, size_t row)
{
    const union tr_vector *v = &b->col[column];
    char text[64];

    switch (b->schema->columns[column].type) {
    case TR_TYPE_INT64:
        tr_buf_printf(out, "%lld", (long long)v->i64[row]);
        break;
    case TR_TYPE_TIME:
        (void)tr_time_format(v->i64[row], text);
        tr_buf_z(out, text);
        break;
    case TR_TYPE_UUID:
        tr_uuid_format(&v->uuid[row], text);
        tr_buf_z(out, text);
        break;
    case TR_TYPE_TEXT:
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
    case TR_TYPE_BOOL:
    case TR_TYPE_FLOAT:
        pg_array_text(out, v->str[row]);
        break;
    }
}

static const char *array_type(const struct pg_fit *fit, int column)
{
    for (size_t i = 0; i < fit->copy.n; i++)
        if (fit->copy.col[i].column == column && fit->copy.col[i].form == TR_PGCOPY_UUID)
            return "uuid";
    enum tr_type type = fit->copy.schema->columns[column].type;

    return type == TR_TYPE_INT64 ? "bigint" : type == TR_TYPE_TIME ? "timestamptz" : "text";
}

/* One array of every key and version, side by side. */
struct question {
    struct tr_buf sql, arrays[PARAMS];
    const char *params[PARAMS];
    int n;
};

static bool ask_about(struct question *q, const struct pg_fit *fit, const struct tr_batch *b,
                      int column)
{
    struct tr_buf *a = &q->arrays[q->n];

    tr_buf_init(a, ARRAY_BYTES);
    tr_buf_ch(a, '{');
    for (size_t i = 0; i < b->rows; i++) {
        if (i > 0)
            tr_buf_ch(a, ',');
        put_element(a, b, column, i);
    }
    tr_buf_add(a, "}", sizeof("}"));
    tr_buf_printf(&q->sql, "%spg_catalog.unnest($%d::%s[])", q->n == 0 ? "" : ", ", q->n + 1,
                  array_type(fit, column));
    q->params[q->n++] = a->p;
    return !a->failed;
}

static bool make_question(struct question *q, const struct pg_dest *d, const struct tr_batch *b)
{
    const struct pg_fit *fit = &d->fit;
    const struct tr_schema *s = b->schema;
    bool ok = s->n_keys + s->n_versions <= PARAMS;

    tr_buf_init(&q->sql, SQL_BYTES);
    tr_buf_z(&q->sql, "SELECT pg_catalog.count(*) FROM ROWS FROM (");
    for (size_t i = 0; ok && i < s->n_keys; i++)
        ok = ask_about(q, fit, b, s->keys[i]);
    for (size_t i = 0; ok && i < s->n_versions; i++)
        ok = ask_about(q, fit, b, s->versions[i]);
    tr_buf_z(&q->sql, ") AS u(");
    for (int i = 0; i < q->n; i++)
        tr_buf_printf(&q->sql, "%sc%d", i == 0 ? "" : ", ", i);
    tr_buf_printf(&q->sql, ") JOIN %s AS t ON (", d->table_sql);
    put_list(&q->sql, fit, "t.", s->keys, s->n_keys);
    tr_buf_z(&q->sql, ") = (");
    for (size_t i = 0; i < s->n_keys; i++)
        tr_buf_printf(&q->sql, "%su.c%zu", i == 0 ? "" : ", ", i);
    tr_buf_z(&q->sql, ") WHERE (");
    put_list(&q->sql, fit, "t.", s->versions, s->n_versions);
    tr_buf_z(&q->sql, ") >= (");
    for (size_t i = 0; i < s->n_versions; i++)
        tr_buf_printf(&q->sql, "%su.c%zu", i == 0 ? "" : ", ", s->n_keys + i);
    tr_buf_add(&q->sql, ")", sizeof(")"));
    return ok && !q->sql.failed;
}

enum tr_rc pg_recount_rows(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_batch *b,
                           struct tr_recount *ret, struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct question q = { .n = 0 };

    if (d->absent) {
        *ret = (struct tr_recount){ .expected = b->rows };
        return TR_OK;
    }
    enum tr_rc rc = make_question(&q, d, b) ? pg_begin(cx, d, 0, err) : tr_fail_oom(err);
    if (rc == TR_OK)
        rc = pg_run(cx, d, "SET LOCAL row_security = off", 0, NULL, NULL, NULL, err);
    if (rc == TR_OK)
        rc = pg_run(cx, d, q.sql.p, q.n, q.params, &r, NULL, err);
    if (rc == TR_OK)
        *ret = (struct tr_recount){ .expected = b->rows,
                                    .found = strtoull(PQgetvalue(r, 0, 0), NULL, 10) };
    pg_reset(d);
    tr_buf_fini(&q.sql);
    for (int i = 0; i < q.n; i++)
        tr_buf_fini(&q.arrays[i]);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "count rows in %s", d->table_sql);
}
