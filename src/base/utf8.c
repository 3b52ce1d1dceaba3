#include "base/utf8.h"

#include <stdint.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t tr_utf8_width(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;

    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2)
        return 0;
    if (p[0] < 0xE0)
        return n >= 2 && is_tail(p[1]) ? 2 : 0;
    if (p[0] < 0xF0) {
        if (n < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] >= 0xA0))
            return 0;
        return 3;
    }
    if (p[0] > 0xF4 || n < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
        return 0;
    if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] >= 0x90))
        return 0;
    return 4;
}

bool tr_utf8_valid(struct tr_str s)
{
    size_t i = 0;

    while (i < s.n) {
        uint64_t word;
        while (s.n - i >= sizeof(word)) {
            memcpy(&word, s.p + i, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) != 0)
                break;
            i += sizeof(word);
        }
        if (i == s.n)
            break;
        size_t width = tr_utf8_width(s.p + i, s.n - i);
        if (width == 0)
            return false;
        i += width;
    }
    return true;
}

struct tr_str tr_utf8_head(struct tr_str s, size_t max_chars)
{
    if (s.n <= max_chars)
        return s;
    size_t chars = 0;
    for (size_t i = 0; i < s.n; i++)
        if (!is_tail((unsigned char)s.p[i]) && chars++ == max_chars)
            return (struct tr_str){ s.p, i };
    return s;
}

struct tr_str tr_utf8_head_bytes(struct tr_str s, size_t max_bytes)
{
    if (s.n <= max_bytes)
        return s;
    while (max_bytes > 0 && is_tail((unsigned char)s.p[max_bytes]))
        max_bytes--;
    return (struct tr_str){ s.p, max_bytes };
}

size_t tr_utf8_put(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}
