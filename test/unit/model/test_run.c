#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/run.h"

static void states_have_the_names_of_the_api(void **state)
{
    static const struct {
        enum tr_run_state state;
        const char *name;
        bool ended;
    } cases[] = {
        { TR_RUN_STARTING, "Starting", false },
        { TR_RUN_RUNNING, "Running", false },
        { TR_RUN_RETRYING, "FailedRetryable", false },
        { TR_RUN_COMPLETED, "Completed", true },
        { TR_RUN_FAILED, "Failed", true },
        { TR_RUN_CANCELLED, "Cancelled", true },
    };
    enum tr_run_state got;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(tr_run_state_name(cases[i].state), cases[i].name);
        assert_true(tr_run_state_parse(cases[i].name, &got));
        assert_int_equal(got, cases[i].state);
        assert_int_equal(tr_run_state_ended(got), cases[i].ended);
    }
    assert_false(tr_run_state_parse("running", &got));
    assert_false(tr_run_state_parse("", &got));
}

static void on_delivered_has_three_words(void **state)
{
    static const char *const words[] = { "skip", "replace", "append" };
    enum tr_on_delivered got;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(tr_on_delivered_parse(words[i], &got));
        assert_int_equal(got, i);
        assert_string_equal(tr_on_delivered_name(got), words[i]);
    }
    assert_false(tr_on_delivered_parse("merge", &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_have_the_names_of_the_api),
        cmocka_unit_test(on_delivered_has_three_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
