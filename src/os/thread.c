#include "os/thread.h"

#include <signal.h>
#include <time.h>

enum tr_rc tr_thread_start(pthread_t *ret, const char *name, void *(*main)(void *), void *arg,
                           struct tr_err *err)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(ret, NULL, main, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return tr_fail_errno(err, error, "start thread %s", name);
    (void)pthread_setname_np(*ret, name);
    return TR_OK;
}

void tr_monitor_init(struct tr_monitor *m)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&m->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
}

void tr_monitor_fini(struct tr_monitor *m)
{
    (void)pthread_cond_destroy(&m->changed);
    (void)pthread_mutex_destroy(&m->lock);
}

bool tr_monitor_wait(struct tr_monitor *m, int64_t timeout_us)
{
    if (timeout_us < 0)
        return pthread_cond_wait(&m->changed, &m->lock) == 0;

    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + timeout_us % 1000000 * 1000;
    until.tv_sec += timeout_us / 1000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    return pthread_cond_timedwait(&m->changed, &m->lock, &until) == 0;
}
