/* The steps of "test this connection", in the order of the table. Each stands alone. What they make
 * lasts an hour: the rights to delete it are not asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "dest/sample.h"
#include "os/clock.h"
#include "os/random.h"

#define TEST_LIFE_US TR_US_PER_HOUR

enum { AGAIN_FIRST_MS = 500, AGAIN_MOST_MS = 10000 };

enum {
    STEP_TOKEN,
    STEP_IMPERSONATE,
    STEP_OWNER,
    STEP_PROJECT,
    STEP_DATASET,
    STEP_TABLE,
    STEP_LOAD,
    STEP_COUNT
};

#define FIRST_STEPS                                                                                \
    [STEP_TOKEN] = { "Get an access token",                                                        \
                     "Google accepts the key, or this server's own identity." },                   \
    [STEP_IMPERSONATE] = { "Impersonate the service account",                                      \
                           "This server may act as it (nothing to do with a key)." },              \
    [STEP_OWNER] = { "Verify who owns the service account",                                        \
                     "Its description names this organization (nothing to do with a key)." },      \
    [STEP_DATASET] = { "Find the dataset", "It exists and may be looked at." },                    \
    [STEP_TABLE] = { "Check the table",                                                            \
                     "It exists and can be written to, or one named ..._test could be created." }

const struct tr_dest_test bq_tests[] = {
    FIRST_STEPS,
    [STEP_PROJECT] = { "Find the project", "It exists and jobs may be run in it." },
    [STEP_LOAD] = { "Load a row", "One row goes into a table that deletes itself after an hour." },
    [STEP_COUNT] = { NULL, NULL },
};

const struct tr_dest_test bq_stream_tests[] = {
    FIRST_STEPS,
    [STEP_PROJECT] = { "Find the project", "It exists and its BigQuery API is enabled." },
    [STEP_LOAD] = { "Stream a row",
                    "One row goes into a table that deletes itself after an hour. BigQuery may "
                    "take minutes until it knows that table." },
    [STEP_COUNT] = { NULL, NULL },
};

/* A token that was just made: one from the cache would say nothing about the key of today. */
static enum tr_rc check_token(const struct tr_ctx *cx, struct bq_dest *d, struct tr_err *err)
{
    struct tr_buf token;

    tr_buf_init(&token, 1 << 16);
    enum tr_rc rc = tr_google_token(cx, d->http, &d->who, BQ_SCOPE, &token, err);
    if (rc == TR_OK) {
        tr_google_token_forget(&d->who, BQ_SCOPE, tr_buf_view(&token));
        tr_wipe(&token);
        rc = tr_google_token(cx, d->http, &d->who, BQ_SCOPE, &token, err);
    }
    tr_wipe(&token);
    return rc;
}

/* A query that is only looked at: it needs the right to run jobs, and costs nothing. */
static enum tr_rc check_project(const struct tr_ctx *cx, struct bq_dest *d, struct tr_err *err)
{
    tr_buf_clear(&d->body);
    tr_buf_z(&d->body, "{\"configuration\":{\"dryRun\":true,\"query\":{\"query\":\"SELECT 1\","
                       "\"useLegacySql\":false}}}");
    bq_url(d, BQ_ROOT_API, "jobs");
    enum tr_rc rc = bq_post(cx, d, true, NULL, err);
    return rc == TR_OK ? rc : tr_wrap(err, "run a job in project %s", d->place.project);
}

/* The same without that right, which a stream does not need: whoever answers for the dataset tells
 * what is wrong with the project. What is wrong with the dataset is the next step's. */
static enum tr_rc check_project_of_stream(const struct tr_ctx *cx, struct bq_dest *d,
                                          struct tr_err *err)
{
    static const char *const of_project[] = { "bigquery.no_project", "bigquery.api_disabled",
                                              "bigquery.blocked", "bigquery.billing" };
    struct tr_err why = { 0 };
    enum tr_rc rc = bq_dataset_read(cx, d, &why);
    bool passes = rc == TR_REFUSED;

    for (size_t i = 0; i < sizeof(of_project) / sizeof(of_project[0]); i++)
        if (rc != TR_OK && why.id != NULL && strcmp(why.id, of_project[i]) == 0)
            passes = false;
    if (rc != TR_OK && !passes && err != NULL)
        *err = why;
    return passes ? TR_OK : rc;
}

/* ---- a table for the test ---- */

/* "<table>_test", or another name where that is somebody's own. */
static enum tr_rc make_test_table(const struct tr_ctx *cx, struct bq_dest *d,
                                  const struct tr_projection *p, char name[BQ_TABLE],
                                  struct tr_err *err)
{
    const struct bq_column *list[TR_BATCH_COLUMNS];
    struct bq_column *made = calloc(TR_BATCH_COLUMNS, sizeof(*made));
    struct bq_new_table t;
    struct bq_table there;
    bool found = false;
    char hex[9];

    if (made == NULL)
        return tr_fail_oom(err);
    (void)snprintf(name, BQ_TABLE, "%s_test", d->place.table);
    enum tr_rc rc = bq_table_columns(d, p, made, list, &t, err);
    t.expires_us = tr_clock_wall_us() + TEST_LIFE_US;
    t.what = BQ_WHAT_TEST;
    if (rc == TR_OK)
        rc = bq_table_make(cx, d, name, &t, &found, err);
    if (rc == TR_OK && found) {
        rc = bq_table_read(cx, d, name, &there, &found, err);
        if (rc == TR_OK && found && !there.is_ours) {
            tr_random_hex(hex, 4);
            (void)snprintf(name, BQ_TABLE, "%s_test_%s", d->place.table, hex);
            rc = bq_table_make(cx, d, name, &t, &found, err);
        }
        bq_table_fini(&there);
    }
    free(made);
    return rc;
}

static enum tr_rc check_table(const struct tr_ctx *cx, struct bq_dest *d,
                              const struct tr_projection *p, struct tr_err *err)
{
    struct bq_table t;
    struct bq_fit fit;
    char name[BQ_TABLE];
    bool found = false;

    enum tr_rc rc = bq_table_read(cx, d, d->place.table, &t, &found, err);
    if (rc == TR_OK && !found)
        rc = make_test_table(cx, d, p, name, err);
    else if (rc == TR_OK)
        rc = bq_fit(p, &t, &fit, NULL, err);
    bq_table_fini(&t);
    return rc;
}

/* ---- a row ---- */

static enum tr_rc write_row(struct bq_dest *d, const char *name, struct bq_upload *up,
                            const char *id, struct tr_err *err)
{
    struct bq_label label = { .what = BQ_WHAT_TEST };
    struct tr_sample sample;
    struct bq_rows rows;
    char reason[BQ_REASON];

    enum tr_rc rc = bq_rows_init(&rows, &d->fit, 1, 1, err);
    if (rc != TR_OK)
        return rc;
    tr_sample_fill(&sample, d->fit.schema, tr_clock_wall_us());
    if (bq_row_add(&rows, &sample.batch, 0, &up->left, reason) != BQ_ROW_WROTE)
        rc = tr_fail(err, TR_INTERNAL, "bigquery.test", NULL, "%s", reason);
    bq_rows_fini(&rows);
    tr_buf_clear(&d->body);
    bq_write_load(&d->body, &d->place, id, &label, name, &d->fit, 0);
    return rc;
}

static enum tr_rc load_row(const struct tr_ctx *cx, struct bq_dest *d, const char *name,
                           struct tr_err *err)
{
    struct bq_job *job = malloc(sizeof(*job));
    struct bq_upload up;
    bool was_there = false;
    char id[BQ_JOB_ID], hex[BQ_ATTEMPT];

    if (job == NULL)
        return tr_fail_oom(err);
    tr_random_hex(hex, (BQ_ATTEMPT - 1) / 2);
    (void)snprintf(id, sizeof(id), "tailrace_test_%s", hex);
    bq_upload_init(&up, d);
    enum tr_rc rc = write_row(d, name, &up, id, err);
    if (rc == TR_OK)
        rc = bq_upload_open(cx, &up, err);
    if (rc == TR_OK)
        rc = bq_upload_finish(cx, &up, job, &was_there, err);
    if (rc == TR_OK)
        rc = bq_job_wait(cx, d, id, 0, job, err);
    if (rc == TR_OK && bq_job_is_dead(job))
        rc = bq_job_fail(job, NULL, err);
    if (rc == TR_OK && job->output_rows != 1)
        rc = tr_fail(err, TR_REFUSED, "bigquery.test", NULL,
                     "BigQuery says that it loaded %llu rows, not one",
                     (unsigned long long)job->output_rows);
    bq_upload_fini(&up);
    free(job);
    return rc == TR_OK ? rc : tr_wrap(err, "load a row into %.100s", name);
}

static void hear(void *arg, size_t row, const struct bq_said *said)
{
    (void)row;
    *(struct bq_said *)arg = *said;
}

static enum tr_rc write_streamed(struct bq_dest *d, struct tr_buf *text, struct tr_err *err)
{
    struct tr_sample sample;
    struct bq_rows rows;
    char reason[BQ_REASON];

    enum tr_rc rc = bq_rows_init(&rows, &d->fit, 1, 1, err);
    if (rc != TR_OK)
        return rc;
    rows.streamed = true;
    tr_sample_fill(&sample, d->fit.schema, tr_clock_wall_us());
    bq_write_insert_row(text, &sample.batch.col[TR_EVENT_UUID].uuid[0], 0);
    if (bq_row_add(&rows, &sample.batch, 0, text, reason) != BQ_ROW_WROTE)
        rc = tr_fail(err, TR_INTERNAL, "bigquery.test", NULL, "%s", reason);
    tr_buf_ch(text, '}');
    bq_rows_fini(&rows);
    return rc;
}

/* Until streams know the table. */
static enum tr_rc send_until_known(const struct tr_ctx *cx, struct bq_dest *d, const char *name,
                                   struct tr_err *err)
{
    int64_t wait_ms = AGAIN_FIRST_MS;

    for (;;) {
        struct bq_class class = { .rc = TR_OK };
        enum tr_rc rc = bq_stream_send(cx, d, name, &class, err);

        if (rc != TR_TRANSIENT || class.about != BQ_GONE)
            return rc;
        if (!bq_sleep_ms(cx, wait_ms)) {
            if (err != NULL)
                err->hint = "try again in some minutes: the table lasts for an hour, and streams "
                            "know it by then";
            return rc;
        }
        wait_ms = wait_ms * 2 < AGAIN_MOST_MS ? wait_ms * 2 : AGAIN_MOST_MS;
    }
}

static enum tr_rc stream_row(const struct tr_ctx *cx, struct bq_dest *d, const char *name,
                             struct tr_err *err)
{
    struct bq_said said = { "", "" };
    struct tr_buf text;

    tr_buf_init(&text, 1 << 20);
    enum tr_rc rc = write_streamed(d, &text, err);
    struct tr_str row = tr_buf_view(&text);
    tr_buf_clear(&d->body);
    bq_write_insert(&d->body, &row, 1);
    tr_buf_fini(&text);
    if (rc == TR_OK)
        rc = send_until_known(cx, d, name, err);
    if (rc == TR_OK)
        rc = bq_read_insert(bq_answer(d), 1, hear, &said, err);
    if (rc == TR_OK && said.reason[0] != '\0')
        rc = tr_fail(err, TR_REFUSED, "bigquery.test", NULL, "BigQuery refuses the row: %s: %.200s",
                     said.reason, said.message);
    return rc == TR_OK ? rc : tr_wrap(err, "stream a row into %.100s", name);
}

/* A merge that is only looked at needs what the first run will need, and costs nothing. */
static enum tr_rc look_at_merge(const struct tr_ctx *cx, struct bq_dest *d,
                                const struct bq_place *place, const struct bq_table *t,
                                const struct bq_fit *fit, const char *stage, struct tr_err *err)
{
    struct tr_buf sql;

    tr_buf_init(&sql, 1 << 20);
    bq_merge_sql(&sql, place, t, fit, stage, false);
    tr_buf_clear(&d->body);
    tr_buf_z(&d->body, "{\"jobReference\":{\"projectId\":");
    tr_buf_json_str(&d->body, tr_str_of(place->project));
    tr_buf_z(&d->body, ",\"location\":");
    tr_buf_json_str(&d->body, tr_str_of(place->location));
    tr_buf_z(&d->body, "},\"configuration\":{\"dryRun\":true,\"query\":{\"query\":");
    tr_buf_json_str(&d->body, tr_buf_view(&sql));
    tr_buf_z(&d->body, ",\"useLegacySql\":false}}}");
    bool failed = sql.failed;
    tr_buf_fini(&sql);
    if (failed)
        return tr_fail_oom(err);
    bq_url(d, BQ_ROOT_API, "jobs");
    enum tr_rc rc = bq_post(cx, d, true, NULL, err);
    return rc == TR_OK ? rc : tr_wrap(err, "merge a row into %.100s", place->table);
}

/* From the test table into the export's own, or where there is none yet, into itself. */
static enum tr_rc check_merge(const struct tr_ctx *cx, struct bq_dest *d,
                              const struct tr_projection *p, const char *name,
                              const struct bq_table *made, struct tr_err *err)
{
    struct bq_place place = d->place;
    struct bq_table t;
    struct bq_fit fit;
    bool found = false;

    enum tr_rc rc = bq_table_read(cx, d, d->place.table, &t, &found, err);
    if (rc == TR_OK && found)
        rc = bq_fit(p, &t, &fit, NULL, err);
    if (!found)
        place.table = name;
    if (rc == TR_OK)
        rc = look_at_merge(cx, d, &place, found ? &t : made, found ? &fit : &d->fit, name, err);
    bq_table_fini(&t);
    return rc;
}

typedef enum tr_rc put_row(const struct tr_ctx *, struct bq_dest *, const char *table,
                           struct tr_err *);

static enum tr_rc check_load(const struct tr_ctx *cx, struct bq_dest *d,
                             const struct tr_projection *p, put_row *put, struct tr_err *err)
{
    struct bq_fit before = d->fit;
    struct bq_table t = { .columns = NULL };
    char name[BQ_TABLE];
    bool found = false;

    enum tr_rc rc = make_test_table(cx, d, p, name, err);
    if (rc == TR_OK)
        rc = bq_table_read(cx, d, name, &t, &found, err);
    while (rc == TR_OK && !found && bq_sleep_ms(cx, AGAIN_FIRST_MS)) {
        bq_table_fini(&t);
        rc = bq_table_read(cx, d, name, &t, &found, err);
    }
    if (rc == TR_OK && !found)
        rc = tr_fail(err, TR_TRANSIENT, "bigquery.no_table", "try again in a moment",
                     "table %.100s was made and is not to be seen yet", name);
    if (rc == TR_OK)
        rc = bq_fit(p, &t, &d->fit, NULL, err);
    if (rc == TR_OK)
        rc = put(cx, d, name, err);
    if (rc == TR_OK && p->schema->is_mutable)
        rc = check_merge(cx, d, p, name, &t, err);
    d->fit = before;
    bq_table_fini(&t);
    return rc;
}

/* Those that act as the account: never as one of somebody else, whichever steps went before. */
static enum tr_rc act(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_projection *p,
                      size_t step, put_row *put, struct tr_err *err)
{
    enum tr_rc rc = tr_google_owner_check(cx, d->http, &d->who, err);

    if (rc != TR_OK || step == STEP_OWNER)
        return rc;
    if (step == STEP_PROJECT)
        return put == stream_row ? check_project_of_stream(cx, d, err) : check_project(cx, d, err);
    rc = bq_dataset_read(cx, d, err);
    if (rc != TR_OK || step == STEP_DATASET)
        return rc;
    return step == STEP_TABLE ? check_table(cx, d, p, err) : check_load(cx, d, p, put, err);
}

static enum tr_rc run_step(const struct tr_ctx *cx, struct bq_dest *d,
                           const struct tr_projection *p, size_t step, put_row *put,
                           struct tr_err *err)
{
    bool has_key = d->who.key != NULL;

    if (step == STEP_TOKEN)
        return has_key ? check_token(cx, d, err) : tr_google_own_check(cx, d->http, err);
    if (step == STEP_IMPERSONATE)
        return has_key ? TR_OK : check_token(cx, d, err);
    return act(cx, d, p, step, put, err);
}

enum tr_rc bq_test(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   size_t step, struct tr_err *err)
{
    return run_step(cx, bq_dest_of(dest), p, step, load_row, err);
}

enum tr_rc bq_stream_test(const struct tr_ctx *cx, struct tr_dest *dest,
                          const struct tr_projection *p, size_t step, struct tr_err *err)
{
    return run_step(cx, bq_dest_of(dest), p, step, stream_row, err);
}
