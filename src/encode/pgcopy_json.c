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

/* Behind the string whose opening quote is at p; end when it is not closed. */
static const char *skip_string(const char *p, const char *end)
{
    const char *q = p + 1;

    while (q < end && (q = memchr(q, '"', (size_t)(end - q))) != NULL) {
        const char *b = q;
        while (b[-1] == '\\') /* stops at the opening quote */
            b--;
        if ((q - b) % 2 == 0)
            return q + 1;
        q++;
    }
    return end;
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

/* --- order of keys --- */

enum { SORT_MIN = 4, SORT_MAX = 128 };

struct member {
    uint64_t rank; /* length of the key, then its first bytes */
    const char *key;
    size_t key_n;
    size_t n; /* from the key's opening quote, which is before key, to the end of the value */
};

static uint64_t rank_of(const char *key, size_t n)
{
    uint64_t rank = n < 0xFFFF ? n : 0xFFFF;

    for (size_t i = 0; i < 6; i++)
        rank = rank << 8 | (i < n ? (unsigned char)key[i] : 0);
    return rank;
}

static bool comes_after(const struct member *a, const struct member *b)
{
    if (a->rank != b->rank)
        return a->rank > b->rank;
    if (a->key_n != b->key_n)
        return a->key_n > b->key_n;
    return memcmp(a->key, b->key, a->key_n) > 0;
}

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static const char *skip_value(const char *p, const char *end)
{
    int depth = 0;

    if (p < end && *p == '"')
        return skip_string(p, end);
    if (p < end && *p != '{' && *p != '[') {
        while (p < end && *p != ',' && *p != '}' && *p != ' ' && *p != '\n' && *p != '\r' &&
               *p != '\t')
            p++;
        return p;
    }
    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = skip_string(p, end);
            continue;
        }
        p++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            break;
    }
    return p;
}

/* The members of the object in m; how many, or 0 when this is not worth it or not possible. */
static size_t split(struct tr_str json, struct member *m)
{
    const char *p = json.p, *end = json.p + json.n;
    size_t n = 0;

    if (json.n == 0 || *p != '{')
        return 0;
    p = skip_blank(p + 1, end);
    while (p < end && *p == '"') {
        const char *key_end = skip_string(p, end);
        if (n == SORT_MAX || key_end - p < 2)
            return 0;
        m[n].key = p + 1;
        m[n].key_n = (size_t)(key_end - p) - 2;
        if (memchr(m[n].key, '\\', m[n].key_n) != NULL)
            return 0;
        m[n].rank = rank_of(m[n].key, m[n].key_n);
        const char *value = skip_blank(key_end, end);
        if (value == end || *value != ':')
            return 0;
        const char *value_end = skip_value(skip_blank(value + 1, end), end);
        m[n].n = (size_t)(value_end - p);
        n++;
        p = skip_blank(value_end, end);
        if (p < end && *p == '}')
            return n < SORT_MIN ? 0 : n;
        if (p == end || *p != ',')
            return 0;
        p = skip_blank(p + 1, end);
    }
    return 0;
}

/* By insertion: few members, and it keeps equal keys in order. False when they were in order. */
static bool sort(struct member *m, size_t n)
{
    bool moved = false;

    for (size_t i = 1; i < n; i++) {
        size_t at = i;
        if (!comes_after(&m[i - 1], &m[i]))
            continue;
        struct member one = m[i];
        for (; at > 0 && comes_after(&m[at - 1], &one); at--)
            m[at] = m[at - 1];
        m[at] = one;
        moved = true;
    }
    return moved;
}

size_t tr_pgjson_sort(struct tr_str json, char *out)
{
    struct member m[SORT_MAX];
    char *p = out;
    size_t n = split(json, m);

    if (n == 0 || !sort(m, n))
        return 0;
    for (size_t i = 0; i < n; i++) {
        *p++ = i == 0 ? '{' : ',';
        memcpy(p, m[i].key - 1, m[i].n);
        p += m[i].n;
    }
    *p++ = '}';
    return (size_t)(p - out);
}
