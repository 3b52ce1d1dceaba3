/* The engine of one process. Private to this folder.
 *
 * All work is in steps that a test can call one by one on one thread: engine_schedule,
 * engine_expand, engine_work, engine_follow, engine_beat. local.c wraps each into a thread that
 * waits between them. Instants are the source's (ingestion clock).
 */
#ifndef TR_ENGINE_LOCAL_PRIV_H
#define TR_ENGINE_LOCAL_PRIV_H

#include "base/time.h"
#include "engine/engine.h"
#include "os/thread.h"

enum {
    ENGINE_MAX_WORKERS = 64,
    ENGINE_MAX_WAITING = 512,
    ENGINE_MAX_LIVE = 256,
    ENGINE_MAX_ATTEMPTS = 2 * (ENGINE_MAX_WORKERS + ENGINE_MAX_WAITING),
    ENGINE_PENDING_RUNS = 16, /* scheduled runs of one export that may be open at once; intervals
                                 beyond are caught up in few runs when these have ended */
};

/* Why an attempt was asked to stop. */
enum engine_stop { ENGINE_GO, ENGINE_CANCEL, ENGINE_LOST, ENGINE_SHUTDOWN };

/* One worker and what it works on. */
struct slot {
    struct engine *engine;
    char worker[32];
    bool is_live; /* for runs in real time */
    atomic_bool cancelled;
    _Atomic int64_t alive_at; /* boot clock: the attempt's last sign of life */
    /* the worker's own; live_run while live is not NULL: */
    struct tr_live *live;
    struct tr_live *kept; /* has ended; its connections may be used again */
    struct tr_run live_run;
    struct tr_ctx live_cx;
    int64_t began, seen_through, stepped_at; /* boot clock, source's clock, boot clock */
    /* under the monitor: */
    pthread_t thread;
    bool is_started; /* thread must be joined */
    bool is_running; /* thread has not ended */
    bool is_busy, is_doubtful, is_backfill;
    enum engine_stop stop;
    struct tr_uuid run_id;
    int64_t fence;
};

/* What the scheduler knows of an export; the newest version of each. */
struct known {
    struct tr_uuid id;
    uint64_t version;
    int32_t project;
    uint64_t target;
    bool paused;
    bool broken; /* its body cannot be read: said once, left alone */
    const struct tr_schema *schema;
    struct tr_schedule schedule;
    struct tr_range bounds;
    int64_t created_at;
    int64_t look_at; /* nothing falls due before */
    bool has_run;    /* a run was made since the start or the last change */
};

static inline bool known_is_live(const struct known *k)
{
    return k->schedule.unit == TR_UNIT_REALTIME;
}

struct engine {
    struct tr_engine base;
    const struct tr_delivery *d;
    struct tr_meta *meta;
    struct tr_source *source;
    int64_t lease_us;
    int catch_up_intervals;                                /* 0: as many as fit into a day */
    int64_t quiet_us, keep_us, keep_quiet_us, patience_us; /* 0: off */

    /* the scheduler's own: */
    struct known *known; /* by id */
    size_t n_known;
    int64_t refreshed_at, gauged_at, fold_at;

    struct tr_monitor monitor; /* guards what follows and the slots */
    bool stopping;
    bool exports_dirty, backfills_dirty, runs_dirty, live_dirty, beat_now;

    int workers, waiting, live_workers;
    int attempts; /* slots that are not live: twice those at work and those that wait */
    struct slot slots[ENGINE_MAX_ATTEMPTS + ENGINE_MAX_LIVE]; /* those, then live ones */
    bool has_lead;    /* one of the workers looks for what is due; the others work */
    int live_started; /* the scheduler's own: threads of live workers */
    bool has_threads, told_live;
    pthread_t scheduler, heart;
    bool scheduler_started, heart_started;
};

static inline int64_t engine_now(struct engine *e)
{
    return e->source->ops->now(e->source);
}

TR_MUST_USE enum tr_rc engine_new(const struct tr_engine_options *o, struct engine **ret,
                                  struct tr_err *err);
void engine_free(struct engine *e); /* no thread may run */
void engine_wake(struct engine *e);

/* known.c: reads the list of exports when something changed (or some time has passed). */
TR_MUST_USE enum tr_rc engine_refresh(struct engine *e, struct tr_err *err);
struct known *engine_known(struct engine *e, const struct tr_uuid *export_id); /* NULL: none */

/* schedule.c: makes the runs of intervals that have ended; *ret_next: when to look again. */
TR_MUST_USE enum tr_rc engine_schedule(struct engine *e, int64_t *ret_next, struct tr_err *err);
/* From lo to the end of the last whole interval that a run may cover: one interval, more of them
 * when they are missed (have ended by now) and fit into span_us and max (0: any number). */
struct tr_range engine_cover(const struct tr_schedule *s, int64_t lo, int64_t now, int64_t span_us,
                             int max);

/* backfill.c: keeps `parallel` runs of each backfill open, ends those that are through. */
TR_MUST_USE enum tr_rc engine_expand(struct engine *e, struct tr_err *err);

static inline int engine_slots(const struct engine *e)
{
    return e->attempts + e->live_workers;
}

/* local.c: as many live workers as there are exports in real time. */
void engine_need_live(struct engine *e, int exports);
void engine_runs_made(struct engine *e); /* wakes workers */

/* room.c: what a worker may claim now: a set of enum tr_claim. */
uint32_t engine_claimable(struct engine *e);
static inline bool claims_nothing(uint32_t which)
{
    return (which & TR_CLAIM_NO_SOUND) != 0 && (which & TR_CLAIM_NO_DOUBTFUL) != 0;
}

/* worker.c: claims a due run and carries one attempt through. *ret_found false: nothing was due
 * before *ret_next. */
TR_MUST_USE enum tr_rc engine_work(struct engine *e, struct slot *s, bool *ret_found,
                                   int64_t *ret_next, struct tr_err *err);

/* The steps of engine_work, for local.c and live.c. which: a set of enum tr_claim. */
TR_MUST_USE enum tr_rc work_claim(struct engine *e, struct slot *s, uint32_t which,
                                  struct tr_run *ret, bool *ret_found, int64_t *ret_next,
                                  struct tr_err *err);
/* One attempt at a run that was claimed, and what it came to. */
TR_MUST_USE enum tr_rc work_attempt(struct engine *e, struct slot *s, struct tr_run *run,
                                    struct tr_err *err);
TR_MUST_USE enum tr_rc work_wait_closed(struct engine *e, struct slot *s, int64_t hi,
                                        struct tr_err *err);
/* The attempt ended: decides and writes down. why: of rc. */
TR_MUST_USE enum tr_rc work_end(struct engine *e, struct slot *s, struct tr_run *run,
                                const struct tr_attempt *a, enum tr_rc rc, struct tr_err *why,
                                struct tr_err *err);

/* The attempt ended, the run did not: due at once, with whatever has changed. */
TR_MUST_USE enum tr_rc work_hand_back(struct engine *e, struct slot *s, struct tr_run *run,
                                      const struct tr_attempt *a, struct tr_err *err);

/* live.c: the same for a run in real time: claims one, or goes a step on with it. *ret_found: call
 * again at *ret_next (a step), else nothing was due before *ret_next. */
TR_MUST_USE enum tr_rc engine_follow(struct engine *e, struct slot *s, bool *ret_found,
                                     int64_t *ret_next, struct tr_err *err);
/* The process stops: what is open is closed, and the next start goes on. */
void engine_unfollow(struct slot *s);

/* beat.c: renews the leases of what is being worked on and hears who was cancelled. */
void engine_beat(struct engine *e);

/* say.c: export_id and run_id may be NULL. */
void engine_say(struct engine *e, const char *level, const struct tr_uuid *export_id,
                const struct tr_uuid *run_id, const char *fmt, ...) TR_FORMAT(5, 6);
/* "2026-11-21T09:00:00Z to 2026-11-21T10:00:00Z" */
enum { ENGINE_RANGE_TEXT = 64 };
const char *engine_range_text(struct tr_range r, char out[ENGINE_RANGE_TEXT]);

#endif
