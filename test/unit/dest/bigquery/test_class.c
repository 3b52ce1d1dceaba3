#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dest/bigquery/bigquery_priv.h"

static const struct class_case {
    enum bq_where where;
    int status;
    const char *reason, *message;
    enum tr_rc rc;
    enum bq_about about;
    const char *id;
    int64_t wait_s;
    const char *hint; /* a part of it, or NULL: any */
} cases[] = {
    /* the reasons of the documentation, where they stand in answers */
    { BQ_IN_CALL, 503, "backendError", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0, NULL },
    { BQ_IN_CALL, 500, "internalError", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0,
      NULL },
    { BQ_IN_CALL, 502, "", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0, NULL },
    { BQ_IN_CALL, 500, "invalid", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0, NULL },
    { BQ_IN_CALL, 403, "rateLimitExceeded", "Exceeded rate limits", TR_THROTTLED, BQ_ELSE,
      "bigquery.rate_limited", 15, NULL },
    { BQ_IN_CALL, 429, "rateLimitExceeded", "", TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", 15,
      NULL },
    { BQ_IN_CALL, 429, "", "", TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", 15, NULL },
    { BQ_IN_CALL, 403, "quotaExceeded", "Quota exceeded: your project exceeded", TR_THROTTLED,
      BQ_ELSE, "bigquery.quota", 600, "quotas" },
    { BQ_IN_CALL, 403, "accessDenied",
      "Access Denied: Project p: User does not have bigquery.jobs.create permission", TR_REFUSED,
      BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.jobs.create" },
    { BQ_IN_CALL, 403, "accessDenied",
      "Access Denied: Dataset p:d: Permission bigquery.datasets.get denied", TR_REFUSED, BQ_DENIED,
      "bigquery.permission_denied", 0, "bigquery.datasets.get" },
    { BQ_IN_CALL, 403, "accessDenied", "Permission bigquery.tables.create denied on dataset",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.create" },
    { BQ_IN_CALL, 403, "accessDenied", "Permission bigquery.tables.get denied on table", TR_REFUSED,
      BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.get" },
    { BQ_IN_JOB, 0, "accessDenied", "Permission bigquery.tables.getData denied on table",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.getData" },
    { BQ_IN_JOB, 0, "accessDenied", "Permission bigquery.tables.updateData denied on table",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.updateData" },
    { BQ_IN_CALL, 403, "accessDenied", "Permission bigquery.tables.delete denied on table",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.delete" },
    { BQ_IN_CALL, 403, "accessDenied", "Request is prohibited by VPC Service Controls", TR_REFUSED,
      BQ_DENIED, "bigquery.perimeter", 0, "perimeter" },
    { BQ_IN_CALL, 403, "accessDenied", "no", TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0,
      "BigQuery Data Editor" },
    { BQ_IN_CALL, 403, "", "", TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, NULL },
    { BQ_IN_CALL, 403, "accessNotConfigured", "", TR_REFUSED, BQ_ELSE, "bigquery.api_disabled", 0,
      "enable" },
    { BQ_IN_CALL, 403, "blocked", "", TR_REFUSED, BQ_ELSE, "bigquery.blocked", 0, NULL },
    { BQ_IN_CALL, 403, "billingNotEnabled", "", TR_REFUSED, BQ_ELSE, "bigquery.billing", 0,
      "billing" },
    { BQ_IN_CALL, 400, "billingTierLimitExceeded", "", TR_REFUSED, BQ_ELSE, "bigquery.billing", 0,
      NULL },
    { BQ_IN_CALL, 404, "notFound", "Not found: Dataset p:d", TR_REFUSED, BQ_GONE,
      "bigquery.no_dataset", 0, "dataset_id" },
    { BQ_IN_CALL, 404, "notFound", "Not found: Project p", TR_REFUSED, BQ_GONE,
      "bigquery.no_project", 0, "project_id" },
    { BQ_IN_CALL, 404, "notFound", "Not found: Table p:d.t", TR_TRANSIENT, BQ_GONE,
      "bigquery.no_table", 0, NULL },
    { BQ_IN_CALL, 404, "notFound", "Not found: Job p:j", TR_REFUSED, BQ_GONE, "bigquery.not_found",
      0, NULL },
    { BQ_IN_CALL, 404, "", "<html>", TR_REFUSED, BQ_GONE, "bigquery.not_found", 0, NULL },
    /* streams: whatever they say, prepare knows better */
    { BQ_IN_STREAM, 404, "notFound", "Not found: Table p:d.t", TR_TRANSIENT, BQ_GONE,
      "bigquery.no_table", 0, "minutes" },
    { BQ_IN_STREAM, 404, "notFound", "Table 402316535093:d.t not found.", TR_TRANSIENT, BQ_GONE,
      "bigquery.no_table", 0, NULL },
    { BQ_IN_STREAM, 404, "notFound", "Not found: table Table is deleted: 402316535093:d.t",
      TR_TRANSIENT, BQ_GONE, "bigquery.no_table", 0, NULL },
    { BQ_IN_STREAM, 404, "notFound", "Not found: Dataset p:d", TR_TRANSIENT, BQ_GONE,
      "bigquery.no_table", 0, NULL },
    { BQ_IN_STREAM, 404, "", "<html>", TR_TRANSIENT, BQ_GONE, "bigquery.no_table", 0, NULL },
    { BQ_IN_STREAM, 403, "accessDenied", "Permission bigquery.tables.updateData denied on table",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.updateData" },
    { BQ_IN_STREAM, 413, "uploadTooLarge", "", TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", 0,
      NULL },
    { BQ_IN_STREAM, 503, "backendError", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0,
      NULL },
    { BQ_IN_CALL, 409, "duplicate", "Already Exists: Job p:j", TR_REFUSED, BQ_THERE,
      "bigquery.exists", 0, NULL },
    { BQ_IN_CALL, 409, "", "", TR_REFUSED, BQ_THERE, "bigquery.exists", 0, NULL },
    { BQ_IN_CALL, 410, "", "", TR_TRANSIENT, BQ_GONE, "bigquery.session_lost", 0, NULL },
    { BQ_IN_CALL, 401, "authError", "Request had invalid authentication credentials", TR_REFUSED,
      BQ_TOKEN, "bigquery.unauthorized", 0, NULL },
    { BQ_IN_CALL, 400, "badRequest", "Request payload size exceeds the limit: 10485760 bytes.",
      TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", 0, NULL },
    { BQ_IN_CALL, 400, "invalid", "Request payload size exceeds the limit: 10485760 bytes.",
      TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", 0, NULL },
    { BQ_IN_CALL, 413, "uploadTooLarge", "", TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", 0,
      NULL },
    { BQ_IN_CALL, 413, "", "", TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", 0, NULL },
    { BQ_IN_CALL, 400, "invalid", "Invalid table ID", TR_REFUSED, BQ_ELSE, "bigquery.refused", 0,
      NULL },
    { BQ_IN_CALL, 400, "badRequest", "", TR_REFUSED, BQ_ELSE, "bigquery.refused", 0, NULL },
    { BQ_IN_CALL, 501, "notImplemented", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0,
      NULL },
    { BQ_IN_CALL, 400, "invalidQuery", "Syntax error", TR_REFUSED, BQ_ELSE,
      "bigquery.query_refused", 0, NULL },
    { BQ_IN_CALL, 400, "resourceInUse", "", TR_TRANSIENT, BQ_ELSE, "bigquery.in_use", 0, NULL },
    { BQ_IN_CALL, 403, "responseTooLarge", "", TR_REFUSED, BQ_ELSE, "bigquery.too_large", 0, NULL },
    { BQ_IN_CALL, 418, "teapot", "", TR_REFUSED, BQ_ELSE, "bigquery.refused", 0, NULL },
    { BQ_IN_CALL, 408, "", "", TR_TRANSIENT, BQ_ELSE, "bigquery.timeout", 0, NULL },

    /* sentences that are quoted publicly (bigquery_rules.c says where) */
    { BQ_IN_JOB, 0, "resourcesExceeded",
      "Resources exceeded during query execution: Too many DML statements outstanding against "
      "table "
      "mlab-sandbox:tmp_ndt.ndt5, limit is 20",
      TR_THROTTLED, BQ_ELSE, "bigquery.dml_queue", 60, "20" },
    { BQ_IN_JOB, 0, "quotaExceeded",
      "Quota exceeded: Your table exceeded quota for total number of dml jobs writing to a table, "
      "pending + running",
      TR_THROTTLED, BQ_ELSE, "bigquery.dml_queue", 60, NULL },
    { BQ_IN_CALL, 403, "policyViolation",
      "VPC Service Controls: Request is prohibited by organization's policy. "
      "vpcServiceControlsUniqueIdentifier: XlFLBBM_Wstu6u3Qn5s1K",
      TR_REFUSED, BQ_DENIED, "bigquery.perimeter", 0, "ingress rule" },
    { BQ_IN_STREAM, 403, "policyViolation",
      "VPC Service Controls: Request is prohibited by organization's policy. x", TR_REFUSED,
      BQ_DENIED, "bigquery.perimeter", 0, "ingress rule" },
    { BQ_IN_CALL, 403, "", "Request is prohibited by organization's policy. x", TR_REFUSED,
      BQ_DENIED, "bigquery.perimeter", 0, NULL },
    { BQ_IN_STREAM, 403, "accessDenied",
      "Access Denied: BigQuery BigQuery: Streaming insert is not allowed in the free tier",
      TR_REFUSED, BQ_ELSE, "bigquery.billing", 0, "enable billing" },
    { BQ_IN_JOB, 0, "billingNotEnabled",
      "Billing has not been enabled for this project. Enable billing at "
      "https://console.cloud.google.com/billing. DML queries are not allowed in the free tier. Set "
      "up a billing account to remove this restriction.",
      TR_REFUSED, BQ_ELSE, "bigquery.billing", 0, "enable billing" },
    { BQ_IN_CALL, 403, "quotaExceeded",
      "Quota exceeded: Your project exceeded quota for free query bytes scanned.", TR_THROTTLED,
      BQ_ELSE, "bigquery.billing", 3600, "month" },
    { BQ_IN_JOB, 0, "accessDenied",
      "Access Denied: BigQuery BigQuery: User has neither fine-grained reader nor masked get "
      "permission to get data protected by policy tag \"Taxonomy : secret\" on column p:d.t.ip.",
      TR_REFUSED, BQ_DENIED, "bigquery.policy_tag", 0, "Fine-Grained Reader" },
    { BQ_IN_JOB, 0, "quotaExceeded",
      "Custom quota exceeded: Your usage exceeded the custom quota for QueryUsagePerDay, which is "
      "set by your administrator. For more information, see "
      "https://cloud.google.com/bigquery/cost-controls",
      TR_THROTTLED, BQ_ELSE, "bigquery.custom_quota", 1800, "administrator" },
    { BQ_IN_STREAM, 403, "quotaExceeded",
      "Quota exceeded: Your table: mlab-staging:staging.ndt exceeded quota for streaming insert "
      "bytes per second.",
      TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", 5, "second" },
    { BQ_IN_STREAM, 403, "rateLimitExceeded",
      "Exceeded rate limits: Your table: mlab-sandbox:batch.tcpinfo_20191218 exceeded quota for "
      "streaming insert bytes per second.",
      TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", 5, "second" },
    { BQ_IN_JOB, 0, "rateLimitExceeded",
      "Exceeded rate limits: too many table update operations for this table.", TR_THROTTLED,
      BQ_ELSE, "bigquery.table_rate", 20, "10 seconds" },
    { BQ_IN_JOB, 0, "jobRateLimitExceeded",
      "Job exceeded rate limits: Your project_and_region exceeded quota for concurrent queries.",
      TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", 30, NULL },
    { BQ_IN_JOB, 0, "accessDenied",
      "Access Denied: Table p:d.t: User does not have permission to query table p:d.t, or perhaps "
      "it does not exist.",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.getData" },
    { BQ_IN_STREAM, 403, "accessDenied",
      "Access Denied: Table bigquery-3344:3344_dataset.3344_table: The user "
      "v@p.iam.gserviceaccount.com does not have bigquery.tables.updateData permission for table "
      "bigquery-3344:3344_dataset.3344_table.",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "bigquery.tables.updateData" },
    { BQ_IN_CALL, 403, "insufficientPermissions", "Request had insufficient authentication scopes.",
      TR_REFUSED, BQ_DENIED, "bigquery.scopes", 0, "cloud-platform" },
    { BQ_IN_CALL, 400, "invalid", "The project p has not enabled BigQuery.", TR_REFUSED, BQ_ELSE,
      "bigquery.api_disabled", 0, "enable" },
    /* a client's words are none of BigQuery's */
    { BQ_IN_JOB, 0, "invalid", "Could not convert 'not allowed in the free tier' to integer",
      TR_REFUSED, BQ_ROWS, "dest.rows_refused", 0, NULL },
    { BQ_IN_STREAM, 200, "invalid", "Could not convert 'policy tag' to integer", TR_REFUSED,
      BQ_ELSE, "bigquery.refused", 0, NULL },

    /* and in jobs that ended */
    { BQ_IN_JOB, 0, "jobBackendError", "", TR_TRANSIENT, BQ_ELSE, "bigquery.job_failed", 0, NULL },
    { BQ_IN_JOB, 0, "jobInternalError", "", TR_TRANSIENT, BQ_ELSE, "bigquery.job_failed", 0, NULL },
    { BQ_IN_JOB, 0, "jobRateLimitExceeded", "", TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", 30,
      NULL },
    { BQ_IN_JOB, 0, "backendError", "", TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", 0, NULL },
    { BQ_IN_JOB, 0, "tableUnavailable", "", TR_TRANSIENT, BQ_ELSE, "bigquery.table_unavailable", 0,
      NULL },
    { BQ_IN_JOB, 0, "timeout", "", TR_TRANSIENT, BQ_ELSE, "bigquery.timeout", 0, NULL },
    { BQ_IN_JOB, 0, "stopped", "Job execution was cancelled", TR_TRANSIENT, BQ_ELSE,
      "bigquery.job_cancelled", 0, NULL },
    { BQ_IN_JOB, 0, "quotaExceeded",
      "Quota exceeded: Your table exceeded quota for imports or query appends per table",
      TR_THROTTLED, BQ_ELSE, "bigquery.load_quota", 1800, "1,500" },
    { BQ_IN_JOB, 0, "quotaExceeded", "Quota exceeded: Your table exceeded quota for load jobs",
      TR_THROTTLED, BQ_ELSE, "bigquery.load_quota", 1800, "1,500" },
    { BQ_IN_JOB, 0, "quotaExceeded",
      "Quota exceeded: Your table exceeded quota for Number of partition modifications to a column "
      "partitioned table",
      TR_THROTTLED, BQ_ELSE, "bigquery.partition_quota", 1800, "longer interval" },
    { BQ_IN_JOB, 0, "quotaExceeded",
      "Too many partitions produced by query, allowed 4000, query produces at least 4001 "
      "partitions",
      TR_REFUSED, BQ_ELSE, "bigquery.too_many_partitions", 0, "10,000" },
    { BQ_IN_CALL, 403, "accessDenied",
      "Access Denied: Job p:EU.tailrace_x: Permission bigquery.jobs.get denied on job p:EU.x",
      TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", 0, "another account" },
    { BQ_IN_JOB, 0, "resourcesExceeded", "", TR_REFUSED, BQ_ELSE, "bigquery.resources", 0, NULL },
    { BQ_IN_JOB, 0, "notFound", "Not found: Table p:d.t", TR_TRANSIENT, BQ_GONE,
      "bigquery.no_table", 0, NULL },
    /* in passing, too: whoever prepares the next attempt knows better */
    { BQ_IN_JOB, 0, "notFound", "Not found: Dataset p:d was not found in location EU", TR_TRANSIENT,
      BQ_GONE, "bigquery.no_table", 0, NULL },
    { BQ_IN_JOB, 0, "invalid", "Error while reading data, error message: JSON table encountered",
      TR_REFUSED, BQ_ROWS, "dest.rows_refused", 0, NULL },
    { BQ_IN_JOB, 0, "invalid", "Provided Schema does not match Table p:d.t", TR_REFUSED, BQ_ELSE,
      "bigquery.table_changed", 0, NULL },
    { BQ_IN_JOB, 0, "invalid", "JSON parsing error: No such field: x.", TR_REFUSED, BQ_ELSE,
      "bigquery.table_changed", 0, NULL },
    { BQ_IN_JOB, 0, "invalidQuery", "Could not serialize access to table due to concurrent update",
      TR_TRANSIENT, BQ_ELSE, "bigquery.conflict", 0, NULL },
    { BQ_IN_JOB, 0, "invalidQuery",
      "UPDATE or DELETE statement over table t would affect rows in the streaming buffer",
      TR_THROTTLED, BQ_ELSE, "bigquery.streaming_buffer", 900, "30 minutes" },
    { BQ_IN_JOB, 0, "invalidQuery",
      "Cannot query over table without a filter that can be used for "
      "partition elimination",
      TR_REFUSED, BQ_ELSE, "bigquery.partition_filter", 0, NULL },
    { BQ_IN_JOB, 0, "invalidQuery", "UPDATE/MERGE must match at most one source row", TR_REFUSED,
      BQ_ELSE, "bigquery.query_refused", 0, NULL },
    { BQ_IN_JOB, 0, "somethingNew", "", TR_REFUSED, BQ_ELSE, "bigquery.job_refused", 0, NULL },
};

static void each_reason_has_its_class(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct class_case *c = &cases[i];
        struct bq_class got = bq_classify(c->where, c->status, c->reason, c->message);

        print_message("#  %s %d %s %.40s\n", c->where == BQ_IN_CALL ? "call" : "job", c->status,
                      c->reason, c->message);
        assert_string_equal(got.id, c->id);
        assert_int_equal(got.rc, c->rc);
        assert_int_equal(got.about, c->about);
        assert_int_equal(got.wait_s, c->wait_s);
        if (c->hint != NULL) {
            assert_non_null(got.hint);
            assert_non_null(strstr(got.hint, c->hint));
        }
    }
}

static void an_error_carries_what_was_said_and_how_long_to_wait(void **state)
{
    struct bq_class c = bq_classify(BQ_IN_CALL, 429, "rateLimitExceeded", "slowly");
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(bq_fail(&c, "rateLimitExceeded", "slowly", 1000000, &err), TR_THROTTLED);
    assert_string_equal(err.cause, "rateLimitExceeded: slowly");
    assert_int_equal(err.not_before_us, 16000000);
    c = bq_classify(BQ_IN_CALL, 502, "", "");
    assert_int_equal(bq_fail(&c, "", "", 0, &err), TR_TRANSIENT);
    assert_string_equal(err.cause, "no reason given");
}

static void each_complaint_about_a_row_has_its_fate(void **state)
{
    static const struct {
        struct bq_said said;
        enum bq_fate fate;
        enum tr_rc rc; /* where it matters */
    } fates[] = {
        { { "stopped", "" }, BQ_FATE_AGAIN, TR_TRANSIENT },
        { { "backendError", "x" }, BQ_FATE_AGAIN, TR_TRANSIENT },
        { { "internalError", "x" }, BQ_FATE_AGAIN, TR_TRANSIENT },
        { { "timeout", "x" }, BQ_FATE_AGAIN, TR_TRANSIENT },
        { { "rateLimitExceeded", "x" }, BQ_FATE_FAILED, TR_THROTTLED },
        { { "quotaExceeded", "x" }, BQ_FATE_FAILED, TR_THROTTLED },
        { { "invalid", "n: Cannot convert value to integer" }, BQ_FATE_REFUSED, TR_OK },
        { { "invalid", "timestamp: Value is out of the allowed bounds" }, BQ_FATE_REFUSED, TR_OK },
        { { "somethingNew", "x" }, BQ_FATE_FAILED, TR_REFUSED },
        { { "accessDenied", "x" }, BQ_FATE_FAILED, TR_REFUSED },
        { { "notFound", "Not found: Table p:d.t" }, BQ_FATE_AGAIN, TR_TRANSIENT },
        { { "", "" }, BQ_FATE_FAILED, TR_REFUSED },
        /* the table is another one than was prepared for: no reject for that */
        { { "invalid", "zz: no such field: zz." }, BQ_FATE_FAILED, TR_TRANSIENT },
        { { "invalid", "Missing required field: Msg_0.x" }, BQ_FATE_FAILED, TR_TRANSIENT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++) {
        struct bq_class class;

        print_message("#  %s %s\n", fates[i].said.reason, fates[i].said.message);
        assert_int_equal(bq_row_fate(&fates[i].said, &class), fates[i].fate);
        if (fates[i].rc != TR_OK)
            assert_int_equal(class.rc, fates[i].rc);
    }
}

static void the_right_that_is_missing_is_never_cut_off(void **state)
{
    char name[1025], message[2800];
    struct tr_err err = { 0 };

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[1024] = '\0';
    (void)snprintf(message, sizeof(message),
                   "Access Denied: Table p:d.%s: Permission bigquery.tables.updateData denied on "
                   "table p:d.%s (or it may not exist).",
                   name, name);
    struct bq_class c = bq_classify(BQ_IN_CALL, 403, "accessDenied", message);
    assert_non_null(strstr(c.hint, "bigquery.tables.updateData"));
    assert_int_equal(bq_fail(&c, "accessDenied", message, 0, &err), TR_REFUSED);
    assert_non_null(strstr(err.cause, "Access Denied: Table p:d.nnn"));
    assert_non_null(strstr(err.cause, "Permission bigquery.tables.updateData denied"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_that_is_missing_is_never_cut_off),
        cmocka_unit_test(each_reason_has_its_class),
        cmocka_unit_test(each_complaint_about_a_row_has_its_fate),
        cmocka_unit_test(an_error_carries_what_was_said_and_how_long_to_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
