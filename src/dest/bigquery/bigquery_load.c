/* One chunk: rows become lines, lines a gzip stream, the stream an upload, the upload a job. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "os/clock.h"
#include "os/kill.h"
#include "os/random.h"

enum {
    FLUSH_BYTES = 256 * 1024, /* lines that are gathered before they are squeezed */
    KEEP_BYTES = 1024 * 1024, /* a row that was larger gives its memory back */
    LINES_MAX = BQ_ROW_BYTES + 32 * 1024 * 1024,
    GZIP_LEVEL = 4,
};

static const struct tr_load_ops load_ops;

static struct bq_load *load_of(struct tr_load *l)
{
    assert(l->ops == &load_ops);
    return (struct bq_load *)(void *)l;
}

static void load_free(struct bq_load *l)
{
    l->d->load = NULL;
    bq_rows_fini(&l->rows);
    bq_upload_fini(&l->up);
    tr_compressor_free(l->gzip);
    tr_buf_fini(&l->out);
    free(l);
}

void bq_reject(struct bq_load *l, const struct tr_batch *b, size_t row, const char *reason)
{
    l->counts.rejected++;
    if (l->spec.rejects != NULL)
        l->spec.rejects->reject(l->spec.rejects, b, row, reason);
}

enum tr_rc bq_too_wide(struct tr_err *err)
{
    return tr_fail(err, TR_TRANSIENT, tr_dest_too_wide, NULL,
                   "its rows are of more than %d partitions: BigQuery does not write more in one "
                   "load",
                   BQ_PARTITIONS_A_JOB);
}

/* ---- the upload ---- */

static bool is_merged(const struct bq_load *l)
{
    return l->d->fit.schema->is_mutable;
}

/* The load of a stage is nobody else's business: its id is of this attempt. */
static const char *stage_id(const struct bq_load *l, char out[BQ_JOB_ID])
{
    return bq_job_counts_id(l->id, l->attempt, out);
}

/* final: all rows are known, and with them the counts. */
static enum tr_rc open_upload(struct bq_load *l, bool final, struct tr_err *err)
{
    struct bq_dest *d = l->d;
    struct bq_label label = { .what = is_merged(l) ? BQ_WHAT_STAGE : BQ_WHAT_LOAD,
                              .attempt = l->attempt,
                              .counts = &l->counts,
                              .counts_later = !final };
    char id[BQ_JOB_ID];
    enum tr_rc rc = is_merged(l) ? bq_merge_stage(l, err) : TR_OK;

    if (rc != TR_OK)
        return rc;
    tr_buf_clear(&d->body);
    bq_write_load(&d->body, &d->place, is_merged(l) ? stage_id(l, id) : l->id, &label,
                  is_merged(l) ? l->stage : d->place.table, &d->fit, 0);
    l->told = l->counts;
    rc = bq_upload_open(l->cx, &l->up, err);
    if (rc == TR_OK)
        TR_KILL_POINT("bq.upload_opened");
    return rc;
}

/* The gzip stream comes here. Nothing is asked of BigQuery before a whole piece is there: a small
 * chunk is then one session whose counts are known. */
static enum tr_rc pour(void *to, const void *p, size_t n, struct tr_err *err)
{
    struct bq_load *l = to;

    l->bytes += n;
    tr_buf_add(&l->up.left, p, n);
    if (l->up.left.failed)
        return tr_fail_oom(err);
    if (l->up.left.n <= BQ_PIECE_BYTES)
        return TR_OK;
    enum tr_rc rc = TR_OK;
    if (l->up.session == NULL)
        rc = open_upload(l, false, err);
    return rc == TR_OK ? bq_upload_pieces(l->cx, &l->up, err) : rc;
}

static enum tr_rc flush(struct bq_load *l, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    if (l->out.n != 0)
        rc = tr_compressor_write(l->gzip, l->out.p, l->out.n, err);
    if (l->out.cap > KEEP_BYTES)
        tr_buf_fini(&l->out);
    tr_buf_clear(&l->out);
    return rc;
}

/* ---- begin ---- */

static enum tr_rc start(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    struct bq_dest *d = l->d;
    bool live = false;

    tr_random_hex(l->attempt, (BQ_ATTEMPT - 1) / 2);
    enum tr_rc rc = bq_job_find(cx, d, &l->spec.key, &l->n, &live, &l->job, err);
    if (rc != TR_OK)
        return rc;
    (void)bq_job_id(&l->spec.key, l->n, l->id);
    l->swallow = live;
    rc = bq_rows_init(&l->rows, &d->fit, tr_conf_int(d->conf, "days_past"),
                      tr_conf_int(d->conf, "days_future"), err);
    if (rc == TR_OK)
        rc = tr_compressor_new(TR_COMPRESS_GZIP, GZIP_LEVEL, pour, l, &l->gzip, err);
    return rc;
}

enum tr_rc bq_load_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                         const struct tr_load_spec *spec, struct tr_load **ret, struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);

    assert(d->prepared && d->load == NULL);
    struct bq_load *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return tr_fail_oom(err);
    l->base.ops = &load_ops;
    l->d = d;
    l->spec = *spec;
    d->load = l;
    tr_buf_init(&l->out, LINES_MAX);
    bq_upload_init(&l->up, d);
    enum tr_rc rc = start(cx, l, err);
    if (rc != TR_OK) {
        load_free(l);
        return rc;
    }
    *ret = &l->base;
    return TR_OK;
}

/* ---- write ---- */

static enum tr_rc write_row(struct bq_load *l, const struct tr_batch *b, size_t i,
                            struct tr_err *err)
{
    char reason[BQ_REASON];

    switch (bq_row_add(&l->rows, b, i, &l->out, reason)) {
    case BQ_ROW_FULL:
        return tr_fail_oom(err);
    case BQ_ROW_TOO_WIDE:
        return bq_too_wide(err);
    case BQ_ROW_REJECTED:
        bq_reject(l, b, i, reason);
        return TR_OK;
    case BQ_ROW_REPAIRED:
        l->counts.repaired++;
        break;
    case BQ_ROW_WROTE:
        break;
    }
    l->counts.delivered++;
    return l->out.n >= FLUSH_BYTES ? flush(l, err) : TR_OK;
}

static enum tr_rc load_write(const struct tr_ctx *cx, struct tr_load *load,
                             const struct tr_batch *b, struct tr_err *err)
{
    struct bq_load *l = load_of(load);
    enum tr_rc rc = TR_OK;

    if (tr_ctx_cancelled(cx))
        return tr_fail(err, TR_CANCELLED, "bigquery.cancelled", NULL, "cancelled");
    if (l->swallow)
        return TR_OK;
    l->cx = cx;
    if (l->spec.careful)
        rc = bq_careful_rows(l, b, err);
    for (size_t i = 0; !l->spec.careful && i < b->rows && rc == TR_OK; i++)
        rc = write_row(l, b, i, err);
    l->cx = NULL;
    return rc;
}

/* ---- commit ---- */

/* A failure when the chunk's job may have been made: it may do well yet, so the chunk is looked up
 * before anything else becomes of it. The reason stays. */
static enum tr_rc leave_open(enum tr_rc rc, struct tr_err *err)
{
    if (rc == TR_OK || rc == TR_CANCELLED)
        return rc;
    if (err != NULL)
        err->rc = TR_AMBIGUOUS;
    return TR_AMBIGUOUS;
}

/* Counts that changed after the upload was opened go into a job of their own, before the load can
 * be made. */
static enum tr_rc keep_counts(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    struct bq_label label = { .what = BQ_WHAT_COUNTS, .attempt = l->attempt, .counts = &l->counts };
    char id[BQ_JOB_ID];

    if (l->counts.rejected == l->told.rejected && l->counts.repaired == l->told.repaired)
        return TR_OK;
    (void)bq_job_counts_id(l->id, l->attempt, id);
    tr_buf_clear(&l->d->body);
    bq_write_query(&l->d->body, &l->d->place, id, &label,
                   "SELECT 'the labels of this job hold counts of a load'");
    enum tr_rc rc = bq_job_insert(cx, l->d, id, &l->job, err);
    if (rc == TR_AMBIGUOUS) { /* the load is not there, that is certain */
        rc = TR_TRANSIENT;
        if (err != NULL)
            err->rc = rc;
    }
    if (rc == TR_OK)
        TR_KILL_POINT("bq.counts_kept");
    return rc == TR_OK ? rc : tr_wrap(err, "keep the counts");
}

/* A chunk without rows is a job too, that does nothing and has the id. */
static enum tr_rc commit_empty(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    struct bq_label label = { .what = BQ_WHAT_EMPTY, .attempt = l->attempt, .counts = &l->counts };

    tr_buf_clear(&l->d->body);
    bq_write_query(&l->d->body, &l->d->place, l->id, &label,
                   "SELECT 'a chunk without rows stands in the books by this job'");
    enum tr_rc rc = bq_job_insert(cx, l->d, l->id, &l->job, err);
    if (rc == TR_OK)
        TR_KILL_POINT("bq.empty_made");
    return rc;
}

/* A table bears so many changes in 10 seconds: a job that comes too early fails, and counts
 * towards the 1,500 of the day. The job is made by the last piece of the upload. */
static enum tr_rc wait_for_turn(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    int64_t most = tr_conf_int(l->d->conf, "loads_per_10_seconds");

    for (;;) {
        int64_t us = bq_quota_turn_us(&l->d->place, most, tr_clock_boot_us());

        if (us <= 0)
            return TR_OK;
        if (!bq_sleep_ms(cx, us / TR_US_PER_MS + 1))
            return tr_fail(err, tr_ctx_cancelled(cx) ? TR_CANCELLED : TR_TRANSIENT,
                           "bigquery.load_turn", NULL,
                           "no turn for a load job came: the table has others");
    }
}

static enum tr_rc end_upload(const struct tr_ctx *cx, struct bq_load *l, bool *ret_was_there,
                             struct tr_err *err)
{
    enum tr_rc rc = flush(l, err);

    if (rc == TR_OK)
        rc = tr_compressor_finish(l->gzip, err);
    if (rc != TR_OK)
        return rc;
    if (l->up.session == NULL)
        rc = open_upload(l, true, err);
    else if (!is_merged(l))
        rc = keep_counts(cx, l, err);
    if (rc == TR_OK && !is_merged(l))
        rc = wait_for_turn(cx, l, err);
    return rc == TR_OK ? bq_upload_finish(cx, &l->up, &l->job, ret_was_there, err) : rc;
}

static enum tr_rc commit_load(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    bool was_there = false;
    enum tr_rc rc = end_upload(cx, l, &was_there, err);

    if (rc != TR_OK)
        return l->up.is_ending ? leave_open(rc, err) : rc;
    bq_quota_count(&l->d->place, tr_clock_wall_us());
    return TR_OK;
}

static enum tr_rc commit_merge(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    char id[BQ_JOB_ID];
    bool was_there = false;
    enum tr_rc rc = end_upload(cx, l, &was_there, err);

    if (rc == TR_AMBIGUOUS) { /* of the stage, which nobody has seen yet */
        rc = TR_TRANSIENT;
        if (err != NULL)
            err->rc = rc;
    }
    return rc == TR_OK ? bq_merge_commit(cx, l, stage_id(l, id), err) : rc;
}

static enum tr_rc commit(const struct tr_ctx *cx, struct bq_load *l, struct tr_err *err)
{
    if (l->counts.delivered == 0)
        return commit_empty(cx, l, err);
    return is_merged(l) ? commit_merge(cx, l, err) : commit_load(cx, l, err);
}

/* The job that stands under our id, whoever made it. */
static enum tr_rc settle(const struct tr_ctx *cx, struct bq_load *l, struct tr_receipt *ret,
                         struct tr_err *err)
{
    enum tr_rc rc = bq_job_wait(cx, l->d, l->id, l->n, &l->job, err);

    if (rc != TR_OK)
        return leave_open(rc, err);
    if (bq_job_is_dead(&l->job))
        return bq_job_fail(&l->job, NULL, err);
    TR_KILL_POINT("bq.job_done");
    if (l->swallow || strcmp(l->job.attempt, l->attempt) != 0)
        return leave_open(bq_job_receipt(cx, l->d, l->id, &l->job, ret, err), err);
    *ret = (struct tr_receipt){
        .delivered = l->job.is_load ? l->job.output_rows : l->counts.delivered,
        .rejected = l->counts.rejected,
        .repaired = l->counts.repaired,
        .bytes = l->bytes,
    };
    return TR_OK;
}

static enum tr_rc load_commit(const struct tr_ctx *cx, struct tr_load *load, struct tr_receipt *ret,
                              struct tr_err *err)
{
    struct bq_load *l = load_of(load);
    enum tr_rc rc = TR_OK;

    l->cx = cx;
    if (tr_ctx_cancelled(cx))
        rc = tr_fail(err, TR_CANCELLED, "bigquery.cancelled", NULL, "cancelled");
    else if (!l->swallow)
        rc = commit(cx, l, err);
    if (rc == TR_OK)
        rc = settle(cx, l, ret, err);
    if (rc != TR_AMBIGUOUS) /* a MERGE that may still be running needs it */
        bq_merge_drop(cx, l);
    load_free(l);
    return rc;
}

static void load_abort(struct tr_load *load)
{
    if (load != NULL)
        load_free(load_of(load));
}

static const struct tr_load_ops load_ops = {
    .write = load_write,
    .commit = load_commit,
    .abort = load_abort,
};
