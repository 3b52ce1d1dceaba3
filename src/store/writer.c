/* The writer's thread: takes what waits, commits it, and closes the clock when asked. */
#include <stdlib.h>

#include "base/metric.h"
#include "os/clock.h"
#include "store/store_priv.h"

TR_COUNTER(held, "tailrace_store_held_commits_total",
           "Commits that waited because persons and sessions were behind.");

enum {
    HOLD_BEHIND_US = 400 * 1000, /* from here on .. */
    HOLD_PART = 80,              /* .. by this part of the rest .. */
    HOLD_MOST_US = 10 * 1000,    /* .. at most this, unless nothing is applied for so long: */
    HOLD_STUCK_US = 2 * 1000 * 1000,
    HOLD_EASE_US = 2 * 1000 * 1000, /* in which the time that a commit of it took is caught up */
};

/* What one commit takes at most (but always one group): bounds the wait of the first for the last,
 * and how far the deduplication table grows past its size. */
enum { COMMIT_BYTES = 8 << 20, COMMIT_EVENTS = 65536 };

/* Journal written since the deduplication table was frozen last, in segments, after which it is
 * frozen although it is not full: bounds what recovery reads and what the journal keeps. */
enum { FREEZE_SEGMENTS = 4 };

static struct tr_group *take(struct tr_store *s)
{
    struct tr_group *first = s->first;
    struct tr_group *last = first;
    size_t bytes = 0;
    size_t events = 0;

    if (first == NULL)
        return NULL;
    for (;;) {
        bytes += last->rows.n;
        events += last->n_events;
        if (last->next == NULL || bytes + last->next->rows.n > COMMIT_BYTES ||
            events + last->next->n_events > COMMIT_EVENTS)
            break;
        last = last->next;
    }
    s->first = last->next;
    if (s->first == NULL)
        s->last = NULL;
    last->next = NULL;
    return first;
}

static void refuse(struct tr_store *s, struct tr_group *list, enum tr_rc rc,
                   const struct tr_err *err)
{
    while (list != NULL) {
        struct tr_group *g = list;
        list = g->next;
        g->next = NULL;
        tr_monitor_enter(&s->queue);
        s->queued_bytes -= g->rows.n;
        tr_monitor_leave(&s->queue);
        g->done(g, rc, err);
    }
}

/* Microseconds that what is derived is behind. After a pause the stamps are far apart: it is not
 * longer behind than since it was last seen to be near. */
static int64_t behind_us(struct tr_store *s, const struct derived_position *p, int64_t now)
{
    int64_t behind = atomic_load(&s->closed_through) - p->applied_through;

    if (p->applied_through != s->hold_seen) {
        s->hold_seen = p->applied_through;
        s->hold_since = now;
    }
    if (behind < HOLD_BEHIND_US)
        s->hold_near = now;
    return behind < now - s->hold_near ? behind : now - s->hold_near;
}

/* How far it may be behind: further after it waited for the disk, and less and less so. */
static int64_t may_be_behind_us(const struct derived_position *p, int64_t now)
{
    int64_t left = HOLD_EASE_US - (now - p->wait_ended);

    if (left <= 0)
        return HOLD_BEHIND_US;
    return HOLD_BEHIND_US +
           p->waited_us * (left < HOLD_EASE_US ? left : HOLD_EASE_US) / HOLD_EASE_US;
}

/* When more comes in than is applied to the state, a commit waits a little, and more groups share
 * it: on a busy machine what is derived gets its part of the processor and stays near. Whoever is
 * stuck (a full disk), or busy with the disk, is not waited for. */
static void hold(struct tr_store *s)
{
    struct derived_position p;
    int64_t now = tr_clock_boot_us();

    derived_position(&s->derived, &p);
    int64_t over = behind_us(s, &p, now) - may_be_behind_us(&p, now);
    if (over <= 0 || p.waiting || now - s->hold_since > HOLD_STUCK_US)
        return;
    tr_count(&held, 1);
    over /= HOLD_PART;
    tr_clock_sleep_us(over < HOLD_MOST_US ? over : HOLD_MOST_US);
}

static void work(struct tr_store *s, struct tr_group *list, int64_t fence)
{
    struct tr_err err = { 0 };
    bool flush = false;
    bool long_since = s->freeze_bytes >= FREEZE_SEGMENTS * (uint64_t)s->options.segment_bytes;

    enum tr_rc rc = dedup_freeze(&s->dedup, s->journal.last_seq, long_since, &flush, &err);
    if (flush) {
        s->freeze_bytes = 0;
        worker_tell(&s->keeper);
    }
    if (list != NULL && rc != TR_OK)
        refuse(s, list, rc, &err);
    else if (list != NULL)
        commit_groups(s->commit, list);
    if (fence > atomic_load(&s->closed_through))
        commit_fence(s->commit);
}

void *store_writer(void *store)
{
    struct tr_store *s = store;
    bool more = true;

    while (more) {
        tr_monitor_enter(&s->queue);
        while (s->first == NULL && s->fence_wanted == 0 && !s->closing)
            (void)tr_monitor_wait(&s->queue, -1);
        tr_monitor_leave(&s->queue);
        hold(s);
        tr_monitor_enter(&s->queue);
        struct tr_group *list = take(s);
        int64_t fence = s->fence_wanted;
        s->fence_wanted = 0;
        more = s->first != NULL || !s->closing;
        tr_monitor_leave(&s->queue);
        work(s, list, fence);
    }
    return NULL;
}
