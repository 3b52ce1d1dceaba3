/* How a backfill becomes runs, and ends. */
#include "steps.h"

static struct tr_uuid export_id;

static void ingest(int64_t from, int64_t to, int n)
{
    for (int i = 0; i < n; i++) {
        fakes.source.now = start + minutes(from) + (minutes(to - from) / n) * i;
        fake_ingest(&fakes.source, 1, 0, false);
    }
    fakes.source.now = start + minutes(to);
}

static struct tr_uuid backfill(int64_t from, int64_t to, enum tr_on_delivered how, int parallel)
{
    struct tr_err err = { 0 };
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;
    struct tr_backfill b = {
        .export_id = export_id,
        .project = 1,
        .range = { start + minutes(from), start + minutes(to) },
        .cursor = start + minutes(from),
        .on_delivered = how,
        .parallel = parallel,
        .created_at = fakes.source.now,
    };

    must_be_ok(tr_delivery_load(&fakes.delivery, &export_id, &e, &conf, &err), &err);
    must_be_ok(fakes.real->backfill_create(fakes.meta, &b, e->target, &err), &err);
    tr_export_free(e);
    tr_conf_free(conf);
    engine_wake(engine);
    return b.id;
}

static struct tr_backfill get(const struct tr_uuid *id)
{
    struct tr_backfill b = { 0 };
    struct tr_err err = { 0 };

    must_be_ok(fakes.real->backfill_get(fakes.meta, id, &b, &err), &err);
    return b;
}

/* Until nothing moves any more. */
static void drive(void)
{
    struct tr_err err = { 0 };
    int64_t next = 0;

    for (int i = 0; i < 2000; i++) {
        must_be_ok(engine_refresh(engine, &err), &err);
        expand();
        bool found = false;
        must_be_ok(engine_work(engine, &engine->slots[0], &found, &next, &err), &err);
        if (!found)
            return;
    }
    fail_msg("the backfill does not end");
}

static size_t delivered_once(void)
{
    size_t n = 0;

    for (size_t i = 0; i < fakes.source.n; i++)
        n += fake_live(fake_place("t"), &fakes.source.events[i].uuid) == 1;
    return n;
}

static void create(const char *interval, const char *more)
{
    struct tr_err err = { 0 };

    export_id = fake_export(fake_body(interval, "Table", "t", 1, more));
    must_be_ok(engine_refresh(engine, &err), &err);
}

static void a_past_range_is_delivered_in_aligned_runs(void **state)
{
    (void)state;
    create("hour", "");
    ingest(0, 300, 100);
    struct tr_uuid id = backfill(30, 270, TR_SKIP_DELIVERED, 1);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 5);
    assert_interval(&l->v[0], start + minutes(30), start + minutes(60));
    assert_interval(&l->v[1], start + minutes(60), start + minutes(120));
    assert_interval(&l->v[4], start + minutes(240), start + minutes(270));
    assert_int_equal(delivered_once(), 80);
}

static void as_many_runs_as_asked_are_open_at_once(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    create("hour", "");
    ingest(0, 600, 100);
    (void)backfill(0, 600, TR_SKIP_DELIVERED, 3);
    must_be_ok(engine_refresh(engine, &err), &err);
    expand();
    expand();
    assert_int_equal(runs_of(&export_id)->n, 3);
    assert_true(work());
    expand();
    assert_int_equal(runs_of(&export_id)->n, 4);
}

static void short_intervals_are_bundled(void **state)
{
    (void)state;
    create("every 5 seconds", "");
    ingest(0, 10 * 24 * 60, 200);
    struct tr_uuid id = backfill(0, 10 * 24 * 60, TR_SKIP_DELIVERED, 1);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
    assert_true(runs_of(&export_id)->n <= 17);
    assert_int_equal(delivered_once(), 200);
}

static void years_without_events_are_skipped(void **state)
{
    (void)state;
    create("hour", "");
    ingest(3 * 365 * 1440, 3 * 365 * 1440 + 60, 10);
    struct tr_uuid id = backfill(0, 3 * 365 * 1440 + 60, TR_SKIP_DELIVERED, 1);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
    assert_int_equal(runs_of(&export_id)->n, 1);
    assert_int_equal(delivered_once(), 10);
}

static void a_range_without_any_event_completes_at_once(void **state)
{
    (void)state;
    create("hour", "");
    fakes.source.now = start + minutes(300);
    struct tr_uuid id = backfill(0, 300, TR_SKIP_DELIVERED, 1);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
    assert_int_equal(runs_of(&export_id)->n, 0);
}

static void the_export_s_bounds_hold_for_backfills(void **state)
{
    (void)state;
    create("hour", "\"start_at\": \"2026-01-05T01:30:00Z\", \"end_at\": \"2026-01-05T03:15:00Z\"");
    ingest(0, 300, 300);
    struct tr_uuid id = backfill(0, 300, TR_SKIP_DELIVERED, 1);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 3);
    assert_int_equal(l->v[0].interval.lo, start + minutes(90));
    assert_int_equal(l->v[2].interval.hi, start + minutes(195));
    assert_int_equal(delivered_once(), 105);
}

static void a_failed_run_fails_the_backfill_but_not_the_rest_of_it(void **state)
{
    struct tr_run run;
    struct tr_err err = { 0 };

    (void)state;
    create("hour", "");
    ingest(0, 300, 100);
    fake_once(&fakes.script, FAKE_COMMIT, 3, FAKE_REFUSED);
    struct tr_uuid id = backfill(0, 300, TR_SKIP_DELIVERED, 1);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_FAILED);
    assert_int_equal(runs_of(&export_id)->n, 5);
    /* A person retries the failed one: then all of it is through. */
    const struct run_list *l = runs_of(&export_id);
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].state == TR_RUN_FAILED)
            must_be_ok(fakes.real->run_retry(fakes.meta, &l->v[i].id, fakes.source.now, &run, &err),
                       &err);
    }
    drive();
    assert_int_equal(delivered_once(), 100);
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
}

static void a_cancelled_backfill_makes_no_more_runs(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    create("hour", "");
    ingest(0, 600, 100);
    struct tr_uuid id = backfill(0, 600, TR_SKIP_DELIVERED, 1);
    must_be_ok(engine_refresh(engine, &err), &err);
    expand();
    assert_true(work());
    must_be_ok(
        fakes.real->backfill_finish(fakes.meta, &id, TR_RUN_CANCELLED, fakes.source.now, &err),
        &err);
    drive();
    assert_int_equal(get(&id).state, TR_RUN_CANCELLED);
    assert_int_equal(runs_of(&export_id)->n, 1);
}

static void a_backfill_across_the_seam_doubles_nothing(void **state)
{
    (void)state;
    ingest(0, 100, 100);
    create("hour", "");
    schedule(); /* the live runs begin with the hour at 60 */
    ingest(100, 130, 30);
    (void)backfill(0, 130, TR_SKIP_DELIVERED, 2);
    drive();
    fakes.source.now = start + minutes(200);
    schedule();
    work_all();
    assert_int_equal(delivered_once(), 130);
    assert_int_equal(fake_place("t")->n, 130);
}

static void a_backfill_goes_on_after_a_crash(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    create("hour", "");
    ingest(0, 600, 100);
    struct tr_uuid id = backfill(0, 600, TR_SKIP_DELIVERED, 2);
    must_be_ok(engine_refresh(engine, &err), &err);
    expand();
    assert_true(work());
    fake_once(&fakes.script, FAKE_COMMIT, 1, FAKE_DIE_DONE);
    bool found = false;
    int64_t next = 0;
    assert_int_not_equal(engine_work(engine, &engine->slots[0], &found, &next, &err), TR_OK);
    engine_free(engine);
    fakes_revive();
    engine_up();
    drive();
    assert_int_equal(get(&id).state, TR_RUN_COMPLETED);
    assert_int_equal(delivered_once(), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_past_range_is_delivered_in_aligned_runs),
        CASE(as_many_runs_as_asked_are_open_at_once),
        CASE(short_intervals_are_bundled),
        CASE(years_without_events_are_skipped),
        CASE(a_range_without_any_event_completes_at_once),
        CASE(the_export_s_bounds_hold_for_backfills),
        CASE(a_failed_run_fails_the_backfill_but_not_the_rest_of_it),
        CASE(a_cancelled_backfill_makes_no_more_runs),
        CASE(a_backfill_across_the_seam_doubles_nothing),
        CASE(a_backfill_goes_on_after_a_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
