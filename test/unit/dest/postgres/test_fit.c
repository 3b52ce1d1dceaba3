#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dest/postgres/postgres_priv.h"

enum {
    INT2 = 21,
    INT4 = 23,
    TEXT = 25,
    FLOAT8 = 701,
    VARCHAR = 1043,
    TIMESTAMPTZ = 1184,
    JSONB = 3802
};

struct notices {
    struct tr_notice_sink sink;
    size_t n;
    char last[256];
};

static void keep(struct tr_notice_sink *sink, const char *text)
{
    struct notices *n = (struct notices *)(void *)sink;

    n->n++;
    (void)snprintf(n->last, sizeof(n->last), "%s", text);
}

static void columns_are_matched_by_name(void **state)
{
    struct tr_projection p = { .schema = &tr_schema_events,
                               .n = 4,
                               .column = { TR_EVENT_EVENT, TR_EVENT_UUID, TR_EVENT_PROPERTIES,
                                           TR_EVENT_TEAM_ID },
                               .name = { "name", "id", "properties", "team" } };
    const struct pg_column columns[] = {
        { .name = "extra", .type_name = "bytea", .type = 17 },
        { .name = "team", .type_name = "smallint", .type = INT2, .typmod = -1 },
        { .name = "id",
          .type_name = "varchar(36)",
          .type = VARCHAR,
          .typmod = 40,
          .not_null = true },
        { .name = "name", .type_name = "varchar(7)", .type = VARCHAR, .typmod = 11 },
    };
    struct notices notices = { .sink = { keep } };
    struct tr_err err = { 0 };
    struct pg_fit fit;

    (void)state;
    assert_int_equal(pg_fit(&p, columns, 4, &fit, &notices.sink, &err), TR_OK);
    assert_int_equal(fit.copy.n, 3);
    assert_string_equal(fit.name[0], "name");
    assert_int_equal(fit.copy.col[0].column, TR_EVENT_EVENT);
    assert_int_equal(fit.copy.col[0].max_chars, 7);
    assert_int_equal(fit.copy.col[1].form, TR_PGCOPY_TEXT);
    assert_int_equal(fit.copy.col[2].form, TR_PGCOPY_INT2);
    assert_int_equal(fit.uuid, 1);
    assert_int_equal(notices.n, 1);
    assert_string_equal(notices.last, "column properties is missing in the table: it is skipped");
}

static void what_cannot_work_is_refused(void **state)
{
    static const char *const names[] = { "uuid", "team_id", "timestamp", "properties" };
    static const struct {
        const char *name;
        struct pg_column column;
        const char *id, *cause;
    } cases[] = {
        { "a number as float",
          { .name = "team_id", .type_name = "double precision", .type = FLOAT8 },
          "postgres.column_type",
          "team_id needs integer, bigint, smallint, numeric, text or varchar" },
        { "a uuid as integer",
          { .name = "uuid", .type_name = "integer", .type = INT4 },
          "postgres.column_type",
          "column uuid of the table is integer" },
        { "a time in 20 characters",
          { .name = "timestamp", .type_name = "varchar(20)", .type = VARCHAR, .typmod = 24 },
          "postgres.column_type",
          "varchar(20)" },
        { "JSON in a timestamp",
          { .name = "properties", .type_name = "timestamptz", .type = TIMESTAMPTZ },
          "postgres.column_type",
          "needs jsonb, json, text or varchar" },
        { "nothing in common",
          { .name = "other", .type_name = "text", .type = TEXT },
          "postgres.no_common_column",
          "none of the export's columns" },
        { "names are case-sensitive",
          { .name = "UUID", .type_name = "text", .type = TEXT },
          "postgres.no_common_column",
          "none" },
    };
    struct tr_projection p = { .schema = &tr_schema_events, .n = 4 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        p.name[i] = names[i];
        p.column[i] = tr_schema_find(p.schema, tr_str_of(names[i]));
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_err err = { 0 };
        struct pg_fit fit;

        print_message("# %s\n", cases[i].name);
        assert_int_equal(pg_fit(&p, &cases[i].column, 1, &fit, NULL, &err), TR_REFUSED);
        assert_string_equal(err.id, cases[i].id);
        if (strstr(err.cause, cases[i].cause) == NULL)
            fail_msg("cause: %s", err.cause);
    }
}

static void a_thousand_required_columns_do_not_overflow(void **state)
{
    static struct pg_column columns[1600];
    struct tr_projection p = {
        .schema = &tr_schema_events, .n = 1, .column = { TR_EVENT_UUID }, .name = { "uuid" }
    };
    struct tr_err err = { 0 };
    struct pg_fit fit;

    (void)state;
    for (size_t i = 0; i < 1600; i++) {
        (void)snprintf(columns[i].name, sizeof(columns[i].name), "a_rather_long_column_name_%zu",
                       i);
        columns[i].not_null = true;
    }
    columns[0] = (struct pg_column){ .name = "uuid", .type = TEXT, .typmod = -1 };
    assert_int_equal(pg_fit(&p, columns, 1600, &fit, NULL, &err), TR_REFUSED);
    assert_string_equal(err.id, "postgres.column_required");
}

static void created_types_are_those_of_the_docs(void **state)
{
    (void)state;
    assert_string_equal(pg_fit_create_type(&tr_schema_events, TR_EVENT_UUID), "VARCHAR(200)");
    assert_string_equal(pg_fit_create_type(&tr_schema_events, TR_EVENT_PROPERTIES), "JSONB");
    assert_string_equal(pg_fit_create_type(&tr_schema_events, TR_EVENT_TEAM_ID), "INTEGER");
    assert_string_equal(pg_fit_create_type(&tr_schema_events, TR_EVENT_TIMESTAMP),
                        "TIMESTAMP WITH TIME ZONE");
    assert_string_equal(pg_fit_create_type(&tr_schema_events, TR_EVENT_ELEMENTS_CHAIN), "TEXT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_matched_by_name),
        cmocka_unit_test(what_cannot_work_is_refused),
        cmocka_unit_test(a_thousand_required_columns_do_not_overflow),
        cmocka_unit_test(created_types_are_those_of_the_docs),
    };

    return cmocka_run_group_tests_name("postgres fit", tests, NULL, NULL);
}
