/* One commit: groups in, records out, one write, one sync. The writer's thread only. */
#include "store/commit_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/metric.h"
#include "model/event.h"
#include "os/clock.h"
#include "os/file.h"

TR_COUNTER(write_failures, "tailrace_store_write_failures_total",
           "Commits of events that failed: the disk is full, or will not be written to.");
TR_COUNTER(stored, "tailrace_store_events_total{outcome=\"stored\"}",
           "Events that the store took, by outcome.");
TR_COUNTER(duplicates, "tailrace_store_events_total{outcome=\"duplicate\"}",
           "Events that the store took, by outcome.");
TR_COUNTER(conflicts, "tailrace_store_events_total{outcome=\"conflict\"}",
           "Events that the store took, by outcome.");
TR_COUNTER(syncs, "tailrace_store_syncs_total", "Syncs of the journal.");
TR_COUNTER(synced_groups, "tailrace_store_synced_groups_total",
           "Groups that syncs of the journal made durable.");
TR_COUNTER(sync_us, "tailrace_store_sync_microseconds_total",
           "Microseconds spent writing and syncing the journal.");
TR_COUNTER(written_bytes, "tailrace_store_journal_bytes_total", "Bytes written to the journal.");

enum {
    WINDOW = 32,    /* events whose cache lines are fetched together */
    AHEAD = 8,      /* and how far ahead the head of one is */
    MAX_SHARED = 4, /* ids that are tried for an event whose id another one has */
    FREE_ASK_US = 200 * 1000,
    ROOMY_BYTES = 64 << 20, /* free beyond the reserve: the journal may prepare room for itself */
    FULL_RETRY_US = 2 * 1000 * 1000,
};

struct commit *commit_new(struct tr_store *s)
{
    struct commit *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->s = s;
    tr_arena_init(&c->arena, SIZE_MAX / 2);
    return c;
}

void commit_free(struct commit *c)
{
    if (c == NULL)
        return;
    tr_arena_fini(&c->arena);
    free(c->v);
    free(c->heads);
    free(c);
}

/* ---- the events of a group ---- */

struct candidate {
    char *p;
    size_t size;
    uint64_t hash;
    struct dedup_entry entry;
};

static void look_at(const struct commit *c, const struct tr_group *g, size_t i,
                    struct candidate *ret)
{
    struct tr_event e;
    size_t at = g->events[i].at;
    size_t next = i + 1 < g->n_events ? g->events[i + 1].at : g->rows.n;

    if (i + AHEAD < g->n_events) {
        const char *later = g->rows.p + g->events[i + AHEAD].at;
        __builtin_prefetch(later);
        __builtin_prefetch(later + 64);
    }
    ret->p = g->rows.p + at;
    ret->size = tr_event_unpack(ret->p, g->rows.n - at, &e);
    assert(ret->size != 0 && at + ret->size == next && ret->size <= RECORD_EVENT);
    ret->entry = (struct dedup_entry){ .key = { .uuid = e.uuid, .project = e.project },
                                       .identity = tr_event_identity(&e) };
    ret->hash = dedup_hash_key(&c->s->dedup.limits.hash, &ret->entry.key);
    dedup_prefetch(&c->view, ret->hash);
}

/* The namespace of ids for events whose own id another event has. Fixed for ever: with another one,
 * what is sent again after an upgrade would be stored again. */
static const struct tr_uuid space_of_shared = { { 0x5a, 0x0d, 0x83, 0xe1, 0x2c, 0x6f, 0x4b, 0x97,
                                                  0x8e, 0x41, 0x09, 0xd6, 0x7b, 0x35, 0xf2,
                                                  0xac } };

/* Gives the event an id made of project, id, name and distinct id: what stays the same when it is
 * sent again. (Its time does not: the correction for the client's clock differs each time.) */
static void make_own_id(const struct commit *c, struct candidate *e)
{
    struct tr_event v;
    struct tr_uuid id;
    struct {
        struct tr_uuid shared;
        uint64_t identity;
        int32_t project;
        uint32_t zero;
    } of = { e->entry.key.uuid, e->entry.identity, e->entry.key.project, 0 };

    tr_uuid_v5(&space_of_shared, &of, sizeof(of), &id);
    if (tr_event_unpack(e->p, e->size, &v) == 0)
        abort(); /* it was read before */
    tr_event_settle(e->p, v.project, v.timestamp, TR_EVENT_SHARED_UUID, &id);
    e->entry.key.uuid = id;
    e->hash = dedup_hash_key(&c->s->dedup.limits.hash, &e->entry.key);
}

/* Looks for the event by its id, and where another event has it by one of its own. Which of two
 * came first may be forgotten (a run expires) but not swapped: the first keeps the id. */
static enum tr_rc find_event(struct commit *c, struct candidate *e, bool *ret_found,
                             struct dedup_entry *ret, struct tr_err *err)
{
    for (int id = 0;; id++) {
        if (dedup_find(&c->view, e->hash, &e->entry.key, ret_found, ret, err) != TR_OK)
            return err->rc;
        if (!*ret_found || ret->identity == e->entry.identity || id == MAX_SHARED)
            return TR_OK;
        make_own_id(c, e);
    }
}

static enum tr_rc take_event(struct commit *c, struct candidate *e, uint32_t *ret_outcome,
                             struct tr_err *err)
{
    struct dedup_entry before;
    bool found;

    if (find_event(c, e, &found, &before, err) != TR_OK)
        return err->rc;
    *ret_outcome = !found                                 ? TR_EVENT_STORED
                   : before.identity == e->entry.identity ? TR_EVENT_DUPLICATE
                                                          : TR_EVENT_CONFLICT;
    struct record_counter *n = NULL;
    if (commit_counter(c, e->entry.key.project, *ret_outcome == TR_EVENT_STORED ? e->size : 0, &n,
                       err) != TR_OK)
        return err->rc;
    if (found) {
        n->duplicates += *ret_outcome == TR_EVENT_DUPLICATE;
        n->conflicts += *ret_outcome == TR_EVENT_CONFLICT;
        return TR_OK;
    }
    n->stored++;
    e->entry.inserted_at = c->stamp;
    tr_event_stamp(e->p, c->stamp);
    if (dedup_add(&c->view, e->hash, &e->entry, err) != TR_OK)
        return err->rc;
    return commit_event(c, e->p, e->size, err);
}

static enum tr_rc take_group(struct commit *c, struct tr_group *g, struct tr_err *err)
{
    for (size_t i = 0; i < g->n_refused; i++) {
        struct record_counter *n = NULL;
        if (commit_counter(c, g->refused[i].project, 0, &n, err) != TR_OK)
            return err->rc;
        n->refused += g->refused[i].events;
    }
    for (size_t at = 0; at < g->n_events; at += WINDOW) {
        struct candidate window[WINDOW];
        size_t n = g->n_events - at < WINDOW ? g->n_events - at : WINDOW;
        for (size_t i = 0; i < n; i++)
            look_at(c, g, at + i, &window[i]);
        for (size_t i = 0; i < n; i++)
            if (take_event(c, &window[i], &g->events[at + i].outcome, err) != TR_OK)
                return err->rc;
    }
    return TR_OK;
}

/* ---- the commit ---- */

static bool has_room(const struct tr_store *s, uint64_t bytes)
{
    return s->free_bytes >= bytes && s->free_bytes - bytes >= s->options.min_free_bytes;
}

/* Room on the disk, asked now and then, and before anything is refused. What the keeper writes
 * meanwhile is within min_free_bytes. */
static enum tr_rc check_room(struct tr_store *s, uint64_t bytes, struct tr_err *err)
{
    int64_t now = tr_clock_boot_us();

    if (s->free_asked_at == 0 || now - s->free_asked_at >= FREE_ASK_US || !has_room(s, bytes)) {
        if (tr_file_free_bytes(s->dir, &s->free_bytes, err) != TR_OK)
            return err->rc;
        s->free_asked_at = now;
    }
    if (has_room(s, bytes))
        return TR_OK;
    return tr_fail(
        err, TR_THROTTLED, "store.full", "free space on the disk that holds the data folder",
        "%llu MiB are free, and %llu MiB are kept free", (unsigned long long)s->free_bytes >> 20,
        (unsigned long long)s->options.min_free_bytes >> 20);
}

static enum tr_rc write_records(struct commit *c, struct tr_err *err)
{
    struct tr_store *s = c->s;
    int64_t before = tr_clock_boot_us();
    uint64_t bytes = 0;

    for (size_t i = 0; i < c->n_heads; i++)
        bytes += record_size(c->heads[i]);
    if (journal_append(&s->journal, c->v, (int)c->n_v, c->heads, c->n_heads,
                       has_room(s, ROOMY_BYTES), err) != TR_OK) {
        if (strcmp(err->id, "os.no_space") == 0) {
            s->free_asked_at = 0;
            err->rc = TR_THROTTLED;
            err->id = "store.full";
        }
        return err->rc;
    }
    s->free_bytes -= bytes < s->free_bytes ? bytes : s->free_bytes;
    s->freeze_bytes += bytes;
    tr_count(&sync_us, tr_clock_boot_us() - before);
    tr_count(&syncs, 1);
    tr_count(&written_bytes, (int64_t)bytes);
    return TR_OK;
}

/* What was written is seen by everybody from here on. */
static void publish(struct commit *c)
{
    struct tr_store *s = c->s;
    uint64_t events = 0;
    uint64_t bytes = 0;
    int64_t first = 0;
    int64_t last = 0;

    for (size_t i = 0; i < c->n_heads; i++) {
        const struct record_head *h = c->heads[i];
        bytes += record_size(h);
        events += record_stored(h);
        if (record_stored(h) > 0) {
            first = first == 0 ? h->first_stamp : first;
            last = h->last_stamp;
        }
    }
    bool seal_due;
    (void)pthread_mutex_lock(&s->tally_lock);
    struct store_tally *t = &s->tally;
    bool seal_was_due = t->unsealed_bytes >= (int64_t)s->options.seal_bytes;
    t->unsealed_bytes += (int64_t)bytes;
    t->unsealed_events += (int64_t)events;
    if (events > 0) {
        t->last_event_at = last;
        if (t->oldest_unsealed == 0)
            t->oldest_unsealed = first;
    }
    seal_due = !seal_was_due && t->unsealed_bytes >= (int64_t)s->options.seal_bytes;
    (void)pthread_mutex_unlock(&s->tally_lock);
    atomic_store(&s->closed_through, c->stamp);
    atomic_store(&s->table_entries, s->dedup.active->n);
    if (seal_due)
        worker_tell(&s->sealer);
}

static void begin(struct commit *c, int64_t stamp)
{
    tr_arena_reset(&c->arena);
    c->n_v = 0;
    c->n_heads = 0;
    c->record = NULL;
    c->stamp = stamp;
    c->next_seq = c->s->journal.last_seq + 1;
    c->commit = c->s->journal.last_commit + 1;
}

static enum tr_rc begin_stamped(struct commit *c, struct tr_err *err)
{
    int64_t now = store_clock(c->s);

    if (store_not_ready(c->s, err) != TR_OK)
        return err->rc;
    begin(c, now);
    return TR_OK;
}

static void took(struct commit *c)
{
    (void)pthread_mutex_lock(&c->s->clock_lock);
    inclock_took(&c->s->clock, c->stamp - 1);
    (void)pthread_mutex_unlock(&c->s->clock_lock);
}

static enum tr_rc store_groups(struct commit *c, struct tr_group *list, struct tr_err *err)
{
    uint64_t bytes = 0;

    for (struct tr_group *g = list; g != NULL; g = g->next)
        bytes += g->rows.n;
    if (begin_stamped(c, err) != TR_OK || check_room(c->s, bytes, err) != TR_OK)
        return err->rc;

    int64_t received_at = c->stamp;
    dedup_view_begin(&c->s->dedup, &c->view);
    enum tr_rc rc = TR_OK;
    for (struct tr_group *g = list; g != NULL && rc == TR_OK; g = g->next) {
        g->received_at = received_at;
        rc = g->command ? commit_command(c, g->rows.p, g->rows.n, err) : take_group(c, g, err);
    }
    if (rc == TR_OK)
        rc = commit_close_record(c, true, err);
    if (rc == TR_OK && c->n_heads > 0)
        rc = write_records(c, err);
    took(c);
    if (rc == TR_OK && c->n_heads > 0)
        publish(c);
    dedup_view_end(&c->view, rc == TR_OK);
    return rc;
}

static void count_outcomes(const struct commit *c)
{
    int64_t n[3] = { 0 };

    for (size_t i = 0; i < c->n_heads; i++) {
        const struct record_counter *counters = (const void *)(c->heads[i] + 1);
        for (uint32_t k = 0; k < c->heads[i]->counters; k++) {
            n[0] += counters[k].stored;
            n[1] += counters[k].duplicates;
            n[2] += counters[k].conflicts;
        }
    }
    tr_count(&stored, n[0]);
    tr_count(&duplicates, n[1]);
    tr_count(&conflicts, n[2]);
}

/* Within the queue. A clock in doubt has a state of its own. */
static void note_outcome(struct tr_store *s, enum tr_rc rc, const struct tr_err *err)
{
    if (rc == TR_OK) {
        s->write_trouble[0] = '\0';
    } else if (err->id == NULL || strcmp(err->id, "store.not_ready") != 0) {
        (void)tr_err_text(err, s->write_trouble, sizeof(s->write_trouble));
        s->write_failed_at = tr_clock_boot_us();
        tr_count(&write_failures, 1);
    }
}

void commit_groups(struct commit *c, struct tr_group *list)
{
    struct tr_err err = { 0 };
    enum tr_rc rc = store_groups(c, list, &err);
    int64_t groups = 0;
    size_t bytes = 0;

    if (rc == TR_OK)
        count_outcomes(c);
    else if (rc == TR_THROTTLED)
        err.not_before_us = tr_clock_wall_us() + FULL_RETRY_US;
    for (struct tr_group *g = list; g != NULL; g = g->next) {
        bytes += g->rows.n;
        groups++;
    }
    tr_monitor_enter(&c->s->queue);
    c->s->queued_bytes -= bytes;
    note_outcome(c->s, rc, &err);
    tr_monitor_leave(&c->s->queue);
    while (list != NULL) {
        struct tr_group *g = list;
        list = g->next; /* the submitter may free g in done */
        g->next = NULL;
        g->done(g, rc, rc == TR_OK ? NULL : &err);
    }
    if (rc == TR_OK)
        tr_count(&synced_groups, groups);
}

void commit_fence(struct commit *c)
{
    struct tr_err err = { 0 };

    if (begin_stamped(c, &err) != TR_OK || c->stamp <= atomic_load(&c->s->closed_through))
        return;
    /* Fails when the disk is full to the last byte: whoever needs the fence asks again. */
    if (commit_add_fence(c, &err) == TR_OK && write_records(c, &err) == TR_OK) {
        took(c);
        publish(c);
    }
}
