#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "auth/google_cache_priv.h"
#include "auth/google_key.h"
#include "auth/google_wire.h"
#include "auth/jwt.h"
#include "base/time.h"
#include "net/http_policy.h"
#include "rfc7515_key.h"

#define NOW   INT64_C(1795253400000000) /* 2026-11-21T09:30:00Z */
#define EMAIL "loader@proj.iam.gserviceaccount.com"
#define ORG   "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"

/* ---- key files ---- */

/* The file that Google makes, with one member changed or (value NULL) taken out. */
static char *key_file(const char *name, const char *value)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", "service_account", "project_id",
                          "proj", "private_key_id", "k1", "private_key", rfc7515_key,
                          "client_email", EMAIL, "token_uri", TR_GOOGLE_TOKEN_URI);

    if (name != NULL && value == NULL)
        (void)json_object_del(j, name);
    else if (name != NULL)
        (void)json_object_set_new(j, name, json_string(value));
    char *text = json_dumps(j, 0);
    json_decref(j);
    return text;
}

static enum tr_rc parse(const char *name, const char *value, struct tr_google_key *k,
                        struct tr_err *err)
{
    char *text = key_file(name, value);
    enum tr_rc rc = tr_google_key_parse(tr_str_of(text), k, err);

    free(text);
    return rc;
}

static void reads_a_key_file(void **state)
{
    struct tr_google_key k = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    assert_int_equal(parse(NULL, NULL, &k, &err), TR_OK);
    assert_string_equal(k.client_email, EMAIL);
    assert_string_equal(k.project_id, "proj");
    assert_string_equal(k.private_key, rfc7515_key);
    assert_string_equal(k.private_key_id, "k1");
    assert_int_equal(tr_google_key_check(&k, &err), TR_OK);
    tr_google_key_fini(&k);
    assert_int_equal(parse("token_uri", NULL, &k, &err), TR_OK);
    assert_string_equal(k.token_uri, TR_GOOGLE_TOKEN_URI);
    tr_google_key_fini(&k);
}

static void refuses_files_that_are_no_keys(void **state)
{
    static const char *const texts[] = {
        "", "[]", "{", "not json", "{\"type\":\"authorized_user\"}", "{\"type\":7}"
    };
    struct tr_google_key k = { 0 };
    struct tr_err err = { 0 };
    char *large = calloc(1, TR_GOOGLE_KEY_FILE_MAX + 2);

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(tr_google_key_parse(tr_str_of(texts[i]), &k, &err), TR_INVALID);
        assert_string_equal(err.id, "google.key_file");
        assert_non_null(err.hint);
    }
    assert_int_equal(parse("private_key", NULL, &k, &err), TR_INVALID);
    assert_int_equal(parse("client_email", "nobody", &k, &err), TR_INVALID);
    assert_int_equal(parse("type", "external_account", &k, &err), TR_INVALID);
    memset(large, ' ', TR_GOOGLE_KEY_FILE_MAX + 1);
    assert_int_equal(tr_google_key_parse(tr_str_of(large), &k, &err), TR_INVALID);
    free(large);
}

static void a_key_leads_to_google_only(void **state)
{
    static const struct {
        const char *uri, *allowed;
        enum tr_rc want;
    } cases[] = {
        { "https://oauth2.googleapis.com/token", NULL, TR_OK },
        { "https://accounts.google.com/o/oauth2/token", NULL, TR_OK },
        { "http://oauth2.googleapis.com/token", NULL, TR_REFUSED },
        { "https://oauth2.googleapis.com:8443/token", NULL, TR_REFUSED },
        { "https://oauth2.googleapis.com.evil.example/token", NULL, TR_REFUSED },
        { "https://169.254.169.254/token", NULL, TR_REFUSED },
        { "http://127.0.0.1:9000/token", NULL, TR_REFUSED },
        { "http://127.0.0.1:9000/token", "127.0.0.1:9000", TR_OK },
        { "http://127.0.0.1:9001/token", "127.0.0.1:9000", TR_REFUSED },
        { "file:///etc/passwd", "127.0.0.1:9000", TR_INVALID },
    };
    struct tr_google_key k = { 0 };
    struct tr_err err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("#  %s\n", cases[i].uri);
        assert_int_equal(tr_egress_set(false, cases[i].allowed, &err), TR_OK);
        assert_int_equal(parse("token_uri", cases[i].uri, &k, &err), TR_OK);
        assert_int_equal(tr_google_key_check(&k, &err), cases[i].want);
        tr_google_key_fini(&k);
    }
    assert_int_equal(tr_egress_set(false, NULL, &err), TR_OK);
    assert_int_equal(parse("private_key", "-----BEGIN PRIVATE KEY-----\nxx\n", &k, &err), TR_OK);
    assert_int_equal(tr_google_key_check(&k, &err), TR_INVALID);
    tr_google_key_fini(&k);
}

/* ---- the assertion ---- */

static void an_assertion_says_who_what_for_and_when(void **state)
{
    static const char form[] =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    struct tr_google_key k = { 0 };
    struct tr_err err = { 0 };
    struct tr_buf out, want;

    (void)state;
    tr_buf_init(&out, 8192);
    tr_buf_init(&want, 8192);
    assert_int_equal(parse(NULL, NULL, &k, &err), TR_OK);
    assert_int_equal(tr_google_write_assertion(&k, "https://scope", NOW, &out, &err), TR_OK);
    tr_buf_z(&want, form);
    assert_int_equal(
        tr_jwt_rs256(rfc7515_key, TR_STR("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"),
                     TR_STR("{\"iss\":\"" EMAIL "\",\"scope\":\"https://scope\",\"aud\":"
                            "\"" TR_GOOGLE_TOKEN_URI "\",\"iat\":1795253400,\"exp\":1795257000}"),
                     &want, &err),
        TR_OK);
    assert_true(tr_str_eq(tr_buf_view(&out), tr_buf_view(&want)));
    tr_google_key_fini(&k);
    tr_buf_fini(&out);
    tr_buf_fini(&want);
}

/* A private endpoint is a way to Google, not somebody else. */
static void an_assertion_is_for_google_whichever_way_it_goes(void **state)
{
    struct tr_google_key k = { 0 };
    struct tr_err err = { 0 };
    struct tr_buf here, there;

    (void)state;
    tr_buf_init(&here, 8192);
    tr_buf_init(&there, 8192);
    assert_int_equal(parse(NULL, NULL, &k, &err), TR_OK);
    assert_int_equal(tr_google_write_assertion(&k, "https://scope", NOW, &here, &err), TR_OK);
    tr_google_key_fini(&k);
    assert_int_equal(parse("token_uri", "https://oauth2-psc.p.googleapis.com/token", &k, &err),
                     TR_OK);
    assert_int_equal(tr_google_write_assertion(&k, "https://scope", NOW, &there, &err), TR_OK);
    tr_google_key_fini(&k);
    assert_true(tr_str_eq(tr_buf_view(&here), tr_buf_view(&there)));
    tr_buf_fini(&here);
    tr_buf_fini(&there);
}

/* ---- answers ---- */

static const struct token_case {
    const char *name;
    int status;
    const char *body, *date;
    enum tr_rc want;
    const char *want_id, *cause;
    int64_t seconds;
} token_cases[] = {
    { "a token", 200, "{\"access_token\":\"ya29.x\",\"expires_in\":3599,\"token_type\":\"Bearer\"}",
      "", TR_OK, NULL, NULL, 3599 },
    { "a token without end is good for an hour", 200, "{\"access_token\":\"t\"}", "", TR_OK, NULL,
      NULL, 3600 },
    { "a 200 without a token is none", 200, "{\"expires_in\":3599}", "", TR_TRANSIENT,
      "google.bad_answer", NULL, 0 },
    { "a token that would break a header is none", 200, "{\"access_token\":\"a\\r\\nX: y\"}", "",
      TR_TRANSIENT, "google.bad_answer", NULL, 0 },
    { "a page of HTML is no token", 200, "<html>sign in</html>", "", TR_TRANSIENT,
      "google.bad_answer", NULL, 0 },
    { "a clock that is ahead", 400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT: Token must be a "
      "short-lived "
      "token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT "
      "claim.\"}",
      "Sat, 21 Nov 2026 09:20:00 GMT", TR_REFUSED, "google.clock_skew",
      "this machine's clock is 600 s ahead of Google's", 0 },
    { "a clock that is behind", 400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"Check your iat and exp values\"}",
      "Sat, 21 Nov 2026 10:30:00 GMT", TR_REFUSED, "google.clock_skew", "3600 s behind", 0 },
    { "a clock that is off, by nobody knows how much", 400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"Check your iat and exp values\"}", "",
      TR_REFUSED, "google.clock_skew", "clock is off", 0 },
    { "a deleted key", 400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}", "",
      TR_REFUSED, "google.key_refused", "Invalid JWT Signature", 0 },
    { "an audience that is not Google's", 400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT: Failed audience check. "
      "The "
      "right audience is https://oauth2.googleapis.com/token\"}",
      "", TR_REFUSED, "google.audience", "audience", 0 },
    { "a deleted account", 400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid grant: account not found\"}",
      "", TR_REFUSED, "google.no_account", NULL, 0 },
    { "a disabled account", 401,
      "{\"error\":\"disabled_client\",\"error_description\":\"The OAuth client was disabled.\"}",
      "", TR_REFUSED, "google.account_disabled", NULL, 0 },
    { "anything else", 400, "{\"error\":\"invalid_scope\",\"error_description\":\"no\"}", "",
      TR_REFUSED, "google.token_refused", "invalid_scope", 0 },
    { "too many", 429, "{}", "", TR_TRANSIENT, "google.unavailable", NULL, 0 },
    { "not well", 503, "", "", TR_TRANSIENT, "google.unavailable", NULL, 0 },
    { "not well, and says it with 400", 400, "{\"error\":\"internal_failure\"}", "", TR_TRANSIENT,
      "google.unavailable", NULL, 0 },
};

static void reads_answers_of_the_token_service(void **state)
{
    struct tr_buf token;

    (void)state;
    tr_buf_init(&token, TR_GOOGLE_TOKEN_MAX);
    for (size_t i = 0; i < sizeof(token_cases) / sizeof(token_cases[0]); i++) {
        const struct token_case *c = &token_cases[i];
        struct tr_err err = { 0 };
        int64_t seconds = 0;

        print_message("#  %s\n", c->name);
        tr_buf_clear(&token);
        assert_int_equal(tr_google_read_token(c->status, tr_str_of(c->body), c->date, NOW, &token,
                                              &seconds, &err),
                         c->want);
        assert_int_equal(seconds, c->seconds);
        if (c->want != TR_OK)
            assert_string_equal(err.id, c->want_id);
        if (c->cause != NULL)
            assert_non_null(strstr(err.cause, c->cause));
        if (c->want == TR_REFUSED && strcmp(c->want_id, "google.token_refused") != 0)
            assert_non_null(err.hint);
    }
    tr_buf_fini(&token);
}

static const char denied[] = "{\"error\":{\"code\":403,\"message\":\"Permission "
                             "'iam.serviceAccounts.getAccessToken' denied on "
                             "resource (or it may not exist).\",\"status\":\"PERMISSION_DENIED\"}}";
static const char turned_off[] =
    "{\"error\":{\"code\":403,\"message\":\"IAM Service Account Credentials API has not been used "
    "in "
    "project 7 before or it is disabled.\",\"status\":\"PERMISSION_DENIED\"}}";

static void reads_answers_of_the_credentials_service(void **state)
{
    static const struct {
        const char *name;
        int status;
        const char *body;
        enum tr_rc want;
        const char *id;
        int64_t seconds;
    } cases[] = {
        { "a token", 200, "{\"accessToken\":\"ya29.y\",\"expireTime\":\"2026-11-21T10:00:00Z\"}",
          TR_OK, NULL, 1800 },
        { "one whose end cannot be read", 200, "{\"accessToken\":\"y\",\"expireTime\":\"soon\"}",
          TR_OK, NULL, 3600 },
        { "no token", 200, "{}", TR_TRANSIENT, "google.bad_answer", 0 },
        { "not granted, or not yet", 403, denied, TR_REFUSED, "google.may_not_impersonate", 0 },
        { "no such account", 404, "{\"error\":{\"message\":\"Not found\"}}", TR_REFUSED,
          "google.may_not_impersonate", 0 },
        { "an API nobody turned on", 403, turned_off, TR_REFUSED, "google.api_disabled", 0 },
        { "not well", 500, "", TR_TRANSIENT, "google.unavailable", 0 },
    };
    struct tr_buf token;

    (void)state;
    tr_buf_init(&token, TR_GOOGLE_TOKEN_MAX);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_err err = { 0 };
        int64_t seconds = 0;

        print_message("#  %s\n", cases[i].name);
        assert_int_equal(tr_google_read_impersonation(cases[i].status, tr_str_of(cases[i].body),
                                                      EMAIL, NOW, &token, &seconds, &err),
                         cases[i].want);
        assert_int_equal(seconds, cases[i].seconds);
        if (cases[i].id != NULL)
            assert_string_equal(err.id, cases[i].id);
    }
    tr_buf_fini(&token);
}

static void the_description_must_hold_the_whole_token(void **state)
{
    static const struct {
        const char *description;
        bool want;
    } cases[] = {
        { "posthog:" ORG, true },
        { "tailrace:" ORG, true },
        { "exports to tailrace:" ORG ", made by Ada", true },
        { "Used by tailrace:" ORG ".", true },
        { "(posthog:" ORG ")", true },
        { "posthog:other posthog:" ORG, true },
        { "tailrace:0190A1B2-C3D4-7E5F-8A9B-0C1D2E3F4A5B", true },
        { "", false },
        { ORG, false },
        { "posthog: " ORG, false },
        { "posthog:" ORG "0", false },
        { "posthog:" ORG "-more", false },
        { "posthog:" ORG "_", false },
        { "notposthog:" ORG, false },
        { "x-posthog:" ORG, false },
        { "posthog:0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5", false },
        { "POSTHOG:" ORG, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("#  %s\n", cases[i].description);
        assert_int_equal(tr_google_owns(tr_str_of(cases[i].description), ORG), cases[i].want);
    }
    assert_false(tr_google_owns(TR_STR("posthog:"), ""));
}

static void reads_answers_about_the_account(void **state)
{
    static const struct {
        const char *name;
        int status;
        const char *body;
        enum tr_rc want;
        const char *id;
    } cases[] = {
        { "ours", 200, "{\"email\":\"" EMAIL "\",\"description\":\"tailrace:" ORG "\"}", TR_OK,
          NULL },
        { "somebody's", 200, "{\"email\":\"" EMAIL "\",\"description\":\"tailrace:other\"}",
          TR_REFUSED, "google.not_owner" },
        { "no description", 200, "{\"email\":\"" EMAIL "\"}", TR_REFUSED, "google.not_owner" },
        { "disabled", 200,
          "{\"email\":\"" EMAIL "\",\"disabled\":true,\"description\":\"tailrace:" ORG "\"}",
          TR_REFUSED, "google.account_disabled" },
        { "another account than asked for", 200,
          "{\"email\":\"evil@x\",\"description\":\"tailrace:" ORG "\"}", TR_TRANSIENT,
          "google.bad_answer" },
        { "not to be looked at", 403, denied, TR_REFUSED, "google.may_not_look" },
        { "an API nobody turned on", 403, turned_off, TR_REFUSED, "google.api_disabled" },
        { "not well", 502, "<html>", TR_TRANSIENT, "google.unavailable" },
        { "nonsense", 200, "[]", TR_TRANSIENT, "google.bad_answer" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_err err = { 0 };

        print_message("#  %s\n", cases[i].name);
        assert_int_equal(
            tr_google_read_owner(cases[i].status, tr_str_of(cases[i].body), EMAIL, ORG, &err),
            cases[i].want);
        if (cases[i].id != NULL)
            assert_string_equal(err.id, cases[i].id);
    }
}

/* ---- the cache ---- */

static void a_token_is_kept_until_it_ends(void **state)
{
    struct google_cache_key a = { { 1 } }, b = { { 2 } };
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 100);
    google_cache_clear();
    assert_false(google_cache_get(&a, 0, &out));
    google_cache_put(&a, TR_STR("one"), 100);
    google_cache_put(&b, TR_STR("two"), 200);
    assert_true(google_cache_get(&a, 99, &out));
    assert_true(tr_str_is(tr_buf_view(&out), "one"));
    assert_false(google_cache_get(&a, 100, &out));
    tr_buf_clear(&out);
    assert_true(google_cache_get(&b, 100, &out));
    assert_true(tr_str_is(tr_buf_view(&out), "two"));
    google_cache_drop(&b, TR_STR("older")); /* somebody else has a newer one by now */
    assert_true(google_cache_get(&b, 100, &out));
    google_cache_drop(&b, TR_STR("two"));
    assert_false(google_cache_get(&b, 100, &out));
    tr_buf_fini(&out);
    google_cache_clear();
}

static void the_cache_forgets_what_was_not_used_for_longest(void **state)
{
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 100000);
    google_cache_clear();
    for (unsigned i = 0; i < 300; i++) {
        struct google_cache_key k = { { (uint8_t)i, (uint8_t)(i >> 8) } };
        struct google_cache_key first = { { 0 } };

        google_cache_put(&k, TR_STR("t"), 100);
        assert_true(google_cache_get(&k, 0, &out));
        assert_true(google_cache_get(&first, 0, &out)); /* in use all the time */
    }
    struct google_cache_key second = { { 1 } };
    assert_false(google_cache_get(&second, 0, &out));
    tr_buf_fini(&out);
    google_cache_clear();
}

static void refusals_are_counted_for_some_minutes(void **state)
{
    int64_t t = TR_US_PER_HOUR;

    (void)state;
    google_cache_clear();
    assert_int_equal(google_cache_refused("a@x", t), 1);
    assert_int_equal(google_cache_refused("a@x", t + TR_US_PER_MIN), 2);
    assert_int_equal(google_cache_refused("b@x", t), 1);
    assert_int_equal(google_cache_refused("a@x", t + 2 * TR_US_PER_MIN), 3);
    google_cache_accepted("a@x");
    assert_int_equal(google_cache_refused("a@x", t + 2 * TR_US_PER_MIN), 1);
    assert_int_equal(google_cache_refused("a@x", t + TR_US_PER_HOUR), 1); /* long ago */
    google_cache_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_key_file),
        cmocka_unit_test(refuses_files_that_are_no_keys),
        cmocka_unit_test(a_key_leads_to_google_only),
        cmocka_unit_test(an_assertion_says_who_what_for_and_when),
        cmocka_unit_test(an_assertion_is_for_google_whichever_way_it_goes),
        cmocka_unit_test(reads_answers_of_the_token_service),
        cmocka_unit_test(reads_answers_of_the_credentials_service),
        cmocka_unit_test(the_description_must_hold_the_whole_token),
        cmocka_unit_test(reads_answers_about_the_account),
        cmocka_unit_test(a_token_is_kept_until_it_ends),
        cmocka_unit_test(the_cache_forgets_what_was_not_used_for_longest),
        cmocka_unit_test(refusals_are_counted_for_some_minutes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
