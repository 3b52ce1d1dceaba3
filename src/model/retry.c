#include "model/retry.h"

#include "base/time.h"

#define FIRST_US         (1 * TR_US_PER_S)
#define MOST_US          (5 * TR_US_PER_MIN)
#define THROTTLE_MOST_US (1 * TR_US_PER_HOUR)

/* 1 s, 2 s, 4 s ... 5 min, of which the upper half is left to chance: many runs that failed
 * together come back spread out, and none comes back at once. */
static int64_t exponential(uint32_t attempts, uint64_t random)
{
    int64_t whole = FIRST_US;

    for (uint32_t i = 1; i < attempts && whole < MOST_US; i++)
        whole *= 2;
    if (whole > MOST_US)
        whole = MOST_US;
    int64_t half = whole / 2;
    return half + (int64_t)(random % (uint64_t)(half + 1));
}

struct tr_retry tr_retry_after(const struct tr_err *err, uint32_t attempts, uint64_t random,
                               int64_t now_us)
{
    struct tr_retry r = { .again = true, .delay_us = exponential(attempts, random) };

    switch (err->rc) {
    case TR_TRANSIENT:
    case TR_INTERNAL:
        return r;
    case TR_AMBIGUOUS: /* its reason may be the same */
    case TR_THROTTLED: {
        /* A time long past or absent says nothing; one far away is not believed. */
        int64_t wait = err->not_before_us > now_us ? err->not_before_us - now_us : 0;
        if (wait > THROTTLE_MOST_US)
            wait = THROTTLE_MOST_US;
        if (wait > r.delay_us)
            r.delay_us = wait;
        return r;
    }
    case TR_OK:
    case TR_REFUSED:
    case TR_INVALID:
    case TR_CANCELLED:
        break;
    }
    return (struct tr_retry){ .again = false, .delay_us = 0 };
}
