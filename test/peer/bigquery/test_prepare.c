/* Tables as they are made, and as they are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader.h"
#include "warehouse.h"

static struct loader *l;

static int fresh(void **state)
{
    (void)state;
    l = loader_new(warehouse_fresh());
    return 0;
}

static int leave(void **state)
{
    (void)state;
    loader_free(l);
    return 0;
}

static void must(enum tr_rc rc)
{
    char text[600];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id, tr_err_text(&l->err, text, sizeof(text)));
}

/* What Google's client says of the table, as JSON text. */
static void table_is(const char *want)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s.events", warehouse_dataset());
    json_t *is = warehouse_ask("[s, s]", "table", name), *should = json_loads(want, 0, NULL);
    assert_non_null(should);
    if (!json_equal(is, should)) {
        char *text = json_dumps(is, 0);
        fail_msg("%s", text);
    }
    json_decref(is);
    json_decref(should);
}

static void events_get_posthogs_table(void **state)
{
    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    table_is("{\"columns\":[[\"uuid\",\"STRING\",\"NULLABLE\"],[\"event\",\"STRING\",\"NULLABLE\"],"
             "[\"properties\",\"STRING\",\"NULLABLE\"],[\"elements\",\"STRING\",\"NULLABLE\"],"
             "[\"set\",\"STRING\",\"NULLABLE\"],[\"set_once\",\"STRING\",\"NULLABLE\"],"
             "[\"distinct_id\",\"STRING\",\"NULLABLE\"],[\"team_id\",\"INTEGER\",\"NULLABLE\"],"
             "[\"ip\",\"STRING\",\"NULLABLE\"],[\"site_url\",\"STRING\",\"NULLABLE\"],"
             "[\"timestamp\",\"TIMESTAMP\",\"NULLABLE\"],[\"bq_ingested_timestamp\",\"TIMESTAMP\","
             "\"NULLABLE\"]],\"partition\":[\"DAY\",\"timestamp\"],\"expires\":false}");
    assert_true(loader_noticed(l, "table created"));
    must(loader_prepare(l, &tr_schema_events)); /* and found the next time */
    assert_int_equal(l->n_notices, 0);
}

static void persons_get_posthogs_table(void **state)
{
    json_t *config = warehouse_fresh();

    (void)state;
    (void)json_object_set_new(config, "use_json_type", json_true());
    struct loader *other = l;
    l = loader_new(config);
    must(loader_prepare(l, &tr_schema_persons));
    table_is(
        "{\"columns\":[[\"team_id\",\"INTEGER\",\"NULLABLE\"],[\"distinct_id\",\"STRING\","
        "\"NULLABLE\"],[\"person_id\",\"STRING\",\"NULLABLE\"],[\"properties\",\"JSON\","
        "\"NULLABLE\"],[\"person_version\",\"INTEGER\",\"NULLABLE\"],"
        "[\"person_distinct_id_version\",\"INTEGER\",\"NULLABLE\"],[\"created_at\",\"TIMESTAMP\","
        "\"NULLABLE\"]],\"partition\":null,\"expires\":false}");
    loader_free(l);
    l = other;
}

static void a_column_that_was_added_is_filled(void **state)
{
    struct rows *r = rows_new(3, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    must(loader_prepare(l, &tr_schema_events));
    assert_false((l->used >> TR_EVENT_PERSON_ID & 1) != 0);
    warehouse_do("ALTER TABLE `%D.events` ADD COLUMN person_id STRING");
    must(loader_prepare(l, &tr_schema_events));
    assert_true((l->used >> TR_EVENT_PERSON_ID & 1) != 0);
    for (size_t i = 0; i < 3; i++)
        r->batch.col[TR_EVENT_PERSON_ID].uuid[i] = r->batch.col[TR_EVENT_UUID].uuid[i];
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(warehouse_number("SELECT count(*) FROM `%D.events` WHERE person_id = uuid"),
                     3);
    rows_free(r);
}

static void a_column_that_is_missing_is_skipped(void **state)
{
    struct rows *r = rows_new(3, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    warehouse_do("CREATE TABLE `%D.events` (UUID STRING, event STRING, mine INT64)");
    must(loader_prepare(l, &tr_schema_events));
    assert_true(loader_noticed(l, "column properties is missing"));
    assert_false(loader_noticed(l, "person_id"));
    must(loader_deliver(l, &key, &r->batch, false));
    assert_int_equal(
        warehouse_number("SELECT count(*) FROM `%D.events` WHERE event LIKE 'event %'"), 3);
    rows_free(r);
}

static void a_table_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    warehouse_do("CREATE TABLE `%D.events` (uuid INT64)");
    assert_int_equal(loader_prepare(l, &tr_schema_events), TR_REFUSED);
    assert_string_equal(l->err.id, "bigquery.column_type");
    warehouse_do("DROP TABLE `%D.events`");
    warehouse_do("CREATE TABLE `%D.events` (uuid STRING, mine STRING NOT NULL)");
    assert_int_equal(loader_prepare(l, &tr_schema_events), TR_REFUSED);
    assert_string_equal(l->err.id, "bigquery.column_required");
    warehouse_do("DROP TABLE `%D.events`");
    warehouse_do("CREATE VIEW `%D.events` AS SELECT 'x' AS uuid");
    assert_int_equal(loader_prepare(l, &tr_schema_events), TR_REFUSED);
    assert_string_equal(l->err.id, "bigquery.not_a_table");
    warehouse_do("DROP VIEW `%D.events`");
    assert_int_equal(loader_prepare_columns(l, (const char *const[]){ "uuid", "$group_0", NULL }),
                     TR_REFUSED);
    assert_string_equal(l->err.id, "bigquery.column_name");
}

static void what_is_not_there_is_named(void **state)
{
    json_t *config = warehouse_fresh();
    struct loader *other = l;

    (void)state;
    (void)json_object_set_new(config, "dataset_id", json_string("nowhere"));
    l = loader_new(config);
    assert_int_equal(loader_prepare(l, &tr_schema_events), TR_REFUSED);
    assert_string_equal(l->err.id, "bigquery.no_dataset");
    assert_non_null(l->err.hint);
    loader_free(l);
    l = other;
}

static void where_the_dataset_is_goes_along(void **state)
{
    (void)state;
    /* the door refuses uploads without a location; the dataset was made in EU */
    must(loader_prepare(l, &tr_schema_events));
    struct rows *r = rows_new(1, 1, 100);
    struct tr_key key = rows_key();
    must(loader_deliver(l, &key, &r->batch, false));
    rows_free(r);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fresh, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(events_get_posthogs_table),
        CASE(persons_get_posthogs_table),
        CASE(a_column_that_was_added_is_filled),
        CASE(a_column_that_is_missing_is_skipped),
        CASE(a_table_that_does_not_fit_is_refused),
        CASE(what_is_not_there_is_named),
        CASE(where_the_dataset_is_goes_along),
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
