/* The packed form of an event: bytes that live on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "model/event.h"

#define PROPERTIES "{\"$ip\":\"10.0.0.1\",\"$set\":{\"a\":1},\"x\":54.10}"

static struct tr_event example(void)
{
    return (struct tr_event){
        .project = 7,
        .flags = TR_EVENT_HISTORICAL | TR_EVENT_JSON_NUL,
        .uuid = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } },
        .inserted_at = 0,
        .timestamp = -5,
        .event = TR_STR("$pageview"),
        .distinct_id = TR_STR("user-\xC3\xA4"),
        .properties = TR_STR(PROPERTIES),
        .ip = { 7, 10 },
        .set = { 25, 7 },
    };
}

static void assert_same(const struct tr_event *a, const struct tr_event *b)
{
    assert_int_equal(a->project, b->project);
    assert_int_equal(a->flags, b->flags);
    assert_memory_equal(&a->uuid, &b->uuid, sizeof(a->uuid));
    assert_int_equal(a->inserted_at, b->inserted_at);
    assert_int_equal(a->timestamp, b->timestamp);
    assert_true(tr_str_eq(a->event, b->event));
    assert_true(tr_str_eq(a->distinct_id, b->distinct_id));
    assert_true(tr_str_eq(a->properties, b->properties));
    assert_true(tr_str_eq(tr_event_span(a, a->set), tr_event_span(b, b->set)));
    assert_true(tr_str_eq(tr_event_span(a, a->set_once), tr_event_span(b, b->set_once)));
    assert_true(tr_str_eq(tr_event_span(a, a->ip), tr_event_span(b, b->ip)));
}

static void what_was_packed_comes_back(void **state)
{
    struct tr_event e = example();
    struct tr_event got;
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 4096);
    tr_event_pack(&b, &e);
    assert_false(b.failed);
    assert_int_equal(b.n, tr_event_packed_size(&e));
    assert_int_equal(b.n % 8, 0);
    assert_int_equal(tr_event_unpack(b.p, b.n, &got), b.n);
    assert_same(&got, &e);
    assert_true(tr_str_is(tr_event_span(&got, got.ip), "\"10.0.0.1\""));
    assert_true(tr_str_is(tr_event_span(&got, got.set), "{\"a\":1}"));
    assert_null(tr_event_span(&got, got.set_once).p);

    tr_event_stamp(b.p, 1234567890123456);
    e.inserted_at = 1234567890123456;
    assert_int_equal(tr_event_unpack(b.p, b.n, &got), b.n);
    assert_same(&got, &e);
    tr_buf_fini(&b);
}

static void events_follow_each_other(void **state)
{
    struct tr_buf b;
    size_t at = 0;
    int n = 0;

    (void)state;
    tr_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < 50; i++) { /* every length of padding */
        struct tr_event e = example();
        e.distinct_id.n = i % 7;
        tr_event_pack(&b, &e);
    }
    while (at < b.n) {
        struct tr_event e;
        size_t used = tr_event_unpack(b.p + at, b.n - at, &e);
        assert_true(used > 0);
        assert_int_equal(e.distinct_id.n, n % 7);
        at += used;
        n++;
    }
    assert_int_equal(n, 50);
    tr_buf_fini(&b);
}

/* A copy of its own size, so that a look beyond it is seen. */
static size_t unpack_copy(const char *p, size_t n, struct tr_event *ret)
{
    char *copy = malloc(n + 1);

    assert_non_null(copy);
    memcpy(copy, p, n);
    char *exact = realloc(copy, n == 0 ? 1 : n);
    assert_non_null(exact);
    size_t used = tr_event_unpack(exact, n, ret);
    if (used > 0) { /* everything it points at is inside */
        const struct tr_str parts[] = { ret->event,
                                        ret->distinct_id,
                                        ret->properties,
                                        tr_event_span(ret, ret->set),
                                        tr_event_span(ret, ret->set_once),
                                        tr_event_span(ret, ret->ip),
                                        tr_event_span(ret, ret->elements_chain) };
        assert_true(used <= n);
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
            if (parts[i].n > 0)
                assert_true(parts[i].p >= exact && parts[i].p + parts[i].n <= exact + used);
    }
    free(exact);
    return used;
}

static void cut_or_damaged_events_are_noticed_or_harmless(void **state)
{
    struct tr_event e = example();
    struct tr_event got;
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 4096);
    tr_event_pack(&b, &e);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(unpack_copy(b.p, n, &got), 0);
    for (size_t i = 0; i < b.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.p[i] ^= (char)(1 << bit);
            (void)unpack_copy(b.p, b.n, &got);
            b.p[i] ^= (char)(1 << bit);
        }
    }
    tr_buf_fini(&b);
}

static void what_does_not_fit_fails_the_buffer(void **state)
{
    struct tr_event e = example();
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 64);
    tr_event_pack(&b, &e);
    assert_true(b.failed);
    tr_buf_fini(&b);

    char *wide = calloc(1, 70000);
    assert_non_null(wide);
    memset(wide, 'x', 70000);
    tr_buf_init(&b, 1 << 20);
    e.event = (struct tr_str){ wide, 70000 }; /* beyond 16 bits */
    tr_event_pack(&b, &e);
    assert_true(b.failed);
    tr_buf_fini(&b);
    free(wide);
}

static void identity_is_event_and_distinct_id(void **state)
{
    struct tr_event a = example();
    struct tr_event b = example();

    (void)state;
    b.timestamp = 99;
    b.properties = TR_STR("{}");
    assert_true(tr_event_identity(&a) == tr_event_identity(&b));
    b.distinct_id = TR_STR("somebody else");
    assert_true(tr_event_identity(&a) != tr_event_identity(&b));
    /* the border between the two counts */
    a.event = TR_STR("ab");
    a.distinct_id = TR_STR("c");
    b.event = TR_STR("a");
    b.distinct_id = TR_STR("bc");
    assert_true(tr_event_identity(&a) != tr_event_identity(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_back),
        cmocka_unit_test(events_follow_each_other),
        cmocka_unit_test(cut_or_damaged_events_are_noticed_or_harmless),
        cmocka_unit_test(what_does_not_fit_fails_the_buffer),
        cmocka_unit_test(identity_is_event_and_distinct_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
