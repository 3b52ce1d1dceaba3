#include "store/cache.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024 };

enum tr_rc cache_init(struct cache *c, const struct cache_ops *ops, void *owner, size_t max_bytes,
                      struct tr_err *err)
{
    *c = (struct cache){ .ops = ops, .owner = owner, .max_bytes = max_bytes };
    c->slots = calloc(FIRST_SLOTS, sizeof(struct cache_entry *));
    if (c->slots == NULL)
        return tr_fail_oom(err);
    c->mask = FIRST_SLOTS - 1;
    return TR_OK;
}

void cache_forget(struct cache *c)
{
    if (c->slots == NULL)
        return;
    for (size_t i = 0; i <= c->mask; i++) {
        if (c->slots[i] != NULL)
            c->ops->free(c->slots[i]);
        c->slots[i] = NULL;
    }
    c->n = c->bytes = c->dirty_bytes = 0;
}

void cache_fini(struct cache *c)
{
    cache_forget(c);
    free(c->slots);
    *c = (struct cache){ 0 };
}

struct cache_entry *cache_find(struct cache *c, uint32_t hash, const void *key)
{
    for (size_t i = hash & c->mask; c->slots[i] != NULL; i = (i + 1) & c->mask) {
        struct cache_entry *e = c->slots[i];
        if (e->hash == hash && c->ops->is(e, key)) {
            e->touched = true;
            return e;
        }
    }
    return NULL;
}

static void place(struct cache *c, struct cache_entry *e)
{
    size_t i = e->hash & c->mask;

    while (c->slots[i] != NULL)
        i = (i + 1) & c->mask;
    c->slots[i] = e;
}

static enum tr_rc grow(struct cache *c, struct tr_err *err)
{
    size_t old = c->mask + 1;
    struct cache_entry **before = c->slots;
    struct cache_entry **slots = calloc(2 * old, sizeof(struct cache_entry *));

    if (slots == NULL)
        return tr_fail_oom(err);
    c->slots = slots;
    c->mask = 2 * old - 1;
    for (size_t i = 0; i < old; i++)
        if (before[i] != NULL)
            place(c, before[i]);
    free(before);
    return TR_OK;
}

/* Takes the entry out of slot i; those behind it move up where the gap would hide them. */
static void take_out(struct cache *c, size_t i)
{
    c->slots[i] = NULL;
    for (size_t k = (i + 1) & c->mask; c->slots[k] != NULL; k = (k + 1) & c->mask) {
        size_t home = c->slots[k]->hash & c->mask;
        if (((k - home) & c->mask) < ((k - i) & c->mask))
            continue;
        c->slots[i] = c->slots[k];
        c->slots[k] = NULL;
        i = k;
    }
    c->n--;
}

enum tr_rc cache_write_one(struct cache *c, struct cache_entry *e, struct tr_err *err)
{
    if (!e->dirty)
        return TR_OK;
    if (c->ops->write(c->owner, e, err) != TR_OK)
        return err == NULL ? TR_INTERNAL : err->rc;
    e->dirty = false;
    c->dirty_bytes -= e->bytes;
    return TR_OK;
}

/* The hand goes round: what was touched since it came last gets another round. */
static enum tr_rc make_room(struct cache *c, const struct cache_entry *keep, struct tr_err *err)
{
    /* After two rounds everything but keep was looked at untouched: it is larger than the table. */
    for (size_t steps = 2 * (c->mask + 1); c->bytes > c->max_bytes && c->n > 1 && steps > 0;
         steps--) {
        struct cache_entry *e = c->slots[c->hand];

        if (e == NULL || e == keep || e->touched) {
            if (e != NULL)
                e->touched = false;
            c->hand = (c->hand + 1) & c->mask;
            continue;
        }
        enum tr_rc rc = cache_write_one(c, e, err);
        if (rc != TR_OK)
            return rc;
        c->bytes -= e->bytes;
        take_out(c, c->hand); /* another may stand there now: the hand stays */
        c->ops->free(e);
    }
    return TR_OK;
}

enum tr_rc cache_add(struct cache *c, struct cache_entry *e, struct tr_err *err)
{
    if ((c->n + 1) * 4 > (c->mask + 1) * 3 && grow(c, err) != TR_OK) {
        c->ops->free(e);
        return TR_INTERNAL;
    }
    e->touched = true;
    place(c, e);
    c->n++;
    c->bytes += e->bytes;
    if (e->dirty)
        c->dirty_bytes += e->bytes;
    return make_room(c, e, err);
}

enum tr_rc cache_changed(struct cache *c, struct cache_entry *e, size_t bytes, struct tr_err *err)
{
    c->bytes += bytes - e->bytes;
    c->dirty_bytes += e->dirty ? bytes - e->bytes : bytes;
    e->bytes = (uint32_t)bytes;
    e->dirty = true;
    return c->bytes > c->max_bytes ? make_room(c, e, err) : TR_OK;
}

enum tr_rc cache_write(struct cache *c, struct tr_err *err)
{
    size_t n = 0;
    enum tr_rc rc = TR_OK;

    if (c->dirty_bytes == 0)
        return TR_OK;
    struct cache_entry **list = malloc(c->n * sizeof(struct cache_entry *));
    if (list == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i <= c->mask; i++)
        if (c->slots[i] != NULL && c->slots[i]->dirty)
            list[n++] = c->slots[i];
    qsort(list, n, sizeof(struct cache_entry *), c->ops->compare);
    for (size_t i = 0; i < n && rc == TR_OK; i++)
        rc = cache_write_one(c, list[i], err);
    free(list);
    return rc;
}
