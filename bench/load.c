/* A load generator for capture: keep-alive connections, one request in flight on each, fresh uuids
 * in every event (repeated ones would time the deduplication).
 *
 *   load PORT --connections N --seconds S --batch B --tokens T1,T2,.. [--path /batch/]
 *        [--event-bytes N] [--people N [--walk 1] [--plain 1] [--events N]]
 *
 * With --people each event is somebody's: drawn, or (walk) one after the other. Of ten events three
 * set a property and seven are of a session; plain: of the same bytes, but none of it means
 * anything. Ends after --events events, if that is sooner.
 *
 * Prints one JSON object: requests, events, errors, seconds, rates, latency quantiles in
 * microseconds, and its own CPU seconds. Talks to 127.0.0.1 only. One thread: the measured server
 * has the other core.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_TOKENS = 256, EVENT_ROOM = 2048, LATENCY_BUCKETS = 400, EPOCH_S = 10 };

struct options {
    int port, connections, batch, tokens, event_bytes;
    int people, walk, plain;
    uint64_t events;
    double seconds;
    const char *path;
    char *token[MAX_TOKENS];
};

struct places {
    size_t uuid, person, session, set; /* 0: it has none */
};

struct connection {
    int fd;
    char *request;
    size_t request_n, sent;
    struct places *events; /* where each event's changing parts stand in request */
    char answer[4096];
    size_t answer_n;
    int64_t began_us;
};

struct totals {
    uint64_t requests, events, errors;
    uint64_t latency[LATENCY_BUCKETS]; /* 8 buckets a doubling of microseconds */
    int64_t slowest_us;
};

static int64_t now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* splitmix64: any fresh number will do. */
static uint64_t next_random(void)
{
    static uint64_t state;

    if (state == 0)
        state = (uint64_t)now_us() * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)getpid();
    state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* A version 4 uuid, 36 characters. */
static void put_uuid(char *at)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t word = 0;

    for (int i = 0, digits = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            continue;
        if (digits++ % 16 == 0)
            word = next_random();
        at[i] = i == 14 ? '4' : i == 19 ? 'a' : hex[word & 15];
        word >>= 4;
    }
}

#define SESSION "0192f3a1" /* the first digits of the session ids of 2024 */

static size_t put_event(const struct options *o, char *at, int n)
{
    const char *set = o->people > 0 && n % 10 < 3 ? (o->plain ? "aset" : "$set") : NULL;
    const char *session = o->people == 0 ? "$session_id"
                          : n % 10 >= 7  ? NULL
                          : o->plain     ? "asession_id"
                                         : "$session_id";
    int used = snprintf(
        at, EVENT_ROOM,
        "{\"event\":\"$pageview\",\"uuid\":\"00000000-0000-4000-a000-000000000000\","
        "\"distinct_id\":\"user-%07d\",\"timestamp\":\"2026-11-20T12:00:00.123Z\","
        "\"properties\":{\"$current_url\":\"https://shop.example.com/cart/%d?a=b\","
        "\"$browser\":\"Firefox\",\"$browser_version\":131,\"$os\":\"Linux\",\"price\":54.10,",
        n % 5000, n % 10);

    if (o->plain)
        used += sprintf(at + used, "\"$process_person_profile\":false,");
    if (session != NULL)
        used += sprintf(at + used, "\"%s\":\"" SESSION "-0000-7000-8000-%012d\",", session, n);
    if (set != NULL)
        used += sprintf(at + used, "\"%s\":{\"plan\":\"p%07d\",\"seats\":5},", set, n);
    used += sprintf(at + used, "\"list\":[1,2,3,null,true],\"text\":\"");
    for (; used < o->event_bytes - 3; used++)
        at[used] = "lorem ipsum dolor sit amet "[used % 27];
    memcpy(at + used, "\"}}", 3);
    at[used + 3] = '\0';
    return (size_t)used + 3;
}

static size_t place_of(const char *request, const char *event, const char *what)
{
    const char *p = strstr(event, what);

    return p == NULL ? 0 : (size_t)(p - request) + strlen(what);
}

static struct places places_of(const struct options *o, const char *request, const char *event)
{
    struct places p = { .uuid = place_of(request, event, "\"uuid\":\"") };

    if (o->people > 0) {
        p.person = place_of(request, event, "\"distinct_id\":\"user-");
        p.session = place_of(request, event, "session_id\":\"" SESSION);
        p.session -= p.session == 0 ? 0 : sizeof(SESSION) - 1;
        p.set = place_of(request, event, "set\":{\"plan\":\"p");
    }
    return p;
}

static void put_digits(char *at, int n, uint64_t value)
{
    while (n-- > 0) {
        at[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

static void make_request(const struct options *o, struct connection *c, int n)
{
    char *body = malloc((size_t)o->batch * EVENT_ROOM + 512);
    struct places *places = malloc((size_t)o->batch * sizeof(*places));
    size_t *at = malloc((size_t)o->batch * sizeof(*at));
    size_t used = (size_t)sprintf(body, "{\"api_key\":\"%s\",\"batch\":[", o->token[n % o->tokens]);

    for (int i = 0; i < o->batch; i++) {
        if (i > 0)
            body[used++] = ',';
        at[i] = used;
        used += put_event(o, body + used, n * o->batch + i);
    }
    used += (size_t)sprintf(body + used, "]}");

    c->request = malloc(used + 513);
    int head = sprintf(c->request,
                       "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       o->path, used);
    memcpy(c->request + head, body, used);
    c->request_n = (size_t)head + used;
    c->request[c->request_n] = '\0';
    for (int i = 0; i < o->batch; i++) {
        char *end = c->request + head + (i + 1 < o->batch ? at[i + 1] : used - 2);
        char kept = *end;
        *end = '\0'; /* each event is looked into on its own */
        places[i] = places_of(o, c->request, c->request + head + at[i]);
        *end = kept;
    }
    c->events = places;
    free(at);
    free(body);
}

static int connect_to(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        fail("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Sends what is left; false when the socket is full. */
static bool push(struct connection *c)
{
    while (c->sent < c->request_n) {
        ssize_t n = send(c->fd, c->request + c->sent, c->request_n - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0)
            fail("send");
        c->sent += (size_t)n;
    }
    return true;
}

/* UUIDv7, as browsers make them: the first 48 bits are the milliseconds at which the session began.
 * Everybody begins one in the course of each epoch; it lasts until the next. */
static void put_session(const struct options *o, char *at, uint64_t person, int64_t epoch)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t ms = UINT64_C(0x0192f3a10000) + (uint64_t)epoch * EPOCH_S * 1000 +
                  person * EPOCH_S * 1000 / (uint64_t)o->people;

    for (int i = 12; i >= 0; i--) {
        if (i == 8)
            continue;
        at[i] = hex[ms & 15];
        ms >>= 4;
    }
    put_digits(at + sizeof("00000000-0000-7000-8000-") - 1, 12, person);
}

/* A new event: its uuid, and whose it is. */
static void refresh(const struct options *o, char *request, const struct places *p, int64_t epoch)
{
    static uint64_t walked;

    put_uuid(request + p->uuid);
    if (o->people == 0)
        return;
    uint64_t person = (o->walk ? walked++ : next_random()) % (uint64_t)o->people;
    put_digits(request + p->person, 7, person);
    if (p->session != 0)
        put_session(o, request + p->session, person, epoch);
    if (p->set != 0)
        put_digits(request + p->set, 7, next_random() % 10000000);
}

static void start(const struct options *o, struct connection *c)
{
    for (int i = 0; i < o->batch; i++)
        refresh(o, c->request, &c->events[i], c->began_us / (EPOCH_S * 1000000));
    c->sent = 0;
    c->answer_n = 0;
    c->began_us = now_us();
    (void)push(c);
}

/* The answer is whole: headers and as many body bytes as they say. */
static bool whole(const struct connection *c)
{
    const char *end = memmem(c->answer, c->answer_n, "\r\n\r\n", 4);

    if (end == NULL)
        return false;
    const char *length = memmem(c->answer, c->answer_n, "ontent-Length:", 14);
    if (length == NULL)
        length = memmem(c->answer, c->answer_n, "ontent-length:", 14);
    size_t body = length == NULL || length > end ? 0 : strtoul(length + 14, NULL, 10);
    return c->answer_n >= (size_t)(end + 4 - c->answer) + body;
}

static int bucket_of(int64_t us)
{
    int log2 = 63 - __builtin_clzll((uint64_t)us | 8);
    int bucket = log2 * 8 + (int)((us >> (log2 - 3)) & 7);

    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static int64_t bucket_us(int bucket)
{
    return ((int64_t)8 + bucket % 8) << (bucket / 8 - 3);
}

static void finish(const struct options *o, struct connection *c, struct totals *t)
{
    int64_t took = now_us() - c->began_us;

    t->requests++;
    if (memcmp(c->answer, "HTTP/1.1 200", 12) == 0)
        t->events += (uint64_t)o->batch;
    else
        t->errors++;
    t->latency[bucket_of(took)]++;
    if (took > t->slowest_us)
        t->slowest_us = took;
}

static int64_t quantile(const struct totals *t, double q)
{
    uint64_t left = (uint64_t)((double)t->requests * q);

    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        if (t->latency[i] > left)
            return bucket_us(i);
        left -= t->latency[i];
    }
    return t->slowest_us;
}

static void receive(const struct options *o, struct connection *c, struct totals *t, bool *going)
{
    ssize_t n = recv(c->fd, c->answer + c->answer_n, sizeof(c->answer) - c->answer_n, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        fail("the server closed a connection");
    }
    c->answer_n += (size_t)n;
    if (!whole(c))
        return;
    finish(o, c, t);
    if (*going)
        start(o, c);
}

static void drive(const struct options *o, struct totals *t)
{
    struct connection *all = calloc((size_t)o->connections, sizeof(*all));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t began = now_us();
    bool going = true;

    for (int i = 0; i < o->connections; i++) {
        make_request(o, &all[i], i);
        all[i].fd = connect_to(o->port);
        struct epoll_event want = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &all[i] };
        (void)epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &want);
    }
    for (int i = 0; i < o->connections; i++)
        start(o, &all[i]);
    while (going) {
        struct epoll_event ready[256];
        int n = epoll_wait(epoll, ready, 256, 100);

        going = now_us() - began < (int64_t)(o->seconds * 1e6) &&
                (o->events == 0 || t->events < o->events);
        for (int i = 0; i < n; i++) {
            struct connection *c = ready[i].data.ptr;
            if ((ready[i].events & EPOLLOUT) != 0)
                (void)push(c);
            if ((ready[i].events & EPOLLIN) != 0)
                receive(o, c, t, &going);
        }
    }
    double seconds = (double)(now_us() - began) / 1e6;
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"requests\": %llu, \"events\": %llu, \"errors\": %llu, \"seconds\": %.3f, "
           "\"requests_per_s\": %.0f, \"events_per_s\": %.0f, \"p50_us\": %lld, \"p99_us\": %lld, "
           "\"max_us\": %lld, \"load_cpu_s\": %.2f}\n",
           (unsigned long long)t->requests, (unsigned long long)t->events,
           (unsigned long long)t->errors, seconds, (double)t->requests / seconds,
           (double)t->events / seconds, (long long)quantile(t, 0.5), (long long)quantile(t, 0.99),
           (long long)t->slowest_us, cpu);
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){
        .connections = 64, .batch = 1, .seconds = 5, .path = "/batch/", .event_bytes = 900
    };
    if (argc < 2)
        exit(2);
    o->port = atoi(argv[1]);
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--connections") == 0)
            o->connections = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--batch") == 0)
            o->batch = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--path") == 0)
            o->path = argv[i + 1];
        else if (strcmp(argv[i], "--event-bytes") == 0)
            o->event_bytes = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--people") == 0)
            o->people = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--walk") == 0)
            o->walk = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--plain") == 0)
            o->plain = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--events") == 0)
            o->events = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--tokens") == 0)
            for (char *t = strtok(argv[i + 1], ","); t != NULL && o->tokens < MAX_TOKENS;
                 t = strtok(NULL, ","))
                o->token[o->tokens++] = t;
        else
            exit(2);
    }
    if (o->tokens == 0)
        o->token[o->tokens++] = "test";
    if (o->event_bytes > EVENT_ROOM - 64)
        o->event_bytes = EVENT_ROOM - 64;
}

int main(int argc, char **argv)
{
    struct options o;
    struct totals t = { 0 };

    parse(argc, argv, &o);
    drive(&o, &t);
    return t.errors == 0 ? 0 : 1;
}
