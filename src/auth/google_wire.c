#include "auth/google_wire.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "auth/jwt.h"
#include "auth/seal.h"
#include "base/time.h"
#include "net/http_client.h"

enum { CLAIMS_MAX = 8192, SAID_MAX = 200 };

static void json_cleanup(json_t **j)
{
    json_decref(*j);
}

/* ---- the assertion ---- */

enum tr_rc tr_google_write_assertion(const struct tr_google_key *k, const char *scope,
                                     int64_t now_us, struct tr_buf *out, struct tr_err *err)
{
    struct tr_buf header, claims;
    int64_t now_s = now_us / TR_US_PER_S;

    tr_buf_init(&header, CLAIMS_MAX);
    tr_buf_init(&claims, CLAIMS_MAX);
    tr_buf_z(&header, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
    if (k->private_key_id[0] != '\0') {
        tr_buf_z(&header, ",\"kid\":");
        tr_buf_json_str(&header, tr_str_of(k->private_key_id));
    }
    tr_buf_ch(&header, '}');
    tr_buf_z(&claims, "{\"iss\":");
    tr_buf_json_str(&claims, tr_str_of(k->client_email));
    tr_buf_z(&claims, ",\"scope\":");
    tr_buf_json_str(&claims, tr_str_of(scope));
    tr_buf_z(&claims, ",\"aud\":");
    /* Google's address, whatever way leads there (a private endpoint, a proxy): so do its own
     * clients (google-auth, service_account.py), and anything else fails the "audience check". */
    tr_buf_json_str(&claims, TR_STR(TR_GOOGLE_TOKEN_URI));
    tr_buf_printf(&claims, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}", now_s,
                  now_s + TR_GOOGLE_LIFETIME_S);
    tr_buf_z(out, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    enum tr_rc rc =
        header.failed || claims.failed
            ? tr_fail_oom(err)
            : tr_jwt_rs256(k->private_key, tr_buf_view(&header), tr_buf_view(&claims), out, err);
    tr_buf_fini(&header);
    tr_buf_fini(&claims);
    return rc;
}

/* ---- answers in general ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static enum tr_rc bad_answer(struct tr_err *err, int status)
{
    return tr_fail(err, TR_TRANSIENT, "google.bad_answer", NULL,
                   "Google answered %d, and not as documented", status);
}

/* What any of these services says when it is only not well. */
static bool is_passing(int status)
{
    return status == 408 || status == 429 || status >= 500;
}

static enum tr_rc unavailable(struct tr_err *err, int status, const char *said)
{
    return tr_fail(err, TR_TRANSIENT, "google.unavailable", NULL, "Google answered %d: %.*s",
                   status, SAID_MAX, said[0] == '\0' ? "nothing" : said);
}

static enum tr_rc take_token(const json_t *body, const char *name, int status,
                             struct tr_buf *ret_token, struct tr_err *err)
{
    const json_t *token = json_object_get(body, name);
    size_t n = json_string_length(token);

    if (!json_is_string(token) || n == 0 || n > TR_GOOGLE_TOKEN_MAX)
        return bad_answer(err, status);
    const char *p = json_string_value(token);
    for (size_t i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] > '~') /* it goes into a header */
            return bad_answer(err, status);
    tr_buf_add(ret_token, p, n);
    return ret_token->failed ? tr_fail_oom(err) : TR_OK;
}

/* jansson does not wipe. */
static void wipe_text(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    if (json_is_string(v) && json_string_length(v) > 0)
        explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
}

/* ---- tokens ---- */

static enum tr_rc skewed(const char *date, int64_t now_us, struct tr_err *err)
{
    static const char hint[] = "set this machine's clock, best by NTP";
    int64_t google = 0;

    if (!tr_http_date_parse(date, &google))
        return tr_fail(err, TR_REFUSED, "google.clock_skew", hint,
                       "Google finds the assertion's times wrong: this machine's clock is off");
    int64_t off_s = (now_us - google) / TR_US_PER_S;
    return tr_fail(err, TR_REFUSED, "google.clock_skew", hint,
                   "this machine's clock is %" PRId64 " s %s of Google's: its tokens are not "
                   "accepted",
                   off_s < 0 ? -off_s : off_s, off_s < 0 ? "behind" : "ahead");
}

static const struct {
    const char *error;    /* RFC 6749, section 5.2, and Google's own */
    const char *contains; /* in error_description, or NULL */
    enum tr_rc rc;
    const char *id, *hint;
} token_rules[] = {
    { "invalid_grant", "short-lived token", TR_REFUSED, "google.clock_skew", NULL },
    { "invalid_grant", "iat and exp", TR_REFUSED, "google.clock_skew", NULL },
    { "invalid_grant", "audience", TR_REFUSED, "google.audience",
      "the key is good, but token_uri leads to a place that is not Google's token endpoint: leave "
      "it "
      "as it is in the key file" },
    { "invalid_grant", "account not found", TR_REFUSED, "google.no_account",
      "the service account was deleted or its e-mail is wrong: make a new key of one that exists" },
    { "invalid_grant", "Signature", TR_REFUSED, "google.key_refused",
      "the key was deleted or belongs to another account: create a new key and give its file" },
    { "invalid_grant", NULL, TR_REFUSED, "google.key_refused",
      "the key was deleted or disabled, or its service account was: create a new key and give its "
      "file" },
    { "invalid_client", NULL, TR_REFUSED, "google.no_account",
      "the service account was deleted or its e-mail is wrong: make a new key of one that exists" },
    { "deleted_client", NULL, TR_REFUSED, "google.no_account",
      "the service account was deleted: make a new key of one that exists" },
    { "disabled_client", NULL, TR_REFUSED, "google.account_disabled",
      "enable the service account in Google Cloud" },
    { "internal_failure", NULL, TR_TRANSIENT, "google.unavailable", NULL },
    { "temporarily_unavailable", NULL, TR_TRANSIENT, "google.unavailable", NULL },
};

static enum tr_rc refuse_token(int status, const json_t *body, const char *date, int64_t now_us,
                               struct tr_err *err)
{
    const char *error = text_of(body, "error");
    const char *said = text_of(body, "error_description");

    if (is_passing(status))
        return unavailable(err, status, error);
    for (size_t i = 0; i < sizeof(token_rules) / sizeof(token_rules[0]); i++) {
        if (strcmp(token_rules[i].error, error) != 0 ||
            (token_rules[i].contains != NULL && strstr(said, token_rules[i].contains) == NULL))
            continue;
        if (strcmp(token_rules[i].id, "google.clock_skew") == 0)
            return skewed(date, now_us, err);
        return tr_fail(err, token_rules[i].rc, token_rules[i].id, token_rules[i].hint,
                       "Google gives no token: %s: %.*s", error, SAID_MAX, said);
    }
    return tr_fail(err, TR_REFUSED, "google.token_refused", NULL,
                   "Google gives no token (%d): %.60s: %.*s", status, error, SAID_MAX, said);
}

enum tr_rc tr_google_read_token(int status, struct tr_str body, const char *date, int64_t now_us,
                                struct tr_buf *ret_token, int64_t *ret_seconds, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = json_loadb(body.p == NULL ? "" : body.p, body.n, 0, NULL);

    if (status != 200)
        return refuse_token(status, j, date, now_us, err);
    int64_t seconds = json_integer_value(json_object_get(j, "expires_in"));
    enum tr_rc rc = take_token(j, "access_token", status, ret_token, err);
    wipe_text(j, "access_token");
    if (rc != TR_OK)
        return rc;
    if (seconds <= 0 || seconds > 12 * 3600)
        seconds = TR_GOOGLE_LIFETIME_S;
    *ret_seconds = seconds;
    return TR_OK;
}

/* ---- impersonation ---- */

void tr_google_write_impersonation(const char *scope, struct tr_buf *out)
{
    tr_buf_z(out, "{\"scope\":[");
    tr_buf_json_str(out, tr_str_of(scope));
    tr_buf_printf(out, "],\"lifetime\":\"%ds\"}", TR_GOOGLE_LIFETIME_S);
}

static const char *said_in(const json_t *body)
{
    return text_of(json_object_get(body, "error"), "message");
}

/* An API that nobody has turned on in the project: google.rpc.ErrorInfo, reason SERVICE_DISABLED.
 */
static bool is_disabled_api(const json_t *body)
{
    return strstr(said_in(body), "has not been used in project") != NULL ||
           strstr(said_in(body), "it is disabled") != NULL;
}

static enum tr_rc disabled_api(struct tr_err *err, const char *said)
{
    return tr_fail(err, TR_REFUSED, "google.api_disabled",
                   "enable the API named in the message in the Google Cloud project", "%.*s",
                   SAID_MAX, said);
}

enum tr_rc tr_google_read_impersonation(int status, struct tr_str body, const char *email,
                                        int64_t now_us, struct tr_buf *ret_token,
                                        int64_t *ret_seconds, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = json_loadb(body.p == NULL ? "" : body.p, body.n, 0, NULL);
    int64_t expires = 0;

    if (status != 200 && is_passing(status))
        return unavailable(err, status, said_in(j));
    if (status != 200 && is_disabled_api(j))
        return disabled_api(err, said_in(j));
    if (status != 200)
        return tr_fail(err, TR_REFUSED, "google.may_not_impersonate",
                       "grant this server's own account the role Service Account Token Creator on "
                       "that service account; Google may take some minutes to apply it",
                       "%s cannot be impersonated (%d): %.*s", email, status, SAID_MAX, said_in(j));
    enum tr_rc rc = take_token(j, "accessToken", status, ret_token, err);
    wipe_text(j, "accessToken");
    if (rc != TR_OK)
        return rc;
    *ret_seconds = TR_GOOGLE_LIFETIME_S;
    if (tr_time_parse(tr_str_of(text_of(j, "expireTime")), &expires) && expires > now_us &&
        (expires - now_us) / TR_US_PER_S < TR_GOOGLE_LIFETIME_S)
        *ret_seconds = (expires - now_us) / TR_US_PER_S;
    return TR_OK;
}

/* ---- ownership ---- */

/* What an id may be made of: beside one of these it would be a part of a longer one. */
static bool is_id_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

static bool holds_token(struct tr_str text, const char *prefix, const char *organization)
{
    size_t head = strlen(prefix), n = head + strlen(organization);

    for (size_t i = 0; n <= text.n && i <= text.n - n; i++) {
        if (memcmp(text.p + i, prefix, head) != 0 ||
            !tr_str_eq_nocase((struct tr_str){ text.p + i + head, n - head },
                              tr_str_of(organization)))
            continue;
        if ((i == 0 || !is_id_char(text.p[i - 1])) &&
            (i + n == text.n || !is_id_char(text.p[i + n])))
            return true;
    }
    return false;
}

bool tr_google_owns(struct tr_str description, const char *organization)
{
    return organization[0] != '\0' && (holds_token(description, "posthog:", organization) ||
                                       holds_token(description, "tailrace:", organization));
}

enum tr_rc tr_google_read_owner(int status, struct tr_str body, const char *email,
                                const char *organization, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = json_loadb(body.p == NULL ? "" : body.p, body.n, 0, NULL);

    if (status != 200 && is_passing(status))
        return unavailable(err, status, said_in(j));
    if (status != 200 && is_disabled_api(j))
        return disabled_api(err, said_in(j));
    if (status != 200)
        return tr_fail(err, TR_REFUSED, "google.may_not_look",
                       "check e-mail and project id, and grant this server's own account "
                       "iam.serviceAccounts.get on that service account (roles/"
                       "iam.serviceAccountViewer); Google may take some minutes to apply it",
                       "the description of %s cannot be read (%d): %.*s", email, status, SAID_MAX,
                       said_in(j));
    if (!json_is_object(j) || strcmp(text_of(j, "email"), email) != 0)
        return bad_answer(err, status);
    if (json_is_true(json_object_get(j, "disabled")))
        return tr_fail(err, TR_REFUSED, "google.account_disabled",
                       "enable the service account in Google Cloud", "%s is disabled", email);
    if (!tr_google_owns(tr_str_of(text_of(j, "description")), organization))
        return tr_fail(err, TR_REFUSED, "google.not_owner",
                       "put that text into the service account's description in Google Cloud; "
                       "Google may take some minutes to show it",
                       "tailrace:%s does not stand in the description of %s", organization, email);
    return TR_OK;
}
