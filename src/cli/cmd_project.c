#include <string.h>

#include "cli/cli_priv.h"

static const struct cli_column columns[] = {
    { "ID", "id", CLI_TEXT },
    { "NAME", "name", CLI_TEXT },
    { "CAPTURE TOKEN", "capture_token", CLI_TEXT },
    { "CREATED", "created_at", CLI_TIME },
    { .title = NULL },
};

int cli_project_create(struct cli *c)
{
    json_t *body = json_pack("{s:s}", "name", c->argument[0]);
    json_t *answer = NULL;

    if (body == NULL) {
        (void)fprintf(stderr, "error: the name is not UTF-8\n");
        return CLI_USAGE;
    }
    if (cli_given(c, "--capture-token"))
        (void)json_object_set_new(body, "capture_token",
                                  json_string(cli_value(c, "--capture-token")));
    int status = cli_call(c, "POST", "/api/projects/", body, &answer);
    json_decref(body);
    return status != CLI_OK ? status : cli_show(c, answer, columns);
}

int cli_project_list(struct cli *c)
{
    json_t *answer = NULL;
    int status = cli_call(c, "GET", "/api/projects/", NULL, &answer);

    if (status != CLI_OK)
        return status;
    return cli_show_list(c, answer, columns, "There is no project yet.");
}

int cli_project_show(struct cli *c)
{
    json_t *answer = NULL;
    char path[96];

    if (strlen(c->argument[0]) > 20 ||
        strspn(c->argument[0], "0123456789") != strlen(c->argument[0])) {
        (void)fprintf(stderr, "error: a project's id is a number\n");
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/api/projects/%s/", c->argument[0]);
    int status = cli_call(c, "GET", path, NULL, &answer);
    return status != CLI_OK ? status : cli_show(c, answer, columns);
}
