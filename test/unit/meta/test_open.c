/* The file: identity, tokens, projects, schema numbers. */
#include "fixture.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "os/file.h"

static void keeps_its_identity(void **state)
{
    struct fixture *f = *state;
    struct tr_uuid a[2];
    struct tr_uuid b[2];

    OK(f, META(f, identity, &a[0], &a[1], &f->err));
    fixture_close(f);
    fixture_open(f);
    OK(f, META(f, identity, &b[0], &b[1], &f->err));
    assert_memory_equal(a, b, sizeof(a));
    assert_memory_not_equal(&a[0], &a[1], sizeof(a[0]));
}

static void keeps_only_hashes_of_tokens(void **state)
{
    struct fixture *f = *state;
    uint8_t hash[32] = { 1, 2, 3 };
    uint8_t other[32] = { 1, 2, 4 };
    bool known = true;

    OK(f, META(f, token_any, &known, &f->err));
    assert_false(known);
    OK(f, META(f, token_add, hash, "owner", &f->err));
    OK(f, META(f, token_add, hash, "owner again", &f->err));
    OK(f, META(f, token_any, &known, &f->err));
    assert_true(known);
    OK(f, META(f, token_known, hash, &known, &f->err));
    assert_true(known);
    OK(f, META(f, token_known, other, &known, &f->err));
    assert_false(known);
}

static bool count_projects(void *arg, const struct tr_project *p)
{
    int *n = arg;

    (*n)++;
    return p->id < 2; /* stops at the second */
}

static void gives_projects_ids_and_keeps_tokens_apart(void **state)
{
    struct fixture *f = *state;
    struct tr_project p;
    struct tr_project got;
    int n = 0;

    assert_int_equal(f->project.id, 1);
    FAILS(f, META(f, project_create, "second", "phc_first", &p, &f->err), TR_REFUSED,
          "meta.token_in_use");
    FAILS(f, META(f, project_create, "", "phc_x", &p, &f->err), TR_INVALID, "project.name");
    OK(f, META(f, project_create, "second", "", &p, &f->err));
    assert_int_equal(p.id, 2);
    assert_int_equal(strlen(p.capture_token), 44);
    OK(f, META(f, project_create, "third", "phc_third", &got, &f->err));
    OK(f, META(f, project_get, 2, &got, &f->err));
    assert_string_equal(got.capture_token, p.capture_token);
    assert_string_equal(got.name, "second");
    FAILS(f, META(f, project_get, 99, &got, &f->err), TR_INVALID, "meta.not_found");
    OK(f, META(f, project_list, count_projects, &n, &f->err));
    assert_int_equal(n, 2);
}

static void make_db(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void refuses_a_newer_schema(void **state)
{
    struct fixture *f = *state;
    struct tr_meta *m = NULL;

    fixture_close(f);
    make_db(f, "PRAGMA user_version = 1000");
    FAILS(f, tr_meta_sqlite_open(f->path, &m, &f->err), TR_REFUSED, "meta.newer");
    assert_null(m);
    make_db(f, "PRAGMA user_version = 6");
    fixture_open(f);
}

static void brings_an_older_schema_up_to_date(void **state)
{
    struct fixture *f = *state;
    struct tr_run made = schedule(f, &f->export.id, 0, 10, 0);
    struct tr_run r;

    fixture_close(f);
    make_db(f, "DROP INDEX run_due; DROP INDEX run_open; DROP TABLE run_day; DROP TABLE epoch; "
               "ALTER TABLE export DROP COLUMN began;"
               "ALTER TABLE delivered DROP COLUMN epoch; DROP INDEX run_bad;"
               "DROP INDEX run_quiet; DROP INDEX run_done; ALTER TABLE export DROP COLUMN doubtful;"
               "ALTER TABLE run DROP COLUMN is_live;"
               "CREATE INDEX run_due ON run(due, lo, id, export_id, backfill_id)"
               " WHERE due IS NOT NULL; PRAGMA user_version = 1");
    fixture_open(f);
    assert_true(claim(f, 10, &r));
    assert_memory_equal(&r.id, &made.id, sizeof(r.id));
    assert_false(r.is_live);
}

static void refuses_the_database_of_another_program(void **state)
{
    struct fixture *f = *state;
    struct tr_meta *m = NULL;
    struct tr_err err = { 0 };

    fixture_close(f);
    assert_int_equal(unlink(f->path), 0);
    make_db(f, "CREATE TABLE bookmarks (x)");
    assert_int_equal(tr_meta_sqlite_open(f->path, &m, &err), TR_REFUSED);
    assert_string_equal(err.id, "meta.not_ours");
    assert_int_equal(unlink(f->path), 0);
    OK(f, tr_file_replace(f->path,
                          TR_STR("this is no database, but long enough to look at: "
                                 "one hundred bytes and then some more of nothing at all"),
                          0600, &f->err));
    assert_int_equal(tr_meta_sqlite_open(f->path, &m, &err), TR_REFUSED);
    assert_string_equal(err.id, "meta.damaged");
    assert_int_equal(unlink(f->path), 0);
    fixture_open(f);
}

static void makes_a_file_that_others_cannot_read(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static bool count_lines(void *arg, const struct tr_log_line *line)
{
    int *n = arg;

    (void)line;
    (*n)++;
    return true;
}

/* A limit on file sizes stands for a disk that is full. */
static void a_full_disk_fails_a_verb_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;
    struct rlimit tight;
    struct tr_log_line line = { .export_id = f->export.id, .level = "info" };
    enum tr_rc rc = TR_OK;
    int kept = 0;

    memset(line.text, 'x', sizeof(line.text) - 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 512 * 1024; /* the write-ahead log grows to it */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    for (; rc == TR_OK && kept < 2000; kept += rc == TR_OK)
        rc = META(f, log_add, &line, &f->err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, TR_INTERNAL);

    struct tr_export_row row = { 0 };
    OK(f, META(f, export_get, &f->export.id, &row, &f->err));
    tr_buf_fini(&row.buf);
    OK(f, META(f, log_add, &line, &f->err)); /* there is room again */
    fixture_close(f);
    fixture_open(f);
    static const struct tr_uuid nil;
    int lines = 0;
    OK(f, META(f, log_list, &f->export.id, &nil, 0, count_lines, &lines, &f->err));
    assert_int_equal(lines, kept + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_its_identity, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(keeps_only_hashes_of_tokens, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(gives_projects_ids_and_keeps_tokens_apart, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(refuses_a_newer_schema, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(brings_an_older_schema_up_to_date, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(refuses_the_database_of_another_program, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_fails_a_verb_and_nothing_else, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(makes_a_file_that_others_cannot_read, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
