/* Who makes runs happen: the port. Adapter: local/ (threads of this process).
 *
 * The engine makes a STARTING run when an interval of an active export ends (catching up after
 * downtime in few runs), expands backfills into runs, claims due runs, waits until their interval
 * is closed at the source, calls delivery, applies the retry policy and finishes runs in meta.
 *
 * A run that waits for its destination takes no place from those that work. Of exports whose last
 * attempt did not end well as many again may work and wait, apart from the others.
 *
 * Runs of exports in real time begin with their interval, a minute, and are carried through in
 * steps while it goes on; each has a worker of its own, which mostly waits.
 */
#ifndef TR_ENGINE_ENGINE_H
#define TR_ENGINE_ENGINE_H

#include "delivery/delivery.h"

struct tr_engine_options {
    const struct tr_delivery *delivery;
    int workers;            /* runs at work at once; default 4 */
    int waiting;            /* and as many more that only wait for their destination; default 128 */
    int live_workers;       /* exports in real time that are served at once; default 256 */
    int64_t lease_us;       /* default 60 s */
    int catch_up_intervals; /* most intervals that one catch-up run covers; default: all missed ones
                               that fit into 1 day, or one interval where that is longer */
    int64_t quiet_us;       /* intervals without rows are bundled up to this length; 0: never */
    int64_t keep_us;        /* runs that completed are folded into days after this; 0: never */
    int64_t patience_us;    /* how long refusals that may pass are tried again; 0: not at all */
    int64_t keep_quiet_us;  /* those that found nothing; 0: like the others */
};

struct tr_engine {
    const struct tr_engine_ops *ops;
};

struct tr_engine_ops {
    const char *name;
    /* Something changed in meta (an export, a run, a backfill): look again now. Any thread. */
    void (*wake)(struct tr_engine *);
    /* Asks running attempts to stop and waits for them, at most grace_us; then frees. Runs that
     * were stopped are due at once at the next start. */
    void (*stop)(struct tr_engine *, int64_t grace_us);
};

TR_MUST_USE enum tr_rc tr_engine_local_start(const struct tr_engine_options *o,
                                             struct tr_engine **ret, struct tr_err *err);

#endif
