/* Threads with a name, and a mutex-and-condition pair that waits on the boot-time clock. */
#ifndef TR_OS_THREAD_H
#define TR_OS_THREAD_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"

/* Starts main(arg) in a thread with all signals blocked; name of at most 15 bytes is shown by ps.
 */
TR_MUST_USE enum tr_rc tr_thread_start(pthread_t *ret, const char *name, void *(*main)(void *),
                                       void *arg, struct tr_err *err);

struct tr_monitor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

void tr_monitor_init(struct tr_monitor *m);
void tr_monitor_fini(struct tr_monitor *m);

static inline void tr_monitor_enter(struct tr_monitor *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

static inline void tr_monitor_leave(struct tr_monitor *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

/* Wakes all waiters; call inside. */
static inline void tr_monitor_tell(struct tr_monitor *m)
{
    (void)pthread_cond_broadcast(&m->changed);
}

/* Waits inside until told or until timeout_us passed (negative: for ever). False on timeout. */
bool tr_monitor_wait(struct tr_monitor *m, int64_t timeout_us);

#endif
