/* What a call that may take long is allowed to do: how long, and whether somebody changed their
 * mind. Passed down from the engine; nothing below waits past it. */
#ifndef TR_BASE_CTX_H
#define TR_BASE_CTX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tr_ctx {
    int64_t deadline_us;          /* boot-time clock (tr_clock_boot_us); INT64_MAX: none */
    const atomic_bool *cancelled; /* may be NULL */
    /* Where delivery notes (boot clock) that it goes on; may be NULL. Whoever started the attempt
     * tells by it work from waiting for somebody else. */
    _Atomic int64_t *alive_at;
};

static inline bool tr_ctx_cancelled(const struct tr_ctx *cx)
{
    return cx->cancelled != NULL && atomic_load_explicit(cx->cancelled, memory_order_relaxed);
}

#endif
