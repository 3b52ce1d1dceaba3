/* Short intervals in which nothing came in. */
#include "steps.h"

static struct tr_uuid export_id;

static void minutes_go_by(int n)
{
    for (int i = 0; i < n; i++) {
        fakes.source.now += minutes(1);
        schedule();
        work_all();
    }
}

static void they_are_bundled_until_something_comes_in(void **state)
{
    (void)state;
    engine->quiet_us = minutes(10);
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    minutes_go_by(1); /* the first is run whatever it holds */
    assert_int_equal(runs_of(&export_id)->n, 1);
    minutes_go_by(5);
    assert_int_equal(runs_of(&export_id)->n, 1);

    fakes.source.now += TR_US_PER_S;
    fake_ingest(&fakes.source, 1, 0, false);
    fakes.source.now = start + minutes(6) + TR_US_PER_S;
    minutes_go_by(1);
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 2);
    assert_interval(&l->v[1], start + minutes(1), start + minutes(7));
    assert_int_equal(l->v[1].account.delivered, 1);
}

static void a_bundle_ends_and_shows_that_the_place_is_there(void **state)
{
    (void)state;
    engine->quiet_us = minutes(10);
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    minutes_go_by(31);
    const struct run_list *l = runs_of(&export_id);
    assert_int_equal(l->n, 4);
    for (size_t i = 1; i < l->n; i++)
        assert_interval(&l->v[i], start + minutes((int64_t)i * 10 - 9),
                        start + minutes((int64_t)i * 10 + 1));
}

static void long_intervals_and_changed_exports_have_their_own(void **state)
{
    (void)state;
    engine->quiet_us = minutes(1);
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    minutes_go_by(3);
    assert_int_equal(runs_of(&export_id)->n, 3);

    engine->quiet_us = minutes(10);
    minutes_go_by(3);
    assert_int_equal(runs_of(&export_id)->n, 3);
    fake_export_update(&export_id, fake_body("every 1 minutes", "Table", "u", 1, ""));
    engine_wake(engine);
    minutes_go_by(1); /* the new place is tried at once */
    assert_int_equal(runs_of(&export_id)->n, 4);
}

static void a_source_that_does_not_close_has_a_run_that_says_so(void **state)
{
    (void)state;
    engine->quiet_us = minutes(10);
    export_id = fake_export(fake_body("every 1 minutes", "Table", "t", 1, ""));
    minutes_go_by(1);
    fakes.source.never_closes = true;
    fakes.source.now = start + minutes(2);
    schedule();
    assert_int_equal(runs_of(&export_id)->n, 1);
    fakes.source.now += 40 * TR_US_PER_S;
    schedule();
    assert_int_equal(runs_of(&export_id)->n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(they_are_bundled_until_something_comes_in),
        CASE(a_bundle_ends_and_shows_that_the_place_is_there),
        CASE(long_intervals_and_changed_exports_have_their_own),
        CASE(a_source_that_does_not_close_has_a_run_that_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
