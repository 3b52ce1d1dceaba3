/* The life of a connection: a state machine that runs until the socket has nothing more for it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/metric.h"
#include "net/http_priv.h"

TR_COUNTER(conns_accepted, "tailrace_http_connections_total", "Connections accepted.");
TR_GAUGE(conns_open, "tailrace_http_connections_open", "Connections that are open now.");
TR_GAUGE(conns_gone, "tailrace_http_requests_left",
         "Requests being worked on whose client has left.");
TR_COUNTER(late_answers, "tailrace_http_answers_late_total",
           "Requests that were not answered within --answer-timeout.");
TR_COUNTER(bad_heads, "tailrace_http_bad_requests_total",
           "Requests that were no valid HTTP or had too long a head.");
TR_COUNTER(slow_bodies, "tailrace_http_bodies_refused_total{reason=\"slow\"}",
           "Bodies that were not taken.");

struct conn *http_conn_new(struct tr_http_loop *l, int fd)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->loop = l;
    c->fd = fd;
    c->state = CONN_IDLE;
    link_init(&c->timer);
    link_init(&c->ready);
    link_init(&c->wait);
    link_init(&c->all);
    link_append(&l->conns, &c->all);
    http_conn_arm(c, TIMER_IDLE);
    tr_count(&conns_accepted, 1);
    tr_count(&conns_open, 1);
    return c;
}

static void bury(struct conn *c)
{
    if (c->x != NULL)
        http_exchange_free(c->x);
    c->x = NULL;
    http_out_free(c);
    c->state = CONN_DEAD;
    link_remove(&c->all);
    link_append(&c->loop->dead, &c->all);
    (void)atomic_fetch_sub(c->gone ? &c->loop->server->gone : &c->loop->server->conns, 1);
    tr_count(c->gone ? &conns_gone : &conns_open, -1);
}

/* The socket is closed, and makes room for another; its request is the handler's to answer. */
static void leave_behind(struct conn *c)
{
    c->gone = true;
    http_out_free(c);
    (void)atomic_fetch_add(&c->loop->server->gone, 1);
    (void)atomic_fetch_sub(&c->loop->server->conns, 1);
    tr_count(&conns_open, -1);
    tr_count(&conns_gone, 1);
}

void http_conn_close(struct conn *c)
{
    if (c->state == CONN_DEAD || c->gone)
        return;
    http_wait_leave(c);
    http_conn_disarm(c);
    link_remove(&c->ready);
    (void)close(c->fd); /* which also takes it out of epoll */
    c->fd = -1;
    if (c->state == CONN_PENDING)
        leave_behind(c);
    else
        bury(c);
}

void http_conn_gone(struct conn *c)
{
    bury(c);
}

void http_conn_arm(struct conn *c, enum conn_timer kind)
{
    const struct tr_http_options *o = &c->loop->server->o;
    const int64_t length[] = {
        [TIMER_IDLE] = o->idle_timeout_us,
        [TIMER_BODY] = o->body_timeout_us,
        [TIMER_DRAIN] = o->drain_us,
        [TIMER_ANSWER] = o->answer_timeout_us,
    };

    link_remove(&c->timer);
    link_append(&c->loop->timers[kind], &c->timer);
    c->deadline = c->loop->now + length[kind];
}

/* A body that waits again has waited before: its place in the ring is among those that began to
 * wait when it would have, had it waited in one piece. */
void http_conn_arm_hold(struct conn *c)
{
    struct link *ring = &c->loop->timers[TIMER_HOLD];
    struct link *after = ring->prev;

    link_remove(&c->timer);
    c->deadline = c->loop->now + c->x->hold_left_us;
    while (after != ring && HTTP_OF(struct conn, timer, after)->deadline > c->deadline)
        after = after->prev;
    link_append(after->next, &c->timer);
}

void http_conn_disarm(struct conn *c)
{
    link_remove(&c->timer);
}

/* ---- reading ---- */

static bool takes_requests(const struct conn *c)
{
    return c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_BODY;
}

size_t http_conn_read(struct conn *c, char *to, size_t room, size_t *quota)
{
    ssize_t n;

    if (!c->readable)
        return 0;
    if (c->loop->paused && takes_requests(c)) {
        link_remove(&c->ready);
        link_append(&c->loop->parked, &c->ready);
        return 0;
    }
    if (*quota == 0) {
        http_ready(c);
        return 0;
    }
    if (room > *quota)
        room = *quota;
    do
        n = recv(c->fd, to, room, to == NULL ? MSG_TRUNC : 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        /* Less than asked for: the socket is empty, and epoll will tell when it is not (epoll(7)).
         * Unless an end stands behind these bytes: that was told already. */
        if ((size_t)n < room && !c->hung_up)
            c->readable = false;
        *quota -= (size_t)n;
        return (size_t)n;
    }
    c->readable = false;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    c->ended = true;
    if (n < 0 || takes_requests(c))
        http_conn_close(c);
    return 0;
}

/* ---- heads ---- */

static bool refuse_head(struct conn *c, int status)
{
    tr_count(&bad_heads, 1);
    c->x->broken = true;
    http_answer_early(c, status);
    return true;
}

static bool wait_for_head(struct conn *c)
{
    if (c->state != CONN_IDLE && c->state != CONN_HEAD)
        return false;
    if (c->x->n == 0) {
        http_exchange_free(c->x);
        c->x = NULL;
        c->state = CONN_IDLE;
    } else if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD; /* all of it within one timeout, however it trickles in */
        http_conn_arm(c, TIMER_BODY);
    }
    return false;
}

static bool head_step(struct conn *c, size_t *quota)
{
    if (c->x == NULL) {
        if (!c->readable)
            return false;
        c->x = http_exchange_take(c);
        if (c->x == NULL) {
            http_conn_close(c);
            return false;
        }
    }
    struct exchange *x = c->x;
    if (x->parsed == x->n) {
        size_t got = http_conn_read(c, x->in + x->n, x->cap - x->n, quota);
        if (got == 0)
            return wait_for_head(c);
        x->n += got;
    }
    switch (http_parse_head(x, c->loop->server->o.max_header_bytes)) {
    case HTTP_MORE:
        return true;
    case HTTP_HEAD_READY:
        http_conn_disarm(c);
        return http_body_begin(c);
    case HTTP_HEAD_TOO_LONG:
        return refuse_head(c, 431);
    case HTTP_NO_ROOM:
        return refuse_head(c, 503);
    case HTTP_BAD:
        break;
    }
    return refuse_head(c, x->refused != 0 ? x->refused : 400);
}

/* ---- the machine ---- */

void http_conn_run(struct conn *c)
{
    size_t quota = HTTP_TURN_BYTES;
    bool more = true;

    c->running = true;
    while (more) {
        switch (c->state) {
        case CONN_IDLE:
        case CONN_HEAD:
            more = head_step(c, &quota);
            break;
        case CONN_BODY:
            more = http_body_step(c, &quota);
            break;
        case CONN_DRAIN:
            more = http_drain_step(c, &quota);
            break;
        case CONN_LINGER:
            more = http_linger_step(c, &quota);
            break;
        case CONN_WAIT:
        case CONN_PENDING:
        case CONN_DEAD:
            more = false;
            break;
        }
    }
    c->running = false;
}

void http_conn_events(struct conn *c, uint32_t events)
{
    if (c->state == CONN_DEAD || c->gone)
        return;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) { /* reset, or closed on both sides */
        http_conn_close(c);
        return;
    }
    if ((events & EPOLLRDHUP) != 0) {
        if (c->state == CONN_PENDING && !c->hung_up) /* it has left, or still listens: who knows */
            http_conn_arm(c, TIMER_DRAIN);
        c->hung_up = true;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP)) != 0)
        c->readable = true;
    http_conn_run(c);
}

void http_conn_finish(struct conn *c)
{
    struct exchange *x = c->x;

    if (c->closing) {
        if (c->readable || x->n > x->pos) { /* closing over unread bytes would reset the answer */
            http_linger(c);
            return;
        }
        c->state = CONN_LINGER; /* no handler has it */
        http_conn_close(c);
        return;
    }
    if (x->n > x->pos) {
        http_exchange_again(x);
        c->state = CONN_HEAD;
        http_conn_arm(c, TIMER_BODY);
    } else {
        http_exchange_free(x);
        c->x = NULL;
        c->state = CONN_IDLE;
        http_conn_arm(c, TIMER_IDLE);
        if (!c->readable)
            return;
    }
    if (!c->running)
        http_ready(c);
}

void http_conn_expired(struct conn *c, enum conn_timer kind)
{
    if (c->state == CONN_PENDING) {
        tr_count(&late_answers, 1);
        http_answer_for_handler(c);
        return;
    }
    if (c->readable && kind != TIMER_DRAIN && kind != TIMER_HOLD) {
        http_conn_arm(c, kind); /* bytes are there: it is us who do not read them */
        return;
    }
    if (kind == TIMER_DRAIN && http_out_moves(c)) {
        http_conn_arm(c, kind);
        return;
    }
    http_conn_disarm(c);
    switch (kind) {
    case TIMER_IDLE:
    case TIMER_DRAIN:
    case TIMER_ANSWER:
    case TIMER_KINDS:
        http_conn_close(c);
        break;
    case TIMER_BODY:
        tr_count(&slow_bodies, 1);
        http_answer_early(c, 408);
        break;
    case TIMER_HOLD:
        http_wait_leave(c);
        http_answer_early(c, 503);
        break;
    }
}
