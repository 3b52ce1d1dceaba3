/* Models whose rows change: a chunk is loaded into a table that lasts some hours (the stage), and
 * merged from there by one statement whose job has the chunk's id. Of two rows with one key the one
 * with the higher version stays, so that chunks may come in any order and more than once. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "dest/bigquery/bigquery_priv.h"
#include "os/kill.h"

enum { SQL_BYTES = 1 << 20 };

/* ---- the statement ---- */

static const struct bq_column *column_of(const struct bq_fit *fit, int column)
{
    for (size_t i = 0; i < fit->n; i++)
        if (fit->col[i].column == column)
            return fit->col[i].to;
    return NULL; /* bq_fit saw to it */
}

static void put(struct tr_buf *sql, const char *prefix, const struct bq_column *c)
{
    tr_buf_z(sql, prefix);
    bq_sql_name(sql, c->name);
}

static void put_columns(struct tr_buf *sql, const struct bq_fit *fit, const char *prefix)
{
    for (size_t i = 0; i < fit->n; i++) {
        tr_buf_z(sql, i == 0 ? "" : ", ");
        put(sql, prefix, fit->col[i].to);
    }
}

static void put_keys(struct tr_buf *sql, const struct bq_fit *fit, const char *prefix)
{
    const struct tr_schema *s = fit->schema;

    for (size_t i = 0; i < s->n_keys; i++) {
        tr_buf_z(sql, i == 0 ? "" : ", ");
        put(sql, prefix, column_of(fit, s->keys[i]));
    }
}

/* One row a key: the newest of the stage. */
static void put_source(struct tr_buf *sql, const struct bq_place *p, const struct bq_fit *fit,
                       const char *stage)
{
    const struct tr_schema *s = fit->schema;

    tr_buf_z(sql, "(SELECT * EXCEPT (tailrace_rank) FROM (SELECT s.*, ROW_NUMBER() OVER "
                  "(PARTITION BY ");
    put_keys(sql, fit, "s.");
    tr_buf_z(sql, " ORDER BY ");
    for (size_t i = 0; i < s->n_versions; i++) {
        tr_buf_z(sql, i == 0 ? "" : ", ");
        put(sql, "s.", column_of(fit, s->versions[i]));
        tr_buf_z(sql, " DESC");
    }
    tr_buf_z(sql, ") AS tailrace_rank FROM ");
    bq_sql_table(sql, p, stage);
    tr_buf_z(sql, " AS s) WHERE tailrace_rank = 1)");
}

/* The weightiest version that differs decides; one that the table lacks is the lowest. */
static void put_newer(struct tr_buf *sql, const struct bq_fit *fit, bool replace)
{
    const struct tr_schema *s = fit->schema;

    for (size_t i = 0; i < s->n_versions; i++) {
        const struct bq_column *v = column_of(fit, s->versions[i]);
        bool last = i + 1 == s->n_versions;

        put(sql, "(t.", v);
        put(sql, " IS NULL OR s.", v);
        put(sql, last && replace ? " >= t." : " > t.", v);
        if (!last) {
            put(sql, " OR (s.", v);
            put(sql, " = t.", v);
            tr_buf_z(sql, " AND ");
        }
    }
    for (size_t i = 0; i < s->n_versions; i++)
        tr_buf_z(sql, i == 0 ? ")" : "))");
}

static bool is_key(const struct tr_schema *s, int column)
{
    return s->columns[column].role == TR_ROLE_KEY;
}

static bool can_be_filled(const struct bq_fit *fit, size_t i)
{
    const struct tr_column *c = &fit->schema->columns[fit->col[i].column];

    return c->role != TR_ROLE_KEY && c->role != TR_ROLE_VERSION && !fit->col[i].to->is_repeated;
}

/* The same version, which another export brought without a column that this one has: it is filled.
 */
static void put_fills(struct tr_buf *sql, const struct bq_fit *fit)
{
    const struct tr_schema *s = fit->schema;
    size_t n = 0;

    for (size_t i = 0; i < fit->n; i++) {
        if (!can_be_filled(fit, i))
            continue;
        for (size_t v = 0; n == 0 && v < s->n_versions; v++) {
            put(sql, v == 0 ? " OR (s." : " AND s.", column_of(fit, s->versions[v]));
            put(sql, " = t.", column_of(fit, s->versions[v]));
        }
        put(sql, n++ == 0 ? " AND (t." : " OR t.", fit->col[i].to);
        put(sql, " IS NULL AND s.", fit->col[i].to);
        tr_buf_z(sql, " IS NOT NULL");
    }
    tr_buf_z(sql, n == 0 ? "" : "))");
}

void bq_merge_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                  const struct bq_fit *fit, const char *stage, bool replace)
{
    const struct tr_schema *s = fit->schema;
    size_t n = 0;

    tr_buf_z(sql, "MERGE ");
    bq_sql_table(sql, p, p->table);
    tr_buf_z(sql, " AS t USING ");
    put_source(sql, p, fit, stage);
    tr_buf_z(sql, " AS s ON ");
    for (size_t i = 0; i < s->n_keys; i++) {
        put(sql, i == 0 ? "t." : " AND t.", column_of(fit, s->keys[i]));
        put(sql, " = s.", column_of(fit, s->keys[i]));
    }
    bq_sql_any_partition(sql, t);
    tr_buf_z(sql, " WHEN MATCHED AND (");
    put_newer(sql, fit, replace);
    if (!replace)
        put_fills(sql, fit);
    tr_buf_z(sql, ") THEN UPDATE SET ");
    for (size_t i = 0; i < fit->n; i++) {
        if (is_key(s, fit->col[i].column))
            continue;
        put(sql, n++ == 0 ? "" : ", ", fit->col[i].to);
        put(sql, " = s.", fit->col[i].to);
    }
    tr_buf_z(sql, " WHEN NOT MATCHED THEN INSERT (");
    put_columns(sql, fit, "");
    tr_buf_z(sql, ") VALUES (");
    put_columns(sql, fit, "s.");
    tr_buf_ch(sql, ')');
}

/* ---- the stage ---- */

enum tr_rc bq_merge_stage(struct bq_load *l, struct tr_err *err)
{
    (void)snprintf(l->stage, sizeof(l->stage), "tailrace_stage_%016" PRIx64 "_%s",
                   tr_hash64(l->id, strlen(l->id), 0), l->attempt);
    enum tr_rc rc = bq_table_make_short(l->cx, l->d, l->stage, BQ_WHAT_STAGE, err);
    if (rc == TR_OK)
        TR_KILL_POINT("bq.stage_made");
    else
        l->stage[0] = '\0';
    return rc;
}

/* It goes by itself if it must; who may not delete tables should know where they come from. */
void bq_merge_drop(const struct tr_ctx *cx, struct bq_load *l)
{
    struct bq_call c = { .method = "DELETE", .is_safe = true };
    struct bq_class class;
    struct tr_err ignored;

    if (l->stage[0] == '\0')
        return;
    bq_table_url(l->d, l->stage);
    if (bq_call(cx, l->d, &c, &class, &ignored) == TR_OK || class.about != BQ_DENIED ||
        l->d->drop_was_refused || l->spec.notices == NULL)
        return;
    l->d->drop_was_refused = true;
    l->spec.notices->notice(l->spec.notices,
                            "tables tailrace_stage_.. may not be deleted and stay for some hours: "
                            "grant bigquery.tables.delete on the dataset");
}

/* The stage's own load: nothing counts yet. */
static enum tr_rc settle_stage(const struct tr_ctx *cx, struct bq_load *l, const char *id,
                               struct tr_err *err)
{
    enum tr_rc rc = bq_job_wait(cx, l->d, id, l->n, &l->job, err);

    if (rc == TR_AMBIGUOUS) {
        rc = TR_TRANSIENT;
        if (err != NULL)
            err->rc = rc;
    }
    if (rc != TR_OK)
        return rc;
    if (bq_job_is_dead(&l->job))
        return bq_job_fail(&l->job, NULL, err);
    if (l->job.output_rows != l->counts.delivered)
        return tr_fail(err, TR_TRANSIENT, "bigquery.rows_lost", NULL,
                       "BigQuery loaded %" PRIu64 " of %" PRIu64 " rows", l->job.output_rows,
                       l->counts.delivered);
    TR_KILL_POINT("bq.stage_loaded");
    return TR_OK;
}

enum tr_rc bq_merge_commit(const struct tr_ctx *cx, struct bq_load *l, const char *stage_id,
                           struct tr_err *err)
{
    struct bq_label label = { .what = BQ_WHAT_MERGE, .attempt = l->attempt, .counts = &l->counts };
    struct tr_buf sql;

    enum tr_rc rc = settle_stage(cx, l, stage_id, err);
    if (rc != TR_OK)
        return tr_wrap(err, "load the stage");
    tr_buf_init(&sql, SQL_BYTES);
    bq_merge_sql(&sql, &l->d->place, &l->d->table, &l->d->fit, l->stage, l->spec.replace);
    tr_buf_ch(&sql, '\0');
    tr_buf_clear(&l->d->body);
    if (sql.failed)
        rc = tr_fail_oom(err);
    else
        bq_write_query(&l->d->body, &l->d->place, l->id, &label, sql.p);
    tr_buf_fini(&sql);
    if (rc != TR_OK)
        return rc;
    TR_KILL_POINT("bq.before_merge");
    rc = bq_job_insert(cx, l->d, l->id, &l->job, err);
    if (rc == TR_OK)
        TR_KILL_POINT("bq.merge_made");
    return rc;
}
