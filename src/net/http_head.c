/* What RFC 9112 asks of a head beyond what the parser asks: Debian's http-parser is built lax
 * (HTTP_PARSER_STRICT=0), takes a bare LF, blanks before a colon and several Hosts, and is archived
 * upstream. Whoever stands before this server must not read a request in another way than it does
 * (request smuggling), so what the standard forbids is refused, and so is what it leaves open.
 * Section numbers are RFC 9112's. */
#include <string.h>

#include "net/http_priv.h"

struct head {
    int minor; /* of the version */
    bool chunked, connect, options;
    int hosts, lengths, codings;
    bool last_is_chunked, chunked_before; /* of the codings */
};

/* tchar of RFC 9110, 5.6.2 */
static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct tr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

/* Visible characters, and bytes over 0x7F that browsers send unencoded. */
static bool is_visible(struct tr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7F)
            return false;
    return s.n > 0;
}

/* 3.2: origin-form, absolute-form, or * for OPTIONS. */
static bool is_target(const struct head *h, struct tr_str target)
{
    if (!is_visible(target))
        return false;
    if (target.p[0] == '/')
        return true;
    if (tr_str_is(target, "*"))
        return h->options;
    const char *host = memmem(target.p, target.n, "://", 3);
    if (host == NULL || host == target.p || host + 3 == target.p + target.n)
        return false;
    return host[3] != '/' && host[3] != '?' && host[3] != '#';
}

/* 3: method SP target SP version, each once. */
static int check_request_line(struct head *h, struct tr_str line)
{
    struct tr_str rest;
    struct tr_str version;
    struct tr_str method = tr_str_cut(line, ' ', &rest);
    struct tr_str target = tr_str_cut(rest, ' ', &version);

    if (!is_token(method) || version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0 ||
        version.p[6] != '.' || version.p[5] < '0' || version.p[5] > '9' || version.p[7] < '0' ||
        version.p[7] > '9')
        return 400;
    if (version.p[5] != '1')
        return 505; /* RFC 9110, 15.6.6 */
    h->minor = version.p[7] - '0';
    h->options = tr_str_is(method, "OPTIONS");
    if (tr_str_is(method, "CONNECT"))
        return 501; /* this is no proxy */
    return is_target(h, target) ? 0 : 400;
}

/* 3.2 and RFC 3986, 3.2.2: a name or an address in brackets, and a port. */
static bool is_host(struct tr_str value)
{
    size_t i = 0;

    if (value.n > 0 && value.p[0] == '[') {
        for (i = 1; i < value.n && value.p[i] != ']'; i++)
            if (strchr("0123456789abcdefABCDEF:.", value.p[i]) == NULL || value.p[i] == 0)
                return false;
        if (i++ == value.n)
            return false;
    } else {
        for (; i < value.n && value.p[i] != ':'; i++)
            if (!is_token_char((unsigned char)value.p[i]) && strchr("();=,", value.p[i]) == NULL)
                return false;
    }
    if (i < value.n && value.p[i++] != ':')
        return false;
    for (; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9')
            return false;
    return true;
}

static bool is_number(struct tr_str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9')
            return false;
    return value.n > 0;
}

/* 6.1: the codings of all Transfer-Encoding lines, in order. */
static void add_codings(struct head *h, struct tr_str list)
{
    while (list.p != NULL) {
        struct tr_str item = tr_str_trim(tr_str_cut(list, ',', &list));

        if (item.n == 0)
            continue;
        h->chunked_before = h->chunked_before || h->last_is_chunked;
        h->last_is_chunked = tr_str_eq_nocase(item, TR_STR("chunked"));
        h->codings++;
    }
}

static bool check_field(struct head *h, struct tr_str line)
{
    struct tr_str value;
    struct tr_str name = tr_str_cut(line, ':', &value);

    if (value.p == NULL || !is_token(name)) /* 5.1, and 5.2: lines are not folded */
        return false;
    for (size_t i = 0; i < value.n; i++) /* RFC 9110, 5.5 */
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7F)
            return false;
    value = tr_str_trim(value);
    if (tr_str_eq_nocase(name, TR_STR("host"))) {
        h->hosts++;
        return is_host(value);
    }
    if (tr_str_eq_nocase(name, TR_STR("content-length"))) {
        h->lengths++;
        return is_number(value); /* 6.3: also no list of equal ones */
    }
    if (tr_str_eq_nocase(name, TR_STR("transfer-encoding"))) {
        add_codings(h, value);
        h->chunked = true;
    }
    return true;
}

/* What only the whole head tells. */
static int check_framing(const struct head *h)
{
    if (h->hosts > 1 || (h->hosts == 0 && h->minor > 0)) /* 3.2 */
        return 400;
    if (h->lengths > 1 || (h->chunked && h->lengths > 0)) /* 6.3 */
        return 400;
    if (!h->chunked)
        return 0;
    if (h->minor == 0 || !h->last_is_chunked || h->chunked_before) /* 6.1, 6.3, 7 */
        return 400;
    return h->codings == 1 ? 0 : 501; /* 6.1: a coding that is not understood */
}

/* The next line without its CRLF; false: it does not end in one, or has a CR within (2.2). */
static bool next_line(struct tr_str *rest, struct tr_str *ret)
{
    const char *lf = memchr(rest->p, '\n', rest->n);

    if (lf == NULL || lf == rest->p || lf[-1] != '\r')
        return false;
    *ret = (struct tr_str){ rest->p, (size_t)(lf - rest->p) - 1 };
    rest->n -= (size_t)(lf + 1 - rest->p);
    rest->p = lf + 1;
    return ret->n == 0 || memchr(ret->p, '\r', ret->n) == NULL;
}

int http_head_check(struct tr_str head)
{
    struct head h = { 0 };
    struct tr_str line;

    do {
        if (!next_line(&head, &line))
            return 400;
    } while (line.n == 0); /* 2.2: empty lines before a request are skipped */
    int status = check_request_line(&h, line);
    if (status != 0)
        return status;
    for (;;) {
        if (!next_line(&head, &line))
            return 400;
        if (line.n == 0)
            return check_framing(&h);
        if (!check_field(&h, line))
            return 400;
    }
}
