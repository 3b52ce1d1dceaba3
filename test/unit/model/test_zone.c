/* Time zones against an independent reader of the same data: the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/time.h"
#include "model/schedule.h"
#include "model/zone_priv.h"

static const char *const zones[] = {
    "Africa/Cairo",        "Africa/Casablanca",
    "Africa/Johannesburg", "Africa/Monrovia",
    "America/Anchorage",   "America/Asuncion",
    "America/Caracas",     "America/Chicago",
    "America/Havana",      "America/Los_Angeles",
    "America/New_York",    "America/Nuuk",
    "America/Santiago",    "America/Sao_Paulo",
    "America/St_Johns",    "America/Toronto",
    "Antarctica/Troll",    "Asia/Amman",
    "Asia/Beirut",         "Asia/Gaza",
    "Asia/Jerusalem",      "Asia/Kathmandu",
    "Asia/Kolkata",        "Asia/Manila",
    "Asia/Pyongyang",      "Asia/Shanghai",
    "Asia/Tehran",         "Asia/Tokyo",
    "Atlantic/Azores",     "Australia/Adelaide",
    "Australia/Eucla",     "Australia/Lord_Howe",
    "Australia/Sydney",    "Etc/GMT+12",
    "Etc/GMT-14",          "Europe/Berlin",
    "Europe/Dublin",       "Europe/Istanbul",
    "Europe/London",       "Europe/Moscow",
    "Pacific/Apia",        "Pacific/Auckland",
    "Pacific/Chatham",     "Pacific/Easter",
    "Pacific/Kiritimati",  "Pacific/Kwajalein",
    "Pacific/Marquesas",   "Pacific/Norfolk",
    "Pacific/Tongatapu",   "UTC",
};

enum { ZONES = sizeof(zones) / sizeof(zones[0]) };

static const struct tr_zone *zone(const char *name)
{
    const struct tr_zone *z = NULL;
    struct tr_err err;

    if (tr_zone_get(tr_str_of(name), &z, &err) != TR_OK)
        fail_msg("%s: %s", name, err.cause);
    return z;
}

static void library_zone(const char *name)
{
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
}

static int library_offset(int64_t s)
{
    time_t t = (time_t)s;
    struct tm tm;

    assert_non_null(localtime_r(&t, &tm));
    return (int)tm.tm_gmtoff;
}

static uint64_t state_of_chance = 1;

static int64_t chance(int64_t lo, int64_t hi)
{
    state_of_chance = state_of_chance * 6364136223846793005u + 1442695040888963407u;
    return lo + (int64_t)((state_of_chance >> 11) % (uint64_t)(hi - lo));
}

static const int64_t year_1970 = 0;
static const int64_t year_2100 = 4102444800;

static void offsets_agree_with_the_c_library(void **state)
{
    (void)state;
    for (size_t i = 0; i < ZONES; i++) {
        const struct tr_zone *z = zone(zones[i]);

        library_zone(zones[i]);
        for (int k = 0; k < 1000; k++) {
            int64_t s = chance(year_1970, year_2100);
            if (tr_zone_offset_s(z, s * TR_US_PER_S) != library_offset(s))
                fail_msg("%s at %ld: %d, not %d", zones[i], (long)s,
                         tr_zone_offset_s(z, s * TR_US_PER_S), library_offset(s));
        }
    }
}

static void changes_are_exact_to_the_second(void **state)
{
    (void)state;
    for (size_t i = 0; i < ZONES; i++) {
        const struct tr_zone *z = zone(zones[i]);
        int64_t s = year_1970;
        int changes = 0;

        library_zone(zones[i]);
        while ((s = tr_zone_next_change(z, s)) < year_2100) {
            assert_int_equal(tr_zone_offset_at(z, s), library_offset(s));
            assert_int_equal(tr_zone_offset_at(z, s - 1), library_offset(s - 1));
            changes++;
        }
        if (strcmp(zones[i], "Europe/Berlin") == 0)
            assert_true(changes > 200); /* on both sides of the table's end */
    }
}

/* The definition: the first instant at which the zone's clock shows this time or a later one,
 * looked for minute by minute in the library's offsets. */
static int64_t first_showing(int64_t civil)
{
    int64_t s = civil - (int64_t)27 * 3600;

    while (s + library_offset(s) < civil)
        s += 60;
    return s;
}

static void check_local(const struct tr_zone *z, const char *name, int64_t civil)
{
    struct tr_civil c;

    tr_civil_from_time(civil * TR_US_PER_S, &c);
    int64_t got = tr_zone_local(z, c.year, c.month, c.day, c.hour, c.minute, c.second);
    int64_t want = first_showing(civil) * TR_US_PER_S;
    if (got != want)
        fail_msg("%s: %04d-%02d-%02d %02d:%02d is %ld, not %ld", name, c.year, c.month, c.day,
                 c.hour, c.minute, (long)got, (long)want);
}

static void civil_times_become_the_first_instant_that_shows_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ZONES; i++) {
        const struct tr_zone *z = zone(zones[i]);
        int64_t s = year_1970 + 200000000; /* whole-minute offsets everywhere from here on */

        library_zone(zones[i]);
        for (int k = 0; k < 3; k++)
            check_local(z, zones[i], chance(s / 60, year_2100 / 60) * 60);
        /* around some changes: before, inside, at the end of and after gap or overlap */
        for (int k = 0; (s = tr_zone_next_change(z, s)) < year_2100; k++) {
            if (k % 29 != 0)
                continue;
            int64_t before = s + tr_zone_offset_at(z, s - 1);
            int64_t after = s + tr_zone_offset_at(z, s);
            check_local(z, zones[i], before);
            check_local(z, zones[i], after);
            check_local(z, zones[i], (before + after) / 120 * 60);
            check_local(z, zones[i], (before < after ? before : after) - 60);
            check_local(z, zones[i], (before > after ? before : after) + 60);
        }
    }
}

static void names_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/usr/share/zoneinfo/UTC",
        "Europe/../UTC",
        "Europe",
        "Europe/",
        "posix/UTC",
        "right/UTC",
        "localtime",
        "Europe/Berlin ",
        "europe/berlin",
        "tzdata.zi",
        "Europe/BerlinEurope/BerlinEurope/BerlinEurope/BerlinEurope/BerlinEurope/Berlin",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct tr_zone *z = NULL;
        struct tr_err err = { 0 };

        print_message("# '%s'\n", bad[i]);
        assert_int_equal(tr_zone_get(tr_str_of(bad[i]), &z, &err), TR_INVALID);
        assert_string_equal(err.id, "schedule.unknown_zone");
        assert_null(z);
    }
}

static void a_zone_is_read_once(void **state)
{
    (void)state;
    assert_ptr_equal(zone("Europe/Berlin"), zone("Europe/Berlin"));
    assert_string_equal(tr_zone_name(zone("Europe/Berlin")), "Europe/Berlin");
    assert_string_equal(tr_zone_name(zone("UTC")), "UTC");
}

static void damaged_files_are_refused(void **state)
{
    FILE *file = fopen("/usr/share/zoneinfo/Europe/Berlin", "r");
    static char bytes[16384];
    struct tr_err err;

    (void)state;
    assert_non_null(file);
    size_t n = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    for (size_t cut = 0; cut < n; cut++) {
        struct tr_zone *z = NULL;
        assert_int_equal(tr_zone_parse(TR_STR("X"), (struct tr_str){ bytes, cut }, &z, &err),
                         TR_INVALID);
        assert_null(z);
    }
    struct tr_zone *z = NULL;
    assert_int_equal(tr_zone_parse(TR_STR("X"), (struct tr_str){ bytes, n }, &z, &err), TR_OK);
    tr_zone_free(z);
}

static const struct rule_case {
    const char *text;
    bool ok;
    const char *at; /* UTC */
    int offset;
} rules[] = {
    { "UTC0", true, "2050-01-01T00:00:00Z", 0 },
    { "<+0545>-5:45", true, "2050-01-01T00:00:00Z", 20700 },
    { "CET-1CEST,M3.5.0,M10.5.0/3", true, "2050-03-27T00:59:59Z", 3600 },
    { "CET-1CEST,M3.5.0,M10.5.0/3", true, "2050-03-27T01:00:00Z", 7200 },
    { "CET-1CEST,M3.5.0,M10.5.0/3", true, "2050-10-30T00:59:59Z", 7200 },
    { "CET-1CEST,M3.5.0,M10.5.0/3", true, "2050-10-30T01:00:00Z", 3600 },
    { "NZST-12NZDT,M9.5.0,M4.1.0/3", true, "2050-01-01T00:00:00Z", 46800 },
    { "NZST-12NZDT,M9.5.0,M4.1.0/3", true, "2050-07-01T00:00:00Z", 43200 },
    { "EST5EDT4,M3.2.0,M11.1.0", true, "2050-07-01T00:00:00Z", -14400 },
    { "XXX3EDT4,0/0,J365/23", true, "2050-01-01T04:00:00Z", -14400 }, /* summer time all year */
    { "XXX3EDT4,0/0,J365/23", true, "2049-12-31T23:59:59Z", -14400 },
    { "AAA0BBB,J60,J300", true, "2052-03-01T02:00:00Z",
      3600 }, /* J60 is 1 March, leap year or not */
    { "AAA0BBB,J60,J300", true, "2052-02-29T23:00:00Z", 0 },
    { "AAA0BBB,59,300", true, "2052-02-29T02:00:00Z", 3600 }, /* day 59 is 29 February in one */
    { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, "2050-03-27T01:00:00Z", -3600 },
    { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, "2050-03-27T00:59:59Z", -7200 },
    { "", false, NULL, 0 },
    { "AB1", false, NULL, 0 },
    { "ABC", false, NULL, 0 },
    { "ABC1DEF", false, NULL, 0 },
    { "ABC1DEF,M13.1.0,M10.5.0", false, NULL, 0 },
    { "ABC1DEF,M3.6.0,M10.5.0", false, NULL, 0 },
    { "ABC1DEF,M3.5.7,M10.5.0", false, NULL, 0 },
    { "ABC1DEF,M3.5.0/168,M10.5.0", false, NULL, 0 },
    { "ABC1DEF,J0,J1", false, NULL, 0 },
    { "ABC1DEF,J1,J2x", false, NULL, 0 },
    { "ABC99999999999", false, NULL, 0 },
};

static void rules_for_the_future_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule_case *c = &rules[i];
        struct zone_rule r;
        int64_t t = 0;

        print_message("# '%s' %s\n", c->text, c->ok ? c->at : "is refused");
        assert_int_equal(tr_zone_rule_parse(tr_str_of(c->text), &r), c->ok);
        if (!c->ok)
            continue;
        assert_true(tr_time_parse(tr_str_of(c->at), &t));
        assert_int_equal(tr_zone_rule_offset(&r, t / TR_US_PER_S), c->offset);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_agree_with_the_c_library),
        cmocka_unit_test(changes_are_exact_to_the_second),
        cmocka_unit_test(civil_times_become_the_first_instant_that_shows_them),
        cmocka_unit_test(names_that_are_none_are_refused),
        cmocka_unit_test(a_zone_is_read_once),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(rules_for_the_future_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
