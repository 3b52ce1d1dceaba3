/* Sessions: the records of identity/session.h behind a cache; written when the cache or the next
 * commit wants it. */
#include <stdlib.h>
#include <string.h>

#include "store/state_priv.h"

struct session_entry {
    struct cache_entry c; /* first */
    int32_t project;
    struct tr_uuid id;
    char *record;
    size_t cap;
};

struct session_key {
    int32_t project;
    struct tr_uuid id;
};

static struct session_entry *entry_of(struct cache_entry *c)
{
    return (struct session_entry *)(void *)c;
}

static bool session_is(const struct cache_entry *c, const void *key)
{
    const struct session_entry *e = (const struct session_entry *)(const void *)c;
    const struct session_key *k = key;

    return e->project == k->project && memcmp(e->id.b, k->id.b, sizeof(e->id.b)) == 0;
}

static void session_free(struct cache_entry *c)
{
    free(entry_of(c)->record);
    free(c);
}

static enum tr_rc session_write(void *owner, struct cache_entry *c, struct tr_err *err)
{
    struct state *s = owner;
    const struct session_entry *e = entry_of(c);
    sqlite3_stmt *q = s->sql[SQL_SESSION_PUT];

    (void)sqlite3_bind_int64(q, 1, e->project);
    (void)sqlite3_bind_blob(q, 2, e->id.b, sizeof(e->id.b), SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 3, tr_session_changed_at(e->record));
    (void)sqlite3_bind_blob64(q, 4, e->record, tr_session_size(e->record), SQLITE_STATIC);
    return store_sql_run(q, err);
}

static int session_compare(const void *a, const void *b)
{
    const struct session_entry *x = *(struct session_entry *const *)a;
    const struct session_entry *y = *(struct session_entry *const *)b;

    if (x->project != y->project)
        return x->project < y->project ? -1 : 1;
    return memcmp(x->id.b, y->id.b, sizeof(x->id.b));
}

const struct cache_ops state_session_ops = {
    .is = session_is, .write = session_write, .free = session_free, .compare = session_compare
};

static size_t session_bytes(const struct session_entry *e)
{
    return sizeof(*e) + e->cap + 48;
}

static bool own_record(struct session_entry *e, const char *record, size_t n)
{
    if (n > e->cap) {
        size_t cap = (n + n / 4 + 63) & ~(size_t)63; /* it will grow */
        char *p = realloc(e->record, cap);
        if (p == NULL)
            return false;
        e->record = p;
        e->cap = cap;
    }
    memcpy(e->record, record, n);
    return true;
}

static enum tr_rc add_session(struct state *s, const struct session_key *key, uint32_t hash,
                              const char *record, size_t n, bool dirty, struct session_entry **ret,
                              struct tr_err *err)
{
    struct session_entry *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return tr_fail_oom(err);
    e->project = key->project;
    e->id = key->id;
    if (!own_record(e, record, n)) {
        free(e);
        return tr_fail_oom(err);
    }
    e->c.hash = hash;
    e->c.bytes = (uint32_t)session_bytes(e);
    e->c.dirty = dirty;
    *ret = e;
    return cache_add(&s->sessions, &e->c, err);
}

/* NULL in *ret: this session is new. */
static enum tr_rc find_session(struct state *s, const struct session_key *key, uint32_t hash,
                               struct session_entry **ret, struct tr_err *err)
{
    sqlite3_stmt *q = s->sql[SQL_SESSION_GET];
    bool found;

    *ret = (struct session_entry *)(void *)cache_find(&s->sessions, hash, key);
    if (*ret != NULL)
        return TR_OK;
    (void)sqlite3_bind_int64(q, 1, key->project);
    (void)sqlite3_bind_blob(q, 2, key->id.b, sizeof(key->id.b), SQLITE_STATIC);
    enum tr_rc rc = store_sql_row(q, &found, err);
    if (rc != TR_OK || !found)
        return rc;
    const char *record = sqlite3_column_blob(q, 0);
    size_t n = (size_t)sqlite3_column_bytes(q, 0);
    if (record != NULL && tr_session_sound(record, n))
        rc = add_session(s, key, hash, record, n, false, ret, err);
    else
        rc = tr_fail(err, TR_REFUSED, "store.damaged",
                     "run tailrace store check; restore the data folder from a backup",
                     "state.db has a session that is not sound");
    (void)sqlite3_reset(q);
    return rc;
}

enum tr_rc state_session(struct state *s, const struct tr_event *e, const struct tr_facts *f,
                         struct tr_err *err)
{
    struct session_key key = { .project = e->project };
    struct session_entry *it;

    if (!tr_session_id(f, &key.id))
        return TR_OK;
    uint32_t hash = state_hash(e->project, key.id.b, sizeof(key.id.b));
    enum tr_rc rc = find_session(s, &key, hash, &it, err);
    if (rc != TR_OK)
        return rc;
    enum tr_session_change change =
        tr_session_apply(it == NULL ? NULL : it->record, e, f, s->session_room);
    if (change == TR_SESSION_SAME)
        return TR_OK;
    const char *built = s->session_room->record;
    if (it == NULL)
        return add_session(s, &key, hash, built, tr_session_size(built), true, &it, err);
    if (change == TR_SESSION_BUILT && !own_record(it, built, tr_session_size(built)))
        return tr_fail_oom(err);
    return cache_changed(&s->sessions, &it->c, session_bytes(it), err);
}
