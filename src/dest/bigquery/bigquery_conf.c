#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "net/http_policy.h"

const struct tr_option bq_options[] = {
    { .name = "key_file",
      .type = TR_OPT_TEXT,
      .secret = true,
      .max = TR_GOOGLE_KEY_FILE_MAX,
      .doc = "The service account's key file: its JSON text" },
    { .name = "service_account_email",
      .type = TR_OPT_TEXT,
      .max = 320,
      .doc = "Service account to impersonate, where no key is given" },
    { .name = "project_id",
      .type = TR_OPT_TEXT,
      .max = BQ_PROJECT_BYTES,
      .doc = "Google Cloud project of dataset and jobs; a key file's own if empty" },
    { .name = "private_key",
      .type = TR_OPT_TEXT,
      .secret = true,
      .max = TR_GOOGLE_KEY_FILE_MAX,
      .doc = "In place of key_file: its private_key" },
    { .name = "private_key_id",
      .type = TR_OPT_TEXT,
      .secret = true,
      .max = 256,
      .doc = "In place of key_file: its private_key_id" },
    { .name = "client_email",
      .type = TR_OPT_TEXT,
      .max = 320,
      .doc = "In place of key_file: its client_email" },
    { .name = "token_uri",
      .type = TR_OPT_TEXT,
      .shows = true,
      .max = 256,
      .doc = "In place of key_file: its token_uri; Google's if empty" },
    { .name = "dataset_id",
      .type = TR_OPT_TEXT,
      .required = true,
      .min = 1,
      .max = BQ_ID_BYTES,
      .doc = "Dataset that holds the table, without the project; it must exist" },
    { .name = "table_id",
      .type = TR_OPT_TEXT,
      .of_model = true,
      .fallback = "events",
      .min = 1,
      .max = BQ_ID_BYTES,
      .doc =
          "Table to write to, without project and dataset, by default named as the model; created "
          "when there is none" },
    { .name = "use_json_type",
      .type = TR_OPT_BOOL,
      .fixed = true,
      .fallback = "false",
      .doc = "Columns that hold JSON are made with type JSON; otherwise STRING" },
    { .name = "days_past",
      .type = TR_OPT_INT,
      .fallback = "3650",
      .min = 1,
      .max = 36500,
      .doc = "Days that a row's partition may lie before its ingestion; older ones are rejected" },
    { .name = "days_future",
      .type = TR_OPT_INT,
      .fallback = "366",
      .min = 0,
      .max = 36500,
      .doc = "Days that a row's partition may lie after its ingestion; later ones are rejected" },
    { .name = "connections",
      .type = TR_OPT_INT,
      .fallback = "1",
      .min = 1,
      .max = 16,
      .doc = "Chunks of one run that are sent at once" },
    { .name = "loads_per_10_seconds",
      .type = TR_OPT_INT,
      .fallback = "5",
      .min = 1,
      .max = 1000,
      .doc = "Load jobs that are made for one table in 10 seconds; BigQuery bears 5" },
    { .name = "pending_minutes",
      .type = TR_OPT_INT,
      .fallback = "360",
      .min = 1,
      .max = 1440,
      .doc = "How long a job may wait in BigQuery's queue before it is made anew; then twice as "
             "long, up to a day" },
    { .name = "buffer_bytes",
      .type = TR_OPT_INT,
      .fallback = "1048576",
      .min = 1000000,
      .max = 10485760,
      .doc = "In real time: events are sent when so many bytes of them wait" },
    { .name = "buffer_seconds",
      .type = TR_OPT_INT,
      .fallback = "1",
      .min = 1,
      .max = 600,
      .doc = "In real time: or when the first of them waits for so long" },
    { .name = "new_table_seconds",
      .type = TR_OPT_INT,
      .fallback = "120",
      .min = 0,
      .max = 3600,
      .doc = "In real time: how old a table must be before rows are streamed into it" },
    { .name = "elements_on_any_event",
      .type = TR_OPT_BOOL,
      .fallback = "false",
      .doc = "In real time: fill the column elements of other events than $autocapture, too" },
    { .name = "api_endpoint",
      .type = TR_OPT_TEXT,
      .shows = true,
      .max = BQ_ENDPOINT_BYTES,
      .doc = "In place of " BQ_API ": a host that the operator allows" },
    { .name = "iam_endpoint",
      .type = TR_OPT_TEXT,
      .shows = true,
      .max = BQ_ENDPOINT_BYTES,
      .doc = "In place of Google's IAM hosts, for impersonation: a host that the operator allows" },
    { .name = NULL },
};

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static const char *given(const struct tr_conf *c, const char *name)
{
    const char *text = tr_conf_text(c, name);

    return is_set(text) ? text : NULL;
}

/* ---- names ---- */

static bool all_of(const char *text, const char *extra)
{
    for (; *text != '\0'; text++)
        if (!isalnum((unsigned char)*text) && strchr(extra, *text) == NULL)
            return false;
    return true;
}

/* "proj", or "example.com:proj" of an organization's own domain. */
static bool is_project(const char *text)
{
    return all_of(text, "-.:_") && isalnum((unsigned char)text[0]);
}

static bool is_email(const char *text)
{
    const char *at = strchr(text, '@');

    return at != NULL && at != text && at[1] != '\0' && all_of(text, "-.@_+");
}

static enum tr_rc check_dataset(const char *id, struct tr_err *err)
{
    if (all_of(id, "_"))
        return TR_OK;
    return tr_fail(err, TR_INVALID, "bigquery.option",
                   "give the dataset's id alone, without project",
                   "dataset_id may hold letters, digits and _ only");
}

/* Letters of any script, digits, _, - and blanks: "Table naming", BigQuery documentation. A '$'
 * would name a partition. */
static enum tr_rc check_table(const char *id, struct tr_err *err)
{
    for (const char *p = id; *p != '\0'; p++)
        if ((unsigned char)*p < 0x80 && !isalnum((unsigned char)*p) && strchr("_- ", *p) == NULL)
            return tr_fail(err, TR_INVALID, "bigquery.option",
                           "give the table's id alone, without project, dataset or partition",
                           "table_id may hold letters, digits, _, - and blanks only");
    return TR_OK;
}

static enum tr_rc check_url(const char *name, const char *url, struct tr_url *ret,
                            struct tr_err *err)
{
    if (tr_url_parse(url, ret, err) != TR_OK)
        return tr_wrap(err, "%s", name);
    if (strchr(url, '?') != NULL || strchr(url, '#') != NULL)
        return tr_fail(err, TR_INVALID, "bigquery.option", "write it as https://host:port",
                       "%s holds a query", name);
    return TR_OK;
}

static enum tr_rc check_api(const struct tr_conf *c, struct tr_err *err)
{
    const char *url = given(c, "api_endpoint");
    struct tr_url u;

    if (url == NULL)
        return TR_OK;
    enum tr_rc rc = check_url("api_endpoint", url, &u, err);
    if (rc == TR_OK && !tr_egress_is_named(&u))
        rc = tr_fail(err, TR_REFUSED, "bigquery.endpoint",
                     "leave it out; another host must be named by the operator with --allow-hosts",
                     "api_endpoint leads to %s, which is not Google's own", u.host);
    return rc;
}

enum tr_rc bq_conf_check_iam(const struct tr_conf *c, struct tr_err *err)
{
    const char *url = given(c, "iam_endpoint");
    struct tr_url u;

    if (url == NULL)
        return TR_OK;
    enum tr_rc rc = check_url("iam_endpoint", url, &u, err);
    if (rc == TR_OK && !tr_egress_is_iam(&u))
        rc = tr_fail(err, TR_REFUSED, "bigquery.endpoint",
                     "leave it out; another host of IAM must be named by the operator with "
                     "--iam-hosts",
                     "iam_endpoint leads to %s, which is not Google's own", u.host);
    return rc;
}

/* ---- who ---- */

enum { WITH_FILE = 1, WITH_PARTS = 2, WITH_EMAIL = 4 };

static int ways(const struct tr_conf *c)
{
    return (given(c, "key_file") != NULL ? WITH_FILE : 0) |
           (given(c, "private_key") != NULL ? WITH_PARTS : 0) |
           (given(c, "service_account_email") != NULL ? WITH_EMAIL : 0);
}

static enum tr_rc check_way(const struct tr_conf *c, struct tr_err *err)
{
    switch (ways(c)) {
    case WITH_FILE:
        return TR_OK;
    case WITH_PARTS:
        if (given(c, "client_email") != NULL && given(c, "project_id") != NULL)
            return TR_OK;
        return tr_fail(err, TR_INVALID, "bigquery.option", "give them, or the whole key_file",
                       "%s is missing: private_key needs it",
                       given(c, "client_email") == NULL ? "client_email" : "project_id");
    case WITH_EMAIL:
        if (!is_email(tr_conf_text(c, "service_account_email")))
            return tr_fail(err, TR_INVALID, "bigquery.option",
                           "it looks like name@project.iam.gserviceaccount.com",
                           "service_account_email is no e-mail address");
        if (given(c, "project_id") == NULL)
            return tr_fail(err, TR_INVALID, "bigquery.option", NULL,
                           "project_id is missing: service_account_email needs it");
        return TR_OK;
    case 0:
        return tr_fail(err, TR_INVALID, "bigquery.option",
                       "give the service account's key file as key_file, or service_account_email "
                       "and project_id of an account that this server may impersonate",
                       "key_file is missing: nothing says as whom to connect");
    default:
        return tr_fail(err, TR_INVALID, "bigquery.option", NULL,
                       "give one of key_file, private_key and service_account_email");
    }
}

enum tr_rc bq_conf_key(const struct tr_conf *c, struct tr_google_key *ret, bool *ret_has,
                       struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    *ret_has = ways(c) != WITH_EMAIL;
    if (ways(c) == WITH_FILE)
        rc = tr_google_key_parse(tr_str_of(tr_conf_text(c, "key_file")), ret, err);
    else if (*ret_has)
        rc = tr_google_key_make(given(c, "client_email"), given(c, "private_key"),
                                given(c, "private_key_id"), given(c, "token_uri"),
                                given(c, "project_id"), ret, err);
    return rc;
}

const char *bq_conf_project(const struct tr_conf *c, const struct tr_google_key *key)
{
    const char *project = given(c, "project_id");

    if (project != NULL)
        return project;
    return key->project_id == NULL ? "" : key->project_id;
}

static enum tr_rc check_key(const struct tr_conf *c, struct tr_err *err)
{
    struct tr_google_key key = { 0 };
    struct tr_err why = { 0 };
    bool has = false;

    enum tr_rc rc = bq_conf_key(c, &key, &has, &why);
    if (rc != TR_OK)
        return tr_fail(err, rc, why.id, why.hint, "key_file: %s", why.cause);
    if (rc == TR_OK && has)
        rc = tr_google_key_check(&key, err);
    if (rc == TR_OK && !is_project(bq_conf_project(c, &key)))
        rc = tr_fail(err, TR_INVALID, "bigquery.option", NULL,
                     bq_conf_project(c, &key)[0] == '\0'
                         ? "project_id is missing: the key file does not name one"
                         : "project_id may hold letters, digits, -, . and : only");
    tr_google_key_fini(&key);
    return rc;
}

enum tr_rc bq_conf_validate(const struct tr_conf *c, struct tr_err *err)
{
    enum tr_rc rc = check_way(c, err);

    if (rc == TR_OK)
        rc = check_key(c, err);
    if (rc == TR_OK)
        rc = check_dataset(tr_conf_text(c, "dataset_id"), err);
    if (rc == TR_OK)
        rc = check_table(tr_conf_text(c, "table_id"), err);
    if (rc == TR_OK)
        rc = check_api(c, err);
    return rc == TR_OK ? bq_conf_check_iam(c, err) : rc;
}

/* Another host than Google's is another service, and its tables are others. */
void bq_conf_target(const struct tr_conf *c, struct tr_buf *out)
{
    const char *endpoint = given(c, "api_endpoint");
    struct tr_google_key key = { 0 };
    struct tr_url u;
    bool has = false;

    if (bq_conf_key(c, &key, &has, NULL) != TR_OK)
        key = (struct tr_google_key){ 0 };
    tr_buf_z(out, "bigquery://");
    if (endpoint != NULL && tr_url_parse(endpoint, &u, NULL) == TR_OK &&
        strstr(u.host, ".googleapis.com") == NULL)
        tr_buf_printf(out, "%s:%u/", u.host, (unsigned)u.port);
    tr_buf_printf(out, "%s/%s/%s", bq_conf_project(c, &key), tr_conf_text(c, "dataset_id"),
                  tr_conf_text(c, "table_id"));
    tr_google_key_fini(&key);
}
