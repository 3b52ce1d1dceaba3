/* Recovery: torn ends are cut, anything else that is damaged refuses, and nothing whole is lost. */
#include "kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"

struct seen {
    uint64_t records, events, last_seq;
};

static enum tr_rc see(void *ctx, const struct record_head *h, const char *events,
                      struct tr_err *err)
{
    struct seen *s = ctx;

    (void)events;
    (void)err;
    assert_int_equal(h->seq, s->last_seq == 0 ? h->seq : s->last_seq + 1);
    s->records++;
    s->events += h->events;
    s->last_seq = h->seq;
    return TR_OK;
}

struct fixture {
    struct kit k;
    uint32_t epoch, salt;
    char file[256]; /* the last segment */
    char folder[256];
    struct tr_buf bytes; /* of file, as the store left it */
};

/* A journal with `groups` groups of `per` events, closed. */
static void make(struct fixture *f, size_t groups, size_t per, size_t pad, size_t segment_bytes)
{
    kit_init(&f->k);
    f->k.pad = pad;
    f->k.o.segment_bytes = segment_bytes;
    kit_open(&f->k);
    kit_store(&f->k, 1, 1, groups * per, per);
    f->epoch = f->k.s->epoch;
    f->salt = f->k.s->salt;
    kit_close(&f->k);
    kit_last_file(&f->k, "journal", ".trj", f->file);
    kit_path(&f->k, "journal", f->folder);
    tr_buf_init(&f->bytes, (size_t)1 << 30);
    assert_ok(tr_file_read(f->file, &f->bytes, &err_));
}

static void fini(struct fixture *f)
{
    tr_buf_fini(&f->bytes);
    kit_fini(&f->k);
}

static void put_back(struct fixture *f, size_t n)
{
    int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_ok(tr_file_write_all(fd, f->bytes.p, n, &err_));
    (void)close(fd);
}

static enum tr_rc recover(struct fixture *f, struct seen *seen, struct tr_err *err)
{
    struct journal j;
    struct journal_visitor visitor = { see, seen };

    *seen = (struct seen){ 0 };
    enum tr_rc rc = journal_open(&j, f->folder, f->epoch, f->salt, 64 << 20, 0, &visitor, err);
    if (rc == TR_OK)
        journal_close(&j);
    return rc;
}

/* Where the records of the file begin; returns how many, and the end as one more. */
static size_t offsets(const struct fixture *f, size_t *ret, size_t cap)
{
    size_t n = 0;
    size_t at = sizeof(struct segment_head);

    while (at < f->bytes.n) {
        struct record_head h;
        assert_true(n + 1 < cap);
        assert_true(record_head_look(f->bytes.p + at, f->bytes.n - at, f->salt, &h) > 0);
        ret[n++] = at;
        at += record_size(&h);
    }
    ret[n] = at;
    return n;
}

static void a_journal_cut_anywhere_in_its_last_record_keeps_all_records_before(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;
    size_t at[16];

    (void)state;
    make(&f, 5, 2, 20, 64 << 20);
    size_t n = offsets(&f, at, 16);
    assert_int_equal(n, 5);
    for (size_t end = at[n - 1]; end < at[n]; end++) {
        put_back(&f, end);
        assert_int_equal(recover(&f, &seen, &err), TR_OK);
        assert_int_equal(seen.records, n - 1);
        assert_int_equal(kit_file_size(f.file), at[n - 1]);
    }
    put_back(&f, at[n]);
    assert_int_equal(recover(&f, &seen, &err), TR_OK);
    assert_int_equal(seen.records, n);
    assert_int_equal(seen.events, 10);
    fini(&f);
}

static void a_commit_of_several_records_comes_back_whole_or_not_at_all(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;
    size_t at[16];

    (void)state;
    make(&f, 2, 300, 10000, 64 << 20); /* two commits of three records each */
    size_t n = offsets(&f, at, 16);
    assert_int_equal(n, 6);
    for (size_t i = 3; i < 6; i++) {
        static const size_t into[] = { 0, 1, 63, 64, 88, 5000 };
        for (size_t k = 0; k < sizeof(into) / sizeof(into[0]); k++) {
            put_back(&f, at[i] + into[k]);
            assert_int_equal(recover(&f, &seen, &err), TR_OK);
            assert_int_equal(seen.records, 3);
            assert_int_equal(kit_file_size(f.file), at[3]);
        }
    }
    /* Pages reach the disk in any order: a hole in an unfinished commit is a torn end, too. */
    put_back(&f, at[6]);
    kit_flip(f.file, (int64_t)at[4] + 200);
    assert_int_equal(recover(&f, &seen, &err), TR_OK);
    assert_int_equal(seen.records, 3);
    fini(&f);
}

static void damage_before_a_later_commit_refuses_and_cuts_nothing(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;
    size_t at[16];

    (void)state;
    make(&f, 5, 2, 20, 64 << 20);
    size_t n = offsets(&f, at, 16);
    for (size_t i = at[1]; i < at[2]; i++) {
        put_back(&f, f.bytes.n);
        kit_flip(f.file, (int64_t)i);
        assert_int_equal(recover(&f, &seen, &err), TR_REFUSED);
        assert_string_equal(err.id, "store.damaged");
        assert_non_null(strstr(err.cause, ".trj"));
        char offset[32];
        (void)snprintf(offset, sizeof(offset), "byte %zu", at[1]);
        assert_non_null(strstr(err.cause, offset));
        assert_int_equal(kit_file_size(f.file), f.bytes.n);
    }
    put_back(&f, at[n]);
    assert_int_equal(recover(&f, &seen, &err), TR_OK);
    assert_int_equal(seen.records, n);
    fini(&f);
}

static void bytes_of_a_client_that_look_like_a_record_are_none(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;
    size_t at[16];
    union {
        struct record_head h;
        char bytes[64];
    } forged = { .h = { .magic = RECORD_MAGIC,
                        .type = RECORD_GROUP,
                        .seq = 1000,
                        .commit = 1000,
                        .first_stamp = 5,
                        .last_stamp = 5,
                        .event_format = 1 } };

    (void)state;
    make(&f, 3, 1, 400, 64 << 20);
    size_t n = offsets(&f, at, 16);
    record_head_seal(&forged.h, f.salt ^ 1); /* right but for the salt, which no client knows */
    put_back(&f, at[n] - 8);
    int fd = open(f.file, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, forged.bytes, 64, (off_t)(at[n - 1] + 200) / 8 * 8), 64);
    (void)close(fd);
    assert_int_equal(recover(&f, &seen, &err), TR_OK);
    assert_int_equal(seen.records, n - 1);

    record_head_seal(&forged.h, f.salt); /* the same with the salt is a later commit */
    put_back(&f, at[n] - 8);
    fd = open(f.file, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, forged.bytes, 64, (off_t)(at[n - 1] + 200) / 8 * 8), 64);
    (void)close(fd);
    assert_int_equal(recover(&f, &seen, &err), TR_REFUSED);
    fini(&f);
}

static void a_missing_segment_refuses_and_names_the_records(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;

    (void)state;
    make(&f, 20, 5, 200, 4096);
    assert_int_equal(recover(&f, &seen, &err), TR_OK);
    assert_int_equal(seen.records, 20);

    char first[300];
    (void)snprintf(first, sizeof(first), "%s/0000000000000001.trj", f.folder);
    char away[320];
    (void)snprintf(away, sizeof(away), "%s.away", first);
    assert_int_equal(rename(first, away), 0);
    assert_int_equal(recover(&f, &seen, &err), TR_REFUSED);
    assert_string_equal(err.id, "store.damaged");
    assert_non_null(strstr(err.cause, "records 1 to"));
    assert_int_equal(rename(away, first), 0);

    /* Damage at the end of a segment that is not the last one is no torn end. */
    assert_int_equal(truncate(first, kit_file_size(first) - 1), 0);
    assert_int_equal(recover(&f, &seen, &err), TR_REFUSED);
    fini(&f);
}

static void a_segment_that_was_never_finished_is_made_anew(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;
    static const int64_t sizes[] = { 0, 1, 63 };

    (void)state;
    make(&f, 5, 2, 20, 64 << 20);
    for (size_t i = 0; i < 3; i++) {
        char next[300];
        (void)snprintf(next, sizeof(next), "%s/0000000000000006.trj", f.folder);
        int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        (void)close(fd);
        assert_int_equal(recover(&f, &seen, &err), TR_OK);
        assert_int_equal(seen.records, 5);
        assert_int_equal(kit_file_size(next), -1);
    }
    fini(&f);
}

static void newer_formats_are_refused(void **state)
{
    struct fixture f;
    struct seen seen;
    struct tr_err err;
    size_t at[16];

    (void)state;
    make(&f, 2, 1, 20, 64 << 20);
    size_t n = offsets(&f, at, 16);

    struct segment_head h;
    memcpy(&h, f.bytes.p, sizeof(h));
    struct segment_head newer = h;
    newer.format = JOURNAL_FORMAT + 1;
    segment_head_seal(&newer, f.salt);
    memcpy(f.bytes.p, &newer, sizeof(newer));
    put_back(&f, f.bytes.n);
    assert_int_equal(recover(&f, &seen, &err), TR_REFUSED);
    assert_string_equal(err.id, "store.newer_format");
    memcpy(f.bytes.p, &h, sizeof(h));

    struct record_head *last = (void *)(f.bytes.p + at[n - 1]);
    last->type = 99;
    record_head_seal(last, f.salt);
    put_back(&f, f.bytes.n);
    assert_int_equal(recover(&f, &seen, &err), TR_REFUSED);
    assert_string_equal(err.id, "store.newer_format");
    fini(&f);
}

static void a_reader_in_a_dropped_segment_reads_on_and_is_told_where_it_ends(void **state)
{
    struct fixture f;
    struct tr_err err;
    struct journal j;
    struct seen seen = { 0 };
    struct journal_visitor visitor = { see, &seen };
    struct journal_cursor c = { 0 };
    struct tr_buf prefix;
    enum journal_step step = JOURNAL_RECORD;
    uint64_t n = 0;

    (void)state;
    make(&f, 20, 5, 200, 4096);
    assert_int_equal(journal_open(&j, f.folder, f.epoch, f.salt, 4096, 0, &visitor, &err), TR_OK);
    tr_buf_init(&prefix, 1 << 20);
    assert_true(j.n > 3);
    assert_true(journal_seek(&j, 2, &c));
    uint64_t end_of_first = j.segments[0]->last_seq;
    assert_int_equal(journal_drop(&j, j.segments[1]->last_seq, &err), TR_OK);
    while (step == JOURNAL_RECORD) {
        assert_int_equal(journal_next(&c, &prefix, &step, &err), TR_OK);
        n += step == JOURNAL_RECORD;
    }
    assert_int_equal(step, JOURNAL_DROPPED);
    assert_int_equal(n, end_of_first - 1);
    journal_cursor_fini(&c);
    assert_false(journal_seek(&j, 2, &c));
    assert_true(journal_seek(&j, j.segments[0]->first_seq + 1, &c));
    assert_int_equal(c.next_seq, j.segments[0]->first_seq + 1);
    assert_int_equal(journal_drop(&j, UINT64_MAX, &err), TR_OK);
    assert_int_equal(j.n, 1); /* the one that is written to stays */
    journal_cursor_fini(&c);
    tr_buf_fini(&prefix);
    journal_close(&j);
    fini(&f);
}

static void a_journal_that_lost_what_was_derived_from_it_refuses(void **state)
{
    struct fixture f;
    struct tr_err err;
    size_t at[16];

    (void)state;
    make(&f, 5, 2, 20, 64 << 20);
    size_t n = offsets(&f, at, 16);
    put_back(&f, at[n - 1]); /* state.db has counted the last record already */
    assert_int_equal(kit_try_open(&f.k, &err), TR_REFUSED);
    assert_string_equal(err.id, "store.damaged");
    put_back(&f, f.bytes.n);
    kit_open(&f.k);
    assert_int_equal(kit_read_all(&f.k, 1, NULL, 0), 10);
    fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_journal_cut_anywhere_in_its_last_record_keeps_all_records_before),
        cmocka_unit_test(a_commit_of_several_records_comes_back_whole_or_not_at_all),
        cmocka_unit_test(damage_before_a_later_commit_refuses_and_cuts_nothing),
        cmocka_unit_test(bytes_of_a_client_that_look_like_a_record_are_none),
        cmocka_unit_test(a_missing_segment_refuses_and_names_the_records),
        cmocka_unit_test(a_segment_that_was_never_finished_is_made_anew),
        cmocka_unit_test(newer_formats_are_refused),
        cmocka_unit_test(a_reader_in_a_dropped_segment_reads_on_and_is_told_where_it_ends),
        cmocka_unit_test(a_journal_that_lost_what_was_derived_from_it_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
