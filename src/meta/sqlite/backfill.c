/* Backfills: their progress is what their runs say. */
#include <assert.h>

#include "meta/sqlite/sqlite_priv.h"
#include "os/clock.h"
#include "os/random.h"

#define BACKFILL_COLUMNS                                                                           \
    "b.id, b.export_id, b.project, b.lo, b.hi, b.on_delivered, b.generation, b.parallel, "         \
    "b.cursor,"                                                                                    \
    " b.state, b.rows_total, b.created_at, b.started_at, b.finished_at, count(r.id),"              \
    " coalesce(sum(r.state >= 3), 0), coalesce(sum(r.state = 4), 0), coalesce(sum(r.stored), 0)"   \
    " FROM backfill b LEFT JOIN run r ON r.backfill_id = b.id"

static void read_backfill(struct sql *q, struct tr_backfill *ret)
{
    sql_get_id(q, &ret->id);
    sql_get_id(q, &ret->export_id);
    ret->project = (int32_t)sql_get_int(q);
    ret->range.lo = sql_get_int(q);
    ret->range.hi = sql_get_int(q);
    ret->on_delivered = (enum tr_on_delivered)sql_get_int(q);
    ret->generation = (uint32_t)sql_get_int(q);
    ret->parallel = (int)sql_get_int(q);
    ret->cursor = sql_get_int(q);
    ret->state = (enum tr_run_state)sql_get_int(q);
    ret->rows_total = (uint64_t)sql_get_int(q);
    ret->created_at = sql_get_int(q);
    ret->started_at = sql_get_int(q);
    ret->finished_at = sql_get_int(q);
    ret->total_runs = (uint64_t)sql_get_int(q);
    ret->finished_runs = (uint64_t)sql_get_int(q);
    ret->failed_runs = (uint64_t)sql_get_int(q);
    ret->rows_done = (uint64_t)sql_get_int(q);
}

static enum tr_rc find(struct meta *m, const struct tr_uuid *id, struct tr_backfill *ret,
                       struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT " BACKFILL_COLUMNS " WHERE b.id = ? GROUP BY b.id");
    bool there = false;

    sql_id(&q, id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "backfill");
    if (rc == TR_OK)
        read_backfill(&q, ret);
    return rc;
}

/* ---- making one ---- */

/* One more than any backfill of the export has had, wherever it went. */
static enum tr_rc new_generation(struct meta *m, const struct tr_uuid *export_id, uint32_t *ret,
                                 struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT coalesce(max(generation), 0) + 1 FROM backfill"
                               " WHERE export_id = ?");
    bool there = false;

    sql_id(&q, export_id);
    enum tr_rc rc = sql_next(&q, &there, err);
    *ret = rc == TR_OK ? (uint32_t)sql_get_int(&q) : 0;
    return rc;
}

static enum tr_rc check_export(struct meta *m, const struct tr_uuid *id, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT 1 FROM export WHERE id = ? AND deleted = 0");
    bool there = false;

    sql_id(&q, id);
    enum tr_rc rc = sql_next(&q, &there, err);
    return rc == TR_OK && !there ? meta_not_found(err, "export") : rc;
}

static enum tr_rc insert(struct meta *m, const struct tr_backfill *b, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "INSERT INTO backfill (id, export_id, project, lo, hi, on_delivered,"
                               " generation, parallel, cursor, state, rows_total, created_at)"
                               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)");

    sql_id(&q, &b->id);
    sql_id(&q, &b->export_id);
    sql_int(&q, b->project);
    sql_int(&q, b->range.lo);
    sql_int(&q, b->range.hi);
    sql_int(&q, b->on_delivered);
    sql_int(&q, b->generation);
    sql_int(&q, b->parallel);
    sql_int(&q, b->cursor);
    sql_int(&q, (int64_t)b->rows_total);
    sql_int(&q, b->created_at);
    return sql_run(&q, err);
}

enum tr_rc meta_backfill_create(struct tr_meta *meta, struct tr_backfill *b, uint64_t target,
                                struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_backfill made = *b;

    (void)target; /* a generation is new for every target */
    if (tr_range_empty(b->range))
        return tr_fail(err, TR_INVALID, "backfill.empty_range", NULL, "the range is empty");
    if (id_is_nil(&made.id))
        made.id = tr_random_uuid7();
    if (made.created_at == 0)
        made.created_at = tr_clock_wall_us();
    if (made.parallel < 1)
        made.parallel = 1;
    made.generation = 0;
    made.cursor = made.range.lo;
    made.state = TR_RUN_STARTING;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = check_export(tx.m, &made.export_id, err);
    if (rc == TR_OK && made.on_delivered != TR_SKIP_DELIVERED)
        rc = new_generation(tx.m, &made.export_id, &made.generation, err);
    if (rc == TR_OK)
        rc = insert(tx.m, &made, err);
    if (rc == TR_OK)
        rc = find(tx.m, &made.id, &made, err);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK)
        *b = made;
    return rc;
}

/* ---- looking ---- */

enum tr_rc meta_backfill_get(struct tr_meta *meta, const struct tr_uuid *id,
                             struct tr_backfill *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_read(&tx, meta, err);
    return rc == TR_OK ? find(tx.m, id, ret, err) : rc;
}

static enum tr_rc collect(struct tr_meta *meta, const struct tr_uuid *export_id, struct rows *to,
                          struct tr_err *err)
{
    static const char of_export[] = "SELECT " BACKFILL_COLUMNS " WHERE b.export_id = ?"
                                    " GROUP BY b.id ORDER BY b.created_at DESC, b.id DESC";
    static const char open_ones[] = "SELECT " BACKFILL_COLUMNS " WHERE b.state <= 2"
                                    " GROUP BY b.id ORDER BY b.created_at, b.id";
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool all = id_is_nil(export_id);
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close) struct sql q = sql_open(tx.m, all ? open_ones : of_export);
    if (!all)
        sql_id(&q, export_id);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_backfill *b = rows_add(to);
        if (b == NULL)
            return tr_fail_oom(err);
        read_backfill(&q, b);
    }
    return rc;
}

enum tr_rc meta_backfill_list(struct tr_meta *meta, const struct tr_uuid *export_id,
                              bool (*each)(void *, const struct tr_backfill *), void *arg,
                              struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_backfill) };

    enum tr_rc rc = collect(meta, export_id, &all, err);
    const struct tr_backfill *b = (const struct tr_backfill *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &b[i]))
            break;
    return rc;
}

/* ---- ending one ---- */

static enum tr_rc write_end(struct meta *m, const struct tr_uuid *id, enum tr_run_state state,
                            int64_t now, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "UPDATE backfill SET state = ?, finished_at = ? WHERE id = ?");

    sql_int(&q, state);
    sql_int(&q, now);
    sql_id(&q, id);
    return sql_run(&q, err);
}

static enum tr_rc stop_runs(struct meta *m, const struct tr_uuid *id, int64_t now,
                            struct tr_err *err)
{
    static const char *const steps[] = {
        "UPDATE run SET state = 5, finished_at = ?1, due = NULL WHERE backfill_id = ?2"
        " AND state IN (0, 2)",
        "UPDATE run SET cancel_asked = 1 WHERE backfill_id = ?2 AND state = 1 AND ?1 = ?1",
    };
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; rc == TR_OK && i < sizeof(steps) / sizeof(steps[0]); i++) {
        TR_CLEANUP(sql_close) struct sql q = sql_open(m, steps[i]);
        sql_int(&q, now);
        sql_id(&q, id);
        rc = sql_run(&q, err);
    }
    return rc == TR_OK ? plan_prune(m, now, err) : rc;
}

enum tr_rc meta_backfill_finish(struct tr_meta *meta, const struct tr_uuid *id,
                                enum tr_run_state state, int64_t now, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_backfill b = { 0 };

    assert(tr_run_state_ended(state));
    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = find(tx.m, id, &b, err);
    if (rc == TR_OK && tr_run_state_ended(b.state) && b.state != state)
        rc = tr_fail(err, TR_REFUSED, "backfill.ended", NULL, "the backfill is %s",
                     tr_run_state_name(b.state));
    if (rc != TR_OK || b.state == state)
        return rc;
    rc = write_end(tx.m, id, state, now, err);
    if (rc == TR_OK && state == TR_RUN_CANCELLED)
        rc = stop_runs(tx.m, id, now, err);
    return tx_commit(&tx, rc, err);
}
