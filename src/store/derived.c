#include "store/derived.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "model/event.h"
#include "os/clock.h"
#include "os/kill.h"

enum {
    SLICE_BYTES = 4 << 20,         /* of journal applied before others get the lock */
    COMMIT_BYTES = 1 << 30,        /* of journal that a start may have to apply again */
    MANY_EVENTS = 4 * AHEAD_STEPS, /* of a record: worth another thread */
    IDLE_BYTES = 1 << 20, /* that wait when nothing has come in for IDLE_US: they are committed
                             now rather than in the way of what comes next */
    IDLE_US = 2 * 1000 * 1000,
    IDLE_RECORDS = 4096, /* that change nothing, after which the position is written all the same */
};

static const char *const steps[] = {
    "CREATE TABLE applied(name TEXT PRIMARY KEY, seq INTEGER NOT NULL,"
    " through INTEGER NOT NULL) WITHOUT ROWID;" COUNTS_SCHEMA,
    "UPDATE applied SET name = 'journal' WHERE name = 'counts';"
    "INSERT INTO applied SELECT 'asof', seq, through FROM applied;" STATE_SCHEMA,
};
enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

/* ---- saving ---- */

/* What a save has come to: at once, or when it ends. */
static enum tr_rc heed_save(struct derived *d, bool wait, struct tr_err *err)
{
    int64_t began = tr_clock_boot_us();
    bool ended = false;

    if (!d->save.active)
        return TR_OK;
    atomic_store(&d->waiting, wait);
    enum tr_rc rc = save_end(&d->save, wait, DERIVED_NICENESS, &ended, err);
    atomic_store(&d->waiting, false);
    if (!ended)
        return TR_OK;
    if (wait) {
        int64_t now = tr_clock_boot_us();
        atomic_store(&d->waited_us, now - began);
        atomic_store(&d->wait_ended, now);
    }
    state_saved(d->state);
    if (rc != TR_OK)
        return rc;
    d->in_transaction = false;
    atomic_store(&d->durable_seq, d->save_seq);
    d->durable_through = d->save_through;
    atomic_store(&d->visible_through, d->save_through);
    return TR_OK;
}

static enum tr_rc begin(struct derived *d, struct tr_err *err)
{
    if (d->in_transaction)
        return TR_OK;
    enum tr_rc rc = store_sql_exec(d->db, "BEGIN IMMEDIATE", err);
    d->in_transaction = rc == TR_OK;
    return rc;
}

/* For who changes state.db. */
static enum tr_rc ready(void *derived, struct tr_err *err)
{
    struct derived *d = derived;
    enum tr_rc rc = heed_save(d, true, err);

    return rc == TR_OK ? begin(d, err) : rc;
}

/* Back to what is in state.db for good: the journal is applied again from there. */
static void reset(struct derived *d)
{
    struct tr_err ignored;

    (void)!heed_save(d, true, &ignored);
    state_forget(d->state);
    if (sqlite3_get_autocommit(d->db) == 0)
        (void)sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
    d->in_transaction = false;
    counts_forget(d->counts);
    journal_cursor_fini(&d->cursor);
    d->applied_seq = atomic_load(&d->durable_seq);
    d->through = d->durable_through;
    d->bytes = 0;
    asof_reset(d->asof, d->applied_seq);
    atomic_store(&d->applied_through, d->through);
}

/* After a save that failed, nothing stands that was applied since it began. */
static enum tr_rc heed_or_reset(struct derived *d, bool wait, struct tr_err *err)
{
    enum tr_rc rc = heed_save(d, wait, err);

    if (rc != TR_OK)
        reset(d);
    return rc;
}

static enum tr_rc write_position(struct derived *d, struct tr_err *err)
{
    enum tr_rc rc = ready(d, err);

    if (rc == TR_OK)
        rc = counts_write(d->counts, err);
    if (rc == TR_OK)
        rc = state_write_warnings(d->state, err);
    if (rc != TR_OK)
        return rc;
    counts_forget(d->counts);
    (void)sqlite3_bind_int64(d->set_applied, 1, (int64_t)d->applied_seq);
    (void)sqlite3_bind_int64(d->set_applied, 2, d->through);
    return store_sql_run(d->set_applied, err);
}

/* All that was applied, from here on on its way into state.db. */
static enum tr_rc start_save(struct derived *d, struct tr_err *err)
{
    enum tr_rc rc = write_position(d, err);

    if (rc == TR_OK)
        rc = state_copy(d->state, &d->save.images[0], &d->save.images[1], err);
    if (rc != TR_OK) {
        reset(d);
        return rc;
    }
    d->save.asof = d->asof;
    d->save_seq = d->applied_seq;
    d->save_through = d->through;
    d->saved_at = tr_clock_boot_us();
    d->bytes = 0;
    save_start(&d->save);
    return TR_OK;
}

static enum tr_rc save_and_wait(struct derived *d, struct tr_err *err)
{
    enum tr_rc rc = start_save(d, err);

    return rc == TR_OK ? heed_or_reset(d, true, err) : rc;
}

/* ---- opening ---- */

static enum tr_rc open_db(struct derived *d, size_t cache_bytes, struct tr_err *err)
{
    int64_t seq = 0;
    int64_t asof_from = 0;
    enum tr_rc rc = store_sql_open(d->path, true, &d->db, err);

    if (rc == TR_OK)
        rc = store_sql_exec(d->db,
                            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;"
                            "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;"
                            "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864",
                            err);
    if (rc == TR_OK)
        rc = store_sql_schema(d->db, "state.db", steps, STEPS, err);
    if (rc == TR_OK)
        rc = store_sql_int64(d->db, "SELECT seq FROM applied WHERE name = 'journal'", 0, &seq, err);
    if (rc == TR_OK)
        rc = store_sql_int64(d->db, "SELECT through FROM applied WHERE name = 'journal'", 0,
                             &d->through, err);
    if (rc == TR_OK)
        rc = store_sql_int64(d->db, "SELECT seq FROM applied WHERE name = 'asof'", 0, &asof_from,
                             err);
    if (rc == TR_OK)
        rc = store_sql_prepare(d->db, "REPLACE INTO applied VALUES('journal', ?, ?)",
                               &d->set_applied, err);
    if (rc == TR_OK)
        rc = counts_new(d->db, &d->counts, err);
    if (rc == TR_OK)
        rc = state_new(&(struct state_db){ d->db, &d->save.turns, ready, d }, cache_bytes,
                       &d->state, err);
    if (rc == TR_OK)
        rc = store_sql_open(d->path, true, &d->checkpointer, err);
    if (rc != TR_OK)
        return rc;
    save_init(&d->save, d->db);
    d->applied_seq = (uint64_t)seq;
    d->asof_from = (uint64_t)asof_from;
    return TR_OK;
}

enum tr_rc derived_open(struct derived *d, const char *path, size_t cache_bytes, int64_t commit_us,
                        struct tr_err *err)
{
    *d = (struct derived){ .dirty_most = cache_bytes / 8 * 5, .commit_us = commit_us };
    turns_init(&d->lock);
    turns_init(&d->save.turns);
    ahead_init(&d->ahead, DERIVED_NICENESS);
    tr_buf_init(&d->prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    tr_buf_init(&d->events, (size_t)RECORD_EVENT + RECORD_BYTES);
    d->path = strdup(path);
    if (d->path == NULL ? tr_fail_oom(err) != TR_OK : open_db(d, cache_bytes, err) != TR_OK) {
        derived_close(d);
        return tr_wrap(err, "state.db");
    }
    d->saved_at = tr_clock_boot_us();
    atomic_init(&d->durable_seq, d->applied_seq);
    d->durable_through = d->through;
    atomic_init(&d->visible_through, d->through);
    atomic_init(&d->applied_through, d->through);
    return TR_OK;
}

void derived_close(struct derived *d)
{
    save_fini(&d->save);
    ahead_fini(&d->ahead);
    journal_cursor_fini(&d->cursor);
    counts_free(d->counts);
    state_free(d->state);
    (void)sqlite3_finalize(d->set_applied);
    (void)sqlite3_close(d->checkpointer);
    (void)sqlite3_close(d->db);
    tr_buf_fini(&d->prefix);
    tr_buf_fini(&d->events);
    free(d->path);
    turns_fini(&d->lock);
    *d = (struct derived){ 0 };
}

void derived_attach(struct derived *d, struct journal *j, struct asof *a)
{
    d->journal = j;
    d->asof = a;
}

enum tr_rc derived_checkpoint(struct derived *d, struct tr_err *err)
{
    int code =
        sqlite3_wal_checkpoint_v2(d->checkpointer, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return TR_OK;
    (void)store_sql_fail(d->checkpointer, err);
    return tr_wrap(err, "state.db");
}

/* ---- applying ---- */

/* While one part is applied, the next ones are read. */
static enum tr_rc apply_many(struct derived *d, const struct record_head *h, struct tr_err *err)
{
    struct ahead_part *part = NULL;
    enum tr_rc rc = ahead_start(&d->ahead, &d->cursor, h, err);

    if (rc != TR_OK)
        return rc;
    while ((rc = ahead_take(&d->ahead, &part, err)) == TR_OK && part != NULL) {
        rc = state_steps(d->state, part->steps, part->n, d->asof, err);
        if (rc != TR_OK)
            break;
        ahead_give_back(&d->ahead);
    }
    ahead_stop(&d->ahead);
    return rc == TR_OK ? asof_end(d->asof, h->seq, err) : rc;
}

static enum tr_rc apply_events(struct derived *d, const struct record_head *h, struct tr_err *err)
{
    enum tr_rc rc = d->save.active ? TR_OK : begin(d, err);

    if (rc == TR_OK && h->type == RECORD_GROUP && h->events >= MANY_EVENTS)
        return apply_many(d, h, err);

    tr_buf_clear(&d->events);
    if (rc == TR_OK)
        rc = journal_events(&d->cursor, h, &d->events, err);
    if (rc == TR_OK && h->type == RECORD_COMMAND)
        return state_command(d->state, tr_buf_view(&d->events), err);
    if (rc == TR_OK)
        rc = state_events(d->state, tr_buf_view(&d->events), d->asof, err);
    return rc == TR_OK ? asof_end(d->asof, h->seq, err) : rc;
}

/* The next record; *ret_any is false when there is none. */
static enum tr_rc apply_record(struct derived *d, bool *ret_any, bool *ret_full, struct tr_err *err)
{
    struct record_head h;
    enum journal_step step;

    *ret_any = false;
    if (journal_next(&d->cursor, &d->prefix, &step, err) != TR_OK)
        return err->rc;
    if (step == JOURNAL_DROPPED)
        return tr_fail(err, TR_INTERNAL, "store.gap", NULL,
                       "the record behind %llu went from the journal before it was applied",
                       (unsigned long long)d->applied_seq);
    if (step == JOURNAL_END)
        return TR_OK;
    memcpy(&h, d->prefix.p, sizeof(h));
    const void *counters = d->prefix.p + sizeof(h);
    if (counts_record(d->counts, &h, counters, ret_full, err) != TR_OK)
        return err->rc;
    if (h.events > 0 && apply_events(d, &h, err) != TR_OK)
        return tr_wrap(err, "apply journal record %llu", (unsigned long long)h.seq);
    d->applied_seq = h.seq;
    d->through = h.last_stamp + 1;
    d->bytes += record_size(&h);
    (void)atomic_fetch_add(&d->applied_bytes, record_size(&h));
    *ret_any = true;
    return TR_OK;
}

/* Something is not in state.db yet besides the position. */
static bool has_news(const struct derived *d)
{
    return d->in_transaction || counts_gathered(d->counts) || state_has_warnings(d->state) ||
           state_dirty_bytes(d->state) > 0;
}

static bool save_is_due(const struct derived *d, bool counts_full)
{
    if (d->save.active)
        return false;
    if (!has_news(d))
        return d->applied_seq - atomic_load(&d->durable_seq) >= IDLE_RECORDS;
    int64_t now = tr_clock_boot_us();
    size_t dirty = state_dirty_bytes(d->state);
    return counts_full || dirty >= d->dirty_most || d->bytes >= COMMIT_BYTES ||
           now - d->saved_at >= d->commit_us ||
           (dirty >= IDLE_BYTES && now - d->applied_at >= IDLE_US);
}

/* Some records, so that others get the lock now and then. */
static enum tr_rc apply_slice(struct derived *d, bool *ret_more, struct tr_err *err)
{
    uint64_t until = d->bytes + SLICE_BYTES;
    bool any = true;
    bool full = false;
    enum tr_rc rc = heed_or_reset(d, false, err);

    if (rc != TR_OK)
        return rc;
    if (d->cursor.segment == NULL && !journal_seek(d->journal, d->applied_seq + 1, &d->cursor))
        return tr_fail(err, TR_INTERNAL, "store.gap", NULL,
                       "record %llu is gone from the journal before it was applied",
                       (unsigned long long)d->applied_seq + 1);
    while (rc == TR_OK && any && !full && d->bytes < until)
        rc = apply_record(d, &any, &full, err);
    /* What was undone under a look-up must not be told to anybody. */
    if (rc == TR_OK && d->save.active && atomic_load(&d->save.failed))
        rc = heed_save(d, true, err);
    if (rc == TR_OK)
        rc = asof_flush(d->asof, d->applied_seq, err);
    if (rc != TR_OK) {
        reset(d);
        return rc;
    }
    atomic_store(&d->applied_through, d->through);
    d->applied_at = tr_clock_boot_us();
    *ret_more = any;
    return save_is_due(d, full) ? start_save(d, err) : TR_OK;
}

static enum tr_rc catch_up(struct derived *d, struct tr_err *err)
{
    struct journal_position end;
    bool more = true;
    enum tr_rc rc = TR_OK;

    journal_position(d->journal, &end);
    while (rc == TR_OK && more && d->applied_seq < end.last_seq)
        rc = apply_slice(d, &more, err);
    return rc;
}

/* The lock is given away between slices. */
enum tr_rc derived_catch_up(struct derived *d, struct tr_err *err)
{
    struct journal_position end;
    bool more = true;
    enum tr_rc rc = TR_OK;

    journal_position(d->journal, &end);
    while (rc == TR_OK && more) {
        turns_take(&d->lock);
        more = d->applied_seq < end.last_seq;
        if (more)
            rc = apply_slice(d, &more, err);
        else
            rc = heed_or_reset(d, false, err);
        if (rc == TR_OK && !more && save_is_due(d, false))
            rc = start_save(d, err);
        turns_give(&d->lock);
    }
    return rc == TR_OK ? TR_OK : tr_wrap(err, "state.db");
}

enum tr_rc derived_commit_through(struct derived *d, int64_t t, struct tr_err *err)
{
    if (t <= atomic_load(&d->visible_through))
        return TR_OK;
    if (derived_catch_up(d, err) != TR_OK)
        return err->rc;
    turns_take(&d->lock);
    enum tr_rc rc = t <= atomic_load(&d->visible_through) ? TR_OK : catch_up(d, err);
    if (rc == TR_OK)
        rc = heed_or_reset(d, true, err);
    if (rc == TR_OK && t > atomic_load(&d->visible_through) && has_news(d))
        rc = save_and_wait(d, err);
    /* Where more was applied than is committed, what is committed says how far one sees. */
    if (rc == TR_OK && !has_news(d) && d->through > atomic_load(&d->visible_through))
        atomic_store(&d->visible_through, d->through);
    turns_give(&d->lock);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "state.db");
}

enum tr_rc derived_counts(struct derived *d, int32_t project, struct tr_range range,
                          struct tr_counts *ret, struct tr_err *err)
{
    if (derived_catch_up(d, err) != TR_OK)
        return err->rc;
    turns_take(&d->lock);
    enum tr_rc rc = ready(d, err);
    if (rc == TR_OK && counts_gathered(d->counts))
        rc = counts_write(d->counts, err);
    if (rc == TR_OK) {
        counts_forget(d->counts);
        rc = counts_sum(d->counts, project, range, ret, err);
    } else {
        reset(d);
    }
    turns_give(&d->lock);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "state.db");
}

enum tr_rc derived_use(struct derived *d,
                       enum tr_rc (*use)(struct state *, void *, struct tr_err *), void *arg,
                       struct tr_err *err)
{
    if (derived_catch_up(d, err) != TR_OK)
        return err->rc;
    turns_take(&d->lock);
    enum tr_rc rc = use(d->state, arg, err);
    if (rc != TR_OK)
        reset(d);
    turns_give(&d->lock);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "state.db");
}

void derived_position(struct derived *d, struct derived_position *ret)
{
    *ret = (struct derived_position){
        .durable_seq = atomic_load(&d->durable_seq),
        .applied_through = atomic_load(&d->applied_through),
        .waiting = atomic_load(&d->waiting),
        .waited_us = atomic_load(&d->waited_us),
        .wait_ended = atomic_load(&d->wait_ended),
    };
}
