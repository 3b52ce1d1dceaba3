/* The ingestion clock against clocks that do as a test says. */
#include "kit.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"

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
    (void)snprintf(out, INCLOCK_BOOT_ID, "%s", ctx == NULL ? "boot-one" : (const char *)ctx);
}

static const struct clock_source fake = { wall, boot, boot_id, NULL };

enum { JUMP = 300 * 1000000 };
#define T0 INT64_C(1700000000000000)

static void pass(int64_t us)
{
    wall_now += us;
    boot_now += us;
}

static void start(struct inclock *c, int64_t last, const char *saved, bool accept)
{
    inclock_init(c, &fake, JUMP, last, saved, accept);
}

static void it_follows_the_wall_clock_and_never_repeats(void **state)
{
    struct inclock c;

    (void)state;
    wall_now = T0;
    boot_now = 1000;
    start(&c, 0, NULL, false);
    assert_int_equal(inclock_now(&c), T0);
    inclock_took(&c, T0 + 4);
    assert_int_equal(inclock_now(&c), T0 + 5);
    pass(1000);
    assert_int_equal(inclock_now(&c), T0 + 1000);
    assert_int_equal(c.doubt, INCLOCK_SURE);
}

static void a_small_step_is_followed_slowly_in_both_directions(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        struct inclock c;
        int64_t last = 0;
        wall_now = T0;
        boot_now = 1000;
        start(&c, 0, NULL, false);
        wall_now += sign * 10 * TR_US_PER_S;
        for (int i = 0; i < 600; i++) {
            pass(TR_US_PER_S);
            int64_t now = inclock_now(&c);
            assert_true(last == 0 || (now - last >= 950000 && now - last <= 1050000));
            assert_int_equal(c.doubt, INCLOCK_SURE);
            inclock_took(&c, now);
            last = now;
        }
        assert_int_equal(inclock_now(&c), sign < 0 ? last + 1 : last + 1);
        assert_int_equal(last, wall_now); /* caught up */
    }
}

static void a_jump_of_the_wall_clock_raises_doubt_until_it_comes_back(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        struct inclock c;
        wall_now = T0;
        boot_now = 1000;
        start(&c, 0, NULL, false);
        wall_now += sign * (JUMP + TR_US_PER_S);
        int64_t now = inclock_now(&c);
        assert_int_equal(c.doubt, INCLOCK_JUMPED);
        assert_int_equal(now, T0);
        pass(TR_US_PER_MIN);
        assert_int_equal(inclock_now(&c), T0 + TR_US_PER_MIN); /* boot time goes on */
        assert_int_equal(c.doubt, INCLOCK_JUMPED);
        wall_now -= sign * (JUMP + TR_US_PER_S);
        (void)inclock_now(&c);
        assert_int_equal(c.doubt, INCLOCK_SURE);
    }
}

static void steps_that_add_up_are_a_jump(void **state)
{
    struct inclock c;

    (void)state;
    wall_now = T0;
    boot_now = 1000;
    start(&c, 0, NULL, false);
    wall_now += 200 * TR_US_PER_S;
    (void)inclock_now(&c);
    assert_int_equal(c.doubt, INCLOCK_SURE);
    wall_now += 200 * TR_US_PER_S;
    (void)inclock_now(&c);
    assert_int_equal(c.doubt, INCLOCK_JUMPED);
}

static void a_wall_clock_far_behind_the_newest_stamp_is_not_believed(void **state)
{
    struct inclock c;

    (void)state;
    wall_now = T0;
    boot_now = 1000;
    start(&c, T0 + JUMP + TR_US_PER_S, NULL, false);
    assert_int_equal(c.doubt, INCLOCK_BEHIND);
    pass(2 * TR_US_PER_S); /* near enough by now */
    (void)inclock_now(&c);
    assert_int_equal(c.doubt, INCLOCK_SURE);

    /* Accepted: it goes on from the newest stamp, one microsecond at a time. */
    wall_now = T0;
    start(&c, T0 + TR_US_PER_DAY, NULL, true);
    assert_int_equal(c.doubt, INCLOCK_SURE);
    assert_int_equal(inclock_now(&c), T0 + TR_US_PER_DAY + 1);
    inclock_took(&c, T0 + TR_US_PER_DAY + 1);
    assert_int_equal(inclock_now(&c), T0 + TR_US_PER_DAY + 2);
}

static void a_jump_while_nothing_ran_is_noticed_within_one_boot(void **state)
{
    struct inclock c;
    struct tr_buf saved;

    (void)state;
    wall_now = T0;
    boot_now = 1000;
    start(&c, 0, NULL, false);
    tr_buf_init(&saved, 256);
    inclock_save(&c, &saved);
    tr_buf_ch(&saved, '\0');

    pass(TR_US_PER_HOUR);
    start(&c, T0, saved.p, false);
    assert_int_equal(c.doubt, INCLOCK_SURE);
    assert_int_equal(inclock_now(&c), T0 + TR_US_PER_HOUR);

    wall_now += JUMP + TR_US_PER_S; /* forward, which the newest stamp cannot tell */
    start(&c, T0, saved.p, false);
    assert_int_equal(c.doubt, INCLOCK_JUMPED);
    start(&c, T0, saved.p, true);
    assert_int_equal(c.doubt, INCLOCK_SURE);
    assert_int_equal(inclock_now(&c), wall_now);

    struct clock_source rebooted = { wall, boot, boot_id, (void *)(uintptr_t) "boot-two" };
    inclock_init(&c, &rebooted, JUMP, T0, saved.p, false);
    assert_int_equal(c.doubt, INCLOCK_SURE); /* nobody can know: documented */
    start(&c, T0, "not what was saved", false);
    assert_int_equal(c.doubt, INCLOCK_SURE);
    tr_buf_fini(&saved);
}

static void the_store_takes_nothing_while_its_clock_is_in_doubt_and_goes_on_after(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    struct kit_event e = { .project = 1, .number = 1 };
    struct tr_store_status status;

    (void)state;
    kit_init(&k);
    k.clock = fake;
    wall_now = T0;
    boot_now = 1000;
    kit_open(&k);
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_OK);
    int64_t closed = tr_store_closed_through(k.s);

    wall_now += TR_US_PER_HOUR;
    tr_store_status(k.s, &status);
    assert_false(status.ready);
    assert_non_null(status.not_ready_why);
    assert_non_null(status.not_ready_hint);
    e.number = 2;
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_TRANSIENT);
    assert_string_equal(err.id, "store.not_ready");
    assert_false(tr_store_close_through(k.s, T0 + 10));
    assert_int_equal(tr_store_closed_through(k.s), closed);

    /* A restart does not change its mind; a person does. */
    kit_close(&k);
    kit_open(&k);
    tr_store_status(k.s, &status);
    assert_false(status.ready);
    kit_close(&k);
    k.o.accept_clock = true;
    kit_open(&k);
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_OK);
    assert_true(tr_store_closed_through(k.s) > T0 + TR_US_PER_HOUR);
    kit_close(&k);

    /* Back by an hour: in doubt at once, because events are an hour ahead. */
    k.o.accept_clock = false;
    wall_now = T0;
    kit_open(&k);
    e.number = 3;
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_TRANSIENT);
    kit_close(&k);
    k.o.accept_clock = true;
    kit_open(&k);
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_OK);
    uint64_t numbers[4];
    assert_int_equal(kit_read_all(&k, 1, numbers, 4), 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(numbers[i], i + 1);
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_follows_the_wall_clock_and_never_repeats),
        cmocka_unit_test(a_small_step_is_followed_slowly_in_both_directions),
        cmocka_unit_test(a_jump_of_the_wall_clock_raises_doubt_until_it_comes_back),
        cmocka_unit_test(steps_that_add_up_are_a_jump),
        cmocka_unit_test(a_wall_clock_far_behind_the_newest_stamp_is_not_believed),
        cmocka_unit_test(a_jump_while_nothing_ran_is_noticed_within_one_boot),
        cmocka_unit_test(the_store_takes_nothing_while_its_clock_is_in_doubt_and_goes_on_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
