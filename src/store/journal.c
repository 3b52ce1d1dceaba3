#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "os/kill.h"
#include "store/journal_priv.h"

enum { MARK_BYTES = 64 * 1024, FIRST_MARKS = 64 };

/* Writing over what is in the file already is half the price of making it longer: its size and its
 * blocks need no sync of their own. Small commits go into zeros that were written before, so much
 * at a time; what is left of them is cut off when the segment is done, or by recovery. */
enum { READY_BYTES = 2 << 20, READY_COMMIT_BYTES = 256 << 10 };

void journal_path(const struct journal *j, const char *name, char out[JOURNAL_PATH])
{
    (void)snprintf(out, JOURNAL_PATH, "%s/%s", j->dir, name);
}

struct segment *segment_new(uint64_t first_seq)
{
    struct segment *g = calloc(1, sizeof(*g));

    if (g == NULL)
        return NULL;
    g->marks = calloc(FIRST_MARKS, sizeof(*g->marks));
    if (g->marks == NULL) {
        free(g);
        return NULL;
    }
    g->cap_marks = FIRST_MARKS;
    atomic_init(&g->refs, 1);
    g->fd = -1;
    g->first_seq = first_seq;
    g->last_seq = first_seq - 1;
    (void)snprintf(g->name, sizeof(g->name), "%016" PRIx64 ".trj", first_seq);
    return g;
}

void segment_unref(struct segment *g)
{
    if (g == NULL || atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    tr_file_close(&g->fd);
    free(g->marks);
    free(g);
}

static bool room_for_mark(struct segment *g)
{
    if (g->n_marks < g->cap_marks)
        return true;
    struct segment_mark *marks = realloc(g->marks, 2 * g->cap_marks * sizeof(*marks));
    if (marks == NULL)
        return false;
    g->marks = marks;
    g->cap_marks *= 2;
    return true;
}

void segment_note(struct segment *g, const struct record_head *h, uint64_t at)
{
    bool far = g->n_marks == 0 || at - g->marks[g->n_marks - 1].at >= MARK_BYTES;

    if (far && room_for_mark(g))
        g->marks[g->n_marks++] = (struct segment_mark){ at, h->seq, h->first_stamp };
    g->last_seq = h->seq;
    g->synced = at + record_size(h);
}

enum tr_rc journal_add_segment(struct journal *j, struct segment *g, struct tr_err *err)
{
    if (j->n == j->cap) {
        size_t cap = j->cap == 0 ? 16 : j->cap * 2;
        struct segment **segments = realloc(j->segments, cap * sizeof(struct segment *));
        if (segments == NULL)
            return tr_fail_oom(err);
        j->segments = segments;
        j->cap = cap;
    }
    j->segments[j->n++] = g;
    j->active = g;
    j->bytes += g->synced;
    return TR_OK;
}

enum tr_rc journal_make_segment(struct journal *j, struct segment **ret, struct tr_err *err)
{
    struct segment *g = segment_new(j->last_seq + 1);
    char path[JOURNAL_PATH];

    if (g == NULL)
        return tr_fail_oom(err);
    journal_path(j, g->name, path);

    struct segment_head h = {
        .format = JOURNAL_FORMAT,
        .epoch = j->epoch,
        .first_seq = g->first_seq,
        .last_stamp = j->last_stamp,
        .last_commit = j->last_commit,
    };
    memcpy(h.magic, SEGMENT_MAGIC, sizeof(h.magic));
    segment_head_seal(&h, j->salt);

    enum tr_rc rc;
    g->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (g->fd < 0)
        rc = tr_fail_errno(err, errno, "create %s", path);
    else if ((rc = tr_file_write_all(g->fd, &h, sizeof(h), err)) != TR_OK)
        (void)tr_wrap(err, "%s", path);
    else if (fsync(g->fd) != 0)
        rc = tr_fail_errno(err, errno, "fsync %s", path);
    else
        rc = tr_file_sync_dir(j->dir, err);
    if (rc != TR_OK) {
        (void)unlink(path);
        segment_unref(g);
        return rc;
    }
    g->synced = sizeof(h);
    *ret = g;
    return TR_OK;
}

/* Zeros for the commits to come. They are a convenience: when they cannot be had, the file grows.
 */
static void make_ready(struct segment *g, uint64_t end)
{
    static const char zeros[64 << 10];

    if (g->ready >= end)
        return;
    uint64_t at = g->ready > g->synced ? g->ready : g->synced;
    for (uint64_t to = at + READY_BYTES; at < to;) {
        ssize_t n = pwrite(g->fd, zeros, sizeof(zeros), (off_t)at);
        if (n <= 0)
            break;
        at += (uint64_t)n;
    }
    g->ready = at;
}

/* The file ends where its records end, durably. */
static bool trim(struct segment *g)
{
    if (g->ready > g->synced && (ftruncate(g->fd, (off_t)g->synced) != 0 || fsync(g->fd) != 0))
        return false;
    g->ready = 0;
    return true;
}

enum tr_rc journal_open(struct journal *j, const char *dir, uint32_t epoch, uint32_t salt,
                        size_t segment_bytes, uint64_t needed_seq,
                        const struct journal_visitor *visitor, struct tr_err *err)
{
    *j = (struct journal){ .epoch = epoch, .salt = salt, .segment_bytes = segment_bytes };
    (void)pthread_mutex_init(&j->lock, NULL);
    j->dir = strdup(dir);
    if (j->dir == NULL) {
        (void)tr_fail_oom(err);
        goto failed;
    }
    if (strlen(dir) > JOURNAL_PATH - sizeof(((struct segment *)0)->name) - 2) {
        (void)tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "folder name of %zu bytes",
                      strlen(dir));
        goto failed;
    }
    if (tr_file_make_dirs(dir, err) != TR_OK ||
        journal_recover(j, needed_seq, visitor, err) != TR_OK)
        goto failed;
    if (j->n == 0) {
        struct segment *g;
        if (journal_make_segment(j, &g, err) != TR_OK)
            goto failed;
        if (journal_add_segment(j, g, err) != TR_OK) {
            segment_unref(g);
            goto failed;
        }
    }
    return TR_OK;
failed:
    journal_close(j);
    return err == NULL ? TR_INTERNAL : err->rc;
}

void journal_close(struct journal *j)
{
    if (j->dir == NULL)
        return;
    if (j->active != NULL)
        (void)trim(j->active);
    for (size_t i = 0; i < j->n; i++)
        segment_unref(j->segments[i]);
    free(j->segments);
    free(j->dir);
    (void)pthread_mutex_destroy(&j->lock);
    *j = (struct journal){ 0 };
}

static enum tr_rc begin_segment(struct journal *j, struct tr_err *err)
{
    struct segment *g;

    /* Recovery takes zeros at the end of the last segment only. */
    if (!trim(j->active))
        return tr_fail_errno(err, errno, "cut %s/%s", j->dir, j->active->name);
    if (journal_make_segment(j, &g, err) != TR_OK)
        return tr_wrap(err, "begin a journal segment");
    (void)pthread_mutex_lock(&j->lock);
    enum tr_rc rc = journal_add_segment(j, g, err);
    (void)pthread_mutex_unlock(&j->lock);
    if (rc != TR_OK) {
        char path[JOURNAL_PATH];
        journal_path(j, g->name, path);
        (void)unlink(path);
        segment_unref(g);
        return rc;
    }
    TR_KILL_POINT("journal.rotated");
    return TR_OK;
}

static void stop(const struct journal *j, const struct segment *g, const char *call, int error)
{
    (void)fprintf(stderr,
                  "tailrace: %s %s/%s failed: %s; what is on disk is unknown, so the process "
                  "stops here. No event of that write was acknowledged; a restart recovers\n",
                  call, j->dir, g->name, strerrordesc_np(error));
    abort();
}

/* Everything of a commit is durable: readers may see it. */
static void publish(struct journal *j, struct segment *g, const struct record_head *const *heads,
                    size_t n)
{
    uint64_t at = g->synced;

    (void)pthread_mutex_lock(&j->lock);
    j->bytes -= g->synced;
    for (size_t i = 0; i < n; i++) {
        segment_note(g, heads[i], at);
        at += record_size(heads[i]);
    }
    j->bytes += g->synced;
    j->last_seq = heads[n - 1]->seq;
    j->last_commit = heads[n - 1]->commit;
    j->last_stamp = heads[n - 1]->last_stamp;
    (void)pthread_mutex_unlock(&j->lock);
}

static uint64_t bytes_of(const struct record_head *const *heads, size_t n)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += record_size(heads[i]);
    return bytes;
}

enum tr_rc journal_append(struct journal *j, struct iovec *v, int n_v,
                          const struct record_head *const *heads, size_t n, bool roomy,
                          struct tr_err *err)
{
    if (j->active->synced >= j->segment_bytes && begin_segment(j, err) != TR_OK)
        return err->rc;

    struct segment *g = j->active;
    off_t at = (off_t)g->synced;
    uint64_t bytes = bytes_of(heads, n);
    if (roomy && bytes <= READY_COMMIT_BYTES)
        make_ready(g, g->synced + bytes);
    TR_KILL_POINT("journal.before_write");
    if (tr_file_pwritev_all(g->fd, v, n_v, at, err) != TR_OK) {
        if (ftruncate(g->fd, at) != 0)
            stop(j, g, "ftruncate", errno);
        g->ready = 0;
        return tr_wrap(err, "%s/%s", j->dir, g->name);
    }
    TR_KILL_POINT("journal.written");
    if (fdatasync(g->fd) != 0)
        stop(j, g, "fdatasync", errno);
    TR_KILL_POINT("journal.synced");
    publish(j, g, heads, n);
    return TR_OK;
}

enum tr_rc journal_drop(struct journal *j, uint64_t seq, struct tr_err *err)
{
    bool dropped = false;

    for (;;) {
        struct segment *g = NULL;
        (void)pthread_mutex_lock(&j->lock);
        if (j->n > 1 && j->segments[0]->last_seq <= seq) {
            g = j->segments[0];
            j->n--;
            memmove(j->segments, j->segments + 1, j->n * sizeof(struct segment *));
            j->bytes -= g->synced;
        }
        (void)pthread_mutex_unlock(&j->lock);
        if (g == NULL)
            break;

        char path[JOURNAL_PATH];
        journal_path(j, g->name, path);
        int error = unlink(path) == 0 ? 0 : errno;
        segment_unref(g);
        if (error != 0)
            return tr_fail_errno(err, error, "remove %s", path);
        dropped = true;
    }
    return dropped ? tr_file_sync_dir(j->dir, err) : TR_OK;
}

void journal_position(struct journal *j, struct journal_position *ret)
{
    (void)pthread_mutex_lock(&j->lock);
    *ret = (struct journal_position){ j->last_seq, j->bytes, j->last_stamp };
    (void)pthread_mutex_unlock(&j->lock);
}
