/* Inside of the HTTP server. One connection, its request and its loop belong to one thread; what
 * threads share is in struct tr_http_server and in the post stack of a loop.
 *
 *   http_server.c  options, start, stop        http_parse.c  bytes -> struct tr_http_request
 *   http_listen.c  addresses, sockets          http_body.c   bodies: where they live, who pays
 *   http_loop.c    one turn, posts, timers     http_wait.c   the queue for the budget
 *   http_conn.c    the life of a connection    http_reply.c  answers, draining
 */
#ifndef TR_NET_HTTP_PRIV_H
#define TR_NET_HTTP_PRIV_H

#include <http_parser.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "net/http.h"
#include "os/thread.h"

enum {
    HTTP_IN_BYTES = 8 << 10,     /* the input buffer of a request: head and a small body */
    HTTP_TURN_BYTES = 512 << 10, /* one connection reads at most this much in a turn */
    HTTP_POOL = 128,             /* exchanges a loop keeps for the next requests */
    /* A body that brings less in body_timeout_us is slow; nor less than this part of what has
     * come. */
    HTTP_MIN_PROGRESS = 1 << 10,
    HTTP_PROGRESS_PART = 32,
    HTTP_BODY_FIRST = 16 << 10, /* memory of a body of its own at first; doubled as it comes */
    HTTP_HEAD_MAX = 64 << 10,   /* head of an answer, the handler's lines included */
};

#define HTTP_IDLE_MIN_US    INT64_C(75000000)
#define HTTP_WAIT_TICK_US   INT64_C(5000) /* the budget may be given back where no loop sees it */
#define HTTP_EVICT_US       INT64_C(250000) /* how often slow bodies are looked for while others wait */
#define HTTP_GRACE_US       INT64_C(1000000) /* what a pace is measured over */
#define HTTP_QUIET_US       INT64_C(300000) /* a stopping server still hears idle connections so long */
#define HTTP_LINGER_STOP_US INT64_C(1000000)

/* A ring of intrusive links; an unlinked one points to itself. */
struct link {
    struct link *prev, *next;
};

static inline void link_init(struct link *l)
{
    l->prev = l->next = l;
}

static inline bool link_alone(const struct link *l)
{
    return l->next == l;
}

static inline void link_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    link_init(l);
}

static inline void link_append(struct link *ring, struct link *l)
{
    l->prev = ring->prev;
    l->next = ring;
    ring->prev->next = l;
    ring->prev = l;
}

#define HTTP_OF(type, member, ptr) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum conn_state {
    CONN_IDLE,    /* nothing of a request has come; no exchange */
    CONN_HEAD,    /* reading its head */
    CONN_WAIT,    /* the head is there, the body waits for the budget */
    CONN_BODY,    /* reading its body */
    CONN_PENDING, /* the handler has it */
    CONN_DRAIN,   /* answered early: the rest of the body is read and dropped */
    CONN_LINGER,  /* answered for the last time: dropping input until the client has closed */
    CONN_DEAD,    /* closed; the memory goes at the end of the turn */
};

/* Each kind has one length, so a list in order of arming is in order of deadlines. */
enum conn_timer { TIMER_IDLE, TIMER_BODY, TIMER_HOLD, TIMER_DRAIN, TIMER_ANSWER, TIMER_KINDS };

struct conn {
    struct tr_http_loop *loop;
    struct exchange *x;
    struct link all, timer, ready, wait;
    int64_t deadline;
    int fd;
    enum conn_state state;
    bool readable;    /* bytes or an end may be there to be read */
    bool hung_up;     /* the other side has closed its half: an end stands behind the bytes */
    bool ended;       /* and that end was read */
    bool gone;        /* the socket is closed while the handler has the request */
    bool closing;     /* this answer is the last one */
    bool shut;        /* our half is closed */
    bool running;     /* conn_run is on the stack */
    bool parked;      /* in the ring of those a paused loop does not read */
    uint64_t dropped; /* bytes read and dropped after the answer */
    char *out;        /* what the socket would not take yet */
    size_t out_n, out_at;
    int queued;   /* bytes in the kernel's buffer when its timer last ran out */
    size_t need;  /* bytes of budget it waits for; under the server's lock, as are the next */
    size_t holds; /* while it waits: bytes of budget it has */
    bool small, granted, waiting, over;
    char peer[TR_HTTP_PEER_TEXT];
};

enum chunk_state {
    CHUNK_SIZE,
    CHUNK_BLANK,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LINE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
};

/* One request and everything it needs; pooled per loop, so that an idle connection has none. */
struct exchange {
    struct tr_http_request req; /* first */
    struct conn *conn;
    struct exchange *next;
    http_parser parser;

    char *in;            /* small, or memory of its own for a long head */
    size_t head_charged; /* bytes of budget for in, when it is not small */
    size_t cap, n;       /* of in */
    size_t parsed;       /* bytes of in that the parser has seen while in the head */
    size_t pos;          /* bytes of in that belong to this request's head and body */
    size_t head_end;
    struct tr_str url;
    bool in_value; /* the parser's last word was part of a value */
    bool too_many; /* headers */
    bool head_done, body_done, answered;
    bool broken; /* no telling where the next request would begin */
    int refused; /* the status that its head gets, or 0 */
    bool keep_alive, chunked, dropping, too_large;
    bool expects; /* the client waits for 100 Continue before it sends the body */

    enum chunk_state chunk_state;
    int chunk_digits;
    uint64_t chunk_left; /* bytes of the chunk to come */
    size_t chunk_over;   /* bytes of extensions and trailers */

    size_t limit;  /* body bytes allowed */
    uint64_t left; /* body bytes to come by Content-Length; those in in are not taken off yet */
    char *body;    /* memory of its own, or NULL: inside in */
    size_t body_n, body_cap;
    size_t charged;       /* bytes of budget for the body */
    bool over;            /* the one that may have more than there is */
    int64_t hold_left_us; /* how long its body may still wait for the budget, all waits together */
    int64_t marked_at;    /* when its pace was looked at, and what had come by then */
    size_t marked;
    size_t progress; /* body bytes there when the timer was armed */

    struct tr_http_header headers[TR_HTTP_MAX_HEADERS];
    char small[HTTP_IN_BYTES];
};

struct tr_http_loop {
    struct tr_http_server *server;
    pthread_t thread;
    int epoll, wake, listener;
    bool accepting; /* the listener is in epoll */
    bool stopping, paused, failed;
    void *state; /* the handler's */
    int64_t now, accept_again, stop_at, evict_at;
    struct link conns, ready, parked, dead, timers[TIMER_KINDS];
    struct link granted; /* under the server's lock */
    _Atomic(struct tr_http_post *) posts;
    atomic_int posting;           /* threads that are inside tr_http_post */
    struct tr_http_timer *alarms; /* by time */
    struct exchange *pool;
    int pooled;
    struct tr_buf head, text;
    int64_t date_second;
    char date[40];
};

struct tr_http_server {
    struct tr_http_options o;
    struct tr_http_handler h;
    char *listen;
    int port;
    atomic_int conns; /* with a socket */
    atomic_int gone;  /* without one, but the handler has their request */
    atomic_bool stop;
    int64_t grace_us;

    struct tr_monitor monitor; /* the start of the loops */
    int started;
    struct tr_err start_err;

    pthread_mutex_t wait_lock;
    struct link waiting; /* for the budget, in order of arrival */
    atomic_int n_waiting;
    size_t waiting_hold;  /* budget of those that wait; under wait_lock, as is the next */
    bool over;            /* one has more than there was */
    size_t small_max;     /* what small ones may fill the budget to */
    atomic_size_t unsent; /* bytes of answers that clients do not take */

    int n_loops;
    struct tr_http_loop loops[];
};

/* http_listen.c */
TR_MUST_USE enum tr_rc http_listen_all(struct tr_http_server *s, struct tr_err *err);
void http_peer_text(const struct sockaddr_storage *a, char out[TR_HTTP_PEER_TEXT]);

/* http_server.c */
void http_loop_init(struct tr_http_server *s, struct tr_http_loop *l);
TR_MUST_USE enum tr_rc http_loop_open(struct tr_http_loop *l, struct tr_err *err);

/* http_loop.c */
void *http_loop_main(void *loop);
void http_loop_turn(struct tr_http_loop *l); /* waits until something is ready, and does it */
void http_loop_wake(struct tr_http_loop *l);
void http_ready(struct conn *c); /* run it again in this turn or the next */

/* http_conn.c */
struct conn *http_conn_new(struct tr_http_loop *l, int fd);
void http_conn_events(struct conn *c, uint32_t events);
void http_conn_run(struct conn *c);
void http_conn_close(struct conn *c);
void http_conn_expired(struct conn *c, enum conn_timer kind);
void http_conn_arm(struct conn *c, enum conn_timer kind);
void http_conn_arm_hold(struct conn *c); /* TIMER_HOLD, for what is left of hold_us */
void http_conn_disarm(struct conn *c);
/* Reads up to room bytes (to == NULL: and drops them); 0: nothing now, the end, or closed. */
size_t http_conn_read(struct conn *c, char *to, size_t room, size_t *quota);
void http_conn_finish(struct conn *c); /* the answer is out and the request consumed */
void http_conn_gone(struct conn *c);   /* its last request was answered into the void */

/* http_parse.c */
struct exchange *http_exchange_take(struct conn *c);
void http_exchange_again(struct exchange *x); /* for the next pipelined request */
void http_exchange_free(struct exchange *x);
enum http_parsed { HTTP_MORE, HTTP_HEAD_READY, HTTP_BAD, HTTP_HEAD_TOO_LONG, HTTP_NO_ROOM };
enum http_parsed http_parse_head(struct exchange *x, size_t max_header_bytes);
void http_target(struct tr_str url, struct tr_str *ret_path, struct tr_str *ret_query);

/* http_head.c: a whole head, from its first byte to its last LF. 0, or the status it is refused
 * with (400, 501, 505). */
int http_head_check(struct tr_str head);

/* http_chunks.c: feeds in[pos..n) of a chunked body; false: the framing is broken. */
bool http_parse_chunks(struct exchange *x);

/* http_body.c */
/* These return true when the connection can be run on. */
bool http_body_begin(struct conn *c); /* after the head */
bool http_body_granted(struct conn *c);
bool http_body_step(struct conn *c, size_t *quota);
void http_body_release(struct exchange *x);
/* While others wait for the budget: ends bodies that hold some of it and do not come. */
void http_body_evict(struct tr_http_loop *l);

/* http_wait.c */
bool http_wait_take(struct conn *c, size_t n); /* false: queued */
/* For what is small and cannot wait: false when there is none. */
bool http_small_take(struct tr_http_server *s, size_t n);
void http_small_give(struct tr_http_server *s, size_t n);
void http_wait_leave(struct conn *c);
void http_wait_grant(struct tr_http_server *s);
void http_wait_over_ends(struct exchange *x);
struct conn *http_wait_granted(struct tr_http_loop *l); /* the next one, or NULL */

/* http_reply.c */
void http_answer_early(struct conn *c, int status);
/* Answers 503 for a handler that still has the request, and closes the socket. */
void http_answer_for_handler(struct conn *c);
bool http_flush(struct conn *c); /* true: nothing is left to write */
/* Writes what the socket takes and keeps the rest. */
void http_send(struct conn *c, struct tr_str head, struct tr_str body);
void http_out_free(struct conn *c);
/* Since it was last asked the client has taken some of what the kernel holds for it. */
bool http_out_moves(struct conn *c);
void http_linger(struct conn *c);
bool http_drain_step(struct conn *c, size_t *quota);
bool http_linger_step(struct conn *c, size_t *quota);

#endif
