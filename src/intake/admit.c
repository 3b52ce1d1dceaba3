/* One request becomes packed events in the group of its loop. */
#include <stdlib.h>

#include "base/metric.h"
#include "intake/intake_priv.h"
#include "os/random.h"

TR_COUNTER(received, "tailrace_events_received_total", "Events in requests that could be read.");
TR_COUNTER(refused, "tailrace_events_refused_total",
           "Events of known projects in requests that were refused.");

void intake_refresh_tokens(struct intake_loop *l)
{
    struct tr_intake *t = l->t;

    if (atomic_load_explicit(&t->tokens_version, memory_order_relaxed) == l->tokens_version)
        return;
    (void)pthread_mutex_lock(&t->lock);
    struct intake_tokens *old = l->tokens;
    l->tokens = t->tokens;
    if (l->tokens != NULL)
        atomic_fetch_add(&l->tokens->refs, 1);
    l->tokens_version = atomic_load(&t->tokens_version);
    (void)pthread_mutex_unlock(&t->lock);
    intake_tokens_unref(old);
}

static const uint8_t *next_random(struct intake_loop *l)
{
    enum { EACH = 16 };

    if (l->random_at + EACH > sizeof(l->random)) {
        tr_random_bytes(l->random, sizeof(l->random));
        l->random_at = 0;
    }
    l->random_at += EACH;
    return l->random + l->random_at - EACH;
}

static struct tr_str bearer(const struct tr_http_request *req)
{
    struct tr_str value = tr_http_header_get(req, "authorization");

    if (value.n > 7 && tr_str_eq_nocase((struct tr_str){ value.p, 7 }, TR_STR("bearer ")))
        return tr_str_trim((struct tr_str){ value.p + 7, value.n - 7 });
    return (struct tr_str){ NULL, 0 };
}

static bool is_beacon(struct intake_loop *l, const struct tr_http_request *req)
{
    return req->query.n > 0 && tr_str_is(tr_query_get(req->query, "beacon", &l->text), "1");
}

/* v1's verdicts live in scratch, which the next request uses. */
static bool keep_verdicts(struct intake_pending *p, const struct tr_capture_out *out)
{
    if (out->n_verdicts == 0)
        return true;
    p->verdicts = malloc(out->n_verdicts * sizeof(*p->verdicts));
    if (p->verdicts == NULL)
        return false;
    memcpy(p->verdicts, out->verdicts, out->n_verdicts * sizeof(*p->verdicts));
    p->n_verdicts = out->n_verdicts;
    return true;
}

/* The charge follows the bytes from the body to the rows: large requests stay bounded until the
 * store has them. */
static void charge_rows(struct intake_loop *l, struct intake_group *g, size_t rows_before)
{
    size_t n = g->g.rows.n - rows_before;

    if (n <= INTAKE_SMALL_BYTES || l->t->o.bodies == NULL)
        return;
    tr_budget_force(l->t->o.bodies, n);
    g->charged += n;
}

static void answer_by(struct intake_loop *l, struct intake_pending *p, enum tr_route route)
{
    p->answer = tr_route_is_v1(route)  ? INTAKE_ANSWER_V1
                : is_beacon(l, p->req) ? INTAKE_ANSWER_BEACON
                                       : INTAKE_ANSWER_JSON;
}

/* Nothing of the request is to be stored: no group has a reason to go anywhere for its sake. */
static void answer_now(struct intake_loop *l, struct tr_http_request *req, enum tr_route route,
                       const struct tr_capture_out *out)
{
    struct intake_pending p = { .req = req,
                                .verdicts = out->verdicts,
                                .n_verdicts = out->n_verdicts };

    answer_by(l, &p, route);
    intake_reply_done(l, &p);
}

/* The events are packed in the group; the request waits with it. */
static void join(struct intake_loop *l, const struct intake_waiting *w, enum tr_route route,
                 const struct tr_capture_out *out, size_t rows_before)
{
    struct intake_group *g = l->filling;
    struct tr_http_request *req = w->req;
    struct intake_pending p = { .req = req };

    answer_by(l, &p, route);
    if (!keep_verdicts(&p, out) || !intake_group_add(g, out, &p)) {
        free(p.verdicts);
        g->g.rows.n = rows_before;
        intake_reply_busy(l, req, "out of memory");
        return;
    }
    if (g->until_us == 0 || w->until_us < g->until_us)
        g->until_us = w->until_us;
    charge_rows(l, g, rows_before);
    tr_http_drop_body(req);
    if (g->g.rows.n >= INTAKE_GROUP_BYTES)
        intake_flush(l);
}

/* A refused request is refused whole; in v1 single events are. The accounts want to know. */
static void count_refused(struct intake_loop *l, const struct tr_capture_out *out, enum tr_rc rc)
{
    uint32_t n = rc == TR_OK ? out->seen - out->events - out->ignored : out->seen;

    if (out->project == 0 || n == 0)
        return;
    tr_count(&refused, n);
    intake_group_refuse(l->filling, out->project, n);
}

bool intake_admit(struct intake_loop *l, const struct intake_waiting *w, enum tr_route route)
{
    struct tr_intake *t = l->t;
    struct tr_http_request *req = w->req;
    char ip[TR_HTTP_PEER_TEXT];
    struct tr_err err = { 0 };

    if (l->filling == NULL)
        l->filling = intake_group_take(l);
    if (l->filling == NULL) {
        intake_reply_busy(l, req, "out of memory");
        return true;
    }
    struct tr_capture_in in = {
        .path = req->path,
        .query = req->query,
        .content_type = tr_http_header_get(req, "content-type"),
        .content_encoding = tr_http_header_get(req, "content-encoding"),
        .body = req->body,
        .ip = intake_client_ip(t->proxies, req, ip),
        .now = w->came_at,
        .random = next_random(l),
        .max_inflated = intake_limit(t, route),
        .max_event_bytes = tr_route_is_ai(route) ? t->o.max_ai_event_bytes : t->o.max_event_bytes,
        .ai_only = tr_route_is_ai(route),
        .max_depth = 256,
        .budget = &t->inflated,
    };
    struct tr_capture_out out = { .rows = &l->filling->g.rows };
    size_t rows_before = out.rows->n;
    enum tr_rc rc;

    intake_refresh_tokens(l);
    if (tr_route_is_v1(route)) {
        in.bearer = bearer(req);
        in.sdk_info = tr_http_header_get(req, "posthog-sdk-info");
        in.request_time = tr_http_header_get(req, "posthog-request-timestamp");
        rc = tr_capture_posthog_v1(&in, intake_tokens_find, l->tokens, l->scratch, &out, &err);
    } else {
        rc = tr_capture_posthog(&in, intake_tokens_find, l->tokens, l->scratch, &out, &err);
    }
    if (rc == TR_THROTTLED && out.no_memory_now)
        return false;
    tr_count(&received, out.seen);
    count_refused(l, &out, rc);
    if (rc != TR_OK) {
        if (err.id != NULL && strcmp(err.id, "capture.unknown_token") == 0)
            intake_unknown_note(&t->unknown, out.token, w->came_at);
        if (rc == TR_INTERNAL)
            intake_reply_busy(l, req, err.cause);
        else
            intake_reply_refused(l, req, route, &err);
        return true;
    }
    if (out.events == 0)
        answer_now(l, req, route, &out);
    else
        join(l, w, route, &out, rows_before);
    return true;
}
