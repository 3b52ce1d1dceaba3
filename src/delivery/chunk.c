/* One chunk: from chunk_sent to chunk_done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_priv.h"
#include "os/kill.h"

/* What one try to load a chunk came to. */
struct tally {
    uint64_t rows, selected;
    bool committing; /* commit was called: a failure may leave the outcome open */
    struct tr_receipt receipt;
};

static void abort_load(struct tr_load **load)
{
    if (*load != NULL)
        (*load)->ops->abort(*load);
}

static void free_share(struct share **s)
{
    share_free(*s);
}

static void close_stream(struct tr_stream **s)
{
    if (*s != NULL)
        (*s)->ops->close(*s);
}

/* ---- rejects ---- */

/* Which row it is, in front of the reason where the row has no id of its own. */
static void name_row(const struct tr_batch *b, size_t row, const char *reason,
                     struct tr_reject *ret)
{
    const struct tr_schema *schema = b->schema;
    size_t n = 0;

    for (size_t i = 0; i < schema->n_keys; i++) {
        const struct tr_column *c = &schema->columns[schema->keys[i]];
        const union tr_vector *v = &b->col[schema->keys[i]];

        if (v->str == NULL)
            continue;
        if (c->type == TR_TYPE_UUID)
            ret->uuid = v->uuid[row];
        else if (c->type == TR_TYPE_TEXT && n < sizeof(ret->reason))
            n += (size_t)snprintf(ret->reason + n, sizeof(ret->reason) - n, "%s %.*s: ", c->name,
                                  v->str[row].n > 64 ? 64 : (int)v->str[row].n, v->str[row].p);
    }
    if (n < sizeof(ret->reason))
        (void)snprintf(ret->reason + n, sizeof(ret->reason) - n, "%s", reason);
}

static void take_reject(struct tr_reject_sink *sink, const struct tr_batch *b, size_t row,
                        const char *reason)
{
    struct lane *l = (struct lane *)(void *)((char *)(void *)sink - offsetof(struct lane, sink));

    if (l->n_rejects == DELIVERY_REJECTS_KEPT || l->rejects_failed)
        return;
    if (l->n_rejects == l->cap_rejects) {
        size_t cap = l->cap_rejects == 0 ? 16 : l->cap_rejects * 2;
        struct tr_reject *grown = realloc(l->rejects, cap * sizeof(*grown));

        l->rejects_failed = grown == NULL;
        if (grown == NULL)
            return;
        l->rejects = grown;
        l->cap_rejects = cap;
    }

    struct tr_reject *r = &l->rejects[l->n_rejects++];
    *r = (struct tr_reject){ .run_id = l->job->run->id, .inserted_at = b->inserted_at[row] };
    name_row(b, row, reason, r);
}

void lane_fini(struct lane *l)
{
    free(l->rejects);
    l->rejects = NULL;
}

/* ---- loading ---- */

static bool told_to_stop(struct lane *l, struct tr_err *err)
{
    struct job *j = l->job;

    delivery_alive(j->cx);
    if (tr_ctx_cancelled(j->cx)) {
        (void)tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
        return true;
    }
    (void)pthread_mutex_lock(&j->lock);
    bool stop = j->stop;
    (void)pthread_mutex_unlock(&j->lock);
    if (stop)
        (void)tr_fail(err, TR_CANCELLED, "delivery.stopped", NULL,
                      "stopped because another connection failed");
    return stop;
}

static enum tr_rc open_stream(struct lane *l, struct tr_range range, tr_column_mask columns,
                              struct tr_stream **ret, struct tr_err *err)
{
    struct job *j = l->job;
    struct tr_source *s = j->d->source;

    return s->ops->read(j->cx, s, j->run->project, j->export->schema, range, columns, ret, err);
}

/* replace: whatever the place holds of this chunk's events goes, in the chunk's own transaction;
 * also of events that the filters leave out now. Not what other exports delivered. */
static enum tr_rc remove_old(struct lane *l, const struct tr_chunk *c, struct tr_load *load,
                             const struct share *share, struct tr_err *err)
{
    TR_CLEANUP(close_stream) struct tr_stream *in = NULL;
    struct tr_uuid *block = malloc(DELIVERY_REMOVE_BLOCK * sizeof(*block));
    size_t n = 0;

    if (block == NULL)
        return tr_fail_oom(err);
    tr_column_mask columns = (tr_column_mask)1 << TR_EVENT_UUID | share_columns(share);
    enum tr_rc rc = open_stream(l, c->range, columns, &in, err);

    while (rc == TR_OK) {
        struct tr_batch *b = NULL;

        rc = told_to_stop(l, err) ? TR_CANCELLED : in->ops->next(l->job->cx, in, &b, err);
        if (rc == TR_OK && b != NULL)
            rc = share_rows(share, b, err);
        if (rc != TR_OK)
            break;
        if (n != 0 && (b == NULL || n + b->rows > DELIVERY_REMOVE_BLOCK)) {
            struct tr_ctx call = delivery_call(l->job->cx, DELIVERY_WRITE_S);
            rc = load->ops->remove(&call, load, block, n, err);
            n = 0;
        }
        if (b == NULL || rc != TR_OK)
            break;
        memcpy(block + n, b->col[TR_EVENT_UUID].uuid, b->rows * sizeof(*block));
        n += b->rows;
    }
    free(block);
    return rc;
}

static enum tr_rc filter_batch(struct lane *l, struct tr_batch *b, struct tr_err *err)
{
    struct job *j = l->job;
    uint64_t limited = 0;

    if (b->rows > TR_BATCH_ROWS)
        return tr_fail(err, TR_INTERNAL, "delivery.batch_too_big", NULL,
                       "the source gave %zu rows at once", b->rows);
    if (tr_filter_is_all(j->filter))
        return TR_OK;

    enum tr_rc rc = tr_filter_rows(j->filter, b, l->keep, &limited, err);
    if (rc != TR_OK)
        return tr_wrap(err, "filter");
    tr_batch_keep(b, l->keep);
    if (limited != 0) {
        (void)pthread_mutex_lock(&j->lock);
        j->limited += limited;
        (void)pthread_mutex_unlock(&j->lock);
    }
    return TR_OK;
}

static enum tr_rc write_rows(struct lane *l, const struct tr_chunk *c, struct tr_load *load,
                             struct tally *t, struct tr_err *err)
{
    struct job *j = l->job;
    TR_CLEANUP(close_stream) struct tr_stream *in = NULL;
    enum tr_rc rc = open_stream(l, c->range, j->columns, &in, err);

    while (rc == TR_OK) {
        struct tr_batch *b = NULL;

        if (told_to_stop(l, err))
            return TR_CANCELLED;
        rc = in->ops->next(j->cx, in, &b, err);
        if (rc != TR_OK)
            return tr_wrap(err, "read");
        if (b == NULL)
            break;
        t->rows += b->rows;
        delivery_order_versions(j->d, b, j->run->on_delivered == TR_REPLACE_DELIVERED);
        rc = filter_batch(l, b, err);
        t->selected += b->rows;
        if (rc == TR_OK && b->rows != 0) {
            struct tr_ctx call = delivery_call(j->cx, DELIVERY_WRITE_S);
            rc = load->ops->write(&call, load, b, err);
        }
    }
    bool changed = j->export->schema->is_mutable ? t->rows > c->rows : t->rows != c->rows;
    if (rc == TR_OK && changed)
        return tr_fail(err, TR_INTERNAL, "delivery.source_changed", NULL,
                       "the source gave %llu rows where it had counted %llu",
                       (unsigned long long)t->rows, (unsigned long long)c->rows);
    return rc;
}

/* The server whose backup was restored may have sent some of these events, under a key that nobody
 * knows: they are replaced, where the place can do that. */
static bool may_be_there(const struct job *j, const struct tr_chunk *c)
{
    return !j->export->schema->is_mutable && c->range.lo < delivery_restored_at(j->d) &&
           (j->ops->caps & TR_DEST_COMMITS_RUN) == 0 && tr_dest_replaces(j->ops, j->export->schema);
}

static enum tr_rc load_chunk(struct lane *l, const struct tr_chunk *c, bool careful,
                             struct tally *t, struct tr_err *err)
{
    struct job *j = l->job;
    TR_CLEANUP(abort_load) struct tr_load *load = NULL;
    TR_CLEANUP(free_share) struct share *share = NULL;
    struct job_notices notices;
    struct tr_load_spec spec = {
        .key = job_key(j, c->range),
        .owner.project = j->run->project,
        .careful = careful,
        .last = c == &j->chunks[j->n_chunks - 1],
        .replace = j->run->on_delivered == TR_REPLACE_DELIVERED || may_be_there(j, c),
        .again = l->again,
        .rejects = &l->sink,
        .notices = &notices.sink,
    };
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_WRITE_S);

    *t = (struct tally){ 0 };
    l->n_rejects = 0;
    job_notices_init(&notices, j);
    enum tr_rc rc = TR_OK;
    bool removes = spec.replace && !j->export->schema->is_mutable;
    if (removes)
        rc = share_load(j->d, j->ops, j->export, c->range, &share, err);
    if (rc != TR_OK)
        return rc;
    spec.owner.mixed = share != NULL && share_is_mixed(share);
    rc = j->ops->begin(&call, l->dest, &spec, &load, err);
    if (rc != TR_OK)
        return tr_wrap(err, "begin chunk %u", c->n);
    if (removes && load->ops->remove != NULL)
        rc = remove_old(l, c, load, share, err);
    if (rc != TR_OK)
        return tr_wrap(err, "remove the old rows of chunk %u", c->n);
    rc = write_rows(l, c, load, t, err);
    if (rc != TR_OK)
        return tr_wrap(err, "write chunk %u", c->n);

    struct tr_load *taken = load;
    load = NULL;
    t->committing = true;
    call = delivery_call(j->cx, DELIVERY_COMMIT_S);
    rc = taken->ops->commit(&call, taken, &t->receipt, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "commit chunk %u", c->n);
}

/* ---- the chunk's states ---- */

/* A failure that surely left nothing behind: the chunk need not be looked up. */
static bool surely_absent(const struct job *j, const struct tally *t, enum tr_rc rc)
{
    if (rc == TR_AMBIGUOUS || job_knows_rows(j)) /* there, a chunk goes in piece by piece */
        return false;
    if (!t->committing)
        return true;
    return rc == TR_TRANSIENT || rc == TR_THROTTLED || rc == TR_REFUSED || rc == TR_INVALID;
}

static bool is_rows_refused(const struct tr_err *err)
{
    return err->id != NULL && strcmp(err->id, tr_dest_rows_refused) == 0;
}

static enum tr_rc finish_chunk(struct lane *l, struct tr_chunk *c, const struct tally *t,
                               struct tr_err *err)
{
    struct job *j = l->job;
    bool deliver = (j->ops->caps & TR_DEST_COMMITS_RUN) == 0;
    struct tr_account account =
        t->receipt.was_there
            ? account_of_lookup(t->rows, j->export->schema->is_mutable, &t->receipt)
            : account_of_commit(t->rows, t->selected, &t->receipt);
    /* Rejects of a load that another attempt had committed before are that attempt's. */
    size_t n_rejects = t->receipt.was_there ? 0 : l->n_rejects;
    enum tr_rc rc = j->d->meta->ops->chunk_done(j->d->meta, j->run, j->export->target, c->n,
                                                &account, deliver, l->rejects, n_rejects, err);

    if (rc != TR_OK)
        return tr_wrap(err, "write down chunk %u", c->n);
    c->state = TR_CHUNK_DELIVERED;
    c->account = account;
    (void)pthread_mutex_lock(&j->lock);
    j->progress = true;
    (void)pthread_mutex_unlock(&j->lock);
    if (account.rejected != 0)
        job_say(j, "warn", "the destination cannot take %llu rows of chunk %u: %s",
                (unsigned long long)account.rejected, c->n,
                n_rejects != 0 ? l->rejects[0].reason : "see the rejects");
    return TR_OK;
}

enum tr_rc lane_deliver(struct lane *l, struct tr_chunk *c, struct tr_err *err)
{
    struct job *j = l->job;
    struct tally t;

    l->again = c->state == TR_CHUNK_SENT;
    enum tr_rc rc = j->d->meta->ops->chunk_sent(j->d->meta, j->run, c->n, err);

    if (rc != TR_OK)
        return tr_wrap(err, "write down that chunk %u is sent", c->n);
    c->state = TR_CHUNK_SENT;
    TR_KILL_POINT("delivery.chunk_sent");

    l->sink.reject = take_reject;
    rc = load_chunk(l, c, false, &t, err);
    if (rc != TR_OK && is_rows_refused(err)) {
        job_say(j, "info", "the destination refused rows of chunk %u; looking for them one by one",
                c->n);
        rc = load_chunk(l, c, true, &t, err);
    }
    if (rc != TR_OK) {
        struct tr_err ignored; /* not written down: the next attempt looks it up */
        if (surely_absent(j, &t, rc) &&
            j->d->meta->ops->chunk_absent(j->d->meta, j->run, c->n, &ignored) == TR_OK)
            c->state = TR_CHUNK_PLANNED;
        return rc;
    }
    TR_KILL_POINT("delivery.chunk_committed");
    rc = finish_chunk(l, c, &t, err);
    TR_KILL_POINT("delivery.chunk_done");
    return rc;
}
