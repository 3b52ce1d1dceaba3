/* The HTTP server's view of a byte stream: no input may crash it or hang it, and what it
 * understands must not depend on where the stream is cut into packets.
 *
 * The first byte says how the stream is cut; the rest is sent over a real socket to a loop that
 * runs in this thread, once whole and once in pieces. Both times the handler must see the same
 * requests. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/hash.h"
#include "net/http_priv.h"
#include "os/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_INPUT = 60000, LIMIT = 20000, BUDGET = 16000 };

static struct tr_http_server *server;
static struct tr_http_loop *loop;
static uint64_t seen;
static struct tr_budget budget;

static void see(struct tr_str s)
{
    seen = tr_hash64(s.p, s.n, seen + s.n + 1);
}

static size_t on_headers(void *self, void *state, struct tr_http_request *req)
{
    (void)self;
    (void)state;
    see(req->path);
    see(req->query);
    for (size_t i = 0; i < req->n_headers; i++) {
        see(req->headers[i].name);
        see(req->headers[i].value);
    }
    if (tr_str_is(req->path, "/no")) {
        struct tr_http_response r = { .status = 401 };
        tr_http_reply(req, &r);
    }
    return LIMIT;
}

static void on_request(void *self, void *state, struct tr_http_request *req)
{
    struct tr_http_response r = { .status = 200, .content_type = "text/plain", .body = req->body };

    (void)self;
    (void)state;
    assert(req->body.n <= LIMIT);
    see(req->body);
    tr_http_reply(req, &r);
}

static void begin(void)
{
    struct tr_err err = { 0 };

    server = calloc(1, sizeof(*server) + sizeof(server->loops[0]));
    assert(server != NULL);
    loop = &server->loops[0];
    tr_budget_init(&budget, BUDGET);
    tr_http_options_default(&server->o);
    server->o.bodies = &budget;
    server->o.inline_body_bytes = 10000;
    server->o.body_timeout_us = 5000000;
    server->o.hold_us = 20000;
    server->o.drain_us = 5000000;
    server->o.drain_bytes = 30000;
    server->h = (struct tr_http_handler){ .headers = on_headers, .request = on_request };
    server->n_loops = 1;
    server->listen = (char *)"127.0.0.1:0";
    (void)pthread_mutex_init(&server->wait_lock, NULL);
    link_init(&server->waiting);
    http_loop_init(server, loop);
    loop->now = tr_clock_boot_us();
    if (http_listen_all(server, &err) != TR_OK || http_loop_open(loop, &err) != TR_OK) {
        fprintf(stderr, "%s\n", err.cause);
        exit(1);
    }
}

static int dial(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void hear(int fd)
{
    char answer[4096];

    while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
        continue;
}

/* Sends p[0..n) cut into pieces; returns a hash of what the handler saw. */
static uint64_t run(const uint8_t *p, size_t n, size_t piece)
{
    static const struct linger hard = { .l_onoff = 1 };
    int fd = dial();

    seen = 0;
    int listener = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert(listener >= 0);
    struct conn *c = http_conn_new(loop, listener);
    assert(c != NULL);
    atomic_fetch_add(&server->conns, 1);
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
    assert(epoll_ctl(loop->epoll, EPOLL_CTL_ADD, listener, &ev) == 0);
    http_loop_turn(loop);
    for (size_t at = 0; at < n && !link_alone(&loop->conns); at += piece) {
        if (send(fd, p + at, n - at < piece ? n - at : piece, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        http_loop_turn(loop);
        hear(fd);
    }
    (void)shutdown(fd, SHUT_WR);
    for (int turns = 0; !link_alone(&loop->conns); turns++) {
        assert(turns < 1000); /* it ends, if only by its timeouts */
        http_loop_turn(loop);
        hear(fd);
    }
    assert(atomic_load(&budget.used) == 0);
    assert(atomic_load(&server->n_waiting) == 0 && atomic_load(&server->conns) == 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    (void)close(fd);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (server == NULL)
        begin();
    if (n < 2 || n > MAX_INPUT)
        return 0;
    size_t piece = data[0] < 128 ? data[0] + 1U : (data[0] - 127U) * 200U;
    if ((n - 1) / piece > 80) /* a turn for each: keep it quick */
        piece = n / 80 + 1;
    uint64_t whole = run(data + 1, n - 1, n);
    uint64_t cut = run(data + 1, n - 1, piece);
    assert(whole == cut);
    return 0;
}
