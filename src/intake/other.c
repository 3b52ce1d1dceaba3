/* The routes that bring no events: start-up calls of SDKs, probes, metrics. */
#include <stdio.h>

#include "base/metric.h"
#include "intake/intake_priv.h"

TR_COUNTER(
    not_kept, "tailrace_capture_not_kept_total",
    "Requests with recordings, logs or metrics: accepted so that SDKs are content, not kept.");

static void readiness(struct intake_loop *l, struct tr_http_request *req)
{
    struct tr_store_status status;
    char text[400];

    tr_store_status(l->t->o.store, &status);
    if (status.ready) {
        intake_reply_text(l, req, 200, "ready");
        return;
    }
    (void)snprintf(text, sizeof(text), "not ready: %s%s%s",
                   status.not_ready_why == NULL ? "unknown" : status.not_ready_why,
                   status.not_ready_hint == NULL ? "" : "; ",
                   status.not_ready_hint == NULL ? "" : status.not_ready_hint);
    intake_reply_text(l, req, 503, text);
}

static void json(struct intake_loop *l, struct tr_http_request *req, struct tr_str body)
{
    intake_reply(l, req, 200, "application/json", body, NULL);
}

/* The configuration of a token that is nobody's would only hide the mistake. */
static bool knows(struct intake_loop *l, struct tr_http_request *req, struct tr_str token)
{
    int32_t project;

    if (intake_tokens_find(l->tokens, token, &project))
        return true;
    intake_reply_text(
        l, req, 404,
        "this capture token belongs to no project here; `tailrace project list` shows "
        "the tokens");
    return false;
}

void intake_other(struct intake_loop *l, struct tr_http_request *req, enum tr_route route,
                  struct tr_str token)
{
    bool with_config;

    switch (route) {
    case TR_ROUTE_CONFIG:
        if (knows(l, req, token)) {
            intake_config_json(&l->body, token);
            json(l, req, tr_buf_view(&l->body));
        }
        break;
    case TR_ROUTE_CONFIG_JS:
        if (knows(l, req, token)) {
            intake_config_js(&l->body, token);
            intake_reply(l, req, 200, "application/javascript; charset=utf-8",
                         tr_buf_view(&l->body), "Cache-Control: public, max-age=300\r\n");
        }
        break;
    case TR_ROUTE_FLAGS:
    case TR_ROUTE_DECIDE:
        /* /decide has always brought the configuration, /flags does when it is asked to. */
        with_config = route == TR_ROUTE_DECIDE ||
                      tr_str_is(tr_query_get(req->query, "config", &l->text), "true");
        intake_flags_json(&l->body, with_config);
        json(l, req, tr_buf_view(&l->body));
        break;
    case TR_ROUTE_SURVEYS:
        json(l, req, TR_STR("{\"surveys\":[]}"));
        break;
    case TR_ROUTE_EARLY_ACCESS:
        json(l, req, TR_STR("{\"earlyAccessFeatures\":[]}"));
        break;
    case TR_ROUTE_EXPERIMENTS:
        json(l, req, TR_STR("{\"experiments\":[]}"));
        break;
    case TR_ROUTE_TOURS:
        json(l, req, TR_STR("{\"product_tours\":[]}"));
        break;
    case TR_ROUTE_DEFINITIONS:
        json(l, req, TR_STR("{\"flags\":[],\"group_type_mapping\":{},\"cohorts\":{}}"));
        break;
    case TR_ROUTE_COUNTED:
        tr_count(&not_kept, 1);
        json(l, req, TR_STR("{\"status\":\"Ok\"}"));
        break;
    case TR_ROUTE_STATIC:
        intake_reply_text(l, req, 404,
                          "this server has no copy of posthog-js: install it from npm (npm install "
                          "posthog-js), or serve array.js from your own site");
        break;
    case TR_ROUTE_ROOT:
        intake_reply_text(l, req, 200, "tailrace " TR_VERSION);
        break;
    case TR_ROUTE_LIVENESS:
        intake_reply_text(l, req, 200, "alive");
        break;
    case TR_ROUTE_READINESS:
        readiness(l, req);
        break;
    case TR_ROUTE_METRICS:
        tr_buf_clear(&l->body);
        tr_metrics_write(&l->body);
        intake_reply(l, req, 200, "text/plain; version=0.0.4; charset=utf-8", tr_buf_view(&l->body),
                     NULL);
        break;
    case TR_ROUTE_NONE:
    case TR_ROUTE_BATCH:
    case TR_ROUTE_SINGLE:
    case TR_ROUTE_V1:
    case TR_ROUTE_AI_V1:
    case TR_ROUTE_AI_BATCH:
    case TR_ROUTES:
        intake_reply_text(l, req, 404, "no such route");
        break;
    }
}
