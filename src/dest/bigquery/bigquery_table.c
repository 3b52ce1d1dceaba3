/* Prepare: where the dataset is, the table as it is or as it is made. Look: the table as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "os/clock.h"
#include "os/kill.h"

#define SHORT_LIFE_US (6 * TR_US_PER_HOUR)

/* ---- the dataset ---- */

enum tr_rc bq_dataset_read(const struct tr_ctx *cx, struct bq_dest *d, struct tr_err *err)
{
    struct bq_class class;
    struct bq_dataset set;

    bq_url(d, BQ_ROOT_API, "datasets");
    bq_url_part(d, d->place.dataset);
    enum tr_rc rc = bq_get(cx, d, &class, err);
    if (rc == TR_OK)
        rc = bq_read_dataset(bq_answer(d), &set, err);
    if (rc != TR_OK)
        return tr_wrap(err, "read dataset %s:%.100s", d->place.project, d->place.dataset);
    memcpy(d->place.location, set.location, sizeof(set.location));
    return TR_OK;
}

/* ---- tables ---- */

void bq_table_url(struct bq_dest *d, const char *table)
{
    bq_url(d, BQ_ROOT_API, "datasets");
    bq_url_part(d, d->place.dataset);
    tr_buf_z(&d->url, "/tables");
    if (table != NULL)
        bq_url_part(d, table);
}

enum tr_rc bq_table_read(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                         struct bq_table *ret, bool *ret_found, struct tr_err *err)
{
    struct bq_class class;

    memset(ret, 0, sizeof(*ret));
    bq_table_url(d, table);
    enum tr_rc rc = bq_get(cx, d, &class, err);
    *ret_found = rc == TR_OK;
    if (rc == TR_OK)
        rc = bq_read_table(bq_answer(d), ret, err);
    else if (class.about == BQ_GONE)
        return TR_OK;
    return rc == TR_OK ? rc : tr_wrap(err, "read table %.100s", table);
}

enum tr_rc bq_table_make(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                         const struct bq_new_table *t, bool *ret_was_there, struct tr_err *err)
{
    struct bq_class class;

    bq_table_url(d, NULL);
    tr_buf_clear(&d->body);
    bq_write_table(&d->body, &d->place, table, t);
    enum tr_rc rc = bq_post(cx, d, true, &class, err);
    *ret_was_there = rc != TR_OK && class.about == BQ_THERE;
    if (rc == TR_OK || *ret_was_there)
        return TR_OK;
    return tr_wrap(err, "create table %.100s", table);
}

enum tr_rc bq_table_make_short(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                               enum bq_what what, struct tr_err *err)
{
    const struct bq_column *columns[TR_BATCH_COLUMNS];
    struct bq_new_table t = { .columns = columns,
                              .n = d->fit.n,
                              .expires_us = tr_clock_wall_us() + SHORT_LIFE_US,
                              .what = what };
    bool was_there = false;

    for (size_t i = 0; i < d->fit.n; i++)
        columns[i] = d->fit.col[i].to;
    return bq_table_make(cx, d, table, &t, &was_there, err);
}

/* Models that change are merged by their keys: sorted by them, a merge need not read everything. */
static void cluster_by_keys(const struct tr_projection *p, const struct bq_column *const *list,
                            struct bq_new_table *t)
{
    for (size_t k = 0; p->schema->is_mutable && k < p->schema->n_keys; k++)
        for (size_t i = 0, at = 0; i < p->n; i++) {
            if (p->optional[i])
                continue;
            if (p->column[i] == p->schema->keys[k] && t->n_cluster < BQ_CLUSTER)
                t->cluster[t->n_cluster++] = list[at]->name;
            at++;
        }
}

enum tr_rc bq_table_columns(const struct bq_dest *d, const struct tr_projection *p,
                            struct bq_column *columns, const struct bq_column **list,
                            struct bq_new_table *ret, struct tr_err *err)
{
    *ret = (struct bq_new_table){ .columns = list, .what = BQ_WHAT_OTHER };
    for (size_t i = 0; i < p->n; i++) {
        if (p->optional[i])
            continue;
        if (!bq_fit_name_ok(p->name[i]))
            return tr_fail(err, TR_REFUSED, "bigquery.column_name",
                           "rename the column with \"as\" in the export's columns",
                           "BigQuery has no column with the name %.100s", p->name[i]);
        struct bq_column *c = &columns[ret->n];
        bq_fit_new_column(p->schema, p->column[i], p->name[i],
                          tr_conf_bool(d->conf, "use_json_type"), c);
        if (c->type == BQ_TIMESTAMP && strcmp(c->name, "timestamp") == 0)
            ret->partition_column = c->name;
        list[ret->n++] = c;
    }
    cluster_by_keys(p, list, ret);
    return TR_OK;
}

/* Two that make it at once: the second finds it there. */
static enum tr_rc make(const struct tr_ctx *cx, struct bq_dest *d, struct tr_notice_sink *notices,
                       struct tr_err *err)
{
    const struct bq_column *list[TR_BATCH_COLUMNS];
    struct bq_column *columns = calloc(TR_BATCH_COLUMNS, sizeof(*columns));
    struct bq_new_table t;
    bool was_there = false;

    if (columns == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = bq_table_columns(d, &d->projection, columns, list, &t, err);
    if (rc == TR_OK)
        rc = bq_table_make(cx, d, d->place.table, &t, &was_there, err);
    free(columns);
    if (rc != TR_OK)
        return rc;
    TR_KILL_POINT("bq.table_made");
    if (notices != NULL && !was_there) {
        char text[160];
        (void)snprintf(text, sizeof(text), "table created: %.100s", d->place.table);
        notices->notice(notices, text);
    }
    return TR_OK;
}

static enum tr_rc read_or_make(const struct tr_ctx *cx, struct bq_dest *d,
                               struct tr_notice_sink *notices, struct tr_err *err)
{
    bool found = false;

    bq_table_fini(&d->table);
    enum tr_rc rc = bq_table_read(cx, d, d->place.table, &d->table, &found, err);
    if (rc != TR_OK || found)
        return rc;
    rc = make(cx, d, notices, err);
    if (rc == TR_OK) {
        bq_table_fini(&d->table);
        rc = bq_table_read(cx, d, d->place.table, &d->table, &found, err);
    }
    if (rc == TR_OK && !found)
        rc = tr_fail(err, TR_TRANSIENT, "bigquery.no_table", NULL,
                     "table %.100s was made and is not to be seen yet", d->place.table);
    return rc;
}

/* ---- prepare ---- */

/* The projection with names of our own. */
static enum tr_rc keep_projection(struct bq_dest *d, const struct tr_projection *p,
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

static void notice_life(const struct bq_table *t, bool of_rows, struct tr_notice_sink *notices)
{
    char text[200];

    if (notices != NULL && t->partition_life_us != 0) {
        (void)snprintf(
            text, sizeof(text), "the table keeps its partitions for %.6g days%s",
            (double)t->partition_life_us / (double)TR_US_PER_DAY,
            of_rows ? ": older rows are rejected, since BigQuery would delete them at once" : "");
        notices->notice(notices, text);
    }
    if (notices != NULL && t->expires_us != 0) {
        (void)snprintf(text, sizeof(text),
                       "the table deletes itself in %.1f days, with all its rows",
                       (double)(t->expires_us - tr_clock_wall_us()) / (double)TR_US_PER_DAY);
        notices->notice(notices, text);
    }
}

static void notice_quota(const struct bq_dest *d, struct tr_notice_sink *notices)
{
    uint64_t n = bq_quota_today(&d->place, tr_clock_wall_us());
    char text[200];

    if (notices == NULL || n < BQ_LOADS_WARN)
        return;
    (void)snprintf(text, sizeof(text),
                   "%llu of the %d loads a table may have in 24 hours are used: a longer interval "
                   "or larger chunks save some",
                   (unsigned long long)n, BQ_LOADS_A_DAY);
    notices->notice(notices, text);
}

enum tr_rc bq_prepare(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                      tr_column_mask *ret_used, struct tr_notice_sink *notices, struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);

    d->prepared = false;
    d->absent = false;
    enum tr_rc rc = keep_projection(d, p, err);
    if (rc == TR_OK)
        rc = tr_google_owner_check(cx, d->http, &d->who, err);
    if (rc == TR_OK)
        rc = bq_dataset_read(cx, d, err);
    if (rc == TR_OK)
        rc = read_or_make(cx, d, notices, err);
    if (rc == TR_OK)
        rc = bq_fit(&d->projection, &d->table, &d->fit, notices, err);
    if (rc != TR_OK)
        return rc;
    notice_quota(d, notices);
    notice_life(&d->table, d->fit.partition >= 0, notices);
    d->prepared = true;
    *ret_used = 0;
    for (size_t i = 0; i < d->fit.n; i++)
        *ret_used |= (tr_column_mask)1 << d->fit.col[i].column;
    return TR_OK;
}

/* The table comes first: where the dataset is gone, too, it is as gone. */
enum tr_rc bq_look(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);
    bool found = false;

    d->prepared = false;
    enum tr_rc rc = keep_projection(d, p, err);
    if (rc == TR_OK)
        rc = tr_google_owner_check(cx, d->http, &d->who, err);
    if (rc != TR_OK)
        return rc;
    bq_table_fini(&d->table);
    rc = bq_table_read(cx, d, d->place.table, &d->table, &found, err);
    d->absent = rc == TR_OK && !found;
    if (rc != TR_OK || d->absent)
        return rc;
    for (size_t i = 0; i < d->table.n; i++) /* nothing is written: what it wants is no matter */
        d->table.columns[i].is_required = false;
    rc = bq_dataset_read(cx, d, err);
    return rc == TR_OK ? bq_fit(&d->projection, &d->table, &d->fit, NULL, err) : rc;
}
