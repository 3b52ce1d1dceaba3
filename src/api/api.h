/* The REST API under /api/, in PostHog's shape. Handlers run in their own workers, never on a loop.
 * docs/api.md is the table of routes. */
#ifndef TR_API_API_H
#define TR_API_API_H

#include "delivery/delivery.h"
#include "engine/engine.h"
#include "intake/intake.h"
#include "net/http.h"
#include "store/store.h"

struct tr_api;

struct tr_api_options {
    const struct tr_delivery *delivery;
    struct tr_engine *engine;
    struct tr_store *store;   /* for status and persons */
    struct tr_intake *intake; /* for unknown capture tokens; may be NULL */
    int workers;              /* default 2 */
    size_t max_body_bytes;    /* 1 MiB */
    struct tr_budget *bodies; /* requests that wait are charged here; may be NULL */
    /* Projects changed: the capture tokens must be read anew. */
    void (*projects_changed)(void *arg);
    void *arg;
};

TR_MUST_USE enum tr_rc tr_api_new(const struct tr_api_options *o, struct tr_api **ret,
                                  struct tr_err *err);
/* The process is about to end: new requests get 503, long ones (verify, test steps) are cancelled.
 * Call before the HTTP server stops. */
void tr_api_stop(struct tr_api *a);
/* A loop is going away: what is still being worked on for it is answered to nobody. On the loop. */
void tr_api_loop_stop(struct tr_api *a, struct tr_http_loop *loop);
/* Finishes what was taken, stops the workers. After the HTTP server has stopped. */
void tr_api_free(struct tr_api *a);

/* Called on a loop; answers later on that loop. */
void tr_api_request(struct tr_api *a, struct tr_http_request *req);

#endif
