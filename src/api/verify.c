/* Does everything balance: verdicts for the intervals of a range. */
#include <stdlib.h>
#include <unistd.h>

#include "api/api_priv.h"

/* Answers stay of a size that one can look at: intervals in order are listed up to OK_MOST, those
 * with something wrong up to BAD_MOST; all are counted. */
enum { OK_MOST = 1000, BAD_MOST = 2000, CLOSE_TRIES = 100, CLOSE_WAIT_US = 10 * 1000 };

static const struct verdict_word {
    const char *name;
    bool wrong;
} words[] = {
    [TR_VERDICT_OK] = { "ok", false },
    [TR_VERDICT_MISSING] = { "missing", true },
    [TR_VERDICT_UNBALANCED] = { "unbalanced", true },
    [TR_VERDICT_PENDING] = { "pending", false },
    [TR_VERDICT_LOST_AT_TARGET] = { "lost_at_target", true },
    [TR_VERDICT_COPIES_AT_TARGET] = { "copies_at_target", true },
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

struct report {
    json_t *results;
    size_t listed_ok, listed_bad, left_out;
    uint64_t count[WORDS], wrong;
    struct tr_account sum;
    uint64_t stored, expected, found, copies;
    bool recount;
    int64_t last_hi; /* neighbouring ranges share an interval: it is told once */
};

static json_t *verdict_json(const struct tr_verdict *v, bool recount)
{
    json_t *j =
        json_pack("{s:o, s:o, s:s, s:b, s:o, s:I, s:o, s:o}", "data_interval_start",
                  api_json_time(v->range.lo), "data_interval_end", api_json_time(v->range.hi),
                  "verdict", words[v->what].name, "ok", (int)!words[v->what].wrong, "run_id",
                  api_json_uuid(&v->run_id), "stored", (json_int_t)v->stored, "account",
                  api_json_account(&v->account), "text", api_json_str(tr_str_of(v->text)));

    if (recount && j != NULL) {
        (void)json_object_set_new(j, "expected_there", json_integer((json_int_t)v->expected_there));
        (void)json_object_set_new(j, "found_there", json_integer((json_int_t)v->found_there));
        (void)json_object_set_new(j, "copies_there", json_integer((json_int_t)v->copies_there));
    }
    return j;
}

static bool add_verdict(void *arg, const struct tr_verdict *v)
{
    struct report *r = arg;
    bool wrong = words[v->what].wrong;

    if (v->range.hi <= r->last_hi)
        return true;
    r->last_hi = v->range.hi;
    r->count[v->what]++;
    r->wrong += wrong;
    r->stored += v->stored;
    r->expected += v->expected_there;
    r->found += v->found_there;
    r->copies += v->copies_there;
    tr_account_add(&r->sum, &v->account);
    if (wrong ? r->listed_bad++ < BAD_MOST : r->listed_ok++ < OK_MOST)
        return json_array_append_new(r->results, verdict_json(v, r->recount)) == 0;
    r->left_out++;
    return true;
}

/* ---- which ranges, when nobody says ---- */

struct ranges {
    struct tr_range *r;
    size_t n, cap;
    bool no_memory;
};

static bool add_range(struct ranges *all, struct tr_range r)
{
    if (tr_range_empty(r))
        return true;
    if (all->n > 0 && all->r[all->n - 1].lo <= r.lo && r.lo <= all->r[all->n - 1].hi) {
        if (r.hi > all->r[all->n - 1].hi)
            all->r[all->n - 1].hi = r.hi;
        return true;
    }
    if (all->n == all->cap) {
        size_t cap = all->cap == 0 ? 64 : all->cap * 2;
        struct tr_range *p = realloc(all->r, cap * sizeof(*p));
        if (p == NULL) {
            all->no_memory = true;
            return false;
        }
        all->r = p;
        all->cap = cap;
    }
    all->r[all->n++] = r;
    return true;
}

static bool add_delivered(void *arg, const struct tr_delivered *d)
{
    return add_range(arg, d->range);
}

static bool add_asked(void *arg, const struct tr_backfill *b)
{
    /* A backfill that somebody stopped was not asked for any more. */
    if (b->state == TR_RUN_CANCELLED)
        return true;
    return add_range(arg, (struct tr_range){ b->range.lo, b->cursor });
}

static int by_lo(const void *a, const void *b)
{
    const struct tr_range *x = a;
    const struct tr_range *y = b;

    return x->lo < y->lo ? -1 : x->lo > y->lo ? 1 : 0;
}

static void merge_ranges(struct ranges *all)
{
    struct ranges merged = { .r = all->r, .cap = all->n };

    qsort(all->r, all->n, sizeof(all->r[0]), by_lo);
    for (size_t i = 0; i < all->n; i++)
        (void)add_range(&merged, all->r[i]);
    all->n = merged.n;
}

/* Everything that should be there by now: what the schedule has made runs for since the export was
 * created, what backfills were asked for, and what was delivered to the target besides. */
static enum tr_rc default_ranges(struct api_call *c, const struct tr_export_row *row,
                                 const struct tr_export *e, struct ranges *all, struct tr_err *err)
{
    const struct tr_meta_ops *ops = c->meta->ops;
    struct tr_range whole = { INT64_MIN, INT64_MAX };
    int64_t cursor = 0;

    if (ops->delivered_list(c->meta, &row->id, row->target, whole, add_delivered, all, err) !=
            TR_OK ||
        ops->backfill_list(c->meta, &row->id, add_asked, all, err) != TR_OK ||
        ops->cursor_get(c->meta, &row->id, &cursor, err) != TR_OK)
        return tr_wrap(err, "find what was delivered");
    int64_t lo = tr_schedule_at(&e->schedule, row->created_at).lo;
    if (lo < e->start_at)
        lo = e->start_at;
    if (!add_range(all, (struct tr_range){ lo, cursor }) || all->no_memory)
        return tr_fail_oom(err);
    if (all->n > 0)
        merge_ranges(all);
    return TR_OK;
}

/* ---- the answer ---- */

static enum tr_rc verify_all(struct api_call *c, const struct tr_uuid *id, const struct ranges *all,
                             struct report *r, struct tr_err *err)
{
    struct tr_source *source = c->d->source;
    int64_t now = source->ops->now(source);

    /* What has come in just now is judged too: an idle store closes its clock when it is asked. */
    for (int i = 0; i < CLOSE_TRIES && !source->ops->close_through(source, now); i++)
        (void)usleep(CLOSE_WAIT_US);
    for (size_t i = 0; i < all->n; i++)
        if (tr_verify(&c->cx, c->d, id, all->r[i], r->recount, add_verdict, r, err) != TR_OK)
            return tr_wrap(err, "verify");
    return TR_OK;
}

static json_t *report_json(struct report *r, const struct ranges *all)
{
    json_t *counts = json_object();

    for (size_t i = 0; i < WORDS; i++)
        (void)json_object_set_new(counts, words[i].name, json_integer((json_int_t)r->count[i]));
    json_t *j =
        json_pack("{s:b, s:o, s:o, s:o, s:I, s:o, s:I, s:O}", "ok", (int)(r->wrong == 0),
                  "start_at", all->n == 0 ? json_null() : api_json_time(all->r[0].lo), "end_at",
                  all->n == 0 ? json_null() : api_json_time(all->r[all->n - 1].hi), "intervals",
                  counts, "stored", (json_int_t)r->stored, "account", api_json_account(&r->sum),
                  "left_out", (json_int_t)r->left_out, "results", r->results);
    if (r->recount && j != NULL) {
        (void)json_object_set_new(j, "expected_there", json_integer((json_int_t)r->expected));
        (void)json_object_set_new(j, "found_there", json_integer((json_int_t)r->found));
        (void)json_object_set_new(j, "copies_there", json_integer((json_int_t)r->copies));
    }
    return j;
}

static enum tr_rc verify(struct api_call *c, struct ranges *all, struct report *r,
                         struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    TR_CLEANUP(api_export_free) struct tr_export *e = NULL;
    struct tr_range asked = { INT64_MIN, INT64_MAX };

    if (api_export_row(c, 1, &row, err) != TR_OK || api_export_parse_row(&row, &e, err) != TR_OK ||
        api_query_when(c, "start", &e->schedule, &asked.lo, err) != TR_OK ||
        api_query_when(c, "end", &e->schedule, &asked.hi, err) != TR_OK ||
        api_query_bool(c, "recount", &r->recount, err) != TR_OK)
        return err->rc;
    const struct tr_dest_ops *ops = tr_delivery_dest(c->d, e->dest_type);
    if (r->recount && (ops == NULL || (ops->caps & TR_DEST_RECOUNTS) == 0))
        return api_bad(c, err, "recount", "invalid_input", "verify without recount",
                       "rows cannot be counted at a %s destination", e->dest_type);
    if (asked.lo >= asked.hi)
        return api_bad(c, err, "end", "invalid_input", NULL, "end must be after start");
    if (asked.lo != INT64_MIN && asked.hi != INT64_MAX) {
        if (!add_range(all, asked))
            return tr_fail_oom(err);
        return verify_all(c, &row.id, all, r, err);
    }
    if (default_ranges(c, &row, e, all, err) != TR_OK)
        return err->rc;
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        struct tr_range part = tr_range_meet(all->r[i], asked);
        if (!tr_range_empty(part))
            all->r[kept++] = part;
    }
    all->n = kept;
    return verify_all(c, &row.id, all, r, err);
}

enum tr_rc api_verify(struct api_call *c, struct tr_err *err)
{
    struct ranges all = { 0 };
    struct report r = { .results = json_array(), .last_hi = INT64_MIN };
    enum tr_rc rc = verify(c, &all, &r, err);

    if (rc == TR_OK)
        c->answer = report_json(&r, &all);
    json_decref(r.results);
    free(all.r);
    return rc;
}
