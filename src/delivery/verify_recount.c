/* Every delivered event, asked for at the destination. */
#include <stdlib.h>
#include <string.h>

#include "delivery/verify_priv.h"

enum { KEYS_PER_BLOCK = 256 };

/* uuids of one question, and the chunks they were delivered in. */
struct block {
    struct verify *v;
    struct tr_verdict *verdict;
    struct share *share;      /* of the piece */
    struct tr_filter *filter; /* for chunks whose account speaks of more than is left of them */
    struct tr_uuid *uuids;
    size_t n;
    struct tr_key keys[KEYS_PER_BLOCK];
    size_t n_keys;
    bool keep[TR_BATCH_ROWS];
};

enum tr_rc verify_open_dest(struct verify *v, struct tr_err *err)
{
    struct tr_projection p;
    struct job_notices quiet;
    struct tr_ctx call = delivery_call(v->cx, DELIVERY_OPEN_S);

    if ((v->ops->caps & TR_DEST_RECOUNTS) == 0)
        return tr_fail(err, TR_REFUSED, "delivery.cannot_recount", "verify without --recount",
                       "%s cannot be asked for single events", v->ops->name);
    tr_column_mask used = 0;
    enum tr_rc rc = tr_delivery_takes(v->ops, v->export->schema, err);
    if (rc == TR_OK)
        rc = tr_export_projection(v->export, v->ops->defaults[v->export->schema->model], &p, err);
    if (rc == TR_OK)
        rc = v->ops->open(&call, v->conf, &v->dest, err);
    if (rc != TR_OK)
        return tr_wrap(err, "open the destination");
    if (v->ops->look != NULL) {
        rc = v->ops->look(&call, v->dest, &p, err);
        return rc == TR_OK ? TR_OK : tr_wrap(err, "look at the destination");
    }
    job_notices_init(&quiet, NULL);
    rc = v->ops->prepare(&call, v->dest, &p, &used, &quiet.sink, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "prepare the destination");
}

static enum tr_rc ask(struct block *b, struct tr_err *err)
{
    struct verify *v = b->v;
    struct tr_recount there = { 0 };
    struct tr_ctx call = delivery_call(v->cx, DELIVERY_COMMIT_S);

    if (b->n == 0) {
        b->n_keys = 0;
        return TR_OK;
    }
    struct tr_owner owner = { v->export->project, share_is_mixed(b->share) };
    enum tr_rc rc =
        v->ops->recount(&call, v->dest, &owner, b->keys, b->n_keys, b->uuids, b->n, &there, err);
    if (rc != TR_OK)
        return tr_wrap(err, "recount at the destination");
    b->verdict->found_there += there.found;
    b->verdict->copies_there += there.copies;
    b->n = 0;
    b->n_keys = 0;
    return TR_OK;
}

static enum tr_rc add_key(struct block *b, const struct telling *t, struct tr_err *err)
{
    enum tr_rc rc = b->n_keys == KEYS_PER_BLOCK ? ask(b, err) : TR_OK;

    if (rc == TR_OK)
        b->keys[b->n_keys++] = delivery_key(b->v->d, b->v->export, t->d.generation, t->d.chunk);
    if (rc == TR_OK)
        b->keys[b->n_keys - 1].epoch = delivery_epoch(b->v->d, t->d.epoch);
    return rc;
}

static enum tr_rc add_batch(struct block *b, const struct telling *t, const struct tr_batch *rows,
                            struct tr_err *err)
{
    if (b->n + rows->rows > DELIVERY_REMOVE_BLOCK) {
        enum tr_rc rc = ask(b, err);
        if (rc == TR_OK)
            rc = add_key(b, t, err);
        if (rc != TR_OK)
            return rc;
    }
    memcpy(b->uuids + b->n, rows->col[TR_EVENT_UUID].uuid, rows->rows * sizeof(*b->uuids));
    b->n += rows->rows;
    return TR_OK;
}

static void close_stream(struct tr_stream **s)
{
    if (*s != NULL)
        (*s)->ops->close(*s);
}

struct reject_count {
    struct tr_range range;
    uint64_t n;
};

static bool count_reject(void *arg, const struct tr_reject *r)
{
    struct reject_count *c = arg;

    c->n += r->inserted_at >= c->range.lo && r->inserted_at < c->range.hi;
    return true;
}

/* Of a telling whose account speaks of more than is left of it: the filters say which events are
 * there, less the rejects. Not when the export was edited since: its filters may have been others.
 */
static enum tr_rc by_filters(struct block *b, const struct telling *t, struct tr_range range,
                             bool *ret, struct tr_err *err)
{
    struct verify *v = b->v;
    struct reject_count rejects = { .range = range };
    struct tr_run run;
    enum tr_rc rc = v->d->meta->ops->run_get(v->d->meta, &t->d.run_id, &run, err);

    if (rc == TR_INVALID) { /* folded: what its filters were is not known any more */
        *ret = false;
        return TR_OK;
    }
    if (rc != TR_OK)
        return rc;
    *ret = v->export->updated_at <= run.started_at &&
           (!t->known || t->chunk.account.rejected < DELIVERY_REJECTS_KEPT);
    if (*ret) { /* days that a filter names count back from the run's end */
        const struct tr_export *e = v->export;

        tr_filter_free(b->filter);
        b->filter = NULL;
        rc =
            tr_filter_compile(e->include, e->exclude, e->filters, run.interval.hi, &b->filter, err);
    }
    if (rc == TR_OK && *ret)
        rc = v->d->meta->ops->reject_list(v->d->meta, &t->d.run_id, 0, count_reject, &rejects, err);
    if (rc == TR_OK && *ret)
        b->verdict->expected_there -= rejects.n; /* their rows are counted below */
    return rc;
}

static enum tr_rc add_rows(struct block *b, const struct telling *t, struct tr_range range,
                           bool by_account, struct tr_err *err)
{
    struct verify *v = b->v;
    TR_CLEANUP(close_stream) struct tr_stream *in = NULL;
    tr_column_mask columns = (tr_column_mask)1 << TR_EVENT_UUID | share_columns(b->share);
    enum tr_rc rc;

    if (!by_account)
        columns |= tr_filter_columns(b->filter);
    rc = v->d->source->ops->read(v->cx, v->d->source, v->export->project, v->export->schema, range,
                                 columns, &in, err);
    while (rc == TR_OK) {
        struct tr_batch *rows = NULL;
        uint64_t limited = 0;

        if (tr_ctx_cancelled(v->cx))
            return tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
        rc = in->ops->next(v->cx, in, &rows, err);
        if (rc == TR_OK && rows != NULL)
            rc = share_rows(b->share, rows, err);
        if (rc != TR_OK || rows == NULL)
            break;
        if (!by_account) {
            rc = tr_filter_rows(b->filter, rows, b->keep, &limited, err);
            if (rc != TR_OK)
                break;
            tr_batch_keep(rows, b->keep);
            b->verdict->expected_there += rows->rows;
        }
        rc = add_batch(b, t, rows, err);
    }
    return rc;
}

/* Where the account speaks of just these events, all of them are asked for, whatever the filters
 * are by now, and the account says how many must be there. */
static enum tr_rc add_telling(struct block *b, const struct telling *t, struct tr_err *err)
{
    struct tr_range range = { t->first_from, t->d.range.hi };
    bool by_account = t->known && t->whole && t->first_from == t->d.range.lo;
    bool known = true;
    enum tr_rc rc = TR_OK;

    if (tr_range_empty(range) || t->d.is_empty)
        return TR_OK;
    if (by_account)
        b->verdict->expected_there += t->chunk.account.delivered + t->chunk.account.already_there;
    else
        rc = by_filters(b, t, range, &known, err);
    if (rc != TR_OK || !known)
        return rc;
    rc = add_key(b, t, err);
    return rc == TR_OK ? add_rows(b, t, range, by_account, err) : rc;
}

/* Rows that are updated: those that have not changed since must be there, as they are now or newer.
 * Rejects of the runs are not expected. */
static enum tr_rc recount_rows(struct verify *v, struct tr_verdict *verdict, struct tr_range range,
                               struct tr_err *err)
{
    TR_CLEANUP(close_stream) struct tr_stream *in = NULL;
    const struct tr_schema *schema = v->export->schema;
    enum tr_rc rc = v->d->source->ops->read(v->cx, v->d->source, v->export->project, schema, range,
                                            tr_schema_identity(schema), &in, err);

    while (rc == TR_OK) {
        struct tr_batch *rows = NULL;
        struct tr_recount there = { 0 };
        struct tr_ctx call = delivery_call(v->cx, DELIVERY_COMMIT_S);

        if (tr_ctx_cancelled(v->cx))
            return tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
        rc = in->ops->next(v->cx, in, &rows, err);
        if (rc != TR_OK || rows == NULL)
            break;
        delivery_order_versions(v->d, rows, false);
        rc = v->ops->recount_rows(&call, v->dest, rows, &there, err);
        verdict->expected_there += there.expected;
        verdict->found_there += there.found;
    }
    return rc;
}

static enum tr_rc recount_tellings(struct verify *v, struct tr_verdict *verdict, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;
    uint64_t rejected = 0;

    if (v->ops->recount_rows == NULL)
        return tr_fail(err, TR_REFUSED, "delivery.cannot_recount", "verify without --recount",
                       "%s cannot be asked for single rows of %s", v->ops->name,
                       v->export->schema->name);
    for (size_t i = 0; i < v->n_tellings && rc == TR_OK; i++) {
        const struct telling *t = &v->tellings[i];
        struct tr_range range = { t->first_from, t->d.range.hi };

        if (!tr_range_empty(range) && !t->d.is_empty)
            rc = recount_rows(v, verdict, range, err);
        rejected += t->known ? t->chunk.account.rejected : 0;
    }
    uint64_t missing = verdict->expected_there - verdict->found_there;
    verdict->expected_there -= missing < rejected ? missing : rejected;
    return rc == TR_OK ? TR_OK : tr_wrap(err, "recount at the destination");
}

/* That holds all tellings. */
static struct tr_range told_range(const struct verify *v)
{
    struct tr_range all = { 0, 0 };

    for (size_t i = 0; i < v->n_tellings; i++) {
        struct tr_range r = v->tellings[i].d.range;

        all.lo = i == 0 || r.lo < all.lo ? r.lo : all.lo;
        all.hi = i == 0 || r.hi > all.hi ? r.hi : all.hi;
    }
    return all;
}

enum tr_rc verify_recount(struct verify *v, struct tr_verdict *verdict, struct tr_err *err)
{
    if (v->export->schema->is_mutable)
        return recount_tellings(v, verdict, err);

    struct block *b = calloc(1, sizeof(*b));
    enum tr_rc rc = TR_OK;

    if (b == NULL)
        return tr_fail_oom(err);
    b->v = v;
    b->verdict = verdict;
    b->uuids = malloc(DELIVERY_REMOVE_BLOCK * sizeof(*b->uuids));
    if (b->uuids == NULL)
        rc = tr_fail_oom(err);
    if (rc == TR_OK)
        rc = share_load(v->d, v->ops, v->export, told_range(v), &b->share, err);
    for (size_t i = 0; i < v->n_tellings && rc == TR_OK; i++)
        rc = add_telling(b, &v->tellings[i], err);
    if (rc == TR_OK)
        rc = ask(b, err);
    tr_filter_free(b->filter);
    share_free(b->share);
    free(b->uuids);
    free(b);
    return rc;
}
