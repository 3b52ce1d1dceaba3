/* The process is killed, at any time and at every kill point: what was acknowledged is there once,
 * and nothing is there twice. The killed process is a child; what it acknowledged is in shared
 * memory. */
#include "kit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/kill.h"
#include "os/random.h"

enum { MOST = 200000, PER = 40 };

/* acked[n]: event n was acknowledged. sent: numbers below it may be there. */
struct shared {
    atomic_uint_fast64_t sent;
    atomic_uchar acked[MOST];
};

/* Small limits, so that everything that can happen does within a second. */
static void small(struct kit *k)
{
    k->o.segment_bytes = 64 * 1024;
    k->o.seal_bytes = 96 * 1024;
    k->o.block_bytes = 16 * 1024;
    k->o.dedup_events = 64 * 3200; /* a table of 3200 entries; nothing is forgotten within a test */
    k->o.state_commit_us = 10 * 1000;
    k->pad = 150;
}

static void child(struct kit *k, struct shared *sh, const char *kill_at)
{
    struct tr_err err = { 0 };

    if (kill_at != NULL) {
        (void)setenv("TAILRACE_KILL_AT", kill_at, 1);
        tr_kill_arm();
    }
    if (kit_try_open(k, &err) != TR_OK) {
        (void)fprintf(stderr, "child: %s%s\n", err.where, err.cause);
        _exit(3);
    }
    for (uint64_t n = atomic_load(&sh->sent); n + PER <= MOST; n += PER) {
        struct kit_event e[PER];
        atomic_store(&sh->sent, n + PER);
        for (uint64_t i = 0; i < PER; i++)
            e[i] = (struct kit_event){ .project = (int32_t)(1 + (n + i) % 3), .number = n + i };
        if (kit_send(k, e, PER, &err) != TR_OK)
            _exit(4);
        for (uint64_t i = 0; i < PER; i++)
            atomic_store(&sh->acked[n + i], 1);
        if (n / PER % 16 == 0)
            (void)tr_store_close_through(k->s, tr_store_now(k->s));
    }
    _exit(0);
}

/* Every acknowledged event once, no other one twice; counts as an independent number. */
static void check(struct kit *k, struct shared *sh)
{
    uint64_t sent = atomic_load(&sh->sent);
    uint64_t *numbers = malloc(MOST * sizeof(*numbers));
    unsigned char *seen = calloc(MOST, 1);
    uint64_t total = 0;
    uint64_t counted = 0;

    kit_open(k);
    (void)kit_fence(k);
    for (int32_t project = 1; project <= 3; project++) {
        struct tr_counts c;
        struct tr_err err;
        size_t n = kit_read_all(k, project, numbers, MOST);
        for (size_t i = 0; i < n; i++) {
            assert_true(numbers[i] < sent);
            assert_int_equal(1 + numbers[i] % 3, project);
            assert_int_equal(seen[numbers[i]]++, 0);
        }
        total += n;
        struct tr_range all = { 0, tr_store_now(k->s) };
        assert_int_equal(tr_store_counts(k->s, project, all, &c, &err), TR_OK);
        assert_int_equal(c.stored, n);
        counted += c.stored;
    }
    for (uint64_t i = 0; i < sent; i++)
        if (atomic_load(&sh->acked[i]) != 0)
            assert_int_equal(seen[i], 1);
    assert_int_equal(total, counted);

    /* What was sent is recognised, wherever deduplication was when the process died. */
    for (uint64_t i = 0; i < sent; i += 97) {
        struct kit_event e = { .project = (int32_t)(1 + i % 3), .number = i };
        struct tr_err err;
        assert_int_equal(kit_send(k, &e, 1, &err), TR_OK);
        assert_int_equal(e.outcome, seen[i] ? TR_EVENT_DUPLICATE : TR_EVENT_STORED);
    }
    kit_close(k);
    free(numbers);
    free(seen);
}

static struct shared *share(void)
{
    struct shared *sh =
        mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(sh, MAP_FAILED);
    return sh;
}

/* True when the child was killed. */
static bool run_child(struct kit *k, struct shared *sh, const char *kill_at, int64_t kill_after_us)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        child(k, sh, kill_at);
    if (kill_after_us > 0) {
        tr_clock_sleep_us(kill_after_us);
        (void)kill(pid, SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail_msg("the child ended with %d", WEXITSTATUS(status));
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void nothing_acknowledged_is_lost_or_doubled_by_a_kill_at_any_time(void **state)
{
    struct shared *sh = share();
    struct kit k;

    (void)state;
    kit_init(&k);
    small(&k);
    for (int round = 0; round < 12; round++) {
        uint8_t random;
        tr_random_bytes(&random, 1);
        uint64_t before = atomic_load(&sh->sent);
        bool killed = run_child(&k, sh, NULL, 20000 + random * 1000);
        (void)killed;
        /* The next child begins with what may not have been acknowledged: it is sent anew. */
        check(&k, sh);
        for (uint64_t i = before; i < atomic_load(&sh->sent); i++)
            if (i % 97 == 0)
                atomic_store(&sh->acked[i], 1); /* check has stored it */
    }
    assert_true(atomic_load(&sh->sent) > 0);
    kit_fini(&k);
    (void)munmap(sh, sizeof(*sh));
}

static void a_kill_at_every_point_loses_and_doubles_nothing(void **state)
{
    static const char *const points[] = {
        "journal.before_write", "journal.written", "journal.synced",        "journal.rotated",
        "seal.before_commit",   "seal.committed",  "derived.before_commit", "derived.committed",
        "dedup.flushed",        "dedup.manifest",  "dedup.merged",
    };
    static const int passes[] = { 1, 2, 5 };

    (void)state;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct shared *sh = share();
        struct kit k;
        kit_init(&k);
        small(&k);
        for (size_t p = 0; p < 3; p++) {
            char at[64];
            (void)snprintf(at, sizeof(at), "%s:%d", points[i], passes[p]);
            print_message("# %s\n", at);
            assert_true(run_child(&k, sh, at, 0));
            check(&k, sh);
            /* Only what the first half of a round proved goes on into the next. */
            for (uint64_t n = 0; n < atomic_load(&sh->sent); n += 97)
                atomic_store(&sh->acked[n], 1);
        }
        kit_fini(&k);
        (void)munmap(sh, sizeof(*sh));
    }
}

/* The linker sends the store's calls here (-Wl,--wrap=fdatasync). */
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
static atomic_bool sync_fails;

int __wrap_fdatasync(int fd)
{
    if (!atomic_load(&sync_fails))
        return __real_fdatasync(fd);
    errno = EIO;
    return -1;
}

static void a_sync_that_fails_stops_the_process_and_acknowledges_nothing(void **state)
{
    struct kit k;
    int said[2];
    char line[1024] = { 0 };

    (void)state;
    kit_init(&k);
    assert_int_equal(pipe(said), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct kit_event e = { .project = 1, .number = 1 };
        struct tr_err err;
        struct rlimit none = { 0, 0 };
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(said[1], 2);
        if (kit_try_open(&k, &err) != TR_OK || kit_send(&k, &e, 1, &err) != TR_OK)
            _exit(3);
        atomic_store(&sync_fails, true);
        e.number = 2;
        (void)kit_send(&k, &e, 1, &err);
        _exit(4); /* it was answered */
    }
    (void)close(said[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(read(said[0], line, sizeof(line) - 1) > 0);
    assert_non_null(strstr(line, "fdatasync"));
    assert_non_null(strstr(line, ".trj"));
    (void)close(said[0]);

    /* The second event was written, not acknowledged: there or not, but at most once. */
    kit_open(&k);
    size_t n = kit_read_all(&k, 1, NULL, 0);
    assert_in_range(n, 1, 2);
    struct kit_event e = { .project = 1, .number = 2 };
    struct tr_err err;
    assert_int_equal(kit_send(&k, &e, 1, &err), TR_OK);
    assert_int_equal(kit_read_all(&k, 1, NULL, 0), 2);
    kit_fini(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_or_doubled_by_a_kill_at_any_time),
        cmocka_unit_test(a_kill_at_every_point_loses_and_doubles_nothing),
        cmocka_unit_test(a_sync_that_fails_stops_the_process_and_acknowledges_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
