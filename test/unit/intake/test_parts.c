/* The pure parts of the intake: CORS lines, start-up answers, client addresses, token tables. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#include "intake/intake_priv.h"

static struct tr_http_request request_with(const struct tr_http_header *headers, size_t n)
{
    return (struct tr_http_request){ .headers = headers, .n_headers = n, .peer = "127.0.0.1" };
}

#define HEADER(name_, value_)                                                                      \
    {                                                                                              \
        { name_, sizeof(name_) - 1 },                                                              \
        {                                                                                          \
            value_, sizeof(value_) - 1                                                             \
        }                                                                                          \
    }

static bool has(struct tr_str lines, const char *line)
{
    return memmem(lines.p, lines.n, line, strlen(line)) != NULL;
}

static void cors_mirrors_what_the_page_says(void **state)
{
    static const struct tr_http_header page[] = {
        HEADER("origin", "https://shop.example"),
        HEADER("Access-Control-Request-Headers", "content-type, x-own"),
    };
    static const struct tr_http_header evil[] = {
        HEADER("Origin", "https://x\r\nSet-Cookie: a=b"),
        HEADER("Access-Control-Request-Headers", "a\tb\x7f"),
    };
    struct tr_http_request r = request_with(page, 2);
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 8192);
    struct tr_str got = intake_cors(&r, false, &out);
    assert_true(has(got, "Access-Control-Allow-Origin: https://shop.example\r\n"));
    assert_true(has(got, "Access-Control-Allow-Credentials: true\r\n"));
    assert_true(has(got, "Vary: Origin\r\n"));
    assert_false(has(got, "Allow-Methods"));
    got = intake_cors(&r, true, &out);
    assert_true(has(got, "Access-Control-Allow-Headers: content-type, x-own\r\n"));
    assert_true(has(got, "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"));

    r = request_with(evil, 2);
    got = intake_cors(&r, true, &out);
    assert_false(has(got, "Set-Cookie"));
    assert_false(has(got, "Allow-Headers"));
    assert_true(has(got, "Access-Control-Allow-Origin: *\r\n"));

    r = request_with(NULL, 0);
    assert_int_equal(intake_cors(&r, false, &out).n, 0); /* no page: nothing to say */
    tr_buf_fini(&out);
}

static json_t *parsed(const struct tr_buf *text)
{
    json_error_t error;
    json_t *j = json_loadb(text->p, text->n, JSON_REJECT_DUPLICATES, &error);

    if (j == NULL)
        fail_msg("%s in %.*s", error.text, (int)text->n, text->p);
    return j;
}

static void start_up_answers_are_what_sdks_need(void **state)
{
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 8192);
    intake_config_json(&out, TR_STR("phc_a\"b"));
    json_t *j = parsed(&out);
    /* Without a boolean here autocapture stays off. */
    assert_true(json_is_false(json_object_get(j, "autocapture_opt_out")));
    assert_true(json_is_true(json_object_get(j, "hasFeatureFlags")));
    assert_int_equal(json_array_size(json_object_get(j, "supportedCompression")), 2);
    assert_string_equal(json_string_value(json_object_get(j, "token")), "phc_a\"b");
    json_decref(j);

    intake_config_js(&out, TR_STR("phc_a"));
    tr_buf_ch(&out, 0);
    assert_non_null(strstr(out.p, "window._POSTHOG_REMOTE_CONFIG[\"phc_a\"]={config:{"));
    assert_non_null(strstr(out.p, "siteApps:[]}"));

    for (int with_config = 0; with_config < 2; with_config++) {
        intake_flags_json(&out, with_config);
        j = parsed(&out);
        assert_true(json_is_object(json_object_get(j, "flags")));
        assert_true(json_is_object(json_object_get(j, "featureFlags")));
        assert_true(json_is_object(json_object_get(j, "featureFlagPayloads")));
        assert_true(json_is_false(json_object_get(j, "errorsWhileComputingFlags")));
        assert_int_equal(json_string_length(json_object_get(j, "requestId")), 36);
        assert_int_equal(json_object_get(j, "autocapture_opt_out") != NULL, with_config);
        json_decref(j);
    }
    tr_buf_fini(&out);
}

static const struct ip_case {
    const char *name;
    const char *trusted;
    const char *peer;
    const char *forwarded; /* NULL: no header; '|' begins another header line */
    const char *want;
} ips[] = {
    { "nobody is trusted", "", "10.0.0.1", "1.2.3.4", "10.0.0.1" },
    { "the peer is not trusted", "192.168.0.0/16", "10.0.0.1", "1.2.3.4", "10.0.0.1" },
    { "a trusted peer's word", "10.0.0.0/8", "10.0.0.1", "1.2.3.4", "1.2.3.4" },
    { "the right-most one that is not ours", "10.0.0.0/8", "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.2.2.2",
      "1.2.3.4" },
    { "what a client forged stays on the left", "10.0.0.1", "10.0.0.1", "127.0.0.1, 1.2.3.4",
      "1.2.3.4" },
    { "all of them are ours", "10.0.0.0/8", "10.0.0.1", "10.1.1.1,10.2.2.2", "10.0.0.1" },
    { "no header", "10.0.0.0/8", "10.0.0.1", NULL, "10.0.0.1" },
    { "an empty header", "10.0.0.0/8", "10.0.0.1", "", "10.0.0.1" },
    { "no address at all", "10.0.0.0/8", "10.0.0.1", "unknown", "10.0.0.1" },
    { "a port behind it", "10.0.0.0/8", "10.0.0.1", "1.2.3.4:4711", "1.2.3.4" },
    { "IPv6 with brackets and port", "::1", "::1", "[2001:db8::7]:80", "2001:db8::7" },
    { "an IPv6 prefix", "2001:db8::/33", "2001:db8:1::1", "1.2.3.4", "1.2.3.4" },
    { "outside of an IPv6 prefix", "2001:db8::/33", "2001:db8:8000::1", "1.2.3.4",
      "2001:db8:8000::1" },
    { "a line of its own for each proxy", "10.0.0.0/8", "10.0.0.1", "6.6.6.6|1.2.3.4", "1.2.3.4" },
    { "a forged line before the proxy's", "10.0.0.1", "10.0.0.1", "1.1.1.1, 2.2.2.2|1.2.3.4",
      "1.2.3.4" },
    { "lines of two proxies", "10.0.0.0/8", "10.0.0.1", "6.6.6.6|1.2.3.4, 10.3.3.3|10.2.2.2",
      "1.2.3.4" },
    { "an empty last line", "10.0.0.0/8", "10.0.0.1", "1.2.3.4|", "1.2.3.4" },
    { "empty elements", "10.0.0.0/8", "10.0.0.1", "6.6.6.6, 1.2.3.4,, ", "1.2.3.4" },
    { "a last line that is no address", "10.0.0.0/8", "10.0.0.1", "1.2.3.4|unknown", "10.0.0.1" },
    { "a v4 prefix is not a v6 one", "0.0.0.0/0", "::1", "1.2.3.4", "::1" },
};

static void client_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ips) / sizeof(ips[0]); i++) {
        const struct ip_case *c = &ips[i];
        struct tr_http_header lines[4];
        struct tr_str rest = tr_str_of(c->forwarded);
        size_t n = 0;

        while (c->forwarded != NULL && rest.p != NULL)
            lines[n++] =
                (struct tr_http_header){ TR_STR("X-Forwarded-For"), tr_str_cut(rest, '|', &rest) };
        struct tr_http_request r = request_with(lines, n);
        struct intake_proxies *p = NULL;
        struct tr_err err = { 0 };
        char out[TR_HTTP_PEER_TEXT];

        print_message("  %s\n", c->name);
        r.peer = c->peer;
        assert_int_equal(intake_proxies_parse(c->trusted, &p, &err), TR_OK);
        assert_string_equal(intake_client_ip(p, &r, out), c->want);
        intake_proxies_free(p);
    }
}

static void bad_proxy_lists_are_refused(void **state)
{
    static const char *const bad[] = { "10.0.0.0/33",
                                       "10.0.0",
                                       "x",
                                       "10.0.0.0/",
                                       "10.0.0.0/-1",
                                       "::/129",
                                       "10.0.0.0/8 192.168.0.0/16" };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct intake_proxies *p = NULL;
        struct tr_err err = { 0 };

        print_message("  %s\n", bad[i]);
        assert_int_equal(intake_proxies_parse(bad[i], &p, &err), TR_INVALID);
        assert_string_equal(err.id, "intake.bad_proxy");
        assert_null(p);
    }
}

static struct tr_intake *intake_without_store(void)
{
    struct tr_intake_options o = { .max_batch_bytes = 1000, .max_single_bytes = 1000 };
    struct tr_intake *t = NULL;
    struct tr_err err = { 0 };

    assert_int_equal(tr_intake_new(&o, &t, &err), TR_OK);
    return t;
}

static void tokens_are_found_whole(void **state)
{
    static const struct tr_intake_token tokens[] = { { "phc_b", 2 }, { "phc_a", 1 }, { "p", 3 } };
    struct tr_intake *t = intake_without_store();
    struct tr_err err = { 0 };
    int32_t project = 0;

    (void)state;
    assert_false(intake_tokens_find(t->tokens, TR_STR("phc_a"), &project));
    assert_int_equal(tr_intake_set_tokens(t, tokens, 3, &err), TR_OK);
    assert_true(intake_tokens_find(t->tokens, TR_STR("phc_a"), &project));
    assert_int_equal(project, 1);
    assert_true(intake_tokens_find(t->tokens, TR_STR("p"), &project));
    assert_int_equal(project, 3);
    assert_false(intake_tokens_find(t->tokens, TR_STR("phc_"), &project));
    assert_false(intake_tokens_find(t->tokens, TR_STR("phc_aa"), &project));
    assert_false(intake_tokens_find(t->tokens, TR_STR("phc_a\0"), &project));
    assert_false(intake_tokens_find(t->tokens, TR_STR(""), &project));
    assert_int_equal(tr_intake_set_tokens(t, tokens, 0, &err), TR_OK);
    assert_false(intake_tokens_find(t->tokens, TR_STR("phc_a"), &project));
    tr_intake_free(t);
}

static void unknown_tokens_are_remembered_within_bounds(void **state)
{
    struct tr_intake *t = intake_without_store();
    struct tr_intake_unknown got[INTAKE_UNKNOWN + 10];

    (void)state;
    assert_int_equal(tr_intake_unknown_tokens(t, got, 10), 0);
    for (int i = 0; i < 200; i++) {
        char token[16];

        (void)snprintf(token, sizeof(token), "phc_%d", i);
        intake_unknown_note(&t->unknown, tr_str_of(token), i);
        intake_unknown_note(&t->unknown, TR_STR("phc_often"), i);
    }
    intake_unknown_note(&t->unknown, TR_STR("phc_last"), 1000);
    assert_int_equal(tr_intake_unknown_tokens(t, got, INTAKE_UNKNOWN + 10), INTAKE_UNKNOWN);
    assert_string_equal(got[0].token, "phc_last");
    assert_int_equal(got[0].requests, 1);
    assert_int_equal(got[0].last_at, 1000);
    assert_string_equal(got[1].token, "phc_often");
    assert_int_equal(got[1].requests, 200);
    assert_string_equal(got[2].token, "phc_199");
    tr_intake_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cors_mirrors_what_the_page_says),
        cmocka_unit_test(start_up_answers_are_what_sdks_need),
        cmocka_unit_test(client_addresses),
        cmocka_unit_test(bad_proxy_lists_are_refused),
        cmocka_unit_test(tokens_are_found_whole),
        cmocka_unit_test(unknown_tokens_are_remembered_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
