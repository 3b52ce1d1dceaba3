/* State that is derived from the journal: state.db.
 *
 * Every record is seen once, in order, by its users: the counts per project and minute (counts.c),
 * persons, sessions and groups (state.c). What they make of it is in memory first; it is saved now
 * and then, in one transaction with the position it stands for, so whatever was lost with the
 * process is made again from the journal. More is applied meanwhile (save.c), until something has
 * to be written at once: that waits. Whose each event was is kept beside it until the event is
 * sealed (asof.c). Thread-safe: one lock around everything.
 */
#ifndef TR_STORE_DERIVED_H
#define TR_STORE_DERIVED_H

#include "store/ahead.h"
#include "store/asof.h"
#include "store/counts.h"
#include "store/journal.h"
#include "store/save.h"
#include "store/state.h"
#include "store/store.h"
#include "store/store_sql.h"

/* Of the threads that apply the journal, where the system allows it, and of one that saves while
 * they wait for it: everybody else waits for what they are behind. */
enum { DERIVED_NICENESS = -10 };

struct derived {
    char *path;
    struct turns lock;
    sqlite3 *db;
    sqlite3_stmt *set_applied;
    struct journal *journal;
    struct asof *asof;
    struct counts *counts;
    struct state *state;
    struct tr_buf prefix, events;
    struct ahead ahead;
    struct journal_cursor cursor; /* before the record behind applied_seq; or nowhere */
    size_t dirty_most;
    uint64_t applied_seq;                    /* seen by the users */
    int64_t through;                         /* everything below is */
    uint64_t bytes;                          /* of journal since the last save began */
    int64_t commit_us, saved_at, applied_at; /* boot-time clock */
    bool in_transaction;
    struct save save;
    uint64_t save_seq; /* what it stands for */
    int64_t save_through;
    sqlite3 *checkpointer;
    int64_t durable_through;
    uint64_t asof_from; /* records up to here were applied before anybody asked whose events are */
    /* Read without the lock, which may be held for long: */
    atomic_int_fast64_t applied_through; /* everything below is in it */
    atomic_uint_fast64_t applied_bytes;  /* of journal, since the start */
    atomic_uint_fast64_t durable_seq;    /* what is in state.db for good */
    atomic_int_fast64_t visible_through; /* what happened below is seen by other connections */
    atomic_bool waiting;
    atomic_int_fast64_t waited_us, wait_ended;
};

/* Reads the position; attach before anything is applied. */
TR_MUST_USE enum tr_rc derived_open(struct derived *d, const char *path, size_t cache_bytes,
                                    int64_t commit_us, struct tr_err *err);
void derived_close(struct derived *d);
void derived_attach(struct derived *d, struct journal *j, struct asof *a);

/* Applies what is durable in the journal; has saved what has waited long enough or became much. */
TR_MUST_USE enum tr_rc derived_catch_up(struct derived *d, struct tr_err *err);
/* The same, and commits everything: connections of others see state through t from then on. */
TR_MUST_USE enum tr_rc derived_commit_through(struct derived *d, int64_t t, struct tr_err *err);
/* Moves what was committed from the write-ahead log into the database. The keeper's. */
TR_MUST_USE enum tr_rc derived_checkpoint(struct derived *d, struct tr_err *err);

/* Catches up and sums. */
TR_MUST_USE enum tr_rc derived_counts(struct derived *d, int32_t project, struct tr_range range,
                                      struct tr_counts *ret, struct tr_err *err);

/* A look at single things as they are now: use() runs inside the lock, after catching up. */
TR_MUST_USE enum tr_rc derived_use(struct derived *d,
                                   enum tr_rc (*use)(struct state *, void *, struct tr_err *),
                                   void *arg, struct tr_err *err);

struct derived_position {
    uint64_t durable_seq;
    int64_t applied_through;
    bool waiting;                  /* for the end of a save: nothing is applied meanwhile */
    int64_t waited_us, wait_ended; /* the last time; boot-time clock */
};
void derived_position(struct derived *d, struct derived_position *ret);

#endif
