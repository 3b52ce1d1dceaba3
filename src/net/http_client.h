/* The outgoing HTTP client, over libcurl. A client belongs to one thread at a time and keeps its
 * connections, so that calls in a row to one host cost one handshake.
 *
 * It verifies certificates, follows no redirect, uses no proxy, bounds what it reads, and connects
 * only where net/http_policy.h lets it. It looks at cx ten times a second. It neither retries nor
 * logs, and no header or body that was sent is ever in an error's text.
 *
 * What a failure means is decided here once, for callers to build on:
 *   TR_TRANSIENT  "http.unknown_host", "http.unreachable", "http.timeout", "http.reset": the server
 *                 cannot have had the whole request
 *   TR_AMBIGUOUS  "http.no_answer", "http.answer_too_big": it may have had it, and acted
 *   TR_REFUSED    "http.tls", "http.address_refused"
 *   TR_INVALID    "http.url"
 *   TR_CANCELLED  "http.cancelled", at any stage
 * A status of 400 and above is an answer, not a failure.
 */
#ifndef TR_NET_HTTP_CLIENT_H
#define TR_NET_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/ctx.h"

struct tr_http_client;

TR_MUST_USE enum tr_rc tr_http_client_new(struct tr_http_client **ret, struct tr_err *err);
void tr_http_client_free(struct tr_http_client *c);

struct tr_http_call {
    const char *method; /* "GET", "POST", "PUT", "DELETE" */
    const char *url;
    const char *const *headers; /* "Name: value", ends with NULL; may be NULL */
    struct tr_str body;         /* p == NULL: none */
    int64_t silence_us;         /* no byte either way for so long ends the call; 0: a minute */
    bool metadata;              /* goes to the cloud's metadata server, and nowhere else */
};

enum { TR_HTTP_LOCATION = 2048, TR_HTTP_SHORT = 128 };

/* The caller sets up body with the most that it wants to read (tr_buf_init). */
struct tr_http_answer {
    int status;
    struct tr_buf body;
    char location[TR_HTTP_LOCATION]; /* of these headers; empty: not there, or too long */
    char range[TR_HTTP_SHORT];
    char retry_after[TR_HTTP_SHORT];
    char date[TR_HTTP_SHORT];
};

/* Clears the answer first. */
TR_MUST_USE enum tr_rc tr_http_client_call(const struct tr_ctx *cx, struct tr_http_client *c,
                                           const struct tr_http_call *call,
                                           struct tr_http_answer *ret, struct tr_err *err);

/* "Fri, 21 Nov 2026 09:30:00 GMT" (RFC 9110, IMF-fixdate) as an instant. Pure. */
TR_MUST_USE bool tr_http_date_parse(const char *text, int64_t *ret);

#endif
