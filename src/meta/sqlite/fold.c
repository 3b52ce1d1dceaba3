/* Old runs become numbers of their day. */
#include "base/time.h"
#include "meta/sqlite/sqlite_priv.h"

/* Runs that hold something open (a part that they left to others, a chunk nobody has settled) stay.
 */
#define MAY_GO                                                                                     \
    " AND NOT EXISTS (SELECT 1 FROM held h WHERE h.run_id = run.id)"                               \
    " AND NOT EXISTS (SELECT 1 FROM chunk c WHERE c.run_id = run.id AND c.published = 0)"          \
    " ORDER BY finished_at LIMIT ?"

static const char quiet_text[] = "SELECT " RUN_COLUMNS " FROM run INDEXED BY run_quiet"
                                 " WHERE state = 3 AND backfill_id IS NULL AND stored = 0"
                                 " AND finished_at < ?" MAY_GO;
static const char all_text[] = "SELECT " RUN_COLUMNS " FROM run INDEXED BY run_done"
                               " WHERE state = 3 AND backfill_id IS NULL AND stored <> 0"
                               " AND finished_at < ?" MAY_GO;

static enum tr_rc find_old(struct meta *m, const char *text, int64_t before, int max,
                           struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, text);
    enum tr_rc rc = TR_OK;
    bool more = true;

    if (max <= 0)
        return TR_OK;
    sql_int(&q, before);
    sql_int(&q, max);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_run *r = rows_add(to);
        if (r == NULL)
            return tr_fail_oom(err);
        run_read(&q, r);
    }
    return rc;
}

static enum tr_rc add_to_day(struct meta *m, const struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(
        m, "INSERT INTO run_day VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
           " ON CONFLICT DO UPDATE SET runs = runs + 1, stored = stored + ?3,"
           " elsewhere = elsewhere + ?4, selected = selected + ?5, excluded = excluded + ?6,"
           " delivered = delivered + ?7, already_there = already_there + ?8,"
           " rejected = rejected + ?9, repaired = repaired + ?10, bytes = bytes + ?11");
    int64_t lo = run->interval.lo;

    sql_id(&q, &run->export_id);
    sql_int(&q, lo - lo % TR_US_PER_DAY);
    sql_account(&q, &run->account);
    return sql_run(&q, err);
}

static enum tr_rc erase(struct meta *m, const struct tr_uuid *id, struct tr_err *err)
{
    static const char *const steps[] = { "DELETE FROM reject WHERE run_id = ?",
                                         "DELETE FROM run WHERE id = ?" };
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; rc == TR_OK && i < sizeof(steps) / sizeof(steps[0]); i++) {
        TR_CLEANUP(sql_close) struct sql q = sql_open(m, steps[i]);
        sql_id(&q, id);
        rc = sql_run(&q, err);
    }
    return rc;
}

enum tr_rc meta_run_fold(struct tr_meta *meta, int64_t quiet_before, int64_t before, int max,
                         size_t *ret_n, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    TR_CLEANUP(rows_fini) struct rows old = { .size = sizeof(struct tr_run) };

    *ret_n = 0;
    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = find_old(tx.m, quiet_text, quiet_before, max, &old, err);
    if (rc == TR_OK)
        rc = find_old(tx.m, all_text, before, max - (int)old.n, &old, err);
    if (rc != TR_OK || old.n == 0)
        return rc;
    const struct tr_run *r = (const struct tr_run *)(const void *)old.p;
    for (size_t i = 0; rc == TR_OK && i < old.n; i++) {
        rc = add_to_day(tx.m, &r[i], err);
        if (rc == TR_OK)
            rc = erase(tx.m, &r[i].id, err);
    }
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK)
        *ret_n = old.n;
    return rc;
}

/* ---- looking ---- */

static enum tr_rc collect(struct tr_meta *meta, const struct tr_uuid *export_id, int limit,
                          struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(tx.m, "SELECT day, runs, stored, elsewhere, selected, excluded, delivered,"
                       " already_there, rejected, repaired, bytes FROM run_day"
                       " WHERE export_id = ? ORDER BY day DESC LIMIT ?");
    sql_id(&q, export_id);
    sql_int(&q, limit);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_day *d = rows_add(to);
        if (d == NULL)
            return tr_fail_oom(err);
        d->day = sql_get_int(&q);
        d->runs = (uint64_t)sql_get_int(&q);
        sql_get_account(&q, &d->account);
    }
    return rc;
}

enum tr_rc meta_day_list(struct tr_meta *meta, const struct tr_uuid *export_id, int limit,
                         bool (*each)(void *, const struct tr_day *), void *arg, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_day) };

    enum tr_rc rc = collect(meta, export_id, limit, &all, err);
    const struct tr_day *d = (const struct tr_day *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &d[i]))
            break;
    return rc;
}
