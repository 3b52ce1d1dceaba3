/* The properties of an event: scanned once, edited by copying what stays. */
#include <assert.h>

#include "capture/capture_priv.h"

static const char *const names[TR_N_PROPERTIES] = {
    [TR_PROPERTY_SET] = "$set",
    [TR_PROPERTY_SET_ONCE] = "$set_once",
    [TR_PROPERTY_IP] = "$ip",
    [TR_PROPERTY_ELEMENTS_CHAIN] = "$elements_chain",
    [TR_PROPERTY_TOKEN] = "token",
    [TR_PROPERTY_DISTINCT_ID] = "distinct_id",
    [TR_PROPERTY_IGNORE_SENT_AT] = "$ignore_sent_at",
    [TR_PROPERTY_LIB] = "$lib",
    [TR_PROPERTY_LIB_VERSION] = "$lib_version",
    [TR_PROPERTY_SESSION_ID] = "$session_id",
    [TR_PROPERTY_WINDOW_ID] = "$window_id",
    [TR_PROPERTY_PROCESS_PERSON_PROFILE] = "$process_person_profile",
    [TR_PROPERTY_COOKIELESS_MODE] = "$cookieless_mode",
    [TR_PROPERTY_PRODUCT_TOUR_ID] = "$product_tour_id",
    [TR_PROPERTY_OS] = "$os",
    [TR_PROPERTY_OS_NAME] = "$os_name",
    [TR_PROPERTY_IS_SERVER] = "$is_server",
};

#define IS(text) (memcmp(name.p, text, sizeof(text) - 1) == 0)

/* By length first: nearly every key of an event ends there. */
static inline enum tr_property property_of(struct tr_str name)
{
    switch (name.n) {
    case 3:
        return IS("$ip") ? TR_PROPERTY_IP : IS("$os") ? TR_PROPERTY_OS : TR_N_PROPERTIES;
    case 4:
        return IS("$set") ? TR_PROPERTY_SET : IS("$lib") ? TR_PROPERTY_LIB : TR_N_PROPERTIES;
    case 5:
        return IS("token") ? TR_PROPERTY_TOKEN : TR_N_PROPERTIES;
    case 8:
        return IS("$os_name") ? TR_PROPERTY_OS_NAME : TR_N_PROPERTIES;
    case 9:
        return IS("$set_once") ? TR_PROPERTY_SET_ONCE : TR_N_PROPERTIES;
    case 10:
        return IS("$window_id")   ? TR_PROPERTY_WINDOW_ID
               : IS("$is_server") ? TR_PROPERTY_IS_SERVER
                                  : TR_N_PROPERTIES;
    case 11:
        return IS("distinct_id")   ? TR_PROPERTY_DISTINCT_ID
               : IS("$session_id") ? TR_PROPERTY_SESSION_ID
                                   : TR_N_PROPERTIES;
    case 12:
        return IS("$lib_version") ? TR_PROPERTY_LIB_VERSION : TR_N_PROPERTIES;
    case 15:
        return IS("$elements_chain")   ? TR_PROPERTY_ELEMENTS_CHAIN
               : IS("$ignore_sent_at") ? TR_PROPERTY_IGNORE_SENT_AT
                                       : TR_N_PROPERTIES;
    case 16:
        return IS("$cookieless_mode")   ? TR_PROPERTY_COOKIELESS_MODE
               : IS("$product_tour_id") ? TR_PROPERTY_PRODUCT_TOUR_ID
                                        : TR_N_PROPERTIES;
    case 23:
        return IS("$process_person_profile") ? TR_PROPERTY_PROCESS_PERSON_PROFILE : TR_N_PROPERTIES;
    default:
        return TR_N_PROPERTIES;
    }
}

#undef IS

static enum tr_rc read_members(struct tr_capture_scratch *s, struct tr_json *j,
                               struct tr_properties *ret, struct tr_err *err)
{
    struct tr_json_value key;
    struct tr_json_value value;
    bool more;

    for (;;) {
        if (tr_json_member(j, &key, &value, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            return TR_OK;
        ret->empty = false;
        ret->flags |= key.flags | value.flags;
        if (value.depth >= ret->depth)
            ret->depth = value.depth + 1;
        struct tr_str name = { key.raw.p + 1, key.raw.n - 2 };
        if ((key.flags & TR_JSON_ESCAPES) != 0)
            name = tr_scratch_text(s, &key, &s->key); /* too long: no known name */
        enum tr_property p = property_of(name);
        if (p != TR_N_PROPERTIES)
            ret->known[p] = value; /* of two, the last one counts */
    }
}

enum tr_rc tr_properties_read(struct tr_capture_scratch *s, struct tr_json *j,
                              struct tr_properties *ret, struct tr_err *err)
{
    struct tr_json_value other;

    *ret = (struct tr_properties){ .empty = true, .depth = 1 };
    if (tr_json_peek(j, &ret->type, err) != TR_OK)
        return err->rc;
    if (ret->type != TR_JSON_OBJECT)
        return tr_json_next(j, &other, err);

    if (tr_json_open_object(j, err) != TR_OK)
        return err->rc;
    const char *from = j->p - 1;
    if (read_members(s, j, ret, err) != TR_OK)
        return err->rc;
    ret->raw = (struct tr_str){ from, (size_t)(j->p - from) };
    return TR_OK;
}

/* ---- building ---- */

/* A member of the properties whose place is wanted, or whose value changes. */
struct mark {
    struct tr_str old;   /* where it stands; p == NULL: to be added */
    struct tr_str value; /* what will stand there */
    enum tr_property name;
};

struct edit {
    struct mark marks[TR_N_PROPERTIES];
    size_t n;
    bool changes;
    uint32_t flags, depth;
};

static struct tr_span *span_of(struct tr_event *e, enum tr_property p)
{
    switch (p) {
    case TR_PROPERTY_SET:
        return &e->set;
    case TR_PROPERTY_SET_ONCE:
        return &e->set_once;
    case TR_PROPERTY_IP:
        return &e->ip;
    case TR_PROPERTY_ELEMENTS_CHAIN:
        return &e->elements_chain;
    case TR_PROPERTY_TOKEN:
    case TR_PROPERTY_DISTINCT_ID:
    case TR_PROPERTY_IGNORE_SENT_AT:
    case TR_PROPERTY_LIB:
    case TR_PROPERTY_LIB_VERSION:
    case TR_PROPERTY_SESSION_ID:
    case TR_PROPERTY_WINDOW_ID:
    case TR_PROPERTY_PROCESS_PERSON_PROFILE:
    case TR_PROPERTY_COOKIELESS_MODE:
    case TR_PROPERTY_PRODUCT_TOUR_ID:
    case TR_PROPERTY_OS:
    case TR_PROPERTY_OS_NAME:
    case TR_PROPERTY_IS_SERVER:
    case TR_N_PROPERTIES:
        return NULL;
    }
    return NULL;
}

/* In the order of the text; those to be added come last, in the order given. */
static struct mark *insert_mark(struct edit *edit, struct mark mark)
{
    assert(edit->n < TR_N_PROPERTIES); /* each name comes once */
    size_t i = edit->n++;

    for (; mark.old.p != NULL && i > 0 &&
           (edit->marks[i - 1].old.p == NULL || edit->marks[i - 1].old.p > mark.old.p);
         i--)
        edit->marks[i] = edit->marks[i - 1];
    edit->marks[i] = mark;
    return &edit->marks[i];
}

static void mark_known(struct edit *edit, const struct tr_properties *p)
{
    static const enum tr_property wanted[] = { TR_PROPERTY_SET, TR_PROPERTY_SET_ONCE,
                                               TR_PROPERTY_IP, TR_PROPERTY_ELEMENTS_CHAIN };

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        struct tr_str raw = p->known[wanted[i]].raw;
        if (raw.p != NULL)
            insert_mark(edit, (struct mark){ raw, raw, wanted[i] });
    }
}

static struct mark *mark_named(struct edit *edit, enum tr_property name)
{
    for (size_t i = 0; i < edit->n; i++)
        if (edit->marks[i].name == name)
            return &edit->marks[i];
    return NULL;
}

static enum tr_rc apply(struct tr_capture_scratch *s, struct edit *edit,
                        const struct tr_properties *p, const struct tr_addition *a,
                        struct tr_err *err)
{
    const struct tr_json_value *known = &p->known[a->name];
    bool merges = a->name == TR_PROPERTY_SET || a->name == TR_PROPERTY_SET_ONCE;

    if (known->raw.p != NULL && !merges)
        return TR_OK;
    edit->changes = true;
    edit->flags |= a->value.flags;
    if (a->value.depth >= edit->depth)
        edit->depth = a->value.depth + 1;
    if (known->raw.p == NULL) {
        insert_mark(edit, (struct mark){ { NULL, 0 }, a->value.raw, a->name });
        return TR_OK;
    }
    struct mark *mark = mark_named(edit, a->name);
    mark->value = a->value.raw;
    if (known->type != TR_JSON_OBJECT)
        return TR_OK;
    struct tr_buf *merged = &s->merged[a->name == TR_PROPERTY_SET ? 0 : 1];
    if (tr_merge_objects(s, known->raw, a->value.raw, merged, err) != TR_OK)
        return err->rc;
    mark->value = tr_buf_view(merged);
    return TR_OK;
}

static void add_value(struct tr_buf *out, struct tr_str raw, bool bare)
{
    if (bare)
        tr_json_add_finite(out, raw);
    else
        tr_buf_str(out, raw);
}

static void copy_edited(struct tr_buf *out, struct tr_str raw, bool empty, const struct edit *edit,
                        struct tr_event *e)
{
    bool bare = (edit->flags & TR_JSON_BARE) != 0;
    const char *at = raw.p;
    const char *end = raw.p + raw.n - 1; /* the closing bracket */

    for (size_t i = 0; i < edit->n; i++) {
        const struct mark *m = &edit->marks[i];
        struct tr_span *span = span_of(e, m->name);

        if (m->old.p != NULL) {
            add_value(out, (struct tr_str){ at, (size_t)(m->old.p - at) }, bare);
            at = m->old.p + m->old.n;
        } else {
            add_value(out, (struct tr_str){ at, (size_t)(end - at) }, bare);
            at = end;
            tr_buf_z(out, empty ? "\"" : ",\"");
            tr_buf_z(out, names[m->name]);
            tr_buf_z(out, "\":");
            empty = false;
        }
        size_t from = out->n;
        add_value(out, m->value, bare);
        if (span != NULL)
            *span = (struct tr_span){ (uint32_t)from, (uint32_t)(out->n - from) };
    }
    add_value(out, (struct tr_str){ at, (size_t)(end + 1 - at) }, bare);
}

static uint32_t event_flags(uint32_t json_flags, uint32_t depth)
{
    static const struct {
        uint32_t json, event;
    } same[] = {
        { TR_JSON_NUL, TR_EVENT_JSON_NUL },
        { TR_JSON_SURROGATE, TR_EVENT_JSON_SURROGATE },
        { TR_JSON_WIDE_EXP, TR_EVENT_JSON_WIDE },
        { TR_JSON_BIG_INT, TR_EVENT_JSON_BIG_INT },
    };
    uint32_t flags = depth > TR_JSON_DEEP_AT ? TR_EVENT_JSON_DEEP : 0;

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        flags |= (json_flags & same[i].json) != 0 ? same[i].event : 0;
    return flags;
}

enum tr_rc tr_properties_build(struct tr_capture_scratch *s, const struct tr_properties *p,
                               const struct tr_addition *additions, size_t n, struct tr_event *e,
                               struct tr_err *err)
{
    struct edit edit = { .flags = p->flags, .depth = p->depth };
    struct tr_str raw = p->raw.p == NULL ? TR_STR("{}") : p->raw;

    mark_known(&edit, p);
    for (size_t i = 0; i < n; i++)
        if (apply(s, &edit, p, &additions[i], err) != TR_OK)
            return err->rc;
    e->flags |= event_flags(edit.flags, edit.depth);

    if (!edit.changes && (edit.flags & TR_JSON_BARE) == 0) {
        for (size_t i = 0; i < edit.n; i++)
            *span_of(e, edit.marks[i].name) =
                (struct tr_span){ (uint32_t)(edit.marks[i].old.p - raw.p),
                                  (uint32_t)edit.marks[i].old.n };
        e->properties = raw;
        return TR_OK;
    }
    tr_buf_clear(&s->properties);
    copy_edited(&s->properties, raw, p->raw.p == NULL || p->empty, &edit, e);
    if (s->properties.failed)
        return tr_fail_oom(err);
    e->properties = tr_buf_view(&s->properties);
    return TR_OK;
}
