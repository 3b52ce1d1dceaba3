/* JSON values as BigQuery's type JSON can keep them.
 *
 * "JSON type", GoogleSQL data types: integers from -2^63 to 2^64-1 and float64 numbers, nesting up
 * to 500. A number is refused when reading it as float64 and writing it again, in BigQuery's own
 * way (bigquery_number.c), gives other digits. So such numbers get those digits here, where it can
 * be counted, instead of failing a whole load; it is the nearest float64 that they stand for. One
 * beyond float64 becomes a string of its digits. Half a surrogate pair is no character: it becomes
 * \ufffd. A line of NDJSON holds no line break.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"

enum {
    DIGITS_KEPT = 40, /* significant digits that are compared: float64 writes 17 at most */
    TEXT_KEPT =
        1000, /* of a number: BigQuery takes up to 1,500 characters (CheckNumberRoundtrip) */
};

/* ---- numbers ---- */

/* The digits of a number without zeros at either end, and where its point stands. */
struct decimal {
    char digits[DIGITS_KEPT];
    size_t n;         /* significant digits, DIGITS_KEPT of which are kept */
    int64_t exponent; /* of the last digit */
    bool is_whole;    /* written without point and exponent */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int64_t read_exponent(const char *p, const char *end)
{
    int64_t e = 0;
    bool negative = p < end && *p == '-';

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end; p++)
        if (e < INT32_MAX)
            e = e * 10 + (*p - '0');
    return negative ? -e : e;
}

static void read_decimal(struct tr_str s, struct decimal *d)
{
    const char *p = s.p, *end = s.p + s.n;
    bool after_point = false;
    int64_t zeros = 0; /* behind the last significant digit, as far as read */
    int64_t fraction = 0;

    *d = (struct decimal){ .is_whole = true };
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            after_point = true;
            d->is_whole = false;
        }
        if (!is_digit(*p))
            continue;
        fraction += after_point;
        if (*p == '0') {
            zeros += d->n > 0;
            continue;
        }
        for (; zeros > 0; zeros--, d->n++)
            if (d->n < DIGITS_KEPT)
                d->digits[d->n] = '0';
        if (d->n < DIGITS_KEPT)
            d->digits[d->n] = *p;
        d->n++;
    }
    if (p < end)
        d->is_whole = false;
    d->exponent = (p < end ? read_exponent(p + 1, end) : 0) - fraction + zeros;
}

static bool same(const struct decimal *a, const struct decimal *b)
{
    if (a->n == 0 || b->n == 0)
        return a->n == b->n;
    return a->n == b->n && a->n <= DIGITS_KEPT && a->exponent == b->exponent &&
           memcmp(a->digits, b->digits, a->n) == 0;
}

static bool fits_integer(const char *z)
{
    errno = 0;
    if (*z == '-')
        (void)strtoll(z, NULL, 10);
    else
        (void)strtoull(z, NULL, 10);
    return errno == 0;
}

/* True when its digits had to be changed. */
static bool add_number(struct tr_buf *out, struct tr_str s)
{
    struct decimal was, is;
    char text[BQ_NUMBER];
    size_t start = out->n;

    read_decimal(s, &was);
    tr_buf_str(out, s);
    tr_buf_ch(out, '\0');
    if (out->failed)
        return false;
    out->n--;
    const char *z = out->p + start;
    if (was.is_whole && fits_integer(z))
        return false;
    double v = strtod(z, NULL);
    if (!isfinite(v)) {
        out->n = start;
        tr_buf_ch(out, '"');
        tr_buf_str(out, s);
        tr_buf_ch(out, '"');
        return true;
    }
    size_t n = bq_number(v, text);
    read_decimal((struct tr_str){ text, n }, &is);
    bool as_it_was = same(&was, &is);
    if (as_it_was && s.n <= TEXT_KEPT && was.n != 0)
        return false;
    out->n = start;
    tr_buf_add(out, text, n);
    return !as_it_was;
}

/* ---- strings ---- */

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The code unit of the escape \uXXXX at p, or -1. */
static int escaped_unit(const char *p, const char *end)
{
    int unit = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
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

/* p is at a backslash: adds the escape, and the other half of a pair; returns what is behind. */
static const char *add_escape(struct tr_buf *out, const char *p, const char *end, bool *changed)
{
    int unit = escaped_unit(p, end);
    size_t n = unit < 0 ? 2 : 6;

    if (n > (size_t)(end - p))
        n = (size_t)(end - p);
    if (is_high(unit) && is_low(escaped_unit(p + 6, end))) {
        n = 12;
    } else if (is_high(unit) || is_low(unit)) {
        tr_buf_z(out, "\\ufffd");
        *changed = true;
        return p + n;
    }
    tr_buf_add(out, p, n);
    return p + n;
}

/* p is at the opening quote. */
static const char *add_string(struct tr_buf *out, const char *p, const char *end, bool *changed)
{
    const char *from = p++;

    while (p < end && *p != '"') {
        if (*p != '\\') {
            p++;
            continue;
        }
        tr_buf_add(out, from, (size_t)(p - from));
        p = add_escape(out, p, end, changed);
        from = p;
    }
    p += p < end;
    tr_buf_add(out, from, (size_t)(p - from));
    return p;
}

/* ---- values ---- */

static const char *skip_token(const char *p, const char *end)
{
    while (p < end && strchr(",]} \t\r\n", *p) == NULL)
        p++;
    return p;
}

/* A number, or one of the bare words that JSON does not have. */
static const char *add_token(struct tr_buf *out, const char *p, const char *end, bool *changed)
{
    struct tr_str token = { p, (size_t)(skip_token(p, end) - p) };

    if (is_digit(*p) || (*p == '-' && token.n > 1 && is_digit(p[1]))) {
        *changed |= add_number(out, token);
    } else if (*p == 'N' || *p == 'I' || *p == '-') {
        tr_buf_z(out, "null");
        *changed = true;
    } else {
        tr_buf_str(out, token);
    }
    return p + token.n;
}

enum bq_json bq_json_add(struct tr_buf *out, struct tr_str json)
{
    const char *p = json.p, *end = json.p + json.n;
    bool changed = false;
    int depth = 0;

    while (p < end) {
        switch (*p) {
        case '"':
            p = add_string(out, p, end, &changed);
            continue;
        case '{':
        case '[':
            if (++depth > BQ_JSON_DEPTH)
                return BQ_JSON_DEEP;
            break;
        case '}':
        case ']':
            depth--;
            break;
        case ',':
        case ':':
            break;
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            p++;
            continue;
        default:
            p = add_token(out, p, end, &changed);
            continue;
        }
        tr_buf_ch(out, *p++);
    }
    return changed ? BQ_JSON_REPAIRED : BQ_JSON_SAME;
}
