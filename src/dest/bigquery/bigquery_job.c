/* Jobs: by what numbers they go, how they are made once, waited for and found again.
 *
 * The jobs for one key have numbers from 0. BigQuery takes each id once, for all time: whoever
 * comes second hears "duplicate" and goes by the job that is there. A job that ended without rows
 * cannot be run again; then, and only then, the next number is used. So of all jobs of a key only
 * the one with the highest number can ever bring rows, and asking BigQuery for it is enough: the
 * number needs no place in metadata, where it could be older than the truth.
 *
 * One thing asking cannot tell: a job that is not there may still arrive, on a connection that we
 * have given up. Before lookup() says ABSENT it takes the number itself, by a job that does
 * nothing (a fence): what comes after that under this number is a duplicate.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "os/clock.h"
#include "os/kill.h"

enum {
    POLL_FIRST_MS = 100,
    POLL_MOST_MS = 2000,
    CANCEL_GRACE_S = 5,
    NUMBER_MAX = 1 << 20, /* more jobs than BigQuery takes for a table in a year */
};
#define PENDING_TOLD_US (5 * TR_US_PER_MIN)
#define PENDING_MOST_US TR_US_PER_DAY

/* ---- single calls ---- */

static void job_url(struct bq_dest *d, const char *id, const char *verb)
{
    bq_url(d, BQ_ROOT_API, "jobs");
    bq_url_part(d, id);
    if (verb != NULL)
        bq_url_part(d, verb);
    bq_url_query(d, "location", d->place.location);
}

static enum tr_rc get(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                      bool may_be_hidden, struct bq_job *ret, bool *ret_found, struct tr_err *err)
{
    struct bq_class class;

    job_url(d, id, NULL);
    enum tr_rc rc = bq_get(cx, d, &class, err);
    *ret_found = rc == TR_OK;
    if (rc == TR_OK)
        return bq_read_job(bq_answer(d), ret, err);
    if (class.about == BQ_GONE || (may_be_hidden && class.about == BQ_DENIED))
        return TR_OK;
    return tr_wrap(err, "ask for a job");
}

enum tr_rc bq_job_get(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                      struct bq_job *ret, bool *ret_found, struct tr_err *err)
{
    return get(cx, d, id, false, ret, ret_found, err);
}

enum tr_rc bq_job_look(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                       struct bq_job *ret, bool *ret_found, struct tr_err *err)
{
    return get(cx, d, id, true, ret, ret_found, err);
}

void bq_job_unknown(struct bq_job *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->state = BQ_PENDING;
    ret->what = BQ_WHAT_OTHER;
}

enum tr_rc bq_job_insert(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                         struct bq_job *ret, struct tr_err *err)
{
    struct bq_class class;
    bool found = false;

    bq_url(d, BQ_ROOT_API, "jobs");
    enum tr_rc rc = bq_post(cx, d, false, &class, err);
    if (rc == TR_OK && bq_read_job(bq_answer(d), ret, err) == TR_OK)
        return TR_OK;
    bool was_there = rc != TR_OK && class.about == BQ_THERE;
    bool is_open = rc == TR_OK || rc == TR_AMBIGUOUS || rc == TR_TRANSIENT;
    if (!was_there && !is_open)
        return rc == TR_CANCELLED ? rc : tr_wrap(err, "make a job");

    struct tr_err why = { 0 };
    if (err != NULL)
        why = *err;
    rc = bq_job_get(cx, d, id, ret, &found, err);
    if (rc == TR_OK && found)
        return TR_OK;
    if (was_there) { /* asking for it may lag behind making it */
        bq_job_unknown(ret);
        return TR_OK;
    }
    return tr_fail(err, TR_AMBIGUOUS, "bigquery.job_unknown",
                   "the job is asked for before the next attempt",
                   "a job was asked for and its answer did not come: %s", why.cause);
}

static void cancel(const struct tr_ctx *cx, struct bq_dest *d, const char *id)
{
    struct tr_err ignored;
    struct bq_call c = { .method = "POST", .is_safe = true, .body = TR_STR("") };

    job_url(d, id, "cancel");
    (void)!bq_call(cx, d, &c, NULL, &ignored);
}

/* ---- waiting ---- */

/* A poll that fails is followed by the next: nothing is repeated but the question. */
static enum tr_rc poll(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                       struct bq_job *job, struct tr_err *err)
{
    struct tr_err ignored = { 0 };
    bool found = false;

    enum tr_rc rc = bq_job_get(cx, d, id, job, &found, &ignored);
    if (rc == TR_OK && !found)
        bq_job_unknown(job);
    if (rc == TR_REFUSED || rc == TR_INTERNAL) {
        if (err != NULL)
            *err = ignored;
        return rc;
    }
    if (rc != TR_OK)
        bq_job_unknown(job);
    return TR_OK;
}

static int64_t pending_us(const struct bq_job *job)
{
    return job->state != BQ_PENDING || job->created_us == 0 ? 0
                                                            : tr_clock_wall_us() - job->created_us;
}

/* How long a job may wait in BigQuery's queue: hours are seen in life, and whoever gives up sends
 * everything again only to stand at the end of the queue. So it is longer each time. */
static int64_t patience_us(const struct bq_dest *d, uint32_t n)
{
    int64_t most = tr_conf_int(d->conf, "pending_minutes") * TR_US_PER_MIN;

    for (; n > 0 && most < PENDING_MOST_US; n--)
        most *= 2;
    return most < PENDING_MOST_US ? most : PENDING_MOST_US;
}

static void tell_pending(const struct bq_dest *d, int64_t us, bool *told)
{
    char text[200];

    if (*told || us < PENDING_TOLD_US || d->load == NULL || d->load->spec.notices == NULL)
        return;
    *told = true;
    (void)snprintf(text, sizeof(text),
                   "a job waits in BigQuery's queue for %lld minutes already: other jobs of the "
                   "project or its reservation take the slots",
                   (long long)(us / TR_US_PER_MIN));
    d->load->spec.notices->notice(d->load->spec.notices, text);
}

/* Time is up. */
static enum tr_rc still_running(const struct bq_job *job, const char *id, struct tr_err *err)
{
    int64_t us = pending_us(job);

    if (us < TR_US_PER_MIN)
        return tr_fail(err, TR_AMBIGUOUS, "bigquery.job_running", NULL,
                       "BigQuery's job %s has not ended yet", id);
    return tr_fail(
        err, TR_AMBIGUOUS, "bigquery.job_pending",
        "other jobs of the project or its reservation take the slots; it goes on by itself",
        "a job waits in BigQuery's queue for %lld minutes: %s", (long long)(us / TR_US_PER_MIN),
        id);
}

static enum tr_rc stop(struct bq_dest *d, const char *id, struct bq_job *job, struct tr_err *err)
{
    struct tr_ctx grace = { .deadline_us = tr_clock_boot_us() + CANCEL_GRACE_S * TR_US_PER_S };

    cancel(&grace, d, id);
    do {
        if (poll(&grace, d, id, job, err) == TR_OK && job->state == BQ_DONE && !job->is_failed)
            return TR_OK; /* it was faster */
    } while (job->state != BQ_DONE && bq_sleep_ms(&grace, POLL_FIRST_MS));
    return tr_fail(err, TR_CANCELLED, "bigquery.cancelled", NULL, "cancelled");
}

enum tr_rc bq_job_wait(const struct tr_ctx *cx, struct bq_dest *d, const char *id, uint32_t n,
                       struct bq_job *job, struct tr_err *err)
{
    int64_t wait_ms = POLL_FIRST_MS;
    bool given_up = false, told = false;

    while (job->state != BQ_DONE) {
        tell_pending(d, pending_us(job), &told);
        if (pending_us(job) > patience_us(d, n) && !given_up) {
            cancel(cx, d, id);
            given_up = true;
        }
        if (!bq_sleep_ms(cx, wait_ms)) {
            if (tr_ctx_cancelled(cx))
                return stop(d, id, job, err);
            return still_running(job, id, err);
        }
        enum tr_rc rc = poll(cx, d, id, job, err);
        if (rc != TR_OK)
            return rc;
        wait_ms = wait_ms * 2 < POLL_MOST_MS ? wait_ms * 2 : POLL_MOST_MS;
    }
    return TR_OK;
}

enum tr_rc bq_job_fail(const struct bq_job *job, struct bq_class *ret_class, struct tr_err *err)
{
    struct bq_class class = { TR_TRANSIENT, BQ_ELSE, "bigquery.superseded", NULL, 0 };

    if (job->what != BQ_WHAT_FENCE)
        class = bq_classify(BQ_IN_JOB, 0, job->said.reason, job->said.message);
    if (ret_class != NULL)
        *ret_class = class;
    if (job->what == BQ_WHAT_FENCE)
        return tr_fail(err, class.rc, class.id, class.hint,
                       "another attempt at the chunk has settled it meanwhile");
    const char *message = job->n_rows > 0 ? job->rows[0].message : job->said.message;
    return bq_fail(&class, job->said.reason, message, tr_clock_wall_us(), err);
}

/* ---- numbers ---- */

struct probe {
    const struct tr_ctx *cx;
    struct bq_dest *d;
    const struct tr_key *key;
    struct bq_job *job;
    bool found;
};

static enum tr_rc probe(struct probe *p, uint32_t n, struct tr_err *err)
{
    char id[BQ_JOB_ID];

    return bq_job_look(p->cx, p->d, bq_job_id(p->key, n, id), p->job, &p->found, err);
}

/* The dead come first and without gaps: doubling, then halving. lo is dead, hi is not there. */
static enum tr_rc find_end(struct probe *p, uint32_t lo, uint32_t hi, uint32_t *ret_n,
                           bool *ret_live, struct tr_err *err)
{
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        enum tr_rc rc = probe(p, mid, err);

        if (rc != TR_OK)
            return rc;
        if (p->found && !bq_job_is_dead(p->job)) {
            *ret_n = mid;
            *ret_live = true;
            return TR_OK;
        }
        if (p->found)
            lo = mid;
        else
            hi = mid;
    }
    *ret_n = hi;
    *ret_live = false;
    return TR_OK;
}

enum tr_rc bq_job_find(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_key *key,
                       uint32_t *ret_n, bool *ret_live, struct bq_job *ret_job, struct tr_err *err)
{
    struct probe p = { .cx = cx, .d = d, .key = key, .job = ret_job };
    uint32_t lo = 0, n = 0;

    for (;;) {
        enum tr_rc rc = probe(&p, n, err);
        if (rc != TR_OK)
            return rc;
        *ret_n = n;
        *ret_live = p.found && !bq_job_is_dead(p.job);
        if (*ret_live || (!p.found && n == 0))
            return TR_OK;
        if (!p.found)
            return find_end(&p, lo, n, ret_n, ret_live, err);
        if (n >= NUMBER_MAX)
            return tr_fail(err, TR_REFUSED, "bigquery.too_many_jobs", NULL,
                           "BigQuery has over %d failed jobs for one chunk", NUMBER_MAX);
        lo = n;
        n = n == 0 ? 1 : 2 * n;
    }
}

/* ---- what a job says of its chunk ---- */

const char *bq_job_counts_id(const char *id, const char *attempt, char out[BQ_JOB_ID])
{
    (void)snprintf(out, BQ_JOB_ID, "%.*s_%s", TR_KEY_TEXT + 30, id, attempt);
    return out;
}

enum tr_rc bq_job_receipt(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                          const struct bq_job *job, struct tr_receipt *ret, struct tr_err *err)
{
    struct bq_counts counts = job->counts;
    char counts_id[BQ_JOB_ID];
    struct bq_job *other;
    bool found = false;

    if (job->counts_later) {
        other = malloc(sizeof(*other));
        if (other == NULL)
            return tr_fail_oom(err);
        enum tr_rc rc =
            bq_job_look(cx, d, bq_job_counts_id(id, job->attempt, counts_id), other, &found, err);
        if (rc == TR_OK && found)
            counts = other->counts;
        free(other);
        if (rc != TR_OK)
            return rc;
    }
    *ret = (struct tr_receipt){
        .delivered = job->is_load ? job->output_rows : counts.delivered,
        .rejected = counts.rejected,
        .repaired = counts.repaired,
        .was_there = true,
    };
    return TR_OK;
}

/* ---- lookup ---- */

/* Takes number n. *ret_taken false: somebody else has it. */
static enum tr_rc fence(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_key *key,
                        uint32_t n, struct bq_job *job, bool *ret_taken, struct tr_err *err)
{
    struct bq_label label = { .what = BQ_WHAT_FENCE };
    char id[BQ_JOB_ID];

    (void)bq_job_id(key, n, id);
    tr_buf_clear(&d->body);
    bq_write_query(&d->body, &d->place, id, &label, "SELECT 'nothing is loaded by this job'");
    enum tr_rc rc = bq_job_insert(cx, d, id, job, err);
    if (rc == TR_AMBIGUOUS && err != NULL) /* asking again is safe */
        err->rc = TR_TRANSIENT;
    if (rc != TR_OK)
        return rc == TR_AMBIGUOUS ? TR_TRANSIENT : rc;
    TR_KILL_POINT("bq.fenced");
    *ret_taken = job->what == BQ_WHAT_FENCE;
    return TR_OK;
}

/* Until it has ended, or time is up. */
static enum tr_rc wait_live(const struct tr_ctx *cx, struct bq_dest *d, const char *id, uint32_t n,
                            struct bq_job *job, struct tr_err *err)
{
    enum tr_rc rc = bq_job_wait(cx, d, id, n, job, err);

    return rc == TR_AMBIGUOUS ? TR_OK : rc;
}

static enum tr_rc look(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_key *key,
                       struct bq_job *job, enum tr_chunk_state *ret, struct tr_receipt *ret_receipt,
                       struct tr_err *err)
{
    char id[BQ_JOB_ID];
    uint32_t n = 0;
    bool live = false, taken = false;

    for (;;) {
        enum tr_rc rc = bq_job_find(cx, d, key, &n, &live, job, err);
        if (rc == TR_OK && !live)
            rc = fence(cx, d, key, n, job, &taken, err);
        if (rc != TR_OK)
            return rc;
        if (!live && taken) {
            *ret = TR_CHUNK_ABSENT;
            return TR_OK;
        }
        (void)bq_job_id(key, n, id);
        rc = wait_live(cx, d, id, n, job, err);
        if (rc != TR_OK)
            return rc;
        if (job->state != BQ_DONE) {
            *ret = TR_CHUNK_IN_FLIGHT;
            return TR_OK;
        }
        if (bq_job_is_dead(job)) /* who waited for it may have begun the next */
            continue;
        *ret = TR_CHUNK_PRESENT;
        return bq_job_receipt(cx, d, id, job, ret_receipt, err);
    }
}

enum tr_rc bq_lookup(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *key,
                     enum tr_chunk_state *ret, struct tr_receipt *ret_receipt, struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);
    struct bq_job *job = malloc(sizeof(*job)); /* large: it holds named rows */

    if (job == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = look(cx, d, key, job, ret, ret_receipt, err);
    free(job);
    return rc;
}
