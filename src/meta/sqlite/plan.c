/* Plans: which run delivers which part. Chunks are what keeps two runs off one range. */
#include <stdlib.h>

#include "meta/sqlite/sqlite_priv.h"

static int by_lo(const void *a, const void *b)
{
    const struct tr_range *x = a;
    const struct tr_range *y = b;

    return (x->lo > y->lo) - (x->lo < y->lo);
}

static enum tr_rc add_range(struct rows *to, struct tr_range range, struct tr_err *err)
{
    struct tr_range *r = rows_add(to);

    if (r == NULL)
        return tr_fail_oom(err);
    *r = range;
    return TR_OK;
}

/* Ranges of chunks that meet within, by text's choice of rows. */
static enum tr_rc load_chunks(struct meta *m, const char *text, const struct tr_run *run,
                              uint64_t target, struct tr_range within, struct rows *to,
                              struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, text);
    enum tr_rc rc = TR_OK;
    bool more = true;

    sql_id(&q, &run->export_id);
    sql_int(&q, (int64_t)target);
    sql_id(&q, &run->id);
    sql_int(&q, within.lo);
    sql_int(&q, within.hi);
    while (rc == TR_OK && (rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_range r = { .lo = sql_get_int(&q) };
        r.hi = sql_get_int(&q);
        rc = add_range(to, tr_range_meet(r, within), err);
    }
    return rc;
}

/* What others hold: their chunks that are not in the table of delivered ranges (yet). Ended runs
 * have such only where they do not know what became of them. */
static enum tr_rc load_held(struct meta *m, const struct tr_run *run, uint64_t target,
                            struct tr_range within, struct rows *to, struct tr_err *err)
{
    return load_chunks(
        m,
        "SELECT lo, hi FROM chunk WHERE export_id = ? AND target = ? AND published = 0"
        " AND run_id <> ? AND hi > ? AND lo < ?",
        run, target, within, to, err);
}

static enum tr_rc load_own(struct meta *m, const struct tr_run *run, uint64_t target,
                           struct tr_range within, struct rows *to, struct tr_err *err)
{
    return load_chunks(m,
                       "SELECT lo, hi FROM chunk WHERE export_id = ? AND target = ? AND run_id = ?"
                       " AND hi > ? AND lo < ?",
                       run, target, within, to, err);
}

static enum tr_rc load_delivered(struct meta *m, const struct tr_run *run, uint64_t target,
                                 struct tr_range within, bool own_too, struct rows *to,
                                 struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_delivered) };

    enum tr_rc rc = delivered_load(m, &run->export_id, target, within, &all, err);
    const struct tr_delivered *d = (const struct tr_delivered *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (own_too || memcmp(&d[i].run_id, &run->id, sizeof(run->id)) != 0)
            rc = add_range(to, tr_range_meet(d[i].range, within), err);
    return rc;
}

/* Sorts, and joins what meets or touches. */
static void settle(struct rows *ranges)
{
    struct tr_range *r = (struct tr_range *)(void *)ranges->p;
    size_t n = 0;

    if (ranges->n == 0)
        return;
    qsort(r, ranges->n, sizeof(*r), by_lo);
    for (size_t i = 1; i < ranges->n; i++) {
        if (r[i].lo > r[n].hi)
            r[++n] = r[i];
        else if (r[i].hi > r[n].hi)
            r[n].hi = r[i].hi;
    }
    ranges->n = n + 1;
}

static enum tr_rc load_taken(struct meta *m, const struct tr_run *run, uint64_t target,
                             struct tr_range within, struct rows *to, struct tr_err *err)
{
    enum tr_rc rc = load_held(m, run, target, within, to, err);

    if (rc == TR_OK && run->on_delivered == TR_SKIP_DELIVERED)
        rc = load_delivered(m, run, target, within, false, to, err);
    settle(to);
    return rc;
}

/* ---- what a run left to others ---- */

static enum tr_rc forget_held(struct meta *m, const struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, "DELETE FROM held WHERE run_id = ?");

    sql_id(&q, &run->id);
    return sql_run(&q, err);
}

static enum tr_rc remember_held(struct meta *m, const struct tr_run *run, uint64_t target,
                                struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows held = { .size = sizeof(struct tr_range) };

    enum tr_rc rc = forget_held(m, run, err);
    if (rc == TR_OK)
        rc = load_held(m, run, target, run->interval, &held, err);
    const struct tr_range *r = (const struct tr_range *)(const void *)held.p;
    for (size_t i = 0; rc == TR_OK && i < held.n; i++) {
        TR_CLEANUP(sql_close)
        struct sql q = sql_open(m, "INSERT OR IGNORE INTO held (run_id, export_id, target, lo, hi)"
                                   " VALUES (?, ?, ?, ?, ?)");
        sql_id(&q, &run->id);
        sql_id(&q, &run->export_id);
        sql_int(&q, (int64_t)target);
        sql_int(&q, r[i].lo);
        sql_int(&q, r[i].hi);
        rc = sql_run(&q, err);
    }
    return rc;
}

static enum tr_rc load_remembered(struct meta *m, const struct tr_run *run, uint64_t target,
                                  struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT lo, hi FROM held WHERE run_id = ? AND target = ?");
    enum tr_rc rc = TR_OK;
    bool more = true;

    sql_id(&q, &run->id);
    sql_int(&q, (int64_t)target);
    while (rc == TR_OK && (rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_range r = { .lo = sql_get_int(&q) };
        r.hi = sql_get_int(&q);
        rc = add_range(to, r, err);
    }
    return rc;
}

/* Whether the sorted, joined ranges cover r. */
static bool covers(const struct rows *ranges, struct tr_range r)
{
    const struct tr_range *v = (const struct tr_range *)(const void *)ranges->p;

    for (size_t i = 0; i < ranges->n; i++)
        if (v[i].lo <= r.lo && v[i].hi >= r.hi)
            return true;
    return false;
}

enum tr_rc plan_check_held(struct meta *m, const struct tr_run *run, uint64_t target,
                           struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows held = { .size = sizeof(struct tr_range) };
    TR_CLEANUP(rows_fini) struct rows cared_for = { .size = sizeof(struct tr_range) };

    enum tr_rc rc = load_remembered(m, run, target, &held, err);
    if (rc != TR_OK || held.n == 0)
        return rc;
    rc = load_held(m, run, target, run->interval, &cared_for, err);
    if (rc == TR_OK)
        rc = load_own(m, run, target, run->interval, &cared_for, err);
    if (rc == TR_OK)
        rc = load_delivered(m, run, target, run->interval, true, &cared_for, err);
    if (rc != TR_OK)
        return rc;
    settle(&cared_for);
    const struct tr_range *r = (const struct tr_range *)(const void *)held.p;
    for (size_t i = 0; i < held.n; i++)
        if (!covers(&cared_for, r[i]))
            return tr_fail(err, TR_TRANSIENT, "meta.range_freed",
                           "nothing to do: the run plans that part itself and goes on",
                           "a part that another run was delivering has come free");
    return TR_OK;
}

enum tr_rc plan_prune(struct meta *m, int64_t now, struct tr_err *err)
{
    static const char reopen[] =
        "UPDATE run SET state = 0, due = ?1, finished_at = 0 WHERE state = 3 AND id IN ("
        " SELECT h.run_id FROM chunk c JOIN run o ON o.id = c.run_id AND o.state >= 3"
        " JOIN held h ON h.export_id = c.export_id AND h.target = c.target AND h.lo < c.hi"
        " AND h.hi > c.lo AND h.run_id <> c.run_id"
        " JOIN export e ON e.id = h.export_id AND e.target = h.target AND NOT e.deleted"
        " WHERE c.published = 0 AND c.state = 0)"
        " AND NOT EXISTS (SELECT 1 FROM backfill b WHERE b.id = run.backfill_id AND b.state = 5)";
    static const char reopen_backfill[] =
        "UPDATE backfill SET state = 1, finished_at = 0 WHERE state IN (3, 4) AND EXISTS ("
        " SELECT 1 FROM run r WHERE r.backfill_id = backfill.id AND r.due = ?1 AND r.state = 0)";
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, reopen);

    sql_int(&q, now);
    enum tr_rc rc = sql_run(&q, err);
    if (rc == TR_OK && sqlite3_changes(m->db) > 0) {
        TR_CLEANUP(sql_close) struct sql b = sql_open(m, reopen_backfill);
        sql_int(&b, now);
        rc = sql_run(&b, err);
    }
    if (rc == TR_OK) {
        TR_CLEANUP(sql_close)
        struct sql d =
            sql_open(m, "DELETE FROM chunk WHERE published = 0 AND state = 0"
                        " AND (SELECT r.state FROM run r WHERE r.id = chunk.run_id) >= 3");
        rc = sql_run(&d, err);
    }
    return rc;
}

/* ---- the verbs ---- */

enum tr_rc meta_run_taken(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                          struct tr_range **ret, size_t *ret_n, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    TR_CLEANUP(rows_fini) struct rows taken = { .size = sizeof(struct tr_range) };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = claim_check(tx.m, &run->id, run->fence, err);
    if (rc == TR_OK)
        rc = remember_held(tx.m, run, target, err);
    if (rc == TR_OK)
        rc = load_taken(tx.m, run, target, run->interval, &taken, err);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK) {
        *ret = (struct tr_range *)(void *)taken.p;
        *ret_n = taken.n;
        taken.p = NULL;
    }
    return rc;
}

static bool any_meets(const struct rows *ranges, struct tr_range r)
{
    const struct tr_range *v = (const struct tr_range *)(const void *)ranges->p;

    for (size_t i = 0; i < ranges->n; i++)
        if (!tr_range_empty(tr_range_meet(v[i], r)))
            return true;
    return false;
}

static enum tr_rc check_chunks(struct meta *m, const struct tr_run *run, uint64_t target,
                               const struct tr_chunk *chunks, size_t n, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows taken = { .size = sizeof(struct tr_range) };
    TR_CLEANUP(rows_fini) struct rows own = { .size = sizeof(struct tr_range) };
    struct tr_range hull = { INT64_MAX, INT64_MIN };
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < n; i++) {
        hull.lo = chunks[i].range.lo < hull.lo ? chunks[i].range.lo : hull.lo;
        hull.hi = chunks[i].range.hi > hull.hi ? chunks[i].range.hi : hull.hi;
    }
    rc = load_taken(m, run, target, hull, &taken, err);
    if (rc == TR_OK)
        rc = load_own(m, run, target, hull, &own, err);
    for (size_t i = 0; rc == TR_OK && i < n; i++) {
        struct tr_range r = chunks[i].range;
        if (tr_range_empty(r) || r.lo < run->interval.lo || r.hi > run->interval.hi ||
            any_meets(&own, r))
            rc = tr_fail(err, TR_INTERNAL, "meta.bad_plan", NULL,
                         "a chunk is empty, outside of the run's interval or planned twice");
        else if (any_meets(&taken, r))
            rc = tr_fail(err, TR_TRANSIENT, "meta.range_taken", NULL,
                         "another run has taken a part of the range meanwhile");
        else
            rc = add_range(&own, r, err);
    }
    return rc;
}

/* A plan for another target is a new one: what was only planned for the old one goes. */
static enum tr_rc drop_other_targets(struct meta *m, const struct tr_run *run, uint64_t target,
                                     struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "DELETE FROM chunk WHERE run_id = ? AND target <> ? AND state = 0");

    sql_id(&q, &run->id);
    sql_int(&q, (int64_t)target);
    return sql_run(&q, err);
}

static enum tr_rc next_number(struct meta *m, const struct tr_run *run, int64_t *ret,
                              struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT coalesce(max(n) + 1, 0) FROM chunk WHERE run_id = ?");
    bool there = false;

    sql_id(&q, &run->id);
    enum tr_rc rc = sql_next(&q, &there, err);
    *ret = rc == TR_OK ? sql_get_int(&q) : 0;
    return rc;
}

static enum tr_rc insert_chunk(struct meta *m, const struct tr_run *run, uint64_t target, int64_t n,
                               const struct tr_chunk *c, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "INSERT INTO chunk (run_id, n, export_id, target, lo, hi, state, rows)"
                    " VALUES (?, ?, ?, ?, ?, ?, 0, ?)");

    sql_id(&q, &run->id);
    sql_int(&q, n);
    sql_id(&q, &run->export_id);
    sql_int(&q, (int64_t)target);
    sql_int(&q, c->range.lo);
    sql_int(&q, c->range.hi);
    sql_int(&q, (int64_t)c->rows);
    return sql_run(&q, err);
}

enum tr_rc meta_plan_add(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                         const struct tr_chunk *chunks, size_t n, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    int64_t number = 0;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = claim_check(tx.m, &run->id, run->fence, err);
    if (rc == TR_OK)
        rc = drop_other_targets(tx.m, run, target, err);
    if (rc == TR_OK && n > 0)
        rc = check_chunks(tx.m, run, target, chunks, n, err);
    if (rc == TR_OK)
        rc = next_number(tx.m, run, &number, err);
    for (size_t i = 0; rc == TR_OK && i < n; i++)
        rc = insert_chunk(tx.m, run, target, number + (int64_t)i, &chunks[i], err);
    return tx_commit(&tx, rc, err);
}

enum tr_rc meta_plan_drop(struct tr_meta *meta, const struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = claim_check(tx.m, &run->id, run->fence, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "DELETE FROM chunk WHERE run_id = ? AND state = 0");
    sql_id(&q, &run->id);
    return tx_commit(&tx, sql_run(&q, err), err);
}

static enum tr_rc collect_plan(struct tr_meta *meta, const struct tr_uuid *run_id, struct rows *to,
                               struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(
        tx.m,
        "SELECT c.n, c.target, c.lo, c.hi, c.state, c.rows, c.stored, c.elsewhere, c.selected,"
        " c.excluded, c.delivered, c.already_there, c.rejected, c.repaired, c.bytes"
        " FROM chunk c JOIN export e ON e.id = c.export_id AND e.target = c.target"
        " WHERE c.run_id = ? ORDER BY c.n");
    sql_id(&q, run_id);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_chunk *c = rows_add(to);
        if (c == NULL)
            return tr_fail_oom(err);
        c->n = (uint32_t)sql_get_int(&q);
        c->target = (uint64_t)sql_get_int(&q);
        c->range.lo = sql_get_int(&q);
        c->range.hi = sql_get_int(&q);
        c->state = (enum tr_chunk_plan_state)sql_get_int(&q);
        c->rows = (uint64_t)sql_get_int(&q);
        sql_get_account(&q, &c->account);
    }
    return rc;
}

enum tr_rc meta_plan_get(struct tr_meta *meta, const struct tr_uuid *run_id, struct tr_chunk **ret,
                         size_t *ret_n, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows plan = { .size = sizeof(struct tr_chunk) };

    enum tr_rc rc = collect_plan(meta, run_id, &plan, err);
    if (rc == TR_OK) {
        *ret = (struct tr_chunk *)(void *)plan.p;
        *ret_n = plan.n;
        plan.p = NULL;
    }
    return rc;
}
