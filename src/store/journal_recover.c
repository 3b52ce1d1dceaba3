/* Opening what the last process left.
 *
 * Only the end of the last segment may be torn: it was being written when the process died. What
 * follows the last whole commit is then cut off. If a later commit stands behind the damage, the
 * damaged bytes had been synced once, and nothing is cut: a person has to look. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "store/journal_priv.h"

struct recovery {
    struct journal *j;
    uint64_t needed_seq;
    const struct journal_visitor *visitor;
    struct tr_buf prefix, events; /* of the record that was read last */
};

#define HINT_DAMAGED "run tailrace store check; restore the data folder from a backup"

static enum tr_rc damaged(const struct recovery *r, const char *name, uint64_t at, const char *what,
                          struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "store.damaged", HINT_DAMAGED, "%s/%s, byte %" PRIu64 ": %s",
                   r->j->dir, name, at, what);
}

/* Is there, anywhere from `at` on, the head of a record of a later commit than the one that would
 * come next? Then what is damaged was durable once. */
static enum tr_rc later_commit_behind(struct recovery *r, int fd, uint64_t at, uint64_t end,
                                      bool *ret, struct tr_err *err)
{
    struct record_head h;

    *ret = false;
    for (bool found = true; found && !*ret; at += 8) {
        if (journal_find_later(r->j, fd, at, end, r->j->last_seq, &found, &at, &h, err) != TR_OK)
            return err->rc;
        *ret = found && h.commit > r->j->last_commit + 1;
    }
    return TR_OK;
}

/* Reads the record at `at` whole; *ret_sound is false when there is none. */
static enum tr_rc read_record(struct recovery *r, const struct segment *g, uint64_t at,
                              uint64_t end, bool *ret_sound, struct tr_err *err)
{
    struct record_head h;

    *ret_sound = false;
    bool found;
    if (journal_look_at(r->j, g->fd, at, end, &r->prefix, &found, err) != TR_OK)
        return err->rc;
    if (!found)
        return TR_OK;
    memcpy(&h, r->prefix.p, sizeof(h));
    if (record_head_known(&h, err) != TR_OK)
        return err->rc;
    tr_buf_clear(&r->events);
    char *p = tr_buf_reserve(&r->events, h.events_bytes + 1);
    if (p == NULL)
        return tr_fail_oom(err);
    if (tr_file_pread_all(g->fd, p, h.events_bytes, (off_t)(at + r->prefix.n), err) != TR_OK)
        return err->rc;
    tr_buf_used(&r->events, h.events_bytes);
    *ret_sound = record_events_sound(&h, p, r->j->salt);
    return TR_OK;
}

/* What was found in the last segment may be in the page cache only: its writer died before the
 * sync. From now on it counts as stored, so it has to last. */
static enum tr_rc make_durable(struct recovery *r, struct segment *g, struct tr_err *err)
{
    if (fsync(g->fd) != 0)
        return tr_fail_errno(err, errno, "fsync %s/%s", r->j->dir, g->name);
    return tr_file_sync_dir(r->j->dir, err);
}

static enum tr_rc cut(struct recovery *r, struct segment *g, uint64_t at, struct tr_err *err)
{
    if (ftruncate(g->fd, (off_t)at) != 0)
        return tr_fail_errno(err, errno, "cut the torn end of %s/%s", r->j->dir, g->name);
    return make_durable(r, g, err);
}

/* r->prefix and r->events hold the record at `at`, which is sound and of a whole commit. */
static enum tr_rc accept_record(struct recovery *r, struct segment *g, uint64_t at,
                                struct tr_err *err)
{
    struct record_head h;

    memcpy(&h, r->prefix.p, sizeof(h));
    segment_note(g, &h, at);
    r->j->last_seq = h.seq;
    r->j->last_commit = h.commit;
    r->j->last_stamp = h.last_stamp;
    return r->visitor->record(r->visitor->ctx, &h, r->events.p, err);
}

/* A commit of several records, [from, to): read again, now that its end is known to be there. */
static enum tr_rc accept_commit(struct recovery *r, struct segment *g, uint64_t from, uint64_t to,
                                struct tr_err *err)
{
    while (from < to) {
        bool sound;
        if (read_record(r, g, from, to, &sound, err) != TR_OK)
            return err->rc;
        if (!sound)
            return damaged(r, g->name, from, "it changed while it was read", err);
        if (accept_record(r, g, from, err) != TR_OK)
            return err->rc;
        from = g->synced;
    }
    return TR_OK;
}

static enum tr_rc end_of_whole(struct recovery *r, struct segment *g, uint64_t commit_at,
                               uint64_t at, uint64_t end, bool is_last, struct tr_err *err)
{
    if (commit_at == end)
        return is_last ? make_durable(r, g, err) : TR_OK;
    if (!is_last)
        return damaged(r, g->name, at, "no whole record, and later segments exist", err);
    bool later;
    if (later_commit_behind(r, g->fd, at, end, &later, err) != TR_OK)
        return err->rc;
    if (later)
        return damaged(r, g->name, at, "no whole record, and later ones follow it", err);
    return cut(r, g, commit_at, err);
}

static enum tr_rc read_records(struct recovery *r, struct segment *g, uint64_t end, bool is_last,
                               struct tr_err *err)
{
    uint64_t at = sizeof(struct segment_head);
    uint64_t commit_at = at;
    uint64_t seq = g->first_seq;
    int64_t stamp = r->j->last_stamp;

    g->synced = at;
    while (at < end) {
        struct record_head h;
        bool sound;
        if (read_record(r, g, at, end, &sound, err) != TR_OK)
            return tr_wrap(err, "%s/%s, byte %" PRIu64, r->j->dir, g->name, at);
        if (!sound)
            break;
        memcpy(&h, r->prefix.p, sizeof(h));
        if (h.seq != seq || h.first_stamp <= stamp || h.commit != r->j->last_commit + 1)
            break;
        uint64_t next = at + record_size(&h);
        if ((h.flags & RECORD_ENDS_COMMIT) != 0) {
            enum tr_rc rc = commit_at == at ? accept_record(r, g, at, err)
                                            : accept_commit(r, g, commit_at, next, err);
            if (rc != TR_OK)
                return rc;
            commit_at = next;
        }
        seq++;
        stamp = h.last_stamp;
        at = next;
    }
    return end_of_whole(r, g, commit_at, at, end, is_last, err);
}

/* A last segment whose head never became durable holds nothing: records come after that only. */
static enum tr_rc drop_unborn(struct recovery *r, struct segment *g, uint64_t end,
                              const struct tr_err *why, struct tr_err *err)
{
    char path[JOURNAL_PATH];

    if (end > sizeof(struct segment_head))
        return damaged(r, g->name, 0, why->cause, err);
    journal_path(r->j, g->name, path);
    if (unlink(path) != 0)
        return tr_fail_errno(err, errno, "remove %s", path);
    return tr_file_sync_dir(r->j->dir, err);
}

static enum tr_rc recover_segment(struct recovery *r, struct segment *g, bool is_last,
                                  bool is_first, bool *ret_unborn, struct tr_err *err)
{
    char path[JOURNAL_PATH];
    struct segment_head h = { 0 };
    struct stat st;

    journal_path(r->j, g->name, path);
    g->fd = open(path, O_RDWR | O_CLOEXEC);
    if (g->fd < 0 || fstat(g->fd, &st) != 0)
        return tr_fail_errno(err, errno, "open %s", path);
    uint64_t end = (uint64_t)st.st_size;

    struct tr_err why = { 0 };
    enum tr_rc rc = TR_INVALID;
    if (end < sizeof(h))
        (void)tr_fail(&why, TR_INVALID, "store.bad_head", NULL, "cut inside its head");
    else if (tr_file_pread_all(g->fd, &h, sizeof(h), 0, err) != TR_OK)
        return tr_wrap(err, "%s", path);
    else
        rc = segment_head_check(&h, r->j->salt, r->j->epoch, &why);
    if (rc == TR_REFUSED) {
        *err = why;
        return tr_wrap(err, "%s", path);
    }
    if (rc != TR_OK && is_last) {
        *ret_unborn = true;
        return drop_unborn(r, g, end, &why, err);
    }
    if (rc != TR_OK)
        return damaged(r, g->name, 0, why.cause, err);
    if (h.first_seq != g->first_seq)
        return damaged(r, g->name, 0, "its name is not that of its first record", err);
    if (is_first) {
        r->j->last_seq = h.first_seq - 1;
        r->j->last_stamp = h.last_stamp;
        r->j->last_commit = h.last_commit;
    } else if (h.first_seq != r->j->last_seq + 1) {
        return damaged(r, g->name, 0, "records before it are missing", err);
    }
    return read_records(r, g, end, is_last, err);
}

/* Segments before the oldest one that is needed were about to be removed. */
static enum tr_rc remove_old(struct recovery *r, const uint64_t *list, size_t n, size_t *ret_from,
                             struct tr_err *err)
{
    size_t from = 0;

    while (from + 1 < n && list[from + 1] <= r->needed_seq + 1)
        from++;
    for (size_t i = 0; i < from; i++) {
        char name[32];
        char path[JOURNAL_PATH];
        (void)snprintf(name, sizeof(name), "%016" PRIx64 ".trj", list[i]);
        journal_path(r->j, name, path);
        if (unlink(path) != 0)
            return tr_fail_errno(err, errno, "remove %s", path);
    }
    if (n > 0 && list[from] > r->needed_seq + 1)
        return tr_fail(err, TR_REFUSED, "store.damaged", HINT_DAMAGED,
                       "%s: records %" PRIu64 " to %" PRIu64 " are missing", r->j->dir,
                       r->needed_seq + 1, list[from] - 1);
    *ret_from = from;
    return from > 0 ? tr_file_sync_dir(r->j->dir, err) : TR_OK;
}

enum tr_rc journal_recover(struct journal *j, uint64_t needed_seq,
                           const struct journal_visitor *visitor, struct tr_err *err)
{
    struct recovery r = { .j = j, .needed_seq = needed_seq, .visitor = visitor };
    uint64_t *list = NULL;
    size_t n = 0;
    size_t from = 0;
    enum tr_rc rc;

    tr_buf_init(&r.prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    tr_buf_init(&r.events, (size_t)RECORD_EVENT + RECORD_BYTES + 1);
    if ((rc = journal_list(j->dir, &list, &n, err)) == TR_OK)
        rc = remove_old(&r, list, n, &from, err);
    for (size_t i = from; i < n && rc == TR_OK; i++) {
        struct segment *g = segment_new(list[i]);
        bool unborn = false;
        if (g == NULL) {
            rc = tr_fail_oom(err);
            break;
        }
        rc = recover_segment(&r, g, i + 1 == n, i == from, &unborn, err);
        if (rc == TR_OK && !unborn)
            rc = journal_add_segment(j, g, err);
        if (rc != TR_OK || unborn)
            segment_unref(g);
    }
    free(list);
    tr_buf_fini(&r.prefix);
    tr_buf_fini(&r.events);
    if (rc == TR_OK && j->last_seq < needed_seq)
        return tr_fail(err, TR_REFUSED, "store.damaged", HINT_DAMAGED,
                       "%s ends at record %" PRIu64 ", but record %" PRIu64 " was there once",
                       j->dir, j->last_seq, needed_seq);
    return rc;
}
