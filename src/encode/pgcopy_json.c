#include "encode/pgcopy_json.h"

#include <stdint.h>

enum { NUMERIC_DIGITS_BEFORE = 131072, NUMERIC_DIGITS_AFTER = 16383, EXPONENT_CAP = 10000000 };

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The code unit of the escape \uXXXX at p, or -1 when there is no such escape in n bytes. */
static int escaped_unit(const char *p, size_t n)
{
    int unit = 0;

    if (n < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_high(int unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low(int unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

bool tr_pgjson_repair(char *json, size_t n)
{
    char *end = json + n;
    char *p = json;
    bool changed = false;

    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int unit = escaped_unit(p, (size_t)(end - p));

        if (unit < 0) {
            p += end - p < 2 ? 1 : 2;
            continue;
        }
        if (is_high(unit) && is_low(escaped_unit(p + 6, (size_t)(end - p - 6)))) {
            p += 12;
            continue;
        }
        if (unit == 0 || is_high(unit) || is_low(unit)) {
            memcpy(p, "\\ufffd", 6);
            changed = true;
        }
        p += 6;
    }
    return changed;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static const char *skip_zeros(const char *p, const char *end)
{
    while (p < end && *p == '0')
        p++;
    return p;
}

/* The exponent behind "e", held at a cap that is far beyond every limit. */
static int64_t read_exponent(const char **pp, const char *end)
{
    const char *p = *pp;
    int64_t e = 0;
    bool negative = false;

    if (p < end && (*p == '+' || *p == '-'))
        negative = *p++ == '-';
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (e < EXPONENT_CAP)
            e = e * 10 + (*p - '0');
    *pp = p;
    return negative ? -e : e;
}

/* The number at *pp, which is moved behind it. numeric counts the digits after the point as written
 * (0e-20000 has 20000 of them), and before the point from the first that is not zero. */
static bool number_fits(const char **pp, const char *end)
{
    const char *p = *pp;

    if (*p == '-')
        p++;
    const char *whole = skip_zeros(p, end);
    const char *whole_end = skip_digits(whole, end);
    const char *fraction = whole_end, *fraction_end = whole_end;
    if (whole_end < end && *whole_end == '.') {
        fraction = whole_end + 1;
        fraction_end = skip_digits(fraction, end);
    }
    p = fraction_end;
    int64_t exponent = 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        exponent = read_exponent(&p, end);
    }
    *pp = p;

    if ((fraction_end - fraction) - exponent > NUMERIC_DIGITS_AFTER)
        return false;
    int64_t before;
    if (whole_end > whole) {
        before = (whole_end - whole) + exponent;
    } else {
        const char *first = skip_zeros(fraction, fraction_end);
        if (first == fraction_end)
            return true; /* zero, whatever its exponent */
        before = exponent - (first - fraction);
    }
    return before <= NUMERIC_DIGITS_BEFORE;
}

/* Behind the string whose opening quote is at p. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\' && p + 1 < end)
            p++;
    return p < end ? p + 1 : end;
}

bool tr_pgjson_numbers_fit(struct tr_str json)
{
    const char *p = json.p, *end = json.p + json.n;

    while (p < end) {
        if (*p == '"')
            p = skip_string(p, end);
        else if (*p == '-' || (*p >= '0' && *p <= '9')) {
            if (!number_fits(&p, end))
                return false;
        } else
            p++;
    }
    return true;
}
