/* YAML and JSON files as request bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli_priv.h"

static const struct yaml_case {
    const char *name, *yaml;
    const char *want; /* compact JSON with sorted keys; NULL: refused */
    const char *why;  /* a part of the reason */
} cases[] = {
    { "plain words keep their types", "a: 1\nb: true\nc: null\nd: ~\ne: x y\nf: -3\ng: 1.5\n",
      "{\"a\":1,\"b\":true,\"c\":null,\"d\":null,\"e\":\"x y\",\"f\":-3,\"g\":1.5}", NULL },
    { "what is quoted is text", "a: \"1\"\nb: 'true'\nc: \"null\"\n",
      "{\"a\":\"1\",\"b\":\"true\",\"c\":\"null\"}", NULL },
    { "a number with leading zeros is text", "password: 0042\n", "{\"password\":\"0042\"}", NULL },
    { "a number beyond int64 is text, not a rounded one", "a: 123456789012345678901234567890\n",
      "{\"a\":\"123456789012345678901234567890\"}", NULL },
    { "yes and no are words, as YAML 1.2 has it", "a: yes\nb: no\nc: on\n",
      "{\"a\":\"yes\",\"b\":\"no\",\"c\":\"on\"}", NULL },
    { "an instant is text", "start_at: 2026-11-21T09:00:00Z\n",
      "{\"start_at\":\"2026-11-21T09:00:00Z\"}", NULL },
    { "an interval with blanks is one text", "interval: every 5 minutes\n",
      "{\"interval\":\"every 5 minutes\"}", NULL },
    { "maps and lists nest", "d:\n  type: File\n  config:\n    list:\n      - a\n      - {k: 1}\n",
      "{\"d\":{\"config\":{\"list\":[\"a\",{\"k\":1}]},\"type\":\"File\"}}", NULL },
    { "JSON is YAML", "{\"a\": [1, \"x\", null]}", "{\"a\":[1,\"x\",null]}", NULL },
    { "anchors are resolved", "a: &x {k: 1}\nb: *x\n", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}", NULL },
    { "a key that stands there twice is refused", "a: 1\na: 2\n", NULL, "twice" },
    { "a key that is no text is refused", "? [a]\n: 1\n", NULL, "key must be a text" },
    { "broken YAML is refused with its line", "a: 1\nb: [\n", NULL, "line " },
    { "nothing at all is refused", "", NULL, "empty" },
    { "an anchor within itself is refused", "a: &x\n  b: *x\n", NULL, "levels" },
};

static void reads_yaml(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct yaml_case *c = &cases[i];
        char why[200];

        print_message("  %s\n", c->name);
        json_t *j = cli_yaml(c->yaml, strlen(c->yaml), why, sizeof(why));
        if (c->want == NULL) {
            assert_null(j);
            assert_non_null(strstr(why, c->why));
            continue;
        }
        assert_non_null(j);
        char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, c->want);
        free(text);
        json_decref(j);
    }
}

/* Nine levels of nine aliases each would be 400 million values. */
static void an_alias_bomb_is_refused(void **state)
{
    char yaml[2048] = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
    char why[200];

    (void)state;
    for (int level = 1; level < 9; level++) {
        char line[160];
        (void)snprintf(line, sizeof(line),
                       "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", level, level,
                       level - 1, level - 1, level - 1, level - 1, level - 1, level - 1, level - 1,
                       level - 1, level - 1);
        (void)strncat(yaml, line, sizeof(yaml) - strlen(yaml) - 1);
    }
    assert_null(cli_yaml(yaml, strlen(yaml), why, sizeof(why)));
    assert_non_null(strstr(why, "values"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_yaml),
        cmocka_unit_test(an_alias_bomb_is_refused),
    };

    return cmocka_run_group_tests_name("cli body", tests, NULL, NULL);
}
