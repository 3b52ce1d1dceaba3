/* Runs begin to exist: each moves the cursor that says up to where there are runs. */
#include "meta/sqlite/sqlite_priv.h"
#include "os/clock.h"
#include "os/random.h"

/* text: one number of an export, by what stands for none and its id. */
static enum tr_rc get_number(struct tr_meta *meta, const char *text,
                             const struct tr_uuid *export_id, int64_t *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool there = false;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, text);
    sql_int(&q, INT64_MIN);
    sql_id(&q, export_id);
    rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "export");
    if (rc == TR_OK)
        *ret = sql_get_int(&q);
    return rc;
}

enum tr_rc meta_cursor_get(struct tr_meta *meta, const struct tr_uuid *export_id, int64_t *ret,
                           struct tr_err *err)
{
    return get_number(meta, "SELECT coalesce(cursor, ?) FROM export WHERE id = ?", export_id, ret,
                      err);
}

enum tr_rc meta_began_get(struct tr_meta *meta, const struct tr_uuid *export_id, int64_t *ret,
                          struct tr_err *err)
{
    return get_number(meta, "SELECT coalesce(began, ?) FROM export WHERE id = ?", export_id, ret,
                      err);
}

enum tr_rc meta_cursor_set(struct tr_meta *meta, const struct tr_uuid *export_id, int64_t to,
                           struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "UPDATE export SET cursor = max(coalesce(cursor, ?1), ?1),"
                                  " began = coalesce(began, ?1) WHERE id = ?2");
    sql_int(&q, to);
    sql_id(&q, export_id);
    rc = sql_run(&q, err);
    if (rc == TR_OK && sqlite3_changes(tx.m->db) == 0)
        return meta_not_found(err, "export");
    return tx_commit(&tx, rc, err);
}

static enum tr_rc insert_run(struct meta *m, struct tr_run *run, struct tr_err *err)
{
    struct tr_run r = {
        .id = id_is_nil(&run->id) ? tr_random_uuid7() : run->id,
        .export_id = run->export_id,
        .backfill_id = run->backfill_id,
        .project = run->project,
        .interval = run->interval,
        .state = TR_RUN_STARTING,
        .on_delivered = run->on_delivered,
        .generation = run->generation,
        .is_live = run->is_live,
        .created_at = run->created_at != 0 ? run->created_at : tr_clock_wall_us(),
        .not_before = run->not_before,
    };
    TR_CLEANUP(sql_close)
    struct sql q =
        sql_open(m, "INSERT INTO run (id, export_id, backfill_id, project, lo, hi, state,"
                    " on_delivered, generation, created_at, not_before, due, is_live)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?10, ?11)");
    sql_id(&q, &r.id);
    sql_id(&q, &r.export_id);
    sql_id_or_null(&q, &r.backfill_id);
    sql_int(&q, r.project);
    sql_int(&q, r.interval.lo);
    sql_int(&q, r.interval.hi);
    sql_int(&q, r.on_delivered);
    sql_int(&q, r.generation);
    sql_int(&q, r.created_at);
    sql_int(&q, r.not_before);
    sql_int(&q, r.is_live);
    enum tr_rc rc = sql_run(&q, err);
    if (rc == TR_OK)
        *run = r;
    return rc;
}

/* text: SELECT state, cursor of what makes the run, by id; for an export "state" is its deletion.
 */
static enum tr_rc check_cursor(struct meta *m, const char *text, const struct tr_uuid *id,
                               const struct tr_run *run, const char *what, const char *ended_id,
                               struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, text);
    bool there = false;

    sql_id(&q, id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc != TR_OK)
        return rc;
    if (!there)
        return meta_not_found(err, what);
    if (sql_get_int(&q) != 0)
        return tr_fail(err, TR_REFUSED, ended_id, NULL, "the %s has ended", what);
    if (tr_range_empty(run->interval))
        return tr_fail(err, TR_INTERNAL, "meta.empty_interval", NULL, "the interval is empty");
    if (sql_get_int(&q) != 0 && sql_get_int(&q) > run->interval.lo)
        return tr_fail(err, TR_REFUSED, "meta.behind_cursor", NULL,
                       "a run of this %s exists for a later time", what);
    return TR_OK;
}

static enum tr_rc move_cursor(struct meta *m, const char *text, const struct tr_uuid *id,
                              const struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, text);

    sql_int(&q, run->interval.hi);
    sql_id(&q, id);
    sql_int(&q, run->created_at);
    sql_int(&q, run->interval.lo);
    return sql_run(&q, err);
}

enum tr_rc meta_run_schedule(struct tr_meta *meta, struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = check_cursor(tx.m,
                          "SELECT deleted, cursor IS NOT NULL, cursor FROM export WHERE id = ?",
                          &run->export_id, run, "export", "export.deleted", err);
    if (rc == TR_OK)
        rc = insert_run(tx.m, run, err);
    if (rc == TR_OK)
        rc = move_cursor(tx.m,
                         "UPDATE export SET cursor = ?1, began = coalesce(began, ?4)"
                         " WHERE id = ?2 AND ?3 = ?3",
                         &run->export_id, run, err);
    return tx_commit(&tx, rc, err);
}

enum tr_rc meta_run_backfill(struct tr_meta *meta, struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = check_cursor(tx.m, "SELECT state > 2, 1, cursor FROM backfill WHERE id = ?",
                          &run->backfill_id, run, "backfill", "backfill.ended", err);
    if (rc == TR_OK)
        rc = insert_run(tx.m, run, err);
    if (rc == TR_OK)
        rc = move_cursor(tx.m,
                         "UPDATE backfill SET cursor = ?1, state = 1,"
                         " started_at = iif(started_at = 0, ?3, started_at) WHERE id = ?2"
                         " AND ?4 = ?4",
                         &run->backfill_id, run, err);
    return tx_commit(&tx, rc, err);
}
