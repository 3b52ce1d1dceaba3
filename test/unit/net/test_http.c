/* The server against real sockets on loopback. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#include "base/metric.h"
#include "net/http.h"
#include "os/clock.h"
#include "os/thread.h"

enum { LIMIT = 1 << 20 };

/* ---- a handler that the paths steer ----
 *
 *   /echo   at once: method, path, query, X-Test and the body's length and hash-like sum
 *   /kept   answered when the test says so
 *   /no     answered 401 before the body
 *   /big    8 MiB of answer
 *   others  404
 * Bodies over LIMIT are refused. */
struct kept {
    struct tr_http_post post;
    struct tr_http_request *req;
};

static struct {
    struct tr_monitor monitor;
    struct tr_http_server *server;
    struct tr_budget budget;
    struct kept kept[64];
    int n_kept;
    int starts, stops;
    bool refuse_start;
    char big[8 << 20];
    int port;
} T;

static unsigned sum(struct tr_str s)
{
    unsigned v = 0;

    for (size_t i = 0; i < s.n; i++)
        v = v * 31 + (unsigned char)s.p[i];
    return v;
}

static void answer(struct tr_http_request *req, int status, const char *text)
{
    struct tr_http_response r = { .status = status,
                                  .content_type = "text/plain",
                                  .body = tr_str_of(text),
                                  .headers = TR_STR("X-From: test\r\n") };

    tr_http_reply(req, &r);
}

static enum tr_rc on_start(void *self, struct tr_http_loop *loop, void **ret, struct tr_err *err)
{
    (void)self;
    if (T.refuse_start)
        return tr_fail(err, TR_REFUSED, "test.refused", NULL, "not today");
    *ret = loop;
    tr_monitor_enter(&T.monitor);
    T.starts++;
    tr_monitor_leave(&T.monitor);
    return TR_OK;
}

static void on_stop(void *self, void *state)
{
    (void)self;
    assert_non_null(state);
    tr_monitor_enter(&T.monitor);
    T.stops++;
    tr_monitor_leave(&T.monitor);
}

static size_t on_headers(void *self, void *state, struct tr_http_request *req)
{
    (void)self;
    (void)state;
    if (tr_str_is(req->path, "/no"))
        answer(req, 401, "no\n");
    return LIMIT;
}

static void on_too_bad(void *self, const struct tr_http_request *req, int status,
                       struct tr_buf *out, struct tr_http_response *ret)
{
    (void)self;
    if (tr_str_is(req->path, "/plain"))
        return;
    tr_buf_printf(out, "bad %d %.*s\n", status, TR_STR_ARGS(req->path));
    *ret = (struct tr_http_response){ .status = status,
                                      .content_type = "text/plain",
                                      .body = tr_buf_view(out) };
}

static void on_request(void *self, void *state, struct tr_http_request *req)
{
    char text[1024];

    (void)self;
    assert_ptr_equal(state, req->loop);
    assert_string_equal(req->peer, "127.0.0.1");
    if (tr_str_is(req->path, "/echo")) {
        struct tr_str x = tr_http_header_get(req, "x-TEST");

        (void)snprintf(text, sizeof(text), "%d %.*s?%.*s [%.*s] %zu %u\n", (int)req->method,
                       TR_STR_ARGS(req->path), TR_STR_ARGS(req->query), TR_STR_ARGS(x), req->body.n,
                       sum(req->body));
        answer(req, 200, text);
    } else if (tr_str_is(req->path, "/kept")) {
        if (tr_str_is(req->query, "drop"))
            tr_http_drop_body(req);
        tr_monitor_enter(&T.monitor);
        T.kept[T.n_kept++].req = req;
        tr_monitor_tell(&T.monitor);
        tr_monitor_leave(&T.monitor);
    } else if (tr_str_is(req->path, "/big")) {
        struct tr_http_response r = { .status = 200,
                                      .content_type = "application/octet-stream",
                                      .body = { T.big, sizeof(T.big) } };
        tr_http_reply(req, &r);
    } else if (tr_str_is(req->path, "/none")) {
        struct tr_http_response r = { .status = 204 };
        tr_http_reply(req, &r);
    } else {
        answer(req, 404, "nothing here\n");
    }
}

static struct tr_http_options options(void)
{
    struct tr_http_options o;

    tr_http_options_default(&o);
    o.listen = "127.0.0.1:0";
    o.loops = 1;
    o.bodies = &T.budget;
    return o;
}

static void start(const struct tr_http_options *o)
{
    static const struct tr_http_handler handler = {
        .loop_start = on_start,
        .loop_stop = on_stop,
        .headers = on_headers,
        .too_bad = on_too_bad,
        .request = on_request,
    };
    struct tr_err err = { 0 };

    T.n_kept = T.starts = T.stops = 0;
    tr_budget_init(&T.budget, 4 << 20);
    assert_int_equal(tr_http_start(o, &handler, &T.server, &err), TR_OK);
    T.port = tr_http_port(T.server);
    assert_true(T.port > 0);
}

static void stop(void)
{
    tr_http_stop(T.server, 2000000);
    assert_int_equal(T.starts, T.stops);
    assert_int_equal(atomic_load(&T.budget.used), 0);
}

static int start_default(void **state)
{
    struct tr_http_options o = options();

    (void)state;
    start(&o);
    return 0;
}

/* Where a case waits for a timeout. */
static int start_hasty(void **state)
{
    struct tr_http_options o = options();

    (void)state;
    o.body_timeout_us = 200000;
    o.hold_us = 200000;
    start(&o);
    return 0;
}

static int stop_default(void **state)
{
    (void)state;
    stop();
    return 0;
}

static void wait_kept(int n)
{
    tr_monitor_enter(&T.monitor);
    while (T.n_kept < n)
        assert_true(tr_monitor_wait(&T.monitor, 5000000));
    tr_monitor_leave(&T.monitor);
}

static void answer_post(struct tr_http_post *post)
{
    answer(((struct kept *)(void *)post)->req, 200, "kept\n");
}

static void answer_kept(int i)
{
    T.kept[i].post.fn = answer_post;
    tr_http_post(T.kept[i].req->loop, &T.kept[i].post);
}

/* ---- a client ---- */

static int dial(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)T.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { .tv_sec = 10 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void say_n(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

static void say(int fd, const char *text)
{
    say_n(fd, text, strlen(text));
}

/* One answer: its status; its body into out. The rest of the stream stays in the socket. */
static int hear_of(int fd, char *out, size_t cap, bool head_only)
{
    char head[8192];
    size_t n = 0;
    int status = 0;

    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(n < sizeof(head) - 1);
        if (recv(fd, head + n, 1, 0) != 1)
            return n == 0 ? -1 : -2;
        n++;
    }
    head[n] = 0;
    assert_int_equal(sscanf(head, "HTTP/1.1 %d", &status), 1);
    const char *at = strstr(head, "Content-Length: ");
    size_t length = at == NULL ? 0 : strtoul(at + 16, NULL, 10);
    assert_true(length < cap || out == NULL);
    for (size_t got = 0; got < length && !head_only;) {
        char skip[65536];
        char *to = out == NULL ? skip : out + got;
        size_t room = out == NULL && length - got > sizeof(skip) ? sizeof(skip) : length - got;
        ssize_t r = recv(fd, to, room, 0);

        if (r <= 0)
            return -2;
        got += (size_t)r;
    }
    if (out != NULL)
        out[head_only ? 0 : length] = 0;
    if (status == 100)
        return hear_of(fd, out, cap, head_only);
    return strstr(head, "Connection: close") != NULL ? status + 1000 : status;
}

static int hear(int fd, char *out, size_t cap)
{
    return hear_of(fd, out, cap, false);
}

static void expect(int fd, int status, const char *body)
{
    char out[4096];

    assert_int_equal(hear(fd, out, sizeof(out)), status);
    if (body != NULL)
        assert_string_equal(out, body);
}

static void expect_end(int fd)
{
    char c;

    assert_int_equal(recv(fd, &c, 1, 0), 0);
    (void)close(fd);
}

static void post_sized(int fd, const char *path, size_t n)
{
    char head[200];

    (void)snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                   path, n);
    say(fd, head);
}

/* ---- cases ---- */

static const struct exchange_case {
    const char *name;
    const char *sent;
    int status; /* + 1000: the connection is closed after it */
    const char *body;
} exchanges[] = {
    { "a request without headers", "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", 200,
      "0 /echo? [] 0 0\n" },
    { "query and header", "GET /echo?a=b&c HTTP/1.1\r\nHost: h\r\nX-Test:  some value \r\n\r\n",
      200, "0 /echo?a=b&c [some value] 0 0\n" },
    { "an empty header", "GET /echo HTTP/1.1\r\nHost: h\r\nX-Test:\r\nB: c\r\n\r\n", 200,
      "0 /echo? [] 0 0\n" },
    { "absolute form", "GET http://host:80/echo?x HTTP/1.1\r\nHost: h\r\n\r\n", 200,
      "0 /echo?x [] 0 0\n" },
    { "a fragment is not sent on", "GET /echo?x#y HTTP/1.1\r\nHost: h\r\n\r\n", 200,
      "0 /echo?x [] 0 0\n" },
    { "a body", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 200,
      "2 /echo? [] 3 96354\n" },
    { "empty lines before the request",
      "\r\n\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 200,
      "2 /echo? [] 3 96354\n" },
    { "a chunked body",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
      200, "2 /echo? [] 3 96354\n" },
    { "chunks with a trailer",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Test: "
      "no\r\n\r\n",
      200, "2 /echo? [] 3 96354\n" },
    { "an empty chunked body",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200,
      "2 /echo? [] 0 0\n" },
    { "a client that waits for 100 Continue",
      "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 200,
      "2 /echo? [] 3 96354\n" },
    { "no such path", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", 404, "nothing here\n" },
    { "a client that closes", "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 1200,
      "0 /echo? [] 0 0\n" },
    { "HTTP/1.0", "GET /echo HTTP/1.0\r\n\r\n", 1200, "0 /echo? [] 0 0\n" },
    { "HTTP/1.0 that keeps the connection", "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
      200, "0 /echo? [] 0 0\n" },
    { "an upgrade that is not done",
      "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: "
      "3\r\n\r\nabc",
      200, "2 /echo? [] 3 96354\n" },
    { "an odd method", "PROPFIND /echo HTTP/1.1\r\nHost: h\r\n\r\n", 200, "7 /echo? [] 0 0\n" },
    { "garbage", "\x16\x03\x01\x02\r\n\r\n", 1400, NULL },
    { "an unknown version", "GET / HTTP/9.9x\r\n\r\n", 1400, NULL },
    { "length and chunks",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      1400, NULL },
    { "chunks and length",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: "
      "3\r\n\r\n0\r\n\r\n",
      1400, NULL },
    { "two lengths",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 1400,
      NULL },
    { "a negative length", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc", 1400,
      NULL },
    { "a length beyond 64 bits",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nabc", 1400,
      NULL },
    { "an encoding that is not chunked",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nabc", 1400, NULL },
    { "a folded header", "GET /echo HTTP/1.1\r\nHost: h\r\nX-Test: a\r\n b\r\n\r\n", 1400, NULL },
    { "a broken chunk size",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", 1400,
      NULL },
/* The musts of RFC 9112 for a server; numbers are its sections. */
#define GET_WITH(lines) "GET /echo HTTP/1.1\r\n" lines "\r\n"
#define CHUNKS(text)    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" text
    { "2.2: a bare LF ends a line", "GET /echo HTTP/1.1\nHost: h\r\n\r\n", 1400, NULL },
    { "2.2: a bare LF ends a field", GET_WITH("Host: h\nX: y\r\n"), 1400, NULL },
    { "2.2: a bare LF ends the head", "GET /echo HTTP/1.1\r\nHost: h\r\n\n", 1400, NULL },
    { "2.2: a bare CR within", GET_WITH("Host: h\r\nX: a\rb\r\n"), 1400, NULL },
    { "2.2: blanks before the first field", GET_WITH(" X: y\r\nHost: h\r\n"), 1400, NULL },
    { "2.3: another major version", "GET /echo HTTP/2.0\r\nHost: h\r\n\r\n", 1505, NULL },
    { "2.3: a version in small letters", "GET /echo http/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "2.3: no version", "GET /echo\r\n\r\n", 1400, NULL },
    { "3: two blanks", "GET  /echo HTTP/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "3: a blank at the end", "GET /echo HTTP/1.1 \r\nHost: h\r\n\r\n", 1400, NULL },
    { "3: a tab", "GET\t/echo HTTP/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "3.1: no token", "G(T /echo HTTP/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "3.2: a blank in the target", "GET /ec ho HTTP/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "3.2: a target that is no path", "GET echo HTTP/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "3.2: no Host", GET_WITH(""), 1400, NULL },
    { "3.2: two Hosts", GET_WITH("Host: h\r\nHost: h\r\n"), 1400, NULL },
    { "3.2: a Host that is none", GET_WITH("Host: a b\r\n"), 1400, NULL },
    { "3.2: a Host with a path", GET_WITH("Host: a/b\r\n"), 1400, NULL },
    { "3.2: a Host with a user", GET_WITH("Host: a@b\r\n"), 1400, NULL },
    { "3.2: a port that is no number", GET_WITH("Host: a:b\r\n"), 1400, NULL },
    { "3.2: an empty Host", GET_WITH("Host:\r\n"), 200, NULL },
    { "3.2: IPv6", GET_WITH("Host: [::1]:80\r\n"), 200, NULL },
    { "3.2: an international name", GET_WITH("Host: xn--bcher-kva.example:80\r\n"), 200, NULL },
    { "3.2.3: a tunnel", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 1501, NULL },
    { "3.2.4: * of a GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 1400, NULL },
    { "3.2.4: * of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 404, NULL },
    { "5.1: a blank before the colon",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc", 1400, NULL },
    { "5.1: no colon", GET_WITH("Host: h\r\nX\r\n"), 1400, NULL },
    { "5.1: no name", GET_WITH("Host: h\r\n: x\r\n"), 1400, NULL },
    { "5: a name that is no token", GET_WITH("Host: h\r\nX@Y: x\r\n"), 1400, NULL },
    { "5.2: a folded line with a tab", GET_WITH("Host: h\r\nX: a\r\n\tb\r\n"), 1400, NULL },
    { "5.5: a control character",
      GET_WITH("Host: h\r\nX: a\x01"
               "b\r\n"),
      1400, NULL },
    { "6.1: chunks of HTTP/1.0",
      "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1400, NULL },
    { "6.1: another coding before",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 1501,
      NULL },
    { "6.3: chunked is not last",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 1400,
      NULL },
    { "6.1: chunked twice",
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      1400, NULL },
    { "6.3: equal lengths twice",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 1400,
      NULL },
    { "6.3: a list of lengths", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc",
      1400, NULL },
    { "6.3: a length with a sign",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 1400, NULL },
    { "6.3: a length in hexadecimal",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc", 1400, NULL },
    { "6.3: no length", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 1400, NULL },
    { "7.1: a size with 0x", CHUNKS("0x3\r\nabc\r\n0\r\n\r\n"), 1400, NULL },
    { "7.1: no size", CHUNKS("\r\nabc\r\n0\r\n\r\n"), 1400, NULL },
    { "7.1: a size beyond 64 bits", CHUNKS("10000000000000000\r\nabc"), 1400, NULL },
    { "7.1: a bare LF after the size", CHUNKS("3\nabc\r\n0\r\n\r\n"), 1400, NULL },
    { "7.1: a chunk longer than its size", CHUNKS("3\r\nabcd\r\n0\r\n\r\n"), 1400, NULL },
    { "7.1: a bare LF after a chunk", CHUNKS("3\r\nabc\n0\r\n\r\n"), 1400, NULL },
    { "7.1: a blank behind the size", CHUNKS("3 \r\nabc\r\n0\r\n\r\n"), 1400, NULL },
    { "7.1: a bare LF at the end", CHUNKS("3\r\nabc\r\n0\r\n\n"), 1400, NULL },
    { "7.1.1: a blank before an extension", CHUNKS("3 ;a=\"b\"\r\nabc\r\n0\r\n\r\n"), 200,
      "2 /echo? [] 3 96354\n" },
    { "7.1.1: a bare LF in an extension", CHUNKS("3;a\nb\r\nabc\r\n0\r\n\r\n"), 1400, NULL },
    { "7.1.2: a bare LF in a trailer", CHUNKS("0\r\nA: b\nC: d\r\n\r\n"), 1400, NULL },
    { "7.1: leading zeros and capitals", CHUNKS("00003\r\nabc\r\n0A\r\n0123456789\r\n00\r\n\r\n"),
      200, NULL },
    { "a length over the limit",
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\nabc", 1413,
      "bad 413 /echo\n" },
};

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
        const struct exchange_case *c = &exchanges[i];
        int fd = dial();

        print_message("  %s\n", c->name);
        say(fd, c->sent);
        expect(fd, c->status, c->body);
        if (c->status < 1000) { /* and the next one works */
            say(fd, "GET /echo?again HTTP/1.1\r\nHost: h\r\n\r\n");
            expect(fd, 200, "0 /echo?again [] 0 0\n");
            (void)close(fd);
        } else {
            expect_end(fd);
        }
    }
}

/* All good requests of the table in one stream, cut into pieces of every small size: the answers do
 * not depend on how the bytes come. */
static void pieces_do_not_matter(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 120; piece = piece < 8 ? piece + 1 : piece * 2 - 3) {
        int fd = dial();
        size_t total = sizeof(exchanges) / sizeof(exchanges[0]);

        for (size_t i = 0; i < total; i++) {
            if (exchanges[i].status >= 1000)
                continue;
            for (size_t at = 0, n = strlen(exchanges[i].sent); at < n; at += piece)
                say_n(fd, exchanges[i].sent + at, n - at < piece ? n - at : piece);
        }
        for (size_t i = 0; i < total; i++)
            if (exchanges[i].status < 1000)
                expect(fd, exchanges[i].status, exchanges[i].body);
        (void)close(fd);
    }
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    int fd = dial();

    for (int i = 0; i < 500; i++) {
        char text[100];

        (void)snprintf(text, sizeof(text), "GET /echo?%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
        say(fd, i == 3 ? "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n" : text);
    }
    wait_kept(1);
    assert_int_equal(T.n_kept, 1);
    answer_kept(0);
    for (int i = 0; i < 500; i++) {
        char text[100];

        (void)snprintf(text, sizeof(text), "0 /echo?%d [] 0 0\n", i);
        expect(fd, 200, i == 3 ? "kept\n" : text);
    }
    (void)close(fd);
}

static void bodies_of_every_kind_of_size(void **state)
{
    static const size_t sizes[] = { 1,     8000,  8100,  8101,   8102,  8191,     8192,
                                    65535, 65536, 65537, 400000, LIMIT, LIMIT - 1 };
    char *body = malloc(LIMIT);

    (void)state;
    for (size_t i = 0; i < LIMIT; i++)
        body[i] = (char)(i * 7 + i / 251);
    int fd = dial();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char want[100];

        post_sized(fd, "/echo", sizes[i]);
        say_n(fd, body, sizes[i]);
        (void)snprintf(want, sizeof(want), "2 /echo? [] %zu %u\n", sizes[i],
                       sum((struct tr_str){ body, sizes[i] }));
        expect(fd, 200, want);
        /* The same, chunked in odd pieces. */
        say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0, piece = 1; at < sizes[i]; at += piece, piece = piece * 3 + 1) {
            char size[32];

            if (piece > sizes[i] - at)
                piece = sizes[i] - at;
            (void)snprintf(size, sizeof(size), "%zX\r\n", piece);
            say(fd, size);
            say_n(fd, body + at, piece);
            say(fd, "\r\n");
        }
        say(fd, "0\r\n\r\n");
        expect(fd, 200, want);
    }
    (void)close(fd);
    free(body);
}

static void head_answers_have_no_body(void **state)
{
    (void)state;
    int fd = dial();

    say(fd, "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\n\r\nGET /echo "
            "HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(hear_of(fd, NULL, 0, true), 200);
    expect(fd, 204, "");
    expect(fd, 200, "0 /echo? [] 0 0\n");
    (void)close(fd);
}

static void long_heads(void **state)
{
    (void)state;
    char head[40000];
    int fd = dial();

    /* 12 KiB in pieces: it outgrows the first buffer. */
    int n = snprintf(head, sizeof(head),
                     "GET /echo?q HTTP/1.1\r\nHost: h\r\nA: %05000d\r\nX-Test: here\r\n"
                     "B: %07000d\r\nC: d\r\n\r\n",
                     1, 2);
    for (int at = 0; at < n; at += 999)
        say_n(fd, head + at, (size_t)(n - at < 999 ? n - at : 999));
    expect(fd, 200, "0 /echo?q [here] 0 0\n");
    /* The same before a chunked body. */
    n = snprintf(head, sizeof(head),
                 "POST /echo?q HTTP/1.1\r\nHost: h\r\nA: %08000d\r\nX-Test: here\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                 1);
    say_n(fd, head, (size_t)n);
    expect(fd, 200, "2 /echo?q [here] 3 96354\n");
    (void)close(fd);

    fd = dial();
    n = snprintf(head, sizeof(head), "GET /echo HTTP/1.1\r\nHost: h\r\nA: %020000d\r\n\r\n", 1);
    say_n(fd, head, (size_t)n);
    expect(fd, 1431, NULL);
    expect_end(fd);

    fd = dial();
    n = snprintf(head, sizeof(head), "GET /echo HTTP/1.1\r\nHost: h\r\n");
    for (int i = 1; i < TR_HTTP_MAX_HEADERS; i++)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "H: %d\r\n", i);
    say_n(fd, head, (size_t)n);
    say(fd, "\r\n");
    expect(fd, 200, NULL);
    say_n(fd, head, (size_t)n);
    say(fd, "I: one too many\r\n\r\n");
    expect(fd, 1431, NULL);
    expect_end(fd);
}

/* ---- early answers ---- */

static void a_refused_body_is_drained_and_the_connection_goes_on(void **state)
{
    (void)state;
    char *body = calloc(1, 3 << 20);
    int fd = dial();

    post_sized(fd, "/echo", 3 << 20);
    expect(fd, 413, "bad 413 /echo\n"); /* before the body was sent */
    say_n(fd, body, 3 << 20);
    say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, 200, "0 /echo? [] 0 0\n");

    /* A client that sends all before it listens. */
    post_sized(fd, "/no", 3 << 20);
    say_n(fd, body, 3 << 20);
    expect(fd, 401, "no\n");
    say(fd, "POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcdePOST /plain "
            "HTTP/1.1\r\nHost: h\r\n"
            "Content-Length: 2000000\r\n\r\n");
    expect(fd, 401, "no\n");
    expect(fd, 413, "the request body is too large\n");
    say_n(fd, body, 2000000);

    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n");
    say_n(fd, body, 2 << 20);
    expect(fd, 413, "bad 413 /echo\n");
    say(fd, "\r\n0\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, 200, "0 /echo? [] 0 0\n");
    (void)close(fd);
    free(body);
}

static void a_refused_body_that_is_not_sent_yet_closes(void **state)
{
    (void)state;
    int fd = dial();

    say(fd, "POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    expect(fd, 1401, "no\n");
    expect_end(fd);
}

static void an_endless_refused_body_is_cut_after_the_answer(void **state)
{
    struct tr_http_options o = options();
    char *body = calloc(1, 1 << 20);

    (void)state;
    o.drain_bytes = 8 << 20;
    start(&o);
    int fd = dial();
    struct timeval limit = { .tv_sec = 5 };
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
    expect(fd, 1413, "bad 413 /echo\n");
    int sent = 0;
    while (sent < 100 && send(fd, body, 1 << 20, MSG_NOSIGNAL) > 0)
        sent++;
    assert_in_range(sent, 7, 50);
    (void)close(fd);
    stop();
    free(body);
}

/* ---- time ---- */

static void a_slow_body_is_answered_408(void **state)
{
    (void)state;
    char out[100];
    int fd = dial();

    post_sized(fd, "/echo", 10);
    say(fd, "abc");
    assert_int_equal(hear(fd, out, sizeof(out)), 1408);
    assert_string_equal(out, "bad 408 /echo\n");
    expect_end(fd);

    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nConte");
    expect(fd, 1408, NULL);
    expect_end(fd);

    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc");
    expect(fd, 1408, "bad 408 /echo\n");
    expect_end(fd);

    fd = dial();
    post_sized(fd, "/echo", 500000);
    say(fd, "abc");
    expect(fd, 1408, "bad 408 /echo\n");
    expect_end(fd);
}

static void drip(int fd, const char *p, size_t n, int64_t every_us)
{
    for (size_t i = 0; i < n; i++) {
        (void)send(fd, p + i, 1, MSG_NOSIGNAL);
        tr_clock_sleep_us(every_us);
    }
}

static void a_body_that_drips_does_not_live_for_ever(void **state)
{
    (void)state;
    char out[100];
    int fd = dial();
    char body[100] = { 0 };

    post_sized(fd, "/echo", 10000);
    drip(fd, body, 60, 10000); /* 600 ms, never 200 ms without a byte */
    assert_int_equal(hear(fd, out, sizeof(out)), 1408);
    (void)close(fd);
}

/* ---- the budget ---- */

static void bodies_wait_for_the_budget_in_order(void **state)
{
    struct tr_http_options o = options();
    enum { SIZE = 900 << 10, N = 7 };
    char *body = calloc(1, SIZE);
    int fd[N];

    (void)state;
    start(&o); /* 4 MiB: four at a time */
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        post_sized(fd[i], "/kept", SIZE);
        while (i < 4 && T.n_kept < i) /* in this order */
            tr_clock_sleep_us(1000);
        say_n(fd[i], body, i < 4 ? SIZE : 1000);
        if (i < 4)
            wait_kept(i + 1);
        else
            tr_clock_sleep_us(20000);
    }
    assert_int_equal(T.n_kept, 4);
    /* Small ones do not wait. */
    int small = dial();
    post_sized(small, "/echo", 65536);
    say_n(small, body, 65536);
    expect(small, 200, NULL);
    (void)close(small);

    for (int i = 0; i < N; i++) {
        answer_kept(i); /* makes room for the next that waits */
        expect(fd[i], 200, "kept\n");
        if (i + 4 < N) {
            say_n(fd[i + 4], body, SIZE - 1000);
            wait_kept(i + 5);
        }
    }
    for (int i = 0; i < N; i++)
        (void)close(fd[i]);
    stop();
    free(body);
}

static void a_body_that_waited_too_long_is_answered_503_and_drained(void **state)
{
    enum { SIZE = 900 << 10 };
    char *body = calloc(1, SIZE);
    int fd[6];

    (void)state;
    for (int i = 0; i < 6; i++) {
        fd[i] = dial();
        if (i < 5) {
            post_sized(fd[i], "/kept", SIZE);
            say_n(fd[i], body, i < 4 ? SIZE : SIZE);
        }
        if (i < 4)
            wait_kept(i + 1);
    }
    say(fd[5], "POST /kept HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n80000\r\n");
    say_n(fd[5], body, 0x80000);
    say(fd[5], "\r\n0\r\n\r\n");
    expect(fd[4], 503, "bad 503 /kept\n");
    expect(fd[5], 503, "bad 503 /kept\n");
    for (int i = 4; i < 6; i++) {
        say(fd[i], "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        expect(fd[i], 200, "0 /echo? [] 0 0\n");
    }
    for (int i = 0; i < 4; i++) {
        answer_kept(i);
        expect(fd[i], 200, "kept\n");
    }
    for (int i = 0; i < 6; i++)
        (void)close(fd[i]);
    free(body);
}

/* 64 clients that announce much and send little, or send some and then nothing: others have their
 * answer within the hold. */
static void bodies_that_do_not_come_hold_nobody_up(void **state)
{
    enum { SIZE = 900 << 10, N = 64 };
    static const size_t first[] = { 0, 100, 70000 };
    char *body = calloc(1, SIZE);

    for (size_t k = 0; k < sizeof(first) / sizeof(first[0]); k++) {
        int fd[N];

        (void)start_default(state); /* 4 MiB */
        for (int i = 0; i < N; i++) {
            fd[i] = dial();
            post_sized(fd[i], "/echo", SIZE);
            if (first[k] > 0)
                say_n(fd[i], body, first[k]);
        }
        tr_clock_sleep_us(100000);
        assert_in_range(atomic_load(&T.budget.used), 0, 5 << 20);
        for (int i = 0; i < 4; i++) {
            int honest = dial();
            post_sized(honest, "/echo", SIZE);
            say_n(honest, body, SIZE);
            expect(honest, 200, NULL);
            (void)close(honest);
            for (int j = 0; j < N; j++)
                (void)send(fd[j], body, 1, MSG_NOSIGNAL);
        }
        for (int i = 0; i < N; i++)
            (void)close(fd[i]);
        stop();
    }
    free(body);
}

/* More large ones at once than there is memory for, each at its pace: all arrive. */
static void large_bodies_that_come_together_all_arrive(void **state)
{
    enum { SIZE = 1 << 20, N = 10, PIECE = 16 << 10 };
    char *body = calloc(1, SIZE);
    int fd[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        int room = 4 * PIECE;
        fd[i] = dial();
        (void)setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        post_sized(fd[i], "/echo", SIZE);
    }
    size_t at[N] = { 0 };
    for (int left = N; left > 0;) {
        for (int i = 0; i < N; i++) {
            if (at[i] == SIZE)
                continue;
            size_t n = SIZE - at[i] < PIECE ? SIZE - at[i] : PIECE;
            ssize_t sent = send(fd[i], body + at[i], n, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0)
                at[i] += (size_t)sent;
            if (at[i] == SIZE)
                left--;
        }
        tr_clock_sleep_us(1000);
    }
    for (int i = 0; i < N; i++) {
        expect(fd[i], 200, NULL);
        (void)close(fd[i]);
    }
    free(body);
}

/* Long heads and small bodies count too, and have an end. */
static void what_is_small_is_charged_as_well(void **state)
{
    struct tr_http_options o = options();
    enum { N = 300, SMALL = 60000 };
    char *body = calloc(1, SMALL);
    int fd[N];
    int refused = 0;

    (void)state;
    o.max_header_bytes = 64 << 10;
    memset(body, 'a', SMALL);
    start(&o); /* 4 MiB, and one more for small ones */
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        if (i % 2 == 0) {
            post_sized(fd[i], "/echo", SMALL);
            say_n(fd[i], body, SMALL - 1);
        } else {
            say(fd[i], "GET /echo HTTP/1.1\r\nHost: h\r\nA: ");
            (void)send(fd[i], body, SMALL, MSG_NOSIGNAL);
        }
        assert_in_range(atomic_load(&T.budget.used), 0, 5 << 20);
    }
    tr_clock_sleep_us(100000);
    assert_in_range(atomic_load(&T.budget.used), 4 << 20, 5 << 20);
    for (int i = 1; i < N; i += 2) {
        char c;
        refused += recv(fd[i], &c, 1, MSG_DONTWAIT) == 1;
    }
    assert_true(refused > 0);
    for (int i = 0; i < N; i++)
        (void)close(fd[i]);
    stop();
    free(body);
}

static void a_dropped_body_makes_room_before_the_answer(void **state)
{
    enum { SIZE = 1 << 20, N = 12 };
    char *body = calloc(1, SIZE);
    int fd[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        post_sized(fd[i], "/kept?drop", SIZE);
        say_n(fd[i], body, SIZE);
    }
    wait_kept(N);
    assert_int_equal(atomic_load(&T.budget.used), 0);
    for (int i = 0; i < N; i++)
        answer_kept(i);
    for (int i = 0; i < N; i++) {
        expect(fd[i], 200, "kept\n");
        (void)close(fd[i]);
    }
    free(body);
}

static void waiting_clients_that_leave_are_forgotten(void **state)
{
    enum { SIZE = 900 << 10 };
    char *body = calloc(1, SIZE);
    int fd[8];
    struct linger hard = { .l_onoff = 1 };

    (void)state;
    for (int i = 0; i < 8; i++) {
        fd[i] = dial();
        post_sized(fd[i], "/kept", SIZE);
        say_n(fd[i], body, i < 4 ? SIZE : 1);
        if (i < 4)
            wait_kept(i + 1);
    }
    for (int i = 4; i < 8; i++) {
        (void)setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        (void)close(fd[i]); /* a reset */
    }
    for (int i = 0; i < 4; i++) {
        answer_kept(i);
        expect(fd[i], 200, "kept\n");
        (void)close(fd[i]);
    }
    free(body);
}

/* ---- clients that go ---- */

static void a_half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    int fd = dial();

    say(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    wait_kept(1);
    answer_kept(0);
    expect(fd, 200, "kept\n");
    expect(fd, 200, "0 /echo? [] 0 0\n");
    expect_end(fd);
}

/* The handler has forgotten a request: its client is answered all the same, others are served. */
static void a_handler_that_does_not_answer_holds_nobody(void **state)
{
    struct tr_http_options o = options();
    int fd[4];

    (void)state;
    o.answer_timeout_us = 200000;
    o.drain_us = 200000;
    o.max_connections = 5;
    start(&o);
    for (int i = 0; i < 4; i++) {
        fd[i] = dial();
        say(fd[i], "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i == 3) /* has closed its half: it may have left for good */
            assert_int_equal(shutdown(fd[i], SHUT_WR), 0);
    }
    wait_kept(4);
    for (int i = 0; i < 4; i++) {
        expect(fd[i], 1503, NULL);
        (void)close(fd[i]);
    }
    int again = dial();
    say(again, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(again, 200, "0 /echo? [] 0 0\n");
    (void)close(again);
    for (int i = 0; i < 4; i++)
        answer_kept(i); /* too late, and harmless */
    stop();
}

/* Whose clients are gone do not count as connections, until they are as many again. */
static void requests_that_were_left_make_room(void **state)
{
    struct tr_http_options o = options();
    int fd[4];

    (void)state;
    o.max_connections = 4;
    start(&o);
    int idle = dial();
    for (int i = 0; i < 4; i++) {
        struct linger cut = { .l_onoff = 1 };

        fd[i] = dial();
        say(fd[i], "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
        wait_kept(i + 1);
        (void)setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &cut, sizeof(cut));
        (void)close(fd[i]);
        if (i == 2) {
            int other = dial();
            say(other, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
            expect(other, 200, NULL);
            (void)close(other);
        }
    }
    for (int i = 0; i < 4; i++)
        answer_kept(i);
    (void)close(idle);
    int after = dial();
    say(after, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(after, 200, NULL);
    (void)close(after);
    stop();
}

static void clients_that_vanish_do_no_harm(void **state)
{
    struct linger hard = { .l_onoff = 1 };
    char body[70000] = { 0 };

    (void)state;
    for (int i = 0; i < 20; i++) {
        int fd = dial();

        if (i % 2 == 0)
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        switch (i % 5) {
        case 0: /* in the head */
            say(fd, "POST /echo HTT");
            break;
        case 1: /* in the body */
            post_sized(fd, "/echo", 500000);
            say_n(fd, body, sizeof(body));
            break;
        case 2: /* while the handler has it */
            say(fd, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
            wait_kept(i / 5 * 2 + 1);
            break;
        case 3: /* with a body, while the handler has it */
            post_sized(fd, "/kept", sizeof(body));
            say_n(fd, body, sizeof(body));
            wait_kept(i / 5 * 2 + 2);
            break;
        default: /* without reading the answer */
            say(fd, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
            break;
        }
        (void)close(fd);
    }
    tr_clock_sleep_us(20000);
    for (int i = 0; i < T.n_kept; i++)
        answer_kept(i);
    int fd = dial();
    say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, 200, NULL);
    (void)close(fd);
}

static void a_slow_reader_gets_all_of_a_large_answer(void **state)
{
    (void)state;
    int fd = dial();
    char *out = malloc(sizeof(T.big) + 1);

    say(fd, "GET /big HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    tr_clock_sleep_us(50000);
    assert_int_equal(hear(fd, out, sizeof(T.big) + 1), 200);
    assert_memory_equal(out, T.big, sizeof(T.big));
    expect(fd, 200, "0 /echo? [] 0 0\n");
    (void)close(fd);
    free(out);
}

static void a_thousand_connections(void **state)
{
    struct tr_http_options o = options();
    enum { N = 1000 };
    static int fd[N];
    struct rlimit limit;

    (void)state;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * N + 100)
        skip();
    o.loops = 2;
    start(&o);
    for (int i = 0; i < N; i++)
        fd[i] = dial();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            say(fd[i], "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        for (int i = 0; i < N; i++)
            expect(fd[i], 200, "2 /echo? [] 3 96354\n");
    }
    assert_int_equal(tr_metric_value("tailrace_http_connections_open"), N);
    for (int i = 0; i < N; i++)
        (void)close(fd[i]);
    stop();
    assert_int_equal(tr_metric_value("tailrace_http_connections_open"), 0);
}

static void beyond_the_limit_clients_wait_their_turn(void **state)
{
    struct tr_http_options o = options();
    int fd[3];

    (void)state;
    o.max_connections = 2;
    start(&o);
    for (int i = 0; i < 3; i++) {
        fd[i] = dial();
        say(fd[i], "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i < 2)
            expect(fd[i], 200, NULL);
    }
    struct pollfd p = { .fd = fd[2], .events = POLLIN };
    assert_int_equal(poll(&p, 1, 100), 0);
    (void)close(fd[0]);
    expect(fd[2], 200, NULL);
    (void)close(fd[1]);
    (void)close(fd[2]);
    stop();
}

/* ---- the loop's own tools ---- */

static struct {
    struct tr_http_post post;
    struct tr_http_timer late, soon, never;
    struct tr_http_loop *loop;
    int order[4], n;
    atomic_bool done;
} P;

static void on_late(struct tr_http_timer *t)
{
    (void)t;
    P.order[P.n++] = 2;
    tr_http_pause(P.loop, false);
    atomic_store(&P.done, true);
}

static void on_soon(struct tr_http_timer *t)
{
    (void)t;
    P.order[P.n++] = 1;
}

static void pause_in_loop(struct tr_http_post *post)
{
    (void)post;
    P.late.fn = on_late;
    P.soon.fn = on_soon;
    P.never.fn = on_late;
    tr_http_timer_set(P.loop, &P.never, 1000);
    tr_http_timer_set(P.loop, &P.late, 100);
    tr_http_timer_set(P.loop, &P.soon, 50000);
    tr_http_timer_set(P.loop, &P.late, 1500000); /* moved */
    tr_http_timer_clear(P.loop, &P.never);
    tr_http_pause(P.loop, true);
    P.order[P.n++] = 0;
}

static void a_paused_loop_reads_nothing_until_it_goes_on(void **state)
{
    (void)state;
    int fd[4];

    fd[0] = dial();
    say(fd[0], "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_kept(1);
    fd[1] = dial();
    post_sized(fd[1], "/echo", 3);
    say(fd[1], "a");
    fd[2] = dial();
    tr_clock_sleep_us(30000);
    memset(&P, 0, sizeof(P));
    P.loop = T.kept[0].req->loop;
    P.post.fn = pause_in_loop;
    tr_http_post(P.loop, &P.post);
    tr_clock_sleep_us(30000);
    fd[3] = dial();
    say(fd[1], "bc"); /* in time, and longer paused than a slow body may be */
    say(fd[2], "GET /echo?2 HTTP/1.1\r\nHost: h\r\n\r\n");
    say(fd[3], "GET /echo?3 HTTP/1.1\r\nHost: h\r\n\r\n");
    answer_kept(0); /* answers go out all the same */
    expect(fd[0], 200, "kept\n");
    struct pollfd p[3] = { { fd[1], POLLIN, 0 }, { fd[2], POLLIN, 0 }, { fd[3], POLLIN, 0 } };
    assert_int_equal(poll(p, 3, 120), 0);
    expect(fd[1], 200, "2 /echo? [] 3 96354\n");
    expect(fd[2], 200, "0 /echo?2 [] 0 0\n");
    expect(fd[3], 200, "0 /echo?3 [] 0 0\n");
    assert_true(atomic_load(&P.done));
    assert_int_equal(P.n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(P.order[i], i);
    for (int i = 0; i < 4; i++)
        (void)close(fd[i]);
}

/* ---- start and stop ---- */

static void *stop_main(void *arg)
{
    (void)arg;
    tr_http_stop(T.server, 5000000);
    return NULL;
}

static void a_stopping_server_answers_what_it_has(void **state)
{
    struct tr_http_options o = options();
    struct tr_err err = { 0 };
    pthread_t thread;

    (void)state;
    o.loops = 2;
    start(&o);
    int pending = dial();
    int body = dial();
    int idle = dial();
    int never_spoke = dial();
    say(pending, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_kept(1);
    post_sized(body, "/echo", 3);
    say(body, "a");
    say(idle, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(idle, 200, NULL);
    assert_int_equal(tr_thread_start(&thread, "stopper", stop_main, NULL, &err), TR_OK);
    tr_clock_sleep_us(50000);
    say(idle, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"); /* was on its way */
    expect(idle, 1200, NULL);
    expect_end(idle);
    expect_end(never_spoke);
    say(body, "bc");
    expect(body, 1200, "2 /echo? [] 3 96354\n");
    expect_end(body);
    answer_kept(0);
    expect(pending, 1200, "kept\n");
    expect_end(pending);
    (void)pthread_join(thread, NULL);
    assert_int_equal(T.stops, 2);
}

static void grace_ends(void **state)
{
    struct tr_http_options o = options();

    (void)state;
    start(&o);
    int pending = dial();
    int body = dial();
    char some[200000] = { 0 };
    say(pending, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_kept(1);
    post_sized(body, "/echo", 300000);
    say_n(body, some, sizeof(some));
    int64_t before = tr_clock_boot_us();
    tr_http_stop(T.server, 100000);
    assert_in_range(tr_clock_boot_us() - before, 100000, 3000000);
    assert_int_equal(atomic_load(&T.budget.used), 0);
    assert_int_equal(T.stops, 1);
    (void)close(pending);
    (void)close(body);
}

static void refuses_to_start(void **state)
{
    static const struct tr_http_handler handler = { .request = on_request, .loop_start = on_start };
    struct tr_http_options o = options();
    struct tr_http_server *s = NULL;
    struct tr_err err = { 0 };
    char taken[64];

    (void)state;
    start(&o);
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%d", T.port);
    o.listen = taken;
    assert_int_equal(tr_http_start(&o, &handler, &s, &err), TR_REFUSED);
    assert_string_equal(err.id, "http.address_in_use");
    stop();

    static const char *const bad[] = { "",        "127.0.0.1",    "127.0.0.1:",
                                       "[::1:80", "1.2.3.4.5:80", "127.0.0.1:http and more" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        o.listen = bad[i];
        assert_int_equal(tr_http_start(&o, &handler, &s, &err), TR_INVALID);
    }
    o.listen = "127.0.0.1:0";
    o.loops = 3;
    T.refuse_start = true;
    assert_int_equal(tr_http_start(&o, &handler, &s, &err), TR_REFUSED);
    assert_string_equal(err.id, "test.refused");
    T.refuse_start = false;
    assert_null(s);
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, start_default, stop_default)
#define WITH_HASTE(f)  cmocka_unit_test_setup_teardown(f, start_hasty, stop_default)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(answers),
        WITH_SERVER(pieces_do_not_matter),
        WITH_SERVER(pipelined_requests_are_answered_in_order),
        WITH_SERVER(bodies_of_every_kind_of_size),
        WITH_SERVER(head_answers_have_no_body),
        WITH_SERVER(long_heads),
        WITH_SERVER(a_refused_body_is_drained_and_the_connection_goes_on),
        WITH_SERVER(a_refused_body_that_is_not_sent_yet_closes),
        cmocka_unit_test(an_endless_refused_body_is_cut_after_the_answer),
        WITH_HASTE(a_slow_body_is_answered_408),
        WITH_HASTE(a_body_that_drips_does_not_live_for_ever),
        cmocka_unit_test(bodies_wait_for_the_budget_in_order),
        WITH_HASTE(a_body_that_waited_too_long_is_answered_503_and_drained),
        cmocka_unit_test(bodies_that_do_not_come_hold_nobody_up),
        WITH_SERVER(large_bodies_that_come_together_all_arrive),
        cmocka_unit_test(what_is_small_is_charged_as_well),
        WITH_SERVER(a_dropped_body_makes_room_before_the_answer),
        WITH_SERVER(waiting_clients_that_leave_are_forgotten),
        WITH_SERVER(a_half_closed_client_gets_its_answer),
        cmocka_unit_test(a_handler_that_does_not_answer_holds_nobody),
        cmocka_unit_test(requests_that_were_left_make_room),
        WITH_SERVER(clients_that_vanish_do_no_harm),
        WITH_SERVER(a_slow_reader_gets_all_of_a_large_answer),
        cmocka_unit_test(a_thousand_connections),
        cmocka_unit_test(beyond_the_limit_clients_wait_their_turn),
        WITH_HASTE(a_paused_loop_reads_nothing_until_it_goes_on),
        cmocka_unit_test(a_stopping_server_answers_what_it_has),
        cmocka_unit_test(grace_ends),
        cmocka_unit_test(refuses_to_start),
    };

    tr_monitor_init(&T.monitor);
    for (size_t i = 0; i < sizeof(T.big); i++)
        T.big[i] = (char)(i * 13 + i / 1000);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
