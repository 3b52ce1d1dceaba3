#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/file.h"
#include "store/journal_priv.h"
#include "store/survey.h"

struct walk {
    struct journal j; /* for its folder and salt only */
    const struct journal_visitor *visitor;
    struct survey_problems *problems;
    struct survey_journal *sum;
    struct tr_buf prefix, events;
    uint64_t commit;     /* the last whole record's */
    uint64_t commit_end; /* where the last whole commit ends in the segment */
    char file[64];
};

static enum tr_rc visit(struct walk *w, int fd, uint64_t at, const struct record_head *h,
                        bool *ret_sound, struct tr_err *err)
{
    *ret_sound = true;
    if (w->visitor == NULL)
        return TR_OK;
    tr_buf_clear(&w->events);
    char *p = tr_buf_reserve(&w->events, h->events_bytes + 1);
    if (p == NULL)
        return tr_fail_oom(err);
    if (tr_file_pread_all(fd, p, h->events_bytes, (off_t)(at + record_prefix(h)), err) != TR_OK)
        return err->rc;
    tr_buf_used(&w->events, h->events_bytes);
    *ret_sound = record_events_sound(h, p, w->j.salt);
    return TR_OK;
}

/* A record of the right place in the sequence: counts it, and shows it to the visitor. */
static enum tr_rc take(struct walk *w, const struct record_head *h, uint64_t at, struct tr_err *err)
{
    struct survey_journal *sum = w->sum;

    if (sum->first_seq == 0)
        sum->first_seq = h->seq;
    else if (h->seq != sum->last_seq + 1)
        survey_problem(w->problems, w->file, at, "record %" PRIu64 " follows record %" PRIu64,
                       h->seq, sum->last_seq);
    if (h->first_stamp < sum->closed_through)
        survey_problem(w->problems, w->file, at, "record %" PRIu64 " goes back in time", h->seq);
    sum->last_seq = h->seq;
    sum->closed_through = h->last_stamp + 1;
    sum->records++;
    sum->events += record_stored(h);
    w->commit = h->commit;
    if ((h->flags & RECORD_ENDS_COMMIT) != 0)
        w->commit_end = at + record_size(h);
    if (w->visitor == NULL)
        return TR_OK;
    /* The visitor sees head and counters in one piece, as recovery's does. */
    return w->visitor->record(w->visitor->ctx, (const void *)w->prefix.p, w->events.p, err);
}

/* No sound record at `at`. Moves to the next one; what a start would cut off is not a problem. */
static enum tr_rc resume(struct walk *w, int fd, uint64_t at, uint64_t end, bool is_last,
                         uint64_t *ret_at, struct tr_err *err)
{
    struct record_head h;
    bool found;

    *ret_at = end;
    if (journal_find_later(&w->j, fd, at + 8, end, w->sum->last_seq, &found, ret_at, &h, err) !=
        TR_OK)
        return err->rc;
    if (!found)
        *ret_at = end;
    if (!found && is_last)
        w->sum->torn_bytes = end - w->commit_end;
    else
        survey_problem(w->problems, w->file, at, "no sound record");
    return TR_OK;
}

static enum tr_rc walk_segment(struct walk *w, int fd, uint64_t end, bool is_last,
                               struct tr_err *err)
{
    uint64_t at = sizeof(struct segment_head);

    w->commit_end = at;
    while (at < end) {
        struct record_head h;
        bool sound;
        if (journal_look_at(&w->j, fd, at, end, &w->prefix, &sound, err) != TR_OK)
            return err->rc;
        if (sound)
            memcpy(&h, w->prefix.p, sizeof(h));
        if (sound && visit(w, fd, at, &h, &sound, err) != TR_OK)
            return err->rc;
        if (!sound) {
            if (resume(w, fd, at, end, is_last, &at, err) != TR_OK)
                return err->rc;
            continue;
        }
        if (take(w, &h, at, err) != TR_OK)
            return err->rc;
        at += record_size(&h);
    }
    return TR_OK;
}

static enum tr_rc open_segment(struct walk *w, uint64_t seq, const struct store_identity *id,
                               bool is_last, struct tr_err *err)
{
    char path[JOURNAL_PATH];
    struct segment_head h;
    struct tr_err why = { 0 };
    struct stat st;

    (void)snprintf(w->file, sizeof(w->file), "journal/%016" PRIx64 ".trj", seq);
    journal_path(&w->j, w->file + strlen("journal/"), path);
    TR_CLEANUP(tr_file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return tr_fail_errno(err, errno, "open %s", path);
    uint64_t end = (uint64_t)st.st_size;
    w->sum->segments++;
    w->sum->bytes += end;
    if (end < sizeof(h) && is_last) {
        w->sum->torn_bytes = end;
        return TR_OK;
    }
    if (end < sizeof(h)) {
        survey_problem(w->problems, w->file, 0, "cut inside its head");
        return TR_OK;
    }
    if (tr_file_pread_all(fd, &h, sizeof(h), 0, err) != TR_OK)
        return err->rc;
    if (segment_head_check(&h, id->salt, id->epoch, &why) != TR_OK)
        survey_problem(w->problems, w->file, 0, "%s", why.cause);
    else if (h.first_seq != seq)
        survey_problem(w->problems, w->file, 0, "its name is not that of its first record");
    else if (w->sum->closed_through < h.last_stamp + 1 && w->sum->records == 0)
        w->sum->closed_through = h.last_stamp + 1;
    return walk_segment(w, fd, end, is_last, err);
}

enum tr_rc survey_journal(const char *dir, const struct store_identity *id,
                          const struct journal_visitor *visitor, struct survey_problems *p,
                          struct survey_journal *ret, struct tr_err *err)
{
    char path[STORE_PATH];
    struct walk w = { .visitor = visitor, .problems = p, .sum = ret };
    uint64_t *list = NULL;
    size_t n = 0;

    *ret = (struct survey_journal){ 0 };
    (void)snprintf(path, sizeof(path), "%s/journal", dir);
    w.j.dir = path;
    w.j.salt = id->salt;
    tr_buf_init(&w.prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    tr_buf_init(&w.events, BLOCK_MOST + 1);
    enum tr_rc rc = journal_list(path, &list, &n, err);
    for (size_t i = 0; i < n && rc == TR_OK; i++)
        rc = open_segment(&w, list[i], id, i + 1 == n, err);
    free(list);
    tr_buf_fini(&w.prefix);
    tr_buf_fini(&w.events);
    return rc;
}
