/* docs/columns.md is written by this program from the column tables; as a test it holds the page
 * against them. After a change of a table:
 *
 *   build/dev/test/unit/model/test_model_columns_doc --write docs/columns.md
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "model/projection.h"

static const char *type_name(enum tr_type type)
{
    static const char *const names[TR_TYPES] = {
        [TR_TYPE_TEXT] = "text",   [TR_TYPE_JSON] = "json",   [TR_TYPE_UUID] = "uuid",
        [TR_TYPE_INT64] = "int64", [TR_TYPE_TIME] = "time",   [TR_TYPE_BOOL] = "bool",
        [TR_TYPE_FLOAT] = "float", [TR_TYPE_TEXTS] = "texts",
    };

    return names[type];
}

static const struct tr_default_column *defaults_of(enum tr_model model)
{
    switch (model) {
    case TR_MODEL_PERSONS:
        return tr_default_persons;
    case TR_MODEL_SESSIONS:
        return tr_default_sessions;
    case TR_MODEL_GROUPS:
        return tr_default_groups;
    case TR_MODEL_EVENTS:
        break; /* each destination has its own */
    }
    return NULL;
}

static bool is_default(const struct tr_default_column *d, const char *name)
{
    for (; d != NULL && d->name != NULL; d++)
        if (strcmp(d->name, name) == 0)
            return true;
    return false;
}

static const char *role_name(const struct tr_schema *s, const struct tr_column *c)
{
    switch (c->role) {
    case TR_ROLE_KEY:
        return s->is_mutable ? " key" : " id";
    case TR_ROLE_VERSION:
        return " version";
    case TR_ROLE_PLAIN:
        break;
    }
    return "";
}

static void put_order(struct tr_buf *out, const struct tr_schema *s)
{
    tr_buf_z(out, "One row for each (");
    for (size_t i = 0; i < s->n_keys; i++)
        tr_buf_printf(out, "%s`%s`", i == 0 ? "" : ", ", s->columns[s->keys[i]].name);
    tr_buf_z(out, "); of two rows with one key the newer one is the one that is higher in ");
    for (size_t i = 0; i < s->n_versions; i++)
        tr_buf_printf(out, "%s`%s`", i == 0 ? "" : ", then in ", s->columns[s->versions[i]].name);
    tr_buf_z(out, ".\n\n");
}

static void put_model(struct tr_buf *out, const struct tr_schema *s)
{
    const struct tr_default_column *defaults = defaults_of(s->model);

    tr_buf_printf(out, "\n## %s\n\n", s->name);
    if (s->is_mutable)
        put_order(out, s);
    else
        tr_buf_z(out,
                 "One row for each event, appended. Which columns an export has when it names none "
                 "is on the\ndestination's page.\n\n");
    tr_buf_z(out, defaults != NULL ? "| column | type | | default | |\n|---|---|---|---|---|\n"
                                   : "| column | type | | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < s->n; i++) {
        const struct tr_column *c = &s->columns[i];
        tr_buf_printf(out, "| `%s` | %s |%s |", c->name, type_name(c->type), role_name(s, c));
        if (defaults != NULL)
            tr_buf_z(out, is_default(defaults, c->name) ? " yes |" : " |");
        tr_buf_printf(out, " %s |\n", c->doc);
    }
}

static void put_page(struct tr_buf *out)
{
    tr_buf_z(
        out,
        "# Columns\n\n"
        "What an export of each model can have, by name. An export that lists no columns has the "
        "default ones; a\nlist must hold the keys and versions of a model that is updated. What "
        "the "
        "values mean is told in\n[persons.md](persons.md) and [sessions.md](sessions.md).\n\n"
        "| type | |\n|---|---|\n"
        "| text | UTF-8 |\n"
        "| json | one JSON value, numbers as the client wrote them |\n"
        "| uuid | |\n"
        "| int64 | |\n"
        "| time | an instant in microseconds, UTC |\n"
        "| bool | |\n"
        "| float | 64 bits, finite |\n"
        "| texts | a list of texts: a JSON array of strings |\n\n"
        "This page is written from the program's column tables; a test holds it against them.\n");
    for (int i = 0; i < TR_MODELS; i++)
        put_model(out, tr_schemas[i]);
}

static void the_page_is_what_the_tables_say(void **state)
{
    const char *path = getenv("TR_COLUMNS_DOC");
    struct tr_buf want, got;

    (void)state;
    if (path == NULL)
        skip();
    tr_buf_init(&want, 1 << 20);
    tr_buf_init(&got, 1 << 20);
    put_page(&want);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *room = tr_buf_reserve(&got, 1 << 20);
    assert_non_null(room);
    tr_buf_used(&got, fread(room, 1, 1 << 20, f));
    (void)fclose(f);
    if (!tr_str_eq(tr_buf_view(&want), tr_buf_view(&got)))
        fail_msg("%s is not what the column tables say; write it anew as the test's source tells",
                 path);
    tr_buf_fini(&want);
    tr_buf_fini(&got);
}

static int write_page(const char *path)
{
    struct tr_buf out;
    FILE *f = fopen(path, "wb");

    if (f == NULL)
        return 1;
    tr_buf_init(&out, 1 << 20);
    put_page(&out);
    bool bad = out.failed || fwrite(out.p, 1, out.n, f) != out.n;
    bad |= fclose(f) != 0;
    tr_buf_fini(&out);
    return bad;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_page_is_what_the_tables_say) };

    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_page(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
