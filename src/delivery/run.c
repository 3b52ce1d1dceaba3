/* One attempt of one run, in the order that delivery.h tells. */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "delivery/delivery_priv.h"
#include "os/clock.h"
#include "os/kill.h"

enum { SMALLER_MOST = 10 }; /* a million rows are one by then */

static enum tr_rc load_export(struct job *j, struct tr_err *err)
{
    enum tr_rc rc = tr_delivery_load(j->d, &j->run->export_id, &j->export, &j->conf, err);

    if (rc != TR_OK)
        return rc;
    if (j->export->deleted)
        return tr_fail(err, TR_CANCELLED, "delivery.export_deleted", NULL,
                       "the export was deleted");
    j->ops = tr_dest_for(tr_delivery_dest(j->d, j->export->dest_type), j->run->is_live);
    if (tr_delivery_takes(j->ops, j->export->schema, err) != TR_OK)
        return err->rc;
    if (j->run->on_delivered == TR_APPEND_DELIVERED && j->export->schema->is_mutable)
        return tr_fail(err, TR_REFUSED, "delivery.cannot_append", "use skip or replace",
                       "the rows of the model %s are updated, not appended to",
                       j->export->schema->name);
    if (j->run->on_delivered == TR_REPLACE_DELIVERED &&
        !tr_dest_replaces(j->ops, j->export->schema))
        return tr_fail(err, TR_REFUSED, "delivery.cannot_replace", "use skip or append",
                       "%s cannot replace what was delivered", j->ops->name);
    if ((j->d->source->ops->caps & TR_SOURCE_STABLE) == 0)
        return tr_fail(err, TR_REFUSED, "delivery.source_unstable", NULL,
                       "source %s may answer otherwise when asked again", j->d->source->ops->name);
    return TR_OK;
}

/* Never before start_at, never past end_at, as they stand now. */
static void clip(struct job *j)
{
    struct tr_range r = tr_range_meet(j->run->interval, tr_export_bounds(j->export));

    if (tr_range_empty(r))
        r = (struct tr_range){ j->run->interval.lo, j->run->interval.lo };
    j->interval = r;
    j->open = r;
    j->ripe_through = INT64_MAX;
}

static enum tr_rc check_closed(const struct job *j, struct tr_err *err)
{
    if (tr_range_empty(j->interval) ||
        j->d->source->ops->close_through(j->d->source, j->interval.hi))
        return TR_OK;
    return tr_fail(err, TR_TRANSIENT, "delivery.not_closed", NULL,
                   "the interval is not closed at the source yet");
}

static enum tr_rc make_columns(struct job *j, struct tr_err *err)
{
    const struct tr_export *e = j->export;
    enum tr_rc rc =
        tr_export_projection(e, j->ops->defaults[e->schema->model], &j->projection, err);

    if (rc != TR_OK)
        return tr_wrap(err, "columns");
    rc =
        tr_filter_compile(e->include, e->exclude, e->filters, j->run->interval.hi, &j->filter, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "filters");
}

static enum tr_rc open_dest(struct job *j, struct tr_err *err)
{
    struct job_notices notices;
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_OPEN_S);
    enum tr_rc rc = j->ops->open(&call, j->conf, &j->dest, err);

    if (rc != TR_OK)
        return tr_wrap(err, "open the destination");
    job_notices_init(&notices, j);
    rc = j->ops->prepare(&call, j->dest, &j->projection, &j->used, &notices.sink, err);
    if (rc != TR_OK)
        return tr_wrap(err, "prepare the destination");
    j->opened_at = tr_clock_boot_us();
    return TR_OK;
}

/* The connections of a former job, where they do; they belong to its configuration. */
static void adopt(struct job *j, struct job *former)
{
    struct tr_conf *conf = former->conf;

    if (former->dest == NULL || former->ops != j->ops ||
        memcmp(&former->export->id, &j->export->id, sizeof(j->export->id)) != 0 ||
        former->export->version != j->export->version ||
        tr_clock_boot_us() - former->opened_at > DELIVERY_KEEP_OPEN_S * TR_US_PER_S)
        return;
    former->conf = j->conf;
    j->conf = conf;
    j->dest = former->dest;
    j->used = former->used;
    j->opened_at = former->opened_at;
    memcpy(j->more, former->more, sizeof(j->more));
    memset(former->more, 0, sizeof(former->more));
    former->dest = NULL;
}

/* The place cannot take a chunk at once: what was not sent is planned anew, in smaller ones. */
static bool can_be_smaller(struct job *j, const struct tr_err *err)
{
    if (err->id == NULL || strcmp(err->id, tr_dest_too_wide) != 0 || ++j->smaller > SMALLER_MOST)
        return false;
    j->stop = false;
    j->first_err = (struct tr_err){ 0 };
    return true;
}

/* Until nothing is left: what another run held may have become free in the meantime. */
enum tr_rc job_rest(struct job *j, struct tr_err *err)
{
    for (;;) {
        bool added = false;
        enum tr_rc rc = job_plan(j, &added, err);

        if (rc != TR_OK)
            return rc;
        bool pending = false;
        for (size_t i = 0; i < j->n_chunks; i++)
            pending = pending || job_must_send(j, &j->chunks[i]);
        if (!pending)
            return job_wait_for_others(j, err);
        rc = job_deliver(j, err);
        if (rc != TR_OK && can_be_smaller(j, err))
            rc = job_settle(j, err);
        if (rc != TR_OK)
            return rc;
    }
}

static enum tr_rc publish(struct job *j, struct tr_err *err)
{
    if (j->ops->finish == NULL || j->n_chunks == 0)
        return TR_OK;

    struct tr_key run = job_key(j, j->run->interval);
    struct tr_key *keys = calloc(j->n_chunks, sizeof(*keys));
    struct tr_receipt *receipts = calloc(j->n_chunks, sizeof(*receipts));
    enum tr_rc rc = TR_OK;

    if (keys == NULL || receipts == NULL)
        rc = tr_fail_oom(err);
    if (rc == TR_OK) {
        for (size_t i = 0; i < j->n_chunks; i++) {
            keys[i] = job_key(j, j->chunks[i].range);
            receipts[i] = account_receipt(&j->chunks[i].account);
        }
        TR_KILL_POINT("delivery.before_finish");
        struct tr_ctx call = delivery_call(j->cx, DELIVERY_COMMIT_S);
        rc = j->ops->finish(&call, j->dest, &run, keys, receipts, j->n_chunks, err);
        TR_KILL_POINT("delivery.finished");
    }
    free(keys);
    free(receipts);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "publish the run");
}

/* Events of the interval that other runs delivered or hold. */
static enum tr_rc count_elsewhere(struct job *j, uint64_t *ret, struct tr_err *err)
{
    struct ranges own = { 0 };
    struct ranges others = { 0 };
    enum tr_rc rc = TR_OK;
    int64_t at = j->interval.lo;

    *ret = 0;
    for (size_t i = 0; i < j->n_chunks && rc == TR_OK; i++)
        rc = ranges_add(&own, j->chunks[i].range, err);
    ranges_sort(&own);
    for (size_t i = 0; i < j->n_taken && rc == TR_OK; i++) {
        struct tr_range t = tr_range_meet(j->taken[i], j->interval);

        t.lo = t.lo < at ? at : t.lo; /* taken ranges may overlap each other */
        if (tr_range_empty(t))
            continue;
        at = t.hi;
        rc = ranges_left(t, &own, &others, err);
    }
    for (size_t i = 0; i < others.n && rc == TR_OK; i++) {
        uint64_t rows = 0;
        rc =
            count_planned(j->cx, j->d, j->run->project, j->export->schema, others.v[i], &rows, err);
        *ret += rows;
    }
    ranges_fini(&own);
    ranges_fini(&others);
    return rc;
}

/* Is there a number to hold the account to? Not for what retention took, nor when chunks were
 * delivered before the export's bounds became narrower; nor for rows that change: their number in a
 * past range falls as they go on changing. */
static bool is_countable(const struct job *j)
{
    if (j->export->schema->is_mutable || j->interval.lo < j->d->source->ops->floor(j->d->source))
        return false;
    for (size_t i = 0; i < j->n_chunks; i++) {
        if (j->chunks[i].range.lo < j->interval.lo || j->chunks[i].range.hi > j->interval.hi)
            return false;
    }
    return true;
}

static enum tr_rc close_account(struct job *j, struct tr_err *err)
{
    struct tr_account *a = &j->run->account;
    uint64_t stored = 0;

    *a = account_sum(j->chunks, j->n_chunks);
    if (!is_countable(j))
        return TR_OK;
    enum tr_rc rc = count_elsewhere(j, &a->elsewhere, err);
    if (rc == TR_OK)
        rc = count_stored(j->cx, j->d, j->run->project, j->interval, &stored, err);
    if (rc != TR_OK)
        return rc;
    a->stored = stored;
    if (tr_account_balances(a))
        return TR_OK;
    return tr_fail(err, TR_INTERNAL, tr_delivery_unbalanced,
                   "do not trust this interval; run verify with --recount and report it",
                   "the account does not balance: stored %llu, selected %llu, excluded %llu, "
                   "elsewhere %llu, delivered %llu, already there %llu, rejected %llu",
                   (unsigned long long)a->stored, (unsigned long long)a->selected,
                   (unsigned long long)a->excluded, (unsigned long long)a->elsewhere,
                   (unsigned long long)a->delivered, (unsigned long long)a->already_there,
                   (unsigned long long)a->rejected);
}

/* The export's bounds leave nothing of the run, and no attempt has sent anything yet. */
static enum tr_rc is_void(struct job *j, bool *ret, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    *ret = false;
    if (!tr_range_empty(j->interval))
        return TR_OK;
    rc = j->d->meta->ops->plan_drop(j->d->meta, j->run, err);
    if (rc == TR_OK)
        rc = job_read_plan(j, err);
    *ret = j->n_chunks == 0;
    return rc;
}

enum tr_rc job_begin(struct job *j, struct job *former, bool *ret_nothing, struct tr_err *err)
{
    enum tr_rc rc = load_export(j, err);

    *ret_nothing = false;
    if (rc == TR_OK)
        clip(j);
    if (rc == TR_OK)
        rc = is_void(j, ret_nothing, err);
    if (rc != TR_OK || *ret_nothing)
        return rc;
    rc = make_columns(j, err);
    if (rc == TR_OK && former != NULL)
        adopt(j, former);
    if (rc == TR_OK && j->dest == NULL)
        rc = open_dest(j, err);
    if (rc != TR_OK)
        return rc;
    j->columns = j->used | tr_schema_identity(j->export->schema) | tr_filter_columns(j->filter);
    return job_settle(j, err);
}

enum tr_rc job_end(struct job *j, struct tr_err *err)
{
    enum tr_rc rc = publish(j, err);

    return rc == TR_OK ? close_account(j, err) : rc;
}

static enum tr_rc attempt(struct job *j, struct tr_err *err)
{
    bool nothing = false;
    enum tr_rc rc = job_begin(j, NULL, &nothing, err);

    if (rc != TR_OK || nothing)
        return rc;
    rc = check_closed(j, err);
    if (rc == TR_OK)
        rc = job_rest(j, err);
    return rc == TR_OK ? job_end(j, err) : rc;
}

void job_init(struct job *j, const struct tr_ctx *cx, const struct tr_delivery *d,
              struct tr_run *run)
{
    *j = (struct job){ .cx = cx, .d = d, .run = run };
    (void)pthread_mutex_init(&j->lock, NULL);
}

/* At the end, once. */
void job_attempt(const struct job *j, struct tr_attempt *ret)
{
    *ret = (struct tr_attempt){
        .progress = j->progress,
        .target = j->export == NULL ? 0 : j->export->target,
        .deliver_run = j->ops != NULL && (j->ops->caps & TR_DEST_COMMITS_RUN) != 0,
    };
    if (j->limited != 0)
        job_say(j, "warn", "a regular expression gave up on %llu values and did not match them",
                (unsigned long long)j->limited);
}

void job_fini(struct job *j)
{
    for (size_t i = 0; i < DELIVERY_LANES; i++)
        if (j->more[i] != NULL)
            j->ops->close(j->more[i]);
    if (j->dest != NULL)
        j->ops->close(j->dest);
    tr_filter_free(j->filter);
    tr_conf_free(j->conf);
    tr_export_free(j->export);
    free(j->taken);
    free(j->chunks);
    (void)pthread_mutex_destroy(&j->lock);
}

enum tr_rc tr_deliver_run(const struct tr_ctx *cx, const struct tr_delivery *d, struct tr_run *run,
                          struct tr_attempt *ret, struct tr_err *err)
{
    struct job j;

    job_init(&j, cx, d, run);
    enum tr_rc rc = attempt(&j, err);

    if (rc != TR_OK)
        run->account = account_sum(j.chunks, j.n_chunks);
    job_attempt(&j, ret);
    job_fini(&j);
    return rc;
}
