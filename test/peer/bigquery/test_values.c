/* What becomes of values, and of rows that cannot go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "loader.h"
#include "warehouse.h"

static struct loader *l;
static struct rows *r;
static struct tr_key key;

static void open_with(bool json)
{
    json_t *config = warehouse_fresh();

    (void)json_object_set_new(config, "use_json_type", json_boolean(json));
    l = loader_new(config);
    r = rows_new(4, 1, 100);
    key = rows_key();
}

static int as_json(void **state)
{
    (void)state;
    open_with(true);
    return 0;
}

static int as_text(void **state)
{
    (void)state;
    open_with(false);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    rows_free(r);
    loader_free(l);
    return 0;
}

static void must(enum tr_rc rc)
{
    char text[600];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id, tr_err_text(&l->err, text, sizeof(text)));
}

static const char *uuid_text(size_t i)
{
    static char text[TR_UUID_TEXT];

    tr_uuid_format(&r->batch.col[TR_EVENT_UUID].uuid[i], text);
    return text;
}

/* The value of an expression over row i, as JSON. */
static json_t *value(const char *expression, size_t i)
{
    char sql[512];

    (void)snprintf(sql, sizeof(sql), "SELECT %s FROM `%s.events` WHERE uuid = '%s'", expression,
                   warehouse_dataset(), uuid_text(i));
    return warehouse_ask("[s, s]", "ask", sql);
}

static void is_text(const char *expression, size_t i, const char *want)
{
    json_t *v = value(expression, i);

    assert_true(json_is_string(v));
    assert_string_equal(json_string_value(v), want);
    json_decref(v);
}

static void set_properties(size_t i, const char *json)
{
    r->batch.col[TR_EVENT_PROPERTIES].str[i] = tr_str_of(json);
}

static void json_goes_in_as_it_is(void **state)
{
    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    set_properties(0, "{\"a\":{\"b\":[1,2.50,true,null,\"x\"]},\"$c\":\"\\u00e4\"}");
    set_properties(1, "[1,\n2]");
    set_properties(2, "\"just text\"");
    set_properties(3, "{}");
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(l->receipt.repaired, 0);
    is_text("JSON_VALUE(properties, '$.a.b[1]')", 0, "2.5");
    is_text("JSON_VALUE(properties, '$.a.b[4]')", 0, "x");
    is_text("JSON_TYPE(properties)", 1, "array");
    is_text("JSON_TYPE(properties)", 2, "string");
    /* PostHog's elements are text whatever the others are */
    is_text("elements", 0, "\"button.cta:text=\\\"Buy\\\"\"");
}

static void text_columns_keep_the_bytes(void **state)
{
    static const char odd[] =
        "{\"n\": 1180591620717411303424,\n \"e\":1e400, \"s\":\"\\ud800\", \"q\":\"\\\"\\\\\"}";

    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    set_properties(0, odd);
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(l->receipt.repaired, 0);
    is_text("properties", 0, odd);
}

static void what_the_json_type_cannot_keep_is_repaired(void **state)
{
    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    set_properties(0, "{\"n\":1180591620717411303424,\"f\":0.12345678901234567890}");
    set_properties(1, "{\"e\":1e400}");
    set_properties(2, "{\"s\":\"a\\ud83d\"}");
    set_properties(3, "{\"ok\":\"\\ud83d\\ude00\",\"n\":18446744073709551615}");
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(l->receipt.delivered, 4);
    assert_int_equal(l->receipt.repaired, 3);
    is_text("JSON_VALUE(properties, '$.e')", 1, "1e400");
    is_text("JSON_VALUE(properties, '$.s')", 2, "a\xef\xbf\xbd");
    is_text("JSON_VALUE(properties, '$.ok')", 3, "\xf0\x9f\x98\x80");

    /* who asks later hears the same counts: they are in the job's labels */
    enum tr_chunk_state s = TR_CHUNK_ABSENT;
    must(loader_lookup(l, &key, 30000, &s));
    assert_int_equal(s, TR_CHUNK_PRESENT);
    assert_int_equal(l->receipt.delivered, 4);
    assert_int_equal(l->receipt.repaired, 3);
}

static void rows_that_cannot_go_are_rejected_alone(void **state)
{
    char deep[2048];

    (void)state;
    memset(deep, '[', 501);
    memset(deep + 501, ']', 501);
    deep[1002] = '\0';
    must(loader_prepare(l, &tr_schema_events));
    set_properties(0, deep);
    r->batch.col[TR_EVENT_TIMESTAMP].i64[1] += 400 * TR_US_PER_DAY; /* a clock that is wrong */
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(l->receipt.delivered, 2);
    assert_int_equal(l->receipt.rejected, 2);
    assert_int_equal(l->n_rejects, 2);
    assert_memory_equal(&l->rejects[0].uuid, &r->batch.col[TR_EVENT_UUID].uuid[0], 16);
    assert_non_null(strstr(l->rejects[0].reason, "500 levels"));
    assert_non_null(strstr(l->rejects[1].reason, "days_future"));
    assert_int_equal(warehouse_number("SELECT count(*) FROM `%D.events`"), 2);
    enum tr_chunk_state s = TR_CHUNK_ABSENT;
    must(loader_lookup(l, &key, 30000, &s));
    assert_int_equal(l->receipt.rejected, 2);
}

static void a_chunk_of_nothing_but_rejects_is_delivered(void **state)
{
    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    for (size_t i = 0; i < 4; i++)
        r->batch.col[TR_EVENT_TIMESTAMP].i64[i] += 400 * TR_US_PER_DAY;
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(l->receipt.delivered, 0);
    assert_int_equal(l->receipt.rejected, 4);
    enum tr_chunk_state s = TR_CHUNK_ABSENT;
    must(loader_lookup(l, &key, 30000, &s));
    assert_int_equal(s, TR_CHUNK_PRESENT);
    assert_int_equal(l->receipt.delivered, 0);
    assert_int_equal(l->receipt.rejected, 4);
}

static void nulls_times_and_numbers_arrive(void **state)
{
    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    r->batch.col[TR_EVENT_IP].str[0] = (struct tr_str){ NULL, 0 };
    r->batch.col[TR_EVENT_TIMESTAMP].i64[0] = INT64_C(1795253400123456);
    r->batch.col[TR_EVENT_TEAM_ID].i64[0] = INT64_C(9007199254740993); /* beyond a double */
    must(loader_deliver(l, &key, &r->batch, false));
    json_t *v = value("ip", 0);
    assert_true(json_is_null(v));
    json_decref(v);
    v = value("UNIX_MICROS(timestamp)", 0);
    assert_int_equal(json_integer_value(v), INT64_C(1795253400123456));
    json_decref(v);
    v = value("team_id", 0);
    assert_int_equal(json_integer_value(v), INT64_C(9007199254740993));
    json_decref(v);
}

/* Rows that only BigQuery refuses: their lines are broken, as no valid value would make them. The
 * peer says how many it refuses, not which. */
static void bad_rows_are_found(void **state)
{
    struct rows *many = rows_new(200, 1, 100);
    static const size_t bad[] = { 0, 77, 199 };

    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    for (size_t i = 0; i < 3; i++)
        many->batch.col[TR_EVENT_PROPERTIES].str[bad[i]] = TR_STR("{\"a\":");
    assert_int_equal(loader_deliver(l, &key, &many->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, tr_dest_rows_refused);
    must(loader_deliver_all(l, &key, &many->batch));
    assert_int_equal(l->receipt.delivered, 197);
    assert_int_equal(l->receipt.rejected, 3);
    assert_int_equal(l->n_rejects, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(l->rejects[i].row, bad[i]);
        assert_true(strlen(l->rejects[i].reason) > 10);
    }
    assert_int_equal(warehouse_number("SELECT count(*) FROM `%D.events`"), 197);
    assert_int_equal(warehouse_number("SELECT count(DISTINCT uuid) FROM `%D.events`"), 197);
    rows_free(many);
}

#define CASE(how, name) cmocka_unit_test_setup_teardown(name, how, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(as_json, json_goes_in_as_it_is),
        CASE(as_text, text_columns_keep_the_bytes),
        CASE(as_json, what_the_json_type_cannot_keep_is_repaired),
        CASE(as_json, rows_that_cannot_go_are_rejected_alone),
        CASE(as_text, a_chunk_of_nothing_but_rejects_is_delivered),
        CASE(as_text, nulls_times_and_numbers_arrive),
        CASE(as_json, bad_rows_are_found),
    };
    const char *why = warehouse_connect();

    if (why != NULL) {
        (void)printf("1..0 # SKIP %s\n", why);
        return 0;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    warehouse_disconnect();
    return failed;
}
