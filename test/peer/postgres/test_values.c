/* Values as a real server has them afterwards, read by plain SQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "encode/pgcopy_json.h"
#include "loader.h"
#include "model/event.h"
#include "server.h"

static void must(enum tr_rc rc, const struct loader *l)
{
    char text[520];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id == NULL ? "?" : l->err.id,
                 tr_err_text(&l->err, text, sizeof(text)));
}

static void the_default_table_is_the_one_of_the_docs(void **state)
{
    struct loader *l = loader_new(server_fresh());

    (void)state;
    must(loader_prepare(l, NULL), l);
    assert_true(loader_noticed(l, "table created: events"));
    assert_true(loader_noticed(l, "ledger created"));
    assert_string_equal(
        server_ask("SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) ||"
                   " CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY attnum)"
                   " FROM pg_attribute WHERE attrelid = '%S.events'::regclass AND attnum > 0"),
        "uuid character varying(200), event character varying(200), properties jsonb, elements "
        "jsonb, "
        "set jsonb, set_once jsonb, distinct_id character varying(200), team_id integer, "
        "ip character varying(200), site_url character varying(200), "
        "timestamp timestamp with time zone");
    must(loader_prepare(l, NULL), l);
    assert_int_equal(l->n_notices, 0);
    loader_free(l);
}

static void every_column_arrives_as_it_was(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct tr_projection all = rows_projection();
    const char *names[TR_EVENT_COLUMNS + 1] = { NULL };
    struct rows *r = rows_new(3, 9, 100);
    struct tr_key key = rows_key();

    (void)state;
    memcpy(names, all.name, sizeof(all.name[0]) * all.n);
    must(loader_prepare(l, names), l);
    must(loader_deliver(l, &key, &r->batch, false), l);
    assert_int_equal(l->receipt.repaired, 0);
    assert_string_equal(
        server_ask(
            "SELECT jsonb_build_array(event, elements, set, set_once, distinct_id, team_id, ip,"
            " site_url, elements_chain, to_jsonb(timestamp AT TIME ZONE 'UTC'),"
            " to_jsonb(_inserted_at AT TIME ZONE 'UTC'), created_at = _inserted_at)"
            " FROM %S.events WHERE event = 'event 9-2'"),
        "[\"event 9-2\", \"button.cta:text=\\\"Buy\\\"\", {\"n\": 2, \"plan\": \"p9\"}, null, "
        "\"user-9-2\", 1, \"192.0.2.17\", \"\", \"button.cta:text=\\\"Buy\\\"\", "
        "\"2026-11-21T09:39:00.118458\", \"2026-11-21T09:39:00.123458\", true]");
    loader_free(l);
    rows_free(r);
}

/* Puts one value into row 0's properties and reads an expression of it. */
static const struct value_case {
    const char *name, *json;
    uint32_t flags;
    const char *sql, *want;
    uint64_t repaired, rejected;
} values[] = {
    { "54.10 keeps its zero", "{\"v\":54.10}", 0, "properties->>'v'", "54.10", 0, 0 },
    { "2^70", "{\"v\":1180591620717411303424}", TR_EVENT_JSON_BIG_INT, "properties->>'v'",
      "1180591620717411303424", 0, 0 },
    { "1e300", "{\"v\":1e300}", 0, "(properties->>'v')::numeric = 1e300::numeric", "t", 0, 0 },
    { "-0.0", "{\"v\":-0.0}", 0, "properties->>'v'", "0.0", 0, 0 },
    { "30 digits", "{\"v\":123456789012345678901234567890}", TR_EVENT_JSON_BIG_INT,
      "properties->>'v'", "123456789012345678901234567890", 0, 0 },
    { "1e-300", "{\"v\":1e-300}", 0, "(properties->>'v')::numeric = 1e-300::numeric", "t", 0, 0 },
    { "a wide number that fits", "{\"v\":1e131071}", TR_EVENT_JSON_WIDE, "length(properties->>'v')",
      "131072", 0, 0 },
    { "a number beyond numeric", "{\"v\":1e131072}", TR_EVENT_JSON_WIDE, "count(*)", "0", 0, 1 },
    { "an escaped NUL", "{\"v\":\"a\\u0000b\"}", TR_EVENT_JSON_NUL, "properties->>'v'",
      "a\xEF\xBF\xBD"
      "b",
      1, 0 },
    { "half a pair", "{\"v\":\"\\ud83d!\"}", TR_EVENT_JSON_SURROGATE, "properties->>'v'",
      "\xEF\xBF\xBD!", 1, 0 },
    { "a whole pair", "{\"v\":\"\\ud83d\\ude00\"}", 0, "properties->>'v'", "\xF0\x9F\x98\x80", 0,
      0 },
    { "raw text of every width", "{\"v\":\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\"}", 0,
      "properties->>'v'", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F", 0, 0 },
    { "the last of two equal keys", "{\"v\":1,\"v\":2}", 0, "properties->>'v'", "2", 0, 0 },
    { "an empty object", "{}", 0, "properties", "{}", 0, 0 },
    { "an empty key", "{\"\":\"x\"}", 0, "properties->>''", "x", 0, 0 },
};

static void odd_values_are_kept_repaired_or_rejected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const struct value_case *c = &values[i];
        struct loader *l = loader_new(server_fresh());
        struct rows *r = rows_new(1, 1, 40);
        struct tr_key key = rows_key();
        char sql[256];

        print_message("# %s\n", c->name);
        r->batch.col[TR_EVENT_PROPERTIES].str[0] = tr_str_of(c->json);
        r->batch.flags[0] = c->flags;
        must(loader_prepare(l, NULL), l);
        must(loader_deliver(l, &key, &r->batch, false), l);
        assert_int_equal(l->receipt.repaired, c->repaired);
        assert_int_equal(l->receipt.rejected, c->rejected);
        assert_int_equal(l->receipt.delivered, 1 - c->rejected);
        assert_int_equal(l->n_rejects, c->rejected);
        (void)snprintf(sql, sizeof(sql), "SELECT %s FROM %%S.events", c->sql);
        assert_string_equal(server_ask(sql), c->want);
        loader_free(l);
        rows_free(r);
    }
}

static void a_row_repaired_twice_counts_once(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(2, 1, 40);
    struct tr_key key = rows_key();
    char long_id[301];

    (void)state;
    memset(long_id, 'i', 300);
    r->batch.col[TR_EVENT_DISTINCT_ID].str[0] = (struct tr_str){ long_id, 300 };
    r->batch.col[TR_EVENT_PROPERTIES].str[0] = TR_STR("{\"v\":\"\\u0000\"}");
    r->batch.col[TR_EVENT_EVENT].str[0] = (struct tr_str){ "a\0b", 3 };
    r->batch.flags[0] = TR_EVENT_JSON_NUL | TR_EVENT_TEXT_NUL;
    must(loader_prepare(l, NULL), l);
    must(loader_deliver(l, &key, &r->batch, false), l);
    assert_int_equal(l->receipt.repaired, 1);
    assert_int_equal(l->receipt.delivered, 2);
    assert_string_equal(server_ask("SELECT event FROM %S.events WHERE length(distinct_id) = 200"),
                        "a\xEF\xBF\xBD"
                        "b");
    assert_string_equal(server_ask("SELECT repaired || '/' || delivered FROM %S.tailrace_ledger"),
                        "1/2");
    loader_free(l);
    rows_free(r);
}

static void nesting_as_deep_as_capture_takes_it(void **state)
{
    enum { DEPTH = 512 };
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(1, 1, 40);
    struct tr_key key = rows_key();
    char json[2 * DEPTH + 8];
    char *p = json;

    (void)state;
    p = stpcpy(p, "{\"v\":");
    memset(p, '[', DEPTH - 1);
    memset(p + DEPTH - 1, ']', DEPTH - 1);
    memcpy(p + 2 * (DEPTH - 1), "}", 2);
    r->batch.col[TR_EVENT_PROPERTIES].str[0] = tr_str_of(json);
    r->batch.flags[0] = TR_EVENT_JSON_DEEP;
    must(loader_prepare(l, NULL), l);
    must(loader_deliver(l, &key, &r->batch, false), l);
    assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 1);
    loader_free(l);
    rows_free(r);
}

/* Our idea of numeric's bounds against the server's own. */
static void the_server_agrees_about_numbers(void **state)
{
    static const struct {
        int before, after;
        const char *exponent;
    } cases[] = {
        { 1, 0, "e131071" },  { 1, 0, "e131072" },  { 2, 0, "e131070" }, { 2, 0, "e131071" },
        { 131072, 0, "" },    { 131073, 0, "" },    { 1, 16383, "" },    { 1, 16384, "" },
        { 1, 0, "e-16383" },  { 1, 0, "e-16384" },  { 1, 16384, "e1" },  { 1, 16385, "e1" },
        { 1, 10, "e-16373" }, { 1, 10, "e-16374" }, { 0, 3, "e131072" }, { 0, 3, "e131073" },
        { 0, 0, "e-16383" },  { 0, 0, "e-16384" },  { 0, 0, "e200000" }, { 131072, 16383, "" },
        { 1, 0, "e400000" },  { 1, 0, "e-400000" }, { 4, 2, "e131068" }, { 4, 2, "e131069" },
        { 5, 2, "e131067" },  { 5, 2, "e131068" },
    };
    char *text = malloc(300000);
    char *sql = malloc(300200);

    (void)state;
    assert_non_null(text);
    assert_non_null(sql);
    server_do("CREATE OR REPLACE FUNCTION pg_temp.takes(v text) RETURNS boolean LANGUAGE plpgsql AS"
              " $f$ BEGIN PERFORM v::jsonb; RETURN true;"
              " EXCEPTION WHEN numeric_value_out_of_range THEN RETURN false; END $f$");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *p = text;
        print_message("# %d.%d%s\n", cases[i].before, cases[i].after, cases[i].exponent);
        *p++ = '[';
        if (cases[i].before == 0)
            *p++ = '0';
        memset(p, '7', (size_t)cases[i].before);
        p += cases[i].before;
        if (cases[i].after > 0) {
            *p++ = '.';
            memset(p, '7', (size_t)cases[i].after);
            p += cases[i].after;
        }
        (void)stpcpy(stpcpy(p, cases[i].exponent), "]");
        (void)sprintf(sql, "SELECT pg_temp.takes('%s')", text); /* NOLINT: sized above */
        bool fits = tr_pgjson_numbers_fit(tr_str_of(text));
        assert_string_equal(server_ask(sql), fits ? "t" : "f");
    }
    free(sql);
    free(text);
}

static void other_types_of_columns_take_the_same_values(void **state)
{
    static const char *const tables[] = {
        "uuid uuid, event text, properties json, set text, distinct_id varchar, team_id bigint,"
        " ip char(20), timestamp timestamp",
        "uuid text, event char(40), properties text, set jsonb, distinct_id text, team_id numeric,"
        " ip varchar(10), timestamp text",
        "uuid char(36), event varchar(9), properties varchar, set json, distinct_id varchar(300),"
        " team_id smallint, ip text, timestamp timestamptz(3)",
        "uuid varchar(36), event text, properties varchar(500), set varchar(100), distinct_id text,"
        " team_id text, ip text, timestamp varchar(30)",
        "uuid varchar, event text, properties jsonb, set jsonb, distinct_id text,"
        " team_id varchar(5), ip text, timestamp timestamptz",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        struct loader *l = loader_new(server_fresh());
        struct rows *r = rows_new(5, 1, 100);
        struct tr_key key = rows_key();
        char sql[512];

        print_message("# %s\n", tables[i]);
        (void)snprintf(sql, sizeof(sql), "SET ROLE %%U; CREATE TABLE %%S.events (%s); RESET ROLE",
                       tables[i]);
        server_do(sql);
        for (size_t k = 0; k < 5; k++)
            r->batch.col[TR_EVENT_TEAM_ID].i64[k] = 10000;
        must(loader_prepare(l, NULL), l);
        assert_true(loader_noticed(l, "column elements is missing"));
        must(loader_deliver(l, &key, &r->batch, false), l);
        assert_int_equal(l->receipt.delivered, 5);
        assert_string_equal(
            server_ask("SELECT count(*) FROM %S.events WHERE uuid::text ~ '^[0-9a-f-]{36}$'"
                       " AND event LIKE 'event 1-%' AND (properties::jsonb)->>'price' = '54.10'"
                       " AND (set::jsonb)->>'plan' = 'p1' AND distinct_id LIKE 'user-1-_'"
                       " AND team_id::text = '10000' AND ip LIKE '192.0.2.17%'"
                       " AND timestamp::text LIKE '2026-11-21_09:31:00.118%'"),
            "5");
        struct tr_recount count = { 0 };
        struct tr_ctx cx = loader_time(5000);
        struct tr_owner owner = { .project = 10000, .mixed = true };
        must(l->dest->ops->recount(&cx, l->dest, &owner, NULL, 0, r->batch.col[TR_EVENT_UUID].uuid,
                                   5, &count, &l->err),
             l);
        assert_int_equal(count.found, 5);
        assert_int_equal(count.copies, 0);
        loader_free(l);
        rows_free(r);
    }
}

/* Objects of random keys (many equal, some escaped) and values, sent as jsonb and as plain text. */
static size_t random_object(char *at, unsigned *seed, int depth)
{
    static const char *const keys[] = { "a",   "b",       "c",       "$set",     "key",
                                        "KEY", "\\u0061", "aa",      "\xC3\xA4", "ab",
                                        "",    "longer",  "longest", "a\\\"b" };
    static const char *const leaves[] = { "1",    "-2.50",  "null",     "\"x\"",    "\"}{][,:\"",
                                          "true", "[1, 2]", "\"\\\"\"", "\"\\\\\"", "\"\\u00e9\"" };
    char *p = at;
    int n = rand_r(seed) % 12;

    *p++ = '{';
    for (int i = 0; i < n; i++) {
        p += sprintf(p, "%s\"%s\"%s:", i == 0 ? "" : ", ",
                     keys[(size_t)rand_r(seed) % 14], /* NOLINT */
                     rand_r(seed) % 2 == 0 ? " " : "");
        if (depth > 0 && rand_r(seed) % 4 == 0)
            p += random_object(p, seed, depth - 1);
        else
            p = stpcpy(p, leaves[(size_t)rand_r(seed) % 10]);
    }
    *p++ = '}';
    return (size_t)(p - at);
}

static void jsonb_holds_what_was_sent(void **state)
{
    enum { N = 2000, ROOM = 8192 };
    struct loader *l = loader_new(server_fresh());
    struct tr_projection p = { .schema = &tr_schema_events,
                               .n = 3,
                               .column = { TR_EVENT_UUID, TR_EVENT_PROPERTIES,
                                           TR_EVENT_PROPERTIES },
                               .name = { "uuid", "properties", "raw" } };
    struct tr_ctx cx = loader_time(20000);
    struct rows *r = rows_new(N, 1, 40);
    struct tr_key key = rows_key();
    char *text = malloc((size_t)N * ROOM);
    unsigned seed = 20261121;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < N; i++) {
        char *at = text + i * ROOM;
        r->batch.col[TR_EVENT_PROPERTIES].str[i] =
            (struct tr_str){ at, random_object(at, &seed, 2) };
    }
    server_do("CREATE TABLE %S.events (uuid text, properties jsonb, raw text);"
              "GRANT INSERT ON %S.events TO %U");
    must(l->dest->ops->prepare(&cx, l->dest, &p, &(tr_column_mask){ 0 }, NULL, &l->err), l);
    must(loader_deliver(l, &key, &r->batch, false), l);
    assert_int_equal(server_number("SELECT count(*) FROM %S.events"), N);
    assert_int_equal(
        server_number(
            "SELECT count(*) FROM %S.events WHERE properties IS DISTINCT FROM raw::jsonb"),
        0);
    free(text);
    loader_free(l);
    rows_free(r);
}

static void a_database_in_another_encoding_takes_what_it_can(void **state)
{
    char *home = strdup(server_ask("SELECT current_database()"));

    (void)state;
    server_do("DROP DATABASE IF EXISTS tr_latin1");
    server_do("CREATE DATABASE tr_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    server_use("tr_latin1");
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(10, 1, 40);
    struct tr_key key = rows_key();
    r->batch.col[TR_EVENT_EVENT].str[3] = TR_STR("\xC3\xA4");                 /* in Latin-1 */
    r->batch.col[TR_EVENT_EVENT].str[4] = TR_STR("\xE2\x82\xAC");             /* not in it */
    r->batch.col[TR_EVENT_PROPERTIES].str[5] = TR_STR("{\"v\":\"\\u20ac\"}"); /* nor escaped */
    must(loader_prepare(l, NULL), l);
    assert_true(loader_noticed(l, "encoding is LATIN1"));
    must(loader_deliver_all(l, &key, &r->batch), l);
    assert_int_equal(l->receipt.delivered, 8);
    assert_int_equal(l->receipt.rejected, 2);
    assert_int_equal(server_number("SELECT count(*) FROM %S.events WHERE event = chr(228)"), 1);
    loader_free(l);
    rows_free(r);
    server_use(home);
    server_do("DROP DATABASE tr_latin1 WITH (FORCE)");
    free(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_table_is_the_one_of_the_docs),
        cmocka_unit_test(every_column_arrives_as_it_was),
        cmocka_unit_test(odd_values_are_kept_repaired_or_rejected),
        cmocka_unit_test(a_row_repaired_twice_counts_once),
        cmocka_unit_test(nesting_as_deep_as_capture_takes_it),
        cmocka_unit_test(the_server_agrees_about_numbers),
        cmocka_unit_test(jsonb_holds_what_was_sent),
        cmocka_unit_test(a_database_in_another_encoding_takes_what_it_can),
        cmocka_unit_test(other_types_of_columns_take_the_same_values),
    };
    const char *why = server_connect();

    if (why != NULL) {
        print_message("1..0 # SKIP %s\n", why);
        return 0;
    }
    server_do("SET timezone = 'UTC'");
    int failed = cmocka_run_group_tests_name("postgres values", tests, NULL, NULL);
    server_disconnect();
    return failed;
}
