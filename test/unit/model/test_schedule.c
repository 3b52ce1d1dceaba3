#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "model/schedule.h"

static const struct tr_zone *zone(const char *name)
{
    const struct tr_zone *z = NULL;
    struct tr_err err;

    if (tr_zone_get(tr_str_of(name), &z, &err) != TR_OK)
        fail_msg("%s: %s", name, err.cause);
    return z;
}

static int64_t instant(const char *text)
{
    int64_t t = 0;

    assert_true(tr_time_parse(tr_str_of(text), &t));
    return t;
}

/* ---- words ---- */

static const struct word_case {
    const char *text;
    enum tr_rc want;
    enum tr_unit unit;
    int every;
    const char *back;
} words[] = {
    { "hour", TR_OK, TR_UNIT_HOUR, 1, "hour" },
    { "day", TR_OK, TR_UNIT_DAY, 1, "day" },
    { "week", TR_OK, TR_UNIT_WEEK, 1, "week" },
    { "every 5 minutes", TR_OK, TR_UNIT_MINUTE, 5, "every 5 minutes" },
    { "every 1 minutes", TR_OK, TR_UNIT_MINUTE, 1, "every 1 minute" },
    { "every 1 minute", TR_OK, TR_UNIT_MINUTE, 1, "every 1 minute" },
    { "every 59 minutes", TR_OK, TR_UNIT_MINUTE, 59, "every 59 minutes" },
    { "every 5 seconds", TR_OK, TR_UNIT_SECOND, 5, "every 5 seconds" },
    { "every 30 seconds", TR_OK, TR_UNIT_SECOND, 30, "every 30 seconds" },
    { "realtime", TR_OK, TR_UNIT_REALTIME, 1, "realtime" },
    { "every 0 minutes", TR_INVALID, 0, 0, NULL },
    { "every 60 minutes", TR_INVALID, 0, 0, NULL },
    { "every 4 seconds", TR_INVALID, 0, 0, NULL },
    { "every 31 seconds", TR_INVALID, 0, 0, NULL },
    { "every -5 minutes", TR_INVALID, 0, 0, NULL },
    { "every five minutes", TR_INVALID, 0, 0, NULL },
    { "every 5 hours", TR_INVALID, 0, 0, NULL },
    { "every 5", TR_INVALID, 0, 0, NULL },
    { "every  minutes", TR_INVALID, 0, 0, NULL },
    { "Hour", TR_INVALID, 0, 0, NULL },
    { "month", TR_INVALID, 0, 0, NULL },
    { "", TR_INVALID, 0, 0, NULL },
};

static void reads_and_writes_the_words_of_the_api(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const struct word_case *c = &words[i];
        struct tr_schedule s = { 0 };
        struct tr_err err = { 0 };
        char out[32];

        print_message("# '%s'\n", c->text);
        assert_int_equal(tr_schedule_parse(tr_str_of(c->text), &s, &err), c->want);
        if (c->want != TR_OK) {
            assert_string_equal(err.id, "schedule.bad_interval");
            continue;
        }
        assert_int_equal(s.unit, c->unit);
        assert_int_equal(s.every, c->every);
        assert_string_equal(tr_schedule_format(&s, out), c->back);
    }
}

/* ---- intervals ---- */

static const struct interval_case {
    const char *name;
    const char *zone;
    const char *interval;
    int offset_day, offset_hour;
    const char *at, *lo, *hi;
} intervals[] = {
    { "an hour is one of UTC, whatever the zone", "Asia/Kathmandu", "hour", 0, 0,
      "2026-11-21T09:59:59.999999Z", "2026-11-21T09:00:00Z", "2026-11-21T10:00:00Z" },
    { "seven minutes count from the epoch", "UTC", "every 7 minutes", 0, 0, "1970-01-01T00:13:59Z",
      "1970-01-01T00:07:00Z", "1970-01-01T00:14:00Z" },
    { "also before it", "UTC", "every 7 minutes", 0, 0, "1969-12-31T23:59:59Z",
      "1969-12-31T23:53:00Z", "1970-01-01T00:00:00Z" },
    { "five seconds", "UTC", "every 5 seconds", 0, 0, "2026-11-21T09:00:05Z",
      "2026-11-21T09:00:05Z", "2026-11-21T09:00:10Z" },
    { "a day of UTC", "UTC", "day", 0, 0, "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z",
      "2026-11-22T00:00:00Z" },
    { "a day of Kathmandu", "Asia/Kathmandu", "day", 0, 0, "2026-11-21T09:00:00Z",
      "2026-11-20T18:15:00Z", "2026-11-21T18:15:00Z" },
    { "a day that begins at six", "UTC", "day", 0, 6, "2026-11-21T05:59:59Z",
      "2026-11-20T06:00:00Z", "2026-11-21T06:00:00Z" },
    { "the short day of Berlin", "Europe/Berlin", "day", 0, 0, "2026-03-29T12:00:00Z",
      "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z" },
    { "the long day of Berlin", "Europe/Berlin", "day", 0, 0, "2026-10-25T12:00:00Z",
      "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z" },
    { "an hour that does not exist: the first instant after it", "Europe/Berlin", "day", 0, 2,
      "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z" },
    { "the day before it ends there", "Europe/Berlin", "day", 0, 2, "2026-03-29T00:59:59Z",
      "2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z" },
    { "an hour that comes twice: the first", "Europe/Berlin", "day", 0, 2, "2026-10-25T00:30:00Z",
      "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z" },
    { "the second belongs to the same day", "Europe/Berlin", "day", 0, 2, "2026-10-25T01:30:00Z",
      "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z" },
    { "a midnight that does not exist", "America/Sao_Paulo", "day", 0, 0, "2018-11-04T03:00:00Z",
      "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z" },
    { "a midnight that comes twice", "America/Havana", "day", 0, 0, "2020-11-01T05:30:00Z",
      "2020-11-01T04:00:00Z", "2020-11-02T05:00:00Z" },
    { "half an hour of Lord Howe", "Australia/Lord_Howe", "day", 0, 0, "2026-04-05T00:00:00Z",
      "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z" },
    { "the last day of Apia before the missing one", "Pacific/Apia", "day", 0, 0,
      "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z" },
    { "the first day of Apia after the missing one", "Pacific/Apia", "day", 0, 0,
      "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z" },
    { "also in the morning", "Pacific/Apia", "day", 0, 7, "2011-12-30T12:00:00Z",
      "2011-12-30T10:00:00Z", "2011-12-30T17:00:00Z" },
    { "a week begins on Sunday", "UTC", "week", 0, 0, "2026-11-21T23:59:59Z",
      "2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z" },
    { "or on Monday at six", "UTC", "week", 1, 6, "2026-11-16T05:59:59Z", "2026-11-09T06:00:00Z",
      "2026-11-16T06:00:00Z" },
    { "or on Saturday", "UTC", "week", 6, 0, "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z",
      "2026-11-28T00:00:00Z" },
    { "a week of Berlin with a short day", "Europe/Berlin", "week", 0, 0, "2026-03-29T12:00:00Z",
      "2026-03-28T23:00:00Z", "2026-04-04T22:00:00Z" },
};

static struct tr_schedule schedule(const char *interval, const char *zone_name, int day, int hour)
{
    struct tr_schedule s = { .zone = zone(zone_name), .offset_day = day, .offset_hour = hour };
    struct tr_err err;

    assert_int_equal(tr_schedule_parse(tr_str_of(interval), &s, &err), TR_OK);
    return s;
}

static void cuts_time_into_intervals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        const struct interval_case *c = &intervals[i];
        struct tr_schedule s = schedule(c->interval, c->zone, c->offset_day, c->offset_hour);

        print_message("# %s\n", c->name);
        struct tr_range r = tr_schedule_at(&s, instant(c->at));
        if (r.lo != instant(c->lo) || r.hi != instant(c->hi)) {
            char lo[TR_TIME_TEXT];
            char hi[TR_TIME_TEXT];
            (void)tr_time_format(r.lo, lo);
            (void)tr_time_format(r.hi, hi);
            fail_msg("%s: [%s, %s)", c->name, lo, hi);
        }
    }
}

static const char *const far_and_wide[] = {
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "America/Nuuk",
    "America/Asuncion",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Beirut",
    "Asia/Pyongyang",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "America/Toronto",
    "Antarctica/Troll",
};

/* From interval to interval over fifty years: each begins where the one before ended, and every
 * instant inside says the same. */
static void walk(const struct tr_schedule *s, const char *name)
{
    int64_t end = instant("2040-01-01T00:00:00Z");
    struct tr_range r = tr_schedule_at(s, instant("1990-01-01T00:00:00Z"));
    int64_t longest = s->unit == TR_UNIT_WEEK ? 8 : 2;

    while (r.hi < end) {
        struct tr_range next = tr_schedule_at(s, r.hi);
        struct tr_range last = tr_schedule_at(s, r.hi - 1);
        struct tr_range middle = tr_schedule_at(s, r.lo + (r.hi - r.lo) / 2);

        if (next.lo != r.hi || tr_range_empty(next) || last.lo != r.lo || last.hi != r.hi ||
            middle.lo != r.lo || middle.hi != r.hi || r.hi - r.lo > longest * TR_US_PER_DAY) {
            char at[TR_TIME_TEXT];
            (void)tr_time_format(r.hi, at);
            fail_msg("%s at %s, unit %d, offset %d/%d", name, at, (int)s->unit, s->offset_day,
                     s->offset_hour);
        }
        r = next;
    }
}

static void days_and_weeks_tile_time(void **state)
{
    static const int hours[] = { 0, 2 };

    (void)state;
    for (size_t i = 0; i < sizeof(far_and_wide) / sizeof(far_and_wide[0]); i++) {
        for (size_t h = 0; h < sizeof(hours) / sizeof(hours[0]); h++) {
            struct tr_schedule day = schedule("day", far_and_wide[i], 0, hours[h]);
            struct tr_schedule week = schedule("week", far_and_wide[i], (int)(i + h) % 7, hours[h]);
            walk(&day, far_and_wide[i]);
            walk(&week, far_and_wide[i]);
        }
    }
}

/* ---- jitter ---- */

static const struct jitter_case {
    const char *interval;
    int64_t below;
} jitters[] = {
    { "every 5 seconds", 1 },
    { "every 4 minutes", 1 },
    { "every 5 minutes", TR_US_PER_MIN },
    { "every 15 minutes", 3 * TR_US_PER_MIN },
    { "hour", 15 * TR_US_PER_MIN },
    { "day", 20 * TR_US_PER_MIN },
    { "week", 30 * TR_US_PER_MIN },
};

static void spreads_starts_over_a_share_of_the_interval(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(jitters) / sizeof(jitters[0]); i++) {
        struct tr_schedule s = schedule(jitters[i].interval, "UTC", 0, 0);
        int64_t least = INT64_MAX;
        int64_t most = 0;

        print_message("# %s\n", jitters[i].interval);
        for (int k = 0; k < 1000; k++) {
            struct tr_uuid id = { { (uint8_t)k, (uint8_t)(k >> 8), 7 } };
            int64_t j = tr_schedule_jitter(&s, &id);

            assert_int_equal(j, tr_schedule_jitter(&s, &id)); /* the same each time */
            least = j < least ? j : least;
            most = j > most ? j : most;
        }
        assert_true(least >= 0 && most < jitters[i].below);
        if (jitters[i].below > 1)
            assert_true(least < jitters[i].below / 10 && most > jitters[i].below / 10 * 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_the_words_of_the_api),
        cmocka_unit_test(cuts_time_into_intervals),
        cmocka_unit_test(days_and_weeks_tile_time),
        cmocka_unit_test(spreads_starts_over_a_share_of_the_interval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
