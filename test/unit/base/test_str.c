#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

static void compares(void **state)
{
    (void)state;
    assert_true(tr_str_eq((struct tr_str){ NULL, 0 }, TR_STR("")));
    assert_true(tr_str_eq(TR_STR("a\0b"), TR_STR("a\0b")));
    assert_false(tr_str_eq(TR_STR("a\0b"), TR_STR("a\0c")));
    assert_false(tr_str_eq(TR_STR("ab"), TR_STR("abc")));
    assert_true(tr_str_is((struct tr_str){ NULL, 0 }, ""));
    assert_true(tr_str_is(tr_str_of(NULL), ""));
    assert_true(tr_str_starts(TR_STR("abc"), TR_STR("ab")));
    assert_true(tr_str_starts(TR_STR("abc"), TR_STR("")));
    assert_false(tr_str_starts(TR_STR("ab"), TR_STR("abc")));
    assert_true(tr_str_eq_nocase(TR_STR("GZip"), TR_STR("gzIP")));
    assert_false(tr_str_eq_nocase(TR_STR("gzip"), TR_STR("gzip2")));
    /* ASCII only: these differ in the bit that tells small from large letters. */
    assert_false(tr_str_eq_nocase(TR_STR("@"), TR_STR("`")));
    assert_false(tr_str_eq_nocase(TR_STR("\xc3\xa9"), TR_STR("\xc3\x89")));
}

static void trims(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = { { "", "" },
                  { "   ", "" },
                  { " a b ", "a b" },
                  { "\t\r\na", "a" },
                  { "a\v\f", "a" },
                  { "\xc2\xa0"
                    "a",
                    "\xc2\xa0"
                    "a" } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(tr_str_is(tr_str_trim(tr_str_of(cases[i].in)), cases[i].want));
}

static void cuts(void **state)
{
    struct tr_str rest;

    (void)state;
    assert_true(tr_str_is(tr_str_cut(TR_STR("a,b,c"), ',', &rest), "a"));
    assert_true(tr_str_is(rest, "b,c"));
    assert_true(tr_str_is(tr_str_cut(TR_STR("a,"), ',', &rest), "a"));
    assert_true(rest.p != NULL && rest.n == 0);
    assert_true(tr_str_is(tr_str_cut(TR_STR("a"), ',', &rest), "a"));
    assert_null(rest.p);
    assert_true(tr_str_is(tr_str_cut((struct tr_str){ NULL, 0 }, ',', &rest), ""));
    assert_null(rest.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(trims),
        cmocka_unit_test(cuts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
