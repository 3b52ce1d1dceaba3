#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dest/bigquery/bigquery_priv.h"

static struct bq_job job;

static enum tr_rc read_job(const char *text)
{
    struct tr_err err = { 0 };

    return bq_read_job(tr_str_of(text), &job, &err);
}

/* As the REST reference's Job resource shows it, with an error of two rows. */
static const char failed[] =
    "{\"kind\":\"bigquery#job\",\"id\":\"p:EU.j\",\"jobReference\":{\"projectId\":\"p\",\"jobId\":"
    "\"j\","
    "\"location\":\"EU\"},\"configuration\":{\"jobType\":\"LOAD\",\"load\":{\"writeDisposition\":"
    "\"WRITE_APPEND\"},\"labels\":{\"tailrace\":\"load\",\"tailrace_attempt\":\"00112233445566ff\","
    "\"tailrace_rows\":\"7\",\"tailrace_rejected\":\"2\",\"tailrace_repaired\":\"1\","
    "\"tailrace_counts\":\"later\"}},\"status\":{\"state\":\"DONE\",\"errorResult\":{\"reason\":"
    "\"invalid\",\"message\":\"Error while reading data, error message: JSON table encountered too "
    "many errors, giving up. Rows: 3; errors: "
    "2.\"},\"errors\":[{\"reason\":\"invalid\",\"message\":"
    "\"Error while reading data, error message: JSON table encountered too many "
    "errors\"},{\"reason\":"
    "\"invalid\",\"message\":\"Error while reading data, error message: JSON parsing error in row "
    "starting at position 23: Could not parse 'abc' as INT64 for field n\"},{\"message\":\"row "
    "starting at position 0: bad\"},{\"message\":\"starting at position "
    "-1\"},{\"message\":\"starting "
    "at position 99999999999999999999\"},7]},\"statistics\":{\"creationTime\":\"1795253400123\","
    "\"load\":{\"inputFiles\":\"1\",\"outputRows\":\"0\",\"badRecords\":\"2\"}}}";

static void reads_a_job_that_failed(void **state)
{
    (void)state;
    assert_int_equal(read_job(failed), TR_OK);
    assert_int_equal(job.state, BQ_DONE);
    assert_true(job.is_failed && bq_job_is_dead(&job));
    assert_string_equal(job.said.reason, "invalid");
    assert_int_equal(job.created_us, INT64_C(1795253400123000));
    assert_int_equal(job.what, BQ_WHAT_LOAD);
    assert_string_equal(job.attempt, "00112233445566ff");
    assert_int_equal(job.counts.delivered, 7);
    assert_int_equal(job.counts.rejected, 2);
    assert_int_equal(job.counts.repaired, 1);
    assert_true(job.counts_later);
    assert_true(job.is_load);
    assert_int_equal(job.bad_records, 2);
    assert_int_equal(job.n_rows, 2);
    assert_int_equal(job.rows[0].position, 23);
    assert_non_null(strstr(job.rows[0].message, "Could not parse"));
    assert_int_equal(job.rows[1].position, 0);
}

static void reads_jobs_of_all_states(void **state)
{
    (void)state;
    assert_int_equal(read_job("{\"status\":{\"state\":\"PENDING\"}}"), TR_OK);
    assert_int_equal(job.state, BQ_PENDING);
    assert_false(bq_job_is_dead(&job));
    assert_int_equal(job.what, BQ_WHAT_OTHER);
    assert_int_equal(read_job("{\"status\":{\"state\":\"RUNNING\"},\"configuration\":{\"labels\":{"
                              "\"tailrace\":\"fence\"}}}"),
                     TR_OK);
    assert_true(bq_job_is_dead(&job)); /* nothing will come of it, whatever its state */
    assert_int_equal(read_job("{\"status\":{\"state\":\"DONE\"},\"statistics\":{\"load\":{"
                              "\"outputRows\":\"18000000000\"},\"query\":{\"numDmlAffectedRows\":"
                              "\"3\"}}}"),
                     TR_OK);
    assert_int_equal(job.output_rows, UINT64_C(18000000000));
    assert_int_equal(job.affected, 3);
    /* warnings are no failure: only errorResult is */
    assert_int_equal(read_job("{\"status\":{\"state\":\"DONE\",\"errors\":[{\"reason\":\"x\"}]}}"),
                     TR_OK);
    assert_false(job.is_failed);
}

static void what_is_no_job_is_none(void **state)
{
    static const char *const bad[] = { "",
                                       "null",
                                       "[]",
                                       "{}",
                                       "{\"status\":{}}",
                                       "<html>",
                                       "{\"status\":{\"state\":\"GONE\"}}",
                                       "{\"status\":{\"state\":7}}" };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(read_job(bad[i]), TR_TRANSIENT);
}

static void reads_errors(void **state)
{
    struct bq_said said;

    (void)state;
    bq_read_error(
        TR_STR("{\"error\":{\"code\":409,\"message\":\"Already Exists: Job p:j\",\"errors\":["
               "{\"message\":\"m\",\"domain\":\"global\",\"reason\":\"duplicate\"}],"
               "\"status\":\"ALREADY_EXISTS\"}}"),
        &said);
    assert_string_equal(said.reason, "duplicate");
    assert_string_equal(said.message, "Already Exists: Job p:j");
    bq_read_error(TR_STR("{\"error\":{\"code\":404,\"message\":\"gone\"}}"), &said);
    assert_string_equal(said.reason, "");
    assert_string_equal(said.message, "gone");
    bq_read_error(TR_STR("<html>Bad gateway</html>"), &said);
    assert_string_equal(said.message, "");
    bq_read_error(TR_STR("{\"error\":\"invalid_grant\"}"), &said);
    assert_string_equal(said.message, "");
}

static void reads_datasets_and_tables(void **state)
{
    struct bq_dataset set;
    struct bq_table t;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(bq_read_dataset(TR_STR("{\"location\":\"europe-west3\"}"), &set, &err), TR_OK);
    assert_string_equal(set.location, "europe-west3");
    assert_int_equal(bq_read_dataset(TR_STR("{}"), &set, &err), TR_TRANSIENT);

    assert_int_equal(
        bq_read_table(
            TR_STR("{\"tableReference\":{},\"type\":\"TABLE\",\"schema\":{\"fields\":[{\"name\":"
                   "\"uuid\",\"type\":\"STRING\",\"mode\":\"REQUIRED\",\"maxLength\":\"36\"},{"
                   "\"name\":\"n\",\"type\":\"INT64\"},{\"name\":\"u\",\"type\":\"STRING\","
                   "\"mode\":\"REPEATED\"},{\"name\":\"g\",\"type\":\"GEOGRAPHY\","
                   "\"defaultValueExpression\":\"x\"}]},\"timePartitioning\":{\"type\":\"DAY\","
                   "\"field\":\"timestamp\",\"expirationMs\":\"86400000\"},\"expirationTime\":"
                   "\"1795262400000\",\"creationTime\":\"1795262300000\","
                   "\"requirePartitionFilter\":true,\"labels\":{"
                   "\"tailrace\":\"test\"}}"),
            &t, &err),
        TR_OK);
    assert_int_equal(t.n, 4);
    assert_string_equal(t.kind, "TABLE");
    assert_true(t.is_ours && t.requires_filter);
    assert_int_equal(t.partition, BQ_BY_DAY);
    assert_string_equal(t.partition_column, "timestamp");
    assert_int_equal(t.partition_life_us, TR_US_PER_DAY);
    assert_int_equal(t.expires_us, INT64_C(1795262400000000));
    assert_int_equal(t.created_us, INT64_C(1795262300000000));
    assert_true(t.columns[0].is_required);
    assert_int_equal(t.columns[0].max_length, 36);
    assert_int_equal(t.columns[1].type, BQ_INTEGER);
    assert_true(t.columns[2].is_repeated);
    assert_int_equal(t.columns[3].type, BQ_TYPE_OTHER);
    assert_true(t.columns[3].has_default);
    bq_table_fini(&t);
    /* by the time of loading: rows have no say in it */
    assert_int_equal(bq_read_table(TR_STR("{\"tableReference\":{},\"timePartitioning\":{\"type\":"
                                          "\"DAY\"}}"),
                                   &t, &err),
                     TR_OK);
    assert_int_equal(t.partition, BQ_NOT_BY_COLUMN);
    bq_table_fini(&t);
    assert_int_equal(bq_read_table(TR_STR("{\"tableReference\":{},\"timePartitioning\":{\"type\":"
                                          "\"MONTH\",\"field\":\"t\"}}"),
                                   &t, &err),
                     TR_OK);
    assert_int_equal(t.partition, BQ_BY_MONTH);
    assert_string_equal(t.filter_column, "t");
    bq_table_fini(&t);
    assert_int_equal(bq_read_table(TR_STR("{\"tableReference\":{},\"timePartitioning\":{\"type\":"
                                          "\"DAY\"}}"),
                                   &t, &err),
                     TR_OK);
    assert_string_equal(t.filter_column, "_PARTITIONTIME");
    bq_table_fini(&t);
    assert_int_equal(bq_read_table(TR_STR("{\"tableReference\":{},\"rangePartitioning\":{\"field\":"
                                          "\"team_id\"},\"requirePartitionFilter\":true}"),
                                   &t, &err),
                     TR_OK);
    assert_true(t.requires_filter && t.filter_is_number);
    assert_string_equal(t.filter_column, "team_id");
    bq_table_fini(&t);
    assert_int_equal(bq_read_table(TR_STR("{}"), &t, &err), TR_TRANSIENT);
    bq_table_fini(&t);
}

static void reads_results(void **state)
{
    struct bq_result r;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(
        bq_read_result(TR_STR("{\"jobComplete\":true,\"jobReference\":{\"jobId\":\"j\"},"
                              "\"rows\":[{\"f\":[{\"v\":\"3\"},{\"v\":\"5\"}]}]}"),
                       2, &r, &err),
        TR_OK);
    assert_true(r.is_complete);
    assert_int_equal(r.number[0], 3);
    assert_int_equal(r.number[1], 5);
    assert_int_equal(
        bq_read_result(TR_STR("{\"jobComplete\":false,\"jobReference\":{\"jobId\":\"j\"}}"), 2, &r,
                       &err),
        TR_OK);
    assert_false(r.is_complete);
    assert_string_equal(r.job_id, "j");
    assert_int_equal(bq_read_result(TR_STR("{\"jobComplete\":false}"), 1, &r, &err), TR_TRANSIENT);
    assert_int_equal(bq_read_result(TR_STR("{\"jobComplete\":true}"), 1, &r, &err), TR_TRANSIENT);
    assert_int_equal(
        bq_read_result(TR_STR("{\"jobComplete\":true,\"rows\":[{\"f\":[{\"v\":null}]}]}"), 1, &r,
                       &err),
        TR_TRANSIENT);
    assert_int_equal(bq_read_result(TR_STR("{}"), 1, &r, &err), TR_TRANSIENT);
}

static void reads_marks(void **state)
{
    static const struct {
        const char *cell;
        enum tr_rc rc;
        const char *marks;
    } t[] = {
        { "null", TR_OK, "....." },      { "\"0\"", TR_OK, "x...." },
        { "\"4,0,2\"", TR_OK, "x.x.x" }, { "\"5\"", TR_TRANSIENT, "" },
        { "\"1;2\"", TR_TRANSIENT, "" }, { "\"-1\"", TR_TRANSIENT, "" },
        { "\" 1\"", TR_TRANSIENT, "" },  { "7", TR_TRANSIENT, "" },
        { "{}", TR_TRANSIENT, "" },      { "\"18446744073709551617\"", TR_TRANSIENT, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        bool marks[5];
        char body[256];
        struct tr_err err = { 0 };

        (void)snprintf(body, sizeof(body), "{\"rows\":[{\"f\":[{\"v\":%s}]}]}", t[i].cell);
        assert_int_equal(bq_read_marks(tr_str_of(body), 5, marks, &err), t[i].rc);
        for (size_t k = 0; t[i].rc == TR_OK && k < 5; k++)
            assert_int_equal(marks[k], t[i].marks[k] == 'x');
    }
}

struct complaints {
    size_t n, row[8];
    struct bq_said said[8];
};

static void hear(void *arg, size_t row, const struct bq_said *said)
{
    struct complaints *c = arg;

    assert_true(c->n < 8);
    c->row[c->n] = row;
    c->said[c->n++] = *said;
}

static void reads_what_became_of_streamed_rows(void **state)
{
    struct complaints c = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(bq_read_insert(TR_STR("{\"kind\":\"bigquery#tableDataInsertAllResponse\"}"), 3,
                                    hear, &c, &err),
                     TR_OK);
    assert_int_equal(c.n, 0);
    assert_int_equal(
        bq_read_insert(TR_STR("{\"kind\":\"bigquery#tableDataInsertAllResponse\",\"insertErrors\":["
                              "{\"index\":2,\"errors\":[{\"reason\":\"stopped\",\"location\":\"\"},"
                              "{\"reason\":\"invalid\",\"location\":\"n\",\"message\":\"bad\"}]},"
                              "{\"errors\":[{\"reason\":\"stopped\",\"message\":\"\"}]},"
                              "{\"index\":\"1\"}]}"),
                       3, hear, &c, &err),
        TR_OK);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.row[0], 2);
    assert_string_equal(c.said[0].reason, "invalid");
    assert_string_equal(c.said[0].message, "n: bad");
    assert_int_equal(c.row[1], 0); /* a number that is 0 may be left out */
    assert_string_equal(c.said[1].reason, "stopped");
    assert_int_equal(c.row[2], 1);
    assert_string_equal(c.said[2].reason, "");
}

static void a_200_that_does_not_speak_of_rows_is_not_believed(void **state)
{
    static const char *const bodies[] = {
        "",
        "{}",
        "<html>",
        "[]",
        "{\"kind\":\"bigquery#job\"}",
        "{\"kind\":\"bigquery#tableDataInsertAllResponse\",\"insertErrors\":{}}",
        "{\"kind\":\"bigquery#tableDataInsertAllResponse\",\"insertErrors\":[{\"index\":3}]}",
        "{\"kind\":\"bigquery#tableDataInsertAllResponse\",\"insertErrors\":[{\"index\":-1}]}",
        "{\"kind\":\"bigquery#tableDataInsertAllResponse\",\"insertErrors\":[{\"index\":[]}]}",
    };
    struct complaints c = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        print_message("#  %s\n", bodies[i]);
        assert_int_equal(bq_read_insert(tr_str_of(bodies[i]), 3, hear, &c, &err), TR_TRANSIENT);
    }
    assert_int_equal(c.n, 0);
}

static void reads_how_far_an_upload_has_come(void **state)
{
    static const struct {
        const char *header;
        bool want;
        uint64_t next;
    } cases[] = {
        { "bytes=0-99", true, 100 },
        { "bytes=0-0", true, 1 },
        { "", true, 0 }, /* no header: nothing has arrived */
        { "bytes=0-18446744073709551615", false, 0 },
        { "bytes=0-99999999999999999999999", false, 0 },
        { "bytes=1-99", false, 0 },
        { "bytes=0-", false, 0 },
        { "bytes=0--1", false, 0 },
        { "bytes=0-99,200-300", false, 0 },
        { "0-99", false, 0 },
        { "bytes 0-99", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t next = 0;

        print_message("#  '%s'\n", cases[i].header);
        assert_int_equal(bq_read_range(cases[i].header, &next), cases[i].want);
        assert_int_equal(next, cases[i].next);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_job_that_failed),
        cmocka_unit_test(reads_jobs_of_all_states),
        cmocka_unit_test(what_is_no_job_is_none),
        cmocka_unit_test(reads_errors),
        cmocka_unit_test(reads_datasets_and_tables),
        cmocka_unit_test(reads_results),
        cmocka_unit_test(reads_marks),
        cmocka_unit_test(reads_what_became_of_streamed_rows),
        cmocka_unit_test(a_200_that_does_not_speak_of_rows_is_not_believed),
        cmocka_unit_test(reads_how_far_an_upload_has_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
