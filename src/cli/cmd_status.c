#include <string.h>

#include "cli/cli_priv.h"

int cli_status(struct cli *c)
{
    static const struct cli_column server[] = {
        { "version", "version", CLI_TEXT },
        { "installation", "installation_id", CLI_TEXT },
        { "organization", "organization_id", CLI_TEXT },
        { "google identity", "google_identity", CLI_TEXT },
        { "google description", "google_description", CLI_TEXT },
        { "clock", "now", CLI_TIME },
        { "ready", "store.ready", CLI_FLAG },
        { "why", "store.why", CLI_TEXT },
        { "hint", "store.hint", CLI_TEXT },
        { "trouble", "store.trouble", CLI_TEXT },
        { "events", "store.events", CLI_COUNT },
        { "last event", "store.last_event_at", CLI_TIME },
        { "applied through", "store.applied_through", CLI_TIME },
        { "journal", "store.journal_bytes", CLI_BYTES },
        { "blocks", "store.block_bytes", CLI_BYTES },
        { "held from", "store.floor", CLI_TIME },
        { .title = NULL },
    };
    static const struct cli_column exports[] = {
        { "EXPORT", "id", CLI_TEXT },
        { "PROJECT", "project_id", CLI_COUNT },
        { "NAME", "name", CLI_TEXT },
        { "TYPE", "type", CLI_TEXT },
        { "PAUSED", "paused", CLI_FLAG },
        { "DELIVERED THROUGH", "delivered_through", CLI_TIME },
        { "LAG (s)", "lag_seconds", CLI_TEXT },
        { "OPEN", "open_runs", CLI_COUNT },
        { "FAILED", "failed_runs", CLI_COUNT },
        { .title = NULL },
    };
    json_t *answer = NULL;
    int status = cli_call(c, "GET", "/api/status/", NULL, &answer);

    if (status != CLI_OK)
        return status;
    if (c->json) {
        cli_print_json(answer);
    } else {
        if (json_is_null(json_object_get(answer, "google_identity")))
            (void)json_object_set_new(answer, "google_identity",
                                      json_string("none (serve --google-identity gives one)"));
        cli_fields(stdout, answer, server);
        (void)printf("\n");
        cli_table(stdout, json_object_get(answer, "exports"), exports, "There is no export yet.");
    }
    json_decref(answer);
    return CLI_OK;
}

/* The options of a type as rows, from their JSON schema. */
static json_t *option_rows(const json_t *type)
{
    json_t *schema = json_object_get(type, "schema");
    json_t *properties = json_object_get(schema, "properties");
    json_t *rows = json_array();
    const char *name = NULL;
    json_t *p = NULL;

    json_object_foreach(properties, name, p)
    {
        json_t *row = json_pack("{s:s}", "name", name);
        size_t i = 0;
        json_t *required = NULL;

        (void)json_object_update(row, p);
        json_array_foreach(json_object_get(schema, "required"), i, required)
        {
            if (strcmp(json_string_value(required), name) == 0)
                (void)json_object_set_new(row, "required", json_true());
        }
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

int cli_destinations(struct cli *c)
{
    static const struct cli_column options[] = {
        { "OPTION", "name", CLI_TEXT },
        { "TYPE", "type", CLI_TEXT },
        { "REQUIRED", "required", CLI_FLAG },
        { "DEFAULT", "default", CLI_TEXT },
        { "CHOICES", "enum", CLI_TEXT },
        { "WHAT", "description", CLI_TEXT },
        { .title = NULL },
    };
    json_t *answer = NULL;
    json_t *type = NULL;
    size_t i = 0;
    int status = cli_call(c, "GET", "/api/destinations/", NULL, &answer);

    if (status != CLI_OK)
        return status;
    if (c->json)
        cli_print_json(answer);
    else
        json_array_foreach(json_object_get(answer, "results"), i, type)
        {
            json_t *rows = option_rows(type);
            (void)printf("%s%s\n", i == 0 ? "" : "\n",
                         json_string_value(json_object_get(type, "type")));
            cli_table(stdout, rows, options, "no options");
            json_decref(rows);
        }
    json_decref(answer);
    return CLI_OK;
}
