#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "model/range.h"

static const struct subtract_case {
    const char *name;
    struct tr_range whole;
    size_t n;
    struct tr_range cut[4];
    const char *want;
} cases[] = {
    { "nothing taken away", { 0, 10 }, 0, { { 0, 0 } }, "0-10" },
    { "all of it", { 0, 10 }, 1, { { 0, 10 } }, "" },
    { "more than all of it", { 0, 10 }, 1, { { -5, 15 } }, "" },
    { "the beginning", { 0, 10 }, 1, { { 0, 3 } }, "3-10" },
    { "the end", { 0, 10 }, 1, { { 7, 10 } }, "0-7" },
    { "the middle", { 0, 10 }, 1, { { 3, 7 } }, "0-3 7-10" },
    { "two that touch", { 0, 10 }, 2, { { 2, 4 }, { 4, 6 } }, "0-2 6-10" },
    { "two that overlap", { 0, 10 }, 2, { { 2, 6 }, { 4, 5 } }, "0-2 6-10" },
    { "one outside before and one behind", { 0, 10 }, 2, { { -5, 0 }, { 10, 20 } }, "0-10" },
    { "an empty one", { 0, 10 }, 1, { { 5, 5 } }, "0-10" },
    { "a reversed one", { 0, 10 }, 1, { { 6, 4 } }, "0-10" },
    { "from an empty whole", { 5, 5 }, 1, { { 0, 10 } }, "" },
    { "four pieces",
      { 0, 10 },
      4,
      { { 1, 2 }, { 3, 4 }, { 5, 6 }, { 7, 8 } },
      "0-1 2-3 4-5 6-7 8-10" },
};

static void subtracts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct subtract_case *c = &cases[i];
        struct tr_range left[5];
        char text[128] = "";
        size_t used = 0;

        print_message("# %s\n", c->name);
        size_t n = tr_range_subtract(c->whole, c->cut, c->n, left);
        assert_true(n <= c->n + 1);
        for (size_t k = 0; k < n; k++)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%ld-%ld",
                                     k == 0 ? "" : " ", (long)left[k].lo, (long)left[k].hi);
        assert_string_equal(text, c->want);
    }
}

/* Against the obvious way: point by point. */
static void agrees_with_counting_points(void **state)
{
    unsigned seed = 5;

    (void)state;
    for (int round = 0; round < 5000; round++) {
        struct tr_range cut[4];
        struct tr_range left[5];
        struct tr_range whole = { rand_r(&seed) % 20, rand_r(&seed) % 20 };
        int64_t lo = 0;

        for (size_t i = 0; i < 4; i++) {
            lo += rand_r(&seed) % 6;
            cut[i] = (struct tr_range){ lo, lo + rand_r(&seed) % 8 };
        }
        size_t n = tr_range_subtract(whole, cut, 4, left);
        for (int64_t p = -1; p < 40; p++) {
            bool want = p >= whole.lo && p < whole.hi;
            bool got = false;
            for (size_t i = 0; i < 4; i++)
                want = want && !(p >= cut[i].lo && p < cut[i].hi);
            for (size_t i = 0; i < n; i++)
                got = got || (p >= left[i].lo && p < left[i].hi);
            assert_int_equal(got, want);
        }
    }
}

static void meets(void **state)
{
    (void)state;
    struct tr_range r = tr_range_meet((struct tr_range){ 0, 10 }, (struct tr_range){ 5, 20 });
    assert_int_equal(r.lo, 5);
    assert_int_equal(r.hi, 10);
    assert_true(
        tr_range_empty(tr_range_meet((struct tr_range){ 0, 10 }, (struct tr_range){ 10, 20 })));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subtracts),
        cmocka_unit_test(agrees_with_counting_points),
        cmocka_unit_test(meets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
