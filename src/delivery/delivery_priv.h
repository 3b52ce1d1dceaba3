/* The parts of one attempt. Private to this folder.
 *
 * A job is made by run.c on the caller's thread. Its lanes (one per connection, lane 0 is the
 * caller) share it: what is above the lock is read only while lanes run, a chunk belongs to the
 * lane that took it, the rest is under the lock.
 */
#ifndef TR_DELIVERY_PRIV_H
#define TR_DELIVERY_PRIV_H

#include "delivery/delivery.h"
#include "os/thread.h"

enum {
    DELIVERY_PLAN_SLICE = 64,        /* parts asked of the source at once */
    DELIVERY_REMOVE_BLOCK = 20000,   /* uuids handed to remove() or recount() at once */
    DELIVERY_EXPORT_BYTES = 4 << 20, /* a stored export with its secrets */
    DELIVERY_REJECTS_KEPT = 1000,    /* per chunk, with their reasons; all are counted */
    DELIVERY_LANES = 32,
    DELIVERY_KEEP_OPEN_S = 600, /* in real time, until the place is looked at again */
};

struct job {
    const struct tr_ctx *cx;
    const struct tr_delivery *d;
    struct tr_run *run;
    struct tr_export *export;
    struct tr_conf *conf;
    const struct tr_dest_ops *ops;
    struct tr_dest *dest; /* lane 0's */
    struct tr_projection projection;
    struct tr_filter *filter;
    tr_column_mask used, columns; /* by the place, and with what delivery itself needs */
    int64_t opened_at;            /* boot clock */
    struct tr_range interval;     /* the run's, within the export's bounds of now */
    bool changed; /* the export is not any more what the attempt began with, as last seen */

    struct tr_range open;  /* what is to be planned now: the interval, or as far as it has come */
    int64_t ripe_through;  /* a part at the end of open waits when its first row is younger */
    unsigned smaller;      /* chunks have 1/4^smaller of the rows that they may have */
    int64_t planned_up_to; /* of open; what lies behind waits */
    uint64_t most_bytes;   /* of a chunk; 0: as the destination likes */

    struct tr_range *taken; /* what others have or hold, when last planned */
    size_t n_taken;
    struct tr_chunk *chunks; /* this run's plan */
    size_t n_chunks;
    struct tr_dest *more[DELIVERY_LANES]; /* further connections that are open, by lane */

    pthread_mutex_t lock;
    size_t next; /* chunk to look at next */
    bool stop;   /* a lane failed: the others stop at their next batch */
    bool progress;
    uint64_t limited; /* regular expressions that met their match limit */
    struct tr_err first_err;
};

static inline bool job_knows_rows(const struct job *j)
{
    return (j->ops->caps & TR_DEST_KNOWS_ROWS) != 0;
}

static inline bool job_must_send(const struct job *j, const struct tr_chunk *c)
{
    return c->state == TR_CHUNK_PLANNED || (c->state == TR_CHUNK_SENT && job_knows_rows(j));
}

/* One connection at work. */
struct lane {
    struct job *job;
    size_t number;
    struct tr_dest *dest;
    struct tr_reject_sink sink; /* for one chunk: */
    bool again;                 /* a former attempt has sent it */
    struct tr_reject *rejects;
    size_t n_rejects, cap_rejects;
    bool rejects_failed; /* memory ran out for the list; they are still counted */
    bool keep[TR_BATCH_ROWS];
};

/* say.c: a line for people. */
void job_say(const struct job *j, const char *level, const char *fmt, ...) TR_FORMAT(3, 4);
/* dest's notices become lines. */
struct job_notices {
    struct tr_notice_sink sink;
    const struct job *job;
};
void job_notices_init(struct job_notices *n, const struct job *j);

/* key.c */
/* Epochs: delivery_epoch is the one that a delivered range names. Whatever is told before
 * delivery_restored_at may have been told already, by a server of which nothing is left: INT64_MIN
 * when there was none. */
uint32_t delivery_epoch(const struct tr_delivery *d, uint32_t n);
int64_t delivery_restored_at(const struct tr_delivery *d);
/* A restored store counts versions on from where the backup was. So the number of the epoch in
 * which a row last changed goes before its version: what the lost server told is older than any
 * later change. anew: the present epoch's, whenever it changed (replace). */
enum { DELIVERY_EPOCH_SHIFT = 40 };
void delivery_order_versions(const struct tr_delivery *d, struct tr_batch *b, bool anew);

struct tr_key delivery_key(const struct tr_delivery *d, const struct tr_export *e,
                           uint32_t generation, struct tr_range range);
static inline struct tr_key job_key(const struct job *j, struct tr_range range)
{
    return delivery_key(j->d, j->export, j->run->generation, range);
}
/* cx with a deadline at most limit_s from now: no single call may hang for ever. */
void delivery_alive(const struct tr_ctx *cx); /* notes that the attempt goes on */
struct tr_ctx delivery_call(const struct tr_ctx *cx, int64_t limit_s);
enum {
    DELIVERY_OPEN_S = 60,
    DELIVERY_LOOKUP_S = 30,
    DELIVERY_WRITE_S = 300,
    DELIVERY_COMMIT_S = 600,
};

/* settle.c: what became of chunks that former attempts sent, and of those that ended runs left in
 * the interval; the rest of the old plan is void. */
TR_MUST_USE enum tr_rc job_settle(struct job *j, struct tr_err *err);

/* load.c: a whole number among the destination's options, when it has one of that name. */
int64_t job_option(const struct job *j, const char *name, int64_t otherwise);

/* parallel.c: how many the destination's option "connections" asks for, at least one. */
size_t job_connections(const struct job *j);

/* run.c: the order of an attempt. job_begin: *ret_nothing when there is nothing to deliver and
 * nothing was opened; what former (or NULL) has open is taken over where it does. job_rest: until
 * nothing of open is left. */
void job_init(struct job *j, const struct tr_ctx *cx, const struct tr_delivery *d,
              struct tr_run *run);
TR_MUST_USE enum tr_rc job_begin(struct job *j, struct job *former, bool *ret_nothing,
                                 struct tr_err *err);
TR_MUST_USE enum tr_rc job_rest(struct job *j, struct tr_err *err);
TR_MUST_USE enum tr_rc job_end(struct job *j, struct tr_err *err);
void job_attempt(const struct job *j, struct tr_attempt *ret);
void job_fini(struct job *j);

/* plan.c: claims what is left of open as chunks; *ret_added says whether there was any. Reads the
 * plan and what is taken anew. */
TR_MUST_USE enum tr_rc job_plan(struct job *j, bool *ret_added, struct tr_err *err);
/* Reads the plan into the job. */
TR_MUST_USE enum tr_rc job_read_plan(struct job *j, struct tr_err *err);
TR_MUST_USE enum tr_rc job_read_taken(struct job *j, struct tr_err *err);

/* hold.c: replace and append do not leave to others what these hold: TR_TRANSIENT until they have
 * ended. */
TR_MUST_USE enum tr_rc job_wait_for_others(struct job *j, struct tr_err *err);

/* chunk.c: sends one PLANNED chunk and settles it in meta; c is updated. */
TR_MUST_USE enum tr_rc lane_deliver(struct lane *l, struct tr_chunk *c, struct tr_err *err);
void lane_fini(struct lane *l); /* frees the rejects; the destination is the caller's */

/* parallel.c: delivers every PLANNED chunk, over as many connections as the export asks for. */
TR_MUST_USE enum tr_rc job_deliver(struct job *j, struct tr_err *err);

/* account.c: pure. A chunk that this attempt committed (rows read, of those selected), and one that
 * was found at the destination (rows planned). */
struct tr_account account_of_commit(uint64_t rows, uint64_t selected, const struct tr_receipt *r);
struct tr_account account_of_lookup(uint64_t rows, bool mutable, const struct tr_receipt *r);
/* The destination's words about a chunk, from its account: for finish(). */
struct tr_receipt account_receipt(const struct tr_account *a);
struct tr_account account_sum(const struct tr_chunk *chunks, size_t n);

/* count.c: rows of a project in a closed range, by the source's index: exact. */
TR_MUST_USE enum tr_rc count_planned(const struct tr_ctx *cx, const struct tr_delivery *d,
                                     int32_t project, const struct tr_schema *schema,
                                     struct tr_range range, uint64_t *ret, struct tr_err *err);
/* Events, by the store's own counts where the range is made of whole minutes, by its index
 * otherwise. */
TR_MUST_USE enum tr_rc count_stored(const struct tr_ctx *cx, const struct tr_delivery *d,
                                    int32_t project, struct tr_range range, uint64_t *ret,
                                    struct tr_err *err);

/* share.c: what other exports delivered into the same place. Nothing where the destination tells
 * rows apart by their keys (TR_DEST_OWNS_ROWS). range: of the events that are asked about. */
struct share;
TR_MUST_USE enum tr_rc share_load(const struct tr_delivery *d, const struct tr_dest_ops *ops,
                                  const struct tr_export *e, struct tr_range range,
                                  struct share **ret, struct tr_err *err);
void share_free(struct share *s);
bool share_is_mixed(const struct share *s); /* with exports of other projects */
/* What a batch must have, beside uuid, for share_rows. */
tr_column_mask share_columns(const struct share *s);
/* Leaves out the events whose rows are another export's of this project. TR_REFUSED
 * "delivery.shared_place" for one that both delivered. */
TR_MUST_USE enum tr_rc share_rows(const struct share *s, struct tr_batch *b, struct tr_err *err);

/* ranges.c */
struct ranges {
    struct tr_range *v;
    size_t n, cap;
};
void ranges_fini(struct ranges *r);
TR_MUST_USE enum tr_rc ranges_add(struct ranges *r, struct tr_range range, struct tr_err *err);
void ranges_sort(struct ranges *r); /* by lo */
/* whole minus the sorted ranges of cut. */
TR_MUST_USE enum tr_rc ranges_left(struct tr_range whole, const struct ranges *cut,
                                   struct ranges *ret, struct tr_err *err);

#endif
