/* POSIX TZ strings, with the extension of TZif version 3: times from -167 to 167 hours. */
#include "base/time.h"
#include "model/zone_priv.h"

enum { DAY_S = 86400, HOUR_S = 3600 };

/* ---- reading ---- */

static bool next_is(const struct tr_str *s, char c)
{
    return s->n > 0 && s->p[0] == c;
}

static bool take(struct tr_str *s, char c)
{
    if (!next_is(s, c))
        return false;
    s->p++;
    s->n--;
    return true;
}

static bool number(struct tr_str *s, int most, int *ret)
{
    int value = 0;
    size_t digits = 0;

    while (s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9' && digits < 4) {
        value = value * 10 + (s->p[0] - '0');
        (void)take(s, s->p[0]);
        digits++;
    }
    *ret = value;
    return digits > 0 && value <= most;
}

static bool abbreviation(struct tr_str *s)
{
    size_t n = 0;

    if (take(s, '<')) {
        while (s->n > 0 && !next_is(s, '>'))
            (void)take(s, s->p[0]);
        return take(s, '>');
    }
    while (s->n > 0 && ((s->p[0] >= 'A' && s->p[0] <= 'Z') || (s->p[0] >= 'a' && s->p[0] <= 'z'))) {
        (void)take(s, s->p[0]);
        n++;
    }
    return n >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool clock_time(struct tr_str *s, int most_hours, int *ret)
{
    bool minus = take(s, '-');
    int h = 0;
    int m = 0;
    int sec = 0;

    if (!minus)
        (void)take(s, '+');
    if (!number(s, most_hours, &h))
        return false;
    if (take(s, ':') && (!number(s, 59, &m) || (take(s, ':') && !number(s, 59, &sec))))
        return false;
    *ret = (minus ? -1 : 1) * (h * HOUR_S + m * 60 + sec);
    return true;
}

static bool rule_day(struct tr_str *s, struct rule_day *ret)
{
    *ret = (struct rule_day){ .time_s = 2 * HOUR_S };
    if (take(s, 'M')) {
        ret->form = RULE_MONTH_WEEK_DAY;
        if (!number(s, 12, &ret->month) || !take(s, '.') || !number(s, 5, &ret->week) ||
            !take(s, '.') || !number(s, 6, &ret->day) || ret->month < 1 || ret->week < 1)
            return false;
    } else if (take(s, 'J')) {
        ret->form = RULE_JULIAN;
        if (!number(s, 365, &ret->day) || ret->day < 1)
            return false;
    } else {
        ret->form = RULE_DAY_OF_YEAR;
        if (!number(s, 365, &ret->day))
            return false;
    }
    return !take(s, '/') || clock_time(s, 167, &ret->time_s);
}

bool tr_zone_rule_parse(struct tr_str text, struct zone_rule *ret)
{
    struct tr_str s = text;
    int west = 0;

    *ret = (struct zone_rule){ 0 };
    if (!abbreviation(&s) || !clock_time(&s, 24, &west))
        return false;
    ret->std_s = -west; /* POSIX counts westwards */
    if (s.n == 0)
        return true;

    ret->has_dst = true;
    ret->dst_s = ret->std_s + HOUR_S;
    if (!abbreviation(&s))
        return false;
    if (s.n > 0 && !next_is(&s, ',')) {
        if (!clock_time(&s, 24, &west))
            return false;
        ret->dst_s = -west;
    }
    return take(&s, ',') && rule_day(&s, &ret->start) && take(&s, ',') && rule_day(&s, &ret->end) &&
           s.n == 0;
}

/* ---- using ---- */

static int64_t day_in_year(const struct rule_day *d, int year)
{
    int64_t january = tr_days_from_civil(year, 1, 1);

    switch (d->form) {
    case RULE_JULIAN: {
        bool past_february = d->day > 59;
        bool leap = tr_civil_valid(year, 2, 29);
        return january + d->day - 1 + (past_february && leap ? 1 : 0);
    }
    case RULE_DAY_OF_YEAR:
        return january + d->day;
    case RULE_MONTH_WEEK_DAY:
        break;
    }
    int64_t first = tr_days_from_civil(year, d->month, 1);
    int64_t day = first + (d->day - tr_weekday(first) + 7) % 7 + (int64_t)(d->week - 1) * 7;
    /* week 5 is the last one of the month, which may be the fourth */
    int in_month = (int)(day - first) + 1;
    return tr_civil_valid(year, d->month, in_month) ? day : day - 7;
}

static int year_of(int64_t s)
{
    struct tr_civil c;

    /* tr_civil_from_time counts in microseconds: keep inside its range */
    if (s > TR_TIME_MAX / TR_US_PER_S)
        s = TR_TIME_MAX / TR_US_PER_S;
    if (s < TR_TIME_MIN / TR_US_PER_S)
        s = TR_TIME_MIN / TR_US_PER_S;
    tr_civil_from_time(s * TR_US_PER_S, &c);
    return c.year;
}

static int64_t starts_in(const struct zone_rule *r, int year)
{
    return day_in_year(&r->start, year) * DAY_S + r->start.time_s - r->std_s;
}

static int64_t ends_in(const struct zone_rule *r, int year)
{
    return day_in_year(&r->end, year) * DAY_S + r->end.time_s - r->dst_s;
}

int tr_zone_rule_offset(const struct zone_rule *r, int64_t s)
{
    if (!r->has_dst)
        return r->std_s;

    /* The latest change at or before s decides; where an end and a start fall together (summer time
     * all year round) the start does. */
    int year = year_of(s);
    int64_t start = INT64_MIN;
    int64_t end = INT64_MIN;
    for (int y = year - 2; y <= year + 1; y++) {
        int64_t a = starts_in(r, y);
        int64_t b = ends_in(r, y);
        if (a <= s && a > start)
            start = a;
        if (b <= s && b > end)
            end = b;
    }
    return start >= end ? r->dst_s : r->std_s;
}

int64_t tr_zone_rule_next(const struct zone_rule *r, int64_t s)
{
    int64_t next = INT64_MAX;

    if (!r->has_dst)
        return next;
    int year = year_of(s);
    for (int y = year - 1; y <= year + 2; y++) {
        int64_t a = starts_in(r, y);
        int64_t b = ends_in(r, y);
        if (a > s && a < next)
            next = a;
        if (b > s && b < next)
            next = b;
    }
    return next;
}
