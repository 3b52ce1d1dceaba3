#include "base/json.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/json_priv.h"
#include "base/utf8.h"

const char *tr_json_fault_at(struct tr_json_fault *f, const char *at, const char *id,
                             const char *what)
{
    *f = (struct tr_json_fault){ id, at, what };
    return NULL;
}

enum tr_rc tr_json_fail(const struct tr_json *j, const struct tr_json_fault *f, struct tr_err *err)
{
    return tr_fail(err, TR_INVALID, f->id, NULL, "not JSON at byte %zu: %s",
                   (size_t)(f->at - j->start), f->what);
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- strings ---- */

/* The first byte that ends a run of plain characters: a quote, a backslash, a control character or
 * one outside ASCII. */
static inline const char *plain_run(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i blank = _mm_set1_epi8(' ');

    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* As signed bytes, those from 0x80 up are below the blank too. */
        __m128i odd =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, backslash)),
                         _mm_cmplt_epi8(x, blank));
        int mask = _mm_movemask_epi8(odd);
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)(*p - 0x20) < 0x60)
        p++;
    return p;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hex digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* p is at a backslash. */
static const char *escape(const char *p, const char *end, uint32_t *flags, struct tr_json_fault *f)
{
    if (end - p < 2)
        return tr_json_cut(f, end);
    *flags |= TR_JSON_ESCAPES;
    if (p[1] != 'u') {
        if (p[1] == '\0' || strchr("\"\\/bfnrt", p[1]) == NULL)
            return tr_json_wrong(f, p, "an unknown escape in a string");
        return p + 2;
    }
    int unit = hex4(p + 2, end);
    if (unit < 0)
        return end - p < 6 ? tr_json_cut(f, end)
                           : tr_json_wrong(f, p, "\\u without four hex digits");
    p += 6;
    if (unit == 0)
        *flags |= TR_JSON_NUL;
    if (unit < 0xD800 || unit > 0xDFFF)
        return p;
    if (unit <= 0xDBFF && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int low = hex4(p + 2, end);
        if (low >= 0xDC00 && low <= 0xDFFF)
            return p + 6;
    }
    *flags |= TR_JSON_SURROGATE;
    return p;
}

/* The rest of a string from a byte that is not plain. */
__attribute__((noinline)) static const char *string_rest(const char *p, const char *end,
                                                         uint32_t *flags, struct tr_json_fault *f)
{
    for (;; p = plain_run(p, end)) {
        if (p == end)
            return tr_json_cut(f, end);
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            p = escape(p, end, flags, f);
            if (p == NULL)
                return NULL;
            continue;
        }
        if ((unsigned char)*p < 0x20)
            return tr_json_wrong(f, p, "a raw control character in a string");
        *flags |= TR_JSON_NON_ASCII;
        do {
            size_t width = tr_utf8_width(p, (size_t)(end - p));
            if (width == 0)
                return tr_json_fault_at(f, p, "json.utf8", "bytes that are not UTF-8");
            p += width;
        } while (p < end && (*p & 0x80) != 0);
    }
}

/* p is behind the opening quote. */
static inline const char *string(const char *p, const char *end, uint32_t *flags,
                                 struct tr_json_fault *f)
{
    p = plain_run(p, end);
    if (p < end && *p == '"')
        return p + 1;
    return string_rest(p, end, flags, f);
}

/* ---- numbers and words ---- */

/* A word of constant length. */
#define WORD(p, end, text, f) word(p, end, text, sizeof(text) - 1, f)

static inline const char *word(const char *p, const char *end, const char *text, size_t n,
                               struct tr_json_fault *f)
{
    size_t left = (size_t)(end - p);

    if (left >= n && memcmp(p, text, n) == 0)
        return p + n;
    return left < n && memcmp(p, text, left) == 0 ? tr_json_cut(f, end)
                                                  : tr_json_wrong(f, p, "an unknown word");
}

static const char *digits(const char *p, const char *end, struct tr_json_fault *f)
{
    if (p == end)
        return tr_json_cut(f, end);
    if (!is_digit(*p))
        return tr_json_wrong(f, p, "a digit is missing in a number");
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* Digits of an exponent as a value; stops growing where it no longer matters. */
static long exponent_value(const char *p, const char *end)
{
    long value = 0;
    bool minus = *p == '-';

    for (p += *p == '-' || *p == '+'; p < end; p++)
        if (value < 100000000)
            value = value * 10 + (*p - '0');
    return minus ? -value : value;
}

static bool beyond_int64(const char *p, size_t n, bool minus)
{
    return n > 19 ||
           (n == 19 && memcmp(p, minus ? "9223372036854775808" : "9223372036854775807", 19) > 0);
}

/* p is at a digit or a minus. */
static const char *number(const char *p, const char *end, uint32_t *flags, struct tr_json_fault *f)
{
    bool minus = *p == '-';

    p += minus;
    if (minus && p < end && *p == 'I') {
        *flags |= TR_JSON_BARE;
        return WORD(p, end, "Infinity", f);
    }
    const char *whole = p;
    p = digits(p, end, f);
    if (p == NULL)
        return NULL;
    size_t whole_n = (size_t)(p - whole);
    if (whole_n > 1 && *whole == '0')
        return tr_json_wrong(f, whole, "a number with a leading zero");
    if (p == end || (*p != '.' && *p != 'e' && *p != 'E')) {
        if (whole_n >= 19 && beyond_int64(whole, whole_n, minus))
            *flags |= TR_JSON_BIG_INT;
        if (whole_n > 300)
            *flags |= TR_JSON_WIDE_EXP;
        return p;
    }

    size_t fraction_n = 0;
    if (*p == '.') {
        const char *fraction = p + 1;
        p = digits(fraction, end, f);
        if (p == NULL)
            return NULL;
        fraction_n = (size_t)(p - fraction);
    }
    long exponent = 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *from = p + 1;
        p = digits(from + (from < end && (*from == '-' || *from == '+')), end, f);
        if (p == NULL)
            return NULL;
        exponent = exponent_value(from, p);
    }
    if (whole_n + fraction_n > 300 || exponent + (long)whole_n - 1 > 300 ||
        exponent - (long)fraction_n < -300)
        *flags |= TR_JSON_WIDE_EXP;
    return p;
}

/* Anything but an object or an array; p < end. */
static inline const char *scalar(const char *p, const char *end, uint32_t *flags,
                                 struct tr_json_fault *f)
{
    switch (*p) {
    case '"':
        return string(p + 1, end, flags, f);
    case 't':
        return WORD(p, end, "true", f);
    case 'f':
        return WORD(p, end, "false", f);
    case 'n':
        return WORD(p, end, "null", f);
    case 'N':
        *flags |= TR_JSON_BARE;
        return WORD(p, end, "NaN", f);
    case 'I':
        *flags |= TR_JSON_BARE;
        return WORD(p, end, "Infinity", f);
    default:
        if (is_digit(*p) || *p == '-')
            return number(p, end, flags, f);
        return tr_json_wrong(f, p, "a value is expected");
    }
}

/* ---- values ---- */

/* A key and its colon, from any blanks before it to any behind it. */
static inline const char *key_colon(const char *p, const char *end, uint32_t *flags,
                                    const char **ret_key, const char **ret_key_end,
                                    struct tr_json_fault *f)
{
    p = tr_json_skip_blank(p, end);
    if (p == end)
        return tr_json_cut(f, end);
    if (*p != '"')
        return tr_json_wrong(f, p, "a key in quotes is expected");
    *ret_key = p;
    p = string(p + 1, end, flags, f);
    if (p == NULL)
        return NULL;
    *ret_key_end = p;
    p = tr_json_skip_blank(p, end);
    if (p == end)
        return tr_json_cut(f, end);
    if (*p != ':')
        return tr_json_wrong(f, p, "':' is expected");
    return tr_json_skip_blank(p + 1, end);
}

/* Which containers are open: one bit each, set for objects. */
struct nest {
    uint64_t bits[TR_JSON_MAX_DEPTH / 64];
    uint32_t depth, deepest, max;
};

static inline bool push(struct nest *s, bool object)
{
    uint32_t d = s->depth;
    uint64_t bit = UINT64_C(1) << (d & 63);

    if (d >= s->max)
        return false;
    s->bits[d >> 6] = object ? s->bits[d >> 6] | bit : s->bits[d >> 6] & ~bit;
    s->depth = d + 1;
    if (s->depth > s->deepest)
        s->deepest = s->depth;
    return true;
}

static inline bool top_is_object(const struct nest *s)
{
    uint32_t d = s->depth - 1;

    return (s->bits[d >> 6] >> (d & 63) & 1) != 0;
}

/* Behind a value inside a container: passes closing brackets and one comma with the key that may
 * follow it. Stands at the next value, or behind the outermost bracket with depth 0. */
static inline const char *after_value(const char *p, const char *end, struct nest *s,
                                      uint32_t *flags, struct tr_json_fault *f)
{
    while (s->depth > 0) {
        bool object = top_is_object(s);

        p = tr_json_skip_blank(p, end);
        if (p == end)
            return tr_json_cut(f, end);
        if (*p == ',') {
            const char *key;
            const char *key_end;
            return object ? key_colon(p + 1, end, flags, &key, &key_end, f) : p + 1;
        }
        if (*p != (object ? '}' : ']'))
            return tr_json_wrong(f, p,
                                 object ? "',' or '}' is expected" : "',' or ']' is expected");
        s->depth--;
        p++;
    }
    return p;
}

/* One whole value that is an object or an array. */
static const char *container(const char *p, const char *end, struct nest *s, uint32_t *flags,
                             struct tr_json_fault *f)
{
    do {
        p = tr_json_skip_blank(p, end);
        if (p == end)
            return tr_json_cut(f, end);
        if (*p == '{' || *p == '[') {
            bool object = *p == '{';
            if (!push(s, object))
                return tr_json_fault_at(f, p, "json.too_deep", "too many levels of nesting");
            p = tr_json_skip_blank(p + 1, end);
            if (p < end && *p != (object ? '}' : ']')) {
                const char *key;
                const char *key_end;
                if (object && (p = key_colon(p, end, flags, &key, &key_end, f)) == NULL)
                    return NULL;
                continue;
            }
        } else if ((p = scalar(p, end, flags, f)) == NULL) {
            return NULL;
        }
        if ((p = after_value(p, end, s, flags, f)) == NULL)
            return NULL;
    } while (s->depth > 0);
    return p;
}

/* By the first byte of a value; false when none starts with it. */
static inline bool type_at(const char *p, const char *end, enum tr_json_type *ret)
{
    switch (*p) {
    case '{':
        *ret = TR_JSON_OBJECT;
        return true;
    case '[':
        *ret = TR_JSON_ARRAY;
        return true;
    case '"':
        *ret = TR_JSON_STRING;
        return true;
    case 't':
        *ret = TR_JSON_TRUE;
        return true;
    case 'f':
        *ret = TR_JSON_FALSE;
        return true;
    case 'n':
        *ret = TR_JSON_NULL;
        return true;
    case 'N':
    case 'I':
        *ret = TR_JSON_NONFINITE;
        return true;
    default:
        *ret = *p == '-' && end - p > 1 && p[1] == 'I' ? TR_JSON_NONFINITE : TR_JSON_NUMBER;
        return *p == '-' || is_digit(*p);
    }
}

const char *tr_json_key_at(const char *p, const char *end, struct tr_json_value *ret,
                           struct tr_json_fault *f)
{
    const char *from = p;
    const char *to = p;
    uint32_t flags = 0;

    p = key_colon(p, end, &flags, &from, &to, f);
    if (p != NULL)
        *ret = (struct tr_json_value){ TR_JSON_STRING, flags, 0, { from, (size_t)(to - from) } };
    return p;
}

const char *tr_json_value_at(const struct tr_json *j, const char *p, struct tr_json_value *ret,
                             struct tr_json_fault *f)
{
    const char *from = p;
    uint32_t flags = 0;
    uint32_t depth = 0;

    if (*p == '{' || *p == '[') {
        struct nest s = { .max = j->max_depth > j->depth ? j->max_depth - j->depth : 0 };
        if (s.max > TR_JSON_MAX_DEPTH)
            s.max = TR_JSON_MAX_DEPTH;
        p = container(p, j->end, &s, &flags, f);
        depth = s.deepest;
        if (depth > TR_JSON_DEEP_AT)
            flags |= TR_JSON_DEEP;
    } else {
        p = scalar(p, j->end, &flags, f);
    }
    if (p == NULL)
        return NULL;
    (void)type_at(from, j->end, &ret->type);
    ret->flags = flags;
    ret->depth = depth;
    ret->raw = (struct tr_str){ from, (size_t)(p - from) };
    return p;
}

enum tr_rc tr_json_next(struct tr_json *j, struct tr_json_value *ret, struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = tr_json_skip_blank(j->p, j->end);

    p = p == j->end ? tr_json_cut(&f, p) : tr_json_value_at(j, p, ret, &f);
    if (p == NULL)
        return tr_json_fail(j, &f, err);
    j->p = p;
    return TR_OK;
}

enum tr_rc tr_json_end(struct tr_json *j, struct tr_err *err)
{
    struct tr_json_fault f;

    j->p = tr_json_skip_blank(j->p, j->end);
    if (j->p == j->end)
        return TR_OK;
    (void)tr_json_wrong(&f, j->p, "something follows the value");
    return tr_json_fail(j, &f, err);
}

enum tr_rc tr_json_peek(struct tr_json *j, enum tr_json_type *ret, struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = tr_json_skip_blank(j->p, j->end);

    if (p == j->end)
        (void)tr_json_cut(&f, p);
    else if (type_at(p, j->end, ret))
        return TR_OK;
    else
        (void)tr_json_wrong(&f, p, "a value is expected");
    return tr_json_fail(j, &f, err);
}
