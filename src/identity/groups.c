#include "identity/groups.h"

#include "base/utf8.h"

enum { TEXT_MAX = 1 << 20, PROPERTIES_MAX = 1 << 30 };

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

/* A type's name or a group's key: a text or a number, not empty, not too long. */
static bool is_text(const struct tr_json_value *v)
{
    return v != NULL && (v->type == TR_JSON_STRING || v->type == TR_JSON_NUMBER);
}

static struct tr_str text_of(const struct tr_json_value *v, struct tr_buf *room)
{
    return v->type == TR_JSON_NUMBER ? v->raw : tr_json_text(v, room);
}

static bool fits(struct tr_str s)
{
    return s.n > 0 && tr_utf8_head(s, TR_GROUP_TEXT).n == s.n;
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
        return g->ops->warn(g->keeper, e->project, "group_type_limit", e->distinct_id, name,
                            e->inserted_at, err);
    *ret = (int)types->n;
    return g->ops->add_type(g->keeper, e->project, name, err);
}

/* Types that appear in $groups for the first time. */
static enum tr_rc see_types(struct tr_groups *g, const struct tr_event *e,
                            const struct tr_json_value *groups, struct tr_err *err)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more = true;
    int index;

    tr_json_init(&j, groups->raw);
    enum tr_rc rc = tr_json_open_object(&j, err);
    while (rc == TR_OK && more) {
        rc = tr_json_member(&j, &key, &value, &more, err);
        if (rc != TR_OK || !more || !is_text(&value))
            continue;
        struct tr_str name = tr_json_text(&key, &g->type);
        if (name.p == NULL)
            return tr_fail_oom(err);
        if (fits(name))
            rc = type_index(g, e, name, &index, err);
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
        rc = g->ops->warn(g->keeper, e->project, "group_properties_trimmed", e->distinct_id,
                          group->key, e->inserted_at, err);
    return rc;
}

static enum tr_rc identify(struct tr_groups *g, const struct tr_event *e, const struct tr_facts *f,
                           struct tr_err *err)
{
    const struct tr_json_value *type = tr_fact(f, TR_FACT_GROUP_TYPE);
    const struct tr_json_value *key = tr_fact(f, TR_FACT_GROUP_KEY);
    struct tr_group_row group;
    bool found = false;
    int index = -1;

    if (!is_text(type) || !is_text(key))
        return TR_OK;
    struct tr_str type_text = text_of(type, &g->type);
    struct tr_str key_text = text_of(key, &g->key);
    if (type_text.p == NULL || key_text.p == NULL)
        return tr_fail_oom(err);
    if (!fits(type_text) || !fits(key_text))
        return g->ops->warn(g->keeper, e->project, "group_key_too_long", e->distinct_id, type_text,
                            e->inserted_at, err);
    enum tr_rc rc = type_index(g, e, type_text, &index, err);
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
    const struct tr_json_value *flag = tr_fact(f, TR_FACT_PROCESS_PERSON_PROFILE);
    enum tr_rc rc = TR_OK;

    if (groups != NULL && groups->type == TR_JSON_OBJECT)
        rc = see_types(g, e, groups, err);
    if (rc == TR_OK && tr_str_is(e->event, "$groupidentify") &&
        (flag == NULL || flag->type != TR_JSON_FALSE))
        rc = identify(g, e, f, err);
    return rc;
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
    while (tr_json_member(&j, &key, &value, &more, NULL) == TR_OK && more) {
        for (size_t i = 0; is_text(&value) && i < types->n; i++) {
            if (!tr_json_text_is(&key, types->name[i]))
                continue;
            ret[i] = value.type == TR_JSON_NUMBER
                         ? value.raw
                         : (struct tr_str){ value.raw.p + 1, value.raw.n - 2 };
            if (value.type == TR_JSON_STRING && (value.flags & TR_JSON_ESCAPES) != 0) {
                char *room = tr_arena_alloc(texts, value.raw.n);
                if (room == NULL)
                    return false;
                ret[i] = (struct tr_str){ room, tr_json_text_copy(&value, room) };
            }
        }
    }
    return true;
}
