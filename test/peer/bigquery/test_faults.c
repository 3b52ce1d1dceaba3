/* What the adapter says when things go wrong, call by call, against the fake. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "loader.h"
#include "os/clock.h"
#include "warehouse.h"

enum { ROWS = 50, ALWAYS = 1000 };

static struct loader *l;
static struct rows *r;
static struct tr_key key;

static int fresh(void **state)
{
    (void)state;
    (void)warehouse_control("{s:b, s:{s:f, s:f}}", "clear", 1, "set", "pending_seconds", 0.0,
                            "running_seconds", 0.0);
    l = loader_new(warehouse_fresh());
    r = rows_new(ROWS, 1, 200);
    key = rows_key();
    return loader_prepare(l, &tr_schema_events) == TR_OK ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    rows_free(r);
    loader_free(l);
    return 0;
}

static void must(enum tr_rc rc)
{
    char text[600];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id, tr_err_text(&l->err, text, sizeof(text)));
}

/* With the faults over. */
static enum tr_chunk_state ask(void)
{
    enum tr_chunk_state s = TR_CHUNK_IN_FLIGHT;

    (void)warehouse_control("{s:b}", "clear", 1);
    must(loader_lookup(l, &key, 30000, &s));
    return s;
}

static void fault(const char *match, const char *what, int status, int times)
{
    (void)warehouse_control("{s:{s:s, s:s, s:i, s:i}}", "fault", "match", match, "do", what,
                            "status", status, "times", times);
}

static void an_answer_that_never_comes_leaves_it_open(void **state)
{
    (void)state;
    fault("PUT /upload/", "lose", 0, ALWAYS);
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_AMBIGUOUS);
    assert_string_equal(l->err.id, "bigquery.job_unknown");
    assert_int_equal(ask(), TR_CHUNK_PRESENT);
    assert_int_equal(l->receipt.delivered, ROWS);
    assert_int_equal(warehouse_rows(), ROWS);
}

static void a_request_that_never_arrived_leaves_it_open_too(void **state)
{
    (void)state;
    fault("PUT /upload/", "drop", 0, ALWAYS);
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_AMBIGUOUS);
    assert_int_equal(ask(), TR_CHUNK_ABSENT);
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(warehouse_rows(), ROWS);
}

/* The answer ABSENT is for good: the next attempt may have other bounds, and another key. */
static void what_was_absent_does_not_arrive_later(void **state)
{
    struct tr_key other = rows_key();

    (void)state;
    (void)warehouse_control("{s:{s:s, s:s, s:i, s:s}}", "fault", "match", "PUT /upload/", "do",
                            "delay", "seconds", 3, "late", "lose");
    fault("PUT /upload/", "error", 503, ALWAYS);
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_AMBIGUOUS);
    assert_int_equal(ask(), TR_CHUNK_ABSENT);
    must(loader_deliver(l, &other, &r->batch, false));
    tr_clock_sleep_us(4 * TR_US_PER_S); /* it has arrived by now */
    assert_int_equal(warehouse_rows(), ROWS);
}

static void a_definite_refusal_is_one(void **state)
{
    (void)state;
    (void)warehouse_control("{s:{s:s, s:s, s:i, s:s, s:s}}", "fault", "match", "POST /upload/",
                            "do", "error", "status", 403, "reason", "accessDenied", "message",
                            "Access Denied: Permission bigquery.jobs.create denied");
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, "bigquery.permission_denied");
    assert_int_equal(ask(), TR_CHUNK_ABSENT);
}

/* The job was made, its answer lost, and then the account was locked out. */
static void a_refusal_at_the_end_leaves_it_open(void **state)
{
    (void)state;
    fault("PUT /upload/", "lose", 0, 1);
    (void)warehouse_control("{s:{s:s, s:s, s:i, s:s, s:s, s:i}}", "fault", "match", "PUT /upload/",
                            "do", "error", "status", 403, "reason", "accessDenied", "message",
                            "Access Denied: Permission bigquery.jobs.create denied", "times",
                            ALWAYS);
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_AMBIGUOUS);
    assert_string_equal(l->err.id, "bigquery.permission_denied");
    assert_non_null(strstr(l->err.hint, "bigquery.jobs.create"));
    assert_int_equal(ask(), TR_CHUNK_PRESENT);
    assert_int_equal(l->receipt.delivered, ROWS);
}

static void a_job_that_may_not_be_asked_for_is_left_open(void **state)
{
    (void)state;
    (void)warehouse_control("{s:{s:f}}", "set", "running_seconds", 1.0);
    (void)warehouse_control("{s:{s:s, s:s, s:i, s:s, s:i, s:i}}", "fault", "match", "GET .*/jobs/",
                            "do", "error", "status", 403, "reason", "accessDenied", "skip", 1,
                            "times", ALWAYS);
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_AMBIGUOUS);
    assert_string_equal(l->err.id, "bigquery.permission_denied");
    assert_int_equal(ask(), TR_CHUNK_PRESENT);
    assert_int_equal(warehouse_rows(), ROWS);
}

static void a_job_that_runs_on_is_in_flight(void **state)
{
    struct tr_load_spec spec = { .key = key };
    struct tr_ctx soon = loader_time(20000);
    enum tr_chunk_state s = TR_CHUNK_ABSENT;
    struct tr_load *load = NULL;

    (void)state;
    (void)warehouse_control("{s:{s:f}}", "set", "running_seconds", 4.0);
    must(l->dest->ops->begin(&soon, l->dest, &spec, &load, &l->err));
    must(load->ops->write(&soon, load, &r->batch, &l->err));
    soon = loader_time(1000);
    assert_int_equal(load->ops->commit(&soon, load, &l->receipt, &l->err), TR_AMBIGUOUS);
    assert_string_equal(l->err.id, "bigquery.job_running");
    must(loader_lookup(l, &key, 500, &s));
    assert_int_equal(s, TR_CHUNK_IN_FLIGHT);
    assert_int_equal(ask(), TR_CHUNK_PRESENT); /* waits for it */
    assert_int_equal(l->receipt.delivered, ROWS);

    /* whoever begins meanwhile goes by the job that is there */
    key = rows_key();
    soon = loader_time(20000);
    must(l->dest->ops->begin(&soon, l->dest, &spec, &load, &l->err));
    load->ops->abort(load);
}

static atomic_bool cancelled;

static void *cancel_soon(void *arg)
{
    (void)arg;
    tr_clock_sleep_us(TR_US_PER_S / 2);
    atomic_store(&cancelled, true);
    return NULL;
}

static void who_cancels_has_the_job_cancelled(void **state)
{
    struct tr_load_spec spec = { .key = key };
    struct tr_ctx cx = loader_time(60000);
    struct tr_load *load = NULL;
    pthread_t thread;

    (void)state;
    atomic_store(&cancelled, false);
    cx.cancelled = &cancelled;
    (void)warehouse_control("{s:{s:f}}", "set", "pending_seconds", 600.0);
    must(l->dest->ops->begin(&cx, l->dest, &spec, &load, &l->err));
    must(load->ops->write(&cx, load, &r->batch, &l->err));
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    int64_t began = tr_clock_boot_us();
    assert_int_equal(load->ops->commit(&cx, load, &l->receipt, &l->err), TR_CANCELLED);
    assert_true(tr_clock_boot_us() - began < 5 * TR_US_PER_S);
    (void)pthread_join(thread, NULL);
    assert_int_equal(warehouse_control("{s:s}", "count", "POST .*/cancel"), 1);
    (void)warehouse_control("{s:{s:f}}", "set", "pending_seconds", 0.0);
    assert_int_equal(ask(), TR_CHUNK_ABSENT);
    assert_int_equal(warehouse_rows(), 0);
}

static void many_failed_jobs_are_passed_in_few_steps(void **state)
{
    (void)state;
    (void)warehouse_control("{s:{s:s, s:s, s:i}}", "job_fault", "what", "load", "reason",
                            "jobBackendError", "times", 40);
    for (int i = 0; i < 40; i++)
        assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_TRANSIENT);
    (void)warehouse_control("{s:b}", "clear", 1);
    must(loader_deliver(l, &key, &r->batch, false));
    assert_true(warehouse_control("{s:s}", "count", "GET .*/jobs/") < 20);
    assert_int_equal(warehouse_rows(), ROWS);
}

/* Counts that came after the upload had begun are in a job of their own. */
static void counts_of_a_large_chunk_are_remembered(void **state)
{
    struct tr_load_spec spec = { .key = key };
    struct tr_ctx cx = loader_time(120000);
    struct tr_load *load = NULL;
    struct rows *large = rows_new(30, 2, 1 << 20);

    (void)state;
    for (size_t i = 0; i < 30; i++) { /* what cannot be squeezed */
        char *text = (char *)(uintptr_t)large->batch.col[TR_EVENT_PROPERTIES].str[i].p;
        uint32_t x = (uint32_t)i + 1;
        for (size_t k = 100; k < (1 << 20) - 100; k++) {
            x = x * 1664525 + 1013904223;
            text[k] = (char)('0' + (x >> 24) % 75);
            if (text[k] == '\\')
                text[k] = '0';
        }
    }
    must(l->dest->ops->begin(&cx, l->dest, &spec, &load, &l->err));
    must(load->ops->write(&cx, load, &large->batch, &l->err));
    r->batch.col[TR_EVENT_TIMESTAMP].i64[3] = 0;
    must(load->ops->write(&cx, load, &r->batch, &l->err));
    must(load->ops->commit(&cx, load, &l->receipt, &l->err));
    assert_int_equal(l->receipt.delivered, 30 + ROWS - 1);
    assert_int_equal(l->receipt.rejected, 1);
    l->receipt = (struct tr_receipt){ 0 };
    assert_int_equal(ask(), TR_CHUNK_PRESENT);
    assert_int_equal(l->receipt.delivered, 30 + ROWS - 1);
    assert_int_equal(l->receipt.rejected, 1);
    rows_free(large);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fresh, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_answer_that_never_comes_leaves_it_open),
        CASE(a_request_that_never_arrived_leaves_it_open_too),
        CASE(what_was_absent_does_not_arrive_later),
        CASE(a_definite_refusal_is_one),
        CASE(a_refusal_at_the_end_leaves_it_open),
        CASE(a_job_that_may_not_be_asked_for_is_left_open),
        CASE(a_job_that_runs_on_is_in_flight),
        CASE(who_cancels_has_the_job_cancelled),
        CASE(many_failed_jobs_are_passed_in_few_steps),
        CASE(counts_of_a_large_chunk_are_remembered),
    };
    const char *why = warehouse_connect_fake();

    if (why != NULL) {
        (void)printf("1..0 # SKIP %s\n", why);
        return 0;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    warehouse_disconnect();
    return failed;
}
