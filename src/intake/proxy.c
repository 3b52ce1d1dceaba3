/* Whose word on the client's address is believed. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "intake/intake_priv.h"

enum { MAX_PROXIES = 64 };

struct prefix {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    int bits;
};

struct intake_proxies {
    size_t n;
    struct prefix items[MAX_PROXIES];
};

/* Any address as 16 bytes. */
static bool parse_address(const char *text, uint8_t out[16])
{
    struct in_addr v4;

    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    if (inet_pton(AF_INET, text, &v4) != 1)
        return false;
    memset(out, 0, 10);
    out[10] = out[11] = 0xFF;
    memcpy(out + 12, &v4, 4);
    return true;
}

/* "10.0.0.0/8", "::1", "192.0.2.7" */
static bool parse_prefix(struct tr_str item, struct prefix *ret)
{
    char text[TR_HTTP_PEER_TEXT];
    struct tr_str bits;
    struct tr_str address = tr_str_cut(item, '/', &bits);

    if (address.n == 0 || address.n >= sizeof(text))
        return false;
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    if (!parse_address(text, ret->address))
        return false;
    int all = memchr(text, ':', address.n) != NULL ? 128 : 32;
    ret->bits = all;
    if (bits.p != NULL) {
        ret->bits = 0;
        for (size_t i = 0; i < bits.n; i++) {
            if (bits.p[i] < '0' || bits.p[i] > '9' || i > 2)
                return false;
            ret->bits = ret->bits * 10 + (bits.p[i] - '0');
        }
        if (bits.n == 0 || ret->bits > all)
            return false;
    }
    if (all == 32)
        ret->bits += 96;
    return true;
}

enum tr_rc intake_proxies_parse(const char *list, struct intake_proxies **ret, struct tr_err *err)
{
    struct intake_proxies *p = calloc(1, sizeof(*p));
    struct tr_str rest = tr_str_of(list);

    if (p == NULL)
        return tr_fail_oom(err);
    while (rest.n > 0) {
        struct tr_str item = tr_str_trim(tr_str_cut(rest, ',', &rest));
        if (item.n == 0)
            continue;
        if (p->n == MAX_PROXIES || !parse_prefix(item, &p->items[p->n])) {
            free(p);
            return tr_fail(
                err, TR_INVALID, "intake.bad_proxy",
                "give addresses or prefixes: 10.0.0.0/8,192.0.2.7",
                "trusted proxies: \"%.*s\" is not an address or prefix, or there are over %d",
                TR_STR_ARGS(item), MAX_PROXIES);
        }
        p->n++;
    }
    *ret = p;
    return TR_OK;
}

void intake_proxies_free(struct intake_proxies *p)
{
    free(p);
}

static bool within(const struct prefix *p, const uint8_t a[16])
{
    int whole = p->bits / 8;
    int rest = p->bits % 8;

    if (memcmp(p->address, a, (size_t)whole) != 0)
        return false;
    return rest == 0 || (p->address[whole] ^ a[whole]) >> (8 - rest) == 0;
}

static bool is_trusted(const struct intake_proxies *p, const char *address)
{
    uint8_t a[16];

    if (!parse_address(address, a))
        return false;
    for (size_t i = 0; i < p->n; i++)
        if (within(&p->items[i], a))
            return true;
    return false;
}

/* One address of the header, a port or brackets taken off. */
static bool take_address(struct tr_str item, char out[TR_HTTP_PEER_TEXT])
{
    uint8_t unused[16];

    item = tr_str_trim(item);
    if (item.n > 1 && item.p[0] == '[') {
        struct tr_str rest;
        item = tr_str_cut((struct tr_str){ item.p + 1, item.n - 1 }, ']', &rest);
    }
    if (item.n == 0 || item.n >= TR_HTTP_PEER_TEXT)
        return false;
    memcpy(out, item.p, item.n);
    out[item.n] = '\0';
    char *colon = strchr(out, ':');
    if (colon != NULL && strchr(colon + 1, ':') == NULL)
        *colon = '\0';
    return parse_address(out, unused);
}

/* One line, from the right: each trusted proxy vouches for the one before it. True: out is decided;
 * *ret_bad: by something that is no address. */
static bool walk(const struct intake_proxies *p, struct tr_str list, char out[TR_HTTP_PEER_TEXT],
                 bool *ret_bad)
{
    while (list.n > 0) {
        size_t from = list.n;
        while (from > 0 && list.p[from - 1] != ',')
            from--;
        struct tr_str item = tr_str_trim((struct tr_str){ list.p + from, list.n - from });
        list.n = from > 0 ? from - 1 : 0;
        if (item.n == 0) /* RFC 9110, 5.6.1.2: empty elements do not count */
            continue;
        *ret_bad = !take_address(item, out);
        if (*ret_bad || !is_trusted(p, out))
            return true;
    }
    return false;
}

const char *intake_client_ip(const struct intake_proxies *p, const struct tr_http_request *req,
                             char out[TR_HTTP_PEER_TEXT])
{
    bool bad = false;

    if (p->n == 0 || !is_trusted(p, req->peer))
        return req->peer;
    /* Several lines are one list in their order (RFC 9110, 5.3): HAProxy adds a line, nginx an
     * element. */
    for (size_t i = req->n_headers; i > 0; i--) {
        const struct tr_http_header *h = &req->headers[i - 1];

        if (tr_str_eq_nocase(h->name, TR_STR("x-forwarded-for")) && walk(p, h->value, out, &bad))
            return bad ? req->peer : out;
    }
    return req->peer;
}
