/* The command line: which command, its arguments and options, and --help on every level. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli_priv.h"

static const struct cli_option globals[] = {
    { "--server", NULL, "URL", "the server (TAILRACE_SERVER, http://127.0.0.1:8000)", false },
    { "--token", NULL, "TOKEN", "API token (TAILRACE_TOKEN, or the file tailrace-data/owner-token)",
      false },
    { "--project", "-p", "ID", "the project (1)", false },
    { "--json", NULL, NULL, "print JSON", false },
    { .name = NULL },
};

/* ---- help ---- */

static void print_option(const struct cli_option *o)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "%s%s%s%s%s", o->alias == NULL ? "" : o->alias,
                   o->alias == NULL ? "" : ", ", o->name, o->value == NULL ? "" : " ",
                   o->value == NULL ? "" : o->value);
    (void)printf("  %-24s %s%s\n", left, o->doc, o->required ? " (required)" : "");
}

static void print_title(const struct cli_command *c, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "%s%s%s", c->group, c->name == NULL ? "" : " ",
                                c->name == NULL ? "" : c->name);

    for (const char *const *a = c->arguments; *a != NULL && n < cap; a++)
        n += (size_t)snprintf(out + n, cap - n, " %s", *a);
}

static void help_command(const struct cli_command *c)
{
    char title[96];

    print_title(c, title, sizeof(title));
    (void)printf("Usage: tailrace %s [options]\n\n%s\n\nOptions:\n", title, c->doc);
    for (const struct cli_option *o = c->options;
         o < c->options + CLI_MAX_OPTIONS && o->name != NULL; o++)
        print_option(o);
    for (const struct cli_option *o = globals; o->name != NULL; o++)
        print_option(o);
    print_option(&(struct cli_option){ "--help", NULL, NULL, "this text", false });
    (void)printf("\nExit status: 0 done, 1 refused or failed, 2 wrong usage.\n");
}

static void print_commands(const char *group)
{
    char title[96];

    for (const struct cli_command *c = cli_commands; c->group != NULL; c++) {
        if (group != NULL && strcmp(group, c->group) != 0)
            continue;
        print_title(c, title, sizeof(title));
        (void)printf("  %-26s %s\n", title, c->doc);
    }
}

void tr_cli_usage(void)
{
    print_commands(NULL);
}

static void help_group(const char *group)
{
    (void)printf("Usage: tailrace %s COMMAND [options]\n\n", group);
    print_commands(group);
    (void)printf("\ntailrace %s COMMAND --help says more.\n", group);
}

/* ---- which command ---- */

static bool has_group(const char *group)
{
    for (const struct cli_command *c = cli_commands; c->group != NULL; c++)
        if (strcmp(c->group, group) == 0)
            return true;
    return false;
}

static const struct cli_command *find_command(const char *group, const char *name)
{
    for (const struct cli_command *c = cli_commands; c->group != NULL; c++)
        if (strcmp(c->group, group) == 0 &&
            (c->name == NULL || (name != NULL && strcmp(c->name, name) == 0)))
            return c;
    return NULL;
}

static int choose_command(int argc, char **argv, struct cli *ret, bool *ret_help)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!has_group(argv[0])) {
        (void)fprintf(stderr, "error: there is no command '%s'; tailrace --help lists them\n",
                      argv[0]);
        return CLI_USAGE;
    }
    ret->command = find_command(argv[0], name);
    if (ret->command != NULL)
        return CLI_OK;
    if (name != NULL && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
        help_group(argv[0]);
        *ret_help = true;
        return CLI_OK;
    }
    if (name == NULL)
        (void)fprintf(stderr, "error: %s what? tailrace %s --help lists its commands\n", argv[0],
                      argv[0]);
    else
        (void)fprintf(stderr, "error: there is no command '%s %s'; tailrace %s --help lists them\n",
                      argv[0], name, argv[0]);
    return CLI_USAGE;
}

/* ---- options ---- */

static bool is_option(const struct cli_option *o, const char *arg, size_t n)
{
    return (strlen(o->name) == n && memcmp(o->name, arg, n) == 0) ||
           (o->alias != NULL && strlen(o->alias) == n && memcmp(o->alias, arg, n) == 0);
}

/* Where the value of an option goes; NULL: there is no such option. */
static const char **place(struct cli *c, const char *arg, size_t n, const struct cli_option **ret)
{
    for (size_t i = 0; i < CLI_MAX_OPTIONS && c->command->options[i].name != NULL; i++)
        if (is_option(&c->command->options[i], arg, n)) {
            *ret = &c->command->options[i];
            return &c->value[i];
        }
    for (size_t i = 0; globals[i].name != NULL; i++)
        if (is_option(&globals[i], arg, n)) {
            static const char *json;
            const char **fields[] = { &c->server, &c->token, &c->project, &json };
            *ret = &globals[i];
            return fields[i];
        }
    return NULL;
}

static int read_option(int argc, char **argv, int *i, struct cli *c)
{
    const char *arg = argv[*i];
    size_t n = arg[1] == '-' ? strcspn(arg, "=") : strlen(arg);
    const struct cli_option *o = NULL;
    const char **to = place(c, arg, n, &o);

    if (to == NULL) {
        (void)fprintf(stderr,
                      "error: there is no option '%s' here; add --help for those that are\n", arg);
        return CLI_USAGE;
    }
    if (o->value == NULL) {
        if (arg[n] == '=') {
            (void)fprintf(stderr, "error: %s takes no value\n", o->name);
            return CLI_USAGE;
        }
        *to = "";
        if (strcmp(o->name, "--json") == 0)
            c->json = true;
        return CLI_OK;
    }
    if (arg[n] == '=') {
        *to = arg + n + 1;
    } else if (*i + 1 < argc) {
        *to = argv[++*i];
    } else {
        (void)fprintf(stderr, "error: %s needs a value: %s\n", o->name, o->value);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int check_complete(const struct cli *c, size_t arguments)
{
    const struct cli_command *m = c->command;

    if (m->arguments[arguments] != NULL) {
        (void)fprintf(stderr, "error: %s is missing; add --help for the usage\n",
                      m->arguments[arguments]);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < CLI_MAX_OPTIONS && m->options[i].name != NULL; i++)
        if (m->options[i].required && c->value[i] == NULL) {
            (void)fprintf(stderr, "error: %s %s is missing: %s\n", m->options[i].name,
                          m->options[i].value, m->options[i].doc);
            return CLI_USAGE;
        }
    return CLI_OK;
}

static const char *environment(const char *given, const char *name, const char *fallback)
{
    const char *value = given != NULL ? given : getenv(name);

    return value == NULL || value[0] == '\0' ? fallback : value;
}

int cli_parse(int argc, char **argv, struct cli *ret, bool *ret_help)
{
    size_t arguments = 0;
    bool options_end = false;

    *ret = (struct cli){ 0 };
    *ret_help = false;
    int status = choose_command(argc, argv, ret, ret_help);
    if (status != CLI_OK || *ret_help)
        return status;
    for (int i = ret->command->name == NULL ? 1 : 2; i < argc && status == CLI_OK; i++) {
        const char *arg = argv[i];

        if (!options_end && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            help_command(ret->command);
            *ret_help = true;
            return CLI_OK;
        }
        if (!options_end && strcmp(arg, "--") == 0) {
            options_end = true;
        } else if (!options_end && arg[0] == '-' && arg[1] != '\0') {
            status = read_option(argc, argv, &i, ret);
        } else if (ret->command->arguments[arguments] == NULL) {
            (void)fprintf(stderr, "error: unexpected argument '%s'\n", arg);
            status = CLI_USAGE;
        } else {
            ret->argument[arguments++] = arg;
        }
    }
    if (status == CLI_OK)
        status = check_complete(ret, arguments);
    ret->server = environment(ret->server, "TAILRACE_SERVER", "http://127.0.0.1:8000");
    ret->token = environment(ret->token, "TAILRACE_TOKEN", NULL);
    ret->project = environment(ret->project, "TAILRACE_PROJECT", "1");
    return status;
}

const char *cli_value(const struct cli *c, const char *option)
{
    for (size_t i = 0; i < CLI_MAX_OPTIONS && c->command->options[i].name != NULL; i++)
        if (strcmp(c->command->options[i].name, option) == 0)
            return c->value[i];
    return NULL;
}
