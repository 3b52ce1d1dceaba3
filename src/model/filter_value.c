/* Numbers and instants as filters read them. Pure. */
#include <math.h>

#include "base/time.h"
#include "model/filter_priv.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool filter_is_number(struct tr_str text)
{
    struct tr_json j;
    struct tr_json_value v;

    if (text.n == 0 || (text.p[0] != '-' && !is_digit(text.p[0])) || !is_digit(text.p[text.n - 1]))
        return false;
    tr_json_init(&j, text);
    return tr_json_next(&j, &v, NULL) == TR_OK && v.type == TR_JSON_NUMBER && v.raw.n == text.n;
}

/* A number as its digits and the power of ten of the first one. Nothing is rounded. */
struct decimal {
    const char *p, *end; /* from the first digit that is not 0 to the exponent; may hold a point */
    int64_t first_power;
    bool minus;
};

static int64_t read_exponent(const char *p, const char *end)
{
    bool minus = p < end && *p == '-';
    int64_t value = 0;

    for (p += p < end && (*p == '-' || *p == '+'); p < end; p++)
        if (value < INT64_C(1000000000000))
            value = value * 10 + (*p - '0');
    return minus ? -value : value;
}

static struct decimal read_decimal(struct tr_str s)
{
    struct decimal d = { .minus = s.p[0] == '-' };
    const char *end = s.p + s.n;
    const char *p = s.p + d.minus;
    const char *e = p;
    const char *point = NULL;

    while (e < end && *e != 'e' && *e != 'E') {
        if (*e == '.')
            point = e;
        e++;
    }
    while (p < e && (*p == '0' || *p == '.'))
        p++;
    d.p = p;
    d.end = e;
    if (p == e) { /* zero */
        d.minus = false;
        return d;
    }
    const char *whole_end = point == NULL ? e : point;
    d.first_power = p < whole_end ? whole_end - p - 1 : whole_end - p;
    if (e < end)
        d.first_power += read_exponent(e + 1, end);
    return d;
}

static char next_digit(struct decimal *d)
{
    if (d->p < d->end && *d->p == '.')
        d->p++;
    return d->p < d->end ? *d->p++ : '0';
}

static int compare_magnitudes(struct decimal a, struct decimal b)
{
    if (a.p == a.end || b.p == b.end)
        return (a.p != a.end) - (b.p != b.end);
    if (a.first_power != b.first_power)
        return a.first_power < b.first_power ? -1 : 1;
    while (a.p < a.end || b.p < b.end) {
        char x = next_digit(&a);
        char y = next_digit(&b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

int filter_compare_numbers(struct tr_str a, struct tr_str b)
{
    struct decimal x = read_decimal(a);
    struct decimal y = read_decimal(b);

    if (x.minus != y.minus)
        return x.minus ? -1 : 1;
    return x.minus ? compare_magnitudes(y, x) : compare_magnitudes(x, y);
}

/* ---- instants ---- */

/* What RFC 3339 asks for and ISO 8601 lets people leave out is put in. */
bool filter_parse_time(struct tr_str text, int64_t *ret)
{
    enum { DATE = 10, TO_MINUTE = 16, MOST = 64 };
    char full[MOST + 16];
    size_t n = 0;

    if (tr_time_parse(text, ret))
        return true;
    if (text.n < DATE || text.n > MOST)
        return false;
    memcpy(full, text.p, text.n);
    n = text.n;
    if (n == DATE) {
        memcpy(full + n, "T00:00:00Z", 10);
        return tr_time_parse((struct tr_str){ full, n + 10 }, ret);
    }
    if (n < TO_MINUTE)
        return false;
    if (n == TO_MINUTE || full[TO_MINUTE] != ':') { /* no seconds */
        memmove(full + TO_MINUTE + 3, full + TO_MINUTE, n - TO_MINUTE);
        memcpy(full + TO_MINUTE, ":00", 3);
        n += 3;
    }
    if (tr_time_parse((struct tr_str){ full, n }, ret))
        return true;
    full[n++] = 'Z';
    return tr_time_parse((struct tr_str){ full, n }, ret);
}

bool filter_unix_time(double number, int64_t *ret)
{
    double us = fabs(number) >= 1e11 ? number * 1e3 : number * 1e6;

    if (!(us >= (double)TR_TIME_MIN && us <= (double)TR_TIME_MAX))
        return false;
    *ret = llround(us);
    return true;
}

static int64_t months_before(int64_t t, int64_t months)
{
    struct tr_civil c;

    tr_civil_from_time(t, &c);
    int64_t month = (int64_t)c.year * 12 + (c.month - 1) - months;
    c.year = (int)(month / 12);
    c.month = (int)(month % 12) + 1;
    while (!tr_civil_valid(c.year, c.month, c.day)) /* the 31st: the month's last day */
        c.day--;
    return tr_time_from_civil(&c);
}

bool filter_parse_relative(struct tr_str text, int64_t reference, int64_t *ret)
{
    enum { DIGITS = 5, MONTHS_MOST = 12 * 1900 };
    int64_t count = 0;

    if (text.n < 3 || text.n > DIGITS + 2 || text.p[0] != '-')
        return false;
    for (size_t i = 1; i < text.n - 1; i++) {
        if (!is_digit(text.p[i]))
            return false;
        count = count * 10 + (text.p[i] - '0');
    }
    if (reference > TR_TIME_MAX || reference < 0)
        reference = reference < 0 ? 0 : TR_TIME_MAX;
    switch (text.p[text.n - 1]) {
    case 'h':
        *ret = reference - count * TR_US_PER_HOUR;
        return true;
    case 'd':
        *ret = reference - count * TR_US_PER_DAY;
        return true;
    case 'w':
        *ret = reference - count * 7 * TR_US_PER_DAY;
        return true;
    case 'm':
    case 'y':
        count *= text.p[text.n - 1] == 'y' ? 12 : 1;
        if (count > MONTHS_MOST)
            return false;
        *ret = months_before(reference, count);
        return true;
    default:
        return false;
    }
}
