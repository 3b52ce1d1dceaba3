#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../auth/rfc7515_key.h"
#include "dest/bigquery/bigquery_priv.h"
#include "net/http_policy.h"

#define EMAIL "loader@proj.iam.gserviceaccount.com"

static char *key_file(void)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "type", "service_account", "project_id", "proj",
                          "private_key", rfc7515_key, "client_email", EMAIL);
    char *text = json_dumps(j, 0);

    json_decref(j);
    return text;
}

/* The options of a case: "K" stands for a good key file, "P" for its private key. */
static json_t *options_of(const char *text)
{
    static const char *const names[] = { "key_file", "private_key" };
    json_t *j = json_loads(text, 0, NULL);
    char *file = key_file();

    assert_non_null(j);
    for (size_t i = 0; i < 2; i++) {
        const char *v = json_string_value(json_object_get(j, names[i]));
        if (v != NULL && strlen(v) == 1 && v[0] != 'x')
            (void)json_object_set_new(j, names[i], json_string(v[0] == 'K' ? file : rfc7515_key));
    }
    free(file);
    return j;
}

static const struct conf_case {
    const char *name, *options;
    enum tr_rc want;
    const char *word; /* in the cause */
} cases[] = {
    { "a key file", "{\"key_file\":\"K\",\"dataset_id\":\"d\"}", TR_OK, NULL },
    { "a key file and another project",
      "{\"key_file\":\"K\",\"project_id\":\"other-1\",\"dataset_id\":\"d\"}", TR_OK, NULL },
    { "a key in parts, as before",
      "{\"private_key\":\"P\",\"client_email\":\"" EMAIL
      "\",\"project_id\":\"p\",\"dataset_id\":\"d\"}",
      TR_OK, NULL },
    { "impersonation",
      "{\"service_account_email\":\"" EMAIL "\",\"project_id\":\"p\",\"dataset_id\":\"d\"}", TR_OK,
      NULL },
    { "a project of an organization's domain",
      "{\"key_file\":\"K\",\"project_id\":\"example.com:p\",\"dataset_id\":\"d\"}", TR_OK, NULL },
    { "nothing to connect with", "{\"dataset_id\":\"d\"}", TR_INVALID, "key_file is missing" },
    { "two ways",
      "{\"key_file\":\"K\",\"service_account_email\":\"" EMAIL "\",\"dataset_id\":\"d\"}",
      TR_INVALID, "one of" },
    { "impersonation without project",
      "{\"service_account_email\":\"" EMAIL "\",\"dataset_id\":\"d\"}", TR_INVALID, "project_id" },
    { "an e-mail that is a path",
      "{\"service_account_email\":\"a/b@c\",\"project_id\":\"p\",\"dataset_id\":\"d\"}", TR_INVALID,
      "e-mail" },
    { "a key without its account",
      "{\"private_key\":\"P\",\"project_id\":\"p\",\"dataset_id\":\"d\"}", TR_INVALID,
      "client_email" },
    { "a key without its project",
      "{\"private_key\":\"P\",\"client_email\":\"" EMAIL "\",\"dataset_id\":\"d\"}", TR_INVALID,
      "project_id" },
    { "no key file", "{\"key_file\":\"hello\",\"dataset_id\":\"d\"}", TR_INVALID, "key file" },
    { "a key of nonsense",
      "{\"private_key\":\"x\",\"client_email\":\"" EMAIL
      "\",\"project_id\":\"p\",\"dataset_id\":\"d\"}",
      TR_INVALID, "private_key" },
    { "tokens from elsewhere",
      "{\"private_key\":\"P\",\"client_email\":\"" EMAIL "\",\"project_id\":\"p\",\"token_uri\":"
      "\"https://evil.example/token\",\"dataset_id\":\"d\"}",
      TR_REFUSED, "evil.example" },
    { "project and dataset in one", "{\"key_file\":\"K\",\"dataset_id\":\"proj:d\"}", TR_INVALID,
      "dataset_id" },
    { "a path for a dataset", "{\"key_file\":\"K\",\"dataset_id\":\"../x\"}", TR_INVALID,
      "dataset_id" },
    { "dataset and table in one", "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"table_id\":\"d.t\"}",
      TR_INVALID, "table_id" },
    { "a partition for a table",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"table_id\":\"t$20260101\"}", TR_INVALID,
      "table_id" },
    { "a table of any script",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"table_id\":\"Ereignisse-2026 "
      "gr\\u00f6\\u00dfer\"}",
      TR_OK, NULL },
    { "a project that is a path",
      "{\"key_file\":\"K\",\"project_id\":\"a/b\",\"dataset_id\":\"d\"}", TR_INVALID,
      "project_id" },
    { "another host",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"api_endpoint\":\"https://x.example\"}",
      TR_REFUSED, "x.example" },
    { "another host for IAM",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"iam_endpoint\":\"https://x.example\"}",
      TR_REFUSED, "x.example" },
    { "a host that the operator named, not for IAM",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"iam_endpoint\":\"https://named.example\"}",
      TR_REFUSED, "named.example" },
    { "a host that the operator named for IAM",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"iam_endpoint\":\"https://iam.example\"}", TR_OK,
      NULL },
    { "a host of IAM, for BigQuery",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"api_endpoint\":\"https://iam.example\"}",
      TR_REFUSED, "iam.example" },
    { "a host that the operator named",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"api_endpoint\":\"http://named.example:9050/\"}",
      TR_OK, NULL },
    { "that is no URL",
      "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"api_endpoint\":\"named.example\"}", TR_INVALID,
      "api_endpoint" },
};

static struct tr_conf *parse(const char *options)
{
    struct tr_err err = { 0 };
    struct tr_conf *c = NULL;
    json_t *j = options_of(options);

    if (tr_conf_parse(bq_options, j, &c, &err) != TR_OK)
        fail_msg("%s", err.cause);
    json_decref(j);
    return c;
}

static void checks_what_goes_together(void **state)
{
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(tr_egress_set(false, "named.example", &err), TR_OK);
    assert_int_equal(tr_egress_set_iam("iam.example", &err), TR_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_conf *c = parse(cases[i].options);

        print_message("#  %s\n", cases[i].name);
        memset(&err, 0, sizeof(err));
        assert_int_equal(bq_conf_validate(c, &err), cases[i].want);
        if (cases[i].word != NULL && strstr(err.cause, cases[i].word) == NULL &&
            strstr(err.where, cases[i].word) == NULL)
            fail_msg("'%s' is not in '%s%s'", cases[i].word, err.where, err.cause);
        assert_null(strstr(err.cause, "BEGIN")); /* nothing of a key, ever */
        tr_conf_free(c);
    }
    assert_int_equal(tr_egress_set(false, NULL, &err), TR_OK);
    assert_int_equal(tr_egress_set_iam(NULL, &err), TR_OK);
}

static void the_target_is_the_place(void **state)
{
    static const struct {
        const char *options, *want;
    } targets[] = {
        { "{\"key_file\":\"K\",\"dataset_id\":\"d\"}", "bigquery://proj/d/events" },
        { "{\"private_key\":\"P\",\"client_email\":\"" EMAIL
          "\",\"project_id\":\"proj\",\"dataset_id\":\"d\"}",
          "bigquery://proj/d/events" },
        { "{\"service_account_email\":\"" EMAIL "\",\"project_id\":\"proj\",\"dataset_id\":\"d\"}",
          "bigquery://proj/d/events" },
        { "{\"key_file\":\"K\",\"project_id\":\"q\",\"dataset_id\":\"d\",\"table_id\":\"t\"}",
          "bigquery://q/d/t" },
        { "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"api_endpoint\":\"https://"
          "bigquery.europe-west3.rep.googleapis.com\"}",
          "bigquery://proj/d/events" },
        { "{\"key_file\":\"K\",\"dataset_id\":\"d\",\"api_endpoint\":\"http://127.0.0.1:9050\"}",
          "bigquery://127.0.0.1:9050/proj/d/events" },
    };
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct tr_conf *c = parse(targets[i].options);
        tr_buf_clear(&out);
        bq_conf_target(c, &out);
        tr_buf_ch(&out, '\0');
        assert_string_equal(out.p, targets[i].want);
        tr_conf_free(c);
    }
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_what_goes_together),
        cmocka_unit_test(the_target_is_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
