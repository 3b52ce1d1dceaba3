#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/seal.h"
#include "dest/bigquery/bigquery_priv.h"
#include "os/clock.h"

enum { TOKEN_MAX = 16384, HEADER_MAX = TOKEN_MAX + 64, MORE = 3, SLICE_MS = 50 };

/* ---- addresses ---- */

void bq_url(struct bq_dest *d, enum bq_root root, const char *collection)
{
    tr_buf_clear(&d->url);
    tr_buf_z(&d->url, d->api);
    tr_buf_z(&d->url,
             root == BQ_ROOT_UPLOAD ? "/upload/bigquery/v2/projects/" : "/bigquery/v2/projects/");
    bq_path_add(&d->url, d->place.project);
    tr_buf_ch(&d->url, '/');
    tr_buf_z(&d->url, collection);
}

void bq_url_part(struct bq_dest *d, const char *part)
{
    tr_buf_ch(&d->url, '/');
    bq_path_add(&d->url, part);
}

void bq_url_query(struct bq_dest *d, const char *name, const char *value)
{
    tr_buf_ch(&d->url, memchr(d->url.p, '?', d->url.n) == NULL ? '?' : '&');
    tr_buf_z(&d->url, name);
    tr_buf_ch(&d->url, '=');
    bq_path_add(&d->url, value);
}

/* ---- waiting ---- */

bool bq_sleep_ms(const struct tr_ctx *cx, int64_t ms)
{
    int64_t until = tr_clock_boot_us() + ms * TR_US_PER_MS;

    for (;;) {
        int64_t now = tr_clock_boot_us();
        if (tr_ctx_cancelled(cx) || now >= cx->deadline_us)
            return false;
        if (now >= until)
            return true;
        int64_t left =
            until - now < SLICE_MS * TR_US_PER_MS ? until - now : SLICE_MS * TR_US_PER_MS;
        tr_clock_sleep_us(left);
    }
}

/* ---- one request ---- */

static enum tr_rc send(const struct tr_ctx *cx, struct bq_dest *d, const struct bq_call *c,
                       const char *url, struct tr_str token, struct tr_err *err)
{
    TR_CLEANUP(tr_wipe) struct tr_buf bearer;
    const char *headers[MORE + 2];
    struct tr_http_call call = { .method = c->method,
                                 .url = url,
                                 .headers = headers,
                                 .body = c->body,
                                 .silence_us = c->silence_us };
    size_t n = 0;

    tr_buf_init(&bearer, HEADER_MAX);
    tr_buf_z(&bearer, "Authorization: Bearer ");
    tr_buf_str(&bearer, token);
    tr_buf_ch(&bearer, '\0');
    if (bearer.failed)
        return tr_fail_oom(err);
    headers[n++] = bearer.p;
    for (size_t i = 0; i < MORE && c->more[i] != NULL; i++)
        headers[n++] = c->more[i];
    headers[n] = NULL;
    enum tr_rc rc = tr_http_client_call(cx, d->http, &call, &d->answer, err);
    if (rc == TR_AMBIGUOUS && c->is_safe) {
        rc = TR_TRANSIENT;
        if (err != NULL)
            err->rc = rc;
    }
    return rc;
}

/* How long the server asks to be left alone, if it says so. */
static int64_t asked_wait_s(const struct bq_dest *d)
{
    char *end = NULL;
    long s = strtol(d->answer.retry_after, &end, 10);

    return end == d->answer.retry_after || *end != '\0' || s < 0 || s > 3600 ? 0 : s;
}

static enum tr_rc refuse(struct bq_dest *d, enum bq_where where, struct bq_class *ret_class,
                         struct tr_err *err)
{
    struct bq_said said;

    bq_read_error(bq_answer(d), &said);
    struct bq_class class = bq_classify(where, d->answer.status, said.reason, said.message);
    if (said.message[0] == '\0')
        (void)snprintf(said.message, sizeof(said.message), "BigQuery answered %d",
                       d->answer.status);
    if (asked_wait_s(d) > class.wait_s)
        class.wait_s = asked_wait_s(d);
    if (ret_class != NULL)
        *ret_class = class;
    return bq_fail(&class, said.reason, said.message, tr_clock_wall_us(), err);
}

static bool is_good(const struct bq_call *c, int status)
{
    return (status >= 200 && status < 300) || status == c->other_status;
}

enum tr_rc bq_call(const struct tr_ctx *cx, struct bq_dest *d, const struct bq_call *c,
                   struct bq_class *ret_class, struct tr_err *err)
{
    TR_CLEANUP(tr_wipe) struct tr_buf token;
    const char *url = c->url;

    d->answer.status = 0; /* none yet: what a caller reads is never that of the call before */
    tr_buf_init(&token, TOKEN_MAX);
    if (ret_class != NULL)
        *ret_class = (struct bq_class){ .rc = TR_TRANSIENT };
    if (url == NULL) {
        tr_buf_ch(&d->url, '\0');
        if (d->url.failed)
            return tr_fail_oom(err);
        d->url.n--;
        url = d->url.p;
    }
    for (int tries = 0;; tries++) {
        tr_buf_clear(&token);
        enum tr_rc rc = tr_google_token(cx, d->http, &d->who, BQ_SCOPE, &token, err);
        if (rc == TR_OK)
            rc = send(cx, d, c, url, tr_buf_view(&token), err);
        if (rc != TR_OK)
            return rc;
        if (d->answer.status == 401)
            tr_google_token_forget(&d->who, BQ_SCOPE, tr_buf_view(&token));
        if (d->answer.status != 401 || tries > 0)
            break;
    }
    return is_good(c, d->answer.status) ? TR_OK : refuse(d, c->where, ret_class, err);
}

enum tr_rc bq_post(const struct tr_ctx *cx, struct bq_dest *d, bool is_safe,
                   struct bq_class *ret_class, struct tr_err *err)
{
    struct bq_call c = { .method = "POST",
                         .more = { "Content-Type: application/json; charset=UTF-8" },
                         .body = tr_buf_view(&d->body),
                         .is_safe = is_safe };

    if (d->body.failed)
        return tr_fail_oom(err);
    return bq_call(cx, d, &c, ret_class, err);
}

enum tr_rc bq_get(const struct tr_ctx *cx, struct bq_dest *d, struct bq_class *ret_class,
                  struct tr_err *err)
{
    struct bq_call c = { .method = "GET", .is_safe = true };

    return bq_call(cx, d, &c, ret_class, err);
}
