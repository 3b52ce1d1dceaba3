#include <inttypes.h>
#include <string.h>

#include "os/file.h"
#include "store/journal_priv.h"

enum tr_rc journal_look_at(const struct journal *j, int fd, uint64_t at, uint64_t end,
                           struct tr_buf *prefix, bool *ret_found, struct tr_err *err)
{
    struct record_head h;
    size_t have = sizeof(h);

    *ret_found = false;
    for (;;) {
        if (have > end - at)
            return TR_OK;
        tr_buf_clear(prefix);
        char *p = tr_buf_reserve(prefix, have);
        if (p == NULL)
            return tr_fail_oom(err);
        if (tr_file_pread_all(fd, p, have, (off_t)at, err) != TR_OK)
            return err->rc;
        tr_buf_used(prefix, have);
        size_t size = record_head_look(p, have, j->salt, &h);
        if (size <= have) {
            *ret_found = size != 0 && record_size(&h) <= end - at;
            return TR_OK;
        }
        have = size;
    }
}

void journal_cursor_fini(struct journal_cursor *c)
{
    segment_unref(c->segment);
    *c = (struct journal_cursor){ 0 };
}

/* Under the lock. */
static void stand(struct journal_cursor *c, struct journal *j, struct segment *g, uint64_t at,
                  uint64_t seq)
{
    (void)atomic_fetch_add(&g->refs, 1);
    segment_unref(c->segment);
    *c = (struct journal_cursor){ .journal = j, .segment = g, .at = at, .next_seq = seq };
}

/* Moves over whole records, by their heads, until the one that is wanted. */
static bool walk_to(struct journal_cursor *c, uint64_t seq)
{
    struct tr_buf prefix;
    struct tr_err err;
    bool there = true;

    tr_buf_init(&prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    while (there && c->next_seq < seq) {
        enum journal_step step;
        there = journal_next(c, &prefix, &step, &err) == TR_OK && step == JOURNAL_RECORD;
    }
    tr_buf_fini(&prefix);
    return there;
}

bool journal_seek(struct journal *j, uint64_t seq, struct journal_cursor *ret)
{
    struct journal_cursor c = { 0 };

    (void)pthread_mutex_lock(&j->lock);
    for (size_t i = j->n; i-- > 0 && c.segment == NULL;) {
        struct segment *g = j->segments[i];
        if (g->first_seq > seq)
            continue;
        stand(&c, j, g, sizeof(struct segment_head), g->first_seq);
        for (size_t m = g->n_marks; m-- > 0;)
            if (g->marks[m].seq <= seq) {
                stand(&c, j, g, g->marks[m].at, g->marks[m].seq);
                break;
            }
    }
    (void)pthread_mutex_unlock(&j->lock);
    if (c.segment == NULL)
        return false;
    if (!walk_to(&c, seq)) {
        journal_cursor_fini(&c);
        return false;
    }
    *ret = c;
    return true;
}

bool journal_seek_stamp(struct journal *j, int64_t stamp, struct journal_cursor *ret)
{
    struct journal_cursor c = { 0 };

    (void)pthread_mutex_lock(&j->lock);
    for (size_t i = j->n; i-- > 0;) {
        struct segment *g = j->segments[i];
        bool earlier = g->n_marks > 0 && g->marks[0].first_stamp <= stamp;
        if (!earlier && i > 0)
            continue;
        size_t lo = 0;
        size_t hi = g->n_marks;
        while (hi - lo > 1) {
            size_t mid = lo + (hi - lo) / 2;
            if (g->marks[mid].first_stamp <= stamp)
                lo = mid;
            else
                hi = mid;
        }
        if (g->n_marks == 0)
            stand(&c, j, g, sizeof(struct segment_head), g->first_seq);
        else
            stand(&c, j, g, g->marks[lo].at, g->marks[lo].seq);
        break;
    }
    (void)pthread_mutex_unlock(&j->lock);
    *ret = c;
    return c.segment != NULL;
}

/* The cursor is at the end of what was synced in its segment: more there, the next one, or neither.
 */
static enum journal_step go_on(struct journal_cursor *c, uint64_t *ret_end)
{
    struct journal *j = c->journal;
    enum journal_step step = JOURNAL_END;

    (void)pthread_mutex_lock(&j->lock);
    if (c->at >= c->segment->synced) {
        for (size_t i = 0; i < j->n; i++) {
            struct segment *g = j->segments[i];
            if (g->first_seq <= c->segment->first_seq)
                continue;
            if (g->first_seq == c->next_seq)
                stand(c, j, g, sizeof(struct segment_head), g->first_seq);
            else
                step = JOURNAL_DROPPED;
            break;
        }
    }
    if (c->at < c->segment->synced)
        step = JOURNAL_RECORD;
    *ret_end = c->segment->synced;
    (void)pthread_mutex_unlock(&j->lock);
    return step;
}

static enum tr_rc damaged(const struct journal_cursor *c, uint64_t at, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "store.damaged",
                   "run tailrace store check; restore the data folder from a backup",
                   "%s/%s is damaged at byte %" PRIu64, c->journal->dir, c->segment->name, at);
}

enum tr_rc journal_next(struct journal_cursor *c, struct tr_buf *prefix, enum journal_step *ret,
                        struct tr_err *err)
{
    uint64_t end;

    *ret = go_on(c, &end);
    if (*ret != JOURNAL_RECORD)
        return TR_OK;

    bool found;
    if (journal_look_at(c->journal, c->segment->fd, c->at, end, prefix, &found, err) != TR_OK)
        return tr_wrap(err, "%s/%s", c->journal->dir, c->segment->name);
    struct record_head h;
    if (found)
        memcpy(&h, prefix->p, sizeof(h));
    if (!found || h.seq != c->next_seq)
        return damaged(c, c->at, err);
    c->at += record_size(&h);
    c->next_seq = h.seq + 1;
    return TR_OK;
}

enum tr_rc journal_events(struct journal_cursor *c, const struct record_head *h, struct tr_buf *out,
                          struct tr_err *err)
{
    uint64_t at = c->at - h->events_bytes;
    char *p = tr_buf_reserve(out, h->events_bytes);

    if (h->events_bytes == 0)
        return TR_OK;
    if (p == NULL)
        return tr_fail_oom(err);
    if (tr_file_pread_all(c->segment->fd, p, h->events_bytes, (off_t)at, err) != TR_OK)
        return tr_wrap(err, "%s/%s", c->journal->dir, c->segment->name);
    if (!record_events_sound(h, p, c->journal->salt))
        return damaged(c, at, err);
    tr_buf_used(out, h->events_bytes);
    return TR_OK;
}
