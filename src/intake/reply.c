/* Answers: exactly 200 with a body when events are stored; plain text and CORS on everything else.
 */
#include <stdio.h>

#include "base/metric.h"
#include "intake/intake_priv.h"

TR_COUNTER(answers_2xx, "tailrace_capture_answers_total{class=\"2xx\"}",
           "Answers of the capture routes by status class.");
TR_COUNTER(answers_4xx, "tailrace_capture_answers_total{class=\"4xx\"}",
           "Answers of the capture routes by status class.");
TR_COUNTER(answers_5xx, "tailrace_capture_answers_total{class=\"5xx\"}",
           "Answers of the capture routes by status class.");
#define BY_ROUTE(route_, name_)                                                                    \
    [route_] = { .name = "tailrace_capture_requests_total{route=\"" name_ "\"}",                   \
                 .help = "Requests by the route they came on.",                                    \
                 .type = "counter" }
/* What TR_COUNTER makes, as an array. */
static struct tr_metric by_route[TR_ROUTES]
    __attribute__((section("tr_metrics"), used, aligned(32))) = {
        BY_ROUTE(TR_ROUTE_NONE, "none"),
        BY_ROUTE(TR_ROUTE_BATCH, "batch"),
        BY_ROUTE(TR_ROUTE_SINGLE, "single"),
        BY_ROUTE(TR_ROUTE_V1, "v1"),
        BY_ROUTE(TR_ROUTE_AI_V1, "ai_v1"),
        BY_ROUTE(TR_ROUTE_AI_BATCH, "ai_batch"),
        BY_ROUTE(TR_ROUTE_COUNTED, "not_kept"),
        BY_ROUTE(TR_ROUTE_CONFIG, "config"),
        BY_ROUTE(TR_ROUTE_CONFIG_JS, "config_js"),
        BY_ROUTE(TR_ROUTE_FLAGS, "flags"),
        BY_ROUTE(TR_ROUTE_DECIDE, "decide"),
        BY_ROUTE(TR_ROUTE_SURVEYS, "surveys"),
        BY_ROUTE(TR_ROUTE_EARLY_ACCESS, "early_access_features"),
        BY_ROUTE(TR_ROUTE_EXPERIMENTS, "web_experiments"),
        BY_ROUTE(TR_ROUTE_TOURS, "product_tours"),
        BY_ROUTE(TR_ROUTE_DEFINITIONS, "flag_definitions"),
        BY_ROUTE(TR_ROUTE_STATIC, "static"),
        BY_ROUTE(TR_ROUTE_ROOT, "root"),
        BY_ROUTE(TR_ROUTE_LIVENESS, "liveness"),
        BY_ROUTE(TR_ROUTE_READINESS, "readiness"),
        BY_ROUTE(TR_ROUTE_METRICS, "metrics"),
    };
TR_COUNTER(body_bytes, "tailrace_capture_body_bytes_total",
           "Bytes of request bodies as they came.");
TR_COUNTER(unknown_tokens, "tailrace_capture_unknown_token_total",
           "Requests whose capture token belongs to no project.");
TR_COUNTER(stored, "tailrace_events_total{outcome=\"stored\"}",
           "Events of answered requests by what became of them.");
TR_COUNTER(duplicates, "tailrace_events_total{outcome=\"duplicate\"}",
           "Events of answered requests by what became of them.");
TR_COUNTER(conflicts, "tailrace_events_total{outcome=\"conflict\"}",
           "Events of answered requests by what became of them.");

void intake_count_request(enum tr_route route, size_t body_n)
{
    tr_count(&by_route[route], 1);
    if (body_n > 0)
        tr_count(&body_bytes, (int64_t)body_n);
}

void intake_count_answer(int status)
{
    tr_count(status < 400 ? &answers_2xx : status < 500 ? &answers_4xx : &answers_5xx, 1);
}

static const char retry_header[] = "Retry-After: 2\r\n";

void intake_reply(struct intake_loop *l, struct tr_http_request *req, int status,
                  const char *content_type, struct tr_str body, const char *more_headers)
{
    (void)intake_cors(req, req->method == TR_HTTP_OPTIONS, &l->headers);
    if (more_headers != NULL)
        tr_buf_z(&l->headers, more_headers);
    struct tr_http_response response = {
        .status = status,
        .content_type = content_type,
        .body = body,
        .headers = tr_buf_view(&l->headers),
    };
    intake_count_answer(status);
    tr_http_reply(req, &response);
}

void intake_reply_text(struct intake_loop *l, struct tr_http_request *req, int status,
                       const char *text)
{
    intake_reply(l, req, status, "text/plain; charset=utf-8", tr_str_of(text), NULL);
}

static int status_of(const char *id)
{
    static const struct {
        const char *id;
        int status;
    } statuses[] = {
        { "capture.no_token", 401 },      { "capture.bad_token", 401 },
        { "capture.unknown_token", 401 }, { "capture.too_large", 413 },
        { "capture.bad_encoding", 415 },
    };

    for (size_t i = 0; id != NULL && i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (strcmp(statuses[i].id, id) == 0)
            return statuses[i].status;
    return 400;
}

/* The v1 way to say no: {"error", "error_description"}. */
static struct tr_str v1_problem(struct intake_loop *l, const char *id, const char *text)
{
    const char *dot = strchr(id, '.');

    tr_buf_clear(&l->body);
    tr_buf_z(&l->body, "{\"error\":");
    tr_buf_json_str(&l->body, tr_str_of(dot == NULL ? id : dot + 1));
    tr_buf_z(&l->body, ",\"error_description\":");
    tr_buf_json_str(&l->body, tr_str_of(text));
    tr_buf_ch(&l->body, '}');
    return tr_buf_view(&l->body);
}

void intake_reply_busy(struct intake_loop *l, struct tr_http_request *req, const char *why)
{
    struct tr_str token;

    if (tr_route_is_v1(tr_route_find(req->path, &token))) {
        intake_reply(l, req, 503, "application/json", v1_problem(l, "capture.unavailable", why),
                     retry_header);
        return;
    }
    tr_buf_clear(&l->body);
    tr_buf_printf(&l->body, "transient error, please retry: %s", why);
    intake_reply(l, req, 503, "text/plain; charset=utf-8", tr_buf_view(&l->body), retry_header);
}

void intake_reply_refused(struct intake_loop *l, struct tr_http_request *req, enum tr_route route,
                          const struct tr_err *err)
{
    char text[600];
    const char *id = err->id == NULL ? "capture.invalid" : err->id;

    if (strcmp(id, "capture.unknown_token") == 0)
        tr_count(&unknown_tokens, 1);
    (void)tr_err_text(err, text, sizeof(text));
    size_t n = strlen(text);
    if (err->hint != NULL && n < sizeof(text))
        (void)snprintf(text + n, sizeof(text) - n, " (%s)", err->hint);
    if (tr_route_is_v1(route))
        intake_reply(l, req, status_of(id), "application/json", v1_problem(l, id, text), NULL);
    else
        intake_reply_text(l, req, status_of(id), text);
}

static void reply_v1(struct intake_loop *l, struct intake_pending *p)
{
    struct tr_str request_id = tr_http_header_get(p->req, "posthog-request-id");
    char line[160] = "";
    char text[TR_UUID_TEXT];

    tr_buf_clear(&l->body);
    tr_buf_z(&l->body, "{\"results\":{");
    for (uint32_t i = 0; i < p->n_verdicts; i++) {
        const struct tr_capture_verdict *v = &p->verdicts[i];
        tr_uuid_format(&v->uuid, text);
        tr_buf_printf(&l->body, "%s\"%s\":{\"result\":\"%s\"", i == 0 ? "" : ",", text,
                      v->refused           ? "drop"
                      : v->details != NULL ? "warning"
                                           : "ok");
        if (v->details != NULL) {
            tr_buf_z(&l->body, ",\"details\":");
            tr_buf_json_str(&l->body, tr_str_of(v->details));
        }
        tr_buf_ch(&l->body, '}');
    }
    tr_buf_z(&l->body, "}}");
    if (request_id.n > 0 && request_id.n < 100)
        (void)snprintf(line, sizeof(line), "PostHog-Request-Id: %.*s\r\n", TR_STR_ARGS(request_id));
    intake_reply(l, p->req, 200, "application/json", tr_buf_view(&l->body), line);
}

void intake_reply_done(struct intake_loop *l, struct intake_pending *p)
{
    switch (p->answer) {
    case INTAKE_ANSWER_JSON:
        intake_reply(l, p->req, 200, "application/json", TR_STR("{\"status\":\"Ok\"}"), NULL);
        break;
    case INTAKE_ANSWER_BEACON:
        intake_reply(l, p->req, 204, NULL, TR_STR(""), NULL);
        break;
    case INTAKE_ANSWER_V1:
        reply_v1(l, p);
        break;
    }
}

static void count_outcomes(const struct intake_group *g)
{
    int64_t counts[3] = { 0 };

    for (size_t i = 0; i < g->g.n_events; i++)
        counts[g->g.events[i].outcome]++;
    tr_count(&stored, counts[TR_EVENT_STORED]);
    tr_count(&duplicates, counts[TR_EVENT_DUPLICATE]);
    tr_count(&conflicts, counts[TR_EVENT_CONFLICT]);
}

/* Anybody reads it: no errors of the system, which name files of the data folder. */
static const char *public_reason(const struct tr_err *err)
{
    return err->rc == TR_THROTTLED || err->rc == TR_TRANSIENT
               ? err->cause
               : "the events cannot be written; the server's log says why";
}

void intake_reply_group(struct intake_loop *l, struct intake_group *g)
{
    if (g->rc == TR_OK)
        count_outcomes(g);
    for (size_t i = 0; i < g->n_pending; i++) {
        struct intake_pending *p = &g->pending[i];
        if (g->rc == TR_OK)
            intake_reply_done(l, p);
        else
            intake_reply_busy(l, p->req, public_reason(&g->err));
    }
    intake_group_give(l, g);
}
