/* Exact recognition of what was stored before: (project, uuid) -> identity and instant.
 *
 * A table in memory takes what is new; when it is full it is frozen, and the keeper writes it as a
 * sorted run and merges runs of similar size that follow each other in age. The journal holds what
 * no run holds yet, so the table is rebuilt on start. The writer's thread looks up and adds; the
 * keeper's thread flushes, merges and expires; neither waits for the other but when the table has
 * grown to DEDUP_OVERFLOW times its size. A run goes when all of it is older than max_age_us, or
 * when max_events newer ones exist.
 */
#ifndef TR_STORE_DEDUP_H
#define TR_STORE_DEDUP_H

#include "os/thread.h"
#include "store/dedup_run.h"
#include "store/dedup_table.h"

enum { DEDUP_OVERFLOW = 4 };

struct dedup_limits {
    struct dedup_hash hash;
    size_t table_entries; /* that make the table full */
    uint64_t max_events;
    int64_t max_age_us;
};

/* Immutable, counted; oldest first. */
struct dedup_set {
    atomic_uint refs;
    size_t n;
    struct dedup_run *runs[];
};

struct dedup {
    char *dir;
    struct dedup_limits limits;
    struct tr_monitor monitor;  /* guards all below but what active points to */
    struct dedup_table *active; /* the writer's */
    struct dedup_table *frozen; /* being written to a run; NULL: none */
    struct dedup_set *set;
    uint64_t through_seq; /* journal records up to here are in runs */
    uint64_t frozen_seq;
    uint64_t next_id;
    bool flush_failed;
};

TR_MUST_USE enum tr_rc dedup_open(struct dedup *d, const char *dir,
                                  const struct dedup_limits *limits, struct tr_err *err);
void dedup_close(struct dedup *d);
/* Removes files that the manifest does not name: never finished, or merged into another. */
TR_MUST_USE enum tr_rc dedup_sweep(const struct dedup *d, struct tr_err *err);

/* ---- the writer's thread (and recovery) ---- */

/* What the writer sees during one commit. */
struct dedup_view {
    struct dedup *dedup;
    struct dedup_table *active, *frozen;
    struct dedup_set *set;
    size_t mark; /* entries of active when it began */
};

void dedup_view_begin(struct dedup *d, struct dedup_view *ret);
/* keep == false: what was added is forgotten. */
void dedup_view_end(struct dedup_view *v, bool keep);

/* Brings the cache lines near that dedup_find will touch. */
void dedup_prefetch(const struct dedup_view *v, uint64_t hash);
TR_MUST_USE enum tr_rc dedup_find(const struct dedup_view *v, uint64_t hash,
                                  const struct dedup_key *k, bool *ret_found,
                                  struct dedup_entry *ret, struct tr_err *err);
TR_MUST_USE enum tr_rc dedup_add(struct dedup_view *v, uint64_t hash, const struct dedup_entry *e,
                                 struct tr_err *err);

/* Freezes the table when it is full (or at once, even empty: then only through_seq moves), as of
 * the journal's last record; outside of a view. True when the keeper has something to flush. Waits
 * when the table has overflown; fails when the keeper cannot write: TR_THROTTLED "store.full". */
TR_MUST_USE enum tr_rc dedup_freeze(struct dedup *d, uint64_t last_seq, bool at_once,
                                    bool *ret_told, struct tr_err *err);

/* ---- the keeper's thread ---- */

TR_MUST_USE enum tr_rc dedup_flush(struct dedup *d, struct tr_err *err);
/* One merge, when one is due. */
TR_MUST_USE enum tr_rc dedup_merge(struct dedup *d, bool *ret_merged, struct tr_err *err);
TR_MUST_USE enum tr_rc dedup_expire(struct dedup *d, int64_t now, struct tr_err *err);

struct dedup_status {
    uint64_t entries, runs, bytes, through_seq;
};
void dedup_status(struct dedup *d, struct dedup_status *ret);

/* ---- the list of runs ---- */

struct dedup_manifest {
    uint64_t through_seq, next_id;
    size_t n;
    uint64_t *ids; /* oldest first; free() it */
};
/* A missing one is empty. */
TR_MUST_USE enum tr_rc dedup_manifest_read(const char *dir, struct dedup_manifest *ret,
                                           struct tr_err *err);
TR_MUST_USE enum tr_rc dedup_manifest_write(const char *dir, const struct dedup_manifest *m,
                                            struct tr_err *err);

#endif
