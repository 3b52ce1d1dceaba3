/* What prepare makes of the tables it meets, with a user that has no more rights than the docs say.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loader.h"
#include "server.h"

static void must(enum tr_rc rc, const struct loader *l)
{
    char text[520];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id == NULL ? "?" : l->err.id,
                 tr_err_text(&l->err, text, sizeof(text)));
}

/* The loader's own tables unless the case says otherwise: SQL run as administrator. */
static const struct prepare_case {
    const char *name;
    const char *sql;
    enum tr_rc want;
    const char *want_id;
    const char *want_cause; /* part of the cause, or (when it works) of a notice */
} cases[] = {
    { "no table", "SELECT 1", TR_OK, NULL, "table created" },
    { "a table with other columns too",
      "CREATE TABLE %S.events (id bigserial PRIMARY KEY, uuid text, event text, more int, "
      "properties"
      " jsonb); GRANT INSERT ON %S.events TO %U; GRANT USAGE ON SEQUENCE %S.events_id_seq TO %U",
      TR_OK, NULL, "column distinct_id is missing in the table: it is skipped" },
    { "a column that the table makes itself",
      "CREATE TABLE %S.events (uuid text, event text GENERATED ALWAYS AS ('x') STORED);"
      "GRANT INSERT ON %S.events TO %U",
      TR_OK, NULL, "column event is generated" },
    { "coarse timestamps",
      "CREATE TABLE %S.events (uuid text, timestamp timestamptz(0)); GRANT INSERT ON %S.events TO "
      "%U",
      TR_OK, NULL, "less than microseconds" },
    { "a domain",
      "CREATE DOMAIN %S.name AS varchar(50); CREATE TABLE %S.events (uuid uuid, event %S.name);"
      "GRANT INSERT ON %S.events TO %U",
      TR_OK, NULL, "is missing" },
    { "a domain made of a domain",
      "CREATE DOMAIN %S.short AS varchar(50); CREATE DOMAIN %S.name AS %S.short;"
      "CREATE TABLE %S.events (uuid uuid, event %S.name); GRANT INSERT ON %S.events TO %U",
      TR_OK, NULL, "is missing" },
    { "a domain made of a domain that does not fit",
      "CREATE DOMAIN %S.short AS varchar(30); CREATE DOMAIN %S.name AS %S.short;"
      "CREATE TABLE %S.events (uuid %S.name); GRANT INSERT ON %S.events TO %U",
      TR_REFUSED, "postgres.column_type", "column uuid of the table is" },
    { "a domain within a domain that wants a value",
      "CREATE DOMAIN %S.full AS text NOT NULL; CREATE DOMAIN %S.name AS %S.full;"
      "CREATE TABLE %S.events (uuid text, more %S.name); GRANT INSERT ON %S.events TO %U",
      TR_REFUSED, "postgres.column_required", "more" },
    { "a type of the table's name", "CREATE TYPE %S.events AS ENUM ('a')", TR_REFUSED,
      "postgres.not_a_table", "is the name of a type" },
    { "a domain of the table's name", "CREATE DOMAIN %S.events AS text", TR_REFUSED,
      "postgres.not_a_table", "is the name of a type" },
    { "a type of the ledger's name", "CREATE TYPE %S.tailrace_ledger AS ENUM ('a')", TR_REFUSED,
      "postgres.not_a_table", "is the name of a type" },
    { "row-level security",
      "CREATE TABLE %S.events (uuid text); ALTER TABLE %S.events ENABLE ROW LEVEL SECURITY;"
      "GRANT ALL ON %S.events TO %U",
      TR_REFUSED, "postgres.not_supported", "row-level security" },
    { "a partitioned table",
      "CREATE TABLE %S.events (uuid text, timestamp timestamptz) PARTITION BY RANGE (timestamp);"
      "CREATE TABLE %S.p PARTITION OF %S.events DEFAULT; GRANT INSERT ON %S.events TO %U",
      TR_OK, NULL, "is missing" },
    { "no column in common",
      "CREATE TABLE %S.events (a int, b text); GRANT INSERT ON %S.events TO %U", TR_REFUSED,
      "postgres.no_common_column", "none of the export's columns" },
    { "no column at all", "CREATE TABLE %S.events (); GRANT INSERT ON %S.events TO %U", TR_REFUSED,
      "postgres.no_common_column", "none of the export's columns" },
    { "a column of a type that does not fit",
      "CREATE TABLE %S.events (uuid text, properties bytea); GRANT INSERT ON %S.events TO %U",
      TR_REFUSED, "postgres.column_type",
      "column properties of the table is bytea; properties needs jsonb, json, text or varchar" },
    { "a uuid column that is too short",
      "CREATE TABLE %S.events (uuid varchar(32)); GRANT INSERT ON %S.events TO %U", TR_REFUSED,
      "postgres.column_type", "column uuid of the table is character varying(32)" },
    { "columns that must be filled and are not",
      "CREATE TABLE %S.events (uuid text, tenant int NOT NULL, region text NOT NULL, n int NOT NULL"
      " DEFAULT 1); GRANT INSERT ON %S.events TO %U",
      TR_REFUSED, "postgres.column_required", "tenant, region" },
    { "a view", "CREATE VIEW %S.events AS SELECT 'x'::text AS uuid", TR_REFUSED,
      "postgres.not_a_table", "events is not a table" },
    { "no right to insert", "CREATE TABLE %S.events (uuid text)", TR_REFUSED,
      "postgres.permission_denied", "may not insert into" },
    { "no right to create", "REVOKE CREATE ON SCHEMA %S FROM %U", TR_REFUSED,
      "postgres.permission_denied", "may not create table tailrace_ledger" },
    { "no right to look", "REVOKE USAGE ON SCHEMA %S FROM %U", TR_REFUSED,
      "postgres.permission_denied", "may not use schema" },
    { "no schema", "DROP SCHEMA %S", TR_REFUSED, "postgres.no_schema", "does not exist" },
    { "a ledger that is none",
      "CREATE TABLE %S.tailrace_ledger (key text); GRANT ALL ON %S.tailrace_ledger TO %U",
      TR_REFUSED, "postgres.ledger", "is not a ledger" },
    { "a ledger of somebody else",
      "CREATE TABLE %S.tailrace_ledger (key text); GRANT INSERT ON %S.tailrace_ledger TO %U",
      TR_REFUSED, "postgres.permission_denied", "may not use the ledger" },
};

static void tables_are_created_fitted_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct prepare_case *c = &cases[i];
        struct loader *l = loader_new(server_fresh());

        print_message("# %s\n", c->name);
        server_do(c->sql);
        enum tr_rc rc = loader_prepare(l, NULL);
        if (c->want == TR_OK) {
            must(rc, l);
            assert_true(loader_noticed(l, c->want_cause));
            struct rows *r = rows_new(10, 1, 100);
            struct tr_key key = rows_key();
            must(loader_deliver(l, &key, &r->batch, false), l);
            assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 10);
            rows_free(r);
        } else {
            assert_int_equal(rc, c->want);
            assert_string_equal(l->err.id, c->want_id);
            if (strstr(l->err.cause, c->want_cause) == NULL)
                fail_msg("cause: %s", l->err.cause);
            assert_non_null(l->err.hint);
            /* nothing is left behind by a refusal, and the object still works */
            assert_int_not_equal(loader_prepare(l, NULL), TR_OK);
        }
        loader_free(l);
    }
}

static void a_mended_place_is_taken_by_the_same_object(void **state)
{
    struct loader *l = loader_new(server_fresh());

    (void)state;
    server_do("REVOKE CREATE ON SCHEMA %S FROM %U");
    assert_int_equal(loader_prepare(l, NULL), TR_REFUSED);
    server_do("GRANT CREATE ON SCHEMA %S TO %U");
    must(loader_prepare(l, NULL), l);
    loader_free(l);
}

static void columns_go_under_their_new_names(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct tr_ctx cx = loader_time(10000);
    struct tr_projection p = { .schema = &tr_schema_events,
                               .n = 3,
                               .column = { TR_EVENT_UUID, TR_EVENT_EVENT, TR_EVENT_ELEMENTS_CHAIN },
                               .name = { "event \"id\"", "SELECT", "chain" } };
    struct rows *r = rows_new(3, 1, 100);
    struct tr_key key = rows_key();
    struct tr_recount count = { 0 };

    (void)state;
    must(l->dest->ops->prepare(&cx, l->dest, &p, &(tr_column_mask){ 0 }, NULL, &l->err), l);
    must(loader_deliver(l, &key, &r->batch, false), l);
    assert_string_equal(server_ask("SELECT \"SELECT\" || ' ' || chain FROM %S.events"
                                   " ORDER BY 1 LIMIT 1"),
                        "event 1-0 button.cta:text=\"Buy\"");
    assert_string_equal(server_ask("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE"
                                   " attrelid = '%S.events'::regclass AND attname = 'chain'"),
                        "text");
    must(l->dest->ops->recount(&cx, l->dest, &rows_owner, NULL, 0, r->batch.col[TR_EVENT_UUID].uuid,
                               3, &count, &l->err),
         l);
    assert_int_equal(count.found, 3);
    loader_free(l);
    rows_free(r);
}

static void a_table_with_a_strange_name_works(void **state)
{
    json_t *config = server_fresh();
    (void)json_object_set_new(config, "table_name", json_string("My \"odd\".events; --"));
    struct loader *l = loader_new(config);
    struct rows *r = rows_new(3, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    must(loader_prepare(l, NULL), l);
    must(loader_deliver(l, &key, &r->batch, true), l);
    assert_int_equal(server_number("SELECT count(*) FROM %S.\"My \"\"odd\"\".events; --\""), 3);
    loader_free(l);
    rows_free(r);
}

static void without_a_uuid_column_there_is_no_replacing_and_no_recount(void **state)
{
    static const char *const names[] = { "event", "timestamp", NULL };
    struct loader *l = loader_new(server_fresh());
    struct tr_ctx cx = loader_time(10000);
    struct rows *r = rows_new(3, 1, 100);
    struct tr_key key = rows_key();
    struct tr_recount count = { 0 };
    struct tr_load *load = NULL;

    (void)state;
    must(loader_prepare(l, names), l);
    assert_int_equal(l->dest->ops->recount(&cx, l->dest, &rows_owner, NULL, 0,
                                           r->batch.col[TR_EVENT_UUID].uuid, 3, &count, &l->err),
                     TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.no_uuid_column");
    must(loader_begin(l, &key, false, &load), l);
    assert_int_equal(load->ops->remove(&cx, load, r->batch.col[TR_EVENT_UUID].uuid, 3, &l->err),
                     TR_REFUSED);
    load->ops->abort(load);
    loader_free(l);
    rows_free(r);
}

static void names_that_the_server_cannot_take_are_refused(void **state)
{
    static const char *const bad[] = {
        "ctid", "xmin", "tableoid", "",
        "a_name_of_64_bytes_which_the_server_would_cut_without_a_word_"
        "xxx"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct loader *l = loader_new(server_fresh());
        struct tr_projection p = rows_projection_of((const char *const[]){ "uuid", "event", NULL });
        struct tr_ctx cx = loader_time(10000);

        print_message("# %s\n", bad[i]);
        p.name[1] = bad[i];
        assert_int_equal(
            l->dest->ops->prepare(&cx, l->dest, &p, &(tr_column_mask){ 0 }, NULL, &l->err),
            TR_REFUSED);
        assert_string_equal(l->err.id, "postgres.column_name");
        assert_non_null(l->err.hint);
        l->err = (struct tr_err){ 0 };
        assert_int_equal(l->dest->ops->test(&cx, l->dest, &p, 3, &l->err), TR_REFUSED);
        assert_string_equal(l->err.id, "postgres.column_name");
        loader_free(l);
    }
}

/* As verify does it, with a user who may read and nothing else. */
static void looking_makes_nothing_and_needs_select_alone(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(3, 1, 100);
    struct tr_projection p = rows_projection_of((const char *const[]){ "uuid", "team_id", NULL });
    struct tr_ctx cx = loader_time(10000);
    struct tr_recount count = { 0 };
    char sql[256], text[TR_UUID_TEXT];

    (void)state;
    server_do("REVOKE CREATE ON SCHEMA %S FROM %U");
    must(l->dest->ops->look(&cx, l->dest, &p, &l->err), l);
    must(l->dest->ops->recount(&cx, l->dest, &rows_owner, NULL, 0, r->batch.col[TR_EVENT_UUID].uuid,
                               3, &count, &l->err),
         l);
    assert_int_equal(count.expected, 3);
    assert_int_equal(count.found, 0);
    assert_string_equal(server_ask("SELECT count(*) FROM pg_class c JOIN pg_namespace n"
                                   " ON n.oid = c.relnamespace WHERE n.nspname = '%S'"),
                        "0");

    tr_uuid_format(&r->batch.col[TR_EVENT_UUID].uuid[1], text);
    server_do("CREATE TABLE %S.events (uuid text, team_id int, more text NOT NULL)");
    (void)snprintf(sql, sizeof(sql), "INSERT INTO %%S.events VALUES ('%s', 1, '')", text);
    server_do(sql);
    assert_int_equal(l->dest->ops->look(&cx, l->dest, &p, &l->err), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.permission_denied");
    server_do("GRANT SELECT ON %S.events TO %U");
    must(l->dest->ops->look(&cx, l->dest, &p, &l->err), l);
    must(l->dest->ops->recount(&cx, l->dest, &rows_owner, NULL, 0, r->batch.col[TR_EVENT_UUID].uuid,
                               3, &count, &l->err),
         l);
    assert_int_equal(count.found, 1);
    loader_free(l);
    rows_free(r);
}

/* The first of two users makes the ledger: the second may use it. PUBLIC may not. */
static void whoever_may_create_in_the_schema_may_use_the_ledger(void **state)
{
    struct loader *l = loader_new(server_fresh());

    (void)state;
    server_do("CREATE ROLE \"odd %U\"; GRANT USAGE, CREATE ON SCHEMA %S TO \"odd %U\";"
              "CREATE ROLE looks_%U; GRANT USAGE ON SCHEMA %S TO looks_%U;"
              "GRANT CREATE ON SCHEMA %S TO PUBLIC");
    must(loader_prepare(l, NULL), l);
    assert_string_equal(server_ask("SELECT has_table_privilege('odd %U', '%S.tailrace_ledger', "
                                   "'SELECT') AND has_table_privilege('odd %U', "
                                   "'%S.tailrace_ledger', 'INSERT') AND has_table_privilege('odd "
                                   "%U', '%S.tailrace_ledger', 'UPDATE')"),
                        "t");
    assert_string_equal(
        server_ask("SELECT has_table_privilege('looks_%U', '%S.tailrace_ledger', 'SELECT')"), "f");
    server_do("DROP OWNED BY \"odd %U\"; DROP ROLE \"odd %U\"; DROP OWNED BY looks_%U;"
              "DROP ROLE looks_%U");
    loader_free(l);
}

enum { CREATORS = 6 };

static void *create(void *arg)
{
    struct loader *l = arg;

    (void)loader_prepare(l, NULL);
    return NULL;
}

static void many_may_create_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct loader *l[CREATORS];
        pthread_t thread[CREATORS];

        for (int i = 0; i < CREATORS; i++) {
            json_t *config = i == 0 ? server_fresh() : NULL;
            if (i > 0) {
                config = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s}", "host", server_host(),
                                   "port", server_port(), "user", server_user(), "password",
                                   "sekrit-of-the-loader", "database", "tailrace_test", "schema",
                                   server_schema(), "sslmode", "disable");
            }
            l[i] = loader_new(config);
        }
        for (int i = 0; i < CREATORS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, create, l[i]), 0);
        for (int i = 0; i < CREATORS; i++)
            (void)pthread_join(thread[i], NULL);
        int created = 0;
        for (int i = 0; i < CREATORS; i++) {
            if (l[i]->err.id != NULL)
                fail_msg("%s: %s", l[i]->err.id, l[i]->err.cause);
            created += loader_noticed(l[i], "table created");
            loader_free(l[i]);
        }
        assert_int_equal(created, 1);
    }
}

/* Who does not take our lock: a table that appears between the look and the CREATE. The transaction
 * that makes it is open while prepare looks, and commits while CREATE waits for it. */
static void *commit_soon(void *arg)
{
    (void)arg;
    while (server_number("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype ="
                         " 'transactionid'") == 0)
        ;
    server_do("COMMIT");
    return NULL;
}

static void a_table_that_appears_meanwhile_is_taken(void **state)
{
    struct loader *l = loader_new(server_fresh());
    pthread_t thread;

    (void)state;
    server_do("BEGIN; CREATE TABLE %S.events (uuid text); GRANT INSERT ON %S.events TO %U");
    assert_int_equal(pthread_create(&thread, NULL, commit_soon, NULL), 0);
    enum tr_rc rc = loader_prepare(l, NULL);
    (void)pthread_join(thread, NULL);
    must(rc, l);
    assert_true(loader_noticed(l, "column event is missing"));
    loader_free(l);
}

static void the_test_steps_say_what_is_wrong(void **state)
{
    static const struct {
        const char *name, *sql;
        size_t step;
        const char *id;
        enum tr_model model;
    } steps[] = {
        { "no schema", "DROP SCHEMA %S", 2, "postgres.no_schema" },
        { "no right to create", "REVOKE CREATE ON SCHEMA %S FROM %U", 3,
          "postgres.permission_denied" },
        { "a table that does not fit",
          "CREATE TABLE %S.events (uuid bytea); GRANT INSERT ON %S.events TO %U", 3,
          "postgres.column_type" },
        { "a table that takes no row",
          "CREATE TABLE %S.events (uuid text, event text CHECK (event = 'never'));"
          "GRANT INSERT ON %S.events TO %U",
          4, NULL },
        { "a table of rows that change without a key",
          "CREATE TABLE %S.events (team_id int, distinct_id text, person_id text, properties jsonb,"
          " person_version bigint, person_distinct_id_version bigint, created_at timestamptz);"
          "GRANT ALL ON %S.events TO %U",
          3, "postgres.no_primary_key", TR_MODEL_PERSONS },
        { "a key whose blanks at the end are nothing",
          "CREATE TABLE %S.events (team_id int, distinct_id char(200), person_id text, properties "
          "jsonb, person_version bigint, person_distinct_id_version bigint, created_at timestamptz,"
          " PRIMARY KEY (team_id, distinct_id)); GRANT ALL ON %S.events TO %U",
          3, "postgres.column_type", TR_MODEL_PERSONS },
        { "a key whose case is nothing",
          "CREATE COLLATION %S.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = "
          "false); CREATE TABLE %S.events (team_id int, distinct_id text COLLATE %S.nocase, "
          "person_id text, properties jsonb, person_version bigint, person_distinct_id_version "
          "bigint, created_at timestamptz, PRIMARY KEY (team_id, distinct_id));"
          "GRANT ALL ON %S.events TO %U",
          3, "postgres.column_type", TR_MODEL_PERSONS },
        { "rules, and rows that change",
          "CREATE TABLE %S.events (team_id int, distinct_id text, person_id text, properties jsonb,"
          " person_version bigint, person_distinct_id_version bigint, created_at timestamptz,"
          " PRIMARY KEY (team_id, distinct_id)); CREATE RULE r AS ON INSERT TO %S.events WHERE "
          "false"
          " DO INSTEAD NOTHING; GRANT ALL ON %S.events TO %U",
          3, "postgres.not_supported", TR_MODEL_PERSONS },
        { "a version of a wrong type",
          "CREATE TABLE %S.events (team_id int, distinct_id text, person_id text, properties jsonb,"
          " person_version text, person_distinct_id_version bigint, created_at timestamptz,"
          " PRIMARY KEY (team_id, distinct_id)); GRANT ALL ON %S.events TO %U",
          3, "postgres.column_type", TR_MODEL_PERSONS },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct loader *l = loader_new(server_fresh());

        print_message("# %s\n", steps[i].name);
        server_do(steps[i].sql);
        for (size_t step = 0; step <= steps[i].step; step++) {
            enum tr_rc rc = loader_test(l, steps[i].model, step);
            if (step < steps[i].step) {
                must(rc, l);
                continue;
            }
            assert_int_equal(rc, TR_REFUSED);
            assert_string_equal(l->err.id,
                                steps[i].id == NULL ? tr_dest_rows_refused : steps[i].id);
        }
        loader_free(l);
    }
}

/* For every model, and as often as one likes: nothing is left behind. */
static void the_test_steps_pass_for_every_model(void **state)
{
    (void)state;
    for (int model = 0; model < TR_MODELS; model++) {
        struct loader *l = loader_new(server_fresh());

        for (int turn = 0; turn < 2; turn++)
            for (size_t step = 0; l->dest->ops->tests[step].name != NULL; step++)
                must(loader_test(l, (enum tr_model)model, step), l);
        assert_string_equal(server_ask("SELECT count(*) FROM pg_class c JOIN pg_namespace n"
                                       " ON n.oid = c.relnamespace WHERE n.nspname = '%S'"),
                            "0");
        loader_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_created_fitted_or_refused),
        cmocka_unit_test(a_mended_place_is_taken_by_the_same_object),
        cmocka_unit_test(columns_go_under_their_new_names),
        cmocka_unit_test(a_table_with_a_strange_name_works),
        cmocka_unit_test(without_a_uuid_column_there_is_no_replacing_and_no_recount),
        cmocka_unit_test(names_that_the_server_cannot_take_are_refused),
        cmocka_unit_test(looking_makes_nothing_and_needs_select_alone),
        cmocka_unit_test(whoever_may_create_in_the_schema_may_use_the_ledger),
        cmocka_unit_test(many_may_create_at_once),
        cmocka_unit_test(a_table_that_appears_meanwhile_is_taken),
        cmocka_unit_test(the_test_steps_say_what_is_wrong),
        cmocka_unit_test(the_test_steps_pass_for_every_model),
    };
    const char *why = server_connect();

    if (why != NULL) {
        print_message("1..0 # SKIP %s\n", why);
        return 0;
    }
    int failed = cmocka_run_group_tests_name("postgres prepare", tests, NULL, NULL);
    server_disconnect();
    return failed;
}
