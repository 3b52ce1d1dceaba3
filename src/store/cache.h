/* What was read from state.db of late, and what was changed and is not written there yet.
 *
 * Entries are the user's structs, which begin with a struct cache_entry. The table has a number of
 * bytes that no input changes: when it is full, entries that were not touched for a while are
 * written (if they have changed) and freed. A pointer to an entry is good until the next cache_add
 * or cache_grew. One thread at a time.
 */
#ifndef TR_STORE_CACHE_H
#define TR_STORE_CACHE_H

#include "base/err.h"

struct cache_entry {
    uint32_t hash;
    uint32_t bytes; /* of the entry and what hangs on it */
    bool touched;   /* since the hand passed */
    bool dirty;
};

struct cache_ops {
    bool (*is)(const struct cache_entry *, const void *key);
    TR_MUST_USE enum tr_rc (*write)(void *owner, struct cache_entry *, struct tr_err *);
    void (*free)(struct cache_entry *);
    int (*compare)(const void *, const void *); /* of two struct cache_entry *: order of writing */
};

struct cache {
    const struct cache_ops *ops;
    void *owner;
    struct cache_entry **slots;
    size_t mask, n;
    size_t bytes, max_bytes, dirty_bytes;
    size_t hand;
};

TR_MUST_USE enum tr_rc cache_init(struct cache *c, const struct cache_ops *ops, void *owner,
                                  size_t max_bytes, struct tr_err *err);
/* What is dirty is lost. */
void cache_fini(struct cache *c);
void cache_forget(struct cache *c);

/* Touches what it finds; NULL: not here. */
struct cache_entry *cache_find(struct cache *c, uint32_t hash, const void *key);

/* Takes the entry, whose hash and bytes are set and which is not here; frees it on failure. */
TR_MUST_USE enum tr_rc cache_add(struct cache *c, struct cache_entry *e, struct tr_err *err);

/* The entry changed: it is to be written some time. bytes: what it has now. */
TR_MUST_USE enum tr_rc cache_changed(struct cache *c, struct cache_entry *e, size_t bytes,
                                     struct tr_err *err);

/* Writes all that is dirty; nothing is dropped. */
TR_MUST_USE enum tr_rc cache_write(struct cache *c, struct tr_err *err);
/* Writes one, if it is dirty. */
TR_MUST_USE enum tr_rc cache_write_one(struct cache *c, struct cache_entry *e, struct tr_err *err);

#endif
