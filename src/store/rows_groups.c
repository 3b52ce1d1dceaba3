#include "store/rows_priv.h"
#include "store/state_priv.h"

static const char *const sql[] = {
    "SELECT type, key, created, version, changed, properties, rowid FROM groups"
    " WHERE project = ?1 AND changed >= ?2 AND changed < ?3"
    " AND (changed > ?2 OR rowid > ?4) ORDER BY changed, rowid LIMIT ?5",
    NULL,
};

static enum tr_rc put_row(struct tr_store_rows *r, sqlite3_stmt *q, struct tr_err *err)
{
    union tr_vector *col = r->batch.col;
    size_t i = r->batch.rows++;
    int type = sqlite3_column_int(q, 0);
    struct tr_str key = rows_text(r, q, 1);
    struct tr_str properties = rows_text(r, q, 5);

    if (key.p == NULL || properties.p == NULL)
        return tr_fail_oom(err);
    r->batch.flags[i] = TR_EVENT_UNKNOWN;
    r->batch.inserted_at[i] = sqlite3_column_int64(q, 4);
    if (col[TR_GROUP_TEAM_ID].i64 != NULL)
        col[TR_GROUP_TEAM_ID].i64[i] = r->project;
    if (col[TR_GROUP_TYPE_INDEX].i64 != NULL)
        col[TR_GROUP_TYPE_INDEX].i64[i] = type;
    if (col[TR_GROUP_TYPE].str != NULL)
        col[TR_GROUP_TYPE].str[i] =
            (size_t)type < r->types.n ? r->types.name[type] : (struct tr_str){ NULL, 0 };
    if (col[TR_GROUP_KEY].str != NULL)
        col[TR_GROUP_KEY].str[i] = key;
    if (col[TR_GROUP_PROPERTIES].str != NULL)
        col[TR_GROUP_PROPERTIES].str[i] = properties;
    if (col[TR_GROUP_VERSION].i64 != NULL)
        col[TR_GROUP_VERSION].i64[i] = sqlite3_column_int64(q, 3);
    if (col[TR_GROUP_CREATED_AT].i64 != NULL)
        col[TR_GROUP_CREATED_AT].i64[i] = sqlite3_column_int64(q, 2);
    if (col[TR_GROUP_INSERTED_AT].i64 != NULL)
        col[TR_GROUP_INSERTED_AT].i64[i] = r->batch.inserted_at[i];
    r->changed = r->batch.inserted_at[i];
    r->row = sqlite3_column_int64(q, 6);
    return TR_OK;
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

const struct rows_model rows_groups = {
    .sql = sql,
    .fill = fill,
    .plan = "SELECT changed, 1 FROM groups WHERE project = ?1 AND changed >= ?2 AND changed < ?3"
            " ORDER BY changed",
    .extent = "SELECT min(changed), max(changed) FROM groups"
              " WHERE project = ?1 AND changed >= ?2 AND changed < ?3",
};
