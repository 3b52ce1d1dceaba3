/* One number that several threads share: bytes that may be in memory at once. */
#ifndef TR_BASE_BUDGET_H
#define TR_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct tr_budget {
    atomic_size_t used;
    size_t max;
};

static inline void tr_budget_init(struct tr_budget *b, size_t max)
{
    atomic_init(&b->used, 0);
    b->max = max;
}

/* Takes n bytes below max, or nothing. A request larger than that is granted when nothing else is
 * out, so that it can make progress at all. */
static inline bool tr_budget_take_below(struct tr_budget *b, size_t n, size_t max)
{
    size_t used = atomic_load_explicit(&b->used, memory_order_relaxed);

    do {
        if (used != 0 && (n > max || used > max - n))
            return false;
    } while (!atomic_compare_exchange_weak(&b->used, &used, used + n));
    return true;
}

static inline bool tr_budget_take(struct tr_budget *b, size_t n)
{
    return tr_budget_take_below(b, n, b->max);
}

/* Takes n bytes whatever the limit says: for bytes that already exist. */
static inline void tr_budget_force(struct tr_budget *b, size_t n)
{
    atomic_fetch_add(&b->used, n);
}

static inline void tr_budget_give(struct tr_budget *b, size_t n)
{
    atomic_fetch_sub(&b->used, n);
}

#endif
