#include "base/time.h"

#include <stdio.h>

int64_t tr_days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + doe - 719468;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

bool tr_civil_valid(int year, int month, int day)
{
    static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    if (month < 1 || month > 12 || day < 1)
        return false;
    return day <= days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

int64_t tr_time_from_civil(const struct tr_civil *c)
{
    int64_t s = tr_days_from_civil(c->year, c->month, c->day) * 86400 + c->hour * 3600 +
                c->minute * 60 + c->second;
    return s * TR_US_PER_S + c->us;
}

void tr_civil_from_time(int64_t t, struct tr_civil *ret)
{
    int64_t days = t / TR_US_PER_DAY;
    int64_t rest = t % TR_US_PER_DAY;

    if (rest < 0) {
        rest += TR_US_PER_DAY;
        days--;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    ret->day = (int)(doy - (153 * mp + 2) / 5 + 1);
    ret->month = (int)(mp < 10 ? mp + 3 : mp - 9);
    ret->year = (int)(yoe + era * 400 + (ret->month <= 2 ? 1 : 0));
    ret->us = (int)(rest % TR_US_PER_S);
    rest /= TR_US_PER_S;
    ret->second = (int)(rest % 60);
    ret->minute = (int)(rest / 60 % 60);
    ret->hour = (int)(rest / 3600);
}

int tr_weekday(int64_t days)
{
    int64_t w = (days + 4) % 7;

    return (int)(w < 0 ? w + 7 : w);
}

static void put_digits(char *out, int value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

size_t tr_time_format(int64_t t, char out[TR_TIME_TEXT])
{
    struct tr_civil c;

    tr_civil_from_time(t, &c);
    memcpy(out, "0000-00-00T00:00:00.000000Z", TR_TIME_TEXT);
    put_digits(out, c.year, 4);
    put_digits(out + 5, c.month, 2);
    put_digits(out + 8, c.day, 2);
    put_digits(out + 11, c.hour, 2);
    put_digits(out + 14, c.minute, 2);
    put_digits(out + 17, c.second, 2);
    put_digits(out + 20, c.us, 6);
    return TR_TIME_TEXT - 1;
}

/* Reads exactly width digits at *i. */
static bool digits(struct tr_str s, size_t *i, size_t width, int *ret)
{
    int value = 0;

    if (s.n - *i < width)
        return false;
    for (size_t k = 0; k < width; k++) {
        char c = s.p[*i + k];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *i += width;
    *ret = value;
    return true;
}

static bool literal(struct tr_str s, size_t *i, const char *any_of)
{
    if (*i >= s.n || strchr(any_of, s.p[*i]) == NULL || s.p[*i] == '\0')
        return false;
    (*i)++;
    return true;
}

static bool fraction(struct tr_str s, size_t *i, int *ret_us)
{
    int us = 0;
    int scale = 100000;
    size_t from = *i;

    for (; *i < s.n && s.p[*i] >= '0' && s.p[*i] <= '9'; (*i)++) {
        us += (s.p[*i] - '0') * scale;
        scale /= 10;
    }
    *ret_us = us;
    return *i > from;
}

static bool zone(struct tr_str s, size_t *i, int *ret_minutes)
{
    int hours = 0;
    int minutes = 0;

    if (literal(s, i, "Zz")) {
        *ret_minutes = 0;
        return true;
    }
    bool minus = *i < s.n && s.p[*i] == '-';
    if (!literal(s, i, "+-") || !digits(s, i, 2, &hours) || !literal(s, i, ":") ||
        !digits(s, i, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = (minus ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

bool tr_time_parse(struct tr_str s, int64_t *ret)
{
    struct tr_civil c = { 0 };
    size_t i = 0;
    int offset = 0;

    if (!digits(s, &i, 4, &c.year) || !literal(s, &i, "-") || !digits(s, &i, 2, &c.month) ||
        !literal(s, &i, "-") || !digits(s, &i, 2, &c.day) || !literal(s, &i, "Tt ") ||
        !digits(s, &i, 2, &c.hour) || !literal(s, &i, ":") || !digits(s, &i, 2, &c.minute) ||
        !literal(s, &i, ":") || !digits(s, &i, 2, &c.second))
        return false;
    if (literal(s, &i, ".,") && !fraction(s, &i, &c.us))
        return false;
    if (!zone(s, &i, &offset) || i != s.n)
        return false;
    if (c.year < 1 || !tr_civil_valid(c.year, c.month, c.day) || c.hour > 23 || c.minute > 59 ||
        c.second > 60)
        return false;
    *ret = tr_time_from_civil(&c) - offset * TR_US_PER_MIN;
    return *ret >= TR_TIME_MIN && *ret <= TR_TIME_MAX;
}
