/* Which face a request is for: capture, or the API, or nobody. */
#include <stdlib.h>

#include "app/app_priv.h"

/* What a loop carries: itself, and the intake's part. */
struct loop_state {
    struct tr_http_loop *loop;
    void *intake;
};

static bool is_api(struct tr_str path)
{
    return tr_str_starts(path, TR_STR("/api/")) || tr_str_is(path, "/api");
}

static bool is_capture(const struct tr_http_request *req)
{
    return tr_intake_owns(req->method, req->path);
}

static enum tr_rc loop_start(void *self, struct tr_http_loop *loop, void **ret_state,
                             struct tr_err *err)
{
    struct app *a = self;
    struct loop_state *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return tr_fail_oom(err);
    s->loop = loop;
    if (tr_intake_loop_start(a->intake, loop, &s->intake, err) != TR_OK) {
        free(s);
        return err->rc;
    }
    *ret_state = s;
    return TR_OK;
}

static void loop_stop(void *self, void *state)
{
    struct app *a = self;
    struct loop_state *s = state;

    tr_api_loop_stop(a->api, s->loop);
    tr_intake_loop_stop(a->intake, s->intake);
    free(s);
}

/* The intake's part of a loop. */
static void *intake_of(void *state)
{
    return ((struct loop_state *)state)->intake;
}

static const char nothing_here[] =
    "There is nothing at this address. SDKs send events to /batch/, /e/ and their kin; "
    "the API is under /api/, with GET /api/ as its table of contents.\n";

static void answer_stray(struct tr_http_request *req)
{
    struct tr_http_response r = {
        .status = 404,
        .content_type = "text/plain; charset=utf-8",
        .body = TR_STR(nothing_here),
    };

    tr_http_reply(req, &r);
}

static size_t headers(void *self, void *state, struct tr_http_request *req)
{
    struct app *a = self;

    if (is_capture(req))
        return tr_intake_headers(a->intake, intake_of(state), req);
    if (is_api(req->path))
        return (size_t)a->o.max_api_body_bytes;
    answer_stray(req);
    return 0;
}

static void too_bad(void *self, const struct tr_http_request *req, int status, struct tr_buf *out,
                    struct tr_http_response *ret)
{
    struct app *a = self;

    if (is_capture(req) || !is_api(req->path)) {
        tr_intake_too_bad(a->intake, req, status, out, ret);
        return;
    }
    tr_buf_printf(out,
                  "{\"type\":\"invalid_request\",\"code\":\"%s\",\"detail\":\"%s\",\"attr\":null,"
                  "\"hint\":\"serve --max-api-body-bytes sets the limit of %lld bytes\"}",
                  status == 413 ? "too_large" : "timeout",
                  status == 413 ? "the body is too large" : "the body did not arrive",
                  (long long)a->o.max_api_body_bytes);
    *ret = (struct tr_http_response){
        .status = status,
        .content_type = "application/json",
        .body = tr_buf_view(out),
    };
}

static void request(void *self, void *state, struct tr_http_request *req)
{
    struct app *a = self;

    if (is_capture(req))
        tr_intake_request(a->intake, intake_of(state), req);
    else if (is_api(req->path))
        tr_api_request(a->api, req);
    else
        answer_stray(req);
}

static void turn_end(void *self, void *state)
{
    struct app *a = self;

    tr_intake_turn_end(a->intake, intake_of(state));
}

struct tr_http_handler app_handler(struct app *a)
{
    return (struct tr_http_handler){
        .loop_start = loop_start,
        .loop_stop = loop_stop,
        .headers = headers,
        .too_bad = too_bad,
        .request = request,
        .turn_end = turn_end,
        .self = a,
    };
}
