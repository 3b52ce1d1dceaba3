/* Records that another thread reads and takes apart: every event once, in order, whole. */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/ahead.h"

enum { EVENTS = 1500 };

struct fixture {
    struct kit k;
    struct journal_cursor cursor;
    struct tr_buf prefix;
    struct record_head head;
    struct ahead ahead;
    struct tr_err err;
};

/* A store with one record of many events, and a cursor behind it. */
static void init(struct fixture *f)
{
    enum journal_step step = JOURNAL_END;

    *f = (struct fixture){ 0 };
    kit_init(&f->k);
    kit_open(&f->k);
    kit_store(&f->k, 1, 1, EVENTS, EVENTS);
    assert_true(journal_seek(&f->k.s->journal, 1, &f->cursor));
    tr_buf_init(&f->prefix, 1 << 20);
    while (f->head.events == 0) {
        assert_int_equal(journal_next(&f->cursor, &f->prefix, &step, &f->err), TR_OK);
        assert_int_equal(step, JOURNAL_RECORD);
        memcpy(&f->head, f->prefix.p, sizeof(f->head));
    }
    assert_int_equal(f->head.events, EVENTS);
    ahead_init(&f->ahead, 0);
}

static void fini(struct fixture *f)
{
    ahead_fini(&f->ahead);
    journal_cursor_fini(&f->cursor);
    tr_buf_fini(&f->prefix);
    kit_fini(&f->k);
}

static size_t take_parts(struct fixture *f, size_t most)
{
    struct ahead_part *part = NULL;
    uint64_t number = 0;

    for (size_t n = 0; n < most; n++) {
        assert_int_equal(ahead_take(&f->ahead, &part, &f->err), TR_OK);
        if (part == NULL)
            break;
        for (size_t i = 0; i < part->n; i++) {
            const struct step *w = &part->steps[i];
            assert_int_equal(kit_number(&w->e.uuid), ++number);
            assert_true(w->e.properties.n > 0 && w->e.properties.p[0] == '{');
        }
        ahead_give_back(&f->ahead);
    }
    return number;
}

static void every_event_comes_once_and_in_order(void **state)
{
    struct fixture f;

    (void)state;
    init(&f);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ahead_start(&f.ahead, &f.cursor, &f.head, &f.err), TR_OK);
        assert_int_equal(take_parts(&f, SIZE_MAX), EVENTS);
        ahead_stop(&f.ahead);
    }
    fini(&f);
}

static void one_may_stop_in_the_middle(void **state)
{
    struct fixture f;

    (void)state;
    init(&f);
    for (size_t n = 0; n < 30; n++) {
        assert_int_equal(ahead_start(&f.ahead, &f.cursor, &f.head, &f.err), TR_OK);
        size_t most = n * AHEAD_STEPS;
        assert_int_equal(take_parts(&f, n), most < EVENTS ? most : EVENTS);
        ahead_stop(&f.ahead);
    }
    fini(&f);
}

static void damage_is_told(void **state)
{
    struct fixture f;
    struct ahead_part *part = NULL;

    (void)state;
    init(&f);
    f.head.events_crc ^= 1;
    assert_int_equal(ahead_start(&f.ahead, &f.cursor, &f.head, &f.err), TR_OK);
    assert_int_equal(ahead_take(&f.ahead, &part, &f.err), TR_REFUSED);
    assert_string_equal(f.err.id, "store.damaged");
    ahead_stop(&f.ahead);
    f.head.events_crc ^= 1;
    assert_int_equal(ahead_start(&f.ahead, &f.cursor, &f.head, &f.err), TR_OK);
    assert_int_equal(take_parts(&f, SIZE_MAX), EVENTS);
    ahead_stop(&f.ahead);
    fini(&f);
}

/* A checksum that is right says nothing of who wrote it. */
static void an_event_that_is_not_whole_is_told(void **state)
{
    struct kit_event e = { .project = 1, .number = 7 };
    struct tr_err err = { 0 };
    struct tr_buf packed;
    struct step w;
    size_t at = 0;

    (void)state;
    tr_buf_init(&packed, 1 << 20);
    kit_pack(&packed, &e, 0);
    struct tr_str whole = tr_buf_view(&packed);
    for (size_t n = 0; n < whole.n; n += 8) {
        assert_int_equal(step_read(&w, (struct tr_str){ whole.p, n }, &at, &err), TR_REFUSED);
        assert_string_equal(err.id, "store.damaged");
        assert_int_equal(at, 0);
    }
    assert_int_equal(step_read(&w, whole, &at, &err), TR_OK);
    assert_int_equal(at, whole.n);
    assert_int_equal(kit_number(&w.e.uuid), 7);
    tr_buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_comes_once_and_in_order),
        cmocka_unit_test(one_may_stop_in_the_middle),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(an_event_that_is_not_whole_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
