#include "base/time.h"
#include "delivery/delivery_priv.h"
#include "os/clock.h"

uint32_t delivery_epoch(const struct tr_delivery *d, uint32_t n)
{
    if (d->n_epochs == 0)
        return d->epoch;
    return n == 0 || n > d->n_epochs ? d->first_epoch : d->epochs[n - 1].epoch;
}

int64_t delivery_restored_at(const struct tr_delivery *d)
{
    return d->n_epochs == 0 ? INT64_MIN : d->epochs[d->n_epochs - 1].began_at;
}

/* How many epochs have begun by then. */
static int64_t epochs_by(const struct tr_delivery *d, int64_t instant)
{
    size_t n = 0;

    while (n < d->n_epochs && d->epochs[n].began_at <= instant)
        n++;
    return (int64_t)n;
}

void delivery_order_versions(const struct tr_delivery *d, struct tr_batch *b, bool anew)
{
    const struct tr_schema *s = b->schema;

    if (d->n_epochs == 0 || !s->is_mutable)
        return;
    for (size_t i = 0; i < s->n_versions; i++) {
        int64_t *version = b->col[s->versions[i]].i64;

        if (s->columns[s->versions[i]].type != TR_TYPE_INT64 || version == NULL)
            continue;
        for (size_t row = 0; row < b->rows; row++)
            version[row] += epochs_by(d, anew ? INT64_MAX : b->inserted_at[row])
                            << DELIVERY_EPOCH_SHIFT;
    }
}

struct tr_key delivery_key(const struct tr_delivery *d, const struct tr_export *e,
                           uint32_t generation, struct tr_range range)
{
    return (struct tr_key){
        .installation = d->installation,
        .epoch = d->epoch,
        .export_id = e->id,
        .target = e->target,
        .generation = generation,
        .range = range,
    };
}

void delivery_alive(const struct tr_ctx *cx)
{
    if (cx->alive_at != NULL)
        atomic_store_explicit(cx->alive_at, tr_clock_boot_us(), memory_order_relaxed);
}

struct tr_ctx delivery_call(const struct tr_ctx *cx, int64_t limit_s)
{
    struct tr_ctx call = *cx;
    int64_t deadline = tr_clock_boot_us() + limit_s * TR_US_PER_S;

    delivery_alive(cx);

    if (deadline < call.deadline_us)
        call.deadline_us = deadline;
    return call;
}
