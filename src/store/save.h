/* Writing to state.db what has changed, while more is applied.
 *
 * What is to be written is copied first (cache_copy); a thread of its own writes the copies into
 * the transaction that is open, and commits it. Until it has ended nobody else changes the
 * database; one may look into it between two of its writes, in a turn.
 */
#ifndef TR_STORE_SAVE_H
#define TR_STORE_SAVE_H

#include <stdatomic.h>

#include "store/asof.h"
#include "store/cache.h"
#include "store/store_sql.h"
#include "store/turns.h"

enum { SAVE_IMAGES = 2 };

struct save {
    sqlite3 *db;
    struct asof *asof; /* its lists are on the disk before the transaction is */
    struct turns turns;
    struct cache_image images[SAVE_IMAGES]; /* filled by who starts it */
    bool active;                            /* began, and nobody has heard of its end */
    atomic_bool ended;
    atomic_bool failed; /* set in the turn in which it did: look-ups since may be wrong */
    bool threaded;
    pthread_t thread;
    atomic_int tid; /* 0: not known yet */
    int wal_pages;  /* as of the last commit */
    enum tr_rc rc;
    struct tr_err err;
};

/* The connection becomes its own for as long as it is active. */
void save_init(struct save *s, sqlite3 *db);
void save_fini(struct save *s);

/* Writes the images and commits. */
void save_start(struct save *s);
/* How it went, once it has ended; *ret_ended false: it has not, and wait was false. Who waits lends
 * it a niceness, where the system allows that. A transaction that failed is still open. */
TR_MUST_USE enum tr_rc save_end(struct save *s, bool wait, int niceness, bool *ret_ended,
                                struct tr_err *err);

#endif
