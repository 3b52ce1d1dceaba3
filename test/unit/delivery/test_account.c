/* The arithmetic of accounts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "delivery/delivery_priv.h"

static const struct balance_case {
    const char *name;
    struct tr_account a;
    bool want;
} balances[] = {
    { "nothing balances", { 0 }, true },
    { "all delivered", { .stored = 5, .selected = 5, .delivered = 5 }, true },
    { "every kind at once",
      { .stored = 10,
        .elsewhere = 2,
        .excluded = 1,
        .selected = 7,
        .delivered = 3,
        .already_there = 2,
        .rejected = 2,
        .repaired = 1 },
      true },
    { "an event that nobody accounts for", { .stored = 6, .selected = 5, .delivered = 5 }, false },
    { "an event too many", { .stored = 4, .selected = 5, .delivered = 5 }, false },
    { "selected but not delivered", { .stored = 5, .selected = 5, .delivered = 4 }, false },
    { "delivered twice",
      { .stored = 5, .selected = 5, .delivered = 5, .already_there = 1 },
      false },
};

static void accounts_balance(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(balances) / sizeof(balances[0]); i++) {
        print_message("# %s\n", balances[i].name);
        assert_int_equal(tr_account_balances(&balances[i].a), balances[i].want);
    }
}

static void a_commit_counts_what_it_read_and_kept(void **state)
{
    struct tr_receipt r = { .delivered = 6, .rejected = 1, .repaired = 2, .bytes = 99 };
    struct tr_account a = account_of_commit(10, 7, &r);

    (void)state;
    assert_true(tr_account_balances(&a));
    assert_int_equal(a.excluded, 3);
    assert_int_equal(a.delivered, 6);
    assert_int_equal(a.already_there, 0);
    assert_int_equal(a.repaired, 2);
    assert_int_equal(a.bytes, 99);
}

static void a_lookup_believes_the_destination(void **state)
{
    struct tr_receipt r = { .delivered = 6, .rejected = 1 };
    struct tr_account a = account_of_lookup(10, false, &r);

    (void)state;
    assert_true(tr_account_balances(&a));
    assert_int_equal(a.already_there, 6);
    assert_int_equal(a.delivered, 0);
    assert_int_equal(a.excluded, 3);
}

static void a_destination_that_has_more_than_there_was_does_not_balance(void **state)
{
    struct tr_receipt r = { .delivered = 11 };
    struct tr_account a = account_of_lookup(10, false, &r);

    (void)state;
    assert_false(tr_account_balances(&a));
}

static void rows_that_left_their_chunk_were_not_excluded(void **state)
{
    struct tr_receipt r = { .delivered = 6, .rejected = 1 };
    struct tr_account a = account_of_lookup(10, true, &r);

    (void)state;
    assert_true(tr_account_balances(&a));
    assert_int_equal(a.stored, 7);
    assert_int_equal(a.excluded, 0);
}

static void a_receipt_comes_back_from_an_account(void **state)
{
    struct tr_receipt r = { .delivered = 6, .rejected = 1, .repaired = 2, .bytes = 7 };
    struct tr_account a = account_of_lookup(10, false, &r);
    struct tr_receipt back = account_receipt(&a);

    (void)state;
    assert_memory_equal(&back, &r, sizeof(r));
}

static void only_delivered_chunks_are_summed(void **state)
{
    struct tr_chunk chunks[] = {
        { .state = TR_CHUNK_DELIVERED, .account = { .stored = 1, .selected = 1, .delivered = 1 } },
        { .state = TR_CHUNK_SENT, .account = { .stored = 100 } },
        { .state = TR_CHUNK_DELIVERED, .account = { .stored = 2, .excluded = 2 } },
        { .state = TR_CHUNK_PLANNED, .account = { .stored = 100 } },
    };
    struct tr_account sum = account_sum(chunks, 4);

    (void)state;
    assert_int_equal(sum.stored, 3);
    assert_int_equal(sum.delivered, 1);
    assert_true(tr_account_balances(&sum));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_balance),
        cmocka_unit_test(a_commit_counts_what_it_read_and_kept),
        cmocka_unit_test(a_lookup_believes_the_destination),
        cmocka_unit_test(a_destination_that_has_more_than_there_was_does_not_balance),
        cmocka_unit_test(rows_that_left_their_chunk_were_not_excluded),
        cmocka_unit_test(a_receipt_comes_back_from_an_account),
        cmocka_unit_test(only_delivered_chunks_are_summed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
