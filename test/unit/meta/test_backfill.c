/* Backfills and logs. */
#include "fixture.h"

#include <sqlite3.h>

static struct tr_backfill make(struct fixture *f, enum tr_on_delivered on_delivered)
{
    struct tr_backfill b = { .export_id = f->export.id,
                             .project = f->project.id,
                             .range = { 0, 100 },
                             .on_delivered = on_delivered,
                             .parallel = 3,
                             .rows_total = 1234 };

    OK(f, META(f, backfill_create, &b, TARGET, &f->err));
    return b;
}

static void add_run(struct fixture *f, const struct tr_backfill *b, int64_t lo, int64_t hi)
{
    struct tr_run r = { .export_id = f->export.id, .backfill_id = b->id, .interval = { lo, hi } };

    OK(f, META(f, run_backfill, &r, &f->err));
}

static void replace_and_append_get_generations_of_their_own(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(make(f, TR_SKIP_DELIVERED).generation, 0);
    assert_int_equal(make(f, TR_REPLACE_DELIVERED).generation, 1);
    assert_int_equal(make(f, TR_APPEND_DELIVERED).generation, 2);
    assert_int_equal(make(f, TR_SKIP_DELIVERED).generation, 0);
    assert_int_equal(make(f, TR_REPLACE_DELIVERED).generation, 3);
}

static void progress_is_what_the_runs_say(void **state)
{
    struct fixture *f = *state;
    struct tr_backfill b = make(f, TR_SKIP_DELIVERED);
    struct tr_run r[2];

    assert_int_equal(b.state, TR_RUN_STARTING);
    assert_int_equal(b.cursor, 0);
    add_run(f, &b, 0, 10);
    add_run(f, &b, 10, 20);
    add_run(f, &b, 20, 30);
    struct tr_run behind = { .export_id = f->export.id,
                             .backfill_id = b.id,
                             .interval = { 20, 30 } };
    FAILS(f, META(f, run_backfill, &behind, &f->err), TR_REFUSED, "meta.behind_cursor");
    assert_true(claim(f, 10, &r[0]));
    assert_true(claim(f, 10, &r[1]));
    r[0].account.stored = 40;
    finish(f, &r[0], TR_RUN_COMPLETED);
    finish(f, &r[1], TR_RUN_FAILED);
    assert_true(claim(f, 10, &r[0]));
    plan(f, &r[0], 20, 25);
    done(f, &r[0], 0, true); /* 10 rows of a run that is still at work */

    OK(f, META(f, backfill_get, &b.id, &b, &f->err));
    assert_int_equal(b.state, TR_RUN_RUNNING);
    assert_int_equal(b.cursor, 30);
    assert_int_equal(b.parallel, 3);
    assert_int_equal(b.total_runs, 3);
    assert_int_equal(b.finished_runs, 2);
    assert_int_equal(b.failed_runs, 1);
    assert_int_equal(b.rows_done, 50);
    assert_int_equal(b.rows_total, 1234);
    assert_true(b.started_at > 0);
}

static bool count(void *arg, const struct tr_backfill *b)
{
    int *n = arg;

    (void)b;
    (*n)++;
    return true;
}

static void lists_those_of_an_export_or_all_open_ones(void **state)
{
    struct fixture *f = *state;
    static const struct tr_uuid nil;
    struct tr_backfill a = make(f, TR_SKIP_DELIVERED);
    int n = 0;

    (void)make(f, TR_SKIP_DELIVERED);
    OK(f, META(f, backfill_finish, &a.id, TR_RUN_COMPLETED, 5, &f->err));
    OK(f, META(f, backfill_list, &f->export.id, count, &n, &f->err));
    assert_int_equal(n, 2);
    n = 0;
    OK(f, META(f, backfill_list, &nil, count, &n, &f->err));
    assert_int_equal(n, 1);
}

static void cancelling_stops_its_runs(void **state)
{
    struct fixture *f = *state;
    struct tr_backfill b = make(f, TR_SKIP_DELIVERED);
    struct tr_run running;
    struct tr_run r;
    bool cancel = false;

    add_run(f, &b, 0, 10);
    add_run(f, &b, 10, 20);
    assert_true(claim(f, 10, &running));
    OK(f, META(f, backfill_finish, &b.id, TR_RUN_CANCELLED, 77, &f->err));
    OK(f, META(f, run_renew, &running.id, running.fence, 500, &cancel, &f->err));
    assert_true(cancel);
    assert_false(claim(f, 10, &r));
    OK(f, META(f, backfill_get, &b.id, &b, &f->err));
    assert_int_equal(b.state, TR_RUN_CANCELLED);
    assert_int_equal(b.finished_at, 77);
    assert_int_equal(b.finished_runs, 1);

    struct tr_run more = { .export_id = f->export.id, .backfill_id = b.id, .interval = { 20, 30 } };
    FAILS(f, META(f, run_backfill, &more, &f->err), TR_REFUSED, "backfill.ended");
    FAILS(f, META(f, backfill_finish, &b.id, TR_RUN_COMPLETED, 78, &f->err), TR_REFUSED,
          "backfill.ended");
    OK(f, META(f, backfill_finish, &b.id, TR_RUN_CANCELLED, 79, &f->err));
}

static void retrying_a_run_wakes_a_failed_backfill(void **state)
{
    struct fixture *f = *state;
    struct tr_backfill b = make(f, TR_SKIP_DELIVERED);
    struct tr_run r;

    add_run(f, &b, 0, 100);
    assert_true(claim(f, 10, &r));
    finish(f, &r, TR_RUN_FAILED);
    OK(f, META(f, backfill_finish, &b.id, TR_RUN_FAILED, 77, &f->err));
    OK(f, META(f, run_retry, &r.id, 80, &r, &f->err));
    OK(f, META(f, backfill_get, &b.id, &b, &f->err));
    assert_int_equal(b.state, TR_RUN_RUNNING);
    assert_int_equal(b.finished_at, 0);
    assert_int_equal(b.failed_runs, 0);
}

static void needs_a_range_and_an_export(void **state)
{
    struct fixture *f = *state;
    struct tr_backfill b = { .export_id = f->export.id, .range = { 5, 5 } };

    FAILS(f, META(f, backfill_create, &b, TARGET, &f->err), TR_INVALID, "backfill.empty_range");
    b = (struct tr_backfill){ .export_id = { { 5 } }, .range = { 5, 6 } };
    FAILS(f, META(f, backfill_create, &b, TARGET, &f->err), TR_INVALID, "meta.not_found");
}

/* ---- logs ---- */

static bool add_text(void *arg, const struct tr_log_line *line)
{
    struct listing *l = arg;

    if (l->used < 900)
        l->used += (size_t)snprintf(l->text + l->used, sizeof(l->text) - l->used, "%s/%s ",
                                    line->level, line->text);
    return true;
}

static void log_lines_come_newest_first(void **state)
{
    struct fixture *f = *state;
    struct tr_export other = fixture_export(f);
    struct tr_log_line line = { .export_id = f->export.id, .at = 1, .level = "info", .text = "a" };
    static const struct tr_uuid nil;
    struct tr_uuid run = { { 7 } };
    struct listing l = { 0 };

    OK(f, META(f, log_add, &line, &f->err));
    line.run_id = run;
    (void)snprintf(line.text, sizeof(line.text), "b");
    OK(f, META(f, log_add, &line, &f->err));
    line.export_id = other.id;
    line.run_id = nil;
    (void)snprintf(line.text, sizeof(line.text), "c");
    OK(f, META(f, log_add, &line, &f->err));

    OK(f, META(f, log_list, &f->export.id, &nil, 0, add_text, &l, &f->err));
    assert_string_equal(l.text, "info/b info/a ");
    l = (struct listing){ 0 };
    OK(f, META(f, log_list, &f->export.id, &run, 0, add_text, &l, &f->err));
    assert_string_equal(l.text, "info/b ");
    l = (struct listing){ 0 };
    OK(f, META(f, log_list, &f->export.id, &nil, 1, add_text, &l, &f->err));
    assert_string_equal(l.text, "info/b ");
}

static bool count_line(void *arg, const struct tr_log_line *line)
{
    int64_t *n = arg;

    n[0]++;
    n[1] = line->at; /* the oldest comes last */
    return true;
}

/* In one transaction: by verbs it would take as many syncs as lines. */
static void add_many_lines(struct fixture *f, int lines)
{
    static const char text[] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
                               " WHERE x < ?1) INSERT INTO log (export_id, n, at, level, text)"
                               " SELECT ?2, x, x, 'info', 'x' FROM c";
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;

    fixture_close(f);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_bind_int(stmt, 1, lines), SQLITE_OK);
    assert_int_equal(sqlite3_bind_blob(stmt, 2, f->export.id.b, 16, SQLITE_STATIC), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    fixture_open(f);
}

static void the_oldest_lines_go(void **state)
{
    struct fixture *f = *state;
    struct tr_log_line line = { .export_id = f->export.id, .level = "info", .text = "x" };
    static const struct tr_uuid nil;
    int64_t n[2] = { 0, 0 };

    add_many_lines(f, 9990); /* at 1 to 9990 */
    for (int i = 9991; i <= 10020; i++) {
        line.at = i;
        OK(f, META(f, log_add, &line, &f->err));
    }
    OK(f, META(f, log_list, &f->export.id, &nil, 0, count_line, n, &f->err));
    assert_int_equal(n[0], 10000);
    assert_int_equal(n[1], 21);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(replace_and_append_get_generations_of_their_own),
        CASE(progress_is_what_the_runs_say),
        CASE(lists_those_of_an_export_or_all_open_ones),
        CASE(cancelling_stops_its_runs),
        CASE(retrying_a_run_wakes_a_failed_backfill),
        CASE(needs_a_range_and_an_export),
        CASE(log_lines_come_newest_first),
        CASE(the_oldest_lines_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
