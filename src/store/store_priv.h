/* The store's inside: what its threads and readers share.
 *
 * Locks, outermost first; none is held while waiting for another thread:
 *   derived.lock > journal.lock, asof.lock; queue, the workers' monitors, clock_lock, tally_lock,
 * dedup.monitor, blocks.pool_lock: innermost, for a few instructions each.
 */
#ifndef TR_STORE_STORE_PRIV_H
#define TR_STORE_STORE_PRIV_H

#include <stdatomic.h>

#include "os/thread.h"
#include "store/asof.h"
#include "store/blocks.h"
#include "store/dedup.h"
#include "store/derived.h"
#include "store/inclock.h"
#include "store/journal.h"
#include "store/store.h"
#include "store/worker.h"

enum { STORE_PATH = 4096 };

struct store_tally {
    /* The journal is read before the writer has counted here: they may be below 0 for a moment. */
    int64_t unsealed_bytes; /* of journal records */
    int64_t unsealed_events;
    int64_t oldest_unsealed; /* the stamp of its first event; 0: none */
    int64_t last_event_at;
    uint64_t sealed_events, blocks, block_bytes;
};

struct tr_store {
    struct tr_store_options options;
    char *dir;
    uint32_t epoch, salt;

    struct journal journal;
    struct dedup dedup;
    struct derived derived;
    struct asof asof;
    struct blocks blocks;

    pthread_mutex_t clock_lock;
    struct inclock clock;
    atomic_int doubt; /* enum inclock_doubt, as of the last look */

    struct tr_monitor queue;
    struct tr_group *first, *last;
    size_t queued_bytes; /* until they are done */
    int64_t fence_wanted;
    bool closing;
    /* Why the writer failed last, until it succeeds; when that was, boot-time clock. In queue. */
    char write_trouble[256];
    int64_t write_failed_at;

    pthread_t writer;
    struct store_worker keeper, applier, sealer;
    int64_t apply_busy_until; /* the applier's; boot-time clock */
    struct piece *piece;      /* the sealer's, as is idle_seals */
    int idle_seals;
    atomic_uint_fast64_t seal_wanted; /* records up to here are to be sealed, whatever their age */
    int64_t clock_saved_at;           /* the keeper's */

    atomic_int_fast64_t closed_through, sealed_through, floor;
    atomic_uint_fast64_t sealed_seq;
    atomic_size_t table_entries; /* of the deduplication table */

    pthread_mutex_t tally_lock;
    struct store_tally tally;

    /* the writer's: */
    uint64_t free_bytes; /* at free_asked_at, less what was written since */
    int64_t free_asked_at;
    uint64_t freeze_bytes; /* journal bytes written since the deduplication table was frozen */
    struct commit *commit;
    int64_t hold_seen, hold_since; /* what was applied when it was looked last, and since when */
    int64_t hold_near;             /* when that was last not far behind */
};

/* tr_store_open with another clock. */
TR_MUST_USE enum tr_rc store_open_with(const struct tr_store_options *o,
                                       const struct clock_source *source, struct tr_store **ret,
                                       struct tr_err *err);

/* Looks at the clock and keeps its doubt; what the next stamp would be at least. */
int64_t store_clock(struct tr_store *s);
TR_MUST_USE enum tr_rc store_not_ready(const struct tr_store *s, struct tr_err *err);

/* ---- writer.c, commit.c ---- */

void *store_writer(void *store);
struct commit;
struct commit *commit_new(struct tr_store *s);
void commit_free(struct commit *c);
/* Stores a list of groups in one write and sync, and calls done on each. */
void commit_groups(struct commit *c, struct tr_group *list);
/* Closes the clock through now, durably. */
void commit_fence(struct commit *c);

/* ---- keeper.c, seal.c: what the workers do in one pass ---- */

TR_MUST_USE enum tr_rc store_keep(struct tr_store *s, struct tr_err *err);
TR_MUST_USE enum tr_rc store_apply(struct tr_store *s, struct tr_err *err);
/* Seals up to about seal_bytes of journal, when that is due. */
TR_MUST_USE enum tr_rc store_seal(struct tr_store *s, struct tr_err *err);
/* Frees what the sealer keeps for the next piece. */
void store_seal_rest(struct tr_store *s);

/* ---- identity.c: the files "store" and "clock" ---- */

struct store_identity {
    uint32_t epoch;
    uint32_t salt;
    uint64_t seed;
};
/* Reads it, or makes it in a folder that is new. */
TR_MUST_USE enum tr_rc store_identity_load(const char *dir, bool make, struct store_identity *ret,
                                           struct tr_err *err);
/* NUL-terminated into out; empty when there is none. */
enum { STORE_CLOCK_TEXT = 128 };
void store_clock_load(const char *dir, char out[STORE_CLOCK_TEXT]);
TR_MUST_USE enum tr_rc store_clock_save(struct tr_store *s, struct tr_err *err);

#endif
