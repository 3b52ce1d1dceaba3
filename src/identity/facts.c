#include "identity/facts.h"

#include <pthread.h>
#include <stdio.h>

#include "base/json_valid.h"

#define NAME(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct tr_str names[TR_FACTS] = {
    [TR_FACT_SET] = NAME("$set"),
    [TR_FACT_SET_ONCE] = NAME("$set_once"),
    [TR_FACT_UNSET] = NAME("$unset"),
    [TR_FACT_PROCESS_PERSON_PROFILE] = NAME("$process_person_profile"),
    [TR_FACT_ANON_DISTINCT_ID] = NAME("$anon_distinct_id"),
    [TR_FACT_ALIAS] = NAME("alias"),
    [TR_FACT_SESSION_ID] = NAME("$session_id"),
    [TR_FACT_GROUPS] = NAME("$groups"),
    [TR_FACT_GROUP_TYPE] = NAME("$group_type"),
    [TR_FACT_GROUP_KEY] = NAME("$group_key"),
    [TR_FACT_GROUP_SET] = NAME("$group_set"),
    [TR_FACT_LIB] = NAME("$lib"),
    [TR_FACT_IS_SERVER] = NAME("$is_server"),
    [TR_FACT_WINDOW_ID] = NAME("$window_id"),
    [TR_FACT_EXTERNAL_CLICK_URL] = NAME("$external_click_url"),
    [TR_FACT_WEB_VITALS_LCP] = NAME("$web_vitals_LCP_value"),
    [TR_FACT_BROWSER] = NAME("$browser"),
    [TR_FACT_BROWSER_VERSION] = NAME("$browser_version"),
    [TR_FACT_DEVICE_TYPE] = NAME("$device_type"),
    [TR_FACT_CURRENT_URL] = NAME("$current_url"),
    [TR_FACT_PATHNAME] = NAME("$pathname"),
    [TR_FACT_OS] = NAME("$os"),
    [TR_FACT_OS_NAME] = NAME("$os_name"),
    [TR_FACT_OS_VERSION] = NAME("$os_version"),
    [TR_FACT_REFERRING_DOMAIN] = NAME("$referring_domain"),
    [TR_FACT_REFERRER] = NAME("$referrer"),
    [TR_FACT_SCREEN_HEIGHT] = NAME("$screen_height"),
    [TR_FACT_SCREEN_WIDTH] = NAME("$screen_width"),
    [TR_FACT_VIEWPORT_HEIGHT] = NAME("$viewport_height"),
    [TR_FACT_VIEWPORT_WIDTH] = NAME("$viewport_width"),
    [TR_FACT_RAW_USER_AGENT] = NAME("$raw_user_agent"),
    [TR_FACT_APP_BUILD] = NAME("$app_build"),
    [TR_FACT_APP_NAME] = NAME("$app_name"),
    [TR_FACT_APP_NAMESPACE] = NAME("$app_namespace"),
    [TR_FACT_APP_VERSION] = NAME("$app_version"),
    [TR_FACT_UTM_SOURCE] = NAME("utm_source"),
    [TR_FACT_UTM_MEDIUM] = NAME("utm_medium"),
    [TR_FACT_UTM_CAMPAIGN] = NAME("utm_campaign"),
    [TR_FACT_UTM_CONTENT] = NAME("utm_content"),
    [TR_FACT_UTM_NAME] = NAME("utm_name"),
    [TR_FACT_UTM_TERM] = NAME("utm_term"),
    [TR_FACT_GCLID] = NAME("gclid"),
    [TR_FACT_GAD_SOURCE] = NAME("gad_source"),
    [TR_FACT_GCLSRC] = NAME("gclsrc"),
    [TR_FACT_DCLID] = NAME("dclid"),
    [TR_FACT_GBRAID] = NAME("gbraid"),
    [TR_FACT_WBRAID] = NAME("wbraid"),
    [TR_FACT_FBCLID] = NAME("fbclid"),
    [TR_FACT_MSCLKID] = NAME("msclkid"),
    [TR_FACT_TWCLID] = NAME("twclid"),
    [TR_FACT_LI_FAT_ID] = NAME("li_fat_id"),
    [TR_FACT_MC_CID] = NAME("mc_cid"),
    [TR_FACT_IGSHID] = NAME("igshid"),
    [TR_FACT_TTCLID] = NAME("ttclid"),
    [TR_FACT_RDT_CID] = NAME("rdt_cid"),
    [TR_FACT_IRCLID] = NAME("irclid"),
    [TR_FACT_KX] = NAME("_kx"),
    [TR_FACT_EPIK] = NAME("epik"),
    [TR_FACT_QCLID] = NAME("qclid"),
    [TR_FACT_SCCID] = NAME("sccid"),
};

/* Names by a hash of their length and ends: most other keys of an event meet an empty place. */
enum { SLOTS = 256, SHORTEST = 3, LONGEST = 23 };

_Static_assert(LONGEST <= 24, "two ends and the eight bytes between them are the whole name");

static struct slot {
    uint64_t head, tail;
    uint8_t n, fact; /* n == 0: an empty place */
} slots[SLOTS];
static char quoted[TR_FACTS][LONGEST + 3];
static char initial[TR_FACTS][LONGEST + 13];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static inline uint64_t load(const char *p, size_t n)
{
    uint64_t word = 0;

    memcpy(&word, p, n);
    return word;
}

/* The first and the last bytes, at most eight of each; they overlap in short names. */
static inline void ends_of(struct tr_str s, uint64_t *ret_head, uint64_t *ret_tail)
{
    if (s.n >= 8) {
        *ret_head = load(s.p, 8);
        *ret_tail = load(s.p + s.n - 8, 8);
    } else if (s.n >= 4) {
        *ret_head = load(s.p, 4);
        *ret_tail = load(s.p + s.n - 4, 4);
    } else { /* SHORTEST */
        *ret_head = load(s.p, 2);
        *ret_tail = load(s.p + s.n - 2, 2);
    }
}

static inline size_t slot_of(uint64_t head, uint64_t tail, size_t n)
{
    uint64_t h = (head ^ n) * UINT64_C(0x9E3779B97F4A7C15) ^ tail * UINT64_C(0xC2B2AE3D27D4EB4F);

    return (size_t)(h >> 48) & (SLOTS - 1);
}

static void fill_slots(void)
{
    for (size_t i = 0; i < TR_FACTS; i++) {
        (void)snprintf(quoted[i], sizeof(quoted[i]), "\"%s\"", names[i].p);
        (void)snprintf(initial[i], sizeof(initial[i]), "\"$initial_%s\"",
                       names[i].p + (names[i].p[0] == '$'));
        uint64_t head, tail;
        ends_of(names[i], &head, &tail);
        size_t at = slot_of(head, tail, names[i].n);
        while (slots[at].n != 0)
            at = (at + 1) & (SLOTS - 1);
        slots[at] = (struct slot){ head, tail, (uint8_t)names[i].n, (uint8_t)i };
    }
}

/* head and tail are known to be equal. */
static inline bool same_middle(const char *a, const char *b, size_t n)
{
    return n <= 16 || load(a + 8, 8) == load(b + 8, 8);
}

static enum tr_fact find(struct tr_str name)
{
    uint64_t head, tail;

    if (name.n < SHORTEST || name.n > LONGEST)
        return TR_FACTS;
    ends_of(name, &head, &tail);
    for (size_t at = slot_of(head, tail, name.n); slots[at].n != 0; at = (at + 1) & (SLOTS - 1)) {
        const struct slot *s = &slots[at];
        if (s->head == head && s->tail == tail && s->n == name.n &&
            same_middle(names[s->fact].p, name.p, name.n))
            return (enum tr_fact)s->fact;
    }
    return TR_FACTS;
}

enum tr_fact tr_fact_find(struct tr_str name)
{
    (void)pthread_once(&once, fill_slots);
    return find(name);
}

struct tr_str tr_fact_name(enum tr_fact which)
{
    return names[which];
}

struct tr_str tr_fact_quoted(enum tr_fact which)
{
    (void)pthread_once(&once, fill_slots);
    return tr_str_of(quoted[which]);
}

struct tr_str tr_fact_initial(enum tr_fact which)
{
    (void)pthread_once(&once, fill_slots);
    return tr_str_of(initial[which]);
}

/* The name of a member; with an escape in it ("\u0024set"), its text in room. */
static struct tr_str name_of(const struct tr_json_value *key, char room[6 * LONGEST])
{
    if ((key->flags & TR_JSON_ESCAPES) == 0)
        return (struct tr_str){ key->raw.p + 1, key->raw.n - 2 };
    if (key->raw.n - 2 > 6 * LONGEST)
        return (struct tr_str){ room, 0 };
    return (struct tr_str){ room, tr_json_text_copy(key, room) };
}

#define BIT(fact) (UINT64_C(1) << (fact))

static bool is_server(const struct tr_facts *f)
{
    const struct tr_json_value *v = tr_fact(f, TR_FACT_IS_SERVER);

    return v != NULL && v->type == TR_JSON_TRUE;
}

void tr_facts_read(struct tr_str properties, struct tr_facts *ret)
{
    struct tr_json_valid walk;
    struct tr_json_value key;
    struct tr_json_value value;
    char room[6 * LONGEST];

    (void)pthread_once(&once, fill_slots);
    ret->present = 0;
    if (!tr_json_valid_object(&walk, properties))
        return;
    while (tr_json_valid_member(&walk, &key, &value)) {
        enum tr_fact which = find(name_of(&key, room));
        if (which == TR_FACTS)
            continue;
        ret->v[which] = value;
        ret->present |= BIT(which);
    }
    if (tr_facts_names_os(ret) && tr_fact(ret, TR_FACT_OS) == NULL) {
        ret->v[TR_FACT_OS] = ret->v[TR_FACT_OS_NAME];
        ret->present |= BIT(TR_FACT_OS);
    }
}

uint64_t tr_facts_automatic(const struct tr_facts *f)
{
    uint64_t bits = f->present & ~(BIT(TR_FACT_AUTOMATIC) - 1);

    if ((bits & (BIT(TR_FACT_OS) | BIT(TR_FACT_OS_NAME) | BIT(TR_FACT_OS_VERSION))) == 0)
        return bits;
    return bits &
           ~(is_server(f) ? BIT(TR_FACT_OS) | BIT(TR_FACT_OS_VERSION) : BIT(TR_FACT_OS_NAME));
}

bool tr_facts_names_os(const struct tr_facts *f)
{
    return tr_fact(f, TR_FACT_OS_NAME) != NULL && !is_server(f);
}
