#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/sha.h>

#include "base/time.h"
#include "dest/file/file.h"
#include "os/clock.h"
#include "os/file.h"
#include "rows.h"

enum { ROWS = 40, PATH_BYTES = 1024 };

#define EXPORT "0190f5d5-8e1b-7c3a-9d2e-0123456789ab"
#define HOUR   TR_US_PER_HOUR
/* 2026-11-21T09:00:00Z */
#define NINE        INT64_C(1795251600000000)
#define NINE_TO_TEN "20261121T090000.000000Z-20261121T100000.000000Z"

static char root[PATH_BYTES];
static struct tr_conf *conf;

/* ---- the place ---- */

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

static struct tr_conf *configure(const char *path, const char *compression)
{
    json_t *j = json_pack("{s:s, s:s}", "path", path, "compression", compression);
    struct tr_conf *c = NULL;
    struct tr_err err = { 0 };

    must(tr_conf_parse(tr_dest_file_ops.options, j, &c, &err), &err);
    json_decref(j);
    return c;
}

static int make_root(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    (void)snprintf(root, sizeof(root), "%s/tr-dest-file-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(root));
    conf = configure(root, "none");
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        char inner[PATH_BYTES];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (snprintf(inner, sizeof(inner), "%s/%s", path, e->d_name) < (int)sizeof(inner) &&
            unlink(inner) != 0)
            remove_tree(inner);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

static int remove_root(void **state)
{
    (void)state;
    tr_conf_free(conf);
    remove_tree(root);
    return 0;
}

static const char *in_root(const char *name)
{
    static char path[4][PATH_BYTES];
    static int next;
    char *p = path[next++ % 4];

    (void)snprintf(p, PATH_BYTES, "%.500s/" EXPORT "/%.400s", root, name);
    return p;
}

static bool there(const char *name)
{
    return access(in_root(name), F_OK) == 0;
}

static struct tr_buf read_file(const char *name)
{
    struct tr_buf b;
    struct tr_err err = { 0 };

    tr_buf_init(&b, 16 << 20);
    must(tr_file_read(in_root(name), &b, &err), &err);
    return b;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

/* ---- the adapter ---- */

static struct tr_key key_of(uint32_t generation, int64_t lo, int64_t hi)
{
    struct tr_key k = { .epoch = 1, .target = 7, .generation = generation, .range = { lo, hi } };

    assert_true(tr_uuid_parse(TR_STR(EXPORT), &k.export_id));
    return k;
}

static struct tr_dest *open_with(const struct tr_conf *c)
{
    struct tr_projection p = rows_projection_default(tr_dest_file_ops.defaults[TR_MODEL_EVENTS]);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_dest *d = NULL;

    must(tr_dest_file_ops.open(&cx, c, &d, &err), &err);
    must(d->ops->prepare(&cx, d, &p, &(tr_column_mask){ 0 }, NULL, &err), &err);
    return d;
}

static struct tr_receipt deliver(struct tr_dest *d, struct tr_key key, size_t n, bool replace)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_load_spec spec = { .key = key };
    struct tr_receipt receipt = { 0 };
    struct tr_load *l = NULL;
    struct rows *r = rows_new(n, (uint32_t)(key.range.lo / HOUR), 300);

    for (size_t i = 0; i < n; i++) { /* spread over the chunk */
        int64_t at = key.range.lo + (int64_t)i * (key.range.hi - key.range.lo) / (int64_t)n;
        r->batch.col[TR_EVENT_INSERTED_AT].i64[i] = at;
        r->batch.col[TR_EVENT_CREATED_AT].i64[i] = at;
    }
    must(d->ops->begin(&cx, d, &spec, &l, &err), &err);
    if (replace)
        must(l->ops->remove(&cx, l, r->batch.col[TR_EVENT_UUID].uuid, n, &err), &err);
    must(l->ops->write(&cx, l, &r->batch, &err), &err);
    must(l->ops->commit(&cx, l, &receipt, &err), &err);
    rows_free(r);
    return receipt;
}

static enum tr_rc finish(struct tr_dest *d, struct tr_key run, const struct tr_key *chunks,
                         const struct tr_receipt *receipts, size_t n, struct tr_err *err)
{
    struct tr_ctx cx = in_time();

    return d->ops->finish(&cx, d, &run, chunks, receipts, n, err);
}

/* A run of one chunk, published. */
static void run_of(struct tr_dest *d, uint32_t generation, int64_t lo, int64_t hi, bool replace)
{
    struct tr_key key = key_of(generation, lo, hi);
    struct tr_receipt receipt = deliver(d, key, ROWS, replace);
    struct tr_err err = { 0 };

    must(finish(d, key, &key, &receipt, 1, &err), &err);
}

static enum tr_chunk_state ask(struct tr_dest *d, struct tr_key key, struct tr_receipt *ret)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    enum tr_chunk_state s = TR_CHUNK_IN_FLIGHT;

    must(d->ops->lookup(&cx, d, &key, &s, ret, &err), &err);
    return s;
}

static json_t *manifest(const char *name)
{
    json_t *j = json_load_file(in_root(name), 0, NULL);

    assert_non_null(j);
    return j;
}

static const char *entry_text(const json_t *m, size_t i, const char *what)
{
    return json_string_value(json_object_get(json_array_get(json_object_get(m, "files"), i), what));
}

static json_int_t entry_number(const json_t *m, size_t i, const char *what)
{
    return json_integer_value(
        json_object_get(json_array_get(json_object_get(m, "files"), i), what));
}

static void sha_is(const struct tr_buf *bytes, const char *want)
{
    char hex[65] = "";
    unsigned char sha[32];

    (void)SHA256((const unsigned char *)bytes->p, bytes->n, sha);
    for (size_t k = 0; k < 32; k++)
        (void)snprintf(hex + 2 * k, 3, "%02x", sha[k]);
    assert_string_equal(want, hex);
}

/* ---- tests ---- */

static void paths_are_checked_and_lead_to_one_target(void **state)
{
    static const struct {
        const char *path, *target, *refused;
    } paths[] = {
        { "/srv/out", "file:///srv/out/JSONLines", NULL },
        { "/srv/out/", "file:///srv/out/JSONLines", NULL },
        { "//srv/./out//", "file:///srv/out/JSONLines", NULL },
        { "/srv/o\xC3\xBCt put", "file:///srv/o\xC3\xBCt put/JSONLines", NULL },
        { "/", "file:////JSONLines", NULL },
        { "srv/out", NULL, "absolute" },
        { "./out", NULL, "absolute" },
        { "/srv/../etc", NULL, ".." },
        { "/srv/..", NULL, ".." },
        { "/srv/..out", "file:///srv/..out/JSONLines", NULL },
        { "/srv/a\nb", NULL, "control" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct tr_conf *c = configure(paths[i].path, "gzip");
        struct tr_err err = { 0 };
        struct tr_buf text;
        enum tr_rc rc = tr_dest_file_ops.validate(c, &err);

        tr_buf_init(&text, 4096);
        assert_int_equal(rc, paths[i].refused == NULL ? TR_OK : TR_INVALID);
        if (rc != TR_OK) {
            assert_non_null(strstr(err.cause, paths[i].refused));
        } else {
            tr_dest_file_ops.target(c, &text);
            assert_true(tr_str_is(tr_buf_view(&text), paths[i].target));
        }
        tr_buf_fini(&text);
        tr_conf_free(c);
    }
}

static void names_come_from_the_key(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct tr_key key = key_of(3, NINE, NINE + HOUR);

    (void)state;
    (void)deliver(d, key, ROWS, false);
    assert_true(there("g3-00000001/" NINE_TO_TEN ".jsonl"));
    key.epoch = 2; /* a restored store tells the same hour another way */
    (void)deliver(d, key, 1, false);
    assert_true(there("g3-00000002/" NINE_TO_TEN ".jsonl"));
    d->ops->close(d);

    static const char *const compressions[] = { "gzip", "zstd" };
    static const char *const names[] = { "g0-00000001/" NINE_TO_TEN ".jsonl.gz",
                                         "g0-00000001/" NINE_TO_TEN ".jsonl.zst" };
    for (size_t i = 0; i < 2; i++) {
        struct tr_conf *c = configure(root, compressions[i]);
        d = open_with(c);
        (void)deliver(d, key_of(0, NINE, NINE + HOUR), ROWS, false);
        assert_true(there(names[i]));
        d->ops->close(d);
        tr_conf_free(c);
    }
}

static void a_retry_writes_the_same_bytes(void **state)
{
    static const char *const compressions[] = { "none", "gzip", "zstd" };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tr_conf *c = configure(root, compressions[i]);
        char name[PATH_BYTES];
        (void)snprintf(name, sizeof(name), "g%zu-00000001/" NINE_TO_TEN ".jsonl%s", i,
                       i == 0   ? ""
                       : i == 1 ? ".gz"
                                : ".zst");
        struct tr_dest *d = open_with(c);
        assert_false(deliver(d, key_of((uint32_t)i, NINE, NINE + HOUR), 4000, false).was_there);
        struct tr_buf first = read_file(name);
        d->ops->close(d);
        d = open_with(c);
        assert_true(deliver(d, key_of((uint32_t)i, NINE, NINE + HOUR), 4000, false).was_there);
        struct tr_buf second = read_file(name);
        assert_true(tr_str_eq(tr_buf_view(&first), tr_buf_view(&second)));
        tr_buf_fini(&first);
        tr_buf_fini(&second);
        d->ops->close(d);
        tr_conf_free(c);
    }
}

static void the_manifest_lists_what_counts(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct tr_key chunks[2] = { key_of(0, NINE, NINE + HOUR / 2),
                                key_of(0, NINE + HOUR / 2, NINE + HOUR) };
    struct tr_receipt receipts[2] = { deliver(d, chunks[0], ROWS, false),
                                      deliver(d, chunks[1], 2, false) };
    struct tr_key run = key_of(0, NINE, NINE + HOUR);
    struct tr_err err = { 0 };

    (void)state;
    assert_false(there("g0-00000001/" NINE_TO_TEN "_manifest.json"));
    must(finish(d, run, chunks, receipts, 2, &err), &err);
    json_t *m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_string_equal(json_string_value(json_object_get(m, "export_id")), EXPORT);
    assert_string_equal(json_string_value(json_object_get(m, "data_interval_start")),
                        "2026-11-21T09:00:00.000000Z");
    assert_string_equal(json_string_value(json_object_get(m, "data_interval_end")),
                        "2026-11-21T10:00:00.000000Z");
    assert_true(json_is_false(json_object_get(m, "replaces")));
    assert_int_equal(json_array_size(json_object_get(m, "files")), 2);
    assert_int_equal(json_integer_value(json_object_get(m, "rows")), ROWS + 2);
    for (size_t i = 0; i < 2; i++) {
        char name[PATH_BYTES];
        (void)snprintf(name, sizeof(name), "g0-00000001/%s", entry_text(m, i, "name"));
        struct tr_buf bytes = read_file(name);
        assert_int_equal(entry_number(m, i, "rows"), receipts[i].delivered);
        assert_int_equal(entry_number(m, i, "bytes"), bytes.n);
        sha_is(&bytes, entry_text(m, i, "sha256"));
        tr_buf_fini(&bytes);
    }
    assert_string_equal(entry_text(m, 1, "start"), "2026-11-21T09:30:00.000000Z");
    json_decref(m);

    /* Once more, by a process that did not write the files. */
    struct tr_buf first = read_file("g0-00000001/" NINE_TO_TEN "_manifest.json");
    d->ops->close(d);
    d = open_with(conf);
    must(finish(d, run, chunks, receipts, 2, &err), &err);
    struct tr_buf second = read_file("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_true(tr_str_eq(tr_buf_view(&first), tr_buf_view(&second)));
    tr_buf_fini(&first);
    tr_buf_fini(&second);
    d->ops->close(d);
}

static void a_later_run_of_the_interval_keeps_what_is_listed(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct tr_key run = key_of(0, NINE, NINE + HOUR);
    struct tr_key late = key_of(0, NINE + HOUR / 2, NINE + HOUR);
    struct tr_key early = key_of(0, NINE, NINE + HOUR / 2);
    struct tr_receipt receipt = deliver(d, late, 3, false);
    struct tr_err err = { 0 };

    (void)state;
    must(finish(d, run, &late, &receipt, 1, &err), &err);
    receipt = deliver(d, early, 4, false);
    must(finish(d, run, &early, &receipt, 1, &err), &err);
    json_t *m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_int_equal(json_array_size(json_object_get(m, "files")), 2);
    assert_int_equal(entry_number(m, 0, "rows"), 4);
    assert_int_equal(entry_number(m, 1, "rows"), 3);
    json_decref(m);

    /* The whole hour in one: it takes the place of both. */
    receipt = deliver(d, run, 7, false);
    must(finish(d, run, &run, &receipt, 1, &err), &err);
    m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_int_equal(json_array_size(json_object_get(m, "files")), 1);
    assert_int_equal(entry_number(m, 0, "rows"), 7);
    json_decref(m);
    d->ops->close(d);
}

static bool is_published(struct tr_dest *d, struct tr_key run, struct tr_key chunk)
{
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    bool published = false;

    must(d->ops->published(&cx, d, &run, &chunk, &published, &err), &err);
    return published;
}

static void a_chunk_is_published_once_a_manifest_lists_it(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct tr_key run = key_of(0, NINE, NINE + HOUR);
    struct tr_key early = key_of(0, NINE, NINE + HOUR / 2);
    struct tr_key late = key_of(0, NINE + HOUR / 2, NINE + HOUR);
    struct tr_receipt receipt = deliver(d, early, 4, false);
    struct tr_err err = { 0 };

    (void)state;
    assert_false(is_published(d, run, early)); /* no manifest at all */
    must(finish(d, run, &early, &receipt, 1, &err), &err);
    (void)deliver(d, late, 3, false);
    assert_true(is_published(d, run, early));
    assert_false(is_published(d, run, late)); /* written, and not listed */
    assert_int_equal(ask(d, late, &receipt), TR_CHUNK_PRESENT);
    assert_false(is_published(d, key_of(1, NINE, NINE + HOUR), early)); /* another telling */
    assert_false(is_published(d, run, key_of(0, NINE, NINE + HOUR)));
    d->ops->close(d);
}

static void a_replacement_takes_the_old_rows_out(void **state)
{
    struct tr_dest *d = open_with(conf);

    (void)state;
    run_of(d, 0, NINE, NINE + HOUR, false);
    run_of(d, 0, NINE + HOUR, NINE + 2 * HOUR, false);
    /* Half of the first hour: the old file still holds the other half. */
    run_of(d, 2, NINE, NINE + HOUR / 2, true);
    json_t *m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    const json_t *except =
        json_object_get(json_array_get(json_object_get(m, "files"), 0), "except");
    assert_int_equal(json_array_size(except), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(except, 0), "end")),
                        "2026-11-21T09:30:00.000000Z");
    assert_int_equal(entry_number(m, 0, "rows"), ROWS / 2);
    struct tr_buf left = read_file("g0-00000001/" NINE_TO_TEN ".jsonl");
    assert_int_equal(entry_number(m, 0, "bytes"), left.n);
    assert_null(memmem(left.p, left.n, "T09:2", 5));
    assert_non_null(memmem(left.p, left.n, "T09:30:00.000000Z", 17));
    sha_is(&left, entry_text(m, 0, "sha256"));
    tr_buf_fini(&left);
    json_decref(m);
    /* The rest of it: the old file is covered and goes; the other hour stays. */
    run_of(d, 2, NINE + HOUR / 2, NINE + HOUR, true);
    m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_int_equal(json_array_size(json_object_get(m, "files")), 0);
    assert_int_equal(json_integer_value(json_object_get(m, "rows")), 0);
    json_decref(m);
    assert_false(there("g0-00000001/" NINE_TO_TEN ".jsonl"));
    m = manifest("g0-00000001/20261121T100000.000000Z-20261121T110000.000000Z_manifest.json");
    assert_int_equal(json_array_size(json_object_get(m, "files")), 1);
    assert_null(json_object_get(json_array_get(json_object_get(m, "files"), 0), "except"));
    json_decref(m);
    m = manifest("g2-00000001/20261121T090000.000000Z-20261121T093000.000000Z_manifest.json");
    assert_true(json_is_true(json_object_get(m, "replaces")));
    json_decref(m);
    d->ops->close(d);
}

static void what_a_store_told_before_it_was_restored_stays(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct tr_key before = key_of(0, NINE, NINE + HOUR);
    struct tr_err err = { 0 };

    (void)state;
    before.epoch = 9;
    struct tr_receipt receipt = deliver(d, before, ROWS, false);
    must(finish(d, before, &before, &receipt, 1, &err), &err);
    run_of(d, 1, NINE, NINE + HOUR, true);
    json_t *m = manifest("g0-00000009/" NINE_TO_TEN "_manifest.json");
    assert_int_equal(entry_number(m, 0, "rows"), ROWS);
    assert_null(json_object_get(json_array_get(json_object_get(m, "files"), 0), "except"));
    json_decref(m);
    assert_true(there("g0-00000009/" NINE_TO_TEN ".jsonl"));
    d->ops->close(d);
}

static void rows_without_instants_are_only_excepted(void **state)
{
    struct tr_projection p = { .schema = &tr_schema_events, .n = 1, .name = { "uuid" } };
    struct tr_dest *d = open_with(conf);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };

    (void)state;
    p.column[0] = TR_EVENT_UUID;
    must(d->ops->prepare(&cx, d, &p, &(tr_column_mask){ 0 }, NULL, &err), &err);
    run_of(d, 0, NINE, NINE + HOUR, false);
    run_of(d, 1, NINE, NINE + HOUR / 2, true);
    json_t *m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_int_equal(entry_number(m, 0, "rows"), ROWS);
    assert_non_null(json_object_get(json_array_get(json_object_get(m, "files"), 0), "except"));
    json_decref(m);
    run_of(d, 1, NINE + HOUR / 2, NINE + HOUR, true);
    assert_false(there("g0-00000001/" NINE_TO_TEN ".jsonl"));
    d->ops->close(d);
}

static void an_addition_takes_nothing_out(void **state)
{
    struct tr_dest *d = open_with(conf);

    (void)state;
    run_of(d, 0, NINE, NINE + HOUR, false);
    run_of(d, 1, NINE, NINE + HOUR, false);
    json_t *m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_int_equal(entry_number(m, 0, "rows"), ROWS);
    json_decref(m);
    m = manifest("g1-00000001/" NINE_TO_TEN "_manifest.json");
    assert_true(json_is_false(json_object_get(m, "replaces")));
    assert_int_equal(entry_number(m, 0, "rows"), ROWS);
    json_decref(m);
    d->ops->close(d);
}

static void a_file_that_is_not_whole_is_absent(void **state)
{
    static const char *const compressions[] = { "none", "gzip", "zstd" };
    static const char *const names[] = { "g0-00000001/" NINE_TO_TEN ".jsonl",
                                         "g0-00000001/" NINE_TO_TEN ".jsonl.gz",
                                         "g0-00000001/" NINE_TO_TEN ".jsonl.zst" };
    struct tr_key key = key_of(0, NINE, NINE + HOUR);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tr_conf *c = configure(root, compressions[i]);
        struct tr_dest *d = open_with(c);
        struct tr_receipt receipt = deliver(d, key, ROWS, false);
        assert_int_equal(ask(d, key, &receipt), TR_CHUNK_PRESENT);
        assert_int_equal(receipt.delivered, ROWS);
        struct tr_buf bytes = read_file(names[i]);
        assert_int_equal(receipt.bytes, bytes.n);
        assert_int_equal(truncate(in_root(names[i]), (off_t)bytes.n - 3), 0);
        assert_int_equal(ask(d, key, &receipt), TR_CHUNK_ABSENT);
        (void)deliver(d, key, ROWS, false);
        assert_int_equal(ask(d, key, &receipt), TR_CHUNK_PRESENT);
        assert_int_equal(unlink(in_root(names[i])), 0);
        assert_int_equal(ask(d, key, &receipt), TR_CHUNK_ABSENT);
        tr_buf_fini(&bytes);
        d->ops->close(d);
        tr_conf_free(c);
    }
}

static void a_change_of_compression_loses_no_chunk(void **state)
{
    struct tr_conf *gzip = configure(root, "gzip");
    struct tr_dest *d = open_with(gzip);
    struct tr_key chunks[2] = { key_of(0, NINE, NINE + 1), key_of(0, NINE + 1, NINE + HOUR) };
    struct tr_receipt receipts[2];
    struct tr_receipt found = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    receipts[0] = deliver(d, chunks[0], ROWS, false);
    d->ops->close(d);
    d = open_with(conf);
    assert_int_equal(ask(d, chunks[0], &found), TR_CHUNK_PRESENT);
    assert_int_equal(found.delivered, ROWS);
    receipts[1] = deliver(d, chunks[1], ROWS, false);
    must(finish(d, key_of(0, NINE, NINE + HOUR), chunks, receipts, 2, &err), &err);
    json_t *m = manifest("g0-00000001/" NINE_TO_TEN "_manifest.json");
    assert_string_equal(entry_text(m, 0, "compression"), "gzip");
    assert_string_equal(entry_text(m, 1, "compression"), "none");
    json_decref(m);
    d->ops->close(d);
    tr_conf_free(gzip);
}

static void finish_notices_what_was_changed_behind_its_back(void **state)
{
    struct tr_key key = key_of(0, NINE, NINE + HOUR);
    struct tr_dest *d = open_with(conf);
    struct tr_receipt receipt = deliver(d, key, ROWS, false);
    struct tr_err err = { 0 };

    (void)state;
    d->ops->close(d);
    d = open_with(conf);
    write_file(in_root("g0-00000001/" NINE_TO_TEN ".jsonl"), "{}\n{}\n");
    assert_int_equal(finish(d, key, &key, &receipt, 1, &err), TR_REFUSED);
    assert_string_equal(err.id, "file.changed");
    write_file(in_root("g0-00000001/" NINE_TO_TEN ".jsonl"), "{}\n{");
    assert_int_equal(finish(d, key, &key, &receipt, 1, &err), TR_TRANSIENT);
    assert_int_equal(unlink(in_root("g0-00000001/" NINE_TO_TEN ".jsonl")), 0);
    assert_int_equal(finish(d, key, &key, &receipt, 1, &err), TR_TRANSIENT);
    assert_string_equal(err.id, "file.gone");
    (void)deliver(d, key, ROWS, false);
    write_file(in_root("g0-00000001/" NINE_TO_TEN "_manifest.json"), "{\"files\": [{}]}");
    assert_int_equal(finish(d, key, &key, &receipt, 1, &err), TR_REFUSED);
    assert_string_equal(err.id, "file.bad_manifest");
    assert_int_equal(unlink(in_root("g0-00000001/" NINE_TO_TEN "_manifest.json")), 0);
    must(finish(d, key, &key, &receipt, 1, &err), &err);
    d->ops->close(d);
}

static void what_the_dead_left_goes_after_an_hour(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct timespec old[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = 0 } };

    (void)state;
    (void)deliver(d, key_of(0, NINE, NINE + HOUR), 1, false);
    d->ops->close(d);
    write_file(in_root("tmp/old.jsonl.1-00"), "{");
    write_file(in_root("tmp/young.jsonl.1-00"), "{");
    old[1].tv_sec = (time_t)(tr_clock_wall_us() / TR_US_PER_S) - 3700;
    assert_int_equal(utimensat(AT_FDCWD, in_root("tmp/old.jsonl.1-00"), old, 0), 0);
    old[1].tv_sec += 200;
    assert_int_equal(utimensat(AT_FDCWD, in_root("tmp/young.jsonl.1-00"), old, 0), 0);
    d = open_with(conf);
    (void)deliver(d, key_of(0, NINE, NINE + HOUR), 1, false);
    d->ops->close(d);
    assert_false(there("tmp/old.jsonl.1-00"));
    assert_true(there("tmp/young.jsonl.1-00"));
}

static void a_recount_reads_the_files(void **state)
{
    static const int columns[] = { TR_EVENT_EVENT, TR_EVENT_UUID };
    struct tr_projection p = { .schema = &tr_schema_events,
                               .n = 2,
                               .column = { columns[0], columns[1] },
                               .name = { "uuid", "id" } }; /* the event's name goes by "uuid" */
    struct tr_conf *c = configure(root, "gzip");
    struct tr_key keys[2] = { key_of(0, NINE, NINE + HOUR),
                              key_of(0, NINE + HOUR, NINE + 2 * HOUR) };
    struct rows *r = rows_new(ROWS, (uint32_t)(NINE / HOUR), 300);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_recount count;
    struct tr_dest *d = open_with(c);

    (void)state;
    must(d->ops->prepare(&cx, d, &p, &(tr_column_mask){ 0 }, NULL, &err), &err);
    (void)deliver(d, keys[0], ROWS - 1, false); /* one row is missing there */
    const struct tr_uuid *uuids = r->batch.col[TR_EVENT_UUID].uuid;
    must(d->ops->recount(&cx, d, &rows_owner, keys, 2, uuids, ROWS, &count, &err), &err);
    assert_int_equal(count.expected, ROWS);
    assert_int_equal(count.found, ROWS - 1);
    assert_int_equal(count.copies, 0);
    assert_int_equal(unlink(in_root("g0-00000001/" NINE_TO_TEN ".jsonl.gz")), 0);
    must(d->ops->recount(&cx, d, &rows_owner, keys, 2, uuids, ROWS, &count, &err), &err);
    assert_int_equal(count.found, 0);

    struct tr_projection none = { .schema = &tr_schema_events, .n = 1, .name = { "event" } };
    none.column[0] = TR_EVENT_EVENT;
    must(d->ops->prepare(&cx, d, &none, &(tr_column_mask){ 0 }, NULL, &err), &err);
    (void)deliver(d, keys[0], ROWS, false);
    assert_int_equal(d->ops->recount(&cx, d, &rows_owner, keys, 1, uuids, ROWS, &count, &err),
                     TR_REFUSED);
    assert_string_equal(err.id, "file.no_uuid_column");
    d->ops->close(d);
    tr_conf_free(c);
    rows_free(r);
}

static void time_that_is_over_stops_every_call(void **state)
{
    struct tr_dest *d = open_with(conf);
    struct tr_ctx late = { .deadline_us = tr_clock_boot_us() - 1 };
    struct tr_key key = key_of(0, NINE, NINE + HOUR);
    struct tr_load_spec spec = { .key = key };
    struct tr_load *l = NULL;
    struct tr_err err = { 0 };
    struct tr_receipt receipt;
    enum tr_chunk_state s;

    (void)state;
    assert_int_equal(d->ops->begin(&late, d, &spec, &l, &err), TR_TRANSIENT);
    assert_string_equal(err.id, "file.too_slow");
    struct tr_ctx cx = in_time();
    must(d->ops->begin(&cx, d, &spec, &l, &err), &err);
    assert_int_equal(l->ops->commit(&late, l, &receipt, &err), TR_TRANSIENT);
    assert_false(there("g0-00000001/" NINE_TO_TEN ".jsonl"));
    assert_int_equal(d->ops->lookup(&late, d, &key, &s, &receipt, &err), TR_TRANSIENT);
    d->ops->close(d);
}

static void a_path_through_a_file_is_refused(void **state)
{
    char path[PATH_BYTES];
    struct tr_projection p = rows_projection_default(tr_dest_file_ops.defaults[TR_MODEL_EVENTS]);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_dest *d = NULL;

    (void)state;
    (void)snprintf(path, sizeof(path), "%.500s/file", root);
    write_file(path, "x");
    (void)snprintf(path, sizeof(path), "%.500s/file/below", root);
    struct tr_conf *c = configure(path, "none");
    must(tr_dest_file_ops.open(&cx, c, &d, &err), &err);
    assert_int_equal(d->ops->prepare(&cx, d, &p, &(tr_column_mask){ 0 }, NULL, &err), TR_REFUSED);
    assert_string_equal(err.id, "file.bad_path");
    assert_non_null(err.hint);
    assert_int_equal(d->ops->test(&cx, d, NULL, 0, &err), TR_REFUSED);
    assert_int_equal(d->ops->test(&cx, d, NULL, 1, &err), TR_REFUSED);
    d->ops->close(d);
    tr_conf_free(c);
}

static void testing_a_folder_that_is_not_there_leaves_none(void **state)
{
    char path[PATH_BYTES];
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_dest *d = NULL;

    (void)state;
    (void)snprintf(path, sizeof(path), "%.500s/a/b/c", root);
    struct tr_conf *c = configure(path, "none");
    must(tr_dest_file_ops.open(&cx, c, &d, &err), &err);
    for (size_t i = 0; d->ops->tests[i].name != NULL; i++)
        must(d->ops->test(&cx, d, NULL, i, &err), &err);
    (void)snprintf(path, sizeof(path), "%.500s/a", root);
    assert_int_not_equal(access(path, F_OK), 0);
    d->ops->close(d);
    tr_conf_free(c);
}

static struct tr_conf *configure_marker(const char *path, const char *marker)
{
    json_t *j = json_pack("{s:s, s:s}", "path", path, "marker", marker);
    struct tr_conf *c = NULL;
    struct tr_err err = { 0 };

    must(tr_conf_parse(tr_dest_file_ops.options, j, &c, &err), &err);
    json_decref(j);
    return c;
}

static void refused_as(enum tr_rc rc, enum tr_rc want, const struct tr_err *err, const char *id)
{
    assert_int_equal(rc, want);
    assert_string_equal(err->id, id);
    assert_non_null(err->hint);
}

static void is_empty(const char *path)
{
    assert_int_equal(rmdir(path), 0); /* only an empty folder goes */
    assert_int_equal(mkdir(path, 0700), 0);
}

static void nothing_is_written_without_the_marker(void **state)
{
    char mount_point[PATH_BYTES];
    char disk[PATH_BYTES];
    char marker[PATH_BYTES];
    struct tr_projection p = rows_projection_default(tr_dest_file_ops.defaults[TR_MODEL_EVENTS]);
    struct tr_key key = key_of(0, NINE, NINE + HOUR);
    struct tr_load_spec spec = { .key = key };
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_dest *d = NULL;
    struct tr_load *l = NULL;
    struct tr_receipt receipt;
    enum tr_chunk_state chunk;
    bool published;

    (void)state;
    (void)snprintf(mount_point, sizeof(mount_point), "%.500s/mnt", root);
    (void)snprintf(disk, sizeof(disk), "%.500s/disk", root);
    (void)snprintf(marker, sizeof(marker), "%.600s/.mounted", mount_point);
    assert_int_equal(mkdir(mount_point, 0700), 0);
    struct tr_conf *c = configure_marker(mount_point, ".mounted");

    must(tr_dest_file_ops.open(&cx, c, &d, &err), &err);
    refused_as(d->ops->prepare(&cx, d, &p, &(tr_column_mask){ 0 }, NULL, &err), TR_TRANSIENT, &err,
               "file.no_marker");
    for (size_t i = 0; d->ops->tests[i].name != NULL; i++)
        refused_as(d->ops->test(&cx, d, NULL, i, &err), TR_TRANSIENT, &err, "file.no_marker");
    is_empty(mount_point);
    write_file(marker, "");
    for (size_t i = 0; d->ops->tests[i].name != NULL; i++)
        must(d->ops->test(&cx, d, NULL, i, &err), &err);
    d->ops->close(d);
    d = open_with(c);
    receipt = deliver(d, key, ROWS, false);

    /* The disk goes away in the middle of the run, and comes back. */
    assert_int_equal(rename(mount_point, disk), 0);
    assert_int_equal(mkdir(mount_point, 0700), 0);
    refused_as(d->ops->begin(&cx, d, &spec, &l, &err), TR_TRANSIENT, &err, "file.no_marker");
    refused_as(d->ops->lookup(&cx, d, &key, &chunk, &receipt, &err), TR_TRANSIENT, &err,
               "file.no_marker");
    refused_as(d->ops->published(&cx, d, &key, &key, &published, &err), TR_TRANSIENT, &err,
               "file.no_marker");
    refused_as(finish(d, key, &key, &receipt, 1, &err), TR_TRANSIENT, &err, "file.no_marker");
    is_empty(mount_point);
    assert_int_equal(rmdir(mount_point), 0);
    assert_int_equal(rename(disk, mount_point), 0);
    assert_int_equal(ask(d, key, &receipt), TR_CHUNK_PRESENT);
    must(finish(d, key, &key, &receipt, 1, &err), &err);
    d->ops->close(d);
    tr_conf_free(c);
}

static void a_marker_is_the_name_of_a_file(void **state)
{
    static const char *const wrong[] = { "..", ".", "a/b", "/etc/passwd", "../x", "a\nb" };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct tr_conf *c = configure_marker(root, wrong[i]);
        struct tr_err err = { 0 };
        refused_as(tr_dest_file_ops.validate(c, &err), TR_INVALID, &err, "file.option");
        tr_conf_free(c);
    }
    /* It says nothing of where the rows are. */
    struct tr_conf *with = configure_marker(root, ".mounted");
    struct tr_buf one;
    struct tr_buf other;
    tr_buf_init(&one, 4096);
    tr_buf_init(&other, 4096);
    tr_dest_file_ops.target(conf, &one);
    tr_dest_file_ops.target(with, &other);
    assert_true(tr_str_eq(tr_buf_view(&one), tr_buf_view(&other)));
    tr_buf_fini(&one);
    tr_buf_fini(&other);
    tr_conf_free(with);
}

static void the_data_folder_takes_no_export(void **state)
{
    static const struct {
        const char *path;
        bool refused;
    } paths[] = {
        { "data", true },        { "data/", true },     { "data/store", true },
        { "data/new/er", true }, { "link", true },      { "link/store/x", true },
        { "deep", true },        { "deep/new", true },  { "", false },
        { "data2", false },      { "out/data", false }, { "outward", false },
        { "outward/x", false },
    };
    char path[PATH_BYTES];
    char target[PATH_BYTES];
    struct tr_err err = { 0 };

    (void)state;
    (void)snprintf(path, sizeof(path), "%.500s/data", root);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(target, sizeof(target), "%.500s/link", root);
    assert_int_equal(symlink(path, target), 0);
    must(tr_dest_file_keep_out(target, &err), &err); /* the server may know it by a link, too */
    (void)snprintf(path, sizeof(path), "%.500s/data/store", root);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(target, sizeof(target), "%.500s/deep", root);
    assert_int_equal(symlink("link/store", target), 0);
    (void)snprintf(path, sizeof(path), "%.500s/outward", root);
    assert_int_equal(symlink(root, path), 0);

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        (void)snprintf(path, sizeof(path), "%.500s/%s", root, paths[i].path);
        struct tr_conf *c = configure(path, "none");
        enum tr_rc rc = tr_dest_file_ops.validate(c, &err);
        if (rc != (paths[i].refused ? TR_INVALID : TR_OK))
            fail_msg("%s: %d", paths[i].path, (int)rc);
        if (paths[i].refused)
            refused_as(rc, TR_INVALID, &err, "file.data_folder");
        tr_conf_free(c);
    }

    /* An export that was made there before this was refused goes on. */
    (void)snprintf(path, sizeof(path), "%.500s/data/exports", root);
    struct tr_conf *c = configure(path, "none");
    struct tr_dest *d = open_with(c);
    run_of(d, 0, NINE, NINE + HOUR, false);
    d->ops->close(d);
    tr_conf_free(c);
    must(tr_dest_file_keep_out(NULL, &err), &err);
}

/* Delivers more than fits; 0 when it failed as it should and went through once there was room. */
static int deliver_until_full(void)
{
    struct tr_conf *c = configure(root, "none");
    struct tr_dest *d = open_with(c);
    struct tr_key key = key_of(0, NINE, NINE + HOUR);
    struct tr_load_spec spec = { .key = key };
    struct rows *r = rows_new(1000, 1, 3000);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_receipt receipt;
    struct tr_load *l = NULL;
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof(path), "%.500s/filler", root);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 0) != 0 || fallocate(fd, 0, 0, 3 << 20) != 0)
        return 1;
    enum tr_rc rc = d->ops->begin(&cx, d, &spec, &l, &err);
    for (int i = 0; i < 2 && rc == TR_OK; i++)
        rc = l->ops->write(&cx, l, &r->batch, &err);
    if (rc == TR_OK)
        rc = l->ops->commit(&cx, l, &receipt, &err);
    else if (l != NULL)
        l->ops->abort(l);
    if (rc != TR_TRANSIENT || strcmp(err.id, "file.no_space") != 0 || err.hint == NULL)
        return 2;
    if (ask(d, key, &receipt) != TR_CHUNK_ABSENT)
        return 3;
    (void)close(fd);
    (void)unlink(path);
    if (deliver(d, key, ROWS, false).delivered != ROWS)
        return 4;
    d->ops->close(d);
    rows_free(r);
    tr_conf_free(c);
    return 0;
}

/* On a real small file system, in a mount namespace of its own. */
static void a_full_disk_is_waited_for(void **state)
{
    enum { CANNOT = 77 };
    int status = 0;

    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", root, "tmpfs", 0, "size=4m") != 0)
            _exit(CANNOT);
        _exit(deliver_until_full());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT) {
        print_message("# skipped: no right to mount a small file system\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_limit_of_file_sizes_is_refused(void **state)
{
    struct rlimit was;
    struct rlimit small;
    struct tr_dest *d = open_with(conf);
    struct tr_load_spec spec = { .key = key_of(0, NINE, NINE + HOUR) };
    struct rows *r = rows_new(1000, 1, 3000);
    struct tr_ctx cx = in_time();
    struct tr_err err = { 0 };
    struct tr_load *l = NULL;

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 1 << 20;
    must(d->ops->begin(&cx, d, &spec, &l, &err), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum tr_rc rc = l->ops->write(&cx, l, &r->batch, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(rc, TR_REFUSED);
    assert_string_equal(err.id, "file.too_big");
    l->ops->abort(l);
    d->ops->close(d);
    rows_free(r);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(paths_are_checked_and_lead_to_one_target),
        CASE(names_come_from_the_key),
        CASE(a_retry_writes_the_same_bytes),
        CASE(the_manifest_lists_what_counts),
        CASE(a_later_run_of_the_interval_keeps_what_is_listed),
        CASE(a_chunk_is_published_once_a_manifest_lists_it),
        CASE(a_replacement_takes_the_old_rows_out),
        CASE(what_a_store_told_before_it_was_restored_stays),
        CASE(rows_without_instants_are_only_excepted),
        CASE(an_addition_takes_nothing_out),
        CASE(a_file_that_is_not_whole_is_absent),
        CASE(a_change_of_compression_loses_no_chunk),
        CASE(finish_notices_what_was_changed_behind_its_back),
        CASE(what_the_dead_left_goes_after_an_hour),
        CASE(a_recount_reads_the_files),
        CASE(time_that_is_over_stops_every_call),
        CASE(a_path_through_a_file_is_refused),
        CASE(testing_a_folder_that_is_not_there_leaves_none),
        CASE(nothing_is_written_without_the_marker),
        CASE(a_marker_is_the_name_of_a_file),
        CASE(the_data_folder_takes_no_export),
        CASE(a_full_disk_is_waited_for),
        CASE(a_limit_of_file_sizes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
