/* What the program must remember besides events: the port. Verbs, not SQL. Adapter: sqlite/.
 *
 * Every verb is one transaction, durable when it returns TR_OK. Thread-safe. Names of things that
 * are not there give TR_INVALID "meta.not_found". Lists go through callbacks that return false to
 * stop. A verb that takes a fence gives TR_CANCELLED "meta.lost_claim" when the run was claimed by
 * another worker since: the caller must stop without touching the run.
 */
#ifndef TR_META_META_H
#define TR_META_META_H

#include "base/buf.h"
#include "model/export.h"
#include "model/run.h"

struct tr_project {
    int32_t id;
    char name[128];
    char capture_token[65];
    int64_t created_at;
};

struct tr_log_line {
    int64_t at;
    char level[8];                    /* "info", "warn", "error" */
    struct tr_uuid export_id, run_id; /* run_id may be nil */
    char text[1024];
};

struct tr_reject {
    struct tr_uuid run_id, uuid;
    int64_t inserted_at;
    char reason[256];
};

struct tr_run_query {
    struct tr_uuid export_id;
    bool has_backfill;
    struct tr_uuid backfill_id;
    uint32_t states;          /* bit per enum tr_run_state; 0: all */
    struct tr_range created;  /* {0,0}: all */
    struct tr_range interval; /* runs whose interval meets it; {0,0}: all */
    bool by_interval;         /* newest interval first; otherwise newest created first */
    struct tr_uuid after;     /* continue behind this run (nil: from the start) */
    int limit;
};

/* A row of an export as it is kept. Views are valid during the callback; those of export_get point
 * into buf, which the caller frees (tr_buf_fini). */
struct tr_export_row {
    struct tr_uuid id;
    int32_t project;
    bool paused, deleted;
    uint64_t target, version;
    int64_t created_at, updated_at, last_paused_at;
    struct tr_str body, sealed, target_text;
    struct tr_buf buf;
};

/* What an export has still to do, from its open and failed runs alone: however many have ended well
 * does not matter. */
struct tr_backlog {
    uint64_t open, failed;        /* runs, of backfills too */
    uint64_t scheduled;           /* open runs that are of no backfill, and of them: */
    int64_t oldest_lo, oldest_hi; /* the earliest begin and end; INT64_MAX: none */
};

/* What runs came to that are folded: of one UTC day, by the begin of their intervals. */
struct tr_day {
    int64_t day; /* its begin */
    uint64_t runs;
    struct tr_account account;
};

struct tr_delivered {
    struct tr_range range;
    struct tr_range chunk; /* the bounds in the key it was delivered under; range is what later
                              replacements have left of it */
    struct tr_uuid run_id;
    uint32_t generation;
    bool is_empty; /* nothing was sent for it: there is no chunk at the destination */
    uint32_t
        epoch; /* under which it was sent: the place in epoch_list, from 1; 0: the store's own */
};

/* What is told from began_at on has keys of its own. */
struct tr_epoch {
    uint32_t epoch;
    int64_t began_at; /* on the source's clock */
};

/* A chunk that an ended run sent, or finished without publishing it, and that nobody has settled.
 */
struct tr_orphan {
    struct tr_uuid run_id; /* whose it is */
    struct tr_range interval;
    uint32_t generation;
    bool is_live; /* of that run: the ways of sending differ, and so do those of looking up */
    struct tr_chunk chunk;
};

/* Which due runs a worker may have. An export is doubtful until an attempt at one of its runs has
 * ended well, and again from an attempt that failed until one ends well. */
enum tr_claim {
    TR_CLAIM_ALL = 0, /* that are not in real time */
    TR_CLAIM_LIVE = 1 << 0,
    TR_CLAIM_NO_SOUND = 1 << 1,
    TR_CLAIM_NO_DOUBTFUL = 1 << 2,
    TR_CLAIM_NO_BACKFILL = 1 << 3,
};

struct tr_meta {
    const struct tr_meta_ops *ops;
};

struct tr_meta_ops {
    const char *name;
    void (*close)(struct tr_meta *);

    /* installation and organization ids, made on the first call */
    TR_MUST_USE enum tr_rc (*identity)(struct tr_meta *, struct tr_uuid *ret_installation,
                                       struct tr_uuid *ret_organization, struct tr_err *);

    /* The folder was restored from a backup, and nobody knows what was sent since that was made: a
     * new epoch begins. What runs have sent and not heard of becomes unsent. */
    TR_MUST_USE enum tr_rc (*epoch_begin)(struct tr_meta *, uint32_t epoch, int64_t now,
                                          struct tr_err *);
    /* By their beginning; caller frees. None: the store's own is the only one. */
    TR_MUST_USE enum tr_rc (*epoch_list)(struct tr_meta *, struct tr_epoch **ret, size_t *ret_n,
                                         struct tr_err *);

    /* ---- tokens of the API: only their SHA-256 is kept ---- */
    TR_MUST_USE enum tr_rc (*token_add)(struct tr_meta *, const uint8_t sha256[32],
                                        const char *label, struct tr_err *);
    TR_MUST_USE enum tr_rc (*token_known)(struct tr_meta *, const uint8_t sha256[32], bool *ret,
                                          struct tr_err *);
    TR_MUST_USE enum tr_rc (*token_any)(struct tr_meta *, bool *ret, struct tr_err *);

    /* ---- projects ---- */
    /* TR_REFUSED "meta.token_in_use" when another project has the capture token. */
    TR_MUST_USE enum tr_rc (*project_create)(struct tr_meta *, const char *name,
                                             const char *capture_token, struct tr_project *ret,
                                             struct tr_err *);
    TR_MUST_USE enum tr_rc (*project_get)(struct tr_meta *, int32_t id, struct tr_project *ret,
                                          struct tr_err *);
    TR_MUST_USE enum tr_rc (*project_list)(struct tr_meta *,
                                           bool (*each)(void *, const struct tr_project *),
                                           void *arg, struct tr_err *);

    /* ---- exports: the body as JSON text (public part) and the sealed secrets as opaque bytes ----
     */
    /* create fills id (when nil), version and the instants. update writes body, sealed, target and
     * target_text, raises version, and leaves paused alone (export_pause is the only way to change
     * it); with e->version not 0 it is TR_REFUSED "meta.changed" when that is not the present one.
     */
    TR_MUST_USE enum tr_rc (*export_create)(struct tr_meta *, struct tr_export *e,
                                            struct tr_str body, struct tr_str sealed,
                                            struct tr_err *);
    TR_MUST_USE enum tr_rc (*export_update)(struct tr_meta *, struct tr_export *e,
                                            struct tr_str body, struct tr_str sealed,
                                            struct tr_err *);
    /* body and sealed are filled; deleted exports are found too. */
    TR_MUST_USE enum tr_rc (*export_get)(struct tr_meta *, const struct tr_uuid *id,
                                         struct tr_export_row *ret, struct tr_err *);
    /* By creation, without deleted ones. */
    TR_MUST_USE enum tr_rc (*export_list)(struct tr_meta *, int32_t project, /* 0: all */
                                          bool (*each)(void *, const struct tr_export_row *),
                                          void *arg, struct tr_err *);
    TR_MUST_USE enum tr_rc (*export_pause)(struct tr_meta *, const struct tr_uuid *id, bool paused,
                                           int64_t now, struct tr_err *);
    /* Marks it deleted, cancels its backfills and asks its runs to stop, in one transaction. */
    TR_MUST_USE enum tr_rc (*export_delete)(struct tr_meta *, const struct tr_uuid *id, int64_t now,
                                            struct tr_err *);

    /* ---- scheduling ---- */
    /* Up to where scheduled runs of an export exist (end of the last interval made); INT64_MIN:
     * none yet. Moves only forward; run_schedule moves it with the run it makes. */
    TR_MUST_USE enum tr_rc (*cursor_get)(struct tr_meta *, const struct tr_uuid *export_id,
                                         int64_t *ret, struct tr_err *);
    /* From where on intervals of the export are delivered: where the cursor was first; INT64_MIN:
     * it was nowhere yet. */
    TR_MUST_USE enum tr_rc (*began_get)(struct tr_meta *, const struct tr_uuid *export_id,
                                        int64_t *ret, struct tr_err *);
    TR_MUST_USE enum tr_rc (*cursor_set)(struct tr_meta *, const struct tr_uuid *export_id,
                                         int64_t to, struct tr_err *);
    /* Makes a STARTING run (fills run->id when nil; is_live as given) and sets the export's cursor
     * to run->interval.hi, in one transaction. TR_REFUSED "meta.behind_cursor" when the cursor is
     * past interval.lo. */
    TR_MUST_USE enum tr_rc (*run_schedule)(struct tr_meta *, struct tr_run *run, struct tr_err *);
    /* The same for a backfill: moves the backfill's cursor instead. */
    TR_MUST_USE enum tr_rc (*run_backfill)(struct tr_meta *, struct tr_run *run, struct tr_err *);

    /* ---- running ---- */
    /* Claims the oldest run that is due (STARTING with not_before <= now, RETRYING with
     * next_attempt_at <= now, RUNNING whose lease ran out), raises fence and attempts, sets
     * RUNNING. Runs of paused exports are left alone unless they belong to a backfill; of the
     * scheduled runs of an export only one is at work at a time; exports with few runs at work come
     * before those with many, sound ones before doubtful ones. which: a set of enum tr_claim. Runs
     * that were asked to stop and whose worker is gone become CANCELLED. *ret_found false: none;
     * then *ret_next says when the next one falls due (INT64_MAX: never). */
    TR_MUST_USE enum tr_rc (*run_claim)(struct tr_meta *, const char *worker, uint32_t which,
                                        int64_t now, int64_t lease_us, struct tr_run *ret,
                                        bool *ret_found, int64_t *ret_next, struct tr_err *);
    /* Extends the lease; *ret_cancel says whether somebody asked the run to stop. */
    TR_MUST_USE enum tr_rc (*run_renew)(struct tr_meta *, const struct tr_uuid *id, int64_t fence,
                                        int64_t lease_until, bool *ret_cancel, struct tr_err *);
    /* At start: every RUNNING run is STARTING and due at once (its worker died with the process).
     */
    TR_MUST_USE enum tr_rc (*run_release_all)(struct tr_meta *, struct tr_err *);

    /* Ranges that a plan of this run must leave out: delivered ones of (export, target), any
     * generation (unless on_delivered is replace or append), and the chunks of other runs of that
     * target that are not ended or have SENT chunks. Sorted, apart from each other, cut to the
     * run's interval; chunks already in this run's own plan are not in it. The caller must then
     * plan all that is left: what others hold now is remembered for run_finish. Caller frees. */
    TR_MUST_USE enum tr_rc (*run_taken)(struct tr_meta *, const struct tr_run *run, uint64_t target,
                                        struct tr_range **ret, size_t *ret_n, struct tr_err *);
    /* Adds chunks (numbered on from the last) to the plan; TR_TRANSIENT "meta.range_taken" when one
     * meets a range of run_taken by now: plan again. */
    TR_MUST_USE enum tr_rc (*plan_add)(struct tr_meta *, const struct tr_run *run, uint64_t target,
                                       const struct tr_chunk *chunks, size_t n, struct tr_err *);
    /* PLANNED chunks of the run go: what was never sent is planned anew. */
    TR_MUST_USE enum tr_rc (*plan_drop)(struct tr_meta *, const struct tr_run *run,
                                        struct tr_err *);
    /* The run's chunks of the export's present target, in order; caller frees. */
    TR_MUST_USE enum tr_rc (*plan_get)(struct tr_meta *, const struct tr_uuid *run_id,
                                       struct tr_chunk **ret, size_t *ret_n, struct tr_err *);
    /* Before the first byte of a chunk leaves. */
    TR_MUST_USE enum tr_rc (*chunk_sent)(struct tr_meta *, const struct tr_run *run, uint32_t n,
                                         struct tr_err *);
    /* The destination has it (or never will: not sent). Saves its account; with deliver, the range
     * becomes delivered for (export, target) in the same transaction. */
    TR_MUST_USE enum tr_rc (*chunk_done)(struct tr_meta *, const struct tr_run *run,
                                         uint64_t target, uint32_t n,
                                         const struct tr_account *account, bool deliver,
                                         const struct tr_reject *rejects, size_t n_rejects,
                                         struct tr_err *);
    TR_MUST_USE enum tr_rc (*chunk_absent)(struct tr_meta *, const struct tr_run *run, uint32_t n,
                                           struct tr_err *); /* SENT, or done without deliver, back
                                                                to PLANNED */
    /* The orphans of (export, target) that meet the interval of run, which holds the claim. They
     * hold their ranges (run_taken) until they are settled. Caller frees. */
    TR_MUST_USE enum tr_rc (*orphan_list)(struct tr_meta *, const struct tr_run *run,
                                          uint64_t target, struct tr_orphan **ret, size_t *ret_n,
                                          struct tr_err *);
    /* With an account: the destination has it; its range is delivered, by the run that sent it.
     * NULL: it has not; the range is free. Nothing happens when the run was retried meanwhile. */
    TR_MUST_USE enum tr_rc (*orphan_settle)(struct tr_meta *, const struct tr_run *run,
                                            uint64_t target, const struct tr_orphan *,
                                            const struct tr_account *account, int64_t now,
                                            struct tr_err *);
    /* Ends an attempt: state, account, error, next_attempt_at from run. With COMPLETED and
     * deliver_run all its chunks become delivered ranges now (destinations that commit by run).
     * Nothing else becomes delivered: ranges without events need no record, and what is left of the
     * interval may have been somebody else's a moment ago. Plans of ended runs lose their PLANNED
     * chunks, whoever ended them. attempts is written too. A run that was asked to stop becomes
     * CANCELLED instead of STARTING or RETRYING. COMPLETED is TR_TRANSIENT "meta.range_freed" when
     * a part that another run held at the last run_taken came free undelivered (plan again), and a
     * run that completed around a part that others hold becomes STARTING again when that part comes
     * free. */
    TR_MUST_USE enum tr_rc (*run_finish)(struct tr_meta *, const struct tr_run *run,
                                         uint64_t target, bool deliver_run, struct tr_err *);
    /* A person: FAILED or CANCELLED -> STARTING, attempts 0. TR_REFUSED "run.not_failed" otherwise.
     * A FAILED backfill that it belongs to runs again. */
    TR_MUST_USE enum tr_rc (*run_retry)(struct tr_meta *, const struct tr_uuid *id, int64_t now,
                                        struct tr_run *ret, struct tr_err *);
    /* A person: STARTING and RETRYING become CANCELLED at once, RUNNING gets cancel_asked.
     * TR_REFUSED "run.ended" otherwise. */
    TR_MUST_USE enum tr_rc (*run_cancel)(struct tr_meta *, const struct tr_uuid *id, int64_t now,
                                         struct tr_run *ret, struct tr_err *);
    TR_MUST_USE enum tr_rc (*run_get)(struct tr_meta *, const struct tr_uuid *id,
                                      struct tr_run *ret, struct tr_err *);
    TR_MUST_USE enum tr_rc (*run_list)(struct tr_meta *, const struct tr_run_query *,
                                       bool (*each)(void *, const struct tr_run *), void *arg,
                                       struct tr_err *);

    TR_MUST_USE enum tr_rc (*backlog)(struct tr_meta *, const struct tr_uuid *export_id,
                                      struct tr_backlog *ret, struct tr_err *);
    /* Adds old scheduled runs that completed to the account of their day and removes them, with
     * their rejects: those that ended before quiet_before and found nothing, and all that ended
     * before `before`; at most max, *ret_n says how many. What they delivered stays known, with
     * the accounts of its chunks. */
    TR_MUST_USE enum tr_rc (*run_fold)(struct tr_meta *, int64_t quiet_before, int64_t before,
                                       int max, size_t *ret_n, struct tr_err *);
    /* By day, newest first. */
    TR_MUST_USE enum tr_rc (*day_list)(struct tr_meta *, const struct tr_uuid *export_id, int limit,
                                       bool (*each)(void *, const struct tr_day *), void *arg,
                                       struct tr_err *);

    /* Delivered ranges of (export, target) that meet a range, with the run, chunk and generation
     * that delivered them, by lo. */
    TR_MUST_USE enum tr_rc (*delivered_list)(struct tr_meta *, const struct tr_uuid *export_id,
                                             uint64_t target, struct tr_range range,
                                             bool (*each)(void *, const struct tr_delivered *),
                                             void *arg, struct tr_err *);

    /* Other exports, of any project, deleted ones too, that have delivered something at target. */
    TR_MUST_USE enum tr_rc (*sharer_list)(struct tr_meta *, const struct tr_uuid *export_id,
                                          uint64_t target,
                                          bool (*each)(void *, const struct tr_uuid *id,
                                                       int32_t project),
                                          void *arg, struct tr_err *);

    /* ---- backfills ---- */
    /* Fills id and, for replace and append, a generation nobody used for (export, target). */
    TR_MUST_USE enum tr_rc (*backfill_create)(struct tr_meta *, struct tr_backfill *b,
                                              uint64_t target, struct tr_err *);
    TR_MUST_USE enum tr_rc (*backfill_get)(struct tr_meta *, const struct tr_uuid *id,
                                           struct tr_backfill *ret, struct tr_err *);
    TR_MUST_USE enum tr_rc (*backfill_list)(struct tr_meta *, const struct tr_uuid *export_id,
                                            /* nil: all that are not ended */
                                            bool (*each)(void *, const struct tr_backfill *),
                                            void *arg, struct tr_err *);
    /* COMPLETED, FAILED (some run failed) or CANCELLED; cancelling asks its runs to stop too. */
    TR_MUST_USE enum tr_rc (*backfill_finish)(struct tr_meta *, const struct tr_uuid *id,
                                              enum tr_run_state state, int64_t now,
                                              struct tr_err *);

    /* ---- logs and rejects ---- */
    TR_MUST_USE enum tr_rc (*log_add)(struct tr_meta *, const struct tr_log_line *,
                                      struct tr_err *);
    /* Newest first; the last 10,000 lines of an export are kept. limit 0: all. */
    TR_MUST_USE enum tr_rc (*log_list)(struct tr_meta *, const struct tr_uuid *export_id,
                                       const struct tr_uuid *run_id, /* nil: all of the export */
                                       int limit, bool (*each)(void *, const struct tr_log_line *),
                                       void *arg, struct tr_err *);
    TR_MUST_USE enum tr_rc (*reject_list)(struct tr_meta *, const struct tr_uuid *run_id, int limit,
                                          bool (*each)(void *, const struct tr_reject *), void *arg,
                                          struct tr_err *);
};

/* <dir>/meta.db; forward-only migrations; a newer one refuses. */
TR_MUST_USE enum tr_rc tr_meta_sqlite_open(const char *path, struct tr_meta **ret,
                                           struct tr_err *err);

#endif
