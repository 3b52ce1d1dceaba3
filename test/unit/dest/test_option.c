#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dest/dest.h"

static const struct tr_option options[] = {
    { .name = "host",
      .type = TR_OPT_TEXT,
      .required = true,
      .min = 1,
      .max = 20,
      .doc = "the host" },
    { .name = "password", .type = TR_OPT_TEXT, .secret = true, .max = 8, .doc = "the password" },
    { .name = "port",
      .type = TR_OPT_INT,
      .fallback = "5432",
      .min = 1,
      .max = 65535,
      .doc = "the port" },
    { .name = "offset", .type = TR_OPT_INT, .doc = "any number" },
    { .name = "tls", .type = TR_OPT_BOOL, .fallback = "true", .fixed = true, .doc = "encrypt" },
    { .name = "compression",
      .type = TR_OPT_CHOICE,
      .fallback = "none",
      .choices = "none|gzip|zstd",
      .doc = "how" },
    { .name = NULL },
};

static enum tr_rc parse(const char *text, struct tr_conf **ret, struct tr_err *err)
{
    json_error_t bad;
    json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &bad);

    if (j == NULL)
        fail_msg("%s: %s", text, bad.text);
    enum tr_rc rc = tr_conf_parse(options, j, ret, err);
    json_decref(j);
    return rc;
}

static void what_is_not_given_has_its_default(void **state)
{
    struct tr_conf *c = NULL;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(parse("{\"host\": \"db\", \"tls\": null}", &c, &err), TR_OK);
    assert_string_equal(tr_conf_text(c, "host"), "db");
    assert_null(tr_conf_text(c, "password"));
    assert_int_equal(tr_conf_int(c, "port"), 5432);
    assert_string_equal(tr_conf_text(c, "port"), "5432");
    assert_null(tr_conf_text(c, "offset"));
    assert_int_equal(tr_conf_int(c, "offset"), 0);
    assert_true(tr_conf_bool(c, "tls"));
    assert_string_equal(tr_conf_text(c, "compression"), "none");
    tr_conf_free(c);
}

static void values_have_their_types(void **state)
{
    static const struct {
        const char *given;
        int64_t port, offset;
        bool tls;
    } good[] = {
        { "{\"host\":\"h\",\"port\":1,\"offset\":-7,\"tls\":false}", 1, -7, false },
        { "{\"host\":\"h\",\"port\":\"65535\",\"offset\":\"-7\",\"tls\":\"false\"}", 65535, -7,
          false },
        { "{\"host\":\"h\",\"offset\":9223372036854775807,\"tls\":\"true\"}", 5432, INT64_MAX,
          true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct tr_conf *c = NULL;
        assert_int_equal(parse(good[i].given, &c, NULL), TR_OK);
        assert_int_equal(tr_conf_int(c, "port"), good[i].port);
        assert_int_equal(tr_conf_int(c, "offset"), good[i].offset);
        assert_int_equal(tr_conf_bool(c, "tls"), good[i].tls);
        tr_conf_free(c);
    }
}

static const struct bad_case {
    const char *given, *id, *says;
} bad[] = {
    { "[]", "option.type", "object" },
    { "{}", "option.missing", "host is missing: the host" },
    { "{\"host\":null}", "option.missing", "host" },
    { "{\"host\":\"\"}", "option.empty", "host must not be empty" },
    { "{\"host\":\"123456789012345678901\"}", "option.length", "1 to 20 bytes, not 21" },
    { "{\"host\":7}", "option.type", "host must be a text" },
    { "{\"host\":[\"a\"]}", "option.type", "host must be a text" },
    { "{\"host\":\"a\\u0000b\"}", "option.type", "NUL" },
    { "{\"host\":\"h\",\"port\":0}", "option.range", "port must be from 1 to 65535, not 0" },
    { "{\"host\":\"h\",\"port\":\"70000\"}", "option.range", "not 70000" },
    { "{\"host\":\"h\",\"port\":\"54x\"}", "option.type", "port must be a whole number" },
    { "{\"host\":\"h\",\"port\":\"\"}", "option.type", "port must be a whole number" },
    { "{\"host\":\"h\",\"port\":\" 5\"}", "option.type", "port must be a whole number" },
    { "{\"host\":\"h\",\"port\":5.5}", "option.type", "port must be a whole number" },
    { "{\"host\":\"h\",\"offset\":\"99999999999999999999\"}", "option.type", "offset" },
    { "{\"host\":\"h\",\"tls\":1}", "option.type", "tls must be true or false" },
    { "{\"host\":\"h\",\"tls\":\"yes\"}", "option.type", "tls must be true or false" },
    { "{\"host\":\"h\",\"compression\":\"brotli\"}", "option.choice", "none|gzip|zstd" },
    { "{\"host\":\"h\",\"compression\":\"GZIP\"}", "option.choice", "spelt \"gzip\"" },
    { "{\"host\":\"h\",\"compression\":\"\"}", "option.choice", "none|gzip|zstd" },
    { "{\"host\":\"h\",\"compression\":true}", "option.type", "none|gzip|zstd" },
    { "{\"host\":\"h\",\"Prot\":1}", "option.unknown", "did you mean port?" },
    { "{\"host\":\"h\",\"compresion\":\"gzip\"}", "option.unknown", "did you mean compression?" },
    { "{\"host\":\"h\",\"table_name\":\"x\"}", "option.unknown", "there are host, password" },
};

static void wrong_values_are_refused_with_what_would_be_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tr_conf *c = NULL;
        struct tr_err err = { 0 };

        print_message("# %s\n", bad[i].given);
        assert_int_equal(parse(bad[i].given, &c, &err), TR_INVALID);
        assert_null(c);
        assert_string_equal(err.id, bad[i].id);
        if (strstr(err.cause, bad[i].says) == NULL)
            fail_msg("%s does not say %s", err.cause, bad[i].says);
    }
}

static void a_wrong_secret_is_not_repeated(void **state)
{
    struct tr_conf *c = NULL;
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(parse("{\"host\":\"h\",\"password\":\"hunter2hunter2\"}", &c, &err),
                     TR_INVALID);
    assert_null(strstr(err.cause, "hunter2"));
    assert_non_null(strstr(err.cause, "password"));
}

static void the_schema_says_all_that_the_table_says(void **state)
{
    json_t *schema = tr_option_schema(options);
    json_t *want = json_loads(
        "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"host\"],"
        "\"properties\":{"
        "\"host\":{\"type\":\"string\",\"description\":\"the host\",\"minLength\":1,"
        "\"maxLength\":20},"
        "\"password\":{\"type\":\"string\",\"description\":\"the password\",\"minLength\":0,"
        "\"maxLength\":8,\"format\":\"password\",\"writeOnly\":true},"
        "\"port\":{\"type\":\"integer\",\"description\":\"the port\",\"default\":5432,"
        "\"minimum\":1,\"maximum\":65535},"
        "\"offset\":{\"type\":\"integer\",\"description\":\"any number\"},"
        "\"tls\":{\"type\":\"boolean\",\"description\":\"encrypt\",\"default\":true,"
        "\"x-fixed\":true},"
        "\"compression\":{\"type\":\"string\",\"description\":\"how\",\"default\":\"none\","
        "\"enum\":[\"none\",\"gzip\",\"zstd\"]}}}",
        0, NULL);

    (void)state;
    assert_non_null(want);
    if (!json_equal(schema, want)) {
        char *text = json_dumps(schema, JSON_INDENT(1));
        print_message("%s\n", text);
        free(text);
    }
    assert_true(json_equal(schema, want));
    json_decref(schema);
    json_decref(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_given_has_its_default),
        cmocka_unit_test(values_have_their_types),
        cmocka_unit_test(wrong_values_are_refused_with_what_would_be_right),
        cmocka_unit_test(a_wrong_secret_is_not_repeated),
        cmocka_unit_test(the_schema_says_all_that_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
