/* The adapter over a real store: the store's own tests tell what it keeps; here, that the port
 * passes everything through and stops when told. */
#include "kit.h"

#include <string.h>

#include "os/clock.h"
#include "source/store.h"

enum { EVENTS = 5000, PROJECT = 7 };

static struct kit kit;
static struct tr_source *source;

static int open_store(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    kit_init(&kit);
    kit_open(&kit);
    return tr_source_store_new(kit.s, &source, &err) == TR_OK ? 0 : -1;
}

static int close_store(void **state)
{
    (void)state;
    source->ops->close(source);
    kit_fini(&kit);
    return 0;
}

static struct tr_ctx in_time(void)
{
    return (struct tr_ctx){ .deadline_us = tr_clock_boot_us() + 60 * INT64_C(1000000) };
}

/* EVENTS of PROJECT and some of another; the range that holds them, closed. */
static struct tr_range stored(void)
{
    struct tr_range r = { source->ops->now(source), 0 };

    kit_store(&kit, PROJECT, 1, EVENTS, 500);
    kit_store(&kit, PROJECT + 1, EVENTS + 1, 10, 10);
    r.hi = kit_fence(&kit);
    assert_true(source->ops->close_through(source, r.hi));
    return r;
}

static void it_is_stable_and_has_the_store_s_clock(void **state)
{
    (void)state;
    assert_string_equal(source->ops->name, "store");
    assert_true((source->ops->caps & TR_SOURCE_STABLE) != 0);
    int64_t now = source->ops->now(source);
    assert_true(now >= tr_store_closed_through(kit.s));
    assert_false(source->ops->close_through(source, now + 3600 * INT64_C(1000000)));
    assert_int_equal(source->ops->floor(source), tr_store_floor(kit.s));
}

static void a_range_reads_the_same_twice(void **state)
{
    struct tr_range range = stored();
    tr_column_mask columns = (tr_column_mask)1 << TR_EVENT_UUID | (tr_column_mask)1
                                                                      << TR_EVENT_EVENT;
    static uint64_t first[EVENTS];

    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        struct tr_ctx cx = in_time();
        struct tr_stream *in = NULL;
        struct tr_batch *b = NULL;
        size_t n = 0;

        assert_ok(
            source->ops->read(&cx, source, PROJECT, &tr_schema_events, range, columns, &in, &err_));
        for (;;) {
            assert_ok(in->ops->next(&cx, in, &b, &err_));
            if (b == NULL)
                break;
            assert_non_null(b->col[TR_EVENT_EVENT].str);
            for (size_t i = 0; i < b->rows; i++, n++) {
                uint64_t number = kit_number(&b->col[TR_EVENT_UUID].uuid[i]);
                assert_true(n < EVENTS);
                if (pass == 0)
                    first[n] = number;
                assert_int_equal(number, first[n]);
            }
        }
        assert_int_equal(n, EVENTS);
        in->ops->close(in);
    }
}

static void plan_counts_and_extent_come_from_the_store(void **state)
{
    struct tr_range range = stored();
    struct tr_ctx cx = in_time();
    struct tr_part parts[16];
    struct tr_counts counts;
    size_t n = 0;
    int64_t covered = 0;
    uint64_t rows = 0;
    bool any = false;
    int64_t lo = 0;
    int64_t hi = 0;

    (void)state;
    assert_ok(source->ops->plan(&cx, source, PROJECT, &tr_schema_events, range, 1000, UINT64_MAX,
                                parts, 16, &n, &covered, &err_));
    assert_int_equal(covered, range.hi);
    assert_true(n >= 5);
    assert_int_equal(parts[0].range.lo, range.lo);
    assert_int_equal(parts[n - 1].range.hi, range.hi);
    for (size_t i = 0; i < n; i++)
        rows += parts[i].rows;
    assert_int_equal(rows, EVENTS);
    assert_ok(
        source->ops->extent(source, PROJECT, &tr_schema_events, range, &any, &lo, &hi, &err_));
    assert_true(any && lo >= range.lo && hi < range.hi && lo < hi);
    /* Counts are by whole minutes. */
    struct tr_range minutes = { range.lo - range.lo % 60000000,
                                range.hi - range.hi % 60000000 + 60000000 };
    assert_ok(source->ops->counts(source, PROJECT, minutes, &counts, &err_));
    assert_int_equal(counts.stored, EVENTS);
}

static void it_stops_when_told(void **state)
{
    struct tr_range range = stored();
    tr_column_mask columns = (tr_column_mask)1 << TR_EVENT_UUID;
    atomic_bool cancelled = false;
    struct tr_ctx cx = in_time();
    struct tr_ctx late = { .deadline_us = tr_clock_boot_us() - 1 };
    struct tr_stream *in = NULL;
    struct tr_batch *b = NULL;
    struct tr_err err = { 0 };
    struct tr_part part;
    size_t n;
    int64_t covered;

    (void)state;
    cx.cancelled = &cancelled;
    assert_ok(
        source->ops->read(&cx, source, PROJECT, &tr_schema_events, range, columns, &in, &err_));
    assert_ok(in->ops->next(&cx, in, &b, &err_));
    atomic_store(&cancelled, true);
    assert_int_equal(in->ops->next(&cx, in, &b, &err), TR_CANCELLED);
    assert_int_equal(in->ops->next(&late, in, &b, &err), TR_TRANSIENT);
    assert_string_equal(err.id, "source.too_slow");
    in->ops->close(in);
    assert_int_equal(source->ops->plan(&cx, source, PROJECT, &tr_schema_events, range, 1, 1, &part,
                                       1, &n, &covered, &err),
                     TR_CANCELLED);
}

static void what_the_store_does_not_hold_is_refused(void **state)
{
    struct tr_ctx cx = in_time();
    struct tr_stream *in = NULL;
    struct tr_err err = { 0 };
    int64_t now = source->ops->now(source);
    struct tr_range open = { now, now + 3600 * INT64_C(1000000) };

    (void)state;
    assert_int_equal(source->ops->read(&cx, source, PROJECT, &tr_schema_events, open, 1, &in, &err),
                     TR_INVALID);
    assert_string_equal(err.id, "store.not_closed");
    assert_int_equal(
        source->ops->read(&cx, source, PROJECT, &tr_schema_persons, open, 1, &in, &err),
        TR_INVALID);
    assert_string_equal(err.id, "store.not_closed");
    assert_null(in);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_is_stable_and_has_the_store_s_clock),     CASE(a_range_reads_the_same_twice),
        CASE(plan_counts_and_extent_come_from_the_store), CASE(it_stops_when_told),
        CASE(what_the_store_does_not_hold_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
