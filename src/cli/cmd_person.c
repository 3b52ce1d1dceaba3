#include <string.h>

#include "cli/cli_priv.h"

static const struct cli_column fields[] = {
    { "id", "id", CLI_TEXT },
    { "distinct ids", "distinct_ids", CLI_TEXT },
    { "created", "created_at", CLI_TIME },
    { "changed", "changed_at", CLI_TIME },
    { "version", "version", CLI_COUNT },
    { "identified", "is_identified", CLI_FLAG },
    { "deleted", "is_deleted", CLI_FLAG },
    { .title = NULL },
};

static const struct cli_column warnings[] = {
    { "DAY", "day", CLI_TIME },
    { "TYPE", "type", CLI_TEXT },
    { "EVENTS", "count", CLI_COUNT },
    { "LAST", "last_at", CLI_TIME },
    { "DISTINCT ID", "distinct_id", CLI_TEXT },
    { "OTHER", "other", CLI_NOTE },
    { .title = NULL },
};

/* "/api/projects/<project>/<rest>" */
static void project_path(const struct cli *c, const char *rest, struct tr_buf *out)
{
    tr_buf_init(out, 8192);
    tr_buf_printf(out, "/api/projects/%s/%s", c->project, rest);
}

static int call(const struct cli *c, const char *method, struct tr_buf *path, json_t **ret)
{
    tr_buf_ch(path, '\0');
    int status = path->failed ? CLI_USAGE : cli_call(c, method, path->p, NULL, ret);

    tr_buf_fini(path);
    return status;
}

static bool is_id(const char *text)
{
    return strlen(text) == 36 && strspn(text, "0123456789abcdefABCDEF-") == 36;
}

static int show(const struct cli *c, json_t *person)
{
    if (c->json)
        return cli_show(c, person, fields);
    cli_fields(stdout, person, fields);
    char *text =
        json_dumps(json_object_get(person, "properties"), JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    (void)printf("properties\n%s\n", text == NULL ? "" : text);
    free(text);
    json_decref(person);
    return CLI_OK;
}

int cli_person_show(struct cli *c)
{
    struct tr_buf path;
    json_t *answer = NULL;
    bool by_id = is_id(c->argument[0]) && !cli_given(c, "--distinct-id");

    project_path(c, "persons/", &path);
    if (by_id)
        tr_buf_printf(&path, "%s/", c->argument[0]);
    else
        cli_add_query(&path, "distinct_id", c->argument[0]);
    int status = call(c, "GET", &path, &answer);
    if (status != CLI_OK || by_id)
        return status != CLI_OK ? status : show(c, answer);
    json_t *person = json_incref(json_array_get(json_object_get(answer, "results"), 0));
    json_decref(answer);
    if (person != NULL)
        return show(c, person);
    (void)fprintf(stderr,
                  "error: no person has the distinct id %s\n"
                  "hint: events with $process_person_profile false make none\n",
                  c->argument[0]);
    return CLI_REFUSED;
}

int cli_person_delete(struct cli *c)
{
    struct tr_buf path;
    json_t *answer = NULL;

    if (!is_id(c->argument[0])) {
        (void)fprintf(stderr, "error: a person's id is a UUID; tailrace person show DISTINCT-ID "
                              "tells it\n");
        return CLI_USAGE;
    }
    project_path(c, "persons/", &path);
    tr_buf_printf(&path, "%s/", c->argument[0]);
    if (cli_given(c, "--with-distinct-ids"))
        cli_add_query(&path, "distinct_ids", "true");
    int status = call(c, "DELETE", &path, &answer);
    json_decref(answer);
    if (status == CLI_OK && !c->json)
        (void)printf("deleted\n");
    return status;
}

int cli_project_warnings(struct cli *c)
{
    struct tr_buf path;
    json_t *answer = NULL;

    project_path(c, "warnings/", &path);
    if (cli_given(c, "--limit"))
        cli_add_query(&path, "limit", cli_value(c, "--limit"));
    int status = call(c, "GET", &path, &answer);
    if (status != CLI_OK)
        return status;
    return cli_show_list(c, answer, warnings, "Nothing was wrong with any event.");
}

int cli_unknown_tokens(struct cli *c)
{
    static const struct cli_column columns[] = {
        { "CAPTURE TOKEN", "capture_token", CLI_TEXT },
        { "REQUESTS", "requests", CLI_COUNT },
        { "LAST", "last_at", CLI_TIME },
        { .title = NULL },
    };
    json_t *answer = NULL;
    int status = cli_call(c, "GET", "/api/unknown_tokens/", NULL, &answer);

    if (status != CLI_OK)
        return status;
    return cli_show_list(c, answer, columns,
                         "No request came with a capture token that is no project's.");
}
