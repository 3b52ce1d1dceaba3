#include "intake/route.h"

static const struct {
    const char *path;
    enum tr_route route;
} exact[] = {
    { "/batch", TR_ROUTE_BATCH },
    { "/e", TR_ROUTE_SINGLE },
    { "/i/v0/e", TR_ROUTE_SINGLE },
    { "/capture", TR_ROUTE_SINGLE },
    { "/track", TR_ROUTE_SINGLE },
    { "/engage", TR_ROUTE_SINGLE },
    { "/i/v1/analytics/events", TR_ROUTE_V1 },
    { "/i/v1/ai/events", TR_ROUTE_AI_V1 },
    { "/i/v0/ai/batch", TR_ROUTE_AI_BATCH },
    { "/s", TR_ROUTE_COUNTED },
    { "/i/v1/traces", TR_ROUTE_COUNTED },
    { "/v1/traces", TR_ROUTE_COUNTED },
    { "/v1/logs", TR_ROUTE_COUNTED },
    { "/v1/metrics", TR_ROUTE_COUNTED },
    { "/i/v1/logs", TR_ROUTE_COUNTED },
    { "/i/v1/metrics", TR_ROUTE_COUNTED },
    { "/flags", TR_ROUTE_FLAGS },
    { "/decide", TR_ROUTE_DECIDE },
    { "/api/surveys", TR_ROUTE_SURVEYS },
    { "/api/early_access_features", TR_ROUTE_EARLY_ACCESS },
    { "/api/web_experiments", TR_ROUTE_EXPERIMENTS },
    { "/api/product_tours", TR_ROUTE_TOURS },
    { "/flags/definitions", TR_ROUTE_DEFINITIONS },
    { "/api/feature_flag/local_evaluation", TR_ROUTE_DEFINITIONS },
    { "", TR_ROUTE_ROOT },
    { "/_liveness", TR_ROUTE_LIVENESS },
    { "/_readiness", TR_ROUTE_READINESS },
    { "/metrics", TR_ROUTE_METRICS },
};

/* "/array/{token}/config" and "/array/{token}/config.js" */
static enum tr_route find_array(struct tr_str path, struct tr_str *ret_token)
{
    struct tr_str rest;
    struct tr_str token = tr_str_cut((struct tr_str){ path.p + 7, path.n - 7 }, '/', &rest);

    if (token.n == 0)
        return TR_ROUTE_NONE;
    if (!tr_str_is(rest, "config") && !tr_str_is(rest, "config.js"))
        return TR_ROUTE_NONE;
    *ret_token = token;
    return tr_str_is(rest, "config") ? TR_ROUTE_CONFIG : TR_ROUTE_CONFIG_JS;
}

enum tr_route tr_route_find(struct tr_str path, struct tr_str *ret_token)
{
    *ret_token = (struct tr_str){ NULL, 0 };
    if (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
        if (tr_str_is(path, exact[i].path))
            return exact[i].route;
    if (tr_str_starts(path, TR_STR("/array/")))
        return find_array(path, ret_token);
    return tr_str_starts(path, TR_STR("/static/")) ? TR_ROUTE_STATIC : TR_ROUTE_NONE;
}
