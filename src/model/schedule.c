#include "model/schedule.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/time.h"

enum { SECONDS_MIN = 5, SECONDS_MAX = 30, MINUTES_MIN = 1, MINUTES_MAX = 59, WEEK_DAYS = 7 };

/* ---- words ---- */

/* "every <n> <word>" or "every <n> <word>s" */
static bool every(struct tr_str text, const char *word, int *ret)
{
    struct tr_str rest = text;
    struct tr_str first = tr_str_cut(text, ' ', &rest);
    struct tr_str unit = { NULL, 0 };
    struct tr_str digits = tr_str_cut(rest, ' ', &unit);
    int n = 0;

    if (!tr_str_is(first, "every") || digits.n < 1 || digits.n > 3)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return false;
        n = n * 10 + (digits.p[i] - '0');
    }
    if (unit.n > 0 && unit.p[unit.n - 1] == 's')
        unit.n--;
    *ret = n;
    return tr_str_is(unit, word);
}

enum tr_rc tr_schedule_parse(struct tr_str text, struct tr_schedule *ret, struct tr_err *err)
{
    static const struct {
        const char *word;
        enum tr_unit unit;
    } words[] = { { "hour", TR_UNIT_HOUR },
                  { "day", TR_UNIT_DAY },
                  { "week", TR_UNIT_WEEK },
                  { "realtime", TR_UNIT_REALTIME } };
    int n = 0;

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (tr_str_is(text, words[i].word)) {
            ret->unit = words[i].unit;
            ret->every = 1;
            return TR_OK;
        }
    }
    if (every(text, "minute", &n) && n >= MINUTES_MIN && n <= MINUTES_MAX) {
        ret->unit = TR_UNIT_MINUTE;
        ret->every = n;
        return TR_OK;
    }
    if (every(text, "second", &n) && n >= SECONDS_MIN && n <= SECONDS_MAX) {
        ret->unit = TR_UNIT_SECOND;
        ret->every = n;
        return TR_OK;
    }
    return tr_fail(err, TR_INVALID, "schedule.bad_interval",
                   "use hour, day, week, \"every N minutes\" (1 to 59), \"every N seconds\" "
                   "(5 to 30) or realtime",
                   "there is no interval '%.*s'", text.n < 40 ? (int)text.n : 40, text.p);
}

const char *tr_schedule_format(const struct tr_schedule *s, char out[32])
{
    const char *word = "hour";

    switch (s->unit) {
    case TR_UNIT_SECOND:
    case TR_UNIT_MINUTE:
        (void)snprintf(out, 32, "every %d %s%s", s->every,
                       s->unit == TR_UNIT_SECOND ? "second" : "minute", s->every == 1 ? "" : "s");
        return out;
    case TR_UNIT_REALTIME:
        word = "realtime";
        break;
    case TR_UNIT_HOUR:
        break;
    case TR_UNIT_DAY:
        word = "day";
        break;
    case TR_UNIT_WEEK:
        word = "week";
        break;
    }
    (void)snprintf(out, 32, "%s", word);
    return out;
}

/* ---- intervals ---- */

static int64_t floor_to(int64_t t, int64_t step)
{
    int64_t rest = t % step;

    return t - (rest < 0 ? rest + step : rest);
}

/* The instant at which the interval of a local day (days since 1970-01-01) begins. Never falls as
 * the day rises; two days share an instant when the first of them has no length. */
static int64_t day_begins(const struct tr_schedule *s, int64_t day)
{
    struct tr_civil c;

    tr_civil_from_time(day * TR_US_PER_DAY, &c);
    return tr_zone_local(s->zone, c.year, c.month, c.day, s->offset_hour, 0, 0);
}

static struct tr_range local_interval(const struct tr_schedule *s, int64_t t)
{
    int step = s->unit == TR_UNIT_WEEK ? WEEK_DAYS : 1;
    int64_t local = t + tr_zone_offset_s(s->zone, t) * TR_US_PER_S;
    int64_t day = floor_to(local, TR_US_PER_DAY) / TR_US_PER_DAY;

    if (step == WEEK_DAYS)
        day -= (tr_weekday(day) - s->offset_day + WEEK_DAYS) % WEEK_DAYS;

    /* The clock may have been put back across midnight, or the hour may not have come yet: the last
     * boundary at or before t lies some days on either side. */
    while (day_begins(s, day + step) <= t)
        day += step;
    while (day_begins(s, day) > t)
        day -= step;
    return (struct tr_range){ day_begins(s, day), day_begins(s, day + step) };
}

struct tr_range tr_schedule_at(const struct tr_schedule *s, int64_t t)
{
    int64_t step = 0;

    switch (s->unit) {
    case TR_UNIT_SECOND:
        step = s->every * TR_US_PER_S;
        break;
    case TR_UNIT_REALTIME:
    case TR_UNIT_MINUTE:
        step = s->every * TR_US_PER_MIN;
        break;
    case TR_UNIT_HOUR:
        step = TR_US_PER_HOUR;
        break;
    case TR_UNIT_DAY:
    case TR_UNIT_WEEK:
        return local_interval(s, t);
    }
    int64_t lo = floor_to(t, step);
    return (struct tr_range){ lo, lo + step };
}

/* ---- jitter ---- */

static int64_t jitter_width(const struct tr_schedule *s)
{
    switch (s->unit) {
    case TR_UNIT_REALTIME:
    case TR_UNIT_SECOND:
        return 0;
    case TR_UNIT_MINUTE:
        return s->every < 5 ? 0 : s->every * TR_US_PER_MIN / 5;
    case TR_UNIT_HOUR:
        return 15 * TR_US_PER_MIN;
    case TR_UNIT_DAY:
        return 20 * TR_US_PER_MIN;
    case TR_UNIT_WEEK:
        return 30 * TR_US_PER_MIN;
    }
    return 0;
}

int64_t tr_schedule_jitter(const struct tr_schedule *s, const struct tr_uuid *export_id)
{
    int64_t width = jitter_width(s);

    if (width == 0)
        return 0;
    return (int64_t)(tr_hash64(export_id->b, sizeof(export_id->b), 0) % (uint64_t)width);
}
