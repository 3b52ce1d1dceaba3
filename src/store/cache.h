/* What was read from state.db of late, and what was changed and is not written there yet.
 *
 * Entries are the user's structs, from malloc, which begin with a struct cache_entry. The caches of
 * a pool have a number of bytes together that no input changes: when it is full, the cache that is
 * furthest over its share writes entries that were not touched for a while (if they have changed)
 * and frees them. A pointer to an entry is good until the next call that adds or changes one, in
 * whichever cache of the pool. One thread at a time.
 *
 * All that has changed can be copied, to be written by another thread (save.h). From then on until
 * the user says that it is there, what was copied is not dropped, so nobody has to look for it in
 * the database; and before anything else is written the user is asked to wait for that.
 */
#ifndef TR_STORE_CACHE_H
#define TR_STORE_CACHE_H

#include "base/err.h"

struct cache_entry {
    uint32_t hash;
    uint32_t bytes; /* that the entry has */
    bool touched;   /* since the hand passed */
    bool dirty;
    bool stored;    /* the database has it, in whatever state */
    uint8_t copied; /* the pool's number of copies, when it was last */
};

struct cache_ops {
    bool (*is)(const struct cache_entry *, const void *key);
    /* It may be a copy: what points into the entry points into another one. */
    TR_MUST_USE enum tr_rc (*write)(void *owner, const struct cache_entry *, struct tr_err *);
    int (*compare)(const void *, const void *); /* of two struct cache_entry *: order of writing */
};

enum { CACHES = 4 };

struct cache_pool {
    size_t bytes, max_bytes, dirty_bytes;
    struct cache *caches[CACHES];
    size_t n;
    uint8_t copies;
    bool is_saving; /* copies are being written */
    /* Before anything is written; it ends saving. NULL: nothing is ever copied. */
    TR_MUST_USE enum tr_rc (*ready)(void *arg, struct tr_err *);
    void *arg;
};

struct cache {
    const struct cache_ops *ops;
    void *owner;
    struct cache_pool *pool;
    size_t share;     /* against those of the others */
    uint32_t *hashes; /* of the entries: most others are passed over without a look */
    struct cache_entry **entries;
    size_t mask, n, bytes;
    size_t n_dirty, dirty_bytes;
    size_t hand;
};

/* What was dirty at one instant. */
struct cache_image {
    const struct cache_ops *ops;
    void *owner;
    char *bytes;
    struct cache_entry **entries; /* NULL: there are none */
    size_t n;
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

/* Copies all that is dirty, and takes it for written: when that fails, so does everything. The
 * caller says before that the pool is_saving, and after each time counts up copies. */
TR_MUST_USE enum tr_rc cache_copy(struct cache *c, struct cache_image *ret, struct tr_err *err);
/* In the order of writing. */
void cache_image_sort(const struct cache_image *image);
TR_MUST_USE enum tr_rc cache_image_write(const struct cache_image *image, size_t i,
                                         struct tr_err *err);
void cache_image_fini(struct cache_image *image);
/* Writes one, if it is dirty. */
TR_MUST_USE enum tr_rc cache_write_one(struct cache *c, struct cache_entry *e, struct tr_err *err);

#endif
