/* What becomes of an attempt: retries, refusals, cancelling, stopping. */
#include "steps.h"

static struct tr_uuid export_id;

static void one_run_due(void)
{
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    schedule();
    for (int i = 0; i < 60; i++) {
        fakes.source.now = start + i * TR_US_PER_S;
        fake_ingest(&fakes.source, 1, 0, false);
    }
    fakes.source.now = start + minutes(1);
    schedule();
}

static struct tr_run the_run(void)
{
    assert_int_equal(runs_of(&export_id)->n, 1);
    return runs_of(&export_id)->v[0];
}

static void a_run_that_goes_well_completes_with_its_account(void **state)
{
    (void)state;
    one_run_due();
    assert_true(work());
    assert_false(work());
    assert_int_equal(the_run().state, TR_RUN_COMPLETED);
    assert_int_equal(the_run().account.delivered, 60);
    assert_int_equal(the_run().finished_at, fakes.source.now);
    assert_non_null(strstr(fakes.last_line, "60 delivered"));
}

static void a_passing_failure_is_tried_again_later_and_longer_each_time(void **state)
{
    int64_t last_wait = 0;

    (void)state;
    one_run_due();
    for (int i = 1; i <= 6; i++) {
        fake_once(&fakes.script, FAKE_OPEN, 1, FAKE_TRANSIENT);
        assert_true(work());
        struct tr_run run = the_run();
        assert_int_equal(run.state, TR_RUN_RETRYING);
        assert_int_equal(run.attempts, i);
        assert_string_equal(run.error_id, "fake.transient");
        int64_t wait = run.next_attempt_at - fakes.source.now;
        assert_true(wait > last_wait / 2); /* half of it is chance */
        assert_non_null(strstr(fakes.last_line, "trying again in"));
        fakes.source.now = run.next_attempt_at - 1;
        assert_false(work());
        fakes.source.now = run.next_attempt_at;
        last_wait = wait;
    }
    fake_never(&fakes.script);
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_COMPLETED);
    assert_string_equal(the_run().error, "");
}

static void progress_makes_the_waits_short_again(void **state)
{
    (void)state;
    one_run_due();
    for (int i = 0; i < 5; i++) {
        fake_once(&fakes.script, FAKE_OPEN, 1, FAKE_TRANSIENT);
        assert_true(work());
        fakes.source.now = the_run().next_attempt_at;
    }
    fake_once(&fakes.script, FAKE_COMMIT, 2, FAKE_TRANSIENT);
    assert_true(work());
    assert_true(the_run().next_attempt_at - fakes.source.now <= TR_US_PER_S);
    assert_int_equal(the_run().attempts, 1);
}

static void a_refusal_fails_at_once_with_a_hint_and_goes_on_after_the_mending(void **state)
{
    struct tr_run run;
    struct tr_err err = { 0 };

    (void)state;
    one_run_due();
    fake_once(&fakes.script, FAKE_COMMIT, 3, FAKE_REFUSED);
    assert_true(work());
    run = the_run();
    assert_int_equal(run.state, TR_RUN_FAILED);
    assert_string_equal(run.error_hint, "mend it");
    assert_non_null(strstr(fakes.last_line, "mend it"));
    fakes.source.now += 10 * TR_US_PER_DAY;
    assert_false(work());
    must_be_ok(fakes.real->run_retry(fakes.meta, &run.id, fakes.source.now, &run, &err), &err);
    assert_true(work());
    run = the_run();
    assert_int_equal(run.state, TR_RUN_COMPLETED);
    assert_int_equal(run.account.delivered + run.account.already_there, 60);
    assert_int_equal(fake_place("t")->n, 60);
}

/* Attempts until the run of a new minute fails; 0: it goes well at the one after `fails`. */
static uint32_t attempts_of(int fails)
{
    fakes.source.now += minutes(1);
    schedule();
    for (int i = 0; i < fails; i++) {
        fake_once(&fakes.script, FAKE_OPEN, 1, FAKE_REFUSED);
        assert_true(work());
        const struct run_list *l = runs_of(&export_id);
        if (l->v[l->n - 1].state == TR_RUN_FAILED)
            return (uint32_t)i + 1;
        assert_int_equal(l->v[l->n - 1].state, TR_RUN_RETRYING);
        fakes.source.now = l->v[l->n - 1].next_attempt_at;
    }
    fake_never(&fakes.script);
    assert_true(work());
    return 0;
}

static void refusals_that_may_pass_are_tried_again_for_some_minutes(void **state)
{
    (void)state;
    engine->patience_us = minutes(5);
    fakes.refusal = "postgres.read_only";
    one_run_due();
    fake_once(&fakes.script, FAKE_OPEN, 1, FAKE_REFUSED); /* has never gone well */
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_FAILED);
    assert_int_equal(attempts_of(0), 0);
    assert_int_equal(attempts_of(5), 0);  /* half a minute */
    assert_int_equal(attempts_of(99), 9); /* 255 s and no longer */
    assert_int_equal(attempts_of(0), 0);
    fakes.refusal = "postgres.permission_denied";
    assert_int_equal(attempts_of(99), 1);
    assert_int_equal(attempts_of(0), 0);
    fakes.refusal = "postgres.login_failed";
    engine->patience_us = 0;
    assert_int_equal(attempts_of(99), 1);
    fakes.refusal = NULL;
}

static void a_failed_run_does_not_hold_up_the_next_intervals(void **state)
{
    (void)state;
    one_run_due();
    fake_once(&fakes.script, FAKE_OPEN, 1, FAKE_REFUSED);
    assert_true(work());
    fakes.source.now += minutes(1);
    schedule();
    assert_true(work());
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 2);
    assert_int_equal(l->v[0].state, TR_RUN_FAILED);
    assert_int_equal(l->v[1].state, TR_RUN_COMPLETED);
}

static enum tr_rc (*true_counts)(struct tr_source *, int32_t, struct tr_range, struct tr_counts *,
                                 struct tr_err *);

static enum tr_rc counts_one_more(struct tr_source *s, int32_t project, struct tr_range r,
                                  struct tr_counts *ret, struct tr_err *err)
{
    enum tr_rc rc = true_counts(s, project, r, ret, err);

    ret->stored++;
    return rc;
}

static void an_unbalanced_account_fails_loudly(void **state)
{
    struct tr_source_ops lying = *fakes.source.base.ops;

    (void)state;
    one_run_due();
    true_counts = lying.counts;
    lying.counts = counts_one_more;
    fakes.source.base.ops = &lying;
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_FAILED);
    assert_string_equal(the_run().error_id, tr_delivery_unbalanced);
}

/* Somebody asks the run to stop while it writes; the heart hears of it. */
static enum tr_rc (*true_read)(const struct tr_ctx *, struct tr_source *, int32_t,
                               const struct tr_schema *, struct tr_range, tr_column_mask,
                               struct tr_stream **, struct tr_err *);
static void (*in_the_middle)(void);

static enum tr_rc read_and_be_interrupted(const struct tr_ctx *cx, struct tr_source *s,
                                          int32_t project, const struct tr_schema *schema,
                                          struct tr_range r, tr_column_mask columns,
                                          struct tr_stream **ret, struct tr_err *err)
{
    in_the_middle();
    return true_read(cx, s, project, schema, r, columns, ret, err);
}

static struct tr_source_ops interrupting;

static void interrupt_with(void (*what)(void))
{
    interrupting = *fakes.source.base.ops;
    true_read = interrupting.read;
    interrupting.read = read_and_be_interrupted;
    in_the_middle = what;
    fakes.source.base.ops = &interrupting;
}

static void cancel_it(void)
{
    struct tr_run run = the_run();
    struct tr_err err = { 0 };

    if (run.state == TR_RUN_RUNNING)
        must_be_ok(fakes.real->run_cancel(fakes.meta, &run.id, fakes.source.now, &run, &err), &err);
    engine_beat(engine);
}

static void cancelling_a_running_run_stops_it(void **state)
{
    (void)state;
    one_run_due();
    interrupt_with(cancel_it);
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_CANCELLED);
    assert_int_equal(fake_place("t")->n, 0);
    assert_false(work());
}

static void renew_it(void)
{
    /* An attempt that takes long keeps its run: nobody else may claim it. */
    for (int i = 0; i < 10; i++) {
        struct tr_run other;
        struct tr_err err = { 0 };
        bool found = true;
        int64_t next = 0;

        fakes.source.now += engine->lease_us / 2;
        engine_beat(engine);
        must_be_ok(fakes.real->run_claim(fakes.meta, "other", false, fakes.source.now,
                                         TR_US_PER_MIN, &other, &found, &next, &err),
                   &err);
        assert_false(found);
    }
}

static void the_heart_keeps_the_lease_of_a_long_attempt(void **state)
{
    (void)state;
    one_run_due();
    interrupt_with(renew_it);
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_COMPLETED);
}

static void lose_it(void)
{
    struct tr_run other;
    struct tr_err err = { 0 };
    bool found = false;
    int64_t next = 0;

    if (the_run().fence > 1)
        return;
    fakes.source.now += engine->lease_us + 1;
    must_be_ok(fakes.real->run_claim(fakes.meta, "other", false, fakes.source.now, TR_US_PER_MIN,
                                     &other, &found, &next, &err),
               &err);
    assert_true(found);
    engine_beat(engine);
}

static void an_attempt_that_lost_its_run_writes_nothing_more(void **state)
{
    (void)state;
    one_run_due();
    interrupt_with(lose_it);
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_RUNNING); /* the other one's */
    assert_int_equal(the_run().fence, 2);
    assert_int_equal(fake_place("t")->n, 0);
}

static void shut_down(void)
{
    tr_monitor_enter(&engine->monitor);
    engine->stopping = true;
    engine->slots[0].stop = ENGINE_SHUTDOWN;
    atomic_store(&engine->slots[0].cancelled, true);
    tr_monitor_leave(&engine->monitor);
}

static void a_run_that_was_stopped_is_due_at_the_next_start(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    one_run_due();
    interrupt_with(shut_down);
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_RUNNING);
    engine_free(engine);
    fakes.source.base.ops = &interrupting;
    interrupting.read = true_read;
    must_be_ok(fakes.real->run_release_all(fakes.meta, &err), &err);
    engine_up();
    assert_true(work());
    assert_int_equal(the_run().state, TR_RUN_COMPLETED);
    assert_int_equal(fake_place("t")->n, 60);
}

static void deleting_an_export_ends_its_runs(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    one_run_due();
    must_be_ok(fakes.real->export_delete(fakes.meta, &export_id, fakes.source.now, &err), &err);
    work_all();
    assert_int_equal(the_run().state, TR_RUN_CANCELLED);
    assert_int_equal(fake_place("t")->n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_that_goes_well_completes_with_its_account),
        CASE(a_passing_failure_is_tried_again_later_and_longer_each_time),
        CASE(progress_makes_the_waits_short_again),
        CASE(a_refusal_fails_at_once_with_a_hint_and_goes_on_after_the_mending),
        CASE(refusals_that_may_pass_are_tried_again_for_some_minutes),
        CASE(a_failed_run_does_not_hold_up_the_next_intervals),
        CASE(an_unbalanced_account_fails_loudly),
        CASE(cancelling_a_running_run_stops_it),
        CASE(the_heart_keeps_the_lease_of_a_long_attempt),
        CASE(an_attempt_that_lost_its_run_writes_nothing_more),
        CASE(a_run_that_was_stopped_is_due_at_the_next_start),
        CASE(deleting_an_export_ends_its_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
