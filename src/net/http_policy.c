#include "net/http_policy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { HOSTS_MAX = 64, PORT_MAX = 65535 };

struct named_host {
    char host[TR_URL_HOST];
    uint16_t port; /* 0: any */
};

struct named_hosts {
    struct named_host host[HOSTS_MAX];
    size_t n;
};

/* Written once at start, read by all. */
static struct {
    bool public_only;
    struct named_hosts any, iam;
} egress;

/* ---- URLs ---- */

static enum tr_rc bad_url(struct tr_err *err, const char *why)
{
    return tr_fail(err, TR_INVALID, "http.url", "write it as https://host/path", "%s", why);
}

static char *part_of(CURLU *u, CURLUPart part, unsigned flags)
{
    char *text = NULL;

    return curl_url_get(u, part, &text, flags) == CURLUE_OK ? text : NULL;
}

/* Lower case, brackets of an IPv6 address and a final dot off. */
static bool copy_host(struct tr_str host, char out[TR_URL_HOST])
{
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct tr_str){ host.p + 1, host.n - 2 };
    else if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n == 0 || host.n >= TR_URL_HOST)
        return false;
    for (size_t i = 0; i < host.n; i++)
        out[i] = (char)tolower((unsigned char)host.p[i]);
    out[host.n] = '\0';
    return true;
}

static enum tr_rc read_parts(CURLU *u, struct tr_url *ret, struct tr_err *err)
{
    char *scheme = part_of(u, CURLUPART_SCHEME, 0);
    char *user = part_of(u, CURLUPART_USER, 0);
    char *host = part_of(u, CURLUPART_HOST, 0);
    char *port = part_of(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    enum tr_rc rc = TR_OK;

    *ret = (struct tr_url){ .tls = scheme != NULL && strcmp(scheme, "https") == 0 };
    if (scheme == NULL || (!ret->tls && strcmp(scheme, "http") != 0))
        rc = bad_url(err, "the URL is neither https nor http");
    else if (user != NULL)
        rc = bad_url(err, "the URL holds a user name");
    else if (host == NULL || port == NULL || !copy_host(tr_str_of(host), ret->host))
        rc = bad_url(err, "the URL has no host");
    else
        ret->port = (uint16_t)strtoul(port, NULL, 10);
    curl_free(scheme);
    curl_free(user);
    curl_free(host);
    curl_free(port);
    return rc;
}

enum tr_rc tr_url_parse(const char *url, struct tr_url *ret, struct tr_err *err)
{
    CURLU *u = curl_url();

    if (u == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK
                        ? read_parts(u, ret, err)
                        : bad_url(err, "that is no URL");
    curl_url_cleanup(u);
    return rc;
}

/* ---- what the operator said ---- */

static bool parse_named(struct tr_str text, struct named_host *ret)
{
    struct tr_str host = text, port = { NULL, 0 };
    bool v6 = text.n > 0 && text.p[0] == '[';
    const char *end = v6 ? memchr(text.p, ']', text.n) : NULL;
    size_t head = end == NULL ? 0 : (size_t)(end - text.p) + 1;

    if (v6 && end == NULL)
        return false;
    const char *colon = memchr(text.p + head, ':', text.n - head);
    if (colon != NULL) {
        host.n = (size_t)(colon - text.p);
        port = (struct tr_str){ colon + 1, text.n - host.n - 1 };
    } else if (v6 && head != text.n) {
        return false;
    }
    ret->port = 0;
    if (port.p != NULL) {
        unsigned long number = 0;
        for (size_t i = 0; i < port.n && number <= PORT_MAX; i++) {
            if (port.p[i] < '0' || port.p[i] > '9')
                return false;
            number = number * 10 + (unsigned long)(port.p[i] - '0');
        }
        if (number == 0 || number > PORT_MAX)
            return false;
        ret->port = (uint16_t)number;
    }
    return memchr(host.p, '/', host.n) == NULL && copy_host(host, ret->host);
}

static enum tr_rc parse_hosts(const char *hosts, struct named_hosts *ret, struct tr_err *err)
{
    struct named_hosts list = { .n = 0 };
    struct tr_str rest = tr_str_of(hosts == NULL || hosts[0] == '\0' ? NULL : hosts);

    while (rest.p != NULL) {
        struct tr_str one = tr_str_trim(tr_str_cut(rest, ',', &rest));
        if (list.n == HOSTS_MAX || !parse_named(one, &list.host[list.n]))
            return tr_fail(err, TR_INVALID, "http.allow_hosts",
                           "write host or host:port, with commas between, 64 at most",
                           "\"%.*s\" cannot be read", TR_STR_ARGS(one));
        list.n++;
    }
    *ret = list;
    return TR_OK;
}

enum tr_rc tr_egress_set(bool public_only, const char *hosts, struct tr_err *err)
{
    enum tr_rc rc = parse_hosts(hosts, &egress.any, err);

    if (rc == TR_OK)
        egress.public_only = public_only;
    return rc;
}

enum tr_rc tr_egress_set_iam(const char *hosts, struct tr_err *err)
{
    return parse_hosts(hosts, &egress.iam, err);
}

static bool is_in(const struct named_hosts *list, const struct tr_url *url)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->host[i].host, url->host) == 0 &&
            (list->host[i].port == 0 || list->host[i].port == url->port))
            return true;
    return false;
}

bool tr_egress_is_named(const struct tr_url *url)
{
    return is_in(&egress.any, url);
}

bool tr_egress_is_iam(const struct tr_url *url)
{
    return is_in(&egress.iam, url);
}

/* ---- addresses ---- */

struct net4 {
    uint32_t net;
    int bits;
    enum tr_address what;
};

/* IANA's registry of special addresses (RFC 6890), and what clouds made of them. */
static const struct net4 nets4[] = {
    { 0x00000000, 8, TR_ADDRESS_LOOPBACK },  /* 0.0.0.0/8: "this host" */
    { 0x7f000000, 8, TR_ADDRESS_LOOPBACK },  /* 127/8 */
    { 0xa9fe0000, 16, TR_ADDRESS_METADATA }, /* 169.254/16: link-local, all clouds' metadata */
    { 0x646464c8, 32, TR_ADDRESS_METADATA }, /* 100.100.100.200: Alibaba's */
    { 0xc00000c0, 32, TR_ADDRESS_METADATA }, /* 192.0.0.192: Oracle's */
    { 0xa83f8110, 32, TR_ADDRESS_METADATA }, /* 168.63.129.16: Azure's */
    { 0x0a000000, 8, TR_ADDRESS_PRIVATE },   /* 10/8 */
    { 0xac100000, 12, TR_ADDRESS_PRIVATE },  /* 172.16/12 */
    { 0xc0a80000, 16, TR_ADDRESS_PRIVATE },  /* 192.168/16 */
    { 0x64400000, 10, TR_ADDRESS_PRIVATE },  /* 100.64/10: carriers' */
    { 0xc6120000, 15, TR_ADDRESS_PRIVATE },  /* 198.18/15: benchmarks */
    { 0xc0000000, 24, TR_ADDRESS_OTHER },    /* 192.0.0/24 */
    { 0xe0000000, 4, TR_ADDRESS_OTHER },     /* multicast */
    { 0xf0000000, 4, TR_ADDRESS_OTHER },     /* reserved, broadcast */
};

static enum tr_address address4(uint32_t a)
{
    for (size_t i = 0; i < sizeof(nets4) / sizeof(nets4[0]); i++)
        if ((a ^ nets4[i].net) >> (32 - nets4[i].bits) == 0)
            return nets4[i].what;
    return TR_ADDRESS_PUBLIC;
}

static uint32_t load4(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum tr_address address6(const struct in6_addr *in)
{
    static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
    static const uint8_t aws[16] = { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54 };
    static const uint8_t gcp[16] = { 0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54 };
    const uint8_t *b = in->s6_addr;

    if (IN6_IS_ADDR_LOOPBACK(in) || IN6_IS_ADDR_UNSPECIFIED(in))
        return TR_ADDRESS_LOOPBACK;
    if (IN6_IS_ADDR_V4MAPPED(in) || IN6_IS_ADDR_V4COMPAT(in) || memcmp(b, nat64, 12) == 0)
        return address4(load4(b + 12));
    if (b[0] == 0x20 && b[1] == 0x02) /* 6to4 */
        return address4(load4(b + 2));
    if (IN6_IS_ADDR_LINKLOCAL(in) || memcmp(b, aws, 16) == 0 || memcmp(b, gcp, 16) == 0)
        return TR_ADDRESS_METADATA;
    if ((b[0] & 0xfe) == 0xfc || IN6_IS_ADDR_SITELOCAL(in))
        return TR_ADDRESS_PRIVATE;
    return IN6_IS_ADDR_MULTICAST(in) ? TR_ADDRESS_OTHER : TR_ADDRESS_PUBLIC;
}

enum tr_address tr_address_of(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        return address4(ntohl(in.sin_addr.s_addr));
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, sa, sizeof(in));
        return address6(&in.sin6_addr);
    }
    return TR_ADDRESS_OTHER;
}

const char *tr_egress_refusal(const struct tr_url *url, const struct sockaddr *sa, bool metadata)
{
    enum tr_address a = tr_address_of(sa);
    bool named = tr_egress_is_named(url) || tr_egress_is_iam(url);

    if (a == TR_ADDRESS_METADATA)
        return metadata ? NULL : "it is a link-local address or a cloud's metadata server";
    if (a == TR_ADDRESS_OTHER)
        return "it is no address of a single host";
    if (named)
        return NULL;
    if (metadata)
        return "it is not the metadata server";
    if (egress.public_only && a != TR_ADDRESS_PUBLIC)
        return "it is private, and this server connects to public addresses only";
    if (!url->tls && a != TR_ADDRESS_LOOPBACK)
        return "it would be spoken to without encryption";
    return NULL;
}
