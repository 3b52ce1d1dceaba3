/* How many attempts there is room for. A worker's place is for work, not for waiting: an attempt
 * that has shown no sign of life for a while waits for its destination and takes no place until it
 * goes on. Exports that are doubtful (the last attempt did not end well, or there was none) have
 * places of their own, so that those which do not answer never stand in front of those which do. */
#include "engine/local/local_priv.h"
#include "os/clock.h"

enum {
    WAITS_AFTER_US = 500 * 1000, /* a commit takes that long now and then */
    DOUBTFUL_WAITS_AFTER_US = 100 * 1000,
};

struct room {
    int at_work, backfills_at_work, all;
};

static bool waits(const struct slot *s, int64_t boot)
{
    int64_t after = s->is_doubtful ? DOUBTFUL_WAITS_AFTER_US : WAITS_AFTER_US;

    return boot - atomic_load_explicit(&s->alive_at, memory_order_relaxed) > after;
}

static struct room count(const struct engine *e, bool doubtful)
{
    struct room r = { 0 };
    int64_t boot = tr_clock_boot_us();

    for (int i = 0; i < e->attempts; i++) {
        const struct slot *s = &e->slots[i];

        if (!s->is_busy || s->is_doubtful != doubtful)
            continue;
        bool works = !waits(s, boot);
        r.all++;
        r.at_work += works;
        r.backfills_at_work += works && s->is_backfill;
    }
    return r;
}

uint32_t engine_claimable(struct engine *e)
{
    uint32_t which = TR_CLAIM_ALL;

    tr_monitor_enter(&e->monitor);
    struct room sound = count(e, false);
    struct room doubtful = count(e, true);
    tr_monitor_leave(&e->monitor);

    int most = e->workers + e->waiting;
    if (sound.at_work >= e->workers || sound.all >= most)
        which |= TR_CLAIM_NO_SOUND;
    if (doubtful.at_work >= e->workers || doubtful.all >= most)
        which |= TR_CLAIM_NO_DOUBTFUL;
    /* One place is left to intervals: a backfill of years must not delay the last five seconds. */
    if (e->workers > 1 && sound.backfills_at_work + doubtful.backfills_at_work >= e->workers - 1)
        which |= TR_CLAIM_NO_BACKFILL;
    return which;
}
