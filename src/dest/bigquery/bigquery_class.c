#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"

/* Where an error stood. */
enum {
    CALL = 1 << BQ_IN_CALL | 1 << BQ_IN_STREAM,
    JOB = 1 << BQ_IN_JOB,
    STREAM = 1 << BQ_IN_STREAM,
    ANY = CALL | JOB
};

#define ROLE_USER   "grant the service account BigQuery Job User on the project: "
#define ROLE_EDITOR "grant the service account BigQuery Data Editor on the dataset: "

struct rule {
    int where;
    const char *reason;   /* of ErrorProto, or NULL: any */
    const char *contains; /* in the message, or NULL */
    struct bq_class class;
};

/* The first that matches. "Error messages", BigQuery documentation; the list of reasons is open:
 * what is not here is told by its HTTP status. */
static const struct rule rules[] = {
    /* ---- passes by itself ---- */
    { ANY, "backendError", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", NULL, 0 } },
    { ANY, "internalError", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", NULL, 0 } },
    { ANY, "badGateway", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", NULL, 0 } },
    { ANY, "jobBackendError", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.job_failed", NULL, 0 } },
    { ANY, "jobInternalError", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.job_failed", NULL, 0 } },
    { ANY,
      "tableUnavailable",
      NULL,
      { TR_TRANSIENT, BQ_ELSE, "bigquery.table_unavailable", NULL, 0 } },
    { ANY, "timeout", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.timeout", NULL, 0 } },
    { ANY,
      "stopped",
      NULL,
      { TR_TRANSIENT, BQ_ELSE, "bigquery.job_cancelled", "somebody cancelled the job", 0 } },

    /* ---- too much of it ---- */
    { ANY,
      "jobRateLimitExceeded",
      NULL,
      { TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", NULL, 30 } },
    { ANY,
      "rateLimitExceeded",
      NULL,
      { TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", NULL, 15 } },
    { ANY,
      "userRateLimitExceeded",
      NULL,
      { TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", NULL, 15 } },
    { ANY,
      "quotaExceeded",
      "Number of partition modifications",
      { TR_THROTTLED, BQ_ELSE, "bigquery.partition_quota",
        "BigQuery takes so many modifications of partitions a table and day: use a longer "
        "interval, "
        "larger chunks, or a table that is partitioned by month; what waits goes on when the quota "
        "comes back",
        1800 } },
    { ANY,
      "quotaExceeded",
      "Too many partitions",
      { TR_REFUSED, BQ_ELSE, "bigquery.too_many_partitions",
        "a table holds 10,000 partitions: lower days_past and days_future, or use a table that is "
        "partitioned by month",
        0 } },
    { ANY,
      "quotaExceeded",
      "imports or query appends",
      { TR_THROTTLED, BQ_ELSE, "bigquery.load_quota",
        "BigQuery takes 1,500 loads a table and day: use a longer interval, or another table; what "
        "waits goes on when the quota comes back",
        1800 } },
    { ANY,
      "quotaExceeded",
      "load jobs",
      { TR_THROTTLED, BQ_ELSE, "bigquery.load_quota",
        "BigQuery takes 1,500 loads a table and day: use a longer interval, or another table; what "
        "waits goes on when the quota comes back",
        1800 } },
    { ANY,
      "quotaExceeded",
      NULL,
      { TR_THROTTLED, BQ_ELSE, "bigquery.quota",
        "look at the project's quotas in Google Cloud; some come back after a day, some can be "
        "raised",
        600 } },
    { ANY,
      "dailyLimitExceeded",
      NULL,
      { TR_THROTTLED, BQ_ELSE, "bigquery.quota", "look at the project's quotas in Google Cloud",
        3600 } },

    /* ---- rights ---- */
    { ANY,
      "accessDenied",
      "bigquery.jobs.create",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", ROLE_USER "bigquery.jobs.create",
        0 } },
    { ANY,
      "accessDenied",
      "bigquery.datasets.get",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", ROLE_EDITOR "bigquery.datasets.get",
        0 } },
    { ANY,
      "accessDenied",
      "bigquery.tables.create",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", ROLE_EDITOR "bigquery.tables.create",
        0 } },
    { ANY,
      "accessDenied",
      "bigquery.tables.getData",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", ROLE_EDITOR "bigquery.tables.getData",
        0 } },
    { ANY,
      "accessDenied",
      "bigquery.tables.updateData",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied",
        ROLE_EDITOR "bigquery.tables.updateData", 0 } },
    { ANY,
      "accessDenied",
      "bigquery.tables.get ",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied", ROLE_EDITOR "bigquery.tables.get",
        0 } },
    { ANY,
      "accessDenied",
      "bigquery.tables.delete",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied",
        ROLE_EDITOR "bigquery.tables.delete (for models whose rows change)", 0 } },
    { ANY,
      "accessDenied",
      "bigquery.jobs.get",
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied",
        "the job is another account's, as after a change of the key: grant the new account "
        "bigquery.jobs.get (BigQuery Resource Viewer on the project), or go back to the old one "
        "until this run is through",
        0 } },
    { ANY,
      "accessDenied",
      "VPC Service Controls",
      { TR_REFUSED, BQ_DENIED, "bigquery.perimeter",
        "let this server's address into the service perimeter (VPC Service Controls)", 0 } },
    { ANY,
      "accessDenied",
      NULL,
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied",
        "grant the service account BigQuery Job User on the project and BigQuery Data Editor on "
        "the "
        "dataset",
        0 } },
    { ANY,
      "accessNotConfigured",
      NULL,
      { TR_REFUSED, BQ_ELSE, "bigquery.api_disabled",
        "enable the BigQuery API in the Google Cloud project", 0 } },
    { ANY,
      "blocked",
      NULL,
      { TR_REFUSED, BQ_ELSE, "bigquery.blocked",
        "Google blocks this project's requests: ask its support", 0 } },
    { ANY,
      "billingNotEnabled",
      NULL,
      { TR_REFUSED, BQ_ELSE, "bigquery.billing",
        "enable billing for the Google Cloud project; without it there is no merge and no "
        "streaming",
        0 } },
    { ANY,
      "billingTierLimitExceeded",
      NULL,
      { TR_REFUSED, BQ_ELSE, "bigquery.billing", "raise the project's limit of query cost", 0 } },
    { ANY, "responseTooLarge", NULL, { TR_REFUSED, BQ_ELSE, "bigquery.too_large", NULL, 0 } },
    { ANY,
      "resourcesExceeded",
      NULL,
      { TR_REFUSED, BQ_ELSE, "bigquery.resources",
        "make the chunks smaller with --chunk-rows, or the table clustered by its key", 0 } },
    { CALL,
      "badRequest",
      "payload size exceeds",
      { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },
    { CALL,
      "invalid",
      "payload size exceeds",
      { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },
    { CALL, "uploadTooLarge", NULL, { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },
    { CALL, "requestTooLarge", NULL, { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },

    /* ---- things that are there, or not ---- */
    { CALL, "duplicate", NULL, { TR_REFUSED, BQ_THERE, "bigquery.exists", NULL, 0 } },
    { JOB, "duplicate", NULL, { TR_REFUSED, BQ_ELSE, "bigquery.exists", NULL, 0 } },
    { ANY,
      "notFound",
      "Not found: Dataset",
      { TR_REFUSED, BQ_GONE, "bigquery.no_dataset",
        "create the dataset, or correct dataset_id and project_id", 0 } },
    { ANY,
      "notFound",
      "Not found: Project",
      { TR_REFUSED, BQ_GONE, "bigquery.no_project", "correct project_id", 0 } },
    /* of a job: dropped since it was prepared, which the next attempt mends, or just made */
    { JOB, "notFound", NULL, { TR_TRANSIENT, BQ_GONE, "bigquery.no_table", NULL, 0 } },
    /* dropped, or made so lately that streams do not know it yet */
    { CALL,
      "notFound",
      "Not found: Table",
      { TR_TRANSIENT, BQ_GONE, "bigquery.no_table", NULL, 0 } },
    { CALL,
      "notFound",
      NULL,
      { TR_REFUSED, BQ_GONE, "bigquery.not_found", "correct project_id, dataset_id and table_id",
        0 } },

    /* ---- statements ---- */
    { ANY,
      "invalidQuery",
      "concurrent update",
      { TR_TRANSIENT, BQ_ELSE, "bigquery.conflict", NULL, 0 } },
    { ANY,
      "invalidQuery",
      "streaming buffer",
      { TR_THROTTLED, BQ_ELSE, "bigquery.streaming_buffer",
        "rows that were streamed into the table cannot be merged for about 30 minutes: stream into "
        "another table",
        900 } },
    { ANY,
      "invalidQuery",
      "partition elimination",
      { TR_REFUSED, BQ_ELSE, "bigquery.partition_filter",
        "the table requires a partition filter: turn that off, or use another table", 0 } },
    { ANY, "invalidQuery", NULL, { TR_REFUSED, BQ_ELSE, "bigquery.query_refused", NULL, 0 } },

    /* ---- rows ---- */
    { JOB,
      "invalid",
      "Schema does not match",
      { TR_REFUSED, BQ_ELSE, "bigquery.table_changed", "somebody changed the table: retry the run",
        0 } },
    { JOB,
      "invalid",
      "No such field",
      { TR_REFUSED, BQ_ELSE, "bigquery.table_changed", "somebody changed the table: retry the run",
        0 } },
    { JOB, "invalid", NULL, { TR_REFUSED, BQ_ROWS, tr_dest_rows_refused, NULL, 0 } },

    { ANY, "resourceInUse", NULL, { TR_TRANSIENT, BQ_ELSE, "bigquery.in_use", NULL, 0 } },
    { ANY, "notImplemented", NULL, { TR_REFUSED, BQ_ELSE, "bigquery.refused", NULL, 0 } },
    { ANY, "invalid", NULL, { TR_REFUSED, BQ_ELSE, "bigquery.refused", NULL, 0 } },
    { ANY, "badRequest", NULL, { TR_REFUSED, BQ_ELSE, "bigquery.refused", NULL, 0 } },
};

static const struct {
    int status;
    struct bq_class class;
} statuses[] = {
    { 401,
      { TR_REFUSED, BQ_TOKEN, "bigquery.unauthorized",
        "the token was refused: check that the service account is enabled", 0 } },
    { 403,
      { TR_REFUSED, BQ_DENIED, "bigquery.permission_denied",
        "grant the service account BigQuery Job User on the project and BigQuery Data Editor on "
        "the "
        "dataset",
        0 } },
    { 404, { TR_REFUSED, BQ_GONE, "bigquery.not_found", "correct project_id and dataset_id", 0 } },
    { 408, { TR_TRANSIENT, BQ_ELSE, "bigquery.timeout", NULL, 0 } },
    { 409, { TR_REFUSED, BQ_THERE, "bigquery.exists", NULL, 0 } },
    { 410, { TR_TRANSIENT, BQ_GONE, "bigquery.session_lost", NULL, 0 } },
    { 412, { TR_TRANSIENT, BQ_ELSE, "bigquery.conflict", NULL, 0 } },
    { 413, { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },
    { 429, { TR_THROTTLED, BQ_ELSE, "bigquery.rate_limited", NULL, 15 } },
};

/* What takes streams knows of a table only some time after it was made, and answers until then in
 * one of at least four ways: "Not found: Table p:d.t", "Table 123:d.t not found."
 * (googleapis/python-bigquery#1331, java-bigquery#2368), "Not found: table Table is deleted: .."
 * (confluentinc/kafka-connect-bigquery#163), and in passing "Not found: Dataset" or "Project"
 * (python-bigquery#1396). What is really gone is found by whoever prepares the next attempt. */
static const struct bq_class unknown_to_streams = {
    TR_TRANSIENT, BQ_GONE, "bigquery.no_table",
    "a table that was just made, or made again, is known to streams after some minutes", 0
};

static struct bq_class by_status(int status)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].status == status)
            return statuses[i].class;
    if (status >= 500)
        return (struct bq_class){ TR_TRANSIENT, BQ_ELSE, "bigquery.unavailable", NULL, 0 };
    return (struct bq_class){ TR_REFUSED, BQ_ELSE, "bigquery.refused", NULL, 0 };
}

struct bq_class bq_classify(enum bq_where where, int status, const char *reason,
                            const char *message)
{
    if (where == BQ_IN_STREAM && status == 404)
        return unknown_to_streams;
    /* 401 comes with reasons of its own; 5xx may come with any */
    if (where != BQ_IN_JOB && (status == 401 || status >= 500))
        return by_status(status);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];
        if ((r->where & 1 << where) != 0 && strcmp(r->reason, reason) == 0 &&
            (r->contains == NULL || strstr(message, r->contains) != NULL))
            return r->class;
    }
    return where != BQ_IN_JOB
               ? by_status(status)
               : (struct bq_class){ TR_REFUSED, BQ_ELSE, "bigquery.job_refused", NULL, 0 };
}

/* The columns are not any more those that were prepared for, or streams do not know them yet. */
static bool is_about_columns(const char *message)
{
    return strcasestr(message, "no such field") != NULL ||
           strcasestr(message, "missing required field") != NULL;
}

enum bq_fate bq_row_fate(const struct bq_said *said, struct bq_class *ret)
{
    *ret = (struct bq_class){ TR_TRANSIENT, BQ_ELSE, "bigquery.rows_stopped", NULL, 0 };
    if (strcmp(said->reason, "stopped") == 0) /* because of another row */
        return BQ_FATE_AGAIN;
    if (strcmp(said->reason, "invalid") == 0 && is_about_columns(said->message)) {
        *ret =
            (struct bq_class){ TR_TRANSIENT, BQ_ELSE, "bigquery.table_changed",
                               "somebody changed the table: the next attempt looks at it anew", 0 };
        return BQ_FATE_FAILED;
    }
    *ret = bq_classify(BQ_IN_STREAM, 200, said->reason, said->message);
    if (ret->rc == TR_TRANSIENT)
        return BQ_FATE_AGAIN;
    return strcmp(said->reason, "invalid") == 0 ? BQ_FATE_REFUSED : BQ_FATE_FAILED;
}

enum tr_rc bq_fail(const struct bq_class *c, const char *reason, const char *message,
                   int64_t now_us, struct tr_err *err)
{
    (void)tr_fail(err, c->rc, c->id, c->hint, "%s%s%.200s", reason, reason[0] == '\0' ? "" : ": ",
                  message[0] == '\0' ? "no reason given" : message);
    if (err != NULL && c->rc == TR_THROTTLED)
        err->not_before_us = now_us + c->wait_s * TR_US_PER_S;
    return c->rc;
}
