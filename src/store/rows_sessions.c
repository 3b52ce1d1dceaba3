#include "identity/session.h"
#include "store/rows_priv.h"
#include "store/state_priv.h"

static const char *const sql[] = {
    "SELECT id, record, n FROM session"
    " WHERE project = ?1 AND changed >= ?2 AND changed < ?3"
    " AND (changed > ?2 OR n > ?4) ORDER BY changed, n LIMIT ?5",
    NULL,
};

/* Row of the batch whose texts are views into a copy of the record. */
static enum tr_rc put_row(struct tr_store_rows *r, sqlite3_stmt *q, struct tr_err *err)
{
    const void *id = sqlite3_column_blob(q, 0);
    const void *found = sqlite3_column_blob(q, 1);
    size_t n = (size_t)sqlite3_column_bytes(q, 1);
    struct tr_uuid session;

    if (id == NULL || sqlite3_column_bytes(q, 0) != TR_UUID_BYTES || found == NULL ||
        !tr_session_sound(found, n))
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "state.db has a session that is not sound");
    char *record = tr_arena_alloc(&r->texts, n);
    if (record == NULL)
        return tr_fail_oom(err);
    memcpy(record, found, n);
    memcpy(session.b, id, TR_UUID_BYTES);
    r->texts_bytes += n;
    r->changed = tr_session_changed_at(record);
    r->row = sqlite3_column_int64(q, 2);
    return tr_session_row(record, r->project, &session, &r->batch, r->batch.rows++, &r->texts, err);
}

static enum tr_rc fill(struct tr_store_rows *r, struct tr_err *err)
{
    sqlite3_stmt *q = r->q[0];
    bool more = true;
    enum tr_rc rc = TR_OK;

    (void)sqlite3_bind_int64(q, 1, r->project);
    (void)sqlite3_bind_int64(q, 2, r->changed);
    (void)sqlite3_bind_int64(q, 3, r->range.hi);
    (void)sqlite3_bind_int64(q, 4, r->row);
    (void)sqlite3_bind_int(q, 5, TR_BATCH_ROWS);
    while (rc == TR_OK && !rows_full(r)) {
        rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more)
            break;
        rc = put_row(r, q, err);
    }
    r->done = rc == TR_OK && !more && r->batch.rows < TR_BATCH_ROWS;
    return rc;
}

const struct rows_model rows_sessions = {
    .sql = sql,
    .fill = fill,
    .plan = "SELECT changed, 1 FROM session WHERE project = ?1 AND changed >= ?2 AND changed < ?3"
            " ORDER BY changed",
    .extent = "SELECT min(changed), max(changed) FROM session"
              " WHERE project = ?1 AND changed >= ?2 AND changed < ?3",
};
