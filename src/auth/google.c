#include "auth/google.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/google_cache_priv.h"
#include "auth/google_wire.h"
#include "auth/seal.h"
#include "base/time.h"
#include "os/clock.h"

#define METADATA_HOST "metadata.google.internal"

enum {
    EARLY_S = 300, /* a token is not used for its last minutes: a call may take that long */
    ANSWER_MAX = 65536,
    FORM_MAX = 65536,
    URL_MAX = 1024,
    TRIES = 3, /* of a set-up that Google may not have spread yet */
    FIRST_WAIT_S = 10,
};

/* Written once at start. */
static struct {
    bool has_key, metadata;
    struct tr_google_key key;
    char metadata_host[TR_HTTP_SHORT];
    char organization[TR_UUID_TEXT];
    char owner_text[sizeof("tailrace:") + TR_UUID_TEXT];
} own;

/* ---- the process ---- */

enum tr_rc tr_google_process_set(const char *text, const struct tr_uuid *organization,
                                 struct tr_err *err)
{
    static const char metadata[] = "metadata";
    struct tr_google_key key = { 0 };
    bool none = text == NULL || text[0] == '\0';
    bool from_metadata = !none && strncmp(text, metadata, sizeof(metadata) - 1) == 0;
    const char *host = from_metadata ? text + sizeof(metadata) - 1 : "";

    if (from_metadata && host[0] != '\0' && host[0] != ':')
        return tr_fail(err, TR_INVALID, "google.identity", NULL,
                       "the own identity is a key file, metadata, or metadata:HOST:PORT");
    if (!none && !from_metadata) {
        enum tr_rc rc = tr_google_key_parse(tr_str_of(text), &key, err);
        if (rc == TR_OK)
            rc = tr_google_key_check(&key, err);
        if (rc != TR_OK) {
            tr_google_key_fini(&key);
            return tr_wrap(err, "the own identity");
        }
    }
    tr_google_key_fini(&own.key);
    own.key = key;
    own.has_key = !none && !from_metadata;
    own.metadata = from_metadata;
    (void)snprintf(own.metadata_host, sizeof(own.metadata_host), "%s",
                   host[0] == '\0' ? METADATA_HOST : host + 1);
    tr_uuid_format(organization, own.organization);
    (void)snprintf(own.owner_text, sizeof(own.owner_text), "tailrace:%s", own.organization);
    google_cache_clear();
    return TR_OK;
}

const char *tr_google_own_name(void)
{
    if (own.has_key)
        return own.key.client_email;
    return own.metadata ? "metadata" : NULL;
}

const char *tr_google_owner_text(void)
{
    return own.owner_text;
}

/* ---- calls ---- */

struct reply {
    struct tr_http_answer http;
    int64_t now_us; /* Google's clock where it told it, else this machine's */
};

static void reply_cleanup(struct reply *r)
{
    tr_wipe(&r->http.body);
}

/* token NULL: without one. */
static enum tr_rc call(const struct tr_ctx *cx, struct tr_http_client *client, const char *method,
                       const char *url, const char *kind, struct tr_str body,
                       const struct tr_buf *token, struct reply *ret, struct tr_err *err)
{
    char *bearer = NULL;
    const char *headers[4] = { kind };
    size_t n = kind == NULL ? 0 : 1;
    struct tr_http_call c = { .method = method, .url = url, .headers = headers, .body = body };

    tr_buf_init(&ret->http.body, ANSWER_MAX);
    if (token != NULL) {
        if (asprintf(&bearer, "Authorization: Bearer %.*s", (int)token->n, token->p) < 0)
            return tr_fail_oom(err);
        headers[n++] = bearer;
    }
    headers[n] = NULL;
    enum tr_rc rc = tr_http_client_call(cx, client, &c, &ret->http, err);
    if (bearer != NULL)
        explicit_bzero(bearer, strlen(bearer));
    free(bearer);
    /* None of these calls changes anything: to ask again is safe. */
    if (rc == TR_AMBIGUOUS && err != NULL)
        err->rc = TR_TRANSIENT;
    if (rc == TR_OK && !tr_http_date_parse(ret->http.date, &ret->now_us))
        ret->now_us = tr_clock_wall_us();
    return rc == TR_AMBIGUOUS ? TR_TRANSIENT : rc;
}

/* ---- tokens at their source ---- */

static enum tr_rc fetch_by_key(const struct tr_ctx *cx, struct tr_http_client *client,
                               const struct tr_google_key *key, const char *scope,
                               struct tr_buf *ret_token, int64_t *ret_seconds, struct tr_err *err)
{
    TR_CLEANUP(reply_cleanup) struct reply r = { 0 };
    TR_CLEANUP(tr_wipe) struct tr_buf form;

    tr_buf_init(&form, FORM_MAX);
    enum tr_rc rc = tr_google_write_assertion(key, scope, tr_clock_wall_us(), &form, err);
    if (rc == TR_OK)
        rc = call(cx, client, "POST", key->token_uri,
                  "Content-Type: application/x-www-form-urlencoded", tr_buf_view(&form), NULL, &r,
                  err);
    if (rc != TR_OK)
        return rc;
    return tr_google_read_token(r.http.status, tr_buf_view(&r.http.body), r.http.date,
                                tr_clock_wall_us(), ret_token, ret_seconds, err);
}

static enum tr_rc fetch_by_metadata(const struct tr_ctx *cx, struct tr_http_client *client,
                                    struct tr_buf *ret_token, int64_t *ret_seconds,
                                    struct tr_err *err)
{
    static const char *const headers[] = { "Metadata-Flavor: Google", NULL };
    TR_CLEANUP(reply_cleanup) struct reply r = { 0 };
    char url[URL_MAX];
    struct tr_http_call c = { .method = "GET", .url = url, .headers = headers, .metadata = true };

    (void)snprintf(url, sizeof(url),
                   "http://%s/computeMetadata/v1/instance/service-accounts/default/token"
                   "?scopes=" TR_GOOGLE_SCOPE_CLOUD,
                   own.metadata_host);
    tr_buf_init(&r.http.body, ANSWER_MAX);
    enum tr_rc rc = tr_http_client_call(cx, client, &c, &r.http, err);
    if (rc == TR_AMBIGUOUS) {
        rc = TR_TRANSIENT;
        if (err != NULL)
            err->rc = rc;
    }
    if (rc != TR_OK)
        return tr_wrap(err, "ask the metadata server");
    if (r.http.status == 404)
        return tr_fail(err, TR_REFUSED, "google.no_own_account",
                       "attach a service account to this machine, or give --google-identity a key "
                       "file",
                       "the metadata server knows no service account of this machine");
    rc = tr_google_read_token(r.http.status, tr_buf_view(&r.http.body), r.http.date,
                              tr_clock_wall_us(), ret_token, ret_seconds, err);
    return rc == TR_OK ? rc : tr_wrap(err, "ask the metadata server");
}

/* ---- the cache ---- */

static void hash_part(EVP_MD_CTX *md, const char *text)
{
    if (text != NULL)
        (void)EVP_DigestUpdate(md, text, strlen(text));
    (void)EVP_DigestUpdate(md, "", 1); /* its NUL, so that parts do not run together */
}

static bool make_key(const struct tr_google_identity *who, const char *scope,
                     struct google_cache_key *ret)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

    if (ok) {
        hash_part(md, scope);
        hash_part(md, who == NULL || who->key == NULL ? NULL : who->key->client_email);
        hash_part(md, who == NULL || who->key == NULL ? NULL : who->key->token_uri);
        hash_part(md, who == NULL || who->key == NULL ? NULL : who->key->private_key);
        hash_part(md, who == NULL ? NULL : who->email);
        hash_part(md, who == NULL ? NULL : who->iam_endpoint);
        ok = EVP_DigestFinal_ex(md, ret->b, NULL) == 1;
    }
    EVP_MD_CTX_free(md);
    return ok;
}

static void keep(const struct google_cache_key *k, const struct tr_buf *token, size_t from,
                 int64_t seconds)
{
    int64_t early = seconds / 2 < EARLY_S ? seconds / 2 : EARLY_S;

    google_cache_put(k, (struct tr_str){ token->p + from, token->n - from },
                     tr_clock_boot_us() + (seconds - early) * TR_US_PER_S);
}

void tr_google_token_forget(const struct tr_google_identity *who, const char *scope,
                            struct tr_str token)
{
    struct google_cache_key k;

    if (make_key(who, scope, &k))
        google_cache_drop(&k, token);
}

/* ---- this server's own token ---- */

static enum tr_rc own_token(const struct tr_ctx *cx, struct tr_http_client *client,
                            struct tr_buf *ret_token, struct tr_err *err)
{
    struct google_cache_key k;
    size_t from = ret_token->n;
    int64_t seconds = 0;
    enum tr_rc rc;

    if (!own.has_key && !own.metadata)
        return tr_fail(err, TR_REFUSED, "google.no_own_identity",
                       "start the server with --google-identity, or give a key file instead of an "
                       "e-mail",
                       "this server has no Google identity that could impersonate an account");
    if (!make_key(NULL, TR_GOOGLE_SCOPE_CLOUD, &k))
        return tr_fail_oom(err);
    if (google_cache_get(&k, tr_clock_boot_us(), ret_token))
        return TR_OK;
    if (own.metadata)
        rc = fetch_by_metadata(cx, client, ret_token, &seconds, err);
    else
        rc = fetch_by_key(cx, client, &own.key, TR_GOOGLE_SCOPE_CLOUD, ret_token, &seconds, err);
    if (rc != TR_OK)
        return tr_wrap(err, "get this server's own token");
    keep(&k, ret_token, from, seconds);
    return TR_OK;
}

enum tr_rc tr_google_own_check(const struct tr_ctx *cx, struct tr_http_client *client,
                               struct tr_err *err)
{
    TR_CLEANUP(tr_wipe) struct tr_buf token;

    tr_buf_init(&token, TR_GOOGLE_TOKEN_MAX);
    enum tr_rc rc = own_token(cx, client, &token, err);
    if (rc != TR_OK)
        return rc;
    tr_google_token_forget(NULL, TR_GOOGLE_SCOPE_CLOUD, tr_buf_view(&token));
    tr_wipe(&token);
    return own_token(cx, client, &token, err);
}

/* ---- impersonation ---- */

/* A refusal that may be the set-up of a moment ago, not spread yet. */
static enum tr_rc give_time(const char *email, enum tr_rc rc, struct tr_err *err)
{
    static const char *const may_pass[] = { "google.may_not_impersonate", "google.may_not_look",
                                            "google.not_owner" };
    struct tr_err none = { 0 };
    bool passes = false;

    err = err == NULL ? &none : err;
    for (size_t i = 0; i < sizeof(may_pass) / sizeof(may_pass[0]); i++)
        passes = passes || (err->id != NULL && strcmp(err->id, may_pass[i]) == 0);
    if (rc != TR_REFUSED || !passes)
        return rc;
    (void)tr_wrap(err, "asked as %s",
                  own.has_key ? own.key.client_email : "this machine's account");
    int n = google_cache_refused(email, tr_clock_boot_us());
    if (n >= TRIES)
        return rc;
    err->rc = TR_THROTTLED;
    err->not_before_us = tr_clock_wall_us() + n * FIRST_WAIT_S * TR_US_PER_S;
    return TR_THROTTLED;
}

static enum tr_rc impersonate(const struct tr_ctx *cx, struct tr_http_client *client,
                              const struct tr_google_identity *who, const char *scope,
                              struct tr_buf *ret_token, int64_t *ret_seconds, struct tr_err *err)
{
    TR_CLEANUP(reply_cleanup) struct reply r = { 0 };
    TR_CLEANUP(tr_wipe) struct tr_buf token;
    TR_CLEANUP(tr_buf_fini) struct tr_buf body;
    char url[URL_MAX];

    tr_buf_init(&token, TR_GOOGLE_TOKEN_MAX);
    tr_buf_init(&body, ANSWER_MAX);
    enum tr_rc rc = own_token(cx, client, &token, err);
    if (rc != TR_OK)
        return rc;
    (void)snprintf(url, sizeof(url), "%s/v1/projects/-/serviceAccounts/%s:generateAccessToken",
                   who->iam_endpoint == NULL ? "https://iamcredentials.googleapis.com"
                                             : who->iam_endpoint,
                   who->email);
    tr_google_write_impersonation(scope, &body);
    rc = call(cx, client, "POST", url, "Content-Type: application/json", tr_buf_view(&body), &token,
              &r, err);
    if (rc != TR_OK)
        return rc;
    if (r.http.status == 401)
        tr_google_token_forget(NULL, TR_GOOGLE_SCOPE_CLOUD, tr_buf_view(&token));
    return give_time(who->email,
                     tr_google_read_impersonation(r.http.status, tr_buf_view(&r.http.body),
                                                  who->email, r.now_us, ret_token, ret_seconds,
                                                  err),
                     err);
}

enum tr_rc tr_google_owner_check(const struct tr_ctx *cx, struct tr_http_client *client,
                                 const struct tr_google_identity *who, struct tr_err *err)
{
    TR_CLEANUP(reply_cleanup) struct reply r = { 0 };
    TR_CLEANUP(tr_wipe) struct tr_buf token;
    char url[URL_MAX];

    tr_buf_init(&token, TR_GOOGLE_TOKEN_MAX);
    if (who->key != NULL)
        return TR_OK;
    enum tr_rc rc = own_token(cx, client, &token, err);
    if (rc != TR_OK)
        return rc;
    /* "-": in whatever project it is, which need not be the one of the tables */
    (void)snprintf(url, sizeof(url), "%s/v1/projects/-/serviceAccounts/%s",
                   who->iam_endpoint == NULL ? "https://iam.googleapis.com" : who->iam_endpoint,
                   who->email);
    rc = call(cx, client, "GET", url, NULL, (struct tr_str){ NULL, 0 }, &token, &r, err);
    if (rc != TR_OK)
        return rc;
    if (r.http.status == 401)
        tr_google_token_forget(NULL, TR_GOOGLE_SCOPE_CLOUD, tr_buf_view(&token));
    rc = give_time(who->email,
                   tr_google_read_owner(r.http.status, tr_buf_view(&r.http.body), who->email,
                                        own.organization, err),
                   err);
    if (rc == TR_OK)
        google_cache_accepted(who->email);
    return rc;
}

/* ---- the token that was asked for ---- */

enum tr_rc tr_google_token(const struct tr_ctx *cx, struct tr_http_client *client,
                           const struct tr_google_identity *who, const char *scope,
                           struct tr_buf *ret_token, struct tr_err *err)
{
    struct google_cache_key k;
    size_t from = ret_token->n;
    int64_t seconds = 0;
    enum tr_rc rc;

    if (!make_key(who, scope, &k))
        return tr_fail_oom(err);
    if (google_cache_get(&k, tr_clock_boot_us(), ret_token))
        return ret_token->failed ? tr_fail_oom(err) : TR_OK;
    if (who->key != NULL)
        rc = fetch_by_key(cx, client, who->key, scope, ret_token, &seconds, err);
    else
        rc = impersonate(cx, client, who, scope, ret_token, &seconds, err);
    if (rc != TR_OK)
        return tr_wrap(err, "get a token for %s",
                       who->key != NULL ? who->key->client_email : who->email);
    keep(&k, ret_token, from, seconds);
    return TR_OK;
}
