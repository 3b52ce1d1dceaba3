/* Runs, their chunks and accounts, and backfills. */
#ifndef TR_MODEL_RUN_H
#define TR_MODEL_RUN_H

#include "base/err.h"
#include "base/uuid.h"
#include "model/range.h"

enum tr_run_state {
    TR_RUN_STARTING, /* due or waiting for its interval to close */
    TR_RUN_RUNNING,  /* claimed by a worker */
    TR_RUN_RETRYING, /* failed for now; next attempt at next_attempt_at. API: FailedRetryable */
    TR_RUN_COMPLETED,
    TR_RUN_FAILED, /* a person must act, then retry */
    TR_RUN_CANCELLED,
};

enum tr_on_delivered { TR_SKIP_DELIVERED, TR_REPLACE_DELIVERED, TR_APPEND_DELIVERED };

/* stored = selected + excluded + elsewhere; selected = delivered + already_there + rejected.
 * Balanced when both hold and stored equals what the store counts for the range. */
struct tr_account {
    uint64_t stored;        /* events of the project in the run's interval */
    uint64_t elsewhere;     /* of those, in parts that other runs delivered or are delivering */
    uint64_t selected;      /* passed the filters, in this run's own parts */
    uint64_t excluded;      /* did not */
    uint64_t delivered;     /* rows this run put there */
    uint64_t already_there; /* rows a former attempt of this run had put there */
    uint64_t rejected;
    uint64_t repaired; /* among delivered */
    uint64_t bytes;
};

struct tr_run {
    struct tr_uuid id, export_id, backfill_id; /* backfill_id nil: a scheduled run */
    int32_t project;
    struct tr_range interval;
    enum tr_run_state state;
    enum tr_on_delivered on_delivered;
    uint32_t generation;
    uint32_t attempts;
    int64_t fence; /* raised by each claim: a worker whose fence is old may not write */
    bool cancel_asked;
    bool is_live;     /* its export was in real time when it was made: delivered as it goes on */
    bool is_doubtful; /* when claimed: the last attempt of its export did not end well */
    int64_t created_at, started_at, finished_at, next_attempt_at, lease_until;
    int64_t not_before; /* the start jitter */
    struct tr_account account;
    enum tr_rc error_rc;
    char error_id[64], error[512], error_hint[256]; /* empty: none */
};

enum tr_chunk_plan_state { TR_CHUNK_PLANNED, TR_CHUNK_SENT, TR_CHUNK_DELIVERED };

/* A piece of a run's plan. Bounds are frozen from the moment it is SENT. */
struct tr_chunk {
    uint32_t n;      /* number within the run, from 0 */
    uint64_t target; /* where it was planned to go: after a change of target, chunks of the old one
                        are no part of the plan any more (plan_add ignores this field) */
    struct tr_range range;
    enum tr_chunk_plan_state state;
    uint64_t rows;             /* stored rows in it, when planned */
    struct tr_account account; /* when DELIVERED */
};

struct tr_backfill {
    struct tr_uuid id, export_id;
    int32_t project;
    struct tr_range range;
    enum tr_on_delivered on_delivered;
    uint32_t generation;
    int parallel;   /* runs at once */
    int64_t cursor; /* runs exist for [range.lo, cursor) */
    enum tr_run_state state;
    uint64_t total_runs, finished_runs, failed_runs; /* computed */
    uint64_t rows_total, rows_done; /* rows_total estimated from the store's counts; 0: unknown */
    int64_t created_at, started_at, finished_at;
};

/* The API's words for states. */
const char *tr_run_state_name(enum tr_run_state s);
bool tr_run_state_parse(const char *name, enum tr_run_state *ret);
static inline bool tr_run_state_ended(enum tr_run_state s)
{
    return s == TR_RUN_COMPLETED || s == TR_RUN_FAILED || s == TR_RUN_CANCELLED;
}

const char *tr_on_delivered_name(enum tr_on_delivered o); /* "skip", "replace", "append" */
bool tr_on_delivered_parse(const char *name, enum tr_on_delivered *ret);

#endif
