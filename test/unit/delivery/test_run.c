/* Attempts of runs, over real metadata, with every kind of failure at every call. */
#include "runs.h"

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

/* Sends `seconds` events, in chunks of ten at most, over so many connections; returns how many
 * chunks they were. */
static int chunks_of(int seconds, int connections)
{
    struct tr_range r = { start, start + 20 * TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    export_id = fake_export(fake_body("every 20 minutes", "Table", "t", connections, ""));
    ingest(seconds);
    fakes.source.now = r.hi;
    (void)live_run(r);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_true(tr_account_balances(&run.account));
    return fakes.script.calls[FAKE_COMMIT];
}

static void connections_get_equal_chunks_of_what_there_is(void **state)
{
    (void)state;
    assert_int_equal(chunks_of(45, 4), 8); /* of six, not five of which one has to wait */
}

static void one_connection_gets_whole_chunks(void **state)
{
    (void)state;
    assert_int_equal(chunks_of(45, 1), 5);
}

static void little_is_shared_too(void **state)
{
    (void)state;
    assert_int_equal(chunks_of(7, 4), 4);
}

static void chunks_do_not_get_too_small_to_be_shared(void **state)
{
    (void)state;
    fakes.delivery.chunk_rows = 100;
    assert_int_equal(chunks_of(25, 4), 3); /* of ten: a tenth of a whole one */
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
    assert_int_equal(fakes.real->run_claim(fakes.meta, "a", false, fakes.source.now, 1, &mine,
                                           &found, &next, &err),
                     TR_OK);
    fakes.source.now += TR_US_PER_MIN;
    assert_int_equal(fakes.real->run_claim(fakes.meta, "b", false, fakes.source.now, TR_US_PER_MIN,
                                           &other, &found, &next, &err),
                     TR_OK);
    assert_true(found);
    assert_int_equal(tr_deliver_run(&cx, &fakes.delivery, &mine, &a, &err), TR_CANCELLED);
    assert_string_equal(err.id, "meta.lost_claim");
    assert_int_equal(fake_place("t")->n, 0);
    assert_int_equal(tr_deliver_run(&cx, &fakes.delivery, &other, &a, &err), TR_OK);
    assert_there("t", r, -1, 1);
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
        CASE(connections_get_equal_chunks_of_what_there_is),
        CASE(one_connection_gets_whole_chunks),
        CASE(little_is_shared_too),
        CASE(chunks_do_not_get_too_small_to_be_shared),
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
        CASE(an_account_that_does_not_balance_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
