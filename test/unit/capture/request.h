/* One capture request and what came of it: shared by the tests of this folder. */
#ifndef TR_TEST_CAPTURE_REQUEST_H
#define TR_TEST_CAPTURE_REQUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "capture/capture.h"

/* 2026-11-21T09:30:00Z */
#define NOW INT64_C(1795253400000000)

static const uint8_t request_random[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

struct request {
    struct tr_capture_in in;
    struct tr_capture_out out;
    struct tr_capture_scratch *scratch;
    struct tr_buf rows;
    struct tr_err err;
    enum tr_rc rc;
    int lookups;
};

/* Two projects; "phc_two" is number 2. */
static bool request_lookup(void *arg, struct tr_str token, int32_t *ret_project)
{
    (*(int *)arg)++;
    *ret_project = tr_str_is(token, "phc_two") ? 2 : 1;
    return tr_str_is(token, "phc_one") || tr_str_is(token, "phc_two");
}

static void request_init(struct request *q)
{
    memset(q, 0, sizeof(*q));
    q->in = (struct tr_capture_in){
        .path = TR_STR("/batch/"),
        .ip = "203.0.113.9",
        .now = NOW,
        .random = request_random,
        .max_inflated = 1 << 20,
        .max_event_bytes = 100000,
        .max_depth = 512,
    };
    tr_buf_init(&q->rows, 64 << 20);
    assert_int_equal(tr_capture_scratch_new(&q->scratch, &q->err), TR_OK);
}

static void request_fini(struct request *q)
{
    tr_capture_scratch_free(q->scratch);
    tr_buf_fini(&q->rows);
}

/* The body is copied to memory of its own size, so that the sanitizer sees every step beyond it. */
static enum tr_rc request_send_bytes(struct request *q, const void *body, size_t n)
{
    char *copy = malloc(n == 0 ? 1 : n);

    assert_non_null(copy);
    if (n > 0)
        memcpy(copy, body, n);
    q->in.body = (struct tr_str){ copy, n };
    q->out = (struct tr_capture_out){ .rows = &q->rows };
    q->err = (struct tr_err){ 0 };
    q->lookups = 0;
    q->rc = tr_capture_posthog(&q->in, request_lookup, &q->lookups, q->scratch, &q->out, &q->err);
    free(copy);
    q->in.body = (struct tr_str){ NULL, 0 };
    return q->rc;
}

static inline enum tr_rc request_send(struct request *q, const char *body)
{
    return request_send_bytes(q, body, strlen(body));
}

/* The i-th event of the last request. */
static inline struct tr_event request_event(const struct request *q, uint32_t i)
{
    struct tr_event e;

    if (q->rc != TR_OK)
        fail_msg("refused: %s: %s", q->err.id, q->err.cause);
    assert_true(i < q->out.events);
    assert_true(tr_event_unpack(q->rows.p + q->out.at[i], q->rows.n - q->out.at[i], &e) > 0);
    return e;
}

static inline void request_is(struct tr_str got, const char *want)
{
    if (!tr_str_is(got, want))
        fail_msg("got  %.*s\nwant %s", TR_STR_ARGS(got), want);
}

#endif
