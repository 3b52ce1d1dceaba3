/* Runs that end, go on because a person says so, or are looked at. */
#include "meta/sqlite/sqlite_priv.h"
#include "os/clock.h"

enum { LIST_PAGE = 256 };

void run_read(struct sql *q, struct tr_run *ret)
{
    sql_get_id(q, &ret->id);
    sql_get_id(q, &ret->export_id);
    sql_get_id(q, &ret->backfill_id);
    ret->project = (int32_t)sql_get_int(q);
    ret->interval.lo = sql_get_int(q);
    ret->interval.hi = sql_get_int(q);
    ret->state = (enum tr_run_state)sql_get_int(q);
    ret->on_delivered = (enum tr_on_delivered)sql_get_int(q);
    ret->generation = (uint32_t)sql_get_int(q);
    ret->attempts = (uint32_t)sql_get_int(q);
    ret->fence = sql_get_int(q);
    ret->cancel_asked = sql_get_int(q) != 0;
    ret->is_live = sql_get_int(q) != 0;
    ret->created_at = sql_get_int(q);
    ret->started_at = sql_get_int(q);
    ret->finished_at = sql_get_int(q);
    ret->next_attempt_at = sql_get_int(q);
    ret->lease_until = sql_get_int(q);
    ret->not_before = sql_get_int(q);
    ret->error_rc = (enum tr_rc)sql_get_int(q);
    sql_get_text(q, ret->error_id, sizeof(ret->error_id));
    sql_get_text(q, ret->error, sizeof(ret->error));
    sql_get_text(q, ret->error_hint, sizeof(ret->error_hint));
    sql_get_account(q, &ret->account);
}

enum tr_rc run_find(struct meta *m, const struct tr_uuid *id, struct tr_run *ret,
                    struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT " RUN_COLUMNS " FROM run WHERE id = ?");
    bool there = false;

    sql_id(&q, id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "run");
    if (rc == TR_OK)
        run_read(&q, ret);
    return rc;
}

/* ---- the end of an attempt ---- */

/* A completed run has nothing under way: chunks that are not done would be lost in silence. */
static enum tr_rc check_done(struct meta *m, const struct tr_run *run, uint64_t target,
                             bool deliver_run, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT count(*) FROM chunk WHERE run_id = ? AND target = ?"
                               " AND published = 0 AND NOT (? AND state = 2)");
    bool there = false;

    sql_id(&q, &run->id);
    sql_int(&q, (int64_t)target);
    sql_int(&q, deliver_run);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && sql_get_int(&q) != 0)
        return tr_fail(err, TR_INTERNAL, "meta.plan_open", NULL,
                       "the run has chunks that are not delivered");
    return rc;
}

static enum tr_rc publish_run(struct meta *m, const struct tr_run *run, uint64_t target,
                              struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "UPDATE chunk SET published = 1 WHERE run_id = ? AND target = ?"
                               " AND published = 0 RETURNING lo, hi, was_sent");
    enum tr_rc rc = TR_OK;
    bool more = true;

    sql_id(&q, &run->id);
    sql_int(&q, (int64_t)target);
    while (rc == TR_OK && (rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_range chunk = { .lo = sql_get_int(&q) };
        chunk.hi = sql_get_int(&q);
        bool was_sent = sql_get_int(&q) != 0;
        rc = delivered_add(m, run, target, chunk, !was_sent, err);
    }
    return rc;
}

/* What others held and have delivered since, or what does not matter any more. */
static enum tr_rc forget_held(struct meta *m, const struct tr_run *run, bool all,
                              struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(
        m, "DELETE FROM held WHERE run_id = ?1 AND (?2 OR NOT EXISTS (SELECT 1 FROM chunk c"
           " WHERE c.export_id = held.export_id AND c.target = held.target AND c.published = 0"
           " AND c.run_id <> ?1 AND c.lo < held.hi AND c.hi > held.lo))");

    sql_id(&q, &run->id);
    sql_int(&q, all);
    return sql_run(&q, err);
}

static enum tr_rc write_end(struct meta *m, const struct tr_run *run, int64_t now,
                            struct tr_err *err)
{
    bool ended = tr_run_state_ended(run->state);
    int64_t due = run->next_attempt_at;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(
        m, "UPDATE run SET state = iif(cancel_asked AND ?1 IN (0, 2), 5, ?1), attempts = ?2,"
           " finished_at = iif(cancel_asked AND ?1 IN (0, 2), ?3, ?4), next_attempt_at = ?5,"
           " due = iif(?6 OR cancel_asked, NULL, ?7), lease_until = 0, worker = '', error_rc = ?8,"
           " error_id = ?9, error = ?10, error_hint = ?11, stored = ?12, elsewhere = ?13,"
           " selected = ?14, excluded = ?15, delivered = ?16, already_there = ?17, rejected = ?18,"
           " repaired = ?19, bytes = ?20 WHERE id = ?21");

    if (run->state == TR_RUN_STARTING && run->not_before > due)
        due = run->not_before;
    sql_int(&q, run->state);
    sql_int(&q, run->attempts);
    sql_int(&q, now);
    sql_int(&q, !ended ? 0 : run->finished_at != 0 ? run->finished_at : now);
    sql_int(&q, run->next_attempt_at);
    sql_int(&q, ended);
    sql_int(&q, due);
    sql_int(&q, run->error_rc);
    sql_text(&q, run->error_id);
    sql_text(&q, run->error);
    sql_text(&q, run->error_hint);
    sql_account(&q, &run->account);
    sql_id(&q, &run->id);
    return sql_run(&q, err);
}

/* Whether the next attempt of the export is expected to go well. */
static enum tr_rc note_doubt(struct meta *m, const struct tr_run *run, struct tr_err *err)
{
    bool bad = run->state == TR_RUN_RETRYING || run->state == TR_RUN_FAILED;

    if (!bad && run->state != TR_RUN_COMPLETED)
        return TR_OK;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "UPDATE export SET doubtful = ?1 WHERE id = ?2 AND doubtful <> ?1");
    sql_int(&q, bad);
    sql_id(&q, &run->export_id);
    return sql_run(&q, err);
}

enum tr_rc meta_run_finish(struct tr_meta *meta, const struct tr_run *run, uint64_t target,
                           bool deliver_run, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    int64_t now = run->finished_at != 0 ? run->finished_at : tr_clock_wall_us();
    bool completed = run->state == TR_RUN_COMPLETED;

    if (run->state == TR_RUN_RUNNING)
        return tr_fail(err, TR_INTERNAL, "meta.not_an_end", NULL,
                       "an attempt cannot end in the state Running");
    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = claim_check(tx.m, &run->id, run->fence, err);
    if (rc == TR_OK && completed)
        rc = check_done(tx.m, run, target, deliver_run, err);
    if (rc == TR_OK && completed)
        rc = plan_check_held(tx.m, run, target, err);
    if (rc == TR_OK && completed && deliver_run)
        rc = publish_run(tx.m, run, target, err);
    if (rc == TR_OK)
        rc = write_end(tx.m, run, now, err);
    if (rc == TR_OK)
        rc = note_doubt(tx.m, run, err);
    if (rc == TR_OK)
        rc = forget_held(tx.m, run, !completed, err);
    if (rc == TR_OK)
        rc = plan_prune(tx.m, now, err);
    return tx_commit(&tx, rc, err);
}

/* ---- a person's word ---- */

static enum tr_rc change(struct meta *m, const char *text, int64_t now, const struct tr_uuid *id,
                         struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, text);

    sql_int(&q, now);
    sql_id(&q, id);
    return sql_run(&q, err);
}

static enum tr_rc check_export_alive(struct meta *m, const struct tr_run *run, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open(m, "SELECT deleted FROM export WHERE id = ?");
    bool there = false;

    sql_id(&q, &run->export_id);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && there && sql_get_int(&q) != 0)
        return tr_fail(err, TR_REFUSED, "export.deleted", NULL,
                       "the export of this run is deleted");
    return rc;
}

enum tr_rc meta_run_retry(struct tr_meta *meta, const struct tr_uuid *id, int64_t now,
                          struct tr_run *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_run run = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = run_find(tx.m, id, &run, err);
    if (rc == TR_OK)
        rc = check_export_alive(tx.m, &run, err);
    if (rc == TR_OK && run.state != TR_RUN_FAILED && run.state != TR_RUN_CANCELLED)
        rc = tr_fail(err, TR_REFUSED, "run.not_failed",
                     "only runs that are Failed or Cancelled can be retried", "the run is %s",
                     tr_run_state_name(run.state));
    if (rc == TR_OK)
        rc = change(tx.m,
                    "UPDATE run SET state = 0, attempts = 0, cancel_asked = 0, finished_at = 0,"
                    " next_attempt_at = 0, not_before = ?1, due = ?1, error_rc = 0, error_id = '',"
                    " error = '', error_hint = '' WHERE id = ?2",
                    now, id, err);
    if (rc == TR_OK && !id_is_nil(&run.backfill_id))
        rc = change(tx.m,
                    "UPDATE backfill SET state = 1, finished_at = 0 WHERE state = 4 AND ?1 = ?1"
                    " AND id = ?2",
                    now, &run.backfill_id, err);
    if (rc == TR_OK)
        rc = run_find(tx.m, id, &run, err);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK)
        *ret = run;
    return rc;
}

enum tr_rc meta_run_cancel(struct tr_meta *meta, const struct tr_uuid *id, int64_t now,
                           struct tr_run *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_run run = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = run_find(tx.m, id, &run, err);
    if (rc == TR_OK && tr_run_state_ended(run.state))
        rc = tr_fail(err, TR_REFUSED, "run.ended", NULL, "the run is %s",
                     tr_run_state_name(run.state));
    if (rc == TR_OK && run.state == TR_RUN_RUNNING)
        rc =
            change(tx.m, "UPDATE run SET cancel_asked = 1 WHERE ?1 = ?1 AND id = ?2", now, id, err);
    else if (rc == TR_OK)
        rc = change(tx.m, "UPDATE run SET state = 5, finished_at = ?1, due = NULL WHERE id = ?2",
                    now, id, err);
    if (rc == TR_OK)
        rc = plan_prune(tx.m, now, err);
    if (rc == TR_OK)
        rc = run_find(tx.m, id, &run, err);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK)
        *ret = run;
    return rc;
}

/* ---- looking ---- */

enum tr_rc meta_run_get(struct tr_meta *meta, const struct tr_uuid *id, struct tr_run *ret,
                        struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_run run;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc == TR_OK)
        rc = run_find(tx.m, id, &run, err);
    if (rc == TR_OK)
        *ret = run;
    return rc;
}

/* The place of a run in the order of a list: what comes behind it is smaller. */
static enum tr_rc place_of(struct meta *m, const struct tr_uuid *after, bool by_interval,
                           int64_t *ret, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT iif(?, lo, created_at) FROM run WHERE id = ?");
    bool there = false;

    sql_int(&q, by_interval);
    sql_id(&q, after);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "run");
    *ret = rc == TR_OK ? sql_get_int(&q) : 0;
    return rc;
}

static bool is_given(struct tr_range r)
{
    return r.lo != 0 || r.hi != 0;
}

static bool only(uint32_t states, uint32_t of)
{
    return states != 0 && (states & ~of) == 0;
}

/* Runs that are open or ended badly are few, and have indexes that hold nothing else; the same of a
 * backfill. Without being told, SQLite would pass over all the others in the order of the list. */
static const char *index_for(const struct tr_run_query *q, const char **ret_where)
{
    const uint32_t open = 1u << TR_RUN_STARTING | 1u << TR_RUN_RUNNING | 1u << TR_RUN_RETRYING;
    const uint32_t bad = 1u << TR_RUN_FAILED | 1u << TR_RUN_CANCELLED;

    *ret_where = "";
    if (id_is_nil(&q->export_id))
        return "";
    if (q->has_backfill && !id_is_nil(&q->backfill_id))
        return " INDEXED BY run_of_backfill";
    if (only(q->states, open)) {
        *ret_where = " AND due IS NOT NULL";
        return " INDEXED BY run_open";
    }
    if (only(q->states, bad)) {
        *ret_where = " AND state IN (4, 5)";
        return " INDEXED BY run_bad";
    }
    return "";
}

/* The text of the query: only conditions that are asked for, so that an index can be used.
 * Parameters are numbered: 1 export, 2 backfill, 3 states, 4-5 created, 6-7 interval, 8-9 place, 10
 * limit. */
static void write_query(const struct tr_run_query *q, char *out, size_t cap)
{
    static const struct tr_uuid nil;
    bool after = memcmp(&q->after, &nil, sizeof(nil)) != 0;
    const char *key = q->by_interval ? "lo" : "created_at";
    const char *where = NULL;
    const char *index = index_for(q, &where);

    (void)snprintf(out, cap,
                   "SELECT " RUN_COLUMNS " FROM run%s WHERE 1%s%s%s%s%s%s%s%s%s"
                   " ORDER BY %s DESC, id DESC LIMIT ?10",
                   index, where, id_is_nil(&q->export_id) ? "" : " AND export_id = ?1",
                   q->has_backfill ? " AND backfill_id = ?2" : "",
                   q->states == 0 ? "" : " AND ((1 << state) & ?3) <> 0",
                   is_given(q->created) ? " AND created_at >= ?4 AND created_at < ?5" : "",
                   is_given(q->interval) ? " AND hi > ?6 AND lo < ?7" : "", after ? " AND (" : "",
                   after ? key : "", after ? ", id) < (?8, ?9)" : "", key);
}

static enum tr_rc collect(struct tr_meta *meta, const struct tr_run_query *query, int limit,
                          struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    char text[1024];
    int64_t place = 0;
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc == TR_OK && !id_is_nil(&query->after))
        rc = place_of(tx.m, &query->after, query->by_interval, &place, err);
    if (rc != TR_OK)
        return rc;

    write_query(query, text, sizeof(text));
    TR_CLEANUP(sql_close) struct sql q = sql_open_once(tx.m, text);
    sql_id(&q, &query->export_id);
    sql_id(&q, &query->backfill_id);
    sql_int(&q, query->states);
    sql_int(&q, query->created.lo);
    sql_int(&q, query->created.hi);
    sql_int(&q, query->interval.lo);
    sql_int(&q, query->interval.hi);
    sql_int(&q, place);
    sql_id(&q, &query->after);
    sql_int(&q, limit);
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_run *r = rows_add(to);
        if (r == NULL)
            return tr_fail_oom(err);
        run_read(&q, r);
    }
    return rc;
}

enum tr_rc meta_run_list(struct tr_meta *meta, const struct tr_run_query *query,
                         bool (*each)(void *, const struct tr_run *), void *arg, struct tr_err *err)
{
    struct tr_run_query q = *query;
    int left = query->limit > 0 ? query->limit : INT32_MAX;

    /* A page at a time: memory does not grow with the list. */
    while (left > 0) {
        TR_CLEANUP(rows_fini) struct rows page = { .size = sizeof(struct tr_run) };
        int most = left < LIST_PAGE ? left : LIST_PAGE;

        enum tr_rc rc = collect(meta, &q, most, &page, err);
        if (rc != TR_OK)
            return rc;
        const struct tr_run *r = (const struct tr_run *)(const void *)page.p;
        for (size_t i = 0; i < page.n; i++)
            if (!each(arg, &r[i]))
                return TR_OK;
        if (page.n < (size_t)most)
            break;
        left -= most;
        q.after = r[page.n - 1].id;
    }
    return TR_OK;
}
