/* A disk that is full: refused, nothing lost, and on again when there is room. A real small file
 * system; skipped with a reason where none can be mounted. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/metric.h"
#include "os/clock.h"
#include "os/file.h"

static bool mount_small(const char *dir, const char *size)
{
    char options[32];

    (void)snprintf(options, sizeof(options), "size=%s", size);
    if (mount("tmpfs", dir, "tmpfs", 0, options) == 0)
        return true;
    print_message("# skipped: mount of a small tmpfs: %s\n", strerror(errno));
    return false;
}

/* A file that takes all but `left` bytes of the disk. */
static void fill(const struct kit *k, const char *path, uint64_t left)
{
    struct statvfs fs;

    assert_int_equal(statvfs(k->dir, &fs), 0);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (free_bytes > left)
        assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_bytes - left)), 0);
    (void)close(fd);
}

static void a_write_that_finds_no_room_stores_nothing_and_the_next_one_goes_on(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    char ballast[256];

    (void)state;
    kit_init(&k);
    if (!mount_small(k.dir, "24m")) {
        kit_fini(&k);
        skip();
        return;
    }
    k.o.min_free_bytes = 0; /* the disk itself says no */
    k.o.seal_age_us = INT64_MAX / 2;
    k.pad = 1000;
    kit_open(&k);
    kit_store(&k, 1, 0, 1000, 100);
    (void)kit_fence(&k);
    kit_path(&k, "ballast", ballast);
    tr_clock_sleep_us(1200 * 1000); /* let the counts be applied, which needs room too */
    fill(&k, ballast, 200 * 1024);

    /* 1000 events of over 1 KB do not fit into 200 KiB. */
    struct kit_event *e = calloc(1000, sizeof(*e));
    for (uint64_t i = 0; i < 1000; i++)
        e[i] = (struct kit_event){ .project = 1, .number = 5000 + i };
    for (int round = 0; round < 3; round++) {
        assert_int_equal(kit_send(&k, e, 1000, &err), TR_THROTTLED);
        assert_string_equal(err.id, "store.full");
        assert_non_null(err.hint);
        assert_true(err.not_before_us > 0);
    }
    /* What fits is taken, and the clock can still be closed. */
    struct kit_event one = { .project = 1, .number = 9999 };
    if (kit_send(&k, &one, 1, &err) != TR_OK)
        fail_msg("%s: %s%s", err.id, err.where, err.cause);
    (void)kit_fence(&k);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 1001);

    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(kit_send(&k, e, 1000, &err), TR_OK);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(e[i].outcome, TR_EVENT_STORED); /* the failed tries left nothing behind */
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 2001);
    kit_close(&k);
    kit_open(&k);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 2001);
    free(e);
    kit_close(&k);
    assert_int_equal(umount2(k.dir, MNT_DETACH), 0);
    kit_fini(&k);
}

static void the_keeper_without_room_goes_on_when_there_is_some(void **state)
{
    struct kit k;
    struct tr_store_status status;
    char ballast[256];

    (void)state;
    kit_init(&k);
    if (!mount_small(k.dir, "24m")) {
        kit_fini(&k);
        skip();
        return;
    }
    k.o.min_free_bytes = 0;
    k.o.dedup_events = 64 * 200;
    k.o.seal_bytes = 1 << 20;
    k.pad = 1000;
    kit_open(&k);
    kit_store(&k, 1, 0, 150, 50);
    kit_path(&k, "ballast", ballast);
    fill(&k, ballast, 1500 * 1024);
    struct tr_err err = { 0 };
    uint64_t stored = 150;
    for (;; stored++) { /* until the last byte is taken */
        struct kit_event e = { .project = 1, .number = stored };
        if (kit_send(&k, &e, 1, &err) != TR_OK)
            break;
        assert_true(stored < 5000);
    }
    assert_string_equal(err.id, "store.full");
    for (int i = 0; i < 100; i++) {
        tr_store_status(k.s, &status);
        if (status.trouble[0] != '\0')
            break;
        tr_clock_sleep_us(50 * 1000);
    }
    assert_true(status.trouble[0] != '\0');
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), stored);

    assert_int_equal(unlink(ballast), 0);
    kit_store(&k, 1, stored, 500, 10);
    kit_seal_all(&k);
    for (int i = 0; i < 100; i++) {
        tr_store_status(k.s, &status);
        if (status.trouble[0] == '\0')
            break;
        tr_clock_sleep_us(50 * 1000);
    }
    assert_string_equal(status.trouble, "");
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), stored + 500);
    struct tr_counts counts;
    struct tr_range all = { 0, tr_store_now(k.s) };
    assert_int_equal(tr_store_counts(k.s, 1, all, &counts, &err), TR_OK);
    assert_int_equal(counts.stored, stored + 500);
    kit_close(&k);
    assert_int_equal(umount2(k.dir, MNT_DETACH), 0);
    kit_fini(&k);
}

static void a_reserve_of_free_bytes_is_kept(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    struct kit_event e = { .project = 1, .number = 1 };

    (void)state;
    kit_init(&k);
    k.o.min_free_bytes = UINT64_MAX / 2;
    kit_open(&k);
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_THROTTLED);
    assert_string_equal(err.id, "store.full");
    (void)kit_fence(&k); /* intervals close all the same */
    kit_fini(&k);
}

static void a_write_that_fails_otherwise_stores_nothing_and_the_next_one_goes_on(void **state)
{
    struct kit k;
    struct tr_err err = { 0 };
    struct rlimit before;
    char path[256];

    (void)state;
    kit_init(&k);
    kit_open(&k);
    kit_store(&k, 1, 0, 100, 10);
    kit_last_file(&k, "journal", ".trj", path);
    struct tr_store_status status;
    tr_store_status(k.s, &status);
    int64_t size = (int64_t)status.journal_bytes; /* of the one segment; room for more is behind */
    assert_true(kit_file_size(path) > size);

    /* No write may reach beyond this: the write is cut short, then fails with EFBIG. */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = { (rlim_t)size + 100, before.rlim_max };
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct kit_event e[2] = { { .project = 1, .number = 500 }, { .project = 1, .number = 501 } };
    enum tr_rc rc = kit_send(&k, e, 2, &err);
    int64_t after = kit_file_size(path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(rc, TR_INTERNAL);
    assert_int_equal(after, size);

    assert_int_equal(kit_send(&k, e, 2, &err), TR_OK);
    assert_int_equal(e[0].outcome, TR_EVENT_STORED);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 102);
    kit_close(&k);
    kit_open(&k);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 102);
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_finds_no_room_stores_nothing_and_the_next_one_goes_on),
        cmocka_unit_test(the_keeper_without_room_goes_on_when_there_is_some),
        cmocka_unit_test(a_reserve_of_free_bytes_is_kept),
        cmocka_unit_test(a_write_that_fails_otherwise_stores_nothing_and_the_next_one_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
