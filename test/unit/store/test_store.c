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

static void a_copy_of_an_event_is_a_duplicate_and_another_one_under_its_uuid_is_kept(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    struct kit_event events[] = {
        { .project = 1, .number = 1 }, { .project = 1, .number = 1 },
        { .project = 2, .number = 1 }, { .project = 1, .number = 1, .event = "other" },
        { .project = 1, .number = 2 },
    };
    static const enum tr_outcome first[] = { TR_EVENT_STORED, TR_EVENT_DUPLICATE, TR_EVENT_STORED,
                                             TR_EVENT_STORED, TR_EVENT_STORED };

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
        assert_int_equal(events[i].outcome, TR_EVENT_DUPLICATE);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 3);

    struct tr_counts counts;
    struct tr_range all = { 0, tr_store_now(k.s) };
    assert_int_equal(tr_store_counts(k.s, 1, all, &counts, &err), TR_OK);
    assert_int_equal(counts.stored, 3);
    assert_int_equal(counts.duplicates, 5);
    assert_int_equal(counts.conflicts, 0);
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

enum { SENDERS = 4, SENT = 3000 };

struct sender {
    struct kit *k;
    uint64_t stored;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;

    for (uint64_t n = 0; n < SENT; n += 10) {
        struct kit_event e[10];
        struct tr_err err;
        for (uint64_t i = 0; i < 10; i++)
            e[i] = (struct kit_event){ .project = 1, .number = n + i };
        if (kit_send(s->k, e, 10, &err) != TR_OK)
            return NULL;
        for (uint64_t i = 0; i < 10; i++)
            s->stored += e[i].outcome == TR_EVENT_STORED;
    }
    return NULL;
}

static void of_copies_sent_at_the_same_time_one_is_stored(void **state)
{
    struct kit k;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    uint64_t stored = 0;
    uint64_t numbers[SENT];

    (void)state;
    kit_init(&k);
    k.o.dedup_events = 64 * 500;
    kit_open(&k);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ &k, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        stored += senders[i].stored;
    }
    assert_int_equal(stored, SENT);
    assert_int_equal(kit_read_all(&k, 1, numbers, SENT), SENT);
    struct tr_counts c;
    struct tr_err err;
    struct tr_range all = { 0, tr_store_now(k.s) };
    assert_int_equal(tr_store_counts(k.s, 1, all, &c, &err), TR_OK);
    assert_int_equal(c.stored, SENT);
    assert_int_equal(c.duplicates, (SENDERS - 1) * SENT);
    kit_fini(&k);
}

/* The writer is held in a done() until the gate opens. */
struct gate {
    struct tr_monitor m;
    bool open;
    int done;
    enum tr_rc rc;
};

static void wait_at_gate(struct tr_group *g, enum tr_rc rc, const struct tr_err *err)
{
    struct gate *gate = g->owner;

    (void)err;
    tr_monitor_enter(&gate->m);
    while (!gate->open)
        (void)tr_monitor_wait(&gate->m, -1);
    gate->done++;
    gate->rc = rc;
    tr_monitor_tell(&gate->m);
    tr_monitor_leave(&gate->m);
}

static void a_full_queue_is_busy_and_closing_stores_what_was_submitted(void **state)
{
    struct kit k;
    struct kit_group groups[4];
    struct gate gate = { .open = false };
    struct tr_err err = { 0 };
    char big[20000];

    (void)state;
    memset(big, ' ', sizeof(big));
    memcpy(big, "{\"a\":1", 6);
    big[6] = '1';
    big[sizeof(big) - 1] = '}';
    kit_init(&k);
    k.o.queue_bytes = 50000;
    kit_open(&k);
    tr_monitor_init(&gate.m);
    for (uint64_t i = 0; i < 4; i++) {
        struct tr_event e = { .project = 1,
                              .uuid = kit_uuid(i),
                              .event = TR_STR("e"),
                              .distinct_id = TR_STR("d"),
                              .properties = { big, sizeof(big) } };
        kit_group_init(&groups[i], &e, 1);
        groups[i].g.done = wait_at_gate;
        groups[i].g.owner = &gate;
    }
    assert_int_equal(tr_store_submit(k.s, &groups[0].g, &err), TR_OK);
    while (tr_store_closed_through(k.s) < 2) /* stored: its done() waits at the gate */
        tr_clock_sleep_us(1000);
    struct tr_store_status status;
    assert_int_equal(tr_store_submit(k.s, &groups[1].g, &err), TR_OK);
    assert_int_equal(tr_store_submit(k.s, &groups[2].g, &err), TR_OK);
    assert_int_equal(tr_store_submit(k.s, &groups[3].g, &err), TR_THROTTLED);
    assert_string_equal(err.id, "store.busy");
    tr_store_status(k.s, &status);
    assert_true(status.queue_bytes > 40000 && status.queue_bytes <= 50000);
    tr_monitor_enter(&gate.m);
    gate.open = true;
    tr_monitor_tell(&gate.m);
    tr_monitor_leave(&gate.m);
    kit_close(&k); /* writes what waits */
    assert_int_equal(gate.done, 3);
    assert_int_equal(gate.rc, TR_OK);
    k.o.queue_bytes = 10; /* a group larger than the whole queue is taken when it is empty */
    kit_open(&k);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 3);
    assert_int_equal(kit_send_group(&k, &groups[3].g, &err), TR_OK);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 4);
    for (int i = 0; i < 4; i++)
        kit_group_fini(&groups[i]);
    tr_monitor_fini(&gate.m);
    kit_fini(&k);
}

static int64_t wall_now, boot_now;

static int64_t wall(void *ctx)
{
    (void)ctx;
    return wall_now;
}

static int64_t boot(void *ctx)
{
    (void)ctx;
    return boot_now;
}

static void boot_id(void *ctx, char out[INCLOCK_BOOT_ID])
{
    (void)ctx;
    memcpy(out, "test", 5);
}

static void a_commit_over_the_turn_of_a_minute_is_counted_in_both(void **state)
{
    struct kit k;
    struct tr_counts c;
    struct tr_err err;
    int64_t minute = 60000000LL * 28000000;
    bool sound = false;
    struct tr_buf out;

    (void)state;
    kit_init(&k);
    k.clock = (struct clock_source){ wall, boot, boot_id, NULL };
    wall_now = minute - 50;
    boot_now = 1000;
    kit_open(&k);
    kit_store(&k, 1, 0, 200, 200);
    struct tr_range before = { minute - 60000000, minute };
    struct tr_range after = { minute, minute + 1 };
    struct tr_range both = { minute - 1, minute + 1 };
    assert_int_equal(tr_store_counts(k.s, 1, before, &c, &err), TR_OK);
    assert_int_equal(c.stored, 50);
    assert_int_equal(tr_store_counts(k.s, 1, after, &c, &err), TR_OK);
    assert_int_equal(c.stored, 150);
    assert_int_equal(tr_store_counts(k.s, 1, both, &c, &err), TR_OK);
    assert_int_equal(c.stored, 200);
    assert_int_equal(kit_read(&k, 1, (struct tr_range){ 0, minute }, NULL, 0), 50);
    kit_close(&k);
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(tr_store_check(k.dir, &out, &sound, &err), TR_OK);
    assert_true(sound);
    tr_buf_fini(&out);
    kit_fini(&k);
}

static void refused_events_are_counted_without_any_that_were_stored(void **state)
{
    struct kit k;
    struct tr_counts c;
    struct tr_err err;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    assert_int_equal(kit_send_refused(&k, 7, 12, &err), TR_OK);
    assert_int_equal(kit_send_refused(&k, 7, 30, &err), TR_OK);
    /* Everything below closed_through is in the counts, however recent. */
    struct tr_range all = { 0, tr_store_closed_through(k.s) };
    assert_int_equal(tr_store_counts(k.s, 7, all, &c, &err), TR_OK);
    assert_int_equal(c.refused, 42);
    assert_int_equal(c.stored, 0);
    kit_close(&k);
    kit_open(&k);
    assert_int_equal(tr_store_counts(k.s, 7, all, &c, &err), TR_OK);
    assert_int_equal(c.refused, 42);
    assert_int_equal(tr_store_counts(k.s, 8, all, &c, &err), TR_OK);
    assert_int_equal(c.refused, 0);
    kit_fini(&k);
}

static void thousands_of_projects_in_one_group_are_kept_apart(void **state)
{
    enum { PROJECTS = 5000 };
    struct kit k;
    struct tr_err err = { 0 };
    struct kit_event *e = calloc(2 * PROJECTS, sizeof(*e));

    (void)state;
    kit_init(&k);
    kit_open(&k);
    for (uint64_t i = 0; i < 2 * PROJECTS; i++)
        e[i] = (struct kit_event){ .project = (int32_t)(i % PROJECTS) - 100, .number = i };
    assert_int_equal(kit_send(&k, e, 2 * PROJECTS, &err), TR_OK);
    for (int sealed = 0; sealed < 2; sealed++) {
        for (int32_t p = -100; p < PROJECTS - 100; p += 499) {
            uint64_t numbers[3];
            struct tr_counts c;
            assert_int_equal(kit_read_all(&k, p, numbers, 3), 2);
            assert_int_equal(numbers[0], p + 100);
            assert_int_equal(numbers[1], p + 100 + PROJECTS);
            struct tr_range all = { 0, tr_store_closed_through(k.s) };
            assert_int_equal(tr_store_counts(k.s, p, all, &c, &err), TR_OK);
            assert_int_equal(c.stored, 2);
        }
        kit_seal_all(&k);
    }
    free(e);
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_read_in_order_from_the_journal),
        cmocka_unit_test(sealing_and_a_restart_change_nothing_for_readers),
        cmocka_unit_test(a_copy_of_an_event_is_a_duplicate_and_another_one_under_its_uuid_is_kept),
        cmocka_unit_test(an_idle_clock_is_closed_by_a_fence_that_survives_a_restart),
        cmocka_unit_test(a_range_that_is_not_closed_or_below_the_floor_is_refused),
        cmocka_unit_test(of_copies_sent_at_the_same_time_one_is_stored),
        cmocka_unit_test(a_full_queue_is_busy_and_closing_stores_what_was_submitted),
        cmocka_unit_test(a_commit_over_the_turn_of_a_minute_is_counted_in_both),
        cmocka_unit_test(refused_events_are_counted_without_any_that_were_stored),
        cmocka_unit_test(thousands_of_projects_in_one_group_are_kept_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
