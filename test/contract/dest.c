#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "contract.h"
#include "os/clock.h"
#include "rows.h"

enum { ROWS = 500, WIDE_BYTES = 10 * 1000 * 1000 };

static const struct contract_place *place;
static struct tr_conf *conf; /* of the place under test */

static struct tr_ctx in_time(void)
{
    return (struct tr_ctx){ .deadline_us = tr_clock_boot_us() + 60 * TR_US_PER_S };
}

static void must(enum tr_rc rc, const struct tr_err *err)
{
    char text[520];

    if (rc != TR_OK)
        fail_msg("%s: %s", err->id == NULL ? "?" : err->id, tr_err_text(err, text, sizeof(text)));
}

static int fresh_place(void **state)
{
    struct tr_err err = { 0 };
    json_t *config = place->fresh();

    (void)state;
    assert_non_null(config);
    must(tr_conf_parse(place->ops->options, config, &conf, &err), &err);
    if (place->ops->validate != NULL)
        must(place->ops->validate(conf, &err), &err);
    json_decref(config);
    return 0;
}

static int leave_place(void **state)
{
    (void)state;
    tr_conf_free(conf);
    conf = NULL;
    return 0;
}

static struct tr_dest *open_only(void)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_dest *d = NULL;

    must(place->ops->open(&cx, conf, &d, &err), &err);
    return d;
}

static struct tr_projection columns(void)
{
    return place->default_columns ? rows_projection_default(place->ops->defaults[TR_MODEL_EVENTS])
                                  : rows_projection();
}

static struct tr_dest *open_prepared(void)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_projection p = columns();
    struct tr_dest *d = open_only();

    must(place->ops->prepare(&cx, d, &p, &(tr_column_mask){ 0 }, NULL, &err), &err);
    return d;
}

/* Where chunks count only with their run: publishes these. */
static void publish(struct tr_dest *d, const struct tr_key *keys, const struct tr_receipt *receipts,
                    size_t n)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_key run = keys[0];

    if (place->ops->finish == NULL)
        return;
    run.range.hi = keys[n - 1].range.hi;
    must(place->ops->finish(&cx, d, &run, keys, receipts, n, &err), &err);
}

static struct tr_receipt deliver(struct tr_dest *d, const struct tr_key *key,
                                 const struct tr_batch *b, bool careful)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_load_spec spec = { .key = *key, .careful = careful };
    struct tr_receipt receipt = { 0 };
    struct tr_load *l = NULL;

    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    if (b != NULL)
        must(l->ops->write(&cx, l, b, &err), &err);
    must(l->ops->commit(&cx, l, &receipt, &err), &err);
    return receipt;
}

static bool knows_rows(void)
{
    return (place->ops->caps & TR_DEST_KNOWS_ROWS) != 0;
}

static enum tr_chunk_state ask(struct tr_dest *d, const struct tr_key *key, struct tr_receipt *ret)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    enum tr_chunk_state s = TR_CHUNK_IN_FLIGHT;

    if (knows_rows()) { /* nobody may ask */
        assert_null(place->ops->lookup);
        return TR_CHUNK_ABSENT;
    }
    must(place->ops->lookup(&cx, d, key, &s, ret, &err), &err);
    return s;
}

static void each_once(const struct rows *r)
{
    assert_int_equal(place->rows(), r->batch.rows);
    for (size_t i = 0; i < r->batch.rows; i += 97)
        assert_int_equal(place->copies(&r->batch.col[TR_EVENT_UUID].uuid[i]), 1);
}

static void a_committed_chunk_is_there(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key();
    struct rows *r = rows_new(ROWS, 1, 200);
    struct tr_receipt receipt = deliver(d, &key, &r->batch, false);

    (void)state;
    assert_int_equal(receipt.delivered, ROWS);
    assert_int_equal(receipt.rejected, 0);
    assert_false(receipt.was_there);
    publish(d, &key, &receipt, 1);
    each_once(r);
    assert_true(place->properties_are(&r->batch.col[TR_EVENT_UUID].uuid[7],
                                      r->batch.col[TR_EVENT_PROPERTIES].str[7]));
    place->ops->close(d);
    rows_free(r);
}

static void many_batches_make_one_chunk(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_load_spec spec = { .key = rows_key(), .last = true };
    struct tr_receipt receipt = { 0 };
    struct tr_load *l = NULL;

    (void)state;
    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct rows *r = rows_new(ROWS, seed, 2000);
        must(l->ops->write(&cx, l, &r->batch, &err), &err);
        rows_free(r); /* a batch is gone after the call */
    }
    must(l->ops->commit(&cx, l, &receipt, &err), &err);
    publish(d, &spec.key, &receipt, 1);
    assert_int_equal(receipt.delivered, 5 * ROWS);
    assert_int_equal(place->rows(), 5 * ROWS);
    place->ops->close(d);
}

static void committing_one_key_twice_leaves_one_copy(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key();
    struct rows *r = rows_new(ROWS, 1, 200);

    (void)state;
    (void)deliver(d, &key, &r->batch, false);
    struct tr_receipt again = deliver(d, &key, &r->batch, false);
    assert_int_equal(again.delivered, ROWS);
    publish(d, &key, &again, 1);
    each_once(r);
    place->ops->close(d);

    d = open_prepared(); /* another process, later */
    again = deliver(d, &key, &r->batch, true);
    assert_int_equal(again.delivered, ROWS);
    publish(d, &key, &again, 1);
    each_once(r);
    place->ops->close(d);
    rows_free(r);
}

struct racer {
    pthread_t thread;
    pthread_barrier_t *start;
    struct tr_dest *d;
    struct tr_key key;
    struct rows *rows;
    struct tr_receipt receipt;
    enum tr_rc rc;
    struct tr_err err;
};

/* cmocka's assertions belong to the main thread: here only results are kept. */
static void *race(void *arg)
{
    struct racer *me = arg;
    struct tr_ctx cx = in_time();
    struct tr_load_spec spec = { .key = me->key };
    struct tr_load *l = NULL;

    (void)pthread_barrier_wait(me->start);
    me->rc = place->ops->begin(&cx, me->d, &spec, &l, &me->err);
    if (me->rc != TR_OK)
        return NULL;
    me->rc = l->ops->write(&cx, l, &me->rows->batch, &me->err);
    if (me->rc != TR_OK)
        l->ops->abort(l);
    else
        me->rc = l->ops->commit(&cx, l, &me->receipt, &me->err);
    return NULL;
}

static void two_at_once_with_one_key_leave_one_copy(void **state)
{
    enum { RACERS = 3, ROUNDS = 5 };
    struct tr_dest *reader = open_prepared();
    struct tr_key keys[ROUNDS];
    struct tr_receipt receipts[ROUNDS];

    (void)state;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct racer racers[RACERS];
        pthread_barrier_t start;
        struct rows *r = rows_new(ROWS, round, 200);

        keys[round] = round == 0 ? rows_key() : rows_key_after(&keys[round - 1]);
        keys[round].export_id = keys[0].export_id; /* chunks of one run */
        (void)pthread_barrier_init(&start, NULL, RACERS);
        for (size_t i = 0; i < RACERS; i++) {
            racers[i] = (struct racer){ .start = &start, .key = keys[round], .rows = r };
            racers[i].d = open_prepared();
        }
        for (size_t i = 0; i < RACERS; i++)
            assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
        for (size_t i = 0; i < RACERS; i++)
            (void)pthread_join(racers[i].thread, NULL);
        for (size_t i = 0; i < RACERS; i++) {
            must(racers[i].rc, &racers[i].err);
            assert_int_equal(racers[i].receipt.delivered, ROWS);
            place->ops->close(racers[i].d);
        }
        receipts[round] = racers[0].receipt;
        (void)pthread_barrier_destroy(&start);
        rows_free(r);
    }
    publish(reader, keys, receipts, ROUNDS);
    assert_int_equal(place->rows(), ROUNDS * ROWS);
    place->ops->close(reader);
}

static void an_aborted_load_leaves_nothing(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_load_spec spec = { .key = rows_key() };
    struct rows *r = rows_new(ROWS, 1, 4000);
    struct tr_receipt receipt = { 0 };
    struct tr_load *l = NULL;

    (void)state;
    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    l->ops->abort(l);
    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    must(l->ops->write(&cx, l, &r->batch, &err), &err);
    l->ops->abort(l);
    assert_int_equal(place->rows(), 0);
    assert_int_equal(ask(d, &spec.key, &receipt), TR_CHUNK_ABSENT);

    receipt = deliver(d, &spec.key, &r->batch, false);
    publish(d, &spec.key, &receipt, 1);
    each_once(r);
    place->ops->close(d);
    rows_free(r);
}

/* PRESENT, of so many rows; a place that keeps no book cannot tell. */
static void must_be_known(struct tr_dest *d, const struct tr_key *key, uint64_t rows)
{
    struct tr_receipt receipt = { 0 };
    enum tr_chunk_state s = ask(d, key, &receipt);

    if (knows_rows()) {
        assert_int_equal(s, TR_CHUNK_ABSENT);
        return;
    }
    assert_int_equal(s, TR_CHUNK_PRESENT);
    assert_int_equal(receipt.delivered, rows);
}

static void an_empty_chunk_is_delivered_too(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key();
    struct rows *none = rows_new(0, 1, 40);
    struct tr_receipt receipt = deliver(d, &key, NULL, false);

    (void)state;
    assert_int_equal(receipt.delivered, 0);
    must_be_known(d, &key, 0);
    key = rows_key();
    receipt = deliver(d, &key, &none->batch, true);
    assert_int_equal(receipt.delivered, 0);
    publish(d, &key, &receipt, 1);
    assert_int_equal(place->rows(), 0);
    place->ops->close(d);
    rows_free(none);
}

static void lookup_tells_what_became_of_a_key(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key(), other = rows_key();
    struct rows *r = rows_new(ROWS, 1, 200);
    struct tr_receipt receipt = { 0 };

    (void)state;
    assert_int_equal(ask(d, &key, &receipt), TR_CHUNK_ABSENT);
    assert_int_equal(ask(d, &key, &receipt), TR_CHUNK_ABSENT); /* to ask changes nothing */
    (void)deliver(d, &key, &r->batch, false);
    must_be_known(d, &key, ROWS);
    assert_int_equal(ask(d, &other, &receipt), TR_CHUNK_ABSENT);
    other = key;
    other.generation++;
    assert_int_equal(ask(d, &other, &receipt), TR_CHUNK_ABSENT);
    place->ops->close(d);

    d = open_prepared();
    must_be_known(d, &key, ROWS);
    place->ops->close(d);
    rows_free(r);
}

static void careful_delivers_the_same(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key();
    struct rows *r = rows_new(ROWS, 1, 200);
    struct tr_receipt receipt = deliver(d, &key, &r->batch, true);

    (void)state;
    assert_int_equal(receipt.delivered, ROWS);
    assert_int_equal(receipt.rejected, 0);
    publish(d, &key, &receipt, 1);
    each_once(r);
    place->ops->close(d);
    rows_free(r);
}

static void the_widest_row_arrives_whole(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key();
    struct rows *r = rows_new(3, 1, place->widest_bytes == 0 ? WIDE_BYTES : place->widest_bytes);
    struct tr_receipt receipt = deliver(d, &key, &r->batch, false);

    (void)state;
    assert_int_equal(receipt.delivered, 3);
    publish(d, &key, &receipt, 1);
    for (size_t i = 0; i < 3; i++)
        assert_true(place->properties_are(&r->batch.col[TR_EVENT_UUID].uuid[i],
                                          r->batch.col[TR_EVENT_PROPERTIES].str[i]));
    place->ops->close(d);
    rows_free(r);
}

static void a_cancelled_call_stops(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key key = rows_key();
    struct rows *r = rows_new(ROWS, 1, 200);
    atomic_bool cancelled = false;
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_load_spec spec = { .key = key };
    struct tr_load *l = NULL;
    struct tr_receipt receipt = { 0 };

    (void)state;
    cx.cancelled = &cancelled;
    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    atomic_store(&cancelled, true);
    assert_int_equal(l->ops->write(&cx, l, &r->batch, &err), TR_CANCELLED);
    assert_int_equal(err.rc, TR_CANCELLED);
    l->ops->abort(l);
    assert_int_equal(place->rows(), 0);
    receipt = deliver(d, &key, &r->batch, false);
    publish(d, &key, &receipt, 1);
    each_once(r);
    place->ops->close(d);
    rows_free(r);
}

static void replacing_removes_the_old_rows(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key keys[2] = { rows_key() };
    struct rows *r = rows_new(ROWS, 1, 200), *other = rows_new(10, 2, 200);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_receipt receipts[2];
    struct tr_load *l = NULL;

    (void)state;
    keys[1] = rows_key_after(&keys[0]);
    receipts[0] = deliver(d, &keys[0], &r->batch, false);
    receipts[1] = deliver(d, &keys[1], &other->batch, false);
    publish(d, keys, receipts, 2);
    assert_int_equal(place->rows(), ROWS + 10);
    keys[0].generation++;
    struct tr_load_spec spec = { .key = keys[0], .last = true, .owner = rows_owner };
    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    must(l->ops->remove(&cx, l, r->batch.col[TR_EVENT_UUID].uuid, ROWS, &err), &err);
    l->ops->abort(l);
    assert_int_equal(place->rows(), ROWS + 10); /* an aborted replacement replaces nothing */
    must(place->ops->begin(&cx, d, &spec, &l, &err), &err);
    must(l->ops->remove(&cx, l, r->batch.col[TR_EVENT_UUID].uuid, ROWS, &err), &err);
    must(l->ops->write(&cx, l, &r->batch, &err), &err);
    must(l->ops->commit(&cx, l, &receipts[0], &err), &err);
    assert_int_equal(receipts[0].delivered, ROWS);
    publish(d, keys, receipts, 1);
    assert_int_equal(place->rows(), ROWS + 10);
    assert_int_equal(place->copies(&r->batch.col[TR_EVENT_UUID].uuid[0]), 1);
    assert_int_equal(place->copies(&other->batch.col[TR_EVENT_UUID].uuid[0]), 1);
    place->ops->close(d);
    rows_free(other);
    rows_free(r);
}

static void recount_finds_what_is_there(void **state)
{
    struct tr_dest *d = open_prepared();
    struct tr_key keys[2] = { rows_key() };
    keys[1].export_id = keys[0].export_id; /* chunks of one run */
    struct rows *r = rows_new(ROWS, 1, 200), *missing = rows_new(20, 3, 200);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_recount count = { 0 };
    struct tr_receipt receipts[2];
    struct tr_uuid *uuids = calloc(ROWS + 20, sizeof(*uuids));

    (void)state;
    keys[1] = rows_key_after(&keys[0]);
    assert_non_null(uuids);
    memcpy(uuids, r->batch.col[TR_EVENT_UUID].uuid, ROWS * sizeof(*uuids));
    memcpy(uuids + ROWS, missing->batch.col[TR_EVENT_UUID].uuid, 20 * sizeof(*uuids));
    receipts[0] = deliver(d, &keys[0], &r->batch, false);
    r->batch.rows = 5; /* a second copy of the first five, under another key */
    receipts[1] = deliver(d, &keys[1], &r->batch, false);
    publish(d, keys, receipts, 2);
    must(place->ops->recount(&cx, d, &rows_owner, keys, 2, uuids, ROWS + 20, &count, &err), &err);
    assert_int_equal(count.expected, ROWS + 20);
    assert_int_equal(count.found, ROWS);
    assert_int_equal(count.copies, knows_rows() ? 0 : 5); /* there one uuid is one row */
    must(place->ops->recount(&cx, d, &rows_owner, keys, 2, uuids, 0, &count, &err), &err);
    assert_int_equal(count.expected, 0);
    place->ops->close(d);
    free(uuids);
    rows_free(missing);
    rows_free(r);
}

static void the_test_steps_pass_and_leave_nothing(void **state)
{
    struct tr_projection p = columns();
    struct tr_dest *d = open_only();

    (void)state;
    for (size_t i = 0; place->ops->tests != NULL && place->ops->tests[i].name != NULL; i++) {
        struct tr_ctx cx = in_time();
        struct tr_err err = { 0 };
        print_message("# %s\n", place->ops->tests[i].name);
        must(place->ops->test(&cx, d, &p, i, &err), &err);
    }
    place->ops->close(d);
    d = open_prepared();
    assert_int_equal(place->rows(), 0);
    place->ops->close(d);
}

static void the_target_names_the_place_and_no_secret(void **state)
{
    struct tr_buf text;

    (void)state;
    tr_buf_init(&text, 4096);
    place->ops->target(conf, &text);
    assert_false(text.failed);
    assert_true(text.n > 0);
    tr_buf_ch(&text, '\0');
    for (size_t i = 0; conf->options[i].name != NULL; i++)
        if (conf->options[i].secret && conf->values[i].text != NULL &&
            conf->values[i].text[0] != '\0')
            assert_null(strstr(text.p, conf->values[i].text));
    tr_buf_fini(&text);
}

#define CASE(name, caps)                                                                           \
    {                                                                                              \
        cmocka_unit_test_setup_teardown(name, fresh_place, leave_place), caps                      \
    }

int contract_dest(const struct contract_place *p)
{
    static const struct {
        struct CMUnitTest test;
        uint32_t caps; /* for adapters that have all of these */
    } all[] = {
        CASE(a_committed_chunk_is_there, 0),
        CASE(many_batches_make_one_chunk, 0),
        CASE(committing_one_key_twice_leaves_one_copy, 0),
        CASE(two_at_once_with_one_key_leave_one_copy, 0),
        CASE(an_aborted_load_leaves_nothing, 0),
        CASE(an_empty_chunk_is_delivered_too, 0),
        CASE(lookup_tells_what_became_of_a_key, 0),
        CASE(careful_delivers_the_same, 0),
        CASE(the_widest_row_arrives_whole, 0),
        CASE(a_cancelled_call_stops, 0),
        CASE(replacing_removes_the_old_rows, TR_DEST_REPLACES),
        CASE(recount_finds_what_is_there, TR_DEST_RECOUNTS),
        CASE(the_test_steps_pass_and_leave_nothing, 0),
        CASE(the_target_names_the_place_and_no_secret, 0),
    };
    struct CMUnitTest tests[sizeof(all) / sizeof(all[0])];
    size_t n = 0;

    place = p;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if ((p->ops->caps & all[i].caps) == all[i].caps)
            tests[n++] = all[i].test;
    return _cmocka_run_group_tests(p->ops->name, tests, n, NULL, NULL);
}
