#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "encode/pgcopy.h"
#include "model/event.h"

/* A batch of one row, with one value in every column. */
struct row {
    struct tr_batch batch;
    struct tr_str str[TR_EVENT_COLUMNS];
    struct tr_uuid uuid;
    int64_t i64[TR_EVENT_COLUMNS];
    int64_t inserted_at;
    uint32_t flags;
};

static void row_init(struct row *r)
{
    memset(r, 0, sizeof(*r));
    r->batch = (struct tr_batch){
        .schema = &tr_schema_events, .rows = 1, .flags = &r->flags, .inserted_at = &r->inserted_at
    };
    for (size_t i = 0; i < TR_EVENT_COLUMNS; i++) {
        enum tr_type t = tr_schema_events.columns[i].type;
        if (t == TR_TYPE_UUID)
            r->batch.col[i].uuid = &r->uuid;
        else if (t == TR_TYPE_INT64 || t == TR_TYPE_TIME)
            r->batch.col[i].i64 = &r->i64[i];
        else
            r->batch.col[i].str = &r->str[i];
    }
}

static uint32_t read32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;

    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* One column of the row as a tuple: returns the outcome, *out is its bytes (p NULL: SQL NULL). */
static enum tr_pgcopy_row encode(struct row *r, int column, enum tr_pgcopy_form form, uint32_t max,
                                 struct tr_buf *buf, struct tr_str *out, char *reason)
{
    struct tr_pgcopy c = { .schema = &tr_schema_events,
                           .n = 1,
                           .col = { { .column = column, .form = form, .max_chars = max } } };

    tr_buf_init(buf, 1 << 20);
    enum tr_pgcopy_row wrote = tr_pgcopy_row(&c, &r->batch, 0, buf, reason);
    if (wrote == TR_PGCOPY_REJECTED || wrote == TR_PGCOPY_FULL) {
        assert_int_equal(buf->n, 0);
        return wrote;
    }
    assert_true(buf->n >= 6);
    assert_memory_equal(buf->p, "\0\1", 2);
    uint32_t n = read32(buf->p + 2);
    if (n == UINT32_MAX) {
        *out = (struct tr_str){ NULL, 0 };
        assert_int_equal(buf->n, 6);
    } else {
        *out = (struct tr_str){ buf->p + 6, n };
        assert_int_equal(buf->n, 6 + n);
    }
    return wrote;
}

#define BYTES(lit) lit, sizeof(lit) - 1

static void writes_text_and_json(void **state)
{
    static const struct {
        const char *name;
        int column;
        enum tr_pgcopy_form form;
        uint32_t max, flags;
        const char *in;
        size_t in_n;
        enum tr_pgcopy_row want;
        const char *out;
        size_t out_n;
    } cases[] = {
        { "text as it is", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 0, 0, BYTES("$pageview"),
          TR_PGCOPY_WROTE, BYTES("$pageview") },
        { "an empty text", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 200, 0, BYTES(""), TR_PGCOPY_WROTE,
          BYTES("") },
        { "as long as the column", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 3, 0, BYTES("abc"),
          TR_PGCOPY_WROTE, BYTES("abc") },
        { "one longer", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 3, 0, BYTES("abcd"), TR_PGCOPY_REPAIRED,
          BYTES("abc") },
        { "characters are counted, not bytes", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 3, 0,
          BYTES("\xC3\xA4\xC3\xB6\xC3\xBC"), TR_PGCOPY_WROTE, BYTES("\xC3\xA4\xC3\xB6\xC3\xBC") },
        { "and never cut in two", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 2, 0, BYTES("a\xF0\x9F\x98\x80z"),
          TR_PGCOPY_REPAIRED, BYTES("a\xF0\x9F\x98\x80") },
        { "a NUL in text", TR_EVENT_DISTINCT_ID, TR_PGCOPY_TEXT, 200, TR_EVENT_TEXT_NUL,
          BYTES("a\0b\0"), TR_PGCOPY_REPAIRED,
          BYTES("a\xEF\xBF\xBD"
                "b\xEF\xBF\xBD") },
        { "a NUL in text from properties", TR_EVENT_IP, TR_PGCOPY_TEXT, 200, TR_EVENT_JSON_NUL,
          BYTES("\0"), TR_PGCOPY_REPAIRED, BYTES("\xEF\xBF\xBD") },
        { "NULs, then cut", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 2, TR_EVENT_TEXT_NUL, BYTES("\0\0\0"),
          TR_PGCOPY_REPAIRED, BYTES("\xEF\xBF\xBD\xEF\xBF\xBD") },
        { "the flag is about another value", TR_EVENT_EVENT, TR_PGCOPY_TEXT, 0, TR_EVENT_TEXT_NUL,
          BYTES("abc"), TR_PGCOPY_WROTE, BYTES("abc") },
        { "jsonb", TR_EVENT_PROPERTIES, TR_PGCOPY_JSONB, 0, 0, BYTES("{\"a\":54.10}"),
          TR_PGCOPY_WROTE, BYTES("\1{\"a\":54.10}") },
        { "json", TR_EVENT_PROPERTIES, TR_PGCOPY_JSON, 0, 0, BYTES("{\"a\":54.10}"),
          TR_PGCOPY_WROTE, BYTES("{\"a\":54.10}") },
        { "jsonb with an escaped NUL", TR_EVENT_PROPERTIES, TR_PGCOPY_JSONB, 0, TR_EVENT_JSON_NUL,
          BYTES("{\"a\":\"\\u0000\"}"), TR_PGCOPY_REPAIRED, BYTES("\1{\"a\":\"\\ufffd\"}") },
        { "json with half a pair", TR_EVENT_SET, TR_PGCOPY_JSON, 0, TR_EVENT_JSON_SURROGATE,
          BYTES("{\"a\":\"\\ud800\"}"), TR_PGCOPY_REPAIRED, BYTES("{\"a\":\"\\ufffd\"}") },
        { "JSON as text stays", TR_EVENT_PROPERTIES, TR_PGCOPY_TEXT, 0,
          TR_EVENT_JSON_NUL | TR_EVENT_JSON_WIDE, BYTES("[\"\\u0000\",1e999999]"), TR_PGCOPY_WROTE,
          BYTES("[\"\\u0000\",1e999999]") },
        { "JSON longer than its varchar", TR_EVENT_PROPERTIES, TR_PGCOPY_TEXT, 4, 0,
          BYTES("{\"a\":1}"), TR_PGCOPY_REJECTED, NULL, 0 },
        { "a number beyond numeric", TR_EVENT_PROPERTIES, TR_PGCOPY_JSONB, 0, TR_EVENT_JSON_WIDE,
          BYTES("[1e999999]"), TR_PGCOPY_REJECTED, NULL, 0 },
        { "json takes any number", TR_EVENT_PROPERTIES, TR_PGCOPY_JSON, 0, TR_EVENT_JSON_WIDE,
          BYTES("[1e999999]"), TR_PGCOPY_WROTE, BYTES("[1e999999]") },
        { "a wide number that numeric holds", TR_EVENT_PROPERTIES, TR_PGCOPY_JSONB, 0,
          TR_EVENT_JSON_WIDE, BYTES("[1e400]"), TR_PGCOPY_WROTE, BYTES("\1[1e400]") },
        { "NULL", TR_EVENT_SET, TR_PGCOPY_JSONB, 0, 0, NULL, 0, TR_PGCOPY_WROTE, NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct row r;
        struct tr_buf buf;
        struct tr_str got = { NULL, 0 };
        char reason[TR_PGCOPY_REASON] = "";

        print_message("# %s\n", cases[i].name);
        row_init(&r);
        r.flags = cases[i].flags;
        r.str[cases[i].column] = (struct tr_str){ cases[i].in, cases[i].in_n };
        assert_int_equal(
            encode(&r, cases[i].column, cases[i].form, cases[i].max, &buf, &got, reason),
            cases[i].want);
        if (cases[i].want == TR_PGCOPY_REJECTED) {
            assert_non_null(strstr(reason, "column "));
        } else if (cases[i].out == NULL) {
            assert_null(got.p);
        } else {
            assert_int_equal(got.n, cases[i].out_n);
            assert_memory_equal(got.p, cases[i].out, got.n);
        }
        tr_buf_fini(&buf);
    }
}

static void writes_numbers(void **state)
{
    static const struct {
        const char *name;
        int column;
        enum tr_pgcopy_form form;
        uint32_t max;
        int64_t in;
        enum tr_pgcopy_row want;
        const char *out;
        size_t n;
    } cases[] = {
        { "integer", TR_EVENT_TEAM_ID, TR_PGCOPY_INT4, 0, 258, TR_PGCOPY_WROTE, BYTES("\0\0\1\2") },
        { "integer, the lowest", TR_EVENT_TEAM_ID, TR_PGCOPY_INT4, 0, INT32_MIN, TR_PGCOPY_WROTE,
          BYTES("\x80\0\0\0") },
        { "beyond integer", TR_EVENT_TEAM_ID, TR_PGCOPY_INT4, 0, INT64_C(2147483648),
          TR_PGCOPY_REJECTED, NULL, 0 },
        { "smallint", TR_EVENT_TEAM_ID, TR_PGCOPY_INT2, 0, -2, TR_PGCOPY_WROTE, BYTES("\xFF\xFE") },
        { "beyond smallint", TR_EVENT_TEAM_ID, TR_PGCOPY_INT2, 0, 32768, TR_PGCOPY_REJECTED, NULL,
          0 },
        { "bigint", TR_EVENT_TEAM_ID, TR_PGCOPY_INT8, 0, -1, TR_PGCOPY_WROTE,
          BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF") },
        { "numeric zero", TR_EVENT_TEAM_ID, TR_PGCOPY_NUMERIC, 0, 0, TR_PGCOPY_WROTE,
          BYTES("\0\0\0\0\0\0\0\0") },
        { "numeric 12345", TR_EVENT_TEAM_ID, TR_PGCOPY_NUMERIC, 0, 12345, TR_PGCOPY_WROTE,
          BYTES("\0\2\0\1\0\0\0\0\0\1\x09\x29") },
        { "numeric -20000", TR_EVENT_TEAM_ID, TR_PGCOPY_NUMERIC, 0, -20000, TR_PGCOPY_WROTE,
          BYTES("\0\1\0\1\x40\0\0\0\0\2") },
        { "a number as text", TR_EVENT_TEAM_ID, TR_PGCOPY_TEXT, 0, -7, TR_PGCOPY_WROTE,
          BYTES("-7") },
        { "a number longer than its varchar", TR_EVENT_TEAM_ID, TR_PGCOPY_TEXT, 2, 123,
          TR_PGCOPY_REJECTED, NULL, 0 },
        { "NULL", TR_EVENT_TEAM_ID, TR_PGCOPY_INT4, 0, TR_NULL_INT, TR_PGCOPY_WROTE, NULL, 0 },
        { "the epoch of the server", TR_EVENT_TIMESTAMP, TR_PGCOPY_TIMESTAMP, 0,
          INT64_C(946684800000000), TR_PGCOPY_WROTE, BYTES("\0\0\0\0\0\0\0\0") },
        { "one microsecond before", TR_EVENT_TIMESTAMP, TR_PGCOPY_TIMESTAMP, 0,
          INT64_C(946684799999999), TR_PGCOPY_WROTE, BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF") },
        { "the first instant it knows", TR_EVENT_TIMESTAMP, TR_PGCOPY_TIMESTAMP, 0,
          INT64_C(-210866803200000000), TR_PGCOPY_WROTE,
          BYTES("\xFD\x0F\x7C\xC1\x41\x1F\xA0\x00") },
        { "one before that", TR_EVENT_TIMESTAMP, TR_PGCOPY_TIMESTAMP, 0,
          INT64_C(-210866803200000001), TR_PGCOPY_REJECTED, NULL, 0 },
        { "time as text", TR_EVENT_TIMESTAMP, TR_PGCOPY_TEXT, 0, 1, TR_PGCOPY_WROTE,
          BYTES("1970-01-01T00:00:00.000001Z") },
        { "time as text beyond the year 9999", TR_EVENT_TIMESTAMP, TR_PGCOPY_TEXT, 0,
          TR_TIME_MAX + 1, TR_PGCOPY_REJECTED, NULL, 0 },
        { "no time", TR_EVENT_CREATED_AT, TR_PGCOPY_TIMESTAMP, 0, TR_NULL_INT, TR_PGCOPY_WROTE,
          NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct row r;
        struct tr_buf buf;
        struct tr_str got = { NULL, 0 };
        char reason[TR_PGCOPY_REASON] = "";

        print_message("# %s\n", cases[i].name);
        row_init(&r);
        r.i64[cases[i].column] = cases[i].in;
        assert_int_equal(
            encode(&r, cases[i].column, cases[i].form, cases[i].max, &buf, &got, reason),
            cases[i].want);
        if (cases[i].want != TR_PGCOPY_REJECTED) {
            assert_int_equal(got.n, cases[i].n);
            if (cases[i].n > 0)
                assert_memory_equal(got.p, cases[i].out, got.n);
        }
        tr_buf_fini(&buf);
    }
}

static void writes_uuids(void **state)
{
    struct row r;
    struct tr_buf buf;
    struct tr_str got = { NULL, 0 };
    char reason[TR_PGCOPY_REASON];

    (void)state;
    row_init(&r);
    assert_true(tr_uuid_parse(TR_STR("0194C2F1-0000-7abc-8def-0123456789ab"), &r.uuid));
    assert_int_equal(encode(&r, TR_EVENT_UUID, TR_PGCOPY_UUID, 0, &buf, &got, reason),
                     TR_PGCOPY_WROTE);
    assert_int_equal(got.n, 16);
    assert_memory_equal(got.p, r.uuid.b, 16);
    tr_buf_fini(&buf);
    assert_int_equal(encode(&r, TR_EVENT_UUID, TR_PGCOPY_TEXT, 200, &buf, &got, reason),
                     TR_PGCOPY_WROTE);
    assert_int_equal(got.n, 36);
    assert_memory_equal(got.p, "0194c2f1-0000-7abc-8def-0123456789ab", 36);
    tr_buf_fini(&buf);
}

static void a_rejected_row_leaves_no_trace(void **state)
{
    struct tr_pgcopy c = { .schema = &tr_schema_events,
                           .n = 2,
                           .col = { { TR_EVENT_EVENT, TR_PGCOPY_TEXT, 0 },
                                    { TR_EVENT_TEAM_ID, TR_PGCOPY_INT4, 0 } } };
    char reason[TR_PGCOPY_REASON];
    struct tr_buf buf;
    struct row r;

    (void)state;
    row_init(&r);
    r.str[TR_EVENT_EVENT] = TR_STR("e");
    tr_buf_init(&buf, 1 << 20);
    tr_pgcopy_head(&buf);
    assert_int_equal(buf.n, 19);
    assert_memory_equal(buf.p, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    r.i64[TR_EVENT_TEAM_ID] = INT64_MAX;
    assert_int_equal(tr_pgcopy_row(&c, &r.batch, 0, &buf, reason), TR_PGCOPY_REJECTED);
    assert_string_equal(reason, "column team_id: a number that does not fit integer");
    assert_int_equal(buf.n, 19);
    r.i64[TR_EVENT_TEAM_ID] = 1;
    assert_int_equal(tr_pgcopy_row(&c, &r.batch, 0, &buf, reason), TR_PGCOPY_WROTE);
    tr_pgcopy_tail(&buf);
    assert_int_equal(buf.n, 19 + 15 + 2);
    assert_memory_equal(buf.p + 19, "\0\2\0\0\0\1e\0\0\0\4\0\0\0\1\377\377", 17);
    tr_buf_fini(&buf);
}

static void a_full_buffer_is_told(void **state)
{
    struct tr_pgcopy c = { .schema = &tr_schema_events,
                           .n = 1,
                           .col = { { TR_EVENT_EVENT, TR_PGCOPY_TEXT, 0 } } };
    char reason[TR_PGCOPY_REASON];
    struct tr_buf buf;
    struct row r;

    (void)state;
    row_init(&r);
    r.str[TR_EVENT_EVENT] = TR_STR("more than the buffer may hold");
    tr_buf_init(&buf, 16);
    assert_int_equal(tr_pgcopy_row(&c, &r.batch, 0, &buf, reason), TR_PGCOPY_FULL);
    tr_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text_and_json),  cmocka_unit_test(writes_numbers),
        cmocka_unit_test(writes_uuids),          cmocka_unit_test(a_rejected_row_leaves_no_trace),
        cmocka_unit_test(a_full_buffer_is_told),
    };

    return cmocka_run_group_tests_name("pgcopy", tests, NULL, NULL);
}
