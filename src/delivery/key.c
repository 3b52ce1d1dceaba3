#include "base/time.h"
#include "delivery/delivery_priv.h"
#include "os/clock.h"

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
