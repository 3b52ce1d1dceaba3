/* A thread that reads a journal record's events and takes them apart while others are applied.
 *
 * One record at a time: start; take, use and give back part after part until there is none; stop.
 */
#ifndef TR_STORE_AHEAD_H
#define TR_STORE_AHEAD_H

#include "os/thread.h"
#include "store/journal.h"
#include "store/state_step.h"

enum { AHEAD_STEPS = 64, AHEAD_PARTS = 8 };

struct ahead_part {
    size_t n;
    struct step steps[AHEAD_STEPS];
};

struct ahead {
    struct tr_buf events; /* the record's, or as far as it is read */
    struct ahead_part *parts;
    pthread_t thread;
    bool is_started;
    int niceness;
    /* under the monitor: */
    struct tr_monitor monitor;
    struct journal_cursor *cursor; /* not NULL: there is a record to read */
    struct record_head head;
    size_t made, used; /* parts since the record began */
    bool is_through, stopping, closing;
    enum tr_rc rc;
    struct tr_err err;
};

void ahead_init(struct ahead *a, int niceness);
void ahead_fini(struct ahead *a);

/* The record that the cursor is behind; both stay until ahead_stop. */
TR_MUST_USE enum tr_rc ahead_start(struct ahead *a, struct journal_cursor *c,
                                   const struct record_head *h, struct tr_err *err);
/* The next steps, in order; NULL in *ret: that was all. */
TR_MUST_USE enum tr_rc ahead_take(struct ahead *a, struct ahead_part **ret, struct tr_err *err);
void ahead_give_back(struct ahead *a);
/* Also before all was taken. */
void ahead_stop(struct ahead *a);

#endif
