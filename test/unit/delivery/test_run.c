/* Attempts of runs, over real metadata, with every kind of failure at every call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "fakes.h"

static struct tr_uuid export_id;
static int64_t start;

static int set_up(void **state)
{
    (void)state;
    fakes_open();
    start = fakes.source.now;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fakes_close();
    return 0;
}

/* n events from now on, one a second; every third of kind 1, others of kind 0. */
static void ingest(int n)
{
    for (int i = 0; i < n; i++) {
        fake_ingest(&fakes.source, 1, i % 3 == 0, false);
        fakes.source.now += TR_US_PER_S;
    }
}

static struct tr_run run_over(struct tr_range interval, enum tr_on_delivered how,
                              struct tr_uuid backfill_id, uint32_t generation)
{
    struct tr_err err = { 0 };
    struct tr_run run = {
        .export_id = export_id,
        .project = 1,
        .interval = interval,
        .on_delivered = how,
        .backfill_id = backfill_id,
        .generation = generation,
        .created_at = fakes.source.now,
    };
    static const struct tr_uuid nil;

    if (memcmp(&backfill_id, &nil, sizeof(nil)) == 0)
        assert_int_equal(fakes.real->run_schedule(fakes.meta, &run, &err), TR_OK);
    else
        assert_int_equal(fakes.real->run_backfill(fakes.meta, &run, &err), TR_OK);
    return run;
}

static struct tr_run live_run(struct tr_range interval)
{
    return run_over(interval, TR_SKIP_DELIVERED, (struct tr_uuid){ { 0 } }, 0);
}

static struct tr_run backfill_run(struct tr_range interval, enum tr_on_delivered how)
{
    struct tr_err err = { 0 };
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;
    struct tr_backfill b = { .export_id = export_id,
                             .project = 1,
                             .range = interval,
                             .cursor = interval.lo,
                             .on_delivered = how,
                             .parallel = 1,
                             .created_at = fakes.source.now };

    assert_int_equal(tr_delivery_load(&fakes.delivery, &export_id, &e, &conf, &err), TR_OK);
    assert_int_equal(fakes.real->backfill_create(fakes.meta, &b, e->target, &err), TR_OK);
    tr_export_free(e);
    tr_conf_free(conf);
    return run_over(interval, how, b.id, b.generation);
}

/* One attempt of the run that is due, finished as the engine would. */
static enum tr_rc attempt(struct tr_run *run, struct tr_err *err)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX, .cancelled = &fakes.cancelled };
    struct tr_attempt a = { 0 };
    bool found = false;
    int64_t next = 0;

    *err = (struct tr_err){ 0 };
    assert_int_equal(fakes.real->run_claim(fakes.meta, "w", fakes.source.now, TR_US_PER_MIN, run,
                                           &found, &next, err),
                     TR_OK);
    assert_true(found);
    enum tr_rc rc = tr_deliver_run(&cx, &fakes.delivery, run, &a, err);
    if (fakes.dead)
        return rc;

    struct tr_err ignored = { 0 };
    run->state = rc == TR_OK                            ? TR_RUN_COMPLETED
                 : rc == TR_REFUSED || rc == TR_INVALID ? TR_RUN_FAILED
                 : rc == TR_CANCELLED                   ? TR_RUN_CANCELLED
                                                        : TR_RUN_RETRYING;
    run->next_attempt_at = fakes.source.now;
    run->finished_at = fakes.source.now;
    enum tr_rc finish = fakes.meta->ops->run_finish(fakes.meta, run, a.target,
                                                    rc == TR_OK && a.deliver_run, &ignored);
    if (rc == TR_OK && finish != TR_OK) {
        *err = ignored;
        return finish;
    }
    return rc;
}

/* Attempts until one goes well, as the engine and a person would see to; then *run is as it is
 * kept. */
static void insist(struct tr_run *run)
{
    struct tr_err err = { 0 };

    for (int i = 0; i < 20; i++) {
        struct tr_err ignored;

        (void)!attempt(run, &err);

        atomic_store(&fakes.cancelled, false);
        fakes_revive();
        assert_int_equal(fakes.real->run_get(fakes.meta, &run->id, run, &ignored), TR_OK);
        if (run->state == TR_RUN_COMPLETED)
            return;
        if (tr_run_state_ended(run->state))
            assert_int_equal(
                fakes.real->run_retry(fakes.meta, &run->id, fakes.source.now, run, &ignored),
                TR_OK);
    }
    fail_msg("the run does not come to its end: %s: %s", err.id, err.cause);
}

/* Every event of the range is there as often as told. */
static void assert_there(const char *place, struct tr_range range, int kind, size_t times)
{
    const struct fake_place *p = fake_place(place);

    for (size_t i = 0; i < fakes.source.n; i++) {
        const struct fake_event *e = &fakes.source.events[i];

        if (e->at < range.lo || e->at >= range.hi || (kind >= 0 && e->kind != kind))
            continue;
        size_t want = fake_is_bad(&e->uuid) ? 0 : times;
        if (fake_live(p, &e->uuid) != want)
            fail_msg("event %zu is there %zu times, not %zu", i, fake_live(p, &e->uuid), want);
    }
}

/* ---- the plain way ---- */

static void every_event_arrives_once_and_the_account_balances(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_int_equal(run.account.stored, 60);
    assert_int_equal(run.account.delivered, 60);
    assert_true(tr_account_balances(&run.account));
    assert_int_equal(fakes.script.calls[FAKE_COMMIT], 6); /* chunks of 10 */
}

static void excluded_events_are_counted_not_sent(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    char body[1024];
    struct tr_run run;
    struct tr_err err;

    (void)state;
    (void)snprintf(
        body, sizeof(body),
        "{\"name\": \"x\", \"interval\": \"every 1 minutes\", \"destination\": {\"type\":"
        " \"Table\", \"config\": {\"place\": \"t\", \"exclude_events\": [\"kind-1\"]}}}");
    export_id = fake_export(body);
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, 0, 1);
    assert_there("t", r, 1, 0);
    assert_int_equal(run.account.excluded, 20);
    assert_int_equal(run.account.delivered, 40);
    assert_true(tr_account_balances(&run.account));
}

static void an_empty_interval_completes_with_zeros(void **state)
{
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    fakes.source.now += TR_US_PER_MIN;
    (void)live_run((struct tr_range){ start, start + TR_US_PER_MIN });
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(run.account.stored, 0);
    assert_int_equal(fakes.script.calls[FAKE_COMMIT], 0);
    assert_int_equal(fake_place("t")->opened, 1); /* a broken password shows without data too */
}

static void another_project_s_events_stay_out(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    fake_ingest(&fakes.source, 2, 0, false);
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(fake_live(fake_place("t"), &fakes.source.events[0].uuid), 0);
    assert_int_equal(fake_place("t")->n, run.account.delivered);
}

static void the_bounds_of_the_export_cut_a_run(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1,
                                      "\"start_at\": \"2026-01-01T00:00:10Z\","
                                      " \"end_at\": \"2026-01-01T00:00:30Z\""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", (struct tr_range){ start, start + 10 * TR_US_PER_S }, -1, 0);
    assert_there("t", (struct tr_range){ start + 10 * TR_US_PER_S, start + 30 * TR_US_PER_S }, -1,
                 1);
    assert_there("t", (struct tr_range){ start + 30 * TR_US_PER_S, r.hi }, -1, 0);
    assert_true(tr_account_balances(&run.account));
    assert_int_equal(run.account.stored, 20);
}

static void bounds_that_leave_nothing_complete_without_the_destination(void **state)
{
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(
        fake_body("every 1 minutes", "Table", "t", 1, "\"end_at\": \"2025-01-01T00:00:30Z\""));
    ingest(60);
    (void)live_run((struct tr_range){ start, start + TR_US_PER_MIN });
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(fakes.script.calls[FAKE_OPEN], 0);
}

/* ---- several connections ---- */

static void chunks_go_over_several_connections(void **state)
{
    struct tr_range r = { start, start + 20 * TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 20 minutes", "Table", "t", 4, ""));
    ingest(1200);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_int_equal(fake_place("t")->opened, 4);
    assert_true(tr_account_balances(&run.account));
}

static void one_connection_s_failure_stops_all_and_the_retry_completes(void **state)
{
    struct tr_range r = { start, start + 20 * TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 20 minutes", "Table", "t", 4, ""));
    ingest(1200);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_COMMIT, 20, FAKE_AMBIGUOUS_DONE);
    assert_int_equal(attempt(&run, &err), TR_AMBIGUOUS);
    assert_true(fakes.script.calls[FAKE_COMMIT] < 40);
    insist(&run);
    assert_there("t", r, -1, 1);
    assert_true(run.account.already_there >= 10);
    assert_true(tr_account_balances(&run.account));
}

static void a_connection_that_cannot_be_had_is_done_without(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 2, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_OPEN, 2, FAKE_REFUSED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
}

/* ---- every failure at every call ---- */

static void sweep(const char *type, const char *interval, int n)
{
    static const enum fake_fault faults[] = {
        FAKE_TRANSIENT,       FAKE_THROTTLED, FAKE_REFUSED, FAKE_AMBIGUOUS_DONE, FAKE_AMBIGUOUS_NOT,
        FAKE_AMBIGUOUS_LATER, FAKE_CANCEL,    FAKE_DIE,     FAKE_DIE_DONE,
    };

    for (int op = 0; op < FAKE_OPS; op++) {
        for (size_t f = 0; f < sizeof(faults) / sizeof(faults[0]); f++) {
            bool hit = true;

            if (faults[f] >= FAKE_AMBIGUOUS_DONE && faults[f] <= FAKE_AMBIGUOUS_LATER &&
                op != FAKE_COMMIT && op != FAKE_FINISH)
                continue;
            for (int nth = 1; hit && nth < 60; nth++) {
                struct tr_run run;

                fakes_open();
                export_id = fake_export(fake_body(interval, type, "t", 1, ""));
                ingest(n);
                struct tr_range r = { start, start + n * TR_US_PER_S };
                (void)live_run(r);
                fake_once(&fakes.script, (enum fake_op)op, nth, faults[f]);
                insist(&run);
                hit = fakes.script.calls[op] >= nth;
                assert_there("t", r, -1, 1);
                assert_int_equal(fake_place("t")->n, n);
                assert_int_equal(run.account.stored, n);
                assert_true(tr_account_balances(&run.account));
                fakes_close();
            }
            if (hit)
                fail_msg("op %d, fault %d: never came to an end", op, (int)faults[f]);
        }
    }
}

static void any_one_failure_at_any_call_leaves_each_row_once(void **state)
{
    (void)state;
    start = INT64_C(1767225600) * TR_US_PER_S;
    sweep("Table", "every 1 minutes", 24);
}

static void any_one_failure_leaves_each_row_once_where_runs_commit(void **state)
{
    (void)state;
    start = INT64_C(1767225600) * TR_US_PER_S;
    sweep("Folder", "every 1 minutes", 24);
}

static void a_commit_still_in_flight_is_waited_for(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_COMMIT, 3, FAKE_AMBIGUOUS_LATER);
    assert_int_equal(attempt(&run, &err), TR_AMBIGUOUS);
    assert_int_equal(attempt(&run, &err), TR_TRANSIENT);
    assert_string_equal(err.id, "delivery.in_flight");
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(run.account.already_there, 10);
    assert_there("t", r, -1, 1);
}

static void a_committed_chunk_counts_as_already_there_after_a_crash(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_COMMIT, 2, FAKE_DIE_DONE);
    assert_int_not_equal(attempt(&run, &err), TR_OK);
    fakes_revive();
    /* The filters change in between: what the destination has stays what it is. */
    fake_export_update(&export_id,
                       "{\"name\": \"x\", \"interval\": \"every 1 minutes\", \"destination\":"
                       " {\"type\": \"Table\", \"config\": {\"place\": \"t\","
                       " \"exclude_events\": [\"kind-1\"]}}}");
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(run.account.delivered, 10 + 27); /* of 40 others 13 are kind 1 */
    assert_int_equal(run.account.already_there, 10);
    assert_int_equal(run.account.excluded, 13);
    assert_true(tr_account_balances(&run.account));
}

/* ---- rows that cannot go ---- */

static bool count_reject(void *arg, const struct tr_reject *r)
{
    assert_string_equal(r->reason, "a bad row");
    assert_true(fake_is_bad(&r->uuid));
    ++*(int *)arg;
    return true;
}

static void bad_rows_are_rejected_one_by_one_and_kept_with_their_reason(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;
    int rejects = 0;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(20);
    fake_ingest(&fakes.source, 1, 0, true);
    fake_ingest(&fakes.source, 1, 0, true);
    ingest(40);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_int_equal(run.account.rejected, 2);
    assert_int_equal(run.account.delivered, run.account.stored - 2);
    assert_true(tr_account_balances(&run.account));
    assert_int_equal(
        fakes.real->reject_list(fakes.meta, &run.id, 100, count_reject, &rejects, &err), TR_OK);
    assert_int_equal(rejects, 2);
}

static void very_many_bad_rows_are_all_counted_though_not_all_kept(void **state)
{
    struct tr_run run;
    struct tr_err err;
    int rejects = 0;

    (void)state;
    fakes.delivery.chunk_rows = 100000;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    for (int i = 0; i < 1500; i++)
        fake_ingest(&fakes.source, 1, 0, true);
    fakes.source.now = start + TR_US_PER_MIN;
    (void)live_run((struct tr_range){ start, start + TR_US_PER_MIN });
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(run.account.rejected, 1500);
    assert_int_equal(
        fakes.real->reject_list(fakes.meta, &run.id, 10000, count_reject, &rejects, &err), TR_OK);
    assert_int_equal(rejects, 1000);
}

/* ---- stopping ---- */

static void cancelling_stops_at_the_next_batch_and_leaves_nothing_half(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_WRITE, 3, FAKE_CANCEL);
    assert_int_equal(attempt(&run, &err), TR_CANCELLED);
    assert_int_equal(fake_place("t")->n % 10, 0);
    assert_int_equal(fake_place("t")->n, run.account.delivered);
    assert_true(fake_place("t")->n < 60);
}

static void a_worker_that_lost_its_claim_stops(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_ctx cx = { .deadline_us = INT64_MAX };
    struct tr_attempt a;
    struct tr_run mine;
    struct tr_run other;
    struct tr_err err = { 0 };
    bool found = false;
    int64_t next = 0;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(
        fakes.real->run_claim(fakes.meta, "a", fakes.source.now, 1, &mine, &found, &next, &err),
        TR_OK);
    fakes.source.now += TR_US_PER_MIN;
    assert_int_equal(fakes.real->run_claim(fakes.meta, "b", fakes.source.now, TR_US_PER_MIN, &other,
                                           &found, &next, &err),
                     TR_OK);
    assert_true(found);
    assert_int_equal(tr_deliver_run(&cx, &fakes.delivery, &mine, &a, &err), TR_CANCELLED);
    assert_string_equal(err.id, "meta.lost_claim");
    assert_int_equal(fake_place("t")->n, 0);
    assert_int_equal(tr_deliver_run(&cx, &fakes.delivery, &other, &a, &err), TR_OK);
    assert_there("t", r, -1, 1);
}

/* ---- what others delivered ---- */

static void a_backfill_skips_what_is_delivered(void **state)
{
    struct tr_range r = { start, start + 2 * TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(120);
    (void)live_run((struct tr_range){ start + 30 * TR_US_PER_S, start + 90 * TR_US_PER_S });
    assert_int_equal(attempt(&run, &err), TR_OK);
    (void)backfill_run(r, TR_SKIP_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_int_equal(run.account.stored, 120);
    assert_int_equal(run.account.elsewhere, 60);
    assert_int_equal(run.account.delivered, 60);
}

static void replace_writes_anew_and_drops_what_the_filters_leave_out_now(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    fake_export_update(&export_id,
                       "{\"name\": \"x\", \"interval\": \"every 1 minutes\", \"destination\":"
                       " {\"type\": \"Table\", \"config\": {\"place\": \"t\","
                       " \"exclude_events\": [\"kind-1\"]}}}");
    (void)backfill_run(r, TR_REPLACE_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, 0, 1);
    assert_there("t", r, 1, 0);
    assert_int_equal(run.account.delivered, 40);
}

static void a_replacement_that_fails_midway_leaves_no_event_out(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    (void)backfill_run(r, TR_REPLACE_DELIVERED);
    fake_once(&fakes.script, FAKE_COMMIT, 3, FAKE_REFUSED);
    assert_int_equal(attempt(&run, &err), TR_REFUSED);
    assert_there("t", r, -1, 1);
}

static void append_tells_again_on_purpose(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    (void)backfill_run(r, TR_APPEND_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 2);
}

static void replace_is_refused_where_the_place_cannot(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Folder", "t", 1, ""));
    ingest(60);
    (void)backfill_run(r, TR_REPLACE_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_REFUSED);
    assert_string_equal(err.id, "delivery.cannot_replace");
}

static void another_place_gets_everything_again(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    fake_export_update(&export_id, fake_body("every 1 minutes", "Table", "u", 1, ""));
    (void)backfill_run(r, TR_SKIP_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("u", r, -1, 1);
    assert_there("t", r, -1, 1);
}

static void a_run_that_is_pointed_elsewhere_midway_fills_the_new_place(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_COMMIT, 3, FAKE_TRANSIENT);
    assert_int_equal(attempt(&run, &err), TR_TRANSIENT);
    fake_export_update(&export_id, fake_body("every 1 minutes", "Table", "u", 1, ""));
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("u", r, -1, 1);
    assert_int_equal(fake_place("t")->n, 20);
    assert_true(tr_account_balances(&run.account));
}

/* A run is cancelled while nobody knows whether its chunk arrived; then a backfill comes. */
static void settle_an_orphan(enum fake_fault fault, uint64_t want_delivered)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_COMMIT, 3, fault);
    assert_int_equal(attempt(&run, &err), TR_AMBIGUOUS);
    assert_int_equal(fakes.real->run_cancel(fakes.meta, &run.id, fakes.source.now, &run, &err),
                     TR_OK);
    (void)backfill_run(r, TR_SKIP_DELIVERED);
    insist(&run);
    assert_there("t", r, -1, 1);
    assert_int_equal(run.account.delivered, want_delivered);
    assert_true(tr_account_balances(&run.account));
}

static void a_chunk_left_unknown_that_had_arrived_is_not_sent_again(void **state)
{
    (void)state;
    settle_an_orphan(FAKE_AMBIGUOUS_DONE, 30);
}

static void a_chunk_left_unknown_that_had_not_arrived_is_delivered_by_the_next(void **state)
{
    (void)state;
    settle_an_orphan(FAKE_AMBIGUOUS_NOT, 40);
}

static void a_chunk_left_unknown_that_is_in_flight_is_waited_for(void **state)
{
    (void)state;
    settle_an_orphan(FAKE_AMBIGUOUS_LATER, 30);
}

static void what_retention_took_is_refused_not_empty(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    fakes.source.floor = start + 30 * TR_US_PER_S;
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_REFUSED);
    assert_string_equal(err.id, "delivery.below_floor");
}

/* ---- loud ---- */

static enum tr_rc (*true_counts)(struct tr_source *, int32_t, struct tr_range, struct tr_counts *,
                                 struct tr_err *);

static enum tr_rc counts_one_more(struct tr_source *s, int32_t project, struct tr_range r,
                                  struct tr_counts *ret, struct tr_err *err)
{
    enum tr_rc rc = true_counts(s, project, r, ret, err);

    ret->stored++;
    return rc;
}

static void an_account_that_does_not_balance_is_an_error(void **state)
{
    struct tr_source_ops lying = *fakes.source.base.ops;
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    true_counts = lying.counts;
    lying.counts = counts_one_more;
    fakes.source.base.ops = &lying;
    (void)live_run((struct tr_range){ start, start + TR_US_PER_MIN });
    assert_int_equal(attempt(&run, &err), TR_INTERNAL);
    assert_string_equal(err.id, tr_delivery_unbalanced);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_event_arrives_once_and_the_account_balances),
        CASE(excluded_events_are_counted_not_sent),
        CASE(an_empty_interval_completes_with_zeros),
        CASE(another_project_s_events_stay_out),
        CASE(the_bounds_of_the_export_cut_a_run),
        CASE(bounds_that_leave_nothing_complete_without_the_destination),
        CASE(chunks_go_over_several_connections),
        CASE(one_connection_s_failure_stops_all_and_the_retry_completes),
        CASE(a_connection_that_cannot_be_had_is_done_without),
        cmocka_unit_test(any_one_failure_at_any_call_leaves_each_row_once),
        cmocka_unit_test(any_one_failure_leaves_each_row_once_where_runs_commit),
        CASE(a_commit_still_in_flight_is_waited_for),
        CASE(a_committed_chunk_counts_as_already_there_after_a_crash),
        CASE(bad_rows_are_rejected_one_by_one_and_kept_with_their_reason),
        CASE(very_many_bad_rows_are_all_counted_though_not_all_kept),
        CASE(cancelling_stops_at_the_next_batch_and_leaves_nothing_half),
        CASE(a_worker_that_lost_its_claim_stops),
        CASE(a_backfill_skips_what_is_delivered),
        CASE(replace_writes_anew_and_drops_what_the_filters_leave_out_now),
        CASE(a_replacement_that_fails_midway_leaves_no_event_out),
        CASE(append_tells_again_on_purpose),
        CASE(replace_is_refused_where_the_place_cannot),
        CASE(another_place_gets_everything_again),
        CASE(a_run_that_is_pointed_elsewhere_midway_fills_the_new_place),
        CASE(a_chunk_left_unknown_that_had_arrived_is_not_sent_again),
        CASE(a_chunk_left_unknown_that_had_not_arrived_is_delivered_by_the_next),
        CASE(a_chunk_left_unknown_that_is_in_flight_is_waited_for),
        CASE(what_retention_took_is_refused_not_empty),
        CASE(an_account_that_does_not_balance_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
