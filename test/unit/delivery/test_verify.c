/* Does verify say what is so? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "fakes.h"

enum { MOST = 64 };

static struct tr_uuid export_id;
static int64_t start;
static struct tr_verdict verdicts[MOST];
static size_t n_verdicts;

static int set_up(void **state)
{
    (void)state;
    fakes_open();
    start = fakes.source.now;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fakes_close();
    return 0;
}

static int64_t minute(int n)
{
    return start + n * TR_US_PER_MIN;
}

/* n minutes with an event a second. */
static void ingest_minutes(int n)
{
    for (int i = 0; i < n * 60; i++) {
        fake_ingest(&fakes.source, 1, i % 3 == 0, false);
        fakes.source.now = fakes.source.now / TR_US_PER_S * TR_US_PER_S + TR_US_PER_S;
    }
}

static enum tr_rc deliver(struct tr_run *run)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX };
    struct tr_attempt a = { 0 };
    struct tr_err err = { 0 };
    bool found = false;
    int64_t next = 0;

    assert_int_equal(fakes.real->run_claim(fakes.meta, "w", false, fakes.source.now, TR_US_PER_MIN,
                                           run, &found, &next, &err),
                     TR_OK);
    assert_true(found);
    enum tr_rc rc = tr_deliver_run(&cx, &fakes.delivery, run, &a, &err);
    run->state = rc == TR_OK ? TR_RUN_COMPLETED : TR_RUN_FAILED;
    run->finished_at = fakes.source.now;
    (void)snprintf(run->error, sizeof(run->error), "%s", err.cause);
    assert_int_equal(
        fakes.real->run_finish(fakes.meta, run, a.target, rc == TR_OK && a.deliver_run, &err),
        TR_OK);
    return rc;
}

static enum tr_rc deliver_minutes(int from, int to)
{
    struct tr_err err = { 0 };
    struct tr_run run = { .export_id = export_id,
                          .project = 1,
                          .interval = { minute(from), minute(to) },
                          .created_at = fakes.source.now };

    assert_int_equal(fakes.real->run_schedule(fakes.meta, &run, &err), TR_OK);
    return deliver(&run);
}

static enum tr_rc backfill_minutes(int from, int to, enum tr_on_delivered how)
{
    struct tr_err err = { 0 };
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;
    struct tr_range r = { minute(from), minute(to) };
    struct tr_backfill b = { .export_id = export_id,
                             .project = 1,
                             .range = r,
                             .cursor = r.lo,
                             .on_delivered = how,
                             .parallel = 1,
                             .created_at = fakes.source.now };

    assert_int_equal(tr_delivery_load(&fakes.delivery, &export_id, &e, &conf, &err), TR_OK);
    assert_int_equal(fakes.real->backfill_create(fakes.meta, &b, e->target, &err), TR_OK);
    tr_export_free(e);
    tr_conf_free(conf);
    struct tr_run run = { .export_id = export_id,
                          .backfill_id = b.id,
                          .project = 1,
                          .interval = r,
                          .on_delivered = how,
                          .generation = b.generation,
                          .created_at = fakes.source.now };
    assert_int_equal(fakes.real->run_backfill(fakes.meta, &run, &err), TR_OK);
    return deliver(&run);
}

static bool take(void *arg, const struct tr_verdict *v)
{
    (void)arg;
    assert_true(n_verdicts < MOST);
    if (fakes.noisy)
        print_message("# %d %s\n", (int)v->what, v->text);
    verdicts[n_verdicts++] = *v;
    return true;
}

static void verify(int from, int to, bool recount)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX };
    struct tr_err err = { 0 };
    char text[512];

    n_verdicts = 0;
    if (tr_verify(&cx, &fakes.delivery, &export_id, (struct tr_range){ minute(from), minute(to) },
                  recount, take, NULL, &err) != TR_OK)
        fail_msg("%s", tr_err_text(&err, text, sizeof(text)));
}

static void assert_all_ok(void)
{
    for (size_t i = 0; i < n_verdicts; i++) {
        if (verdicts[i].what != TR_VERDICT_OK)
            fail_msg("verdict %zu is %d: %s", i, (int)verdicts[i].what, verdicts[i].text);
    }
}

static void create(const char *type)
{
    export_id = fake_export(fake_body("every 1 minutes", type, "t", 1, ""));
}

/* ---- cases ---- */

static void delivered_intervals_are_all_right_one_by_one(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(deliver_minutes(i, i + 1), TR_OK);
    verify(0, 5, true);
    assert_int_equal(n_verdicts, 5);
    assert_all_ok();
    assert_int_equal(verdicts[2].range.lo, minute(2));
    assert_int_equal(verdicts[2].range.hi, minute(3));
    assert_int_equal(verdicts[2].stored, 60);
    assert_int_equal(verdicts[2].account.delivered, 60);
    assert_int_equal(verdicts[2].found_there, 60);
}

static void runs_that_commit_as_a_whole_are_verified_too(void **state)
{
    (void)state;
    create("Folder");
    ingest_minutes(2);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    assert_int_equal(deliver_minutes(1, 2), TR_OK);
    verify(0, 2, true);
    assert_int_equal(n_verdicts, 2);
    assert_all_ok();
}

static void one_row_deleted_at_the_target_names_its_interval(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(deliver_minutes(i, i + 1), TR_OK);
    fake_remove_one(fake_place("t"), &fakes.source.events[75].uuid);
    verify(0, 3, false);
    assert_all_ok();
    verify(0, 3, true);
    assert_int_equal(verdicts[0].what, TR_VERDICT_OK);
    assert_int_equal(verdicts[1].what, TR_VERDICT_LOST_AT_TARGET);
    assert_int_equal(verdicts[1].expected_there, 60);
    assert_int_equal(verdicts[1].found_there, 59);
    assert_int_equal(verdicts[2].what, TR_VERDICT_OK);
}

static void copies_at_the_target_are_named(void **state)
{
    struct fake_place *p;

    (void)state;
    create("Table");
    ingest_minutes(2);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    assert_int_equal(deliver_minutes(1, 2), TR_OK);
    p = fake_place("t");
    p->rows[p->n - 1] = p->rows[p->n - 1];
    p->rows = realloc(p->rows, (p->n + 1) * sizeof(*p->rows));
    p->cap = p->n + 1;
    p->rows[p->n] = p->rows[p->n - 1];
    p->n++;
    verify(0, 2, true);
    assert_int_equal(verdicts[0].what, TR_VERDICT_OK);
    assert_int_equal(verdicts[1].what, TR_VERDICT_COPIES_AT_TARGET);
    assert_int_equal(verdicts[1].copies_there, 1);
}

static void rejected_and_excluded_rows_are_not_missed_at_the_target(void **state)
{
    (void)state;
    export_id = fake_export("{\"name\": \"x\", \"interval\": \"every 1 minutes\", \"destination\":"
                            " {\"type\": \"Table\", \"config\": {\"place\": \"t\","
                            " \"exclude_events\": [\"kind-1\"]}}}");
    fake_ingest(&fakes.source, 1, 0, true);
    ingest_minutes(1);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    /* The filters of today do not matter for what was delivered yesterday. */
    fake_export_update(&export_id, fake_body("every 1 minutes", "Table", "t", 1, ""));
    verify(0, 1, true);
    assert_all_ok();
    assert_int_equal(verdicts[0].account.rejected, 1);
    assert_true(verdicts[0].account.excluded > 0);
}

static void an_interval_that_no_run_took_is_missing(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(4);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    assert_int_equal(deliver_minutes(2, 4), TR_OK);
    verify(0, 4, false);
    assert_int_equal(n_verdicts, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(verdicts[i].what, i == 1 ? TR_VERDICT_MISSING : TR_VERDICT_OK);
    assert_int_equal(verdicts[1].range.lo, minute(1));
}

static void a_failed_run_is_named_with_its_reason(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(1);
    fake_once(&fakes.script, FAKE_COMMIT, 2, FAKE_REFUSED);
    assert_int_equal(deliver_minutes(0, 1), TR_REFUSED);
    verify(0, 1, false);
    assert_int_equal(verdicts[0].what, TR_VERDICT_MISSING);
    assert_non_null(strstr(verdicts[0].text, "not allowed"));
    assert_non_null(strstr(verdicts[0].text, "50 rows"));
}

static void an_interval_whose_run_is_open_is_pending(void **state)
{
    struct tr_err err = { 0 };
    struct tr_run run = { .project = 1, .created_at = 1 };

    (void)state;
    create("Table");
    ingest_minutes(1);
    run.export_id = export_id;
    run.interval = (struct tr_range){ minute(0), minute(1) };
    assert_int_equal(fakes.real->run_schedule(fakes.meta, &run, &err), TR_OK);
    verify(0, 1, false);
    assert_int_equal(verdicts[0].what, TR_VERDICT_PENDING);
    assert_memory_equal(&verdicts[0].run_id, &run.id, sizeof(run.id));
}

static void an_interval_that_has_not_ended_is_pending(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(1);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    fake_ingest(&fakes.source, 1, 0, false);
    verify(0, 5, false);
    assert_int_equal(n_verdicts, 2);
    assert_int_equal(verdicts[1].what, TR_VERDICT_PENDING);
}

static void what_is_delivered_of_an_interval_that_goes_on_is_judged(void **state)
{
    (void)state;
    export_id = fake_export(fake_body("hour", "Table", "t", 1, ""));
    ingest_minutes(3);
    assert_int_equal(backfill_minutes(0, 2, TR_SKIP_DELIVERED), TR_OK);
    verify(0, 2, true);
    assert_int_equal(n_verdicts, 1);
    assert_int_equal(verdicts[0].found_there, 120);
    fake_place("t")->rows[7] = fake_place("t")->rows[--fake_place("t")->n];
    verify(0, 2, true);
    assert_int_equal(verdicts[0].what, TR_VERDICT_LOST_AT_TARGET);
}

static void a_longer_frequency_asks_for_nothing_before_the_export_began(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(90);
    assert_int_equal(deliver_minutes(61, 90), TR_OK); /* it began at 61 */
    fake_export_update(&export_id, fake_body("hour", "Table", "t", 1, ""));
    verify(61, 90, true);
    assert_int_equal(n_verdicts, 1);
    assert_int_equal(verdicts[0].range.lo, minute(61));
    assert_all_ok();
    assert_int_equal(verdicts[0].stored, 29 * 60);
}

static void a_backfill_that_begins_within_an_interval_is_judged_from_there(void **state)
{
    (void)state;
    export_id = fake_export(fake_body("hour", "Table", "t", 1, ""));
    ingest_minutes(150);
    assert_int_equal(deliver_minutes(120, 150), TR_OK);
    assert_int_equal(backfill_minutes(30, 60, TR_SKIP_DELIVERED), TR_OK);
    verify(30, 120, true);
    assert_all_ok();
    assert_int_equal(verdicts[0].range.lo, minute(30));
    assert_int_equal(verdicts[0].found_there, 30 * 60);

    /* what was asked for and not delivered is missing all the same */
    fake_once(&fakes.script, FAKE_COMMIT, 1, FAKE_REFUSED);
    assert_int_equal(backfill_minutes(15, 30, TR_SKIP_DELIVERED), TR_REFUSED);
    verify(15, 60, false);
    assert_int_equal(verdicts[0].what, TR_VERDICT_MISSING);
    assert_int_equal(verdicts[0].range.lo, minute(15));
}

static void a_missing_interval_without_events_is_all_right(void **state)
{
    (void)state;
    create("Table");
    fakes.source.now = minute(3);
    verify(0, 3, true);
    assert_int_equal(n_verdicts, 3);
    assert_all_ok();
}

static void intervals_that_one_chunk_covers_get_one_verdict(void **state)
{
    (void)state;
    fakes.delivery.chunk_rows = 100000;
    create("Table");
    ingest_minutes(6);
    assert_int_equal(deliver_minutes(0, 4), TR_OK);
    assert_int_equal(deliver_minutes(4, 5), TR_OK);
    assert_int_equal(deliver_minutes(5, 6), TR_OK);
    verify(1, 6, true);
    assert_int_equal(n_verdicts, 3);
    assert_int_equal(verdicts[0].range.lo, minute(0));
    assert_int_equal(verdicts[0].range.hi, minute(4));
    assert_all_ok();
}

static void a_change_of_frequency_keeps_the_sums(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(10);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    assert_int_equal(deliver_minutes(1, 2), TR_OK);
    fake_export_update(&export_id, fake_body("every 5 minutes", "Table", "t", 1, ""));
    assert_int_equal(deliver_minutes(2, 5), TR_OK);
    assert_int_equal(deliver_minutes(5, 10), TR_OK);
    verify(0, 10, true);
    assert_int_equal(n_verdicts, 2);
    assert_all_ok();
    assert_int_equal(verdicts[0].stored, 300);
}

static void replaced_and_appended_ranges_verify(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(deliver_minutes(i, i + 1), TR_OK);
    assert_int_equal(backfill_minutes(0, 2, TR_REPLACE_DELIVERED), TR_OK);
    verify(0, 4, true);
    assert_all_ok();
    assert_int_equal(backfill_minutes(2, 4, TR_APPEND_DELIVERED), TR_OK);
    verify(0, 4, true);
    assert_all_ok();
    fake_remove_one(fake_place("t"), &fakes.source.events[10].uuid);
    verify(0, 4, true);
    assert_int_equal(verdicts[0].what, TR_VERDICT_LOST_AT_TARGET);
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

static void counts_that_differ_are_unbalanced(void **state)
{
    struct tr_source_ops lying = *fakes.source.base.ops;

    (void)state;
    create("Table");
    ingest_minutes(1);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    true_counts = lying.counts;
    lying.counts = counts_one_more;
    fakes.source.base.ops = &lying;
    verify(0, 1, false);
    assert_int_equal(verdicts[0].what, TR_VERDICT_UNBALANCED);
}

static void what_retention_took_is_still_balanced_by_counts(void **state)
{
    (void)state;
    create("Table");
    ingest_minutes(2);
    assert_int_equal(deliver_minutes(0, 1), TR_OK);
    assert_int_equal(deliver_minutes(1, 2), TR_OK);
    fakes.source.floor = minute(2);
    verify(0, 2, false);
    assert_int_equal(n_verdicts, 2);
    assert_all_ok();
    assert_int_equal(verdicts[0].stored, 60);
}

static void a_range_of_very_many_intervals_is_told_in_few_verdicts(void **state)
{
    (void)state;
    export_id = fake_export(fake_body("every 5 seconds", "Table", "t", 1, ""));
    fakes.source.now = start + 10 * TR_US_PER_DAY;
    start = fakes.source.now;
    ingest_minutes(1);
    fakes.source.now = start + 20 * TR_US_PER_DAY;
    assert_int_equal(deliver_minutes(0, 20 * 24 * 60), TR_OK);
    verify(-10 * 24 * 60, 20 * 24 * 60, true);
    assert_true(n_verdicts > 0);
    assert_all_ok();
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(delivered_intervals_are_all_right_one_by_one),
        CASE(runs_that_commit_as_a_whole_are_verified_too),
        CASE(one_row_deleted_at_the_target_names_its_interval),
        CASE(copies_at_the_target_are_named),
        CASE(rejected_and_excluded_rows_are_not_missed_at_the_target),
        CASE(an_interval_that_no_run_took_is_missing),
        CASE(a_failed_run_is_named_with_its_reason),
        CASE(an_interval_whose_run_is_open_is_pending),
        CASE(an_interval_that_has_not_ended_is_pending),
        CASE(what_is_delivered_of_an_interval_that_goes_on_is_judged),
        CASE(a_longer_frequency_asks_for_nothing_before_the_export_began),
        CASE(a_backfill_that_begins_within_an_interval_is_judged_from_there),
        CASE(a_missing_interval_without_events_is_all_right),
        CASE(intervals_that_one_chunk_covers_get_one_verdict),
        CASE(a_change_of_frequency_keeps_the_sums),
        CASE(replaced_and_appended_ranges_verify),
        CASE(counts_that_differ_are_unbalanced),
        CASE(what_retention_took_is_still_balanced_by_counts),
        CASE(a_range_of_very_many_intervals_is_told_in_few_verdicts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
