/* The keeper of identity/people.h: persons by row and mappings by distinct id. What is new and what
 * is dead is written at once, so that looking by id in the database finds it; a person that only
 * changed is written when the cache or the next commit wants it. Mappings are always written. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "store/state_priv.h"

enum { PERSON_IDENTIFIED = 1, PERSON_DELETED = 2 };

/* ---- persons ---- */

struct person_key {
    int32_t project;
    int64_t row;
};

static bool person_is(const struct cache_entry *c, const void *key)
{
    return ((const struct person_entry *)(const void *)c)->p.row == *(const int64_t *)key;
}

static enum tr_rc person_write(void *owner, const struct cache_entry *c, struct tr_err *err)
{
    struct state *s = owner;
    const struct person_entry *e = (const struct person_entry *)(const void *)c;
    sqlite3_stmt *q = s->sql[c->stored ? SQL_PERSON_SET : SQL_PERSON_ADD];

    (void)sqlite3_bind_int64(q, 1, e->p.row);
    (void)sqlite3_bind_int64(q, 2, e->p.created_at);
    (void)sqlite3_bind_int64(q, 3, e->p.version);
    (void)sqlite3_bind_int64(q, 4, e->p.changed_at);
    (void)sqlite3_bind_int(
        q, 5, (e->p.identified ? PERSON_IDENTIFIED : 0) | (e->p.deleted ? PERSON_DELETED : 0));
    state_bind_text(q, 6, (struct tr_str){ e->text, e->p.properties.n });
    if (!c->stored) {
        (void)sqlite3_bind_int64(q, 7, e->project);
        (void)sqlite3_bind_blob(q, 8, e->p.id.b, sizeof(e->p.id.b), SQLITE_STATIC);
    }
    return store_sql_run(q, err);
}

static int person_compare(const void *a, const void *b)
{
    const struct person_entry *x = *(struct person_entry *const *)a;
    const struct person_entry *y = *(struct person_entry *const *)b;

    return (x->p.row > y->p.row) - (x->p.row < y->p.row);
}

const struct cache_ops state_person_ops = { .is = person_is,
                                            .write = person_write,
                                            .compare = person_compare };

/* With some room for properties to grow. */
static size_t person_bytes(size_t properties)
{
    return (sizeof(struct person_entry) + properties + properties / 16 + 15) & ~(size_t)15;
}

static void put_person(struct person_entry *e, const struct tr_person *p)
{
    e->p = *p;
    memcpy(e->text, p->properties.p, p->properties.n);
    e->p.properties.p = e->text;
}

void state_person_of_row(sqlite3_stmt *q, struct tr_person *ret)
{
    int flags = sqlite3_column_int(q, 5);
    const void *id = sqlite3_column_blob(q, 1);

    *ret = (struct tr_person){
        .row = sqlite3_column_int64(q, 0),
        .created_at = sqlite3_column_int64(q, 2),
        .version = sqlite3_column_int64(q, 3),
        .changed_at = sqlite3_column_int64(q, 4),
        .identified = (flags & PERSON_IDENTIFIED) != 0,
        .deleted = (flags & PERSON_DELETED) != 0,
        .properties = state_column_text(q, 6),
    };
    if (id != NULL && sqlite3_column_bytes(q, 1) == TR_UUID_BYTES)
        memcpy(ret->id.b, id, TR_UUID_BYTES);
}

/* For the cache; NULL without memory. */
static struct person_entry *make_person(int32_t project, const struct tr_person *p, bool stored)
{
    size_t bytes = person_bytes(p->properties.n);
    struct person_entry *e = malloc(bytes);

    if (e == NULL)
        return NULL;
    *e = (struct person_entry){
        .c = { .hash = person_hash(p->row),
               .bytes = (uint32_t)bytes,
               .dirty = !stored,
               .stored = stored },
        .project = project,
    };
    put_person(e, p);
    return e;
}

/* It is another one now: nothing that was noted of it holds. */
static enum tr_rc change_person(struct state *s, struct person_entry **e, const struct tr_person *p,
                                struct tr_err *err)
{
    struct cache_entry *c = &(*e)->c;
    size_t room = c->bytes - sizeof(**e);

    if (p->properties.n > room || room > 2 * p->properties.n + 256)
        c = cache_resize(&s->persons, c, person_bytes(p->properties.n));
    if (c == NULL)
        return tr_fail_oom(err);
    *e = (struct person_entry *)(void *)c;
    put_person(*e, p);
    (*e)->place = (struct asof_place){ 0 };
    (*e)->settled = 0;
    return cache_changed(&s->persons, c, err);
}

enum tr_rc state_person(struct state *s, int32_t project, int64_t row, struct person_entry **ret,
                        struct tr_err *err)
{
    struct tr_person p;
    bool found;

    *ret = (struct person_entry *)(void *)cache_find(&s->persons, person_hash(row), &row);
    if (*ret != NULL)
        return TR_OK;
    sqlite3_stmt *q = state_look(s, SQL_PERSON_GET);
    (void)sqlite3_bind_int64(q, 1, row);
    enum tr_rc rc = store_sql_row(q, &found, err);
    if (rc == TR_OK && found) {
        state_person_of_row(q, &p);
        *ret = make_person(project, &p, true);
        rc = *ret == NULL ? tr_fail_oom(err) : TR_OK;
    }
    state_looked(s, q);
    return *ret == NULL ? rc : cache_add(&s->persons, &(*ret)->c, err);
}

static enum tr_rc get_person(void *state, int32_t project, int64_t row, struct tr_person *ret,
                             struct tr_err *err)
{
    struct person_entry *e;
    enum tr_rc rc = state_person(state, project, row, &e, err);

    if (rc == TR_OK && e == NULL)
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "state.db has no person %lld", (long long)row);
    if (rc == TR_OK)
        *ret = e->p;
    return rc;
}

static enum tr_rc person_by_id(void *state, int32_t project, const struct tr_uuid *id,
                               struct tr_person *ret, bool *ret_found, struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q = state_look(s, SQL_PERSON_BY_ID);
    int64_t row = 0;

    (void)sqlite3_bind_int64(q, 1, project);
    (void)sqlite3_bind_blob(q, 2, id->b, sizeof(id->b), SQLITE_STATIC);
    enum tr_rc rc = store_sql_row(q, ret_found, err);
    if (rc == TR_OK && *ret_found)
        row = sqlite3_column_int64(q, 0);
    state_looked(s, q);
    return rc == TR_OK && *ret_found ? get_person(state, project, row, ret, err) : rc;
}

static enum tr_rc keep_person(void *state, int32_t project, struct tr_person *p, struct tr_err *err)
{
    struct state *s = state;
    struct person_entry *e = NULL;
    bool is_new = p->row == 0;
    bool at_once = is_new || p->deleted;
    enum tr_rc rc;

    if (is_new) {
        p->row = s->next_person++;
        e = make_person(project, p, false);
        rc = e == NULL ? tr_fail_oom(err) : cache_add(&s->persons, &e->c, err);
    } else {
        rc = state_person(s, project, p->row, &e, err);
        if (rc == TR_OK) {
            at_once = at_once || e->p.deleted;
            rc = change_person(s, &e, p, err);
        }
    }
    return rc == TR_OK && at_once ? cache_write_one(&s->persons, &e->c, err) : rc;
}

/* ---- mappings ---- */

struct mapping_key {
    int32_t project;
    struct tr_str distinct_id;
};

static bool mapping_is(const struct cache_entry *c, const void *key)
{
    const struct mapping_entry *e = (const struct mapping_entry *)(const void *)c;
    const struct mapping_key *k = key;

    return e->project == k->project && e->n == k->distinct_id.n &&
           memcmp(e->distinct_id, k->distinct_id.p, e->n) == 0;
}

static enum tr_rc mapping_write(void *owner, const struct cache_entry *c, struct tr_err *err)
{
    (void)owner;
    (void)c;
    return tr_fail(err, TR_INTERNAL, "store.mapping", NULL, "a mapping that was not written");
}

const struct cache_ops state_mapping_ops = { .is = mapping_is, .write = mapping_write };

static struct mapping_entry *find_mapping(struct state *s, int32_t project, struct tr_str id,
                                          uint32_t hash)
{
    struct mapping_key key = { project, id };

    return (struct mapping_entry *)(void *)cache_find(&s->mappings, hash, &key);
}

static enum tr_rc add_mapping(struct state *s, int32_t project, struct tr_str id, uint32_t hash,
                              const struct tr_mapping *m, struct mapping_entry **ret,
                              struct tr_err *err)
{
    size_t bytes = sizeof(struct mapping_entry) + id.n;
    struct mapping_entry *e = malloc(bytes);

    if (e == NULL)
        return tr_fail_oom(err);
    *e = (struct mapping_entry){
        .c = { .hash = hash, .bytes = (uint32_t)bytes },
        .project = project,
        .m = *m,
        .n = (uint32_t)id.n,
    };
    memcpy(e->distinct_id, id.p, id.n);
    *ret = e;
    return cache_add(&s->mappings, &e->c, err);
}

enum tr_rc state_mapping(struct state *s, int32_t project, struct tr_str distinct_id, uint32_t hash,
                         struct mapping_entry **ret, struct tr_err *err)
{
    struct tr_mapping m = { 0 };
    bool found;

    *ret = find_mapping(s, project, distinct_id, hash);
    if (*ret != NULL)
        return TR_OK;
    sqlite3_stmt *q = state_look(s, SQL_MAPPING_GET);
    (void)sqlite3_bind_int64(q, 1, project);
    state_bind_text(q, 2, distinct_id);
    enum tr_rc rc = store_sql_row(q, &found, err);
    if (rc == TR_OK && found)
        m = (struct tr_mapping){
            .person = sqlite3_column_int64(q, 0),
            .version = sqlite3_column_int64(q, 1),
            .changed_at = sqlite3_column_int64(q, 2),
            .deleted = sqlite3_column_int(q, 3) != 0,
        };
    state_looked(s, q);
    return rc == TR_OK && found ? add_mapping(s, project, distinct_id, hash, &m, ret, err) : rc;
}

static enum tr_rc get_mapping(void *state, int32_t project, struct tr_str distinct_id,
                              struct tr_mapping *ret, bool *ret_found, struct tr_err *err)
{
    struct mapping_entry *e;
    uint32_t hash = state_hash(project, distinct_id.p, distinct_id.n);
    enum tr_rc rc = state_mapping(state, project, distinct_id, hash, &e, err);

    *ret_found = rc == TR_OK && e != NULL;
    if (*ret_found)
        *ret = e->m;
    return rc;
}

/* The person changed at that instant too, or later: it speaks for its mapping. */
static bool person_tells(struct state *s, const struct tr_mapping *m)
{
    if (m->person == 0)
        return true;
    const struct person_entry *e = (const struct person_entry *)(const void *)cache_find(
        &s->persons, person_hash(m->person), &m->person);
    return e != NULL && e->p.changed_at >= m->changed_at;
}

static enum tr_rc map(void *state, int32_t project, struct tr_str distinct_id,
                      const struct tr_mapping *m, struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;
    uint32_t hash = state_hash(project, distinct_id.p, distinct_id.n);
    struct mapping_entry *e = find_mapping(s, project, distinct_id, hash);

    if (state_sql(s, SQL_MAPPING_PUT, &q, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(q, 1, project);
    state_bind_text(q, 2, distinct_id);
    (void)sqlite3_bind_int64(q, 3, m->person);
    (void)sqlite3_bind_int64(q, 4, m->version);
    if (person_tells(s, m))
        (void)sqlite3_bind_null(q, 5);
    else
        (void)sqlite3_bind_int64(q, 5, m->changed_at);
    (void)sqlite3_bind_int(q, 6, m->deleted);
    if (store_sql_run(q, err) != TR_OK)
        return tr_wrap(err, "write a mapping");
    if (e == NULL)
        return add_mapping(s, project, distinct_id, hash, m, &e, err);
    e->m = *m;
    return TR_OK;
}

/* Runs an UPDATE that gives back which distinct ids it met and what they are now; those that the
 * cache has are set right. */
static enum tr_rc update_mappings(struct state *s, int32_t project, sqlite3_stmt *q, int64_t at,
                                  struct tr_err *err)
{
    bool more = true;
    enum tr_rc rc = TR_OK;

    while (rc == TR_OK && more) {
        rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more)
            break;
        struct tr_str id = state_column_text(q, 0);
        struct mapping_entry *e = find_mapping(s, project, id, state_hash(project, id.p, id.n));
        if (e != NULL)
            e->m = (struct tr_mapping){
                .person = sqlite3_column_int64(q, 1),
                .version = sqlite3_column_int64(q, 2),
                .changed_at = at,
                .deleted = sqlite3_column_int(q, 3) != 0,
            };
    }
    return rc == TR_OK ? TR_OK : tr_wrap(err, "update mappings");
}

/* Both are told after their person was kept: its instant of change is theirs. */
static enum tr_rc move(void *state, int32_t project, int64_t from, int64_t to, int64_t at,
                       struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;

    if (state_sql(s, SQL_MAPPING_MOVE, &q, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(q, 1, to);
    (void)sqlite3_bind_int64(q, 2, from);
    return update_mappings(s, project, q, at, err);
}

static enum tr_rc unmap(void *state, int32_t project, int64_t person, int64_t at,
                        struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;

    if (state_sql(s, SQL_MAPPING_UNMAP, &q, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(q, 1, person);
    return update_mappings(s, project, q, at, err);
}

const struct tr_people_ops state_people_ops = {
    .mapping = get_mapping,
    .map = map,
    .person = get_person,
    .person_by_id = person_by_id,
    .keep = keep_person,
    .move = move,
    .unmap = unmap,
    .warn = state_warn,
};
