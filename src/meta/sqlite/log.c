/* Lines for people, the last ones of each export. */
#include "meta/sqlite/sqlite_priv.h"

static enum tr_rc next_line(struct meta *m, const struct tr_uuid *export_id, int64_t *ret,
                            struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT coalesce(max(n), 0) + 1 FROM log WHERE export_id = ?");
    bool there = false;

    sql_id(&q, export_id);
    enum tr_rc rc = sql_next(&q, &there, err);
    *ret = rc == TR_OK ? sql_get_int(&q) : 0;
    return rc;
}

static enum tr_rc insert(struct meta *m, int64_t n, const struct tr_log_line *line,
                         struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "INSERT INTO log (export_id, n, run_id, at, level, text)"
                               " VALUES (?, ?, ?, ?, ?, ?)");

    sql_id(&q, &line->export_id);
    sql_int(&q, n);
    sql_id_or_null(&q, &line->run_id);
    sql_int(&q, line->at);
    sql_text(&q, line->level);
    sql_text(&q, line->text);
    return sql_run(&q, err);
}

static enum tr_rc drop_oldest(struct meta *m, int64_t n, const struct tr_log_line *line,
                              struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "DELETE FROM log WHERE export_id = ? AND n <= ?");

    sql_id(&q, &line->export_id);
    sql_int(&q, n - LOG_LINES);
    return sql_run(&q, err);
}

enum tr_rc meta_log_add(struct tr_meta *meta, const struct tr_log_line *line, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    int64_t n = 0;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = next_line(tx.m, &line->export_id, &n, err);
    if (rc == TR_OK)
        rc = insert(tx.m, n, line, err);
    if (rc == TR_OK)
        rc = drop_oldest(tx.m, n, line, err);
    return tx_commit(&tx, rc, err);
}

static enum tr_rc collect(struct tr_meta *meta, const struct tr_uuid *export_id,
                          const struct tr_uuid *run_id, int limit, struct rows *to,
                          struct tr_err *err)
{
    static const char of_export[] = "SELECT at, level, export_id, run_id, text FROM log"
                                    " WHERE export_id = ? ORDER BY n DESC LIMIT ?";
    static const char of_run[] = "SELECT at, level, export_id, run_id, text FROM log"
                                 " WHERE run_id = ? ORDER BY n DESC LIMIT ?";
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool any_run = run_id == NULL || id_is_nil(run_id);
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close) struct sql q = sql_open(tx.m, any_run ? of_export : of_run);
    sql_id(&q, any_run ? export_id : run_id);
    sql_int(&q, limit > 0 ? limit : -1);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_log_line *line = rows_add(to);
        if (line == NULL)
            return tr_fail_oom(err);
        line->at = sql_get_int(&q);
        sql_get_text(&q, line->level, sizeof(line->level));
        sql_get_id(&q, &line->export_id);
        sql_get_id(&q, &line->run_id);
        sql_get_text(&q, line->text, sizeof(line->text));
    }
    return rc;
}

enum tr_rc meta_log_list(struct tr_meta *meta, const struct tr_uuid *export_id,
                         const struct tr_uuid *run_id, int limit,
                         bool (*each)(void *, const struct tr_log_line *), void *arg,
                         struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_log_line) };

    enum tr_rc rc = collect(meta, export_id, run_id, limit, &all, err);
    const struct tr_log_line *line = (const struct tr_log_line *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &line[i]))
            break;
    return rc;
}
