/* What BigQuery says, and what that means: the sentences of the service, as its documentation and
 * people's reports quote them. The first rule that matches counts; what is not here is told by its
 * HTTP status (bigquery_class.c). Beside a rule stands where its words are quoted, when that is not
 * "Error messages" or "Troubleshoot quotas" of the documentation; names of repositories with a
 * number are issues at GitHub. */
#include "dest/bigquery/bigquery_priv.h"

enum {
    CALL = 1 << BQ_IN_CALL | 1 << BQ_IN_STREAM,
    JOB = 1 << BQ_IN_JOB,
    ANY = CALL | JOB,
};

#define USER   "grant the service account BigQuery Job User on the project: "
#define EDITOR "grant the service account BigQuery Data Editor on the dataset: "
#define LOADS                                                                                      \
    "BigQuery takes 1,500 loads a table and day: use a longer interval, or another table; what "   \
    "waits goes on when the quota comes back"
#define BILLING                                                                                    \
    "enable billing for the Google Cloud project; without it there is no merge and no streaming"
#define PROJECTS                                                                                   \
    "look at the project's quotas in Google Cloud; some come back after a day, some can be raised"

#define PASSES(id, hint)                                                                           \
    {                                                                                              \
        TR_TRANSIENT, BQ_ELSE, "bigquery." id, hint, 0                                             \
    }
#define WAITS(s, id, hint)                                                                         \
    {                                                                                              \
        TR_THROTTLED, BQ_ELSE, "bigquery." id, hint, s                                             \
    }
#define NEEDS(id, hint)                                                                            \
    {                                                                                              \
        TR_REFUSED, BQ_ELSE, "bigquery." id, hint, 0                                               \
    }
#define DENIES(id, hint)                                                                           \
    {                                                                                              \
        TR_REFUSED, BQ_DENIED, "bigquery." id, hint, 0                                             \
    }
#define LACKS(right, role)                                                                         \
    {                                                                                              \
        ANY, "accessDenied", "bigquery." right " ",                                                \
            DENIES("permission_denied", role "bigquery." right)                                    \
    }

const struct bq_rule bq_rules[] = {
    /* ---- whatever the reason ---- */
    /* reason policyViolation: dust-tt/dust#31983, googleapis/python-bigquery#1131; none at IAM */
    { ANY, NULL, "prohibited by organization's policy",
      DENIES("perimeter", "the VPC Service Controls of the project's organization refuse this "
                          "server: its administrators find the denial by the identifier in the "
                          "message, and let the server in by an ingress rule") },
    { ANY, NULL, "VPC Service Controls",
      DENIES("perimeter", "let this server into the service perimeter (VPC Service Controls) by an "
                          "ingress rule") },
    { ANY, "policyViolation", NULL,
      DENIES("perimeter", "a policy of the project's organization refuses this server: its "
                          "administrators have to allow it") },
    /* aliasoblomov/Backfill-GA4-to-BigQuery#10: "Access Denied: BigQuery BigQuery: Streaming insert
     * is not allowed in the free tier"; PipedreamHQ/pipedream#3070: "Billing has not been enabled
     * for this project. .. DML queries are not allowed in the free tier" */
    { ANY, NULL, "not allowed in the free tier", NEEDS("billing", BILLING) },
    { ANY, NULL, "Billing has not been enabled", NEEDS("billing", BILLING) },
    /* ofek/pypinfo#30 */
    { ANY, NULL, "exceeded quota for free query bytes",
      WAITS(3600, "billing",
            "the project's free queries of this month are used up: enable billing, "
            "or wait for the next month") },
    /* "Column-level security": "User has neither fine-grained reader nor masked get permission to
     * get data protected by policy tag .. on column .." */
    { ANY, NULL, "policy tag",
      DENIES("policy_tag", "grant the service account Fine-Grained Reader on the column's policy "
                           "tag, or leave the column out of the export") },
    { ANY, NULL, "Cloud KMS",
      NEEDS("encryption_key", "the dataset is encrypted with a key of your own: let BigQuery's "
                              "service account of the project use it (Cloud KMS CryptoKey "
                              "Encrypter/Decrypter), and see that the key is enabled") },
    { ANY, NULL, "has not enabled BigQuery",
      NEEDS("api_disabled", "enable the BigQuery API in the Google Cloud project") },

    /* ---- passes by itself ---- */
    { ANY, "backendError", NULL, PASSES("unavailable", NULL) },
    { ANY, "internalError", NULL, PASSES("unavailable", NULL) },
    { ANY, "badGateway", NULL, PASSES("unavailable", NULL) },
    { ANY, "jobBackendError", NULL, PASSES("job_failed", NULL) },
    { ANY, "jobInternalError", NULL, PASSES("job_failed", NULL) },
    { ANY, "tableUnavailable", NULL, PASSES("table_unavailable", NULL) },
    { ANY, "timeout", NULL, PASSES("timeout", NULL) },
    { ANY, "stopped", NULL, PASSES("job_cancelled", "somebody cancelled the job") },

    /* ---- too much of it ---- */
    /* m-lab/etl-gardener#293 (reason resourcesExceeded): "Resources exceeded during query
     * execution: Too many DML statements outstanding against table p:d.t, limit is 20" */
    { ANY, NULL, "Too many DML statements outstanding",
      WAITS(60, "dml_queue",
            "other statements change this table, too: BigQuery queues 20 of them; "
            "it goes on by itself") },
    /* "Quota exceeded: Your table exceeded quota for total number of dml jobs writing to a table,
     * pending + running" */
    { ANY, NULL, "dml jobs writing to a table",
      WAITS(60, "dml_queue",
            "other statements change this table, too: BigQuery queues 20 of them; "
            "it goes on by itself") },
    /* m-lab/etl#782 (rateLimitExceeded) and #264 (quotaExceeded): "Your table: p:d.t exceeded quota
     * for streaming insert bytes per second" */
    { ANY, "quotaExceeded", "per second",
      WAITS(5, "rate_limited", "a quota of the project by the second; it goes on by itself") },
    { ANY, "rateLimitExceeded", "per second",
      WAITS(5, "rate_limited", "a quota of the project by the second; it goes on by itself") },
    { ANY, "quotaExceeded", "per minute",
      WAITS(60, "rate_limited", "a quota of the project by the minute; it goes on by itself") },
    /* embulk/embulk-output-bigquery#75, of a job: "Exceeded rate limits: too many table update
     * operations for this table" */
    { ANY, NULL, "too many table update operations",
      WAITS(20, "table_rate",
            "BigQuery takes so many changes of one table in 10 seconds: others "
            "write into it, too, or there are more connections than it bears") },
    { ANY, "jobRateLimitExceeded", NULL, WAITS(30, "rate_limited", NULL) },
    { ANY, "rateLimitExceeded", NULL, WAITS(15, "rate_limited", NULL) },
    { ANY, "userRateLimitExceeded", NULL, WAITS(15, "rate_limited", NULL) },
    /* HTTPArchive/har.fyi#10: "Custom quota exceeded: Your usage exceeded the custom quota for
     * QueryUsagePerDay, which is set by your administrator" */
    { ANY, "quotaExceeded", "set by your administrator",
      WAITS(1800, "custom_quota",
            "an administrator of the project has set this limit: have it "
            "raised, or wait until it comes back at midnight, Pacific Time") },
    { ANY, "quotaExceeded", "Number of partition modifications",
      WAITS(1800, "partition_quota",
            "BigQuery takes so many modifications of partitions a table and day: use a longer "
            "interval, larger chunks, or a table that is partitioned by month; what waits goes on "
            "when the quota comes back") },
    { ANY, NULL, "Too many partitions",
      NEEDS("too_many_partitions", "a table holds 10,000 partitions: lower days_past and "
                                   "days_future, or use a table that is partitioned by month") },
    { ANY, "quotaExceeded", "imports or query appends", WAITS(1800, "load_quota", LOADS) },
    { ANY, "quotaExceeded", "load jobs", WAITS(1800, "load_quota", LOADS) },
    { ANY, "quotaExceeded", NULL, WAITS(600, "quota", PROJECTS) },
    { ANY, "dailyLimitExceeded", NULL, WAITS(3600, "quota", PROJECTS) },

    /* ---- rights: "Permission bigquery.x.y denied on ..", "does not have bigquery.x.y permission"
     */
    LACKS("jobs.create", USER),
    LACKS("datasets.get", EDITOR),
    LACKS("tables.create", EDITOR),
    LACKS("tables.getData", EDITOR),
    LACKS("tables.updateData", EDITOR),
    LACKS("tables.get", EDITOR),
    LACKS("tables.delete", EDITOR),
    { ANY, "accessDenied", "bigquery.jobs.get",
      DENIES("permission_denied",
             "the job is another account's, as after a change of the key: grant the new account "
             "bigquery.jobs.get (BigQuery Resource Viewer on the project), or go back to the old "
             "one until this run is through") },
    { ANY, "accessDenied", "permission to query table",
      DENIES("permission_denied", EDITOR "bigquery.tables.getData") },
    { ANY, "accessDenied", NULL,
      DENIES("permission_denied", "grant the service account BigQuery Job User on the project and "
                                  "BigQuery Data Editor on the dataset") },
    { ANY, "insufficientPermissions", "authentication scopes",
      DENIES("scopes", "the token is not for BigQuery: give the machine, whose identity it is, the "
                       "scope cloud-platform") },
    { ANY, "accessNotConfigured", NULL,
      NEEDS("api_disabled", "enable the BigQuery API in the Google Cloud project") },
    { ANY, "blocked", NULL,
      NEEDS("blocked", "Google blocks this project's requests: ask its support") },
    { ANY, "billingNotEnabled", NULL, NEEDS("billing", BILLING) },
    { ANY, "billingTierLimitExceeded", NULL,
      NEEDS("billing", "raise the project's limit of query cost") },
    { ANY, "responseTooLarge", NULL, NEEDS("too_large", NULL) },
    { ANY, "resourcesExceeded", NULL,
      NEEDS("resources",
            "make the chunks smaller with --chunk-rows, or the table clustered by its key") },
    { CALL,
      NULL,
      "payload size exceeds",
      { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },
    { CALL, "uploadTooLarge", NULL, { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },
    { CALL, "requestTooLarge", NULL, { TR_REFUSED, BQ_TOO_BIG, "bigquery.too_large", NULL, 0 } },

    /* ---- things that are there, or not ---- */
    { CALL, "duplicate", NULL, { TR_REFUSED, BQ_THERE, "bigquery.exists", NULL, 0 } },
    { JOB, "duplicate", NULL, NEEDS("exists", NULL) },
    /* of a job: dropped since it was prepared, just made, or not seen in passing: the next attempt
     * prepares, and finds out what is really gone */
    { JOB, "notFound", NULL, { TR_TRANSIENT, BQ_GONE, "bigquery.no_table", NULL, 0 } },
    { CALL,
      "notFound",
      "Not found: Dataset",
      { TR_REFUSED, BQ_GONE, "bigquery.no_dataset",
        "create the dataset, or correct dataset_id and project_id", 0 } },
    { CALL,
      "notFound",
      "Not found: Project",
      { TR_REFUSED, BQ_GONE, "bigquery.no_project", "correct project_id", 0 } },
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
    { ANY, "invalidQuery", "concurrent update", PASSES("conflict", NULL) },
    { ANY, "invalidQuery", "streaming buffer",
      WAITS(900, "streaming_buffer",
            "rows that were streamed into the table cannot be merged for "
            "about 30 minutes: stream into another table") },
    { ANY, "invalidQuery", "partition elimination",
      NEEDS("partition_filter",
            "the table requires a partition filter: turn that off, or use another table") },
    { ANY, "invalidQuery", NULL, NEEDS("query_refused", NULL) },

    /* ---- rows ---- */
    { JOB, "invalid", "Schema does not match",
      NEEDS("table_changed", "somebody changed the table: retry the run") },
    { JOB, "invalid", "No such field",
      NEEDS("table_changed", "somebody changed the table: retry the run") },
    { JOB, "invalid", NULL, { TR_REFUSED, BQ_ROWS, tr_dest_rows_refused, NULL, 0 } },

    { ANY, "resourceInUse", NULL, PASSES("in_use", NULL) },
    { ANY, "notImplemented", NULL, NEEDS("refused", NULL) },
    { ANY, "invalid", NULL, NEEDS("refused", NULL) },
    { ANY, "badRequest", NULL, NEEDS("refused", NULL) },
};

const size_t bq_rules_n = sizeof(bq_rules) / sizeof(bq_rules[0]);
