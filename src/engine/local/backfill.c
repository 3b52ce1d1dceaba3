/* Backfills: the runs of a past range, some at a time. */
#include <stdlib.h>
#include <string.h>

#include "engine/local/local_priv.h"

enum { RUNS_PER_LANE = 16, MAX_OPEN = 64 };

struct backfills {
    struct tr_backfill *v;
    size_t n, cap;
    bool failed;
};

static bool collect(void *arg, const struct tr_backfill *b)
{
    struct backfills *list = arg;

    if (list->n == list->cap) {
        size_t cap = list->cap == 0 ? 8 : list->cap * 2;
        struct tr_backfill *v = realloc(list->v, cap * sizeof(*v));

        list->failed = v == NULL;
        if (v == NULL)
            return false;
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = *b;
    return true;
}

/* ---- its runs ---- */

struct tally {
    int open, failed, cancelled;
};

static bool tally_run(void *arg, const struct tr_run *run)
{
    struct tally *t = arg;

    t->open += !tr_run_state_ended(run->state);
    t->failed += run->state == TR_RUN_FAILED;
    t->cancelled += run->state == TR_RUN_CANCELLED;
    return true;
}

static enum tr_rc tally_runs(struct engine *e, const struct tr_backfill *b, uint32_t states,
                             int limit, struct tally *ret, struct tr_err *err)
{
    struct tr_run_query q = {
        .export_id = b->export_id,
        .has_backfill = true,
        .backfill_id = b->id,
        .states = states,
        .limit = limit,
    };

    *ret = (struct tally){ 0 };
    return e->meta->ops->run_list(e->meta, &q, tally_run, ret, err);
}

/* How much of the range one run covers: one interval of an hour and longer. Short ones are bundled,
 * up to a day, but so that each of the parallel lanes has some runs to do. */
static int64_t run_span(const struct tr_backfill *b)
{
    int64_t lanes = b->parallel < 1 ? 1 : b->parallel;
    int64_t span = (b->range.hi - b->range.lo) / (lanes * RUNS_PER_LANE);

    return span > TR_US_PER_DAY ? TR_US_PER_DAY : span;
}

/* Leaves out what holds no events: a backfill over years of nothing is quick. False: nothing is
 * left. What retention took is not nothing: its runs will say so. */
static enum tr_rc skip_empty(struct engine *e, const struct known *k, struct tr_range *left,
                             bool *ret_any, struct tr_err *err)
{
    int64_t first = left->lo;
    int64_t last = left->hi;

    *ret_any = !tr_range_empty(*left);
    if (!*ret_any || left->hi > engine_now(e) ||
        (!k->schema->is_mutable && left->lo < e->source->ops->floor(e->source)))
        return TR_OK;
    enum tr_rc rc = e->source->ops->extent(e->source, k->project, k->schema, *left, ret_any, &first,
                                           &last, err);
    if (rc != TR_OK || !*ret_any)
        return rc;
    int64_t lo = tr_schedule_at(&k->schedule, first).lo;
    left->lo = lo > left->lo ? lo : left->lo;
    return TR_OK;
}

static enum tr_rc make_run(struct engine *e, const struct known *k, struct tr_backfill *b,
                           struct tr_range left, struct tr_err *err)
{
    bool is_short = k->schedule.unit < TR_UNIT_HOUR;
    struct tr_run run = {
        .export_id = b->export_id,
        .backfill_id = b->id,
        .project = b->project,
        .interval = engine_cover(&k->schedule, left.lo, left.hi, is_short ? run_span(b) : 0, 0),
        .state = TR_RUN_STARTING,
        .on_delivered = b->on_delivered,
        .generation = b->generation,
        .created_at = engine_now(e),
    };

    if (run.interval.hi > left.hi)
        run.interval.hi = left.hi;
    run.not_before = run.interval.hi;
    enum tr_rc rc = e->meta->ops->run_backfill(e->meta, &run, err);
    if (rc == TR_OK)
        b->cursor = run.interval.hi;
    return rc;
}

/* ---- the whole ---- */

static enum tr_rc finish(struct engine *e, const struct tr_backfill *b, struct tr_err *err)
{
    struct tally t;
    uint32_t bad = 1u << TR_RUN_FAILED | 1u << TR_RUN_CANCELLED;
    enum tr_rc rc = tally_runs(e, b, bad, 1000000, &t, err);

    if (rc != TR_OK)
        return rc;
    enum tr_run_state state = t.failed != 0      ? TR_RUN_FAILED
                              : t.cancelled != 0 ? TR_RUN_CANCELLED
                                                 : TR_RUN_COMPLETED;
    rc = e->meta->ops->backfill_finish(e->meta, &b->id, state, engine_now(e), err);
    if (rc == TR_OK)
        engine_say(e, state == TR_RUN_COMPLETED ? "info" : "warn", &b->export_id, NULL,
                   "the backfill has ended: %s%s", tr_run_state_name(state),
                   t.failed != 0 ? "; its failed runs can be retried" : "");
    return rc;
}

/* An export that is not on the list: deleted, or so new that the list is older. */
static enum tr_rc end_if_deleted(struct engine *e, const struct tr_backfill *b, struct tr_err *err)
{
    struct tr_export_row row = { 0 };
    enum tr_rc rc = e->meta->ops->export_get(e->meta, &b->export_id, &row, err);

    tr_buf_fini(&row.buf);
    if (rc != TR_OK || !row.deleted)
        return rc;
    return e->meta->ops->backfill_finish(e->meta, &b->id, TR_RUN_CANCELLED, engine_now(e), err);
}

static enum tr_rc expand_one(struct engine *e, struct tr_backfill *b, bool *ret_made,
                             struct tr_err *err)
{
    const struct known *k = engine_known(e, &b->export_id);
    uint32_t open_states = 1u << TR_RUN_STARTING | 1u << TR_RUN_RUNNING | 1u << TR_RUN_RETRYING;
    struct tally t;

    if (k == NULL)
        return end_if_deleted(e, b, err);
    if (k->broken)
        return TR_OK;
    enum tr_rc rc = tally_runs(e, b, open_states, MAX_OPEN, &t, err);
    if (rc != TR_OK)
        return rc;

    int parallel = b->parallel < 1 ? 1 : b->parallel > MAX_OPEN ? MAX_OPEN : b->parallel;
    bool any = true;
    while (any && t.open < parallel) {
        struct tr_range left = { b->cursor > b->range.lo ? b->cursor : b->range.lo, b->range.hi };

        left = tr_range_meet(left, k->bounds);
        rc = skip_empty(e, k, &left, &any, err);
        if (rc == TR_OK && any)
            rc = make_run(e, k, b, left, err);
        if (rc != TR_OK)
            return rc;
        t.open += any;
        *ret_made = *ret_made || any;
    }
    return t.open == 0 ? finish(e, b, err) : TR_OK;
}

enum tr_rc engine_expand(struct engine *e, struct tr_err *err)
{
    static const struct tr_uuid nil;
    struct backfills list = { 0 };
    bool made = false;
    enum tr_rc rc = engine_refresh(e, err);

    if (rc == TR_OK)
        rc = e->meta->ops->backfill_list(e->meta, &nil, collect, &list, err);
    if (rc == TR_OK && list.failed)
        rc = tr_fail_oom(err);
    for (size_t i = 0; i < list.n && rc == TR_OK; i++)
        rc = expand_one(e, &list.v[i], &made, err);
    free(list.v);
    if (made)
        engine_runs_made(e);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "expand backfills");
}
