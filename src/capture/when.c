#include "capture/when.h"

struct cursor {
    const char *p, *end;
};

static bool take(struct cursor *c, char wanted)
{
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static bool take_any(struct cursor *c, const char *wanted)
{
    if (c->p == c->end || *c->p == '\0' || strchr(wanted, *c->p) == NULL)
        return false;
    c->p++;
    return true;
}

static void skip_blanks(struct cursor *c)
{
    while (take_any(c, " \t"))
        ;
}

/* Reads at least min and at most max digits; returns how many, 0 when there are fewer. */
static int take_digits(struct cursor *c, int min, int max, int *ret)
{
    int n = 0;
    int value = 0;

    while (n < max && c->end - c->p > n && c->p[n] >= '0' && c->p[n] <= '9')
        value = value * 10 + (c->p[n++] - '0');
    if (n < min)
        return 0;
    c->p += n;
    *ret = value;
    return n;
}

/* Digits of a fraction, cut at microseconds. */
static bool take_fraction(struct cursor *c, int *ret_us)
{
    int us = 0;
    int scale = 100000;
    const char *from = c->p;

    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
        us += (*c->p - '0') * scale;
        scale /= 10;
    }
    *ret_us = us;
    return c->p > from;
}

/* hh:mm[:ss[.fraction]] */
static bool take_time(struct cursor *c, struct tr_civil *t)
{
    if (take_digits(c, 1, 2, &t->hour) == 0 || !take(c, ':') ||
        take_digits(c, 2, 2, &t->minute) == 0)
        return false;
    if (take(c, ':')) {
        if (take_digits(c, 2, 2, &t->second) == 0)
            return false;
        if (take_any(c, ".,") && !take_fraction(c, &t->us))
            return false;
    }
    return t->hour <= 23 && t->minute <= 59 && t->second <= 60; /* 60: a leap second */
}

/* Letters at the cursor as one of names, in any case; its index, or -1. */
static int take_name(struct cursor *c, const char *const *names, size_t n_names)
{
    struct tr_str word = { c->p, 0 };

    while (word.p + word.n < c->end &&
           ((word.p[word.n] | 0x20) >= 'a' && (word.p[word.n] | 0x20) <= 'z'))
        word.n++;
    for (size_t i = 0; i < n_names; i++) {
        if (tr_str_eq_nocase(word, tr_str_of(names[i]))) {
            c->p += word.n;
            return (int)i;
        }
    }
    return -1;
}

/* "Z", "UTC", "+03", "+0300", "+03:00", the zone names of RFC 2822; nothing is UTC. */
static bool take_zone(struct cursor *c, int *ret_minutes)
{
    static const char *const names[] = { "Z",   "UTC", "GMT", "UT",  "EST", "EDT",
                                         "CST", "CDT", "MST", "MDT", "PST", "PDT" };
    static const int hours_of[] = { 0, 0, 0, 0, -5, -4, -6, -5, -7, -6, -8, -7 };
    int hours = 0;
    int minutes = 0;

    skip_blanks(c);
    *ret_minutes = 0;
    if (c->p == c->end)
        return true;
    bool minus = *c->p == '-';
    if (!take_any(c, "+-")) {
        int name = take_name(c, names, sizeof(names) / sizeof(names[0]));
        if (name < 0)
            return false;
        *ret_minutes = hours_of[name] * 60;
        return true;
    }
    if (take_digits(c, 2, 2, &hours) == 0)
        return false;
    bool colon = take(c, ':');
    if (take_digits(c, 2, 2, &minutes) == 0 && colon)
        return false;
    *ret_minutes = (minus ? -1 : 1) * (hours * 60 + minutes);
    return hours <= 23 && minutes <= 59;
}

static bool finish(struct cursor *c, const struct tr_civil *t, int zone_minutes, int64_t *ret)
{
    skip_blanks(c);
    if (c->p != c->end || !tr_civil_valid(t->year, t->month, t->day))
        return false;
    *ret = tr_time_from_civil(t) - zone_minutes * TR_US_PER_MIN;
    return true;
}

/* What follows a date in digits: nothing, or a time with or without a zone. */
static bool finish_date(struct cursor *c, struct tr_civil *t, int64_t *ret)
{
    int zone = 0;

    if (c->p != c->end) {
        if (!take_any(c, "Tt "))
            return false;
        skip_blanks(c);
        if (!take_time(c, t) || !take_zone(c, &zone))
            return false;
    }
    return finish(c, t, zone, ret);
}

static bool parse_iso(struct cursor c, int64_t *ret)
{
    struct tr_civil t = { 0 };

    if (take_digits(&c, 4, 4, &t.year) == 0)
        return false;
    char separator = c.p < c.end && *c.p == '/' ? '/' : '-';
    if (!take(&c, separator) || take_digits(&c, 1, 2, &t.month) == 0 || !take(&c, separator) ||
        take_digits(&c, 1, 2, &t.day) == 0)
        return false;
    return finish_date(&c, &t, ret);
}

/* Month first, as a JavaScript Date reads it. */
static bool parse_slashes(struct cursor c, int64_t *ret)
{
    struct tr_civil t = { 0 };

    if (take_digits(&c, 1, 2, &t.month) == 0 || !take(&c, '/') ||
        take_digits(&c, 1, 2, &t.day) == 0 || !take(&c, '/') || take_digits(&c, 4, 4, &t.year) == 0)
        return false;
    return finish_date(&c, &t, ret);
}

static bool parse_rfc2822(struct cursor c, int64_t *ret)
{
    static const char *const weekdays[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct tr_civil t = { 0 };
    int zone = 0;

    if (take_name(&c, weekdays, 7) >= 0 && !take(&c, ','))
        return false;
    skip_blanks(&c);
    if (take_digits(&c, 1, 2, &t.day) == 0)
        return false;
    skip_blanks(&c);
    t.month = take_name(&c, months, 12) + 1;
    skip_blanks(&c);
    int year_digits = take_digits(&c, 2, 4, &t.year);
    if (year_digits == 0)
        return false;
    if (year_digits == 2) /* RFC 2822, 4.3 */
        t.year += t.year < 50 ? 2000 : 1900;
    else if (year_digits == 3)
        t.year += 1900;
    skip_blanks(&c);
    if (!take_time(&c, &t) || !take_zone(&c, &zone))
        return false;
    return finish(&c, &t, zone, ret);
}

/* From here up a number means milliseconds: as seconds it would be the year 5138. */
#define MS_FROM INT64_C(100000000000)

bool tr_when_number(struct tr_str s, int64_t *ret)
{
    struct cursor c = { s.p, s.p + s.n };
    bool minus = take(&c, '-');
    int64_t whole = 0;
    int us = 0;
    const char *from = c.p;

    for (; c.p < c.end && *c.p >= '0' && *c.p <= '9'; c.p++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *c.p - '0', &whole))
            return false;
    if (c.p == from || (take(&c, '.') && !take_fraction(&c, &us)) || c.p != c.end)
        return false;

    int64_t t;
    if (whole >= MS_FROM) {
        if (__builtin_mul_overflow(whole, TR_US_PER_MS, &t) ||
            __builtin_add_overflow(t, us / 1000, &t))
            return false;
    } else {
        t = whole * TR_US_PER_S + us;
    }
    t = minus ? -t : t;
    if (t < TR_TIME_MIN || t > TR_TIME_MAX)
        return false;
    *ret = t;
    return true;
}

bool tr_when_parse(struct tr_str s, int64_t *ret)
{
    s = tr_str_trim(s);
    if (s.n == 0)
        return false;
    struct cursor c = { s.p, s.p + s.n };

    return parse_iso(c, ret) || parse_slashes(c, ret) || parse_rfc2822(c, ret) ||
           tr_when_number(s, ret);
}
