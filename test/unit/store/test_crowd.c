/* The persons of a piece, read in the order of their places: each block gets what a look at each
 * person alone would give it. */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/crowd.h"
#include "store/who.h"

enum { PERSONS = 600, EVENTS = 4000, FILES = 2 };

static char dir[80];
static struct asof a;
static struct asof_file *files[FILES];
static struct asof_ref refs[FILES][PERSONS];

/* Persons 0, 1, 2.. of a file have 0, 1, 2.. times `step` bytes of properties. */
static void add_file(size_t file, uint64_t seq, size_t step)
{
    struct asof_place places[PERSONS] = { 0 };
    char *text = malloc(PERSONS * step + 1);
    struct tr_err err = { 0 };

    memset(text, 'x', PERSONS * step + 1);
    for (size_t i = 0; i < PERSONS; i++) {
        struct tr_uuid id = { .b = { (uint8_t)file, (uint8_t)i, (uint8_t)(i >> 8) } };
        (void)memcpy(text, &i, sizeof(i) < i * step ? sizeof(i) : 0);
        assert_int_equal(asof_add(&a, &places[i], &id, (struct tr_str){ text, i * step }, &err),
                         TR_OK);
    }
    assert_int_equal(asof_end(&a, seq, &err), TR_OK);
    assert_int_equal(asof_flush(&a, seq, &err), TR_OK);
    assert_int_equal(asof_read(&a, seq, PERSONS, refs[file], &files[file], &err), TR_OK);
    free(text);
}

static int fresh(void **state)
{
    struct tr_err err;

    (void)state;
    (void)snprintf(dir, sizeof(dir), "crowd-test-XXXXXX");
    if (mkdtemp(dir) == NULL || asof_open(&a, dir, 0, 0, &err) != TR_OK)
        return -1;
    srand(5);
    return 0;
}

static int leave(void **state)
{
    char command[120];

    (void)state;
    for (size_t i = 0; i < FILES; i++)
        asof_file_unref(files[i]);
    asof_close(&a);
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static void some_events(struct crowd_event *events)
{
    for (size_t i = 0; i < EVENTS; i++) {
        uint32_t file = (uint32_t)rand() % FILES;
        events[i] = (struct crowd_event){ .file = file };
        if (rand() % 10 != 0)
            events[i].ref = refs[file][rand() % PERSONS];
    }
}

/* One block of the events from .. to: compared with persons that are looked for one by one. */
static void check_block(struct crowd *c, const struct crowd_event *events, size_t from, size_t to)
{
    struct who who;
    struct tr_buf out;
    struct tr_err err = { 0 };
    size_t bytes = 0;

    who_init(&who, SIZE_MAX);
    tr_buf_init(&out, SIZE_MAX);
    crowd_begin_block(c);
    for (size_t i = from; i < to; i++) {
        const struct crowd_event *e = &events[i];
        size_t more = crowd_bytes(c, e->person);
        size_t named = c->n_named;
        uint32_t number;
        uint32_t want;
        assert_int_equal(crowd_add(c, e->person, &number, &err), TR_OK);
        assert_int_equal(who_add(&who, files[e->file], e->ref, &want, &err), TR_OK);
        assert_int_equal(number, want);
        bytes += c->n_named > named ? more : 0;
    }
    assert_int_equal(crowd_write(c, files, &out, &err), TR_OK);
    assert_int_equal(c->n_named, who.n);
    assert_int_equal(out.n, bytes);
    assert_int_equal(out.n, who.persons.n);
    assert_memory_equal(out.p, who.persons.p, out.n);
    tr_buf_fini(&out);
    who_fini(&who);
}

static void check(size_t step)
{
    static struct crowd_event events[EVENTS];
    struct crowd c;
    struct tr_err err = { 0 };

    crowd_init(&c);
    add_file(0, 1, step);
    add_file(1, 2, step);
    for (int piece = 0; piece < 3; piece++) {
        some_events(events);
        assert_int_equal(crowd_read(&c, files, events, EVENTS, &err), TR_OK);
        for (size_t at = 0; at < EVENTS; at += 1000)
            check_block(&c, events, at, at + 1000);
    }
    crowd_fini(&c);
}

static void blocks_get_the_persons_of_their_events(void **state)
{
    (void)state;
    check(1);
}

/* 150 bytes more from one to the next: some 27 MB a file, of which 16 are kept. */
static void persons_beyond_what_is_kept_are_read_when_they_are_needed(void **state)
{
    (void)state;
    check(150);
}

static void a_damaged_person_is_told(void **state)
{
    struct crowd c;
    struct crowd_event e = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    add_file(0, 1, 10);
    add_file(1, 2, 10);
    e.ref = refs[0][300];
    e.ref.n--;
    crowd_init(&c);
    assert_int_equal(crowd_read(&c, files, &e, 1, &err), TR_REFUSED);
    assert_string_equal(err.id, "store.damaged");
    crowd_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_get_the_persons_of_their_events, fresh, leave),
        cmocka_unit_test_setup_teardown(persons_beyond_what_is_kept_are_read_when_they_are_needed,
                                        fresh, leave),
        cmocka_unit_test_setup_teardown(a_damaged_person_is_told, fresh, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
