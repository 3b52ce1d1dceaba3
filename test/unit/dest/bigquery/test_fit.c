#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dest/bigquery/bigquery_priv.h"

/* ---- a table and an export, in words ---- */

static struct bq_column columns[32];
static struct bq_table table;
static char notices[32][512];
static size_t n_notices;

static void take_notice(struct tr_notice_sink *sink, const char *text)
{
    (void)sink;
    (void)snprintf(notices[n_notices++], sizeof(notices[0]), "%s", text);
}

static struct tr_notice_sink sink = { take_notice };

/* "uuid STRING, n INT64 REQUIRED, u STRING REPEATED, c STRING(5)" */
static void make_table(const char *words)
{
    static const struct {
        const char *name;
        enum bq_type type;
    } types[] = {
        { "STRING", BQ_STRING },       { "JSON", BQ_JSON },         { "INTEGER", BQ_INTEGER },
        { "TIMESTAMP", BQ_TIMESTAMP }, { "DATETIME", BQ_DATETIME }, { "BOOLEAN", BQ_BOOLEAN },
        { "FLOAT", BQ_FLOAT },         { "NUMERIC", BQ_NUMERIC },   { "BYTES", BQ_TYPE_OTHER },
    };
    struct tr_str rest = tr_str_of(words);

    n_notices = 0;
    table = (struct bq_table){ .kind = "TABLE", .columns = columns };
    while (rest.p != NULL) {
        struct tr_str one = tr_str_trim(tr_str_cut(rest, ',', &rest)), type, mode;
        struct bq_column *c = &columns[table.n++];
        struct tr_str name = tr_str_cut(one, ' ', &type);

        *c = (struct bq_column){ .type = BQ_TYPE_OTHER };
        type = tr_str_cut(type, ' ', &mode);
        (void)snprintf(c->name, sizeof(c->name), "%.*s", TR_STR_ARGS(name));
        (void)sscanf(type.p, "%23[A-Z](%ld)", c->type_name, &c->max_length);
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            if (strcmp(types[i].name, c->type_name) == 0)
                c->type = types[i].type;
        c->is_required = tr_str_is(mode, "REQUIRED");
        c->is_repeated = tr_str_is(mode, "REPEATED");
        c->has_default = tr_str_is(mode, "DEFAULT");
    }
}

static struct tr_projection export_of(const struct tr_schema *s, const char *words, bool optional)
{
    static char names[64][64];
    struct tr_projection p = { .schema = s };
    struct tr_str rest = tr_str_of(words);

    while (rest.p != NULL) {
        struct tr_str one = tr_str_trim(tr_str_cut(rest, ',', &rest));
        (void)snprintf(names[p.n], sizeof(names[0]), "%.*s", TR_STR_ARGS(one));
        p.column[p.n] = tr_schema_find(s, one);
        assert_true(p.column[p.n] >= 0);
        p.name[p.n] = names[p.n];
        p.optional[p.n++] = optional;
    }
    return p;
}

static const struct fit_case {
    const char *name, *table, *columns;
    bool optional;
    enum tr_rc want;
    const char *id;
    size_t n, notices;
} cases[] = {
    { "what was made for it", "uuid STRING, timestamp TIMESTAMP, team_id INTEGER",
      "uuid, timestamp, team_id", false, TR_OK, NULL, 3, 0 },
    { "case is no difference to BigQuery", "UUID STRING, Timestamp TIMESTAMP", "uuid, timestamp",
      false, TR_OK, NULL, 2, 0 },
    { "a column that is missing is skipped and told", "uuid STRING", "uuid, ip", false, TR_OK, NULL,
      1, 1 },
    { "one that nobody asked for is not told", "uuid STRING", "uuid, person_id", true, TR_OK, NULL,
      1, 0 },
    { "other columns are left alone", "uuid STRING, mine BYTES, more JSON", "uuid", false, TR_OK,
      NULL, 1, 0 },
    { "other types that take the value", "properties JSON, timestamp DATETIME, team_id NUMERIC",
      "properties, timestamp, team_id", false, TR_OK, NULL, 3, 0 },
    { "text takes anything", "properties STRING, timestamp STRING, team_id STRING",
      "properties, timestamp, team_id", false, TR_OK, NULL, 3, 0 },
    { "a wrong type", "uuid INTEGER", "uuid", false, TR_REFUSED, "bigquery.column_type", 0, 0 },
    { "an array where there is one value", "uuid STRING REPEATED", "uuid", false, TR_REFUSED,
      "bigquery.column_type", 0, 0 },
    { "a wrong type of what nobody asked for", "uuid STRING, person_id INTEGER", "uuid, person_id",
      true, TR_OK, NULL, 1, 1 },
    { "unless it must have a value", "uuid STRING, person_id INTEGER REQUIRED", "uuid, person_id",
      true, TR_REFUSED, "bigquery.column_type", 0, 0 },
    { "too short for an id", "uuid STRING(35)", "uuid", false, TR_REFUSED, "bigquery.column_type",
      0, 0 },
    { "just long enough", "uuid STRING(36), timestamp STRING(27)", "uuid, timestamp", false, TR_OK,
      NULL, 2, 0 },
    { "a column that must have a value and gets none", "uuid STRING, x STRING REQUIRED", "uuid",
      false, TR_REFUSED, "bigquery.column_required", 0, 0 },
    { "unless it has one of its own", "uuid STRING, x STRING DEFAULT", "uuid", false, TR_OK, NULL,
      1, 0 },
    { "a column that must have a value and gets it", "uuid STRING REQUIRED", "uuid", false, TR_OK,
      NULL, 1, 0 },
    { "nothing in common", "mine STRING", "uuid", false, TR_REFUSED, "bigquery.no_common_column", 0,
      1 },
};

static void fits_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct fit_case *c = &cases[i];
        struct tr_err err = { 0 };
        struct bq_fit fit;

        print_message("#  %s\n", c->name);
        make_table(c->table);
        struct tr_projection p = export_of(&tr_schema_events, c->columns, c->optional);
        assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), c->want);
        if (c->id != NULL) {
            assert_string_equal(err.id, c->id);
            assert_non_null(err.hint);
        } else {
            assert_int_equal(fit.n, c->n);
        }
        assert_int_equal(n_notices, c->notices);
    }
}

static void lists_and_json_have_their_forms(void **state)
{
    struct tr_projection p = export_of(&tr_schema_sessions,
                                       "team_id, session_id, urls, vitals_lcp, is_bounce, "
                                       "_inserted_at",
                                       false);
    struct tr_err err = { 0 };
    struct bq_fit fit;

    (void)state;
    make_table("team_id INTEGER, session_id STRING, urls STRING REPEATED, vitals_lcp FLOAT, "
               "is_bounce BOOLEAN, _inserted_at TIMESTAMP");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    assert_int_equal(fit.col[2].form, BQ_AS_TEXTS);
    make_table(
        "team_id INTEGER, session_id STRING, urls JSON, vitals_lcp STRING, is_bounce STRING, "
        "_inserted_at TIMESTAMP");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    assert_int_equal(fit.col[2].form, BQ_AS_JSON);
    make_table("team_id INTEGER, session_id STRING, urls STRING, _inserted_at TIMESTAMP");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    assert_int_equal(fit.col[2].form, BQ_AS_JSON_TEXT);
}

static void rows_that_change_need_their_key_and_version(void **state)
{
    struct tr_projection p =
        export_of(&tr_schema_groups,
                  "team_id, group_type_index, group_key, group_version, group_properties", false);
    struct tr_err err = { 0 };
    struct bq_fit fit;

    (void)state;
    make_table(
        "team_id INTEGER, group_type_index INTEGER, group_key STRING, group_version INTEGER");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    make_table(
        "team_id INTEGER, group_type_index INTEGER, group_key STRING, group_properties JSON");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_REFUSED);
    assert_string_equal(err.id, "bigquery.no_key_column");
    assert_non_null(strstr(err.cause, "group_version"));
}

static void knows_which_column_says_the_partition(void **state)
{
    struct tr_projection p = export_of(&tr_schema_events, "uuid, timestamp, event", false);
    struct tr_err err = { 0 };
    struct bq_fit fit;

    (void)state;
    make_table("uuid STRING, timestamp TIMESTAMP, event STRING");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    assert_int_equal(fit.partition, -1);
    table.partition = BQ_BY_DAY;
    (void)snprintf(table.partition_column, sizeof(table.partition_column), "Timestamp");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    assert_int_equal(fit.partition, 1);
    (void)snprintf(table.partition_column, sizeof(table.partition_column), "mine");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_OK);
    assert_int_equal(fit.partition, -1);
    (void)snprintf(table.kind, sizeof(table.kind), "VIEW");
    assert_int_equal(bq_fit(&p, &table, &fit, &sink, &err), TR_REFUSED);
    assert_string_equal(err.id, "bigquery.not_a_table");
}

static void new_columns_have_the_types_of_posthogs(void **state)
{
    static const struct {
        const char *column;
        bool json;
        const char *type;
    } want[] = {
        { "uuid", true, "STRING" },
        { "properties", false, "STRING" },
        { "properties", true, "JSON" },
        { "elements", true, "STRING" },
        { "set", true, "JSON" },
        { "team_id", true, "INTEGER" },
        { "timestamp", true, "TIMESTAMP" },
    };
    struct bq_column c;

    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        int column = tr_schema_find(&tr_schema_events, tr_str_of(want[i].column));
        bq_fit_new_column(&tr_schema_events, column, "as", want[i].json, &c);
        assert_string_equal(c.type_name, want[i].type);
        assert_string_equal(c.name, "as");
        assert_false(c.is_repeated || c.is_required);
    }
    bq_fit_new_column(&tr_schema_sessions, TR_SESSION_URLS, "urls", false, &c);
    assert_string_equal(c.type_name, "STRING");
    assert_true(c.is_repeated);
    bq_fit_new_column(&tr_schema_sessions, TR_SESSION_VITALS_LCP, "x", false, &c);
    assert_string_equal(c.type_name, "FLOAT");
    bq_fit_new_column(&tr_schema_sessions, TR_SESSION_IS_BOUNCE, "x", false, &c);
    assert_string_equal(c.type_name, "BOOLEAN");
}

static void knows_names_that_columns_can_have(void **state)
{
    char longest[BQ_NAME_BYTES + 2];

    (void)state;
    assert_true(bq_fit_name_ok("timestamp"));
    assert_true(bq_fit_name_ok("_sent_at"));
    assert_true(bq_fit_name_ok("person properties"));
    assert_true(bq_fit_name_ok("gr\xc3\xb6\xc3\x9f"
                               "e"));
    assert_false(bq_fit_name_ok(""));
    assert_false(bq_fit_name_ok("$group_0"));
    assert_false(bq_fit_name_ok("a.b"));
    assert_false(bq_fit_name_ok("a`b"));
    assert_false(bq_fit_name_ok("a\nb"));
    assert_false(bq_fit_name_ok("_PARTITIONTIME"));
    assert_false(bq_fit_name_ok("_table_x"));
    memset(longest, 'a', sizeof(longest));
    longest[BQ_NAME_BYTES] = '\0';
    assert_true(bq_fit_name_ok(longest));
    longest[BQ_NAME_BYTES] = 'a';
    longest[BQ_NAME_BYTES + 1] = '\0';
    assert_false(bq_fit_name_ok(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_columns),
        cmocka_unit_test(lists_and_json_have_their_forms),
        cmocka_unit_test(rows_that_change_need_their_key_and_version),
        cmocka_unit_test(knows_which_column_says_the_partition),
        cmocka_unit_test(new_columns_have_the_types_of_posthogs),
        cmocka_unit_test(knows_names_that_columns_can_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
