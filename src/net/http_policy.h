/* Where this process may connect to. The operator says it once, before anything connects; from then
 * on it does not change and any thread may ask.
 *
 * What is asked is the address that a name resolved to, at the moment of connecting, so that a name
 * cannot be pointed elsewhere between the check and the call. Link-local addresses and the clouds'
 * metadata servers are refused whatever the operator says: what is behind them is this machine's
 * own identity.
 */
#ifndef TR_NET_HTTP_POLICY_H
#define TR_NET_HTTP_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum { TR_URL_HOST = 254 };

/* The parts of a URL that say where it leads. */
struct tr_url {
    bool tls;
    char host[TR_URL_HOST]; /* lower case; an IPv6 address without its brackets */
    uint16_t port;
};

/* http and https only, no user name in it: TR_INVALID "http.url" otherwise. Pure. */
TR_MUST_USE enum tr_rc tr_url_parse(const char *url, struct tr_url *ret, struct tr_err *err);

/* public_only: private and loopback addresses are refused too. hosts: "host", "host:port" or
 * "[v6]:port", with commas between; NULL or empty: none. These hosts may be private, be spoken to
 * without TLS, and stand in for a vendor's own where an option says so. TR_INVALID
 * "http.allow_hosts" names what cannot be read; nothing is changed then. */
TR_MUST_USE enum tr_rc tr_egress_set(bool public_only, const char *hosts, struct tr_err *err);

/* hosts: likewise, those that may stand in for Google's IAM. They get this server's own token, so
 * they are no part of the list above: what an export's options lead to may be anybody's. */
TR_MUST_USE enum tr_rc tr_egress_set_iam(const char *hosts, struct tr_err *err);

/* The operator named this host. */
bool tr_egress_is_named(const struct tr_url *url);
/* ..for IAM. */
bool tr_egress_is_iam(const struct tr_url *url);

enum tr_address {
    TR_ADDRESS_PUBLIC,
    TR_ADDRESS_PRIVATE,  /* RFC 1918, RFC 6598, RFC 4193 */
    TR_ADDRESS_LOOPBACK, /* also 0.0.0.0 and ::, which lead there */
    TR_ADDRESS_METADATA, /* link-local, and where clouds keep credentials */
    TR_ADDRESS_OTHER,    /* multicast, reserved, no IP address */
};

/* IPv4 addresses inside IPv6 ones (mapped, NAT64, 6to4) count as what they are inside. Pure. */
enum tr_address tr_address_of(const struct sockaddr *sa);

/* NULL: a connection for url to that address may be made; else why not. metadata: this call is
 * meant for the metadata server, and for nothing else. */
const char *tr_egress_refusal(const struct tr_url *url, const struct sockaddr *sa, bool metadata);

/* ---- for clients that are not libcurl ---- */

enum { TR_ADDRESSES = 8, TR_ADDRESS_TEXT = 46 };
struct tr_addresses {
    size_t n;
    char text[TR_ADDRESSES][TR_ADDRESS_TEXT]; /* numeric */
};

/* Where url's host leads, as far as a connection there may be made: connect to these addresses, not
 * to the name again. "http.unknown_host" (TR_TRANSIENT); TR_REFUSED "http.egress" when there is
 * none that may be connected to. Blocks while the name is looked up. */
TR_MUST_USE enum tr_rc tr_egress_resolve(const struct tr_url *url, struct tr_addresses *ret,
                                         struct tr_err *err);

/* For tests: another getaddrinfo and freeaddrinfo; NULL: the system's. Not while others resolve. */
struct addrinfo;
typedef int tr_resolver(const char *host, const char *port, const struct addrinfo *hints,
                        struct addrinfo **ret);
void tr_egress_set_resolver(tr_resolver *resolve, void (*release)(struct addrinfo *));

#endif
