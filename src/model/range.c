#include "model/range.h"

size_t tr_range_subtract(struct tr_range whole, const struct tr_range *cut, size_t n,
                         struct tr_range *ret)
{
    size_t parts = 0;
    int64_t at = whole.lo;

    for (size_t i = 0; i < n && at < whole.hi; i++) {
        if (tr_range_empty(cut[i]) || cut[i].hi <= at)
            continue;
        if (cut[i].lo > at) {
            int64_t hi = cut[i].lo < whole.hi ? cut[i].lo : whole.hi;
            ret[parts++] = (struct tr_range){ at, hi };
        }
        at = cut[i].hi;
    }
    if (at < whole.hi)
        ret[parts++] = (struct tr_range){ at, whole.hi };
    return parts;
}
