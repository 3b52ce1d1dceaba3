/* An engine without threads, over the doubles of delivery's ports: time goes by when a test says
 * so. */
#ifndef TEST_STEPS_H
#define TEST_STEPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/local/local_priv.h"
#include "fakes.h"

static struct engine *engine;
static int64_t start; /* a full week's, day's and hour's beginning: 2026-01-05, a Monday */

static inline int64_t minutes(int64_t n)
{
    return n * TR_US_PER_MIN;
}

static inline void engine_up(void)
{
    struct tr_engine_options o = { .delivery = &fakes.delivery, .workers = 2 };
    struct tr_err err = { 0 };

    assert_int_equal(engine_new(&o, &engine, &err), TR_OK);
}

static inline int steps_set_up(void **state)
{
    (void)state;
    fakes_open();
    start = fakes.source.now + 4 * TR_US_PER_DAY;
    fakes.source.now = start;
    engine_up();
    return 0;
}

static inline int steps_tear_down(void **state)
{
    (void)state;
    engine_free(engine);
    fakes_close();
    return 0;
}

static inline void must_be_ok(enum tr_rc rc, const struct tr_err *err)
{
    char text[512];

    if (rc != TR_OK)
        fail_msg("%s", tr_err_text(err, text, sizeof(text)));
}

/* The scheduler's turn; returns when it wants the next one. */
static inline int64_t schedule(void)
{
    struct tr_err err = { 0 };
    int64_t next = 0;

    must_be_ok(engine_schedule(engine, &next, &err), &err);
    return next;
}

static inline void expand(void)
{
    struct tr_err err = { 0 };

    must_be_ok(engine_expand(engine, &err), &err);
}

/* One worker's turn; false: nothing was due. */
static inline bool work(void)
{
    struct tr_err err = { 0 };
    bool found = false;
    int64_t next = 0;

    must_be_ok(engine_work(engine, &engine->slots[0], &found, &next, &err), &err);
    return found;
}

static inline void work_all(void)
{
    for (int i = 0; i < 10000 && work(); i++)
        continue;
}

struct run_list {
    struct tr_run v[512];
    size_t n;
};

static inline bool list_run(void *arg, const struct tr_run *run)
{
    struct run_list *l = arg;

    assert_true(l->n < sizeof(l->v) / sizeof(l->v[0]));
    l->v[l->n++] = *run;
    return true;
}

static inline int older_first(const void *a, const void *b)
{
    const struct tr_run *x = a;
    const struct tr_run *y = b;

    return (x->interval.lo > y->interval.lo) - (x->interval.lo < y->interval.lo);
}

/* All runs of an export, by interval. */
static inline const struct run_list *runs_of(const struct tr_uuid *export_id)
{
    static struct run_list list;
    struct tr_run_query q = { .export_id = *export_id };
    struct tr_err err = { 0 };

    list.n = 0;
    must_be_ok(fakes.real->run_list(fakes.meta, &q, list_run, &list, &err), &err);
    qsort(list.v, list.n, sizeof(list.v[0]), older_first);
    return &list;
}

static inline void assert_interval(const struct tr_run *run, int64_t lo, int64_t hi)
{
    if (run->interval.lo != lo || run->interval.hi != hi)
        fail_msg("interval is from %+.3f s to %+.3f s, not %+.3f s to %+.3f s",
                 (double)(run->interval.lo - start) / 1e6, (double)(run->interval.hi - start) / 1e6,
                 (double)(lo - start) / 1e6, (double)(hi - start) / 1e6);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, steps_set_up, steps_tear_down)

#endif
