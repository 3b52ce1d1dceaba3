#include <stdint.h>
#include <string.h>

#include "cli/cli_priv.h"

static const struct cli_column list_columns[] = {
    { "ID", "id", CLI_TEXT },
    { "NAME", "name", CLI_TEXT },
    { "TYPE", "destination.type", CLI_TEXT },
    { "EVERY", "interval", CLI_TEXT },
    { "PAUSED", "paused", CLI_FLAG },
    { "LATEST RUN", "latest", CLI_TEXT },
    { "UP TO", "latest_end", CLI_TIME },
    { .title = NULL },
};

static const struct cli_column fields[] = {
    { "id", "id", CLI_TEXT },
    { "name", "name", CLI_TEXT },
    { "model", "model", CLI_TEXT },
    { "destination", "destination.type", CLI_TEXT },
    { "target", "target", CLI_TEXT },
    { "config", "destination.config", CLI_TEXT },
    { "every", "interval", CLI_TEXT },
    { "timezone", "timezone", CLI_TEXT },
    { "day offset", "offset_day", CLI_TEXT },
    { "hour offset", "offset_hour", CLI_TEXT },
    { "paused", "paused", CLI_FLAG },
    { "from", "start_at", CLI_TIME },
    { "until", "end_at", CLI_TIME },
    { "filters", "filters", CLI_TEXT },
    { "columns", "columns", CLI_TEXT },
    { "created", "created_at", CLI_TIME },
    { "changed", "last_updated_at", CLI_TIME },
    { .title = NULL },
};

static int show(struct cli *c, json_t *answer)
{
    if (c->json)
        return cli_show(c, answer, fields);
    json_t *runs = json_incref(json_object_get(answer, "latest_runs"));
    int status = cli_show(c, answer, fields);
    if (json_array_size(runs) > 0) {
        (void)printf("\nLatest runs:\n");
        cli_table(stdout, runs, cli_run_columns, "");
    }
    json_decref(runs);
    return status;
}

static int send_body(struct cli *c, const char *method, const char *id)
{
    json_t *body = cli_read_body(cli_value(c, "--file"));
    json_t *answer = NULL;

    if (body == NULL || !cli_read_key_file(body)) {
        json_decref(body);
        return CLI_REFUSED;
    }
    if (cli_given(c, "--test"))
        (void)json_object_set_new(body, "test", json_true());
    int status = cli_export_call(c, method, id, "", body, &answer);
    json_decref(body);
    return status != CLI_OK ? status : show(c, answer);
}

int cli_export_create(struct cli *c)
{
    return send_body(c, "POST", NULL);
}

int cli_export_update(struct cli *c)
{
    return send_body(c, cli_given(c, "--replace") ? "PUT" : "PATCH", c->argument[0]);
}

int cli_export_list(struct cli *c)
{
    json_t *answer = NULL;
    json_t *e = NULL;
    size_t i = 0;
    int status = cli_export_call(c, "GET", NULL, "?limit=1000", NULL, &answer);

    if (status != CLI_OK)
        return status;
    json_array_foreach(json_object_get(answer, "results"), i, e)
    {
        json_t *run = json_array_get(json_object_get(e, "latest_runs"), 0);
        if (c->json || run == NULL)
            continue;
        (void)json_object_set(e, "latest", json_object_get(run, "status"));
        (void)json_object_set(e, "latest_end", json_object_get(run, "data_interval_end"));
    }
    return cli_show_list(c, answer, list_columns,
                         "There is no export yet: tailrace export create -f FILE makes one.");
}

int cli_export_show(struct cli *c)
{
    json_t *answer = NULL;
    int status = cli_export_call(c, "GET", c->argument[0], "", NULL, &answer);

    return status != CLI_OK ? status : show(c, answer);
}

/* After a change that answers little: the export's id and what came of it. */
static int changed(struct cli *c, json_t *answer, const char *done)
{
    if (!c->json)
        (void)printf("%s %s\n", done, c->argument[0]);
    else {
        if (answer == NULL)
            answer = json_object();
        (void)json_object_set_new(answer, "id", json_string(c->argument[0]));
        cli_print_json(answer);
    }
    json_decref(answer);
    return CLI_OK;
}

int cli_export_pause(struct cli *c)
{
    json_t *answer = NULL;
    int status = cli_export_post(c, c->argument[0], "pause/", NULL, &answer);

    return status != CLI_OK ? status : changed(c, answer, "paused");
}

int cli_export_unpause(struct cli *c)
{
    json_t *answer = NULL;
    json_t *body = json_pack("{s:b}", "backfill", (int)cli_given(c, "--backfill"));
    int status = cli_export_post(c, c->argument[0], "unpause/", body, &answer);

    return status != CLI_OK ? status : changed(c, answer, "unpaused");
}

int cli_export_delete(struct cli *c)
{
    json_t *answer = NULL;
    int status = cli_export_call(c, "DELETE", c->argument[0], "", NULL, &answer);

    if (status != CLI_OK)
        return status;
    if (c->json)
        answer = json_pack("{s:b}", "deleted", 1);
    return changed(c, answer, "deleted");
}

int cli_export_logs(struct cli *c)
{
    static const struct cli_column columns[] = {
        { "TIME", "timestamp", CLI_TIME },
        { "LEVEL", "level", CLI_TEXT },
        { "RUN", "run_id", CLI_NOTE },
        { "MESSAGE", "message", CLI_TEXT },
        { .title = NULL },
    };
    json_t *answer = NULL;
    struct tr_buf rest;

    tr_buf_init(&rest, 256);
    tr_buf_z(&rest, "logs/");
    if (cli_given(c, "--limit"))
        cli_add_query(&rest, "limit", cli_value(c, "--limit"));
    tr_buf_ch(&rest, '\0');
    int status = cli_export_call(c, "GET", c->argument[0], rest.p, NULL, &answer);
    tr_buf_fini(&rest);
    if (status != CLI_OK)
        return status;
    return cli_show_list(c, answer, columns, "The log is empty.");
}

int cli_export_test(struct cli *c)
{
    static const struct cli_column columns[] = {
        { "STEP", "name", CLI_TEXT },
        { "RESULT", "status", CLI_TEXT },
        { "MESSAGE", "message", CLI_NOTE },
        { "HINT", "hint", CLI_NOTE },
        { .title = NULL },
    };
    json_t *answer = NULL;
    json_t *results = json_array();
    struct tr_buf rest;
    bool passed = true;
    int status = cli_export_call(c, "GET", c->argument[0], "", NULL, &answer);

    if (status == CLI_OK) {
        const json_t *type = cli_at(answer, "destination.type");
        const json_t *interval = cli_at(answer, "interval");
        json_t *steps = NULL;
        tr_buf_init(&rest, 1024);
        tr_buf_z(&rest, "test/");
        cli_add_query(&rest, "destination", json_is_string(type) ? json_string_value(type) : "");
        cli_add_query(&rest, "interval",
                      json_is_string(interval) ? json_string_value(interval) : "");
        tr_buf_ch(&rest, '\0');
        status = cli_export_call(c, "GET", NULL, rest.p, NULL, &steps);
        tr_buf_fini(&rest);
        size_t n = json_array_size(json_object_get(steps, "steps"));
        json_decref(steps);
        for (size_t i = 0; i < n && status == CLI_OK && passed; i++) {
            json_t *result = NULL;
            status = cli_export_post(c, c->argument[0], "run_test_step/",
                                     json_pack("{s:I}", "step", (json_int_t)i), &result);
            const char *word = json_string_value(json_object_get(result, "status"));
            passed = status == CLI_OK && word != NULL && strcmp(word, "Failed") != 0;
            if (result != NULL)
                (void)json_array_append_new(results, result);
        }
    }
    json_decref(answer);
    if (status != CLI_OK) {
        json_decref(results);
        return status;
    }
    (void)cli_show_list(c, json_pack("{s:o}", "results", results), columns,
                        "This type has no test steps.");
    return passed ? CLI_OK : CLI_REFUSED;
}
