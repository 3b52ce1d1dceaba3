/* Real time: runs that begin with their interval, one step at a time. */
#include "steps.h"

static struct tr_uuid export_id;
static struct slot *live_slot;

static void real_time(void)
{
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    live_slot = &engine->slots[engine->attempts];
    schedule();
}

static int live_set_up(void **state)
{
    return steps_set_up(state);
}

static int live_tear_down(void **state)
{
    if (live_slot != NULL)
        engine_unfollow(live_slot);
    live_slot = NULL;
    return steps_tear_down(state);
}

/* One turn of the live worker; when it wants the next one, INT64_MAX: nothing was due. */
static int64_t follow(void)
{
    struct tr_err err = { 0 };
    bool found = false;
    int64_t next = 0;

    must_be_ok(engine_follow(engine, live_slot, &found, &next, &err), &err);
    return found ? next : INT64_MAX;
}

/* Turns until an instant; n events a second come in meanwhile. */
static void live_until(int64_t until, int per_second)
{
    while (fakes.source.now < until) {
        int64_t next = follow();

        schedule();
        if (next > fakes.source.now + TR_US_PER_S)
            next = fakes.source.now + TR_US_PER_S;
        if (next <= fakes.source.now)
            continue;
        for (int i = 0; i < per_second; i++)
            fake_ingest(&fakes.source, 1, 0, false);
        fakes.source.now = next < until ? next : until;
    }
}

static void settle(void)
{
    for (int i = 0; i < 10; i++) {
        (void)follow();
        schedule();
    }
}

static void assert_all_once(void)
{
    for (size_t i = 0; i < fakes.source.n; i++)
        if (fake_live(fake_place("t"), &fakes.source.events[i].uuid) != 1)
            fail_msg("event %zu of %zu is there %zu times", i, fakes.source.n,
                     fake_live(fake_place("t"), &fakes.source.events[i].uuid));
    assert_int_equal(fake_place("t")->n, fakes.source.n);
}

static void a_run_begins_with_its_minute(void **state)
{
    (void)state;
    real_time();
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 1);
    assert_interval(&l->v[0], start, start + minutes(1));
    assert_true(l->v[0].is_live);
    assert_false(work()); /* not for the others */
    assert_int_equal(follow(), fakes.source.now);
    assert_int_equal(runs_of(&export_id)->v[0].state, TR_RUN_RUNNING);
    for (int i = 0; i < 5; i++)
        fake_ingest(&fakes.source, 1, 0, false);
    fakes.source.now += TR_US_PER_S;
    (void)follow();
    assert_int_equal(fake_place("t")->n, 5);
}

static void minutes_follow_each_other_and_each_event_is_there_within_two_seconds(void **state)
{
    (void)state;
    real_time();
    for (int i = 0; i < 300; i++) {
        live_until(start + (i + 1) * TR_US_PER_S, 3);
        for (size_t k = 0; k < fakes.source.n; k++)
            if (fakes.source.events[k].at < fakes.source.now - 2 * TR_US_PER_S)
                assert_int_equal(fake_live(fake_place("t"), &fakes.source.events[k].uuid), 1);
    }
    settle();
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 6);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(l->v[i].state, TR_RUN_COMPLETED);
        assert_interval(&l->v[i], start + minutes((int64_t)i), start + minutes((int64_t)i + 1));
        assert_true(tr_account_balances(&l->v[i].account));
    }
    assert_true(fake_place("t")->opened <= 2);
}

static void a_failure_is_tried_again_within_half_a_minute(void **state)
{
    (void)state;
    real_time();
    live_until(start + 10 * TR_US_PER_S, 2);
    for (int i = 0; i < 12; i++) {
        fake_once(&fakes.script, i == 0 ? FAKE_COMMIT : FAKE_OPEN, 1, FAKE_TRANSIENT);
        for (int k = 0; k < 100; k++) {
            if (fakes.script.calls[FAKE_OPEN] + fakes.script.calls[FAKE_COMMIT] > 0)
                break;
            fake_ingest(&fakes.source, 1, 0, false);
            fakes.source.now += TR_US_PER_S;
            (void)follow();
        }
        struct tr_run run = runs_of(&export_id)->v[0];
        assert_int_equal(run.state, TR_RUN_RETRYING);
        assert_true(run.next_attempt_at - fakes.source.now <= 30 * TR_US_PER_S);
    }
    fake_never(&fakes.script);
    live_until(start + minutes(8), 2);
    settle();
    live_until(fakes.source.now + 2 * TR_US_PER_S, 0);
    assert_all_once();
}

static void while_a_place_is_dead_few_runs_are_made_and_one_covers_the_rest(void **state)
{
    (void)state;
    real_time();
    live_until(start + 30 * TR_US_PER_S, 2);
    for (int i = 0; i < 600; i++) {
        fake_once(&fakes.script, FAKE_COMMIT, 1, FAKE_TRANSIENT);
        fake_ingest(&fakes.source, 1, 0, false);
        fakes.source.now += TR_US_PER_S;
        (void)follow();
        schedule();
    }
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 2);
    fake_never(&fakes.script);
    live_until(fakes.source.now + minutes(2), 1);
    settle();
    live_until(fakes.source.now + 2 * TR_US_PER_S, 0);
    l = runs_of(&export_id);
    assert_true(l->n <= 6);
    assert_int_equal(l->v[2].interval.lo, start + minutes(2));
    assert_true(l->v[2].interval.hi >= start + minutes(10));
    assert_all_once();
}

static void pausing_stops_it_within_a_step_and_going_on_loses_nothing(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    real_time();
    live_until(start + 10 * TR_US_PER_S, 2);
    must_be_ok(fakes.real->export_pause(fakes.meta, &export_id, true, fakes.source.now, &err),
               &err);
    engine_wake(engine);
    fakes.source.now += TR_US_PER_S;
    (void)follow();
    assert_int_equal(runs_of(&export_id)->v[0].state, TR_RUN_STARTING);
    assert_int_equal(runs_of(&export_id)->v[0].attempts, 0);
    assert_true(follow() == INT64_MAX);
    size_t there = fake_place("t")->n;
    live_until(start + minutes(3), 2);
    assert_int_equal(fake_place("t")->n, there);
    must_be_ok(fakes.real->export_pause(fakes.meta, &export_id, false, fakes.source.now, &err),
               &err);
    engine_wake(engine);
    live_until(start + minutes(4), 2);
    live_until(fakes.source.now + 2 * TR_US_PER_S, 0);
    assert_all_once();
}

static void a_change_counts_from_the_next_step_on(void **state)
{
    (void)state;
    real_time();
    live_until(start + 10 * TR_US_PER_S, 2);
    size_t there = fake_place("t")->n;
    fake_export_update(&export_id, fake_body("realtime", "Table", "other", 1, ""));
    engine_wake(engine);
    live_until(start + 20 * TR_US_PER_S, 2);
    assert_true(fake_place("t")->n <= there + 4);
    assert_true(fake_place("other")->n >= 16);
    assert_int_equal(runs_of(&export_id)->n, 1);
}

static void cancelling_stops_it(void **state)
{
    struct tr_err err = { 0 };
    struct tr_run run;

    (void)state;
    real_time();
    live_until(start + 10 * TR_US_PER_S, 2);
    run = runs_of(&export_id)->v[0];
    must_be_ok(fakes.real->run_cancel(fakes.meta, &run.id, fakes.source.now, &run, &err), &err);
    engine_beat(engine);
    (void)follow();
    assert_int_equal(runs_of(&export_id)->v[0].state, TR_RUN_CANCELLED);
    assert_null(live_slot->live);
}

static void the_lease_is_kept_and_a_lost_one_ends_the_work(void **state)
{
    struct tr_err err = { 0 };
    struct tr_run other;
    bool found = false;
    int64_t next = 0;

    (void)state;
    real_time();
    live_until(start + 10 * TR_US_PER_S, 2);
    fakes.source.now += engine->lease_us / 2;
    engine_beat(engine);
    fakes.source.now += engine->lease_us / 2 + 1;
    must_be_ok(fakes.real->run_claim(fakes.meta, "other", true, fakes.source.now, TR_US_PER_MIN,
                                     &other, &found, &next, &err),
               &err);
    assert_false(found);
    fakes.source.now += engine->lease_us / 2;
    must_be_ok(fakes.real->run_claim(fakes.meta, "other", true, fakes.source.now, TR_US_PER_MIN,
                                     &other, &found, &next, &err),
               &err);
    assert_true(found);
    engine_beat(engine);
    fake_ingest(&fakes.source, 1, 0, false);
    size_t there = fake_place("t")->n;
    fakes.source.now = start + minutes(2);
    (void)follow();
    assert_int_equal(fake_place("t")->n, there);
    assert_int_equal(runs_of(&export_id)->v[0].fence, 2);
}

static void a_stop_leaves_the_rest_to_the_next_start(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    real_time();
    live_until(start + 10 * TR_US_PER_S, 2);
    engine_unfollow(live_slot);
    engine_free(engine);
    must_be_ok(fakes.real->run_release_all(fakes.meta, &err), &err);
    engine_up();
    live_slot = &engine->slots[engine->attempts];
    live_until(start + minutes(2), 2);
    live_until(fakes.source.now + 2 * TR_US_PER_S, 0);
    assert_all_once();
}

static void after_downtime_it_catches_up_in_one_run(void **state)
{
    (void)state;
    real_time();
    live_until(start + 5 * TR_US_PER_S, 2);
    engine_unfollow(live_slot);
    for (int i = 0; i < 3600; i++) {
        fake_ingest(&fakes.source, 1, 0, false);
        fakes.source.now += TR_US_PER_S;
    }
    settle();
    live_until(fakes.source.now + 2 * TR_US_PER_S, 0);
    assert_all_once();
    assert_true(runs_of(&export_id)->n <= 4);
}

static void a_backfill_of_such_an_export_is_an_ordinary_one(void **state)
{
    struct tr_err err = { 0 };
    struct tr_export *x = NULL;
    struct tr_conf *conf = NULL;

    (void)state;
    for (int i = 0; i < 600; i++) {
        fakes.source.now = start + i * TR_US_PER_S;
        fake_ingest(&fakes.source, 1, 0, false);
    }
    fakes.source.now = start + minutes(10);
    real_time();
    must_be_ok(tr_delivery_load(&fakes.delivery, &export_id, &x, &conf, &err), &err);
    struct tr_backfill b = { .export_id = export_id,
                             .project = 1,
                             .range = { start, start + minutes(10) },
                             .cursor = start,
                             .parallel = 1,
                             .created_at = fakes.source.now };
    must_be_ok(fakes.real->backfill_create(fakes.meta, &b, x->target, &err), &err);
    tr_export_free(x);
    tr_conf_free(conf);
    for (int i = 0; i < 100; i++) {
        expand();
        if (!work())
            break;
    }
    assert_int_equal(fake_place("t")->n, 600);
}

static void a_change_of_the_schedule_leaves_neither_gap_nor_copy(void **state)
{
    (void)state;
    real_time();
    live_until(start + minutes(2) + 10 * TR_US_PER_S, 2);
    fake_export_update(&export_id, fake_body("every 1 minutes", "Table", "t", 1, ""));
    engine_wake(engine);
    live_until(start + minutes(4), 2);
    work_all();
    fake_export_update(&export_id, fake_body("realtime", "Table", "t", 1, ""));
    engine_wake(engine);
    live_until(start + minutes(6), 2);
    live_until(fakes.source.now + 2 * TR_US_PER_S, 0);
    work_all();
    assert_all_once();
}

#undef CASE
#define CASE(f) cmocka_unit_test_setup_teardown(f, live_set_up, live_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_begins_with_its_minute),
        CASE(minutes_follow_each_other_and_each_event_is_there_within_two_seconds),
        CASE(a_failure_is_tried_again_within_half_a_minute),
        CASE(while_a_place_is_dead_few_runs_are_made_and_one_covers_the_rest),
        CASE(pausing_stops_it_within_a_step_and_going_on_loses_nothing),
        CASE(a_change_counts_from_the_next_step_on),
        CASE(cancelling_stops_it),
        CASE(the_lease_is_kept_and_a_lost_one_ends_the_work),
        CASE(a_stop_leaves_the_rest_to_the_next_start),
        CASE(after_downtime_it_catches_up_in_one_run),
        CASE(a_backfill_of_such_an_export_is_an_ordinary_one),
        CASE(a_change_of_the_schedule_leaves_neither_gap_nor_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
