/* Who each event belonged to when it came in: kept from when the journal was applied to the state
 * until the event is sealed.
 *
 * Files of records, one after the other: persons as they were (id and properties), and for each
 * journal record with events a list that says which of them each event belongs to. A list refers to
 * persons in its own file only, and a person who did not change is written once a file. One thread
 * (whoever applies the journal) writes, another may sync; any thread reads what was flushed.
 *
 * All of it is derived from the journal. What is on disk counts as far as state.db says that the
 * journal was applied; the rest is cut off at the start and made anew.
 */
#ifndef TR_STORE_ASOF_H
#define TR_STORE_ASOF_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/uuid.h"

enum { ASOF_FORMAT = 1 };

struct asof_mark {
    uint64_t seq; /* of the journal record */
    uint64_t at;  /* where its list stands in the file */
};

struct asof_file {
    atomic_uint refs;
    int fd;
    uint64_t id;
    char name[24];
    /* Under the lock: */
    struct asof_mark *marks;
    size_t n, cap;
    atomic_bool unsynced;
};

/* Where a person stands in its file: {0, 0} is nobody. */
struct asof_ref {
    uint32_t at8; /* in units of eight bytes */
    uint32_t n;   /* bytes of properties */
};

/* Where a person was written last; zeroed: nowhere. */
struct asof_place {
    uint64_t file;
    struct asof_ref ref;
};

struct asof {
    char *dir;
    pthread_mutex_t lock;
    struct asof_file **files; /* oldest first; the last one is written to */
    size_t n, cap;
    atomic_uint_fast64_t flushed_seq; /* lists up to this journal record can be read */

    /* the writer's: */
    struct asof_file *file; /* it is the last one, which is never dropped; not while at is 0 */
    uint64_t next_id;
    uint64_t at;       /* bytes of the file and of what waits */
    struct tr_buf out; /* not written yet */
    struct asof_mark *waiting;
    size_t n_waiting, cap_waiting;
    struct asof_ref *list; /* of the journal record at hand */
    size_t n_list, cap_list;
};

/* applied_seq: what state.db has; lists of later records are dropped. sealed_seq: whose lists
 * nobody needs. That one between is not there is found by who reads it. */
TR_MUST_USE enum tr_rc asof_open(struct asof *a, const char *dir, uint64_t sealed_seq,
                                 uint64_t applied_seq, struct tr_err *err);
/* What is there up to applied_seq, without changing anything. */
TR_MUST_USE enum tr_rc asof_look(struct asof *a, const char *dir, uint64_t applied_seq,
                                 struct tr_err *err);
void asof_close(struct asof *a);

/* ---- writing ---- */

/* The person of the next event of the record at hand; written when it is not in this file yet:
 * then place changes. place NULL: nobody. */
TR_MUST_USE enum tr_rc asof_add(struct asof *a, struct asof_place *place, const struct tr_uuid *id,
                                struct tr_str properties, struct tr_err *err);
/* The record is complete. */
TR_MUST_USE enum tr_rc asof_end(struct asof *a, uint64_t seq, struct tr_err *err);
/* To the file, for readers; through_seq: records without events included. */
TR_MUST_USE enum tr_rc asof_flush(struct asof *a, uint64_t through_seq, struct tr_err *err);
/* What was flushed goes to the disk, before state.db says that it was applied. */
TR_MUST_USE enum tr_rc asof_sync(struct asof *a, struct tr_err *err);
/* Forgets what was written for later records: the journal is applied to them again. */
void asof_reset(struct asof *a, uint64_t applied_seq);
/* Removes files that nobody needs: all of their lists are of records up to sealed_seq. */
TR_MUST_USE enum tr_rc asof_drop(struct asof *a, uint64_t sealed_seq, struct tr_err *err);

/* ---- reading ---- */

void asof_file_unref(struct asof_file *f);

/* The list of a flushed journal record with n events. The caller unrefs the file. TR_REFUSED
 * "store.damaged" when it is not there whole. */
TR_MUST_USE enum tr_rc asof_read(struct asof *a, uint64_t seq, size_t n, struct asof_ref *ret,
                                 struct asof_file **ret_file, struct tr_err *err);

/* A list for the journal record is there. */
bool asof_has(struct asof *a, uint64_t seq);

/* Some bytes of a file that were read ahead; zeroed: none. */
struct asof_window {
    uint64_t file, at;
    size_t n;
    char *p; /* ASOF_WINDOW bytes, or NULL */
};
enum { ASOF_WINDOW = 64 << 10 };
void asof_window_fini(struct asof_window *w);

/* Bytes of a person's record in its file: a head, the id and the properties. */
size_t asof_person_bytes(struct asof_ref ref);
/* TR_REFUSED "store.damaged" when the record, read by the caller, is not that person's. */
TR_MUST_USE enum tr_rc asof_check(const struct asof_file *f, struct asof_ref ref,
                                  const char *record, struct tr_err *err);

/* A person, appended to out: its id, then its properties. With a window (or NULL) persons that
 * stand one behind the other cost few reads. */
TR_MUST_USE enum tr_rc asof_person(const struct asof_file *f, struct asof_ref ref,
                                   struct asof_window *w, struct tr_buf *out, struct tr_err *err);

#endif
