/* JSON numbers as C numbers. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

/* A number's decimal digits without leading zeros, and the power of ten of the first one. Digits
 * that no double can tell apart are dropped, but whether any was above zero is not forgotten. */
struct decimal {
    char digits[800];
    size_t n;
    int64_t first_power; /* of digits[0] */
    bool minus, sticky;
};

enum { KEPT_DIGITS = 780 }; /* the longest double that is halfway between two has 768 */

static int64_t read_exponent(const char *p, const char *end)
{
    bool minus = p < end && *p == '-';
    int64_t value = 0;

    for (p += p < end && (*p == '-' || *p == '+'); p < end; p++)
        if (value < INT64_C(1000000000000))
            value = value * 10 + (*p - '0');
    return minus ? -value : value;
}

static void read_decimal(struct tr_str s, struct decimal *d)
{
    const char *end = s.p + s.n;
    const char *p = s.p;
    int64_t whole = 0; /* digits before the point, leading zeros not counted */
    int64_t zeros = 0; /* after the point, before the first other digit */
    bool point = false;

    d->n = 0;
    d->sticky = false;
    d->minus = p < end && *p == '-';
    for (p += d->minus; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (d->n == 0 && *p == '0') {
            zeros += point;
            continue;
        }
        whole += !point;
        if (d->n < KEPT_DIGITS)
            d->digits[d->n++] = *p;
        else
            d->sticky |= *p != '0';
    }
    d->first_power = (whole > 0 ? whole : -zeros) - 1;
    if (p < end)
        d->first_power += read_exponent(p + 1, end);
}

bool tr_json_double(const struct tr_json_value *number, double *ret)
{
    struct decimal d;
    char text[KEPT_DIGITS + 40];

    if (number->type != TR_JSON_NUMBER)
        return false;
    read_decimal(number->raw, &d);
    if (d.n == 0 || d.first_power < -400) {
        *ret = d.minus ? -0.0 : 0.0;
        return true;
    }
    if (d.first_power > 400) {
        *ret = d.minus ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    if (d.sticky)
        d.digits[d.n++] = '1';
    /* No point: strtod's is the locale's. */
    (void)snprintf(text, sizeof(text), "%s%.*se%" PRId64, d.minus ? "-" : "", (int)d.n, d.digits,
                   d.first_power - (int64_t)d.n + 1);
    *ret = strtod(text, NULL);
    return true;
}

bool tr_json_int64(const struct tr_json_value *number, int64_t *ret)
{
    if (number->type != TR_JSON_NUMBER || number->raw.n > 20)
        return false;

    bool minus = number->raw.p[0] == '-';
    int64_t value = 0;
    for (size_t i = minus; i < number->raw.n; i++) {
        char c = number->raw.p[i];
        if (c < '0' || c > '9')
            return false;
        int digit = c - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, minus ? -digit : digit, &value))
            return false;
    }
    *ret = value;
    return true;
}
