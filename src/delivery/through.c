/* How far an export has come. */
#include "delivery/delivery_priv.h"

struct collect {
    struct ranges delivered;
    enum tr_rc rc;
    struct tr_err *err;
};

static bool add_delivered(void *arg, const struct tr_delivered *d)
{
    struct collect *c = arg;

    c->rc = ranges_add(&c->delivered, d->range, c->err);
    return c->rc == TR_OK;
}

/* Where events lie in none of the delivered ranges, most gaps hold nothing. */
static enum tr_rc first_in(const struct tr_delivery *d, int32_t project,
                           const struct tr_schema *schema, const struct ranges *left, int64_t *ret,
                           struct tr_err *err)
{
    for (size_t i = 0; i < left->n; i++) {
        bool any = false;
        int64_t first = 0;
        int64_t last = 0;
        enum tr_rc rc = d->source->ops->extent(d->source, project, schema, left->v[i], &any, &first,
                                               &last, err);

        if (rc != TR_OK)
            return rc;
        if (any) {
            *ret = first;
            return TR_OK;
        }
    }
    return TR_OK;
}

enum tr_rc tr_delivered_through(const struct tr_delivery *d, const struct tr_uuid *export_id,
                                uint64_t target, int32_t project, const struct tr_schema *schema,
                                struct tr_range range, int64_t *ret, struct tr_err *err)
{
    struct collect c = { .rc = TR_OK, .err = err };
    struct ranges left = { 0 };
    enum tr_rc rc =
        d->meta->ops->delivered_list(d->meta, export_id, target, range, add_delivered, &c, err);

    *ret = range.hi;
    if (rc == TR_OK)
        rc = c.rc;
    ranges_sort(&c.delivered);
    if (rc == TR_OK)
        rc = ranges_left(range, &c.delivered, &left, err);
    if (rc == TR_OK)
        rc = first_in(d, project, schema, &left, ret, err);
    ranges_fini(&c.delivered);
    ranges_fini(&left);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "look how far the export has come");
}
