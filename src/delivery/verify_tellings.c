/* Who delivered what in a piece. */
#include <stdlib.h>
#include <string.h>

#include "delivery/verify_priv.h"

struct collect {
    struct verify *v;
    bool failed;
};

static bool add(void *arg, const struct tr_delivered *d)
{
    struct collect *c = arg;
    struct verify *v = c->v;

    if (v->n_tellings == v->cap_tellings) {
        size_t cap = v->cap_tellings == 0 ? 64 : v->cap_tellings * 2;
        struct telling *grown = realloc(v->tellings, cap * sizeof(*grown));

        c->failed = grown == NULL;
        if (grown == NULL)
            return false;
        v->tellings = grown;
        v->cap_tellings = cap;
    }
    v->tellings[v->n_tellings++] = (struct telling){ .d = *d };
    return true;
}

static int by_lo(const void *a, const void *b)
{
    const struct tr_delivered *x = &((const struct telling *)a)->d;
    const struct tr_delivered *y = &((const struct telling *)b)->d;

    if (x->range.lo != y->range.lo)
        return x->range.lo < y->range.lo ? -1 : 1;
    return (x->generation > y->generation) - (x->generation < y->generation);
}

static enum tr_rc list(struct verify *v, struct tr_range piece, struct tr_err *err)
{
    struct collect c = { .v = v };
    const struct tr_export *e = v->export;

    v->n_tellings = 0;
    enum tr_rc rc =
        v->d->meta->ops->delivered_list(v->d->meta, &e->id, e->target, piece, add, &c, err);
    if (rc == TR_OK && c.failed)
        rc = tr_fail_oom(err);
    if (rc == TR_OK && v->n_tellings > 1)
        qsort(v->tellings, v->n_tellings, sizeof(*v->tellings), by_lo);
    return rc;
}

/* Grows to whole intervals that hold every telling. True when it grew. */
static bool grow(const struct verify *v, struct tr_range *piece)
{
    const struct tr_schedule *s = &v->export->schedule;
    struct tr_range r = *piece;

    for (size_t i = 0; i < v->n_tellings; i++) {
        struct tr_range t = v->tellings[i].d.range;

        if (t.lo < r.lo)
            r.lo = tr_schedule_at(s, t.lo).lo;
        if (t.hi > r.hi)
            r.hi = tr_schedule_at(s, t.hi - 1).hi;
    }
    bool grew = r.lo < piece->lo || r.hi > piece->hi;
    *piece = r;
    return grew;
}

/* ---- accounts ---- */

static enum tr_rc read_plan(struct verify *v, const struct tr_uuid *run_id, struct tr_err *err)
{
    if (v->plan != NULL && memcmp(&v->plan_of, run_id, sizeof(*run_id)) == 0)
        return TR_OK;
    free(v->plan);
    v->plan = NULL;
    v->n_plan = 0;
    v->plan_of = *run_id;
    return v->d->meta->ops->plan_get(v->d->meta, run_id, &v->plan, &v->n_plan, err);
}

static enum tr_rc find_chunk(struct verify *v, struct telling *t, struct tr_err *err)
{
    enum tr_rc rc = read_plan(v, &t->d.run_id, err);

    for (size_t i = 0; rc == TR_OK && i < v->n_plan; i++) {
        const struct tr_chunk *c = &v->plan[i];

        if (c->state == TR_CHUNK_DELIVERED && c->range.lo == t->d.chunk.lo &&
            c->range.hi == t->d.chunk.hi) {
            t->chunk = *c;
            t->known = true;
            t->whole = t->d.range.lo == c->range.lo && t->d.range.hi == c->range.hi;
        }
    }
    return rc;
}

enum tr_rc verify_tellings(struct verify *v, struct tr_range *piece, struct tr_err *err)
{
    enum tr_rc rc;

    do {
        rc = list(v, *piece, err);
    } while (rc == TR_OK && grow(v, piece));

    int64_t told = INT64_MIN;
    for (size_t i = 0; i < v->n_tellings && rc == TR_OK; i++) {
        struct telling *t = &v->tellings[i];

        t->first_from = t->d.range.lo > told ? t->d.range.lo : told;
        told = t->d.range.hi > told ? t->d.range.hi : told;
        rc = find_chunk(v, t, err);
    }
    return rc == TR_OK ? TR_OK : tr_wrap(err, "read what was delivered");
}
