/* The members that request bodies may have, route by route: the one place that says so. */
#include <stdint.h>
#include <stdio.h>

#include "api/api_priv.h"

#define EXPORT_FIELDS                                                                              \
    "name", "model", "interval", "timezone", "offset_day", "offset_hour", "destination", "paused", \
        "start_at", "end_at", "filters", "columns", "test"

const char *const api_export_fields[] = { EXPORT_FIELDS, NULL };
static const char *const new_step[] = { EXPORT_FIELDS, "step", NULL };

/* What answers hold and a client may send back, and what PostHog has besides: model/export.c says
 * what becomes of the latter. */
static const char *const export_ignored[] = { "id",
                                              "team_id",
                                              "target",
                                              "version",
                                              "created_at",
                                              "last_updated_at",
                                              "latest_runs",
                                              "last_paused_at",
                                              "schema",
                                              "organization_id",
                                              "project",
                                              "deleted",
                                              "hogql_query",
                                              "hogql_modifiers",
                                              "primary_key",
                                              "version_key",
                                              "incremental_mode",
                                              "schema_evolution",
                                              NULL };

static const char *const project[] = { "name", "capture_token", NULL };
static const char *const project_ignored[] = { "id", "api_token", "created_at", NULL };
static const char *const step[] = { "step", "destination", NULL };
static const char *const unpause[] = { "backfill", NULL };
static const char *const backfill[] = { "start_at", "end_at", "on_delivered", "parallel", NULL };

const struct api_fields api_fields_project = { project, project_ignored };
const struct api_fields api_fields_export = { api_export_fields, export_ignored };
const struct api_fields api_fields_new_step = { new_step, export_ignored };
const struct api_fields api_fields_step = { step, NULL };
const struct api_fields api_fields_unpause = { unpause, NULL };
const struct api_fields api_fields_backfill = { backfill, NULL };

static bool listed(const char *const *list, const char *name)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

enum tr_rc api_only_known(struct api_call *c, const json_t *object, const char *prefix,
                          const struct api_fields *fields, struct tr_err *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    char attr[sizeof(c->attr)];
    char names[200] = "";

    for (const char *const *k = fields == NULL ? NULL : fields->known; k != NULL && *k != NULL; k++)
        (void)snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
                       k == fields->known ? "there are " : ", ", *k);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (fields != NULL && (listed(fields->known, key) || listed(fields->ignored, key)))
            continue;
        (void)snprintf(attr, sizeof(attr), "%s%.40s", prefix, key);
        return api_bad(c, err, attr, "unknown_field", NULL, "there is no such field here; %s",
                       names[0] == '\0' ? "this address takes none" : names);
    }
    return TR_OK;
}
