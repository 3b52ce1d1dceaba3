#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "net/http_client.h"
#include "net/http_policy.h"
#include "os/clock.h"

/* A server of one behaviour, one connection after the other. */
enum behaviour {
    ANSWER,       /* as scripted, and keeps the connection */
    CLOSE_SILENT, /* reads the whole request, resets */
    CLOSE_EARLY,  /* reads only the head of the request, resets */
    HANG,         /* reads the whole request, never answers */
};

static struct {
    int fd, port;
    pthread_t thread;
    enum behaviour what;
    const char *answer;
    atomic_int connections, requests, open; /* open: the connection at work, or -1 */
    atomic_bool stop;
    char seen[65536]; /* the last request */
    size_t n_seen;
} server;

static size_t head_end(void)
{
    const char *end = memmem(server.seen, server.n_seen, "\r\n\r\n", 4);

    return end == NULL ? 0 : (size_t)(end - server.seen) + 4;
}

static size_t wanted(void)
{
    const char *length = strcasestr(server.seen, "content-length:");

    return head_end() + (length == NULL ? 0 : strtoul(length + 15, NULL, 10));
}

static bool read_request(int fd)
{
    server.n_seen = 0;
    for (;;) {
        if (head_end() != 0 && (server.what == CLOSE_EARLY || server.n_seen >= wanted()))
            return true;
        size_t room = sizeof(server.seen) - 1 - server.n_seen;
        if (server.what == CLOSE_EARLY)
            room = 64; /* most of a large body stays unread */
        ssize_t n = room == 0 ? 0 : recv(fd, server.seen + server.n_seen, room, 0);
        if (n <= 0)
            return false;
        server.n_seen += (size_t)n;
        server.seen[server.n_seen] = '\0';
    }
}

static void reset(int fd)
{
    atomic_store(&server.open, -1);
    struct linger now = { .l_onoff = 1 };

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(fd);
}

static void serve(int fd)
{
    while (read_request(fd)) {
        atomic_fetch_add(&server.requests, 1);
        if (server.what == CLOSE_SILENT || server.what == CLOSE_EARLY) {
            reset(fd);
            return;
        }
        while (server.what == HANG && !atomic_load(&server.stop))
            tr_clock_sleep_us(5000);
        if (send(fd, server.answer, strlen(server.answer), MSG_NOSIGNAL) < 0)
            break;
    }
    atomic_store(&server.open, -1);
    (void)close(fd);
}

static void *server_main(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0 || atomic_load(&server.stop)) {
            if (fd >= 0)
                (void)close(fd);
            return NULL;
        }
        atomic_fetch_add(&server.connections, 1);
        atomic_store(&server.open, fd);
        serve(fd);
    }
}

static void start(enum behaviour what, const char *answer)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);

    server.what = what;
    server.answer = answer;
    atomic_store(&server.connections, 0);
    atomic_store(&server.requests, 0);
    atomic_store(&server.stop, false);
    atomic_store(&server.open, -1);
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(server.fd, 8), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&a, &n), 0);
    server.port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&server.thread, NULL, server_main, NULL), 0);
}

static void stop(void)
{
    atomic_store(&server.stop, true);
    (void)shutdown(server.fd, SHUT_RDWR);
    if (atomic_load(&server.open) >= 0)
        (void)shutdown(atomic_load(&server.open), SHUT_RDWR);
    (void)pthread_join(server.thread, NULL);
    (void)close(server.fd);
}

/* ---- calls ---- */

static struct tr_http_client *client;
static struct tr_http_answer answer;
static struct tr_err err;

static int set_up(void **state)
{
    (void)state;
    tr_buf_init(&answer.body, 1000);
    return tr_http_client_new(&client, &err) == TR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tr_http_client_free(client);
    tr_buf_fini(&answer.body);
    return 0;
}

static struct tr_ctx in(int64_t ms)
{
    return (struct tr_ctx){ .deadline_us = tr_clock_boot_us() + ms * TR_US_PER_MS };
}

static enum tr_rc call(const struct tr_ctx *cx, const char *method, struct tr_str body)
{
    static const char *const headers[] = { "Authorization: Bearer the-secret",
                                           "Content-Type: text/x", NULL };
    char url[64];
    struct tr_http_call c = { .method = method, .url = url, .headers = headers, .body = body };

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/path?q=1", server.port);
    memset(&err, 0, sizeof(err));
    return tr_http_client_call(cx, client, &c, &answer, &err);
}

static void an_answer_has_status_headers_and_body(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(ANSWER,
          "HTTP/1.1 308 Resume Incomplete\r\nRANGE: bytes=0-99\r\nlocation:  http://x/y \r\n"
          "Retry-After: 7\r\nDate: Fri, 20 Nov 2026 09:30:00 GMT\r\n"
          "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(call(&cx, "PUT", TR_STR("body bytes")), TR_OK);
    assert_int_equal(answer.status, 308);
    assert_string_equal(answer.range, "bytes=0-99");
    assert_string_equal(answer.location, "http://x/y");
    assert_string_equal(answer.retry_after, "7");
    assert_string_equal(answer.date, "Fri, 20 Nov 2026 09:30:00 GMT");
    assert_true(tr_str_is(tr_buf_view(&answer.body), "hello"));
    assert_non_null(strstr(server.seen, "PUT /path?q=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(server.seen, "Authorization: Bearer the-secret\r\n"));
    assert_null(strcasestr(server.seen, "expect:"));
    assert_non_null(strstr(server.seen, "\r\nContent-Type: text/x\r\n"));
    assert_null(strstr(server.seen, "urlencoded"));
    assert_non_null(strstr(server.seen, "\r\n\r\nbody bytes"));
    stop();
}

static void calls_in_a_row_use_one_connection(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (int i = 0; i < 5; i++)
        assert_int_equal(call(&cx, i % 2 == 0 ? "GET" : "POST",
                              i % 2 == 0 ? (struct tr_str){ NULL, 0 } : TR_STR("x")),
                         TR_OK);
    assert_int_equal(atomic_load(&server.connections), 1);
    assert_int_equal(atomic_load(&server.requests), 5);
    stop();
}

static void an_error_status_is_an_answer(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(ANSWER, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_OK);
    assert_int_equal(answer.status, 503);
    stop();
}

static void a_redirect_is_not_followed(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(ANSWER,
          "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_OK);
    assert_int_equal(answer.status, 302);
    assert_int_equal(atomic_load(&server.requests), 1);
    stop();
}

static void an_answer_over_the_limit_is_not_read(void **state)
{
    static char big[4096];
    struct tr_ctx cx = in(5000);
    size_t n =
        (size_t)snprintf(big, sizeof(big), "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");

    (void)state;
    memset(big + n, 'x', 2000);
    start(ANSWER, big);
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_AMBIGUOUS);
    assert_string_equal(err.id, "http.answer_too_big");
    stop();
}

static void a_reset_after_the_request_leaves_its_outcome_open(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(CLOSE_SILENT, NULL);
    assert_int_equal(call(&cx, "POST", TR_STR("do it")), TR_AMBIGUOUS);
    assert_string_equal(err.id, "http.no_answer");
    assert_null(strstr(err.cause, "secret"));
    stop();
}

static void a_reset_within_the_body_does_not(void **state)
{
    enum { MUCH = 32 << 20 }; /* more than any socket buffer */
    struct tr_ctx cx = in(20000);
    char *body = calloc(1, MUCH);

    (void)state;
    assert_non_null(body);
    start(CLOSE_EARLY, NULL);
    assert_int_equal(call(&cx, "PUT", (struct tr_str){ body, MUCH }), TR_TRANSIENT);
    assert_string_equal(err.id, "http.reset");
    stop();
    free(body);
}

static void the_deadline_ends_a_call(void **state)
{
    struct tr_ctx cx = in(200);
    int64_t began = tr_clock_boot_us();

    (void)state;
    start(HANG, "");
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_AMBIGUOUS);
    assert_string_equal(err.id, "http.no_answer");
    assert_true(tr_clock_boot_us() - began < 2 * TR_US_PER_S);
    stop();
}

static atomic_bool cancelled;

static void *cancel_soon(void *arg)
{
    (void)arg;
    tr_clock_sleep_us(100000);
    atomic_store(&cancelled, true);
    return NULL;
}

static void somebody_who_cancels_does_not_wait(void **state)
{
    struct tr_ctx cx = in(30000);
    int64_t began = tr_clock_boot_us();
    pthread_t thread;

    (void)state;
    atomic_store(&cancelled, false);
    cx.cancelled = &cancelled;
    start(HANG, "");
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_CANCELLED);
    assert_true(tr_clock_boot_us() - began < 2 * TR_US_PER_S);
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_CANCELLED);
    assert_int_equal(atomic_load(&server.requests), 1);
    (void)pthread_join(thread, NULL);
    stop();
}

static void nobody_there_is_transient(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(ANSWER, "");
    stop();
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_TRANSIENT);
    assert_string_equal(err.id, "http.unreachable");
}

static void an_unknown_name_is_transient(void **state)
{
    struct tr_ctx cx = in(20000);
    struct tr_http_call c = { .method = "GET", .url = "https://nowhere.invalid/" };

    (void)state;
    assert_int_equal(tr_http_client_call(&cx, client, &c, &answer, &err), TR_TRANSIENT);
    /* where no name server answers, it is the deadline that ends the call */
    assert_true(strcmp(err.id, "http.unknown_host") == 0 || strcmp(err.id, "http.timeout") == 0);
}

static void a_server_without_tls_is_no_https_server(void **state)
{
    struct tr_ctx cx = in(5000);
    char url[64];
    struct tr_http_call c = { .method = "GET", .url = url };

    (void)state;
    start(ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%d/", server.port);
    /* reads a "request" until the connection ends: it is no HTTP */
    enum tr_rc rc = tr_http_client_call(&cx, client, &c, &answer, &err);
    assert_int_not_equal(rc, TR_OK);
    assert_int_not_equal(rc, TR_AMBIGUOUS);
    stop();
}

static void refused_addresses_are_not_connected_to(void **state)
{
    struct tr_ctx cx = in(5000);

    (void)state;
    start(ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(tr_egress_set(true, NULL, &err), TR_OK);
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_REFUSED);
    assert_string_equal(err.id, "http.address_refused");
    assert_int_equal(atomic_load(&server.connections), 0);
    assert_int_equal(tr_egress_set(true, "127.0.0.1", &err), TR_OK);
    assert_int_equal(call(&cx, "GET", (struct tr_str){ NULL, 0 }), TR_OK);
    assert_int_equal(tr_egress_set(false, NULL, &err), TR_OK);
    struct tr_http_call c = { .method = "GET", .url = "http://169.254.169.254/latest" };
    assert_int_equal(tr_http_client_call(&cx, client, &c, &answer, &err), TR_REFUSED);
    assert_string_equal(err.id, "http.address_refused");
    c.url = "file:///etc/passwd";
    assert_int_equal(tr_http_client_call(&cx, client, &c, &answer, &err), TR_INVALID);
    stop();
}

static void reads_dates(void **state)
{
    int64_t t = 0;

    (void)state;
    assert_true(tr_http_date_parse("Sun, 06 Nov 1994 08:49:37 GMT", &t)); /* RFC 9110, 5.6.7 */
    assert_int_equal(t, INT64_C(784111777000000));
    assert_false(tr_http_date_parse("", &t));
    assert_false(tr_http_date_parse("Sunday, 06-Nov-94 08:49:37 GMT", &t));
    assert_false(tr_http_date_parse("Sun, 06 Xov 1994 08:49:37 GMT", &t));
    assert_false(tr_http_date_parse("Sun, 36 Nov 1994 08:49:37 GMT", &t));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_answer_has_status_headers_and_body),
        CASE(calls_in_a_row_use_one_connection),
        CASE(an_error_status_is_an_answer),
        CASE(a_redirect_is_not_followed),
        CASE(an_answer_over_the_limit_is_not_read),
        CASE(a_reset_after_the_request_leaves_its_outcome_open),
        CASE(a_reset_within_the_body_does_not),
        CASE(the_deadline_ends_a_call),
        CASE(somebody_who_cancels_does_not_wait),
        CASE(nobody_there_is_transient),
        CASE(an_unknown_name_is_transient),
        CASE(a_server_without_tls_is_no_https_server),
        CASE(refused_addresses_are_not_connected_to),
        CASE(reads_dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
