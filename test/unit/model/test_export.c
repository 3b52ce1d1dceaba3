/* The body of an export, as the API takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/time.h"
#include "model/export.h"

static json_t *read_json(const char *text)
{
    json_error_t error;
    json_t *j = json_loads(text, JSON_ALLOW_NUL, &error);

    if (j == NULL)
        fail_msg("%s: %s", error.text, text);
    return j;
}

static struct tr_export *parse(const char *text)
{
    struct tr_export *e = NULL;
    struct tr_err err = { 0 };
    json_t *body = read_json(text);

    if (tr_export_parse(body, &e, &err) != TR_OK)
        fail_msg("%s%s", err.where, err.cause);
    json_decref(body);
    return e;
}

#define DESTINATION "\"destination\":{\"type\":\"Postgres\",\"config\":{\"host\":\"db\"}}"

static void takes_the_least_there_can_be(void **state)
{
    struct tr_export *e = parse("{\"name\":\"n\"," DESTINATION "}");

    (void)state;
    assert_string_equal(e->name, "n");
    assert_ptr_equal(e->schema, &tr_schema_events);
    assert_int_equal(e->schedule.unit, TR_UNIT_HOUR);
    assert_string_equal(tr_zone_name(e->schedule.zone), "UTC");
    assert_true(e->start_at == INT64_MIN && e->end_at == INT64_MAX);
    assert_false(e->paused);
    assert_string_equal(e->dest_type, "Postgres");
    assert_string_equal(json_string_value(json_object_get(e->dest_config, "host")), "db");
    assert_null(e->include);
    assert_null(e->exclude);
    assert_null(e->filters);
    assert_null(e->columns);
    tr_export_free(e);
}

static void takes_all_of_it(void **state)
{
    struct tr_export *e = parse(
        "{\"name\":\"all\",\"model\":\"events\",\"interval\":\"week\",\"timezone\":\"Europe/"
        "Berlin\","
        "\"offset_day\":1,\"offset_hour\":6,\"paused\":true,\"start_at\":\"2026-01-01T00:00:00Z\","
        "\"end_at\":\"2026-02-01T00:00:00+01:00\","
        "\"destination\":{\"type\":\"File\",\"config\":{\"path\":\"/"
        "x\",\"include_events\":[\"a\",\"b\"],"
        "\"exclude_events\":[\"c\"]},\"integration_id\":null},"
        "\"filters\":[{\"key\":\"k\",\"operator\":\"exact\",\"value\":\"v\",\"type\":\"event\"}],"
        "\"columns\":[\"uuid\",{\"name\":\"event\",\"as\":\"what\"},{\"name\":\"event\"}]}");

    (void)state;
    assert_int_equal(e->schedule.unit, TR_UNIT_WEEK);
    assert_int_equal(e->schedule.offset_day, 1);
    assert_int_equal(e->schedule.offset_hour, 6);
    assert_string_equal(tr_zone_name(e->schedule.zone), "Europe/Berlin");
    assert_true(e->paused);
    assert_int_equal(e->start_at, INT64_C(1767225600) * TR_US_PER_S);
    assert_int_equal(e->end_at, INT64_C(1769900400) * TR_US_PER_S);
    assert_int_equal(json_array_size(e->include), 2);
    assert_int_equal(json_array_size(e->exclude), 1);
    assert_int_equal(json_object_size(e->dest_config),
                     1); /* the names are no option of the adapter */
    assert_int_equal(json_array_size(e->filters), 1);

    struct tr_projection p;
    struct tr_err err;
    assert_int_equal(tr_export_projection(e, NULL, &p, &err), TR_OK);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.column[0], TR_EVENT_UUID);
    assert_string_equal(p.name[0], "uuid");
    assert_int_equal(p.column[1], TR_EVENT_EVENT);
    assert_string_equal(p.name[1], "what");
    assert_string_equal(p.name[2], "event");
    tr_export_free(e);
}

static void without_columns_it_takes_the_defaults(void **state)
{
    static const struct tr_default_column defaults[] = { { "event", NULL },
                                                         { "timestamp", "at" },
                                                         { NULL, NULL } };
    static const struct tr_default_column wrong[] = { { "no_such", NULL }, { NULL, NULL } };
    struct tr_export *e = parse("{\"name\":\"n\"," DESTINATION "}");
    struct tr_projection p;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(tr_export_projection(e, defaults, &p, &err), TR_OK);
    assert_int_equal(p.column[1], TR_EVENT_TIMESTAMP);
    assert_string_equal(p.name[1], "at");
    assert_false(p.optional[0] || p.optional[1]);
    /* and whatever else a table has a column for, each under its own name */
    for (size_t i = 2; i < p.n; i++)
        assert_true(p.optional[i]);
    assert_int_equal(p.n, 2 + TR_EVENT_COLUMNS - 1);
    tr_projection_drop_optional(&p);
    assert_int_equal(p.n, 2);
    assert_int_equal(tr_export_projection(e, wrong, &p, &err), TR_INVALID);
    tr_export_free(e);
}

static void what_was_answered_can_be_sent_back(void **state)
{
    struct tr_export *e = parse(
        "{\"id\":\"x\",\"team_id\":1,\"created_at\":\"y\",\"last_updated_at\":\"z\",\"latest_"
        "runs\":[],"
        "\"last_paused_at\":null,\"schema\":null,\"hogql_query\":null,\"offset_day\":null,"
        "\"offset_hour\":null,\"start_at\":null,\"end_at\":null,\"filters\":null,\"columns\":null,"
        "\"timezone\":null,\"interval\":\"every 5 minutes\",\"name\":\"n\"," DESTINATION "}");

    (void)state;
    assert_int_equal(e->schedule.unit, TR_UNIT_MINUTE);
    tr_export_free(e);
}

/* what is put behind {"name":"n","destination":{..} */
static const struct refused_case {
    const char *name;
    const char *more;
    const char *id;
    const char *says; /* a part of the cause: the field's name at least */
} refused[] = {
    { "a field that does not exist", ",\"colums\":[]", "export.unknown_field", "colums" },
    { "a field of a later version", ",\"hogql_query\":\"SELECT 1\"", "export.later",
      "hogql_query" },
    { "filters for what has no events",
      ",\"model\":\"persons\",\"filters\":[{\"key\":\"a\","
      "\"operator\":\"is_set\",\"type\":\"event\"}]",
      "export.filters", "persons" },
    { "rows that change in real time", ",\"model\":\"persons\",\"interval\":\"realtime\"",
      "export.interval", "persons" },
    { "a key that is left out", ",\"model\":\"persons\",\"columns\":[\"properties\"]",
      "export.columns", "team_id" },
    { "a version that is left out",
      ",\"model\":\"persons\",\"columns\":[\"team_id\",\"distinct_id\",\"person_version\"]",
      "export.columns", "person_distinct_id_version" },
    { "a model that does not exist", ",\"model\":\"cohorts\"", "export.model", "cohorts" },
    { "a model that is no text", ",\"model\":5", "export.model", "model" },
    { "an interval that does not exist", ",\"interval\":\"month\"", "schedule.bad_interval",
      "month" },
    { "an interval that is no text", ",\"interval\":5", "export.interval", "interval" },
    { "a zone that does not exist", ",\"timezone\":\"Mars\"", "schedule.unknown_zone", "Mars" },
    { "a zone that is no text", ",\"timezone\":1", "export.timezone", "timezone" },
    { "a weekday for an hourly export", ",\"offset_day\":1", "export.offset_day", "week" },
    { "a weekday for a daily export", ",\"interval\":\"day\",\"offset_day\":1", "export.offset_day",
      "week" },
    { "an hour for an hourly export", ",\"offset_hour\":0", "export.offset_hour", "day or week" },
    { "an hour that does not exist", ",\"interval\":\"day\",\"offset_hour\":24",
      "export.offset_hour", "0 to 23" },
    { "a negative hour", ",\"interval\":\"day\",\"offset_hour\":-1", "export.offset_hour",
      "0 to 23" },
    { "a broken hour", ",\"interval\":\"day\",\"offset_hour\":1.5", "export.offset_hour",
      "0 to 23" },
    { "a weekday that does not exist", ",\"interval\":\"week\",\"offset_day\":7",
      "export.offset_day", "0 to 6" },
    { "a start without a zone", ",\"start_at\":\"2026-01-01T00:00:00\"", "export.start_at",
      "start_at" },
    { "a start that is a number", ",\"start_at\":17", "export.start_at", "start_at" },
    { "an end before the start",
      ",\"start_at\":\"2026-01-02T00:00:00Z\",\"end_at\":\"2026-01-02T00:00:00Z\"", "export.end_at",
      "after start_at" },
    { "paused that is neither", ",\"paused\":\"yes\"", "export.paused", "paused" },
    { "filters that are no list", ",\"filters\":{}", "export.filters", "filters" },
    { "no columns at all", ",\"columns\":[]", "export.columns", "columns" },
    { "columns that are no list", ",\"columns\":\"uuid\"", "export.columns", "columns" },
    { "a column that does not exist", ",\"columns\":[\"uuid\",\"nope\"]", "export.columns",
      "nope" },
    { "a column that is a number", ",\"columns\":[\"uuid\",7]", "export.columns", "columns[1]" },
    { "a column with another field", ",\"columns\":[{\"name\":\"uuid\",\"is\":\"x\"}]",
      "export.columns", "columns[0]" },
    { "a column without a name", ",\"columns\":[{\"as\":\"x\"}]", "export.columns", "columns[0]" },
    { "a column with an empty name", ",\"columns\":[{\"name\":\"uuid\",\"as\":\"\"}]",
      "export.columns", "columns[0].as" },
    { "a name used twice", ",\"columns\":[\"uuid\",{\"name\":\"event\",\"as\":\"uuid\"}]",
      "export.columns", "twice" },
};

static void refuse(const char *text, const char *id, const char *says)
{
    struct tr_export *e = NULL;
    struct tr_err err = { 0 };
    json_t *body = read_json(text);

    assert_int_equal(tr_export_parse(body, &e, &err), TR_INVALID);
    json_decref(body);
    assert_null(e);
    assert_string_equal(err.id, id);
    if (strstr(err.cause, says) == NULL)
        fail_msg("'%s' does not say '%s'", err.cause, says);
}

static void refuses_what_is_wrong_and_names_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char text[512];

        print_message("# %s\n", refused[i].name);
        (void)snprintf(text, sizeof(text), "{\"name\":\"n\"," DESTINATION "%s}", refused[i].more);
        refuse(text, refused[i].id, refused[i].says);
    }
}

static const struct refused_case whole[] = {
    { "no object", "[]", "export.not_an_object", "object" },
    { "no name", "{" DESTINATION "}", "export.name", "name" },
    { "an empty name", "{\"name\":\"\"," DESTINATION "}", "export.name", "name" },
    { "a name that is null", "{\"name\":null," DESTINATION "}", "export.name", "name" },
    { "a name with a NUL", "{\"name\":\"a\\u0000b\"," DESTINATION "}", "export.name", "NUL" },
    { "no destination", "{\"name\":\"n\"}", "export.destination", "destination" },
    { "a destination without a type", "{\"name\":\"n\",\"destination\":{\"config\":{}}}",
      "export.destination", "destination.type" },
    { "a config that is no object",
      "{\"name\":\"n\",\"destination\":{\"type\":\"T\",\"config\":[]}}", "export.destination",
      "destination.config" },
    { "a destination with another field",
      "{\"name\":\"n\",\"destination\":{\"type\":\"T\",\"config\":{},\"integration\":5}}",
      "export.destination", "integration" },
    { "event names that are no list",
      "{\"name\":\"n\",\"destination\":{\"type\":\"T\",\"config\":{\"include_events\":\"a\"}}}",
      "export.include_events", "include_events" },
    { "an event name that is none",
      "{\"name\":\"n\",\"destination\":{\"type\":\"T\",\"config\":{\"exclude_events\":[\"a\",1]}}}",
      "export.exclude_events", "exclude_events[1]" },
};

static void refuses_bodies_that_lack_something(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        print_message("# %s\n", whole[i].name);
        refuse(whole[i].more, whole[i].id, whole[i].says);
    }
}

static void a_filter_that_would_not_run_is_refused_at_once(void **state)
{
    struct tr_export *e = NULL;
    struct tr_err err = { 0 };
    json_t *body =
        read_json("{\"name\":\"n\"," DESTINATION ",\"filters\":[{\"key\":\"k\",\"operator\":"
                  "\"sounds_like\",\"value\":\"v\",\"type\":\"event\"}]}");

    (void)state;
    assert_int_equal(tr_export_parse(body, &e, &err), TR_INVALID);
    assert_non_null(strstr(err.where, "filters"));
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_least_there_can_be),
        cmocka_unit_test(takes_all_of_it),
        cmocka_unit_test(without_columns_it_takes_the_defaults),
        cmocka_unit_test(what_was_answered_can_be_sent_back),
        cmocka_unit_test(refuses_what_is_wrong_and_names_it),
        cmocka_unit_test(refuses_bodies_that_lack_something),
        cmocka_unit_test(a_filter_that_would_not_run_is_refused_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
