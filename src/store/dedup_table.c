#include "store/dedup_table.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_SHIFT = 24, INDEX_MASK = (1 << TAG_SHIFT) - 1 };

static uint32_t slot_value(uint64_t hash, size_t index)
{
    return (uint32_t)(hash >> 56) << TAG_SHIFT | (uint32_t)(index + 1);
}

static void put(struct dedup_table *t, uint64_t hash, size_t index)
{
    size_t s = hash & t->slot_mask;

    while (t->slots[s] != 0)
        s = (s + 1) & t->slot_mask;
    t->slots[s] = slot_value(hash, index);
}

/* Room for cap entries: twice as many slots at least, a power of two. */
static bool resize(struct dedup_table *t, size_t cap)
{
    size_t n_slots = 128;

    while (n_slots < 2 * cap)
        n_slots *= 2;
    if (cap >= INDEX_MASK)
        return false;
    struct dedup_entry *entries = realloc(t->entries, cap * sizeof(*entries));
    if (entries == NULL)
        return false;
    t->entries = entries;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL)
        return false;
    free(t->slots);
    t->slots = slots;
    t->slot_mask = n_slots - 1;
    t->cap = cap;
    for (size_t i = 0; i < t->n; i++)
        put(t, dedup_hash_key(&t->hash, &t->entries[i].key), i);
    return true;
}

struct dedup_table *dedup_table_new(const struct dedup_hash *h, size_t cap)
{
    struct dedup_table *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    atomic_init(&t->refs, 1);
    t->hash = *h;
    if (!resize(t, cap)) {
        dedup_table_unref(t);
        return NULL;
    }
    return t;
}

void dedup_table_ref(struct dedup_table *t)
{
    (void)atomic_fetch_add(&t->refs, 1);
}

void dedup_table_unref(struct dedup_table *t)
{
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    free(t->entries);
    free(t->slots);
    free(t);
}

const struct dedup_entry *dedup_table_find(const struct dedup_table *t, uint64_t hash,
                                           const struct dedup_key *k)
{
    uint32_t tag = (uint32_t)(hash >> 56);

    for (size_t s = hash & t->slot_mask; t->slots[s] != 0; s = (s + 1) & t->slot_mask) {
        if (t->slots[s] >> TAG_SHIFT != tag)
            continue;
        const struct dedup_entry *e = &t->entries[(t->slots[s] & INDEX_MASK) - 1];
        if (memcmp(&e->key, k, sizeof(*k)) == 0)
            return e;
    }
    return NULL;
}

bool dedup_table_add(struct dedup_table *t, uint64_t hash, const struct dedup_entry *e)
{
    if (t->n == t->cap && !resize(t, 2 * t->cap))
        return false;
    t->entries[t->n] = *e;
    put(t, hash, t->n);
    t->n++;
    return true;
}

void dedup_table_cut(struct dedup_table *t, size_t n)
{
    /* Newest first: nothing that stays was placed around one that goes. */
    while (t->n > n) {
        t->n--;
        uint64_t hash = dedup_hash_key(&t->hash, &t->entries[t->n].key);
        size_t s = hash & t->slot_mask;
        while (t->slots[s] != slot_value(hash, t->n))
            s = (s + 1) & t->slot_mask;
        t->slots[s] = 0;
    }
}
