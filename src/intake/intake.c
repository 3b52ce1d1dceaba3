#include "intake/intake.h"

#include <stdlib.h>

#include "base/metric.h"
#include "intake/intake_priv.h"
#include "os/clock.h"
#include "os/random.h"

TR_COUNTER(received, "tailrace_events_received_total", "Events in requests that could be read.");
TR_COUNTER(refused, "tailrace_events_refused_total",
           "Events of known projects in requests that were refused.");
TR_COUNTER(held, "tailrace_capture_held_total",
           "Requests that waited for memory or for the store.");

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

static void on_post(struct tr_http_post *post);
static void on_timer(struct tr_http_timer *timer);

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
    l->waiting_end = &l->waiting;
    l->finished_end = &l->finished;
    l->post.fn = on_post;
    l->timer.fn = on_timer;
    l->random_at = sizeof(l->random);
    tr_monitor_init(&l->done);
    tr_buf_init(&l->headers, 8 << 10);
    tr_buf_init(&l->body, 16 << 20);
    tr_buf_init(&l->text, 4 << 10);
    *ret_state = l;
    return TR_OK;
}

/* ---- the store's side ---- */

/* The writer's thread: the loop hears of it once, however many groups finish before it looks. */
static void on_done(struct tr_group *group, enum tr_rc rc, const struct tr_err *err)
{
    struct intake_group *g = group->owner;
    struct intake_loop *l = g->loop;

    g->rc = rc;
    if (rc != TR_OK)
        g->err = *err;
    g->next = NULL;
    tr_monitor_enter(&l->done);
    *l->finished_end = g;
    l->finished_end = &g->next;
    if (!l->posted) {
        l->posted = true;
        tr_http_post(l->loop, &l->post);
    }
    tr_monitor_tell(&l->done);
    tr_monitor_leave(&l->done);
}

static struct intake_group *take_finished(struct intake_loop *l)
{
    struct intake_group *first = l->finished;

    l->finished = NULL;
    l->finished_end = &l->finished;
    l->posted = false;
    return first;
}

static void answer_finished(struct intake_loop *l, struct intake_group *g)
{
    while (g != NULL) {
        struct intake_group *next = g->next;
        l->at_store--;
        intake_reply_group(l, g);
        g = next;
    }
}

static void fail_group(struct intake_loop *l, struct intake_group *g, const struct tr_err *err)
{
    g->rc = err->rc;
    g->err = *err;
    intake_reply_group(l, g);
}

/* Hands a group over. False: the store is busy and the group is still ours. */
static bool submit(struct intake_loop *l, struct intake_group *g)
{
    struct tr_err err;

    g->g.done = on_done;
    l->at_store++;
    enum tr_rc rc = tr_store_submit(l->t->o.store, &g->g, &err);
    if (rc == TR_OK)
        return true;
    l->at_store--;
    if (rc == TR_THROTTLED)
        return false;
    fail_group(l, g, &err);
    return true;
}

static void retry_soon(struct intake_loop *l)
{
    if (!l->timer.set)
        tr_http_timer_set(l->loop, &l->timer, INTAKE_RETRY_US);
}

/* What this turn gathered goes to the store, or is held for a while. */
static void flush(struct intake_loop *l)
{
    struct intake_group *g = l->filling;

    if (g == NULL || l->held != NULL || (g->g.n_events == 0 && g->g.n_refused == 0))
        return;
    l->filling = NULL;
    if (submit(l, g))
        return;
    tr_count(&held, (int64_t)g->n_pending);
    l->held = g;
    retry_soon(l);
}

/* ---- one request ---- */

static void refresh_tokens(struct intake_loop *l)
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

static size_t limit_of(const struct tr_intake *t, enum tr_route route)
{
    return route == TR_ROUTE_SINGLE ? t->o.max_single_bytes : t->o.max_batch_bytes;
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

/* The events are packed in the group; the request waits with it. */
static void join(struct intake_loop *l, const struct intake_waiting *w, enum tr_route route,
                 const struct tr_capture_out *out, size_t rows_before)
{
    struct intake_group *g = l->filling;
    struct tr_http_request *req = w->req;
    struct intake_pending p = { .req = req };

    p.answer = route == TR_ROUTE_V1 ? INTAKE_ANSWER_V1
               : is_beacon(l, req)  ? INTAKE_ANSWER_BEACON
                                    : INTAKE_ANSWER_JSON;
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
        flush(l);
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

/* False: there is no memory for it now. */
static bool decode(struct intake_loop *l, const struct intake_waiting *w, enum tr_route route)
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
        .max_inflated = limit_of(t, route),
        .max_event_bytes = t->o.max_event_bytes,
        .max_depth = 256,
        .budget = &t->inflated,
    };
    struct tr_capture_out out = { .rows = &l->filling->g.rows };
    size_t rows_before = out.rows->n;
    enum tr_rc rc;

    refresh_tokens(l);
    if (route == TR_ROUTE_V1) {
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
    join(l, w, route, &out, rows_before);
    return true;
}

/* ---- waiting ---- */

static void wait_for_room(struct intake_loop *l, const struct intake_waiting *now)
{
    struct intake_waiting *w = malloc(sizeof(*w));

    if (w == NULL) {
        intake_reply_busy(l, now->req, "out of memory");
        return;
    }
    *w = *now;
    *l->waiting_end = w;
    l->waiting_end = &w->next;
    l->waiting_bytes += w->req->body.n;
    tr_count(&held, 1);
    if (!l->paused && l->waiting_bytes > INTAKE_WAIT_BYTES) {
        l->paused = true;
        tr_http_pause(l->loop, true);
    }
    retry_soon(l);
}

/* The first one that waits leaves the queue. */
static struct tr_http_request *pop_waiting(struct intake_loop *l, size_t body_n)
{
    struct intake_waiting *w = l->waiting;
    struct tr_http_request *req = w->req;

    l->waiting = w->next;
    if (l->waiting == NULL)
        l->waiting_end = &l->waiting;
    l->waiting_bytes -= body_n;
    free(w);
    return req;
}

static void try_waiting(struct intake_loop *l)
{
    int64_t now = tr_clock_boot_us();

    while (l->waiting != NULL && l->held == NULL) {
        struct intake_waiting *w = l->waiting;
        struct tr_http_request *req = w->req;
        size_t body_n = req->body.n;
        struct tr_str token;

        if (decode(l, w, tr_route_find(req->path, &token))) {
            (void)pop_waiting(l, body_n);
        } else if (now >= w->until_us) {
            (void)pop_waiting(l, body_n);
            intake_reply_busy(l, req, "too many large requests at once");
        } else {
            break;
        }
    }
    while (l->waiting != NULL && l->held != NULL && now >= l->waiting->until_us) {
        struct tr_http_request *req = pop_waiting(l, l->waiting->req->body.n);
        intake_reply_busy(l, req, "the store cannot keep up");
    }
}

/* Something may have changed: time, the store's queue, the budget. */
static void progress(struct intake_loop *l)
{
    if (l->held != NULL && submit(l, l->held))
        l->held = NULL;
    if (l->held != NULL && tr_clock_boot_us() >= l->held->until_us) {
        struct tr_err err;
        (void)tr_fail(&err, TR_THROTTLED, "store.busy", NULL, "the store cannot keep up");
        fail_group(l, l->held, &err);
        l->held = NULL;
    }
    try_waiting(l);
    flush(l);
    if (l->paused && l->waiting_bytes <= INTAKE_WAIT_BYTES / 2) {
        l->paused = false;
        tr_http_pause(l->loop, false);
    }
    if (l->held != NULL || l->waiting != NULL)
        retry_soon(l);
}

static void on_post(struct tr_http_post *post)
{
    struct intake_loop *l =
        (struct intake_loop *)(void *)((char *)post - offsetof(struct intake_loop, post));

    tr_monitor_enter(&l->done);
    struct intake_group *first = take_finished(l);
    tr_monitor_leave(&l->done);
    answer_finished(l, first);
    if (l->held != NULL || l->waiting != NULL)
        progress(l);
}

static void on_timer(struct tr_http_timer *timer)
{
    progress((struct intake_loop *)(void *)((char *)timer - offsetof(struct intake_loop, timer)));
}

/* ---- the handler's calls ---- */

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
    return limit_of(t, tr_route_find(req->path, &token));
}

void tr_intake_too_bad(struct tr_intake *t, const struct tr_http_request *req, int status,
                       struct tr_buf *out, struct tr_http_response *ret)
{
    struct tr_str token;
    static const char too_slow[] = "the body did not come in time";
    static const char busy[] = "transient error, please retry: too many large requests at once";

    *ret =
        (struct tr_http_response){ .status = status, .content_type = "text/plain; charset=utf-8" };
    ret->headers = intake_cors(req, false, out);
    if (status == 413) {
        size_t limit = limit_of(t, tr_route_find(req->path, &token));
        size_t from = out->n;
        tr_buf_printf(out, "request body over %zu bytes: send smaller batches", limit);
        /* The buffer may have moved. */
        ret->headers = (struct tr_str){ out->p, from };
        ret->body = (struct tr_str){ out->p + from, out->n - from };
    } else if (status == 503) {
        tr_buf_z(out, "Retry-After: 2\r\n");
        ret->headers = tr_buf_view(out);
        ret->body = TR_STR(busy);
    } else {
        ret->body = TR_STR(too_slow);
    }
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
        refresh_tokens(l);
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
    if (l->held != NULL || l->waiting != NULL || !decode(l, &now, route))
        wait_for_room(l, &now);
}

void tr_intake_turn_end(struct tr_intake *t, void *state)
{
    (void)t;
    flush(state);
}

/* Groups at the store come back whatever happens: their requests get their answer here. */
static void wait_for_store(struct intake_loop *l)
{
    while (l->at_store > 0) {
        tr_monitor_enter(&l->done);
        while (l->finished == NULL)
            (void)tr_monitor_wait(&l->done, -1);
        struct intake_group *first = take_finished(l);
        tr_monitor_leave(&l->done);
        answer_finished(l, first);
    }
}

void tr_intake_loop_stop(struct tr_intake *t, void *state)
{
    struct intake_loop *l = state;

    (void)t;
    if (l == NULL)
        return;
    tr_http_timer_clear(l->loop, &l->timer);
    flush(l);
    wait_for_store(l);
    while (l->waiting != NULL) {
        struct tr_http_request *req = pop_waiting(l, l->waiting->req->body.n);
        intake_reply_busy(l, req, "the server is stopping");
    }
    struct tr_err err;
    (void)tr_fail(&err, TR_TRANSIENT, "intake.stopping", NULL, "the server is stopping");
    if (l->held != NULL)
        fail_group(l, l->held, &err);
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
