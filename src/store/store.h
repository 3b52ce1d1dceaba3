/* The embedded event store: the journal that makes a 200 true, and everything derived from it.
 *
 *   submit -> writer thread: exact deduplication, inserted_at, append, one fdatasync -> done()
 *   journal -> applier thread: counts, persons, sessions, groups (state.db, applied_through)
 *           -> keeper thread: deduplication runs
 *           -> sealer thread: sealed zstd blocks (blocks.db)
 *   a journal segment goes when all three are past it
 *   read: blocks, then the part of the journal that is not sealed yet
 *
 * The journal is the only thing synced before done(). All else is derived, applied lazily in its
 * own transactions with the journal position it holds, and replayed on start. Thread-safe unless
 * said otherwise. docs/store.md describes the files.
 */
#ifndef TR_STORE_STORE_H
#define TR_STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "model/batch.h"
#include "model/ctx.h"
#include "model/range.h"

struct tr_store;

struct tr_store_options {
    const char *dir;          /* made when absent */
    size_t queue_bytes;       /* packed events waiting for the writer; default 32 MiB */
    size_t segment_bytes;     /* a journal file; default 64 MiB */
    size_t seal_bytes;        /* unsealed journal that starts a sealing; default 16 MiB */
    int64_t seal_age_us;      /* or this age of the oldest unsealed event; default 10 min */
    size_t block_bytes;       /* raw bytes of a block; default 1 MiB */
    int64_t dedup_age_us;     /* a re-send is recognised for at least this long; default 7 days */
    uint64_t dedup_events;    /* or for at least this many later events; default 20 million */
    size_t state_cache_bytes; /* persons, distinct ids and sessions in memory */
    int64_t state_commit_us;  /* what is derived is written after this time at the latest */
    uint64_t min_free_bytes;  /* below this much free disk events are refused; default 64 MiB */
    int64_t
        max_clock_jump_us; /* a wall clock that steps further makes it not ready; default 5 min */
    bool accept_clock;     /* a person says that the wall clock is right as it is now */
    /* A thread of the store is in trouble (it tries again), or out of it; NULL: nobody is told. */
    void (*say)(const char *level, const char *text);
};

void tr_store_options_default(struct tr_store_options *o);

/* Recovers from whatever the last process left: a torn tail is cut, anything else that is damaged
 * refuses to open (TR_REFUSED "store.damaged", names file and offset). A newer format refuses too.
 */
TR_MUST_USE enum tr_rc tr_store_open(const struct tr_store_options *o, struct tr_store **ret,
                                     struct tr_err *err);
/* Writes what was submitted, stops the threads. */
void tr_store_close(struct tr_store *s);

/* ---- writing ---- */

enum tr_outcome {
    TR_EVENT_STORED,
    TR_EVENT_DUPLICATE, /* this uuid was stored before, with the same event and distinct_id */
    TR_EVENT_CONFLICT,  /* other events have its uuid and all that is made of it: dropped */
};

struct tr_group_event {
    uint32_t at;      /* where its packed form begins in rows */
    uint32_t outcome; /* enum tr_outcome, set by the writer */
};

/* Refused events of a project, counted in the journal with the group that comes next. */
struct tr_group_refused {
    int32_t project;
    uint32_t events;
};

/* The events of one turn of a loop. The submitter owns it; the store holds it from submit to done.
 */
struct tr_group {
    struct tr_group *next;         /* the store's */
    struct tr_buf rows;            /* packed events, back to back (inserted_at is written here) */
    struct tr_group_event *events; /* n_events, in order */
    size_t n_events;
    struct tr_group_refused *refused;
    size_t n_refused;
    bool command;        /* rows hold one event that no client sent: it is applied, never read */
    int64_t received_at; /* the writer's clock when it was stored */
    /* Called once on the writer's thread, after the sync, or with why not (no event of the group is
     * stored then): TR_THROTTLED "store.full" and the like. Must not block. */
    void (*done)(struct tr_group *, enum tr_rc rc, const struct tr_err *err);
    void *owner;
};

/* Queues a group. TR_THROTTLED "store.busy" when the queue is full (try again soon; a group larger
 * than the whole queue is taken when the queue is empty); TR_TRANSIENT "store.not_ready". */
TR_MUST_USE enum tr_rc tr_store_submit(struct tr_store *s, struct tr_group *g, struct tr_err *err);

/* ---- the ingestion clock ---- */

/* Every event with inserted_at below this is stored and visible to readers; none will be added. */
int64_t tr_store_closed_through(struct tr_store *s);

/* Asks that the clock be closed through t, also when nothing arrives (a durable fence). Does not
 * wait: true when it is closed already. A t in the future closes nothing. */
bool tr_store_close_through(struct tr_store *s, int64_t t);

/* The store's own now: what the next event would get at least. */
int64_t tr_store_now(struct tr_store *s);

/* ---- reading ---- */

struct tr_counts {
    uint64_t stored, duplicates, conflicts,
        refused; /* accepted = stored + duplicates + conflicts */
};

/* Counts of a project by the minute of ingestion, whole minutes that meet the range; from state.db,
 * kept for ever, independent of blocks. Everything below closed_through is in them. */
TR_MUST_USE enum tr_rc tr_store_counts(struct tr_store *s, int32_t project, struct tr_range range,
                                       struct tr_counts *ret, struct tr_err *err);

/* Cuts a closed range into chunks of about max_rows events and max_bytes packed bytes, on the
 * events' own instants: the parts cover the range without gap. Deterministic for a given store and
 * range. At least one part; up to cap of them (the last one takes the rest up to what was covered;
 * *ret_covered_hi says how far). */
struct tr_part {
    struct tr_range range;
    uint64_t rows, bytes; /* of the project, before filters; rows is exact, bytes about */
};
TR_MUST_USE enum tr_rc tr_store_plan(struct tr_store *s, int32_t project, struct tr_range range,
                                     uint64_t max_rows, uint64_t max_bytes, struct tr_part *ret,
                                     size_t cap, size_t *ret_n, int64_t *ret_covered_hi,
                                     struct tr_err *err);

/* The first instant that is still held (retention floor), and the first and last event of a project
 * in a range (false: none). */
int64_t tr_store_floor(struct tr_store *s);
TR_MUST_USE enum tr_rc tr_store_extent(struct tr_store *s, int32_t project, struct tr_range range,
                                       bool *ret_any, int64_t *ret_first, int64_t *ret_last,
                                       struct tr_err *err);

/* Reads a project's events of a closed range in order of inserted_at. One reader belongs to one
 * thread; memory is bounded by a block. A range that is not closed, or that begins below the floor,
 * is TR_INVALID ("store.not_closed", "store.below_floor"). */
struct tr_store_reader;
TR_MUST_USE enum tr_rc tr_store_read(struct tr_store *s, int32_t project, struct tr_range range,
                                     tr_column_mask columns, struct tr_store_reader **ret,
                                     struct tr_err *err);
/* The next batch, or NULL at the end. */
TR_MUST_USE enum tr_rc tr_store_next(struct tr_store_reader *r, struct tr_batch **ret,
                                     struct tr_err *err);
void tr_store_read_close(struct tr_store_reader *r);

/* ---- persons, sessions, groups ---- */

/* Rows of a mutable model (model/column.h) by the instant of their last change, in their newest
 * state, in short transactions: a row that changes while it is read is in a later range by then. A
 * range that is not closed is TR_INVALID "store.not_closed". One reader belongs to one thread;
 * memory is bounded by a batch. */
struct tr_store_rows;
TR_MUST_USE enum tr_rc tr_store_rows_read(struct tr_store *s, const struct tr_schema *schema,
                                          int32_t project, struct tr_range range,
                                          tr_column_mask columns, struct tr_store_rows **ret,
                                          struct tr_err *err);
/* The next batch, or NULL at the end. */
TR_MUST_USE enum tr_rc tr_store_rows_next(struct tr_store_rows *r, struct tr_batch **ret,
                                          struct tr_err *err);
void tr_store_rows_close(struct tr_store_rows *r);

/* Like tr_store_plan and tr_store_extent. rows is what is there now; it can only fall. */
TR_MUST_USE enum tr_rc tr_store_rows_plan(struct tr_store *s, const struct tr_schema *schema,
                                          int32_t project, struct tr_range range, uint64_t max_rows,
                                          struct tr_part *ret, size_t cap, size_t *ret_n,
                                          int64_t *ret_covered_hi, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_store_rows_extent(struct tr_store *s, const struct tr_schema *schema,
                                            int32_t project, struct tr_range range, bool *ret_any,
                                            int64_t *ret_first, int64_t *ret_last,
                                            struct tr_err *err);

/* One person as it is now. */
struct tr_store_person {
    struct tr_uuid id;
    int64_t created_at, version, changed_at;
    bool is_identified, is_deleted;
    struct tr_buf properties;   /* tr_buf_fini it */
    struct tr_buf distinct_ids; /* a JSON array of texts, the first thousand; tr_buf_fini it */
};
/* By its id, or (id NULL) by one of its distinct ids. */
TR_MUST_USE enum tr_rc tr_store_person_get(struct tr_store *s, int32_t project,
                                           const struct tr_uuid *id, struct tr_str distinct_id,
                                           struct tr_store_person *ret, bool *ret_found,
                                           struct tr_err *err);
/* Deletes a person, and its hold of its distinct ids or not; durable when it returns TR_OK, seen by
 * everybody soon after. Waits for the writer. A person who is not there is none of its business. */
TR_MUST_USE enum tr_rc tr_store_person_delete(struct tr_store *s, int32_t project,
                                              const struct tr_uuid *id, bool distinct_ids,
                                              struct tr_err *err);

/* What was wrong with events that were taken all the same, newest day first. */
struct tr_store_warning {
    const char *type;               /* "cannot_merge_already_identified" */
    int64_t day, first_at, last_at; /* day: its first instant, UTC */
    uint64_t n;
    struct tr_str distinct_id, other; /* of the last one */
};
TR_MUST_USE enum tr_rc tr_store_warnings(struct tr_store *s, int32_t project, int limit,
                                         bool (*each)(void *, const struct tr_store_warning *),
                                         void *arg, struct tr_err *err);

/* ---- looking inside ---- */

struct tr_store_status {
    bool ready;
    const char *not_ready_why; /* static text, or NULL */
    const char *not_ready_hint;
    int64_t closed_through, applied_through, sealed_through, floor, last_event_at;
    uint64_t events, blocks, journal_bytes, block_bytes, dedup_entries, dedup_runs, queue_bytes;
    /* Why the writer, keeper, applier or sealer failed last (it tries again); empty: none did. Not
     * for everybody: it may name files. */
    char trouble[256];
};
void tr_store_status(struct tr_store *s, struct tr_store_status *ret);

uint32_t tr_store_epoch(struct tr_store *s);

/* Offline, read-only, on a folder that no server uses; one JSON object (jansson text) into out:
 * files, formats, positions, counts. check also reads every record and block, verifies CRCs, order,
 * counts against blocks and journal, and lists problems under "problems". TR_OK whatever it found.
 */
TR_MUST_USE enum tr_rc tr_store_stat(const char *dir, struct tr_buf *out, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_store_check(const char *dir, struct tr_buf *out, bool *ret_sound,
                                      struct tr_err *err);

#endif
