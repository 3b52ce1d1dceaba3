/* Does it balance? Counts that are independent of each other, held together piece by piece. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "delivery/verify_priv.h"

enum { MAX_PIECES = 10000 };

typedef unsigned long long ull;

static void judge(struct tr_verdict *v, int what, const char *fmt, ...) TR_FORMAT(3, 4);

static void judge(struct tr_verdict *v, int what, const char *fmt, ...)
{
    va_list args;

    v->what = what;
    va_start(args, fmt);
    (void)vsnprintf(v->text, sizeof(v->text), fmt, args);
    va_end(args);
}

/* ---- parts that nobody delivered ---- */

static bool take_first(void *arg, const struct tr_run *run)
{
    *(struct tr_run *)arg = *run;
    return false;
}

static enum tr_rc find_run(struct verify *v, struct tr_range gap, uint32_t states,
                           struct tr_run *ret, bool *ret_found, struct tr_err *err)
{
    static const struct tr_uuid nil;
    struct tr_run_query q = {
        .export_id = v->export->id,
        .states = states,
        .interval = gap,
        .by_interval = true,
        .limit = 1,
    };

    *ret = (struct tr_run){ 0 };
    enum tr_rc rc = v->d->meta->ops->run_list(v->d->meta, &q, take_first, ret, err);
    *ret_found = memcmp(&ret->id, &nil, sizeof(nil)) != 0;
    return rc;
}

static enum tr_rc judge_gap(struct verify *v, struct tr_range gap, struct tr_verdict *ret,
                            struct tr_err *err)
{
    struct tr_run run;
    bool found = false;
    uint64_t rows = 0;
    enum tr_rc rc =
        count_planned(v->cx, v->d, v->export->project, v->export->schema, gap, &rows, err);

    if (rc != TR_OK || rows == 0)
        return rc;
    rc = find_run(v, gap, 1u << TR_RUN_STARTING | 1u << TR_RUN_RUNNING | 1u << TR_RUN_RETRYING,
                  &run, &found, err);
    if (rc == TR_OK && found) {
        ret->run_id = run.id;
        if (ret->what == TR_VERDICT_OK)
            judge(ret, TR_VERDICT_PENDING, "%llu rows wait for their run, which is %s", (ull)rows,
                  tr_run_state_name(run.state));
        return TR_OK;
    }
    if (rc == TR_OK)
        rc = find_run(v, gap, 1u << TR_RUN_FAILED | 1u << TR_RUN_CANCELLED, &run, &found, err);
    if (rc != TR_OK)
        return rc;
    if (found) {
        ret->run_id = run.id;
        judge(ret, TR_VERDICT_MISSING, "%llu rows are not delivered: their run is %s%s%s",
              (ull)rows, tr_run_state_name(run.state), run.error[0] == '\0' ? "" : ": ", run.error);
    } else if (!v->export->paused && gap.lo >= v->cursor) {
        if (ret->what == TR_VERDICT_OK)
            judge(ret, TR_VERDICT_PENDING, "%llu rows wait for their interval to end", (ull)rows);
    } else {
        judge(ret, TR_VERDICT_MISSING,
              "%llu rows were never part of a run%s; a backfill delivers "
              "them",
              (ull)rows, v->export->paused ? " (the export is paused)" : "");
    }
    return TR_OK;
}

static enum tr_rc list_told(const struct verify *v, struct ranges *ret, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < v->n_tellings && rc == TR_OK; i++)
        rc = ranges_add(ret, v->tellings[i].d.range, err);
    return rc;
}

/* The parts of a closed piece that somebody asked for or a run delivered. An interval in which the
 * export or a backfill began has a part before that. */
static enum tr_rc list_judged(const struct verify *v, struct tr_range closed, struct ranges *ret,
                              struct tr_err *err)
{
    struct ranges asked = { 0 };
    struct ranges unasked = { 0 };
    enum tr_rc rc = list_told(v, &asked, err);

    for (size_t i = 0; i < v->due.n && rc == TR_OK; i++)
        rc = ranges_add(&asked, v->due.v[i], err);
    ranges_sort(&asked);
    if (rc == TR_OK)
        rc = ranges_left(closed, &asked, &unasked, err);
    if (rc == TR_OK)
        rc = ranges_left(closed, &unasked, ret, err);
    ranges_fini(&asked);
    ranges_fini(&unasked);
    return rc;
}

static enum tr_rc judge_gaps(struct verify *v, struct tr_range closed, struct tr_verdict *ret,
                             struct tr_err *err)
{
    struct ranges told = { 0 };
    struct ranges gaps = { 0 };
    enum tr_rc rc = list_told(v, &told, err);

    ranges_sort(&told);
    if (rc == TR_OK)
        rc = ranges_left(closed, &told, &gaps, err);
    for (size_t i = 0; i < gaps.n && rc == TR_OK; i++)
        rc = judge_gap(v, gaps.v[i], ret, err);
    ranges_fini(&told);
    ranges_fini(&gaps);
    return rc;
}

/* ---- accounts ---- */

/* One telling after the other: for pieces where some overlap or were cut. */
static enum tr_rc judge_single(struct verify *v, const struct telling *t, struct tr_verdict *ret,
                               struct tr_err *err)
{
    uint64_t rows = 0;
    const struct tr_account *a = &t->chunk.account;

    if (!t->known || !t->whole)
        return TR_OK;
    enum tr_rc rc =
        count_planned(v->cx, v->d, v->export->project, v->export->schema, t->d.range, &rows, err);
    if (rc == TR_OK && rows != a->stored)
        judge(ret, TR_VERDICT_UNBALANCED,
              "the store holds %llu events where a run accounts for %llu", (ull)rows,
              (ull)a->stored);
    return rc;
}

static enum tr_rc judge_accounts(struct verify *v, bool countable, struct tr_verdict *ret,
                                 struct tr_err *err)
{
    bool simple = true;
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < v->n_tellings; i++) {
        const struct telling *t = &v->tellings[i];
        const struct tr_account *a = &t->chunk.account;

        simple = simple && t->known && t->whole && t->first_from == t->d.range.lo;
        if (t->known && !tr_account_balances(a))
            judge(ret, TR_VERDICT_UNBALANCED,
                  "a chunk's account does not add up: %llu selected; %llu delivered, %llu already "
                  "there, %llu rejected",
                  (ull)a->selected, (ull)a->delivered, (ull)a->already_there, (ull)a->rejected);
        if (t->known)
            tr_account_add(&ret->account, a);
    }
    if (!countable || v->export->schema->is_mutable)
        return TR_OK;
    if (simple && ret->what == TR_VERDICT_OK && ret->account.stored != ret->stored)
        judge(ret, TR_VERDICT_UNBALANCED, "the store counts %llu events, the runs account for %llu",
              (ull)ret->stored, (ull)ret->account.stored);
    for (size_t i = 0; i < v->n_tellings && !simple && rc == TR_OK; i++)
        rc = judge_single(v, &v->tellings[i], ret, err);
    return rc;
}

/* ---- the destination ---- */

static enum tr_rc judge_there(struct verify *v, struct tr_verdict *ret, struct tr_err *err)
{
    bool appended = false;
    enum tr_rc rc = verify_recount(v, ret, err);

    if (rc != TR_OK)
        return rc;
    for (size_t i = 0; i < v->n_tellings; i++)
        appended = appended || v->tellings[i].first_from != v->tellings[i].d.range.lo;
    if (ret->found_there < ret->expected_there)
        judge(
            ret, TR_VERDICT_LOST_AT_TARGET,
            v->export->schema->is_mutable
                ? "%llu rows are not at the destination in their newest version (%llu of %llu "
                  "found)"
                : "%llu delivered events are not at the destination any more (%llu of %llu found)",
            (ull)(ret->expected_there - ret->found_there), (ull)ret->found_there,
            (ull)ret->expected_there);
    else if (ret->copies_there != 0 && !appended)
        judge(ret, TR_VERDICT_COPIES_AT_TARGET,
              "the destination has %llu rows too many: events that are there more than once",
              (ull)ret->copies_there);
    return TR_OK;
}

/* ---- a piece ---- */

static void say_ok(struct tr_verdict *v, bool is_mutable)
{
    const struct tr_account *a = &v->account;

    if (is_mutable)
        judge(v, TR_VERDICT_OK,
              "%llu rows changed last in this interval; %llu were delivered, %llu rejected",
              (ull)v->stored, (ull)(a->delivered + a->already_there), (ull)a->rejected);
    else if (v->stored == 0 && a->stored == 0)
        judge(v, TR_VERDICT_OK, "no events");
    else
        judge(v, TR_VERDICT_OK,
              "all of %llu events are accounted for: %llu delivered, %llu excluded, %llu rejected",
              (ull)v->stored, (ull)(a->delivered + a->already_there), (ull)a->excluded,
              (ull)a->rejected);
}

/* Rows of the parts, by the store. Sets *ret_held: they are all there to be read; and
 * *ret_countable: there is a number to hold the accounts to. */
static enum tr_rc count_judged(struct verify *v, const struct ranges *parts, struct tr_verdict *ret,
                               bool *ret_held, bool *ret_countable, struct tr_err *err)
{
    bool is_mutable = v->export->schema->is_mutable;
    int64_t floor = v->d->source->ops->floor(v->d->source);
    enum tr_rc rc = TR_OK;

    *ret_held = true;
    *ret_countable = !is_mutable;
    for (size_t i = 0; i < parts->n; i++) {
        struct tr_range r = parts->v[i];
        bool held = is_mutable || r.lo >= floor;

        *ret_held = *ret_held && held;
        /* What retention took is counted by whole minutes only. */
        if (!held && (r.lo % TR_US_PER_MIN != 0 || r.hi % TR_US_PER_MIN != 0))
            *ret_countable = false;
    }
    for (size_t i = 0; i < parts->n && rc == TR_OK && (*ret_countable || is_mutable); i++) {
        uint64_t rows = 0;

        if (is_mutable) /* those that have not changed again since */
            rc = count_planned(v->cx, v->d, v->export->project, v->export->schema, parts->v[i],
                               &rows, err);
        else
            rc = count_stored(v->cx, v->d, v->export->project, parts->v[i], &rows, err);
        ret->stored += rows;
    }
    return rc;
}

static enum tr_rc judge_parts(struct verify *v, const struct ranges *parts, struct tr_verdict *ret,
                              struct tr_err *err)
{
    bool held = false;
    bool countable = false;
    enum tr_rc rc = count_judged(v, parts, ret, &held, &countable, err);

    for (size_t i = 0; i < parts->n && rc == TR_OK && held; i++)
        rc = judge_gaps(v, parts->v[i], ret, err);
    if (rc == TR_OK)
        rc = judge_accounts(v, countable, ret, err);
    if (rc == TR_OK && v->dest != NULL &&
        (ret->what == TR_VERDICT_OK || ret->what == TR_VERDICT_PENDING))
        rc = judge_there(v, ret, err);
    return rc;
}

static enum tr_rc judge_piece(struct verify *v, struct tr_range piece, struct tr_verdict *ret,
                              struct tr_err *err)
{
    struct tr_range closed = { piece.lo, piece.hi < v->closed ? piece.hi : v->closed };
    struct ranges parts = { 0 };

    *ret = (struct tr_verdict){ .range = piece, .what = TR_VERDICT_OK };
    if (v->n_tellings != 0)
        ret->run_id = v->tellings[0].d.run_id;
    if (tr_range_empty(closed)) {
        judge(ret, TR_VERDICT_PENDING, "the store has not closed this interval yet");
        return TR_OK;
    }
    enum tr_rc rc = list_judged(v, closed, &parts, err);
    if (rc == TR_OK && parts.n == 0) {
        judge(ret, TR_VERDICT_OK, "before the export began; no backfill was asked for");
        ranges_fini(&parts);
        return TR_OK;
    }
    if (rc == TR_OK && parts.v[0].lo > ret->range.lo)
        ret->range.lo = parts.v[0].lo;
    if (rc == TR_OK && parts.v[parts.n - 1].hi < closed.hi)
        ret->range.hi = parts.v[parts.n - 1].hi;
    if (rc == TR_OK)
        rc = judge_parts(v, &parts, ret, err);
    ranges_fini(&parts);
    /* Of an interval that goes on, what is delivered is right or wrong already. */
    if (rc == TR_OK && ret->what == TR_VERDICT_OK && closed.hi < piece.hi && v->n_tellings == 0)
        judge(ret, TR_VERDICT_PENDING, "the interval has not ended");
    if (rc == TR_OK && ret->what == TR_VERDICT_OK)
        say_ok(ret, v->export->schema->is_mutable);
    return rc;
}

/* ---- the walk ---- */

/* A range with very many intervals begins at its first event, and takes several at once. */
static int64_t intervals_at_once(struct verify *v, struct tr_range *range)
{
    const struct tr_schedule *s = &v->export->schedule;
    struct tr_range first = tr_schedule_at(s, range->lo);
    int64_t length = first.hi - first.lo;
    int64_t from = 0;
    int64_t to = 0;
    bool any = false;
    struct tr_err ignored;

    if ((range->hi - range->lo) / length > MAX_PIECES &&
        v->d->source->ops->extent(v->d->source, v->export->project, v->export->schema, *range, &any,
                                  &from, &to, &ignored) == TR_OK &&
        any)
        range->lo = from;
    return (range->hi - range->lo) / length / MAX_PIECES + 1;
}

static struct tr_range next_piece(const struct verify *v, int64_t at, int64_t intervals)
{
    struct tr_range piece = { at, at };

    for (int64_t i = 0; i < intervals && piece.hi < v->now; i++)
        piece.hi = tr_schedule_at(&v->export->schedule, piece.hi).hi;
    return piece;
}

static enum tr_rc walk(struct verify *v, struct tr_range range,
                       bool (*each)(void *, const struct tr_verdict *), void *arg,
                       struct tr_err *err)
{
    struct tr_range bounds = tr_export_bounds(v->export);

    range = tr_range_meet(tr_range_meet(range, bounds), (struct tr_range){ 0, v->now });
    if (tr_range_empty(range))
        return TR_OK;
    int64_t intervals = intervals_at_once(v, &range);
    int64_t at = tr_schedule_at(&v->export->schedule, range.lo).lo;

    while (at < range.hi) {
        struct tr_range piece = next_piece(v, at, intervals);
        struct tr_verdict verdict;

        if (tr_ctx_cancelled(v->cx))
            return tr_fail(err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
        enum tr_rc rc = verify_tellings(v, &piece, err);
        at = piece.hi;
        if (rc == TR_OK)
            rc = judge_piece(v, tr_range_meet(piece, bounds), &verdict, err);
        if (rc != TR_OK)
            return rc;
        if (!each(arg, &verdict))
            return TR_OK;
    }
    return TR_OK;
}

struct collect_due {
    struct verify *v;
    enum tr_rc rc;
    struct tr_err *err;
};

static bool add_backfill(void *arg, const struct tr_backfill *b)
{
    struct collect_due *c = arg;

    if (b->state != TR_RUN_CANCELLED)
        c->rc = ranges_add(&c->v->due, b->range, c->err);
    return c->rc == TR_OK;
}

static enum tr_rc read_due(struct verify *v, struct tr_err *err)
{
    struct collect_due c = { .v = v, .rc = TR_OK, .err = err };
    const struct tr_meta_ops *ops = v->d->meta->ops;
    int64_t began = 0;
    enum tr_rc rc = ops->cursor_get(v->d->meta, &v->export->id, &v->cursor, err);

    if (rc == TR_OK)
        rc = ops->began_get(v->d->meta, &v->export->id, &began, err);
    if (rc == TR_OK)
        rc = ranges_add(&v->due, (struct tr_range){ began, INT64_MAX }, err);
    if (rc == TR_OK)
        rc = ops->backfill_list(v->d->meta, &v->export->id, add_backfill, &c, err);
    ranges_sort(&v->due);
    return rc == TR_OK ? c.rc : rc;
}

static void verify_fini(struct verify *v)
{
    ranges_fini(&v->due);
    if (v->dest != NULL)
        v->ops->close(v->dest);
    tr_conf_free(v->conf);
    tr_export_free(v->export);
    free(v->plan);
    free(v->tellings);
}

enum tr_rc tr_verify(const struct tr_ctx *cx, const struct tr_delivery *d,
                     const struct tr_uuid *export_id, struct tr_range range, bool recount,
                     bool (*each)(void *, const struct tr_verdict *), void *arg, struct tr_err *err)
{
    struct verify v = { .cx = cx, .d = d, .now = d->source->ops->now(d->source) };
    enum tr_rc rc = tr_delivery_load(d, export_id, &v.export, &v.conf, err);

    if (rc == TR_OK) {
        v.ops = tr_delivery_dest(d, v.export->dest_type);
        v.closed = d->source->ops->closed_through(d->source);
        rc = read_due(&v, err);
    }
    if (rc == TR_OK && recount)
        rc = verify_open_dest(&v, err);
    if (rc == TR_OK)
        rc = walk(&v, range, each, arg, err);
    verify_fini(&v);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "verify");
}
