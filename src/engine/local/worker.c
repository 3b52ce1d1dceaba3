/* One attempt: claim, wait for the interval to close, deliver, decide, write down. */
#include <stdio.h>
#include <string.h>

#include "base/metric.h"
#include "engine/local/local_priv.h"
#include "model/retry.h"
#include "os/clock.h"
#include "os/kill.h"
#include "os/random.h"

TR_GAUGE(runs_running, "tailrace_runs_running", "Runs that a worker is on.");
TR_COUNTER(runs_completed, "tailrace_runs_total{outcome=\"completed\"}", "Runs by outcome.");
TR_COUNTER(runs_failed, "tailrace_runs_total{outcome=\"failed\"}", "Runs by outcome.");
TR_COUNTER(runs_cancelled, "tailrace_runs_total{outcome=\"cancelled\"}", "Runs by outcome.");
TR_COUNTER(attempts_failed, "tailrace_run_retries_total",
           "Attempts of runs that failed and will be made again.");
TR_COUNTER(rows_delivered, "tailrace_rows_delivered_total", "Rows that completed runs delivered.");
TR_COUNTER(rows_rejected, "tailrace_rows_rejected_total",
           "Rows of completed runs that the destination could not take.");

enum {
    CLOSE_WAIT_FIRST_US = 2000,
    CLOSE_WAIT_MOST_US = 100000,
    CLOSE_WAIT_S = 30,
    LIVE_WAIT_MOST_S =
        30, /* between two attempts in real time, unless the other side asks for more */
};

/* ---- the slot ---- */

static void slot_begin(struct engine *e, struct slot *s, const struct tr_run *run)
{
    static const struct tr_uuid nil;

    tr_monitor_enter(&e->monitor);
    s->is_busy = true;
    s->is_doubtful = run->is_doubtful;
    s->is_backfill = memcmp(&run->backfill_id, &nil, sizeof(nil)) != 0;
    atomic_store(&s->alive_at, tr_clock_boot_us());
    s->run_id = run->id;
    s->fence = run->fence;
    s->stop = e->stopping ? ENGINE_SHUTDOWN : run->cancel_asked ? ENGINE_CANCEL : ENGINE_GO;
    atomic_store(&s->cancelled, s->stop != ENGINE_GO);
    if (s->is_live) { /* there may be more that is due: another worker looks */
        e->live_dirty = true;
        tr_monitor_tell(&e->monitor);
    }
    tr_monitor_leave(&e->monitor);
}

static enum engine_stop slot_end(struct engine *e, struct slot *s)
{
    tr_monitor_enter(&e->monitor);
    enum engine_stop stop = s->stop;
    s->is_busy = false;
    tr_monitor_leave(&e->monitor);
    return stop;
}

/* ---- delivering ---- */

/* Asks the source to close the interval and waits until it has, a little longer each time. */
enum tr_rc work_wait_closed(struct engine *e, struct slot *s, int64_t hi, struct tr_err *err)
{
    int64_t wait_us = CLOSE_WAIT_FIRST_US;
    int64_t until = tr_clock_boot_us() + CLOSE_WAIT_S * TR_US_PER_S;

    while (!e->source->ops->close_through(e->source, hi)) {
        if (atomic_load(&s->cancelled))
            return tr_fail(err, TR_CANCELLED, "engine.cancelled", NULL, "cancelled");
        if (tr_clock_boot_us() > until)
            return tr_fail(err, TR_TRANSIENT, "engine.not_closed", "look at the store's readiness",
                           "the source does not close the interval");
        tr_monitor_enter(&e->monitor);
        (void)tr_monitor_wait(&e->monitor, wait_us);
        tr_monitor_leave(&e->monitor);
        wait_us = wait_us * 2 < CLOSE_WAIT_MOST_US ? wait_us * 2 : CLOSE_WAIT_MOST_US;
    }
    return TR_OK;
}

static enum tr_rc attempt(struct engine *e, struct slot *s, struct tr_run *run,
                          struct tr_attempt *ret, struct tr_err *err)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX,
                         .cancelled = &s->cancelled,
                         .alive_at = &s->alive_at };

    *ret = (struct tr_attempt){ 0 };
    if (atomic_load(&s->cancelled))
        return tr_fail(err, TR_CANCELLED, "engine.cancelled", NULL, "cancelled");
    enum tr_rc rc = work_wait_closed(e, s, run->interval.hi, err);
    return rc == TR_OK ? tr_deliver_run(&cx, e->d, run, ret, err) : rc;
}

/* ---- deciding ---- */

static void note_error(struct tr_run *run, const struct tr_err *err)
{
    run->error_rc = err->rc;
    (void)snprintf(run->error_id, sizeof(run->error_id), "%s", err->id == NULL ? "" : err->id);
    (void)tr_err_text(err, run->error, sizeof(run->error));
    (void)snprintf(run->error_hint, sizeof(run->error_hint), "%s",
                   err->hint == NULL ? "" : err->hint);
}

/* Refusals that pass by themselves where things went well a moment ago: a failover that is under
 * way, a password that is being changed. Of an export that has never gone well they are what they
 * say. */
static bool may_pass(const struct engine *e, const struct tr_run *run, const struct tr_err *err)
{
    static const char *const passing[] = { "postgres.read_only", "postgres.login_failed",
                                           "postgres.not_ready" };
    uint32_t n = run->attempts > 30 ? 30 : run->attempts;

    if (err->rc != TR_REFUSED || err->id == NULL || (run->is_doubtful && run->attempts <= 1))
        return false;
    /* 1 s, 2 s, 4 s ...: so long it has waited when the next wait is over */
    if (((INT64_C(1) << n) - 1) * TR_US_PER_S > e->patience_us)
        return false;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (strcmp(err->id, passing[i]) == 0)
            return true;
    return false;
}

/* attempts counts failures in a row: what got some chunks through begins anew. */
static void decide_failed(struct engine *e, struct tr_run *run, bool progress,
                          const struct tr_err *err)
{
    uint64_t chance;

    if (progress)
        run->attempts = 1;
    tr_random_bytes(&chance, sizeof(chance));
    struct tr_err passing = { .rc = TR_TRANSIENT };
    struct tr_retry retry = tr_retry_after(may_pass(e, run, err) ? &passing : err, run->attempts,
                                           chance, tr_clock_wall_us());
    /* Sums that do not add up will not add up next time either. */
    if (err->id != NULL && strcmp(err->id, tr_delivery_unbalanced) == 0)
        retry.again = false;

    if (run->is_live && err->rc != TR_THROTTLED && retry.delay_us > LIVE_WAIT_MOST_S * TR_US_PER_S)
        retry.delay_us = LIVE_WAIT_MOST_S * TR_US_PER_S;

    run->state = retry.again ? TR_RUN_RETRYING : TR_RUN_FAILED;
    if (retry.again)
        run->next_attempt_at = engine_now(e) + retry.delay_us;
}

/* The run's state after an attempt. False: it is not ours to write (another has it, or the process
 * stops and the next start goes on). */
static bool decide(struct engine *e, struct tr_run *run, enum tr_rc rc, enum engine_stop stop,
                   bool progress, struct tr_err *err)
{
    if (stop == ENGINE_LOST)
        return false;
    if (rc == TR_CANCELLED &&
        (stop == ENGINE_SHUTDOWN || (err->id != NULL && strcmp(err->id, "meta.lost_claim") == 0)))
        return false;

    run->error_rc = TR_OK;
    run->error_id[0] = run->error[0] = run->error_hint[0] = '\0';
    run->next_attempt_at = 0;
    if (rc != TR_OK)
        note_error(run, err);
    if (rc == TR_OK)
        run->state = TR_RUN_COMPLETED;
    else if (rc == TR_CANCELLED || stop == ENGINE_CANCEL)
        run->state = TR_RUN_CANCELLED;
    else
        decide_failed(e, run, progress, err);
    run->finished_at = tr_run_state_ended(run->state) ? engine_now(e) : 0;
    return true;
}

/* ---- writing down ---- */

static void tell_completed(struct engine *e, const struct tr_run *run, int64_t took_us)
{
    const struct tr_account *a = &run->account;
    char range[ENGINE_RANGE_TEXT];

    tr_count(&runs_completed, 1);
    tr_count(&rows_delivered, (int64_t)(a->delivered + a->already_there));
    tr_count(&rows_rejected, (int64_t)a->rejected);
    if (run->is_live && a->stored == 0) /* a line a minute for nothing */
        return;
    engine_say(e, a->rejected == 0 ? "info" : "warn", &run->export_id, &run->id,
               "run over %s completed in %.1f s: %llu stored, %llu delivered, %llu already "
               "there, %llu excluded by filters, %llu delivered by other runs, %llu rejected",
               engine_range_text(run->interval, range), (double)took_us / 1e6,
               (unsigned long long)a->stored, (unsigned long long)a->delivered,
               (unsigned long long)a->already_there, (unsigned long long)a->excluded,
               (unsigned long long)a->elsewhere, (unsigned long long)a->rejected);
}

static void tell_failed(struct engine *e, const struct tr_run *run)
{
    char range[ENGINE_RANGE_TEXT];
    bool again = run->state == TR_RUN_RETRYING;
    double wait_s = again ? (double)(run->next_attempt_at - engine_now(e)) / 1e6 : 0;
    const char *hint = run->error_hint;

    (void)engine_range_text(run->interval, range);
    if (again)
        engine_say(e, "warn", &run->export_id, &run->id,
                   "attempt %u of the run over %s failed (%s): %s; trying again in %.0f s%s%s",
                   run->attempts, range, tr_rc_name(run->error_rc), run->error, wait_s,
                   hint[0] == '\0' ? "" : "; hint: ", hint);
    else
        engine_say(e, "error", &run->export_id, &run->id, "the run over %s failed: %s%s%s", range,
                   run->error,
                   hint[0] == '\0' ? "; mend the cause, then retry the run" : "; hint: ", hint);
    tr_count(again ? &attempts_failed : &runs_failed, 1);
}

static void tell(struct engine *e, const struct tr_run *run, int64_t took_us)
{
    char range[ENGINE_RANGE_TEXT];

    switch (run->state) {
    case TR_RUN_COMPLETED:
        tell_completed(e, run, took_us);
        break;
    case TR_RUN_CANCELLED:
        engine_say(e, "warn", &run->export_id, &run->id, "the run over %s was cancelled",
                   engine_range_text(run->interval, range));
        tr_count(&runs_cancelled, 1);
        break;
    case TR_RUN_RETRYING:
    case TR_RUN_FAILED:
        tell_failed(e, run);
        break;
    case TR_RUN_STARTING:
    case TR_RUN_RUNNING:
        break;
    }
}

/* A part of the interval that another run held came free undelivered just now: it is ours after
 * all, so the run goes on at once. */
static bool is_range_freed(enum tr_rc rc, const struct tr_err *err)
{
    return rc == TR_TRANSIENT && err->id != NULL && strcmp(err->id, "meta.range_freed") == 0;
}

static enum tr_rc write_down(struct engine *e, struct tr_run *run, const struct tr_attempt *a,
                             struct tr_err *err)
{
    bool completed = run->state == TR_RUN_COMPLETED;
    enum tr_rc rc =
        e->meta->ops->run_finish(e->meta, run, a->target, completed && a->deliver_run, err);

    if (completed && is_range_freed(rc, err)) {
        note_error(run, err);
        run->state = TR_RUN_RETRYING;
        run->next_attempt_at = engine_now(e);
        run->finished_at = 0;
        rc = e->meta->ops->run_finish(e->meta, run, a->target, false, err);
    }
    return rc;
}

static enum tr_rc finish(struct engine *e, struct tr_run *run, const struct tr_attempt *a,
                         int64_t took_us, struct tr_err *err)
{
    static const struct tr_uuid nil;
    enum tr_rc rc = write_down(e, run, a, err);

    if (rc == TR_CANCELLED)
        return TR_OK; /* lost in the last moment */
    if (rc != TR_OK)
        return tr_wrap(err, "write down how a run ended");
    TR_KILL_POINT("engine.run_finished");
    tell(e, run, took_us);
    if (!tr_run_state_ended(run->state))
        return TR_OK;
    if (memcmp(&run->backfill_id, &nil, sizeof(nil)) != 0) {
        tr_monitor_enter(&e->monitor);
        e->backfills_dirty = true;
        tr_monitor_tell(&e->monitor);
        tr_monitor_leave(&e->monitor);
    }
    return TR_OK;
}

enum tr_rc work_claim(struct engine *e, struct slot *s, uint32_t which, struct tr_run *ret,
                      bool *ret_found, int64_t *ret_next, struct tr_err *err)
{
    char range[ENGINE_RANGE_TEXT];
    enum tr_rc rc = e->meta->ops->run_claim(e->meta, s->worker, which, engine_now(e), e->lease_us,
                                            ret, ret_found, ret_next, err);

    if (rc != TR_OK)
        return tr_wrap(err, "claim a run");
    if (!*ret_found)
        return TR_OK;
    TR_KILL_POINT("engine.run_claimed");
    s->began = tr_clock_boot_us();
    slot_begin(e, s, ret);
    tr_count(&runs_running, 1);
    if (ret->attempts <= 1 && ret->error_id[0] == '\0' && !ret->is_live)
        engine_say(e, "info", &ret->export_id, &ret->id, "run over %s started",
                   engine_range_text(ret->interval, range));
    return TR_OK;
}

enum tr_rc work_end(struct engine *e, struct slot *s, struct tr_run *run,
                    const struct tr_attempt *a, enum tr_rc rc, struct tr_err *why,
                    struct tr_err *err)
{
    enum engine_stop stop = slot_end(e, s);

    tr_count(&runs_running, -1);
    if (!decide(e, run, rc, stop, a->progress, why))
        return TR_OK;
    return finish(e, run, a, tr_clock_boot_us() - s->began, err);
}

enum tr_rc work_hand_back(struct engine *e, struct slot *s, struct tr_run *run,
                          const struct tr_attempt *a, struct tr_err *err)
{
    enum engine_stop stop = slot_end(e, s);

    tr_count(&runs_running, -1);
    if (stop == ENGINE_LOST || stop == ENGINE_SHUTDOWN)
        return TR_OK;
    run->state = TR_RUN_STARTING; /* metadata makes it Cancelled where somebody asked for that */
    run->attempts = 0;
    run->error_rc = TR_OK;
    run->error_id[0] = run->error[0] = run->error_hint[0] = '\0';
    run->next_attempt_at = 0;
    return finish(e, run, a, tr_clock_boot_us() - s->began, err);
}

enum tr_rc work_attempt(struct engine *e, struct slot *s, struct tr_run *run, struct tr_err *err)
{
    struct tr_attempt a;
    struct tr_err why = { 0 };
    enum tr_rc rc = attempt(e, s, run, &a, &why);

    return work_end(e, s, run, &a, rc, &why, err);
}

enum tr_rc engine_work(struct engine *e, struct slot *s, bool *ret_found, int64_t *ret_next,
                       struct tr_err *err)
{
    struct tr_run run;
    enum tr_rc rc = work_claim(e, s, TR_CLAIM_ALL, &run, ret_found, ret_next, err);

    return rc == TR_OK && *ret_found ? work_attempt(e, s, &run, err) : rc;
}
