/* Bodies: in the input buffer when they fit there, else in memory of their own that grows as they
 * come and is paid from the budget before. */
#include <stdlib.h>

#include "base/metric.h"
#include "net/http_priv.h"

TR_COUNTER(bodies_waited, "tailrace_http_bodies_held_total",
           "Bodies that waited for memory before they were read.");
TR_COUNTER(bodies_too_large, "tailrace_http_bodies_refused_total{reason=\"too_large\"}",
           "Bodies that were not taken.");
TR_COUNTER(bodies_evicted, "tailrace_http_bodies_refused_total{reason=\"held_memory\"}",
           "Bodies that were not taken.");
TR_COUNTER(bodies_no_memory, "tailrace_http_bodies_refused_total{reason=\"no_memory\"}",
           "Bodies that were not taken.");

static bool hand_over(struct conn *c, struct tr_str body)
{
    struct tr_http_loop *l = c->loop;

    http_conn_arm(c, c->hung_up ? TIMER_DRAIN : TIMER_ANSWER);
    c->state = CONN_PENDING;
    c->x->left = 0;
    c->x->req.body = body;
    l->server->h.request(l->server->h.self, l->state, &c->x->req);
    return c->state != CONN_PENDING; /* x may be gone */
}

static bool refuse(struct conn *c, int status)
{
    tr_count(status == 413 ? &bodies_too_large : &bodies_no_memory, 1);
    http_answer_early(c, status);
    return true;
}

static bool wait_for(struct conn *c)
{
    tr_count(&bodies_waited, 1);
    c->state = CONN_WAIT;
    http_conn_arm_hold(c);
    return false;
}

static void start_reading(struct conn *c)
{
    struct exchange *x = c->x;

    c->state = CONN_BODY;
    if (x->marked_at == 0)
        x->marked_at = c->loop->now;
    if (x->expects && x->n == x->pos)
        http_send(c, TR_STR("HTTP/1.1 100 Continue\r\n\r\n"), TR_STR(""));
    x->expects = false;
}

static bool begin_identity(struct conn *c)
{
    start_reading(c);
    return c->state == CONN_BODY;
}

bool http_body_begin(struct conn *c)
{
    struct tr_http_server *s = c->loop->server;
    struct exchange *x = c->x;
    struct tr_str expect = tr_http_header_get(&x->req, "Expect");

    x->hold_left_us = s->o.hold_us;
    x->expects = x->parser.http_minor > 0 && tr_str_eq_nocase(expect, TR_STR("100-continue"));
    x->limit = SIZE_MAX;
    if (s->h.headers != NULL) {
        c->state = CONN_PENDING;
        size_t limit = s->h.headers(s->h.self, c->loop->state, &x->req);
        if (c->state != CONN_PENDING) /* answered at once */
            return true;
        x->limit = limit;
    }
    if (x->left > x->limit)
        return refuse(c, 413);
    if (x->chunked) {
        start_reading(c);
        return c->state == CONN_BODY;
    }
    if (x->left == 0)
        return hand_over(c, TR_STR(""));
    return begin_identity(c);
}

/* The budget has what it waited for. */
bool http_body_granted(struct conn *c)
{
    c->x->charged += c->need;
    c->x->hold_left_us = c->deadline - c->loop->now;
    http_conn_disarm(c);
    start_reading(c);
    return c->state == CONN_BODY;
}

/* ---- memory of its own ---- */

/* How much memory a body gets next: all of it while there is plenty, else twice what it has. A
 * length that was only announced holds next to nothing. */
static size_t next_room(const struct conn *c, size_t need, size_t most)
{
    const struct tr_budget *bodies = c->loop->server->o.bodies;
    size_t cap = c->x->body_cap == 0 ? HTTP_BODY_FIRST : c->x->body_cap * 2;

    if (!c->x->chunked &&
        (bodies == NULL ||
         (most <= bodies->max / 2 &&
          atomic_load_explicit(&bodies->used, memory_order_relaxed) <= bodies->max / 2 - most)))
        cap = most;
    if (cap < need)
        cap = need;
    return cap < most ? cap : most;
}

/* Room for need bytes, of most that may come. False: out of memory, or it waits for the budget. */
static bool own_room(struct conn *c, size_t need, size_t most, bool *ret_failed)
{
    struct exchange *x = c->x;

    if (need > most)
        need = most; /* more is not kept */
    if (need <= x->body_cap && x->body != NULL)
        return true;
    size_t cap = next_room(c, need, most);
    if (cap > x->charged) {
        if (!http_wait_take(c, cap - x->charged))
            return wait_for(c);
        x->charged = cap;
    }
    char *body = realloc(x->body, cap == 0 ? 1 : cap);
    if (body == NULL) {
        *ret_failed = true;
        return false;
    }
    x->body = body;
    x->body_cap = cap;
    return true;
}

/* Nothing more to read now: the clock runs, and starts anew when enough has come since. */
static bool blocked(struct conn *c)
{
    struct exchange *x = c->x;

    if (c->state != CONN_BODY)
        return false;
    size_t got = x->body != NULL ? x->body_n : x->n - x->pos;
    size_t enough = HTTP_MIN_PROGRESS + got / HTTP_PROGRESS_PART;
    if (link_alone(&c->timer) || got >= x->progress + enough) {
        x->progress = got;
        http_conn_arm(c, TIMER_BODY);
    }
    return false;
}

static bool step_inline(struct conn *c, size_t *quota)
{
    struct exchange *x = c->x;

    if (x->n - x->pos < x->left) {
        size_t got = http_conn_read(c, x->in + x->n, x->cap - x->n, quota);
        if (got == 0)
            return blocked(c);
        x->n += got;
        return true;
    }
    struct tr_str body = { x->in + x->pos, x->left };
    x->pos += x->left;
    return hand_over(c, body);
}

static bool step_own(struct conn *c, size_t *quota)
{
    struct exchange *x = c->x;
    bool failed = false;

    if (x->left == 0)
        return hand_over(c, (struct tr_str){ x->body, x->body_n });
    size_t here = x->n - x->pos; /* what came with the head; less than the whole body */
    if (!own_room(c, x->body_n + (here > 0 ? here : 1), x->body_n + x->left, &failed))
        return failed ? refuse(c, 503) : false;
    if (here > 0) {
        memcpy(x->body, x->in + x->pos, here);
        x->n = x->pos;
        x->body_n = here;
        x->left -= here;
        return true;
    }
    size_t room = x->body_cap - x->body_n;
    size_t got = http_conn_read(c, x->body + x->body_n, room < x->left ? room : x->left, quota);
    if (got == 0)
        return blocked(c);
    x->body_n += got;
    x->left -= got;
    return true;
}

static bool step_chunked(struct conn *c, size_t *quota)
{
    struct exchange *x = c->x;
    bool failed = false;

    if (x->n == x->pos) {
        size_t got = http_conn_read(c, x->in + x->n, x->cap - x->n, quota);
        if (got == 0)
            return blocked(c);
        x->n += got;
    }
    if (!own_room(c, x->body_n + (x->n - x->pos), x->limit, &failed))
        return failed ? refuse(c, 503) : false;
    if (!http_parse_chunks(x)) {
        x->broken = true;
        http_answer_early(c, 400);
        return true;
    }
    if (x->too_large)
        return refuse(c, 413);
    if (x->body_done)
        return hand_over(c, (struct tr_str){ x->body, x->body_n });
    return true;
}

bool http_body_step(struct conn *c, size_t *quota)
{
    if (c->out != NULL && !http_flush(c) && c->state != CONN_BODY) /* 100 Continue */
        return false;
    if (c->x->chunked)
        return step_chunked(c, quota);
    if (c->x->body == NULL && c->x->left <= c->x->cap - c->x->head_end)
        return step_inline(c, quota);
    return step_own(c, quota);
}

void http_body_release(struct exchange *x)
{
    struct tr_http_server *s = x->conn->loop->server;

    free(x->body);
    x->body = NULL;
    x->body_n = x->body_cap = 0;
    x->req.body = TR_STR("");
    if (x->charged == 0 || s->o.bodies == NULL)
        return;
    tr_budget_give(s->o.bodies, x->charged);
    x->charged = 0;
    if (x->over)
        http_wait_over_ends(x);
    http_wait_grant(s);
}

/* At the rate of late, what it holds would come within body_timeout_us. */
static bool comes(struct conn *c)
{
    struct exchange *x = c->x;
    int64_t since = c->loop->now - x->marked_at;
    double timeout = (double)c->loop->server->o.body_timeout_us;

    if (since < HTTP_GRACE_US)
        return true;
    bool enough = (double)(x->body_n - x->marked) * timeout >= (double)x->charged * (double)since;
    x->marked_at = c->loop->now;
    x->marked = x->body_n;
    return enough;
}

void http_body_evict(struct tr_http_loop *l)
{
    if (l->now < l->evict_at)
        return;
    l->evict_at = l->now + HTTP_EVICT_US;
    for (struct link *at = l->conns.next, *next = at->next; at != &l->conns;
         at = next, next = at->next) {
        struct conn *c = HTTP_OF(struct conn, all, at);

        if (c->state != CONN_BODY || c->x->charged == 0 || c->readable || comes(c))
            continue;
        tr_count(&bodies_evicted, 1);
        http_conn_disarm(c);
        http_answer_early(c, 408);
    }
}

void tr_http_drop_body(struct tr_http_request *req)
{
    http_body_release((struct exchange *)(void *)req);
}
