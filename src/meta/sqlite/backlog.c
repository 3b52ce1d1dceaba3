/* What is open or failed, by indexes that hold nothing else. */
#include "meta/sqlite/sqlite_priv.h"

static enum tr_rc count_open(struct meta *m, const struct tr_uuid *export_id,
                             struct tr_backlog *ret, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "SELECT count(*), count(*) - count(backfill_id),"
                    " coalesce(min(iif(backfill_id IS NULL, lo, NULL)), ?1),"
                    " coalesce(min(iif(backfill_id IS NULL, hi, NULL)), ?1)"
                    " FROM run INDEXED BY run_open WHERE export_id = ?2 AND due IS NOT NULL");
    bool there = false;

    sql_int(&q, INT64_MAX);
    sql_id(&q, export_id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc != TR_OK)
        return rc;
    ret->open = (uint64_t)sql_get_int(&q);
    ret->scheduled = (uint64_t)sql_get_int(&q);
    ret->oldest_lo = sql_get_int(&q);
    ret->oldest_hi = sql_get_int(&q);
    return TR_OK;
}

static enum tr_rc count_failed(struct meta *m, const struct tr_uuid *export_id, uint64_t *ret,
                               struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT count(*) FROM run INDEXED BY run_bad"
                               " WHERE export_id = ? AND state IN (4, 5) AND state = 4");
    bool there = false;

    sql_id(&q, export_id);
    enum tr_rc rc = sql_next(&q, &there, err);
    *ret = rc == TR_OK ? (uint64_t)sql_get_int(&q) : 0;
    return rc;
}

enum tr_rc meta_backlog(struct tr_meta *meta, const struct tr_uuid *export_id,
                        struct tr_backlog *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc == TR_OK)
        rc = count_open(tx.m, export_id, ret, err);
    return rc == TR_OK ? count_failed(tx.m, export_id, &ret->failed, err) : rc;
}
