/* Bodies: in the input buffer when they fit there, else in memory of their own and exact size, paid
 * from the budget before a byte is read. Chunked ones pay as they grow. */
#include <stdlib.h>

#include "base/metric.h"
#include "net/http_priv.h"

TR_COUNTER(bodies_waited, "tailrace_http_bodies_held_total",
           "Bodies that waited for memory before they were read.");
TR_COUNTER(bodies_too_large, "tailrace_http_bodies_refused_total{reason=\"too_large\"}",
           "Bodies that were not taken.");
TR_COUNTER(bodies_no_memory, "tailrace_http_bodies_refused_total{reason=\"no_memory\"}",
           "Bodies that were not taken.");

enum { CHUNKED_FIRST = 16 << 10 };

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
    http_conn_arm(c, TIMER_HOLD);
    return false;
}

static void start_reading(struct conn *c)
{
    struct exchange *x = c->x;

    c->state = CONN_BODY;
    if (x->expects && x->n == x->pos)
        http_send(c, TR_STR("HTTP/1.1 100 Continue\r\n\r\n"), TR_STR(""));
    x->expects = false;
}

static bool begin_identity(struct conn *c)
{
    struct exchange *x = c->x;
    size_t inline_max = c->loop->server->o.inline_body_bytes;

    if (x->left <= x->cap - x->head_end) {
        start_reading(c);
        return c->state == CONN_BODY;
    }
    if (x->left > inline_max && !http_wait_take(c, x->left))
        return wait_for(c);
    return http_body_granted(c);
}

bool http_body_begin(struct conn *c)
{
    struct tr_http_server *s = c->loop->server;
    struct exchange *x = c->x;
    struct tr_str expect = tr_http_header_get(&x->req, "Expect");

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

/* The memory for the body is granted: by the budget, or because it is small. */
bool http_body_granted(struct conn *c)
{
    struct exchange *x = c->x;

    if (x->chunked) {
        x->charged += c->need;
        http_conn_disarm(c);
        c->state = CONN_BODY;
        return true;
    }
    if (x->left > c->loop->server->o.inline_body_bytes)
        x->charged = x->left;
    x->body = malloc(x->left);
    if (x->body == NULL)
        return refuse(c, 503);
    x->body_cap = x->left;
    http_conn_disarm(c);
    start_reading(c);
    if (c->state != CONN_BODY)
        return false;
    x->body_n = x->n - x->pos; /* less than the whole: it would have fitted */
    memcpy(x->body, x->in + x->pos, x->body_n);
    x->n = x->pos;
    x->left -= x->body_n;
    return true;
}

/* Nothing more to read now: the clock runs, and starts anew when enough has come since. */
static bool blocked(struct conn *c)
{
    struct exchange *x = c->x;

    if (c->state != CONN_BODY)
        return false;
    size_t got = x->body != NULL ? x->body_n : x->n - x->pos;
    if (link_alone(&c->timer) || got >= x->progress + HTTP_MIN_PROGRESS) {
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

    if (x->left > 0) {
        size_t got = http_conn_read(c, x->body + x->body_n, x->left, quota);
        if (got == 0)
            return blocked(c);
        x->body_n += got;
        x->left -= got;
        return true;
    }
    return hand_over(c, (struct tr_str){ x->body, x->body_n });
}

/* Room for all input at hand, decoded. False: out of memory, or it waits for the budget. */
static bool chunked_room(struct conn *c, bool *ret_failed)
{
    struct exchange *x = c->x;
    size_t need = x->body_n + (x->n - x->pos);

    if (need > x->limit)
        need = x->limit; /* more is not kept */
    if (need <= x->body_cap && x->body != NULL)
        return true;

    size_t cap = x->body_cap == 0 ? CHUNKED_FIRST : x->body_cap * 2;
    if (cap < need)
        cap = need;
    if (cap > x->limit)
        cap = x->limit;
    if (cap > c->loop->server->o.inline_body_bytes && cap > x->charged) {
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
    if (!chunked_room(c, &failed))
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
    return c->x->body == NULL ? step_inline(c, quota) : step_own(c, quota);
}

void http_body_release(struct exchange *x)
{
    struct tr_http_server *s = x->conn->loop->server;

    free(x->body);
    x->body = NULL;
    x->body_n = x->body_cap = 0;
    x->req.body = TR_STR("");
    if (x->charged > 0) {
        tr_budget_give(s->o.bodies, x->charged);
        x->charged = 0;
        http_wait_grant(s);
    }
}

void tr_http_drop_body(struct tr_http_request *req)
{
    http_body_release((struct exchange *)(void *)req);
}
