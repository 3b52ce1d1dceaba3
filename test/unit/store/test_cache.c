/* The cache of state rows against a plain array: nothing is lost, and the pool keeps its size. */
#include "kit.h"

#include <stdlib.h>
#include <string.h>

#include "store/cache.h"

enum { KEYS = 500 };

struct row {
    struct cache_entry e;
    unsigned key;
    unsigned value;
};

/* What would be on disk, and how often it was written. */
struct disk {
    unsigned values[KEYS];
    unsigned writes;
    bool fails;
};

static bool row_is(const struct cache_entry *e, const void *key)
{
    return ((const struct row *)e)->key == *(const unsigned *)key;
}

static enum tr_rc row_write(void *owner, const struct cache_entry *e, struct tr_err *err)
{
    const struct row *r = (const struct row *)e;
    struct disk *d = owner;

    if (d->fails)
        return tr_fail(err, TR_INTERNAL, "test.full", NULL, "no room");
    d->values[r->key] = r->value;
    d->writes++;
    return TR_OK;
}

static int row_compare(const void *a, const void *b)
{
    const struct row *x = *(struct row *const *)a;
    const struct row *y = *(struct row *const *)b;

    return x->key < y->key ? -1 : x->key > y->key;
}

static const struct cache_ops ops = { .is = row_is, .write = row_write, .compare = row_compare };

static enum tr_rc write_all(struct cache *c, struct tr_err *err)
{
    struct cache_image image;
    enum tr_rc rc = cache_copy(c, &image, err);

    cache_image_sort(&image);
    for (size_t i = 0; i < image.n && rc == TR_OK; i++)
        rc = cache_image_write(&image, i, err);
    cache_image_fini(&image);
    return rc;
}

/* Many keys have one hash: entries stand in each other's way. */
static uint32_t hash_of(unsigned key)
{
    return key % 7 == 0 ? 1021 : key * 2654435761U;
}

static struct row *find(struct cache *c, unsigned key)
{
    return (struct row *)cache_find(c, hash_of(key), &key);
}

static struct row *add(struct cache *c, unsigned key, unsigned value, size_t bytes)
{
    struct tr_err err = { 0 };
    struct row *r = calloc(1, bytes);

    assert_non_null(r);
    r->e.hash = hash_of(key);
    r->e.bytes = (uint32_t)bytes;
    r->key = key;
    r->value = value;
    assert_int_equal(cache_add(c, &r->e, &err), TR_OK);
    return r;
}

static void nothing_is_lost(void **state)
{
    struct cache_pool pool = { .max_bytes = 12000 };
    struct disk disk[2] = { 0 };
    struct cache c[2];
    unsigned truth[2][KEYS] = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    srand(7);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cache_init(&c[i], &ops, &disk[i], &pool, (size_t)(1 + 2 * i), &err),
                         TR_OK);
    for (int step = 0; step < 200000; step++) {
        int i = rand() % 2;
        unsigned key = (unsigned)rand() % KEYS;
        struct row *r = find(&c[i], key);

        if (r == NULL)
            r = add(&c[i], key, disk[i].values[key], sizeof(*r) + (size_t)(rand() % 300));
        assert_int_equal(r->value, truth[i][key]);
        if (rand() % 2 == 0) {
            r = (struct row *)cache_resize(&c[i], &r->e, sizeof(*r) + (size_t)(rand() % 300));
            assert_non_null(r);
            r->value = truth[i][key] = (unsigned)step;
            assert_int_equal(cache_changed(&c[i], &r->e, &err), TR_OK);
        }
        /* The row at hand stays however little room there is. */
        assert_int_equal(find(&c[i], key)->value, truth[i][key]);
        assert_true(pool.bytes <= pool.max_bytes);
        assert_true(pool.dirty_bytes <= pool.bytes);
        assert_true(pool.bytes == c[0].bytes + c[1].bytes);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(write_all(&c[i], &err), TR_OK);
        assert_memory_equal(disk[i].values, truth[i], sizeof(truth[i]));
    }
    assert_true(pool.dirty_bytes == 0);
    for (int i = 0; i < 2; i++)
        cache_fini(&c[i]);
    assert_true(pool.bytes == 0);
}

/* A copy that is being written, some rows at a time, by somebody else. */
struct saving {
    struct cache_pool *pool;
    struct cache_image image;
    size_t written;
    unsigned waits;
};

static void write_some(struct saving *s, size_t n)
{
    struct tr_err err = { 0 };

    while (n-- > 0 && s->written < s->image.n)
        assert_int_equal(cache_image_write(&s->image, s->written++, &err), TR_OK);
    if (s->written == s->image.n) {
        cache_image_fini(&s->image);
        s->written = 0;
        s->pool->is_saving = false;
    }
}

static enum tr_rc wait_for_it(void *arg, struct tr_err *err)
{
    struct saving *s = arg;

    (void)err;
    s->waits += s->pool->is_saving;
    if (s->pool->is_saving)
        write_some(s, s->image.n);
    return TR_OK;
}

/* What is not in the cache is right on the disk, also while a copy is only half written. */
static void rows_change_while_a_copy_is_written(void **state)
{
    struct cache_pool pool = { .max_bytes = 20000 };
    struct saving saving = { .pool = &pool };
    struct disk disk = { 0 };
    struct cache c;
    unsigned truth[KEYS] = { 0 };
    struct tr_err err = { 0 };
    unsigned copies = 0, changed_meanwhile = 0;

    (void)state;
    srand(11);
    pool.ready = wait_for_it;
    pool.arg = &saving;
    assert_int_equal(cache_init(&c, &ops, &disk, &pool, 1, &err), TR_OK);
    for (unsigned step = 1; step < 200000; step++) {
        unsigned key = (unsigned)rand() % KEYS;
        struct row *r = find(&c, key);

        if (r == NULL) {
            assert_int_equal(disk.values[key], truth[key]);
            r = add(&c, key, truth[key], sizeof(*r) + (size_t)(rand() % 300));
        }
        assert_int_equal(r->value, truth[key]);
        if (rand() % 4 == 0) {
            r = (struct row *)cache_resize(&c, &r->e, sizeof(*r) + (size_t)(rand() % 300));
            assert_non_null(r);
            r->value = truth[key] = step;
            changed_meanwhile += pool.is_saving;
            assert_int_equal(cache_changed(&c, &r->e, &err), TR_OK);
        }
        if (pool.is_saving)
            write_some(&saving, rand() % 8 == 0);
        else if (rand() % 100 == 0 && c.n_dirty > 0) {
            copies++;
            pool.copies++;
            pool.is_saving = true;
            assert_int_equal(cache_copy(&c, &saving.image, &err), TR_OK);
            assert_int_equal(pool.dirty_bytes, 0);
            cache_image_sort(&saving.image);
        }
        assert_true(pool.bytes <= pool.max_bytes);
    }
    assert_true(copies > 256 && changed_meanwhile > 1000 && saving.waits > 10);
    assert_true(saving.waits < copies);
    assert_int_equal(wait_for_it(&saving, &err), TR_OK);
    assert_int_equal(write_all(&c, &err), TR_OK);
    assert_memory_equal(disk.values, truth, sizeof(truth));
    cache_fini(&c);
    assert_true(pool.bytes == 0 && pool.dirty_bytes == 0);
}

/* The one with three shares keeps about three times as much as the one with one. */
static void shares_are_kept(void **state)
{
    struct cache_pool pool = { .max_bytes = 8000 };
    struct disk disk = { 0 };
    struct cache c[2];
    struct tr_err err = { 0 };

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(cache_init(&c[i], &ops, &disk, &pool, (size_t)(1 + 2 * i), &err), TR_OK);
    for (unsigned key = 0; key < KEYS; key++)
        for (int i = 0; i < 2; i++)
            (void)add(&c[i], key, key, 64);
    assert_true(c[0].n > 15 && c[0].n < 25);
    assert_true(c[1].n > 55 && c[1].n < 65);
    for (int i = 0; i < 2; i++)
        cache_fini(&c[i]);
}

static void what_is_used_again_stays(void **state)
{
    struct cache_pool pool = { .max_bytes = 8000 };
    struct disk disk = { 0 };
    struct cache c;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(cache_init(&c, &ops, &disk, &pool, 1, &err), TR_OK);
    (void)add(&c, 0, 1, 64);
    for (unsigned key = 1; key < KEYS; key++) {
        (void)add(&c, key, key, 64);
        assert_non_null(find(&c, 0));
    }
    assert_null(find(&c, 1));
    assert_int_equal(disk.writes, 0); /* nothing had changed */
    cache_fini(&c);
}

/* A row that cannot be written is not let go. */
static void a_full_disk_loses_nothing(void **state)
{
    struct cache_pool pool = { .max_bytes = 1000 };
    struct disk disk = { .fails = true };
    struct cache c;
    struct tr_err err = { 0 };
    unsigned n = 0;
    enum tr_rc rc = TR_OK;

    (void)state;
    assert_int_equal(cache_init(&c, &ops, &disk, &pool, 1, &err), TR_OK);
    while (rc == TR_OK && n < KEYS) {
        struct row *r = calloc(1, 100);
        assert_non_null(r);
        *r = (struct row){ .e = { .hash = hash_of(n), .bytes = 100 }, .key = n, .value = n + 1 };
        rc = cache_add(&c, &r->e, &err);
        if (rc == TR_OK)
            rc = cache_changed(&c, &r->e, &err);
        n++;
    }
    assert_int_equal(rc, TR_INTERNAL);
    disk.fails = false;
    assert_int_equal(write_all(&c, &err), TR_OK);
    for (unsigned key = 0; key + 1 < n; key++)
        assert_int_equal(disk.values[key], key + 1);
    cache_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(rows_change_while_a_copy_is_written),
        cmocka_unit_test(shares_are_kept),
        cmocka_unit_test(what_is_used_again_stays),
        cmocka_unit_test(a_full_disk_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
