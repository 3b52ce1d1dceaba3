/* From the bytes of a capture request to events. Pure: no socket, no clock, no store; what it needs
 * of the world comes in struct tr_capture_in. One file per dialect: posthog.c (v0), posthog_v1.c.
 *
 * A request with one bad event is refused whole, as the real server does (v1 answers per event).
 * Events go packed (model/event.h) straight into the caller's buffer; on failure that buffer is as
 * long as it was before the call.
 */
#ifndef TR_CAPTURE_CAPTURE_H
#define TR_CAPTURE_CAPTURE_H

#include "base/budget.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/event.h"

struct tr_capture_in {
    struct tr_str path;             /* "/batch/", "/e", ..: decides legacy rules and "/engage" */
    struct tr_str query;            /* without '?' */
    struct tr_str content_type;     /* n == 0: none */
    struct tr_str content_encoding; /* n == 0: none */
    struct tr_str bearer;           /* v1: the Authorization token */
    struct tr_str sdk_info;         /* v1: PostHog-Sdk-Info, "name/version" */
    struct tr_str request_time;     /* v1: PostHog-Request-Timestamp, new in each attempt; n == 0:
                                       the body's created_at is when it was sent */
    struct tr_str body;
    const char *ip;           /* of the client, numeric */
    int64_t now;              /* wall clock, microseconds UTC */
    const uint8_t *random;    /* 16 random bytes: seed of the ids made here */
    size_t max_inflated;      /* limit of a decoded body */
    size_t max_event_bytes;   /* packed bytes of one event; default 1 MB (docs/capture.md) */
    size_t max_depth;         /* JSON nesting allowed */
    bool ai_only;             /* events whose name does not begin with "$ai_" are refused */
    struct tr_budget *budget; /* decoded bodies are charged here; may be NULL */
};

/* Scratch of one loop: buffers that are kept between requests. */
struct tr_capture_scratch;
TR_MUST_USE enum tr_rc tr_capture_scratch_new(struct tr_capture_scratch **ret, struct tr_err *err);
void tr_capture_scratch_free(struct tr_capture_scratch *s);

/* Finds the project of a capture token; false: nobody's. */
typedef bool tr_token_lookup(void *arg, struct tr_str token, int32_t *ret_project);

/* v1 only: what becomes of one event of the request. */
struct tr_capture_verdict {
    struct tr_uuid uuid;
    bool refused; /* "drop"; otherwise the event is in rows as number index */
    uint32_t index;
    const char *details; /* static text or NULL */
};

struct tr_capture_out {
    int32_t project;     /* 0: unknown */
    struct tr_str token; /* for counting unknown ones; a view into scratch */
    uint32_t events;     /* packed and appended */
    uint32_t seen;       /* events in the request, dropped and refused ones included */
    uint32_t ignored;    /* dropped by rule ($performance_event) */
    struct tr_buf *rows; /* in: where to append */
    uint32_t *at;        /* offsets of the packed events in rows; scratch's memory, events long */
    struct tr_capture_verdict *verdicts; /* v1; scratch's memory */
    uint32_t n_verdicts;
    bool no_memory_now; /* the budget is spent: hold the request and try again later */
};

/* v0: all legacy and current PostHog routes. On failure err->id says which answer:
 * "capture.no_token", "capture.bad_token", "capture.unknown_token" (401), "capture.too_large"
 * (413), everything else 400; err->cause is the text of the answer. no_memory_now comes with
 * TR_THROTTLED. */
TR_MUST_USE enum tr_rc tr_capture_posthog(const struct tr_capture_in *in, tr_token_lookup *lookup,
                                          void *lookup_arg, struct tr_capture_scratch *scratch,
                                          struct tr_capture_out *out, struct tr_err *err);

/* POST /i/v1/analytics/events. Errors as above, "capture.bad_encoding" is 415. */
TR_MUST_USE enum tr_rc tr_capture_posthog_v1(const struct tr_capture_in *in,
                                             tr_token_lookup *lookup, void *lookup_arg,
                                             struct tr_capture_scratch *scratch,
                                             struct tr_capture_out *out, struct tr_err *err);

#endif
