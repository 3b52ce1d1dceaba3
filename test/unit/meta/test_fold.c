/* Many runs that have ended: what is asked all the time does not grow with them, and old ones
 * become numbers of their day. */
#include <sqlite3.h>
#include <time.h>

#include "base/time.h"
#include "fixture.h"

enum { MANY = 20000, STEP_S = 10, A_DAY = 86400 / STEP_S };

static void exec(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* MANY completed runs of the fixture's export, of STEP_S each. */
static void fill(struct fixture *f)
{
    char sql[1024];

    (void)snprintf(sql, sizeof(sql),
                   "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                   "INSERT INTO run (id, export_id, project, lo, hi, state, on_delivered,"
                   " generation, created_at, finished_at, not_before, stored, selected, delivered)"
                   " SELECT randomblob(16), (SELECT id FROM export LIMIT 1), 1, i * %d, (i + 1) *"
                   " %d, 3, 0, 0, i * %d, (i + 1) * %d, 0, i %% 2, i %% 2, i %% 2 FROM n",
                   MANY - 1, STEP_S * 1000000, STEP_S * 1000000, STEP_S * 1000000,
                   STEP_S * 1000000);
    exec(f, sql);
}

static double cpu_s(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool count_run(void *arg, const struct tr_run *run)
{
    (void)run;
    ++*(int *)arg;
    return true;
}

static void backlog_and_open_runs_cost_the_same_behind_many_that_have_ended(void **state)
{
    struct fixture *f = *state;
    struct tr_run_query open = { .export_id = f->export.id,
                                 .states = 1u << TR_RUN_STARTING | 1u << TR_RUN_RUNNING,
                                 .limit = 100 };
    struct tr_run_query bad = { .export_id = f->export.id,
                                .states = 1u << TR_RUN_FAILED | 1u << TR_RUN_CANCELLED,
                                .interval = { 5, 15 },
                                .by_interval = true,
                                .limit = 1 };
    const int64_t end = (int64_t)MANY * STEP_S * TR_US_PER_S;
    struct tr_backlog b;
    struct tr_run r;
    int n = 0;

    fill(f);
    (void)schedule(f, &f->export.id, end, end + 10, 0);
    assert_true(claim(f, 10, &r));
    finish(f, &r, TR_RUN_FAILED);
    (void)schedule(f, &f->export.id, end + 10, end + 20, 0);
    (void)schedule(f, &f->export.id, end + 20, end + 30, INT64_MAX);

    double before = cpu_s();
    for (int i = 0; i < 100; i++) {
        OK(f, META(f, backlog, &f->export.id, &b, &f->err));
        OK(f, META(f, run_list, &open, count_run, &n, &f->err));
        OK(f, META(f, run_list, &bad, count_run, &n, &f->err));
        assert_false(claim(f, -1, &r));
    }
    /* Reading all of them 300 times takes several seconds. */
    assert_true(cpu_s() - before < 1.0);
    assert_int_equal(n, 200);
    assert_int_equal(b.open, 2);
    assert_int_equal(b.scheduled, 2);
    assert_int_equal(b.failed, 1);
    assert_int_equal(b.oldest_lo, end + 10);
    assert_int_equal(b.oldest_hi, end + 20);
}

struct days {
    struct tr_day v[8];
    size_t n;
};

static bool take_day(void *arg, const struct tr_day *d)
{
    struct days *days = arg;

    assert_true(days->n < 8);
    days->v[days->n++] = *d;
    return true;
}

static size_t fold(struct fixture *f, int64_t quiet_before, int64_t before)
{
    size_t n = 0;
    size_t sum = 0;

    do {
        OK(f, META(f, run_fold, quiet_before, before, 5000, &n, &f->err));
        sum += n;
    } while (n > 0);
    return sum;
}

static void old_runs_become_numbers_of_their_day(void **state)
{
    const int64_t day = TR_US_PER_DAY;
    struct fixture *f = *state;
    struct days days = { 0 };

    fill(f);
    /* quiet ones of all days; those with rows of the first day only */
    assert_int_equal(fold(f, INT64_MAX, day), MANY / 2 + A_DAY / 2 - 1);
    OK(f, META(f, day_list, &f->export.id, 8, take_day, &days, &f->err));
    assert_int_equal(days.n, 3);
    assert_int_equal(days.v[2].day, 0);
    assert_int_equal(days.v[2].runs, A_DAY - 1); /* one ended at midnight */
    assert_int_equal(days.v[2].account.delivered, A_DAY / 2 - 1);
    assert_int_equal(days.v[1].day, day);
    assert_int_equal(days.v[1].runs, A_DAY / 2);
    assert_int_equal(days.v[1].account.stored, 0);
    assert_int_equal(fold(f, INT64_MAX, day), 0);
    assert_int_equal(fold(f, INT64_MAX, INT64_MAX), MANY / 2 - A_DAY / 2 + 1);
}

static void what_a_folded_run_delivered_stays_known_with_its_account(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = claimed(f, 0, 100);
    struct tr_reject reject = { .run_id = r.id, .inserted_at = 5, .reason = "too long" };
    struct tr_account a = { .stored = 10, .selected = 10, .delivered = 9, .rejected = 1 };
    struct tr_chunk *chunks = NULL;
    size_t n = 0;

    plan(f, &r, 0, 100);
    send_chunk(f, &r, 0);
    OK(f, META(f, chunk_done, &r, TARGET, 0, &a, true, &reject, 1, &f->err));
    r.account = a;
    r.finished_at = 100;
    finish(f, &r, TR_RUN_COMPLETED);
    assert_int_equal(fold(f, 50, 50), 0);
    assert_int_equal(fold(f, 101, 101), 1);
    FAILS(f, META(f, run_get, &r.id, &r, &f->err), TR_INVALID, "meta.not_found");
    assert_delivered(f, 0, 100, "0-100/0");
    OK(f, META(f, plan_get, &r.id, &chunks, &n, &f->err));
    assert_int_equal(n, 1);
    assert_int_equal(chunks[0].account.rejected, 1);
    free(chunks);
    fixture_close(f);
    fixture_open(f);
    struct tr_run next = claimed(f, 100, 200);
    assert_taken(f, &next, "");
}

static void runs_that_are_open_failed_or_of_a_backfill_stay(void **state)
{
    struct fixture *f = *state;
    struct tr_run r = backfilled(f, TR_SKIP_DELIVERED, 0, 10);

    r.finished_at = 10;
    finish(f, &r, TR_RUN_COMPLETED);
    r = claimed(f, 10, 20);
    r.finished_at = 20;
    finish(f, &r, TR_RUN_FAILED);
    (void)claimed(f, 20, 30);
    (void)schedule(f, &f->export.id, 30, 40, 0);
    assert_int_equal(fold(f, INT64_MAX, INT64_MAX), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(backlog_and_open_runs_cost_the_same_behind_many_that_have_ended),
        CASE(old_runs_become_numbers_of_their_day),
        CASE(what_a_folded_run_delivered_stays_known_with_its_account),
        CASE(runs_that_are_open_failed_or_of_a_backfill_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
