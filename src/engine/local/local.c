/* The threads: one scheduler, one heart, some workers.
 *
 * Of the workers that are not live, one has the lead: it looks for what is due. When it has found a
 * run it gives the lead to another, a new one, and carries the run through; then it takes the lead
 * if nobody has it, or ends. So there are as many of them as there are attempts, and one more. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/local/local_priv.h"
#include "os/clock.h"

enum {
    DEFAULT_WORKERS = 4,
    DEFAULT_WAITING = 128,
    DEFAULT_LIVE = 256,
    ROOM_LOOK_US = 50 * 1000, /* how often it is looked whether there is room by now */
    DEFAULT_LEASE_S = 60,
    LOOK_AGAIN_S = 30, /* at the latest, also when nothing was told */
    AFTER_ERROR_S = 1, /* metadata that cannot be read or written: not at once again */
};

static struct engine *engine_of(struct tr_engine *base)
{
    return (struct engine *)(void *)base; /* base is the first member */
}

void engine_wake(struct engine *e)
{
    tr_monitor_enter(&e->monitor);
    e->exports_dirty = e->backfills_dirty = e->runs_dirty = e->live_dirty = e->beat_now = true;
    tr_monitor_tell(&e->monitor);
    tr_monitor_leave(&e->monitor);
}

void engine_runs_made(struct engine *e)
{
    tr_monitor_enter(&e->monitor);
    e->runs_dirty = e->live_dirty = true;
    tr_monitor_tell(&e->monitor);
    tr_monitor_leave(&e->monitor);
}

/* ---- waiting ---- */

/* Waits inside the monitor until one of the flags is set, the engine stops, or wait_us have passed.
 * The flags stay: whoever looks takes them first, so that nothing told in between is lost. */
static void wait_for(struct engine *e, const bool *flag, const bool *other_flag, int64_t wait_us)
{
    int64_t until = tr_clock_boot_us() + wait_us;

    tr_monitor_enter(&e->monitor);
    while (!e->stopping && !*flag && !*other_flag && wait_us > 0) {
        (void)tr_monitor_wait(&e->monitor, wait_us);
        wait_us = until - tr_clock_boot_us();
    }
    tr_monitor_leave(&e->monitor);
}

static void wait_to_go_on(struct engine *e, int64_t wait_us)
{
    static const bool never = false;

    wait_for(e, &never, &never, wait_us);
}

static void wait_after_error(struct engine *e)
{
    wait_to_go_on(e, AFTER_ERROR_S * TR_US_PER_S);
}

static void take_flag(struct engine *e, bool *flag)
{
    tr_monitor_enter(&e->monitor);
    *flag = false;
    tr_monitor_leave(&e->monitor);
}

static bool is_stopping(struct engine *e)
{
    tr_monitor_enter(&e->monitor);
    bool stopping = e->stopping;
    tr_monitor_leave(&e->monitor);
    return stopping;
}

/* How long until an instant of the source's clock, at most LOOK_AGAIN_S. */
static int64_t time_until(struct engine *e, int64_t instant)
{
    int64_t most = LOOK_AGAIN_S * TR_US_PER_S;

    if (instant == INT64_MAX)
        return most;
    int64_t wait = instant - engine_now(e);
    return wait < 0 ? 0 : wait > most ? most : wait;
}

/* ---- threads ---- */

static void say_trouble(struct engine *e, const struct tr_err *err)
{
    char text[512];

    engine_say(e, "error", NULL, NULL, "%s", tr_err_text(err, text, sizeof(text)));
}

static void *scheduler_main(void *arg)
{
    struct engine *e = arg;

    while (!is_stopping(e)) {
        struct tr_err err = { 0 };
        int64_t next = INT64_MAX;

        take_flag(e, &e->backfills_dirty);
        enum tr_rc rc = engine_schedule(e, &next, &err);
        if (rc == TR_OK)
            rc = engine_expand(e, &err);
        if (rc == TR_OK) {
            wait_for(e, &e->exports_dirty, &e->backfills_dirty, time_until(e, next));
        } else {
            say_trouble(e, &err);
            wait_after_error(e);
        }
    }
    return NULL;
}

static void *live_main(void *arg)
{
    struct slot *s = arg;
    struct engine *e = s->engine;

    while (!is_stopping(e)) {
        struct tr_err err = { 0 };
        bool found = false;
        int64_t next = INT64_MAX;

        take_flag(e, &e->live_dirty);
        if (engine_follow(e, s, &found, &next, &err) != TR_OK) {
            say_trouble(e, &err);
            wait_after_error(e);
        } else if (!found) {
            wait_for(e, &e->live_dirty, &e->live_dirty, time_until(e, next));
        } else if (s->live != NULL) {
            wait_to_go_on(e, time_until(e, next));
        }
    }
    engine_unfollow(s);
    return NULL;
}

/* ---- workers ---- */

/* Until something is due, some run was made, or there is room for more than which. */
static void wait_for_work(struct engine *e, uint32_t which, int64_t wait_us)
{
    int64_t until = tr_clock_boot_us() + wait_us;

    while (wait_us > 0) {
        bool full = which != TR_CLAIM_ALL;

        tr_monitor_enter(&e->monitor);
        bool go_on = !e->stopping && !e->runs_dirty;
        if (go_on)
            (void)tr_monitor_wait(&e->monitor,
                                  full && wait_us > ROOM_LOOK_US ? ROOM_LOOK_US : wait_us);
        tr_monitor_leave(&e->monitor);
        if (!go_on || (full && (which & ~engine_claimable(e)) != 0))
            return;
        wait_us = until - tr_clock_boot_us();
    }
}

/* False: the engine stops. */
static bool find_work(struct engine *e, struct slot *s, struct tr_run *ret)
{
    while (!is_stopping(e)) {
        struct tr_err err = { 0 };
        bool found = false;
        int64_t next = INT64_MAX;

        take_flag(e, &e->runs_dirty);
        uint32_t which = engine_claimable(e);
        if (claims_nothing(which)) {
            wait_for(e, &e->runs_dirty, &e->runs_dirty, ROOM_LOOK_US);
            continue;
        }
        if (work_claim(e, s, which, ret, &found, &next, &err) != TR_OK) {
            say_trouble(e, &err);
            wait_after_error(e);
        } else if (found) {
            return true;
        } else {
            wait_for_work(e, which, time_until(e, next));
        }
    }
    return false;
}

static void *worker_main(void *arg);

/* Inside the monitor. */
static struct slot *free_slot(struct engine *e)
{
    for (int i = 0; i < e->attempts; i++)
        if (!e->slots[i].is_running)
            return &e->slots[i];
    return NULL;
}

/* A new worker takes the lead, if nobody has it. Where there can be no more of them, the first that
 * is done takes it. */
static void give_lead(struct engine *e)
{
    struct tr_err err = { 0 };
    enum tr_rc rc = TR_OK;

    tr_monitor_enter(&e->monitor);
    struct slot *s = e->has_lead || e->stopping ? NULL : free_slot(e);
    if (s != NULL && s->is_started) /* it has left the monitor for the last time */
        (void)pthread_join(s->thread, NULL);
    if (s != NULL) {
        rc = tr_thread_start(&s->thread, "tr-worker", worker_main, s, &err);
        s->is_started = s->is_running = e->has_lead = rc == TR_OK;
    }
    tr_monitor_leave(&e->monitor);
    if (rc != TR_OK)
        say_trouble(e, &err);
}

static void leave_lead(struct engine *e)
{
    tr_monitor_enter(&e->monitor);
    e->has_lead = false;
    tr_monitor_leave(&e->monitor);
}

/* After an attempt: what stood behind it is due now. False: the worker ends. */
static bool take_lead(struct engine *e, struct slot *s)
{
    tr_monitor_enter(&e->monitor);
    bool leads = !e->has_lead && !e->stopping;
    e->has_lead = e->has_lead || leads;
    s->is_running = leads;
    e->runs_dirty = true;
    tr_monitor_tell(&e->monitor);
    tr_monitor_leave(&e->monitor);
    return leads;
}

static void *worker_main(void *arg)
{
    struct slot *s = arg;
    struct engine *e = s->engine;
    struct tr_run run;

    do {
        struct tr_err err = { 0 };
        bool found = find_work(e, s, &run);

        leave_lead(e);
        if (!found)
            continue;
        give_lead(e);
        if (work_attempt(e, s, &run, &err) != TR_OK) {
            say_trouble(e, &err);
            wait_after_error(e);
        }
    } while (take_lead(e, s));
    return NULL;
}

static void *heart_main(void *arg)
{
    struct engine *e = arg;

    while (!is_stopping(e)) {
        wait_for(e, &e->beat_now, &e->beat_now, e->lease_us / 3);
        take_flag(e, &e->beat_now);
        engine_beat(e);
        give_lead(e); /* where no thread could be started, now perhaps */
    }
    return NULL;
}

/* ---- start and stop ---- */

static bool join_until(pthread_t thread, int64_t until_boot_us)
{
    struct timespec t;
    int64_t left = until_boot_us - tr_clock_boot_us();

    (void)clock_gettime(CLOCK_REALTIME, &t);
    int64_t ns = t.tv_nsec + (left > 0 ? left % TR_US_PER_S * 1000 : 0);
    t.tv_sec += (left > 0 ? left / TR_US_PER_S : 0) + ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    return pthread_timedjoin_np(thread, NULL, &t) == 0;
}

static void ask_to_stop(struct engine *e)
{
    tr_monitor_enter(&e->monitor);
    e->stopping = true;
    for (int i = 0; i < engine_slots(e); i++) {
        struct slot *s = &e->slots[i];

        if (s->is_busy && s->stop == ENGINE_GO)
            s->stop = ENGINE_SHUTDOWN;
        atomic_store(&s->cancelled, true);
    }
    tr_monitor_tell(&e->monitor);
    tr_monitor_leave(&e->monitor);
}

static void local_wake(struct tr_engine *base)
{
    engine_wake(engine_of(base));
}

/* An attempt that does not end in time keeps its memory: the process is about to end, and what it
 * still writes is held to its fence. */
static void local_stop(struct tr_engine *base, int64_t grace_us)
{
    struct engine *e = engine_of(base);
    int64_t until = tr_clock_boot_us() + grace_us;
    bool all = true;

    ask_to_stop(e);
    /* First the one that starts others. */
    if (e->scheduler_started && !join_until(e->scheduler, until))
        all = false;
    for (int i = 0; all && i < engine_slots(e); i++) {
        if (e->slots[i].is_started && !join_until(e->slots[i].thread, until))
            all = false;
    }
    if (e->heart_started && !join_until(e->heart, until))
        all = false;
    if (all)
        engine_free(e);
}

static const struct tr_engine_ops local_ops = {
    .name = "local",
    .wake = local_wake,
    .stop = local_stop,
};

enum tr_rc engine_new(const struct tr_engine_options *o, struct engine **ret, struct tr_err *err)
{
    struct engine *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return tr_fail_oom(err);
    e->base.ops = &local_ops;
    e->d = o->delivery;
    e->meta = o->delivery->meta;
    e->source = o->delivery->source;
    e->lease_us = o->lease_us > 0 ? o->lease_us : DEFAULT_LEASE_S * TR_US_PER_S;
    e->catch_up_intervals = o->catch_up_intervals;
    e->quiet_us = o->quiet_us;
    e->keep_us = o->keep_us;
    e->patience_us = o->patience_us;
    e->keep_quiet_us = o->keep_quiet_us;
    e->workers = o->workers <= 0                   ? DEFAULT_WORKERS
                 : o->workers > ENGINE_MAX_WORKERS ? ENGINE_MAX_WORKERS
                                                   : o->workers;
    e->waiting = o->waiting <= 0                   ? DEFAULT_WAITING
                 : o->waiting > ENGINE_MAX_WAITING ? ENGINE_MAX_WAITING
                                                   : o->waiting;
    e->attempts = 2 * (e->workers + e->waiting);
    e->live_workers = o->live_workers <= 0                ? DEFAULT_LIVE
                      : o->live_workers > ENGINE_MAX_LIVE ? ENGINE_MAX_LIVE
                                                          : o->live_workers;
    e->exports_dirty = true;
    tr_monitor_init(&e->monitor);
    for (int i = 0; i < engine_slots(e); i++) {
        struct slot *s = &e->slots[i];

        s->engine = e;
        s->is_live = i >= e->attempts;
        (void)snprintf(s->worker, sizeof(s->worker), s->is_live ? "live-%d" : "worker-%d",
                       s->is_live ? i - e->attempts + 1 : i + 1);
    }
    *ret = e;
    return TR_OK;
}

void engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    tr_monitor_fini(&e->monitor);
    free(e->known);
    free(e);
}

static enum tr_rc start_threads(struct engine *e, struct tr_err *err)
{
    enum tr_rc rc = tr_thread_start(&e->heart, "tr-heart", heart_main, e, err);

    e->heart_started = rc == TR_OK;
    e->has_threads = true;
    if (rc == TR_OK) {
        rc = tr_thread_start(&e->scheduler, "tr-schedule", scheduler_main, e, err);
        e->scheduler_started = rc == TR_OK;
    }
    if (rc == TR_OK)
        give_lead(e);
    return rc;
}

void engine_need_live(struct engine *e, int exports)
{
    if (exports > e->live_workers && !e->told_live)
        engine_say(e, "warn", NULL, NULL,
                   "%d exports in real time share %d workers and will lag: raise "
                   "--live-workers",
                   exports, e->live_workers);
    e->told_live = exports > e->live_workers;
    while (e->has_threads && e->live_started < exports && e->live_started < e->live_workers) {
        struct slot *s = &e->slots[e->attempts + e->live_started];
        struct tr_err err = { 0 };

        if (tr_thread_start(&s->thread, "tr-live", live_main, s, &err) != TR_OK) {
            say_trouble(e, &err);
            return;
        }
        s->is_started = true;
        e->live_started++;
    }
}

enum tr_rc tr_engine_local_start(const struct tr_engine_options *o, struct tr_engine **ret,
                                 struct tr_err *err)
{
    struct engine *e = NULL;
    enum tr_rc rc = engine_new(o, &e, err);

    if (rc != TR_OK)
        return rc;
    rc = e->meta->ops->run_release_all(e->meta, err);
    if (rc != TR_OK) {
        engine_free(e);
        return tr_wrap(err, "take up the runs of the last process");
    }
    rc = start_threads(e, err);
    if (rc != TR_OK) {
        local_stop(&e->base, 5 * TR_US_PER_S);
        return tr_wrap(err, "start the engine");
    }
    *ret = &e->base;
    return TR_OK;
}
