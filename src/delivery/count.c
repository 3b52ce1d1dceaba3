#include "base/time.h"
#include "delivery/delivery_priv.h"

enum tr_rc count_planned(const struct tr_ctx *cx, const struct tr_delivery *d, int32_t project,
                         const struct tr_schema *schema, struct tr_range range, uint64_t *ret,
                         struct tr_err *err)
{
    uint64_t rows = 0;

    while (!tr_range_empty(range)) {
        struct tr_part parts[DELIVERY_PLAN_SLICE];
        size_t n = 0;
        int64_t covered = range.lo;
        enum tr_rc rc =
            d->source->ops->plan(cx, d->source, project, schema, range, INT64_MAX, INT64_MAX, parts,
                                 DELIVERY_PLAN_SLICE, &n, &covered, err);

        if (rc != TR_OK)
            return tr_wrap(err, "count %s", schema->name);
        if (covered <= range.lo)
            return tr_fail(err, TR_INTERNAL, "delivery.plan_stuck", NULL,
                           "the source planned nothing");
        for (size_t i = 0; i < n; i++)
            rows += parts[i].rows;
        range.lo = covered;
    }
    *ret = rows;
    return TR_OK;
}

enum tr_rc count_stored(const struct tr_ctx *cx, const struct tr_delivery *d, int32_t project,
                        struct tr_range range, uint64_t *ret, struct tr_err *err)
{
    if (tr_range_empty(range)) {
        *ret = 0;
        return TR_OK;
    }
    if (range.lo % TR_US_PER_MIN != 0 || range.hi % TR_US_PER_MIN != 0)
        return count_planned(cx, d, project, &tr_schema_events, range, ret, err);

    struct tr_counts counts;
    enum tr_rc rc = d->source->ops->counts(d->source, project, range, &counts, err);
    if (rc != TR_OK)
        return tr_wrap(err, "read the store's counts");
    *ret = counts.stored;
    return TR_OK;
}
