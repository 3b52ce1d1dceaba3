/* Several exports may deliver into one place: whose is a row that is found there?
 *
 * A row is claimed by an export when a delivered range of it holds the event and its filters take
 * it; all events of the range, when the export was edited since: nobody knows the filters of then.
 */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_priv.h"

struct claim {
    bool is_mine;
    struct tr_uuid by;
    struct tr_range range;
    struct tr_filter *filter; /* NULL: takes everything */
};

struct share {
    struct claim *v;
    size_t n, cap;
    size_t n_theirs;
    bool mixed;
};

void share_free(struct share *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++)
        tr_filter_free(s->v[i].filter);
    free(s->v);
    free(s);
}

/* --- what was delivered --- */

struct collect {
    struct tr_delivered *v;
    size_t n, cap;
    bool failed;
};

static bool add_delivered(void *arg, const struct tr_delivered *d)
{
    struct collect *c = arg;

    if (d->is_empty)
        return true;
    if (c->n == c->cap) {
        size_t cap = c->cap == 0 ? 16 : c->cap * 2;
        struct tr_delivered *grown = realloc(c->v, cap * sizeof(*grown));

        c->failed = grown == NULL;
        if (grown == NULL)
            return false;
        c->v = grown;
        c->cap = cap;
    }
    c->v[c->n++] = *d;
    return true;
}

static enum tr_rc list_delivered(const struct tr_delivery *d, const struct tr_uuid *id,
                                 uint64_t target, struct tr_range range, struct collect *c,
                                 struct tr_err *err)
{
    enum tr_rc rc = d->meta->ops->delivered_list(d->meta, id, target, range, add_delivered, c, err);

    return rc == TR_OK && c->failed ? tr_fail_oom(err) : rc;
}

static enum tr_rc add_claim(struct share *s, const struct claim *claim, struct tr_err *err)
{
    if (s->n == s->cap) {
        size_t cap = s->cap == 0 ? 16 : s->cap * 2;
        struct claim *grown = realloc(s->v, cap * sizeof(*grown));

        if (grown == NULL)
            return tr_fail_oom(err);
        s->v = grown;
        s->cap = cap;
    }
    s->v[s->n++] = *claim;
    s->n_theirs += !claim->is_mine;
    return TR_OK;
}

/* e NULL: it cannot be read; then it may have taken anything. */
static enum tr_rc add_claims(const struct tr_delivery *d, const struct tr_export *e,
                             struct claim claim, const struct collect *c, struct share *s,
                             struct tr_err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        struct tr_run run;
        enum tr_rc rc = d->meta->ops->run_get(d->meta, &c->v[i].run_id, &run, err);

        if (rc != TR_OK)
            return rc;
        claim.range = c->v[i].range;
        claim.filter = NULL;
        if (e != NULL && e->updated_at <= run.started_at)
            rc = tr_filter_compile(e->include, e->exclude, e->filters, run.interval.hi,
                                   &claim.filter, err);
        if (rc == TR_OK)
            rc = add_claim(s, &claim, err);
        if (rc != TR_OK) {
            tr_filter_free(claim.filter);
            return rc;
        }
    }
    return TR_OK;
}

/* --- others --- */

struct others {
    const struct tr_delivery *d;
    const struct tr_export *mine;
    struct tr_range range;
    struct share *share;
    enum tr_rc rc;
    struct tr_err *err;
};

static enum tr_rc add_other(struct others *o, const struct tr_uuid *id, int32_t project)
{
    struct collect c = { 0 };
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;
    struct tr_err ignored;
    enum tr_rc rc = list_delivered(o->d, id, o->mine->target, o->range, &c, o->err);

    if (rc == TR_OK && c.n > 0 && project != o->mine->project) {
        o->share->mixed = true;
    } else if (rc == TR_OK && c.n > 0) {
        struct claim claim = { .by = *id };
        bool known = tr_delivery_load(o->d, id, &e, &conf, &ignored) == TR_OK;
        rc = add_claims(o->d, known ? e : NULL, claim, &c, o->share, o->err);
    }
    tr_conf_free(conf);
    tr_export_free(e);
    free(c.v);
    return rc;
}

static bool take_other(void *arg, const struct tr_uuid *id, int32_t project)
{
    struct others *o = arg;

    o->rc = add_other(o, id, project);
    return o->rc == TR_OK;
}

static enum tr_rc add_own(const struct tr_delivery *d, const struct tr_export *e,
                          struct tr_range range, struct share *s, struct tr_err *err)
{
    struct collect c = { 0 };
    struct claim claim = { .is_mine = true, .by = e->id };
    enum tr_rc rc = list_delivered(d, &e->id, e->target, range, &c, err);

    if (rc == TR_OK)
        rc = add_claims(d, e, claim, &c, s, err);
    free(c.v);
    return rc;
}

enum tr_rc share_load(const struct tr_delivery *d, const struct tr_dest_ops *ops,
                      const struct tr_export *e, struct tr_range range, struct share **ret,
                      struct tr_err *err)
{
    struct share *s = calloc(1, sizeof(*s));
    struct others o = { .d = d, .mine = e, .range = range, .share = s, .rc = TR_OK, .err = err };
    enum tr_rc rc = TR_OK;

    if (s == NULL)
        return tr_fail_oom(err);
    if ((ops->caps & TR_DEST_OWNS_ROWS) == 0)
        rc = d->meta->ops->sharer_list(d->meta, &e->id, e->target, take_other, &o, err);
    if (rc == TR_OK)
        rc = o.rc;
    if (rc == TR_OK && s->n_theirs > 0)
        rc = add_own(d, e, range, s, err);
    if (rc != TR_OK) {
        share_free(s);
        return tr_wrap(err, "look who else delivers into this place");
    }
    *ret = s;
    return TR_OK;
}

bool share_is_mixed(const struct share *s)
{
    return s->mixed;
}

tr_column_mask share_columns(const struct share *s)
{
    tr_column_mask all = 0;

    for (size_t i = 0; s->n_theirs > 0 && i < s->n; i++)
        if (s->v[i].filter != NULL)
            all |= tr_filter_columns(s->v[i].filter);
    return all;
}

/* --- rows --- */

static enum tr_rc mark(const struct claim *c, const struct tr_batch *b, bool *scratch, bool *marks,
                       struct tr_err *err)
{
    uint64_t limited = 0;

    if (c->filter != NULL) {
        enum tr_rc rc = tr_filter_rows(c->filter, b, scratch, &limited, err);
        if (rc != TR_OK)
            return rc;
    }
    for (size_t i = 0; i < b->rows; i++)
        if (b->inserted_at[i] >= c->range.lo && b->inserted_at[i] < c->range.hi &&
            (c->filter == NULL || scratch[i]))
            marks[i] = true;
    return TR_OK;
}

static enum tr_rc fail_shared(const struct share *s, const struct tr_batch *b, size_t row,
                              struct tr_err *err)
{
    char text[TR_UUID_TEXT], by[TR_UUID_TEXT];

    tr_uuid_format(&b->col[TR_EVENT_UUID].uuid[row], text);
    for (size_t i = 0; i < s->n; i++)
        if (!s->v[i].is_mine && b->inserted_at[row] >= s->v[i].range.lo &&
            b->inserted_at[row] < s->v[i].range.hi) {
            tr_uuid_format(&s->v[i].by, by);
            break;
        }
    return tr_fail(err, TR_REFUSED, "delivery.shared_place",
                   "give each export a table of its own, or filters that take different events",
                   "whose row it is cannot be told: event %s was delivered into this place by "
                   "export %s, too",
                   text, by);
}

enum tr_rc share_rows(const struct share *s, struct tr_batch *b, struct tr_err *err)
{
    struct {
        bool mine[TR_BATCH_ROWS], theirs[TR_BATCH_ROWS], scratch[TR_BATCH_ROWS];
    } * m;
    enum tr_rc rc = TR_OK;

    if (s->n_theirs == 0 || b->rows == 0)
        return TR_OK;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < s->n && rc == TR_OK; i++)
        rc = mark(&s->v[i], b, m->scratch, s->v[i].is_mine ? m->mine : m->theirs, err);
    for (size_t i = 0; i < b->rows && rc == TR_OK; i++)
        if (m->mine[i] && m->theirs[i])
            rc = fail_shared(s, b, i, err);
    for (size_t i = 0; i < b->rows; i++)
        m->mine[i] = !m->theirs[i];
    if (rc == TR_OK)
        tr_batch_keep(b, m->mine);
    free(m);
    return rc;
}
