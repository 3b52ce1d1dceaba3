/* Exports as they are kept: the body as text, the secrets as opaque bytes. */
#include "meta/sqlite/sqlite_priv.h"
#include "os/clock.h"
#include "os/random.h"

enum { ROW_BYTES = 16 << 20 };

#define EXPORT_COLUMNS                                                                             \
    "id, project, paused, deleted, target, version, created_at, updated_at, last_paused_at, "      \
    "body, "                                                                                       \
    "sealed, target_text"

/* ---- reading ---- */

/* Copies everything into ret->buf, so that the row outlives the statement. */
static enum tr_rc read_export(struct sql *q, struct tr_export_row *ret, struct tr_err *err)
{
    struct tr_export_row r = { 0 };
    struct tr_str parts[3];

    sql_get_id(q, &r.id);
    r.project = (int32_t)sql_get_int(q);
    r.paused = sql_get_int(q) != 0;
    r.deleted = sql_get_int(q) != 0;
    r.target = (uint64_t)sql_get_int(q);
    r.version = (uint64_t)sql_get_int(q);
    r.created_at = sql_get_int(q);
    r.updated_at = sql_get_int(q);
    r.last_paused_at = sql_get_int(q);

    tr_buf_init(&r.buf, ROW_BYTES);
    for (size_t i = 0; i < 3; i++) {
        parts[i] = sql_get_str(q);
        tr_buf_str(&r.buf, parts[i]);
    }
    if (r.buf.failed) {
        tr_buf_fini(&r.buf);
        return tr_fail_oom(err);
    }
    r.body = (struct tr_str){ r.buf.p, parts[0].n };
    r.sealed = (struct tr_str){ r.buf.p + parts[0].n, parts[1].n };
    r.target_text = (struct tr_str){ r.buf.p + parts[0].n + parts[1].n, parts[2].n };
    *ret = r;
    return TR_OK;
}

enum tr_rc meta_export_get(struct tr_meta *meta, const struct tr_uuid *id,
                           struct tr_export_row *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool there = false;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT " EXPORT_COLUMNS " FROM export WHERE id = ?");
    sql_id(&q, id);
    rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "export");
    return rc == TR_OK ? read_export(&q, ret, err) : rc;
}

static enum tr_rc collect_exports(struct tr_meta *meta, int32_t project, struct rows *to,
                                  struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT " EXPORT_COLUMNS " FROM export"
                                  " WHERE deleted = 0 AND (?1 = 0 OR project = ?1)"
                                  " ORDER BY created_at, id");
    sql_int(&q, project);
    while (rc == TR_OK && (rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_export_row *r = rows_add(to);
        rc = r == NULL ? tr_fail_oom(err) : read_export(&q, r, err);
    }
    return rc;
}

enum tr_rc meta_export_list(struct tr_meta *meta, int32_t project,
                            bool (*each)(void *, const struct tr_export_row *), void *arg,
                            struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_export_row) };
    bool go_on = true;

    enum tr_rc rc = collect_exports(meta, project, &all, err);
    struct tr_export_row *r = (struct tr_export_row *)(void *)all.p;
    for (size_t i = 0; i < all.n; i++) {
        go_on = go_on && rc == TR_OK && each(arg, &r[i]);
        tr_buf_fini(&r[i].buf);
    }
    return rc;
}

/* ---- changing ---- */

static enum tr_rc check_project(struct meta *m, int32_t project, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, "SELECT 1 FROM project WHERE id = ?");
    bool there = false;

    sql_int(&q, project);
    enum tr_rc rc = sql_next(&q, &there, err);
    return rc == TR_OK && !there ? meta_not_found(err, "project") : rc;
}

enum tr_rc meta_export_create(struct tr_meta *meta, struct tr_export *e, struct tr_str body,
                              struct tr_str sealed, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    int64_t now = e->created_at != 0 ? e->created_at : tr_clock_wall_us();
    struct tr_uuid id = id_is_nil(&e->id) ? tr_random_uuid7() : e->id;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = check_project(tx.m, e->project, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "INSERT INTO export (id, project, paused, target, target_text,"
                                  " version, created_at, updated_at, last_paused_at, body, sealed)"
                                  " VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?6, ?7, ?8, ?9)");
    sql_id(&q, &id);
    sql_int(&q, e->project);
    sql_int(&q, e->paused);
    sql_int(&q, (int64_t)e->target);
    sql_text(&q, e->target_text);
    sql_int(&q, now);
    sql_int(&q, e->last_paused_at);
    sql_str(&q, body);
    sql_blob(&q, sealed.p, sealed.n);
    rc = tx_commit(&tx, sql_run(&q, err), err);
    if (rc == TR_OK) {
        e->id = id;
        e->version = 1;
        e->created_at = e->updated_at = now;
    }
    return rc;
}

static enum tr_rc present_version(struct meta *m, const struct tr_uuid *id, uint64_t *ret,
                                  struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT version FROM export WHERE id = ? AND deleted = 0");
    bool there = false;

    sql_id(&q, id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "export");
    *ret = rc == TR_OK ? (uint64_t)sql_get_int(&q) : 0;
    return rc;
}

enum tr_rc meta_export_update(struct tr_meta *meta, struct tr_export *e, struct tr_str body,
                              struct tr_str sealed, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    int64_t now = tr_clock_wall_us();
    uint64_t version = 0;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = present_version(tx.m, &e->id, &version, err);
    if (rc == TR_OK && e->version != 0 && e->version != version)
        rc = tr_fail(err, TR_REFUSED, "meta.changed", "read it again and repeat the change",
                     "somebody else has changed the export meanwhile");
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "UPDATE export SET target = ?, target_text = ?,"
                                  " version = version + 1, updated_at = ?, body = ?, sealed = ?"
                                  " WHERE id = ?");
    sql_int(&q, (int64_t)e->target);
    sql_text(&q, e->target_text);
    sql_int(&q, now);
    sql_str(&q, body);
    sql_blob(&q, sealed.p, sealed.n);
    sql_id(&q, &e->id);
    rc = tx_commit(&tx, sql_run(&q, err), err);
    if (rc == TR_OK) {
        e->version = version + 1;
        e->updated_at = now;
    }
    return rc;
}

enum tr_rc meta_export_pause(struct tr_meta *meta, const struct tr_uuid *id, bool paused,
                             int64_t now, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    uint64_t version = 0;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = present_version(tx.m, id, &version, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "UPDATE export SET last_paused_at = iif(?1, ?2, last_paused_at),"
                                  " paused = ?1, version = version + 1 WHERE id = ?3"
                                  " AND paused <> ?1");
    sql_int(&q, paused);
    sql_int(&q, now);
    sql_id(&q, id);
    return tx_commit(&tx, sql_run(&q, err), err);
}

enum tr_rc meta_export_delete(struct tr_meta *meta, const struct tr_uuid *id, int64_t now,
                              struct tr_err *err)
{
    static const char *const steps[] = {
        "UPDATE export SET deleted = 1, updated_at = ?1, version = version + 1 WHERE id = ?2",
        "UPDATE backfill SET state = 5, finished_at = ?1 WHERE export_id = ?2 AND state <= 2",
        "UPDATE run SET state = 5, finished_at = ?1, due = NULL WHERE export_id = ?2"
        " AND state IN (0, 2)",
        "UPDATE run SET cancel_asked = 1 WHERE export_id = ?2 AND state = 1 AND ?1 = ?1",
    };
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    uint64_t version = 0;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = present_version(tx.m, id, &version, err);
    for (size_t i = 0; rc == TR_OK && i < sizeof(steps) / sizeof(steps[0]); i++) {
        TR_CLEANUP(sql_close) struct sql q = sql_open(tx.m, steps[i]);
        sql_int(&q, now);
        sql_id(&q, id);
        rc = sql_run(&q, err);
    }
    if (rc == TR_OK)
        rc = plan_prune(tx.m, now, err);
    return tx_commit(&tx, rc, err);
}
