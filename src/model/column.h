/* One column table per model: what a row of the model has, by name, type and role.
 *
 * Default lists, DDL, encoders, previews and docs all come from here. Adding a column means a line
 * in columns_events.c (or its model's file) and a case where the source fills it.
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
};

enum tr_column_role {
    TR_ROLE_PLAIN,
    TR_ROLE_KEY,     /* identifies the row (mutable models) or the event (uuid) */
    TR_ROLE_VERSION, /* the higher one wins (mutable models) */
};

enum tr_model { TR_MODEL_EVENTS, TR_MODEL_PERSONS, TR_MODEL_SESSIONS, TR_MODEL_GROUPS };

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
    TR_EVENT_COLUMNS
};

extern const struct tr_schema tr_schema_events;

/* NULL when the name is not a model of this program. */
const struct tr_schema *tr_schema_by_name(struct tr_str name);

/* -1 when the model has no such column. */
int tr_schema_find(const struct tr_schema *s, struct tr_str column);

#endif
