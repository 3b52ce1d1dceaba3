/* An export: what a person configured. Parsed from and printed as the API's JSON (PostHog's shape).
 *
 *   { "name", "model": "events", "interval": "hour", "timezone": "UTC", "offset_day",
 * "offset_hour", "destination": { "type": "Postgres", "config": {..} }, "paused", "start_at",
 * "end_at", "filters": [..], "columns": [ "uuid", {"name": "event", "as": "event_name"} ] }
 *
 * include_events / exclude_events stand in the destination's config, as there; they are taken out
 * of it before the adapter sees it.
 */
#ifndef TR_MODEL_EXPORT_H
#define TR_MODEL_EXPORT_H

#include <jansson.h>

#include "model/filter.h"
#include "model/projection.h"
#include "model/schedule.h"

struct tr_export {
    struct tr_uuid id;
    int32_t project;
    char *name;
    const struct tr_schema *schema;
    struct tr_schedule schedule;
    int64_t start_at, end_at; /* INT64_MIN / INT64_MAX: no bound */
    bool paused, deleted;
    char *dest_type;
    json_t *dest_config; /* without include_events / exclude_events; secrets included */
    json_t *include, *exclude, *filters; /* or NULL */
    json_t *columns;                     /* or NULL: the destination's default list */
    uint64_t target;                     /* hash of target_text */
    char *target_text;
    int64_t created_at, updated_at, last_paused_at; /* last_paused_at 0: never */
    uint64_t version;                               /* raised by each change */
};

static inline bool tr_export_is_live(const struct tr_export *e)
{
    return e->schedule.unit == TR_UNIT_REALTIME;
}

/* Parses and checks a whole body (create) or a body merged onto an old one (update). Destination
 * options are checked by the caller, who knows the adapters. */
TR_MUST_USE enum tr_rc tr_export_parse(const json_t *body, struct tr_export **ret,
                                       struct tr_err *err);
void tr_export_free(struct tr_export *e);

/* Never delivered: anything outside [start_at, end_at). */
static inline struct tr_range tr_export_bounds(const struct tr_export *e)
{
    return (struct tr_range){ e->start_at, e->end_at };
}

/* columns as a projection; names point into e. Without columns: the defaults, and what else the
 * model has as optional columns. TR_INVALID for a column that the model does not have, a name used
 * twice, a key or version of a mutable model that is left out. */
TR_MUST_USE enum tr_rc tr_export_projection(const struct tr_export *e,
                                            const struct tr_default_column *defaults,
                                            struct tr_projection *ret, struct tr_err *err);

#endif
