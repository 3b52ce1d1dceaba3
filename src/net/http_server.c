#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/http_priv.h"
#include "os/file.h"

enum { MAX_LOOPS = 64, MMAP_FROM = 128 << 10 };

void tr_http_options_default(struct tr_http_options *o)
{
    *o = (struct tr_http_options){
        .listen = "127.0.0.1:8000",
        .loops = 2,
        .max_connections = 8192,
        .max_header_bytes = 16 << 10,
        .inline_body_bytes = 64 << 10,
        .hold_us = 5000000,
        .body_timeout_us = 30000000,
        .idle_timeout_us = 120000000,
        .answer_timeout_us = INT64_C(600000000),
        .drain_bytes = 64 << 20,
        .drain_us = 30000000,
    };
}

enum tr_rc http_loop_open(struct tr_http_loop *l, struct tr_err *err)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = &l->wake };

    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) != 0)
        return tr_fail_errno(err, errno, "epoll");
    return TR_OK;
}

void http_loop_init(struct tr_http_server *s, struct tr_http_loop *l)
{
    l->server = s;
    l->epoll = l->wake = l->listener = -1;
    link_init(&l->conns);
    link_init(&l->ready);
    link_init(&l->parked);
    link_init(&l->dead);
    link_init(&l->granted);
    for (int kind = 0; kind < TIMER_KINDS; kind++)
        link_init(&l->timers[kind]);
    tr_buf_init(&l->head, HTTP_HEAD_MAX);
    tr_buf_init(&l->text, HTTP_HEAD_MAX);
    l->date_second = -1;
}

/* Whose threads have ended, or never began. */
static void free_server(struct tr_http_server *s)
{
    for (int i = 0; i < s->n_loops; i++) {
        struct tr_http_loop *l = &s->loops[i];

        while (atomic_load(&l->posting) > 0)
            (void)sched_yield();
        tr_file_close(&l->listener);
        tr_file_close(&l->epoll);
        tr_file_close(&l->wake);
        tr_buf_fini(&l->head);
        tr_buf_fini(&l->text);
    }
    tr_monitor_fini(&s->monitor);
    (void)pthread_mutex_destroy(&s->wait_lock);
    free(s->listen);
    free(s);
}

static void stop_threads(struct tr_http_server *s, int n, int64_t grace_us)
{
    s->grace_us = grace_us;
    atomic_store_explicit(&s->stop, true, memory_order_release);
    for (int i = 0; i < n; i++)
        http_loop_wake(&s->loops[i]);
    for (int i = 0; i < n; i++)
        (void)pthread_join(s->loops[i].thread, NULL);
}

static enum tr_rc start_threads(struct tr_http_server *s, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;
    int n = 0;

    while (n < s->n_loops && rc == TR_OK) {
        char name[16];

        (void)snprintf(name, sizeof(name), "http-%u", (unsigned)n % 100);
        rc = tr_thread_start(&s->loops[n].thread, name, http_loop_main, &s->loops[n], err);
        n += rc == TR_OK;
    }
    tr_monitor_enter(&s->monitor);
    while (s->started < n)
        (void)tr_monitor_wait(&s->monitor, -1);
    tr_monitor_leave(&s->monitor);
    if (rc == TR_OK && s->start_err.rc != TR_OK) {
        rc = s->start_err.rc;
        if (err != NULL)
            *err = s->start_err;
    }
    if (rc != TR_OK)
        stop_threads(s, n, 0);
    return rc;
}

enum tr_rc tr_http_start(const struct tr_http_options *o, const struct tr_http_handler *handler,
                         struct tr_http_server **ret, struct tr_err *err)
{
    int n = o->loops < 1 ? 1 : o->loops > MAX_LOOPS ? MAX_LOOPS : o->loops;
    struct tr_http_server *s = calloc(1, sizeof(*s) + (size_t)n * sizeof(s->loops[0]));
    enum tr_rc rc;

    if (s == NULL)
        return tr_fail_oom(err);
    /* Large bodies go back to the kernel when they are freed, whatever was allocated around them.
     */
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
    http_parser_set_max_header_size(UINT32_MAX); /* ours is max_header_bytes */
    s->o = *o;
    s->h = *handler;
    s->n_loops = n;
    if (o->bodies != NULL)
        s->small_max = o->bodies->max + o->bodies->max / 4;
    if (s->o.idle_timeout_us < HTTP_IDLE_MIN_US)
        s->o.idle_timeout_us = HTTP_IDLE_MIN_US;
    tr_monitor_init(&s->monitor);
    (void)pthread_mutex_init(&s->wait_lock, NULL);
    link_init(&s->waiting);
    for (int i = 0; i < n; i++)
        http_loop_init(s, &s->loops[i]);
    s->listen = strdup(o->listen);
    rc = s->listen == NULL ? tr_fail_oom(err) : http_listen_all(s, err);
    for (int i = 0; i < n && rc == TR_OK; i++)
        rc = http_loop_open(&s->loops[i], err);
    if (rc == TR_OK)
        rc = start_threads(s, err);
    if (rc != TR_OK) {
        free_server(s);
        return rc;
    }
    *ret = s;
    return TR_OK;
}

int tr_http_port(const struct tr_http_server *s)
{
    return s->port;
}

void tr_http_stop(struct tr_http_server *s, int64_t grace_us)
{
    if (s == NULL)
        return;
    stop_threads(s, s->n_loops, grace_us);
    free_server(s);
}
