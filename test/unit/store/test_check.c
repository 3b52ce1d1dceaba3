/* stat and check: sound after work, and a flipped byte is found wherever it is. */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "os/file.h"
#include "store/store_sql.h"

static bool check(struct kit *k, struct tr_buf *out)
{
    struct tr_err err = { 0 };
    bool sound = false;

    tr_buf_clear(out);
    if (tr_store_check(k->dir, out, &sound, &err) != TR_OK)
        fail_msg("check: %s%s", err.where, err.cause);
    struct tr_json j;
    struct tr_json_value v;
    tr_json_init(&j, tr_buf_view(out));
    assert_int_equal(tr_json_next(&j, &v, &err), TR_OK);
    assert_int_equal(tr_json_end(&j, &err), TR_OK);
    tr_buf_ch(out, '\0');
    return sound;
}

/* Sealed blocks, an unsealed journal, deduplication runs, duplicates and refused ones. */
static void make(struct kit *k)
{
    struct tr_err err = { 0 };
    struct kit_event again = { .project = 1, .number = 3 };

    kit_init(k);
    k->o.block_bytes = 8192;
    k->o.segment_bytes = 4 << 20; /* one: its last record is far from the middle */
    k->o.dedup_events = 64 * 100;
    k->o.dedup_age_us = INT64_MAX / 4;
    k->pad = 100;
    kit_open(k);
    kit_store(k, 1, 0, 1000, 50);
    kit_store(k, 2, 5000, 300, 10);
    assert_int_equal(kit_send(k, &again, 1, &err), TR_OK);
    assert_int_equal(kit_send_refused(k, 2, 17, &err), TR_OK);
    kit_seal_all(k);
    kit_store(k, 1, 2000, 200, 5);
    struct tr_counts c;
    assert_int_equal(tr_store_counts(k->s, 2, (struct tr_range){ 0, tr_store_now(k->s) }, &c, &err),
                     TR_OK);
    assert_int_equal(c.refused, 17);
    assert_int_equal(c.stored, 300);
    kit_close(k);
}

static void a_store_after_work_is_sound_and_says_what_it_holds(void **state)
{
    struct kit k;
    struct tr_buf out;
    struct tr_err err = { 0 };

    (void)state;
    tr_buf_init(&out, 1 << 20);
    make(&k);
    assert_int_equal(tr_store_stat(k.dir, &out, &err), TR_OK);
    tr_buf_ch(&out, '\0');
    assert_non_null(strstr(out.p, "\"events\":1300")); /* in blocks */
    if (!check(&k, &out))
        fail_msg("%s", out.p);
    assert_non_null(strstr(out.p, "\"problems\":[]"));
    tr_buf_fini(&out);
    kit_fini(&k);
}

static void a_flipped_byte_is_found_in_journal_blocks_and_runs(void **state)
{
    static const struct {
        const char *folder, *ending;
        double at;
    } files[] = { { "journal", ".trj", 0.3 },
                  { "journal", ".trj", 0.7 },
                  { "dedup", ".trd", 0.5 },
                  { "dedup", ".trd", 0.95 } };
    struct kit k;
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 1 << 20);
    make(&k);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[256];
        kit_last_file(&k, files[i].folder, files[i].ending, path);
        int64_t at = (int64_t)(files[i].at * (double)kit_file_size(path));
        kit_flip(path, at);
        assert_false(check(&k, &out));
        assert_non_null(strstr(out.p, files[i].ending));
        kit_flip(path, at);
        assert_true(check(&k, &out));
    }
    char path[256];
    kit_path(&k, "blocks.db", path);
    struct tr_buf bytes;
    struct tr_err err;
    tr_buf_init(&bytes, 64 << 20);
    assert_int_equal(tr_file_read(path, &bytes, &err), TR_OK);
    const char *block = memmem(bytes.p, bytes.n, "TRBK", 4);
    assert_non_null(block);
    kit_flip(path, block - bytes.p + 40);
    tr_buf_fini(&bytes);
    assert_false(check(&k, &out));
    assert_non_null(strstr(out.p, "blocks.db"));
    tr_buf_fini(&out);
    kit_fini(&k);
}

static void counts_that_are_not_what_is_there_are_named(void **state)
{
    static const char *const harm[] = {
        "UPDATE counts SET stored = stored + 1 WHERE project = 1",
        "DELETE FROM counts WHERE project = 2",
        "INSERT INTO counts VALUES(9, 5, 3, 0, 0, 0)",
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct kit k;
        struct tr_buf out;
        struct tr_err err;
        char path[256];
        sqlite3 *db;
        tr_buf_init(&out, 1 << 20);
        make(&k);
        kit_path(&k, "state.db", path);
        assert_int_equal(store_sql_open(path, true, &db, &err), TR_OK);
        assert_int_equal(store_sql_exec(db, harm[i], &err), TR_OK);
        (void)sqlite3_close(db);
        assert_false(check(&k, &out));
        assert_non_null(strstr(out.p, "state.db"));
        tr_buf_fini(&out);
        kit_fini(&k);
    }
}

static void a_block_that_is_gone_is_named(void **state)
{
    struct kit k;
    struct tr_buf out;
    struct tr_err err;
    char path[256];
    sqlite3 *db;

    (void)state;
    tr_buf_init(&out, 1 << 20);
    make(&k);
    kit_path(&k, "blocks.db", path);
    assert_int_equal(store_sql_open(path, true, &db, &err), TR_OK);
    assert_int_equal(store_sql_exec(db, "DELETE FROM blocks WHERE id = 2", &err), TR_OK);
    (void)sqlite3_close(db);
    assert_false(check(&k, &out));
    assert_non_null(strstr(out.p, "blocks.db"));
    assert_non_null(strstr(out.p, "state.db"));
    tr_buf_fini(&out);
    kit_fini(&k);
}

static void who_events_belonged_to_is_missed(void **state)
{
    struct kit k;
    struct tr_buf out;
    char path[256];

    (void)state;
    tr_buf_init(&out, 1 << 20);
    make(&k);
    kit_last_file(&k, "asof", ".tra", path);
    int64_t size = kit_file_size(path);
    kit_flip(path, size / 2);
    assert_false(check(&k, &out));
    assert_non_null(strstr(out.p, "\"asof\""));
    kit_flip(path, size / 2);
    assert_true(check(&k, &out));
    assert_int_equal(unlink(path), 0);
    assert_false(check(&k, &out));
    assert_non_null(strstr(out.p, "\"asof\""));
    tr_buf_fini(&out);
    kit_fini(&k);
}

static void a_folder_that_is_no_store_is_an_error(void **state)
{
    struct kit k;
    struct tr_buf out;
    struct tr_err err;

    (void)state;
    kit_init(&k);
    tr_buf_init(&out, 1 << 20);
    assert_int_not_equal(tr_store_stat(k.dir, &out, &err), TR_OK);
    tr_buf_fini(&out);
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_after_work_is_sound_and_says_what_it_holds),
        cmocka_unit_test(a_flipped_byte_is_found_in_journal_blocks_and_runs),
        cmocka_unit_test(counts_that_are_not_what_is_there_are_named),
        cmocka_unit_test(a_block_that_is_gone_is_named),
        cmocka_unit_test(who_events_belonged_to_is_missed),
        cmocka_unit_test(a_folder_that_is_no_store_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
