/* Runs made, attempted and finished as the engine would, one by one. */
#ifndef TEST_RUNS_H
#define TEST_RUNS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "fakes.h"

static struct tr_uuid export_id;
static int64_t start;

static inline int set_up(void **state)
{
    (void)state;
    fakes_open();
    start = fakes.source.now;
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    fakes_close();
    return 0;
}

/* n events from now on, one a second; every third of kind 1, others of kind 0. */
static inline void ingest(int n)
{
    for (int i = 0; i < n; i++) {
        fake_ingest(&fakes.source, 1, i % 3 == 0, false);
        fakes.source.now += TR_US_PER_S;
    }
}

static inline struct tr_run run_over(struct tr_range interval, enum tr_on_delivered how,
                                     struct tr_uuid backfill_id, uint32_t generation)
{
    struct tr_err err = { 0 };
    struct tr_run run = {
        .export_id = export_id,
        .project = 1,
        .interval = interval,
        .on_delivered = how,
        .backfill_id = backfill_id,
        .generation = generation,
        .created_at = fakes.source.now,
    };
    static const struct tr_uuid nil;

    if (memcmp(&backfill_id, &nil, sizeof(nil)) == 0)
        assert_int_equal(fakes.real->run_schedule(fakes.meta, &run, &err), TR_OK);
    else
        assert_int_equal(fakes.real->run_backfill(fakes.meta, &run, &err), TR_OK);
    return run;
}

static inline struct tr_run live_run(struct tr_range interval)
{
    return run_over(interval, TR_SKIP_DELIVERED, (struct tr_uuid){ { 0 } }, 0);
}

static inline struct tr_run backfill_run(struct tr_range interval, enum tr_on_delivered how)
{
    struct tr_err err = { 0 };
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;
    struct tr_backfill b = { .export_id = export_id,
                             .project = 1,
                             .range = interval,
                             .cursor = interval.lo,
                             .on_delivered = how,
                             .parallel = 1,
                             .created_at = fakes.source.now };

    assert_int_equal(tr_delivery_load(&fakes.delivery, &export_id, &e, &conf, &err), TR_OK);
    assert_int_equal(fakes.real->backfill_create(fakes.meta, &b, e->target, &err), TR_OK);
    tr_export_free(e);
    tr_conf_free(conf);
    return run_over(interval, how, b.id, b.generation);
}

/* One attempt of the run that is due, finished as the engine would. */
static inline enum tr_rc attempt(struct tr_run *run, struct tr_err *err)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX, .cancelled = &fakes.cancelled };
    struct tr_attempt a = { 0 };
    bool found = false;
    int64_t next = 0;

    *err = (struct tr_err){ 0 };
    assert_int_equal(fakes.real->run_claim(fakes.meta, "w", false, fakes.source.now, TR_US_PER_MIN,
                                           run, &found, &next, err),
                     TR_OK);
    assert_true(found);
    enum tr_rc rc = tr_deliver_run(&cx, &fakes.delivery, run, &a, err);
    if (fakes.dead)
        return rc;

    struct tr_err ignored = { 0 };
    run->state = rc == TR_OK                            ? TR_RUN_COMPLETED
                 : rc == TR_REFUSED || rc == TR_INVALID ? TR_RUN_FAILED
                 : rc == TR_CANCELLED                   ? TR_RUN_CANCELLED
                                                        : TR_RUN_RETRYING;
    run->next_attempt_at = fakes.source.now;
    run->finished_at = fakes.source.now;
    enum tr_rc finish = fakes.meta->ops->run_finish(fakes.meta, run, a.target,
                                                    rc == TR_OK && a.deliver_run, &ignored);
    if (rc == TR_OK && finish != TR_OK) {
        *err = ignored;
        return finish;
    }
    return rc;
}

/* Attempts until one goes well, as the engine and a person would see to; then *run is as it is
 * kept. */
static inline void insist(struct tr_run *run)
{
    struct tr_err err = { 0 };

    for (int i = 0; i < 20; i++) {
        struct tr_err ignored;

        (void)!attempt(run, &err);

        atomic_store(&fakes.cancelled, false);
        fakes_revive();
        assert_int_equal(fakes.real->run_get(fakes.meta, &run->id, run, &ignored), TR_OK);
        if (run->state == TR_RUN_COMPLETED)
            return;
        if (tr_run_state_ended(run->state))
            assert_int_equal(
                fakes.real->run_retry(fakes.meta, &run->id, fakes.source.now, run, &ignored),
                TR_OK);
    }
    fail_msg("the run does not come to its end: %s: %s", err.id, err.cause);
}

/* Every event of the range is there as often as told. */
static inline void assert_there(const char *place, struct tr_range range, int kind, size_t times)
{
    const struct fake_place *p = fake_place(place);

    for (size_t i = 0; i < fakes.source.n; i++) {
        const struct fake_event *e = &fakes.source.events[i];

        if (e->at < range.lo || e->at >= range.hi || (kind >= 0 && e->kind != kind))
            continue;
        size_t want = fake_is_bad(&e->uuid) ? 0 : times;
        if (fake_live(p, &e->uuid) != want)
            fail_msg("event %zu is there %zu times, not %zu", i, fake_live(p, &e->uuid), want);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
