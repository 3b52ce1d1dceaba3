/* Deduplication through tables, runs, merges, restarts and expiry; keys that all hash alike. */
#include "kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEED = 42 };

static struct dedup_limits limits(size_t table, uint64_t events, uint64_t mask)
{
    return (struct dedup_limits){
        .hash = { SEED, mask }, .table_entries = table, .max_events = events, .max_age_us = 1000000
    };
}

static struct dedup_key key(int32_t project, uint64_t number)
{
    return (struct dedup_key){ .uuid = kit_uuid(number), .project = project };
}

static bool find(struct dedup *d, int32_t project, uint64_t number, struct dedup_entry *ret)
{
    struct dedup_view v;
    struct dedup_key k = key(project, number);
    bool found;

    dedup_view_begin(d, &v);
    assert_ok(dedup_find(&v, dedup_hash_key(&d->limits.hash, &k), &k, &found, ret, &err_));
    dedup_view_end(&v, true);
    return found;
}

static void add(struct dedup *d, int32_t project, uint64_t number, bool keep)
{
    struct dedup_view v;
    struct dedup_entry e = { .key = key(project, number),
                             .identity = number * 3,
                             .inserted_at = (int64_t)number };

    dedup_view_begin(d, &v);
    assert_ok(dedup_add(&v, dedup_hash_key(&d->limits.hash, &e.key), &e, &err_));
    dedup_view_end(&v, keep);
}

static void flush(struct dedup *d, uint64_t seq)
{
    bool told;

    assert_ok(dedup_freeze(d, seq, true, &told, &err_));
    assert_true(told);
    assert_ok(dedup_flush(d, &err_));
}

static size_t merge_all(struct dedup *d)
{
    size_t n = 0;

    for (bool merged = true; merged; n += merged)
        assert_ok(dedup_merge(d, &merged, &err_));
    return n;
}

static void assert_holds(struct dedup *d, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct dedup_entry e;
        assert_true(find(d, 1, i, &e));
        assert_int_equal(e.identity, i * 3);
        assert_int_equal(e.inserted_at, i);
        assert_false(find(d, 2, i, &e));
    }
}

static const uint64_t masks[] = { UINT64_MAX, 0x3, 0 };

static void keys_are_found_in_tables_runs_and_merged_runs_even_when_all_hash_alike(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct kit k;
        struct dedup d;
        struct tr_err err;
        struct dedup_limits l = limits(64, 100000, masks[m]);
        uint64_t n = masks[m] == UINT64_MAX ? 20000 : 600;
        uint64_t per = n / 20;

        kit_init(&k);
        assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
        for (uint64_t i = 0; i < n; i++) {
            add(&d, 1, i, true);
            if (i % per == per - 1)
                flush(&d, i);
        }
        assert_int_equal(d.set->n, 20);
        assert_holds(&d, 0, n);
        assert_true(merge_all(&d) > 0);
        assert_true(d.set->n < 12);
        assert_holds(&d, 0, n);
        struct dedup_entry e;
        for (uint64_t i = n; i < n + 500; i++)
            assert_false(find(&d, 1, i, &e));
        dedup_close(&d);

        assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
        assert_int_equal(d.through_seq, n - 1);
        assert_int_equal(dedup_sweep(&d, &err), TR_OK);
        assert_holds(&d, 0, n);
        dedup_close(&d);
        kit_fini(&k);
    }
}

static void what_a_failed_commit_added_is_forgotten(void **state)
{
    struct kit k;
    struct dedup d;
    struct tr_err err;
    struct dedup_limits l = limits(64, 100000, 0x7);
    struct dedup_entry e;

    (void)state;
    kit_init(&k);
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    for (uint64_t i = 0; i < 50; i++)
        add(&d, 1, i, true);
    struct dedup_view v;
    dedup_view_begin(&d, &v);
    for (uint64_t i = 1000; i < 1300; i++) { /* past the table's size: it grows on the way */
        struct dedup_entry added = { .key = key(1, i), .inserted_at = 1 };
        assert_int_equal(dedup_add(&v, dedup_hash_key(&l.hash, &added.key), &added, &err), TR_OK);
    }
    dedup_view_end(&v, false);
    for (uint64_t i = 1000; i < 1300; i++)
        assert_false(find(&d, 1, i, &e));
    assert_holds(&d, 0, 50);
    for (uint64_t i = 50; i < 200; i++)
        add(&d, 1, i, true);
    assert_holds(&d, 0, 200);
    dedup_close(&d);
    kit_fini(&k);
}

static void of_two_copies_the_newest_is_kept_by_a_merge(void **state)
{
    struct kit k;
    struct dedup d;
    struct tr_err err;
    struct dedup_limits l = limits(64, 100000, UINT64_MAX);

    (void)state;
    kit_init(&k);
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    for (uint64_t run = 0; run < 4; run++) {
        struct dedup_view v;
        dedup_view_begin(&d, &v);
        for (uint64_t i = 0; i < 100; i++) {
            struct dedup_entry e = { .key = key(1, i + run * 10),
                                     .inserted_at = (int64_t)(1000 * run + i) };
            assert_int_equal(dedup_add(&v, dedup_hash_key(&l.hash, &e.key), &e, &err), TR_OK);
        }
        dedup_view_end(&v, true);
        flush(&d, run);
    }
    assert_int_equal(merge_all(&d), 1);
    assert_int_equal(d.set->n, 1);
    assert_int_equal(d.set->runs[0]->entries, 130);
    for (uint64_t i = 0; i < 130; i++) {
        struct dedup_entry e;
        uint64_t run = i / 10 > 3 ? 3 : i / 10;
        assert_true(find(&d, 1, i, &e));
        assert_int_equal(e.inserted_at, 1000 * run + i - run * 10);
    }
    dedup_close(&d);
    kit_fini(&k);
}

static void runs_go_by_age_and_by_count(void **state)
{
    struct kit k;
    struct dedup d;
    struct tr_err err;
    struct dedup_limits l = limits(64, 250, UINT64_MAX);
    struct dedup_entry e;

    (void)state;
    kit_init(&k);
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    for (uint64_t i = 0; i < 500; i++) {
        add(&d, 1, i, true);
        if (i % 100 == 99)
            flush(&d, i);
    }
    assert_int_equal(dedup_expire(&d, 500, &err), TR_OK);
    assert_int_equal(d.set->n, 3); /* the last 250 are all there, the first 200 are not */
    assert_false(find(&d, 1, 199, &e));
    assert_holds(&d, 200, 500);
    assert_int_equal(dedup_expire(&d, 1000000 + 299, &err), TR_OK);
    assert_int_equal(d.set->n, 3); /* one entry of the oldest run is not over its age */
    assert_int_equal(dedup_expire(&d, 1000000 + 300, &err), TR_OK);
    assert_int_equal(d.set->n, 2);
    assert_int_equal(dedup_expire(&d, INT64_MAX, &err), TR_OK);
    assert_int_equal(d.set->n, 0);
    dedup_close(&d);

    DIR *dir = opendir(k.dir);
    for (struct dirent *f; (f = readdir(dir)) != NULL;)
        assert_null(strstr(f->d_name, ".trd"));
    (void)closedir(dir);
    kit_fini(&k);
}

static void runs_without_a_place_in_the_manifest_are_removed(void **state)
{
    struct kit k;
    struct dedup d;
    struct tr_err err;
    struct dedup_limits l = limits(64, 1000, UINT64_MAX);
    char path[256];

    (void)state;
    kit_init(&k);
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    add(&d, 1, 7, true);
    flush(&d, 1);
    dedup_close(&d);
    kit_last_file(&k, "", ".trd", path);
    char other[256];
    kit_path(&k, "00000000000000aa.trd", other);
    FILE *f = fopen(other, "w");
    assert_non_null(f);
    (void)fputs("unfinished", f);
    (void)fclose(f);
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    assert_int_equal(dedup_sweep(&d, &err), TR_OK);
    assert_int_equal(kit_file_size(other), -1);
    assert_holds(&d, 7, 8);
    dedup_close(&d);
    kit_fini(&k);
}

static void damage_in_a_run_or_the_manifest_is_an_error_never_a_wrong_answer(void **state)
{
    struct kit k;
    struct dedup d;
    struct tr_err err;
    struct dedup_limits l = limits(64, 100000, UINT64_MAX);
    char path[256];

    (void)state;
    kit_init(&k);
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    for (uint64_t i = 0; i < 1000; i++)
        add(&d, 1, i, true);
    flush(&d, 1);
    dedup_close(&d);
    kit_last_file(&k, "", ".trd", path);

    int64_t size = kit_file_size(path);
    int64_t tail = DEDUP_BLOCK * 11;
    static const int64_t heads[] = { 0, 9, 20, 40, 62 };
    for (size_t i = 0; i < 5; i++) {
        kit_flip(path, heads[i]);
        assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_REFUSED);
        kit_flip(path, heads[i]);
    }
    for (int64_t at = tail; at < size; at += 97) {
        kit_flip(path, at);
        assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_REFUSED);
        kit_flip(path, at);
    }
    kit_flip(path, DEDUP_BLOCK + 100); /* the first block of entries */
    assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_OK);
    size_t failed = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        struct dedup_view v;
        struct dedup_key one = key(1, i);
        struct dedup_entry e;
        bool found;
        dedup_view_begin(&d, &v);
        enum tr_rc rc = dedup_find(&v, dedup_hash_key(&l.hash, &one), &one, &found, &e, &err);
        dedup_view_end(&v, true);
        assert_true(rc == TR_REFUSED || found);
        failed += rc != TR_OK;
    }
    assert_in_range(failed, 102, 104);
    dedup_close(&d);

    kit_path(&k, "manifest", path);
    for (int64_t at = 0; at < kit_file_size(path); at++) {
        kit_flip(path, at);
        assert_int_equal(dedup_open(&d, k.dir, &l, &err), TR_REFUSED);
        kit_flip(path, at);
    }
    kit_fini(&k);
}

static void the_store_recognises_events_through_flushes_merges_and_restarts(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };

    (void)state;
    kit_init(&k);
    k.o.dedup_events = 64 * 256; /* a table of 256 */
    kit_open(&k);
    kit_store(&k, 1, 0, 8000, 100);
    for (int restart = 0; restart < 2; restart++) {
        for (uint64_t at = 0; at < 8000; at += 500) {
            struct kit_event again[3] = { { .project = 1, .number = at },
                                          { .project = 1, .number = at + 499 },
                                          { .project = 1, .number = at + 7, .event = "other" } };
            assert_int_equal(kit_send(&k, again, 3, &err), TR_OK);
            assert_int_equal(again[0].outcome, TR_EVENT_DUPLICATE);
            assert_int_equal(again[1].outcome, TR_EVENT_DUPLICATE);
            assert_int_equal(again[2].outcome, restart == 0 ? TR_EVENT_STORED : TR_EVENT_DUPLICATE);
        }
        struct tr_store_status status;
        tr_store_status(k.s, &status);
        assert_true(status.dedup_runs > 0);
        assert_int_equal(status.dedup_entries, 8016); /* 16 that had another one's uuid */
        kit_close(&k);
        kit_open(&k);
    }
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 8016);
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_in_tables_runs_and_merged_runs_even_when_all_hash_alike),
        cmocka_unit_test(what_a_failed_commit_added_is_forgotten),
        cmocka_unit_test(of_two_copies_the_newest_is_kept_by_a_merge),
        cmocka_unit_test(runs_go_by_age_and_by_count),
        cmocka_unit_test(runs_without_a_place_in_the_manifest_are_removed),
        cmocka_unit_test(damage_in_a_run_or_the_manifest_is_an_error_never_a_wrong_answer),
        cmocka_unit_test(the_store_recognises_events_through_flushes_merges_and_restarts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
