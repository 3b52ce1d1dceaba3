#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "encode/encode.h"

enum { LIMIT = 1 << 20 };

/* One row whose every column can be set. */
static struct {
    struct tr_uuid uuid;
    struct tr_str text, json;
    int64_t number, time;
    uint32_t flags;
    int64_t inserted_at;
} row;

static struct tr_batch batch(void)
{
    struct tr_batch b = { .schema = &tr_schema_events, .rows = 1 };

    b.col[TR_EVENT_UUID].uuid = &row.uuid;
    b.col[TR_EVENT_EVENT].str = &row.text;
    b.col[TR_EVENT_PROPERTIES].str = &row.json;
    b.col[TR_EVENT_TEAM_ID].i64 = &row.number;
    b.col[TR_EVENT_TIMESTAMP].i64 = &row.time;
    b.flags = &row.flags;
    b.inserted_at = &row.inserted_at;
    return b;
}

static struct tr_projection columns(size_t n, const int *column, const char *const *names)
{
    struct tr_projection p = { .schema = &tr_schema_events, .n = n };

    for (size_t i = 0; i < n; i++) {
        p.column[i] = column[i];
        p.name[i] = names != NULL ? names[i] : tr_schema_events.columns[column[i]].name;
    }
    return p;
}

static void encodes(const struct tr_projection *p, const char *want)
{
    struct tr_encoder *e = NULL;
    struct tr_encode_stats stats = { 0 };
    struct tr_batch b = batch();
    struct tr_buf out;
    struct tr_err err = { 0 };

    tr_buf_init(&out, LIMIT);
    assert_int_equal(tr_encode_jsonl_new(p, &e, &err), TR_OK);
    assert_int_equal(e->ops->head(e, &out, &err), TR_OK);
    assert_int_equal(e->ops->rows(e, &b, 0, 1, &out, NULL, &stats, &err), TR_OK);
    assert_int_equal(e->ops->tail(e, &out, &err), TR_OK);
    assert_int_equal(stats.rows, 1);
    assert_int_equal(stats.rejected + stats.repaired, 0);
    if (!tr_str_eq(tr_buf_view(&out), tr_str_of(want)))
        fail_msg("got  %.*swant %s", (int)out.n, out.p, want);
    e->ops->close(e);
    tr_buf_fini(&out);
}

static void a_row_is_one_object_on_one_line(void **state)
{
    static const int all[] = { TR_EVENT_UUID, TR_EVENT_EVENT, TR_EVENT_PROPERTIES, TR_EVENT_TEAM_ID,
                               TR_EVENT_TIMESTAMP };
    struct tr_projection p = columns(5, all, NULL);

    (void)state;
    assert_true(tr_uuid_parse(TR_STR("0190F5D5-8E1B-7C3A-9D2E-0123456789AB"), &row.uuid));
    row.text = TR_STR("$pageview");
    row.json = TR_STR("{\"price\": 54.10, \"big\":1180591620717411303424}");
    row.number = -42;
    assert_true(tr_time_parse(TR_STR("2026-11-21T09:30:00.000007Z"), &row.time));
    encodes(&p, "{\"uuid\":\"0190f5d5-8e1b-7c3a-9d2e-0123456789ab\",\"event\":\"$pageview\","
                "\"properties\":{\"price\": 54.10, \"big\":1180591620717411303424},\"team_id\":-42,"
                "\"timestamp\":\"2026-11-21T09:30:00.000007Z\"}\n");
}

static void nothing_is_null(void **state)
{
    static const int some[] = { TR_EVENT_EVENT, TR_EVENT_PROPERTIES, TR_EVENT_TEAM_ID,
                                TR_EVENT_TIMESTAMP };
    struct tr_projection p = columns(4, some, NULL);

    (void)state;
    row.text = row.json = (struct tr_str){ NULL, 0 };
    row.number = row.time = TR_NULL_INT;
    encodes(&p, "{\"event\":null,\"properties\":null,\"team_id\":null,\"timestamp\":null}\n");
}

static void columns_have_the_names_and_order_asked_for(void **state)
{
    static const int some[] = { TR_EVENT_TEAM_ID, TR_EVENT_EVENT };
    static const char *const names[] = { "project \"id\"", "\xC3\xA9v\xC3\xA9nement" };
    struct tr_projection p = columns(2, some, names);

    (void)state;
    row.text = TR_STR("x");
    row.number = INT64_MAX;
    encodes(&p, "{\"project \\\"id\\\"\":9223372036854775807,\"\xC3\xA9v\xC3\xA9nement\":\"x\"}\n");
    row.number = 0;
    encodes(&p, "{\"project \\\"id\\\"\":0,\"\xC3\xA9v\xC3\xA9nement\":\"x\"}\n");
}

static void texts_are_escaped(void **state)
{
    static const struct {
        struct tr_str text;
        const char *want;
    } texts[] = {
        { { "", 0 }, "\"\"" },
        { { "a\"b\\c/", 6 }, "\"a\\\"b\\\\c/\"" },
        { { "a\nb", 3 }, "\"a\\nb\"" },
        { { "a\rb\tc", 5 }, "\"a\\u000db\\u0009c\"" },
        { { "a\0b\x1F", 4 }, "\"a\\u0000b\\u001f\"" },
        { { "\xC3\xA9\xF0\x9F\x98\x80\x7F", 7 }, "\"\xC3\xA9\xF0\x9F\x98\x80\x7F\"" },
    };
    static const int one[] = { TR_EVENT_EVENT };
    struct tr_projection p = columns(1, one, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char want[128] = "{\"event\":";
        row.text = texts[i].text;
        (void)strcat(strcat(want, texts[i].want), "}\n");
        encodes(&p, want);
    }
}

static void line_breaks_inside_json_become_blanks(void **state)
{
    static const int one[] = { TR_EVENT_PROPERTIES };
    struct tr_projection p = columns(1, one, NULL);

    (void)state;
    row.json = TR_STR("{\r\n\t\"a\": \"x\\ny\",\n\"b\": 1\n}\n");
    encodes(&p, "{\"properties\":{  \t\"a\": \"x\\ny\", \"b\": 1 } }\n");
    row.json = TR_STR("\"\\u0000\\ud83d\"");
    encodes(&p, "{\"properties\":\"\\u0000\\ud83d\"}\n");
}

struct sink {
    struct tr_reject_sink base;
    int n;
    int64_t inserted_at;
    char reason[80];
};

static void take(struct tr_reject_sink *base, const struct tr_batch *b, size_t i,
                 const char *reason)
{
    struct sink *s = (struct sink *)(void *)base;

    s->n++;
    s->inserted_at = b->inserted_at[i];
    strncpy(s->reason, reason, sizeof(s->reason) - 1);
}

static void an_instant_that_has_no_text_is_rejected(void **state)
{
    static const int some[] = { TR_EVENT_EVENT, TR_EVENT_TIMESTAMP };
    struct tr_projection p = columns(2, some, NULL);
    struct sink sink = { .base = { .reject = take } };
    struct tr_encoder *e = NULL;
    struct tr_encode_stats stats = { 0 };
    struct tr_batch b = batch();
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, LIMIT);
    row.text = TR_STR("x");
    row.inserted_at = 77;
    assert_int_equal(tr_encode_jsonl_new(&p, &e, NULL), TR_OK);
    row.time = TR_TIME_MAX + 1;
    assert_int_equal(e->ops->rows(e, &b, 0, 1, &out, &sink.base, &stats, NULL), TR_OK);
    row.time = TR_TIME_MIN - 1;
    assert_int_equal(e->ops->rows(e, &b, 0, 1, &out, &sink.base, &stats, NULL), TR_OK);
    assert_int_equal(out.n, 0);
    row.time = TR_TIME_MIN;
    assert_int_equal(e->ops->rows(e, &b, 0, 1, &out, &sink.base, &stats, NULL), TR_OK);
    assert_true(
        tr_str_eq(tr_buf_view(&out),
                  TR_STR("{\"event\":\"x\",\"timestamp\":\"0001-01-01T00:00:00.000000Z\"}\n")));
    assert_int_equal(stats.rows, 1);
    assert_int_equal(stats.rejected, 2);
    assert_int_equal(sink.n, 2);
    assert_int_equal(sink.inserted_at, 77);
    assert_non_null(strstr(sink.reason, "year"));
    e->ops->close(e);
    tr_buf_fini(&out);
}

static void what_cannot_be_done_is_an_error(void **state)
{
    static const int some[] = { TR_EVENT_IP };
    struct tr_projection p = columns(1, some, NULL);
    struct tr_projection none = columns(0, NULL, NULL);
    static const int one[] = { TR_EVENT_EVENT };
    struct tr_projection text = columns(1, one, NULL);
    struct tr_encoder *e = NULL;
    struct tr_encode_stats stats = { 0 };
    struct tr_batch b = batch();
    struct tr_buf out;
    struct tr_err err = { 0 };

    (void)state;
    tr_buf_init(&out, 10);
    assert_int_equal(tr_encode_jsonl_new(&none, &e, &err), TR_INVALID);
    assert_int_equal(tr_encode_jsonl_new(&p, &e, &err), TR_OK);
    assert_int_equal(e->ops->rows(e, &b, 0, 1, &out, NULL, &stats, &err), TR_INTERNAL);
    assert_string_equal(err.id, "encode.no_column");
    e->ops->close(e);
    row.text = TR_STR("longer than the buffer");
    assert_int_equal(tr_encode_jsonl_new(&text, &e, &err), TR_OK);
    assert_int_equal(e->ops->rows(e, &b, 0, 1, &out, NULL, &stats, &err), TR_INTERNAL);
    assert_string_equal(err.id, "encode.too_big");
    e->ops->close(e);
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_one_object_on_one_line),
        cmocka_unit_test(nothing_is_null),
        cmocka_unit_test(columns_have_the_names_and_order_asked_for),
        cmocka_unit_test(texts_are_escaped),
        cmocka_unit_test(line_breaks_inside_json_become_blanks),
        cmocka_unit_test(an_instant_that_has_no_text_is_rejected),
        cmocka_unit_test(what_cannot_be_done_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
