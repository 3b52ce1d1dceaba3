/* Persons by change: one row per distinct id. A row's instant is the later one of its person's and
 * its mapping's; nearly always the person's. So there are two stages: persons that changed, each
 * with the mappings it speaks for; then mappings that changed after their person did. */
#include "store/rows_priv.h"
#include "store/state_priv.h"

enum { Q_PERSONS, Q_MAPPINGS, Q_LATER };

enum { PERSONS_AT_ONCE = 1024 };

static const char *const sql[] = {
    [Q_PERSONS] = "SELECT id, uuid, created, version, changed, flags, properties FROM person"
                  " WHERE project = ?1 AND changed >= ?2 AND changed < ?3"
                  " AND (changed > ?2 OR id >= ?4) ORDER BY changed, id LIMIT ?5",
    [Q_MAPPINGS] = "SELECT distinct_id, version, changed, deleted FROM mapping"
                   " WHERE person = ?1 AND person <> 0 AND project = ?2 AND distinct_id > ?3"
                   " AND (changed IS NULL OR changed <= ?4) ORDER BY distinct_id",
    [Q_LATER] = "SELECT p.id, p.uuid, p.created, p.version, p.changed, p.flags, p.properties,"
                " m.distinct_id, m.version, m.changed, m.deleted"
                " FROM mapping m JOIN person p ON p.id = m.person"
                " WHERE m.project = ?1 AND m.changed >= ?2 AND m.changed < ?3"
                " AND (m.changed > ?2 OR m.distinct_id > ?4) AND m.changed > p.changed"
                " ORDER BY m.changed, m.distinct_id LIMIT ?5",
    NULL,
};

static void put_row(struct tr_store_rows *r, const struct tr_person *p, struct tr_str distinct_id,
                    int64_t version, int64_t changed, bool deleted)
{
    union tr_vector *col = r->batch.col;
    size_t i = r->batch.rows++;

    r->batch.flags[i] = TR_EVENT_UNKNOWN;
    r->batch.inserted_at[i] = changed;
    if (col[TR_PERSON_TEAM_ID].i64 != NULL)
        col[TR_PERSON_TEAM_ID].i64[i] = r->project;
    if (col[TR_PERSON_DISTINCT_ID].str != NULL)
        col[TR_PERSON_DISTINCT_ID].str[i] = distinct_id;
    if (col[TR_PERSON_ID].uuid != NULL)
        col[TR_PERSON_ID].uuid[i] = p->id;
    if (col[TR_PERSON_PROPERTIES].str != NULL)
        col[TR_PERSON_PROPERTIES].str[i] = p->properties;
    if (col[TR_PERSON_VERSION].i64 != NULL)
        col[TR_PERSON_VERSION].i64[i] = p->version;
    if (col[TR_PERSON_DISTINCT_ID_VERSION].i64 != NULL)
        col[TR_PERSON_DISTINCT_ID_VERSION].i64[i] = version;
    if (col[TR_PERSON_CREATED_AT].i64 != NULL)
        col[TR_PERSON_CREATED_AT].i64[i] = p->created_at;
    if (col[TR_PERSON_IS_DELETED].u8 != NULL)
        col[TR_PERSON_IS_DELETED].u8[i] = p->deleted || deleted;
    if (col[TR_PERSON_IS_IDENTIFIED].u8 != NULL)
        col[TR_PERSON_IS_IDENTIFIED].u8[i] = p->identified;
    if (col[TR_PERSON_INSERTED_AT].i64 != NULL)
        col[TR_PERSON_INSERTED_AT].i64[i] = changed;
}

static bool own(struct tr_store_rows *r, sqlite3_stmt *q, struct tr_person *p)
{
    if (r->batch.col[TR_PERSON_PROPERTIES].str != NULL)
        p->properties = rows_text(r, q, 6);
    return p->properties.p != NULL;
}

/* The mappings of a person behind the last distinct id. *ret_all: that was the last of them. */
static enum tr_rc fill_mappings(struct tr_store_rows *r, const struct tr_person *p, bool *ret_all,
                                struct tr_err *err)
{
    sqlite3_stmt *q = r->q[Q_MAPPINGS];
    bool more = true;

    (void)sqlite3_bind_int64(q, 1, p->row);
    (void)sqlite3_bind_int64(q, 2, r->project);
    state_bind_text(q, 3, r->inside ? tr_buf_view(&r->last) : TR_STR(""));
    (void)sqlite3_bind_int64(q, 4, p->changed_at);
    for (;;) {
        enum tr_rc rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more) {
            *ret_all = rc == TR_OK;
            return rc;
        }
        struct tr_str id = rows_text(r, q, 0);
        if (id.p == NULL)
            return tr_fail_oom(err);
        put_row(r, p, id, sqlite3_column_int64(q, 1), p->changed_at, sqlite3_column_int(q, 3) != 0);
        if (!rows_full(r))
            continue;
        tr_buf_clear(&r->last);
        tr_buf_str(&r->last, id);
        r->inside = true;
        (void)sqlite3_reset(q);
        *ret_all = false;
        return r->last.failed ? tr_fail_oom(err) : TR_OK;
    }
}

static enum tr_rc fill_persons(struct tr_store_rows *r, struct tr_err *err)
{
    sqlite3_stmt *q = r->q[Q_PERSONS];
    int seen = 0;
    bool more = true;
    bool all = true;
    enum tr_rc rc = TR_OK;

    (void)sqlite3_bind_int64(q, 1, r->project);
    (void)sqlite3_bind_int64(q, 2, r->changed);
    (void)sqlite3_bind_int64(q, 3, r->range.hi);
    (void)sqlite3_bind_int64(q, 4, r->row);
    (void)sqlite3_bind_int(q, 5, PERSONS_AT_ONCE);
    while (rc == TR_OK && all && !rows_full(r)) {
        struct tr_person p;
        rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more)
            break;
        seen++;
        state_person_of_row(q, &p);
        if (r->changed != p.changed_at || r->row != p.row)
            r->inside = false;
        r->changed = p.changed_at;
        r->row = p.row;
        rc = own(r, q, &p) ? fill_mappings(r, &p, &all, err) : tr_fail_oom(err);
        if (rc == TR_OK && all) {
            r->row++;
            r->inside = false;
        }
    }
    if (rc == TR_OK && !more && seen < PERSONS_AT_ONCE) {
        r->stage = 1;
        r->changed = r->range.lo;
        tr_buf_clear(&r->last);
    }
    return rc;
}

static enum tr_rc fill_later(struct tr_store_rows *r, struct tr_err *err)
{
    sqlite3_stmt *q = r->q[Q_LATER];
    bool more = true;
    enum tr_rc rc = TR_OK;

    (void)sqlite3_bind_int64(q, 1, r->project);
    (void)sqlite3_bind_int64(q, 2, r->changed);
    (void)sqlite3_bind_int64(q, 3, r->range.hi);
    state_bind_text(q, 4, tr_buf_view(&r->last));
    (void)sqlite3_bind_int(q, 5, TR_BATCH_ROWS);
    while (rc == TR_OK && !rows_full(r)) {
        struct tr_person p;
        rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more)
            break;
        state_person_of_row(q, &p);
        struct tr_str id = rows_text(r, q, 7);
        if (id.p == NULL || !own(r, q, &p))
            return tr_fail_oom(err);
        r->changed = sqlite3_column_int64(q, 9);
        tr_buf_clear(&r->last);
        tr_buf_str(&r->last, id);
        put_row(r, &p, id, sqlite3_column_int64(q, 8), r->changed, sqlite3_column_int(q, 10) != 0);
    }
    r->done = rc == TR_OK && !more && r->batch.rows < TR_BATCH_ROWS;
    return rc == TR_OK && r->last.failed ? tr_fail_oom(err) : rc;
}

static enum tr_rc fill(struct tr_store_rows *r, struct tr_err *err)
{
    return r->stage == 0 ? fill_persons(r, err) : fill_later(r, err);
}

const struct rows_model rows_persons = {
    .sql = sql,
    .fill = fill,
    .plan = "SELECT p.changed, (SELECT count(*) FROM mapping m WHERE m.person = p.id"
            " AND m.person <> 0 AND (m.changed IS NULL OR m.changed <= p.changed)) FROM person p"
            " WHERE p.project = ?1 AND p.changed >= ?2 AND p.changed < ?3 ORDER BY p.changed",
    .plan_more = "SELECT count(*) FROM mapping m JOIN person p ON p.id = m.person"
                 " WHERE m.project = ?1 AND m.changed >= ?2 AND m.changed < ?3"
                 " AND m.changed > p.changed",
    .extent = "SELECT min(lo), max(hi) FROM ("
              "SELECT min(changed) AS lo, max(changed) AS hi FROM person"
              " WHERE project = ?1 AND changed >= ?2 AND changed < ?3 UNION ALL "
              "SELECT min(changed), max(changed) FROM mapping"
              " WHERE project = ?1 AND changed >= ?2 AND changed < ?3)",
};
