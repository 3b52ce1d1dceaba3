/* The part of deduplication that is in memory: a hash table over entries in order of arrival, so
 * that the newest can be taken back. One thread writes; counted, because readers outlive it. */
#ifndef TR_STORE_DEDUP_TABLE_H
#define TR_STORE_DEDUP_TABLE_H

#include "store/dedup_run.h"

struct dedup_table {
    atomic_uint refs;
    struct dedup_hash hash;
    struct dedup_entry *entries;
    uint32_t *slots; /* 0: free; else a tag of 8 bits and 1 + the index of an entry */
    size_t n, cap, slot_mask;
};

/* NULL without memory. */
struct dedup_table *dedup_table_new(const struct dedup_hash *h, size_t cap);
void dedup_table_ref(struct dedup_table *t);
void dedup_table_unref(struct dedup_table *t);

static inline void dedup_table_prefetch(const struct dedup_table *t, uint64_t hash)
{
    __builtin_prefetch(&t->slots[hash & t->slot_mask]);
}

const struct dedup_entry *dedup_table_find(const struct dedup_table *t, uint64_t hash,
                                           const struct dedup_key *k);
/* False without memory. The key must not be there. */
TR_MUST_USE bool dedup_table_add(struct dedup_table *t, uint64_t hash, const struct dedup_entry *e);
/* Takes back the newest entries until n are left. */
void dedup_table_cut(struct dedup_table *t, size_t n);

#endif
