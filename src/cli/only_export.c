/* --export may be left out where a project has one export: the command means that one. */
#include <string.h>

#include "cli/cli_priv.h"

/* The place of --export among the command's options, -1 when it has none. */
static int find_option(const struct cli *c)
{
    for (int i = 0; i < CLI_MAX_OPTIONS && c->command->options[i].name != NULL; i++)
        if (strcmp(c->command->options[i].name, "--export") == 0)
            return i;
    return -1;
}

int cli_only_export(struct cli *c)
{
    int option = find_option(c);
    json_t *answer = NULL;

    if (option < 0 || c->value[option] != NULL)
        return CLI_OK;
    int status = cli_export_call(c, "GET", NULL, "", NULL, &answer);
    if (status != CLI_OK)
        return status;
    const json_t *all = cli_at(answer, "results");
    const char *id = json_string_value(cli_at(json_array_get(all, 0), "id"));
    if (json_array_size(all) == 1 && id != NULL && strlen(id) < sizeof(c->only_export)) {
        (void)strcpy(c->only_export, id);
        c->value[option] = c->only_export;
    } else {
        (void)fprintf(stderr,
                      "error: project %s has %zu exports: say which with --export ID\n"
                      "hint: `tailrace export list` shows them\n",
                      c->project, json_array_size(all));
        status = CLI_USAGE;
    }
    json_decref(answer);
    return status;
}
