#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "model/retry.h"

#define NOW INT64_C(1700000000000000)

static const struct retry_case {
    const char *name;
    enum tr_rc rc;
    uint32_t attempts;
    int64_t not_before;
    bool again;
    int64_t least, most; /* of the delay, over all random bits */
} cases[] = {
    { "the first failure waits about a second", TR_TRANSIENT, 1, 0, true, 500000, 1000000 },
    { "a count of zero is a first one", TR_TRANSIENT, 0, 0, true, 500000, 1000000 },
    { "the second twice as long", TR_TRANSIENT, 2, 0, true, 1000000, 2000000 },
    { "the fifth sixteen seconds", TR_TRANSIENT, 5, 0, true, 8000000, 16000000 },
    { "never more than five minutes", TR_TRANSIENT, 12, 0, true, 150000000, 300000000 },
    { "and never gives up", TR_TRANSIENT, UINT32_MAX, 0, true, 150000000, 300000000 },
    { "an unknown outcome is tried again", TR_AMBIGUOUS, 3, 0, true, 2000000, 4000000 },
    { "or later, if its reason asks for that", TR_AMBIGUOUS, 1, NOW + 60000000, true, 60000000,
      60000000 },
    { "so is our own fault", TR_INTERNAL, 3, 0, true, 2000000, 4000000 },
    { "throttled without a time", TR_THROTTLED, 3, 0, true, 2000000, 4000000 },
    { "throttled until later", TR_THROTTLED, 1, NOW + 60000000, true, 60000000, 60000000 },
    { "throttled until sooner than the usual wait", TR_THROTTLED, 5, NOW + 1, true, 8000000,
      16000000 },
    { "throttled until the past", TR_THROTTLED, 1, NOW - 5, true, 500000, 1000000 },
    { "throttled for a day is not believed", TR_THROTTLED, 1, NOW + 24 * TR_US_PER_HOUR, true,
      TR_US_PER_HOUR, TR_US_PER_HOUR },
    { "a time counts only when throttled", TR_TRANSIENT, 1, NOW + 60000000, true, 500000, 1000000 },
    { "refused needs a person", TR_REFUSED, 1, 0, false, 0, 0 },
    { "invalid needs a person", TR_INVALID, 1, 0, false, 0, 0 },
    { "cancelled is over", TR_CANCELLED, 1, 0, false, 0, 0 },
};

static void decides_whether_and_when(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct retry_case *c = &cases[i];
        struct tr_err err = { .rc = c->rc, .not_before_us = c->not_before };
        int64_t least = INT64_MAX;
        int64_t most = 0;

        print_message("# %s\n", c->name);
        for (uint64_t k = 0; k < 2000; k++) {
            struct tr_retry r =
                tr_retry_after(&err, c->attempts, k * UINT64_C(0x9E3779B97F4A7C15), NOW);
            assert_int_equal(r.again, c->again);
            assert_true(r.delay_us >= c->least && r.delay_us <= c->most);
            least = r.delay_us < least ? r.delay_us : least;
            most = r.delay_us > most ? r.delay_us : most;
        }
        /* chance uses the whole width */
        int64_t width = c->most - c->least;
        assert_true(least <= c->least + width / 10 && most >= c->most - width / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(decides_whether_and_when) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
