/* Attempts of runs next to others: what is delivered, held, left behind, replaced, told again. */
#include "runs.h"

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

static void a_run_that_failed_after_its_manifest_is_not_told_again_by_others(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Folder", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    /* The answer to the manifest is lost; before the next attempt somebody cancels the run. */
    fake_once(&fakes.script, FAKE_FINISH, 1, FAKE_AMBIGUOUS_DONE);
    assert_int_equal(attempt(&run, &err), TR_AMBIGUOUS);
    assert_int_equal(fakes.real->run_cancel(fakes.meta, &run.id, fakes.source.now, &run, &err),
                     TR_OK);
    (void)backfill_run((struct tr_range){ start, start + TR_US_PER_MIN / 2 }, TR_SKIP_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_int_equal(run.account.elsewhere, 30);
}

static void a_run_cancelled_before_its_manifest_leaves_its_range_to_others(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Folder", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_FINISH, 1, FAKE_TRANSIENT);
    assert_int_equal(attempt(&run, &err), TR_TRANSIENT);
    assert_int_equal(fakes.real->run_cancel(fakes.meta, &run.id, fakes.source.now, &run, &err),
                     TR_OK);
    (void)backfill_run(r, TR_SKIP_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_there("t", r, -1, 1);
    assert_int_equal(run.account.delivered + run.account.already_there, 60);
    assert_int_equal(run.account.elsewhere, 0);
}

static void a_replacement_waits_for_a_run_that_holds_a_part(void **state)
{
    struct tr_range r = { start, start + TR_US_PER_MIN };
    struct tr_run live;
    struct tr_run run;
    struct tr_err err;

    (void)state;
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    ingest(60);
    (void)live_run(r);
    fake_once(&fakes.script, FAKE_COMMIT, 3, FAKE_TRANSIENT);
    assert_int_equal(attempt(&live, &err), TR_TRANSIENT);
    (void)backfill_run(r, TR_REPLACE_DELIVERED);
    assert_int_equal(attempt(&run, &err), TR_TRANSIENT);
    assert_string_equal(err.id, "delivery.held");
    assert_int_equal(run.account.delivered, 20); /* what the live run had delivered */
    fakes.source.now += TR_US_PER_S;
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_memory_equal(&run.id, &live.id, sizeof(run.id));
    assert_int_equal(attempt(&run, &err), TR_OK);
    assert_int_equal(run.account.delivered, 60);
    assert_int_equal(run.account.elsewhere, 0);
    assert_there("t", r, -1, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        CASE(a_run_that_failed_after_its_manifest_is_not_told_again_by_others),
        CASE(a_run_cancelled_before_its_manifest_leaves_its_range_to_others),
        CASE(a_replacement_waits_for_a_run_that_holds_a_part),
        CASE(what_retention_took_is_refused_not_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
