/* The HTTP/1.1 server: one epoll loop per thread, all on one address (SO_REUSEPORT).
 *
 * A loop reads everything that is ready, hands each whole request to the handler, and calls
 * turn_end once: a handler that groups work (capture) hands the group over there. Replies may come
 * at once or later, always on the loop's thread; other threads get there through tr_http_post.
 *
 * Promises to clients (reference: what real SDKs do):
 *   - a reply is whole, with Content-Length; a connection is never cut in answer to a request: an
 *     early answer (413, 503) is sent, then what is still coming is read and dropped up to
 *     drain_bytes and drain_us;
 *   - pipelined requests are answered in order; Expect: 100-continue and chunked bodies work;
 *   - what a connection holds beyond one small buffer (long heads, bodies, answers that are not
 *     taken) is charged to one budget. Bodies are charged as they come, never much more than has
 *     come; when the budget is spent, sockets wait unread, for hold_us at most, then 503 with
 *     Retry-After. What is small (up to inline_body_bytes) may use a quarter more;
 *   - answers that are not taken are kept as long as the client takes some within drain_us, up to
 *     the budget's size over all connections; then those go that have stood still for longest;
 *   - while others wait, a body that holds memory must come at a rate that brings as much within
 *     body_timeout_us, or it is answered 408;
 *   - a request that the handler does not answer within answer_timeout_us gets 503 and its
 *     connection is closed; of a client that has closed its half, within drain_us;
 *   - slow bodies: 408 after body_timeout_us without a byte; idle keep-alive connections are closed
 *     after idle_timeout_us, never sooner than 75 s.
 */
#ifndef TR_NET_HTTP_H
#define TR_NET_HTTP_H

#include "base/budget.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum tr_http_method {
    TR_HTTP_GET,
    TR_HTTP_HEAD,
    TR_HTTP_POST,
    TR_HTTP_PUT,
    TR_HTTP_PATCH,
    TR_HTTP_DELETE,
    TR_HTTP_OPTIONS,
    TR_HTTP_OTHER,
};

struct tr_http_server;
struct tr_http_loop;

struct tr_http_header {
    struct tr_str name, value;
};

enum { TR_HTTP_MAX_HEADERS = 100, TR_HTTP_PEER_TEXT = 64 };

/* A whole request. Valid from request() until it was answered; may be read from any thread. */
struct tr_http_request {
    enum tr_http_method method;
    struct tr_str path;  /* as sent, without the query, not percent-decoded */
    struct tr_str query; /* without the '?'; n == 0 when there is none */
    size_t n_headers;
    const struct tr_http_header *headers;
    struct tr_str body;
    const char *peer; /* numeric address of the other end, without port */
    struct tr_http_loop *loop;
    void *user; /* the handler's */
};

struct tr_http_response {
    int status;
    const char *content_type; /* NULL: no body */
    struct tr_str body;       /* copied */
    struct tr_str headers;    /* more header lines, each with its CRLF; copied */
    bool close;               /* say Connection: close and do so after the reply */
};

struct tr_http_handler {
    /* Once per loop, on its thread; *ret_state is passed to the calls below. May be NULL. */
    TR_MUST_USE enum tr_rc (*loop_start)(void *self, struct tr_http_loop *loop, void **ret_state,
                                         struct tr_err *err);
    /* Last call of the loop: requests may still be answered in it, those that are not are cut.
     * Posts and timers that have not run by then never will. */
    void (*loop_stop)(void *self, void *state);

    /* The headers are there (body empty yet). Says how many body bytes are allowed; more gets
     * too_large(). May answer at once with tr_http_reply: then request() is not called. */
    size_t (*headers)(void *self, void *state, struct tr_http_request *req);
    /* Fills the answer to a body over its limit (413), that did not come (408) or that the budget
     * had no room for (503), in the handler's own style (CORS headers, plain text). Static strings
     * or out. May be NULL or leave ret->status 0: then the server's own words are used. */
    void (*too_bad)(void *self, const struct tr_http_request *req, int status, struct tr_buf *out,
                    struct tr_http_response *ret);
    /* Must lead to exactly one tr_http_reply, now or later. */
    void (*request)(void *self, void *state, struct tr_http_request *req);
    /* Everything that was ready has been handed over. */
    void (*turn_end)(void *self, void *state);
    void *self;
};

struct tr_http_options {
    const char *listen; /* "127.0.0.1:8000", "[::1]:8000", port 0 picks one */
    int loops;
    /* Per server; beyond it accepting waits. Those whose client is gone while the handler still has
     * their request do not count, until they are as many again. */
    int max_connections;
    size_t max_header_bytes;
    struct tr_budget *bodies;
    size_t inline_body_bytes; /* a body up to this size is small: not behind large ones */
    int64_t hold_us; /* how long a body may wait for the budget, all its waits together: 5 s */
    int64_t body_timeout_us;
    int64_t idle_timeout_us;
    int64_t answer_timeout_us; /* how long a handler may take */
    size_t drain_bytes;
    int64_t drain_us;
};

/* Sensible defaults for everything but listen and bodies. */
void tr_http_options_default(struct tr_http_options *o);

/* Binds, listens and starts the loops. TR_REFUSED when the address is in use. */
TR_MUST_USE enum tr_rc tr_http_start(const struct tr_http_options *o,
                                     const struct tr_http_handler *handler,
                                     struct tr_http_server **ret, struct tr_err *err);

/* The port it listens on (for port 0). */
int tr_http_port(const struct tr_http_server *s);

/* Stops accepting, lets requests in flight be answered (Connection: close) for at most grace_us,
 * stops the loops, frees everything. */
void tr_http_stop(struct tr_http_server *s, int64_t grace_us);

/* On the request's loop only. Copies what it needs; req is gone afterwards. */
void tr_http_reply(struct tr_http_request *req, const struct tr_http_response *response);

/* Gives the body's memory and budget back before the answer is known; req->body becomes empty. */
void tr_http_drop_body(struct tr_http_request *req);

/* Runs fn(arg) on the loop's thread soon. From any thread, also the loop's own. Nodes are the
 * caller's: no allocation, cannot fail. */
struct tr_http_post {
    struct tr_http_post *next;
    void (*fn)(struct tr_http_post *);
};
void tr_http_post(struct tr_http_loop *loop, struct tr_http_post *post);

/* Runs fn(timer) once on the loop's thread, delay_us from now. On that thread only; the node is the
 * caller's and free again when fn is called. Setting one that is set moves it. */
struct tr_http_timer {
    struct tr_http_timer *next;
    void (*fn)(struct tr_http_timer *);
    int64_t at_us; /* the loop's */
    bool set;
};
void tr_http_timer_set(struct tr_http_loop *loop, struct tr_http_timer *timer, int64_t delay_us);
void tr_http_timer_clear(struct tr_http_loop *loop, struct tr_http_timer *timer);

/* Stops reading new request bytes on this loop (back-pressure), or goes on. */
void tr_http_pause(struct tr_http_loop *loop, bool paused);

/* The value of a header (name in any case), p == NULL when absent. */
struct tr_str tr_http_header_get(const struct tr_http_request *req, const char *name);

/* The first value of a query or form key, percent-decoded into tmp (cleared first) where needed
 * ('+' is a blank); p == NULL when absent or too long for tmp, n == 0 when empty. */
struct tr_str tr_query_get(struct tr_str query, const char *key, struct tr_buf *tmp);

#endif
