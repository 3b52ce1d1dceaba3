/* The store as its callers see it: what goes in comes out, once, in order, sealed or not. */
#include "kit.h"

#include <stdlib.h>
#include <string.h>

#include "model/event.h"
#include "os/clock.h"

static void what_was_stored_is_read_in_order_from_the_journal(void **state)
{
    struct kit k;
    uint64_t numbers[100];

    (void)state;
    kit_init(&k);
    kit_open(&k);
    kit_store(&k, 1, 100, 60, 7);
    kit_store(&k, 2, 500, 10, 10);
    assert_int_equal(kit_read_all(&k, 1, numbers, 100), 60);
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(numbers[i], 100 + i);
    assert_int_equal(kit_read_all(&k, 2, numbers, 100), 10);
    assert_int_equal(kit_read_all(&k, 3, numbers, 100), 0);
    kit_fini(&k);
}

static void sealing_and_a_restart_change_nothing_for_readers(void **state)
{
    struct kit k;
    uint64_t numbers[600];

    (void)state;
    kit_init(&k);
    k.o.block_bytes = 4096;
    kit_open(&k);
    kit_store(&k, 1, 0, 300, 11);
    kit_store(&k, 2, 1000, 50, 50);
    kit_seal_all(&k);
    kit_store(&k, 1, 300, 200, 13);
    for (int restart = 0; restart < 2; restart++) {
        assert_int_equal(kit_read_all(&k, 1, numbers, 600), 500);
        for (size_t i = 0; i < 500; i++)
            assert_int_equal(numbers[i], i);
        assert_int_equal(kit_read_all(&k, 2, numbers, 600), 50);
        kit_close(&k);
        kit_open(&k);
    }
    kit_fini(&k);
}

static void
a_copy_of_an_event_is_a_duplicate_and_another_one_under_its_uuid_a_conflict(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    struct kit_event events[] = {
        { .project = 1, .number = 1 }, { .project = 1, .number = 1 },
        { .project = 2, .number = 1 }, { .project = 1, .number = 1, .event = "other" },
        { .project = 1, .number = 2 },
    };
    static const enum tr_outcome first[] = { TR_EVENT_STORED, TR_EVENT_DUPLICATE, TR_EVENT_STORED,
                                             TR_EVENT_CONFLICT, TR_EVENT_STORED };

    (void)state;
    kit_init(&k);
    kit_open(&k);
    assert_int_equal(kit_send(&k, events, 5, &err), TR_OK);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(events[i].outcome, first[i]);
    kit_close(&k);
    kit_open(&k);
    assert_int_equal(kit_send(&k, events, 5, &err), TR_OK);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(events[i].outcome, i == 3 ? TR_EVENT_CONFLICT : TR_EVENT_DUPLICATE);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 2);

    struct tr_counts counts;
    struct tr_range all = { 0, tr_store_now(k.s) };
    assert_int_equal(tr_store_counts(k.s, 1, all, &counts, &err), TR_OK);
    assert_int_equal(counts.stored, 2);
    assert_int_equal(counts.duplicates, 4);
    assert_int_equal(counts.conflicts, 2);
    kit_fini(&k);
}

static void an_idle_clock_is_closed_by_a_fence_that_survives_a_restart(void **state)
{
    struct kit k;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    assert_false(tr_store_close_through(k.s, tr_store_now(k.s) + 3600 * 1000000LL));
    int64_t t = kit_fence(&k);
    assert_true(tr_store_closed_through(k.s) >= t);
    kit_close(&k);
    kit_open(&k);
    assert_true(tr_store_closed_through(k.s) >= t);
    kit_store(&k, 1, 1, 1, 1);
    assert_int_equal(kit_read(&k, 1, (struct tr_range){ 0, t }, NULL, 0), 0);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 1);
    kit_fini(&k);
}

static void every_column_comes_out_as_it_went_in(void **state)
{
    static const char properties[] =
        "{\"$ip\":\"10.1.2.3\",\"x\":54.10,\"$set\":{\"a\":1},"
        "\"$set_once\":{\"b\":2},\"$elements_chain\":\"a\\\"b\\u00e9\"}";
    struct kit k;
    struct tr_err err = { 0 };
    struct tr_store_reader *r;
    struct tr_batch *b;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    for (int sealed = 0; sealed < 2; sealed++) {
        struct kit_event plain = { .project = 5, .number = 40 + (uint64_t)sealed };
        assert_int_equal(kit_send(&k, &plain, 1, &err), TR_OK);
    }
    kit_seal_all(&k);
    (void)properties;
    assert_int_equal(tr_store_read(k.s, 5, (struct tr_range){ 0, tr_store_closed_through(k.s) },
                                   (1U << TR_EVENT_COLUMNS) - 1, &r, &err),
                     TR_OK);
    assert_int_equal(tr_store_next(r, &b, &err), TR_OK);
    assert_non_null(b);
    assert_int_equal(b->rows, 2);
    assert_true(tr_str_is(b->col[TR_EVENT_EVENT].str[0], "e5"));
    assert_true(tr_str_is(b->col[TR_EVENT_DISTINCT_ID].str[1], "user-41"));
    assert_true(tr_str_is(b->col[TR_EVENT_IP].str[1], "10.0.0.41"));
    assert_null(b->col[TR_EVENT_SITE_URL].str[0].p);
    assert_null(b->col[TR_EVENT_SET].str[0].p);
    assert_null(b->col[TR_EVENT_ELEMENTS_CHAIN].str[0].p);
    assert_int_equal(b->col[TR_EVENT_TIMESTAMP].i64[0], 40000);
    assert_int_equal(b->col[TR_EVENT_CREATED_AT].i64[1], b->inserted_at[1]);
    assert_int_equal(tr_store_next(r, &b, &err), TR_OK);
    assert_null(b);
    tr_store_read_close(r);
    kit_fini(&k);
}

static void a_range_that_is_not_closed_or_below_the_floor_is_refused(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    struct tr_store_reader *r;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    int64_t closed = kit_fence(&k);
    closed = tr_store_closed_through(k.s);
    assert_int_equal(tr_store_read(k.s, 1, (struct tr_range){ 0, closed + 1 }, 1, &r, &err),
                     TR_INVALID);
    assert_string_equal(err.id, "store.not_closed");
    assert_int_equal(tr_store_read(k.s, 1, (struct tr_range){ -1, closed }, 1, &r, &err),
                     TR_INVALID);
    assert_string_equal(err.id, "store.below_floor");
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_read_in_order_from_the_journal),
        cmocka_unit_test(sealing_and_a_restart_change_nothing_for_readers),
        cmocka_unit_test(
            a_copy_of_an_event_is_a_duplicate_and_another_one_under_its_uuid_a_conflict),
        cmocka_unit_test(an_idle_clock_is_closed_by_a_fence_that_survives_a_restart),
        cmocka_unit_test(every_column_comes_out_as_it_went_in),
        cmocka_unit_test(a_range_that_is_not_closed_or_below_the_floor_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
