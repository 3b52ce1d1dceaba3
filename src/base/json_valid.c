#include "base/json_valid.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ')
        p++;
    return p;
}

/* ---- values ---- */

/* The first quote or backslash. */
static inline const char *quote_or_escape(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');

    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        int mask =
            _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, backslash)));
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* p is behind the opening quote. Behind the closing one; NULL when there is none. */
static inline const char *past_string(const char *p, const char *end, uint32_t *flags)
{
    for (;;) {
        p = quote_or_escape(p, end);
        if (p < end && *p == '"')
            return p + 1;
        if (end - p < 2)
            return NULL;
        *flags |= TR_JSON_ESCAPES;
        p += 2;
    }
}

/* The first quote or bracket of either kind: '[' | 0x20 is '{', and ']' | 0x20 is '}'. */
static inline const char *quote_or_bracket(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i open = _mm_set1_epi8('{');
    const __m128i close = _mm_set1_epi8('}');
    const __m128i bit = _mm_set1_epi8(0x20);

    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i y = _mm_or_si128(x, bit);
        int mask = _mm_movemask_epi8(
            _mm_or_si128(_mm_cmpeq_epi8(x, quote),
                         _mm_or_si128(_mm_cmpeq_epi8(y, open), _mm_cmpeq_epi8(y, close))));
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    while (p < end && *p != '"' && (*p | 0x20) != '{' && (*p | 0x20) != '}')
        p++;
    return p;
}

/* p is at an opening bracket. In valid JSON brackets of both kinds may be counted together. */
static const char *past_container(const char *p, const char *end, uint32_t *flags)
{
    size_t depth = 0;

    while ((p = quote_or_bracket(p, end)) < end) {
        if (*p == '"') {
            p = past_string(p + 1, end, flags);
            if (p == NULL)
                return NULL;
            continue;
        }
        depth = (*p | 0x20) == '{' ? depth + 1 : depth - 1;
        p++;
        if (depth == 0)
            return p;
    }
    return NULL;
}

/* A number or a word: up to what may follow a value. */
static inline const char *past_bare(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p > ' ' && *p != ',' && (*p | 0x20) != '}')
        p++;
    return p;
}

static inline enum tr_json_type bare_type(const char *p, size_t n)
{
    switch (*p) {
    case 't':
        return TR_JSON_TRUE;
    case 'f':
        return TR_JSON_FALSE;
    case 'n':
        return TR_JSON_NULL;
    case 'N':
    case 'I':
        return TR_JSON_NONFINITE;
    default:
        return n > 1 && *p == '-' && p[1] == 'I' ? TR_JSON_NONFINITE : TR_JSON_NUMBER;
    }
}

/* A value that is no string, from its first byte. Behind it; NULL when it does not end. */
static inline const char *past_other(const char *p, const char *end, struct tr_json_value *ret)
{
    const char *from = p;
    uint32_t flags = 0;
    enum tr_json_type type;

    if (*p == '{' || *p == '[') {
        type = *p == '{' ? TR_JSON_OBJECT : TR_JSON_ARRAY;
        p = past_container(p, end, &flags);
    } else {
        p = past_bare(p, end);
        type = bare_type(from, (size_t)(p - from));
    }
    if (p == NULL || p == from)
        return NULL;
    *ret = (struct tr_json_value){ type, flags, 0, { from, (size_t)(p - from) } };
    return p;
}

/* ---- objects: from quote to quote ---- */

enum { BLOCK = 64 };

/* A bit for each byte of a block that equals c. */
static inline uint64_t equal_bits(const char *p, char c)
{
#if defined(__SSE2__)
    const __m128i want = _mm_set1_epi8(c);
    const __m128i *x = (const __m128i *)(const void *)p;
    uint64_t a = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(x), want));
    uint64_t b = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(x + 1), want));
    uint64_t d = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(x + 2), want));
    uint64_t e = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(x + 3), want));
    return (a | b << 16) | (d | e << 16) << 32;
#else
    uint64_t bits = 0;
    for (int i = 0; i < BLOCK; i++)
        bits |= (uint64_t)(p[i] == c) << i;
    return bits;
#endif
}

/* The bytes that a backslash before them escapes. */
static uint64_t escaped_bits(uint64_t backslashes, bool *carry)
{
    uint64_t escaped = *carry;

    backslashes &= ~escaped;
    *carry = false;
    while (backslashes != 0) {
        uint64_t first = backslashes & (0 - backslashes);
        escaped |= first << 1;
        backslashes &= ~(first | first << 1);
        *carry = first >> 63 != 0;
    }
    return escaped;
}

static inline void read_block(struct tr_json_valid *w, const char *block)
{
    size_t left = (size_t)(w->end - block);
    char tail[BLOCK];

    w->block = block;
    if (left < sizeof(tail)) {
        memset(tail, 0, sizeof(tail));
        memcpy(tail, block, left);
        block = tail;
    }
    w->quotes = equal_bits(block, '"');
    uint64_t backslashes = equal_bits(block, '\\');
    if (backslashes != 0 || w->carry) {
        w->escapes = true;
        w->quotes &= ~escaped_bits(backslashes, &w->carry);
    }
}

/* Goes on behind p, which is not inside a string. */
static inline void read_from(struct tr_json_valid *w, const char *p)
{
    size_t at = (size_t)(p - w->block);

    if (at < BLOCK) {
        w->quotes &= ~UINT64_C(0) << at;
    } else {
        w->carry = false;
        read_block(w, p);
    }
}

/* The next quote that stands for itself, or NULL. */
static inline const char *next_quote(struct tr_json_valid *w)
{
    while (w->quotes == 0) {
        if (w->end - w->block <= BLOCK)
            return NULL;
        read_block(w, w->block + BLOCK);
    }
    const char *p = w->block + __builtin_ctzll(w->quotes);
    w->quotes &= w->quotes - 1;
    return p;
}

/* The string between two quotes. */
static inline void set_string(const struct tr_json_valid *w, const char *from, const char *to,
                              struct tr_json_value *ret)
{
    size_t n = (size_t)(to - from) + 1;
    bool escapes = w->escapes && memchr(from, '\\', n) != NULL;

    *ret = (struct tr_json_value){ TR_JSON_STRING, escapes ? TR_JSON_ESCAPES : 0, 0, { from, n } };
}

bool tr_json_valid_object(struct tr_json_valid *w, struct tr_str text)
{
    const char *end = text.p + text.n;
    const char *p = skip_blank(text.p, end);

    if (p == end || *p != '{')
        return false;
    *w = (struct tr_json_valid){ .p = p + 1, .end = end };
    read_block(w, p + 1);
    return true;
}

bool tr_json_valid_member(struct tr_json_valid *w, struct tr_json_value *ret_key,
                          struct tr_json_value *ret_value)
{
    const char *end = w->end;
    const char *from = next_quote(w);
    const char *to = from == NULL ? NULL : next_quote(w);

    if (to == NULL)
        return false;
    set_string(w, from, to, ret_key);
    const char *p = skip_blank(to + 1, end);
    if (p == end || *p != ':')
        return false;
    p = skip_blank(p + 1, end);
    if (p == end)
        return false;
    if (*p == '"') {
        from = next_quote(w);
        to = next_quote(w);
        if (to == NULL)
            return false;
        set_string(w, from, to, ret_value);
        return true;
    }
    bool container = *p == '{' || *p == '[';
    p = past_other(p, end, ret_value);
    if (p == NULL)
        return false;
    if (container)
        read_from(w, p);
    return true;
}

/* ---- arrays: from value to value ---- */

bool tr_json_valid_array(struct tr_json_valid *w, struct tr_str text)
{
    const char *end = text.p + text.n;
    const char *p = skip_blank(text.p, end);

    if (p == end || *p != '[')
        return false;
    *w = (struct tr_json_valid){ .p = p + 1, .end = end };
    return true;
}

bool tr_json_valid_element(struct tr_json_valid *w, struct tr_json_value *ret_value)
{
    const char *end = w->end;
    const char *p = skip_blank(w->p, end);

    if (p < end && *p == ',')
        p = skip_blank(p + 1, end);
    w->p = end; /* unless all goes well */
    if (p == end || *p == ']')
        return false;
    if (*p == '"') {
        uint32_t flags = 0;
        const char *from = p;
        p = past_string(p + 1, end, &flags);
        if (p != NULL)
            *ret_value =
                (struct tr_json_value){ TR_JSON_STRING, flags, 0, { from, (size_t)(p - from) } };
    } else {
        p = past_other(p, end, ret_value);
    }
    if (p == NULL)
        return false;
    w->p = p;
    return true;
}
