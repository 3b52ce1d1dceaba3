/* Opening, closing, and the table of verbs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "meta/sqlite/sqlite_priv.h"
#include "os/file.h"

static void meta_close(struct tr_meta *meta)
{
    if (meta == NULL)
        return;
    struct meta *m = meta_of(meta);
    for (size_t i = 0; i < SQL_KEPT; i++)
        (void)sqlite3_finalize(m->kept[i].stmt);
    (void)sqlite3_close(m->db);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct tr_meta_ops ops = {
    .name = "sqlite",
    .close = meta_close,
    .identity = meta_identity,
    .epoch_begin = meta_epoch_begin,
    .epoch_list = meta_epoch_list,
    .token_add = meta_token_add,
    .token_known = meta_token_known,
    .token_any = meta_token_any,
    .project_create = meta_project_create,
    .project_get = meta_project_get,
    .project_list = meta_project_list,
    .export_create = meta_export_create,
    .export_update = meta_export_update,
    .export_get = meta_export_get,
    .export_list = meta_export_list,
    .export_pause = meta_export_pause,
    .export_delete = meta_export_delete,
    .cursor_get = meta_cursor_get,
    .began_get = meta_began_get,
    .cursor_set = meta_cursor_set,
    .run_schedule = meta_run_schedule,
    .run_backfill = meta_run_backfill,
    .run_claim = meta_run_claim,
    .run_renew = meta_run_renew,
    .run_release_all = meta_run_release_all,
    .run_taken = meta_run_taken,
    .plan_add = meta_plan_add,
    .plan_drop = meta_plan_drop,
    .plan_get = meta_plan_get,
    .chunk_sent = meta_chunk_sent,
    .chunk_done = meta_chunk_done,
    .chunk_absent = meta_chunk_absent,
    .orphan_list = meta_orphan_list,
    .orphan_settle = meta_orphan_settle,
    .run_finish = meta_run_finish,
    .run_retry = meta_run_retry,
    .run_cancel = meta_run_cancel,
    .run_get = meta_run_get,
    .run_list = meta_run_list,
    .backlog = meta_backlog,
    .run_fold = meta_run_fold,
    .day_list = meta_day_list,
    .delivered_list = meta_delivered_list,
    .sharer_list = meta_sharer_list,
    .backfill_create = meta_backfill_create,
    .backfill_get = meta_backfill_get,
    .backfill_list = meta_backfill_list,
    .backfill_finish = meta_backfill_finish,
    .log_add = meta_log_add,
    .log_list = meta_log_list,
    .reject_list = meta_reject_list,
};

/* SQLite would make the file readable for others, as far as the umask allows. */
static enum tr_rc make_private(const char *path, struct tr_err *err)
{
    TR_CLEANUP(tr_file_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return fd < 0 ? tr_fail_errno(err, errno, "open %s", path) : TR_OK;
}

static enum tr_rc set_up(struct meta *m, const char *path, struct tr_err *err)
{
    int64_t version = 0;
    int code = sqlite3_open_v2(path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    if (code != SQLITE_OK)
        return m->db == NULL ? tr_fail_oom(err) : sql_fail(m, code, err);
    (void)sqlite3_busy_timeout(m->db, 10000);
    enum tr_rc rc = sql_exec(m, "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF", err);
    if (rc == TR_OK)
        rc = meta_check(m, &version, err);
    if (rc == TR_OK)
        rc = sql_exec(
            m, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192",
            err);
    return rc == TR_OK ? meta_migrate(m, version, err) : rc;
}

enum tr_rc tr_meta_sqlite_open(const char *path, struct tr_meta **ret, struct tr_err *err)
{
    enum tr_rc rc = make_private(path, err);
    if (rc != TR_OK)
        return rc;

    struct meta *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return tr_fail_oom(err);
    m->base.ops = &ops;
    (void)pthread_mutex_init(&m->lock, NULL);
    if (set_up(m, path, err) != TR_OK) {
        meta_close(&m->base);
        return tr_wrap(err, "open %s", path);
    }
    *ret = &m->base;
    return TR_OK;
}
