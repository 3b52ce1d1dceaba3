#include "net/http.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The character at s.p[0], decoded; *ret_width is how many bytes it takes. A '%' that no two hex
 * digits follow stands for itself, as in browsers. */
static char decoded(struct tr_str s, size_t *ret_width)
{
    *ret_width = 1;
    if (s.p[0] == '+')
        return ' ';
    if (s.p[0] != '%' || s.n < 3 || hex(s.p[1]) < 0 || hex(s.p[2]) < 0)
        return s.p[0];
    *ret_width = 3;
    return (char)(hex(s.p[1]) * 16 + hex(s.p[2]));
}

static bool key_is(struct tr_str s, const char *key)
{
    while (s.n > 0 && *key != 0) {
        size_t width = 0;

        if (decoded(s, &width) != *key++)
            return false;
        s = (struct tr_str){ s.p + width, s.n - width };
    }
    return s.n == 0 && *key == 0;
}

static struct tr_str value_of(struct tr_str s, struct tr_buf *tmp)
{
    if (s.n == 0)
        return TR_STR("");
    if (memchr(s.p, '%', s.n) == NULL && memchr(s.p, '+', s.n) == NULL)
        return s;
    tr_buf_clear(tmp);
    char *out = tr_buf_reserve(tmp, s.n);
    if (out == NULL)
        return (struct tr_str){ NULL, 0 };
    size_t n = 0;
    while (s.n > 0) {
        size_t width = 0;

        out[n++] = decoded(s, &width);
        s = (struct tr_str){ s.p + width, s.n - width };
    }
    tr_buf_used(tmp, n);
    return (struct tr_str){ out, n };
}

struct tr_str tr_query_get(struct tr_str query, const char *key, struct tr_buf *tmp)
{
    while (query.n > 0) {
        struct tr_str value = { NULL, 0 };
        struct tr_str name = tr_str_cut(tr_str_cut(query, '&', &query), '=', &value);

        if (name.n > 0 && key_is(name, key))
            return value_of(value, tmp);
    }
    return (struct tr_str){ NULL, 0 };
}
