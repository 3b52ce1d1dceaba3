/* Answers: written at once, whole, with their length; and what is still coming after early ones. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>

#include "base/metric.h"
#include "net/http_priv.h"
#include "os/clock.h"

TR_COUNTER(answers_cut, "tailrace_http_answers_cut_total",
           "Answers that their clients did not take while others needed the memory.");

enum { COPY_BODY = 16 << 10 }; /* up to here a body is copied behind its head: one plain send */

/* ---- writing ---- */

/* Answers that clients do not take may fill as much as bodies may. Who has taken nothing for
 * longest makes room for the others. */
static void make_room(struct conn *c)
{
    struct tr_http_server *s = c->loop->server;
    struct link *ring = &c->loop->timers[TIMER_DRAIN];

    if (s->o.bodies == NULL)
        return;
    for (struct link *at = ring->next, *next = at->next;
         at != ring && atomic_load(&s->unsent) > s->o.bodies->max; at = next, next = at->next) {
        struct conn *other = HTTP_OF(struct conn, timer, at);

        if (other == c || other->out == NULL || other->state == CONN_PENDING || other->running)
            continue;
        tr_count(&answers_cut, 1);
        http_conn_close(other);
    }
}

static void keep_rest(struct conn *c, struct tr_str head, struct tr_str body, size_t sent)
{
    size_t total = head.n + body.n - sent;
    char *out = malloc(c->out_n - c->out_at + total);
    size_t n = c->out_n - c->out_at;

    if (out == NULL) {
        http_conn_close(c);
        return;
    }
    if (n > 0)
        memcpy(out, c->out + c->out_at, n);
    if (sent < head.n) {
        memcpy(out + n, head.p + sent, head.n - sent);
        n += head.n - sent;
        sent = head.n;
    }
    if (body.n > sent - head.n) {
        memcpy(out + n, body.p + (sent - head.n), body.n - (sent - head.n));
        n += body.n - (sent - head.n);
    }
    http_out_free(c);
    c->out = out;
    c->out_n = n;
    c->out_at = 0;
    c->queued = INT_MAX;
    (void)atomic_fetch_add(&c->loop->server->unsent, n);
    make_room(c);
}

void http_out_free(struct conn *c)
{
    if (c->out == NULL)
        return;
    (void)atomic_fetch_sub(&c->loop->server->unsent, c->out_n);
    free(c->out);
    c->out = NULL;
    c->out_n = c->out_at = 0;
}

/* Bytes go out from the kernel's buffer long before it has room for more of ours (tcp(7):
 * SIOCOUTQ). */
bool http_out_moves(struct conn *c)
{
    int queued = 0;

    if (c->out == NULL || ioctl(c->fd, SIOCOUTQ, &queued) != 0 || queued >= c->queued)
        return false;
    c->queued = queued;
    return true;
}

void http_send(struct conn *c, struct tr_str head, struct tr_str body)
{
    struct iovec v[2] = { { (char *)(uintptr_t)head.p, head.n },
                          { (char *)(uintptr_t)body.p, body.n } };
    struct msghdr m = { .msg_iov = v, .msg_iovlen = body.n > 0 ? 2 : 1 };
    ssize_t n = 0;

    if (c->out == NULL) {
        do
            n = body.n > 0 ? sendmsg(c->fd, &m, MSG_NOSIGNAL)
                           : send(c->fd, head.p, head.n, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            http_conn_close(c);
            return;
        }
        if (n < 0)
            n = 0;
    }
    if ((size_t)n < head.n + body.n)
        keep_rest(c, head, body, (size_t)n);
}

bool http_flush(struct conn *c)
{
    while (c->out != NULL) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                http_conn_close(c);
            return false;
        }
        http_conn_arm(c, TIMER_DRAIN); /* it takes something: not dead */
        c->out_at += (size_t)n;
        c->queued = INT_MAX;
        if (c->out_at == c->out_n)
            http_out_free(c);
    }
    return true;
}

/* ---- the head of an answer ---- */

/* RFC 9110, 6.6.1; made once a second. */
static const char *date_line(struct tr_http_loop *l)
{
    time_t now = (time_t)(tr_clock_wall_us() / 1000000);

    if (now != l->date_second) {
        static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
        static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
        struct tm t = { 0 };

        (void)gmtime_r(&now, &t);
        (void)snprintf(l->date, sizeof(l->date), "%s, %02u %s %04u %02u:%02u:%02u GMT",
                       days[t.tm_wday % 7], (unsigned)t.tm_mday % 100, months[t.tm_mon % 12],
                       (unsigned)(t.tm_year + 1900) % 10000, (unsigned)t.tm_hour % 100,
                       (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
        l->date_second = now;
    }
    return l->date;
}

static void add_number(struct tr_buf *out, uint64_t v)
{
    char digits[24];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    tr_buf_add(out, digits + at, sizeof(digits) - at);
}

static void write_head(struct tr_buf *out, struct exchange *x, const struct tr_http_response *r,
                       bool closing)
{
    if (r->status == 200) {
        tr_buf_str(out, TR_STR("HTTP/1.1 200 OK\r\nDate: "));
    } else {
        tr_buf_str(out, TR_STR("HTTP/1.1 "));
        add_number(out, (uint64_t)r->status);
        tr_buf_ch(out, ' ');
        tr_buf_z(out, http_status_str((enum http_status)r->status));
        tr_buf_str(out, TR_STR("\r\nDate: "));
    }
    tr_buf_z(out, date_line(x->conn->loop));
    if (r->content_type != NULL) {
        tr_buf_str(out, TR_STR("\r\nContent-Type: "));
        tr_buf_z(out, r->content_type);
    }
    if (r->status != 204 && r->status != 304) {
        tr_buf_str(out, TR_STR("\r\nContent-Length: "));
        add_number(out, r->content_type == NULL ? 0 : r->body.n);
    }
    if (closing)
        tr_buf_str(out, TR_STR("\r\nConnection: close"));
    else if (x->parser.http_minor == 0)
        tr_buf_str(out, TR_STR("\r\nConnection: keep-alive"));
    tr_buf_str(out, TR_STR("\r\n"));
    tr_buf_str(out, r->headers);
    tr_buf_str(out, TR_STR("\r\n"));
}

static void write_answer(struct conn *c, const struct tr_http_response *r, bool closing)
{
    struct tr_buf *out = &c->loop->head;
    struct exchange *x = c->x;
    struct tr_str body = r->body;

    if (r->content_type == NULL || x->req.method == TR_HTTP_HEAD || r->status == 204 ||
        r->status == 304)
        body = TR_STR("");
    tr_buf_clear(out);
    write_head(out, x, r, closing);
    if (body.n <= COPY_BODY) {
        tr_buf_str(out, body);
        body = TR_STR("");
    }
    if (out->failed)
        http_conn_close(c); /* no memory for an answer */
    else
        http_send(c, tr_buf_view(out), body);
}

/* ---- answering ---- */

static bool body_unread(const struct exchange *x)
{
    return x->left > 0 || (x->chunked && !x->body_done);
}

void tr_http_reply(struct tr_http_request *req, const struct tr_http_response *r)
{
    struct exchange *x = (struct exchange *)(void *)req;
    struct conn *c = x->conn;
    const struct tr_http_options *o = &c->loop->server->o;

    assert(!x->answered);
    x->answered = true;
    if (c->gone) {
        http_conn_gone(c);
        return;
    }
    bool unread = body_unread(x);
    bool closing = r->close || !x->keep_alive || c->loop->stopping || x->broken ||
                   (unread && (x->expects || x->left > o->drain_bytes));

    c->state = CONN_DRAIN; /* no handler has it any more */
    c->closing = closing;
    write_answer(c, r, closing);
    if (c->state == CONN_DEAD)
        return;
    http_body_release(x);
    if (closing && (unread || x->broken)) {
        http_linger(c);
    } else if (unread || c->out != NULL) {
        x->dropping = true;
        http_conn_arm(c, TIMER_DRAIN);
        if (!c->running)
            http_ready(c);
    } else {
        http_conn_finish(c);
    }
}

static struct tr_http_response plain(int status)
{
    struct tr_http_response r = { .status = status, .content_type = "text/plain" };

    switch (status) {
    case 408:
        r.body = TR_STR("the request did not arrive in time\n");
        break;
    case 413:
        r.body = TR_STR("the request body is too large\n");
        break;
    case 431:
        r.body = TR_STR("the request head is too long\n");
        break;
    case 503:
        r.body = TR_STR("too much at once, please retry\n");
        r.headers = TR_STR("Retry-After: 1\r\n");
        break;
    default:
        r.body = TR_STR("this is not a valid HTTP/1.1 request\n");
        break;
    }
    return r;
}

void http_answer_early(struct conn *c, int status)
{
    struct tr_http_server *s = c->loop->server;
    struct exchange *x = c->x;
    struct tr_http_response r = { 0 };

    tr_buf_clear(&c->loop->text);
    if (x->head_done && !x->broken && s->h.too_bad != NULL)
        s->h.too_bad(s->h.self, &x->req, status, &c->loop->text, &r);
    if (r.status == 0)
        r = plain(status);
    if (status == 408) {
        r.close = true;
        x->broken = true; /* the rest may come any time: it is not the next request */
    }
    tr_http_reply(&x->req, &r);
}

void http_answer_for_handler(struct conn *c)
{
    struct tr_http_response r = plain(503);

    write_answer(c, &r, true); /* what the socket does not take at once is lost: it is small */
    http_conn_close(c);
}

/* ---- after an early answer ---- */

void http_linger(struct conn *c)
{
    if (c->x != NULL)
        http_exchange_free(c->x);
    c->x = NULL;
    c->state = CONN_LINGER;
    c->dropped = 0;
    http_conn_arm(c, TIMER_DRAIN);
    if (!c->running)
        http_ready(c);
}

/* Drops some of the body. False: nothing more now. */
static bool drop_some(struct conn *c, size_t *quota)
{
    struct exchange *x = c->x;

    if (x->n > x->pos && !x->chunked) {
        size_t n = x->n - x->pos < x->left ? x->n - x->pos : x->left;

        x->pos += n;
        x->left -= n;
        return true;
    }
    if (!x->chunked) {
        size_t got = http_conn_read(c, NULL, x->left, quota);

        x->left -= got;
        c->dropped += got;
        return got > 0;
    }
    if (x->n == x->pos) {
        size_t got = http_conn_read(c, x->in + x->n, x->cap - x->n, quota);

        if (got == 0)
            return false;
        x->n += got;
    }
    if (!http_parse_chunks(x)) {
        c->closing = true;
        http_linger(c);
    }
    return true;
}

bool http_drain_step(struct conn *c, size_t *quota)
{
    bool flushed = http_flush(c);

    if (c->state != CONN_DRAIN)
        return false;
    while (body_unread(c->x)) {
        if (!drop_some(c, quota)) {
            if (c->ended && c->state == CONN_DRAIN && flushed)
                http_conn_close(c);
            return false;
        }
        if (c->state != CONN_DRAIN)
            return true;
        if (c->dropped > c->loop->server->o.drain_bytes) {
            c->closing = true;
            http_linger(c);
            return true;
        }
    }
    if (!flushed)
        return false;
    c->dropped = 0;
    http_conn_finish(c);
    return c->state != CONN_DEAD;
}

bool http_linger_step(struct conn *c, size_t *quota)
{
    bool flushed = http_flush(c);

    if (c->state != CONN_LINGER)
        return false;
    if (flushed && !c->shut) {
        c->shut = true;
        (void)shutdown(c->fd, SHUT_WR);
    }
    size_t got = http_conn_read(c, NULL, HTTP_TURN_BYTES, quota);
    c->dropped += got;
    if (c->state == CONN_LINGER &&
        ((c->ended && flushed) || c->dropped > c->loop->server->o.drain_bytes))
        http_conn_close(c);
    return got > 0 && c->state == CONN_LINGER;
}
