/* Runs of intervals that have ended. */
#include <string.h>

#include "base/metric.h"
#include "engine/local/local_priv.h"
#include "os/clock.h"

TR_GAUGE(
    seconds_behind, "tailrace_export_behind_seconds",
    "Age of the oldest interval that has ended and is not delivered, over all active exports; in "
    "real time, of the oldest event.");

enum { HELD_BACK_S = 2, GAUGE_S = 15, LIVE_PENDING_RUNS = 2 };

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

/* ---- open runs ---- */

struct open_runs {
    int n;
    int64_t oldest_begin, oldest_end;
};

static bool count_open(void *arg, const struct tr_run *run)
{
    static const struct tr_uuid nil;
    struct open_runs *o = arg;

    if (memcmp(&run->backfill_id, &nil, sizeof(nil)) == 0) {
        o->n++;
        if (run->interval.hi < o->oldest_end)
            o->oldest_end = run->interval.hi;
        if (run->interval.lo < o->oldest_begin)
            o->oldest_begin = run->interval.lo;
    }
    return true;
}

static enum tr_rc find_open(struct engine *e, const struct tr_uuid *export_id,
                            struct open_runs *ret, struct tr_err *err)
{
    struct tr_run_query q = {
        .export_id = *export_id,
        .states = 1u << TR_RUN_STARTING | 1u << TR_RUN_RUNNING | 1u << TR_RUN_RETRYING,
        .limit = 1000,
    };

    *ret = (struct open_runs){ .oldest_begin = INT64_MAX, .oldest_end = INT64_MAX };
    return e->meta->ops->run_list(e->meta, &q, count_open, ret, err);
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

/* The next run of an export, when it is time: *ret_made. Otherwise look_at says when. */
static enum tr_rc schedule_next(struct engine *e, struct known *k, int64_t now, bool *ret_made,
                                struct tr_err *err)
{
    struct open_runs open;
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
    rc = find_open(e, &k->id, &open, err);
    if (rc != TR_OK)
        return rc;
    if (open.n >= (known_is_live(k) ? LIVE_PENDING_RUNS : ENGINE_PENDING_RUNS)) {
        k->look_at = now + HELD_BACK_S * TR_US_PER_S;
        return TR_OK;
    }
    rc = make_run(e, k, r, now, err);
    *ret_made = rc == TR_OK;
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
static enum tr_rc live_behind(struct engine *e, const struct known *k, const struct open_runs *open,
                              int64_t now, int64_t *ret, struct tr_err *err)
{
    struct tr_range r = { open->oldest_begin, e->source->ops->closed_through(e->source) };
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
    struct open_runs open;
    enum tr_rc rc = find_open(e, &k->id, &open, err);

    *ret = 0;
    if (rc != TR_OK || open.n == 0)
        return rc;
    if (known_is_live(k))
        return live_behind(e, k, &open, now, ret, err);
    *ret = now - open.oldest_end;
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
    /* one at least: an export that is not in real time any more may have left runs that are */
    engine_need_live(e, live == 0 ? 1 : live);
    if (made)
        engine_runs_made(e);
    *ret_next = next;
    return rc == TR_OK ? TR_OK : tr_wrap(err, "schedule");
}
