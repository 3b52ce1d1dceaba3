/* The rules for one event, and what waits until the whole request was read. */
#include "base/time.h"
#include "base/utf8.h"
#include "capture/capture_priv.h"
#include "capture/when.h"

enum {
    MAX_DISTINCT_ID_CHARS = 200,
    MAX_EVENT_NAME_BYTES = UINT16_MAX,
    MAX_EVENT_NAME_UNITS = 200, /* of UTF-16; what is longer is cut */
};

const struct tr_refusal tr_refusal_no_object = { "capture.bad_event", "is not an object" };
const struct tr_refusal tr_refusal_too_large = { "capture.too_large",
                                                 "is larger than one event may be" };

const struct tr_refusal tr_refusal_misrouted = {
    "capture.misrouted_event", "is no AI event: its name does not begin with $ai_"
};

static bool present(const struct tr_json_value *v)
{
    return v->raw.p != NULL && v->type != TR_JSON_NULL;
}

static bool empty_string(const struct tr_json_value *v)
{
    return v->type == TR_JSON_STRING && v->raw.n == 2;
}

/* ---- reading ---- */

/* Where the member of that name goes, or NULL. Several names may mean one thing: the last one sent
 * counts. */
static struct tr_json_value *place_of(struct tr_reading *r, struct tr_str name)
{
#define IS(text) (memcmp(name.p, text, sizeof(text) - 1) == 0)
    switch (name.n) {
    case 4:
        return IS("uuid") ? &r->uuid : IS("$set") ? &r->set : NULL;
    case 5:
        return IS("event") ? &r->event : IS("token") ? &r->token : NULL;
    case 6:
        return IS("offset") ? &r->offset : IS("$token") ? &r->token : NULL;
    case 7:
        return IS("api_key") ? &r->token : NULL;
    case 9:
        return IS("timestamp")   ? &r->timestamp
               : IS("$set_once") ? &r->set_once
               : IS("window_id") ? &r->window_id
                                 : NULL;
    case 10:
        return IS("session_id") ? &r->session_id : NULL;
    case 11:
        return IS("distinct_id") ? &r->distinct_id : NULL;
    case 12:
        return IS("$distinct_id") ? &r->distinct_id : NULL;
    default:
        return NULL;
    }
#undef IS
}

static enum tr_rc read_options(struct tr_json *j, struct tr_reading *r, struct tr_err *err)
{
    const struct {
        const char *name;
        struct tr_json_value *at;
    } places[] = {
        { "process_person_profile", &r->profile },
        { "cookieless_mode", &r->cookieless },
        { "product_tour_id", &r->tour },
        { "disable_skew_correction", &r->no_skew },
    };
    enum tr_json_type type;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more;

    if (tr_json_peek(j, &type, err) != TR_OK)
        return err->rc;
    if (type != TR_JSON_OBJECT)
        return tr_json_next(j, &value, err);
    if (tr_json_open_object(j, err) != TR_OK)
        return err->rc;
    for (;;) {
        if (tr_json_member(j, &key, &value, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            return TR_OK;
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
            if (tr_json_text_is(&key, tr_str_of(places[i].name)))
                *places[i].at = value;
    }
}

enum tr_rc tr_event_read_member(struct tr_capture_scratch *s, struct tr_json *j,
                                const struct tr_json_value *key, struct tr_reading *r,
                                struct tr_err *err)
{
    struct tr_json_value forgotten;
    struct tr_str name = { key->raw.p + 1, key->raw.n - 2 };

    if ((key->flags & TR_JSON_ESCAPES) != 0)
        name = tr_scratch_text(s, key, &s->key); /* too long: no known name */
    if (tr_str_is(name, "properties"))
        return tr_properties_read(s, j, &r->properties, err);
    if (tr_str_is(name, "options"))
        return read_options(j, r, err);
    struct tr_json_value *place = place_of(r, name);
    return tr_json_next(j, place == NULL ? &forgotten : place, err);
}

enum tr_rc tr_event_read(struct tr_capture_scratch *s, struct tr_json *j, struct tr_reading *ret,
                         bool *ret_object, struct tr_err *err)
{
    enum tr_json_type type;
    struct tr_json_value key;
    struct tr_json_value other;
    bool more;

    memset(ret, 0, sizeof(*ret));
    if (tr_json_peek(j, &type, err) != TR_OK)
        return err->rc;
    *ret_object = type == TR_JSON_OBJECT;
    if (!*ret_object)
        return tr_json_next(j, &other, err);
    if (tr_json_open_object(j, err) != TR_OK)
        return err->rc;

    const char *from = j->p - 1;
    for (;;) {
        if (tr_json_member_key(j, &key, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            break;
        if (tr_event_read_member(s, j, &key, ret, err) != TR_OK)
            return err->rc;
    }
    ret->raw = (struct tr_str){ from, (size_t)(j->p - from) };
    return TR_OK;
}

struct tr_json_value tr_event_token(const struct tr_reading *r)
{
    static const struct tr_json_value none;

    if (r->token.raw.p != NULL && r->token.type == TR_JSON_STRING)
        return r->token;
    const struct tr_json_value *inside = &r->properties.known[TR_PROPERTY_TOKEN];
    return inside->raw.p != NULL && inside->type == TR_JSON_STRING ? *inside : none;
}

bool tr_event_dropped(const struct tr_reading *r)
{
    return r->event.raw.p != NULL && r->event.type == TR_JSON_STRING &&
           tr_json_text_is(&r->event, TR_STR("$performance_event"));
}

/* ---- rules ---- */

static const struct tr_refusal *event_name(struct tr_capture_scratch *s, const struct tr_reading *r,
                                           bool engage, struct tr_str *ret)
{
    static const struct tr_refusal missing = { "capture.no_event_name", "has no event name" };
    static const struct tr_refusal not_text = { "capture.bad_event_name",
                                                "has an event name that is not a string" };
    static const struct tr_refusal too_long = { "capture.bad_event_name",
                                                "has an event name of over 65535 bytes" };

    if (!present(&r->event)) {
        *ret = TR_STR("$identify");
        return engage ? NULL : &missing;
    }
    if (r->event.type != TR_JSON_STRING)
        return &not_text;
    *ret = tr_scratch_text(s, &r->event, &s->event);
    if (ret->p == NULL || ret->n > MAX_EVENT_NAME_BYTES)
        return &too_long;
    return ret->n == 0 ? &missing : NULL;
}

/* As the public server cuts it: at so many units of UTF-16, but never a character in two. */
static struct tr_str cut_name(struct tr_str s)
{
    size_t units = 0;
    size_t at = 0;

    while (at < s.n) {
        size_t width = tr_utf8_width(s.p + at, s.n - at);
        units += width == 4 ? 2 : 1;
        if (units > MAX_EVENT_NAME_UNITS)
            break;
        at += width == 0 ? 1 : width;
    }
    return (struct tr_str){ s.p, at };
}

static const struct tr_refusal *distinct_id(struct tr_capture_scratch *s,
                                            const struct tr_reading *r, struct tr_str *ret)
{
    static const struct tr_refusal missing = { "capture.no_distinct_id", "has no distinct_id" };
    const struct tr_json_value *v = &r->distinct_id;

    if (!present(v) || empty_string(v))
        v = &r->properties.known[TR_PROPERTY_DISTINCT_ID];
    if (!present(v) || empty_string(v) || v->type == TR_JSON_NONFINITE)
        return &missing;
    if (v->raw.n > s->distinct_id.max / 2)
        return &tr_refusal_too_large;
    *ret = v->raw;
    if (v->type == TR_JSON_STRING) {
        *ret = tr_scratch_text(s, v, &s->distinct_id);
    } else if ((v->flags & TR_JSON_BARE) != 0) {
        tr_buf_clear(&s->distinct_id);
        tr_json_add_finite(&s->distinct_id, v->raw);
        s->no_memory |= s->distinct_id.failed;
        *ret = tr_buf_view(&s->distinct_id);
    }
    if (ret->p == NULL)
        return &tr_refusal_too_large;
    return NULL;
}

static const struct tr_refusal *objects(const struct tr_reading *r)
{
    static const struct tr_refusal properties = { "capture.bad_properties",
                                                  "has properties that are not an object" };
    static const struct tr_refusal set = { "capture.bad_set", "has a $set that is not an object" };
    static const struct tr_refusal set_once = { "capture.bad_set",
                                                "has a $set_once that is not an object" };

    if (r->properties.type != TR_JSON_NULL && r->properties.type != TR_JSON_OBJECT)
        return &properties;
    if (present(&r->set) && r->set.type != TR_JSON_OBJECT)
        return &set;
    return present(&r->set_once) && r->set_once.type != TR_JSON_OBJECT ? &set_once : NULL;
}

bool tr_event_uuid(struct tr_capture_scratch *s, const struct tr_reading *r, struct tr_uuid *ret)
{
    static const struct tr_uuid nil;

    if (r->uuid.raw.p == NULL || r->uuid.type != TR_JSON_STRING)
        return false;
    struct tr_str text = tr_scratch_text(s, &r->uuid, &s->text);
    return text.p != NULL && tr_uuid_parse(tr_str_trim(text), ret) &&
           memcmp(ret, &nil, sizeof(nil)) != 0;
}

/* An age in milliseconds, fractions cut. */
static bool age(const struct tr_json_value *v, int64_t *ret_us)
{
    double ms;

    if (v->raw.p == NULL || !tr_json_double(v, &ms) || !(ms > -1e14 && ms < 1e14))
        return false;
    *ret_us = (int64_t)ms * TR_US_PER_MS;
    return true;
}

static bool is_true(const struct tr_json_value *v)
{
    return v->raw.p != NULL && v->type == TR_JSON_TRUE;
}

static void client_time(struct tr_capture_scratch *s, const struct tr_reading *r,
                        struct tr_pending *ret)
{
    const struct tr_json_value *t = &r->timestamp;
    bool ok = false;

    ret->no_skew =
        is_true(&r->no_skew) || is_true(&r->properties.known[TR_PROPERTY_IGNORE_SENT_AT]);
    if (t->raw.p != NULL && t->type == TR_JSON_STRING) {
        struct tr_str text = tr_scratch_text(s, t, &s->text);
        ok = text.p != NULL && tr_when_parse(text, &ret->time);
    } else if (t->raw.p != NULL && t->type == TR_JSON_NUMBER) {
        ok = tr_when_number(t->raw, &ret->time);
    }
    ret->time_kind = ok ? TR_TIME_CLIENT : TR_TIME_NONE;
    ret->raw = ok ? r->raw : (struct tr_str){ NULL, 0 };
    if (age(&r->offset, &ret->time))
        ret->time_kind = TR_TIME_AGE;
}

/* ---- adding ---- */

static bool has_nul(struct tr_str s)
{
    return s.n > 0 && memchr(s.p, 0, s.n) != NULL;
}

enum { MAX_ADDITIONS = 13 };

/* A client's $os_name stands for its $os: mobile SDKs send that. A server's is its own. */
static bool names_os(const struct tr_properties *p)
{
    return p->known[TR_PROPERTY_OS_NAME].raw.p != NULL &&
           !is_true(&p->known[TR_PROPERTY_IS_SERVER]);
}

static size_t all_additions(const struct tr_reading *r, const struct tr_addition *more,
                            size_t n_more, struct tr_addition ret[MAX_ADDITIONS])
{
    size_t n = 0;

    if (present(&r->set))
        ret[n++] = (struct tr_addition){ TR_PROPERTY_SET, r->set };
    if (present(&r->set_once))
        ret[n++] = (struct tr_addition){ TR_PROPERTY_SET_ONCE, r->set_once };
    for (size_t i = 0; i < n_more && n < MAX_ADDITIONS - 1; i++)
        ret[n++] = more[i];
    if (names_os(&r->properties))
        ret[n++] = (struct tr_addition){ TR_PROPERTY_OS, r->properties.known[TR_PROPERTY_OS_NAME] };
    return n;
}

/* Cuts what is too long, and notes that. */
static void cut(struct tr_event *e)
{
    struct tr_str name = cut_name(e->event);
    struct tr_str distinct_id = tr_utf8_head(e->distinct_id, MAX_DISTINCT_ID_CHARS);

    if (name.n < e->event.n)
        e->flags |= TR_EVENT_NAME_CUT;
    if (distinct_id.n < e->distinct_id.n)
        e->flags |= TR_EVENT_ID_CUT;
    e->event = name;
    e->distinct_id = distinct_id;
}

static enum tr_rc append(struct tr_capture_scratch *s, struct tr_buf *array, const void *item,
                         size_t size, struct tr_err *err)
{
    if (tr_scratch_reserve(s, array, size, err) != TR_OK)
        return err->rc;
    tr_buf_add(array, item, size);
    return TR_OK;
}

/* The rows are full: of other requests' events, then it is a matter of waiting; or of this one's.
 */
static enum tr_rc rows_full(const struct tr_capture_scratch *s, const struct tr_capture_out *out,
                            size_t size, struct tr_err *err)
{
    if (out->rows->n + size <= out->rows->max)
        return tr_fail_oom(err);
    if (s->rows_before > 0)
        return tr_fail(err, TR_THROTTLED, "capture.no_memory_now", NULL,
                       "the memory for events is in use");
    return tr_fail(err, TR_INVALID, "capture.too_large", NULL,
                   "the events take more than the limit of %zu bytes", out->rows->max);
}

enum tr_rc tr_event_add(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                        const struct tr_reading *r, bool engage,
                        const struct tr_addition *additions, size_t n_additions,
                        struct tr_capture_out *out, const struct tr_refusal **ret_refusal,
                        struct tr_err *err)
{
    struct tr_event e = { 0 };
    struct tr_pending pending = { 0 };
    struct tr_addition all[MAX_ADDITIONS];

    if ((*ret_refusal = objects(r)) != NULL ||
        (*ret_refusal = event_name(s, r, engage, &e.event)) != NULL ||
        (*ret_refusal = distinct_id(s, r, &e.distinct_id)) != NULL)
        return TR_OK;
    if (in->ai_only && !tr_str_starts(e.event, TR_STR("$ai_"))) {
        *ret_refusal = &tr_refusal_misrouted;
        return TR_OK;
    }
    cut(&e);
    if (r->properties.raw.n > in->max_event_bytes || r->set.raw.n > in->max_event_bytes ||
        r->set_once.raw.n > in->max_event_bytes) {
        *ret_refusal = &tr_refusal_too_large;
        return TR_OK;
    }
    size_t n = all_additions(r, additions, n_additions, all);
    if (tr_properties_build(s, &r->properties, all, n, &e, err) != TR_OK)
        return err->rc;
    size_t size = tr_event_packed_size(&e);
    if (size > in->max_event_bytes) {
        *ret_refusal = &tr_refusal_too_large;
        return TR_OK;
    }

    client_time(s, r, &pending);
    if (pending.time_kind == TR_TIME_NONE && present(&r->timestamp))
        e.flags |= TR_EVENT_NO_TIME;
    pending.made_uuid = !tr_event_uuid(s, r, &e.uuid);
    if (pending.made_uuid)
        e.flags |= TR_EVENT_MADE_UUID;
    if (has_nul(e.event) || has_nul(e.distinct_id))
        e.flags |= TR_EVENT_TEXT_NUL;

    if (out->rows->n > UINT32_MAX - size)
        return rows_full(s, out, size, err);
    uint32_t at = (uint32_t)out->rows->n;
    if (append(s, &s->at, &at, sizeof(at), err) != TR_OK ||
        append(s, &s->pending, &pending, sizeof(pending), err) != TR_OK)
        return err->rc;
    tr_event_pack(out->rows, &e);
    if (out->rows->failed)
        return rows_full(s, out, size, err);
    out->events++;
    return TR_OK;
}
