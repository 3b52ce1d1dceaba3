/* One attempt of one run: plan, read, filter, load, account. Returns what happened; never waits in
 * order to retry, never decides whether to: that is the engine's.
 *
 * Order inside an attempt (docs/delivery.md):
 *   1. load the export (its newest configuration; a sent chunk's bounds stay as they were)
 *   2. open and prepare the destination
 *   3. SENT chunks of former attempts: lookup -> done, or absent and free to be sent again
 *   4. plan what is left: interval, less what meta.run_taken says, in parts from source.plan
 *   5. each PLANNED chunk: meta.chunk_sent, begin, (remove), write, commit, meta.chunk_done; with
 *      several connections, chunks go over several threads, each with its own destination object;
 *      then 4 again, until nothing is left
 *   6. replace and append: parts that another run holds and has not delivered yet: TR_TRANSIENT
 *   7. finish (manifest), account; meta.run_finish is the engine's
 *
 * In real time 4 and 5 come again and again, for what has come in since, until the interval is
 * through: tr_live_*.
 */
#ifndef TR_DELIVERY_DELIVERY_H
#define TR_DELIVERY_DELIVERY_H

#include "auth/seal.h"
#include "dest/dest.h"
#include "meta/meta.h"
#include "model/ctx.h"
#include "model/run.h"
#include "source/source.h"

/* What every delivery needs; made once by app/. */
struct tr_delivery {
    struct tr_meta *meta;
    struct tr_source *source;
    const struct tr_keyring *keys;
    const struct tr_dest_ops *const *dests; /* ends with NULL */
    struct tr_uuid installation;
    uint32_t epoch;                /* of what is sent now */
    uint32_t first_epoch;          /* the store's own: epoch, when there was no other */
    const struct tr_epoch *epochs; /* as meta lists them; the last is epoch */
    size_t n_epochs;
    uint64_t chunk_rows, chunk_bytes; /* 0: what suits the destination, else 100,000 rows, 64 MiB */
    void (*log)(void *arg, const char *level, const struct tr_uuid *export_id,
                const struct tr_uuid *run_id, const char *text); /* any thread */
    void *log_arg;
};

/* NULL when there is no such type. */
const struct tr_dest_ops *tr_delivery_dest(const struct tr_delivery *d, const char *type);

/* TR_REFUSED "delivery.no_such_model" when the destination does not take rows of that model. */
TR_MUST_USE enum tr_rc tr_delivery_takes(const struct tr_dest_ops *ops,
                                         const struct tr_schema *schema, struct tr_err *err);

/* An export as it stands in meta, secrets opened; and its destination options checked. The caller
 * frees both. */
TR_MUST_USE enum tr_rc tr_delivery_load(const struct tr_delivery *d, const struct tr_uuid *id,
                                        struct tr_export **ret, struct tr_conf **ret_conf,
                                        struct tr_err *err);

/* What an attempt leaves for whoever finishes the run in meta. */
struct tr_attempt {
    bool progress;    /* some chunk was committed: the count of failures in a row starts anew */
    uint64_t target;  /* where it went; 0: the export could not be read */
    bool deliver_run; /* the destination commits by run: run_finish makes the ranges delivered */
};

/* run->interval must be closed at the source; it is clipped to the export's bounds of now. Sets
 * run->account, also on failure (what is done so far). ret is always set. */
TR_MUST_USE enum tr_rc tr_deliver_run(const struct tr_ctx *cx, const struct tr_delivery *d,
                                      struct tr_run *run, struct tr_attempt *ret,
                                      struct tr_err *err);

/* ---- the same in steps: a run that is delivered as its interval goes on ----
 *
 * begin, any number of steps, end; close at last, whatever happened. The destination stays open in
 * between. cx and run must stay until then; calls may come from different threads, one at a time.
 */
struct tr_live;

/* *ret is set, also on failure, unless memory ran out. after (or NULL; consumed): an attempt that
 * has ended well; of the same export as it still is, its connections are used again. */
TR_MUST_USE enum tr_rc tr_live_begin(const struct tr_ctx *cx, const struct tr_delivery *d,
                                     struct tr_run *run, struct tr_live *after,
                                     struct tr_live **ret, struct tr_err *err);

struct tr_live_step {
    bool is_last; /* the interval is through: what is left to do is tr_live_end */
    bool changed; /* the export was changed, paused or deleted: this attempt should end */
    int64_t next; /* when another step is worth it, on the source's clock */
};

/* Delivers what lies below `through`, up to which the source must be closed: whole chunks of the
 * option buffer_bytes, and a part of one when it begins buffer_seconds before. Everything when
 * that is the interval's end. */
TR_MUST_USE enum tr_rc tr_live_step(struct tr_live *l, int64_t through, struct tr_live_step *ret,
                                    struct tr_err *err);
/* After the last step: publish, account. run is not needed any more. */
TR_MUST_USE enum tr_rc tr_live_end(struct tr_live *l, struct tr_attempt *ret, struct tr_err *err);
/* NULL is taken. ret may be NULL; the run's account is set to what is done so far, unless it ended
 * well. */
void tr_live_close(struct tr_live *l, struct tr_attempt *ret);

/* The first event of a closed range that is not delivered at the export's present target; range.hi
 * when there is none. */
TR_MUST_USE enum tr_rc tr_delivered_through(const struct tr_delivery *d,
                                            const struct tr_uuid *export_id, uint64_t target,
                                            int32_t project, const struct tr_schema *schema,
                                            struct tr_range range, int64_t *ret,
                                            struct tr_err *err);

/* err->id of a run whose numbers do not add up. Trying again will not mend them. */
extern const char tr_delivery_unbalanced[];

/* Both sums of an account hold (model/run.h). */
bool tr_account_balances(const struct tr_account *a);
void tr_account_add(struct tr_account *sum, const struct tr_account *a);

/* ---- does it balance? ---- */

struct tr_verdict {
    struct tr_range range; /* of one interval of the export's schedule, or a part of it */
    struct tr_uuid run_id; /* nil: no run */
    enum {
        TR_VERDICT_OK,
        TR_VERDICT_MISSING,
        TR_VERDICT_UNBALANCED,
        TR_VERDICT_PENDING,
        TR_VERDICT_LOST_AT_TARGET,
        TR_VERDICT_COPIES_AT_TARGET
    } what;
    uint64_t stored; /* by the store's counts, or by reading where minutes do not fit */
    struct tr_account account;
    uint64_t expected_there, found_there, copies_there; /* recount */
    char text[256];                                     /* one sentence for a person */
};

/* For every interval of an export that meets the range: is it delivered, do the run's numbers
 * balance against the store's; with recount, is every delivered event at the destination once.
 * Calls each for every interval (OK ones too), oldest first. */
TR_MUST_USE enum tr_rc tr_verify(const struct tr_ctx *cx, const struct tr_delivery *d,
                                 const struct tr_uuid *export_id, struct tr_range range,
                                 bool recount, bool (*each)(void *, const struct tr_verdict *),
                                 void *arg, struct tr_err *err);

#endif
