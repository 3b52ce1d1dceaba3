#include "dest/bigquery/bigquery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "auth/seal.h"
#include "dest/bigquery/bigquery_priv.h"

enum { URL_BYTES = 16384, BODY_BYTES = 16 << 20 };

/* As PostHog's tables have them. */
static const struct tr_default_column events[] = {
    { "uuid", NULL },        { "event", NULL },     { "properties", NULL },
    { "elements", NULL },    { "set", NULL },       { "set_once", NULL },
    { "distinct_id", NULL }, { "team_id", NULL },   { "ip", NULL },
    { "site_url", NULL },    { "timestamp", NULL }, { "_sent_at", "bq_ingested_timestamp" },
    { NULL, NULL },
};
static const struct tr_default_column persons[] = {
    { "team_id", NULL },        { "distinct_id", NULL },
    { "person_id", NULL },      { "properties", NULL },
    { "person_version", NULL }, { "person_distinct_id_version", NULL },
    { "created_at", NULL },     { NULL, NULL },
};

struct bq_dest *bq_dest_of(struct tr_dest *d)
{
    assert(d->ops == &tr_dest_bigquery_ops);
    return (struct bq_dest *)(void *)d;
}

static void bq_close(struct tr_dest *dest)
{
    if (dest == NULL)
        return;
    struct bq_dest *d = bq_dest_of(dest);
    assert(d->load == NULL);
    tr_http_client_free(d->http);
    tr_google_key_fini(&d->key);
    tr_buf_fini(&d->answer.body);
    tr_buf_fini(&d->url);
    tr_buf_fini(&d->body);
    bq_table_fini(&d->table);
    free(d->names);
    free(d->api);
    free(d->iam);
    free(d);
}

/* Without the slashes that a person may have left at its end. */
static char *endpoint(const struct tr_conf *conf, const char *name, const char *otherwise)
{
    const char *given = tr_conf_text(conf, name);
    char *copy = strdup(given == NULL || given[0] == '\0' ? otherwise : given);

    for (size_t n = copy == NULL ? 0 : strlen(copy); n > 0 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    return copy;
}

static enum tr_rc set_up(struct bq_dest *d, struct tr_err *err)
{
    const char *iam = tr_conf_text(d->conf, "iam_endpoint");
    bool has_key = false;

    enum tr_rc rc = bq_conf_check_iam(d->conf, err);
    if (rc == TR_OK)
        rc = bq_conf_key(d->conf, &d->key, &has_key, err);
    if (rc != TR_OK)
        return rc;
    d->api = endpoint(d->conf, "api_endpoint", BQ_API);
    d->iam = iam == NULL || iam[0] == '\0' ? NULL : endpoint(d->conf, "iam_endpoint", "");
    if (d->api == NULL || (d->iam == NULL && iam != NULL && iam[0] != '\0'))
        return tr_fail_oom(err);
    d->place.project = bq_conf_project(d->conf, &d->key);
    d->place.dataset = tr_conf_text(d->conf, "dataset_id");
    d->place.table = tr_conf_text(d->conf, "table_id");
    d->who = (struct tr_google_identity){
        .key = has_key ? &d->key : NULL,
        .email = tr_conf_text(d->conf, "service_account_email"),
        .iam_endpoint = d->iam,
    };
    return tr_http_client_new(&d->http, err);
}

/* Makes the object; BigQuery is asked when there is something to ask. */
static enum tr_rc bq_open(const struct tr_ctx *cx, const struct tr_conf *conf, struct tr_dest **ret,
                          struct tr_err *err)
{
    struct bq_dest *d = calloc(1, sizeof(*d));

    (void)cx;
    if (d == NULL)
        return tr_fail_oom(err);
    d->base.ops = &tr_dest_bigquery_ops;
    d->conf = conf;
    tr_buf_init(&d->answer.body, BQ_ANSWER_BYTES);
    tr_buf_init(&d->url, URL_BYTES);
    tr_buf_init(&d->body, BODY_BYTES);
    enum tr_rc rc = set_up(d, err);
    if (rc != TR_OK) {
        bq_close(&d->base);
        return rc;
    }
    *ret = &d->base;
    return TR_OK;
}

/* What the streaming app left out. */
static const char *const left_out[] = { "$feature_flag_called", "$autocapture", NULL };

/* In real time: rows are streamed. The same place, the same object. */
const struct tr_dest_ops tr_dest_bigquery_live_ops = {
    .name = "BigQuery",
    .caps = TR_DEST_COMMITS_CHUNK | TR_DEST_RECOUNTS | TR_DEST_TEST_FIRST | TR_DEST_KNOWS_ROWS,
    .options = bq_options,
    .tests = bq_stream_tests,
    .test_s = BQ_STREAM_TEST_S,
    .defaults = { events },
    .chunk_rows = 4 * BQ_INSERT_ROWS, /* where much is to be caught up: fewer lines in the books */
    .chunk_bytes = 8 << 20,
    .lanes = 4,
    .left_out = left_out,
    .validate = bq_conf_validate,
    .target = bq_conf_target,
    .open = bq_open,
    .test = bq_stream_test,
    .prepare = bq_stream_prepare,
    .look = bq_look,
    .begin = bq_stream_begin,
    .recount = bq_recount,
    .close = bq_close,
};

const struct tr_dest_ops tr_dest_bigquery_ops = {
    .name = "BigQuery",
    .caps = TR_DEST_COMMITS_CHUNK | TR_DEST_RECOUNTS | TR_DEST_UPSERTS | TR_DEST_TEST_FIRST,
    .options = bq_options,
    .tests = bq_tests,
    .defaults = { events, persons, tr_default_sessions, tr_default_groups },
    /* files of 100 to 250 MB before they are squeezed */
    .chunk_rows = 1000000,
    .chunk_bytes = 192 << 20,
    .min_interval_us = 5 * TR_US_PER_MIN,
    .min_interval_why = "BigQuery takes 1,500 loads a table and day",
    .min_interval_hint = "use \"every 5 minutes\" or longer, or \"realtime\"",
    .live = &tr_dest_bigquery_live_ops,
    .validate = bq_conf_validate,
    .target = bq_conf_target,
    .open = bq_open,
    .test = bq_test,
    .prepare = bq_prepare,
    .look = bq_look,
    .begin = bq_load_begin,
    .lookup = bq_lookup,
    .recount = bq_recount,
    .recount_rows = bq_recount_rows,
    .close = bq_close,
};
