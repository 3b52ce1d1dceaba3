/* Chunks that ended runs left behind without knowing what became of them. */
#include "meta/sqlite/sqlite_priv.h"

/* The chunk must still be an orphan: its run may have been retried meanwhile. */
static enum tr_rc find(struct meta *m, const struct tr_orphan *o, uint64_t target, bool *ret_there,
                       struct tr_run *ret_run, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT 1 FROM chunk WHERE run_id = ? AND n = ? AND target = ?"
                               " AND published = 0 AND state > 0");

    sql_id(&q, &o->run_id);
    sql_int(&q, o->chunk.n);
    sql_int(&q, (int64_t)target);
    enum tr_rc rc = sql_next(&q, ret_there, err);
    if (rc == TR_OK && *ret_there)
        rc = run_find(m, &o->run_id, ret_run, err);
    if (rc == TR_OK && *ret_there)
        *ret_there = tr_run_state_ended(ret_run->state);
    return rc;
}

static enum tr_rc collect(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                          struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(
        tx.m, "SELECT c.run_id, r.lo, r.hi, r.generation, r.is_live, c.n, c.target, c.lo, c.hi, "
              "c.state, c.rows,"
              " c.stored, c.elsewhere, c.selected, c.excluded, c.delivered, c.already_there,"
              " c.rejected, c.repaired, c.bytes"
              " FROM chunk c JOIN run r ON r.id = c.run_id AND r.state >= 3"
              " WHERE c.export_id = ? AND c.target = ? AND c.published = 0 AND c.state > 0"
              " AND c.run_id <> ? AND c.hi > ? AND c.lo < ? ORDER BY c.lo");
    sql_id(&q, &run->export_id);
    sql_int(&q, (int64_t)target);
    sql_id(&q, &run->id);
    sql_int(&q, run->interval.lo);
    sql_int(&q, run->interval.hi);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_orphan *o = rows_add(to);
        if (o == NULL)
            return tr_fail_oom(err);
        sql_get_id(&q, &o->run_id);
        o->interval.lo = sql_get_int(&q);
        o->interval.hi = sql_get_int(&q);
        o->generation = (uint32_t)sql_get_int(&q);
        o->is_live = sql_get_int(&q) != 0;
        o->chunk.n = (uint32_t)sql_get_int(&q);
        o->chunk.target = (uint64_t)sql_get_int(&q);
        o->chunk.range.lo = sql_get_int(&q);
        o->chunk.range.hi = sql_get_int(&q);
        o->chunk.state = (enum tr_chunk_plan_state)sql_get_int(&q);
        o->chunk.rows = (uint64_t)sql_get_int(&q);
        sql_get_account(&q, &o->chunk.account);
    }
    return rc;
}

enum tr_rc meta_orphan_list(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                            struct tr_orphan **ret, size_t *ret_n, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_orphan) };

    enum tr_rc rc = collect(meta, run, target, &all, err);
    if (rc == TR_OK) {
        *ret = (struct tr_orphan *)(void *)all.p;
        *ret_n = all.n;
        all.p = NULL;
    }
    return rc;
}

static enum tr_rc mark(struct meta *m, const struct tr_orphan *o, const struct tr_account *account,
                       struct tr_err *err)
{
    static const struct tr_account none;
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "UPDATE chunk SET state = ?, published = ?, stored = ?, elsewhere = ?,"
                    " selected = ?, excluded = ?, delivered = ?, already_there = ?,"
                    " rejected = ?, repaired = ?, bytes = ? WHERE run_id = ? AND n = ?");

    sql_int(&q, account != NULL ? TR_CHUNK_DELIVERED : TR_CHUNK_PLANNED);
    sql_int(&q, account != NULL);
    sql_account(&q, account != NULL ? account : &none);
    sql_id(&q, &o->run_id);
    sql_int(&q, o->chunk.n);
    return sql_run(&q, err);
}

enum tr_rc meta_orphan_settle(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                              const struct tr_orphan *o, const struct tr_account *account,
                              int64_t now, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_run owner;
    bool there = false;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = claim_check(tx.m, &run->id, run->fence, err);
    if (rc == TR_OK)
        rc = find(tx.m, o, target, &there, &owner, err);
    if (rc != TR_OK || !there)
        return rc;
    rc = mark(tx.m, o, account, err);
    if (rc == TR_OK && account != NULL)
        rc = delivered_add(tx.m, &owner, target, o->chunk.range, false, err);
    if (rc == TR_OK && account == NULL)
        rc = plan_prune(tx.m, now, err);
    return tx_commit(&tx, rc, err);
}
