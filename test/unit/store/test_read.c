/* Reading and planning: bounds, cuts that do not depend on sealing, and a reader beside the keeper.
 */
#include "kit.h"

#include <stdlib.h>
#include <string.h>

#include "model/event.h"
#include "os/clock.h"

enum { EVENTS = 1200, PARTS = 2000 };

struct events {
    uint64_t number[EVENTS];
    int64_t at[EVENTS];
    size_t n;
};

static void read_events(struct kit *k, int32_t project, struct tr_range range, struct events *ret)
{
    struct tr_store_reader *r;
    struct tr_err err = { 0 };
    struct tr_batch *b;

    ret->n = 0;
    assert_int_equal(tr_store_read(k->s, project, range, 1U << TR_EVENT_UUID, &r, &err), TR_OK);
    while (tr_store_next(r, &b, &err) == TR_OK && b != NULL)
        for (size_t i = 0; i < b->rows; i++) {
            assert_true(ret->n < EVENTS);
            ret->number[ret->n] = kit_number(&b->col[TR_EVENT_UUID].uuid[i]);
            ret->at[ret->n++] = b->inserted_at[i];
        }
    tr_store_read_close(r);
}

/* Two projects, events of different sizes. */
static void store_mixed(struct kit *k)
{
    struct tr_err err = { 0 };

    for (uint64_t n = 0; n < EVENTS; n += 8) {
        struct kit_event e[16];
        for (uint64_t i = 0; i < 8; i++) {
            e[2 * i] = (struct kit_event){ .project = 1, .number = n + i };
            e[2 * i + 1] = (struct kit_event){ .project = 2, .number = 100000 + n + i };
        }
        k->pad = (size_t)(n * 7 % 300);
        assert_int_equal(kit_send(k, e, 16, &err), TR_OK);
    }
    (void)kit_fence(k);
}

static void every_range_gives_exactly_its_events_sealed_or_not(void **state)
{
    struct kit k;
    struct events all;
    struct events part;

    (void)state;
    kit_init(&k);
    k.o.block_bytes = 8192;
    kit_open(&k);
    store_mixed(&k);
    for (int sealed = 0; sealed < 2; sealed++) {
        read_events(&k, 1, (struct tr_range){ 0, tr_store_closed_through(k.s) }, &all);
        assert_int_equal(all.n, EVENTS);
        for (size_t i = 0; i < EVENTS; i += 37)
            for (size_t j = i; j < EVENTS; j += 101) {
                struct tr_range range = { all.at[i], all.at[j] }; /* the last one is outside */
                read_events(&k, 1, range, &part);
                assert_int_equal(part.n, j - i);
                for (size_t m = 0; m < part.n; m++)
                    assert_int_equal(part.number[m], all.number[i + m]);
            }
        kit_seal_all(&k);
    }
    kit_fini(&k);
}

static size_t plan(struct kit *k, struct tr_range range, uint64_t rows, uint64_t bytes, size_t cap,
                   struct tr_part *parts, int64_t *covered)
{
    struct tr_err err = { 0 };
    size_t n;

    assert_int_equal(tr_store_plan(k->s, 1, range, rows, bytes, parts, cap, &n, covered, &err),
                     TR_OK);
    return n;
}

static void a_plan_is_the_same_before_and_after_sealing_and_a_restart(void **state)
{
    static const struct {
        uint64_t rows, bytes;
    } limits[] = { { 1, 1 << 30 },     { 7, 1 << 30 }, { 100, 1 << 30 },     { 1 << 20, 5000 },
                   { 1 << 20, 60000 }, { 50, 20000 },  { 1 << 20, 1 << 30 }, { 10, 0 } };
    struct kit k;
    struct tr_part *before = calloc(PARTS, sizeof(*before));
    struct tr_part *after = calloc(PARTS, sizeof(*after));
    int64_t covered;

    (void)state;
    kit_init(&k);
    k.o.block_bytes = 8192;
    k.o.seal_bytes = 100 * 1024;
    k.o.seal_age_us = INT64_MAX / 2;
    kit_open(&k);
    store_mixed(&k);
    struct tr_range whole = { 0, tr_store_closed_through(k.s) };
    struct events all;
    read_events(&k, 1, whole, &all);
    struct tr_range inner = { all.at[13], all.at[1111] + 1 };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        for (int narrow = 0; narrow < 2; narrow++) {
            struct tr_range range = narrow ? inner : whole;
            size_t n = plan(&k, range, limits[i].rows, limits[i].bytes, PARTS, before, &covered);
            assert_int_equal(covered, range.hi);
            assert_int_equal(before[0].range.lo, range.lo);
            uint64_t rows = 0;
            for (size_t p = 0; p < n; p++) {
                struct events part;
                assert_int_equal(before[p].range.lo, p == 0 ? range.lo : before[p - 1].range.hi);
                assert_true(before[p].rows <= limits[i].rows);
                assert_true(before[p].bytes <= limits[i].bytes || before[p].rows == 1);
                if (n < 100) {
                    read_events(&k, 1, before[p].range, &part);
                    assert_int_equal(part.n, before[p].rows);
                }
                rows += before[p].rows;
            }
            assert_int_equal(before[n - 1].range.hi, range.hi);
            assert_int_equal(rows, narrow ? 1111 - 13 + 1 : EVENTS);

            kit_close(&k);
            kit_open(&k);
            if (i == 3)
                kit_seal_all(&k);
            assert_int_equal(
                plan(&k, range, limits[i].rows, limits[i].bytes, PARTS, after, &covered), n);
            assert_memory_equal(before, after, n * sizeof(*before));
        }
    /* The very same again, all of it sealed now. */
    kit_seal_all(&k);
    size_t n = plan(&k, whole, 100, 1 << 30, PARTS, before, &covered);
    assert_int_equal(n, EVENTS / 100);
    free(before);
    free(after);
    kit_fini(&k);
}

static void a_plan_with_little_room_says_how_far_it_went_and_can_be_continued(void **state)
{
    struct kit k;
    struct tr_part whole[PARTS];
    struct tr_part some[4];
    int64_t covered;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    store_mixed(&k);
    struct tr_range range = { 0, tr_store_closed_through(k.s) };
    size_t n = plan(&k, range, 50, 1 << 30, PARTS, whole, &covered);
    assert_int_equal(n, EVENTS / 50);
    for (size_t at = 0; at < n;) {
        size_t got = plan(&k, range, 50, 1 << 30, 4, some, &covered);
        assert_memory_equal(some, &whole[at], got * sizeof(*some));
        assert_int_equal(covered, whole[at + got - 1].range.hi);
        at += got;
        range.lo = covered;
    }
    assert_int_equal(range.lo, range.hi);
    n = plan(&k, (struct tr_range){ 5, 5 }, 1, 1, 4, some, &covered);
    assert_int_equal(n, 1);
    assert_int_equal(some[0].rows, 0);
    kit_fini(&k);
}

static void the_extent_is_the_first_and_the_last_event(void **state)
{
    struct kit k;
    struct events all;
    struct tr_err err = { 0 };
    bool any;
    int64_t first;
    int64_t last;

    (void)state;
    kit_init(&k);
    k.o.block_bytes = 8192;
    k.o.seal_age_us = INT64_MAX / 2;
    kit_open(&k);
    store_mixed(&k);
    struct tr_range whole = { 0, tr_store_closed_through(k.s) };
    read_events(&k, 1, whole, &all);
    for (int sealed = 0; sealed < 2; sealed++) {
        for (size_t i = 0; i < EVENTS; i += 97)
            for (size_t j = i + 1; j < EVENTS; j += 211) {
                struct tr_range range = { all.at[i], all.at[j] };
                assert_int_equal(tr_store_extent(k.s, 1, range, &any, &first, &last, &err), TR_OK);
                assert_true(any);
                assert_int_equal(first, all.at[i]);
                assert_int_equal(last, all.at[j - 1]);
                range = (struct tr_range){ all.at[i] + 1, all.at[i] + 1 };
                assert_int_equal(tr_store_extent(k.s, 1, range, &any, &first, &last, &err), TR_OK);
                assert_false(any);
            }
        kit_seal_all(&k);
    }
    assert_int_equal(tr_store_extent(k.s, 77, whole, &any, &first, &last, &err), TR_OK);
    assert_false(any);
    kit_fini(&k);
}

static void a_reader_beside_a_busy_keeper_sees_every_event_once(void **state)
{
    struct kit k;
    uint64_t *numbers = malloc(60000 * sizeof(*numbers));
    uint64_t stored = 0;

    (void)state;
    kit_init(&k);
    k.o.segment_bytes = 32 * 1024;
    k.o.seal_bytes = 16 * 1024;
    k.o.block_bytes = 4096;
    k.o.dedup_events = 64 * 64;
    k.o.dedup_age_us = INT64_MAX / 4;
    k.pad = 50;
    kit_open(&k);
    for (int round = 0; round < 60; round++) {
        struct tr_store_reader *r;
        struct tr_err err = { 0 };
        struct tr_batch *b;
        kit_store(&k, 1, stored, 300, 30);
        stored += 300;
        /* A reader is opened, and while it stands somewhere the store goes on. */
        struct tr_range all = { 0, tr_store_closed_through(k.s) };
        assert_int_equal(tr_store_read(k.s, 1, all, 1U << TR_EVENT_UUID, &r, &err), TR_OK);
        uint64_t seen = 0;
        for (;;) {
            if (tr_store_next(r, &b, &err) != TR_OK)
                fail_msg("%s%s", err.where, err.cause);
            if (b == NULL)
                break;
            for (size_t i = 0; i < b->rows; i++)
                assert_int_equal(kit_number(&b->col[TR_EVENT_UUID].uuid[i]), seen++);
            if (seen % 7 == 0 && round % 5 == 0)
                kit_seal_all(&k);
        }
        assert_int_equal(seen, stored);
        tr_store_read_close(r);
    }
    struct tr_store_status status;
    kit_seal_all(&k);
    tr_store_status(k.s, &status);
    assert_true(status.blocks > 100);
    assert_int_equal(status.events, stored);
    free(numbers);
    kit_fini(&k);
}

static void text_values_are_unescaped_and_json_values_are_left_as_they_are(void **state)
{
    static const char properties[] =
        "{\"$ip\":\"10.1.2.3\",\"x\":54.10,\"$set\":{\"a\":1},\"$set_once\":{\"b\":[2]},"
        "\"$elements_chain\":\"a:nth=\\\"1\\\";\\u00e9\"}";
    struct kit k;
    struct tr_err err = { 0 };
    struct tr_store_reader *r;
    struct tr_batch *b;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    struct tr_event e = { .project = 3,
                          .flags = TR_EVENT_HISTORICAL,
                          .uuid = kit_uuid(9),
                          .timestamp = -5,
                          .event = TR_STR("$autocapture"),
                          .distinct_id = TR_STR("d\xc3\xa9"),
                          .properties = TR_STR(properties) };
#define SPAN(text)                                                                                 \
    ((struct tr_span){ (uint32_t)(strstr(properties, text) - properties), sizeof(text) - 1 })
    e.ip = SPAN("\"10.1.2.3\"");
    e.set = SPAN("{\"a\":1}");
    e.set_once = SPAN("{\"b\":[2]}");
    e.elements_chain = SPAN("\"a:nth=\\\"1\\\";\\u00e9\"");

    struct kit_group one;
    kit_group_init(&one, &e, 1);
    assert_int_equal(kit_send_group(&k, &one.g, &err), TR_OK);
    kit_group_fini(&one);
    for (int sealed = 0; sealed < 2; sealed++) {
        assert_int_equal(tr_store_read(k.s, 3, (struct tr_range){ 0, tr_store_closed_through(k.s) },
                                       (1U << TR_EVENT_COLUMNS) - 1, &r, &err),
                         TR_OK);
        assert_int_equal(tr_store_next(r, &b, &err), TR_OK);
        assert_int_equal(b->rows, 1);
        assert_int_equal(b->flags[0], TR_EVENT_HISTORICAL);
        assert_true(tr_str_is(b->col[TR_EVENT_PROPERTIES].str[0], properties));
        assert_true(tr_str_is(b->col[TR_EVENT_SET].str[0], "{\"a\":1}"));
        assert_true(tr_str_is(b->col[TR_EVENT_SET_ONCE].str[0], "{\"b\":[2]}"));
        assert_true(tr_str_is(b->col[TR_EVENT_IP].str[0], "10.1.2.3"));
        assert_true(tr_str_is(b->col[TR_EVENT_ELEMENTS_CHAIN].str[0], "a:nth=\"1\";\xc3\xa9"));
        assert_true(tr_str_is(b->col[TR_EVENT_ELEMENTS].str[0], "\"a:nth=\\\"1\\\";\\u00e9\""));
        assert_true(tr_str_is(b->col[TR_EVENT_DISTINCT_ID].str[0], "d\xc3\xa9"));
        assert_int_equal(b->col[TR_EVENT_TIMESTAMP].i64[0], -5);
        tr_store_read_close(r);
        kit_seal_all(&k);
    }
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_range_gives_exactly_its_events_sealed_or_not),
        cmocka_unit_test(a_plan_is_the_same_before_and_after_sealing_and_a_restart),
        cmocka_unit_test(a_plan_with_little_room_says_how_far_it_went_and_can_be_continued),
        cmocka_unit_test(the_extent_is_the_first_and_the_last_event),
        cmocka_unit_test(a_reader_beside_a_busy_keeper_sees_every_event_once),
        cmocka_unit_test(text_values_are_unescaped_and_json_values_are_left_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
