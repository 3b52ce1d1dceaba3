#include "store/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_SLOTS = 1024,
    OVERHEAD = 32, /* what an entry costs besides its own bytes: its slot, malloc */
    ALIGN = 16,    /* of copies */
};

static enum tr_rc alloc_slots(struct cache *c, size_t n, struct tr_err *err)
{
    c->hashes = calloc(n, sizeof(*c->hashes));
    c->entries = calloc(n, sizeof(struct cache_entry *));
    if (c->hashes == NULL || c->entries == NULL) {
        free(c->hashes);
        free(c->entries);
        return tr_fail_oom(err);
    }
    c->mask = n - 1;
    return TR_OK;
}

enum tr_rc cache_init(struct cache *c, const struct cache_ops *ops, void *owner,
                      struct cache_pool *pool, size_t share, struct tr_err *err)
{
    assert(pool->n < CACHES);
    *c = (struct cache){ .ops = ops, .owner = owner, .pool = pool, .share = share };
    if (alloc_slots(c, FIRST_SLOTS, err) != TR_OK) {
        *c = (struct cache){ 0 };
        return TR_INTERNAL;
    }
    pool->caches[pool->n++] = c;
    return TR_OK;
}

static size_t cost(const struct cache_entry *e)
{
    return e->bytes + (size_t)OVERHEAD;
}

static void count(struct cache *c, size_t more, size_t less)
{
    c->bytes += more - less;
    c->pool->bytes += more - less;
}

static void count_dirty(struct cache *c, size_t more, size_t less)
{
    c->dirty_bytes += more - less;
    c->pool->dirty_bytes += more - less;
}

static void make_dirty(struct cache *c, struct cache_entry *e)
{
    e->dirty = true;
    c->n_dirty++;
    count_dirty(c, cost(e), 0);
}

static void make_clean(struct cache *c, struct cache_entry *e)
{
    e->dirty = false;
    e->stored = true;
    c->n_dirty--;
    count_dirty(c, 0, cost(e));
}

void cache_forget(struct cache *c)
{
    if (c->entries == NULL)
        return;
    for (size_t i = 0; i <= c->mask; i++) {
        free(c->entries[i]);
        c->entries[i] = NULL;
    }
    count(c, 0, c->bytes);
    count_dirty(c, 0, c->dirty_bytes);
    c->n_dirty = 0;
    c->n = 0;
}

void cache_fini(struct cache *c)
{
    cache_forget(c);
    free(c->hashes);
    free(c->entries);
    *c = (struct cache){ 0 };
}

struct cache_entry *cache_find(struct cache *c, uint32_t hash, const void *key)
{
    for (size_t i = hash & c->mask; c->entries[i] != NULL; i = (i + 1) & c->mask) {
        struct cache_entry *e = c->entries[i];
        if (c->hashes[i] == hash && c->ops->is(e, key)) {
            e->touched = true;
            return e;
        }
    }
    return NULL;
}

static void place(struct cache *c, struct cache_entry *e)
{
    size_t i = e->hash & c->mask;

    while (c->entries[i] != NULL)
        i = (i + 1) & c->mask;
    c->entries[i] = e;
    c->hashes[i] = e->hash;
}

static enum tr_rc grow(struct cache *c, struct tr_err *err)
{
    struct cache old = *c;

    if (alloc_slots(c, 2 * (old.mask + 1), err) != TR_OK) {
        *c = old;
        return TR_INTERNAL;
    }
    for (size_t i = 0; i <= old.mask; i++)
        if (old.entries[i] != NULL)
            place(c, old.entries[i]);
    free(old.hashes);
    free(old.entries);
    return TR_OK;
}

/* Takes the entry out of slot i; those behind it move up where the gap would hide them. */
static void take_out(struct cache *c, size_t i)
{
    c->entries[i] = NULL;
    for (size_t k = (i + 1) & c->mask; c->entries[k] != NULL; k = (k + 1) & c->mask) {
        size_t home = c->hashes[k] & c->mask;
        if (((k - home) & c->mask) < ((k - i) & c->mask))
            continue;
        c->entries[i] = c->entries[k];
        c->hashes[i] = c->hashes[k];
        c->entries[k] = NULL;
        i = k;
    }
    c->n--;
}

enum tr_rc cache_write_one(struct cache *c, struct cache_entry *e, struct tr_err *err)
{
    struct cache_pool *p = c->pool;

    if (!e->dirty)
        return TR_OK;
    enum tr_rc rc = p->ready == NULL ? TR_OK : p->ready(p->arg, err);
    if (rc == TR_OK)
        rc = c->ops->write(c->owner, e, err);
    if (rc == TR_OK)
        make_clean(c, e);
    return rc;
}

/* Copied and perhaps not written yet, or not to be written before that is. */
static bool has_to_stay(const struct cache *c, const struct cache_entry *e)
{
    return c->pool->is_saving && (e->dirty || e->copied == c->pool->copies);
}

/* The hand goes round: what was touched since it came last gets another round. false in *ret: there
 * is nothing but keep. */
static enum tr_rc drop_one(struct cache *c, const struct cache_entry *keep, bool *ret,
                           struct tr_err *err)
{
    *ret = false;
    for (size_t steps = 2 * (c->mask + 1); steps > 0; steps--) {
        struct cache_entry *e = c->entries[c->hand & c->mask];

        if (e == NULL || e == keep || e->touched || has_to_stay(c, e)) {
            if (e != NULL)
                e->touched = false;
            c->hand++;
            continue;
        }
        enum tr_rc rc = cache_write_one(c, e, err);
        if (rc != TR_OK)
            return rc;
        count(c, 0, cost(e));
        take_out(c, c->hand & c->mask); /* another may stand there now: the hand stays */
        free(e);
        *ret = true;
        return TR_OK;
    }
    return TR_OK;
}

static struct cache *furthest_over(const struct cache_pool *p)
{
    struct cache *found = p->caches[0];

    for (size_t i = 1; i < p->n; i++)
        if (p->caches[i]->bytes * found->share > found->bytes * p->caches[i]->share)
            found = p->caches[i];
    return found;
}

static enum tr_rc make_room(struct cache *c, const struct cache_entry *keep, struct tr_err *err)
{
    struct cache_pool *p = c->pool;
    bool more = true;
    enum tr_rc rc = TR_OK;

    while (rc == TR_OK && more && p->bytes > p->max_bytes) {
        rc = drop_one(furthest_over(p), keep, &more, err);
        if (rc == TR_OK && !more && p->is_saving) {
            rc = p->ready(p->arg, err);
            more = true;
        }
    }
    return rc;
}

enum tr_rc cache_add(struct cache *c, struct cache_entry *e, struct tr_err *err)
{
    if ((c->n + 1) * 4 > (c->mask + 1) * 3 && grow(c, err) != TR_OK) {
        free(e);
        return TR_INTERNAL;
    }
    e->touched = true;
    place(c, e);
    c->n++;
    count(c, cost(e), 0);
    if (e->dirty)
        make_dirty(c, e);
    return make_room(c, e, err);
}

struct cache_entry *cache_resize(struct cache *c, struct cache_entry *e, size_t bytes)
{
    size_t i = e->hash & c->mask;

    while (c->entries[i] != e)
        i = (i + 1) & c->mask;
    size_t before = cost(e);
    struct cache_entry *moved = realloc(e, bytes);
    if (moved == NULL)
        return NULL;
    moved->bytes = (uint32_t)bytes;
    c->entries[i] = moved;
    count(c, cost(moved), before);
    if (moved->dirty)
        count_dirty(c, cost(moved), before);
    return moved;
}

enum tr_rc cache_changed(struct cache *c, struct cache_entry *e, struct tr_err *err)
{
    if (!e->dirty)
        make_dirty(c, e);
    return make_room(c, e, err);
}

/* ---- copies ---- */

static size_t copy_bytes(const struct cache_entry *e)
{
    return (e->bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

enum tr_rc cache_copy(struct cache *c, struct cache_image *ret, struct tr_err *err)
{
    size_t at = 0;

    *ret = (struct cache_image){ .ops = c->ops, .owner = c->owner };
    if (c->n_dirty == 0)
        return TR_OK;
    ret->bytes = malloc(c->dirty_bytes); /* of which OVERHEAD is more than alignment takes */
    ret->entries = malloc(c->n_dirty * sizeof(struct cache_entry *));
    if (ret->bytes == NULL || ret->entries == NULL) {
        cache_image_fini(ret);
        return tr_fail_oom(err);
    }
    for (size_t i = 0; i <= c->mask; i++) {
        struct cache_entry *e = c->entries[i];
        if (e == NULL || !e->dirty)
            continue;
        struct cache_entry *copy = (struct cache_entry *)(void *)(ret->bytes + at);
        memcpy(copy, e, e->bytes);
        at += copy_bytes(e);
        ret->entries[ret->n++] = copy;
        make_clean(c, e);
        e->copied = c->pool->copies;
    }
    return TR_OK;
}

void cache_image_sort(const struct cache_image *image)
{
    if (image->n > 1)
        qsort(image->entries, image->n, sizeof(struct cache_entry *), image->ops->compare);
}

enum tr_rc cache_image_write(const struct cache_image *image, size_t i, struct tr_err *err)
{
    return image->ops->write(image->owner, image->entries[i], err);
}

void cache_image_fini(struct cache_image *image)
{
    free(image->bytes);
    free(image->entries);
    *image = (struct cache_image){ 0 };
}
