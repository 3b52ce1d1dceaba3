/* An attempt in steps: what has come in since the last one, until the interval is through.
 *
 * What a step has planned, or found to hold no events, the next ones do not look at again: a closed
 * range stays as it is. Only parts that other runs hold may come free, so the last step looks at
 * the whole interval once more.
 */
#include <stdlib.h>

#include "base/time.h"
#include "delivery/delivery_priv.h"

enum {
    BUFFER_BYTES = 1 << 20,
    LOOK_AGAIN_US = 200 * 1000,    /* at the soonest, where nothing waits */
    LOOK_WAITING_US = 1000 * 1000, /* at the latest, where something does: it may be enough now */
};

struct tr_live {
    struct job job;
    bool is_void; /* nothing to deliver */
    int64_t buffer_us;
    int64_t from;   /* what lies before is planned or empty */
    bool has_ended; /* the run is not ours any more */
};

enum tr_rc tr_live_begin(const struct tr_ctx *cx, const struct tr_delivery *d, struct tr_run *run,
                         struct tr_live *after, struct tr_live **ret, struct tr_err *err)
{
    struct tr_live *l = calloc(1, sizeof(*l));

    *ret = l;
    if (l == NULL) {
        tr_live_close(after, NULL);
        return tr_fail_oom(err);
    }
    job_init(&l->job, cx, d, run);
    enum tr_rc rc = job_begin(&l->job, after == NULL ? NULL : &after->job, &l->is_void, err);
    tr_live_close(after, NULL);
    if (rc != TR_OK || l->is_void)
        return rc;
    l->buffer_us = job_option(&l->job, "buffer_seconds", 1) * TR_US_PER_S;
    l->job.most_bytes = (uint64_t)job_option(&l->job, "buffer_bytes", BUFFER_BYTES);
    l->from = l->job.interval.lo;
    return TR_OK;
}

/* What is ripe below through. */
static enum tr_rc deliver_some(struct tr_live *l, int64_t through, struct tr_err *err)
{
    struct job *j = &l->job;
    bool added = false;

    j->open = (struct tr_range){ l->from, through };
    j->ripe_through = j->d->source->ops->now(j->d->source) - l->buffer_us;
    enum tr_rc rc = job_plan(j, &added, err);
    if (rc == TR_OK)
        rc = job_deliver(j, err);
    if (rc == TR_OK)
        l->from = j->planned_up_to;
    return rc;
}

static enum tr_rc deliver_rest(struct tr_live *l, struct tr_err *err)
{
    struct job *j = &l->job;

    j->open = j->interval;
    j->ripe_through = INT64_MAX;
    enum tr_rc rc = job_rest(j, err);
    if (rc == TR_OK)
        l->from = j->interval.hi;
    return rc;
}

/* When a part that waits is ripe, or there may be enough for a chunk. */
static int64_t look_at(const struct tr_live *l, int64_t through, int64_t now)
{
    int64_t wait = LOOK_AGAIN_US;

    if (l->from < through) {
        wait = l->from + l->buffer_us - now;
        wait = wait > LOOK_WAITING_US ? LOOK_WAITING_US : wait;
    }
    return now + (wait < LOOK_AGAIN_US ? LOOK_AGAIN_US : wait);
}

enum tr_rc tr_live_step(struct tr_live *l, int64_t through, struct tr_live_step *ret,
                        struct tr_err *err)
{
    struct job *j = &l->job;
    enum tr_rc rc = TR_OK;

    *ret = (struct tr_live_step){ .is_last = l->is_void || through >= j->interval.hi };
    if (tr_ctx_cancelled(j->cx))
        return tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
    if (l->is_void)
        return TR_OK;
    if (ret->is_last)
        rc = deliver_rest(l, err);
    else if (through > l->from)
        rc = deliver_some(l, through, err);
    else
        rc = job_read_plan(j, err); /* for the export's sake */
    if (rc != TR_OK)
        return rc;
    ret->changed = j->changed && !ret->is_last;
    ret->next = look_at(l, through, j->d->source->ops->now(j->d->source));
    return TR_OK;
}

enum tr_rc tr_live_end(struct tr_live *l, struct tr_attempt *ret, struct tr_err *err)
{
    enum tr_rc rc = l->is_void ? TR_OK : job_end(&l->job, err);

    if (rc != TR_OK)
        return rc;
    l->has_ended = true;
    job_attempt(&l->job, ret);
    return TR_OK;
}

void tr_live_close(struct tr_live *l, struct tr_attempt *ret)
{
    if (l == NULL)
        return;
    if (!l->has_ended)
        l->job.run->account = account_sum(l->job.chunks, l->job.n_chunks);
    if (ret != NULL)
        job_attempt(&l->job, ret);
    job_fini(&l->job);
    free(l);
}
