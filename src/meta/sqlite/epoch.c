/* What is told after a restored backup is told anew. */
#include "meta/sqlite/sqlite_priv.h"

static enum tr_rc insert(struct meta *m, uint32_t epoch, int64_t now, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "INSERT INTO epoch (n, epoch, began_at)"
                               " SELECT coalesce(max(n), 0) + 1, ?, ? FROM epoch");

    sql_int(&q, epoch);
    sql_int(&q, now);
    return sql_run(&q, err);
}

/* Under their old keys nobody would look for them any more; all of it is planned and sent anew. */
static enum tr_rc forget_sent(struct meta *m, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "UPDATE chunk SET state = 0, was_sent = 0, stored = 0,"
                               " elsewhere = 0, selected = 0, excluded = 0, delivered = 0,"
                               " already_there = 0, rejected = 0, repaired = 0, bytes = 0"
                               " WHERE published = 0");

    return sql_run(&q, err);
}

enum tr_rc meta_epoch_begin(struct tr_meta *meta, uint32_t epoch, int64_t now, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = insert(tx.m, epoch, now, err);
    if (rc == TR_OK)
        rc = forget_sent(tx.m, err);
    if (rc == TR_OK)
        rc = plan_prune(tx.m, now, err);
    return tx_commit(&tx, rc, err);
}

static enum tr_rc collect(struct tr_meta *meta, struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT epoch, began_at FROM epoch ORDER BY n");
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_epoch *e = rows_add(to);
        if (e == NULL)
            return tr_fail_oom(err);
        e->epoch = (uint32_t)sql_get_int(&q);
        e->began_at = sql_get_int(&q);
    }
    return rc;
}

enum tr_rc meta_epoch_list(struct tr_meta *meta, struct tr_epoch **ret, size_t *ret_n,
                           struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_epoch) };

    enum tr_rc rc = collect(meta, &all, err);
    if (rc == TR_OK) {
        *ret = (struct tr_epoch *)(void *)all.p;
        *ret_n = all.n;
        all.p = NULL;
    }
    return rc;
}
