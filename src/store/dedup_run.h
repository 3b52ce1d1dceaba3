/* One sorted file of what was stored: (project, uuid) -> (identity, inserted_at).
 *
 * Entries stand in blocks of 4 KiB, sorted by the hash of their key, then by the key. The first
 * hash of each block and a filter of ten bits a key are kept in memory; a key that the filter lets
 * through costs one read. Immutable once written; read by any thread; counted.
 */
#ifndef TR_STORE_DEDUP_RUN_H
#define TR_STORE_DEDUP_RUN_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/uuid.h"

enum { DEDUP_FORMAT = 1 };

struct dedup_key {
    struct tr_uuid uuid;
    int32_t project;
};

struct dedup_entry {
    struct dedup_key key;
    uint32_t reserved;
    uint64_t identity;
    int64_t inserted_at;
};

_Static_assert(sizeof(struct dedup_entry) == 40, "a format on disk");

/* How keys are hashed: the same for all runs of a store. mask is all ones but in tests. */
struct dedup_hash {
    uint64_t seed, mask;
};
uint64_t dedup_hash_key(const struct dedup_hash *h, const struct dedup_key *k);

struct dedup_filter_line {
    uint64_t word[8];
};

struct dedup_run {
    atomic_uint refs;
    uint64_t id;
    int fd;
    uint64_t entries;
    int64_t oldest, newest; /* inserted_at */
    uint64_t bytes;
    uint32_t blocks;
    uint32_t lines;
    uint64_t *fences; /* the first hash of each block */
    struct dedup_filter_line *filter;
};

enum { DEDUP_NAME = 24 };
void dedup_run_name(uint64_t id, char out[DEDUP_NAME]);

/* Opens and checks the head, fences and filter; blocks are checked when they are read. */
TR_MUST_USE enum tr_rc dedup_run_open(const char *dir, uint64_t id, struct dedup_run **ret,
                                      struct tr_err *err);
void dedup_run_ref(struct dedup_run *r);
void dedup_run_unref(struct dedup_run *r);

static inline struct dedup_filter_line *dedup_filter_at(const struct dedup_run *r, uint64_t hash)
{
    return &r->filter[(hash >> 32) * r->lines >> 32];
}

bool dedup_run_may_hold(const struct dedup_run *r, uint64_t hash);

/* Looks the key up on disk; ask may_hold first. */
TR_MUST_USE enum tr_rc dedup_run_find(const struct dedup_run *r, uint64_t hash,
                                      const struct dedup_key *k, bool *ret_found,
                                      struct dedup_entry *ret, struct tr_err *err);

/* Reads block b into out (room for DEDUP_BLOCK_ENTRIES), verified. */
enum { DEDUP_BLOCK = 4096, DEDUP_BLOCK_ENTRIES = 102 };
TR_MUST_USE enum tr_rc dedup_run_block(const struct dedup_run *r, uint32_t b,
                                       struct dedup_entry *out, size_t *ret_n, struct tr_err *err);

/* Writes a run: entries come in order of (hash, key). */
struct dedup_run_writer;
TR_MUST_USE enum tr_rc dedup_run_begin(const char *dir, uint64_t id, uint64_t most_entries,
                                       struct dedup_run_writer **ret, struct tr_err *err);
TR_MUST_USE enum tr_rc dedup_run_add(struct dedup_run_writer *w, uint64_t hash,
                                     const struct dedup_entry *e, struct tr_err *err);
/* Syncs the file and its folder, and gives the run. The writer is gone, whatever happens. */
TR_MUST_USE enum tr_rc dedup_run_finish(struct dedup_run_writer *w, struct dedup_run **ret,
                                        struct tr_err *err);
/* Removes the unfinished file. */
void dedup_run_abort(struct dedup_run_writer *w);

#endif
