/* The keeper of identity/groups.h. Types are few and kept in memory; groups are read and written
 * one by one: $groupidentify is rare. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "store/state_priv.h"

void state_forget_types(struct state *s)
{
    for (size_t i = 0; i < s->n_types; i++)
        for (size_t k = 0; k < s->types[i].types.n; k++)
            free((void *)(uintptr_t)s->types[i].types.name[k].p);
    s->n_types = 0;
}

static enum tr_rc own_name(struct tr_group_types *t, struct tr_str name, struct tr_err *err)
{
    char *p = malloc(name.n + 1);

    if (p == NULL)
        return tr_fail_oom(err);
    memcpy(p, name.p, name.n);
    t->name[t->n++] = (struct tr_str){ p, name.n };
    return TR_OK;
}

static enum tr_rc read_types(struct state *s, struct known_types *k, struct tr_err *err)
{
    sqlite3_stmt *q;
    bool more = true;
    enum tr_rc rc = state_sql(s, SQL_GROUP_TYPES, &q, err);

    if (rc != TR_OK)
        return rc;
    (void)sqlite3_bind_int64(q, 1, k->project);
    while (rc == TR_OK && more) {
        rc = store_sql_row(q, &more, err);
        if (rc == TR_OK && more && k->types.n < TR_GROUP_TYPES)
            rc = own_name(&k->types, state_column_text(q, 0), err);
    }
    (void)sqlite3_reset(q);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "read the group types of project %d", k->project);
}

static enum tr_rc find_types(struct state *s, int32_t project, struct known_types **ret,
                             struct tr_err *err)
{
    for (size_t i = 0; i < s->n_types; i++) {
        size_t at = (s->last_types + i) % s->n_types; /* mostly the same project again */
        *ret = &s->types[at];
        if (s->types[at].project == project) {
            s->last_types = at;
            return TR_OK;
        }
    }
    if (s->n_types == s->cap_types) {
        size_t cap = s->cap_types == 0 ? 16 : 2 * s->cap_types;
        struct known_types *grown = realloc(s->types, cap * sizeof(*grown));
        if (grown == NULL)
            return tr_fail_oom(err);
        s->types = grown;
        s->cap_types = cap;
    }
    *ret = &s->types[s->n_types++];
    **ret = (struct known_types){ .project = project };
    return read_types(s, *ret, err);
}

static enum tr_rc types(void *state, int32_t project, const struct tr_group_types **ret,
                        struct tr_err *err)
{
    struct known_types *k;
    enum tr_rc rc = find_types(state, project, &k, err);

    if (rc == TR_OK)
        *ret = &k->types;
    return rc;
}

enum tr_rc state_copy_types(struct state *s, int32_t project, struct tr_arena *names,
                            struct tr_group_types *ret, struct tr_err *err)
{
    const struct tr_group_types *all;
    enum tr_rc rc = types(s, project, &all, err);

    *ret = (struct tr_group_types){ 0 };
    for (size_t i = 0; rc == TR_OK && i < all->n; i++) {
        ret->name[i] = tr_arena_str(names, all->name[i]);
        if (ret->name[i].p == NULL)
            return tr_fail_oom(err);
        ret->n = i + 1;
    }
    return rc;
}

static enum tr_rc add_type(void *state, int32_t project, struct tr_str name, struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;
    struct known_types *k;
    enum tr_rc rc = find_types(s, project, &k, err);

    if (rc == TR_OK)
        rc = state_sql(s, SQL_GROUP_TYPE_PUT, &q, err);
    if (rc != TR_OK)
        return rc;
    (void)sqlite3_bind_int64(q, 1, project);
    (void)sqlite3_bind_int64(q, 2, (int64_t)k->types.n);
    state_bind_text(q, 3, name);
    rc = store_sql_run(q, err);
    return rc == TR_OK ? own_name(&k->types, name, err) : tr_wrap(err, "write a group type");
}

static enum tr_rc group(void *state, int32_t project, int type, struct tr_str key,
                        struct tr_group_row *ret, bool *ret_found, struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;

    if (state_sql(s, SQL_GROUP_GET, &q, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(q, 1, project);
    (void)sqlite3_bind_int(q, 2, type);
    state_bind_text(q, 3, key);
    enum tr_rc rc = store_sql_row(q, ret_found, err);
    if (rc != TR_OK || !*ret_found)
        return rc;
    tr_buf_clear(&s->text);
    tr_buf_str(&s->text, state_column_text(q, 2));
    *ret = (struct tr_group_row){
        .created_at = sqlite3_column_int64(q, 0),
        .version = sqlite3_column_int64(q, 1),
        .properties = tr_buf_view(&s->text),
    };
    (void)sqlite3_reset(q);
    return s->text.failed ? tr_fail_oom(err) : TR_OK;
}

static enum tr_rc keep(void *state, int32_t project, const struct tr_group_row *g,
                       struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;

    if (state_sql(s, SQL_GROUP_PUT, &q, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(q, 1, project);
    (void)sqlite3_bind_int(q, 2, g->type);
    state_bind_text(q, 3, g->key);
    (void)sqlite3_bind_int64(q, 4, g->created_at);
    (void)sqlite3_bind_int64(q, 5, g->version);
    (void)sqlite3_bind_int64(q, 6, g->changed_at);
    state_bind_text(q, 7, g->properties);
    enum tr_rc rc = store_sql_run(q, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "write a group");
}

const struct tr_groups_ops state_groups_ops = {
    .types = types, .add_type = add_type, .group = group, .keep = keep, .warn = state_warn
};
