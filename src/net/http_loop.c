/* One loop: everything that is ready is read and handed over, then the handler hears turn_end once.
 * Sockets are edge-triggered and never re-armed; deadlines are lists, not timers of the kernel: a
 * request costs one recv and one send. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/metric.h"
#include "net/http_priv.h"
#include "os/clock.h"

TR_GAUGE(held_bytes, "tailrace_http_held_bytes",
         "Memory of heads, bodies and what became of them, as charged to --body-budget.");

enum { MAX_EVENTS = 256, MAX_ACCEPTS = 64 };
#define ACCEPT_PAUSE_US INT64_C(50000) /* out of descriptors or at max_connections */
#define NEVER           INT64_MAX

void http_loop_wake(struct tr_http_loop *l)
{
    const uint64_t one = 1;

    (void)!write(l->wake, &one, sizeof(one)); /* never read: each write is an edge */
}

void http_ready(struct conn *c)
{
    if (link_alone(&c->ready))
        link_append(&c->loop->ready, &c->ready);
}

void tr_http_post(struct tr_http_loop *l, struct tr_http_post *post)
{
    struct tr_http_post *head = atomic_load_explicit(&l->posts, memory_order_relaxed);

    /* The loop may run the post, answer, and be stopped before this returns. */
    (void)atomic_fetch_add(&l->posting, 1);
    do
        post->next = head;
    while (!atomic_compare_exchange_weak(&l->posts, &head, post));
    if (head == NULL)
        http_loop_wake(l);
    (void)atomic_fetch_sub(&l->posting, 1);
}

void tr_http_pause(struct tr_http_loop *l, bool paused)
{
    l->paused = paused;
    if (paused || link_alone(&l->parked))
        return;
    /* The whole ring moves over. */
    struct link *first = l->parked.next;
    struct link *last = l->parked.prev;

    first->prev = l->ready.prev;
    l->ready.prev->next = first;
    last->next = &l->ready;
    l->ready.prev = last;
    link_init(&l->parked);
}

/* ---- alarms of the handler ---- */

void tr_http_timer_clear(struct tr_http_loop *l, struct tr_http_timer *timer)
{
    if (!timer->set)
        return;
    struct tr_http_timer **at = &l->alarms;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    timer->set = false;
}

void tr_http_timer_set(struct tr_http_loop *l, struct tr_http_timer *timer, int64_t delay_us)
{
    struct tr_http_timer **at = &l->alarms;

    tr_http_timer_clear(l, timer);
    timer->at_us = tr_clock_boot_us() + delay_us;
    timer->set = true;
    while (*at != NULL && (*at)->at_us <= timer->at_us)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
}

static void run_alarms(struct tr_http_loop *l)
{
    while (l->alarms != NULL && l->alarms->at_us <= l->now) {
        struct tr_http_timer *timer = l->alarms;

        l->alarms = timer->next;
        timer->set = false;
        timer->fn(timer);
    }
}

/* ---- accepting ---- */

static void watch_listener(struct tr_http_loop *l, bool watch)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &l->listener };

    if (watch == l->accepting)
        return;
    if (epoll_ctl(l->epoll, watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->listener, &ev) == 0)
        l->accepting = watch;
}

static void accept_later(struct tr_http_loop *l)
{
    watch_listener(l, false);
    l->accept_again = l->now + ACCEPT_PAUSE_US;
}

static void take_socket(struct tr_http_loop *l, int fd, const struct sockaddr_storage *from)
{
    struct conn *c = http_conn_new(l, fd);
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };

    if (c == NULL) {
        (void)atomic_fetch_sub(&l->server->conns, 1);
        (void)close(fd);
        return;
    }
    http_peer_text(from, c->peer);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        http_conn_close(c);
}

static void accept_some(struct tr_http_loop *l)
{
    for (int i = 0; i < MAX_ACCEPTS; i++) {
        struct sockaddr_storage from;
        socklen_t n = sizeof(from);

        if (atomic_fetch_add(&l->server->conns, 1) >= l->server->o.max_connections ||
            atomic_load(&l->server->gone) >= l->server->o.max_connections) {
            (void)atomic_fetch_sub(&l->server->conns, 1);
            accept_later(l);
            return;
        }
        int fd = accept4(l->listener, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_socket(l, fd, &from);
            continue;
        }
        (void)atomic_fetch_sub(&l->server->conns, 1);
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            accept_later(l);
        return;
    }
}

/* ---- one turn ---- */

static int64_t soonest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_deadline(struct tr_http_loop *l)
{
    int64_t at = l->accept_again != 0 ? l->accept_again : NEVER;

    for (int kind = 0; kind < TIMER_KINDS; kind++)
        if (!link_alone(&l->timers[kind]))
            at = soonest(at, HTTP_OF(struct conn, timer, l->timers[kind].next)->deadline);
    if (l->alarms != NULL)
        at = soonest(at, l->alarms->at_us);
    if (atomic_load_explicit(&l->server->n_waiting, memory_order_relaxed) > 0)
        at = soonest(at, l->now + HTTP_WAIT_TICK_US);
    if (l->stopping)
        at = soonest(at, l->now + 10 * HTTP_WAIT_TICK_US);
    return at;
}

static int wait_ms(struct tr_http_loop *l)
{
    if (!link_alone(&l->ready) || atomic_load_explicit(&l->posts, memory_order_relaxed) != NULL)
        return 0;
    int64_t at = next_deadline(l);
    if (at == NEVER)
        return -1;
    int64_t ms = (at - l->now + 999) / 1000;
    return ms < 0 ? 0 : ms > 60000 ? 60000 : (int)ms;
}

static void run_posts(struct tr_http_loop *l)
{
    struct tr_http_post *stack = NULL;
    struct tr_http_post *in_order = NULL;

    if (atomic_load_explicit(&l->posts, memory_order_relaxed) != NULL)
        stack = atomic_exchange(&l->posts, NULL);
    while (stack != NULL) {
        struct tr_http_post *next = stack->next;

        stack->next = in_order;
        in_order = stack;
        stack = next;
    }
    while (in_order != NULL) {
        struct tr_http_post *next = in_order->next;

        in_order->fn(in_order);
        in_order = next;
    }
}

static void run_granted(struct tr_http_loop *l)
{
    struct conn *c;

    if (atomic_load_explicit(&l->server->n_waiting, memory_order_relaxed) > 0) {
        http_body_evict(l);
        http_wait_grant(l->server);
    }
    while ((c = http_wait_granted(l)) != NULL)
        if (http_body_granted(c))
            http_conn_run(c);
}

static void run_expired(struct tr_http_loop *l)
{
    for (int kind = 0; kind < TIMER_KINDS; kind++) {
        while (!link_alone(&l->timers[kind])) {
            struct conn *c = HTTP_OF(struct conn, timer, l->timers[kind].next);

            if (c->deadline > l->now)
                break;
            http_conn_expired(c, (enum conn_timer)kind);
        }
    }
    if (l->accept_again != 0 && l->accept_again <= l->now && !l->stopping) {
        l->accept_again = 0;
        watch_listener(l, true);
    }
}

static void run_ready(struct tr_http_loop *l)
{
    struct link now;

    if (link_alone(&l->ready))
        return;
    /* Those that are ready now; who gets ready meanwhile has the next turn. */
    now = l->ready;
    now.next->prev = now.prev->next = &now;
    link_init(&l->ready);
    while (!link_alone(&now)) {
        struct conn *c = HTTP_OF(struct conn, ready, now.next);

        link_remove(&c->ready);
        http_conn_run(c);
    }
}

static void free_dead(struct tr_http_loop *l)
{
    while (!link_alone(&l->dead)) {
        struct conn *c = HTTP_OF(struct conn, all, l->dead.next);

        link_remove(&c->all);
        free(c);
    }
}

void http_loop_turn(struct tr_http_loop *l)
{
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(l->epoll, events, MAX_EVENTS, wait_ms(l));

    assert(n >= 0 || errno == EINTR);
    l->now = tr_clock_boot_us();
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &l->listener)
            accept_some(l);
        else if (events[i].data.ptr != &l->wake)
            http_conn_events(events[i].data.ptr, events[i].events);
    }
    run_posts(l);
    run_granted(l);
    run_alarms(l);
    run_expired(l);
    run_ready(l);
    if (l->server->h.turn_end != NULL)
        l->server->h.turn_end(l->server->h.self, l->state);
    free_dead(l);
    if (l->server->o.bodies != NULL)
        tr_gauge_set(&held_bytes, (int64_t)atomic_load_explicit(&l->server->o.bodies->used,
                                                                memory_order_relaxed));
}

/* ---- the end ---- */

static void begin_stop(struct tr_http_loop *l)
{
    l->stopping = true;
    l->stop_at = l->now = tr_clock_boot_us();
    watch_listener(l, false);
    accept_some(l); /* who connected already is served */
    l->accept_again = 0;
    (void)close(l->listener);
    l->listener = -1;
}

/* Idle connections are heard a moment longer, because a request may be on its way. */
static bool may_stop(struct tr_http_loop *l)
{
    int64_t since = l->now - l->stop_at;
    bool wait = false;

    if (since >= l->server->grace_us)
        return true;
    for (struct link *at = l->conns.next, *next = at->next; at != &l->conns;
         at = next, next = at->next) {
        struct conn *c = HTTP_OF(struct conn, all, at);

        if (c->state == CONN_IDLE && since >= HTTP_QUIET_US && !c->readable)
            http_conn_close(c);
        else if (c->state != CONN_LINGER || since < HTTP_LINGER_STOP_US)
            wait = true;
    }
    return !wait;
}

static void say_started(struct tr_http_server *s, const struct tr_err *err)
{
    tr_monitor_enter(&s->monitor);
    s->started++;
    if (err->rc != TR_OK && s->start_err.rc == TR_OK)
        s->start_err = *err;
    tr_monitor_tell(&s->monitor);
    tr_monitor_leave(&s->monitor);
}

static void end_connections(struct tr_http_loop *l)
{
    while (!link_alone(&l->conns)) {
        struct conn *c = HTTP_OF(struct conn, all, l->conns.next);

        if (c->state == CONN_PENDING && !c->gone)
            http_conn_close(c);
        if (c->gone)
            http_conn_gone(c);
        else
            http_conn_close(c);
    }
    free_dead(l);
    while (l->pool != NULL) {
        struct exchange *next = l->pool->next;

        free(l->pool);
        l->pool = next;
    }
}

void *http_loop_main(void *arg)
{
    struct tr_http_loop *l = arg;
    struct tr_http_server *s = l->server;
    struct tr_err err = { 0 };

    l->now = tr_clock_boot_us();
    if (s->h.loop_start != NULL && s->h.loop_start(s->h.self, l, &l->state, &err) != TR_OK) {
        say_started(s, &err);
        return NULL;
    }
    say_started(s, &err);
    watch_listener(l, true);
    for (;;) {
        http_loop_turn(l);
        if (!l->stopping && atomic_load_explicit(&s->stop, memory_order_acquire))
            begin_stop(l);
        if (l->stopping && may_stop(l))
            break;
    }
    if (s->h.loop_stop != NULL)
        s->h.loop_stop(s->h.self, l->state);
    end_connections(l);
    return NULL;
}
