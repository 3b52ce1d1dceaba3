#include <stdlib.h>

#include "delivery/delivery_priv.h"

void ranges_fini(struct ranges *r)
{
    free(r->v);
    *r = (struct ranges){ 0 };
}

static enum tr_rc reserve(struct ranges *r, size_t more, struct tr_err *err)
{
    if (r->cap - r->n >= more)
        return TR_OK;

    size_t cap = r->cap == 0 ? 16 : r->cap * 2;
    while (cap - r->n < more)
        cap *= 2;
    struct tr_range *v = realloc(r->v, cap * sizeof(*v));
    if (v == NULL)
        return tr_fail_oom(err);
    r->v = v;
    r->cap = cap;
    return TR_OK;
}

enum tr_rc ranges_add(struct ranges *r, struct tr_range range, struct tr_err *err)
{
    if (tr_range_empty(range))
        return TR_OK;

    enum tr_rc rc = reserve(r, 1, err);
    if (rc == TR_OK)
        r->v[r->n++] = range;
    return rc;
}

static int by_lo(const void *a, const void *b)
{
    const struct tr_range *x = a;
    const struct tr_range *y = b;

    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void ranges_sort(struct ranges *r)
{
    if (r->n > 1)
        qsort(r->v, r->n, sizeof(r->v[0]), by_lo);
}

enum tr_rc ranges_left(struct tr_range whole, const struct ranges *cut, struct ranges *ret,
                       struct tr_err *err)
{
    enum tr_rc rc = reserve(ret, cut->n + 1, err);

    if (rc == TR_OK)
        ret->n += tr_range_subtract(whole, cut->v, cut->n, ret->v + ret->n);
    return rc;
}
