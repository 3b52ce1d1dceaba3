#include "base/str.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool tr_str_eq_nocase(struct tr_str a, struct tr_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

struct tr_str tr_str_trim(struct tr_str s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct tr_str tr_str_cut(struct tr_str s, char sep, struct tr_str *rest)
{
    const char *at = s.n == 0 ? NULL : memchr(s.p, sep, s.n);

    if (at == NULL) {
        *rest = (struct tr_str){ NULL, 0 };
        return s;
    }
    size_t n = (size_t)(at - s.p);
    *rest = (struct tr_str){ at + 1, s.n - n - 1 };
    return (struct tr_str){ s.p, n };
}
