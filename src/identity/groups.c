#include "identity/groups.h"

#include "base/utf8.h"
#include "identity/people.h"

enum { TEXT_MAX = 1 << 30, PROPERTIES_MAX = 1 << 30 }; /* an event's size is the limit */

void tr_groups_init(struct tr_groups *g, const struct tr_groups_ops *ops, void *keeper)
{
    *g = (struct tr_groups){ .ops = ops, .keeper = keeper };
    tr_props_init(&g->props);
    tr_buf_init(&g->type, TEXT_MAX);
    tr_buf_init(&g->key, TEXT_MAX);
}

void tr_groups_fini(struct tr_groups *g)
{
    tr_props_fini(&g->props);
    tr_buf_fini(&g->type);
    tr_buf_fini(&g->key);
}

static int index_of(const struct tr_group_types *types, struct tr_str name)
{
    for (size_t i = 0; i < types->n; i++)
        if (tr_str_eq(types->name[i], name))
            return (int)i;
    return -1;
}

static enum tr_rc warn(struct tr_groups *g, const struct tr_event *e, const char *type,
                       struct tr_str other, struct tr_err *err)
{
    return g->ops->warn(g->keeper, e->project, type, e->distinct_id, other, e->inserted_at, err);
}

static bool is_written(const struct tr_json_value *v)
{
    return v->type == TR_JSON_NUMBER || v->type == TR_JSON_TRUE || v->type == TR_JSON_FALSE;
}

/* Names nothing in a $groupidentify. */
static bool is_falsy(const struct tr_json_value *v)
{
    double number;

    return v == NULL || v->type == TR_JSON_FALSE || (tr_json_double(v, &number) && number == 0);
}

static bool fits(struct tr_str s)
{
    return tr_utf8_head(s, TR_GROUP_TEXT).n == s.n;
}

/* A type's name or a group's key: a text, or a number, true or false as it is written, not empty
 * and not too long. n == 0: it is none, and there is a warning if it was too long. */
static enum tr_rc name_of(struct tr_groups *g, const struct tr_event *e,
                          const struct tr_json_value *v, struct tr_buf *room, struct tr_str *ret,
                          struct tr_err *err)
{
    struct tr_str s = { NULL, 0 };

    *ret = s;
    if (v->type != TR_JSON_STRING && !is_written(v))
        return TR_OK;
    s = v->type == TR_JSON_STRING ? tr_json_text(v, room) : v->raw;
    if (s.p == NULL)
        return tr_fail_oom(err);
    if (!fits(s))
        return warn(g, e, "group_key_too_long", s, err);
    *ret = s;
    return TR_OK;
}

/* *ret is -1 when the project has five other types. */
static enum tr_rc type_index(struct tr_groups *g, const struct tr_event *e, struct tr_str name,
                             int *ret, struct tr_err *err)
{
    const struct tr_group_types *types;
    enum tr_rc rc = g->ops->types(g->keeper, e->project, &types, err);

    if (rc != TR_OK)
        return rc;
    *ret = index_of(types, name);
    if (*ret >= 0)
        return TR_OK;
    if (types->n == TR_GROUP_TYPES)
        return warn(g, e, "group_type_limit_exceeded", name, err);
    *ret = (int)types->n;
    return g->ops->add_type(g->keeper, e->project, name, err);
}

/* A member of $groups: its type may be new. */
static enum tr_rc see_type(struct tr_groups *g, const struct tr_event *e,
                           const struct tr_json_value *key, const struct tr_json_value *value,
                           struct tr_err *err)
{
    struct tr_str text;
    int index;
    enum tr_rc rc = name_of(g, e, value, &g->key, &text, err);

    if (rc == TR_OK && text.n > 0)
        rc = name_of(g, e, key, &g->type, &text, err);
    return rc == TR_OK && text.n > 0 ? type_index(g, e, text, &index, err) : rc;
}

static enum tr_rc see_types(struct tr_groups *g, const struct tr_event *e,
                            const struct tr_json_value *groups, struct tr_err *err)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more = true;

    tr_json_init(&j, groups->raw);
    enum tr_rc rc = tr_json_open_object(&j, err);
    while (rc == TR_OK && more) {
        rc = tr_json_member(&j, &key, &value, &more, err);
        if (rc == TR_OK && more)
            rc = see_type(g, e, &key, &value, err);
    }
    return rc;
}

static enum tr_rc keep(struct tr_groups *g, const struct tr_event *e, struct tr_group_row *group,
                       bool found, const struct tr_json_value *set, struct tr_err *err)
{
    bool trimmed = false;
    enum tr_rc rc = tr_props_load(&g->props, group->properties, err);

    if (rc == TR_OK && set != NULL && set->type == TR_JSON_OBJECT)
        rc = tr_props_set(&g->props, set->raw, false, err);
    if (rc != TR_OK || (found && tr_props_change(&g->props) == TR_PROPS_SAME))
        return rc;
    rc = tr_props_write(&g->props, &group->properties, &trimmed, err);
    if (rc != TR_OK)
        return rc;
    group->version += found;
    group->changed_at = e->inserted_at;
    rc = g->ops->keep(g->keeper, e->project, group, err);
    if (rc == TR_OK && trimmed)
        rc = warn(g, e, "group_upsert_message_size_too_large", group->key, err);
    return rc;
}

/* The index of the type and the text of the key that a $groupidentify names; -1: it names none. */
static enum tr_rc named(struct tr_groups *g, const struct tr_event *e, const struct tr_facts *f,
                        int *ret_index, struct tr_str *ret_key, struct tr_err *err)
{
    const struct tr_json_value *type = tr_fact(f, TR_FACT_GROUP_TYPE);
    const struct tr_json_value *key = tr_fact(f, TR_FACT_GROUP_KEY);
    const struct tr_json_value *set = tr_fact(f, TR_FACT_GROUP_SET);
    struct tr_str name = { NULL, 0 };
    enum tr_rc rc = TR_OK;

    *ret_index = -1;
    *ret_key = name;
    if (!is_falsy(type))
        rc = name_of(g, e, type, &g->type, &name, err);
    if (rc == TR_OK && !is_falsy(key))
        rc = name_of(g, e, key, &g->key, ret_key, err);
    if (rc != TR_OK || name.n == 0 || ret_key->n == 0)
        return rc;
    if (set != NULL && set->type != TR_JSON_OBJECT && set->type != TR_JSON_NULL)
        return warn(g, e, "invalid_group_set", *ret_key, err);
    return type_index(g, e, name, ret_index, err);
}

static enum tr_rc identify(struct tr_groups *g, const struct tr_event *e, const struct tr_facts *f,
                           struct tr_err *err)
{
    struct tr_str key_text;
    struct tr_group_row group;
    bool found = false;
    int index;
    enum tr_rc rc = named(g, e, f, &index, &key_text, err);

    if (rc != TR_OK || index < 0)
        return rc;
    rc = g->ops->group(g->keeper, e->project, index, key_text, &group, &found, err);
    if (rc != TR_OK)
        return rc;
    if (!found)
        group = (struct tr_group_row){ .created_at = e->timestamp };
    group.type = index;
    group.key = key_text;
    return keep(g, e, &group, found, tr_fact(f, TR_FACT_GROUP_SET), err);
}

enum tr_rc tr_groups_event(struct tr_groups *g, const struct tr_event *e, const struct tr_facts *f,
                           struct tr_err *err)
{
    const struct tr_json_value *groups = tr_fact(f, TR_FACT_GROUPS);
    enum tr_rc rc = TR_OK;

    if (groups != NULL && groups->type == TR_JSON_OBJECT && tr_people_is_full(e, f))
        rc = see_types(g, e, groups, err);
    return rc == TR_OK && tr_str_is(e->event, "$groupidentify") ? identify(g, e, f, err) : rc;
}

/* false: no memory. ret->p == NULL: the value is no key of a group. */
static bool key_of(const struct tr_json_value *v, struct tr_arena *texts, struct tr_str *ret)
{
    struct tr_str s = { NULL, 0 };

    *ret = s;
    if (is_written(v))
        s = v->raw;
    else if (v->type == TR_JSON_STRING && (v->flags & TR_JSON_ESCAPES) == 0)
        s = (struct tr_str){ v->raw.p + 1, v->raw.n - 2 };
    else if (v->type == TR_JSON_STRING) {
        char *room = tr_arena_alloc(texts, v->raw.n);
        if (room == NULL)
            return false;
        s = (struct tr_str){ room, tr_json_text_copy(v, room) };
    }
    if (s.n > 0 && fits(s))
        *ret = s;
    return true;
}

bool tr_groups_of(struct tr_str groups, const struct tr_group_types *types, struct tr_arena *texts,
                  struct tr_str ret[TR_GROUP_TYPES])
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more = true;

    memset(ret, 0, TR_GROUP_TYPES * sizeof(*ret));
    tr_json_init(&j, groups);
    if (tr_json_open_object(&j, NULL) != TR_OK)
        return true;
    while (tr_json_member(&j, &key, &value, &more, NULL) == TR_OK && more)
        for (size_t i = 0; i < types->n; i++)
            if (tr_json_text_is(&key, types->name[i]) && !key_of(&value, texts, &ret[i]))
                return false;
    return true;
}
