#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"

enum { SAID_SHOWN = 201, SAID_HEAD = 80 }; /* characters */

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

/* What is said of rows quotes them: words of a client are no sentence of BigQuery. */
static bool is_about_rows(enum bq_where where, int status, const char *reason)
{
    return strcmp(reason, "invalid") == 0 && (where == BQ_IN_JOB || status == 200);
}

static bool matches(const struct bq_rule *r, enum bq_where where, int status, const char *reason,
                    const char *message)
{
    if ((r->where & 1 << where) == 0 ||
        (r->contains != NULL && strstr(message, r->contains) == NULL))
        return false;
    return r->reason == NULL ? !is_about_rows(where, status, reason)
                             : strcmp(r->reason, reason) == 0;
}

struct bq_class bq_classify(enum bq_where where, int status, const char *reason,
                            const char *message)
{
    if (where == BQ_IN_STREAM && status == 404)
        return unknown_to_streams;
    /* 401 comes with reasons of its own; 5xx may come with any */
    if (where != BQ_IN_JOB && (status == 401 || status >= 500))
        return by_status(status);
    for (size_t i = 0; i < bq_rules_n; i++)
        if (matches(&bq_rules[i], where, status, reason, message))
            return bq_rules[i].class;
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

/* Without the middle, where names may be a thousand characters long: from the right that is missing
 * on, if one is named. */
static void put_short(char *out, size_t cap, const char *message)
{
    const char *right = strstr(message, "Permission bigquery.");

    if (right == NULL)
        right = strstr(message, "does not have bigquery.");
    if (strlen(message) < cap || right == NULL || right < message + SAID_HEAD)
        (void)snprintf(out, cap, "%.*s", (int)cap - 1, message);
    else
        (void)snprintf(out, cap, "%.*s .. %.*s", SAID_HEAD, message, (int)cap - SAID_HEAD - 5,
                       right);
}

enum tr_rc bq_fail(const struct bq_class *c, const char *reason, const char *message,
                   int64_t now_us, struct tr_err *err)
{
    char text[SAID_SHOWN];

    put_short(text, sizeof(text), message);
    (void)tr_fail(err, c->rc, c->id, c->hint, "%s%s%s", reason, reason[0] == '\0' ? "" : ": ",
                  text[0] == '\0' ? "no reason given" : text);
    if (err != NULL && c->rc == TR_THROTTLED)
        err->not_before_us = now_us + c->wait_s * TR_US_PER_S;
    return c->rc;
}
