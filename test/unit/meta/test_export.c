/* Exports as rows: create, update, list, pause, delete. */
#include "fixture.h"

static void keeps_body_and_secrets(void **state)
{
    struct fixture *f = *state;
    struct tr_export_row row = { 0 };

    OK(f, META(f, export_get, &f->export.id, &row, &f->err));
    assert_true(tr_str_is(row.body, "{\"name\":\"e\"}"));
    assert_true(tr_str_is(row.sealed, "sealed"));
    assert_true(tr_str_is(row.target_text, "postgres://there"));
    assert_int_equal(row.target, TARGET);
    assert_int_equal(row.version, 1);
    assert_int_equal(row.project, f->project.id);
    tr_buf_fini(&row.buf);
}

static void refuses_an_export_of_no_project(void **state)
{
    struct fixture *f = *state;
    static char text[] = "x";
    struct tr_export e = { .project = 77, .target_text = text };

    FAILS(f, META(f, export_create, &e, TR_STR("{}"), TR_STR(""), &f->err), TR_INVALID,
          "meta.not_found");
}

static void update_raises_the_version_and_leaves_paused_alone(void **state)
{
    struct fixture *f = *state;
    static char text[] = "elsewhere";
    struct tr_export e = { .id = f->export.id, .target = UINT64_MAX, .target_text = text };
    struct tr_export_row row = { 0 };

    OK(f, META(f, export_pause, &e.id, true, 5, &f->err));
    OK(f, META(f, export_update, &e, TR_STR("{\"n\":2}"), TR_STR("s2"), &f->err));
    OK(f, META(f, export_get, &e.id, &row, &f->err));
    assert_true(tr_str_is(row.body, "{\"n\":2}"));
    assert_true(tr_str_is(row.sealed, "s2"));
    assert_true(row.target == UINT64_MAX);
    assert_true(row.paused);
    assert_int_equal(row.last_paused_at, 5);
    assert_int_equal(row.version, e.version);
    assert_int_equal(row.version, 3);
    tr_buf_fini(&row.buf);
}

static void an_update_of_what_changed_meanwhile_is_refused(void **state)
{
    struct fixture *f = *state;
    static char text[] = "t";
    struct tr_export e = { .id = f->export.id, .target_text = text, .version = 1 };

    OK(f, META(f, export_update, &e, TR_STR("{}"), TR_STR(""), &f->err));
    e.version = 1;
    FAILS(f, META(f, export_update, &e, TR_STR("{}"), TR_STR(""), &f->err), TR_REFUSED,
          "meta.changed");
}

static void pausing_twice_keeps_the_first_instant(void **state)
{
    struct fixture *f = *state;
    struct tr_export_row row = { 0 };

    OK(f, META(f, export_pause, &f->export.id, true, 5, &f->err));
    OK(f, META(f, export_pause, &f->export.id, true, 9, &f->err));
    OK(f, META(f, export_pause, &f->export.id, false, 12, &f->err));
    OK(f, META(f, export_get, &f->export.id, &row, &f->err));
    assert_false(row.paused);
    assert_int_equal(row.last_paused_at, 5);
    tr_buf_fini(&row.buf);
}

static bool count(void *arg, const struct tr_export_row *row)
{
    struct {
        struct fixture *f;
        int n;
    } *c = arg;
    struct tr_export_row again = { 0 };

    /* a callback may call any verb */
    OK(c->f, META(c->f, export_get, &row->id, &again, &c->f->err));
    assert_true(tr_str_eq(again.body, row->body));
    tr_buf_fini(&again.buf);
    c->n++;
    return true;
}

static void lists_by_project_without_deleted_ones(void **state)
{
    struct fixture *f = *state;
    struct {
        struct fixture *f;
        int n;
    } c = { f, 0 };
    struct tr_export second = fixture_export(f);
    struct tr_export_row row = { 0 };

    OK(f, META(f, export_list, 0, count, &c, &f->err));
    assert_int_equal(c.n, 2);
    OK(f, META(f, export_delete, &second.id, 1, &f->err));
    c.n = 0;
    OK(f, META(f, export_list, f->project.id, count, &c, &f->err));
    assert_int_equal(c.n, 1);
    c.n = 0;
    OK(f, META(f, export_list, 55, count, &c, &f->err));
    assert_int_equal(c.n, 0);

    OK(f, META(f, export_get, &second.id, &row, &f->err));
    assert_true(row.deleted);
    tr_buf_fini(&row.buf);
    FAILS(f, META(f, export_pause, &second.id, true, 1, &f->err), TR_INVALID, "meta.not_found");
}

static void deleting_stops_runs_and_backfills(void **state)
{
    struct fixture *f = *state;
    struct tr_run running = claimed(f, 0, 10);
    struct tr_run waiting = schedule(f, &f->export.id, 10, 20, 0);
    struct tr_backfill b = { .export_id = f->export.id, .range = { 0, 10 } };
    struct tr_run r;
    bool cancel = false;

    OK(f, META(f, backfill_create, &b, TARGET, &f->err));
    OK(f, META(f, export_delete, &f->export.id, 50, &f->err));
    OK(f, META(f, run_get, &waiting.id, &r, &f->err));
    assert_int_equal(r.state, TR_RUN_CANCELLED);
    assert_int_equal(r.finished_at, 50);
    OK(f, META(f, run_renew, &running.id, running.fence, 60, &cancel, &f->err));
    assert_true(cancel);
    OK(f, META(f, backfill_get, &b.id, &b, &f->err));
    assert_int_equal(b.state, TR_RUN_CANCELLED);

    /* its worker never comes back: the next look at the queue ends the run */
    assert_false(claim(f, 100, &r));
    OK(f, META(f, run_get, &running.id, &r, &f->err));
    assert_int_equal(r.state, TR_RUN_CANCELLED);
    FAILS(f, META(f, run_retry, &running.id, 200, &r, &f->err), TR_REFUSED, "export.deleted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_body_and_secrets, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(refuses_an_export_of_no_project, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(update_raises_the_version_and_leaves_paused_alone,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_update_of_what_changed_meanwhile_is_refused,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(pausing_twice_keeps_the_first_instant, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(lists_by_project_without_deleted_ones, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(deleting_stops_runs_and_backfills, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
