/* What became of chunks that former attempts sent: the destination knows. */
#include <stdlib.h>

#include "delivery/delivery_priv.h"

static bool commits_run(const struct job *j)
{
    return (j->ops->caps & TR_DEST_COMMITS_RUN) != 0;
}

static enum tr_rc settle_present(struct job *j, struct tr_chunk *c, const struct tr_receipt *r,
                                 struct tr_err *err)
{
    if (c->state == TR_CHUNK_DELIVERED)
        return TR_OK;

    struct tr_account account = account_of_lookup(c->rows, j->export->schema->is_mutable, r);
    enum tr_rc rc = j->d->meta->ops->chunk_done(j->d->meta, j->run, j->export->target, c->n,
                                                &account, !commits_run(j), NULL, 0, err);
    if (rc != TR_OK)
        return rc;
    c->state = TR_CHUNK_DELIVERED;
    c->account = account;
    j->progress = true;
    job_say(j, "info", "chunk %u had arrived in a former attempt: %llu rows", c->n,
            (unsigned long long)r->delivered);
    if (r->rejected != 0)
        job_say(j, "warn",
                "%llu rows of chunk %u were rejected in a former attempt, whose reasons are lost",
                (unsigned long long)r->rejected, c->n);
    return TR_OK;
}

static enum tr_rc settle_chunk(struct job *j, struct tr_chunk *c, struct tr_err *err)
{
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_LOOKUP_S);
    struct tr_key key = job_key(j, c->range);
    enum tr_chunk_state state = TR_CHUNK_ABSENT;
    struct tr_receipt receipt = { 0 };
    enum tr_rc rc = j->ops->lookup(&call, j->dest, &key, &state, &receipt, err);

    if (rc != TR_OK)
        return tr_wrap(err, "look up chunk %u", c->n);
    switch (state) {
    case TR_CHUNK_PRESENT:
        rc = settle_present(j, c, &receipt, err);
        break;
    case TR_CHUNK_ABSENT:
        rc = j->d->meta->ops->chunk_absent(j->d->meta, j->run, c->n, err);
        if (rc == TR_OK)
            c->state = TR_CHUNK_PLANNED;
        break;
    case TR_CHUNK_IN_FLIGHT:
        return tr_fail(err, TR_TRANSIENT, "delivery.in_flight", NULL,
                       "chunk %u of a former attempt is still being committed at the destination",
                       c->n);
    }
    return rc == TR_OK ? TR_OK : tr_wrap(err, "settle chunk %u", c->n);
}

/* A chunk whose bounds do not suit any more: the export's bounds have moved, or another run
 * delivered the range while this one had ended. */
static bool is_misfit(const struct job *j, struct tr_range r)
{
    if (r.lo < j->interval.lo || r.hi > j->interval.hi)
        return true;
    for (size_t i = 0; i < j->n_taken; i++) {
        if (!tr_range_empty(tr_range_meet(j->taken[i], r)))
            return true;
    }
    return false;
}

static enum tr_rc is_published(struct job *j, struct tr_range interval, uint32_t generation,
                               struct tr_range chunk, bool *ret, struct tr_err *err)
{
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_LOOKUP_S);
    struct tr_key run = delivery_key(j->d, j->export, generation, interval);
    struct tr_key key = delivery_key(j->d, j->export, generation, chunk);
    enum tr_rc rc = j->ops->published(&call, j->dest, &run, &key, ret, err);

    return rc == TR_OK ? TR_OK : tr_wrap(err, "look whether a chunk was published");
}

/* Nobody can be asked about it: it is sent again as it is, unless it does not suit any more. */
static enum tr_rc settle_known_by_rows(struct job *j, struct tr_chunk *c, struct tr_err *err)
{
    if (!is_misfit(j, c->range))
        return TR_OK;
    enum tr_rc rc = j->d->meta->ops->chunk_absent(j->d->meta, j->run, c->n, err);
    if (rc == TR_OK)
        c->state = TR_CHUNK_PLANNED;
    return rc;
}

/* Written, but not published as far as we know: it may be gone by now. One that does not suit any
 * more is given up, unless an attempt had come as far as publishing it. */
static enum tr_rc settle_unpublished(struct job *j, struct tr_chunk *c, struct tr_err *err)
{
    bool published = false;

    if (!is_misfit(j, c->range))
        return settle_chunk(j, c, err);
    enum tr_rc rc =
        is_published(j, j->run->interval, j->run->generation, c->range, &published, err);
    if (rc != TR_OK || published)
        return rc;
    rc = j->d->meta->ops->chunk_absent(j->d->meta, j->run, c->n, err);
    if (rc == TR_OK)
        c->state = TR_CHUNK_PLANNED;
    return rc;
}

static enum tr_rc settle_sent(struct job *j, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < j->n_chunks && rc == TR_OK; i++) {
        struct tr_chunk *c = &j->chunks[i];

        if (tr_ctx_cancelled(j->cx))
            return tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
        if (c->state == TR_CHUNK_SENT)
            rc = job_knows_rows(j) ? settle_known_by_rows(j, c, err) : settle_chunk(j, c, err);
        else if (c->state == TR_CHUNK_DELIVERED && commits_run(j))
            rc = settle_unpublished(j, c, err);
    }
    return rc;
}

/* ---- chunks of runs that have ended ---- */

static const struct tr_dest_ops *ops_of(const struct job *j, const struct tr_orphan *o)
{
    return tr_dest_for(tr_delivery_dest(j->d, j->export->dest_type), o->is_live);
}

/* Any of its rows may be there, and only as it is can it be sent again without doubling some. */
static bool is_its_runs(const struct job *j, const struct tr_orphan *o)
{
    return (ops_of(j, o)->caps & TR_DEST_KNOWS_ROWS) != 0;
}

/* The other run is woken up; this one goes around what it holds. */
static enum tr_rc leave_to_its_run(struct job *j, const struct tr_orphan *o, struct tr_err *err)
{
    struct tr_run again;
    char id[TR_UUID_TEXT];
    enum tr_rc rc = j->d->meta->ops->run_retry(j->d->meta, &o->run_id,
                                               j->d->source->ops->now(j->d->source), &again, err);

    if (rc == TR_REFUSED) /* woken up before: another chunk of it, or somebody else */
        return TR_OK;
    if (rc != TR_OK)
        return tr_wrap(err, "leave a chunk to the run that sent it");
    tr_uuid_format(&o->run_id, id);
    job_say(j, "info",
            "run %s, which had ended, has sent rows of which nobody knows whether they arrived: it "
            "is tried again, and what it sent is left to it",
            id);
    return TR_OK;
}

/* Committed there by itself, and what the destination remembers of it. */
static enum tr_rc look_up_orphan(struct job *j, const struct tr_orphan *o, bool *ret_there,
                                 struct tr_account *ret, struct tr_err *err)
{
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_LOOKUP_S);
    struct tr_key key = delivery_key(j->d, j->export, o->generation, o->chunk.range);
    enum tr_chunk_state state = TR_CHUNK_ABSENT;
    struct tr_receipt receipt = { 0 };
    enum tr_rc rc = ops_of(j, o)->lookup(&call, j->dest, &key, &state, &receipt, err);

    if (rc != TR_OK)
        return tr_wrap(err, "look up a chunk of an ended run");
    if (state == TR_CHUNK_IN_FLIGHT)
        return tr_fail(err, TR_TRANSIENT, "delivery.in_flight", NULL,
                       "a chunk of an ended run is still being committed at the destination");
    *ret_there = state == TR_CHUNK_PRESENT;
    *ret = account_of_lookup(o->chunk.rows, j->export->schema->is_mutable, &receipt);
    return TR_OK;
}

/* Nobody is on it any more, but it still holds its range. */
static enum tr_rc settle_orphan(struct job *j, const struct tr_orphan *o, struct tr_err *err)
{
    struct tr_account account = o->chunk.account;
    bool there = false;
    enum tr_rc rc = TR_OK;

    if (is_its_runs(j, o))
        return leave_to_its_run(j, o, err);
    if (!commits_run(j))
        rc = look_up_orphan(j, o, &there, &account, err);
    else if (o->chunk.state == TR_CHUNK_DELIVERED) /* a run is published when all of it is done */
        rc = is_published(j, o->interval, o->generation, o->chunk.range, &there, err);
    if (rc != TR_OK)
        return rc;
    return j->d->meta->ops->orphan_settle(j->d->meta, j->run, j->export->target, o,
                                          there ? &account : NULL,
                                          j->d->source->ops->now(j->d->source), err);
}

static enum tr_rc settle_orphans(struct job *j, struct tr_err *err)
{
    struct tr_orphan *orphans = NULL;
    size_t n = 0;
    enum tr_rc rc =
        j->d->meta->ops->orphan_list(j->d->meta, j->run, j->export->target, &orphans, &n, err);

    for (size_t i = 0; i < n && rc == TR_OK; i++)
        rc = settle_orphan(j, &orphans[i], err);
    free(orphans);
    return rc;
}

static bool any_planned(const struct job *j)
{
    for (size_t i = 0; i < j->n_chunks; i++) {
        if (j->chunks[i].state == TR_CHUNK_PLANNED)
            return true;
    }
    return false;
}

/* Reads the plan, without what was only planned. */
static enum tr_rc drop_planned(struct job *j, struct tr_err *err)
{
    enum tr_rc rc = job_read_plan(j, err);

    if (rc != TR_OK || !any_planned(j))
        return rc;
    rc = j->d->meta->ops->plan_drop(j->d->meta, j->run, err);
    if (rc != TR_OK)
        return tr_wrap(err, "drop the old plan");
    return job_read_plan(j, err);
}

enum tr_rc job_settle(struct job *j, struct tr_err *err)
{
    enum tr_rc rc = drop_planned(j, err);

    if (rc == TR_OK)
        rc = settle_orphans(j, err);
    if (rc == TR_OK)
        rc = job_read_taken(j, err);
    if (rc == TR_OK)
        rc = settle_sent(j, err);
    if (rc != TR_OK)
        return rc;

    /* A chunk that was sent keeps its bounds, so that a late attempt at it has the same key. */
    bool misfit = false;
    for (size_t i = 0; i < j->n_chunks; i++) {
        if (j->chunks[i].state == TR_CHUNK_PLANNED)
            misfit = misfit || is_misfit(j, j->chunks[i].range);
    }
    return misfit ? drop_planned(j, err) : TR_OK;
}
