/* Parts that other runs hold: planned or sent by them, and not delivered yet.
 *
 * A run that skips what is delivered leaves them to the others; metadata wakes it up again should
 * they come free. A run that replaces or appends wants to tell them itself, so it waits.
 */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_priv.h"

enum { HOLDERS = 64 };

struct holders {
    const struct job *j;
    struct tr_uuid ids[HOLDERS];
    size_t n;
};

static bool note_candidate(void *arg, const struct tr_run *r)
{
    struct holders *h = arg;
    const struct job *j = h->j;
    int order = memcmp(&r->id, &j->run->id, sizeof(r->id));

    /* Of two that would wait for each other until they commit as a whole, only the younger does. */
    if (order == 0 || ((j->ops->caps & TR_DEST_COMMITS_RUN) != 0 && order > 0 &&
                       r->on_delivered != TR_SKIP_DELIVERED))
        return true;
    h->ids[h->n++] = r->id;
    return h->n < HOLDERS;
}

static enum tr_rc holds(const struct job *j, const struct tr_uuid *run_id, struct tr_range held,
                        bool *ret, struct tr_err *err)
{
    bool commits_run = (j->ops->caps & TR_DEST_COMMITS_RUN) != 0;
    struct tr_chunk *chunks = NULL;
    size_t n = 0;
    enum tr_rc rc = j->d->meta->ops->plan_get(j->d->meta, run_id, &chunks, &n, err);

    *ret = false;
    for (size_t i = 0; rc == TR_OK && i < n && !*ret; i++)
        *ret = (commits_run || chunks[i].state != TR_CHUNK_DELIVERED) &&
               !tr_range_empty(tr_range_meet(chunks[i].range, held));
    free(chunks);
    return rc;
}

static enum tr_rc say_held(const struct tr_uuid *run_id, struct tr_err *err)
{
    char id[TR_UUID_TEXT];

    tr_uuid_format(run_id, id);
    return tr_fail(err, TR_TRANSIENT, "delivery.held",
                   "nothing to do: this run goes on when that one has ended",
                   "run %s is delivering a part of this interval", id);
}

static enum tr_rc wait_for(const struct job *j, struct tr_range held, struct tr_err *err)
{
    struct holders h = { .j = j };
    struct tr_run_query q = {
        .export_id = j->run->export_id,
        .states = 1u << TR_RUN_STARTING | 1u << TR_RUN_RUNNING | 1u << TR_RUN_RETRYING,
        .interval = held,
        .limit = 1000,
    };
    uint64_t rows = 0;
    enum tr_rc rc =
        count_planned(j->cx, j->d, j->run->project, j->export->schema, held, &rows, err);

    if (rc != TR_OK || rows == 0)
        return rc;
    rc = j->d->meta->ops->run_list(j->d->meta, &q, note_candidate, &h, err);
    for (size_t i = 0; rc == TR_OK && i < h.n; i++) {
        bool found = false;

        rc = holds(j, &h.ids[i], held, &found, err);
        if (rc == TR_OK && found)
            return say_held(&h.ids[i], err);
    }
    return rc;
}

enum tr_rc job_wait_for_others(struct job *j, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    if (j->run->on_delivered == TR_SKIP_DELIVERED)
        return TR_OK;
    for (size_t i = 0; i < j->n_taken && rc == TR_OK; i++) {
        struct tr_range held = tr_range_meet(j->taken[i], j->interval);

        if (!tr_range_empty(held))
            rc = wait_for(j, held, err);
    }
    return rc == TR_OK ? TR_OK : tr_wrap(err, "wait for other runs");
}
