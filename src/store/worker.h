/* A thread of the store that makes passes: when it is told to, and now and then. A pass that fails
 * is tried again soon; until one succeeds the reason can be asked for. */
#ifndef TR_STORE_WORKER_H
#define TR_STORE_WORKER_H

#include "os/thread.h"

struct tr_store;

enum { WORKER_NAP_US = 500 * 1000 }; /* between two passes, unless told */

struct store_worker {
    struct tr_monitor monitor;
    bool told, closing; /* inside the monitor, as is trouble */
    char trouble[256];
    char said[256]; /* of trouble; the thread's own */
    const char *name;
    bool started;
    pthread_t thread;
    struct tr_store *s;
    enum tr_rc (*pass)(struct tr_store *, struct tr_err *);
    int niceness;
    int64_t nap_us; /* the pass may set it */
};

void worker_init(struct store_worker *w);
void worker_fini(struct store_worker *w);
TR_MUST_USE enum tr_rc worker_start(struct store_worker *w, const char *name, struct tr_store *s,
                                    enum tr_rc (*pass)(struct tr_store *, struct tr_err *),
                                    int niceness, struct tr_err *err);
/* A pass is wanted now; after the one that runs, if one does. From any thread. */
void worker_tell(struct store_worker *w);
/* Ends it after the pass that runs, and waits for that. */
void worker_stop(struct store_worker *w);
/* Copies why the last pass failed into out when it is empty so far. */
void worker_trouble(struct store_worker *w, char *out, size_t cap);

#endif
