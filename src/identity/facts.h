/* What an event's properties say about people, groups and sessions: one walk finds it all.
 *
 * Everything here is views into the properties, which must be a valid JSON object (capture saw to
 * that). Of two members with one name the last one counts. Of a value's flags only TR_JSON_ESCAPES
 * is told (base/json_valid.h).
 */
#ifndef TR_IDENTITY_FACTS_H
#define TR_IDENTITY_FACTS_H

#include <stdint.h>

#include "base/json.h"

/* The properties that mean something here; identity/facts.c has their names. */
enum tr_fact {
    TR_FACT_SET,
    TR_FACT_SET_ONCE,
    TR_FACT_UNSET,
    TR_FACT_PROCESS_PERSON_PROFILE,
    TR_FACT_ANON_DISTINCT_ID,
    TR_FACT_ALIAS,
    TR_FACT_SESSION_ID,
    TR_FACT_GROUPS,
    TR_FACT_GROUP_TYPE,
    TR_FACT_GROUP_KEY,
    TR_FACT_GROUP_SET,
    TR_FACT_LIB,
    TR_FACT_IS_SERVER,
    TR_FACT_WINDOW_ID,
    TR_FACT_EXTERNAL_CLICK_URL,
    TR_FACT_WEB_VITALS_LCP,
    /* What a person gets from every event, without a $set: from here to the end. Up to the user
     * agent it is noise: it differs from event to event and says little. */
    TR_FACT_AUTOMATIC,
    TR_FACT_BROWSER = TR_FACT_AUTOMATIC,
    TR_FACT_BROWSER_VERSION,
    TR_FACT_DEVICE_TYPE,
    TR_FACT_CURRENT_URL,
    TR_FACT_PATHNAME,
    TR_FACT_OS,
    TR_FACT_OS_NAME,
    TR_FACT_OS_VERSION,
    TR_FACT_REFERRING_DOMAIN,
    TR_FACT_REFERRER,
    TR_FACT_SCREEN_HEIGHT,
    TR_FACT_SCREEN_WIDTH,
    TR_FACT_VIEWPORT_HEIGHT,
    TR_FACT_VIEWPORT_WIDTH,
    TR_FACT_RAW_USER_AGENT,
    TR_FACT_APP_BUILD,
    TR_FACT_APP_NAME,
    TR_FACT_APP_NAMESPACE,
    TR_FACT_APP_VERSION,
    TR_FACT_UTM_SOURCE,
    TR_FACT_UTM_MEDIUM,
    TR_FACT_UTM_CAMPAIGN,
    TR_FACT_UTM_CONTENT,
    TR_FACT_UTM_NAME,
    TR_FACT_UTM_TERM,
    TR_FACT_GCLID,
    TR_FACT_GAD_SOURCE,
    TR_FACT_GCLSRC,
    TR_FACT_DCLID,
    TR_FACT_GBRAID,
    TR_FACT_WBRAID,
    TR_FACT_FBCLID,
    TR_FACT_MSCLKID,
    TR_FACT_TWCLID,
    TR_FACT_LI_FAT_ID,
    TR_FACT_MC_CID,
    TR_FACT_IGSHID,
    TR_FACT_TTCLID,
    TR_FACT_RDT_CID,
    TR_FACT_IRCLID,
    TR_FACT_KX,
    TR_FACT_EPIK,
    TR_FACT_QCLID,
    TR_FACT_SCCID,
    TR_FACTS
};

_Static_assert(TR_FACTS <= 64, "one bit each");

struct tr_facts {
    uint64_t present;                 /* bit i: v[i] is there */
    struct tr_json_value v[TR_FACTS]; /* not set where the bit is not */
};

static inline const struct tr_json_value *tr_fact(const struct tr_facts *f, enum tr_fact which)
{
    return (f->present >> which & 1) != 0 ? &f->v[which] : NULL;
}

void tr_facts_read(struct tr_str properties, struct tr_facts *ret);

static inline bool tr_fact_is_null(const struct tr_facts *f, enum tr_fact which)
{
    return (f->present >> which & 1) == 0 || f->v[which].type == TR_JSON_NULL;
}

/* Bits of the automatic properties that are there and say something about a person. Of a server
 * ($is_server is true) the operating system does not, but for its $os_name. */
uint64_t tr_facts_automatic(const struct tr_facts *f);

/* The event's $os_name stands for its $os: mobile SDKs send that. Then TR_FACT_OS is there whether
 * the client sent one or not, and TR_FACT_OS_NAME is no automatic property. */
bool tr_facts_names_os(const struct tr_facts *f);

/* The property's name, as clients send it: "$browser". */
struct tr_str tr_fact_name(enum tr_fact which);

/* The same in JSON, quotes included: "\"$browser\""; and that of an automatic property's first
 * value: "\"$initial_browser\"". */
struct tr_str tr_fact_quoted(enum tr_fact which);
struct tr_str tr_fact_initial(enum tr_fact which);

/* TR_FACTS when the name means nothing here. */
enum tr_fact tr_fact_find(struct tr_str name);

static inline bool tr_fact_is_automatic(enum tr_fact which)
{
    return which >= TR_FACT_AUTOMATIC && which < TR_FACTS;
}

static inline bool tr_fact_is_noisy(enum tr_fact which)
{
    return which >= TR_FACT_AUTOMATIC && which <= TR_FACT_RAW_USER_AGENT;
}

#endif
