#include "identity/url.h"

#include <stdint.h>

static bool in_scheme(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '-' || c == '.';
}

/* What follows "scheme://" or "//"; the whole where there is neither. */
static struct tr_str behind_scheme(struct tr_str url)
{
    size_t n = 0;

    while (n < url.n && in_scheme(url.p[n]))
        n++;
    struct tr_str rest = { url.p + n, url.n - n };
    if (n > 0 && tr_str_starts(rest, TR_STR("://")))
        return (struct tr_str){ rest.p + 3, rest.n - 3 };
    if (n == 0 && tr_str_starts(rest, TR_STR("//")))
        return (struct tr_str){ rest.p + 2, rest.n - 2 };
    return url;
}

/* What a byte may end or spoil. */
enum {
    ENDS_HOST = 1 << 0,
    ENDS_PATH = 1 << 1,
    BEFORE_PORT = 1 << 2,
    IN_NO_HOST = 1 << 3,
};

static const uint8_t kinds[256] = {
    ['/'] = ENDS_HOST,
    ['?'] = ENDS_HOST | ENDS_PATH,
    ['#'] = ENDS_HOST | ENDS_PATH,
    [':'] = BEFORE_PORT,
    [' '] = IN_NO_HOST,
    ['\t'] = IN_NO_HOST,
    ['<'] = IN_NO_HOST,
    ['>'] = IN_NO_HOST,
    ['%'] = IN_NO_HOST,
    ['{'] = IN_NO_HOST,
    ['}'] = IN_NO_HOST,
    ['|'] = IN_NO_HOST,
    ['\\'] = IN_NO_HOST,
    ['^'] = IN_NO_HOST,
    ['~'] = IN_NO_HOST,
    ['['] = IN_NO_HOST,
    [']'] = IN_NO_HOST,
    [';'] = IN_NO_HOST,
    ['='] = IN_NO_HOST,
    ['&'] = IN_NO_HOST,
};

/* Up to the first byte of a kind. */
static struct tr_str until(struct tr_str s, unsigned kind)
{
    size_t n = 0;

    while (n < s.n && (kinds[(unsigned char)s.p[n]] & kind) == 0)
        n++;
    return (struct tr_str){ s.p, n };
}

struct tr_str tr_url_path(struct tr_str url)
{
    struct tr_str rest = behind_scheme(url);
    size_t host = until(rest, ENDS_HOST).n;
    struct tr_str path = until((struct tr_str){ rest.p + host, rest.n - host }, ENDS_PATH);

    return path.n == 0 ? (struct tr_str){ NULL, 0 } : path;
}

static bool is_host(struct tr_str s)
{
    if (s.n < 3 || s.p[0] == '.' || s.p[s.n - 1] == '.')
        return false;
    return memchr(s.p, '.', s.n) != NULL && until(s, IN_NO_HOST).n == s.n;
}

struct tr_str tr_url_host(struct tr_str url)
{
    struct tr_str host = until(behind_scheme(url), ENDS_HOST);
    const char *at = host.n == 0 ? NULL : memrchr(host.p, '@', host.n);

    if (at != NULL)
        host = (struct tr_str){ at + 1, host.n - (size_t)(at + 1 - host.p) };
    host = until(host, BEFORE_PORT);
    return is_host(host) ? host : (struct tr_str){ NULL, 0 };
}
