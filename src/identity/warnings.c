#include "identity/warnings.h"

#include "base/time.h"

enum {
    ID_RAW_MAX = 6 * 45 + 2,                /* the longest form of a UUID, in escapes */
    DIVERGENT_MS = 3 * 24 * 60 * 60 * 1000, /* a UUID's own time may be off by that */
};

static const struct {
    const char *type;
    uint32_t flag; /* of the event, when that tells it */
} known[TR_WARNINGS] = {
    [TR_WARN_PROCESS_PERSON_PROFILE] = { "invalid_process_person_profile", 0 },
    [TR_WARN_SESSION_ID] = { "invalid_event_session_id", 0 },
    [TR_WARN_WINDOW_ALONE] = { "missing_session_id_with_window_id", 0 },
    [TR_WARN_UUID_TIME] = { "event_uuid_timestamp_divergent", 0 },
    [TR_WARN_UUID_VERSION] = { "event_uuid_not_v7", 0 },
    [TR_WARN_CLIENT] = { "client_ingestion_warning", 0 },
    [TR_WARN_TIMESTAMP] = { "ignored_invalid_timestamp", TR_EVENT_NO_TIME },
    [TR_WARN_DISTINCT_ID] = { "distinct_id_truncated", TR_EVENT_ID_CUT },
    [TR_WARN_EVENT_NAME] = { "event_name_too_long", TR_EVENT_NAME_CUT },
    [TR_WARN_SHARED_UUID] = { "duplicate_event_uuid", TR_EVENT_SHARED_UUID },
};

/* Libraries that are known to send other UUIDs, from the public server's own list. */
static bool is_known_lib(const struct tr_json_value *lib)
{
    static const char *const libs[] = {
        "",
        "web",
        "posthog-node",
        "posthog-python",
        "posthog-go",
        "posthog-ios",
        "posthog-android",
        "posthog-ruby",
        "posthog-php",
        "posthog-dotnet",
        "posthog-rs",
        "posthog-react-native",
        "posthog-flutter",
        "posthog-edge",
        "posthog-java",
        "posthog-chrome-extension",
        "posthog-capture-v1-internal",
        "detsys-ids-client",
        "determinate-nixd",
        "pixiehog",
        "github.com/hollow-cube/posthog-java",
    };

    if (lib == NULL || lib->type != TR_JSON_STRING)
        return true;
    for (size_t i = 0; i < sizeof(libs) / sizeof(libs[0]); i++)
        if (tr_json_text_is(lib, tr_str_of(libs[i])))
            return true;
    return false;
}

static bool is_uuid(const struct tr_json_value *v)
{
    char room[ID_RAW_MAX];
    struct tr_uuid id;

    if (v->type != TR_JSON_STRING || v->raw.n > sizeof(room))
        return false;
    size_t n = tr_json_text_copy(v, room);
    return tr_uuid_parse((struct tr_str){ room, n }, &id);
}

/* A string with more in it than blanks. */
static bool is_usable(const struct tr_json_value *v)
{
    char room[ID_RAW_MAX];

    if (v == NULL || v->type != TR_JSON_STRING)
        return false;
    if (v->raw.n > sizeof(room))
        return true;
    size_t n = tr_json_text_copy(v, room);
    return tr_str_trim((struct tr_str){ room, n }).n > 0;
}

static uint32_t bit(enum tr_event_warning which, bool on)
{
    return on ? UINT32_C(1) << which : 0;
}

static uint32_t of_sessions(const struct tr_facts *f)
{
    const struct tr_json_value *id = tr_fact(f, TR_FACT_SESSION_ID);
    const struct tr_json_value *window = tr_fact(f, TR_FACT_WINDOW_ID);

    return bit(TR_WARN_SESSION_ID, id != NULL && id->type != TR_JSON_NULL && !is_uuid(id)) |
           bit(TR_WARN_WINDOW_ALONE, !is_usable(id) && is_usable(window));
}

static int64_t floor_ms(int64_t us)
{
    return us / TR_US_PER_MS - (us % TR_US_PER_MS < 0);
}

static uint32_t of_uuid(const struct tr_event *e, const struct tr_facts *f)
{
    int64_t made_ms = 0;

    if ((e->flags & TR_EVENT_MADE_UUID) != 0)
        return 0;
    if (e->uuid.b[6] >> 4 != 7)
        return bit(TR_WARN_UUID_VERSION, !is_known_lib(tr_fact(f, TR_FACT_LIB)));
    for (int i = 0; i < 6; i++)
        made_ms = made_ms << 8 | e->uuid.b[i];
    int64_t off = floor_ms(e->timestamp) - made_ms;
    return bit(TR_WARN_UUID_TIME, off > DIVERGENT_MS || off < -(int64_t)DIVERGENT_MS);
}

uint32_t tr_event_warnings(const struct tr_event *e, const struct tr_facts *f)
{
    const struct tr_json_value *profile = tr_fact(f, TR_FACT_PROCESS_PERSON_PROFILE);
    uint32_t found =
        of_sessions(f) | of_uuid(e, f) |
        bit(TR_WARN_CLIENT, tr_str_is(e->event, "$$client_ingestion_warning")) |
        bit(TR_WARN_PROCESS_PERSON_PROFILE,
            profile != NULL && profile->type != TR_JSON_TRUE && profile->type != TR_JSON_FALSE);

    for (int i = TR_WARN_TIMESTAMP; i < TR_WARNINGS; i++)
        found |= bit((enum tr_event_warning)i, (e->flags & known[i].flag) != 0);
    return found;
}

const char *tr_event_warning_type(enum tr_event_warning which)
{
    return known[which].type;
}

/* A value as people write it. */
static struct tr_str shown(const struct tr_json_value *v)
{
    if (v == NULL)
        return (struct tr_str){ NULL, 0 };
    return v->type == TR_JSON_STRING ? (struct tr_str){ v->raw.p + 1, v->raw.n - 2 } : v->raw;
}

struct tr_str tr_event_warning_other(enum tr_event_warning which, const struct tr_event *e,
                                     const struct tr_facts *f)
{
    struct tr_json_value v;

    switch (which) {
    case TR_WARN_PROCESS_PERSON_PROFILE:
        return shown(tr_fact(f, TR_FACT_PROCESS_PERSON_PROFILE));
    case TR_WARN_SESSION_ID:
        return shown(tr_fact(f, TR_FACT_SESSION_ID));
    case TR_WARN_WINDOW_ALONE:
        return shown(tr_fact(f, TR_FACT_WINDOW_ID));
    case TR_WARN_UUID_TIME:
    case TR_WARN_UUID_VERSION:
        return shown(tr_fact(f, TR_FACT_LIB));
    case TR_WARN_CLIENT:
        if (tr_json_find(e->properties, TR_STR("$$client_ingestion_warning_message"), &v))
            return shown(&v);
        return (struct tr_str){ NULL, 0 };
    case TR_WARN_TIMESTAMP:
    case TR_WARN_DISTINCT_ID:
    case TR_WARN_EVENT_NAME:
    case TR_WARN_SHARED_UUID:
    case TR_WARNINGS:
        return e->event;
    }
    return (struct tr_str){ NULL, 0 };
}
