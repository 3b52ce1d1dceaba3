/* Plans, chunks and delivered ranges: what keeps rows from being sent twice or not at all. */
#include "fixture.h"

static void plans_are_kept_in_order(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_chunk *chunks = NULL;
    size_t n = 0;

    assert_taken(f, &r, "");
    plan(f, &r, 0, 40);
    plan(f, &r, 40, 100);
    OK(f, META(f, plan_get, &r.id, &chunks, &n, &f->err));
    assert_int_equal(n, 2);
    assert_int_equal(chunks[1].n, 1);
    assert_int_equal(chunks[1].range.lo, 40);
    assert_int_equal(chunks[1].rows, 10);
    assert_int_equal(chunks[1].state, TR_CHUNK_PLANNED);
    assert_int_equal(chunks[1].target, TARGET);
    free(chunks);
    assert_taken(f, &r, ""); /* its own chunks are no obstacle */
}

static void what_was_never_sent_can_be_dropped(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_chunk *chunks = NULL;
    size_t n = 0;

    plan(f, &r, 0, 40);
    send_chunk(f, &r, 0);
    plan(f, &r, 40, 100);
    OK(f, META(f, plan_drop, &r, &f->err));
    OK(f, META(f, plan_get, &r.id, &chunks, &n, &f->err));
    assert_int_equal(n, 1);
    assert_int_equal(chunks[0].state, TR_CHUNK_SENT);
    free(chunks);
    r.fence--;
    FAILS(f, META(f, plan_drop, &r, &f->err), TR_CANCELLED, "meta.lost_claim");
}

static void a_bad_plan_is_our_mistake(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    static const struct tr_chunk bad[] = { { .range = { 50, 50 } },
                                           { .range = { 50, 101 } },
                                           { .range = { -1, 5 } },
                                           { .range = { 5, 15 } } };

    plan(f, &r, 0, 10);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        FAILS(f, META(f, plan_add, &r, TARGET, &bad[i], 1, &f->err), TR_INTERNAL, "meta.bad_plan");
}

static void chunks_of_other_runs_are_taken(void **state)
{
    struct fixture *f = *state;
    struct tr_run a = claimed(f, 0, 100);
    struct tr_run b = backfilled(f, TR_SKIP_DELIVERED, 50, 200);
    struct tr_chunk meeting = { .range = { 90, 110 } };

    plan(f, &a, 0, 60);
    plan(f, &a, 60, 100);
    assert_taken(f, &b, "50-100"); /* joined, and cut to the run */
    FAILS(f, META(f, plan_add, &b, TARGET, &meeting, 1, &f->err), TR_TRANSIENT, "meta.range_taken");
    plan(f, &b, 100, 200);
    assert_taken(f, &a, "");

    struct tr_range *taken = NULL;
    size_t n = 9;
    OK(f,
       META(f, run_taken, &b, TARGET + 1, &taken, &n, &f->err)); /* another place, another ledger */
    assert_int_equal(n, 0);
    free(taken);
}

static void delivered_ranges_are_taken_only_when_skipping(void **state)
{
    struct fixture *f = *state;
    struct tr_run a = claimed(f, 0, 100);

    deliver(f, &a, 0, 0, 30);
    deliver(f, &a, 1, 70, 100);
    assert_taken(f, &a, "");
    finish(f, &a, TR_RUN_COMPLETED);

    struct tr_run skip = backfilled(f, TR_SKIP_DELIVERED, 0, 200);
    assert_taken(f, &skip, "0-30 70-100");
    struct tr_run replace = backfilled(f, TR_REPLACE_DELIVERED, 0, 200);
    assert_taken(f, &replace, "");
    plan(f, &skip, 150, 160);
    assert_taken(f, &replace, "150-160");
    struct tr_run append = backfilled(f, TR_APPEND_DELIVERED, 0, 200);
    assert_taken(f, &append, "150-160");
}

static void a_chunk_goes_its_way(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_chunk *c = NULL;
    size_t n = 0;

    plan(f, &r, 0, 50);
    plan(f, &r, 50, 100);
    send_chunk(f, &r, 0);
    send_chunk(f, &r, 0); /* again, after a lost answer */
    OK(f, META(f, chunk_absent, &r, 0, &f->err));
    OK(f, META(f, plan_get, &r.id, &c, &n, &f->err));
    assert_int_equal(c[0].state, TR_CHUNK_PLANNED);
    free(c);
    send_chunk(f, &r, 0);
    done(f, &r, 0, true);
    done(f, &r, 0, true); /* told twice, counted once */
    done(f, &r, 1, true); /* never sent: nothing in it passed the filters */
    assert_delivered(f, 0, 100, "0-50/0 50-100/0e");
    FAILS(f, META(f, chunk_sent, &r, 0, &f->err), TR_INTERNAL, "meta.chunk_state");
    FAILS(f, META(f, chunk_absent, &r, 0, &f->err), TR_INTERNAL, "meta.chunk_state");
    FAILS(f, META(f, chunk_sent, &r, 7, &f->err), TR_INVALID, "meta.not_found");

    struct tr_run got;
    OK(f, META(f, run_get, &r.id, &got, &f->err));
    assert_int_equal(got.account.delivered, 20);
    assert_int_equal(got.account.stored, 20);
    OK(f, META(f, plan_get, &r.id, &c, &n, &f->err));
    assert_int_equal(c[0].state, TR_CHUNK_DELIVERED);
    assert_int_equal(c[0].account.delivered, 10);
    free(c);
}

static void a_run_that_commits_as_a_whole_is_delivered_at_its_end(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_run other = backfilled(f, TR_SKIP_DELIVERED, 0, 200);

    plan(f, &r, 0, 50);
    plan(f, &r, 50, 90);
    send_chunk(f, &r, 0);
    send_chunk(f, &r, 1);
    done(f, &r, 0, false);
    assert_delivered(f, 0, 100, "");
    assert_taken(f, &other, "0-90");

    /* found missing by the next attempt */
    OK(f, META(f, chunk_absent, &r, 0, &f->err));
    struct tr_run got;
    OK(f, META(f, run_get, &r.id, &got, &f->err));
    assert_int_equal(got.account.delivered, 0);
    send_chunk(f, &r, 0);
    done(f, &r, 0, false);

    r.state = TR_RUN_COMPLETED;
    FAILS(f, META(f, run_finish, &r, TARGET, true, &f->err), TR_INTERNAL, "meta.plan_open");
    done(f, &r, 1, false);
    OK(f, META(f, run_finish, &r, TARGET, true, &f->err));
    assert_delivered(f, 0, 100, "0-50/0 50-90/0");
}

static void an_ended_run_keeps_what_it_may_have_sent(void **state)
{
    struct fixture *f = *state;
    struct tr_run a = claimed(f, 0, 100);
    struct tr_run b = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    struct tr_chunk *c = NULL;
    size_t n = 0;

    deliver(f, &a, 0, 0, 20);
    plan(f, &a, 20, 40);
    send_chunk(f, &a, 1);
    plan(f, &a, 40, 60);
    finish(f, &a, TR_RUN_FAILED);
    assert_taken(f, &b, "0-40"); /* what was only planned is free */
    OK(f, META(f, plan_get, &a.id, &c, &n, &f->err));
    assert_int_equal(n, 2);
    free(c);
    plan(f, &b, 40, 100);

    OK(f, META(f, run_retry, &a.id, 20, &a, &f->err));
    assert_true(claim(f, 20, &a));
    assert_taken(f, &a, "40-100");
    done(f, &a, 1, true); /* the destination had it */
    assert_delivered(f, 0, 100, "0-20/0 20-40/0");
    finish(f, &b, TR_RUN_FAILED);
    assert_taken(f, &a, "");
}

static void replacing_cuts_what_was_delivered_before(void **state)
{
    struct fixture *f = *state;
    struct tr_run a = claimed(f, 0, 100);

    deliver(f, &a, 0, 0, 100);
    finish(f, &a, TR_RUN_COMPLETED);
    struct tr_run append = backfilled(f, TR_APPEND_DELIVERED, 0, 100);
    deliver(f, &append, 0, 20, 50);
    finish(f, &append, TR_RUN_COMPLETED);
    assert_delivered(f, 0, 100, "0-100/0 20-50/1");
    assert_delivered(f, 60, 70, "0-100/0");
    assert_delivered(f, 30, 31, "0-100/0 20-50/1");

    struct tr_run replace = backfilled(f, TR_REPLACE_DELIVERED, 30, 80);
    assert_int_equal(replace.generation, 2);
    deliver(f, &replace, 0, 30, 60);
    assert_delivered(f, 0, 100, "0-30/0 20-30/1 30-60/2 60-100/0");
    deliver(f, &replace, 1, 60, 80);
    finish(f, &replace, TR_RUN_COMPLETED);
    assert_delivered(f, 0, 100, "0-30/0 20-30/1 30-60/2 60-80/2 80-100/0");
    assert_delivered(f, 59, 61, "30-60/2 60-80/2");
    assert_delivered(f, 100, 200, "");

    struct tr_run skip = backfilled(f, TR_SKIP_DELIVERED, 0, 200);
    assert_taken(f, &skip, "0-100");
}

static bool check_chunk(void *arg, const struct tr_delivered *d)
{
    int *n = arg;

    assert_int_equal(d->chunk.lo, 0);
    assert_int_equal(d->chunk.hi, 100);
    (*n)++;
    return true;
}

static void a_cut_range_remembers_the_key_it_came_under(void **state)
{
    struct fixture *f = *state;
    struct tr_run a = claimed(f, 0, 100);
    int n = 0;

    deliver(f, &a, 0, 0, 100);
    finish(f, &a, TR_RUN_COMPLETED);
    struct tr_run replace = backfilled(f, TR_REPLACE_DELIVERED, 40, 60);
    deliver(f, &replace, 0, 40, 60);
    OK(f, META(f, delivered_list, &f->export.id, TARGET, (struct tr_range){ 0, 40 }, check_chunk,
               &n, &f->err));
    OK(f, META(f, delivered_list, &f->export.id, TARGET, (struct tr_range){ 60, 100 }, check_chunk,
               &n, &f->err));
    assert_int_equal(n, 2);
}

static void ranges_of_a_generation_never_meet(void **state)
{
    struct fixture *f = *state;

    /* many generations over one range, looked at from every side */
    for (int i = 0; i < 6; i++) {
        struct tr_run r = i % 2 == 0 ? backfilled(f, TR_APPEND_DELIVERED, 0, 100)
                                     : backfilled(f, TR_REPLACE_DELIVERED, 20, 80);
        if (i % 2 == 0) {
            deliver(f, &r, 0, 0, 50);
            deliver(f, &r, 1, 50, 100);
        } else {
            deliver(f, &r, 0, 20, 80);
        }
        finish(f, &r, TR_RUN_COMPLETED);
    }
    assert_delivered(f, 0, 20, "0-20/1 0-20/3 0-20/5");
    assert_delivered(f, 20, 80, "20-80/6");
    assert_delivered(f, 80, 100, "80-100/1 80-100/3 80-100/5");
}

/* ---- what a run leaves to others ---- */

static void a_part_that_comes_free_is_not_forgotten(void **state)
{
    struct fixture *f = *state;
    struct tr_run b = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    struct tr_run a = claimed(f, 0, 200);
    struct tr_run got;

    plan(f, &b, 50, 100);
    assert_taken(f, &a, "50-100");
    deliver(f, &a, 0, 0, 50);
    OK(f, META(f, backfill_finish, &b.backfill_id, TR_RUN_CANCELLED, 20, &f->err));
    finish(f, &b, TR_RUN_CANCELLED);

    a.state = TR_RUN_COMPLETED;
    FAILS(f, META(f, run_finish, &a, TARGET, false, &f->err), TR_TRANSIENT, "meta.range_freed");
    OK(f, META(f, run_get, &a.id, &got, &f->err));
    assert_int_equal(got.state, TR_RUN_RUNNING);
    assert_taken(f, &a, ""); /* plans again: now it sees that the part is free */
    deliver(f, &a, 1, 50, 100);
    finish(f, &a, TR_RUN_COMPLETED);
}

static void a_part_without_events_does_not_hold_a_run_up(void **state)
{
    struct fixture *f = *state;
    struct tr_run b = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    struct tr_run a = claimed(f, 0, 200);

    plan(f, &b, 50, 100);
    assert_taken(f, &a, "50-100");
    finish(f, &b, TR_RUN_FAILED);
    a.state = TR_RUN_COMPLETED;
    FAILS(f, META(f, run_finish, &a, TARGET, false, &f->err), TR_TRANSIENT, "meta.range_freed");
    assert_taken(f, &a, "");
    finish(f, &a, TR_RUN_COMPLETED); /* it planned nothing there: there is nothing */
}

static void a_completed_run_starts_again_when_a_part_comes_free(void **state)
{
    struct fixture *f = *state;
    struct tr_run b = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    struct tr_run a = claimed(f, 0, 200);
    struct tr_run got;

    plan(f, &b, 50, 100);
    assert_taken(f, &a, "50-100");
    finish(f, &a, TR_RUN_COMPLETED);
    finish(f, &b, TR_RUN_FAILED);
    OK(f, META(f, run_get, &a.id, &got, &f->err));
    assert_int_equal(got.state, TR_RUN_STARTING);
    assert_true(claim(f, INT64_MAX / 2, &got));
    assert_memory_equal(&got.id, &a.id, sizeof(a.id));
    assert_taken(f, &got, "");
}

static void a_part_that_was_delivered_after_all_is_settled(void **state)
{
    struct fixture *f = *state;
    struct tr_run b = backfilled(f, TR_SKIP_DELIVERED, 0, 100);
    struct tr_run a = claimed(f, 0, 200);
    struct tr_run got;

    plan(f, &b, 50, 100);
    assert_taken(f, &a, "50-100");
    finish(f, &a, TR_RUN_COMPLETED);
    send_chunk(f, &b, 0);
    done(f, &b, 0, true);
    plan(f, &b, 0, 50);
    finish(f, &b, TR_RUN_FAILED);
    OK(f, META(f, run_get, &a.id, &got, &f->err));
    assert_int_equal(got.state, TR_RUN_COMPLETED);
}

/* ---- a change of target ---- */

static void a_new_target_is_a_new_plan(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    static char text[] = "elsewhere";
    struct tr_export e = { .id = f->export.id, .target = TARGET + 1, .target_text = text };
    struct tr_chunk c = { .range = { 0, 100 }, .rows = 5 };
    struct tr_account a = { 0 };
    struct tr_chunk *chunks = NULL;
    size_t n = 9;

    deliver(f, &r, 0, 0, 50);
    plan(f, &r, 50, 60);
    OK(f, META(f, export_update, &e, TR_STR("{}"), TR_STR(""), &f->err));
    OK(f, META(f, plan_get, &r.id, &chunks, &n, &f->err));
    assert_int_equal(n, 0); /* nothing of it is at the new place */
    free(chunks);
    OK(f, META(f, plan_add, &r, TARGET + 1, &c, 1, &f->err));
    OK(f, META(f, plan_get, &r.id, &chunks, &n, &f->err));
    assert_int_equal(n, 1);
    uint32_t number = chunks[0].n;
    free(chunks);
    FAILS(f, META(f, chunk_done, &r, TARGET, number, &a, true, NULL, 0, &f->err), TR_TRANSIENT,
          "meta.target_changed");
    OK(f, META(f, chunk_done, &r, TARGET + 1, number, &a, true, NULL, 0, &f->err));
    r.state = TR_RUN_COMPLETED;
    OK(f, META(f, run_finish, &r, TARGET + 1, false, &f->err));
    assert_delivered(f, 0, 100, "0-50/0");
}

/* ---- rejects ---- */

static bool add_reason(void *arg, const struct tr_reject *r)
{
    struct listing *l = arg;

    l->used += (size_t)snprintf(l->text + l->used, sizeof(l->text) - l->used, "%ld:%s ",
                                (long)r->inserted_at, r->reason);
    return true;
}

static void rejects_are_kept_with_their_reasons(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_account a = { .stored = 2, .selected = 2, .rejected = 2 };
    struct tr_reject rejects[2] = {
        { .uuid = { { 1 } }, .inserted_at = 7, .reason = "too long" },
        { .uuid = { { 2 } }, .inserted_at = 3, .reason = "no number" },
    };
    struct listing l = { 0 };

    plan(f, &r, 0, 100);
    OK(f, META(f, chunk_done, &r, TARGET, 0, &a, false, rejects, 2, &f->err));
    OK(f, META(f, reject_list, &r.id, 0, add_reason, &l, &f->err));
    assert_string_equal(l.text, "3:no number 7:too long ");
    l = (struct listing){ 0 };
    OK(f, META(f, reject_list, &r.id, 1, add_reason, &l, &f->err));
    assert_string_equal(l.text, "3:no number ");

    /* rejects of what is not there are void */
    OK(f, META(f, chunk_absent, &r, 0, &f->err));
    l = (struct listing){ 0 };
    OK(f, META(f, reject_list, &r.id, 0, add_reason, &l, &f->err));
    assert_string_equal(l.text, "");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(plans_are_kept_in_order),
        CASE(what_was_never_sent_can_be_dropped),
        CASE(a_bad_plan_is_our_mistake),
        CASE(chunks_of_other_runs_are_taken),
        CASE(delivered_ranges_are_taken_only_when_skipping),
        CASE(a_chunk_goes_its_way),
        CASE(a_run_that_commits_as_a_whole_is_delivered_at_its_end),
        CASE(an_ended_run_keeps_what_it_may_have_sent),
        CASE(replacing_cuts_what_was_delivered_before),
        CASE(a_cut_range_remembers_the_key_it_came_under),
        CASE(ranges_of_a_generation_never_meet),
        CASE(a_part_that_comes_free_is_not_forgotten),
        CASE(a_part_without_events_does_not_hold_a_run_up),
        CASE(a_completed_run_starts_again_when_a_part_comes_free),
        CASE(a_part_that_was_delivered_after_all_is_settled),
        CASE(a_new_target_is_a_new_plan),
        CASE(rejects_are_kept_with_their_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
