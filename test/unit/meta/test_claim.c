/* Cursors, claims, leases, fences, retry and cancel. */
#include "fixture.h"

#include <pthread.h>

static void assert_same(const struct tr_uuid *a, const struct tr_uuid *b)
{
    assert_memory_equal(a, b, sizeof(*a));
}

static void the_cursor_moves_only_forward(void **state)
{
    struct fixture *f = *state;
    int64_t at = 0;

    OK(f, META(f, cursor_get, &f->export.id, &at, &f->err));
    assert_true(at == INT64_MIN);
    OK(f, META(f, cursor_set, &f->export.id, 100, &f->err));
    OK(f, META(f, cursor_set, &f->export.id, 50, &f->err));
    OK(f, META(f, cursor_get, &f->export.id, &at, &f->err));
    assert_int_equal(at, 100);

    struct tr_run r = { .export_id = f->export.id, .interval = { 90, 110 } };
    FAILS(f, META(f, run_schedule, &r, &f->err), TR_REFUSED, "meta.behind_cursor");
    r = schedule(f, &f->export.id, 100, 110, 0);
    OK(f, META(f, cursor_get, &f->export.id, &at, &f->err));
    assert_int_equal(at, 110);
    FAILS(f, META(f, run_schedule, &r, &f->err), TR_REFUSED, "meta.behind_cursor");
}

static void a_claim_raises_fence_and_attempts(void **state)
{
    struct fixture *f = *state;
    struct tr_run made = schedule(f, &f->export.id, 0, 10, 500);
    struct tr_run r;
    bool found = true;
    int64_t next = 0;

    OK(f, META(f, run_claim, "w", false, 499, LEASE, &r, &found, &next, &f->err));
    assert_false(found);
    assert_int_equal(next, 500);
    OK(f, META(f, run_claim, "w", false, 500, LEASE, &r, &found, &next, &f->err));
    assert_true(found);
    assert_same(&r.id, &made.id);
    assert_int_equal(r.state, TR_RUN_RUNNING);
    assert_int_equal(r.fence, 1);
    assert_int_equal(r.attempts, 1);
    assert_int_equal(r.started_at, 500);
    assert_int_equal(r.lease_until, 500 + LEASE);
    OK(f, META(f, run_claim, "w", false, 501, LEASE, &r, &found, &next, &f->err));
    assert_false(found);
    assert_int_equal(next, 500 + LEASE); /* the lease may run out */
}

static void runs_in_real_time_are_claimed_apart(void **state)
{
    struct fixture *f = *state;
    struct tr_export other = fixture_export(f);
    struct tr_run live = {
        .export_id = f->export.id, .project = 1, .interval = { 0, 10 }, .is_live = true
    };
    struct tr_run r;
    bool found = true;
    int64_t next = 0;

    OK(f, META(f, run_schedule, &live, &f->err));
    OK(f, META(f, run_claim, "w", false, 10, LEASE, &r, &found, &next, &f->err));
    assert_false(found);
    assert_true(next == INT64_MAX);
    struct tr_run made = schedule(f, &other.id, 0, 10, 0);
    OK(f, META(f, run_claim, "w", true, 10, LEASE, &r, &found, &next, &f->err));
    assert_true(found && r.is_live);
    assert_same(&r.id, &live.id);
    OK(f, META(f, run_claim, "w", true, 10, LEASE, &r, &found, &next, &f->err));
    assert_false(found);
    assert_int_equal(next, 10 + LEASE);
    OK(f, META(f, run_claim, "w", false, 10, LEASE, &r, &found, &next, &f->err));
    assert_true(found && !r.is_live);
    assert_same(&r.id, &made.id);
}

/* A run in real time is at work for all of its interval: it must not overtake one that waits. */
static void in_real_time_one_that_is_tried_again_comes_before_later_ones(void **state)
{
    struct fixture *f = *state;
    struct tr_run early = {
        .export_id = f->export.id, .project = 1, .interval = { 0, 60 }, .is_live = true
    };
    struct tr_run late = early;
    struct tr_run r;
    bool found = true;
    int64_t next = 0;

    late.interval = (struct tr_range){ 60, 120 };
    late.not_before = 60;
    OK(f, META(f, run_schedule, &early, &f->err));
    OK(f, META(f, run_claim, "w", true, 1, LEASE, &r, &found, &next, &f->err));
    assert_true(found);
    r.state = TR_RUN_RETRYING;
    r.next_attempt_at = 65;
    OK(f, META(f, run_finish, &r, TARGET, false, &f->err));
    OK(f, META(f, run_schedule, &late, &f->err));
    OK(f, META(f, run_claim, "w", true, 62, LEASE, &r, &found, &next, &f->err));
    assert_false(found);
    assert_int_equal(next, 65);
    OK(f, META(f, run_claim, "w", true, 65, LEASE, &r, &found, &next, &f->err));
    assert_true(found);
    assert_same(&r.id, &early.id);
    finish(f, &r, TR_RUN_FAILED); /* a person must act: the later ones go on */
    OK(f, META(f, run_claim, "w", true, 66, LEASE, &r, &found, &next, &f->err));
    assert_true(found);
    assert_same(&r.id, &late.id);
}

static void the_oldest_due_run_comes_first_and_one_of_an_export_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct tr_export other = fixture_export(f);
    struct tr_run a1 = schedule(f, &f->export.id, 0, 10, 5);
    struct tr_run a2 = schedule(f, &f->export.id, 10, 20, 6);
    struct tr_run b1 = schedule(f, &other.id, 0, 10, 9);
    struct tr_run r;

    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &a1.id);
    /* a2 is older, but a1 of its export is at work */
    struct tr_run first = r;
    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &b1.id);
    assert_false(claim(f, 100, &r));
    finish(f, &first, TR_RUN_COMPLETED);
    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &a2.id);
}

static void backfills_run_beside_scheduled_runs_and_leave_room_for_others(void **state)
{
    struct fixture *f = *state;
    struct tr_export other = fixture_export(f);
    struct tr_run fill = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    struct tr_run fill2 = { .export_id = f->export.id,
                            .backfill_id = fill.backfill_id,
                            .interval = { 100, 110 } };
    struct tr_run scheduled = schedule(f, &f->export.id, 200, 210, 0);
    struct tr_run foreign = schedule(f, &other.id, 200, 210, 50);
    struct tr_run r;

    OK(f, META(f, run_backfill, &fill2, &f->err));
    /* the export with nothing at work first, though its run fell due last */
    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &foreign.id);
    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &fill2.id);
    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &scheduled.id);
}

static bool claim_of(struct fixture *f, uint32_t which, struct tr_run *ret)
{
    bool found = false;
    int64_t next = 0;

    OK(f, META(f, run_claim, "worker", which, 10, LEASE, ret, &found, &next, &f->err));
    return found;
}

static void an_export_is_in_doubt_until_an_attempt_has_ended_well(void **state)
{
    struct fixture *f = *state;
    struct tr_export other = fixture_export(f);
    struct tr_run r;

    /* new: in doubt; an attempt that fails leaves it so */
    (void)schedule(f, &f->export.id, 0, 10, 0);
    assert_false(claim_of(f, TR_CLAIM_NO_DOUBTFUL, &r));
    assert_true(claim_of(f, TR_CLAIM_NO_SOUND, &r));
    assert_true(r.is_doubtful);
    finish(f, &r, TR_RUN_RETRYING);
    assert_true(claim_of(f, TR_CLAIM_NO_SOUND, &r));
    finish(f, &r, TR_RUN_COMPLETED);

    /* sound, also over a restart, and before another that fell due first */
    (void)schedule(f, &other.id, 0, 10, 0);
    (void)schedule(f, &f->export.id, 10, 20, 5);
    fixture_close(f);
    fixture_open(f);
    assert_true(claim_of(f, TR_CLAIM_ALL, &r));
    assert_same(&r.export_id, &f->export.id);
    assert_false(r.is_doubtful);
    finish(f, &r, TR_RUN_FAILED);
    (void)schedule(f, &f->export.id, 20, 30, 0);
    assert_false(claim_of(f, TR_CLAIM_NO_DOUBTFUL, &r));
}

static void backfills_may_be_left_out(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = backfilled(f, TR_SKIP_DELIVERED, 0, 10);

    finish(f, &r, TR_RUN_RETRYING);
    assert_false(claim_of(f, TR_CLAIM_NO_BACKFILL, &r));
    (void)schedule(f, &f->export.id, 10, 20, 0);
    assert_true(claim_of(f, TR_CLAIM_NO_BACKFILL, &r));
    assert_int_equal(r.interval.lo, 10);
}

static void runs_of_paused_exports_wait_but_backfills_do_not(void **state)
{
    struct fixture *f = *state;
    struct tr_run scheduled = schedule(f, &f->export.id, 200, 210, 0);
    struct tr_run r;

    OK(f, META(f, export_pause, &f->export.id, true, 1, &f->err));
    assert_false(claim(f, 100, &r));
    r = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    assert_false(claim(f, 100, &r));
    OK(f, META(f, export_pause, &f->export.id, false, 1, &f->err));
    assert_true(claim(f, 100, &r));
    assert_same(&r.id, &scheduled.id);
}

static void an_old_fence_may_not_write(void **state)
{
    struct fixture *f = *state;
    struct tr_run old = claimed(f, 0, 100);
    struct tr_run new;
    struct tr_chunk c = { .range = { 0, 10 } };
    struct tr_account a = { 0 };
    struct tr_range *taken = NULL;
    size_t n = 0;
    bool cancel = false;

    plan(f, &old, 0, 10);
    assert_true(claim(f, 10 + LEASE, &new)); /* the lease ran out */
    assert_same(&new.id, &old.id);
    assert_int_equal(new.fence, old.fence + 1);
    assert_int_equal(new.attempts, 2);

    static const char lost[] = "meta.lost_claim";
    FAILS(f, META(f, run_renew, &old.id, old.fence, 1, &cancel, &f->err), TR_CANCELLED, lost);
    FAILS(f, META(f, run_taken, &old, TARGET, &taken, &n, &f->err), TR_CANCELLED, lost);
    FAILS(f, META(f, plan_add, &old, TARGET, &c, 1, &f->err), TR_CANCELLED, lost);
    FAILS(f, META(f, chunk_sent, &old, 0, &f->err), TR_CANCELLED, lost);
    FAILS(f, META(f, chunk_done, &old, TARGET, 0, &a, true, NULL, 0, &f->err), TR_CANCELLED, lost);
    FAILS(f, META(f, chunk_absent, &old, 0, &f->err), TR_CANCELLED, lost);
    old.state = TR_RUN_FAILED;
    FAILS(f, META(f, run_finish, &old, TARGET, false, &f->err), TR_CANCELLED, lost);
    OK(f, META(f, run_renew, &new.id, new.fence, 9999, &cancel, &f->err));
    assert_false(cancel);
    OK(f, META(f, run_get, &new.id, &new, &f->err));
    assert_int_equal(new.lease_until, 9999);
}

static void an_ended_run_takes_no_more_words(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    bool cancel = false;

    finish(f, &r, TR_RUN_COMPLETED);
    FAILS(f, META(f, run_renew, &r.id, r.fence, 1, &cancel, &f->err), TR_CANCELLED,
          "meta.lost_claim");
    FAILS(f, META(f, run_finish, &r, TARGET, false, &f->err), TR_CANCELLED, "meta.lost_claim");
}

static void a_restart_makes_running_runs_due(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    int64_t fence = r.fence;
    struct tr_run again;

    fixture_close(f);
    fixture_open(f);
    OK(f, f->meta->ops->run_release_all(f->meta, &f->err));
    OK(f, META(f, run_get, &r.id, &again, &f->err));
    assert_int_equal(again.state, TR_RUN_STARTING);
    assert_true(claim(f, 11, &again));
    assert_same(&again.id, &r.id);
    assert_true(again.fence > fence);
}

static void what_was_asked_to_stop_ends_at_the_restart(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);

    plan(f, &r, 0, 50);
    OK(f, META(f, run_cancel, &r.id, 12, &r, &f->err));
    assert_true(r.cancel_asked);
    assert_int_equal(r.state, TR_RUN_RUNNING);
    OK(f, f->meta->ops->run_release_all(f->meta, &f->err));
    struct tr_run none;
    assert_false(claim(f, 20, &none));
    OK(f, META(f, run_get, &r.id, &r, &f->err));
    assert_int_equal(r.state, TR_RUN_CANCELLED);
    assert_int_equal(r.finished_at, 20);
}

static void finishing_writes_state_account_and_error(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_run got;

    r.state = TR_RUN_RETRYING;
    r.next_attempt_at = 777;
    r.attempts = 9;
    r.account = (struct tr_account){ 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    r.error_rc = TR_TRANSIENT;
    (void)snprintf(r.error_id, sizeof(r.error_id), "postgres.gone");
    (void)snprintf(r.error, sizeof(r.error), "server closed the connection");
    (void)snprintf(r.error_hint, sizeof(r.error_hint), "look there");
    OK(f, META(f, run_finish, &r, TARGET, false, &f->err));
    OK(f, META(f, run_get, &r.id, &got, &f->err));
    assert_int_equal(got.state, TR_RUN_RETRYING);
    assert_int_equal(got.attempts, 9);
    assert_int_equal(got.next_attempt_at, 777);
    assert_int_equal(got.finished_at, 0);
    assert_memory_equal(&got.account, &r.account, sizeof(r.account));
    assert_int_equal(got.error_rc, TR_TRANSIENT);
    assert_string_equal(got.error_id, "postgres.gone");
    assert_string_equal(got.error, "server closed the connection");
    assert_string_equal(got.error_hint, "look there");

    assert_false(claim(f, 776, &got));
    assert_true(claim(f, 777, &got));
    assert_int_equal(got.attempts, 10);
    got.state = TR_RUN_RUNNING;
    FAILS(f, META(f, run_finish, &got, TARGET, false, &f->err), TR_INTERNAL, "meta.not_an_end");
}

static void a_run_that_was_asked_to_stop_does_not_retry(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_run none;

    OK(f, META(f, run_cancel, &r.id, 12, &none, &f->err));
    finish(f, &r, TR_RUN_RETRYING);
    OK(f, META(f, run_get, &r.id, &r, &f->err));
    assert_int_equal(r.state, TR_RUN_CANCELLED);
    assert_true(r.finished_at > 0);
    assert_false(claim(f, INT64_MAX / 2, &none));
}

static void a_person_retries_and_cancels(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_run got;

    FAILS(f, META(f, run_retry, &r.id, 20, &got, &f->err), TR_REFUSED, "run.not_failed");
    (void)snprintf(r.error, sizeof(r.error), "no such table");
    finish(f, &r, TR_RUN_FAILED);
    FAILS(f, META(f, run_cancel, &r.id, 20, &got, &f->err), TR_REFUSED, "run.ended");
    assert_false(claim(f, 1000, &got));

    OK(f, META(f, run_retry, &r.id, 2000, &got, &f->err));
    assert_int_equal(got.state, TR_RUN_STARTING);
    assert_int_equal(got.attempts, 0);
    assert_string_equal(got.error, "");
    OK(f, META(f, run_cancel, &r.id, 2001, &got, &f->err));
    assert_int_equal(got.state, TR_RUN_CANCELLED);
    OK(f, META(f, run_retry, &r.id, 2002, &got, &f->err));
    assert_true(claim(f, 2002, &got));
    assert_false(got.cancel_asked);
    finish(f, &got, TR_RUN_COMPLETED);
    FAILS(f, META(f, run_retry, &r.id, 2003, &got, &f->err), TR_REFUSED, "run.not_failed");

    struct tr_uuid nobody = { { 9 } };
    FAILS(f, META(f, run_retry, &nobody, 1, &got, &f->err), TR_INVALID, "meta.not_found");
    FAILS(f, META(f, run_cancel, &nobody, 1, &got, &f->err), TR_INVALID, "meta.not_found");
    FAILS(f, META(f, run_get, &nobody, &got, &f->err), TR_INVALID, "meta.not_found");
}

/* ---- many workers ---- */

enum { WORKERS = 4, BACKFILL_RUNS = 80 };

struct worker {
    struct fixture *f;
    int claims, errors;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    bool found = true;

    while (found && w->errors == 0) {
        struct tr_run r;
        int64_t next = 0;
        struct tr_err err;

        if (META(w->f, run_claim, "w", false, 10, LEASE, &r, &found, &next, &err) != TR_OK) {
            w->errors++;
        } else if (found) {
            w->claims++;
            w->errors += r.fence != 1; /* nobody else had it */
            r.state = TR_RUN_COMPLETED;
            w->errors += META(w->f, run_finish, &r, TARGET, false, &err) != TR_OK;
        }
    }
    return NULL;
}

static void several_workers_never_get_one_run(void **state)
{
    struct fixture *f = *state;
    struct worker w[WORKERS];
    pthread_t threads[WORKERS];
    struct tr_backfill b = { .export_id = f->export.id, .range = { 0, BACKFILL_RUNS } };
    int claims = 0;

    OK(f, META(f, backfill_create, &b, TARGET, &f->err));
    for (int i = 0; i < BACKFILL_RUNS; i++) {
        struct tr_run r = { .export_id = f->export.id,
                            .backfill_id = b.id,
                            .interval = { i, i + 1 } };
        OK(f, META(f, run_backfill, &r, &f->err));
    }
    for (int i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){ .f = f };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(w[i].errors, 0);
        claims += w[i].claims;
    }
    assert_int_equal(claims, BACKFILL_RUNS);
}

/* ---- lists ---- */

static bool add_lo(void *arg, const struct tr_run *r)
{
    struct listing *l = arg;

    l->used += (size_t)snprintf(l->text + l->used, sizeof(l->text) - l->used, "%ld ",
                                (long)r->interval.lo);
    return true;
}

static void assert_listed(struct fixture *f, const struct tr_run_query *q, const char *want)
{
    struct listing l = { 0 };

    OK(f, META(f, run_list, q, add_lo, &l, &f->err));
    assert_string_equal(l.text, want);
}

static void lists_runs_by_what_is_asked(void **state)
{
    struct fixture *f = *state;
    struct tr_run r[5];

    for (int i = 0; i < 5; i++) {
        r[i] = (struct tr_run){ .export_id = f->export.id,
                                .interval = { i * 10, i * 10 + 10 },
                                .created_at = i == 2 ? 1000 : 100 + i };
        OK(f, META(f, run_schedule, &r[i], &f->err));
    }
    struct tr_run got;
    assert_true(claim(f, 10, &got)); /* [0, 10) */

    struct tr_run_query q = { .export_id = f->export.id };
    assert_listed(f, &q, "20 40 30 10 0 ");
    q.by_interval = true;
    assert_listed(f, &q, "40 30 20 10 0 ");
    q.limit = 2;
    assert_listed(f, &q, "40 30 ");
    q.after = r[3].id;
    assert_listed(f, &q, "20 10 ");
    q.by_interval = false;
    assert_listed(f, &q, "10 0 ");
    q = (struct tr_run_query){ .export_id = f->export.id, .interval = { 10, 25 } };
    assert_listed(f, &q, "20 10 ");
    q = (struct tr_run_query){ .export_id = f->export.id, .created = { 101, 104 } };
    assert_listed(f, &q, "30 10 ");
    q = (struct tr_run_query){ .export_id = f->export.id, .states = 1u << TR_RUN_RUNNING };
    assert_listed(f, &q, "0 ");
    q = (struct tr_run_query){ .export_id = { { 1 } } };
    assert_listed(f, &q, "");

    got = backfilled(f, TR_SKIP_DELIVERED, 70, 80);
    q = (struct tr_run_query){ .has_backfill = true, .backfill_id = got.backfill_id };
    assert_listed(f, &q, "70 ");
}

static bool count_run(void *arg, const struct tr_run *r)
{
    int *n = arg;

    (void)r;
    (*n)++;
    return true;
}

static void pages_a_long_list_without_gap_or_copy(void **state)
{
    struct fixture *f = *state;
    int n = 0;

    for (int i = 0; i < 600; i++) {
        struct tr_run r = { .export_id = f->export.id, .interval = { i, i + 1 }, .created_at = 5 };
        OK(f, META(f, run_schedule, &r, &f->err));
    }
    struct tr_run_query q = { .export_id = f->export.id };
    OK(f, META(f, run_list, &q, count_run, &n, &f->err));
    assert_int_equal(n, 600);
    n = 0;
    q.limit = 257;
    OK(f, META(f, run_list, &q, count_run, &n, &f->err));
    assert_int_equal(n, 257);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_cursor_moves_only_forward),
        CASE(a_claim_raises_fence_and_attempts),
        CASE(runs_in_real_time_are_claimed_apart),
        CASE(in_real_time_one_that_is_tried_again_comes_before_later_ones),
        CASE(the_oldest_due_run_comes_first_and_one_of_an_export_at_a_time),
        CASE(backfills_run_beside_scheduled_runs_and_leave_room_for_others),
        CASE(an_export_is_in_doubt_until_an_attempt_has_ended_well),
        CASE(backfills_may_be_left_out),
        CASE(runs_of_paused_exports_wait_but_backfills_do_not),
        CASE(an_old_fence_may_not_write),
        CASE(an_ended_run_takes_no_more_words),
        CASE(a_restart_makes_running_runs_due),
        CASE(what_was_asked_to_stop_ends_at_the_restart),
        CASE(finishing_writes_state_account_and_error),
        CASE(a_run_that_was_asked_to_stop_does_not_retry),
        CASE(a_person_retries_and_cancels),
        CASE(several_workers_never_get_one_run),
        CASE(lists_runs_by_what_is_asked),
        CASE(pages_a_long_list_without_gap_or_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
