/* Inside of the intake. A loop's state and everything it owns is touched on that loop's thread
 * only; shared are the options, the token table (counted, immutable) and the refused-token table.
 */
#ifndef TR_INTAKE_INTAKE_PRIV_H
#define TR_INTAKE_INTAKE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "intake/intake.h"
#include "intake/route.h"
#include "os/thread.h"

enum {
    INTAKE_GROUP_BYTES = 8 << 20,      /* a group this long goes to the store at once */
    INTAKE_GROUP_MAX_BYTES = 64 << 20, /* one request of the largest size, packed, fits */
    INTAKE_KEEP_BYTES = 2 << 20,       /* rows memory an unused group keeps */
    INTAKE_SMALL_BYTES = 64 << 10,     /* packed requests over this are charged to the budget */
    INTAKE_WAIT_BYTES = 16 << 20,      /* bodies waiting undecoded before the loop stops reading */
    INTAKE_RETRY_US = 5000,            /* how often a full store or a spent budget is asked again */
    INTAKE_ASKED_HEADERS = 1024,       /* mirrored to a preflight at most */
    INTAKE_UNKNOWN = 64,               /* unknown tokens that are remembered */
};

/* ---- tokens.c ---- */

struct intake_tokens {
    atomic_int refs;
    size_t n;
    struct tr_intake_token items[]; /* sorted by token */
};

void intake_tokens_unref(struct intake_tokens *t);
tr_token_lookup intake_tokens_find; /* arg: struct intake_tokens */

/* ---- unknown.c ---- */

struct intake_unknown {
    pthread_mutex_t lock;
    size_t n;
    struct tr_intake_unknown items[INTAKE_UNKNOWN]; /* newest first */
};

void intake_unknown_note(struct intake_unknown *u, struct tr_str token, int64_t now);

/* ---- proxy.c ---- */

struct intake_proxies; /* who may say for whom it speaks */

TR_MUST_USE enum tr_rc intake_proxies_parse(const char *list, struct intake_proxies **ret,
                                            struct tr_err *err);
void intake_proxies_free(struct intake_proxies *p);

/* The client's address: the peer's, or what a trusted one says in X-Forwarded-For. out holds it
 * when it is not the peer's own text. */
const char *intake_client_ip(const struct intake_proxies *p, const struct tr_http_request *req,
                             char out[TR_HTTP_PEER_TEXT]);

/* ---- cors.c ---- */

/* Header lines that let a page of any origin read the answer; out is cleared first. */
struct tr_str intake_cors(const struct tr_http_request *req, bool preflight, struct tr_buf *out);

/* ---- startup.c: what SDKs ask when they start ---- */

/* Bodies; out is cleared first. token is only used after it was found to be a project's. */
void intake_config_json(struct tr_buf *out, struct tr_str token);
void intake_config_js(struct tr_buf *out, struct tr_str token);
/* with_config: also what /array/{token}/config says, for SDKs that take it from here. */
void intake_flags_json(struct tr_buf *out, bool with_config);

/* ---- group.c ---- */

enum intake_answer { INTAKE_ANSWER_JSON, INTAKE_ANSWER_BEACON, INTAKE_ANSWER_V1 };

/* A request whose events are in a group. */
struct intake_pending {
    struct tr_http_request *req;
    enum intake_answer answer;
    struct tr_capture_verdict *verdicts; /* V1: a copy; heap */
    uint32_t n_verdicts;
};

struct intake_loop;

struct intake_group {
    struct tr_group g; /* first */
    struct intake_loop *loop;
    struct intake_group *next; /* in the pool, or among the finished */
    struct intake_pending *pending;
    size_t n_pending, cap_pending, cap_events, cap_refused;
    size_t charged;   /* bytes of rows that stand in the budget of bodies */
    int64_t until_us; /* boot time: its first request has then been held long enough */
    enum tr_rc rc;    /* what the store said */
    struct tr_err err;
};

struct intake_group *intake_group_take(struct intake_loop *l);
void intake_group_give(struct intake_loop *l, struct intake_group *g);
void intake_group_free(struct intake_group *g);
/* False when memory ran out. */
bool intake_group_add(struct intake_group *g, const struct tr_capture_out *out,
                      const struct intake_pending *pending);
void intake_group_refuse(struct intake_group *g, int32_t project, uint32_t events);

/* ---- the loop's state ---- */

/* A request that could not be decoded yet: the budget is spent, or the store has fallen behind. */
struct intake_waiting {
    struct intake_waiting *next;
    struct tr_http_request *req;
    int64_t came_at; /* wall clock: what skewed clocks are compared with */
    int64_t until_us;
};

struct intake_loop {
    struct tr_intake *t;
    struct tr_http_loop *loop;
    struct tr_capture_scratch *scratch;
    struct intake_tokens *tokens;
    uint64_t tokens_version;
    struct intake_group *filling; /* this turn's */
    struct intake_group *held;    /* the store was busy */
    struct intake_group *pool;
    int pooled;
    int at_store; /* groups */
    /* between the writer's thread and the loop's: */
    struct tr_monitor done;
    struct intake_group *finished, **finished_end;
    struct tr_http_post post;
    bool posted;
    struct intake_waiting *waiting, **waiting_end;
    size_t waiting_bytes;
    bool paused;
    struct tr_http_timer timer;
    struct tr_buf headers, body, text;
    uint8_t random[1024]; /* for ids made here; refilled */
    size_t random_at;
};

struct tr_intake {
    struct tr_intake_options o;
    /* What is inflated. Apart from the budget of bodies, because who waits here holds a body: with
     * one budget for both, bodies that fill it would wait for each other. */
    struct tr_budget inflated;
    struct intake_proxies *proxies;
    struct intake_unknown unknown;
    pthread_mutex_t lock; /* tokens */
    struct intake_tokens *tokens;
    atomic_uint_fast64_t tokens_version;
};

/* ---- intake.c ---- */

/* Bytes of a body, also inflated. */
size_t intake_limit(const struct tr_intake *t, enum tr_route route);

/* ---- admit.c ---- */

/* Decodes a request into the filling group, or answers it. False: there is no memory for it now. */
bool intake_admit(struct intake_loop *l, const struct intake_waiting *w, enum tr_route route);
void intake_refresh_tokens(struct intake_loop *l);

/* ---- flow.c ---- */

void intake_flow_init(struct intake_loop *l);
/* Everything that is in flight is answered when it returns. */
void intake_flow_end(struct intake_loop *l);
/* What this turn gathered goes to the store, or is held for a while. */
void intake_flush(struct intake_loop *l);
/* Keeps a request that cannot be decoded now; w is copied. */
void intake_wait(struct intake_loop *l, const struct intake_waiting *w);

/* ---- reply.c: every answer goes out through these ---- */

void intake_count_request(enum tr_route route, size_t body_n);
void intake_count_answer(int status);
/* more_headers: whole lines, or NULL. */
void intake_reply(struct intake_loop *l, struct tr_http_request *req, int status,
                  const char *content_type, struct tr_str body, const char *more_headers);
void intake_reply_text(struct intake_loop *l, struct tr_http_request *req, int status,
                       const char *text);
void intake_reply_busy(struct intake_loop *l, struct tr_http_request *req, const char *why);
void intake_reply_refused(struct intake_loop *l, struct tr_http_request *req, enum tr_route route,
                          const struct tr_err *err);
/* 200 (204 to a beacon): what was to be stored of it is stored. */
void intake_reply_done(struct intake_loop *l, struct intake_pending *p);
/* Answers every request of a group, by what the store said; the group goes back to the pool. */
void intake_reply_group(struct intake_loop *l, struct intake_group *g);

/* ---- other.c: routes that bring no events ---- */
void intake_other(struct intake_loop *l, struct tr_http_request *req, enum tr_route route,
                  struct tr_str token);

#endif
