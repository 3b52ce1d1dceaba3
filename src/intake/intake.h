/* The HTTP face of capture: routes, CORS, limits, groups and acknowledgements.
 *
 * A loop's requests become packed events in that loop's group; turn_end hands the group to the
 * store; done() comes back through tr_http_post and answers each request. The start-up calls of
 * SDKs are answered here too. docs/capture.md is the table of routes.
 */
#ifndef TR_INTAKE_INTAKE_H
#define TR_INTAKE_INTAKE_H

#include "capture/capture.h"
#include "net/http.h"
#include "store/store.h"

struct tr_intake;

struct tr_intake_options {
    struct tr_store *store;
    struct tr_budget *bodies;
    size_t max_batch_bytes;  /* /batch and v1: 20 MiB */
    size_t max_single_bytes; /* /e, /i/v0/e, /capture, /track, /engage: 20 MiB (the real server's
                                newer code has one limit) */
    size_t max_event_bytes;
    size_t max_ai_event_bytes; /* of the routes under /i/v0/ai and /i/v1/ai: 8 MiB */
    int64_t hold_us;           /* how long a full store is waited for: 5 s */
    /* Comma-separated addresses and prefixes whose X-Forwarded-For is believed. */
    const char *trusted_proxies;
};

TR_MUST_USE enum tr_rc tr_intake_new(const struct tr_intake_options *o, struct tr_intake **ret,
                                     struct tr_err *err);
void tr_intake_free(struct tr_intake *t);

/* Replaces the table of capture tokens: n pairs; copied. Any thread; requests in flight keep the
 * old one. */
struct tr_intake_token {
    char token[65];
    int32_t project;
};
TR_MUST_USE enum tr_rc tr_intake_set_tokens(struct tr_intake *t,
                                            const struct tr_intake_token *tokens, size_t n,
                                            struct tr_err *err);

/* Capture tokens that requests came with and that are no project's, newest first: what a person
 * needs to see which site is configured wrongly. The table is small, old entries go. Any thread. */
struct tr_intake_unknown {
    char token[65];
    uint64_t requests;
    int64_t last_at; /* wall clock */
};
size_t tr_intake_unknown_tokens(struct tr_intake *t, struct tr_intake_unknown *ret, size_t cap);

/* This request is the intake's (capture routes, SDK start-up calls, probes). */
bool tr_intake_owns(enum tr_http_method method, struct tr_str path);

/* The members of a tr_http_handler, for the router in app/; state is the loop's, of loop_start. */
enum tr_rc tr_intake_loop_start(struct tr_intake *t, struct tr_http_loop *loop, void **ret_state,
                                struct tr_err *err);
void tr_intake_loop_stop(struct tr_intake *t, void *state);
size_t tr_intake_headers(struct tr_intake *t, void *state, struct tr_http_request *req);
void tr_intake_too_bad(struct tr_intake *t, const struct tr_http_request *req, int status,
                       struct tr_buf *out, struct tr_http_response *ret);
void tr_intake_request(struct tr_intake *t, void *state, struct tr_http_request *req);
void tr_intake_turn_end(struct tr_intake *t, void *state);

#endif
