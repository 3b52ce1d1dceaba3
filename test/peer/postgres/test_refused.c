/* Rows that only the server finds bad: refused as a whole first, then found one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loader.h"
#include "server.h"

enum { ROWS = 1000 };

static void must(enum tr_rc rc, const struct loader *l)
{
    char text[520];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id == NULL ? "?" : l->err.id,
                 tr_err_text(&l->err, text, sizeof(text)));
}

/* Tables whose rules refuse rows by their event's name: "event 1-N". */
static const struct refused_case {
    const char *name, *sql;
    const char *bad; /* SQL: the numbers N that must not be there */
    const char *message;
} cases[] = {
    { "a check",
      "CREATE TABLE %S.events (uuid text, event text CHECK (event !~ '-(0|7|500|999)$'))",
      "0,7,500,999", "violates check constraint" },
    { "every row of a stretch",
      "CREATE TABLE %S.events (uuid text, event text CHECK (event !~ '-30[0-9]$'))",
      "300,301,302,303,304,305,306,307,308,309", "violates check constraint" },
    { "a trigger that raises",
      "CREATE TABLE %S.events (uuid text, event text);"
      "CREATE FUNCTION %S.no() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN"
      " IF NEW.event ~ '-(41|999)$' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END "
      "$f$;"
      "CREATE TRIGGER no BEFORE INSERT ON %S.events FOR EACH ROW EXECUTE FUNCTION %S.no()",
      "41,999", "not this one" },
    { "a key to another table, checked at the statement's end (no line is named)",
      "CREATE TABLE %S.known (event text PRIMARY KEY);"
      "INSERT INTO %S.known SELECT 'event 1-' || n FROM generate_series(0, 999) n"
      " WHERE n NOT IN (3, 600);"
      "CREATE TABLE %S.events (uuid text, event text REFERENCES %S.known)",
      "3,600", "violates foreign key constraint" },
    { "the same, deferred to COMMIT",
      "CREATE TABLE %S.known (event text PRIMARY KEY);"
      "INSERT INTO %S.known SELECT 'event 1-' || n FROM generate_series(0, 999) n WHERE n <> 77;"
      "CREATE TABLE %S.events (uuid text, event text REFERENCES %S.known"
      " DEFERRABLE INITIALLY DEFERRED)",
      "77", "violates foreign key constraint" },
    { "a partition that does not exist",
      "CREATE TABLE %S.events (uuid text, event text) PARTITION BY LIST (event);"
      "CREATE TABLE %S.p PARTITION OF %S.events DEFAULT;"
      "CREATE TABLE %S.q PARTITION OF %S.events FOR VALUES IN ('event 1-5');"
      "ALTER TABLE %S.q ADD CHECK (uuid = '')",
      "5", "violates check constraint" },
    { "not null", "CREATE TABLE %S.events (uuid text, event text, ip text NOT NULL)", "12",
      "violates not-null constraint" },
};

static void each_bad_row_is_found_and_the_others_arrive(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct refused_case *c = &cases[i];
        struct loader *l = loader_new(server_fresh());
        struct rows *r = rows_new(ROWS, 1, 100);
        struct tr_key key = rows_key();
        char sql[512];

        print_message("# %s\n", c->name);
        server_do(c->sql);
        server_do("GRANT INSERT ON ALL TABLES IN SCHEMA %S TO %U");
        r->batch.col[TR_EVENT_IP].str[12].p = NULL;
        must(loader_prepare(l, NULL), l);
        assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
        assert_ptr_equal(l->err.id, tr_dest_rows_refused);
        assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 0);
        assert_int_equal(server_number("SELECT count(*) FROM %S.tailrace_ledger"), 0);

        must(loader_deliver(l, &key, &r->batch, true), l);
        (void)snprintf(sql, sizeof(sql), "SELECT cardinality('{%s}'::int[])", c->bad);
        int64_t bad = server_number(sql);
        assert_int_equal(l->receipt.rejected, bad);
        assert_int_equal(l->n_rejects, bad);
        assert_int_equal(l->receipt.delivered, ROWS - bad);
        for (size_t k = 0; k < l->n_rejects; k++) {
            if (strstr(l->rejects[k].reason, c->message) == NULL)
                fail_msg("reason: %s", l->rejects[k].reason);
            assert_null(strchr(l->rejects[k].reason, '\n'));
        }
        (void)snprintf(sql, sizeof(sql),
                       "SELECT count(*) = %d AND count(DISTINCT event) = %d AND bool_and("
                       "substr(event, 9)::int <> ALL ('{%s}'::int[])) FROM %%S.events",
                       ROWS - (int)bad, ROWS - (int)bad, c->bad);
        assert_string_equal(server_ask(sql), "t");
        (void)snprintf(sql, sizeof(sql),
                       "SELECT delivered = %d AND rejected = %d FROM %%S.tailrace_ledger",
                       ROWS - (int)bad, (int)bad);
        assert_string_equal(server_ask(sql), "t");
        loader_free(l);
        rows_free(r);
    }
}

static void of_two_equal_rows_the_first_stays(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(ROWS, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    server_do("CREATE TABLE %S.events (uuid text PRIMARY KEY, event text);"
              "GRANT INSERT ON %S.events TO %U");
    r->batch.col[TR_EVENT_UUID].uuid[700] = r->batch.col[TR_EVENT_UUID].uuid[200];
    must(loader_prepare(l, NULL), l);
    must(loader_deliver_all(l, &key, &r->batch), l);
    assert_int_equal(l->receipt.rejected, 1);
    assert_int_equal(l->receipt.delivered, ROWS - 1);
    assert_string_equal(server_ask("SELECT bool_and(event <> 'event 1-700') FROM %S.events"), "t");
    loader_free(l);
    rows_free(r);
}

static void all_rows_may_be_bad(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(40, 1, 100);
    struct tr_key key = rows_key();
    enum tr_chunk_state s = TR_CHUNK_ABSENT;

    (void)state;
    server_do("CREATE TABLE %S.events (uuid text, event text CHECK (false));"
              "GRANT INSERT ON %S.events TO %U");
    must(loader_prepare(l, NULL), l);
    must(loader_deliver_all(l, &key, &r->batch), l);
    assert_int_equal(l->receipt.rejected, 40);
    assert_int_equal(l->receipt.delivered, 0);
    must(loader_lookup(l, &key, 5000, &s), l);
    assert_int_equal(s, TR_CHUNK_PRESENT);
    assert_int_equal(l->receipt.rejected, 40);
    loader_free(l);
    rows_free(r);
}

static void rows_we_refuse_are_told_once_beside_rows_the_server_refuses(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(100, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    server_do(
        "CREATE TABLE %S.events (uuid text, event text CHECK (event <> 'event 1-60'), team_id int,"
        " distinct_id varchar(4)); GRANT INSERT ON %S.events TO %U");
    r->batch.col[TR_EVENT_TEAM_ID].i64[50] = INT64_C(1) << 40; /* we refuse */
    must(loader_prepare(l, NULL), l);
    must(loader_deliver_all(l, &key, &r->batch), l);
    assert_int_equal(l->receipt.rejected, 2);
    assert_int_equal(l->n_rejects, 2);
    assert_int_equal(l->receipt.delivered, 98);
    assert_int_equal(l->receipt.repaired, 98); /* distinct_id was cut in all that went */
    assert_string_equal(l->rejects[0].reason, "column team_id: a number that does not fit integer");
    loader_free(l);
    rows_free(r);
}

static void a_trigger_that_drops_rows_is_no_delivery(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(10, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    server_do("CREATE TABLE %S.events (uuid text, event text);"
              "CREATE FUNCTION %S.drop() RETURNS trigger LANGUAGE plpgsql AS"
              " $f$ BEGIN RETURN CASE WHEN NEW.event = 'event 1-4' THEN NULL ELSE NEW END; END $f$;"
              "CREATE TRIGGER d BEFORE INSERT ON %S.events FOR EACH ROW EXECUTE FUNCTION %S.drop();"
              "GRANT INSERT ON %S.events TO %U");
    must(loader_prepare(l, NULL), l);
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.rows_dropped");
    assert_non_null(strstr(l->err.cause, "kept 9 of 10 rows"));
    assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 0);
    loader_free(l);
    rows_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_row_is_found_and_the_others_arrive),
        cmocka_unit_test(of_two_equal_rows_the_first_stays),
        cmocka_unit_test(all_rows_may_be_bad),
        cmocka_unit_test(rows_we_refuse_are_told_once_beside_rows_the_server_refuses),
        cmocka_unit_test(a_trigger_that_drops_rows_is_no_delivery),
    };
    const char *why = server_connect();

    if (why != NULL) {
        print_message("1..0 # SKIP %s\n", why);
        return 0;
    }
    int failed = cmocka_run_group_tests_name("postgres refused rows", tests, NULL, NULL);
    server_disconnect();
    return failed;
}
