/* The commit that the writer is building. */
#ifndef TR_STORE_COMMIT_PRIV_H
#define TR_STORE_COMMIT_PRIV_H

#include "base/arena.h"
#include "store/store_priv.h"

enum { COUNTER_SLOTS = 2 * RECORD_COUNTERS };

struct commit {
    struct tr_store *s;
    struct dedup_view view;
    int64_t stamp; /* the next one */
    uint64_t next_seq, commit;

    struct tr_arena arena; /* heads with their counters, until the next commit begins */
    struct iovec *v;
    size_t n_v, cap_v;
    const struct record_head **heads;
    size_t n_heads, cap_heads;

    struct record_head *record; /* the open one: &head; NULL: none */
    struct record_head head;
    size_t head_v; /* its vector */
    size_t n_counters, last_counter;
    struct record_counter counters[RECORD_COUNTERS];
    uint16_t slots[COUNTER_SLOTS]; /* 1 + an index of counters; 0: free */
};

/* The counter of a project in a record that takes event_bytes more; closes the open record when it
 * is full or its minute is over, opens one when there is none. */
TR_MUST_USE enum tr_rc commit_counter(struct commit *c, int32_t project, size_t event_bytes,
                                      struct record_counter **ret, struct tr_err *err);
/* Adds a stamped event to the open record and moves to the next stamp. */
TR_MUST_USE enum tr_rc commit_event(struct commit *c, const char *p, size_t size,
                                    struct tr_err *err);
/* A record of its own with one event that no client sent, stamped here. */
TR_MUST_USE enum tr_rc commit_command(struct commit *c, char *p, size_t size, struct tr_err *err);
/* Nothing to do when none is open. */
TR_MUST_USE enum tr_rc commit_close_record(struct commit *c, bool ends_commit, struct tr_err *err);
/* A record of its own that closes the clock through c->stamp. */
TR_MUST_USE enum tr_rc commit_add_fence(struct commit *c, struct tr_err *err);

#endif
