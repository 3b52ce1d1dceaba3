/* A half-open range [lo, hi) of the ingestion clock, in microseconds. */
#ifndef TR_MODEL_RANGE_H
#define TR_MODEL_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tr_range {
    int64_t lo, hi;
};

static inline bool tr_range_empty(struct tr_range r)
{
    return r.hi <= r.lo;
}

static inline struct tr_range tr_range_meet(struct tr_range a, struct tr_range b)
{
    return (struct tr_range){ a.lo > b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi };
}

/* whole minus the n ranges of cut (sorted by lo, may overlap): writes the parts that are left, in
 * order, to ret (room for n + 1) and returns how many. */
size_t tr_range_subtract(struct tr_range whole, const struct tr_range *cut, size_t n,
                         struct tr_range *ret);

#endif
