#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

static struct tr_json_value number(const char *text)
{
    struct tr_json j;
    struct tr_json_value v;

    tr_json_init(&j, tr_str_of(text));
    assert_int_equal(tr_json_next(&j, &v, NULL), TR_OK);
    return v;
}

static void reads_doubles_as_strtod_does(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "1",
        "-1.5",
        "0.1",
        "54.10",
        "1e3",
        "1E-3",
        "2.5e-10",
        "1e300",
        "1e308",
        "5e-324",
        "2e-324",
        "0.000000000000000000000000000001234",
        "123456789012345678901234567890",
        "9007199254740993",
        "1.7976931348623157e308",
        "2.2250738585072011e-308",
        "0e999999999999",
        "00.5" + 1,
        "100000000000000000000e-20",
        "0.00001e5",
        "9007199254740993.00000000000000000000000000000000000000000000000001",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tr_json_value v = number(texts[i]);
        double got;
        double want = strtod(texts[i], NULL);

        print_message("  %s\n", texts[i]);
        assert_true(tr_json_double(&v, &got));
        assert_memory_equal(&got, &want, sizeof(got));
    }
}

static void saturates_beyond_double(void **state)
{
    static const struct {
        const char *text;
        double want;
    } cases[] = {
        { "1e309", HUGE_VAL },
        { "-1e309", -HUGE_VAL },
        { "1e99999999999999999999", HUGE_VAL },
        { "1e-99999999999999999999", 0.0 },
        { "-1e-400", -0.0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_json_value v = number(cases[i].text);
        double got;

        assert_true(tr_json_double(&v, &got));
        assert_memory_equal(&got, &cases[i].want, sizeof(got));
    }
}

/* Numbers longer than any buffer: the digits that are dropped still decide a tie. */
static void reads_numbers_of_any_length(void **state)
{
    size_t n = 5000;
    char *text = malloc(n + 32);
    double got;

    (void)state;
    assert_non_null(text);
    memcpy(text, "9007199254740993.", 17); /* halfway between two doubles */
    memset(text + 17, '0', n);
    memcpy(text + 17 + n, "1", 2);
    struct tr_json_value v = number(text);
    assert_true(tr_json_double(&v, &got));
    assert_true(got == 9007199254740994.0);

    memset(text, '1', n);
    memcpy(text + n, "e-4990", 7);
    v = number(text);
    assert_true(tr_json_double(&v, &got));
    assert_true(got == 1111111111.1111111111);
    free(text);
}

static void reads_int64(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } cases[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "42", true, 42 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "123456789012345678901234567890", false, 0 },
        { "1.0", false, 0 },
        { "1e3", false, 0 },
        { "\"1\"", false, 0 },
        { "NaN", false, 0 },
        { "true", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_json_value v = number(cases[i].text);
        int64_t got = 0;

        print_message("  %s\n", cases[i].text);
        assert_int_equal(tr_json_int64(&v, &got), cases[i].ok);
        if (cases[i].ok)
            assert_true(got == cases[i].want);
    }
    struct tr_json_value v = number("\"1\"");
    double d;
    assert_false(tr_json_double(&v, &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_doubles_as_strtod_does),
        cmocka_unit_test(saturates_beyond_double),
        cmocka_unit_test(reads_numbers_of_any_length),
        cmocka_unit_test(reads_int64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
