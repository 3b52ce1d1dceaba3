/* Runs in real time: claimed when their interval begins, carried through in steps. Between two
 * steps the worker waits; the attempt, its connections and its claim stay. */
#include "engine/local/local_priv.h"
#include "os/clock.h"

enum {
    IDLE_US = 200 * 1000,       /* between two looks where nothing came in */
    LOOK_US = 1000 * 1000,      /* at the latest, whether the export was changed */
    KEEP_US = 60 * 1000 * 1000, /* connections that nobody uses */
};

static void drop_kept(struct slot *s)
{
    tr_live_close(s->kept, NULL);
    s->kept = NULL;
}

static void drop_idle(struct slot *s)
{
    if (s->kept != NULL && tr_clock_boot_us() - s->stepped_at > KEEP_US)
        drop_kept(s);
}

void engine_unfollow(struct slot *s)
{
    tr_live_close(s->live, NULL);
    s->live = NULL;
    drop_kept(s);
}

/* ---- the end ---- */

static enum tr_rc end_badly(struct engine *e, struct slot *s, enum tr_rc rc, struct tr_err *why,
                            struct tr_err *err)
{
    struct tr_attempt a = { 0 };

    tr_live_close(s->live, &a);
    s->live = NULL;
    return work_end(e, s, &s->live_run, &a, rc, why, err);
}

/* The connections wait for the next interval's run, which is due now. */
static enum tr_rc end_well(struct engine *e, struct slot *s, const struct tr_attempt *a,
                           struct tr_err *err)
{
    struct tr_err none = { 0 };

    s->kept = s->live;
    s->live = NULL;
    return work_end(e, s, &s->live_run, a, TR_OK, &none, err);
}

static enum tr_rc hand_back(struct engine *e, struct slot *s, struct tr_err *err)
{
    struct tr_attempt a = { 0 };

    tr_live_close(s->live, &a);
    s->live = NULL;
    return work_hand_back(e, s, &s->live_run, &a, err);
}

/* ---- steps ---- */

static enum tr_rc step(struct engine *e, struct slot *s, struct tr_live_step *ret,
                       struct tr_err *why)
{
    int64_t hi = s->live_run.interval.hi;
    int64_t now = engine_now(e);
    int64_t boot = tr_clock_boot_us();
    int64_t through = e->source->ops->closed_through(e->source);
    enum tr_rc rc = TR_OK;

    if (now >= hi) {
        rc = work_wait_closed(e, s, hi, why);
        through = hi;
    } else if (through == s->seen_through && boot - s->stepped_at < LOOK_US &&
               !atomic_load(&s->cancelled)) {
        *ret = (struct tr_live_step){ .next = now + IDLE_US };
        return TR_OK;
    }
    s->seen_through = through;
    s->stepped_at = boot;
    return rc == TR_OK ? tr_live_step(s->live, through, ret, why) : rc;
}

static enum tr_rc go_on(struct engine *e, struct slot *s, int64_t *ret_next, struct tr_err *err)
{
    struct tr_live_step st = { 0 };
    struct tr_attempt a = { 0 };
    struct tr_err why = { 0 };
    enum tr_rc rc = step(e, s, &st, &why);

    if (rc == TR_OK && st.is_last)
        rc = tr_live_end(s->live, &a, &why);
    if (rc != TR_OK)
        return end_badly(e, s, rc, &why, err);
    if (st.is_last)
        return end_well(e, s, &a, err);
    if (st.changed)
        return hand_back(e, s, err);
    *ret_next = st.next < s->live_run.interval.hi ? st.next : s->live_run.interval.hi;
    return TR_OK;
}

static enum tr_rc begin(struct engine *e, struct slot *s, struct tr_err *err)
{
    struct tr_live *after = s->kept;
    struct tr_err why = { 0 };

    s->kept = NULL;
    s->seen_through = INT64_MIN;
    s->live_cx = (struct tr_ctx){ .deadline_us = INT64_MAX, .cancelled = &s->cancelled };
    enum tr_rc rc = tr_live_begin(&s->live_cx, e->d, &s->live_run, after, &s->live, &why);
    return rc == TR_OK ? TR_OK : end_badly(e, s, rc, &why, err);
}

enum tr_rc engine_follow(struct engine *e, struct slot *s, bool *ret_found, int64_t *ret_next,
                         struct tr_err *err)
{
    *ret_found = true;
    *ret_next = engine_now(e);
    if (s->live != NULL)
        return go_on(e, s, ret_next, err);
    enum tr_rc rc = work_claim(e, s, TR_CLAIM_LIVE, &s->live_run, ret_found, ret_next, err);
    if (rc != TR_OK)
        return rc;
    if (!*ret_found) {
        drop_idle(s);
        return TR_OK;
    }
    *ret_next = engine_now(e);
    if (s->live_run.interval.hi <= *ret_next) /* missed, or tried again: all of it at once */
        return work_attempt(e, s, &s->live_run, err);
    return begin(e, s, err);
}
