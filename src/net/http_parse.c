/* Bytes to a request, in place: every view points into the exchange's input buffer. */
#include <stdlib.h>

#include "net/http_priv.h"

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct exchange *x = p->data;

    /* A target that came in two reads comes in two calls, of bytes that follow each other. */
    if (x->url.p == NULL)
        x->url.p = at;
    x->url.n = (size_t)(at + n - x->url.p);
    return 0;
}

static int on_header_field(http_parser *p, const char *at, size_t n)
{
    struct exchange *x = p->data;

    if (x->head_done) /* a trailer: nobody asks for it */
        return 0;
    struct tr_http_header *h = x->req.n_headers == 0 ? NULL : &x->headers[x->req.n_headers - 1];
    if (h == NULL || x->in_value || at != h->name.p + h->name.n) {
        if (x->req.n_headers == TR_HTTP_MAX_HEADERS) {
            x->too_many = true;
            return -1;
        }
        h = &x->headers[x->req.n_headers++];
        *h = (struct tr_http_header){ .name = { at, 0 } };
        x->in_value = false;
    }
    h->name.n = (size_t)(at + n - h->name.p);
    return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t n)
{
    struct exchange *x = p->data;

    if (x->head_done)
        return 0;
    struct tr_http_header *h = &x->headers[x->req.n_headers - 1];
    if (h->value.p == NULL) {
        h->value.p = at;
    } else if (at != h->value.p + h->value.n) {
        x->broken = true; /* RFC 9112, 5.2: a server refuses it or unfolds it */
        return -1;
    }
    h->value.n = (size_t)(at + n - h->value.p);
    x->in_value = true;
    return 0;
}

static int on_headers_complete(http_parser *p)
{
    struct exchange *x = p->data;

    x->head_done = true;
    x->keep_alive = http_should_keep_alive(p) != 0;
    x->chunked = (p->flags & F_CHUNKED) != 0;
    x->left = x->chunked || p->content_length == UINT64_MAX ? 0 : p->content_length;
    if (p->uses_transfer_encoding && !x->chunked) /* RFC 9112, 6.3: the length cannot be known */
        x->broken = true;
    p->upgrade = 0; /* never done: what follows is read as HTTP/1.1 (RFC 9110, 7.8) */
    http_parser_pause(p, 1);
    return 1; /* bodies are not the parser's */
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

/* ---- exchanges ---- */

static void reset(struct exchange *x, size_t n)
{
    struct conn *c = x->conn;

    memset(&x->req, 0, sizeof(x->req));
    memset(&x->url, 0, offsetof(struct exchange, headers) - offsetof(struct exchange, url));
    x->req.headers = x->headers;
    x->req.peer = c->peer;
    x->req.loop = c->loop;
    x->n = n;
    x->parsed = x->pos = x->head_end = 0;
    http_parser_init(&x->parser, HTTP_REQUEST);
    x->parser.data = x;
}

struct exchange *http_exchange_take(struct conn *c)
{
    struct tr_http_loop *l = c->loop;
    struct exchange *x = l->pool;

    if (x != NULL) {
        l->pool = x->next;
        l->pooled--;
    } else if ((x = malloc(sizeof(*x))) == NULL) {
        return NULL;
    }
    x->conn = c;
    x->in = x->small;
    x->cap = sizeof(x->small);
    x->head_charged = 0;
    reset(x, 0);
    return x;
}

static void give_head(struct exchange *x)
{
    if (x->in != x->small)
        free(x->in);
    http_small_give(x->conn->loop->server, x->head_charged);
    x->in = x->small;
    x->cap = sizeof(x->small);
    x->head_charged = 0;
}

void http_exchange_again(struct exchange *x)
{
    size_t n = x->n - x->pos;

    memmove(n <= sizeof(x->small) ? x->small : x->in, x->in + x->pos, n);
    if (n <= sizeof(x->small))
        give_head(x);
    reset(x, n);
}

void http_exchange_free(struct exchange *x)
{
    struct tr_http_loop *l = x->conn->loop;

    http_body_release(x);
    give_head(x);
    if (l->pooled == HTTP_POOL) {
        free(x);
        return;
    }
    x->next = l->pool;
    l->pool = x;
    l->pooled++;
}

/* A head that outgrew the buffer: a larger one, and every view moved over. */
static bool grow(struct exchange *x, size_t cap)
{
    char *in = NULL;

    if (!http_small_take(x->conn->loop->server, cap - x->head_charged))
        return false;
    in = malloc(cap);
    if (in == NULL) {
        http_small_give(x->conn->loop->server, cap - x->head_charged);
        return false;
    }
    x->head_charged = cap;
    memcpy(in, x->in, x->n);
    if (x->url.p != NULL)
        x->url.p = in + (x->url.p - x->in);
    for (size_t i = 0; i < x->req.n_headers; i++) {
        struct tr_http_header *h = &x->headers[i];

        h->name.p = in + (h->name.p - x->in);
        if (h->value.p != NULL)
            h->value.p = in + (h->value.p - x->in);
    }
    if (x->in != x->small)
        free(x->in);
    x->in = in;
    x->cap = cap;
    return true;
}

/* ---- heads ---- */

void http_target(struct tr_str url, struct tr_str *ret_path, struct tr_str *ret_query)
{
    struct tr_str rest;

    url = tr_str_cut(url, '#', &rest);
    if (url.n > 0 && url.p[0] != '/') { /* absolute form: what clients of a proxy send */
        const char *host = memmem(url.p, url.n, "://", 3);

        if (host != NULL) {
            struct tr_str from = { host + 3, url.n - (size_t)(host + 3 - url.p) };
            size_t skip = 0;

            while (skip < from.n && from.p[skip] != '/' && from.p[skip] != '?')
                skip++;
            url = (struct tr_str){ from.p + skip, from.n - skip };
        }
    }
    *ret_path = tr_str_cut(url, '?', ret_query);
    if (ret_path->n == 0)
        *ret_path = TR_STR("/");
}

static enum tr_http_method method_of(unsigned method)
{
    switch (method) {
    case HTTP_GET:
        return TR_HTTP_GET;
    case HTTP_HEAD:
        return TR_HTTP_HEAD;
    case HTTP_POST:
        return TR_HTTP_POST;
    case HTTP_PUT:
        return TR_HTTP_PUT;
    case HTTP_PATCH:
        return TR_HTTP_PATCH;
    case HTTP_DELETE:
        return TR_HTTP_DELETE;
    case HTTP_OPTIONS:
        return TR_HTTP_OPTIONS;
    default:
        return TR_HTTP_OTHER;
    }
}

static void finish_head(struct exchange *x)
{
    struct tr_http_request *req = &x->req;

    req->method = method_of(x->parser.method);
    http_target(x->url, &req->path, &req->query);
    for (size_t i = 0; i < req->n_headers; i++) {
        struct tr_http_header *h = &x->headers[i];

        if (h->value.p == NULL)
            h->value.p = "";
        h->value = tr_str_trim(h->value);
    }
}

enum http_parsed http_parse_head(struct exchange *x, size_t max_header_bytes)
{
    size_t used = http_parser_execute(&x->parser, &settings, x->in + x->parsed, x->n - x->parsed);

    if (x->head_done) {
        if (x->broken)
            return HTTP_BAD;
        x->head_end = x->pos = x->parsed + used + 1; /* the parser stands on the last LF */
        x->refused = http_head_check((struct tr_str){ x->in, x->head_end });
        if (x->refused != 0)
            return HTTP_BAD;
        if (x->head_end > max_header_bytes)
            return HTTP_HEAD_TOO_LONG;
        if (x->chunked && x->cap - x->head_end < HTTP_IN_BYTES / 2 &&
            !grow(x, x->head_end + HTTP_IN_BYTES))
            return HTTP_NO_ROOM;
        finish_head(x);
        return HTTP_HEAD_READY;
    }
    if (x->too_many)
        return HTTP_HEAD_TOO_LONG;
    if (HTTP_PARSER_ERRNO(&x->parser) == HPE_HEADER_OVERFLOW)
        return HTTP_HEAD_TOO_LONG;
    if (HTTP_PARSER_ERRNO(&x->parser) != HPE_OK)
        return HTTP_BAD;
    x->parsed = x->n;
    if (x->n >= max_header_bytes)
        return HTTP_HEAD_TOO_LONG;
    if (x->n < x->cap)
        return HTTP_MORE;
    size_t cap = x->cap * 2;
    if (cap > max_header_bytes + HTTP_IN_BYTES)
        cap = max_header_bytes + HTTP_IN_BYTES;
    return grow(x, cap) ? HTTP_MORE : HTTP_NO_ROOM;
}

struct tr_str tr_http_header_get(const struct tr_http_request *req, const char *name)
{
    struct tr_str want = tr_str_of(name);

    for (size_t i = 0; i < req->n_headers; i++)
        if (tr_str_eq_nocase(req->headers[i].name, want))
            return req->headers[i].value;
    return (struct tr_str){ NULL, 0 };
}
