/* Segment files of the journal: recovery, appending, reading, dropping.
 *
 * One thread (the writer) appends; any thread reads what is synced. A segment that a cursor stands
 * in stays readable after it was dropped.
 */
#ifndef TR_STORE_JOURNAL_H
#define TR_STORE_JOURNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "store/record.h"

struct segment_mark {
    uint64_t at, seq;
    int64_t first_stamp;
};

struct segment {
    atomic_uint refs;
    int fd;
    uint64_t first_seq;
    char name[24];
    /* Under the journal's lock: */
    uint64_t synced; /* bytes of records that are durable */
    uint64_t last_seq;
    struct segment_mark *marks; /* a record every MARK_BYTES or so, from the first on */
    size_t n_marks, cap_marks;
    uint64_t ready; /* the writer's: zeros stand from synced to here; 0: none do */
};

struct journal {
    char *dir;
    uint32_t epoch, salt;
    size_t segment_bytes;

    pthread_mutex_t lock;
    struct segment **segments; /* in order; the last one is written to and never dropped */
    size_t n, cap;
    uint64_t bytes; /* of all segments */
    /* Changed under the lock by the writer's thread only, which reads them without: */
    struct segment *active; /* the last of segments */
    uint64_t last_seq, last_commit;
    int64_t last_stamp; /* of the last durable record: the clock is closed through it */
};

/* Sees every record that is recovered, in order. */
struct journal_visitor {
    enum tr_rc (*record)(void *ctx, const struct record_head *, const char *events,
                         struct tr_err *);
    void *ctx;
};

/* Opens the folder, recovers, and makes the first segment when there is none. A segment that lacks
 * (any record after needed_seq has to be there) or is damaged: TR_REFUSED "store.damaged". */
TR_MUST_USE enum tr_rc journal_open(struct journal *j, const char *dir, uint32_t epoch,
                                    uint32_t salt, size_t segment_bytes, uint64_t needed_seq,
                                    const struct journal_visitor *visitor, struct tr_err *err);
void journal_close(struct journal *j);

/* One commit: writes the vectors, which hold the n records of heads with all their parts, at the
 * end and syncs. roomy: the disk has room to prepare for the commits to come. On failure nothing of
 * it is in the file. A sync that fails ends the process: nobody knows what the page cache holds
 * then. Begins a new segment when the last one is full. */
TR_MUST_USE enum tr_rc journal_append(struct journal *j, struct iovec *v, int n_v,
                                      const struct record_head *const *heads, size_t n, bool roomy,
                                      struct tr_err *err);

/* Removes segments whose records are all <= seq, never the last one. */
TR_MUST_USE enum tr_rc journal_drop(struct journal *j, uint64_t seq, struct tr_err *err);

struct journal_position {
    uint64_t last_seq, bytes;
    int64_t last_stamp;
};
void journal_position(struct journal *j, struct journal_position *ret);

/* Stands before a record. Zeroed: nowhere. */
struct journal_cursor {
    struct journal *journal;
    struct segment *segment;
    uint64_t at, next_seq;
};

/* Before the record seq (which may be the one that will come next), or before the first one that
 * may hold events from stamp on. False: it was dropped already. */
bool journal_seek(struct journal *j, uint64_t seq, struct journal_cursor *ret);
bool journal_seek_stamp(struct journal *j, int64_t stamp, struct journal_cursor *ret);
void journal_cursor_fini(struct journal_cursor *c);

enum journal_step { JOURNAL_RECORD, JOURNAL_END, JOURNAL_DROPPED };

/* Reads the next record's head and counters (into prefix: a struct record_head, then counters) and
 * stands behind it. JOURNAL_END: no further durable record. JOURNAL_DROPPED: the next segment went.
 */
TR_MUST_USE enum tr_rc journal_next(struct journal_cursor *c, struct tr_buf *prefix,
                                    enum journal_step *ret, struct tr_err *err);

/* Appends the events of the record that journal_next just gave (its head in h) to out, verified. */
TR_MUST_USE enum tr_rc journal_events(struct journal_cursor *c, const struct record_head *h,
                                      struct tr_buf *out, struct tr_err *err);

#endif
