#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "store/state_priv.h"

enum { TEXT_MAX = 16 << 20 };

/* mapping_person has who leads to a person: it is used where a statement says "person <> 0". */
static const char *const statements[SQL_STATEMENTS] = {
    [SQL_PERSON_GET] = "SELECT id, uuid, created, version, changed, flags, properties"
                       " FROM person WHERE id = ?",
    [SQL_PERSON_BY_ID] = "SELECT id FROM person WHERE project = ? AND uuid = ?",
    [SQL_PERSON_ADD] = "INSERT INTO person(id, created, version, changed, flags, properties,"
                       " project, uuid) VALUES(?,?,?,?,?,?,?,?)",
    [SQL_PERSON_SET] = "UPDATE person SET created = ?2, version = ?3, changed = ?4, flags = ?5,"
                       " properties = ?6 WHERE id = ?1",
    [SQL_PERSON_IDS] =
        "SELECT distinct_id FROM mapping WHERE person = ?1 AND person <> 0 AND project = ?2"
        " AND distinct_id > '' AND deleted = 0 ORDER BY distinct_id LIMIT 1000",
    [SQL_MAPPING_GET] = "SELECT person, version, changed, deleted FROM mapping"
                        " WHERE project = ? AND distinct_id = ?",
    [SQL_MAPPING_PUT] = "REPLACE INTO mapping VALUES(?,?,?,?,?,?)",
    [SQL_MAPPING_MOVE] = "UPDATE mapping SET person = ?1, version = version + 1, changed = NULL"
                         " WHERE person = ?2 AND person <> 0 AND deleted = 0"
                         " RETURNING distinct_id, person, version, deleted",
    [SQL_MAPPING_UNMAP] = "UPDATE mapping SET deleted = 1, version = version + 100, changed = NULL"
                          " WHERE person = ?1 AND person <> 0 AND deleted = 0"
                          " RETURNING distinct_id, person, version, deleted",
    [SQL_SESSION_GET] = "SELECT n, record FROM session WHERE project = ? AND id = ?",
    [SQL_SESSION_ADD] = "INSERT INTO session(n, changed, record, project, id) VALUES(?,?,?,?,?)",
    [SQL_SESSION_SET] = "UPDATE session SET changed = ?2, record = ?3 WHERE n = ?1",
    [SQL_GROUP_TYPES] = "SELECT name FROM group_type WHERE project = ? ORDER BY i",
    [SQL_GROUP_TYPE_PUT] = "INSERT INTO group_type VALUES(?,?,?)",
    [SQL_GROUP_GET] = "SELECT created, version, properties FROM groups"
                      " WHERE project = ? AND type = ? AND key = ?",
    [SQL_GROUP_PUT] =
        "INSERT INTO groups VALUES(?,?,?,?,?,?,?) ON CONFLICT(project, type, key) DO UPDATE SET"
        " version = excluded.version, changed = excluded.changed, properties = excluded.properties",
    [SQL_WARN] = "INSERT INTO warning VALUES(?,?,?,?,?,?,?,?)"
                 " ON CONFLICT DO UPDATE SET n = n + excluded.n, last_at = excluded.last_at,"
                 " distinct_id = excluded.distinct_id, other = excluded.other",
    [SQL_WARNINGS] = "SELECT type, day, n, first_at, last_at, distinct_id, other FROM warning"
                     " WHERE project = ? ORDER BY day DESC, type LIMIT ?",
};

enum tr_rc state_sql(struct state *s, enum statement i, sqlite3_stmt **ret, struct tr_err *err)
{
    *ret = s->sql[i];
    return s->db.ready(s->db.arg, err);
}

sqlite3_stmt *state_look(struct state *s, enum statement i)
{
    turns_take(s->db.turns);
    return s->sql[i];
}

void state_looked(struct state *s, sqlite3_stmt *q)
{
    (void)sqlite3_reset(q);
    turns_give(s->db.turns);
}

void state_bind_text(sqlite3_stmt *q, int i, struct tr_str s)
{
    (void)sqlite3_bind_text64(q, i, s.p == NULL ? "" : s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
}

struct tr_str state_column_text(sqlite3_stmt *q, int i)
{
    const unsigned char *p = sqlite3_column_text(q, i);

    return (struct tr_str){ p == NULL ? "" : (const char *)p, (size_t)sqlite3_column_bytes(q, i) };
}

static enum tr_rc read_next(struct state *s, struct tr_err *err)
{
    enum tr_rc rc =
        store_sql_int64(s->db.db, "SELECT max(id) FROM person", 0, &s->next_person, err);

    if (rc == TR_OK)
        rc = store_sql_int64(s->db.db, "SELECT max(n) FROM session", 0, &s->next_session, err);
    s->next_person++;
    s->next_session++;
    return rc;
}

enum tr_rc state_new(const struct state_db *db, size_t cache_bytes, struct state **ret,
                     struct tr_err *err)
{
    struct state *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return tr_fail_oom(err);
    s->db = *db;
    s->pool.max_bytes = cache_bytes;
    s->pool.ready = db->ready;
    s->pool.arg = db->arg;
    tr_buf_init(&s->text, TEXT_MAX);
    tr_people_init(&s->people, &state_people_ops, s);
    tr_groups_init(&s->groups, &state_groups_ops, s);
    s->session_room = malloc(sizeof(*s->session_room));
    enum tr_rc rc = s->session_room == NULL ? tr_fail_oom(err) : TR_OK;
    if (rc == TR_OK)
        rc = cache_init(&s->persons, &state_person_ops, s, &s->pool, 3, err);
    if (rc == TR_OK)
        rc = cache_init(&s->mappings, &state_mapping_ops, s, &s->pool, 1, err);
    if (rc == TR_OK)
        rc = cache_init(&s->sessions, &state_session_ops, s, &s->pool, 4, err);
    for (size_t i = 0; i < SQL_STATEMENTS && rc == TR_OK; i++)
        rc = store_sql_prepare(db->db, statements[i], &s->sql[i], err);
    if (rc == TR_OK)
        rc = read_next(s, err);
    if (rc != TR_OK) {
        state_free(s);
        return rc;
    }
    *ret = s;
    return TR_OK;
}

void state_free(struct state *s)
{
    if (s == NULL)
        return;
    state_forget_types(s);
    free(s->types);
    cache_fini(&s->persons);
    cache_fini(&s->mappings);
    cache_fini(&s->sessions);
    free(s->session_room);
    free(s->warnings);
    tr_people_fini(&s->people);
    tr_groups_fini(&s->groups);
    tr_buf_fini(&s->text);
    for (size_t i = 0; i < SQL_STATEMENTS; i++)
        (void)sqlite3_finalize(s->sql[i]);
    free(s);
}

/* ---- writing ---- */

size_t state_dirty_bytes(const struct state *s)
{
    return s->pool.dirty_bytes;
}

enum tr_rc state_copy(struct state *s, struct cache_image *ret_persons,
                      struct cache_image *ret_sessions, struct tr_err *err)
{
    s->pool.copies++;
    s->pool.is_saving = true;
    enum tr_rc rc = cache_copy(&s->persons, ret_persons, err);
    if (rc == TR_OK)
        rc = cache_copy(&s->sessions, ret_sessions, err);
    if (rc != TR_OK)
        cache_image_fini(ret_persons);
    return rc;
}

void state_saved(struct state *s)
{
    s->pool.is_saving = false;
}

void state_forget(struct state *s)
{
    struct tr_err ignored;

    s->pool.is_saving = false;
    s->n_warnings = 0;
    cache_forget(&s->persons);
    cache_forget(&s->mappings);
    cache_forget(&s->sessions);
    state_forget_types(s);
    for (size_t i = 0; i < SQL_STATEMENTS; i++)
        (void)sqlite3_reset(s->sql[i]);
    /* Rows that were given out are not in the database any more; higher ones do as well. */
    (void)!read_next(s, &ignored);
}

enum tr_rc state_find_person(struct state *s, int32_t project, struct tr_str distinct_id,
                             const struct tr_uuid *id, struct tr_person *ret, bool *ret_found,
                             struct tr_err *err)
{
    struct mapping_entry *m = NULL;
    struct person_entry *e = NULL;
    enum tr_rc rc = TR_OK;

    if (id != NULL)
        return s->people.ops->person_by_id(s, project, id, ret, ret_found, err);
    rc = state_mapping(s, project, distinct_id, state_hash(project, distinct_id.p, distinct_id.n),
                       &m, err);
    if (rc == TR_OK && m != NULL && m->m.person != 0 && !m->m.deleted)
        rc = state_person(s, project, m->m.person, &e, err);
    *ret_found = rc == TR_OK && e != NULL;
    if (*ret_found)
        *ret = e->p;
    return rc;
}
