/* Runs of intervals that have ended. */
#include <string.h>

#include "base/metric.h"
#include "engine/local/local_priv.h"
#include "os/clock.h"

TR_GAUGE(
    seconds_behind, "tailrace_export_behind_seconds",
    "Age of the oldest interval that has ended and is not delivered, over all active exports; in "
    "real time, of the oldest event.");

enum {
    HELD_BACK_S = 2,
    GAUGE_S = 15,
    LIVE_PENDING_RUNS = 2,
    CLOSE_WAIT_S = 30,
    CLOSE_LOOK_US = 20 * 1000,
    FOLD_RUNS = 200,   /* in one transaction */
    FOLD_AGAIN_S = 60, /* when there were fewer */
    FOLD_GO_ON_US = 100 * 1000,
};

struct tr_range engine_cover(const struct tr_schedule *s, int64_t lo, int64_t now, int64_t span_us,
                             int max)
{
    struct tr_range r = { lo, tr_schedule_at(s, lo).hi };

    for (int n = 1; max == 0 || n < max; n++) {
        int64_t hi = tr_schedule_at(s, r.hi).hi;
        if (hi > now || hi - lo > span_us)
            break;
        r.hi = hi;
    }
    return r;
}

/* ---- one export ---- */

/* The first interval of an export is the one in which it was created. */
static enum tr_rc read_cursor(struct engine *e, const struct known *k, int64_t *ret,
                              struct tr_err *err)
{
    enum tr_rc rc = e->meta->ops->cursor_get(e->meta, &k->id, ret, err);

    if (rc != TR_OK || *ret != INT64_MIN)
        return rc;
    *ret = tr_schedule_at(&k->schedule, k->created_at).lo;
    return e->meta->ops->cursor_set(e->meta, &k->id, *ret, err);
}

static enum tr_rc make_run(struct engine *e, const struct known *k, struct tr_range interval,
                           int64_t now, struct tr_err *err)
{
    struct tr_run run = {
        .export_id = k->id,
        .project = k->project,
        .interval = interval,
        .state = TR_RUN_STARTING,
        .on_delivered = TR_SKIP_DELIVERED,
        .is_live = known_is_live(k),
        .created_at = now,
        .not_before =
            known_is_live(k) ? interval.lo : interval.hi + tr_schedule_jitter(&k->schedule, &k->id),
    };

    return e->meta->ops->run_schedule(e->meta, &run, err);
}

static enum tr_rc any_rows(struct engine *e, const struct known *k, struct tr_range r, bool *ret,
                           struct tr_err *err)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX };

    *ret = false;
    while (!*ret && !tr_range_empty(r)) {
        struct tr_part part;
        size_t n = 0;
        int64_t covered = r.lo;
        enum tr_rc rc = e->source->ops->plan(&cx, e->source, k->project, k->schema, r, 1, INT64_MAX,
                                             &part, 1, &n, &covered, err);

        if (rc != TR_OK)
            return tr_wrap(err, "look whether anything came in");
        if (covered <= r.lo)
            return TR_OK;
        *ret = n > 0 && part.rows > 0;
        r.lo = covered;
    }
    return TR_OK;
}

/* An interval in which nothing came in waits for the next: those that are short are bundled, so
 * that an idle export costs next to nothing. The first after a start, or after a change of the
 * export, is run whatever it holds. When the source does not close it, its run says so. */
static enum tr_rc is_quiet(struct engine *e, struct known *k, struct tr_range r, int64_t now,
                           bool *ret, struct tr_err *err)
{
    bool any = true;

    *ret = false;
    if (e->quiet_us <= 0 || known_is_live(k) || !k->has_run || r.hi - r.lo >= e->quiet_us ||
        r.hi >= k->bounds.hi)
        return TR_OK;
    if (!e->source->ops->close_through(e->source, r.hi)) {
        *ret = now - r.hi < CLOSE_WAIT_S * TR_US_PER_S;
        k->look_at = now + CLOSE_LOOK_US;
        return TR_OK;
    }
    enum tr_rc rc = any_rows(e, k, r, &any, err);
    *ret = rc == TR_OK && !any;
    k->look_at = tr_schedule_at(&k->schedule, r.hi).hi;
    return rc;
}

/* The next run of an export, when it is time: *ret_made. Otherwise look_at says when. */
static enum tr_rc schedule_next(struct engine *e, struct known *k, int64_t now, bool *ret_made,
                                struct tr_err *err)
{
    struct tr_backlog open = { 0 };
    int64_t cursor = 0;
    enum tr_rc rc = read_cursor(e, k, &cursor, err);

    *ret_made = false;
    if (rc != TR_OK)
        return rc;
    int64_t lo = cursor > k->bounds.lo ? cursor : k->bounds.lo;
    if (lo >= k->bounds.hi) {
        k->look_at = INT64_MAX;
        return TR_OK;
    }

    struct tr_range r = engine_cover(&k->schedule, lo, now, TR_US_PER_DAY, e->catch_up_intervals);
    r.hi = r.hi < k->bounds.hi ? r.hi : k->bounds.hi;
    int64_t due = known_is_live(k) ? r.lo : r.hi;
    if (due > now) {
        k->look_at = due;
        return TR_OK;
    }
    rc = e->meta->ops->backlog(e->meta, &k->id, &open, err);
    if (rc != TR_OK)
        return rc;
    if (open.scheduled >= (known_is_live(k) ? LIVE_PENDING_RUNS : ENGINE_PENDING_RUNS)) {
        k->look_at = now + HELD_BACK_S * TR_US_PER_S;
        return TR_OK;
    }
    bool quiet = false;
    rc = is_quiet(e, k, r, now, &quiet, err);
    if (rc != TR_OK || quiet)
        return rc;
    rc = make_run(e, k, r, now, err);
    *ret_made = rc == TR_OK;
    k->has_run = k->has_run || *ret_made;
    return rc;
}

static enum tr_rc schedule_export(struct engine *e, struct known *k, int64_t now, bool *ret_made,
                                  struct tr_err *err)
{
    for (int i = 0; i < ENGINE_PENDING_RUNS; i++) {
        bool made = false;
        enum tr_rc rc = schedule_next(e, k, now, &made, err);

        /* The cursor was moved by somebody else between reading and writing: look again. */
        if (rc == TR_REFUSED && err->id != NULL && strcmp(err->id, "meta.behind_cursor") == 0)
            continue;
        if (rc != TR_OK || !made)
            return rc;
        *ret_made = true;
    }
    k->look_at = now + HELD_BACK_S * TR_US_PER_S;
    return TR_OK;
}

/* ---- all of them ---- */

/* In real time: how long the first event waits that is not delivered. */
static enum tr_rc live_behind(struct engine *e, const struct known *k,
                              const struct tr_backlog *open, int64_t now, int64_t *ret,
                              struct tr_err *err)
{
    struct tr_range r = { open->oldest_lo, e->source->ops->closed_through(e->source) };
    int64_t floor = e->source->ops->floor(e->source);
    int64_t through = 0;

    r.lo = r.lo < floor ? floor : r.lo;
    r = tr_range_meet(r, k->bounds);
    *ret = 0;
    if (tr_range_empty(r))
        return TR_OK;
    enum tr_rc rc =
        tr_delivered_through(e->d, &k->id, k->target, k->project, k->schema, r, &through, err);
    if (rc == TR_OK && through < r.hi)
        *ret = now - through;
    return rc;
}

static enum tr_rc export_behind(struct engine *e, const struct known *k, int64_t now, int64_t *ret,
                                struct tr_err *err)
{
    struct tr_backlog open = { 0 };
    enum tr_rc rc = e->meta->ops->backlog(e->meta, &k->id, &open, err);

    *ret = 0;
    if (rc != TR_OK || open.scheduled == 0)
        return rc;
    if (known_is_live(k))
        return live_behind(e, k, &open, now, ret, err);
    *ret = now - open.oldest_hi;
    return TR_OK;
}

static enum tr_rc gauge_behind(struct engine *e, int64_t now, struct tr_err *err)
{
    int64_t boot = tr_clock_boot_us();
    int64_t most = 0;

    if (e->gauged_at != 0 && boot - e->gauged_at < GAUGE_S * TR_US_PER_S)
        return TR_OK;
    e->gauged_at = boot;
    for (size_t i = 0; i < e->n_known; i++) {
        int64_t behind = 0;

        if (e->known[i].paused || e->known[i].broken)
            continue;
        enum tr_rc rc = export_behind(e, &e->known[i], now, &behind, err);
        if (rc != TR_OK)
            return rc;
        most = behind > most ? behind : most;
    }
    tr_gauge_set(&seconds_behind, most / TR_US_PER_S);
    return TR_OK;
}

/* Old runs become numbers of their day: some at a time, so that nobody waits long for metadata. */
static enum tr_rc fold(struct engine *e, int64_t now, int64_t *ret_next, struct tr_err *err)
{
    size_t n = 0;

    if (e->keep_us <= 0 && e->keep_quiet_us <= 0)
        return TR_OK;
    if (now >= e->fold_at) {
        int64_t before = e->keep_us > 0 ? now - e->keep_us : INT64_MIN;
        int64_t quiet = e->keep_quiet_us > 0 ? now - e->keep_quiet_us : before;
        enum tr_rc rc = e->meta->ops->run_fold(e->meta, quiet > before ? quiet : before, before,
                                               FOLD_RUNS, &n, err);

        if (rc != TR_OK)
            return tr_wrap(err, "fold old runs");
        e->fold_at = now + (n < FOLD_RUNS ? FOLD_AGAIN_S * TR_US_PER_S : FOLD_GO_ON_US);
    }
    if (e->fold_at < *ret_next)
        *ret_next = e->fold_at;
    return TR_OK;
}

enum tr_rc engine_schedule(struct engine *e, int64_t *ret_next, struct tr_err *err)
{
    int64_t now = engine_now(e);
    int64_t next = INT64_MAX;
    int live = 0;
    bool made = false;
    enum tr_rc rc = engine_refresh(e, err);

    for (size_t i = 0; i < e->n_known && rc == TR_OK; i++) {
        struct known *k = &e->known[i];

        if (k->paused || k->broken)
            continue;
        live += known_is_live(k);
        if (k->look_at <= now)
            rc = schedule_export(e, k, now, &made, err);
        if (k->look_at < next)
            next = k->look_at;
    }
    if (rc == TR_OK)
        rc = gauge_behind(e, now, err);
    if (rc == TR_OK)
        rc = fold(e, now, &next, err);
    /* one at least: an export that is not in real time any more may have left runs that are */
    engine_need_live(e, live == 0 ? 1 : live);
    if (made)
        engine_runs_made(e);
    *ret_next = next;
    return rc == TR_OK ? TR_OK : tr_wrap(err, "schedule");
}
