/* What becomes of chunks. */
#include "meta/sqlite/sqlite_priv.h"

struct chunk_row {
    uint64_t target;
    struct tr_range range;
    enum tr_chunk_plan_state state;
    bool was_sent, published;
    struct tr_account account;
};

static enum tr_rc find(struct meta *m, const struct tr_run *run, uint32_t n, struct chunk_row *ret,
                       struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "SELECT target, lo, hi, state, was_sent, published, stored, elsewhere,"
                    " selected, excluded, delivered, already_there, rejected, repaired,"
                    " bytes FROM chunk WHERE run_id = ? AND n = ?");
    bool there = false;

    sql_id(&q, &run->id);
    sql_int(&q, n);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "chunk");
    if (rc != TR_OK)
        return rc;
    ret->target = (uint64_t)sql_get_int(&q);
    ret->range.lo = sql_get_int(&q);
    ret->range.hi = sql_get_int(&q);
    ret->state = (enum tr_chunk_plan_state)sql_get_int(&q);
    ret->was_sent = sql_get_int(&q) != 0;
    ret->published = sql_get_int(&q) != 0;
    sql_get_account(&q, &ret->account);
    return TR_OK;
}

static enum tr_rc set(struct meta *m, const struct tr_run *run, uint32_t n,
                      const struct chunk_row *c, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "UPDATE chunk SET state = ?, was_sent = ?, published = ?, stored = ?,"
                    " elsewhere = ?, selected = ?, excluded = ?, delivered = ?,"
                    " already_there = ?, rejected = ?, repaired = ?, bytes = ?"
                    " WHERE run_id = ? AND n = ?");

    sql_int(&q, c->state);
    sql_int(&q, c->was_sent);
    sql_int(&q, c->published);
    sql_account(&q, &c->account);
    sql_id(&q, &run->id);
    sql_int(&q, n);
    return sql_run(&q, err);
}

/* The run's own account moves with its chunks, so that people see it grow; run_finish has the last
 * word. */
static enum tr_rc count_in(struct meta *m, const struct tr_run *run,
                           const struct tr_account *before, const struct tr_account *after,
                           struct tr_err *err)
{
    struct tr_account d = {
        .stored = after->stored - before->stored,
        .elsewhere = after->elsewhere - before->elsewhere,
        .selected = after->selected - before->selected,
        .excluded = after->excluded - before->excluded,
        .delivered = after->delivered - before->delivered,
        .already_there = after->already_there - before->already_there,
        .rejected = after->rejected - before->rejected,
        .repaired = after->repaired - before->repaired,
        .bytes = after->bytes - before->bytes,
    };
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "UPDATE run SET stored = max(0, stored + ?),"
                    " elsewhere = max(0, elsewhere + ?), selected = max(0, selected + ?),"
                    " excluded = max(0, excluded + ?), delivered = max(0, delivered + ?),"
                    " already_there = max(0, already_there + ?),"
                    " rejected = max(0, rejected + ?), repaired = max(0, repaired + ?),"
                    " bytes = max(0, bytes + ?) WHERE id = ?");
    sql_account(&q, &d);
    sql_id(&q, &run->id);
    return sql_run(&q, err);
}

static enum tr_rc wrong_state(const struct tr_run *run, uint32_t n, struct tr_err *err)
{
    char id[TR_UUID_TEXT];

    tr_uuid_format(&run->id, id);
    return tr_fail(err, TR_INTERNAL, "meta.chunk_state", NULL,
                   "chunk %u of run %s is delivered already", n, id);
}

/* Begins: claim checked, chunk read. */
static enum tr_rc begin(struct tx *tx, struct tr_meta *meta, const struct tr_run *run, uint32_t n,
                        struct chunk_row *ret, struct tr_err *err)
{
    enum tr_rc rc = tx_write(tx, meta, err);

    if (rc == TR_OK)
        rc = claim_check(tx->m, &run->id, run->fence, err);
    return rc == TR_OK ? find(tx->m, run, n, ret, err) : rc;
}

enum tr_rc meta_chunk_sent(struct tr_meta *meta, const struct tr_run *run, uint32_t n,
                           struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct chunk_row c;

    enum tr_rc rc = begin(&tx, meta, run, n, &c, err);
    if (rc != TR_OK)
        return rc;
    if (c.state == TR_CHUNK_DELIVERED)
        return wrong_state(run, n, err);
    c.state = TR_CHUNK_SENT;
    c.was_sent = true;
    return tx_commit(&tx, set(tx.m, run, n, &c, err), err);
}

static enum tr_rc forget_rejects(struct meta *m, const struct tr_run *run, uint32_t n,
                                 struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "DELETE FROM reject WHERE run_id = ? AND chunk = ?");

    sql_id(&q, &run->id);
    sql_int(&q, n);
    return sql_run(&q, err);
}

enum tr_rc meta_chunk_absent(struct tr_meta *meta, const struct tr_run *run, uint32_t n,
                             struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct chunk_row c;

    enum tr_rc rc = begin(&tx, meta, run, n, &c, err);
    if (rc != TR_OK)
        return rc;
    if (c.published)
        return wrong_state(run, n, err);
    struct tr_account none = { 0 };
    rc = count_in(tx.m, run, &c.account, &none, err);
    c.state = TR_CHUNK_PLANNED;
    c.was_sent = false;
    c.account = none;
    if (rc == TR_OK)
        rc = set(tx.m, run, n, &c, err);
    if (rc == TR_OK)
        rc = forget_rejects(tx.m, run, n, err);
    return tx_commit(&tx, rc, err);
}

static enum tr_rc keep_rejects(struct meta *m, const struct tr_run *run, uint32_t n,
                               const struct tr_reject *rejects, size_t n_rejects,
                               struct tr_err *err)
{
    enum tr_rc rc = forget_rejects(m, run, n, err);

    for (size_t i = 0; rc == TR_OK && i < n_rejects; i++) {
        TR_CLEANUP(sql_close)
        struct sql q =
            sql_open(m, "INSERT OR REPLACE INTO reject"
                        " (run_id, chunk, inserted_at, uuid, reason) VALUES (?, ?, ?, ?, ?)");
        sql_id(&q, &run->id);
        sql_int(&q, n);
        sql_int(&q, rejects[i].inserted_at);
        sql_id(&q, &rejects[i].uuid);
        sql_text(&q, rejects[i].reason);
        rc = sql_run(&q, err);
    }
    return rc;
}

enum tr_rc meta_chunk_done(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                           uint32_t n, const struct tr_account *account, bool deliver,
                           const struct tr_reject *rejects, size_t n_rejects, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct chunk_row c;

    enum tr_rc rc = begin(&tx, meta, run, n, &c, err);
    if (rc != TR_OK || c.published) /* told twice: the first word stands */
        return rc;
    if (c.target != target)
        return tr_fail(err, TR_TRANSIENT, "meta.target_changed", NULL,
                       "the export's target changed during the attempt");
    rc = count_in(tx.m, run, &c.account, account, err);
    c.state = TR_CHUNK_DELIVERED;
    c.published = deliver;
    c.account = *account;
    if (rc == TR_OK)
        rc = set(tx.m, run, n, &c, err);
    if (rc == TR_OK)
        rc = keep_rejects(tx.m, run, n, rejects, n_rejects, err);
    if (rc == TR_OK && deliver)
        rc = delivered_add(tx.m, run, target, c.range, !c.was_sent, err);
    return tx_commit(&tx, rc, err);
}

/* ---- rejects ---- */

static enum tr_rc collect_rejects(struct tr_meta *meta, const struct tr_uuid *run_id, int limit,
                                  struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT run_id, uuid, inserted_at, reason FROM reject"
                                  " WHERE run_id = ? ORDER BY chunk, inserted_at, uuid LIMIT ?");
    sql_id(&q, run_id);
    sql_int(&q, limit > 0 ? limit : -1);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_reject *r = rows_add(to);
        if (r == NULL)
            return tr_fail_oom(err);
        sql_get_id(&q, &r->run_id);
        sql_get_id(&q, &r->uuid);
        r->inserted_at = sql_get_int(&q);
        sql_get_text(&q, r->reason, sizeof(r->reason));
    }
    return rc;
}

enum tr_rc meta_reject_list(struct tr_meta *meta, const struct tr_uuid *run_id, int limit,
                            bool (*each)(void *, const struct tr_reject *), void *arg,
                            struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_reject) };

    enum tr_rc rc = collect_rejects(meta, run_id, limit, &all, err);
    const struct tr_reject *r = (const struct tr_reject *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &r[i]))
            break;
    return rc;
}
