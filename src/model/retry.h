/* The retry policy: one pure function. Only the engine sleeps. */
#ifndef TR_MODEL_RETRY_H
#define TR_MODEL_RETRY_H

#include "base/err.h"

struct tr_retry {
    bool again;       /* false: failed, a person must act (refused, invalid) or it was cancelled */
    int64_t delay_us; /* wait at least this long */
};

/* attempts: how many have failed in a row without progress, this one included (1 the first).
 * random: 64 random bits for the jitter. now_us against err->not_before_us (throttled).
 * transient, ambiguous, internal: exponential from 1 s to 5 min with half jitter, without end.
 * throttled: not before what the other side said (at most 1 h), and no sooner than the exponential.
 */
struct tr_retry tr_retry_after(const struct tr_err *err, uint32_t attempts, uint64_t random,
                               int64_t now_us);

#endif
