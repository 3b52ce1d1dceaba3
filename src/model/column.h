/* One column table per model: what a row of the model has, by name, type and role.
 *
 * Default lists, DDL, encoders, previews and docs all come from here. Adding a column means a line
 * in its model's table (columns_events.c, columns_persons.c, ...) and a case where the source fills
 * it.
 */
#ifndef TR_MODEL_COLUMN_H
#define TR_MODEL_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum tr_type {
    TR_TYPE_TEXT,  /* struct tr_str, valid UTF-8 */
    TR_TYPE_JSON,  /* struct tr_str, one valid JSON value */
    TR_TYPE_UUID,  /* struct tr_uuid */
    TR_TYPE_INT64, /* int64_t */
    TR_TYPE_TIME,  /* int64_t, microseconds UTC */
    TR_TYPE_BOOL,  /* uint8_t 0 or 1 */
    TR_TYPE_FLOAT, /* double, finite */
    TR_TYPE_TEXTS, /* a list of texts: struct tr_str, one valid JSON array of strings */
};
enum { TR_TYPES = TR_TYPE_TEXTS + 1 };

enum tr_column_role {
    TR_ROLE_PLAIN,
    TR_ROLE_KEY,     /* identifies the row (mutable models) or the event (uuid) */
    TR_ROLE_VERSION, /* the higher one wins (mutable models) */
};

enum tr_model { TR_MODEL_EVENTS, TR_MODEL_PERSONS, TR_MODEL_SESSIONS, TR_MODEL_GROUPS };
enum { TR_MODELS = TR_MODEL_GROUPS + 1 };

struct tr_column {
    const char *name;
    enum tr_type type;
    enum tr_column_role role;
    const char *doc; /* one line */
};

struct tr_schema {
    enum tr_model model;
    const char *name; /* "events" */
    bool is_mutable;  /* rows are updated by key and version; otherwise appended */
    const struct tr_column *columns;
    size_t n;
    const int *keys; /* the columns of role KEY */
    size_t n_keys;
    /* The columns of role VERSION, the weightiest first: of two rows with one key the one that is
     * higher in the first version that differs is newer. Never an OR of them. */
    const int *versions;
    size_t n_versions;
};

/* Columns of the events model: the index into its table. */
enum tr_event_column {
    TR_EVENT_UUID,
    TR_EVENT_EVENT,
    TR_EVENT_PROPERTIES,
    TR_EVENT_ELEMENTS, /* the chain as a JSON string; NULL without one */
    TR_EVENT_SET,
    TR_EVENT_SET_ONCE,
    TR_EVENT_DISTINCT_ID,
    TR_EVENT_TEAM_ID,
    TR_EVENT_IP,
    TR_EVENT_SITE_URL, /* always empty: kept because PostHog's tables have it */
    TR_EVENT_TIMESTAMP,
    TR_EVENT_ELEMENTS_CHAIN, /* the chain as text */
    TR_EVENT_CREATED_AT,     /* when the server took it: inserted_at */
    TR_EVENT_INSERTED_AT,    /* "_inserted_at": the ingestion clock, unique */
    TR_EVENT_PERSON_ID,
    TR_EVENT_PERSON_PROPERTIES, /* as they were right after the event */
    TR_EVENT_GROUP_0,           /* the key of the project's first group type; then four more */
    TR_EVENT_GROUP_4 = TR_EVENT_GROUP_0 + 4,
    TR_EVENT_SENT_AT, /* "_sent_at": when the row was read to be sent */
    TR_EVENT_COLUMNS
};

/* Persons: one row per distinct id that belongs to a person. */
enum tr_person_column {
    TR_PERSON_TEAM_ID,
    TR_PERSON_DISTINCT_ID,
    TR_PERSON_ID,
    TR_PERSON_PROPERTIES,
    TR_PERSON_VERSION,
    TR_PERSON_DISTINCT_ID_VERSION,
    TR_PERSON_CREATED_AT,
    TR_PERSON_IS_DELETED,
    TR_PERSON_IS_IDENTIFIED,
    TR_PERSON_INSERTED_AT, /* the ingestion instant of the row's last change */
    TR_PERSON_COLUMNS
};

enum tr_group_column {
    TR_GROUP_TEAM_ID,
    TR_GROUP_TYPE_INDEX,
    TR_GROUP_TYPE,
    TR_GROUP_KEY,
    TR_GROUP_PROPERTIES,
    TR_GROUP_VERSION,
    TR_GROUP_CREATED_AT,
    TR_GROUP_INSERTED_AT,
    TR_GROUP_COLUMNS
};

enum tr_session_column {
    TR_SESSION_ID,
    TR_SESSION_ID_V7,
    TR_SESSION_TEAM_ID,
    TR_SESSION_DISTINCT_ID,
    TR_SESSION_START_TIMESTAMP,
    TR_SESSION_END_TIMESTAMP,
    TR_SESSION_URLS,
    TR_SESSION_NUM_UNIQ_URLS,
    TR_SESSION_ENTRY_CURRENT_URL,
    TR_SESSION_ENTRY_PATHNAME,
    TR_SESSION_ENTRY_HOSTNAME,
    TR_SESSION_END_CURRENT_URL,
    TR_SESSION_END_PATHNAME,
    TR_SESSION_END_HOSTNAME,
    TR_SESSION_ENTRY_UTM_SOURCE,
    TR_SESSION_ENTRY_UTM_CAMPAIGN,
    TR_SESSION_ENTRY_UTM_MEDIUM,
    TR_SESSION_ENTRY_UTM_TERM,
    TR_SESSION_ENTRY_UTM_CONTENT,
    TR_SESSION_ENTRY_REFERRING_DOMAIN,
    TR_SESSION_ENTRY_GCLID,
    TR_SESSION_ENTRY_FBCLID,
    TR_SESSION_ENTRY_GAD_SOURCE,
    TR_SESSION_PAGEVIEW_COUNT,
    TR_SESSION_AUTOCAPTURE_COUNT,
    TR_SESSION_SCREEN_COUNT,
    TR_SESSION_CHANNEL_TYPE,
    TR_SESSION_SESSION_DURATION,
    TR_SESSION_DURATION,
    TR_SESSION_IS_BOUNCE,
    TR_SESSION_LAST_EXTERNAL_CLICK_URL,
    TR_SESSION_PAGE_SCREEN_AUTOCAPTURE_COUNT_UP_TO,
    TR_SESSION_EXIT_CURRENT_URL,
    TR_SESSION_EXIT_PATHNAME,
    TR_SESSION_VITALS_LCP,
    TR_SESSION_INSERTED_AT, /* the ingestion instant of the last change: the version */
    TR_SESSION_ENTRY_GCLSRC,
    TR_SESSION_ENTRY_DCLID,
    TR_SESSION_ENTRY_GBRAID,
    TR_SESSION_ENTRY_WBRAID,
    TR_SESSION_ENTRY_MSCLKID,
    TR_SESSION_ENTRY_TWCLID,
    TR_SESSION_ENTRY_LI_FAT_ID,
    TR_SESSION_ENTRY_MC_CID,
    TR_SESSION_ENTRY_IGSHID,
    TR_SESSION_ENTRY_TTCLID,
    TR_SESSION_ENTRY_KX,
    TR_SESSION_ENTRY_IRCLID,
    TR_SESSION_COLUMNS
};

extern const struct tr_schema tr_schema_events, tr_schema_persons, tr_schema_sessions,
    tr_schema_groups;
extern const struct tr_schema *const tr_schemas[TR_MODELS]; /* by enum tr_model */

/* NULL when the name is not a model of this program. */
const struct tr_schema *tr_schema_by_name(struct tr_str name);

/* -1 when the model has no such column. */
int tr_schema_find(const struct tr_schema *s, struct tr_str column);

#endif
