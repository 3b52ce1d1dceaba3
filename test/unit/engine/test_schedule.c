/* Which runs the scheduler makes, and when. */
#include "steps.h"

static void the_first_run_starts_when_the_current_interval_ends(void **state)
{
    (void)state;
    fakes.source.now = start + minutes(2);
    struct tr_uuid id = fake_export(fake_body("every 5 minutes", "Table", "t", 1, ""));

    assert_int_equal(schedule(), start + minutes(5));
    assert_int_equal(runs_of(&id)->n, 0);
    fakes.source.now = start + minutes(5);
    assert_int_equal(schedule(), start + minutes(10));
    assert_int_equal(runs_of(&id)->n, 1);
    assert_interval(&runs_of(&id)->v[0], start, start + minutes(5));
}

static void each_interval_gets_one_run_and_no_instant_is_left_out(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));

    for (int i = 0; i < 10; i++) {
        schedule();
        schedule();
        work_all();
        fakes.source.now += minutes(1);
    }
    schedule();
    const struct run_list *l = runs_of(&id);
    assert_int_equal(l->n, 10);
    for (size_t i = 0; i < l->n; i++)
        assert_interval(&l->v[i], start + minutes((int64_t)i), start + minutes((int64_t)i + 1));
}

static void missed_intervals_are_caught_up_in_few_runs(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 5 seconds", "Table", "t", 1, ""));

    schedule();
    fakes.source.now += 7 * TR_US_PER_DAY + 3 * TR_US_PER_S;
    schedule();
    const struct run_list *l = runs_of(&id);
    assert_int_equal(l->n, 7);
    for (size_t i = 0; i + 1 < l->n; i++)
        assert_int_equal(l->v[i].interval.hi, l->v[i + 1].interval.lo);
    assert_int_equal(l->v[0].interval.lo, start);
    assert_int_equal(l->v[6].interval.hi, start + 7 * TR_US_PER_DAY);
}

static void missed_days_are_caught_up_one_by_one(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("day", "Table", "t", 1, ""));

    schedule();
    fakes.source.now += 3 * TR_US_PER_DAY;
    schedule();
    assert_int_equal(runs_of(&id)->n, 3);
}

static void the_number_of_intervals_in_a_catch_up_run_can_be_bounded(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));

    engine->catch_up_intervals = 5;
    schedule();
    fakes.source.now += minutes(20);
    schedule();
    assert_int_equal(runs_of(&id)->n, 4);
}

static void nothing_runs_before_start_at_or_past_end_at(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(
        fake_body("every 5 minutes", "Table", "t", 1,
                  "\"start_at\": \"2026-01-05T00:07:00Z\", \"end_at\": \"2026-01-05T00:18:00Z\""));

    for (int i = 0; i < 60; i++) {
        schedule();
        work_all();
        fakes.source.now += minutes(1);
    }
    const struct run_list *l = runs_of(&id);
    assert_int_equal(l->n, 3);
    assert_interval(&l->v[0], start + minutes(7), start + minutes(10));
    assert_interval(&l->v[1], start + minutes(10), start + minutes(15));
    assert_interval(&l->v[2], start + minutes(15), start + minutes(18));
}

static void a_change_of_frequency_leaves_neither_gap_nor_overlap(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 5 minutes", "Table", "t", 1, ""));

    schedule();
    fakes.source.now += minutes(10);
    schedule();
    fake_export_update(&id, fake_body("hour", "Table", "t", 1, ""));
    engine_wake(engine);
    fakes.source.now = start + minutes(60);
    schedule();
    const struct run_list *l = runs_of(&id);
    assert_int_equal(l->n, 2);
    assert_interval(&l->v[0], start, start + minutes(10)); /* two at once */
    assert_interval(&l->v[1], start + minutes(10), start + minutes(60));
}

static void a_paused_export_makes_no_runs_and_goes_on_at_its_cursor(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 5 minutes", "Table", "t", 1, ""));
    schedule();
    must_be_ok(fakes.real->export_pause(fakes.meta, &id, true, fakes.source.now, &err), &err);
    engine_wake(engine);
    fakes.source.now += minutes(30);
    schedule();
    assert_int_equal(runs_of(&id)->n, 0);
    must_be_ok(fakes.real->export_pause(fakes.meta, &id, false, fakes.source.now, &err), &err);
    engine_wake(engine);
    schedule();
    assert_int_equal(runs_of(&id)->n, 1);
    assert_interval(&runs_of(&id)->v[0], start, start + minutes(30));
}

static void a_deleted_export_makes_no_runs(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 5 minutes", "Table", "t", 1, ""));
    schedule();
    must_be_ok(fakes.real->export_delete(fakes.meta, &id, fakes.source.now, &err), &err);
    engine_wake(engine);
    fakes.source.now += minutes(30);
    schedule();
    assert_int_equal(runs_of(&id)->n, 0);
}

static void a_destination_that_is_down_does_not_pile_up_runs(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("every 5 seconds", "Table", "t", 1, ""));

    fake_chance(&fakes.script, 1, 0);
    for (int i = 0; i < 1000; i++) {
        schedule();
        fakes.source.now += 5 * TR_US_PER_S;
    }
    assert_int_equal(runs_of(&id)->n, ENGINE_PENDING_RUNS);
    work_all();
    fakes.source.now += 5 * TR_US_PER_S;
    schedule();
    const struct run_list *l = runs_of(&id);
    assert_int_equal(l->n, ENGINE_PENDING_RUNS + 1);
    assert_int_equal(l->v[l->n - 1].interval.hi, fakes.source.now);
}

static void long_intervals_start_with_the_export_s_own_delay(void **state)
{
    (void)state;
    struct tr_uuid id = fake_export(fake_body("hour", "Table", "t", 1, ""));

    schedule();
    fakes.source.now += minutes(60);
    schedule();
    assert_int_equal(runs_of(&id)->n, 1);
    const struct tr_run *run = &runs_of(&id)->v[0];
    assert_true(run->not_before >= run->interval.hi);
    assert_true(run->not_before <= run->interval.hi + minutes(15));
    fakes.source.now = run->not_before - 1;
    assert_false(run->not_before > run->interval.hi && work());
    fakes.source.now = run->not_before;
    assert_true(work());
}

static void local_days_of_a_zone_are_covered_without_gap_at_the_change_of_clocks(void **state)
{
    (void)state;
    fakes.source.now = INT64_C(1774560000) * TR_US_PER_S; /* 2026-03-26T21:20Z */
    start = fakes.source.now;
    struct tr_uuid id =
        fake_export(fake_body("day", "Table", "t", 1, "\"timezone\": \"Europe/Berlin\""));

    for (int i = 0; i < 6; i++) {
        schedule();
        fakes.source.now += TR_US_PER_DAY;
    }
    const struct run_list *l = runs_of(&id);
    bool short_day = false;
    assert_true(l->n >= 4);
    for (size_t i = 0; i + 1 < l->n; i++) {
        assert_int_equal(l->v[i].interval.hi, l->v[i + 1].interval.lo);
        short_day = short_day || l->v[i].interval.hi - l->v[i].interval.lo == 23 * TR_US_PER_HOUR;
    }
    assert_true(short_day); /* 2026-03-29 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_first_run_starts_when_the_current_interval_ends),
        CASE(each_interval_gets_one_run_and_no_instant_is_left_out),
        CASE(missed_intervals_are_caught_up_in_few_runs),
        CASE(missed_days_are_caught_up_one_by_one),
        CASE(the_number_of_intervals_in_a_catch_up_run_can_be_bounded),
        CASE(nothing_runs_before_start_at_or_past_end_at),
        CASE(a_change_of_frequency_leaves_neither_gap_nor_overlap),
        CASE(a_paused_export_makes_no_runs_and_goes_on_at_its_cursor),
        CASE(a_deleted_export_makes_no_runs),
        CASE(a_destination_that_is_down_does_not_pile_up_runs),
        CASE(long_intervals_start_with_the_export_s_own_delay),
        CASE(local_days_of_a_zone_are_covered_without_gap_at_the_change_of_clocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
