/* The table of routes that SDKs call. docs/capture.md shows it to people. */
#ifndef TR_INTAKE_ROUTE_H
#define TR_INTAKE_ROUTE_H

#include "base/str.h"
#include "net/http.h"

enum tr_route {
    TR_ROUTE_NONE,         /* not the intake's */
    TR_ROUTE_BATCH,        /* /batch */
    TR_ROUTE_SINGLE,       /* /e, /i/v0/e, /capture, /track, /engage */
    TR_ROUTE_V1,           /* /i/v1/analytics/events */
    TR_ROUTE_AI_V1,        /* /i/v1/ai/events */
    TR_ROUTE_AI_BATCH,     /* /i/v0/ai/batch */
    TR_ROUTE_COUNTED,      /* /s, /i/v1/logs, /i/v1/metrics, /i/v1/traces: accepted, not kept */
    TR_ROUTE_CONFIG,       /* /array/{token}/config */
    TR_ROUTE_CONFIG_JS,    /* /array/{token}/config.js */
    TR_ROUTE_FLAGS,        /* /flags */
    TR_ROUTE_DECIDE,       /* /decide */
    TR_ROUTE_SURVEYS,      /* /api/surveys */
    TR_ROUTE_EARLY_ACCESS, /* /api/early_access_features */
    TR_ROUTE_EXPERIMENTS,  /* /api/web_experiments */
    TR_ROUTE_TOURS,        /* /api/product_tours */
    TR_ROUTE_DEFINITIONS,  /* /flags/definitions, /api/feature_flag/local_evaluation */
    TR_ROUTE_STATIC,       /* /static/..: cannot be ours */
    TR_ROUTE_ROOT,         /* / */
    TR_ROUTE_LIVENESS,     /* /_liveness */
    TR_ROUTE_READINESS,    /* /_readiness */
    TR_ROUTE_METRICS,      /* /metrics */
    TR_ROUTES
};

/* A trailing slash makes no difference. *ret_token is the {token} part, where there is one. */
enum tr_route tr_route_find(struct tr_str path, struct tr_str *ret_token);

/* Every event has a result of its own, and what is wrong with a request is told in JSON. */
static inline bool tr_route_is_v1(enum tr_route route)
{
    return route == TR_ROUTE_V1 || route == TR_ROUTE_AI_V1;
}

/* Takes "$ai_" events alone, and larger ones. */
static inline bool tr_route_is_ai(enum tr_route route)
{
    return route == TR_ROUTE_AI_V1 || route == TR_ROUTE_AI_BATCH;
}

/* Events come this way: answered after the store's sync. */
static inline bool tr_route_captures(enum tr_route route)
{
    return route == TR_ROUTE_BATCH || route == TR_ROUTE_SINGLE || tr_route_is_v1(route) ||
           tr_route_is_ai(route);
}

#endif
