/* What a run has to deliver: its interval, less what others have or hold, cut into chunks. */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_priv.h"
#include "os/kill.h"

enum {
    PLAN_TRIES = 5,
    CHUNK_ROWS = 100000,
    CHUNK_BYTES = 64 << 20,
    SHARED_LEAST = 10, /* a chunk is worth a transaction from this part of a whole one on */
};

/* The plan is the present target's. Is that still the place that this attempt has opened? */
static enum tr_rc check_target(struct job *j, struct tr_err *err)
{
    struct tr_export_row row = { 0 };

    tr_buf_init(&row.buf, DELIVERY_EXPORT_BYTES);
    enum tr_rc rc = j->d->meta->ops->export_get(j->d->meta, &j->run->export_id, &row, err);
    tr_buf_fini(&row.buf);
    if (rc != TR_OK)
        return rc;
    j->changed = row.version != j->export->version || row.deleted || row.paused;
    if (row.target != j->export->target)
        rc = tr_fail(err, TR_TRANSIENT, "delivery.target_changed", NULL,
                     "the export was pointed to another place during the attempt");
    return rc;
}

enum tr_rc job_read_plan(struct job *j, struct tr_err *err)
{
    struct tr_chunk *chunks = NULL;
    size_t n = 0;
    enum tr_rc rc = j->d->meta->ops->plan_get(j->d->meta, &j->run->id, &chunks, &n, err);

    if (rc == TR_OK)
        rc = check_target(j, err);
    if (rc != TR_OK) {
        free(chunks);
        return tr_wrap(err, "read the plan");
    }
    free(j->chunks);
    j->chunks = chunks;
    j->n_chunks = n;
    return TR_OK;
}

enum tr_rc job_read_taken(struct job *j, struct tr_err *err)
{
    struct tr_range *taken = NULL;
    size_t n = 0;
    enum tr_rc rc =
        j->d->meta->ops->run_taken(j->d->meta, j->run, j->export->target, &taken, &n, err);

    if (rc != TR_OK)
        return tr_wrap(err, "read what others deliver");
    free(j->taken);
    j->taken = taken;
    j->n_taken = n;
    return TR_OK;
}

/* Events that are gone are an error, never "no rows". */
static enum tr_rc check_floor(const struct job *j, int64_t lo, struct tr_err *err)
{
    /* What derived state holds is not subject to retention. */
    if (j->export->schema->is_mutable || lo >= j->d->source->ops->floor(j->d->source))
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "delivery.below_floor",
                   "narrow the range: older events were dropped by the retention rule",
                   "the store does not hold the beginning of the range any more");
}

static enum tr_rc add_parts(struct job *j, const struct tr_part *parts, size_t n, bool *ret_added,
                            struct tr_err *err)
{
    struct tr_chunk chunks[DELIVERY_PLAN_SLICE];
    size_t added = 0;

    for (size_t i = 0; i < n; i++) {
        if (parts[i].rows != 0)
            chunks[added++] = (struct tr_chunk){ .range = parts[i].range,
                                                 .state = TR_CHUNK_PLANNED,
                                                 .rows = parts[i].rows };
    }
    if (added == 0)
        return TR_OK;

    enum tr_rc rc =
        j->d->meta->ops->plan_add(j->d->meta, j->run, j->export->target, chunks, added, err);
    if (rc == TR_OK)
        *ret_added = true;
    return rc;
}

/* What the operator says, else what the destination likes, else what suits most. */
static uint64_t first_of(uint64_t said, uint64_t liked, uint64_t otherwise)
{
    return said != 0 ? said : liked != 0 ? liked : otherwise;
}

/* The last part of what is open may wait for more to come: while its first row is young. *n goes
 * down by it then. */
static enum tr_rc leave_unripe(struct job *j, const struct tr_part *parts, size_t *n,
                               struct tr_err *err)
{
    const struct tr_part *last = &parts[*n - 1];
    struct tr_source *s = j->d->source;
    int64_t first = last->range.lo;
    int64_t at_last = 0;
    bool any = true;
    enum tr_rc rc = TR_OK;

    if (last->rows == 0 || last->range.hi != j->open.hi || j->ripe_through >= j->open.hi)
        return TR_OK;
    if (first <= j->ripe_through)
        rc = s->ops->extent(s, j->run->project, j->export->schema, last->range, &any, &first,
                            &at_last, err);
    if (rc == TR_OK && any && first > j->ripe_through) {
        j->planned_up_to = first;
        --*n;
    }
    return rc;
}

/* Rows of a chunk with which the connections asked for get the same number of equal chunks: with
 * one more for one of them, the others would watch it. */
static uint64_t shared_rows(const struct job *j, const struct tr_part *parts, size_t n,
                            uint64_t rows)
{
    size_t lanes = job_connections(j);
    size_t chunks = (n + lanes - 1) / lanes * lanes;
    uint64_t least = (rows + SHARED_LEAST - 1) / SHARED_LEAST;
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += parts[i].rows;
    uint64_t each = (all + chunks - 1) / chunks;
    return each < least ? least : each > rows ? rows : each;
}

/* A slice at a time, so that memory does not grow with the range. */
static enum tr_rc plan_range(struct job *j, struct tr_range left, bool *ret_added,
                             struct tr_err *err)
{
    struct tr_source *s = j->d->source;
    uint64_t rows = first_of(j->d->chunk_rows, j->ops->chunk_rows, CHUNK_ROWS);
    uint64_t bytes = first_of(j->d->chunk_bytes, j->ops->chunk_bytes, CHUNK_BYTES);
    enum tr_rc rc = check_floor(j, left.lo, err);

    rows = rows >> 2 * j->smaller == 0 ? 1 : rows >> 2 * j->smaller;
    if (j->most_bytes != 0 && j->most_bytes < bytes)
        bytes = j->most_bytes;
    bool shared = j->most_bytes != 0 || job_connections(j) == 1;

    while (rc == TR_OK && !tr_range_empty(left)) {
        struct tr_part parts[DELIVERY_PLAN_SLICE];
        size_t n = 0;
        int64_t covered = left.lo;

        if (tr_ctx_cancelled(j->cx))
            return tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
        rc = s->ops->plan(j->cx, s, j->run->project, j->export->schema, left, rows, bytes, parts,
                          DELIVERY_PLAN_SLICE, &n, &covered, err);
        if (rc == TR_OK && covered <= left.lo)
            rc = tr_fail(err, TR_INTERNAL, "delivery.plan_stuck", NULL,
                         "the source planned nothing");
        if (rc == TR_OK && !shared && covered >= left.hi) {
            uint64_t whole = rows;
            rows = shared_rows(j, parts, n, whole);
            shared = true;
            if (rows != whole)
                continue; /* once more, with smaller chunks */
        }
        if (rc == TR_OK && n != 0)
            rc = leave_unripe(j, parts, &n, err);
        if (rc == TR_OK)
            rc = add_parts(j, parts, n, ret_added, err);
        left.lo = covered;
    }
    return rc;
}

/* What is open, less the run's own chunks and what others have. */
static enum tr_rc list_left(const struct job *j, struct ranges *ret, struct tr_err *err)
{
    struct ranges cut = { 0 };
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < j->n_taken && rc == TR_OK; i++)
        rc = ranges_add(&cut, j->taken[i], err);
    for (size_t i = 0; i < j->n_chunks && rc == TR_OK; i++)
        rc = ranges_add(&cut, j->chunks[i].range, err);
    ranges_sort(&cut);
    if (rc == TR_OK)
        rc = ranges_left(j->open, &cut, ret, err);
    ranges_fini(&cut);
    return rc;
}

static enum tr_rc plan_once(struct job *j, bool *ret_added, struct tr_err *err)
{
    struct ranges left = { 0 };
    enum tr_rc rc = job_read_taken(j, err);

    if (rc == TR_OK)
        rc = job_read_plan(j, err);
    if (rc == TR_OK)
        rc = list_left(j, &left, err);
    j->planned_up_to = j->open.hi;
    for (size_t i = 0; i < left.n && rc == TR_OK; i++)
        rc = plan_range(j, left.v[i], ret_added, err);
    ranges_fini(&left);
    return rc;
}

static bool is_range_taken(const struct tr_err *err)
{
    return err->id != NULL && strcmp(err->id, "meta.range_taken") == 0;
}

enum tr_rc job_plan(struct job *j, bool *ret_added, struct tr_err *err)
{
    enum tr_rc rc = TR_TRANSIENT;

    *ret_added = false;
    for (int i = 0; i < PLAN_TRIES && rc != TR_OK; i++) {
        rc = plan_once(j, ret_added, err);
        if (rc != TR_OK && !is_range_taken(err))
            break;
    }
    if (rc != TR_OK)
        return tr_wrap(err, "plan");
    TR_KILL_POINT("delivery.planned");
    return *ret_added ? job_read_plan(j, err) : TR_OK;
}
