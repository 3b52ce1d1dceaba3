/* What was read from state.db of late, and what was changed and is not written there yet.
 *
 * Entries are the user's structs, from malloc, which begin with a struct cache_entry. The caches of
 * a pool have a number of bytes together that no input changes: when it is full, the cache that is
 * furthest over its share writes entries that were not touched for a while (if they have changed)
 * and frees them. A pointer to an entry is good until the next call that adds or changes one, in
 * whichever cache of the pool. One thread at a time.
 */
#ifndef TR_STORE_CACHE_H
#define TR_STORE_CACHE_H

#include "base/err.h"

struct cache_entry {
    uint32_t hash;
    uint32_t bytes; /* that the entry has */
    bool touched;   /* since the hand passed */
    bool dirty;
};

struct cache_ops {
    bool (*is)(const struct cache_entry *, const void *key);
    TR_MUST_USE enum tr_rc (*write)(void *owner, struct cache_entry *, struct tr_err *);
    int (*compare)(const void *, const void *); /* of two struct cache_entry *: order of writing */
};

enum { CACHES = 4 };

struct cache_pool {
    size_t bytes, max_bytes, dirty_bytes;
    struct cache *caches[CACHES];
    size_t n;
};

struct cache {
    const struct cache_ops *ops;
    void *owner;
    struct cache_pool *pool;
    size_t share;     /* against those of the others */
    uint32_t *hashes; /* of the entries: most others are passed over without a look */
    struct cache_entry **entries;
    size_t mask, n, bytes;
    size_t hand;
};

/* Joins the pool. */
TR_MUST_USE enum tr_rc cache_init(struct cache *c, const struct cache_ops *ops, void *owner,
                                  struct cache_pool *pool, size_t share, struct tr_err *err);
/* What is dirty is lost. */
void cache_fini(struct cache *c);
void cache_forget(struct cache *c);

/* Touches what it finds; NULL: not here. */
struct cache_entry *cache_find(struct cache *c, uint32_t hash, const void *key);

/* For who looks soon: the slot on its way from memory, then the entry that is probably meant. */
static inline void cache_fetch_slot(const struct cache *c, uint32_t hash)
{
    __builtin_prefetch(&c->hashes[hash & c->mask]);
    __builtin_prefetch(&c->entries[hash & c->mask]);
}

static inline const struct cache_entry *cache_guess(const struct cache *c, uint32_t hash)
{
    for (size_t i = hash & c->mask; c->entries[i] != NULL; i = (i + 1) & c->mask)
        if (c->hashes[i] == hash)
            return c->entries[i];
    return NULL;
}

/* Takes the entry, whose hash and bytes are set and which is not here; frees it on failure. */
TR_MUST_USE enum tr_rc cache_add(struct cache *c, struct cache_entry *e, struct tr_err *err);

/* Gives the entry another number of bytes, perhaps at another place; NULL without memory, then it
 * stays as it is. */
struct cache_entry *cache_resize(struct cache *c, struct cache_entry *e, size_t bytes);

/* The entry changed: it is to be written some time. It stays where it is. */
TR_MUST_USE enum tr_rc cache_changed(struct cache *c, struct cache_entry *e, struct tr_err *err);

/* Writes all that is dirty; nothing is dropped. */
TR_MUST_USE enum tr_rc cache_write(struct cache *c, struct tr_err *err);
/* Writes one, if it is dirty. */
TR_MUST_USE enum tr_rc cache_write_one(struct cache *c, struct cache_entry *e, struct tr_err *err);

#endif
