/* Which address is which route; and docs/api.md has them all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/api_priv.h"

#define P "/api/projects/1/batch_exports/"
#define X "/api/projects/:project/batch_exports/"

static const struct route_case {
    const char *name;
    enum tr_http_method method;
    const char *path;
    const char *pattern; /* NULL: none */
    const char *allow;   /* then: the methods that there are */
    const char *last_arg;
} cases[] = {
    { "a list", TR_HTTP_GET, P, X, NULL, "1" },
    { "a slash at the end is not needed", TR_HTTP_GET, "/api/projects/1/batch_exports", X, NULL,
      "1" },
    { "environments is projects", TR_HTTP_POST, "/api/environments/1/batch_exports/", X, NULL,
      "1" },
    { "environments is not another word elsewhere", TR_HTTP_GET, P "environments/", X ":export/",
      NULL, "environments" },
    { "one of them", TR_HTTP_PATCH, P "abc/", X ":export/", NULL, "abc" },
    { "a word of its own comes before an id", TR_HTTP_GET, P "test/", X "test/", NULL, "1" },
    { "HEAD is GET", TR_HTTP_HEAD, P "abc/runs/", X ":export/runs/", NULL, "abc" },
    { "a run of an export", TR_HTTP_POST, P "abc/runs/r1/retry/", X ":export/runs/:run/retry/",
      NULL, "r1" },
    { "an address with other methods", TR_HTTP_DELETE, P, NULL, "GET, POST", NULL },
    { "an action by the wrong method", TR_HTTP_GET, P "abc/pause/", NULL, "POST", NULL },
    { "no such address", TR_HTTP_GET, "/api/nothing/", NULL, "", NULL },
    { "an empty id", TR_HTTP_GET, "/api/projects//batch_exports/", NULL, "", NULL },
    { "one part too many", TR_HTTP_GET, P "abc/runs/r1/logs/x/", NULL, "", NULL },
    { "one part of the prefix", TR_HTTP_GET, "/api", "/api/", NULL, NULL },
};

static void finds_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct route_case *c = &cases[i];
        struct tr_str arg[API_MAX_ARGS] = { 0 };
        struct tr_buf allow;
        struct tr_str last = { 0 };

        print_message("  %s\n", c->name);
        tr_buf_init(&allow, 256);
        const struct api_route *r = api_route_find(c->method, tr_str_of(c->path), arg, &allow);
        for (size_t k = 0; k < API_MAX_ARGS && arg[k].p != NULL; k++)
            last = arg[k];
        if (c->pattern == NULL) {
            assert_null(r);
            assert_true(tr_str_is(tr_buf_view(&allow), c->allow));
        } else {
            assert_non_null(r);
            assert_string_equal(r->pattern, c->pattern);
            if (c->last_arg != NULL)
                assert_true(tr_str_is(last, c->last_arg));
        }
        tr_buf_fini(&allow);
    }
}

static void the_docs_have_every_route(void **state)
{
    static char text[1 << 18];
    static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
    FILE *f = fopen(TR_TOP "/docs/api.md", "r");

    (void)state;
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    for (const struct api_route *r = api_routes; r->pattern != NULL; r++) {
        char line[512];
        (void)snprintf(line, sizeof(line), "| %s | `%s` | %s |", methods[r->method], r->pattern,
                       r->doc);
        if (strstr(text, line) == NULL)
            fail_msg("docs/api.md lacks the line: %s", line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_routes),
        cmocka_unit_test(the_docs_have_every_route),
    };

    return cmocka_run_group_tests_name("api routes", tests, NULL, NULL);
}
