#include "identity/people.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/json_valid.h"
#include "base/utf8.h"

enum {
    COPY_MAX = 1 << 30,
    ID_MAX = 1 << 30,   /* an event's size is the limit */
    DELETED = 100,      /* what a deletion adds to a version */
    MERGE_ID_MAX = 400, /* characters of the other id of a merge */
};

/* What an event's name asks for. */
enum kind {
    KIND_OTHER,
    KIND_IDENTIFY,
    KIND_ALIAS, /* or $merge_dangerously */
    KIND_MERGE,
    KIND_SET,
    KIND_GROUP,
    KIND_FLAG,   /* makes no person */
    KIND_SILENT, /* never changes a person */
    KIND_TELLS,  /* tells of a client's trouble, and of nobody */
};

static enum kind kind_of(struct tr_str event)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = {
        { "$identify", KIND_IDENTIFY },
        { "$create_alias", KIND_ALIAS },
        { "$set", KIND_SET },
        { "$merge_dangerously", KIND_MERGE },
        { "$exception", KIND_SILENT },
        { "$groupidentify", KIND_GROUP },
        { "$$heatmap", KIND_SILENT },
        { "$feature_flag_called", KIND_FLAG },
        { "$$client_ingestion_warning", KIND_TELLS },
    };

    if (event.n == 0 || event.p[0] != '$')
        return KIND_OTHER;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (tr_str_is(event, kinds[i].name))
            return kinds[i].kind;
    return KIND_OTHER;
}

static bool is_personless(const struct tr_facts *f)
{
    const struct tr_json_value *v = tr_fact(f, TR_FACT_PROCESS_PERSON_PROFILE);

    return v != NULL && v->type == TR_JSON_FALSE;
}

static bool is_merge(enum kind kind)
{
    return kind == KIND_IDENTIFY || kind == KIND_ALIAS || kind == KIND_MERGE;
}

static bool is_text_or_null(const struct tr_json_value *v)
{
    return v == NULL || v->type == TR_JSON_STRING || v->type == TR_JSON_NULL;
}

/* The public server drops such an event. Here it is kept, but does nothing to persons. NULL: it is
 * none; else the warning about it. */
static const char *refusal(enum kind kind, const struct tr_facts *f)
{
    if (!is_merge(kind))
        return NULL;
    if (!is_text_or_null(tr_fact(f, TR_FACT_ANON_DISTINCT_ID)))
        return "invalid_anon_distinct_id";
    if (!is_text_or_null(tr_fact(f, TR_FACT_ALIAS)))
        return "invalid_alias";
    return is_personless(f) ? "invalid_event_when_process_person_profile_is_false" : NULL;
}

/* The same of a $groupidentify; the warning is that of identity/groups.c. */
static bool has_too_long_key(const struct tr_facts *f)
{
    const struct tr_json_value *v = tr_fact(f, TR_FACT_GROUP_KEY);
    char room[4 * (MERGE_ID_MAX + 1)];

    if (v == NULL || v->raw.n <= MERGE_ID_MAX)
        return false;
    struct tr_str text = v->raw;
    if (v->type == TR_JSON_STRING)
        text = (struct tr_str){ room, tr_json_text_head(v, room, sizeof(room)) };
    return (v->type == TR_JSON_STRING || v->type == TR_JSON_NUMBER) &&
           tr_utf8_head(text, MERGE_ID_MAX).n < text.n;
}

static bool is_full(enum kind kind, const struct tr_facts *f)
{
    return kind != KIND_TELLS && !is_personless(f) && refusal(kind, f) == NULL &&
           (kind != KIND_GROUP || !has_too_long_key(f));
}

bool tr_people_is_full(const struct tr_event *e, const struct tr_facts *f)
{
    return is_full(kind_of(e->event), f);
}

enum tr_rc tr_people_shown(struct tr_props *p, const struct tr_event *e, struct tr_str properties,
                           struct tr_str *ret, struct tr_err *err)
{
    enum kind kind = kind_of(e->event);
    struct tr_facts f;

    tr_facts_read(e->properties, &f);
    if (!is_full(kind, &f)) {
        *ret = TR_STR("{}");
        return TR_OK;
    }
    if (kind == KIND_GROUP) {
        *ret = properties;
        return TR_OK;
    }
    return tr_props_overlay(p, properties, &f, ret, err);
}

void tr_people_init(struct tr_people *p, const struct tr_people_ops *ops, void *keeper)
{
    *p = (struct tr_people){ .ops = ops, .keeper = keeper };
    tr_props_init(&p->props);
    tr_buf_init(&p->other, COPY_MAX);
}

void tr_people_fini(struct tr_people *p)
{
    tr_props_fini(&p->props);
    tr_buf_fini(&p->other);
}

void tr_person_id(int32_t project, struct tr_str distinct_id, struct tr_uuid *ret)
{
    /* the namespace that PostHog uses, so that its ids and ours are the same */
    static const struct tr_uuid space = { { 0x93, 0x29, 0x79, 0xb4, 0x65, 0xc3, 0x44, 0x24, 0x84,
                                            0x67, 0x0b, 0x66, 0xec, 0x27, 0xbc, 0x22 } };
    char text[16];
    int n = snprintf(text, sizeof(text), "%d:", (int)project);

    tr_uuid_v5_joined(&space, (struct tr_str){ text, (size_t)n }, distinct_id, ret);
}

/* A value that makes a difference to a person: noise does by being there and being no null. */
static uint64_t hash_automatic(const struct tr_facts *f, uint64_t h)
{
    uint64_t present = tr_facts_automatic(f);
    uint64_t there[2] = { present, tr_facts_names_os(f) };

    for (uint64_t left = present; left != 0; left &= left - 1)
        if (tr_fact_is_null(f, (enum tr_fact)__builtin_ctzll(left)))
            there[0] &= ~(left & -left);
    there[1] |= tr_fact_is_null(f, TR_FACT_OS_NAME) ? 2 : 0;
    h = tr_hash64(&present, sizeof(present), h);
    h = tr_hash64(there, sizeof(there), h);
    for (uint64_t left = present >> (TR_FACT_RAW_USER_AGENT + 1) << (TR_FACT_RAW_USER_AGENT + 1);
         left != 0; left &= left - 1) {
        const struct tr_json_value *v = &f->v[__builtin_ctzll(left)];
        h = tr_hash64(v->raw.p, v->raw.n, h);
    }
    return h;
}

bool tr_people_is_plain(const struct tr_event *e, const struct tr_facts *f, uint64_t *ret_hash)
{
    static const enum tr_fact said[] = { TR_FACT_SET, TR_FACT_SET_ONCE };
    enum kind kind = kind_of(e->event);

    if (is_merge(kind) || kind == KIND_SET || tr_fact(f, TR_FACT_UNSET) != NULL ||
        !is_full(kind, f))
        return false;
    if (kind == KIND_SILENT || kind == KIND_GROUP) {
        *ret_hash = 1; /* nothing of it matters */
        return true;
    }
    uint64_t h = hash_automatic(f, 2);
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        const struct tr_json_value *v = tr_fact(f, said[i]);
        if (v != NULL)
            h = tr_hash64(v->raw.p, v->raw.n, h + i);
    }
    *ret_hash = h;
    return true;
}

/* ---- one event at work ---- */

struct work {
    struct tr_people *p;
    const struct tr_event *e;
    const struct tr_facts *f;
    enum kind kind;
    struct tr_person person;
    bool fresh;   /* it has never been seen in this life: its version is what it begins with */
    bool touched; /* something besides its properties changed */
    bool trimmed;
};

/* A distinct id and what is known of it. */
struct end {
    struct tr_str id;
    struct tr_mapping m;
    bool found;  /* the mapping */
    bool living; /* leads to a person that is not deleted */
    struct tr_person person;
};

static enum tr_rc look(struct work *w, struct tr_str id, struct end *ret, struct tr_err *err)
{
    const struct tr_people_ops *ops = w->p->ops;

    *ret = (struct end){ .id = id };
    enum tr_rc rc = ops->mapping(w->p->keeper, w->e->project, id, &ret->m, &ret->found, err);
    if (rc != TR_OK || !ret->found || ret->m.person == 0)
        return rc;
    rc = ops->person(w->p->keeper, w->e->project, ret->m.person, &ret->person, err);
    ret->living = rc == TR_OK && !ret->m.deleted && !ret->person.deleted;
    return rc;
}

static bool was_personless(const struct end *x)
{
    return x->found && x->m.person == 0;
}

/* The distinct id leads to the person from now on. Its version says whether what was exported
 * before under this id has to give way. */
static enum tr_rc attach(struct work *w, const struct end *x, const struct tr_person *to,
                         struct tr_err *err)
{
    struct tr_mapping m = { .person = to->row, .changed_at = w->e->inserted_at };
    struct tr_uuid own;

    if (x->found && x->m.person == to->row && !x->m.deleted)
        return TR_OK;
    if (was_personless(x)) {
        tr_person_id(w->e->project, x->id, &own);
        m.version = memcmp(&to->id, &own, sizeof(own)) != 0;
    } else if (x->found)
        m.version = x->m.version + 1;
    return w->p->ops->map(w->p->keeper, w->e->project, x->id, &m, err);
}

/* A person for this distinct id, above the tombstone of one that had the same id. */
static enum tr_rc make(struct work *w, const struct end *x, bool identified, struct tr_err *err)
{
    struct tr_person before;
    struct tr_uuid id;
    bool found = false;

    tr_person_id(w->e->project, x->id, &id);
    enum tr_rc rc = w->p->ops->person_by_id(w->p->keeper, w->e->project, &id, &before, &found, err);

    if (rc != TR_OK)
        return rc;
    w->person = (struct tr_person){
        .row = found ? before.row : 0,
        .id = id,
        .created_at = w->e->timestamp,
        .version = found ? before.version + 1 : 0,
        .identified = identified,
    };
    w->fresh = true;
    return TR_OK;
}

static enum tr_rc warn(struct work *w, const char *type, struct tr_str other, struct tr_err *err)
{
    return w->p->ops->warn(w->p->keeper, w->e->project, type, w->e->distinct_id, other,
                           w->e->inserted_at, err);
}

/* A silent event changes nobody who is there; a group's $set is not a person's. */
static enum tr_rc change(struct work *w, struct tr_err *err)
{
    struct tr_props *props = &w->p->props;

    if (w->fresh)
        return tr_props_begin(props, w->kind == KIND_GROUP ? NULL : w->f, &w->e->uuid, err);
    if (w->kind == KIND_GROUP || w->kind == KIND_SILENT)
        return TR_OK;
    return tr_props_update(props, w->f, err);
}

static bool is_worth_writing(const struct work *w)
{
    bool all = is_merge(w->kind) || w->kind == KIND_SET;

    return w->fresh || w->touched ||
           tr_props_change(&w->p->props) >= (all ? TR_PROPS_NOISE : TR_PROPS_CHANGED);
}

/* Changes the properties that are loaded, and keeps the person when that is called for. */
static enum tr_rc keep(struct work *w, struct tr_err *err)
{
    struct tr_people *p = w->p;
    enum tr_rc rc = change(w, err);

    if (rc != TR_OK || !is_worth_writing(w))
        return rc;
    rc = tr_props_write(&p->props, &w->person.properties, &w->trimmed, err);
    if (rc != TR_OK)
        return rc;
    if (!w->fresh)
        w->person.version++;
    w->person.changed_at = w->e->inserted_at;
    rc = p->ops->keep(p->keeper, w->e->project, &w->person, err);
    if (rc == TR_OK && w->trimmed)
        rc = warn(w, "person_properties_size_violation", (struct tr_str){ NULL, 0 }, err);
    return rc;
}

/* ---- without a merge ---- */

/* A distinct id that differs in case only from one that has a person is a person of its own, which
 * is seldom meant. */
static enum tr_rc warn_of_twin(struct work *w, struct tr_err *err)
{
    struct tr_buf *lower = &w->p->other;
    bool differs = false;
    struct end twin;

    tr_buf_clear(lower);
    tr_buf_str(lower, w->e->distinct_id);
    if (lower->failed)
        return tr_fail_oom(err);
    for (size_t i = 0; i < lower->n; i++)
        if (lower->p[i] >= 'A' && lower->p[i] <= 'Z') {
            lower->p[i] = (char)(lower->p[i] + ('a' - 'A'));
            differs = true;
        }
    if (!differs)
        return TR_OK;
    enum tr_rc rc = look(w, tr_buf_view(lower), &twin, err);
    return rc == TR_OK && twin.living
               ? warn(w, "distinct_id_case_collision", tr_buf_view(lower), err)
               : rc;
}

static enum tr_rc make_own(struct work *w, const struct end *x, struct tr_err *err)
{
    enum tr_rc rc = make(w, x, false, err);

    if (rc == TR_OK)
        rc = tr_props_load(&w->p->props, (struct tr_str){ NULL, 0 }, err);
    if (rc == TR_OK)
        rc = keep(w, err);
    if (rc == TR_OK)
        rc = attach(w, x, &w->person, err);
    return rc == TR_OK ? warn_of_twin(w, err) : rc;
}

/* identify: what the event said of another id makes this one's person a known one, whatever else
 * became of it. */
static enum tr_rc update_own(struct work *w, bool identify, struct tr_err *err)
{
    struct end x;
    enum tr_rc rc = look(w, w->e->distinct_id, &x, err);

    if (rc != TR_OK || !x.living)
        return rc == TR_OK ? make_own(w, &x, err) : rc;
    w->person = x.person;
    w->touched = identify && !w->person.identified;
    w->person.identified |= identify;
    rc = tr_props_load(&w->p->props, w->person.properties, err);
    return rc == TR_OK ? keep(w, err) : rc;
}

/* ---- merges ---- */

/* Nobody is there yet: one person, named after the distinct id that events without a person have
 * used, so that these are right without a change. */
static enum tr_rc merge_none(struct work *w, const struct end *source, const struct end *target,
                             struct tr_err *err)
{
    bool swap = was_personless(source) && !was_personless(target);
    const struct end *first = swap ? source : target;
    const struct end *second = swap ? target : source;
    enum tr_rc rc = make(w, first, true, err);

    if (rc == TR_OK)
        rc = tr_props_load(&w->p->props, w->person.properties, err);
    if (rc == TR_OK)
        rc = keep(w, err);
    if (rc == TR_OK)
        rc = attach(w, first, &w->person, err);
    return rc == TR_OK ? attach(w, second, &w->person, err) : rc;
}

static enum tr_rc merge_one(struct work *w, const struct end *there, const struct end *other,
                            struct tr_err *err)
{
    w->person = there->person;
    w->touched = !w->person.identified;
    w->person.identified = true;
    enum tr_rc rc = tr_props_load(&w->p->props, w->person.properties, err);
    if (rc == TR_OK)
        rc = keep(w, err);
    return rc == TR_OK ? attach(w, other, &w->person, err) : rc;
}

static enum tr_rc bury(struct work *w, struct tr_person *dead, struct tr_err *err)
{
    dead->deleted = true;
    dead->version += DELETED;
    dead->properties = TR_STR("{}");
    dead->changed_at = w->e->inserted_at;
    return w->p->ops->keep(w->p->keeper, w->e->project, dead, err);
}

static enum tr_rc merge_two(struct work *w, struct end *source, struct end *target,
                            struct tr_err *err)
{
    struct tr_people *p = w->p;

    /* The keeper's views do not outlive its next answer, so both are asked for anew here. */
    tr_buf_clear(&p->other);
    enum tr_rc rc =
        p->ops->person(p->keeper, w->e->project, source->m.person, &source->person, err);
    if (rc != TR_OK)
        return rc;
    tr_buf_str(&p->other, source->person.properties);
    if (p->other.failed)
        return tr_fail_oom(err);
    rc = p->ops->person(p->keeper, w->e->project, target->m.person, &target->person, err);
    if (rc != TR_OK)
        return rc;

    w->person = target->person;
    w->touched = true;
    w->person.identified = true;
    if (source->person.created_at < w->person.created_at)
        w->person.created_at = source->person.created_at;
    if (source->person.version > w->person.version)
        w->person.version = source->person.version;
    rc = tr_props_load(&p->props, tr_buf_view(&p->other), err);
    if (rc == TR_OK)
        rc = tr_props_set(&p->props, target->person.properties, false, err);
    if (rc == TR_OK)
        tr_props_settle(&p->props);
    if (rc == TR_OK)
        rc = keep(w, err);
    if (rc == TR_OK)
        rc = p->ops->move(p->keeper, w->e->project, source->person.row, w->person.row,
                          w->e->inserted_at, err);
    return rc == TR_OK ? bury(w, &source->person, err) : rc;
}

static enum tr_rc merge(struct work *w, struct tr_str source_id, struct tr_err *err)
{
    struct end source;
    struct end target;
    enum tr_rc rc = look(w, source_id, &source, err);

    if (rc == TR_OK)
        rc = look(w, w->e->distinct_id, &target, err);
    if (rc != TR_OK)
        return rc;
    if (!source.living && !target.living)
        return merge_none(w, &source, &target, err);
    if (!source.living)
        return merge_one(w, &target, &source, err);
    if (!target.living) {
        /* The view of the source's person may be gone by now. */
        rc = w->p->ops->person(w->p->keeper, w->e->project, source.m.person, &source.person, err);
        return rc == TR_OK ? merge_one(w, &source, &target, err) : rc;
    }
    if (source.person.row == target.person.row)
        return update_own(w, true, err);
    if (source.person.identified && w->kind != KIND_MERGE) {
        rc = warn(w, "cannot_merge_already_identified", source_id, err);
        return rc == TR_OK ? update_own(w, true, err) : rc;
    }
    return merge_two(w, &source, &target, err);
}

/* The other distinct id that the event names, or none. A null is "null", which is nobody's. */
static enum tr_rc source_of(struct work *w, struct tr_buf *room, struct tr_str *ret,
                            struct tr_err *err)
{
    const struct tr_json_value *v = NULL;

    *ret = (struct tr_str){ NULL, 0 };
    if (w->kind == KIND_IDENTIFY)
        v = tr_fact(w->f, TR_FACT_ANON_DISTINCT_ID);
    else if (is_merge(w->kind))
        v = tr_fact(w->f, TR_FACT_ALIAS);
    if (v == NULL)
        return TR_OK;
    struct tr_str text = v->type == TR_JSON_STRING ? tr_json_text(v, room) : v->raw;
    if (text.p == NULL)
        return tr_fail_oom(err);
    if (w->kind == KIND_IDENTIFY || (v->type == TR_JSON_STRING && text.n > 0))
        *ret = text;
    return TR_OK;
}

/* As the other id of a merge. */
static bool is_unmergeable(struct tr_str id)
{
    return tr_distinct_id_is_illegal(id) || memchr(id.p, '\0', id.n) != NULL ||
           tr_utf8_head(id, MERGE_ID_MAX).n < id.n;
}

static enum tr_rc full_event(struct work *w, struct tr_err *err)
{
    TR_CLEANUP(tr_buf_fini) struct tr_buf room;
    struct tr_str source;

    tr_buf_init(&room, ID_MAX);
    enum tr_rc rc = source_of(w, &room, &source, err);
    if (rc != TR_OK)
        return rc;
    if (source.p == NULL || tr_str_eq(source, w->e->distinct_id))
        return update_own(w, false, err);
    if (is_unmergeable(source) || tr_distinct_id_is_illegal(w->e->distinct_id)) {
        rc = warn(w, "cannot_merge_with_illegal_distinct_id", source, err);
        return rc == TR_OK ? update_own(w, false, err) : rc;
    }
    return merge(w, source, err);
}

/* ---- events without a person ---- */

static enum tr_rc personless_event(struct work *w, const struct end *x, struct tr_belongs *ret,
                                   struct tr_err *err)
{
    *ret = (struct tr_belongs){ .row = x->living ? x->person.row : 0, .bare = true };
    if (x->found)
        return TR_OK;
    struct tr_mapping m = { .changed_at = w->e->inserted_at };
    return w->p->ops->map(w->p->keeper, w->e->project, w->e->distinct_id, &m, err);
}

static bool holds_something(struct tr_str object)
{
    struct tr_json_valid walk;
    struct tr_json_value key;
    struct tr_json_value value;

    return tr_json_valid_object(&walk, object) && tr_json_valid_member(&walk, &key, &value);
}

/* A flag that was asked for makes nobody: servers ask for ids that are nobody's. What belongs to a
 * group is looked at by its group's columns, and those are a full event's. */
static bool may_go_without(const struct work *w)
{
    const struct tr_json_value *flag = tr_fact(w->f, TR_FACT_PROCESS_PERSON_PROFILE);
    const struct tr_json_value *groups = tr_fact(w->f, TR_FACT_GROUPS);
    bool has_groups =
        groups != NULL && groups->type == TR_JSON_OBJECT && holds_something(groups->raw);

    return w->kind == KIND_FLAG && !has_groups && (flag == NULL || flag->type != TR_JSON_TRUE);
}

enum tr_rc tr_people_event(struct tr_people *p, const struct tr_event *e, const struct tr_facts *f,
                           struct tr_belongs *ret, struct tr_err *err)
{
    struct work w = { .p = p, .e = e, .f = f, .kind = kind_of(e->event) };
    const char *refused = refusal(w.kind, f);
    bool full = is_full(w.kind, f);
    struct end x = { .living = false };
    enum tr_rc rc = refused == NULL ? TR_OK : warn(&w, refused, (struct tr_str){ NULL, 0 }, err);

    if (rc == TR_OK && (!full || may_go_without(&w))) {
        rc = look(&w, e->distinct_id, &x, err);
        if (rc == TR_OK && (!full || !x.living))
            return personless_event(&w, &x, ret, err);
    }
    if (rc == TR_OK)
        rc = full_event(&w, err);
    if (rc == TR_OK)
        *ret = (struct tr_belongs){ .row = w.person.row, .trimmed = w.trimmed };
    return rc;
}

enum tr_rc tr_people_delete(struct tr_people *p, int32_t project, const struct tr_uuid *id,
                            bool distinct_ids, int64_t at, bool *ret_found, struct tr_err *err)
{
    struct tr_event e = { .project = project, .inserted_at = at };
    struct work w = { .p = p, .e = &e };
    enum tr_rc rc = p->ops->person_by_id(p->keeper, project, id, &w.person, ret_found, err);

    if (rc != TR_OK || !*ret_found)
        return rc;
    *ret_found = !w.person.deleted;
    if (!*ret_found)
        return TR_OK;
    rc = bury(&w, &w.person, err);
    return rc == TR_OK && distinct_ids ? p->ops->unmap(p->keeper, project, w.person.row, at, err)
                                       : rc;
}
