#include "store/store_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "base/time.h"
#include "model/event.h"
#include "os/clock.h"
#include "os/file.h"

TR_GAUGE(is_ready, "tailrace_store_ready", "1 when the store takes events, 0 when it does not.");

#define WRITE_DOUBT_US INT64_C(10000000) /* how long a failed write stands when none follows */

enum { DEDUP_TABLE = 65536, DEDUP_TABLE_LEAST = 64, DEDUP_TABLE_PART = 64 };

/* Compression gives way to whoever waits for an answer. */
enum {
    SEALER_NICENESS = 10,
    APPLY_BUSY_BYTES = 256 << 10, /* of journal in a pass: for a while the next ones begin soon */
    APPLY_BUSY_US = 2 * 1000 * 1000,
    APPLY_NAP_US = 10 * 1000,
};

void tr_store_options_default(struct tr_store_options *o)
{
    *o = (struct tr_store_options){
        .queue_bytes = 32 << 20,
        .segment_bytes = 64 << 20,
        .seal_bytes = 16 << 20,
        .seal_age_us = 10 * TR_US_PER_MIN,
        .block_bytes = 1 << 20,
        .dedup_age_us = 7 * TR_US_PER_DAY,
        .dedup_events = 20 * 1000 * 1000,
        .state_cache_bytes = 96 << 20,
        .state_commit_us = 10 * TR_US_PER_S,
        .min_free_bytes = 64 << 20,
        .max_clock_jump_us = 5 * TR_US_PER_MIN,
    };
}

/* ---- opening ---- */

struct recovery {
    struct tr_store *s;
    struct dedup_view view;
};

/* A record that recovery found: what is not in a run goes into the deduplication table again. */
static enum tr_rc recovered(void *ctx, const struct record_head *h, const char *events,
                            struct tr_err *err)
{
    struct recovery *r = ctx;
    struct tr_store *s = r->s;
    struct store_tally *t = &s->tally;

    if (h->seq > s->blocks.totals.sealed_seq) {
        t->unsealed_bytes += (int64_t)record_size(h);
        t->unsealed_events += record_stored(h);
        if (record_stored(h) > 0 && t->oldest_unsealed == 0)
            t->oldest_unsealed = h->first_stamp;
    }
    if (record_stored(h) > 0)
        t->last_event_at = h->last_stamp;
    if (h->seq <= s->dedup.through_seq || h->type != RECORD_GROUP)
        return TR_OK;
    s->freeze_bytes += record_size(h);
    for (size_t at = 0; at < h->events_bytes;) {
        struct tr_event e;
        at += tr_event_unpack(events + at, h->events_bytes - at, &e);
        struct dedup_entry entry = { .key = { .uuid = e.uuid, .project = e.project },
                                     .identity = tr_event_identity(&e),
                                     .inserted_at = e.inserted_at };
        if (dedup_add(&r->view, dedup_hash_key(&s->dedup.limits.hash, &entry.key), &entry, err) !=
            TR_OK)
            return err->rc;
    }
    return TR_OK;
}

static enum tr_rc open_journal(struct tr_store *s, struct tr_err *err)
{
    uint64_t sealed = s->blocks.totals.sealed_seq;
    uint64_t applied = s->derived.durable_seq;
    uint64_t known = s->dedup.through_seq;
    char path[STORE_PATH];

    uint64_t least = known < sealed ? known : sealed;
    least = applied < least ? applied : least;
    known = sealed > known ? sealed : known;
    known = applied > known ? applied : known;

    struct recovery r = { .s = s };
    struct journal_visitor visitor = { recovered, &r };
    (void)snprintf(path, sizeof(path), "%s/journal", s->dir);
    dedup_view_begin(&s->dedup, &r.view);
    enum tr_rc rc = journal_open(&s->journal, path, s->epoch, s->salt, s->options.segment_bytes,
                                 least, &visitor, err);
    dedup_view_end(&r.view, true);
    if (rc != TR_OK)
        return rc;
    if (s->journal.last_seq < known)
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "%s ends at record %llu, but record %llu was durable once", path,
                       (unsigned long long)s->journal.last_seq, (unsigned long long)known);
    return TR_OK;
}

static enum tr_rc open_parts(struct tr_store *s, const struct store_identity *id,
                             struct tr_err *err)
{
    char path[STORE_PATH];
    uint64_t part = s->options.dedup_events / DEDUP_TABLE_PART;
    struct dedup_limits limits = {
        .hash = { id->seed, UINT64_MAX },
        .table_entries = part > DEDUP_TABLE         ? DEDUP_TABLE
                         : part < DEDUP_TABLE_LEAST ? DEDUP_TABLE_LEAST
                                                    : (size_t)part,
        .max_events = s->options.dedup_events,
        .max_age_us = s->options.dedup_age_us,
    };

    (void)snprintf(path, sizeof(path), "%s/blocks.db", s->dir);
    if (blocks_open(&s->blocks, path, s->epoch, err) != TR_OK)
        return err->rc;
    (void)snprintf(path, sizeof(path), "%s/state.db", s->dir);
    if (derived_open(&s->derived, path, s->options.state_cache_bytes, s->options.state_commit_us,
                     err) != TR_OK)
        return err->rc;
    (void)snprintf(path, sizeof(path), "%s/dedup", s->dir);
    if (dedup_open(&s->dedup, path, &limits, err) != TR_OK)
        return err->rc;
    if (open_journal(s, err) != TR_OK)
        return err->rc;
    (void)snprintf(path, sizeof(path), "%s/asof", s->dir);
    if (asof_open(&s->asof, path, s->blocks.totals.sealed_seq, s->derived.durable_seq, err) !=
        TR_OK)
        return err->rc;
    derived_attach(&s->derived, &s->journal, &s->asof);
    return dedup_sweep(&s->dedup, err);
}

static void start_values(struct tr_store *s, const struct clock_source *source)
{
    const struct blocks_totals *t = &s->blocks.totals;
    char saved[STORE_CLOCK_TEXT];

    s->tally.sealed_events = t->events;
    s->tally.blocks = t->blocks;
    s->tally.block_bytes = t->bytes;
    atomic_init(&s->sealed_seq, t->sealed_seq);
    atomic_init(&s->sealed_through, t->sealed_through);
    atomic_init(&s->floor, t->floor);
    atomic_init(&s->closed_through, s->journal.last_stamp + 1);
    atomic_init(&s->table_entries, s->dedup.active->n);
    store_clock_load(s->dir, saved);
    inclock_init(&s->clock, source, s->options.max_clock_jump_us, s->journal.last_stamp, saved,
                 s->options.accept_clock);
    atomic_init(&s->doubt, s->clock.doubt);
    s->clock_saved_at = tr_clock_boot_us();
}

static enum tr_rc start_threads(struct tr_store *s, struct tr_err *err)
{
    s->commit = commit_new(s);
    if (s->commit == NULL)
        return tr_fail_oom(err);
    if (tr_thread_start(&s->writer, "store-writer", store_writer, s, err) != TR_OK)
        return err->rc;
    if (worker_start(&s->keeper, "store-keeper", s, store_keep, 0, err) == TR_OK &&
        worker_start(&s->applier, "store-applier", s, store_apply, DERIVED_NICENESS, err) ==
            TR_OK &&
        worker_start(&s->sealer, "store-sealer", s, store_seal, SEALER_NICENESS, err) == TR_OK)
        return TR_OK;
    tr_monitor_enter(&s->queue);
    s->closing = true;
    tr_monitor_tell(&s->queue);
    tr_monitor_leave(&s->queue);
    (void)pthread_join(s->writer, NULL);
    worker_stop(&s->applier);
    worker_stop(&s->keeper);
    return err->rc;
}

/* Threads are gone, or never were. */
static void close_parts(struct tr_store *s)
{
    commit_free(s->commit);
    if (s->journal.dir != NULL)
        journal_close(&s->journal);
    if (s->dedup.dir != NULL)
        dedup_close(&s->dedup);
    if (s->derived.db != NULL)
        derived_close(&s->derived);
    asof_close(&s->asof);
    if (s->blocks.db != NULL)
        blocks_close(&s->blocks);
    (void)pthread_mutex_destroy(&s->clock_lock);
    (void)pthread_mutex_destroy(&s->tally_lock);
    tr_monitor_fini(&s->queue);
    worker_fini(&s->keeper);
    worker_fini(&s->applier);
    worker_fini(&s->sealer);
    store_seal_rest(s);
    free(s->dir);
    free(s);
}

enum tr_rc store_open_with(const struct tr_store_options *o, const struct clock_source *source,
                           struct tr_store **ret, struct tr_err *err)
{
    struct store_identity id;

    /* Its count of allocations takes a global lock; too late when SQLite runs already, and then
     * fine. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (strlen(o->dir) > STORE_PATH - 64)
        return tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "folder name of %zu bytes",
                       strlen(o->dir));
    struct tr_store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return tr_fail_oom(err);
    s->options = *o;
    (void)pthread_mutex_init(&s->clock_lock, NULL);
    (void)pthread_mutex_init(&s->tally_lock, NULL);
    tr_monitor_init(&s->queue);
    worker_init(&s->keeper);
    worker_init(&s->applier);
    worker_init(&s->sealer);
    s->dir = strdup(o->dir);
    s->options.dir = s->dir;

    enum tr_rc rc = s->dir == NULL ? tr_fail_oom(err) : tr_file_make_dirs(s->dir, err);
    if (rc == TR_OK)
        rc = store_identity_load(s->dir, true, &id, err);
    if (rc == TR_OK) {
        s->epoch = id.epoch;
        s->salt = id.salt;
        rc = open_parts(s, &id, err);
    }
    if (rc == TR_OK) {
        start_values(s, source);
        rc = store_clock_save(s, err);
    }
    if (rc == TR_OK)
        rc = start_threads(s, err);
    if (rc != TR_OK) {
        close_parts(s);
        return tr_wrap(err, "open store %s", o->dir);
    }
    *ret = s;
    return TR_OK;
}

enum tr_rc tr_store_open(const struct tr_store_options *o, struct tr_store **ret,
                         struct tr_err *err)
{
    return store_open_with(o, &clock_source_system, ret, err);
}

void tr_store_close(struct tr_store *s)
{
    struct tr_err err;

    if (s == NULL)
        return;
    tr_monitor_enter(&s->queue);
    s->closing = true;
    tr_monitor_tell(&s->queue);
    tr_monitor_leave(&s->queue);
    (void)pthread_join(s->writer, NULL);
    worker_stop(&s->sealer);
    worker_stop(&s->applier);
    worker_stop(&s->keeper);
    /* What these could not write is made again from the journal, or is only a hint. */
    (void)!derived_commit_through(&s->derived, INT64_MAX, &err);
    (void)!store_clock_save(s, &err);
    close_parts(s);
}

/* ---- the clock ---- */

int64_t store_clock(struct tr_store *s)
{
    (void)pthread_mutex_lock(&s->clock_lock);
    int64_t now = inclock_now(&s->clock);
    atomic_store(&s->doubt, s->clock.doubt);
    (void)pthread_mutex_unlock(&s->clock_lock);
    return now;
}

static const char *const doubts[] = {
    [INCLOCK_SURE] = NULL,
    [INCLOCK_JUMPED] = "the wall clock jumped",
    [INCLOCK_BEHIND] = "the wall clock is far behind the newest event",
};

#define DOUBT_HINT "set the clock right; if it is right now, start once more with --accept-clock"

enum tr_rc store_not_ready(const struct tr_store *s, struct tr_err *err)
{
    int doubt = atomic_load(&s->doubt);

    if (doubt == INCLOCK_SURE)
        return TR_OK;
    return tr_fail(err, TR_TRANSIENT, "store.not_ready", DOUBT_HINT, "%s", doubts[doubt]);
}

int64_t tr_store_now(struct tr_store *s)
{
    return store_clock(s);
}

int64_t tr_store_closed_through(struct tr_store *s)
{
    return atomic_load(&s->closed_through);
}

bool tr_store_close_through(struct tr_store *s, int64_t t)
{
    if (t <= atomic_load(&s->closed_through))
        return true;
    if (t > store_clock(s) || atomic_load(&s->doubt) != INCLOCK_SURE)
        return false;
    tr_monitor_enter(&s->queue);
    if (t > s->fence_wanted) {
        s->fence_wanted = t;
        tr_monitor_tell(&s->queue);
    }
    tr_monitor_leave(&s->queue);
    return false;
}

/* ---- writing ---- */

enum tr_rc tr_store_submit(struct tr_store *s, struct tr_group *g, struct tr_err *err)
{
    enum tr_rc rc = store_not_ready(s, err);

    if (rc != TR_OK)
        return rc;
    g->next = NULL;
    tr_monitor_enter(&s->queue);
    if (s->closing) {
        rc = tr_fail(err, TR_TRANSIENT, "store.not_ready", NULL, "the store is closing");
    } else if (s->queued_bytes > 0 && s->queued_bytes + g->rows.n > s->options.queue_bytes) {
        rc = tr_fail(err, TR_THROTTLED, "store.busy", NULL, "%zu bytes wait for the writer",
                     s->queued_bytes);
    } else {
        s->queued_bytes += g->rows.n;
        if (s->last == NULL)
            s->first = g;
        else
            s->last->next = g;
        s->last = g;
        tr_monitor_tell(&s->queue);
    }
    tr_monitor_leave(&s->queue);
    return rc;
}

/* ---- looking inside ---- */

int64_t tr_store_floor(struct tr_store *s)
{
    return atomic_load(&s->floor); /* nothing raises it yet */
}

uint32_t tr_store_epoch(struct tr_store *s)
{
    return s->epoch;
}

/* Whether events can be written: by what the writer met last, and by the room on the disk, since a
 * server that is not ready is sent no events that would tell. */
static void writes(struct tr_store *s, struct tr_store_status *ret)
{
    uint64_t room = 0;
    struct tr_err err = { 0 };

    tr_monitor_enter(&s->queue);
    bool failed =
        s->write_trouble[0] != '\0' && tr_clock_boot_us() - s->write_failed_at < WRITE_DOUBT_US;
    if (failed)
        (void)memccpy(ret->trouble, s->write_trouble, '\0', sizeof(ret->trouble));
    tr_monitor_leave(&s->queue);
    if (tr_file_free_bytes(s->dir, &room, &err) == TR_OK && room < s->options.min_free_bytes) {
        ret->not_ready_why = "the disk that holds the data folder is full: events are refused";
        ret->not_ready_hint = "free space on it; --min-free says how much is kept free";
        if (!failed)
            (void)snprintf(ret->trouble, sizeof(ret->trouble),
                           "%llu MiB are free, and %llu MiB are kept free",
                           (unsigned long long)room >> 20,
                           (unsigned long long)s->options.min_free_bytes >> 20);
    } else if (failed) {
        ret->not_ready_why = "events cannot be written";
        ret->not_ready_hint = "the server's log says why";
    }
    ret->ready = ret->not_ready_why == NULL;
}

void tr_store_status(struct tr_store *s, struct tr_store_status *ret)
{
    struct derived_position derived;
    struct dedup_status dedup;
    struct journal_position journal;

    (void)store_clock(s);
    derived_position(&s->derived, &derived);
    dedup_status(&s->dedup, &dedup);
    journal_position(&s->journal, &journal);
    int doubt = atomic_load(&s->doubt);
    *ret = (struct tr_store_status){
        .ready = doubt == INCLOCK_SURE,
        .not_ready_why = doubts[doubt],
        .not_ready_hint = doubt == INCLOCK_SURE ? NULL : DOUBT_HINT,
        .closed_through = atomic_load(&s->closed_through),
        .applied_through = derived.applied_through,
        .sealed_through = atomic_load(&s->sealed_through),
        .floor = tr_store_floor(s),
        .journal_bytes = journal.bytes,
        .dedup_entries = dedup.entries + atomic_load(&s->table_entries),
        .dedup_runs = dedup.runs,
    };
    (void)pthread_mutex_lock(&s->tally_lock);
    ret->last_event_at = s->tally.last_event_at;
    ret->events = s->tally.sealed_events + (uint64_t)s->tally.unsealed_events;
    ret->blocks = s->tally.blocks;
    ret->block_bytes = s->tally.block_bytes;
    (void)pthread_mutex_unlock(&s->tally_lock);
    tr_monitor_enter(&s->queue);
    ret->queue_bytes = s->queued_bytes;
    tr_monitor_leave(&s->queue);
    if (ret->ready)
        writes(s, ret);
    tr_gauge_set(&is_ready, ret->ready);
    worker_trouble(&s->keeper, ret->trouble, sizeof(ret->trouble));
    worker_trouble(&s->applier, ret->trouble, sizeof(ret->trouble));
    worker_trouble(&s->sealer, ret->trouble, sizeof(ret->trouble));
}

enum tr_rc store_apply(struct tr_store *s, struct tr_err *err)
{
    uint64_t before = atomic_load(&s->derived.applied_bytes);
    enum tr_rc rc = derived_catch_up(&s->derived, err);
    int64_t now = tr_clock_boot_us();

    if (atomic_load(&s->derived.applied_bytes) - before >= APPLY_BUSY_BYTES)
        s->apply_busy_until = now + APPLY_BUSY_US;
    s->applier.nap_us = now < s->apply_busy_until ? APPLY_NAP_US : WORKER_NAP_US;
    return rc;
}

enum tr_rc tr_store_counts(struct tr_store *s, int32_t project, struct tr_range range,
                           struct tr_counts *ret, struct tr_err *err)
{
    return derived_counts(&s->derived, project, range, ret, err);
}
