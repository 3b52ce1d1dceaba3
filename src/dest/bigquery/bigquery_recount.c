/* Rows counted again, by queries at the table itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "encode/json_put.h"

/* A request may have 10 MB ("Quotas and limits", BigQuery documentation). */
enum { UUIDS_AT_ONCE = 20000, ROWS_BYTES = 4 << 20, SQL_BYTES = 65536, WAIT_MS = 10000 };

/* ---- one query ---- */

static void write_head(struct bq_dest *d, const struct tr_buf *sql)
{
    tr_buf_clear(&d->body);
    tr_buf_z(&d->body, "{\"query\":");
    tr_buf_json_str(&d->body, tr_buf_view(sql));
    tr_buf_z(&d->body, ",\"useLegacySql\":false,\"useQueryCache\":false,\"location\":");
    tr_buf_json_str(&d->body, tr_str_of(d->place.location));
    tr_buf_printf(&d->body,
                  ",\"timeoutMs\":\"%d\",\"parameterMode\":\"NAMED\",\"queryParameters\":[",
                  WAIT_MS);
}

static enum tr_rc ask_again(const struct tr_ctx *cx, struct bq_dest *d, struct bq_result *r,
                            size_t n, struct tr_err *err)
{
    char wait[16];

    (void)snprintf(wait, sizeof(wait), "%d", WAIT_MS);
    bq_url(d, BQ_ROOT_API, "queries");
    bq_url_part(d, r->job_id);
    bq_url_query(d, "location", d->place.location);
    bq_url_query(d, "timeoutMs", wait);
    enum tr_rc rc = bq_get(cx, d, NULL, err);
    return rc == TR_OK ? bq_read_result(bq_answer(d), n, r, err) : rc;
}

/* The query in d->body, whose first row has n numbers. */
static enum tr_rc ask(const struct tr_ctx *cx, struct bq_dest *d, size_t n, struct bq_result *ret,
                      struct tr_err *err)
{
    bq_url(d, BQ_ROOT_API, "queries");
    enum tr_rc rc = bq_post(cx, d, true, NULL, err);
    if (rc == TR_OK)
        rc = bq_read_result(bq_answer(d), n, ret, err);
    while (rc == TR_OK && !ret->is_complete)
        rc = ask_again(cx, d, ret, n, err);
    return rc;
}

/* ---- events ---- */

static void write_uuids(struct bq_dest *d, const struct tr_buf *sql, const struct tr_uuid *uuids,
                        size_t n)
{
    write_head(d, sql);
    tr_buf_z(&d->body, "{\"name\":\"uuids\",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{"
                       "\"type\":\"STRING\"}},\"parameterValue\":{\"arrayValues\":[");
    for (size_t i = 0; i < n; i++) {
        tr_buf_z(&d->body, i == 0 ? "{\"value\":" : ",{\"value\":");
        tr_json_put_uuid(&d->body, &uuids[i]);
        tr_buf_ch(&d->body, '}');
    }
    tr_buf_z(&d->body, "]}}]}");
}

static enum tr_rc count_uuids(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_buf *sql,
                              const struct tr_uuid *uuids, size_t n, struct tr_recount *into,
                              struct tr_err *err)
{
    struct bq_result r;

    write_uuids(d, sql, uuids, n);
    enum tr_rc rc = ask(cx, d, 2, &r, err);
    if (rc != TR_OK)
        return rc;
    into->found += r.number[0];
    into->copies += r.number[1] - r.number[0];
    return TR_OK;
}

static const struct bq_column *team_column(const struct bq_fit *fit)
{
    for (size_t i = 0; i < fit->n; i++)
        if (fit->col[i].column == TR_EVENT_TEAM_ID)
            return fit->col[i].to;
    return NULL;
}

/* Two projects may have events of one uuid in one table. Rows without a project are from before the
 * column was there: the owner's, as long as no other project delivers into the place. */
static void put_owner(struct tr_buf *sql, const struct bq_fit *fit, const struct tr_owner *owner)
{
    const struct bq_column *team = team_column(fit);
    const char *quote = team != NULL && team->type == BQ_STRING ? "'" : "";

    if (team == NULL)
        return;
    tr_buf_z(sql, " AND (t.");
    bq_sql_name(sql, team->name);
    tr_buf_printf(sql, " = %s%" PRId32 "%s", quote, owner->project, quote);
    if (!owner->mixed) {
        tr_buf_z(sql, " OR t.");
        bq_sql_name(sql, team->name);
        tr_buf_z(sql, " IS NULL");
    }
    tr_buf_ch(sql, ')');
}

static void put_join(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                     const struct bq_fit *fit, const struct tr_owner *owner)
{
    tr_buf_z(sql, " JOIN ");
    bq_sql_table(sql, p, p->table);
    tr_buf_z(sql, " AS t ON t.");
    bq_sql_name(sql, fit->col[fit->uuid].to->name);
    tr_buf_z(sql, " = u");
    put_owner(sql, fit, owner);
    bq_sql_any_partition(sql, t);
}

void bq_recount_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                    const struct bq_fit *fit, const struct tr_owner *owner)
{
    tr_buf_z(sql, "SELECT COUNT(DISTINCT u), COUNT(*) FROM UNNEST(@uuids) AS u");
    put_join(sql, p, t, fit, owner);
}

void bq_which_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                  const struct bq_fit *fit, const struct tr_owner *owner)
{
    tr_buf_z(sql, "SELECT STRING_AGG(DISTINCT CAST(i AS STRING)) FROM UNNEST(@uuids) AS u WITH "
                  "OFFSET AS i");
    put_join(sql, p, t, fit, owner);
}

enum tr_rc bq_which(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_owner *owner,
                    const struct tr_uuid *uuids, size_t n, bool *ret, struct tr_err *err)
{
    struct bq_result r;
    struct tr_buf sql;

    tr_buf_init(&sql, SQL_BYTES);
    bq_which_sql(&sql, &d->place, &d->table, &d->fit, owner);
    write_uuids(d, &sql, uuids, n);
    enum tr_rc rc = sql.failed || d->body.failed ? tr_fail_oom(err) : ask(cx, d, 0, &r, err);
    if (rc == TR_OK)
        rc = bq_read_marks(bq_answer(d), n, ret, err);
    tr_buf_fini(&sql);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "look which rows are in %.100s", d->place.table);
}

/* Asks the table itself, not the jobs: keys are not needed. */
enum tr_rc bq_recount(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_owner *owner,
                      const struct tr_key *keys, size_t n_keys, const struct tr_uuid *uuids,
                      size_t n, struct tr_recount *ret, struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);
    struct tr_recount count = { .expected = n };

    struct tr_buf sql;
    enum tr_rc rc = TR_OK;

    (void)keys;
    (void)n_keys;
    if (d->absent) {
        *ret = count;
        return TR_OK;
    }
    if (d->fit.uuid < 0)
        return tr_fail(err, TR_REFUSED, "bigquery.no_uuid_column",
                       "add uuid to the export's columns and to the table",
                       "rows cannot be counted again: the table has no column for uuid");
    if (owner->mixed && team_column(&d->fit) == NULL)
        return tr_fail(
            err, TR_REFUSED, tr_dest_not_own,
            "add team_id to the table and to the export's columns, or give each project a "
            "table of its own",
            "whose rows they are cannot be told: another project delivers into %.100s, and "
            "the export does not fill team_id there",
            d->place.table);
    tr_buf_init(&sql, SQL_BYTES);
    bq_recount_sql(&sql, &d->place, &d->table, &d->fit, owner);
    if (sql.failed)
        rc = tr_fail_oom(err);
    for (size_t i = 0; i < n && rc == TR_OK; i += UUIDS_AT_ONCE)
        rc = count_uuids(cx, d, &sql, uuids + i, n - i < UUIDS_AT_ONCE ? n - i : UUIDS_AT_ONCE,
                         &count, err);
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return tr_wrap(err, "count rows in %.100s", d->place.table);
    *ret = count;
    return TR_OK;
}

/* ---- rows that change ---- */

static const struct bq_fit_column *column_of(const struct bq_fit *fit, int column)
{
    size_t i = 0;

    while (fit->col[i].column != column) /* bq_fit saw to it that it is there */
        i++;
    return &fit->col[i];
}

const char *bq_recount_type(const struct bq_fit_column *c)
{
    switch (c->to->type) {
    case BQ_INTEGER:
        return "INT64";
    case BQ_NUMERIC:
        return "BIGNUMERIC";
    case BQ_TIMESTAMP:
        return "TIMESTAMP";
    case BQ_DATETIME:
        return "DATETIME";
    case BQ_STRING:
    case BQ_JSON:
    case BQ_BOOLEAN:
    case BQ_FLOAT:
    case BQ_TYPE_OTHER:
        break;
    }
    return "STRING";
}

/* Values go as text, whatever their type. */
static void put_parameter(struct tr_buf *out, const struct tr_batch *b,
                          const struct bq_fit_column *c, size_t row)
{
    const union tr_vector *v = &b->col[c->column];

    switch (b->schema->columns[c->column].type) {
    case TR_TYPE_INT64:
        tr_buf_printf(out, "\"%" PRId64 "\"", v->i64[row]);
        break;
    case TR_TYPE_TIME:
        tr_json_put_time(out, v->i64[row]);
        if (c->form == BQ_AS_DATETIME && !out->failed) {
            out->n -= 2;
            tr_buf_ch(out, '"');
        }
        break;
    case TR_TYPE_UUID:
        tr_json_put_uuid(out, &v->uuid[row]);
        break;
    case TR_TYPE_TEXT:
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
    case TR_TYPE_BOOL:
    case TR_TYPE_FLOAT:
        tr_buf_json_str(out, v->str[row]);
        break;
    }
}

/* One array for each key and version, side by side. */
static void put_array(struct bq_dest *d, const struct tr_batch *b, int column, size_t i,
                      size_t from, size_t to)
{
    const struct bq_fit_column *c = column_of(&d->fit, column);

    tr_buf_printf(
        &d->body,
        "%s{\"name\":\"p%zu\",\"parameterType\":{\"type\":\"ARRAY\",\"arrayType\":{\"type\":"
        "\"%s\"}},\"parameterValue\":{\"arrayValues\":[",
        i == 0 ? "" : ",", i, bq_recount_type(c));
    for (size_t row = from; row < to; row++) {
        tr_buf_z(&d->body, row == from ? "{\"value\":" : ",{\"value\":");
        put_parameter(&d->body, b, c, row);
        tr_buf_ch(&d->body, '}');
    }
    tr_buf_z(&d->body, "]}}");
}

/* Found: in that version or a newer one. Copies: rows of a key beyond one, of any version. */
void bq_recount_rows_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *table,
                         const struct bq_fit *fit)
{
    const struct tr_schema *s = fit->schema;

    tr_buf_z(sql, "SELECT COUNT(DISTINCT IF(newer, i, NULL)), COUNT(*) - COUNT(DISTINCT i) FROM "
                  "(SELECT i, (");
    for (size_t v = 0; v < s->n_versions; v++) {
        size_t n = s->n_keys + v;
        bool last = v + 1 == s->n_versions;

        tr_buf_z(sql, "t.");
        bq_sql_name(sql, column_of(fit, s->versions[v])->to->name);
        tr_buf_printf(sql, last ? " >= @p%zu[OFFSET(i)]" : " > @p%zu[OFFSET(i)] OR (", n);
        if (last)
            break;
        tr_buf_z(sql, "t.");
        bq_sql_name(sql, column_of(fit, s->versions[v])->to->name);
        tr_buf_printf(sql, " = @p%zu[OFFSET(i)] AND (", n);
    }
    for (size_t v = 1; v < s->n_versions; v++)
        tr_buf_z(sql, "))");
    tr_buf_z(sql, ") AS newer FROM UNNEST(@p0) AS k WITH OFFSET AS i JOIN ");
    bq_sql_table(sql, p, p->table);
    tr_buf_z(sql, " AS t ON ");
    for (size_t k = 0; k < s->n_keys; k++) {
        tr_buf_z(sql, k == 0 ? "t." : " AND t.");
        bq_sql_name(sql, column_of(fit, s->keys[k])->to->name);
        if (k == 0)
            tr_buf_z(sql, " = k");
        else
            tr_buf_printf(sql, " = @p%zu[OFFSET(i)]", k);
    }
    bq_sql_any_partition(sql, table);
    tr_buf_ch(sql, ')');
}

static enum tr_rc count_rows(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_buf *sql,
                             const struct tr_batch *b, size_t from, size_t to,
                             struct tr_recount *into, struct tr_err *err)
{
    const struct tr_schema *s = b->schema;
    struct bq_result r;

    write_head(d, sql);
    for (size_t i = 0; i < s->n_keys; i++)
        put_array(d, b, s->keys[i], i, from, to);
    for (size_t i = 0; i < s->n_versions; i++)
        put_array(d, b, s->versions[i], s->n_keys + i, from, to);
    tr_buf_z(&d->body, "]}");
    enum tr_rc rc = ask(cx, d, 2, &r, err);
    if (rc != TR_OK)
        return rc;
    into->found += r.number[0];
    into->copies += r.number[1];
    return TR_OK;
}

/* So many rows that their keys do not make a request too long. */
static size_t piece_end(const struct tr_batch *b, size_t from)
{
    const struct tr_schema *s = b->schema;
    size_t bytes = 0, i = from;

    for (; i < b->rows && (bytes < ROWS_BYTES || i == from); i++)
        for (size_t k = 0; k < s->n_keys; k++)
            if (s->columns[s->keys[k]].type == TR_TYPE_TEXT)
                bytes += b->col[s->keys[k]].str[i].n;
    return i;
}

enum tr_rc bq_recount_rows(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_batch *b,
                           struct tr_recount *ret, struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);
    struct tr_recount count = { .expected = b->rows };
    struct tr_buf sql;
    enum tr_rc rc = TR_OK;

    if (d->absent) {
        *ret = count;
        return TR_OK;
    }
    tr_buf_init(&sql, SQL_BYTES);
    bq_recount_rows_sql(&sql, &d->place, &d->table, &d->fit);
    if (sql.failed)
        rc = tr_fail_oom(err);
    for (size_t from = 0; from < b->rows && rc == TR_OK;) {
        size_t to = piece_end(b, from);
        rc = count_rows(cx, d, &sql, b, from, to, &count, err);
        from = to;
    }
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return tr_wrap(err, "count rows in %.100s", d->place.table);
    *ret = count;
    return TR_OK;
}
