#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/time.h"

static void knows_the_calendar(void **state)
{
    static const struct {
        int year, month, day;
        int64_t days;
        int weekday;
    } cases[] = {
        { 1970, 1, 1, 0, 4 },         { 1969, 12, 31, -1, 3 },    { 2000, 2, 29, 11016, 2 },
        { 2000, 3, 1, 11017, 3 },     { 2024, 12, 31, 20088, 2 }, { 1, 1, 1, -719162, 1 },
        { 9999, 12, 31, 2932896, 5 }, { 1900, 2, 28, -25509, 3 }, { 1900, 3, 1, -25508, 4 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t days = tr_days_from_civil(cases[i].year, cases[i].month, cases[i].day);
        struct tr_civil c;

        assert_int_equal(days, cases[i].days);
        assert_int_equal(tr_weekday(days), cases[i].weekday);
        tr_civil_from_time(days * TR_US_PER_DAY, &c);
        assert_int_equal(c.year, cases[i].year);
        assert_int_equal(c.month, cases[i].month);
        assert_int_equal(c.day, cases[i].day);
    }
    assert_true(tr_civil_valid(2024, 2, 29));
    assert_false(tr_civil_valid(2023, 2, 29));
    assert_false(tr_civil_valid(1900, 2, 29));
    assert_true(tr_civil_valid(2000, 2, 29));
    assert_false(tr_civil_valid(2024, 13, 1));
    assert_false(tr_civil_valid(2024, 0, 1));
    assert_false(tr_civil_valid(2024, 4, 31));
    assert_false(tr_civil_valid(2024, 4, 0));
}

static void turns_every_day_there_and_back(void **state)
{
    (void)state;
    for (int64_t days = -719162; days <= 2932896; days += 7) {
        struct tr_civil c;
        int64_t t = days * TR_US_PER_DAY + 86399999999;

        tr_civil_from_time(t, &c);
        assert_true(tr_civil_valid(c.year, c.month, c.day));
        assert_int_equal(c.us, 999999);
        assert_true(tr_time_from_civil(&c) == t);
    }
}

static const struct {
    const char *text;
    const char *want;
} times[] = {
    { "2026-11-21T09:30:00Z", "2026-11-21T09:30:00.000000Z" },
    { "2026-11-21 09:30:00.5z", "2026-11-21T09:30:00.500000Z" },
    { "2026-11-21t09:30:00.123456789+02:00", "2026-11-21T07:30:00.123456Z" },
    { "2026-11-21T23:59:60Z", "2026-11-22T00:00:00.000000Z" },
    { "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z" },
    { "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z" },
    { "0001-01-01T00:00:00+00:01", NULL },
    { "9999-12-31T23:59:59-00:01", NULL },
    { "2026-11-21T09:30:00", NULL },
    { "2026-11-21", NULL },
    { "2026-11-21T09:30Z", NULL },
    { "2026-11-21T09:30:00.Z", NULL },
    { "2026-11-21T24:00:00Z", NULL },
    { "2026-11-21T09:60:00Z", NULL },
    { "2026-11-31T09:30:00Z", NULL },
    { "2026-11-21T09:30:00+0200", NULL },
    { "2026-11-21T09:30:00+24:00", NULL },
    { "2026-11-21T09:30:00Z ", NULL },
    { "", NULL },
};

static void reads_and_writes_rfc_3339(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char text[TR_TIME_TEXT];
        int64_t t;

        print_message("  \"%s\"\n", times[i].text);
        bool ok = tr_time_parse(tr_str_of(times[i].text), &t);
        assert_int_equal(ok, times[i].want != NULL);
        if (ok) {
            assert_int_equal(tr_time_format(t, text), TR_TIME_TEXT - 1);
            assert_string_equal(text, times[i].want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_calendar),
        cmocka_unit_test(turns_every_day_there_and_back),
        cmocka_unit_test(reads_and_writes_rfc_3339),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
