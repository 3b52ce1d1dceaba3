/* The intake behind a real HTTP server, before a store that does what the test says: it is the only
 * user of tr_store_submit and tr_store_status, which are defined here. */
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#include "base/metric.h"
#include "intake/intake.h"
#include "os/clock.h"
#include "os/thread.h"

/* ---- the store ---- */

enum mode { STORES, BUSY, NOT_READY, FULL, KEEPS };

static struct tr_store {
    struct tr_monitor monitor;
    pthread_t thread;
    enum mode mode;
    bool stop;
    struct tr_group *first, **last;
    int groups, events, refused_events, submits;
    uint32_t next_outcome;
    char distinct_ids[4096]; /* of the stored events, each with a blank behind it */
} S;

enum tr_rc tr_store_submit(struct tr_store *s, struct tr_group *g, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    tr_monitor_enter(&s->monitor);
    s->submits++;
    if (s->mode == BUSY) {
        rc = tr_fail(err, TR_THROTTLED, "store.busy", NULL, "the queue is full");
    } else if (s->mode == NOT_READY) {
        rc = tr_fail(err, TR_TRANSIENT, "store.not_ready", NULL, "the clock jumped");
    } else {
        g->next = NULL;
        *s->last = g;
        s->last = &g->next;
        tr_monitor_tell(&s->monitor);
    }
    tr_monitor_leave(&s->monitor);
    return rc;
}

void tr_store_status(struct tr_store *s, struct tr_store_status *ret)
{
    *ret = (struct tr_store_status){ .ready = s->mode != NOT_READY };
    if (!ret->ready) {
        ret->not_ready_why = "the clock jumped";
        ret->not_ready_hint = "say that it is right";
    }
}

static void store_one(struct tr_store *s, struct tr_group *g)
{
    for (size_t i = 0; i < g->n_events; i++) {
        struct tr_event e;

        assert_true(tr_event_unpack(g->rows.p + g->events[i].at, g->rows.n - g->events[i].at, &e));
        g->events[i].outcome = s->next_outcome;
        if (strlen(s->distinct_ids) + e.distinct_id.n + 2 < sizeof(s->distinct_ids)) {
            strncat(s->distinct_ids, e.distinct_id.p, e.distinct_id.n);
            strcat(s->distinct_ids, " ");
        }
    }
    s->events += (int)g->n_events;
    for (size_t i = 0; i < g->n_refused; i++)
        s->refused_events += (int)g->refused[i].events;
    s->groups++;
}

static void *writer_main(void *arg)
{
    struct tr_store *s = arg;

    tr_monitor_enter(&s->monitor);
    while (!s->stop || s->first != NULL) {
        if (s->first == NULL || (s->mode == KEEPS && !s->stop)) {
            (void)tr_monitor_wait(&s->monitor, -1);
            continue;
        }
        struct tr_group *g = s->first;
        s->first = g->next;
        if (s->first == NULL)
            s->last = &s->first;
        bool full = s->mode == FULL;
        if (!full)
            store_one(s, g);
        tr_monitor_leave(&s->monitor);
        struct tr_err err = { 0 };
        if (full)
            (void)tr_fail(&err, TR_THROTTLED, "store.full", NULL, "the disk is full");
        g->done(g, err.rc, &err);
        tr_monitor_enter(&s->monitor);
    }
    tr_monitor_leave(&s->monitor);
    return NULL;
}

static void store_mode(enum mode mode)
{
    tr_monitor_enter(&S.monitor);
    S.mode = mode;
    tr_monitor_tell(&S.monitor);
    tr_monitor_leave(&S.monitor);
}

static int store_count(const int *what)
{
    tr_monitor_enter(&S.monitor);
    int n = *what;
    tr_monitor_leave(&S.monitor);
    return n;
}

/* ---- the server ---- */

static struct tr_intake *intake;
static struct tr_http_server *server;
static struct tr_budget budget;
static int64_t grace_us;
static int port;

static enum tr_rc loop_start(void *self, struct tr_http_loop *loop, void **ret, struct tr_err *err)
{
    return tr_intake_loop_start(self, loop, ret, err);
}

static void loop_stop(void *self, void *state)
{
    tr_intake_loop_stop(self, state);
}

static size_t headers(void *self, void *state, struct tr_http_request *req)
{
    return tr_intake_headers(self, state, req);
}

static void too_bad(void *self, const struct tr_http_request *req, int status, struct tr_buf *out,
                    struct tr_http_response *ret)
{
    tr_intake_too_bad(self, req, status, out, ret);
}

static void request(void *self, void *state, struct tr_http_request *req)
{
    tr_intake_request(self, state, req);
}

static void turn_end(void *self, void *state)
{
    tr_intake_turn_end(self, state);
}

static int start(void **state)
{
    static const struct tr_intake_token tokens[] = { { "phc_one", 1 }, { "phc_two", 2 } };
    struct tr_intake_options o = { .store = &S,
                                   .bodies = &budget,
                                   .max_batch_bytes = 1 << 20,
                                   .max_single_bytes = 100 << 10,
                                   .max_event_bytes = 50000,
                                   .max_ai_event_bytes = 400000,
                                   .hold_us = 600000,
                                   .trusted_proxies = "127.0.0.0/8" };
    struct tr_http_options h;
    struct tr_err err = { 0 };

    (void)state;
    memset(&S, 0, sizeof(S));
    S.last = &S.first;
    grace_us = 2000000;
    tr_monitor_init(&S.monitor);
    assert_int_equal(tr_thread_start(&S.thread, "writer", writer_main, &S, &err), TR_OK);
    tr_budget_init(&budget, 4 << 20);
    assert_int_equal(tr_intake_new(&o, &intake, &err), TR_OK);
    assert_int_equal(tr_intake_set_tokens(intake, tokens, 2, &err), TR_OK);
    tr_http_options_default(&h);
    h.listen = "127.0.0.1:0";
    h.loops = 1;
    h.bodies = &budget;
    h.hold_us = 600000;
    h.body_timeout_us = 300000;
    struct tr_http_handler handler = { .loop_start = loop_start,
                                       .loop_stop = loop_stop,
                                       .headers = headers,
                                       .too_bad = too_bad,
                                       .request = request,
                                       .turn_end = turn_end,
                                       .self = intake };
    assert_int_equal(tr_http_start(&h, &handler, &server, &err), TR_OK);
    port = tr_http_port(server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    tr_http_stop(server, grace_us);
    tr_monitor_enter(&S.monitor);
    S.stop = true;
    tr_monitor_tell(&S.monitor);
    tr_monitor_leave(&S.monitor);
    (void)pthread_join(S.thread, NULL);
    tr_intake_free(intake);
    assert_int_equal(atomic_load(&budget.used), 0);
    return 0;
}

/* ---- a client ---- */

static int dial(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { .tv_sec = 10 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void send_all(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

struct answer {
    int status;
    char head[4096];
    char body[32768];
};

static void hear(int fd, struct answer *a)
{
    size_t n = 0;

    memset(a, 0, sizeof(*a));
    while (n < 4 || memcmp(a->head + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(n < sizeof(a->head) - 1);
        assert_int_equal(recv(fd, a->head + n, 1, 0), 1);
        n++;
    }
    assert_int_equal(sscanf(a->head, "HTTP/1.1 %d", &a->status), 1);
    const char *at = strstr(a->head, "Content-Length: ");
    size_t length = at == NULL ? 0 : strtoul(at + 16, NULL, 10);
    assert_true(length < sizeof(a->body));
    for (size_t got = 0; got < length;) {
        ssize_t r = recv(fd, a->body + got, length - got, 0);
        assert_true(r > 0);
        got += (size_t)r;
    }
}

/* method and path, more header lines, body */
static void ask(int fd, const char *what, const char *lines, const void *body, size_t n)
{
    char head[2048];

    int len = snprintf(head, sizeof(head),
                       "%s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n", what, lines, n);
    send_all(fd, head, (size_t)len);
    if (n > 0)
        send_all(fd, body, n);
}

static void ask_text(int fd, const char *what, const char *lines, const char *body)
{
    ask(fd, what, lines, body, strlen(body));
}

static void once(struct answer *a, const char *what, const char *lines, const char *body)
{
    int fd = dial();

    ask_text(fd, what, lines, body);
    hear(fd, a);
    (void)close(fd);
}

static const char one_event[] =
    "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"e\",\"distinct_id\":\"d1\"}]}";

/* One good event and one without a distinct_id. */
static const char v1_events[] =
    "{\"created_at\":\"2026-01-01T00:00:00Z\",\"batch\":["
    "{\"event\":\"a\",\"uuid\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"distinct_id\":\"d\","
    "\"timestamp\":\"2026-01-01T00:00:00Z\",\"options\":{},\"properties\":{}},"
    "{\"event\":\"b\",\"uuid\":\"01890a5d-ac96-774b-bcce-b302099a8058\",\"distinct_id\":\"\","
    "\"timestamp\":\"2026-01-01T00:00:00Z\",\"options\":{},\"properties\":{}}]}";

/* ---- cases ---- */

static const struct answer_case {
    const char *name;
    const char *what;
    const char *lines;
    const char *body;
    int status;
    const char *says; /* in the body */
    int events;       /* that reach the store */
} answer_cases[] = {
    { "a batch", "POST /batch/", "", one_event, 200, "{\"status\":\"Ok\"}", 1 },
    { "a batch without the slash", "POST /batch", "", one_event, 200, "{\"status\":\"Ok\"}", 1 },
    { "the browser's way", "POST /e/?ip=0&_=1700000000000", "Content-Type: text/plain\r\n",
      one_event, 200, "{\"status\":\"Ok\"}", 1 },
    { "a beacon", "POST /e/?beacon=1", "", one_event, 204, "", 1 },
    { "events in the query",
      "GET /e?data=%7B%22token%22%3A%22phc_two%22%2C%22event%22%3A%22e%22%2C%22distinct_id%22%3A"
      "%22d%22%7D",
      "", "", 200, "{\"status\":\"Ok\"}", 1 },
    { "no token", "POST /batch/", "", "{\"batch\":[{\"event\":\"e\",\"distinct_id\":\"d\"}]}", 401,
      "", 0 },
    { "nobody's token", "POST /batch/", "",
      "{\"api_key\":\"phc_x\",\"batch\":[{\"event\":\"e\",\"distinct_id\":\"d\"}]}", 401, "", 0 },
    { "no JSON", "POST /batch/", "", "nonsense", 400, "", 0 },
    { "an event without a name", "POST /batch/", "",
      "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"e\",\"distinct_id\":\"d\"},{}]}", 400, "",
      0 },
    { "another method", "PUT /batch/", "", one_event, 405, "", 0 },
    { "recordings", "POST /s/", "", "anything", 200, "{\"status\":\"Ok\"}", 0 },
    { "logs", "POST /i/v1/logs", "", "anything", 200, "", 0 },
    { "the configuration", "GET /array/phc_one/config", "", "", 200,
      "\"autocapture_opt_out\":false", 0 },
    { "the configuration as a script", "GET /array/phc_one/config.js", "", "", 200,
      "_POSTHOG_REMOTE_CONFIG", 0 },
    { "the configuration of nobody", "GET /array/phc_x/config", "", "", 404, "token", 0 },
    { "flags", "POST /flags/?v=2", "", "{}", 200, "\"featureFlags\":{}", 0 },
    { "flags with the configuration", "POST /flags/?v=2&config=true", "", "{}", 200,
      "\"autocapture_opt_out\":false", 0 },
    { "decide", "POST /decide/?v=3", "", "{}", 200, "\"featureFlags\":{}", 0 },
    { "surveys", "GET /api/surveys/?token=phc_one", "", "", 200, "{\"surveys\":[]}", 0 },
    { "early access features", "GET /api/early_access_features/?token=phc_one", "", "", 200,
      "{\"earlyAccessFeatures\":[]}", 0 },
    { "web experiments", "GET /api/web_experiments/?token=phc_one", "", "", 200,
      "{\"experiments\":[]}", 0 },
    { "product tours", "GET /api/product_tours/?token=phc_one", "", "", 200,
      "{\"product_tours\":[]}", 0 },
    { "traces", "POST /i/v1/traces", "", "anything", 200, "", 0 },
    { "AI events", "POST /i/v0/ai/batch/", "",
      "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"$ai_span\",\"distinct_id\":\"d\"}]}", 200,
      "{\"status\":\"Ok\"}", 1 },
    { "another event among AI events", "POST /i/v0/ai/batch/", "", one_event, 400, "is no AI event",
      0 },
    { "AI events, version 1", "POST /i/v1/ai/events", "Authorization: Bearer phc_one\r\n",
      "{\"batch\":[{\"event\":\"$ai_span\",\"distinct_id\":\"d\","
      "\"uuid\":\"01890a5d-ac96-774b-bcce-b302099a8059\"}]}",
      200, "\"result\":\"ok\"", 1 },
    { "flag definitions", "GET /flags/definitions?token=phc_one", "", "", 200, "\"flags\":[]", 0 },
    { "the library", "GET /static/array.js", "", "", 404, "npm", 0 },
    { "the root", "GET /", "", "", 200, "tailrace", 0 },
    { "alive", "GET /_liveness", "", "", 200, "alive", 0 },
    { "ready", "GET /_readiness", "", "", 200, "ready", 0 },
    { "metrics", "GET /metrics", "", "", 200, "tailrace_events_total{outcome=\"stored\"}", 0 },
    { "preflight", "OPTIONS /batch/", "Access-Control-Request-Headers: content-type\r\n", "", 200,
      "", 0 },
};

static void every_route_answers(void **state)
{
    struct answer a;
    int events = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(answer_cases) / sizeof(answer_cases[0]); i++) {
        const struct answer_case *c = &answer_cases[i];
        char lines[512];

        print_message("  %s\n", c->name);
        (void)snprintf(lines, sizeof(lines), "Origin: https://shop.example\r\n%s", c->lines);
        once(&a, c->what, lines, c->body);
        assert_int_equal(a.status, c->status);
        assert_non_null(strstr(a.body, c->says));
        assert_non_null(strstr(a.head, "Access-Control-Allow-Origin: https://shop.example\r\n"));
        if (a.status >= 400)
            assert_non_null(strstr(a.head, "Content-Type: text/plain"));
        events += c->events;
        assert_int_equal(store_count(&S.events), events);
    }
    assert_int_equal(tr_metric_value("tailrace_capture_requests_total{route=\"single\"}"), 3);
}

#define PERF "{\"event\":\"$performance_event\",\"distinct_id\":\"d\"}"
#define V1_EVENT(name, distinct_id)                                                                \
    "{\"created_at\":\"2026-01-01T00:00:00Z\",\"batch\":[{\"event\":\"" name                       \
    "\",\"uuid\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"distinct_id\":\"" distinct_id          \
    "\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"options\":{},\"properties\":{}}]}"

/* Requests that leave nothing to store, on every route that captures: each has its answer, though
 * no group ever goes to the store for it. */
static const struct answer_case nothing_cases[] = {
    { "dropped by rule, no token", "POST /e/", "", "{\"event\":\"$performance_event\"}", 200, "Ok",
      0 },
    { "dropped by rule", "POST /e/", "",
      "{\"api_key\":\"phc_one\","
      "\"batch\":[" PERF "]}",
      200, "Ok", 0 },
    { "a beacon of nothing", "POST /e/?beacon=1", "", "{\"event\":\"$performance_event\"}", 204, "",
      0 },
    { "the older routes", "POST /capture/", "", "{\"event\":\"$performance_event\"}", 200, "Ok",
      0 },
    { "one event of the newer route", "POST /i/v0/e/", "", "{\"event\":\"$performance_event\"}",
      200, "Ok", 0 },
    { "track", "POST /track/", "", "{\"event\":\"$performance_event\"}", 200, "Ok", 0 },
    { "engage", "POST /engage/", "", "{\"event\":\"$performance_event\"}", 200, "Ok", 0 },
    { "in the query",
      "GET /e?data=%7B%22event%22%3A%22%24performance_event%22%2C%22distinct_id%22%3A%22d%22%7D",
      "", "", 200, "Ok", 0 },
    { "a list of several", "POST /e/", "", "[" PERF "," PERF "]", 200, "Ok", 0 },
    { "a batch of several", "POST /batch/", "",
      "{\"api_key\":\"phc_one\",\"batch\":[" PERF "," PERF "]}", 200, "Ok", 0 },
    { "an empty batch", "POST /batch/", "", "{\"api_key\":\"phc_one\",\"batch\":[]}", 0, "", 0 },
    { "an empty list", "POST /e/", "", "[]", 0, "", 0 },
    { "an empty body", "POST /e/", "", "", 0, "", 0 },
    { "v1: dropped by rule", "POST /i/v1/analytics/events", "Authorization: Bearer phc_one\r\n",
      V1_EVENT("$performance_event", "d"), 200, "\"results\"", 0 },
    { "v1: refused", "POST /i/v1/analytics/events", "Authorization: Bearer phc_one\r\n",
      V1_EVENT("e", ""), 200, "\"drop\"", 0 },
    { "v1: an empty batch", "POST /i/v1/analytics/events", "Authorization: Bearer phc_one\r\n",
      "{\"created_at\":\"2026-01-01T00:00:00Z\",\"batch\":[]}", 0, "", 0 },
};

static void what_leaves_nothing_to_store_is_answered_at_once(void **state)
{
    struct answer a;

    (void)state;
    store_mode(KEEPS); /* nor does it wait for what others sent */
    for (size_t i = 0; i < sizeof(nothing_cases) / sizeof(nothing_cases[0]); i++) {
        const struct answer_case *c = &nothing_cases[i];

        print_message("  %s\n", c->name);
        once(&a, c->what, c->lines, c->body);
        if (c->status != 0)
            assert_int_equal(a.status, c->status);
        assert_in_range(a.status, 200, 499);
        assert_non_null(strstr(a.body, c->says));
    }
    store_mode(STORES);
    assert_int_equal(store_count(&S.events), 0);
}

static void refused_events_and_unknown_tokens_are_counted(void **state)
{
    struct tr_intake_unknown unknown[4];
    struct answer a;

    (void)state;
    once(&a, "POST /i/v1/analytics/events", "Authorization: Bearer phc_one\r\n", v1_events);
    assert_int_equal(a.status, 200);
    assert_int_equal(store_count(&S.events), 1);
    assert_int_equal(store_count(&S.refused_events), 1);

    once(&a, "POST /e/", "", "{\"api_key\":\"phc_nobody\",\"event\":\"e\",\"distinct_id\":\"d\"}");
    assert_int_equal(a.status, 401);
    assert_int_equal(tr_intake_unknown_tokens(intake, unknown, 4), 1);
    assert_string_equal(unknown[0].token, "phc_nobody");
}

static void compressed_bodies(void **state)
{
    unsigned char gz[1000];
    struct answer a;
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)one_event,
                   .avail_in = sizeof(one_event) - 1,
                   .next_out = gz,
                   .avail_out = sizeof(gz) };

    (void)state;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&z);
    int fd = dial();
    ask(fd, "POST /e/", "Content-Type: text/plain\r\n", gz, z.total_out); /* nothing announces it */
    hear(fd, &a);
    assert_int_equal(a.status, 200);
    (void)close(fd);
    assert_int_equal(store_count(&S.events), 1);
}

static void many_requests_become_few_groups(void **state)
{
    enum { N = 50 };
    int fd[N];
    struct answer a;

    (void)state;
    store_mode(KEEPS);
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        char body[200];
        (void)snprintf(body, sizeof(body),
                       "{\"api_key\":\"phc_one\",\"event\":\"e\",\"distinct_id\":\"d%d\"}", i);
        ask_text(fd[i], "POST /e/", "", body);
    }
    tr_clock_sleep_us(50000);
    store_mode(STORES);
    for (int i = 0; i < N; i++) {
        hear(fd[i], &a);
        assert_int_equal(a.status, 200);
        (void)close(fd[i]);
    }
    assert_int_equal(store_count(&S.events), N);
    for (int i = 0; i < N; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "d%d ", i);
        assert_non_null(strstr(S.distinct_ids, id));
    }
}

static void duplicates_are_answered_200_too(void **state)
{
    struct answer a;
    int64_t before = tr_metric_value("tailrace_events_total{outcome=\"duplicate\"}");

    (void)state;
    S.next_outcome = TR_EVENT_DUPLICATE;
    once(&a, "POST /batch/", "", one_event);
    assert_int_equal(a.status, 200);
    assert_int_equal(tr_metric_value("tailrace_events_total{outcome=\"duplicate\"}"), before + 1);
}

static void a_busy_store_holds_requests_until_it_has_room(void **state)
{
    struct answer a;
    int fd[10];

    (void)state;
    store_mode(BUSY);
    for (int i = 0; i < 10; i++) {
        fd[i] = dial();
        ask_text(fd[i], "POST /batch/", "", one_event);
        tr_clock_sleep_us(2000);
    }
    once(&a, "GET /_liveness", "", ""); /* others are not behind it */
    assert_int_equal(a.status, 200);
    tr_clock_sleep_us(50000);
    assert_int_equal(store_count(&S.events), 0);
    store_mode(STORES);
    for (int i = 0; i < 10; i++) {
        hear(fd[i], &a);
        assert_int_equal(a.status, 200);
        (void)close(fd[i]);
    }
    assert_int_equal(store_count(&S.events), 10);
}

static void a_store_that_stays_busy_gets_503_after_the_hold(void **state)
{
    struct answer a;
    int fd[10];

    (void)state;
    store_mode(BUSY);
    int64_t before = tr_clock_boot_us();
    for (int i = 0; i < 10; i++) {
        fd[i] = dial();
        ask_text(fd[i], "POST /batch/", "Origin: https://x\r\n", one_event);
        tr_clock_sleep_us(2000);
    }
    for (int i = 0; i < 10; i++) {
        hear(fd[i], &a);
        assert_int_equal(a.status, 503);
        assert_non_null(strstr(a.head, "Retry-After: "));
        assert_non_null(strstr(a.head, "Access-Control-Allow-Origin: https://x\r\n"));
    }
    /* Each was held about as long as it should be, none twice as long. */
    assert_in_range(tr_clock_boot_us() - before, 580000, 1150000);
    assert_true(store_count(&S.submits) > 10);
    store_mode(STORES);
    for (int i = 0; i < 10; i++) { /* the connections are good */
        ask_text(fd[i], "POST /batch/", "", one_event);
        hear(fd[i], &a);
        assert_int_equal(a.status, 200);
        (void)close(fd[i]);
    }
    assert_int_equal(store_count(&S.events), 10);
}

static void a_full_or_unready_store_is_503_at_once(void **state)
{
    struct answer a;

    (void)state;
    store_mode(FULL);
    once(&a, "POST /batch/", "", one_event);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.head, "Retry-After: "));
    assert_non_null(strstr(a.body, "the disk is full"));
    store_mode(NOT_READY);
    once(&a, "POST /batch/", "", one_event);
    assert_int_equal(a.status, 503);
    once(&a, "GET /_readiness", "", "");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "the clock jumped; say that it is right"));
    once(&a, "GET /_liveness", "", "");
    assert_int_equal(a.status, 200);
    assert_int_equal(store_count(&S.events), 0);
}

/* A batch of about n bytes. */
static char *large_batch(size_t n, size_t *ret_n)
{
    char *body = malloc(n + 20000);
    size_t at = (size_t)sprintf(body, "{\"api_key\":\"phc_one\",\"batch\":[");

    while (at < n)
        at += (size_t)sprintf(
            body + at,
            "%s{\"event\":\"e\",\"distinct_id\":\"d\",\"properties\":{\"p\":\"%09999d\"}}",
            at > 100 ? "," : "", 1);
    at += (size_t)sprintf(body + at, "]}");
    *ret_n = at;
    return body;
}

static void too_large_is_413_with_cors_and_the_connection_stays(void **state)
{
    struct answer a;
    size_t n;
    char *body = large_batch(2 << 20, &n);
    int fd = dial();

    (void)state;
    ask(fd, "POST /batch/", "Origin: https://x\r\n", body, n);
    hear(fd, &a);
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.head, "Access-Control-Allow-Origin: https://x\r\n"));
    assert_non_null(strstr(a.head, "Content-Type: text/plain"));
    ask_text(fd, "POST /batch/", "", one_event);
    hear(fd, &a);
    assert_int_equal(a.status, 200);
    (void)close(fd);
    free(body);

    fd = dial();
    static const char cut[] =
        "POST /e/ HTTP/1.1\r\nHost: h\r\nOrigin: https://x\r\nContent-Length: 9\r\n\r\nabc";
    send_all(fd, cut, sizeof(cut) - 1);
    hear(fd, &a);
    assert_int_equal(a.status, 408);
    assert_non_null(strstr(a.head, "Access-Control-Allow-Origin: https://x\r\n"));
    (void)close(fd);
}

static void an_ai_event_may_be_larger_than_others(void **state)
{
    struct answer a;
    size_t n = 90000;
    char *body = malloc(n + 200);

    (void)state;
    assert_non_null(body);
    int at = sprintf(body, "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"$ai_generation\","
                           "\"distinct_id\":\"d\",\"properties\":{\"$ai_input\":\"");
    memset(body + at, 'x', n);
    (void)strcpy(body + at + n, "\"}}]}");
    once(&a, "POST /batch/", "", body);
    assert_int_equal(a.status, 413);
    once(&a, "POST /i/v0/ai/batch/", "", body);
    assert_int_equal(a.status, 200);
    free(body);
    n = 450000;
    body = malloc(n + 200);
    assert_non_null(body);
    at = sprintf(body, "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"$ai_generation\","
                       "\"distinct_id\":\"d\",\"properties\":{\"$ai_input\":\"");
    memset(body + at, 'x', n);
    (void)strcpy(body + at + n, "\"}}]}");
    once(&a, "POST /i/v0/ai/batch/", "", body);
    assert_int_equal(a.status, 413);
    free(body);
}

static void large_bodies_share_the_budget_until_they_are_stored(void **state)
{
    enum { N = 12 };
    struct answer a;
    size_t n;
    char *body = large_batch(900 << 10, &n);
    int fd[N];

    (void)state;
    store_mode(KEEPS);
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        char head[200];
        (void)snprintf(head, sizeof(head),
                       "POST /batch/ HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);
        send_all(fd[i], head, strlen(head));
        /* What the server does not read yet must not block this thread. */
        int size = 4 << 20;
        (void)setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        send_all(fd[i], body, n);
    }
    /* The rows of those that were read stand in the budget; the others are not read. */
    for (int i = 0; i < 1000 && atomic_load(&budget.used) < 3 << 20; i++)
        tr_clock_sleep_us(10000);
    tr_clock_sleep_us(100000);
    assert_in_range(atomic_load(&budget.used), 3 << 20, 5 << 20);
    store_mode(STORES);
    int stored = 0;
    for (int i = 0; i < N; i++) {
        hear(fd[i], &a);
        assert_true(a.status == 200 || a.status == 503);
        stored += a.status == 200;
        (void)close(fd[i]);
    }
    assert_true(stored >= 4);
    free(body);
}

static void capture_v1_answers_per_event(void **state)
{
    struct answer a;

    (void)state;
    once(&a, "POST /i/v1/analytics/events",
         "Authorization: Bearer phc_one\r\nPostHog-Sdk-Info: posthog-node/5.70.0\r\n"
         "PostHog-Request-Id: 01890a5d-ac96-774b-bcce-000000000000\r\n",
         v1_events);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "PostHog-Request-Id: 01890a5d-ac96-774b-bcce-000000000000\r\n"));
    json_t *j = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    json_t *results = json_object_get(j, "results");
    assert_int_equal(json_object_size(results), 2);
    json_t *first = json_object_get(results, "01890a5d-ac96-774b-bcce-b302099a8057");
    json_t *second = json_object_get(results, "01890a5d-ac96-774b-bcce-b302099a8058");
    assert_string_equal(json_string_value(json_object_get(first, "result")), "ok");
    assert_string_equal(json_string_value(json_object_get(second, "result")), "drop");
    json_decref(j);
    assert_int_equal(store_count(&S.events), 1);

    once(&a, "POST /i/v1/analytics/events", "Authorization: Bearer phc_x\r\n", v1_events);
    assert_int_equal(a.status, 401);
    assert_non_null(strstr(a.body, "{\"error\":\""));
    store_mode(FULL);
    once(&a, "POST /i/v1/analytics/events", "Authorization: Bearer phc_one\r\n", v1_events);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "{\"error\":\""));
}

static void clients_that_leave_while_they_wait_do_no_harm(void **state)
{
    struct answer a;

    (void)state;
    store_mode(KEEPS);
    for (int i = 0; i < 5; i++) {
        int fd = dial();
        ask_text(fd, "POST /batch/", "", one_event);
        tr_clock_sleep_us(2000);
        (void)close(fd);
    }
    store_mode(BUSY);
    for (int i = 0; i < 5; i++) {
        int fd = dial();
        ask_text(fd, "POST /batch/", "", one_event);
        tr_clock_sleep_us(2000);
        (void)close(fd);
    }
    store_mode(STORES);
    once(&a, "POST /batch/", "", one_event);
    assert_int_equal(a.status, 200);
    assert_int_equal(store_count(&S.events), 11); /* stored all the same */
}

static void *store_later(void *arg)
{
    (void)arg;
    tr_clock_sleep_us(150000);
    store_mode(STORES);
    return NULL;
}

static void stopping_waits_for_what_the_store_has(void **state)
{
    struct tr_err err = { 0 };
    struct answer a;
    pthread_t thread;

    store_mode(KEEPS);
    int at_store = dial();
    ask_text(at_store, "POST /batch/", "", one_event);
    tr_clock_sleep_us(20000);
    assert_int_equal(tr_thread_start(&thread, "later", store_later, NULL, &err), TR_OK);
    grace_us = 10000; /* the store takes longer, but it has the events: they will be stored */
    assert_int_equal(stop(state), 0);
    (void)pthread_join(thread, NULL);
    hear(at_store, &a);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Connection: close\r\n"));
    (void)close(at_store);
    assert_int_equal(S.events, 1);
}

static void stopping_while_the_store_is_busy_answers_503(void **state)
{
    struct answer a;
    int fd[3];

    store_mode(BUSY);
    for (int i = 0; i < 3; i++) {
        fd[i] = dial();
        ask_text(fd[i], "POST /batch/", "", one_event);
        tr_clock_sleep_us(5000);
    }
    assert_int_equal(stop(state), 0);
    for (int i = 0; i < 3; i++) {
        hear(fd[i], &a);
        assert_int_equal(a.status, 503);
        (void)close(fd[i]);
    }
}

/* After a failed test the store may still be holding groups, and a stop would wait for them. */
static int rescue(void **state)
{
    store_mode(STORES);
    return stop(state);
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, start, rescue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(every_route_answers),
        WITH_SERVER(what_leaves_nothing_to_store_is_answered_at_once),
        WITH_SERVER(refused_events_and_unknown_tokens_are_counted),
        WITH_SERVER(compressed_bodies),
        WITH_SERVER(many_requests_become_few_groups),
        WITH_SERVER(duplicates_are_answered_200_too),
        WITH_SERVER(a_busy_store_holds_requests_until_it_has_room),
        WITH_SERVER(a_store_that_stays_busy_gets_503_after_the_hold),
        WITH_SERVER(a_full_or_unready_store_is_503_at_once),
        WITH_SERVER(too_large_is_413_with_cors_and_the_connection_stays),
        WITH_SERVER(large_bodies_share_the_budget_until_they_are_stored),
        WITH_SERVER(an_ai_event_may_be_larger_than_others),
        WITH_SERVER(capture_v1_answers_per_event),
        WITH_SERVER(clients_that_leave_while_they_wait_do_no_harm),
        cmocka_unit_test_setup(stopping_waits_for_what_the_store_has, start),
        cmocka_unit_test_setup(stopping_while_the_store_is_busy_answers_503, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
