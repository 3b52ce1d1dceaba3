#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "dest/bigquery/bigquery_priv.h"

#define NOON INT64_C(1795262400000000) /* 2026-11-21T12:00:00Z */

/* One row of sessions: the model that has every type. */
static struct tr_batch batch;
static struct tr_str text, texts;
static struct tr_uuid uuid;
static int64_t number, instant, inserted_at;
static uint8_t truth;
static double real;
static uint32_t flags;

static struct bq_column to; /* what the value goes into */
static struct bq_fit fit;
static struct bq_rows rows;
static bool streamed, few_elements;
static struct tr_buf out;
static char reason[BQ_REASON];

static void reset(void)
{
    text = TR_STR("abc");
    texts = TR_STR("[\"a\",\"b\"]");
    memset(&uuid, 0x11, sizeof(uuid));
    number = 7;
    instant = NOON;
    inserted_at = NOON;
    truth = 1;
    real = 1.5;
    batch = (struct tr_batch){
        .schema = &tr_schema_sessions, .rows = 1, .flags = &flags, .inserted_at = &inserted_at
    };
    for (size_t i = 0; i < batch.schema->n; i++) {
        enum tr_type t = batch.schema->columns[i].type;
        batch.col[i].str = t == TR_TYPE_TEXTS ? &texts : &text;
        if (t == TR_TYPE_UUID)
            batch.col[i].uuid = &uuid;
        if (t == TR_TYPE_INT64)
            batch.col[i].i64 = &number;
        if (t == TR_TYPE_TIME)
            batch.col[i].i64 = &instant;
        if (t == TR_TYPE_BOOL)
            batch.col[i].u8 = &truth;
        if (t == TR_TYPE_FLOAT)
            batch.col[i].f64 = &real;
    }
    to = (struct bq_column){ .name = "c" };
    streamed = few_elements = false;
}

/* One column in that form; the line without its end. */
static enum bq_row line(int column, enum bq_form form)
{
    struct tr_err err = { 0 };

    fit = (struct bq_fit){
        .schema = batch.schema, .n = 1, .col = { { column, form, &to } }, .partition = -1
    };
    assert_int_equal(bq_rows_init(&rows, &fit, 10, 1, &err), TR_OK);
    rows.streamed = streamed;
    rows.few_elements = few_elements;
    tr_buf_clear(&out);
    enum bq_row got = bq_row_add(&rows, &batch, 0, &out, reason);
    bq_rows_fini(&rows);
    tr_buf_ch(&out, '\0');
    if (out.n > 2) {
        assert_int_equal(out.p[out.n - 2], '\n');
        out.p[out.n - 2] = '\0';
    }
    return got;
}

static int set_up(void **state)
{
    (void)state;
    tr_buf_init(&out, 1 << 20);
    reset();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_buf_fini(&out);
    return 0;
}

static void writes_each_form(void **state)
{
    static const struct {
        int column;
        enum bq_form form;
        const char *want;
    } cases[] = {
        { TR_SESSION_DISTINCT_ID, BQ_AS_TEXT, "{\"c\":\"abc\"}" },
        { TR_SESSION_ID, BQ_AS_UUID, "{\"c\":\"11111111-1111-1111-1111-111111111111\"}" },
        { TR_SESSION_TEAM_ID, BQ_AS_INT, "{\"c\":7}" },
        { TR_SESSION_TEAM_ID, BQ_AS_INT_TEXT, "{\"c\":\"7\"}" },
        { TR_SESSION_START_TIMESTAMP, BQ_AS_TIME, "{\"c\":\"2026-11-21T12:00:00.000000Z\"}" },
        { TR_SESSION_START_TIMESTAMP, BQ_AS_DATETIME, "{\"c\":\"2026-11-21T12:00:00.000000\"}" },
        { TR_SESSION_IS_BOUNCE, BQ_AS_BOOL, "{\"c\":true}" },
        { TR_SESSION_IS_BOUNCE, BQ_AS_BOOL_TEXT, "{\"c\":\"true\"}" },
        { TR_SESSION_VITALS_LCP, BQ_AS_FLOAT, "{\"c\":1.5}" },
        { TR_SESSION_VITALS_LCP, BQ_AS_FLOAT_TEXT, "{\"c\":\"1.5\"}" },
        { TR_SESSION_URLS, BQ_AS_TEXTS, "{\"c\":[\"a\",\"b\"]}" },
        { TR_SESSION_URLS, BQ_AS_JSON_TEXT, "{\"c\":\"[\\\"a\\\",\\\"b\\\"]\"}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(line(cases[i].column, cases[i].form), BQ_ROW_WROTE);
        assert_string_equal(out.p, cases[i].want);
    }
}

static void integers_beyond_a_double_are_quoted(void **state)
{
    static const struct {
        int64_t v;
        const char *want;
    } cases[] = {
        { INT64_C(9007199254740991), "{\"c\":9007199254740991}" },
        { INT64_C(9007199254740992), "{\"c\":\"9007199254740992\"}" },
        { INT64_C(-9007199254740992), "{\"c\":\"-9007199254740992\"}" },
        { INT64_MAX, "{\"c\":\"9223372036854775807\"}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        number = cases[i].v;
        assert_int_equal(line(TR_SESSION_TEAM_ID, BQ_AS_INT), BQ_ROW_WROTE);
        assert_string_equal(out.p, cases[i].want);
    }
}

static void nothing_is_null(void **state)
{
    (void)state;
    text = (struct tr_str){ NULL, 0 };
    texts = (struct tr_str){ NULL, 0 };
    memset(&uuid, 0, sizeof(uuid));
    number = instant = TR_NULL_INT;
    truth = 0xFF;
    real = NAN;
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":null}");
    assert_int_equal(line(TR_SESSION_ID, BQ_AS_UUID), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":null}");
    assert_int_equal(line(TR_SESSION_TEAM_ID, BQ_AS_INT), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":null}");
    assert_int_equal(line(TR_SESSION_START_TIMESTAMP, BQ_AS_TIME), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":null}");
    assert_int_equal(line(TR_SESSION_IS_BOUNCE, BQ_AS_BOOL), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":null}");
    assert_int_equal(line(TR_SESSION_VITALS_LCP, BQ_AS_FLOAT), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":null}");
    to.is_repeated = true; /* an array is never null */
    assert_int_equal(line(TR_SESSION_URLS, BQ_AS_TEXTS), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":[]}");
    to.is_repeated = false;
    to.is_required = true;
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_REJECTED);
    assert_string_equal(reason, "c: no value for a column that is REQUIRED");
    assert_int_equal(out.n, 1); /* the NUL of line() alone */
}

static void text_that_is_too_long_is_cut_and_json_is_not(void **state)
{
    (void)state;
    to.max_length = 3;
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_WROTE);
    text = TR_STR("\xc3\xa4\xc3\xb6\xc3\xbc");
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_WROTE);
    text = TR_STR("\xc3\xa4\xc3\xb6\xc3\xbcx");
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_REPAIRED);
    assert_string_equal(out.p, "{\"c\":\"\xc3\xa4\xc3\xb6\xc3\xbc\"}");
    assert_int_equal(line(TR_SESSION_URLS, BQ_AS_JSON_TEXT), BQ_ROW_REJECTED);
    assert_string_equal(reason, "c: JSON longer than its column");
}

static void a_key_is_not_cut(void **state)
{
    static const struct tr_schema *const schemas[] = { &tr_schema_persons, &tr_schema_groups };
    static const int keys[] = { TR_PERSON_DISTINCT_ID, TR_GROUP_KEY };

    (void)state;
    to.max_length = 3;
    for (size_t i = 0; i < 2; i++) {
        batch.schema = schemas[i];
        batch.col[keys[i]].str = &text;
        text = TR_STR("abc");
        assert_int_equal(line(keys[i], BQ_AS_TEXT), BQ_ROW_WROTE);
        text = TR_STR("abcd");
        assert_int_equal(line(keys[i], BQ_AS_TEXT), BQ_ROW_REJECTED);
        assert_non_null(strstr(reason, "not cut"));
    }
}

static void repairs_are_told(void **state)
{
    (void)state;
    texts = TR_STR("[\"\\ud800\"]");
    assert_int_equal(line(TR_SESSION_URLS, BQ_AS_TEXTS), BQ_ROW_REPAIRED);
    assert_string_equal(out.p, "{\"c\":[\"\\ufffd\"]}");
    /* in text the bytes stay */
    assert_int_equal(line(TR_SESSION_URLS, BQ_AS_JSON_TEXT), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":\"[\\\"\\\\ud800\\\"]\"}");
}

static void instants_out_of_the_calendar_are_rejected(void **state)
{
    (void)state;
    instant = TR_TIME_MAX;
    assert_int_equal(line(TR_SESSION_START_TIMESTAMP, BQ_AS_TIME), BQ_ROW_WROTE);
    instant = TR_TIME_MAX + 1;
    assert_int_equal(line(TR_SESSION_START_TIMESTAMP, BQ_AS_TIME), BQ_ROW_REJECTED);
    instant = TR_TIME_MIN - 1;
    assert_int_equal(line(TR_SESSION_START_TIMESTAMP, BQ_AS_TIME), BQ_ROW_REJECTED);
}

static void a_full_buffer_is_no_verdict(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    tr_buf_fini(&out);
    tr_buf_init(&out, 10);
    tr_buf_z(&out, "12345");
    fit = (struct bq_fit){ .schema = batch.schema,
                           .n = 1,
                           .col = { { TR_SESSION_DISTINCT_ID, BQ_AS_TEXT, &to } },
                           .partition = -1 };
    assert_int_equal(bq_rows_init(&rows, &fit, 10, 1, &err), TR_OK);
    assert_int_equal(bq_row_add(&rows, &batch, 0, &out, reason), BQ_ROW_FULL);
    assert_int_equal(out.n, 5);
    bq_rows_fini(&rows);
}

/* ---- partitions ---- */

static enum bq_row at(int64_t t)
{
    instant = t;
    tr_buf_clear(&out);
    return bq_row_add(&rows, &batch, 0, &out, reason);
}

static void partition_by(enum bq_partition by, int64_t past, int64_t future)
{
    struct tr_err err = { 0 };

    fit = (struct bq_fit){ .schema = batch.schema,
                           .n = 1,
                           .col = { { TR_SESSION_START_TIMESTAMP, BQ_AS_TIME, &to } },
                           .partition = 0,
                           .by = by };
    assert_int_equal(bq_rows_init(&rows, &fit, past, future, &err), TR_OK);
}

static void a_partition_far_off_is_rejected(void **state)
{
    int64_t midnight = NOON - 12 * TR_US_PER_HOUR;

    (void)state;
    partition_by(BQ_BY_DAY, 10, 1);
    assert_int_equal(at(NOON), BQ_ROW_WROTE);
    assert_int_equal(at(midnight - 10 * TR_US_PER_DAY), BQ_ROW_WROTE);
    assert_int_equal(at(midnight - 10 * TR_US_PER_DAY - 1), BQ_ROW_REJECTED);
    assert_non_null(strstr(reason, "days_past"));
    assert_int_equal(at(midnight + 2 * TR_US_PER_DAY - 1), BQ_ROW_WROTE);
    assert_int_equal(at(midnight + 2 * TR_US_PER_DAY), BQ_ROW_REJECTED);
    assert_non_null(strstr(reason, "days_future"));
    assert_int_equal(at(TR_NULL_INT), BQ_ROW_WROTE);
    bq_rows_fini(&rows);
    inserted_at = INT64_C(-100) * TR_US_PER_DAY - 1; /* before 1970 days are days, too */
    partition_by(BQ_BY_DAY, 10, 0);
    assert_int_equal(at(inserted_at), BQ_ROW_WROTE);
    assert_int_equal(at(inserted_at + 1), BQ_ROW_REJECTED);
    bq_rows_fini(&rows);
}

static void a_load_has_at_most_four_thousand_partitions(void **state)
{
    (void)state;
    partition_by(BQ_BY_DAY, 36500, 0);
    for (int64_t i = 0; i < 4000; i++)
        assert_int_equal(at(NOON - i * TR_US_PER_DAY), BQ_ROW_WROTE);
    assert_int_equal(at(NOON - 4000 * TR_US_PER_DAY), BQ_ROW_TOO_WIDE);
    assert_int_equal(out.n, 0);
    for (int64_t i = 0; i < 4000; i++) /* those it has already are no further ones */
        assert_int_equal(at(NOON - i * TR_US_PER_DAY + 1), BQ_ROW_WROTE);
    bq_rows_fini(&rows);
    partition_by(BQ_BY_HOUR, 36500, 0);
    for (int64_t i = 0; i < 4000; i++)
        assert_int_equal(at(NOON - i * TR_US_PER_HOUR), BQ_ROW_WROTE);
    assert_int_equal(at(NOON - 4000 * TR_US_PER_HOUR), BQ_ROW_TOO_WIDE);
    bq_rows_fini(&rows);
}

/* A partition lasts so long from its first instant. */
static void what_a_partition_would_not_outlive_is_rejected(void **state)
{
    static const struct {
        enum bq_partition by;
        int64_t start; /* of the partition that holds NOON */
    } cases[] = {
        { BQ_BY_HOUR, NOON },
        { BQ_BY_DAY, INT64_C(1795219200000000) },   /* 2026-11-21 */
        { BQ_BY_MONTH, INT64_C(1793491200000000) }, /* 2026-11-01 */
        { BQ_BY_YEAR, INT64_C(1767225600000000) },  /* 2026-01-01 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        partition_by(cases[i].by, 36500, 36500);
        fit.life_us = 7 * TR_US_PER_DAY;
        rows.now_us = cases[i].start + fit.life_us - 1;
        assert_int_equal(at(NOON), BQ_ROW_WROTE);
        rows.now_us++;
        assert_int_equal(at(NOON), BQ_ROW_REJECTED);
        assert_non_null(strstr(reason, "expiration"));
        bq_rows_fini(&rows);
    }
}

/* A stream takes a value of type JSON as its text. */
static void json_is_text_in_a_stream(void **state)
{
    (void)state;
    text = TR_STR("{\"a\": [1180591620717411303424, \"\\\"\"]}");
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_JSON), BQ_ROW_REPAIRED);
    assert_string_equal(out.p, "{\"c\":{\"a\":[1.1805916207174113e+21,\"\\\"\"]}}");
    streamed = true;
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_JSON), BQ_ROW_REPAIRED);
    assert_string_equal(out.p, "{\"c\":\"{\\\"a\\\":[1.1805916207174113e+21,\\\"\\\\\\\"\\\"]}\"}");
    assert_int_equal(line(TR_SESSION_URLS, BQ_AS_TEXTS), BQ_ROW_WROTE);
    assert_string_equal(out.p, "{\"c\":[\"a\",\"b\"]}");
}

static void a_row_of_a_stream_is_smaller(void **state)
{
    char *large = malloc(9000000);

    (void)state;
    assert_non_null(large);
    memset(large, 'x', 9000000);
    text = (struct tr_str){ large, 9000000 };
    tr_buf_fini(&out);
    tr_buf_init(&out, 20000000);
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_WROTE);
    streamed = true;
    assert_int_equal(line(TR_SESSION_DISTINCT_ID, BQ_AS_TEXT), BQ_ROW_REJECTED);
    assert_non_null(strstr(reason, "9 MB"));
    free(large);
}

static void elements_go_with_autocaptured_events(void **state)
{
    static const struct {
        const char *event;
        bool few;
        const char *want;
    } cases[] = {
        { "$autocapture", true, "{\"c\":\"\\\"a\\\"\"}" },
        { "other", true, "{\"c\":\"[]\"}" },
        { "other", false, "{\"c\":\"\\\"a\\\"\"}" },
    };
    struct tr_str chain = TR_STR("\"a\"");

    (void)state;
    streamed = true;
    batch.schema = &tr_schema_events;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text = tr_str_of(cases[i].event);
        batch.col[TR_EVENT_EVENT].str = &text;
        batch.col[TR_EVENT_ELEMENTS].str = &chain;
        few_elements = cases[i].few;
        assert_int_equal(line(TR_EVENT_ELEMENTS, BQ_AS_JSON_TEXT), BQ_ROW_WROTE);
        assert_string_equal(out.p, cases[i].want);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(writes_each_form),
        CASE(integers_beyond_a_double_are_quoted),
        CASE(nothing_is_null),
        CASE(json_is_text_in_a_stream),
        CASE(a_row_of_a_stream_is_smaller),
        CASE(elements_go_with_autocaptured_events),
        CASE(text_that_is_too_long_is_cut_and_json_is_not),
        CASE(a_key_is_not_cut),
        CASE(repairs_are_told),
        CASE(instants_out_of_the_calendar_are_rejected),
        CASE(a_full_buffer_is_no_verdict),
        CASE(a_partition_far_off_is_rejected),
        CASE(what_a_partition_would_not_outlive_is_rejected),
        CASE(a_load_has_at_most_four_thousand_partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
