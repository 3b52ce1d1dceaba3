/* Runs, backfills, projects, authorization and status through the API. */
#include "fixture.h"

#define EXPORTS "/api/projects/1/batch_exports/"

static char export_id[TR_UUID_TEXT];
static struct tr_uuid export_uuid;

static void make_export(void)
{
    json_t *e =
        call(TR_HTTP_POST, EXPORTS,
             "{\"interval\":\"every 5 minutes\",\"destination\":{\"type\":\"Fake\",\"config\":"
             "{\"host\":\"a\",\"password\":\"x\"}}}",
             201);

    (void)snprintf(export_id, sizeof(export_id), "%s", text_at(e, "id"));
    assert_true(tr_uuid_parse(tr_str_of(export_id), &export_uuid));
    json_decref(e);
}

static struct tr_run schedule_run(int64_t lo, int64_t hi)
{
    struct tr_run run = { .export_id = export_uuid,
                          .project = 1,
                          .interval = { lo, hi },
                          .state = TR_RUN_STARTING,
                          .created_at = test_now };
    struct tr_err err = { 0 };

    if (fx.meta->ops->run_schedule(fx.meta, &run, &err) != TR_OK)
        fail_msg("run_schedule: %s%s", err.where, err.cause);
    return run;
}

static json_t *on_export(enum tr_http_method method, const char *rest, const char *body, int want)
{
    char at[600];

    (void)snprintf(at, sizeof(at), EXPORTS "%s/%s", export_id, rest);
    return call(method, at, body, want);
}

/* The address that a page names, without scheme and host. */
static const char *path_of(const char *url)
{
    const char *path = strstr(url, "/api/");

    assert_non_null(path);
    assert_int_equal(strncmp(url, "http://tailrace.example/", 24), 0);
    return path;
}

static void pages_go_forth_and_back(void **state)
{
    enum { RUNS = 7 };
    char ids[RUNS][TR_UUID_TEXT];
    char next[400];
    char previous[400];

    (void)state;
    make_export();
    for (int i = 0; i < RUNS; i++) {
        struct tr_run run =
            schedule_run(test_now + i * TR_US_PER_HOUR, test_now + (i + 1) * TR_US_PER_HOUR);
        tr_uuid_format(&run.id, ids[i]);
    }
    json_t *page = on_export(TR_HTTP_GET, "runs/?limit=3&ordering=-data_interval_start", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "results")), 3);
    assert_string_equal(text_at(json_array_get(json_object_get(page, "results"), 0), "id"), ids[6]);
    assert_true(json_is_null(json_object_get(page, "previous")));
    (void)snprintf(next, sizeof(next), "%s", path_of(text_at(page, "next")));
    json_decref(page);

    page = call(TR_HTTP_GET, next, NULL, 200);
    assert_string_equal(text_at(json_array_get(json_object_get(page, "results"), 0), "id"), ids[3]);
    (void)snprintf(next, sizeof(next), "%s", path_of(text_at(page, "next")));
    (void)snprintf(previous, sizeof(previous), "%s", path_of(text_at(page, "previous")));
    json_decref(page);

    page = call(TR_HTTP_GET, next, NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "results")), 1);
    assert_true(json_is_null(json_object_get(page, "next")));
    json_decref(page);

    page = call(TR_HTTP_GET, previous, NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "results")), 3);
    assert_string_equal(text_at(json_array_get(json_object_get(page, "results"), 0), "id"), ids[6]);
    assert_true(json_is_null(json_object_get(page, "previous")));
    (void)snprintf(next, sizeof(next), "%s", path_of(text_at(page, "next")));
    json_decref(page);
    page = call(TR_HTTP_GET, next, NULL, 200);
    assert_string_equal(text_at(json_array_get(json_object_get(page, "results"), 0), "id"), ids[3]);
    json_decref(page);
}

static const struct filter_case {
    const char *name, *query;
    int status;
    size_t want;
} filters[] = {
    { "by state", "status=Starting", 200, 2 },
    { "by several states", "status=Starting&status=Cancelled", 200, 3 },
    { "by a state that no run is in", "status=Completed", 200, 0 },
    { "by interval", "start=2026-11-21T10:45:00Z&end=2026-11-21T11:00:00Z", 200, 1 },
    { "by an interval with an encoded offset",
      "start=2026-11-21T11:45:00%2B01:00&end="
      "2026-11-21T12:00:00%2B01:00",
      200, 1 },
    { "created within the last week", "after=2026-11-14T00:00:00Z", 200, 3 },
    { "created before", "before=2026-11-14T00:00:00Z", 200, 0 },
    { "a state that is none", "status=Sleeping", 400, 0 },
    { "a naive time", "start=2026-11-21T10:45:00", 400, 0 },
    { "a limit that is none", "limit=zero", 400, 0 },
    { "a limit too high", "limit=100000", 400, 0 },
    { "an order that is none", "ordering=rows", 400, 0 },
    { "a cursor that is none", "cursor=xyz", 400, 0 },
};

static void lists_what_was_asked_for(void **state)
{
    char rest[400];

    (void)state;
    make_export();
    for (int i = 0; i < 3; i++) {
        struct tr_run run =
            schedule_run(test_now + i * TR_US_PER_HOUR, test_now + (i + 1) * TR_US_PER_HOUR);
        if (i == 0) {
            char id[TR_UUID_TEXT];
            tr_uuid_format(&run.id, id);
            (void)snprintf(rest, sizeof(rest), "runs/%s/cancel/", id);
            json_t *cancelled = on_export(TR_HTTP_POST, rest, NULL, 200);
            assert_string_equal(text_at(cancelled, "status"), "Cancelled");
            json_decref(cancelled);
        }
    }
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        print_message("  %s\n", filters[i].name);
        (void)snprintf(rest, sizeof(rest), "runs/?%s", filters[i].query);
        json_t *page = on_export(TR_HTTP_GET, rest, NULL, filters[i].status);
        if (filters[i].status == 200)
            assert_int_equal(json_array_size(json_object_get(page, "results")), filters[i].want);
        json_decref(page);
    }
}

static void a_run_can_be_stopped_and_started_again(void **state)
{
    char rest[200];
    char id[TR_UUID_TEXT];

    (void)state;
    make_export();
    struct tr_run run = schedule_run(test_now, test_now + TR_US_PER_HOUR);
    tr_uuid_format(&run.id, id);
    (void)snprintf(rest, sizeof(rest), "runs/%s/retry/", id);
    json_decref(on_export(TR_HTTP_POST, rest, NULL, 400)); /* it has not failed */
    (void)snprintf(rest, sizeof(rest), "runs/%s/cancel/", id);
    json_decref(on_export(TR_HTTP_POST, rest, NULL, 200));
    json_decref(on_export(TR_HTTP_POST, rest, NULL, 400)); /* it has ended */
    (void)snprintf(rest, sizeof(rest), "runs/%s/retry/", id);
    json_t *again = on_export(TR_HTTP_POST, rest, NULL, 201);
    assert_string_equal(text_at(again, "status"), "Starting");
    assert_string_equal(text_at(again, "id"), id);
    json_decref(again);
    (void)snprintf(rest, sizeof(rest), "runs/%s/rejects/", id);
    json_decref(on_export(TR_HTTP_GET, rest, NULL, 200));
    (void)snprintf(rest, sizeof(rest), "runs/%s/logs/", id);
    json_decref(on_export(TR_HTTP_GET, rest, NULL, 200));
    json_decref(on_export(TR_HTTP_GET, "runs/0199c0de-0000-7000-8000-000000000000/", NULL, 404));
    json_decref(on_export(TR_HTTP_GET, "runs/none/", NULL, 404));
    /* A run of another export is not here. */
    make_export();
    (void)snprintf(rest, sizeof(rest), "runs/%s/", id);
    json_decref(on_export(TR_HTTP_GET, rest, NULL, 404));
}

/* ---- backfills ---- */

static const struct backfill_case {
    const char *name, *body, *attr, *text;
} backfills[] = {
    { "no start, where nothing is yet", "{}", "start_at", "nothing to backfill" },
    { "a start that is none", "{\"start_at\":\"yesterday\"}", "start_at", "yesterday" },
    { "a naive time", "{\"start_at\":\"2026-11-20T00:00:00\",\"end_at\":\"2026-11-21T00:00:00Z\"}",
      "start_at", "zone" },
    { "a bare date for an export of minutes",
      "{\"start_at\":\"2026-11-20\",\"end_at\":\"2026-11-21T00:00:00Z\"}", "start_at", "daily" },
    { "an end before the start",
      "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-19T00:00:00Z\"}", "end_at",
      "after" },
    { "an end in the future",
      "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-21T10:00:00Z\"}", "end_at",
      "2026-11-21T09:30:00" },
    { "replace where the destination cannot",
      "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-21T00:00:00Z\","
      "\"on_delivered\":\"replace\"}",
      "on_delivered", "cannot replace" },
    { "something else about what is delivered",
      "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-21T00:00:00Z\","
      "\"on_delivered\":\"burn\"}",
      "on_delivered", "skip" },
    { "too much at once",
      "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-21T00:00:00Z\",\"parallel\":"
      "1000}",
      "parallel", "16" },
    { "a field that is none",
      "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-21T00:00:00Z\",\"speed\":1}",
      "speed", "no such field" },
    { "older than what is held",
      "{\"start_at\":\"2026-11-01T00:00:00Z\",\"end_at\":\"2026-11-21T00:00:00Z\"}", "start_at",
      "2026-11-10" },
};

static void refuses_backfills_with_a_reason(void **state)
{
    (void)state;
    make_export();
    source_floor = test_now - 11 * TR_US_PER_DAY; /* 2026-11-10T09:30 */
    for (size_t i = 0; i < sizeof(backfills) / sizeof(backfills[0]); i++) {
        print_message("  %s\n", backfills[i].name);
        json_t *answer = on_export(TR_HTTP_POST, "backfills/", backfills[i].body, 400);
        assert_string_equal(text_at(answer, "attr"), backfills[i].attr);
        if (strstr(text_at(answer, "detail"), backfills[i].text) == NULL)
            fail_msg("'%s' is not in '%s'", backfills[i].text, text_at(answer, "detail"));
        json_decref(answer);
    }
    source_floor = 0;
}

static void a_backfill_lives(void **state)
{
    char rest[200];

    (void)state;
    make_export();
    json_t *b =
        on_export(TR_HTTP_POST, "backfills/",
                  "{\"start_at\":\"2026-11-20T00:00:00Z\",\"end_at\":\"2026-11-20T02:00:00+01:00\","
                  "\"parallel\":3,\"on_delivered\":\"append\"}",
                  201);
    assert_string_equal(text_at(b, "start_at"), "2026-11-20T00:00:00.000000Z");
    assert_string_equal(text_at(b, "end_at"), "2026-11-20T01:00:00.000000Z");
    assert_string_equal(text_at(b, "on_delivered"), "append");
    assert_string_equal(text_at(b, "backfill_id"), text_at(b, "id"));
    assert_int_equal(json_integer_value(json_object_get(b, "parallel")), 3);
    json_t *list = on_export(TR_HTTP_GET, "backfills/", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "results")), 1);
    json_decref(list);
    (void)snprintf(rest, sizeof(rest), "backfills/%s/", text_at(b, "id"));
    json_t *one = on_export(TR_HTTP_GET, rest, NULL, 200);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(one, "progress"), "rows_total")), 7);
    json_decref(one);
    (void)snprintf(rest, sizeof(rest), "backfills/%s/cancel/", text_at(b, "id"));
    one = on_export(TR_HTTP_POST, rest, NULL, 200);
    assert_string_equal(text_at(one, "status"), "Cancelled");
    json_decref(one);
    json_decref(on_export(TR_HTTP_POST, rest, NULL, 400));
    json_decref(b);
}

static void a_backfill_without_bounds_is_of_all_that_is_there(void **state)
{
    (void)state;
    make_export();
    source_ahead = 30 * TR_US_PER_S;
    json_t *b = on_export(TR_HTTP_POST, "backfills/", "{\"start_at\":null}", 201);
    assert_string_equal(text_at(b, "start_at"), "2026-11-21T09:30:00.000000Z");
    assert_string_equal(text_at(b, "end_at"), "2026-11-21T09:30:30.000000Z");
    json_decref(b);
    source_ahead = 0;
}

static void dates_are_days_in_the_exports_zone(void **state)
{
    json_t *e =
        call(TR_HTTP_POST, EXPORTS,
             "{\"interval\":\"day\",\"timezone\":\"Europe/Berlin\",\"offset_hour\":6,"
             "\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\",\"password\":\"x\"}}}",
             201);

    (void)state;
    (void)snprintf(export_id, sizeof(export_id), "%s", text_at(e, "id"));
    json_t *b = on_export(TR_HTTP_POST, "backfills/",
                          "{\"start_at\":\"2026-07-01\",\"end_at\":\"2026-07-02\"}", 201);
    assert_string_equal(text_at(b, "start_at"), "2026-07-01T04:00:00.000000Z");
    assert_string_equal(text_at(b, "end_at"), "2026-07-02T04:00:00.000000Z");
    json_decref(b);
    json_decref(e);
}

/* ---- projects, tokens, status ---- */

static const struct project_case {
    const char *name, *body;
    int status;
} projects[] = {
    { "a name is enough", "{\"name\":\"shop\"}", 201 },
    { "a token of one's own", "{\"name\":\"app\",\"capture_token\":\"phc_mine\"}", 201 },
    { "a token twice", "{\"name\":\"other\",\"capture_token\":\"phc_mine\"}", 409 },
    { "no name", "{}", 400 },
    { "a name of blanks", "{\"name\":\"  \"}", 400 },
    { "a personal key as the token", "{\"name\":\"x\",\"capture_token\":\"phx_abc\"}", 400 },
    { "a token with a blank", "{\"name\":\"x\",\"capture_token\":\"a b\"}", 400 },
    { "a token too long",
      "{\"name\":\"x\",\"capture_token\":"
      "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
      400 },
};

static void makes_projects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(projects) / sizeof(projects[0]); i++) {
        print_message("  %s\n", projects[i].name);
        json_t *p = call(TR_HTTP_POST, "/api/projects/", projects[i].body, projects[i].status);
        if (projects[i].status == 201) {
            assert_true(strlen(text_at(p, "capture_token")) > 4);
            assert_string_equal(text_at(p, "capture_token"), text_at(p, "api_token"));
        }
        json_decref(p);
    }
}

static void nothing_without_a_token(void **state)
{
    static const char *const bad[] = {
        "", "Bearer", "Bearer ", "Bearer wrong", "Basic good-token", "good-token"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *answer = call_as(bad[i], TR_HTTP_GET, "/api/projects/", NULL, 401);
        assert_string_equal(text_at(answer, "type"), "authentication_error");
        assert_non_null(strstr(text_at(answer, "hint"), "owner-token"));
        json_decref(answer);
        json_decref(call_as(bad[i], TR_HTTP_GET, "/api/no/such/address/", NULL, 401));
    }
    json_decref(call_as("bearer  good-token", TR_HTTP_GET, "/api/projects/", NULL, 200));
    json_decref(call(TR_HTTP_PATCH, "/api/projects/", "{}", 405));
    json_decref(call(TR_HTTP_GET, "/api/no/such/address/", NULL, 404));
}

static void tells_how_it_is(void **state)
{
    (void)state;
    make_export();
    (void)schedule_run(test_now, test_now + TR_US_PER_HOUR);
    json_t *s = call(TR_HTTP_GET, "/api/status", NULL, 200);
    assert_string_equal(text_at(s, "version"), TR_VERSION);
    assert_int_equal(strlen(text_at(s, "organization_id")), 36);
    size_t i = 0;
    json_t *e = NULL;
    bool found = false;
    json_array_foreach(json_object_get(s, "exports"), i, e)
    {
        if (strcmp(text_at(e, "id"), export_id) != 0)
            continue;
        found = true;
        assert_int_equal(json_integer_value(json_object_get(e, "open_runs")), 1);
        assert_string_equal(text_at(e, "delivered_through"), "2026-11-21T09:30:00.000000Z");
    }
    assert_true(found);
    json_decref(s);
    json_t *d = call(TR_HTTP_GET, "/api/destinations/", NULL, 200);
    assert_string_equal(text_at(json_array_get(json_object_get(d, "results"), 0), "type"), "Fake");
    json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_go_forth_and_back),
        cmocka_unit_test(lists_what_was_asked_for),
        cmocka_unit_test(a_run_can_be_stopped_and_started_again),
        cmocka_unit_test(refuses_backfills_with_a_reason),
        cmocka_unit_test(a_backfill_lives),
        cmocka_unit_test(a_backfill_without_bounds_is_of_all_that_is_there),
        cmocka_unit_test(dates_are_days_in_the_exports_zone),
        cmocka_unit_test(makes_projects),
        cmocka_unit_test(nothing_without_a_token),
        cmocka_unit_test(tells_how_it_is),
    };

    return cmocka_run_group_tests_name("api runs", tests, fixture_up, fixture_down);
}
