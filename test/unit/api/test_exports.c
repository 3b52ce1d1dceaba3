/* Exports through the API: what is accepted, what is refused and why, what is kept and what is
 * shown. */
#include "fixture.h"

#define EXPORTS "/api/projects/1/batch_exports/"
#define GOOD                                                                                       \
    "\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\",\"password\":\"s3cret-word\"}}"

/* ---- refusals ---- */

static const struct refusal {
    const char *name, *body;
    const char *attr; /* what is blamed */
    const char *text; /* a part of the reason */
} refusals[] = {
    { "no destination", "{}", "destination", "type and config" },
    { "no type", "{\"destination\":{\"config\":{}}}", "destination.type", "Fake" },
    { "an unknown type", "{\"destination\":{\"type\":\"Moon\"}}", "destination.type", "Moon" },
    { "a required option is absent",
      "{\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\"}}}",
      "destination.config.password", "password" },
    { "an unknown option",
      "{\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\",\"password\":\"x\","
      "\"colour\":1}}}",
      "destination.config.colour", "no option" },
    { "a number out of bounds",
      "{\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\",\"password\":\"x\",\"port\":"
      "0}}}",
      "destination.config.port", "port" },
    { "a choice that is none",
      "{\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\",\"password\":\"x\","
      "\"layout\":\"round\"}}}",
      "destination.config.layout", "layout" },
    { "a misspelt field", "{\"intervall\":\"hour\"," GOOD "}", "intervall", "interval" },
    { "an unknown frequency", "{\"interval\":\"fortnight\"," GOOD "}", "interval", "fortnight" },
    { "seconds below five", "{\"interval\":\"every 2 seconds\"," GOOD "}", "interval", "" },
    { "an interval that the place cannot bear", "{\"interval\":\"every 10 seconds\"," GOOD "}",
      "interval", "it is slow" },
    { "real time for rows that change",
      "{\"interval\":\"realtime\",\"model\":\"persons\"," GOOD "}", "interval", "change" },
    { "real time where whole runs are shown",
      "{\"interval\":\"realtime\",\"destination\":{\"type\":\"Folder\",\"config\":{\"host\":\"a\","
      "\"password\":\"x\"}}}",
      "interval", "whole run" },
    { "an unknown zone", "{\"interval\":\"day\",\"timezone\":\"Mars/Base\"," GOOD "}", "timezone",
      "Mars/Base" },
    { "an offset for an hourly export", "{\"offset_hour\":3," GOOD "}", "offset_hour",
      "day or week" },
    { "a naive time", "{\"start_at\":\"2026-11-21T09:00:00\"," GOOD "}", "start_at", "zone" },
    { "an end before the start",
      "{\"start_at\":\"2026-11-21T09:00:00Z\",\"end_at\":\"2026-11-20T09:00:00Z\"," GOOD "}",
      "end_at", "after" },
    { "an unknown column", "{\"columns\":[\"uuid\",\"colour\"]," GOOD "}", "columns", "colour" },
    { "one name for two columns",
      "{\"columns\":[\"uuid\",{\"name\":\"event\",\"as\":\"uuid\"}]," GOOD "}", "columns",
      "twice" },
    { "a filter without operator sense",
      "{\"filters\":[{\"key\":\"a\",\"operator\":\"smells\",\"value\":1}]," GOOD "}", "filters",
      "operator must be one of" },
    { "event lists that are no lists",
      "{\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"a\",\"password\":\"x\","
      "\"include_events\":\"a\"}}}",
      "destination.config.include_events", "list" },
    { "paused that is no boolean", "{\"paused\":\"yes\"," GOOD "}", "paused", "true or false" },
    { "a query of the future", "{\"hogql_query\":\"SELECT 1\"," GOOD "}", "", "later version" },
    { "broken JSON", "{\"name\":", "", "JSON parse error" },
    { "a key twice", "{\"name\":\"a\",\"name\":\"b\"}", "", "JSON parse error" },
    { "a list as the body", "[1]", "", "object" },
};

static void refuses_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *r = &refusals[i];

        print_message("  %s\n", r->name);
        json_t *answer = call(TR_HTTP_POST, EXPORTS, r->body, 400);
        assert_string_equal(text_at(answer, "type"), "validation_error");
        assert_string_equal(text_at(answer, "attr"), r->attr);
        if (strstr(text_at(answer, "detail"), r->text) == NULL)
            fail_msg("'%s' is not in '%s'", r->text, text_at(answer, "detail"));
        json_decref(answer);
    }
    json_t *list = call(TR_HTTP_GET, EXPORTS, NULL, 200);
    assert_int_equal(json_integer_value(json_object_get(list, "count")), 0);
    json_decref(list);
}

/* ---- the life of one ---- */

static json_t *create(const char *body)
{
    return call(TR_HTTP_POST, EXPORTS, body, 201);
}

static void address_of(const json_t *e, const char *rest, char out[256])
{
    (void)snprintf(out, 256, EXPORTS "%s/%s", text_at(e, "id"), rest);
}

static void must_not_hold_secret(const json_t *j)
{
    char *text = json_dumps(j, 0);

    assert_null(strstr(text, "s3cret"));
    free(text);
}

static int64_t cursor_of(const json_t *e)
{
    struct tr_uuid id;
    struct tr_err err = { 0 };
    int64_t cursor = 0;

    assert_true(tr_uuid_parse(tr_str_of(text_at(e, "id")), &id));
    assert_int_equal(fx.meta->ops->cursor_get(fx.meta, &id, &cursor, &err), TR_OK);
    return cursor;
}

static void keeps_defaults_and_hides_secrets(void **state)
{
    json_t *e = create("{" GOOD "}");

    (void)state;
    assert_string_equal(text_at(e, "name"), "Fake events");
    assert_string_equal(text_at(e, "interval"), "hour");
    assert_string_equal(text_at(e, "timezone"), "UTC");
    assert_string_equal(text_at(e, "model"), "events");
    assert_string_equal(text_at(e, "target"), "fake://a:5432");
    assert_false(json_is_true(json_object_get(e, "paused")));
    assert_int_equal(json_array_size(json_object_get(e, "latest_runs")), 0);
    must_not_hold_secret(e);
    /* 09:00: the interval that holds 09:30 */
    assert_int_equal(cursor_of(e), test_now - 30 * TR_US_PER_MIN);

    struct tr_export_row row = { 0 };
    struct tr_err err = { 0 };
    struct tr_uuid id;
    tr_buf_init(&row.buf, 1 << 20);
    assert_true(tr_uuid_parse(tr_str_of(text_at(e, "id")), &id));
    assert_int_equal(fx.meta->ops->export_get(fx.meta, &id, &row, &err), TR_OK);
    assert_null(memmem(row.buf.p, row.buf.n, "s3cret", 6));
    assert_true(row.sealed.n > 0);
    tr_buf_fini(&row.buf);
    assert_null(strstr(fx.log, "s3cret"));

    struct tr_export *loaded = NULL;
    struct tr_conf *conf = NULL;
    assert_int_equal(tr_delivery_load(&fx.delivery, &id, &loaded, &conf, &err), TR_OK);
    assert_string_equal(tr_conf_text(conf, "password"), "s3cret-word");
    tr_conf_free(conf);
    tr_export_free(loaded);
    json_decref(e);
}

static json_t *excluded(const json_t *e)
{
    return json_object_get(json_object_get(json_object_get(e, "destination"), "config"),
                           "exclude_events");
}

/* Unless it says something about events itself; and only when it is made. */
static void one_in_real_time_leaves_out_what_its_place_says(void **state)
{
    static const char *const others[] = {
        "{\"interval\":\"realtime\",\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"b\","
        "\"password\":\"x\",\"exclude_events\":[]}}}",
        "{\"interval\":\"realtime\",\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"b\","
        "\"password\":\"x\",\"exclude_events\":null}}}",
        "{\"interval\":\"realtime\",\"destination\":{\"type\":\"Fake\",\"config\":{\"host\":\"b\","
        "\"password\":\"x\",\"include_events\":[\"a\"]}}}",
        "{\"interval\":\"hour\"," GOOD "}",
    };
    json_t *e = create("{\"interval\":\"realtime\"," GOOD "}");
    char path[256];

    (void)state;
    assert_int_equal(json_array_size(excluded(e)), 2);
    assert_string_equal(json_string_value(json_array_get(excluded(e), 0)), "$autocapture");
    json_decref(e);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        e = create(others[i]);
        assert_int_equal(json_array_size(excluded(e)), 0);
        address_of(e, "", path);
        json_decref(e);
    }
    json_decref(call(TR_HTTP_PATCH, path, "{\"interval\":\"realtime\"}", 200));
    e = call(TR_HTTP_GET, path, NULL, 200);
    assert_int_equal(json_array_size(excluded(e)), 0);
    json_decref(e);
}

/* The first event that is not there yet says it. */
static void the_lag_of_one_in_real_time_is_that_of_its_events(void **state)
{
    json_t *made = create("{\"interval\":\"realtime\"," GOOD "}");
    const json_t *e = NULL;
    double lag = -1;
    size_t i;

    (void)state;
    source_ahead = 30 * TR_US_PER_S;
    json_t *status = call(TR_HTTP_GET, "/api/status/", NULL, 200);
    source_ahead = 0;
    json_array_foreach(json_object_get(status, "exports"), i,
                       e) if (strcmp(text_at(e, "id"), text_at(made, "id")) == 0) lag =
        json_number_value(json_object_get(e, "lag_seconds"));
    assert_true(lag > 9.999 && lag < 10.001);
    json_decref(status);
    json_decref(made);
}

static void a_start_in_the_future_is_where_the_schedule_begins(void **state)
{
    json_t *e = create("{\"start_at\":\"2026-11-22T00:00:00Z\"," GOOD "}");

    (void)state;
    assert_int_equal(cursor_of(e), test_now + 14 * TR_US_PER_HOUR + 30 * TR_US_PER_MIN);
    json_decref(e);
}

static void patch_merges_and_secrets_stay(void **state)
{
    json_t *e = create("{\"name\":\"one\",\"interval\":\"day\"," GOOD "}");
    char at[256];
    struct tr_export *loaded = NULL;
    struct tr_conf *conf = NULL;
    struct tr_err err = { 0 };
    struct tr_uuid id;

    (void)state;
    address_of(e, "", at);
    json_decref(call(TR_HTTP_PATCH, at, "{\"destination\":{\"config\":{\"port\":6000}}}", 200));
    json_t *after =
        call(TR_HTTP_PATCH, at,
             "{\"interval\":\"every 5 minutes\",\"end_at\":\"2027-01-01T00:00:00Z\"}", 200);
    assert_string_equal(text_at(after, "name"), "one");
    assert_string_equal(text_at(after, "interval"), "every 5 minutes");
    assert_string_equal(text_at(after, "target"), "fake://a:6000");
    must_not_hold_secret(after);
    /* The cursor of the daily schedule stays: delivered ranges make that safe. */
    assert_int_equal(cursor_of(after), cursor_of(e));
    assert_true(tr_uuid_parse(tr_str_of(text_at(e, "id")), &id));
    assert_int_equal(tr_delivery_load(&fx.delivery, &id, &loaded, &conf, &err), TR_OK);
    assert_string_equal(tr_conf_text(conf, "password"), "s3cret-word");
    tr_conf_free(conf);
    tr_export_free(loaded);
    json_decref(after);
    after = call(TR_HTTP_PATCH, at, "{\"end_at\":null}", 200);
    assert_true(json_object_get(after, "end_at") == NULL ||
                json_is_null(json_object_get(after, "end_at")));
    json_decref(after);
    json_decref(e);
}

/* By the routes that use what was kept: PATCH, PUT and the test step. */
static void a_kept_secret_is_shown_to_no_other_host(void **state)
{
    static const char elsewhere[] = "{\"destination\":{\"config\":{\"host\":\"b\"}}}";
    static const char step[] = "{\"step\":0,\"destination\":{\"config\":{\"host\":\"b\"}}}";
    json_t *e = create("{" GOOD "}");
    char at[256];
    char test_at[300];

    (void)state;
    address_of(e, "", at);
    address_of(e, "run_test_step/", test_at);
    json_t *put = json_deep_copy(e);
    (void)json_object_set_new(json_object_get(json_object_get(put, "destination"), "config"),
                              "host", json_string("b"));
    char *put_text = json_dumps(put, 0);
    json_t *refused[] = { call(TR_HTTP_PATCH, at, elsewhere, 400),
                          call(TR_HTTP_PUT, at, put_text, 400),
                          call(TR_HTTP_POST, test_at, step, 400) };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_string_equal(text_at(refused[i], "attr"), "destination.config.password");
        assert_string_equal(text_at(refused[i], "code"), "required");
        must_not_hold_secret(refused[i]);
        json_decref(refused[i]);
    }
    json_t *after = call(TR_HTTP_GET, at, NULL, 200);
    assert_string_equal(text_at(after, "target"), text_at(e, "target"));
    json_decref(after);
    /* with the secret, it is what the person wants */
    json_decref(call(TR_HTTP_PATCH, at,
                     "{\"destination\":{\"config\":{\"host\":\"b\",\"password\":\"s3cret-word\"}}}",
                     200));
    free(put_text);
    json_decref(put);
    json_decref(e);
}

static void fields_that_are_none_are_refused_everywhere(void **state)
{
    static const struct {
        enum tr_http_method method;
        const char *rest, *body;
    } cases[] = {
        { TR_HTTP_PATCH, "", "{\"nmae\":null}" },
        { TR_HTTP_PUT, "", "{\"nmae\":\"x\"," GOOD "}" },
        { TR_HTTP_PATCH, "", "{\"destination\":{\"confg\":null}}" },
        { TR_HTTP_POST, "pause/", "{\"backfill\":true}" },
        { TR_HTTP_POST, "unpause/", "{\"backfil\":true}" },
        { TR_HTTP_POST, "run_test_step/", "{\"step\":0,\"interval\":\"day\"}" },
        { TR_HTTP_POST, "backfills/", "{\"start\":null}" },
        { TR_HTTP_DELETE, "", "{\"distinct_ids\":true}" },
    };
    json_t *e = create("{" GOOD "}");
    char at[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("# %s %s\n", cases[i].rest, cases[i].body);
        address_of(e, cases[i].rest, at);
        json_t *answer = call(cases[i].method, at, cases[i].body, 400);
        assert_string_equal(text_at(answer, "code"), "unknown_field");
        json_decref(answer);
    }
    json_decref(
        call(TR_HTTP_POST, "/api/projects/", "{\"name\":\"x\",\"capture_tokn\":null}", 400));
    json_decref(e);
}

static void exports_are_listed_by_pages(void **state)
{
    char *first = NULL;

    (void)state;
    for (int i = 0; i < 3; i++)
        json_decref(create("{" GOOD "}"));
    json_t *page = call(TR_HTTP_GET, "/api/projects/1/batch_exports/?limit=1", NULL, 200);
    assert_non_null(strstr(text_at(page, "next"), "batch_exports/?offset=1&limit=1"));
    assert_true(json_is_null(json_object_get(page, "previous")));
    first = strdup(text_at(json_array_get(json_object_get(page, "results"), 0), "id"));
    json_decref(page);
    page = call(TR_HTTP_GET, "/api/projects/1/batch_exports/?limit=1&offset=1", NULL, 200);
    assert_non_null(strstr(text_at(page, "previous"), "?offset=0&limit=1"));
    assert_string_not_equal(text_at(json_array_get(json_object_get(page, "results"), 0), "id"),
                            first);
    json_decref(page);
    page = call(TR_HTTP_GET, "/api/projects/1/batch_exports/?limit=1000", NULL, 200);
    assert_true(json_is_null(json_object_get(page, "next")));
    json_decref(page);
    free(first);
}

static void what_was_read_can_be_put_back(void **state)
{
    json_t *e = create("{\"name\":\"again\"," GOOD "}");
    char at[256];

    (void)state;
    address_of(e, "", at);
    char *body = json_dumps(e, 0);
    json_t *after = call(TR_HTTP_PUT, at, body, 200);
    assert_string_equal(text_at(after, "name"), "again");
    assert_string_equal(text_at(after, "target"), text_at(e, "target"));
    free(body);
    json_decref(after);
    json_decref(e);
}

static const struct refusal fixed[] = {
    { "the model", "{\"model\":\"persons\"}", "model", "model" },
    { "the type", "{\"destination\":{\"type\":\"Other\"}}", "destination.type", "type" },
    { "an option marked fixed", "{\"destination\":{\"config\":{\"layout\":\"long\"}}}",
      "destination.config.layout", "cannot be changed" },
    { "a required secret taken away", "{\"destination\":{\"config\":{\"password\":null}}}",
      "destination.config.password", "password" },
};

static void some_things_cannot_change(void **state)
{
    json_t *e = create("{" GOOD "}");
    char at[256];

    (void)state;
    address_of(e, "", at);
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        print_message("  %s\n", fixed[i].name);
        json_t *answer = call(TR_HTTP_PATCH, at, fixed[i].body, 400);
        assert_string_equal(text_at(answer, "attr"), fixed[i].attr);
        assert_non_null(strstr(text_at(answer, "detail"), fixed[i].text));
        json_decref(answer);
    }
    json_decref(e);
}

static void pausing_twice_is_pausing_once(void **state)
{
    json_t *e = create("{" GOOD "}");
    char at[256];

    (void)state;
    address_of(e, "pause/", at);
    json_decref(call(TR_HTTP_POST, at, NULL, 200));
    json_decref(call(TR_HTTP_POST, at, NULL, 200));
    address_of(e, "", at);
    json_t *after = call(TR_HTTP_GET, at, NULL, 200);
    assert_true(json_is_true(json_object_get(after, "paused")));
    assert_true(json_is_string(json_object_get(after, "last_paused_at")));
    json_decref(after);
    address_of(e, "unpause/", at);
    json_decref(call(TR_HTTP_POST, at, "{\"backfill\":1}", 400));
    after = call(TR_HTTP_POST, at, "{\"backfill\":true}", 200);
    assert_true(json_is_false(json_object_get(after, "paused")));
    json_decref(after);
    json_decref(e);
}

static void deleting_twice_is_deleting_once(void **state)
{
    json_t *e = create("{" GOOD "}");
    char at[256];

    (void)state;
    address_of(e, "", at);
    assert_null(call(TR_HTTP_DELETE, at, NULL, 204));
    assert_null(call(TR_HTTP_DELETE, at, NULL, 204));
    json_decref(call(TR_HTTP_GET, at, NULL, 404));
    json_decref(call(TR_HTTP_PATCH, at, "{}", 404));
    json_decref(call(TR_HTTP_DELETE, EXPORTS "0199c0de-0000-7000-8000-000000000000/", NULL, 404));
    json_decref(e);
}

static void an_export_belongs_to_its_project(void **state)
{
    json_t *e = create("{" GOOD "}");
    json_t *p = call(TR_HTTP_POST, "/api/projects/", "{\"name\":\"second\"}", 201);
    char at[256];

    (void)state;
    assert_int_equal(fx.tokens_read, 1);
    (void)snprintf(at, sizeof(at), "/api/projects/%d/batch_exports/%s/",
                   (int)json_integer_value(json_object_get(p, "id")), text_at(e, "id"));
    json_decref(call(TR_HTTP_GET, at, NULL, 404));
    json_decref(call(TR_HTTP_DELETE, at, NULL, 404));
    (void)snprintf(at, sizeof(at), "/api/projects/99/batch_exports/%s/", text_at(e, "id"));
    json_decref(call(TR_HTTP_GET, at, NULL, 404));
    json_decref(p);
    json_decref(e);
}

/* ---- testing the place ---- */

static void a_failed_test_keeps_nothing(void **state)
{
    json_t *list = call(TR_HTTP_GET, EXPORTS, NULL, 200);
    json_int_t before = json_integer_value(json_object_get(list, "count"));

    (void)state;
    json_decref(list);
    json_t *answer = call(TR_HTTP_POST, EXPORTS,
                          "{\"test\":true,\"destination\":{\"type\":\"Fake\",\"config\":"
                          "{\"host\":\"bad.example\",\"password\":\"s3cret-word\"}}}",
                          400);
    assert_string_equal(text_at(answer, "reason"), "fake.no_rights");
    assert_string_equal(text_at(answer, "hint"), "grant INSERT");
    assert_non_null(strstr(text_at(answer, "detail"), "Write"));
    json_decref(answer);
    list = call(TR_HTTP_GET, EXPORTS, NULL, 200);
    assert_int_equal(json_integer_value(json_object_get(list, "count")), before);
    json_decref(list);
}

static void test_steps_are_answers(void **state)
{
    json_t *e = create("{" GOOD "}");
    char at[256];

    (void)state;
    json_t *steps = call(TR_HTTP_GET, EXPORTS "test/?destination=Fake", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(steps, "steps")), 2);
    json_decref(steps);
    json_decref(call(TR_HTTP_GET, EXPORTS "test/", NULL, 400));
    json_decref(call(TR_HTTP_GET, EXPORTS "test/?destination=Moon", NULL, 404));

    address_of(e, "run_test_step/", at);
    json_t *step = call(TR_HTTP_POST, at, "{\"step\":1}", 200);
    assert_string_equal(text_at(step, "status"), "Passed");
    json_decref(step);
    step = call(
        TR_HTTP_POST, at,
        "{\"step\":1,\"destination\":{\"config\":{\"host\":\"bad.example\",\"password\":\"p\"}}}",
        200);
    assert_string_equal(text_at(step, "status"), "Failed");
    assert_string_equal(text_at(step, "message"), "the user may not write");
    json_decref(step);
    json_decref(call(TR_HTTP_POST, at, "{\"step\":2}", 400));
    json_decref(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_with_a_reason),
        cmocka_unit_test(keeps_defaults_and_hides_secrets),
        cmocka_unit_test(one_in_real_time_leaves_out_what_its_place_says),
        cmocka_unit_test(the_lag_of_one_in_real_time_is_that_of_its_events),
        cmocka_unit_test(a_start_in_the_future_is_where_the_schedule_begins),
        cmocka_unit_test(patch_merges_and_secrets_stay),
        cmocka_unit_test(a_kept_secret_is_shown_to_no_other_host),
        cmocka_unit_test(fields_that_are_none_are_refused_everywhere),
        cmocka_unit_test(exports_are_listed_by_pages),
        cmocka_unit_test(what_was_read_can_be_put_back),
        cmocka_unit_test(some_things_cannot_change),
        cmocka_unit_test(pausing_twice_is_pausing_once),
        cmocka_unit_test(deleting_twice_is_deleting_once),
        cmocka_unit_test(an_export_belongs_to_its_project),
        cmocka_unit_test(a_failed_test_keeps_nothing),
        cmocka_unit_test(test_steps_are_answers),
    };

    return cmocka_run_group_tests_name("api exports", tests, fixture_up, fixture_down);
}
