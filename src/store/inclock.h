/* The ingestion clock: unique, strictly increasing microseconds that stay near the wall clock.
 *
 * Its time is an anchor plus the boot-time clock, drawn towards the wall clock by at most
 * INCLOCK_SLEW_PERCENT, so a step of the wall clock is followed slowly. A step over max_jump_us
 * makes it doubtful: it then gives no stamps until the wall clock comes back or a person accepts
 * it. The anchor is kept over restarts within one boot, so a step while nothing ran is noticed,
 * too. Not thread-safe: the store holds its clock lock around calls.
 */
#ifndef TR_STORE_INCLOCK_H
#define TR_STORE_INCLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { INCLOCK_SLEW_PERCENT = 5 };
enum { INCLOCK_BOOT_ID = 37 };

/* Where time comes from. Tests have their own. */
struct clock_source {
    int64_t (*wall_us)(void *ctx);
    int64_t (*boot_us)(void *ctx);
    void (*boot_id)(void *ctx, char out[INCLOCK_BOOT_ID]);
    void *ctx;
};
extern const struct clock_source clock_source_system;

enum inclock_doubt {
    INCLOCK_SURE,
    INCLOCK_JUMPED, /* the wall clock is not where it should be by the boot-time clock */
    INCLOCK_BEHIND, /* the wall clock is far behind the newest stamp */
};

struct inclock {
    struct clock_source source;
    int64_t max_jump_us;
    int64_t last;   /* the newest stamp that was given or closed through */
    int64_t anchor; /* the time at anchor_boot */
    int64_t anchor_boot;
    bool accepted; /* a wall clock behind the newest stamp is right */
    enum inclock_doubt doubt;
    char boot_id[INCLOCK_BOOT_ID];
};

/* Starts behind `last`. saved is what inclock_save wrote (NULL: nothing). */
void inclock_init(struct inclock *c, const struct clock_source *source, int64_t max_jump_us,
                  int64_t last, const char *saved, bool accept);

/* Looks at the clocks: slews, sets doubt, and returns the time, which is at least last + 1. */
int64_t inclock_now(struct inclock *c);

/* Stamps up to `last` are taken. */
static inline void inclock_took(struct inclock *c, int64_t last)
{
    if (last > c->last)
        c->last = last;
}

/* One line of text that inclock_init understands. */
void inclock_save(const struct inclock *c, struct tr_buf *out);

#endif
