/* The engine with its threads: it starts, works, hears and stops. */
#include "steps.h"

#include <unistd.h>

static struct tr_uuid export_id;

/* Ten minutes of events and exports that have not been looked after. */
static void prepare(const char *interval, int connections)
{
    export_id = fake_export(fake_body(interval, "Table", "t", connections, ""));
    for (int i = 0; i < 600; i++) {
        fakes.source.now = start + i * TR_US_PER_S;
        fake_ingest(&fakes.source, 1, 0, false);
    }
    fakes.source.now = start + minutes(10);
}

static struct tr_engine *start_engine(void)
{
    struct tr_engine_options o = { .delivery = &fakes.delivery,
                                   .workers = 3,
                                   .catch_up_intervals = 1 };
    struct tr_engine *e = NULL;
    struct tr_err err = { 0 };

    must_be_ok(tr_engine_local_start(&o, &e, &err), &err);
    return e;
}

static void assert_all_once(void)
{
    assert_int_equal(fake_place("t")->n, fakes.source.n);
    for (size_t i = 0; i < fakes.source.n; i++)
        assert_int_equal(fake_live(fake_place("t"), &fakes.source.events[i].uuid), 1);
}

static void it_delivers_what_has_ended_and_stops(void **state)
{
    (void)state;
    prepare("every 1 minutes", 2);
    fakes.awaited = "completed in";
    struct tr_engine *e = start_engine();
    assert_true(fakes_wait_for_lines("completed in", 10));
    e->ops->stop(e, 10 * TR_US_PER_S);
    assert_all_once();
}

static void in_real_time_it_catches_up_follows_and_stops(void **state)
{
    (void)state;
    prepare("realtime", 3);
    fakes.awaited = "completed in";
    struct tr_engine_options o = { .delivery = &fakes.delivery, .workers = 1, .live_workers = 2 };
    struct tr_engine *e = NULL;
    struct tr_err err = { 0 };
    must_be_ok(tr_engine_local_start(&o, &e, &err), &err);
    assert_true(fakes_wait_for_lines("completed in", 1));
    (void)usleep(300 * 1000); /* the minute that goes on has its run, too */
    e->ops->stop(e, 10 * TR_US_PER_S);
    assert_int_equal(fake_place("t")->open_now, 0);
    assert_all_once();
}

static void runs_in_real_time_are_ended_when_the_export_has_an_interval(void **state)
{
    (void)state;
    prepare("realtime", 1);
    schedule();
    fake_export_update(&export_id, fake_body("hour", "Table", "t", 1, ""));
    fakes.awaited = "completed in";
    struct tr_engine *e = start_engine();
    assert_true(fakes_wait_for_lines("completed in", 1));
    e->ops->stop(e, 10 * TR_US_PER_S);
    assert_true(fake_place("t")->n > 0);
}

static void it_hears_of_a_backfill(void **state)
{
    struct tr_err err = { 0 };
    struct tr_export *x = NULL;
    struct tr_conf *conf = NULL;

    (void)state;
    prepare("hour", 1);
    fakes.awaited = "the backfill has ended: Completed";
    struct tr_engine *e = start_engine();
    must_be_ok(tr_delivery_load(&fakes.delivery, &export_id, &x, &conf, &err), &err);
    struct tr_backfill b = { .export_id = export_id,
                             .project = 1,
                             .range = { start, start + minutes(10) },
                             .cursor = start,
                             .parallel = 2,
                             .created_at = fakes.source.now };
    must_be_ok(fakes.real->backfill_create(fakes.meta, &b, x->target, &err), &err);
    tr_export_free(x);
    tr_conf_free(conf);
    e->ops->wake(e);
    assert_true(fakes_wait_for_lines(fakes.awaited, 1));
    e->ops->stop(e, 10 * TR_US_PER_S);
    assert_all_once();
}

static void runs_left_by_the_last_process_are_taken_up_at_start(void **state)
{
    struct tr_run run;
    struct tr_err err = { 0 };
    bool found = false;
    int64_t next = 0;

    (void)state;
    prepare("every 1 minutes", 1); /* too short to start with a delay */
    schedule();
    must_be_ok(fakes.real->run_claim(fakes.meta, "old", false, fakes.source.now, TR_US_PER_DAY,
                                     &run, &found, &next, &err),
               &err);
    assert_true(found);
    fakes.awaited = "completed in";
    struct tr_engine *e = start_engine();
    assert_true(fakes_wait_for_lines("completed in", 1));
    e->ops->stop(e, 10 * TR_US_PER_S);
    assert_all_once();
}

static void stopping_at_once_leaves_nothing_behind(void **state)
{
    (void)state;
    prepare("every 1 minutes", 2);
    struct tr_engine *e = start_engine();
    e->ops->stop(e, 10 * TR_US_PER_S);
    fakes_revive();
    schedule();
    work_all();
    schedule();
    work_all();
    assert_all_once();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_delivers_what_has_ended_and_stops),
        CASE(in_real_time_it_catches_up_follows_and_stops),
        CASE(runs_in_real_time_are_ended_when_the_export_has_an_interval),
        CASE(it_hears_of_a_backfill),
        CASE(runs_left_by_the_last_process_are_taken_up_at_start),
        CASE(stopping_at_once_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
