#include "intake/intake.h"

#include <stdlib.h>

#include "intake/intake_priv.h"
#include "os/clock.h"

/* ---- start and stop ---- */

enum tr_rc tr_intake_new(const struct tr_intake_options *o, struct tr_intake **ret,
                         struct tr_err *err)
{
    struct tr_intake *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return tr_fail_oom(err);
    t->o = *o;
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_mutex_init(&t->unknown.lock, NULL);
    atomic_init(&t->tokens_version, 1);
    tr_budget_init(&t->inflated, o->max_batch_bytes);
    const char *proxies = o->trusted_proxies == NULL ? "" : o->trusted_proxies;
    if (intake_proxies_parse(proxies, &t->proxies, err) != TR_OK) {
        tr_intake_free(t);
        return tr_wrap(err, "capture");
    }
    *ret = t;
    return TR_OK;
}

void tr_intake_free(struct tr_intake *t)
{
    if (t == NULL)
        return;
    intake_tokens_unref(t->tokens);
    intake_proxies_free(t->proxies);
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_mutex_destroy(&t->unknown.lock);
    free(t);
}

enum tr_rc tr_intake_loop_start(struct tr_intake *t, struct tr_http_loop *loop, void **ret_state,
                                struct tr_err *err)
{
    struct intake_loop *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return tr_fail_oom(err);
    if (tr_capture_scratch_new(&l->scratch, err) != TR_OK) {
        free(l);
        return tr_wrap(err, "capture");
    }
    l->t = t;
    l->loop = loop;
    intake_flow_init(l);
    l->random_at = sizeof(l->random);
    tr_monitor_init(&l->done);
    tr_buf_init(&l->headers, 8 << 10);
    tr_buf_init(&l->body, 16 << 20);
    tr_buf_init(&l->text, 4 << 10);
    *ret_state = l;
    return TR_OK;
}

void tr_intake_loop_stop(struct tr_intake *t, void *state)
{
    struct intake_loop *l = state;

    (void)t;
    if (l == NULL)
        return;
    intake_flow_end(l);
    intake_group_free(l->filling);
    while (l->pool != NULL) {
        struct intake_group *next = l->pool->next;
        intake_group_free(l->pool);
        l->pool = next;
    }
    intake_tokens_unref(l->tokens);
    tr_capture_scratch_free(l->scratch);
    tr_monitor_fini(&l->done);
    tr_buf_fini(&l->headers);
    tr_buf_fini(&l->body);
    tr_buf_fini(&l->text);
    free(l);
}

/* ---- the handler's calls ---- */

size_t intake_limit(const struct tr_intake *t, enum tr_route route)
{
    return route == TR_ROUTE_SINGLE ? t->o.max_single_bytes : t->o.max_batch_bytes;
}

bool tr_intake_owns(enum tr_http_method method, struct tr_str path)
{
    struct tr_str token;

    (void)method;
    return tr_route_find(path, &token) != TR_ROUTE_NONE;
}

size_t tr_intake_headers(struct tr_intake *t, void *state, struct tr_http_request *req)
{
    struct tr_str token;

    (void)state;
    return intake_limit(t, tr_route_find(req->path, &token));
}

static void say_too_bad(const struct tr_intake *t, enum tr_route route, int status,
                        struct tr_buf *out)
{
    if (status == 413)
        tr_buf_printf(out, "the body is over %zu bytes: send smaller batches",
                      intake_limit(t, route));
    else if (status == 503)
        tr_buf_z(out, "transient error, please retry: too many large requests at once");
    else
        tr_buf_z(out, "the body did not come in time");
}

void tr_intake_too_bad(struct tr_intake *t, const struct tr_http_request *req, int status,
                       struct tr_buf *out, struct tr_http_response *ret)
{
    struct tr_str token;
    enum tr_route route = tr_route_find(req->path, &token);
    bool json = tr_route_is_v1(route);

    intake_count_answer(status);
    (void)intake_cors(req, false, out);
    if (status == 503)
        tr_buf_z(out, "Retry-After: 2\r\n");
    size_t head = out->n;
    if (json)
        tr_buf_z(out, status == 413   ? "{\"error\":\"too_large\",\"error_description\":\""
                      : status == 503 ? "{\"error\":\"unavailable\",\"error_description\":\""
                                      : "{\"error\":\"timeout\",\"error_description\":\"");
    say_too_bad(t, route, status, out);
    if (json)
        tr_buf_z(out, "\"}");
    *ret = (struct tr_http_response){
        .status = status,
        .content_type = json ? "application/json" : "text/plain; charset=utf-8",
        .headers = { out->p, head },
        .body = { out->p + head, out->n - head },
    };
}

void tr_intake_request(struct tr_intake *t, void *state, struct tr_http_request *req)
{
    struct intake_loop *l = state;
    struct tr_str token;
    enum tr_route route = tr_route_find(req->path, &token);

    intake_count_request(route, req->body.n);
    if (req->method == TR_HTTP_OPTIONS) {
        intake_reply(l, req, 200, NULL, TR_STR(""), NULL);
        return;
    }
    if (!tr_route_captures(route)) {
        intake_refresh_tokens(l);
        intake_other(l, req, route, token);
        return;
    }
    if (req->method != TR_HTTP_POST && req->method != TR_HTTP_GET) {
        intake_reply(l, req, 405, "text/plain; charset=utf-8",
                     TR_STR("use POST, or GET with ?data="), "Allow: GET, POST, OPTIONS\r\n");
        return;
    }
    struct intake_waiting now = { .req = req,
                                  .came_at = tr_clock_wall_us(),
                                  .until_us = tr_clock_boot_us() + t->o.hold_us };
    if (l->held != NULL || l->waiting != NULL || !intake_admit(l, &now, route))
        intake_wait(l, &now);
}

void tr_intake_turn_end(struct tr_intake *t, void *state)
{
    (void)t;
    intake_flush(state);
}
