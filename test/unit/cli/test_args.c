/* Command lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli_priv.h"

enum { MOST = 12 };

static const struct args_case {
    const char *name;
    const char *argv[MOST];
    int want;
    const char *option, *value; /* what an option must be then */
    const char *argument;
} cases[] = {
    { "a command with its argument", { "project", "create", "shop" }, CLI_OK, NULL, NULL, "shop" },
    { "an option after the argument",
      { "project", "create", "shop", "--capture-token", "phc_x" },
      CLI_OK,
      "--capture-token",
      "phc_x",
      "shop" },
    { "an option before the argument",
      { "project", "create", "--capture-token=phc_x", "shop" },
      CLI_OK,
      "--capture-token",
      "phc_x",
      "shop" },
    { "a short option", { "export", "create", "-f", "x.yaml" }, CLI_OK, "--file", "x.yaml", NULL },
    { "a file that is standard input",
      { "export", "create", "-f", "-" },
      CLI_OK,
      "--file",
      "-",
      NULL },
    { "a switch", { "verify", "--export", "x", "--recount" }, CLI_OK, "--recount", "", NULL },
    { "after -- everything is an argument",
      { "project", "create", "--", "--odd" },
      CLI_OK,
      NULL,
      NULL,
      "--odd" },
    { "an unknown command", { "frobnicate" }, CLI_USAGE, NULL, NULL, NULL },
    { "a group without its command", { "export" }, CLI_USAGE, NULL, NULL, NULL },
    { "an unknown command of a group", { "export", "explode" }, CLI_USAGE, NULL, NULL, NULL },
    { "an unknown option", { "export", "list", "--nope" }, CLI_USAGE, NULL, NULL, NULL },
    { "an option of another command",
      { "export", "list", "--recount" },
      CLI_USAGE,
      NULL,
      NULL,
      NULL },
    { "a missing argument", { "project", "create" }, CLI_USAGE, NULL, NULL, NULL },
    { "one argument too many", { "project", "create", "a", "b" }, CLI_USAGE, NULL, NULL, NULL },
    { "a missing required option", { "export", "create" }, CLI_USAGE, NULL, NULL, NULL },
    { "an option without its value", { "export", "create", "-f" }, CLI_USAGE, NULL, NULL, NULL },
    { "a switch with a value",
      { "verify", "--export", "x", "--recount=1" },
      CLI_USAGE,
      NULL,
      NULL,
      NULL },
};

static void parses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct args_case *c = &cases[i];
        struct cli cli;
        bool help = false;
        int argc = 0;

        print_message("  %s\n", c->name);
        while (argc < MOST && c->argv[argc] != NULL)
            argc++;
        assert_int_equal(cli_parse(argc, (char **)(uintptr_t)c->argv, &cli, &help), c->want);
        if (c->option != NULL)
            assert_string_equal(cli_value(&cli, c->option), c->value);
        if (c->argument != NULL)
            assert_string_equal(cli.argument[0], c->argument);
    }
}

static void every_command_has_help(void **state)
{
    (void)state;
    for (const struct cli_command *c = cli_commands; c->group != NULL; c++) {
        const char *argv[] = { c->group, c->name == NULL ? "--help" : c->name, "--help" };
        struct cli cli;
        bool help = false;

        assert_int_equal(cli_parse(3, (char **)(uintptr_t)argv, &cli, &help), CLI_OK);
        assert_true(help);
        assert_true(strlen(c->doc) > 5);
    }
}

static void the_environment_stands_behind_the_options(void **state)
{
    const char *argv[] = { "export", "list", "--server", "http://b" };
    struct cli cli;
    bool help = false;

    (void)state;
    assert_int_equal(setenv("TAILRACE_SERVER", "http://a", 1), 0);
    assert_int_equal(setenv("TAILRACE_TOKEN", "t", 1), 0);
    assert_int_equal(cli_parse(2, (char **)(uintptr_t)argv, &cli, &help), CLI_OK);
    assert_string_equal(cli.server, "http://a");
    assert_string_equal(cli.token, "t");
    assert_int_equal(cli_parse(4, (char **)(uintptr_t)argv, &cli, &help), CLI_OK);
    assert_string_equal(cli.server, "http://b");
    assert_int_equal(unsetenv("TAILRACE_SERVER"), 0);
    assert_int_equal(unsetenv("TAILRACE_TOKEN"), 0);
    assert_int_equal(cli_parse(2, (char **)(uintptr_t)argv, &cli, &help), CLI_OK);
    assert_string_equal(cli.server, "http://127.0.0.1:8000");
    assert_null(cli.token);
}

/* docs/cli.md names every command and every option. */
static void the_docs_are_complete(void **state)
{
    FILE *f = fopen(TR_TOP "/docs/cli.md", "r");
    static char text[1 << 18];

    (void)state;
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    for (const struct cli_command *c = cli_commands; c->group != NULL; c++) {
        char title[64];
        (void)snprintf(title, sizeof(title), "%s%s%s", c->group, c->name == NULL ? "" : " ",
                       c->name == NULL ? "" : c->name);
        if (strstr(text, title) == NULL)
            fail_msg("docs/cli.md does not name '%s'", title);
        for (size_t i = 0; i < CLI_MAX_OPTIONS && c->options[i].name != NULL; i++)
            if (strstr(text, c->options[i].name) == NULL)
                fail_msg("docs/cli.md does not name %s", c->options[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(the_environment_stands_behind_the_options),
        cmocka_unit_test(the_docs_are_complete),
    };

    return cmocka_run_group_tests_name("cli args", tests, NULL, NULL);
}
