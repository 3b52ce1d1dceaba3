/* Who asks for what is derived up to an instant sees all of it, whoever else asks. */
#include "kit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { READERS = 8, GROUPS = 1500, READS = 20000 };

static struct kit k;
static atomic_bool stop;
static atomic_int n_reads, n_failed;
static struct {
    int64_t t, found;
} reads[READS];

static int64_t sessions_below(int64_t t)
{
    char sql[120];
    sqlite3 *db = NULL;
    struct tr_err err = { 0 };
    int64_t n = -1;

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM session WHERE changed < %" PRId64, t);
    if (store_sql_open(k.s->derived.path, false, &db, &err) != TR_OK ||
        store_sql_int64(db, sql, -1, &n, &err) != TR_OK)
        n = -1;
    (void)sqlite3_close(db);
    return n;
}

/* Half of them come late with what they ask for. */
static void *read_on(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&stop)) {
        struct tr_err err = { 0 };
        int64_t t = tr_store_closed_through(k.s);
        (void)usleep((useconds_t)rand_r(&seed) % (seed % 2 == 0 ? 20000 : 1500));
        if (derived_commit_through(&k.s->derived, t, &err) != TR_OK) {
            atomic_fetch_add(&n_failed, 1);
            continue;
        }
        int64_t found = sessions_below(t);
        int i = atomic_fetch_add(&n_reads, 1);
        if (i < READS) {
            reads[i].t = t;
            reads[i].found = found;
        }
    }
    return NULL;
}

static void send(uint64_t group)
{
    static char more[4][80];
    struct kit_event events[4];
    struct tr_err err = { 0 };

    for (size_t i = 0; i < 4; i++) {
        uint64_t n = 4 * group + i;
        (void)snprintf(more[i], sizeof(more[i]),
                       ",\"$session_id\":\"0190c8e2-7a5d-7f00-8a1b-%012" PRIx64 "\"", n);
        events[i] = (struct kit_event){ .project = 1, .number = n, .more = more[i] };
    }
    assert_int_equal(kit_send(&k, events, 4, &err), TR_OK);
}

static void many_readers_miss_nothing(void **state)
{
    pthread_t threads[READERS];
    struct tr_err err = { 0 };

    (void)state;
    kit_init(&k);
    kit_open(&k);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, (void *)(i + 1)), 0);
    for (uint64_t i = 0; i < GROUPS; i++) {
        send(i);
        (void)usleep(300);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(derived_commit_through(&k.s->derived, kit_fence(&k), &err), TR_OK);
    assert_int_equal(atomic_load(&n_failed), 0);
    int n = atomic_load(&n_reads) < READS ? atomic_load(&n_reads) : READS;
    for (int i = 0; i < n; i++)
        assert_int_equal(reads[i].found, sessions_below(reads[i].t));
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(many_readers_miss_nothing) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
