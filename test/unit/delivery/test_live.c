/* An attempt in steps: real time. */
#include "runs.h"

static struct tr_ctx cx;
static struct tr_run run;
static struct tr_live *live;
static struct tr_err err;

static struct tr_range minute(int n)
{
    return (struct tr_range){ start + n * TR_US_PER_MIN, start + (n + 1) * TR_US_PER_MIN };
}

/* A run over a minute that goes on, claimed. */
static void claim_minute(int n)
{
    bool found = false;
    int64_t next = 0;

    run = (struct tr_run){ .export_id = export_id,
                           .project = 1,
                           .interval = minute(n),
                           .is_live = true,
                           .created_at = fakes.source.now };
    assert_int_equal(fakes.real->run_schedule(fakes.meta, &run, &err), TR_OK);
    assert_int_equal(fakes.real->run_claim(fakes.meta, "live", true, fakes.source.now,
                                           TR_US_PER_MIN, &run, &found, &next, &err),
                     TR_OK);
    assert_true(found);
}

static void begin(struct tr_live *after)
{
    cx = (struct tr_ctx){ .deadline_us = INT64_MAX, .cancelled = &fakes.cancelled };
    assert_int_equal(tr_live_begin(&cx, &fakes.delivery, &run, after, &live, &err), TR_OK);
}

static struct tr_live_step step(int64_t through)
{
    struct tr_live_step s;

    assert_int_equal(tr_live_step(live, through, &s, &err), TR_OK);
    return s;
}

static void finish(struct tr_attempt *a)
{
    assert_int_equal(tr_live_end(live, a, &err), TR_OK);
    run.state = TR_RUN_COMPLETED;
    run.finished_at = fakes.source.now;
    assert_int_equal(fakes.meta->ops->run_finish(fakes.meta, &run, a->target, a->deliver_run, &err),
                     TR_OK);
}

static void pass_seconds(double n)
{
    fakes.source.now += (int64_t)(n * 1e6);
}

static void what_comes_in_is_there_a_step_later_and_once(void **state)
{
    struct tr_attempt a;

    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    claim_minute(0);
    begin(NULL);
    for (int i = 0; i < 20; i++) {
        ingest(3); /* a second each */
        struct tr_live_step s = step(fakes.source.now);
        assert_int_equal(s.is_last, i == 19);
        assert_false(s.changed);
        assert_there("t", minute(0), -1, 1);
    }
    finish(&a);
    assert_int_equal(run.account.stored, 60);
    assert_int_equal(run.account.delivered, 60);
    assert_true(tr_account_balances(&run.account));
    assert_int_equal(fake_place("t")->opened, 1);
    tr_live_close(live, NULL);
    assert_int_equal(fake_place("t")->open_now, 0);
}

static void a_part_of_a_chunk_waits_a_second_for_more(void **state)
{
    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    claim_minute(0);
    begin(NULL);
    pass_seconds(2);
    (void)step(fakes.source.now); /* nothing has come in; what does from now on may wait */
    for (int i = 0; i < 4; i++)
        fake_ingest(&fakes.source, 1, 0, false);
    pass_seconds(0.5);
    struct tr_live_step s = step(fakes.source.now);
    assert_int_equal(fake_place("t")->n, 0);
    assert_int_equal(s.next, start + 3 * TR_US_PER_S);
    fakes.source.now = s.next;
    (void)step(s.next);
    assert_int_equal(fake_place("t")->n, 4);

    /* a whole chunk of ten does not */
    for (int i = 0; i < 13; i++)
        fake_ingest(&fakes.source, 1, 0, false);
    (void)step(fakes.source.now);
    assert_int_equal(fake_place("t")->n, 14);
    pass_seconds(1);
    (void)step(fakes.source.now);
    assert_int_equal(fake_place("t")->n, 17);
    tr_live_close(live, NULL);
}

static void where_nothing_comes_in_the_source_is_not_asked_for_the_same_again(void **state)
{
    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    claim_minute(0);
    begin(NULL);
    pass_seconds(10);
    (void)step(fakes.source.now);
    int calls = fakes.script.calls[FAKE_PLAN];
    for (int i = 0; i < 5; i++)
        assert_true(step(fakes.source.now).next > fakes.source.now);
    assert_int_equal(fakes.script.calls[FAKE_PLAN], calls);
    tr_live_close(live, NULL);
}

static void a_change_of_the_export_is_told(void **state)
{
    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    claim_minute(0);
    begin(NULL);
    pass_seconds(1);
    assert_false(step(fakes.source.now).changed);
    assert_int_equal(fakes.real->export_pause(fakes.meta, &export_id, true, 1, &err), TR_OK);
    assert_true(step(fakes.source.now).changed);
    tr_live_close(live, NULL);
    assert_int_equal(fakes.real->export_pause(fakes.meta, &export_id, false, 1, &err), TR_OK);
    begin(NULL);
    assert_false(step(fakes.source.now).changed);
    fake_export_update(&export_id, fake_body("realtime", "Table", "t", 2, ""));
    assert_true(step(fakes.source.now).changed);
    tr_live_close(live, NULL);
}

static void the_next_minute_uses_the_same_connections(void **state)
{
    struct tr_attempt a;

    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 3, ""));
    for (int m = 0; m < 3; m++) {
        struct tr_live *former = live;

        claim_minute(m);
        begin(m == 0 ? NULL : former);
        for (int i = 0; i < 60; i++)
            fake_ingest(&fakes.source, 1, 0, false);
        fakes.source.now = minute(m).hi;
        assert_true(step(minute(m).hi).is_last);
        finish(&a);
    }
    assert_int_equal(fake_place("t")->opened, 3);
    assert_int_equal(fake_place("t")->open_now, 3);
    assert_there("t", (struct tr_range){ start, fakes.source.now }, -1, 1);

    /* not those of another configuration */
    fake_export_update(&export_id, fake_body("realtime", "Table", "other", 1, ""));
    claim_minute(3);
    begin(live);
    assert_int_equal(fake_place("t")->open_now, 0);
    assert_int_equal(fake_place("other")->open_now, 1);
    tr_live_close(live, NULL);
}

static void what_another_run_held_and_left_is_delivered_at_the_end(void **state)
{
    struct tr_run other;
    struct tr_attempt a;

    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    claim_minute(0);
    begin(NULL);
    ingest(10);
    other = backfill_run((struct tr_range){ start, fakes.source.now }, TR_SKIP_DELIVERED);
    fake_once(&fakes.script, FAKE_COMMIT, 1, FAKE_TRANSIENT);
    assert_int_equal(attempt(&other, &err), TR_TRANSIENT);
    assert_int_equal(other.state, TR_RUN_RETRYING);
    fake_never(&fakes.script);
    ingest(10);
    (void)step(fakes.source.now);
    assert_int_equal(fake_place("t")->n, 10); /* the second ten: the others are the backfill's */
    assert_int_equal(fakes.real->run_cancel(fakes.meta, &other.id, 1, &other, &err), TR_OK);
    fakes.source.now = minute(0).hi;
    assert_true(step(minute(0).hi).is_last);
    finish(&a);
    assert_there("t", minute(0), -1, 1);
    assert_int_equal(run.account.delivered, 20);
    tr_live_close(live, NULL);
}

static void bounds_that_leave_nothing_end_it_at_once(void **state)
{
    struct tr_attempt a;

    (void)state;
    export_id =
        fake_export(fake_body("realtime", "Table", "t", 1, "\"end_at\": \"2020-01-01T00:00:00Z\""));
    claim_minute(0);
    begin(NULL);
    assert_true(step(fakes.source.now).is_last);
    finish(&a);
    tr_live_close(live, NULL);
    assert_int_equal(fake_place("t")->opened, 0);
}

/* The steps of a minute, until something fails. */
static enum tr_rc try_minute(void)
{
    struct tr_attempt a;
    enum tr_rc rc = TR_OK;

    claim_minute(0);
    rc = tr_live_begin(&cx, &fakes.delivery, &run, NULL, &live, &err);
    for (int i = 0; i < 10 && rc == TR_OK; i++) {
        struct tr_live_step s;

        ingest(6);
        rc = tr_live_step(live, fakes.source.now, &s, &err);
    }
    if (rc == TR_OK)
        rc = tr_live_end(live, &a, &err);
    if (rc == TR_OK && !fakes.dead) {
        run.state = TR_RUN_COMPLETED;
        rc = fakes.meta->ops->run_finish(fakes.meta, &run, a.target, a.deliver_run, &err);
    }
    tr_live_close(live, NULL);
    live = NULL;
    return rc;
}

/* As the engine does it: a minute that has gone by is delivered in one go. */
static void deliver_the_rest(void)
{
    for (int i = 0; i < 20; i++) {
        struct tr_attempt a = { 0 };
        bool found = false;
        int64_t next = 0;

        fakes_revive();
        assert_int_equal(fakes.real->run_release_all(fakes.meta, &err), TR_OK);
        assert_int_equal(fakes.real->run_claim(fakes.meta, "live", true, fakes.source.now,
                                               TR_US_PER_MIN, &run, &found, &next, &err),
                         TR_OK);
        if (!found)
            return;
        enum tr_rc rc = tr_deliver_run(&cx, &fakes.delivery, &run, &a, &err);
        run.state = rc == TR_OK ? TR_RUN_COMPLETED : TR_RUN_RETRYING;
        run.next_attempt_at = fakes.source.now;
        assert_int_equal(fakes.real->run_finish(fakes.meta, &run, a.target, a.deliver_run, &err),
                         TR_OK);
    }
    fail_msg("the run does not come to its end");
}

static void every_failure_at_every_call_leaves_each_event_once(void **state)
{
    static const enum fake_op ops[] = { FAKE_OPEN,   FAKE_BEGIN, FAKE_WRITE, FAKE_COMMIT,
                                        FAKE_LOOKUP, FAKE_PLAN,  FAKE_READ,  FAKE_META };
    static const enum fake_fault faults[] = { FAKE_TRANSIENT, FAKE_AMBIGUOUS_DONE,
                                              FAKE_AMBIGUOUS_NOT, FAKE_DIE, FAKE_DIE_DONE };

    (void)state;
    for (size_t o = 0; o < sizeof(ops) / sizeof(ops[0]); o++)
        for (size_t f = 0; f < sizeof(faults) / sizeof(faults[0]); f++)
            for (int nth = 1;; nth++) {
                fakes_close();
                fakes_open();
                start = fakes.source.now;
                export_id = fake_export(fake_body("realtime", "Table", "t", 2, ""));
                fake_once(&fakes.script, ops[o], nth, faults[f]);
                enum tr_rc rc = try_minute();
                bool over = fakes.script.calls[ops[o]] < nth;
                fakes.source.now =
                    fakes.source.now < minute(0).hi ? minute(0).hi : fakes.source.now;
                if (rc != TR_OK)
                    deliver_the_rest();
                assert_there("t", minute(0), -1, 1);
                if (over)
                    break;
            }
}

static void how_far_it_has_come_is_told(void **state)
{
    int64_t through = 0;
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;

    (void)state;
    export_id = fake_export(fake_body("realtime", "Table", "t", 1, ""));
    assert_int_equal(tr_delivery_load(&fakes.delivery, &export_id, &e, &conf, &err), TR_OK);
    claim_minute(0);
    begin(NULL);
    ingest(10);
    (void)step(fakes.source.now);
    pass_seconds(1);
    int64_t first = fakes.source.now;
    ingest(10);
    struct tr_range r = { start, fakes.source.now };
    assert_int_equal(tr_delivered_through(&fakes.delivery, &export_id, e->target, 1, e->schema, r,
                                          &through, &err),
                     TR_OK);
    assert_int_equal(through, first);
    (void)step(fakes.source.now);
    assert_int_equal(tr_delivered_through(&fakes.delivery, &export_id, e->target, 1, e->schema, r,
                                          &through, &err),
                     TR_OK);
    assert_int_equal(through, r.hi);
    tr_live_close(live, NULL);
    tr_export_free(e);
    tr_conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_comes_in_is_there_a_step_later_and_once),
        CASE(a_part_of_a_chunk_waits_a_second_for_more),
        CASE(where_nothing_comes_in_the_source_is_not_asked_for_the_same_again),
        CASE(a_change_of_the_export_is_told),
        CASE(the_next_minute_uses_the_same_connections),
        CASE(what_another_run_held_and_left_is_delivered_at_the_end),
        CASE(bounds_that_leave_nothing_end_it_at_once),
        CASE(every_failure_at_every_call_leaves_each_event_once),
        CASE(how_far_it_has_come_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
