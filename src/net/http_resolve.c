/* Names to addresses that may be connected to. */
#include <netdb.h>
#include <stdio.h>

#include "net/http_policy.h"

static tr_resolver *resolver = getaddrinfo;
static void (*releaser)(struct addrinfo *) = freeaddrinfo;

void tr_egress_set_resolver(tr_resolver *resolve, void (*release)(struct addrinfo *))
{
    resolver = resolve == NULL ? getaddrinfo : resolve;
    releaser = release == NULL ? freeaddrinfo : release;
}

enum tr_rc tr_egress_resolve(const struct tr_url *url, struct tr_addresses *ret, struct tr_err *err)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *all = NULL;
    const char *refusal = NULL;
    char port[8];

    (void)snprintf(port, sizeof(port), "%u", (unsigned)url->port);
    ret->n = 0;
    if (resolver(url->host, port, &hints, &all) != 0)
        return tr_fail(err, TR_TRANSIENT, "http.unknown_host", "check the host name",
                       "%s: the name does not resolve", url->host);
    for (const struct addrinfo *a = all; a != NULL && ret->n < TR_ADDRESSES; a = a->ai_next) {
        const char *why = tr_egress_refusal(url, a->ai_addr, false);
        if (why != NULL)
            refusal = why;
        else if (getnameinfo(a->ai_addr, a->ai_addrlen, ret->text[ret->n], TR_ADDRESS_TEXT, NULL, 0,
                             NI_NUMERICHOST) == 0)
            ret->n++;
    }
    releaser(all);
    if (ret->n > 0)
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "http.egress",
                   "the operator of this server decides: see --egress and --allow-hosts",
                   "%s: no connection is made to where that leads: %s", url->host,
                   refusal == NULL ? "it has no address" : refusal);
}
