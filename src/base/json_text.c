/* The text of scanned values. Everything here reads valid JSON only. */
#include "base/json.h"
#include "base/utf8.h"

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static unsigned hex4(const char *p)
{
    return hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 | hex_digit(p[2]) << 4 | hex_digit(p[3]);
}

/* p is behind "\u"; returns the place behind the whole escape, a pair's second half included. */
static const char *unicode_escape(const char *p, const char *end, unsigned *ret)
{
    unsigned unit = hex4(p);

    p += 4;
    *ret = unit;
    if (unit < 0xD800 || unit > 0xDFFF)
        return p;
    if (unit <= 0xDBFF && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        unsigned low = hex4(p + 2);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *ret = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            return p + 6;
        }
    }
    *ret = 0xFFFD;
    return p;
}

/* p is at a backslash; writes the bytes it stands for. */
static const char *unescape(const char *p, const char *end, char out[4], size_t *ret_n)
{
    unsigned code_point;

    *ret_n = 1;
    switch (p[1]) {
    case 'b':
        out[0] = '\b';
        return p + 2;
    case 'f':
        out[0] = '\f';
        return p + 2;
    case 'n':
        out[0] = '\n';
        return p + 2;
    case 'r':
        out[0] = '\r';
        return p + 2;
    case 't':
        out[0] = '\t';
        return p + 2;
    case 'u':
        p = unicode_escape(p + 2, end, &code_point);
        *ret_n = tr_utf8_put(out, code_point);
        return p;
    default:
        out[0] = p[1];
        return p + 2;
    }
}

static struct tr_str inside_quotes(const struct tr_json_value *string)
{
    return (struct tr_str){ string->raw.p + 1, string->raw.n - 2 };
}

size_t tr_json_text_head(const struct tr_json_value *string, char *out, size_t max)
{
    struct tr_str s = inside_quotes(string);
    const char *p = s.p;
    const char *end = s.p + s.n;
    size_t n = 0;

    while (p < end) {
        const char *next = memchr(p, '\\', (size_t)(end - p));
        struct tr_str run = { p, (size_t)((next == NULL ? end : next) - p) };
        struct tr_str fit = tr_utf8_head_bytes(run, max - n);
        memcpy(out + n, fit.p, fit.n);
        n += fit.n;
        if (next == NULL || fit.n < run.n)
            break;
        char bytes[4];
        size_t width;
        p = unescape(next, end, bytes, &width);
        if (width > max - n)
            break;
        memcpy(out + n, bytes, width);
        n += width;
    }
    return n;
}

size_t tr_json_text_copy(const struct tr_json_value *string, char *out)
{
    return tr_json_text_head(string, out, SIZE_MAX);
}

struct tr_str tr_json_text(const struct tr_json_value *string, struct tr_buf *tmp)
{
    struct tr_str s = inside_quotes(string);

    if ((string->flags & TR_JSON_ESCAPES) == 0)
        return s;

    tr_buf_clear(tmp);
    char *out = tr_buf_reserve(tmp, s.n); /* no escape is shorter than what it stands for */
    if (out == NULL)
        return (struct tr_str){ NULL, 0 };
    size_t n = tr_json_text_copy(string, out);
    tr_buf_used(tmp, n);
    return (struct tr_str){ out, n };
}

bool tr_json_text_is(const struct tr_json_value *string, struct tr_str text)
{
    struct tr_str s = inside_quotes(string);

    if ((string->flags & TR_JSON_ESCAPES) == 0)
        return tr_str_eq(s, text);

    const char *end = s.p + s.n;
    size_t at = 0;
    for (const char *p = s.p; p < end;) {
        char bytes[4] = { *p };
        size_t width = 1;

        if (*p == '\\')
            p = unescape(p, end, bytes, &width);
        else
            p++;
        if (text.n - at < width || memcmp(text.p + at, bytes, width) != 0)
            return false;
        at += width;
    }
    return at == text.n;
}

bool tr_json_find(struct tr_str object, struct tr_str name, struct tr_json_value *ret)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool found = false;
    bool more;

    tr_json_init(&j, object);
    if (tr_json_open_object(&j, NULL) != TR_OK)
        return false;
    while (tr_json_member(&j, &key, &value, &more, NULL) == TR_OK && more) {
        if (tr_json_text_is(&key, name)) {
            *ret = value;
            found = true;
        }
    }
    return found;
}

/* The place behind the string that starts at p. */
static const char *past_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\';
    return p < end ? p + 1 : end;
}

void tr_json_add_finite(struct tr_buf *out, struct tr_str raw)
{
    const char *end = raw.p + raw.n;
    const char *from = raw.p;
    const char *p = raw.p;

    while (p < end) {
        size_t n = 0;

        if (*p == '"') {
            p = past_string(p, end);
            continue;
        }
        if (*p == 'N')
            n = strlen("NaN");
        else if (*p == 'I')
            n = strlen("Infinity");
        else if (*p == '-' && end - p > 1 && p[1] == 'I')
            n = strlen("-Infinity");
        if (n == 0 || n > (size_t)(end - p)) {
            p++;
            continue;
        }
        tr_buf_add(out, from, (size_t)(p - from));
        tr_buf_z(out, "null");
        p += n;
        from = p;
    }
    tr_buf_add(out, from, (size_t)(end - from));
}
