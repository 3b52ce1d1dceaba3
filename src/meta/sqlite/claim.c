/* Who works on what: claims, leases and fences. */
#include "meta/sqlite/sqlite_priv.h"

enum tr_rc claim_check(struct meta *m, const struct tr_uuid *id, int64_t fence, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, "SELECT fence, state FROM run WHERE id = ?");
    bool there = false;

    sql_id(&q, id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc != TR_OK)
        return rc;
    if (!there)
        return meta_not_found(err, "run");
    if (sql_get_int(&q) != fence || sql_get_int(&q) != TR_RUN_RUNNING)
        return tr_fail(err, TR_CANCELLED, "meta.lost_claim", NULL,
                       "the run belongs to another worker by now");
    return TR_OK;
}

/* Runs that should stop and whose worker is gone end here: nobody else would see to it. */
static enum tr_rc end_abandoned(struct meta *m, int64_t now, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "UPDATE run SET state = 5, finished_at = ?1, due = NULL,"
                               " fence = fence + 1 WHERE +due <= ?1 AND state = 1 AND"
                               " (cancel_asked OR EXISTS (SELECT 1 FROM export e"
                               " WHERE e.id = run.export_id AND e.deleted))");

    sql_int(&q, now);
    enum tr_rc rc = sql_run(&q, err);
    if (rc == TR_OK && sqlite3_changes(m->db) > 0)
        return plan_prune(m, now, err);
    return rc;
}

/* Which due run is next: of an export with few runs at work before one with many, then the one that
 * fell due first; sound exports before doubtful ones. Of the scheduled runs of an export only one
 * is at work at a time. In real time one is at work for as long as its interval lasts, so it lets
 * an earlier one end first that is tried again. */
static enum tr_rc choose(struct meta *m, uint32_t which, int64_t now, struct tr_uuid *ret,
                         bool *ret_doubtful, bool *ret_found, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(
        m, "WITH at_work AS MATERIALIZED (SELECT export_id, count(*) AS n,"
           " sum(backfill_id IS NULL) AS scheduled FROM run WHERE state = 1 AND lease_until > ?1"
           " GROUP BY export_id)"
           "SELECT r.id, e.doubtful FROM run r JOIN export e ON e.id = r.export_id"
           " LEFT JOIN at_work w ON w.export_id = r.export_id"
           " WHERE r.due <= ?1 AND r.is_live = ?2 AND NOT e.deleted"
           " AND (r.backfill_id IS NOT NULL OR (NOT e.paused AND coalesce(w.scheduled, 0) = 0))"
           " AND NOT (r.is_live AND EXISTS (SELECT 1 FROM run o WHERE o.due IS NOT NULL"
           " AND o.export_id = r.export_id AND o.is_live = 1 AND o.lo < r.lo))"
           " AND NOT (?3 AND NOT e.doubtful) AND NOT (?4 AND e.doubtful)"
           " AND NOT (?5 AND r.backfill_id IS NOT NULL)"
           " ORDER BY e.doubtful, coalesce(w.n, 0), r.due, r.lo, r.id LIMIT 1");

    sql_int(&q, now);
    sql_int(&q, (which & TR_CLAIM_LIVE) != 0);
    sql_int(&q, (which & TR_CLAIM_NO_SOUND) != 0);
    sql_int(&q, (which & TR_CLAIM_NO_DOUBTFUL) != 0);
    sql_int(&q, (which & TR_CLAIM_NO_BACKFILL) != 0);
    enum tr_rc rc = sql_next(&q, ret_found, err);
    if (rc == TR_OK && *ret_found) {
        sql_get_id(&q, ret);
        *ret_doubtful = sql_get_int(&q) != 0;
    }
    return rc;
}

static enum tr_rc next_due(struct meta *m, bool live, int64_t now, int64_t *ret, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT r.due FROM run r JOIN export e ON e.id = r.export_id"
                               " WHERE r.due > ? AND r.is_live = ? AND NOT e.deleted"
                               " AND (r.backfill_id IS NOT NULL OR NOT e.paused)"
                               " ORDER BY r.due LIMIT 1");
    bool there = false;

    sql_int(&q, now);
    sql_int(&q, live);
    enum tr_rc rc = sql_next(&q, &there, err);
    *ret = rc == TR_OK && there ? sql_get_int(&q) : INT64_MAX;
    return rc;
}

static enum tr_rc take(struct meta *m, const struct tr_uuid *id, const char *worker, int64_t now,
                       int64_t lease_us, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "UPDATE run SET state = 1, fence = fence + 1, attempts = attempts + 1,"
                    " started_at = iif(started_at = 0, ?1, started_at), worker = ?2,"
                    " lease_until = ?3, due = ?3 WHERE id = ?4");

    sql_int(&q, now);
    sql_text(&q, worker);
    sql_int(&q, now + lease_us);
    sql_id(&q, id);
    return sql_run(&q, err);
}

enum tr_rc meta_run_claim(struct tr_meta *meta, const char *worker, uint32_t which, int64_t now,
                          int64_t lease_us, struct tr_run *ret, bool *ret_found, int64_t *ret_next,
                          struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_uuid id;
    struct tr_run run;
    bool found = false;
    bool doubtful = false;
    int64_t next = INT64_MAX;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = end_abandoned(tx.m, now, err);
    if (rc == TR_OK)
        rc = choose(tx.m, which, now, &id, &doubtful, &found, err);
    if (rc == TR_OK && !found)
        rc = next_due(tx.m, (which & TR_CLAIM_LIVE) != 0, now, &next, err);
    if (rc == TR_OK && found)
        rc = take(tx.m, &id, worker, now, lease_us, err);
    if (rc == TR_OK && found)
        rc = run_find(tx.m, &id, &run, err);
    rc = tx_commit(&tx, rc, err);
    if (rc != TR_OK)
        return rc;
    if (found) {
        *ret = run;
        ret->is_doubtful = doubtful;
    }
    *ret_found = found;
    *ret_next = next;
    return TR_OK;
}

static enum tr_rc extend(struct meta *m, const struct tr_uuid *id, int64_t lease_until,
                         bool *ret_cancel, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "UPDATE run SET lease_until = ?1, due = ?1 WHERE id = ?2"
                               " RETURNING cancel_asked");
    enum tr_rc rc = TR_OK;
    bool there = true;

    sql_int(&q, lease_until);
    sql_id(&q, id);
    while ((rc = sql_next(&q, &there, err)) == TR_OK && there)
        *ret_cancel = sql_get_int(&q) != 0;
    return rc;
}

enum tr_rc meta_run_renew(struct tr_meta *meta, const struct tr_uuid *id, int64_t fence,
                          int64_t lease_until, bool *ret_cancel, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool cancel = false;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = claim_check(tx.m, id, fence, err);
    if (rc == TR_OK)
        rc = extend(tx.m, id, lease_until, &cancel, err);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK)
        *ret_cancel = cancel;
    return rc;
}

enum tr_rc meta_run_release_all(struct tr_meta *meta, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    /* The fence rises too: a worker that is alive after all must not write. Runs that were asked to
     * stop stay RUNNING with a lease that is over: the next claim ends them. */
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(tx.m, "UPDATE run SET state = iif(cancel_asked, 1, 0), fence = fence + 1,"
                       " lease_until = 0, due = ? WHERE state = 1");
    sql_int(&q, INT64_MIN);
    return tx_commit(&tx, sql_run(&q, err), err);
}
