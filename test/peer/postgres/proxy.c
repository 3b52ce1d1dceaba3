/* One thread, poll: pairs of sockets, bytes forwarded until a fault is due. Understands just enough
 * of the protocol (sslmode disable) to see a simple query that says COMMIT. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loader.h"
#include "server.h"

enum { MAX_PAIRS = 16, BUFFER = 65536 };

struct pair {
    int client, server;
    bool swallow; /* COMMIT went through: its answer does not */
};

struct proxy {
    pthread_t thread;
    int listener, port;
    atomic_int fault;
    atomic_bool stop;
    atomic_ullong to_server; /* bytes */
    struct pair pairs[MAX_PAIRS];
    char buffer[BUFFER];
};

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void close_one(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

static void close_pair(struct pair *p)
{
    close_one(p->client);
    close_one(p->server);
    *p = (struct pair){ -1, -1, false };
}

static void accept_one(struct proxy *x)
{
    struct sockaddr_in to = loopback(server_port());
    int client = accept(x->listener, NULL, NULL);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (client < 0 || server < 0 || connect(server, (struct sockaddr *)&to, sizeof(to)) != 0)
        abort();
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    for (size_t i = 0; i < MAX_PAIRS; i++) {
        if (x->pairs[i].client >= 0 || x->pairs[i].server >= 0)
            continue;
        x->pairs[i] = (struct pair){ client, server, false };
        return;
    }
    abort();
}

static bool is_commit(const char *p, size_t n)
{
    static const char message[] = "Q\0\0\0\x0b"
                                  "COMMIT";

    return n >= sizeof(message) && memcmp(p + n - sizeof(message), message, sizeof(message)) == 0;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        p += sent;
        n -= (size_t)sent;
    }
}

/* The client sees a reset; the server's end stays open until the proxy ends. */
static void cut_client(struct pair *p)
{
    struct linger now = { .l_onoff = 1 };

    (void)setsockopt(p->client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(p->client);
    p->client = -1;
}

static void forward(struct proxy *x, struct pair *p, bool from_client)
{
    ssize_t n = recv(from_client ? p->client : p->server, x->buffer, BUFFER, 0);
    int fault = atomic_load(&x->fault);

    if (n <= 0) {
        close_pair(p);
        return;
    }
    if (from_client && is_commit(x->buffer, (size_t)n)) {
        if (fault == PROXY_LOSE_COMMIT) {
            close_pair(p);
            return;
        }
        if (fault == PROXY_CUT_AT_COMMIT) {
            send_all(p->server, x->buffer, (size_t)n);
            cut_client(p);
            return;
        }
        p->swallow = fault == PROXY_LOSE_COMMIT_ANSWER;
    } else if (!from_client && p->swallow) {
        close_pair(p);
        return;
    } else if (p->client < 0) {
        return; /* what the server says to nobody */
    }
    if (from_client)
        atomic_fetch_add(&x->to_server, (unsigned long long)n);
    send_all(from_client ? p->server : p->client, x->buffer, (size_t)n);
}

static void *serve(void *arg)
{
    struct proxy *x = arg;

    while (!atomic_load(&x->stop)) {
        struct pollfd fds[1 + 2 * MAX_PAIRS] = { { .fd = x->listener, .events = POLLIN } };
        bool stalled = atomic_load(&x->fault) == PROXY_STALL;

        for (size_t i = 0; i < MAX_PAIRS; i++) {
            fds[1 + 2 * i] = (struct pollfd){ stalled ? -1 : x->pairs[i].client, POLLIN, 0 };
            fds[2 + 2 * i] = (struct pollfd){ stalled ? -1 : x->pairs[i].server, POLLIN, 0 };
        }
        if (poll(fds, 1 + 2 * MAX_PAIRS, 20) <= 0)
            continue;
        for (size_t i = 0; i < MAX_PAIRS; i++) {
            if (fds[1 + 2 * i].revents != 0)
                forward(x, &x->pairs[i], true);
            if (fds[2 + 2 * i].revents != 0 && x->pairs[i].server >= 0)
                forward(x, &x->pairs[i], false);
        }
        if (fds[0].revents != 0)
            accept_one(x);
    }
    return NULL;
}

struct proxy *proxy_start(void)
{
    struct proxy *x = calloc(1, sizeof(*x));
    struct sockaddr_in at = loopback(0);
    socklen_t n = sizeof(at);

    if (x == NULL)
        abort();
    for (size_t i = 0; i < MAX_PAIRS; i++)
        x->pairs[i] = (struct pair){ -1, -1, false };
    x->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (x->listener < 0 || bind(x->listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        listen(x->listener, 16) != 0 || getsockname(x->listener, (struct sockaddr *)&at, &n) != 0)
        abort();
    x->port = ntohs(at.sin_port);
    if (pthread_create(&x->thread, NULL, serve, x) != 0)
        abort();
    return x;
}

int proxy_port(const struct proxy *x)
{
    return x->port;
}

uint64_t proxy_sent(const struct proxy *x)
{
    return atomic_load(&x->to_server);
}

void proxy_set(struct proxy *x, enum proxy_fault fault)
{
    atomic_store(&x->fault, (int)fault);
}

void proxy_stop(struct proxy *x)
{
    atomic_store(&x->stop, true);
    (void)pthread_join(x->thread, NULL);
    for (size_t i = 0; i < MAX_PAIRS; i++)
        close_pair(&x->pairs[i]);
    (void)close(x->listener);
    free(x);
}
