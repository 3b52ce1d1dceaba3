/* Which ranges of (export, target) are delivered, under which run and generation. */
#include "meta/sqlite/sqlite_priv.h"

/* Within a generation ranges follow each other, so the first that can meet [lo, hi) is the last
 * that begins at or before lo. Generations are few: each is found from the one before by the index.
 */
static const char load_text[] =
    "WITH RECURSIVE g(x) AS ("
    " SELECT min(generation) FROM delivered WHERE export_id = ?1 AND target = ?2"
    " UNION ALL SELECT (SELECT min(generation) FROM delivered WHERE export_id = ?1 AND target = ?2"
    " AND generation > g.x) FROM g WHERE g.x IS NOT NULL)"
    "SELECT d.lo, d.hi, d.chunk_lo, d.chunk_hi, d.run_id, d.generation, d.is_empty,"
    " d.epoch"
    " FROM g CROSS JOIN delivered d ON d.export_id = ?1 AND d.target = ?2 AND d.generation = g.x"
    " AND d.lo >= coalesce((SELECT max(m.lo) FROM delivered m WHERE m.export_id = ?1"
    " AND m.target = ?2 AND m.generation = g.x AND m.lo <= ?3), ?3)"
    " AND d.lo < ?4 WHERE d.hi > ?3 ORDER BY d.lo, d.generation";

enum tr_rc delivered_load(struct meta *m, const struct tr_uuid *export_id, uint64_t target,
                          struct tr_range range, struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, load_text);
    enum tr_rc rc = TR_OK;
    bool more = true;

    sql_id(&q, export_id);
    sql_int(&q, (int64_t)target);
    sql_int(&q, range.lo);
    sql_int(&q, range.hi);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_delivered *d = rows_add(to);
        if (d == NULL)
            return tr_fail_oom(err);
        d->range.lo = sql_get_int(&q);
        d->range.hi = sql_get_int(&q);
        d->chunk.lo = sql_get_int(&q);
        d->chunk.hi = sql_get_int(&q);
        sql_get_id(&q, &d->run_id);
        d->generation = (uint32_t)sql_get_int(&q);
        d->is_empty = sql_get_int(&q) != 0;
        d->epoch = (uint32_t)sql_get_int(&q);
    }
    return rc;
}

static enum tr_rc insert(struct meta *m, const struct tr_uuid *export_id, uint64_t target,
                         const struct tr_delivered *d, struct tr_range range, struct tr_err *err)
{
    if (tr_range_empty(range))
        return TR_OK;
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "INSERT INTO delivered (export_id, target, generation, lo, hi, run_id,"
                    " chunk_lo, chunk_hi, is_empty, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    sql_id(&q, export_id);
    sql_int(&q, (int64_t)target);
    sql_int(&q, d->generation);
    sql_int(&q, range.lo);
    sql_int(&q, range.hi);
    sql_id(&q, &d->run_id);
    sql_int(&q, d->chunk.lo);
    sql_int(&q, d->chunk.hi);
    sql_int(&q, d->is_empty);
    sql_int(&q, d->epoch);
    return sql_run(&q, err);
}

static enum tr_rc erase(struct meta *m, const struct tr_uuid *export_id, uint64_t target,
                        const struct tr_delivered *d, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "DELETE FROM delivered WHERE export_id = ? AND target = ?"
                               " AND generation = ? AND lo = ?");

    sql_id(&q, export_id);
    sql_int(&q, (int64_t)target);
    sql_int(&q, d->generation);
    sql_int(&q, d->range.lo);
    return sql_run(&q, err);
}

/* Takes range out of what is delivered: a replacement has put its own rows there. */
static enum tr_rc cut(struct meta *m, const struct tr_uuid *export_id, uint64_t target,
                      struct tr_range range, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows old = { .size = sizeof(struct tr_delivered) };

    enum tr_rc rc = delivered_load(m, export_id, target, range, &old, err);
    const struct tr_delivered *d = (const struct tr_delivered *)(const void *)old.p;
    for (size_t i = 0; rc == TR_OK && i < old.n; i++) {
        rc = erase(m, export_id, target, &d[i], err);
        if (rc == TR_OK)
            rc = insert(m, export_id, target, &d[i], (struct tr_range){ d[i].range.lo, range.lo },
                        err);
        if (rc == TR_OK)
            rc = insert(m, export_id, target, &d[i], (struct tr_range){ range.hi, d[i].range.hi },
                        err);
    }
    return rc;
}

/* Runs that planned around this range need not care any more who delivers it. */
static enum tr_rc forget_held(struct meta *m, const struct tr_uuid *export_id, uint64_t target,
                              struct tr_range range, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "DELETE FROM held WHERE export_id = ? AND target = ? AND lo >= ?"
                               " AND hi <= ?");

    sql_id(&q, export_id);
    sql_int(&q, (int64_t)target);
    sql_int(&q, range.lo);
    sql_int(&q, range.hi);
    return sql_run(&q, err);
}

/* The parts of range that are not delivered yet: as ranges to *ret. With append only the run's own
 * generation counts. */
static enum tr_rc missing(struct meta *m, const struct tr_run *run, uint64_t target,
                          struct tr_range range, struct rows *ret, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows old = { .size = sizeof(struct tr_delivered) };
    struct tr_range left = range;

    enum tr_rc rc = delivered_load(m, &run->export_id, target, range, &old, err);
    const struct tr_delivered *d = (const struct tr_delivered *)(const void *)old.p;
    for (size_t i = 0; rc == TR_OK && i <= old.n; i++) {
        if (i < old.n && run->on_delivered == TR_APPEND_DELIVERED &&
            d[i].generation != run->generation)
            continue;
        struct tr_range gap = { left.lo, i < old.n ? d[i].range.lo : left.hi };
        if (!tr_range_empty(gap)) {
            struct tr_range *part = rows_add(ret);
            if (part == NULL)
                return tr_fail_oom(err);
            *part = gap;
        }
        if (i < old.n && d[i].range.hi > left.lo)
            left.lo = d[i].range.hi;
    }
    return rc;
}

static enum tr_rc present_epoch(struct meta *m, uint32_t *ret, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, "SELECT coalesce(max(n), 0) FROM epoch");
    bool there = false;
    enum tr_rc rc = sql_next(&q, &there, err);

    *ret = rc == TR_OK ? (uint32_t)sql_get_int(&q) : 0;
    return rc;
}

enum tr_rc delivered_add(struct meta *m, const struct tr_run *run, uint64_t target,
                         struct tr_range chunk, bool is_empty, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows parts = { .size = sizeof(struct tr_range) };
    struct tr_delivered d = {
        .chunk = chunk, .run_id = run->id, .generation = run->generation, .is_empty = is_empty
    };
    enum tr_rc rc = present_epoch(m, &d.epoch, err);

    if (rc == TR_OK && run->on_delivered == TR_REPLACE_DELIVERED)
        rc = cut(m, &run->export_id, target, chunk, err);
    /* Plans keep clear of what others have, so this is the whole chunk; but ranges that meet within
     * a generation would break every count built on them, so it is made sure of. */
    if (rc == TR_OK)
        rc = missing(m, run, target, chunk, &parts, err);
    const struct tr_range *part = (const struct tr_range *)(const void *)parts.p;
    for (size_t i = 0; rc == TR_OK && i < parts.n; i++)
        rc = insert(m, &run->export_id, target, &d, part[i], err);
    return rc == TR_OK ? forget_held(m, &run->export_id, target, chunk, err) : rc;
}

static enum tr_rc collect(struct tr_meta *meta, const struct tr_uuid *export_id, uint64_t target,
                          struct tr_range range, struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_read(&tx, meta, err);
    return rc == TR_OK ? delivered_load(tx.m, export_id, target, range, to, err) : rc;
}

enum tr_rc meta_delivered_list(struct tr_meta *meta, const struct tr_uuid *export_id,
                               uint64_t target, struct tr_range range,
                               bool (*each)(void *, const struct tr_delivered *), void *arg,
                               struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_delivered) };

    enum tr_rc rc = collect(meta, export_id, target, range, &all, err);
    const struct tr_delivered *d = (const struct tr_delivered *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &d[i]))
            break;
    return rc;
}

struct sharer {
    struct tr_uuid id;
    int32_t project;
};

static enum tr_rc collect_sharers(struct tr_meta *meta, const struct tr_uuid *export_id,
                                  uint64_t target, struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT e.id, e.project FROM export e WHERE e.id <> ?1 AND EXISTS"
                                  " (SELECT 1 FROM delivered d WHERE d.export_id = e.id"
                                  " AND d.target = ?2)");
    sql_id(&q, export_id);
    sql_int(&q, (int64_t)target);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct sharer *s = rows_add(to);
        if (s == NULL)
            return tr_fail_oom(err);
        sql_get_id(&q, &s->id);
        s->project = (int32_t)sql_get_int(&q);
    }
    return rc;
}

enum tr_rc meta_sharer_list(struct tr_meta *meta, const struct tr_uuid *export_id, uint64_t target,
                            bool (*each)(void *, const struct tr_uuid *, int32_t), void *arg,
                            struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct sharer) };

    enum tr_rc rc = collect_sharers(meta, export_id, target, &all, err);
    const struct sharer *s = (const struct sharer *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &s[i].id, s[i].project))
            break;
    return rc;
}
