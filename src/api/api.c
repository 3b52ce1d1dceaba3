#include "api/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api_priv.h"
#include "base/metric.h"
#include "os/clock.h"
#include "os/thread.h"

TR_COUNTER(requests_total, "tailrace_api_requests_total", "Requests to the API.");
TR_COUNTER(requests_refused, "tailrace_api_errors_total{class=\"4xx\"}",
           "API answers that were errors.");
TR_COUNTER(requests_failed, "tailrace_api_errors_total{class=\"5xx\"}",
           "API answers that were errors.");

/* Requests up to SMALL_REQUEST bytes are worked on even when bodies fill the budget: a person must
 * be able to look at a busy server. */
enum { MAX_QUEUED = 256, SMALL_REQUEST = 4096, MAX_WORKERS = 64, MAX_ANSWER = 64 << 20 };

/* One request on its way: made on a loop, worked on by a worker, answered on that loop. */
struct job {
    struct tr_http_post post; /* first: the loop gives it back */
    struct job *next;
    struct tr_api *api;
    struct tr_http_request *req; /* the loop's; untouched by workers */
    struct tr_http_loop *loop;   /* NULL: the loop is gone, nobody waits any more */
    struct api_request in;       /* views into bytes */
    bool slow;
    int status;
    struct tr_buf out, headers;
    size_t n; /* of bytes */
    char bytes[];
};

struct tr_api {
    struct tr_api_options o;
    struct tr_monitor monitor; /* guards all below up to change */
    struct job *first, **last; /* waiting */
    struct job *working;       /* in a worker's hands */
    int waiting;
    bool stop;
    int slow_running;
    atomic_bool cancelled; /* long calls look at it */
    pthread_mutex_t change;
    int workers;
    pthread_t threads[MAX_WORKERS];
};

const struct tr_api_options *api_options(const struct tr_api *a)
{
    return &a->o;
}

void api_change_begin(struct tr_api *a)
{
    (void)pthread_mutex_lock(&a->change);
}

void api_change_end(struct tr_api *a)
{
    (void)pthread_mutex_unlock(&a->change);
}

void api_wake_engine(struct api_call *c)
{
    struct tr_engine *engine = c->api->o.engine;

    if (engine != NULL)
        engine->ops->wake(engine);
}

int64_t api_now(const struct api_call *c)
{
    return c->d->source->ops->now(c->d->source);
}

void api_log(struct api_call *c, const char *level, const struct tr_uuid *export_id,
             const struct tr_uuid *run_id, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (c->d->log == NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->d->log(c->d->log_arg, level, export_id, run_id, text);
}

/* ---- one call ---- */

static enum tr_rc read_body(struct api_call *c, struct tr_err *err)
{
    json_error_t why;

    if (c->req->body.n == 0) {
        c->body = json_object();
        return c->body == NULL ? tr_fail_oom(err) : TR_OK;
    }
    c->body = json_loadb(c->req->body.p, c->req->body.n, JSON_REJECT_DUPLICATES, &why);
    if (c->body == NULL)
        return api_bad(c, err, NULL, "parse_error", "send one JSON object",
                       "JSON parse error, line %d column %d: %s", why.line, why.column, why.text);
    if (!json_is_object(c->body))
        return api_bad(c, err, NULL, "parse_error", NULL, "the body must be a JSON object");
    return TR_OK;
}

/* Routes below a project need it to exist. */
static enum tr_rc read_project(struct api_call *c, struct tr_err *err)
{
    int64_t id = 0;
    struct tr_str text = c->arg[0];

    if (strstr(c->route->pattern, ":project") == NULL)
        return TR_OK;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || id > INT32_MAX)
            return api_not_found(err, "project");
        id = id * 10 + (text.p[i] - '0');
    }
    if (id < 1 || id > INT32_MAX)
        return api_not_found(err, "project");
    if (c->meta->ops->project_get(c->meta, (int32_t)id, &c->project, err) != TR_OK)
        return tr_wrap(err, "project %d", (int)id);
    return TR_OK;
}

static enum tr_rc answer(struct api_call *c, struct tr_buf *headers, struct tr_err *err)
{
    struct tr_buf allow;

    if (api_authorize(c->api, c->req, err) != TR_OK) {
        if (err->rc == TR_INVALID)
            tr_buf_z(headers, "WWW-Authenticate: Bearer realm=\"api\"\r\n");
        return err->rc;
    }
    tr_buf_init(&allow, 256);
    c->route = api_route_find(c->req->method, c->req->path, c->arg, &allow);
    if (c->route == NULL && allow.n > 0) {
        tr_buf_printf(headers, "Allow: %.*s\r\n", (int)allow.n, allow.p);
        (void)tr_fail(err, TR_INVALID, "api.method", NULL, "this address takes %.*s", (int)allow.n,
                      allow.p);
    } else if (c->route == NULL) {
        (void)tr_fail(err, TR_INVALID, "api.route", "GET /api/ lists all addresses",
                      "there is nothing at this address");
    }
    tr_buf_fini(&allow);
    if (c->route == NULL)
        return err->rc;
    if (read_project(c, err) != TR_OK || read_body(c, err) != TR_OK ||
        api_only_known(c, c->body, "", c->route->fields, err) != TR_OK)
        return err->rc;
    return c->route->handler(c, err);
}

void api_handle(struct tr_api *a, const struct api_request *req, int *ret_status,
                json_t **ret_answer, struct tr_buf *headers)
{
    enum { CALL_S = 1800 };
    struct tr_err err = { 0 };
    struct api_call c = {
        .api = a,
        .d = a->o.delivery,
        .meta = a->o.delivery->meta,
        .req = req,
        .status = 200,
        .cx = { .deadline_us = tr_clock_boot_us() + CALL_S * INT64_C(1000000),
                .cancelled = &a->cancelled },
    };

    tr_count(&requests_total, 1);
    if (answer(&c, headers, &err) != TR_OK) {
        json_decref(c.answer);
        c.answer = api_problem(&err, c.attr[0] == '\0' ? NULL : c.attr, c.code, &c.status);
        if (c.status == 503)
            tr_buf_z(headers, "Retry-After: 5\r\n");
        tr_count(c.status < 500 ? &requests_refused : &requests_failed, 1);
    }
    json_decref(c.body);
    *ret_status = c.status;
    *ret_answer = c.answer;
}

/* ---- workers ---- */

static int dump_into(const char *bytes, size_t n, void *buf)
{
    struct tr_buf *out = buf;

    tr_buf_add(out, bytes, n);
    return out->failed ? -1 : 0;
}

static void work(struct job *j)
{
    json_t *body = NULL;

    api_handle(j->api, &j->in, &j->status, &body, &j->headers);
    if (body != NULL &&
        (json_dump_callback(body, dump_into, &j->out, JSON_COMPACT) != 0 || j->out.failed)) {
        tr_buf_fini(&j->out);
        tr_buf_z(&j->out, "{\"type\":\"server_error\",\"code\":\"error\","
                          "\"detail\":\"the answer does not fit into memory\",\"attr\":null}");
        j->status = 500;
    }
    json_decref(body);
}

static void job_free(struct job *j)
{
    if (j->api->o.bodies != NULL)
        tr_budget_give(j->api->o.bodies, j->n);
    tr_buf_fini(&j->out);
    tr_buf_fini(&j->headers);
    free(j);
}

/* On the loop. */
static void reply(struct tr_http_post *post)
{
    struct job *j = (struct job *)(void *)post;
    struct tr_http_response r = {
        .status = j->status,
        .content_type = j->out.n > 0 ? "application/json" : NULL,
        .body = tr_buf_view(&j->out),
        .headers = tr_buf_view(&j->headers),
    };

    tr_http_reply(j->req, &r);
    job_free(j);
}

/* The next job that this worker may take: with more than one worker, one is always free of slow
 * jobs. Inside the monitor. */
static struct job *take(struct tr_api *a)
{
    bool slow_ok = a->workers == 1 || a->slow_running < a->workers - 1;

    for (struct job **at = &a->first; *at != NULL; at = &(*at)->next) {
        struct job *j = *at;
        if (j->slow && !slow_ok)
            continue;
        *at = j->next;
        if (j->next == NULL)
            a->last = at;
        a->waiting--;
        a->slow_running += j->slow;
        j->next = a->working;
        a->working = j;
        return j;
    }
    return NULL;
}

static void finish(struct tr_api *a, struct job *j)
{
    for (struct job **at = &a->working; *at != NULL; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            break;
        }
    a->slow_running -= j->slow;
    /* A slot for a slow job is free now. */
    tr_monitor_tell(&a->monitor);
    if (j->loop != NULL)
        tr_http_post(j->loop, &j->post);
    else
        job_free(j);
}

static void *worker_main(void *arg)
{
    struct tr_api *a = arg;

    tr_monitor_enter(&a->monitor);
    for (;;) {
        struct job *j = take(a);
        if (j != NULL) {
            tr_monitor_leave(&a->monitor);
            work(j);
            tr_monitor_enter(&a->monitor);
            finish(a, j);
        } else if (a->stop && a->first == NULL) {
            break;
        } else {
            (void)tr_monitor_wait(&a->monitor, -1);
        }
    }
    tr_monitor_leave(&a->monitor);
    return NULL;
}

/* ---- from the loop ---- */

static struct tr_str keep(char **at, struct tr_str s)
{
    char *to = *at;

    if (s.n > 0)
        memcpy(to, s.p, s.n);
    *at += s.n;
    return (struct tr_str){ s.p == NULL ? NULL : to, s.n };
}

static struct job *job_new(struct tr_api *a, struct tr_http_request *req)
{
    struct tr_str host = tr_http_header_get(req, "Host");
    struct tr_str token = tr_http_header_get(req, "Authorization");
    size_t n = req->path.n + req->query.n + req->body.n + host.n + token.n;
    struct job *j = calloc(1, sizeof(*j) + n);

    if (j == NULL)
        return NULL;
    char *at = j->bytes;
    if (a->o.bodies != NULL)
        tr_budget_force(a->o.bodies, n);
    j->n = n;
    j->api = a;
    j->req = req;
    j->loop = req->loop;
    j->post.fn = reply;
    j->in.method = req->method;
    j->in.path = keep(&at, req->path);
    j->in.query = keep(&at, req->query);
    j->in.body = keep(&at, req->body);
    j->in.host = keep(&at, host);
    j->in.authorization = keep(&at, token);
    j->in.https = tr_str_eq_nocase(tr_http_header_get(req, "X-Forwarded-Proto"), TR_STR("https"));
    tr_buf_init(&j->out, MAX_ANSWER);
    tr_buf_init(&j->headers, 1024);

    struct tr_str arg[API_MAX_ARGS];
    struct tr_buf allow;
    tr_buf_init(&allow, 256);
    const struct api_route *route = api_route_find(req->method, j->in.path, arg, &allow);
    j->slow = route != NULL && (route->flags & API_SLOW) != 0;
    tr_buf_fini(&allow);
    return j;
}

static void refuse(struct tr_http_request *req)
{
    static const char text[] =
        "{\"type\":\"server_error\",\"code\":\"unavailable\",\"detail\":"
        "\"the server is too busy to answer, or about to stop\",\"attr\":null}";
    struct tr_http_response r = {
        .status = 503,
        .content_type = "application/json",
        .body = TR_STR(text),
        .headers = TR_STR("Retry-After: 5\r\n"),
    };

    tr_http_reply(req, &r);
}

void tr_api_request(struct tr_api *a, struct tr_http_request *req)
{
    struct job *j = job_new(a, req);

    if (j == NULL) {
        refuse(req);
        return;
    }
    tr_http_drop_body(req);
    /* The copy is charged already, the body is given back: what is in use now is the truth. */
    bool fits = a->o.bodies == NULL || j->n <= SMALL_REQUEST ||
                atomic_load(&a->o.bodies->used) <= a->o.bodies->max;
    tr_monitor_enter(&a->monitor);
    bool taken = !a->stop && fits && a->waiting < MAX_QUEUED;
    if (taken) {
        *a->last = j;
        a->last = &j->next;
        a->waiting++;
        tr_monitor_tell(&a->monitor);
    }
    tr_monitor_leave(&a->monitor);
    if (!taken) {
        refuse(req);
        job_free(j);
    }
}

/* ---- life ---- */

enum tr_rc tr_api_new(const struct tr_api_options *o, struct tr_api **ret, struct tr_err *err)
{
    struct tr_api *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return tr_fail_oom(err);
    a->o = *o;
    a->last = &a->first;
    atomic_init(&a->cancelled, false);
    tr_monitor_init(&a->monitor);
    (void)pthread_mutex_init(&a->change, NULL);
    int want = o->workers < 1 ? 2 : o->workers > MAX_WORKERS ? MAX_WORKERS : o->workers;
    while (a->workers < want) {
        if (tr_thread_start(&a->threads[a->workers], "api", worker_main, a, err) != TR_OK) {
            tr_api_free(a);
            return tr_wrap(err, "api");
        }
        tr_monitor_enter(&a->monitor);
        a->workers++;
        tr_monitor_leave(&a->monitor);
    }
    *ret = a;
    return TR_OK;
}

void tr_api_stop(struct tr_api *a)
{
    atomic_store(&a->cancelled, true);
    tr_monitor_enter(&a->monitor);
    a->stop = true;
    tr_monitor_tell(&a->monitor);
    tr_monitor_leave(&a->monitor);
}

void tr_api_loop_stop(struct tr_api *a, struct tr_http_loop *loop)
{
    tr_monitor_enter(&a->monitor);
    for (struct job *j = a->first; j != NULL; j = j->next)
        if (j->loop == loop)
            j->loop = NULL;
    for (struct job *j = a->working; j != NULL; j = j->next)
        if (j->loop == loop)
            j->loop = NULL;
    tr_monitor_leave(&a->monitor);
}

void tr_api_free(struct tr_api *a)
{
    if (a == NULL)
        return;
    tr_api_stop(a);
    for (int i = 0; i < a->workers; i++)
        (void)pthread_join(a->threads[i], NULL);
    (void)pthread_mutex_destroy(&a->change);
    tr_monitor_fini(&a->monitor);
    free(a);
}
