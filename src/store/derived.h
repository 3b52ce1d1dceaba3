/* State that is derived from the journal: state.db.
 *
 * A user of it sees every record once, in order, and writes what it makes of them; the position it
 * has reached is in the same transaction, so whatever was lost with the process is replayed. The
 * first user is the counts per project and minute (counts.c). Thread-safe: one lock around
 * everything.
 */
#ifndef TR_STORE_DERIVED_H
#define TR_STORE_DERIVED_H

#include "store/counts.h"
#include "store/journal.h"
#include "store/store.h"
#include "store/store_sql.h"

struct derived {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *set_applied;
    struct journal *journal;
    struct counts *counts;
    struct tr_buf prefix;
    uint64_t applied_seq; /* seen by the user */
    /* Read without the lock, which is held while state.db is written: */
    atomic_int_fast64_t applied_through; /* everything below is in it */
    atomic_uint_fast64_t durable_seq;    /* what is in state.db for good */
};

/* Reads the position; attach before anything is applied. */
TR_MUST_USE enum tr_rc derived_open(struct derived *d, const char *path, struct tr_err *err);
void derived_close(struct derived *d);
void derived_attach(struct derived *d, struct journal *j);

/* Applies what is durable in the journal. */
TR_MUST_USE enum tr_rc derived_catch_up(struct derived *d, struct tr_err *err);

/* Catches up and sums. */
TR_MUST_USE enum tr_rc derived_counts(struct derived *d, int32_t project, struct tr_range range,
                                      struct tr_counts *ret, struct tr_err *err);

struct derived_position {
    uint64_t durable_seq;
    int64_t applied_through;
};
void derived_position(struct derived *d, struct derived_position *ret);

#endif
