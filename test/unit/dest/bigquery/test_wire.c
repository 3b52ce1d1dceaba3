#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "dest/bigquery/bigquery_priv.h"

static const struct bq_place place = {
    .project = "proj", .dataset = "d", .table = "t\"x", .location = "EU"
};
static struct tr_buf out;

static int set_up(void **state)
{
    (void)state;
    tr_buf_init(&out, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_buf_fini(&out);
    return 0;
}

/* What was written is this JSON, whatever the order. */
static void is(const char *want)
{
    json_t *a = json_loadb(out.p, out.n, 0, NULL), *b = json_loads(want, 0, NULL);

    assert_non_null(a);
    assert_non_null(b);
    if (!json_equal(a, b))
        fail_msg("%.*s", (int)out.n, out.p);
    json_decref(a);
    json_decref(b);
}

static void a_key_and_a_number_make_an_id(void **state)
{
    struct tr_key key = { .epoch = 3, .target = 0xabc, .generation = 2, .range = { -5, 7 } };
    char id[BQ_JOB_ID], counts[BQ_JOB_ID];

    (void)state;
    memset(&key.installation, 0x11, sizeof(key.installation));
    memset(&key.export_id, 0x22, sizeof(key.export_id));
    assert_string_equal(bq_job_id(&key, 4, id),
                        "tailrace_11111111-1111-1111-1111-111111111111_3_"
                        "22222222-2222-2222-2222-222222222222_0000000000000abc_2_-5-7_4");
    assert_int_equal(strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_-"), strlen(id));
    assert_string_equal(bq_job_counts_id("id_0", "00ff", counts), "id_0_00ff");
    key.range = (struct tr_range){ INT64_MIN, INT64_MAX };
    key.epoch = UINT32_MAX;
    key.generation = UINT32_MAX;
    (void)bq_job_id(&key, UINT32_MAX, id); /* the longest: nothing is cut */
    assert_non_null(strstr(id, "_4294967295_-9223372036854775808-9223372036854775807_4294967295"));
    (void)bq_job_counts_id(id, "00112233445566ff", counts);
    assert_non_null(strstr(counts, "_4294967295_00112233445566ff"));
}

static void paths_are_encoded(void **state)
{
    (void)state;
    bq_path_add(&out, "a b/..?#%\xc3\xa4-_.~:");
    tr_buf_ch(&out, '\0');
    assert_string_equal(out.p, "a%20b%2F..%3F%23%25%C3%A4-_.~:");
}

static void writes_a_load(void **state)
{
    struct bq_column c[] = {
        { .name = "uuid", .type_name = "STRING", .is_required = true, .max_length = 36 },
        { .name = "u", .type_name = "STRING", .is_repeated = true },
    };
    struct bq_fit written = { .n = 2, .col = { { .to = &c[0] }, { .to = &c[1] } } };
    struct bq_counts counts = { 1, 2, 3 };
    struct bq_label label = {
        .what = BQ_WHAT_LOAD, .attempt = "00ff", .counts = &counts, .counts_later = true
    };

    (void)state;
    bq_write_load(&out, &place, "id", &label, "t", &written, 0);
    is("{\"jobReference\":{\"projectId\":\"proj\",\"jobId\":\"id\",\"location\":\"EU\"},"
       "\"configuration\":{\"labels\":{\"tailrace\":\"load\",\"tailrace_attempt\":\"00ff\","
       "\"tailrace_rows\":\"1\",\"tailrace_rejected\":\"2\",\"tailrace_repaired\":\"3\","
       "\"tailrace_counts\":\"later\"},\"load\":{\"destinationTable\":{\"projectId\":\"proj\","
       "\"datasetId\":\"d\",\"tableId\":\"t\"},\"sourceFormat\":\"NEWLINE_DELIMITED_JSON\","
       "\"encoding\":\"UTF-8\",\"createDisposition\":\"CREATE_NEVER\",\"writeDisposition\":"
       "\"WRITE_APPEND\",\"schema\":{\"fields\":[{\"name\":\"uuid\",\"type\":\"STRING\",\"mode\":"
       "\"REQUIRED\",\"maxLength\":\"36\"},{\"name\":\"u\",\"type\":\"STRING\",\"mode\":"
       "\"REPEATED\"}]}}}"
       "}");
    tr_buf_clear(&out);
    bq_write_load(&out, &place, "id", &(struct bq_label){ .what = BQ_WHAT_PROBE }, "t", &written,
                  9);
    assert_non_null(memmem(out.p, out.n, "\"maxBadRecords\":9", 17));
}

static void writes_a_query(void **state)
{
    struct bq_label label = { .what = BQ_WHAT_FENCE };

    (void)state;
    bq_write_query(&out, &place, "id", &label, "SELECT 'a\\'b'");
    is("{\"jobReference\":{\"projectId\":\"proj\",\"jobId\":\"id\",\"location\":\"EU\"},"
       "\"configuration\":{\"labels\":{\"tailrace\":\"fence\"},\"query\":{\"query\":"
       "\"SELECT 'a\\\\'b'\",\"useLegacySql\":false,\"useQueryCache\":false}}}");
}

static void writes_rows_of_a_stream(void **state)
{
    struct tr_uuid uuid;
    struct tr_buf row;

    (void)state;
    memset(&uuid, 0x11, sizeof(uuid));
    tr_buf_init(&row, 1000);
    bq_write_insert_row(&row, &uuid, 7);
    tr_buf_z(&row, "{\"a\":1}}");
    bq_write_insert(&out, (struct tr_str[]){ tr_buf_view(&row), tr_buf_view(&row) }, 2);
    tr_buf_fini(&row);
    is("{\"kind\":\"bigquery#tableDataInsertAllRequest\",\"skipInvalidRows\":true,\"rows\":["
       "{\"insertId\":\"11111111-1111-1111-1111-111111111111-7\",\"json\":{\"a\":1}},"
       "{\"insertId\":\"11111111-1111-1111-1111-111111111111-7\",\"json\":{\"a\":1}}]}");
}

static void writes_a_table(void **state)
{
    struct bq_column a = { .name = "timestamp", .type_name = "TIMESTAMP" };
    struct bq_column b = { .name = "u", .type_name = "STRING", .is_repeated = true };
    struct bq_column c = {
        .name = "n", .type_name = "NUMERIC", .is_required = true, .precision = 20, .scale = 3
    };
    const struct bq_column *columns[] = { &a, &b, &c };
    struct bq_new_table t = {
        .columns = columns, .n = 3, .partition_column = "timestamp", .what = BQ_WHAT_OTHER
    };

    (void)state;
    bq_write_table(&out, &place, place.table, &t);
    is("{\"tableReference\":{\"projectId\":\"proj\",\"datasetId\":\"d\",\"tableId\":\"t\\\"x\"},"
       "\"schema\":{\"fields\":[{\"name\":\"timestamp\",\"type\":\"TIMESTAMP\",\"mode\":"
       "\"NULLABLE\"},"
       "{\"name\":\"u\",\"type\":\"STRING\",\"mode\":\"REPEATED\"},{\"name\":\"n\",\"type\":"
       "\"NUMERIC\","
       "\"mode\":\"REQUIRED\",\"precision\":\"20\",\"scale\":\"3\"}]},\"timePartitioning\":{"
       "\"type\":"
       "\"DAY\",\"field\":\"timestamp\"}}");
    tr_buf_clear(&out);
    t = (struct bq_new_table){
        .columns = columns, .n = 1, .expires_us = 1795253400123456, .what = BQ_WHAT_STAGE
    };
    bq_write_table(&out, &place, "s", &t);
    is("{\"tableReference\":{\"projectId\":\"proj\",\"datasetId\":\"d\",\"tableId\":\"s\"},"
       "\"schema\":{"
       "\"fields\":[{\"name\":\"timestamp\",\"type\":\"TIMESTAMP\",\"mode\":\"NULLABLE\"}]},"
       "\"expirationTime\":\"1795253400123\",\"labels\":{\"tailrace\":\"stage\"}}");
}

static void quotes_names_for_sql(void **state)
{
    (void)state;
    bq_sql_name(&out, "a`b\\c");
    tr_buf_ch(&out, ' ');
    bq_sql_table(&out, &place, "t 1");
    tr_buf_ch(&out, '\0');
    assert_string_equal(out.p, "`a\\`b\\\\c` `proj`.`d`.`t 1`");
}

static void the_newest_row_of_each_key_is_merged(void **state)
{
    struct bq_column c[] = { { .name = "team_id" },
                             { .name = "distinct_id" },
                             { .name = "properties" },
                             { .name = "v" },
                             { .name = "m" } };
    struct bq_fit fit = { .schema = &tr_schema_persons,
                          .n = 5,
                          .col = { { .column = TR_PERSON_TEAM_ID, .to = &c[0] },
                                   { .column = TR_PERSON_DISTINCT_ID, .to = &c[1] },
                                   { .column = TR_PERSON_PROPERTIES, .to = &c[2] },
                                   { .column = TR_PERSON_VERSION, .to = &c[3] },
                                   { .column = TR_PERSON_DISTINCT_ID_VERSION, .to = &c[4] } } };
    struct bq_place p = { .project = "p", .dataset = "d", .table = "t" };
    struct bq_table table = { .columns = NULL };

    (void)state;
    bq_merge_sql(&out, &p, &table, &fit, "s", false);
    tr_buf_ch(&out, '\0');
    assert_string_equal(
        out.p,
        "MERGE `p`.`d`.`t` AS t USING (SELECT * EXCEPT (tailrace_rank) FROM (SELECT s.*, "
        "ROW_NUMBER() OVER (PARTITION BY s.`team_id`, s.`distinct_id` ORDER BY s.`m` DESC, s.`v` "
        "DESC) AS tailrace_rank FROM `p`.`d`.`s` AS s) WHERE tailrace_rank = 1) AS s ON "
        "t.`team_id` = s.`team_id` AND t.`distinct_id` = s.`distinct_id` WHEN MATCHED AND ((t.`m` "
        "IS NULL OR s.`m` > t.`m` OR (s.`m` = t.`m` AND (t.`v` IS NULL OR s.`v` > t.`v`))) OR "
        "(s.`m` = t.`m` AND s.`v` = t.`v` AND (t.`properties` IS NULL AND s.`properties` IS NOT "
        "NULL))) THEN UPDATE SET `properties` = s.`properties`, `v` = s.`v`, `m` = s.`m` WHEN NOT "
        "MATCHED THEN INSERT (`team_id`, `distinct_id`, `properties`, `v`, `m`) VALUES "
        "(s.`team_id`, s.`distinct_id`, s.`properties`, s.`v`, s.`m`)");
    tr_buf_clear(&out);
    bq_merge_sql(&out, &p, &table, &fit, "s", true);
    tr_buf_ch(&out, '\0');
    assert_non_null(strstr(out.p, "(t.`m` IS NULL OR s.`m` > t.`m` OR (s.`m` = t.`m` AND (t.`v` IS "
                                  "NULL OR s.`v` >= t.`v`)))"));
}

static void loads_are_counted_by_table_and_day(void **state)
{
    struct bq_place other = place;
    char name[16];
    int64_t t = 1000 * TR_US_PER_HOUR;

    (void)state;
    other.table = "other";
    for (int i = 0; i < 5; i++)
        bq_quota_count(&place, t + i * TR_US_PER_HOUR);
    bq_quota_count(&other, t);
    assert_int_equal(bq_quota_today(&place, t + 4 * TR_US_PER_HOUR), 5);
    assert_int_equal(bq_quota_today(&other, t + 4 * TR_US_PER_HOUR), 1);
    assert_int_equal(bq_quota_today(&place, t + 23 * TR_US_PER_HOUR), 5);
    assert_int_equal(bq_quota_today(&place, t + 24 * TR_US_PER_HOUR), 4);
    assert_int_equal(bq_quota_today(&place, t + 26 * TR_US_PER_HOUR), 2);
    assert_int_equal(bq_quota_today(&place, t + 900 * TR_US_PER_HOUR), 0);
    for (int i = 0; i < 3000; i++) { /* more tables than are remembered */
        other.table = name;
        (void)snprintf(name, sizeof(name), "t%d", i);
        bq_quota_count(&other, t + 901 * TR_US_PER_HOUR);
    }
    assert_int_equal(bq_quota_today(&other, t + 901 * TR_US_PER_HOUR), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void a_filter_lets_every_partition_through(void **state)
{
    struct bq_table t = { .requires_filter = true, .filter_column = "ts" };

    (void)state;
    bq_sql_any_partition(&out, &t);
    assert_true(
        tr_str_eq(tr_buf_view(&out), TR_STR(" AND (t.`ts` IS NULL OR t.`ts` >= '0001-01-01')")));
    tr_buf_clear(&out);
    t.filter_is_number = true;
    bq_sql_any_partition(&out, &t);
    assert_true(tr_str_eq(tr_buf_view(&out),
                          TR_STR(" AND (t.`ts` IS NULL OR t.`ts` >= -9223372036854775808)")));
    tr_buf_clear(&out);
    t.requires_filter = false;
    bq_sql_any_partition(&out, &t);
    assert_int_equal(out.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_key_and_a_number_make_an_id),
        CASE(paths_are_encoded),
        CASE(writes_a_load),
        CASE(a_filter_lets_every_partition_through),
        CASE(writes_a_query),
        CASE(writes_rows_of_a_stream),
        CASE(writes_a_table),
        CASE(quotes_names_for_sql),
        CASE(the_newest_row_of_each_key_is_merged),
        CASE(loads_are_counted_by_table_and_day),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
