#include "identity/props.h"

#include <stdlib.h>

#include "base/hash.h"

struct tr_props_member {
    uint64_t hash;
    struct tr_str name;  /* without escapes */
    struct tr_str key;   /* raw, with its quotes */
    struct tr_str value; /* raw */
    struct tr_str was;   /* the value that was loaded; p == NULL: none */
    bool gone;
    bool said; /* by the event's own $set */
    bool once; /* new, by the event's own $set_once */
};

enum {
    TEXTS_MAX = 1 << 30 /* an event's size is the limit */,
    OUT_MAX = 1 << 30,
    FIRST_MEMBERS = 128
};

void tr_props_init(struct tr_props *p)
{
    *p = (struct tr_props){ 0 };
    tr_arena_init(&p->texts, TEXTS_MAX);
    tr_buf_init(&p->out, OUT_MAX);
}

void tr_props_fini(struct tr_props *p)
{
    free(p->m);
    free(p->slots);
    tr_arena_fini(&p->texts);
    tr_buf_fini(&p->out);
}

/* ---- members and their index ---- */

static void put_slot(struct tr_props *p, size_t i)
{
    size_t at = p->m[i].hash & (p->n_slots - 1);

    while (p->slots[at] != 0)
        at = (at + 1) & (p->n_slots - 1);
    p->slots[at] = (uint32_t)(i + 1);
}

static enum tr_rc rebuild_slots(struct tr_props *p, size_t n_slots, struct tr_err *err)
{
    if (n_slots > p->cap_slots) {
        uint32_t *slots = realloc(p->slots, n_slots * sizeof(*slots));
        if (slots == NULL)
            return tr_fail_oom(err);
        p->slots = slots;
        p->cap_slots = n_slots;
    }
    p->n_slots = n_slots;
    memset(p->slots, 0, n_slots * sizeof(*p->slots));
    for (size_t i = 0; i < p->n; i++)
        put_slot(p, i);
    return TR_OK;
}

static enum tr_rc append(struct tr_props *p, const struct tr_props_member *m, struct tr_err *err)
{
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? FIRST_MEMBERS : 2 * p->cap;
        struct tr_props_member *grown = realloc(p->m, cap * sizeof(*grown));
        if (grown == NULL)
            return tr_fail_oom(err);
        p->m = grown;
        p->cap = cap;
    }
    p->m[p->n++] = *m;
    if (p->n * 2 > p->n_slots)
        return rebuild_slots(p, p->n_slots * 2, err);
    put_slot(p, p->n - 1);
    return TR_OK;
}

static struct tr_props_member *find(const struct tr_props *p, uint64_t hash, struct tr_str name)
{
    for (size_t at = hash & (p->n_slots - 1); p->slots[at] != 0; at = (at + 1) & (p->n_slots - 1)) {
        struct tr_props_member *m = &p->m[p->slots[at] - 1];
        if (m->hash == hash && tr_str_eq(m->name, name))
            return m;
    }
    return NULL;
}

/* The text of a key or string, which lives as long as the load. */
static enum tr_rc text_of(struct tr_props *p, const struct tr_json_value *v, struct tr_str *ret,
                          struct tr_err *err)
{
    if ((v->flags & TR_JSON_ESCAPES) == 0) {
        *ret = (struct tr_str){ v->raw.p + 1, v->raw.n - 2 };
        return TR_OK;
    }
    char *room = tr_arena_alloc(&p->texts, v->raw.n);
    if (room == NULL)
        return tr_fail_oom(err);
    *ret = (struct tr_str){ room, tr_json_text_copy(v, room) };
    return TR_OK;
}

static bool is_one_of(struct tr_str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tr_str_is(name, names[i]))
            return true;
    return false;
}

#define IS_ONE_OF(name, names) is_one_of(name, names, sizeof(names) / sizeof((names)[0]))

static bool is_noisy(struct tr_str name)
{
    static const struct tr_str geoip = { "$geoip_", 7 };
    static const char *const noisy[] = {
        "postal_code",
        "time_zone",
        "latitude",
        "longitude",
        "accuracy_radius",
        "subdivision_1_code",
        "subdivision_1_name",
        "subdivision_2_code",
        "subdivision_2_name",
        "subdivision_3_code",
        "subdivision_3_name",
        "city_confidence",
        "country_confidence",
        "postal_code_confidence",
        "subdivision_1_confidence",
        "subdivision_2_confidence",
    };

    if (tr_str_starts(name, geoip))
        return IS_ONE_OF(((struct tr_str){ name.p + geoip.n, name.n - geoip.n }), noisy);
    return tr_fact_is_noisy(tr_fact_find(name));
}

/* ---- loading and setting ---- */

enum tr_rc tr_props_load(struct tr_props *p, struct tr_str object, struct tr_err *err)
{
    p->n = 0;
    tr_arena_reset(&p->texts);
    enum tr_rc rc = rebuild_slots(p, 2 * FIRST_MEMBERS, err);
    if (rc == TR_OK && object.n > 0)
        rc = tr_props_set(p, object, false, err);
    tr_props_settle(p);
    return rc;
}

void tr_props_settle(struct tr_props *p)
{
    for (size_t i = 0; i < p->n; i++) {
        p->m[i].was = p->m[i].value;
        p->m[i].said = p->m[i].once = false;
    }
}

enum tr_props_change tr_props_change(const struct tr_props *p)
{
    enum tr_props_change change = TR_PROPS_SAME;

    for (size_t i = 0; i < p->n; i++) {
        const struct tr_props_member *m = &p->m[i];
        if (m->was.p == NULL ? m->gone : !m->gone && tr_str_eq(m->was, m->value))
            continue;
        if (m->was.p == NULL || m->gone || !is_noisy(m->name))
            return TR_PROPS_CHANGED;
        change = TR_PROPS_NOISE;
    }
    return change;
}

static bool is_null(struct tr_str value)
{
    return value.n > 0 && value.p[0] == 'n';
}

/* What stands there may still get a first value: nothing but a null was loaded, or the client's own
 * $set_once has just written it and names it again. */
static bool is_open(const struct tr_props_member *m, bool by_client)
{
    return m->once ? by_client : m->was.p != NULL && is_null(m->was) && is_null(m->value);
}

/* fresh->said, fresh->once: the client wrote it. Of equal names in one object the last counts. */
static enum tr_rc put(struct tr_props *p, struct tr_props_member *fresh, bool under,
                      struct tr_err *err)
{
    fresh->hash = tr_hash64(fresh->name.p, fresh->name.n, 0);
    struct tr_props_member *m = find(p, fresh->hash, fresh->name);

    if (m == NULL)
        return append(p, fresh, err);
    if (under ? !is_open(m, fresh->once) : m->said && !fresh->said)
        return TR_OK;
    m->value = fresh->value;
    m->said = fresh->said;
    m->once = fresh->once;
    return TR_OK;
}

/* skip: a name that is passed over; p == NULL: none. */
static enum tr_rc set(struct tr_props *p, struct tr_str object, bool once, struct tr_str skip,
                      struct tr_err *err)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more;

    tr_json_init(&j, object);
    if (tr_json_open_object(&j, err) != TR_OK)
        return err == NULL ? TR_INTERNAL : err->rc;
    for (;;) {
        enum tr_rc rc = tr_json_member(&j, &key, &value, &more, err);
        if (rc != TR_OK || !more)
            return rc;
        struct tr_props_member fresh = {
            .key = key.raw, .value = value.raw, .said = !once, .once = once
        };
        rc = text_of(p, &key, &fresh.name, err);
        if (rc == TR_OK && (skip.p == NULL || !tr_str_eq(fresh.name, skip)))
            rc = put(p, &fresh, once, err);
        if (rc != TR_OK)
            return rc;
    }
}

enum tr_rc tr_props_set(struct tr_props *p, struct tr_str object, bool once, struct tr_err *err)
{
    return set(p, object, once, (struct tr_str){ NULL, 0 }, err);
}

/* ---- what an event says ---- */

/* The first value is never a null: it would keep the true first one out for good. */
static enum tr_rc put_first(struct tr_props *p, const struct tr_facts *f, enum tr_fact which,
                            struct tr_err *err)
{
    struct tr_str quoted = tr_fact_initial(which);
    enum tr_fact from = which;

    if (which == TR_FACT_OS && tr_fact_is_null(f, which) && tr_facts_names_os(f))
        from = TR_FACT_OS_NAME;
    if (tr_fact_is_null(f, from))
        return TR_OK;
    struct tr_props_member fresh = { .key = quoted,
                                     .name = { quoted.p + 1, quoted.n - 2 },
                                     .value = f->v[from].raw };
    return put(p, &fresh, true, err);
}

static enum tr_rc put_last(struct tr_props *p, const struct tr_facts *f, enum tr_fact which,
                           struct tr_err *err)
{
    struct tr_str quoted = tr_fact_quoted(which);
    struct tr_props_member fresh = { .key = quoted,
                                     .name = { quoted.p + 1, quoted.n - 2 },
                                     .value = f->v[which].raw };

    return put(p, &fresh, false, err);
}

static enum tr_rc put_automatic(struct tr_props *p, const struct tr_facts *f, bool once,
                                struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (uint64_t left = tr_facts_automatic(f); left != 0 && rc == TR_OK; left &= left - 1) {
        enum tr_fact which = (enum tr_fact)__builtin_ctzll(left);
        rc = once ? put_first(p, f, which, err) : put_last(p, f, which, err);
    }
    return rc;
}

static const struct tr_json_value *object_fact(const struct tr_facts *f, enum tr_fact which)
{
    const struct tr_json_value *v = tr_fact(f, which);

    return v != NULL && v->type == TR_JSON_OBJECT ? v : NULL;
}

/* What the same event sets for the first time stays. */
static void unset_one(struct tr_props *p, struct tr_str name)
{
    struct tr_props_member *m = find(p, tr_hash64(name.p, name.n, 0), name);

    if (m != NULL && m->was.p != NULL)
        m->gone = true;
}

/* A list of names, or the keys of an object. */
static enum tr_rc unset(struct tr_props *p, const struct tr_json_value *names, struct tr_err *err)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    struct tr_str name = { NULL, 0 };
    bool more = true;
    bool is_object = names->type == TR_JSON_OBJECT;

    if (!is_object && names->type != TR_JSON_ARRAY)
        return TR_OK;
    tr_json_init(&j, names->raw);
    enum tr_rc rc = is_object ? tr_json_open_object(&j, err) : tr_json_open_array(&j, err);
    while (rc == TR_OK && more) {
        rc = is_object ? tr_json_member(&j, &key, &value, &more, err)
                       : tr_json_element(&j, &key, &more, err);
        if (rc != TR_OK || !more || key.type != TR_JSON_STRING)
            continue;
        rc = text_of(p, &key, &name, err);
        if (rc == TR_OK)
            unset_one(p, name);
    }
    return rc;
}

/* $set or $set_once, and what is automatic. A name that stands for another one is no person's. */
static enum tr_rc set_all(struct tr_props *p, const struct tr_facts *f, bool once,
                          struct tr_err *err)
{
    const struct tr_json_value *own = object_fact(f, once ? TR_FACT_SET_ONCE : TR_FACT_SET);
    struct tr_str skip = { NULL, 0 };
    enum tr_rc rc = TR_OK;

    if (tr_facts_names_os(f))
        skip = once ? TR_STR("$initial_os_name") : TR_STR("$os_name");
    if (own != NULL)
        rc = set(p, own->raw, once, skip, err);
    return rc == TR_OK ? put_automatic(p, f, once, err) : rc;
}

enum tr_rc tr_props_update(struct tr_props *p, const struct tr_facts *f, struct tr_err *err)
{
    const struct tr_json_value *names = tr_fact(f, TR_FACT_UNSET);
    enum tr_rc rc = set_all(p, f, true, err);

    if (rc == TR_OK)
        rc = set_all(p, f, false, err);
    return rc == TR_OK && names != NULL ? unset(p, names, err) : rc;
}

enum tr_rc tr_props_begin(struct tr_props *p, const struct tr_facts *f, const struct tr_uuid *event,
                          struct tr_err *err)
{
    static const char key[] = "\"$creator_event_uuid\"";
    enum tr_rc rc = f == NULL ? TR_OK : set_all(p, f, true, err);

    if (rc == TR_OK && f != NULL)
        rc = set_all(p, f, false, err);
    char *room = rc == TR_OK ? tr_arena_alloc(&p->texts, TR_UUID_TEXT + 2) : NULL;
    if (room == NULL)
        return rc == TR_OK ? tr_fail_oom(err) : rc;
    room[0] = '"';
    tr_uuid_format(event, room + 1);
    room[TR_UUID_TEXT] = '"';
    struct tr_props_member fresh = { .key = { key, sizeof(key) - 1 },
                                     .name = { key + 1, sizeof(key) - 3 },
                                     .value = { room, TR_UUID_TEXT + 1 },
                                     .said = true };
    return put(p, &fresh, false, err);
}

/* ---- writing ---- */

/* What analyses are built on. */
static bool is_protected(struct tr_str name)
{
    static const char *const kept[] = {
        "email",
        "name",
        "$fbc",
        "$session_id",
        "$window_id",
        "$pageview_id",
        "$host",
        "$user_id",
        "$device_id",
        "$anon_distinct_id",
        "$initial_referrer",
        "$initial_referring_domain",
        "$initial_utm_source",
        "$initial_utm_medium",
        "$initial_utm_campaign",
        "$initial_utm_content",
        "$initial_utm_term",
    };

    return IS_ONE_OF(name, kept) || tr_fact_is_automatic(tr_fact_find(name));
}

static size_t size_of(const struct tr_props_member *m)
{
    return m->gone ? 0 : m->key.n + m->value.n + 2;
}

struct candidate {
    struct tr_props_member *m;
    bool is_protected;
};

/* Those that nobody misses as much first, of each kind the largest, of two alike the earlier. */
static int by_size(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;

    if (x->is_protected != y->is_protected)
        return x->is_protected ? 1 : -1;
    if (size_of(x->m) != size_of(y->m))
        return size_of(x->m) > size_of(y->m) ? -1 : 1;
    return x->m < y->m ? -1 : x->m > y->m;
}

/* Drops members until what is left fits. */
static enum tr_rc trim(struct tr_props *p, size_t *total, struct tr_err *err)
{
    struct candidate *list = malloc(p->n * sizeof(*list));
    size_t n = 0;

    if (list == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < p->n; i++)
        if (!p->m[i].gone)
            list[n++] = (struct candidate){ &p->m[i], is_protected(p->m[i].name) };
    qsort(list, n, sizeof(*list), by_size);
    for (size_t i = 0; i < n; i++) {
        if (*total <= TR_PROPS_KEEP)
            break;
        *total -= size_of(list[i].m);
        list[i].m->gone = true;
    }
    free(list);
    return TR_OK;
}

static size_t size_of_all(const struct tr_props *p)
{
    size_t total = 1;

    for (size_t i = 0; i < p->n; i++)
        total += size_of(&p->m[i]);
    return total;
}

static enum tr_rc print(struct tr_props *p, size_t total, struct tr_str *ret, struct tr_err *err)
{
    tr_buf_clear(&p->out);
    char *start = tr_buf_reserve(&p->out, total + 1);
    if (start == NULL)
        return tr_fail_oom(err);
    char *at = start;
    *at++ = '{';
    for (size_t i = 0; i < p->n; i++) {
        const struct tr_props_member *m = &p->m[i];
        if (m->gone)
            continue;
        if (at != start + 1)
            *at++ = ',';
        memcpy(at, m->key.p, m->key.n);
        at += m->key.n;
        *at++ = ':';
        memcpy(at, m->value.p, m->value.n);
        at += m->value.n;
    }
    *at++ = '}';
    tr_buf_used(&p->out, (size_t)(at - start));
    *ret = tr_buf_view(&p->out);
    return TR_OK;
}

enum tr_rc tr_props_write(struct tr_props *p, struct tr_str *ret, bool *ret_trimmed,
                          struct tr_err *err)
{
    size_t total = size_of_all(p);

    *ret_trimmed = total > TR_PROPS_LIMIT;
    if (*ret_trimmed && trim(p, &total, err) != TR_OK)
        return TR_INTERNAL;
    return print(p, total, ret, err);
}

enum tr_rc tr_props_overlay(struct tr_props *p, struct tr_str object, const struct tr_facts *f,
                            struct tr_str *ret, struct tr_err *err)
{
    enum tr_rc rc = tr_props_load(p, object, err);

    if (rc == TR_OK)
        rc = set_all(p, f, false, err);
    if (rc != TR_OK)
        return rc;
    *ret = object;
    return tr_props_change(p) == TR_PROPS_SAME ? TR_OK : print(p, size_of_all(p), ret, err);
}
