/* Addresses and listening sockets: one per loop, all on the same address and port. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/http_priv.h"
#include "os/file.h"

enum { BACKLOG = 4096 };

struct address {
    struct sockaddr_storage a;
    socklen_t n;
};

static enum tr_rc bad_address(const char *text, struct tr_err *err)
{
    return tr_fail(err, TR_INVALID, "http.bad_address",
                   "give an address and a port: 127.0.0.1:8000, [::1]:8000, 0.0.0.0:8000",
                   "'%s' is no address to listen on", text);
}

/* "host:port" or "[v6]:port"; an empty host is every address. */
static enum tr_rc resolve(const char *text, struct address *ret, struct tr_err *err)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    const char *from = text;
    const char *to = colon;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;

    if (colon == NULL || colon[1] == 0)
        return bad_address(text, err);
    if (text[0] == '[') {
        from = text + 1;
        to = strchr(text, ']');
        if (to == NULL || to + 1 != colon)
            return bad_address(text, err);
    }
    if ((size_t)(to - from) >= sizeof(host))
        return bad_address(text, err);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    if (getaddrinfo(to == from ? NULL : host, colon + 1, &hints, &found) != 0 || found == NULL)
        return bad_address(text, err);
    memcpy(&ret->a, found->ai_addr, found->ai_addrlen);
    ret->n = found->ai_addrlen;
    freeaddrinfo(found);
    return TR_OK;
}

static in_port_t *port_of(struct address *a)
{
    return a->a.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&a->a)->sin6_port
                                      : &((struct sockaddr_in *)&a->a)->sin_port;
}

static enum tr_rc bind_failed(const char *text, int error, struct tr_err *err)
{
    if (error == EADDRINUSE)
        return tr_fail(err, TR_REFUSED, "http.address_in_use",
                       "stop what listens there, or choose another port", "%s is in use", text);
    if (error == EACCES || error == EADDRNOTAVAIL)
        return tr_fail(err, TR_REFUSED, "http.address_refused",
                       "choose an address of this machine and a port over 1023",
                       "may not listen on %s: %s", text, strerror(error));
    return tr_fail_errno(err, error, "listen on %s", text);
}

/* With SO_REUSEPORT another server of this user could share the port unnoticed: the first bind is
 * without it and finds out. */
static enum tr_rc nobody_there(const char *text, struct address *a, struct tr_err *err)
{
    const int one = 1;
    TR_CLEANUP(tr_file_close)
    int fd = socket(a->a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return tr_fail_errno(err, errno, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a->a, a->n) != 0)
        return bind_failed(text, errno, err);
    return TR_OK;
}

static enum tr_rc listen_one(const char *text, struct address *a, int *ret, struct tr_err *err)
{
    const int one = 1;
    int fd = socket(a->a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return tr_fail_errno(err, errno, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    /* Accepted sockets inherit these. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a->a, a->n) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&a->a, &a->n) != 0) {
        int error = errno;

        (void)close(fd);
        return bind_failed(text, error, err);
    }
    *ret = fd;
    return TR_OK;
}

enum tr_rc http_listen_all(struct tr_http_server *s, struct tr_err *err)
{
    struct address a = { .n = 0 };

    if (resolve(s->listen, &a, err) != TR_OK)
        return err->rc;
    if (*port_of(&a) != 0 && nobody_there(s->listen, &a, err) != TR_OK)
        return err->rc;
    for (int i = 0; i < s->n_loops; i++)
        if (listen_one(s->listen, &a, &s->loops[i].listener, err) != TR_OK)
            return err->rc;
    s->port = ntohs(*port_of(&a));
    return TR_OK;
}

void http_peer_text(const struct sockaddr_storage *a, char out[TR_HTTP_PEER_TEXT])
{
    out[0] = 0;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;

        (void)inet_ntop(AF_INET, &v4->sin_addr, out, TR_HTTP_PEER_TEXT);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            (void)inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out, TR_HTTP_PEER_TEXT);
        else
            (void)inet_ntop(AF_INET6, &v6->sin6_addr, out, TR_HTTP_PEER_TEXT);
    }
}
