#include "identity/people.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/time.h"
#include "base/utf8.h"

enum {
    COPY_MAX = 1 << 30,
    ID_MAX = 1 << 30,              /* an event's size is the limit */
    DELETED = 100,                 /* what a deletion adds to a version */
    UPGRADE_US = 60 * TR_US_PER_S, /* what a person who lends an event properties is older by */
    DISTINCT_ID_MAX = 200,         /* characters, as capture has it */
};

/* What an event's name asks for. */
enum kind {
    KIND_OTHER,
    KIND_IDENTIFY,
    KIND_ALIAS, /* or $merge_dangerously */
    KIND_MERGE,
    KIND_SET,
    KIND_GROUP,
    KIND_SILENT, /* never changes a person */
};

static enum kind kind_of(struct tr_str event)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = {
        { "$identify", KIND_IDENTIFY }, { "$create_alias", KIND_ALIAS },
        { "$set", KIND_SET },           { "$merge_dangerously", KIND_MERGE },
        { "$exception", KIND_SILENT },  { "$groupidentify", KIND_GROUP },
        { "$$heatmap", KIND_SILENT },
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

/* A value that makes a difference to a person: noise does by being there. */
static uint64_t hash_automatic(const struct tr_facts *f, uint64_t h)
{
    uint64_t present = tr_facts_automatic(f);

    h = tr_hash64(&present, sizeof(present), h);
    for (uint64_t left = present >> (TR_FACT_RAW_USER_AGENT + 1) << (TR_FACT_RAW_USER_AGENT + 1);
         left != 0; left &= left - 1) {
        const struct tr_json_value *v = &f->v[__builtin_ctzll(left)];
        h = tr_hash64(v->raw.p, v->raw.n, h);
    }
    return h;
}

bool tr_people_is_plain(const struct tr_event *e, const struct tr_facts *f, uint64_t *ret_hash)
{
    static const enum tr_fact said[] = { TR_FACT_SET, TR_FACT_SET_ONCE, TR_FACT_UNSET };
    enum kind kind = kind_of(e->event);

    if ((kind != KIND_OTHER && kind != KIND_SILENT && kind != KIND_GROUP) || is_personless(f))
        return false;
    if (kind != KIND_OTHER) {
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

/* Keeps the person with the properties it has now when that is called for. */
static enum tr_rc keep(struct work *w, bool update, struct tr_err *err)
{
    struct tr_people *p = w->p;
    enum tr_props_change least =
        w->kind == KIND_OTHER || w->kind == KIND_GROUP ? TR_PROPS_CHANGED : TR_PROPS_NOISE;
    enum tr_rc rc = update ? tr_props_update(&p->props, w->f, err) : TR_OK;

    if (rc != TR_OK)
        return rc;
    if (!w->fresh && !w->touched && tr_props_change(&p->props) < least)
        return TR_OK;
    rc = tr_props_write(&p->props, &w->person.properties, &w->trimmed, err);
    if (rc != TR_OK)
        return rc;
    if (!w->fresh)
        w->person.version++;
    w->person.changed_at = w->e->inserted_at;
    rc = p->ops->keep(p->keeper, w->e->project, &w->person, err);
    if (rc == TR_OK && w->trimmed)
        rc = p->ops->warn(p->keeper, w->e->project, "person_properties_trimmed", w->e->distinct_id,
                          (struct tr_str){ NULL, 0 }, w->e->inserted_at, err);
    return rc;
}

/* A silent event changes nobody who is there; a group's $set is not a person's. */
static bool updates(const struct work *w)
{
    return w->kind != KIND_GROUP && (w->kind != KIND_SILENT || w->fresh);
}

/* ---- without a merge ---- */

static enum tr_rc update_own(struct work *w, struct tr_err *err)
{
    struct end x;
    enum tr_rc rc = look(w, w->e->distinct_id, &x, err);

    if (rc != TR_OK)
        return rc;
    if (x.living)
        w->person = x.person;
    else if (make(w, &x, false, err) != TR_OK)
        return TR_INTERNAL;
    rc = tr_props_load(&w->p->props, w->person.properties, err);
    if (rc == TR_OK)
        rc = keep(w, updates(w), err);
    return rc == TR_OK && !x.living ? attach(w, &x, &w->person, err) : rc;
}

/* ---- merges ---- */

static enum tr_rc warn(struct work *w, const char *type, struct tr_str other, struct tr_err *err)
{
    return w->p->ops->warn(w->p->keeper, w->e->project, type, w->e->distinct_id, other,
                           w->e->inserted_at, err);
}

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
        rc = keep(w, true, err);
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
        rc = keep(w, true, err);
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
        rc = keep(w, true, err);
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
        return update_own(w, err);
    if (source.person.identified && w->kind != KIND_MERGE) {
        rc = warn(w, "cannot_merge_already_identified", source_id, err);
        return rc == TR_OK ? update_own(w, err) : rc;
    }
    return merge_two(w, &source, &target, err);
}

/* The other distinct id that the event names, as capture would have taken it, or none. */
static enum tr_rc source_of(struct work *w, struct tr_buf *room, struct tr_str *ret,
                            struct tr_err *err)
{
    const struct tr_json_value *v = NULL;

    *ret = (struct tr_str){ NULL, 0 };
    if (w->kind == KIND_IDENTIFY)
        v = tr_fact(w->f, TR_FACT_ANON_DISTINCT_ID);
    else if (w->kind == KIND_ALIAS || w->kind == KIND_MERGE)
        v = tr_fact(w->f, TR_FACT_ALIAS);
    if (v == NULL || v->type == TR_JSON_NULL || v->type == TR_JSON_OBJECT ||
        v->type == TR_JSON_ARRAY)
        return TR_OK;
    struct tr_str text = v->type == TR_JSON_STRING ? tr_json_text(v, room) : v->raw;
    if (text.p == NULL)
        return tr_fail_oom(err);
    *ret = tr_utf8_head(text, DISTINCT_ID_MAX);
    return TR_OK;
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
        return update_own(w, err);
    if (tr_distinct_id_is_illegal(source) || tr_distinct_id_is_illegal(w->e->distinct_id)) {
        rc = warn(w, "cannot_merge_with_illegal_distinct_id", source, err);
        return rc == TR_OK ? update_own(w, err) : rc;
    }
    return merge(w, source, err);
}

/* ---- events without a person ---- */

static enum tr_rc personless_event(struct work *w, struct tr_belongs *ret, struct tr_err *err)
{
    struct end x;
    enum tr_rc rc = look(w, w->e->distinct_id, &x, err);

    if (rc != TR_OK)
        return rc;
    *ret = (struct tr_belongs){ 0 };
    if (x.living)
        *ret = (struct tr_belongs){
            .row = x.person.row,
            .bare = x.person.created_at >= w->e->timestamp - UPGRADE_US,
        };
    if (!x.found) {
        struct tr_mapping m = { .changed_at = w->e->inserted_at };
        rc = w->p->ops->map(w->p->keeper, w->e->project, w->e->distinct_id, &m, err);
    }
    if (rc == TR_OK && w->kind != KIND_OTHER && w->kind != KIND_SILENT && w->kind != KIND_SET)
        rc = warn(w, "invalid_event_when_process_person_profile_is_false",
                  (struct tr_str){ NULL, 0 }, err);
    return rc;
}

enum tr_rc tr_people_event(struct tr_people *p, const struct tr_event *e, const struct tr_facts *f,
                           struct tr_belongs *ret, struct tr_err *err)
{
    struct work w = { .p = p, .e = e, .f = f, .kind = kind_of(e->event) };

    if (is_personless(f))
        return personless_event(&w, ret, err);
    enum tr_rc rc = full_event(&w, err);
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
