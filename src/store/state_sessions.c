/* Sessions: the records of identity/session.h behind a cache; written when the cache or the next
 * commit wants it. */
#include <stdlib.h>
#include <string.h>

#include "store/state_priv.h"

struct session_entry {
    struct cache_entry c; /* first */
    int32_t project;
    struct tr_uuid id;
    int64_t n; /* its row */
    char record[];
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

static enum tr_rc session_write(void *owner, const struct cache_entry *c, struct tr_err *err)
{
    struct state *s = owner;
    const struct session_entry *e = (const struct session_entry *)(const void *)c;
    sqlite3_stmt *q = s->sql[c->stored ? SQL_SESSION_SET : SQL_SESSION_ADD];

    (void)sqlite3_bind_int64(q, 1, e->n);
    (void)sqlite3_bind_int64(q, 2, tr_session_changed_at(e->record));
    (void)sqlite3_bind_blob64(q, 3, e->record, tr_session_size(e->record), SQLITE_STATIC);
    if (!c->stored) {
        (void)sqlite3_bind_int64(q, 4, e->project);
        (void)sqlite3_bind_blob(q, 5, e->id.b, sizeof(e->id.b), SQLITE_STATIC);
    }
    return store_sql_run(q, err);
}

static int session_compare(const void *a, const void *b)
{
    const struct session_entry *x = *(struct session_entry *const *)a;
    const struct session_entry *y = *(struct session_entry *const *)b;

    return (x->n > y->n) - (x->n < y->n);
}

const struct cache_ops state_session_ops = { .is = session_is,
                                             .write = session_write,
                                             .compare = session_compare };

/* With some room for the record to grow. */
static size_t session_bytes(size_t record)
{
    return (sizeof(struct session_entry) + record + record / 8 + 15) & ~(size_t)15;
}

/* For the cache; row 0: it is new. NULL without memory. */
static struct session_entry *make_session(struct state *s, const struct session_key *key,
                                          uint32_t hash, int64_t row, const char *record)
{
    size_t n = tr_session_size(record);
    size_t bytes = session_bytes(n);
    struct session_entry *e = malloc(bytes);

    if (e == NULL)
        return NULL;
    *e = (struct session_entry){
        .c = { .hash = hash, .bytes = (uint32_t)bytes, .dirty = row == 0, .stored = row != 0 },
        .project = key->project,
        .id = key->id,
        .n = row != 0 ? row : s->next_session++,
    };
    memcpy(e->record, record, n);
    return e;
}

/* A record takes the place of the one before. */
static enum tr_rc change_session(struct state *s, struct session_entry **e, const char *record,
                                 struct tr_err *err)
{
    size_t n = tr_session_size(record);

    if (n > (*e)->c.bytes - sizeof(**e))
        *e = entry_of(cache_resize(&s->sessions, &(*e)->c, session_bytes(n)));
    if (*e == NULL)
        return tr_fail_oom(err);
    memcpy((*e)->record, record, n);
    return TR_OK;
}

static enum tr_rc session_of_row(struct state *s, sqlite3_stmt *q, const struct session_key *key,
                                 uint32_t hash, struct session_entry **ret, struct tr_err *err)
{
    const char *record = sqlite3_column_blob(q, 1);

    if (record == NULL || !tr_session_sound(record, (size_t)sqlite3_column_bytes(q, 1)))
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "state.db has a session that is not sound");
    *ret = make_session(s, key, hash, sqlite3_column_int64(q, 0), record);
    return *ret == NULL ? tr_fail_oom(err) : TR_OK;
}

/* NULL in *ret: this session is new. */
static enum tr_rc find_session(struct state *s, const struct session_key *key, uint32_t hash,
                               struct session_entry **ret, struct tr_err *err)
{
    bool found;

    *ret = (struct session_entry *)(void *)cache_find(&s->sessions, hash, key);
    if (*ret != NULL)
        return TR_OK;
    sqlite3_stmt *q = state_look(s, SQL_SESSION_GET);
    (void)sqlite3_bind_int64(q, 1, key->project);
    (void)sqlite3_bind_blob(q, 2, key->id.b, sizeof(key->id.b), SQLITE_STATIC);
    enum tr_rc rc = store_sql_row(q, &found, err);
    if (rc == TR_OK && found)
        rc = session_of_row(s, q, key, hash, ret, err);
    state_looked(s, q);
    return *ret == NULL ? rc : cache_add(&s->sessions, &(*ret)->c, err);
}

enum tr_rc state_session(struct state *s, const struct tr_event *e, const struct tr_facts *f,
                         const struct session_key *key, uint32_t hash, struct tr_err *err)
{
    struct session_entry *it;
    enum tr_rc rc = find_session(s, key, hash, &it, err);
    if (rc != TR_OK)
        return rc;
    enum tr_session_change change =
        tr_session_apply(it == NULL ? NULL : it->record, e, f, s->session_room);
    if (change == TR_SESSION_SAME)
        return TR_OK;
    const char *built = s->session_room->record;
    if (it == NULL) {
        it = make_session(s, key, hash, 0, built);
        return it == NULL ? tr_fail_oom(err) : cache_add(&s->sessions, &it->c, err);
    }
    if (change == TR_SESSION_BUILT)
        rc = change_session(s, &it, built, err);
    return rc == TR_OK ? cache_changed(&s->sessions, &it->c, err) : rc;
}
