/* Tables and cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli_priv.h"

static const struct cell_case {
    const char *name, *json;
    enum cli_kind kind;
    const char *want;
} cells[] = {
    { "text as it is", "\"abc\"", CLI_TEXT, "abc" },
    { "null as a dash", "null", CLI_TEXT, "-" },
    { "counts in groups of three", "1234567", CLI_COUNT, "1,234,567" },
    { "counts below a thousand", "999", CLI_COUNT, "999" },
    { "negative counts", "-1000", CLI_COUNT, "-1,000" },
    { "bytes in readable units", "1572864", CLI_BYTES, "1.5 MiB" },
    { "few bytes", "12", CLI_BYTES, "12 B" },
    { "whole seconds without a fraction", "\"2026-11-21T09:30:00.000000Z\"", CLI_TIME,
      "2026-11-21 09:30:00Z" },
    { "a fraction that says something", "\"2026-11-21T09:30:00.120000Z\"", CLI_TIME,
      "2026-11-21 09:30:00.120000Z" },
    { "lists of words with commas", "[\"a\",\"b\"]", CLI_TEXT, "a, b" },
    { "yes and no", "true", CLI_FLAG, "yes" },
    { "escape sequences do not reach the terminal", "\"a\\u001b[31mb\\nc\"", CLI_TEXT,
      "a [31mb c" },
};

static void prints_cells(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        struct tr_buf b;
        json_t *j = json_loads(cells[i].json, JSON_DECODE_ANY, NULL);

        print_message("  %s\n", cells[i].name);
        tr_buf_init(&b, 1024);
        cli_cell(j, cells[i].kind, &b);
        tr_buf_ch(&b, '\0');
        assert_string_equal(b.p, cells[i].want);
        tr_buf_fini(&b);
        json_decref(j);
    }
}

static void aligns_columns_by_characters(void **state)
{
    static const struct cli_column columns[] = {
        { "NAME", "name", CLI_TEXT },
        { "ROWS", "a.rows", CLI_COUNT },
        { "END", "end", CLI_TEXT },
        { .title = NULL },
    };
    json_t *rows = json_loads("[{\"name\":\"m\u00fchle\",\"a\":{\"rows\":12345},\"end\":\"x\"},"
                              "{\"name\":\"a\",\"a\":{\"rows\":7},\"end\":\"y\"}]",
                              0, NULL);
    char text[512] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");

    (void)state;
    assert_non_null(rows);
    cli_table(f, rows, columns, "none");
    (void)fclose(f);
    assert_string_equal(text, "NAME     ROWS  END\n"
                              "m\u00fchle  12,345  x\n"
                              "a           7  y\n");
    json_decref(rows);
}

static void a_note_that_nobody_has_takes_no_room(void **state)
{
    static const struct cli_column columns[] = {
        { "A", "a", CLI_TEXT },
        { "ERROR", "e", CLI_NOTE },
        { "HINT", "h", CLI_NOTE },
        { .title = NULL },
    };
    json_t *rows =
        json_loads("[{\"a\":\"x\",\"e\":null},{\"a\":\"y\",\"h\":\"mend it\"}]", 0, NULL);
    char text[256] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");

    (void)state;
    assert_non_null(rows);
    cli_table(f, rows, columns, "none");
    (void)fclose(f);
    assert_string_equal(text, "A  HINT\nx  -\ny  mend it\n");
    json_decref(rows);
}

static void an_empty_table_is_a_sentence(void **state)
{
    static const struct cli_column columns[] = { { "A", "a", CLI_TEXT }, { .title = NULL } };
    json_t *rows = json_array();
    char text[64] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");

    (void)state;
    cli_table(f, rows, columns, "There is nothing.");
    (void)fclose(f);
    assert_string_equal(text, "There is nothing.\n");
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_cells),
        cmocka_unit_test(aligns_columns_by_characters),
        cmocka_unit_test(a_note_that_nobody_has_takes_no_room),
        cmocka_unit_test(an_empty_table_is_a_sentence),
    };

    return cmocka_run_group_tests_name("cli out", tests, NULL, NULL);
}
