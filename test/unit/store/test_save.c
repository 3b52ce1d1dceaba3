/* What has changed is saved while more is applied; a save that fails costs nothing but time. */
#include "kit.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { SESSIONS = 50, ROUNDS = 40 };

static struct kit k;

static int fresh(void **state)
{
    (void)state;
    kit_init(&k);
    k.o.state_commit_us = 1; /* always */
    kit_open(&k);
    return 0;
}

static int gone(void **state)
{
    (void)state;
    kit_fini(&k);
    return 0;
}

/* An event of the session; when it was taken. */
static int64_t send(uint64_t session)
{
    static uint64_t number; /* always the same person */
    char more[80];
    struct kit_event e = { .project = 1, .number = number += 1000, .more = more };
    struct tr_err err = { 0 };

    (void)snprintf(more, sizeof(more),
                   ",\"$session_id\":\"0190c8e2-7a5d-7f00-8a1b-%012" PRIx64 "\"", session);
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_OK);
    return tr_store_closed_through(k.s) - 1;
}

static int64_t applied_through(void)
{
    struct derived_position p;

    derived_position(&k.s->derived, &p);
    return p.applied_through;
}

static void wait_applied(int64_t stamp)
{
    worker_tell(&k.s->applier);
    for (int i = 0; i < 5000 && applied_through() <= stamp; i++)
        (void)usleep(1000);
    assert_true(applied_through() > stamp);
}

static int64_t ask(const char *sql)
{
    sqlite3 *db = NULL;
    struct tr_err err = { 0 };
    int64_t n = -1;

    assert_int_equal(store_sql_open(k.s->derived.path, false, &db, &err), TR_OK);
    assert_int_equal(store_sql_int64(db, sql, -1, &n, &err), TR_OK);
    (void)sqlite3_close(db);
    return n;
}

static void more_is_applied_meanwhile(void **state)
{
    struct derived *d = &k.s->derived;
    struct tr_err err = { 0 };

    (void)state;
    int64_t first = send(1);
    assert_int_equal(derived_commit_through(d, first + 1, &err), TR_OK);
    assert_int_equal(ask("SELECT max(changed) FROM session"), first);

    turns_take(&d->save.turns); /* the next save goes no further */
    int64_t second = send(1);
    wait_applied(second); /* and begins */
    int64_t last = send(1);
    wait_applied(last);
    (void)usleep(20000);
    assert_int_equal(ask("SELECT max(changed) FROM session"), first);
    turns_give(&d->save.turns);

    assert_int_equal(derived_commit_through(d, last + 1, &err), TR_OK);
    assert_int_equal(ask("SELECT max(changed) FROM session"), last);
    assert_int_equal(ask("SELECT count(*) FROM session"), 1);
}

static atomic_int failures;

static int refuse(void *arg)
{
    (void)arg;
    return atomic_fetch_sub(&failures, 1) > 0; /* then the COMMIT becomes a ROLLBACK */
}

static void a_save_that_fails_is_made_again(void **state)
{
    struct derived *d = &k.s->derived;
    struct tr_err err = { 0 };
    int64_t last = 0, sum = 0, stamps[SESSIONS] = { 0 };

    (void)state;
    (void)sqlite3_commit_hook(d->db, refuse, NULL);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        atomic_store(&failures, round % 4 == 0);
        for (uint64_t i = 0; i < SESSIONS; i++)
            stamps[i] = last = send(i);
        worker_tell(&k.s->applier);
    }
    atomic_store(&failures, 3);
    stamps[0] = last = send(0);
    while (derived_commit_through(d, last + 1, &err) != TR_OK)
        continue;
    assert_true(atomic_load(&failures) <= 0);
    for (int i = 0; i < SESSIONS; i++)
        sum += stamps[i];
    assert_int_equal(ask("SELECT count(*) FROM session"), SESSIONS);
    assert_int_equal(ask("SELECT sum(changed) FROM session"), sum);
    assert_int_equal(ask("SELECT sum(stored) FROM counts"), SESSIONS * ROUNDS + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(more_is_applied_meanwhile, fresh, gone),
        cmocka_unit_test_setup_teardown(a_save_that_fails_is_made_again, fresh, gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
