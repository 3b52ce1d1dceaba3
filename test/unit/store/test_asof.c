/* Whose events were: lists that were synced are there, whatever else a former process left. */
#include "kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/asof_priv.h"

static char dir[80];

static int fresh(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "asof-test-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int leave(void **state)
{
    char command[120];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

/* Lists of the records from first to last, each of one person's event, synced. */
static void add(struct asof *a, uint64_t first, uint64_t last)
{
    struct tr_err err = { 0 };

    for (uint64_t seq = first; seq <= last; seq++) {
        struct asof_place place = { 0 };
        struct tr_uuid id = { .b = { (uint8_t)seq } };
        assert_int_equal(asof_add(a, &place, &id, TR_STR("{\"a\":1}"), &err), TR_OK);
        assert_int_equal(asof_end(a, seq, &err), TR_OK);
    }
    assert_int_equal(asof_flush(a, last, &err), TR_OK);
    assert_int_equal(asof_sync(a, &err), TR_OK);
}

static void all_are_there(struct asof *a, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        struct asof_ref ref;
        struct asof_file *f = NULL;
        struct tr_buf person;
        struct tr_err err = { 0 };
        tr_buf_init(&person, 1024);
        if (asof_read(a, seq, 1, &ref, &f, &err) != TR_OK)
            fail_msg("record %d: %s", (int)seq, err.cause);
        assert_int_equal(asof_person(f, ref, NULL, &person, &err), TR_OK);
        assert_int_equal((uint8_t)person.p[0], seq);
        tr_buf_fini(&person);
        asof_file_unref(f);
    }
}

/* As a write that was cut leaves it. */
static void tear(const struct asof *a)
{
    char path[ASOF_PATH];

    asof_path(a, a->files[a->n - 1]->name, path);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "half of a record, perhaps", 25), 25);
    (void)close(fd);
}

static void lists_behind_a_torn_file_stay(void **state)
{
    struct asof a;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(asof_open(&a, dir, 0, 0, &err), TR_OK);
    add(&a, 1, 5);
    tear(&a);
    asof_close(&a);
    assert_int_equal(asof_open(&a, dir, 0, 5, &err), TR_OK);
    add(&a, 6, 9);
    tear(&a);
    asof_close(&a);
    for (int start = 0; start < 3; start++) {
        assert_int_equal(asof_open(&a, dir, 0, 9, &err), TR_OK);
        all_are_there(&a, 1, 9);
        asof_close(&a);
    }
}

static void what_was_not_applied_is_made_anew(void **state)
{
    struct asof a;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(asof_open(&a, dir, 0, 0, &err), TR_OK);
    add(&a, 1, 5);
    asof_close(&a);
    assert_int_equal(asof_open(&a, dir, 0, 3, &err), TR_OK);
    assert_true(asof_has(&a, 3));
    assert_false(asof_has(&a, 4));
    add(&a, 4, 7);
    asof_close(&a);
    assert_int_equal(asof_open(&a, dir, 0, 7, &err), TR_OK);
    all_are_there(&a, 1, 7);
    assert_int_equal(asof_drop(&a, 5, &err), TR_OK);
    all_are_there(&a, 6, 7);
    asof_close(&a);
}

/* Persons one behind the other come through the window, others alone: the same bytes. */
static void a_window_gives_what_the_file_has(void **state)
{
    enum { PERSONS = 3000 };
    static struct asof_place places[PERSONS];
    struct asof_window w = { 0 };
    struct asof_file *f = NULL;
    static struct asof_ref list[PERSONS];
    struct tr_err err = { 0 };
    struct asof a;

    (void)state;
    assert_int_equal(asof_open(&a, dir, 0, 0, &err), TR_OK);
    for (unsigned i = 0; i < PERSONS; i++) {
        struct tr_uuid id = { .b = { (uint8_t)i, (uint8_t)(i >> 8) } };
        char text[400];
        int n = snprintf(text, sizeof(text), "{\"n\":%u,\"fill\":\"%*s\"}", i, (int)(i % 300), "");
        assert_int_equal(asof_add(&a, &places[i], &id, (struct tr_str){ text, (size_t)n }, &err),
                         TR_OK);
    }
    assert_int_equal(asof_end(&a, 1, &err), TR_OK);
    assert_int_equal(asof_flush(&a, 1, &err), TR_OK);
    assert_int_equal(asof_read(&a, 1, PERSONS, list, &f, &err), TR_OK);
    srand(3);
    for (unsigned i = 0; i < 3 * PERSONS; i++) {
        unsigned k = i % 3 == 0 ? (unsigned)rand() % PERSONS : i / 3;
        struct tr_buf one;
        struct tr_buf other;
        tr_buf_init(&one, 4096);
        tr_buf_init(&other, 4096);
        assert_int_equal(asof_person(f, list[k], &w, &one, &err), TR_OK);
        assert_int_equal(asof_person(f, list[k], NULL, &other, &err), TR_OK);
        assert_int_equal(one.n, other.n);
        assert_memory_equal(one.p, other.p, one.n);
        tr_buf_fini(&one);
        tr_buf_fini(&other);
    }
    asof_window_fini(&w);
    asof_file_unref(f);
    asof_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_behind_a_torn_file_stay, fresh, leave),
        cmocka_unit_test_setup_teardown(what_was_not_applied_is_made_anew, fresh, leave),
        cmocka_unit_test_setup_teardown(a_window_gives_what_the_file_has, fresh, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
