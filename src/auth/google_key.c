#include "auth/google_key.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwt.h"
#include "net/http_policy.h"

static void wipe(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void tr_google_key_fini(struct tr_google_key *k)
{
    free(k->client_email);
    wipe(k->private_key);
    free(k->private_key_id);
    free(k->token_uri);
    free(k->project_id);
    *k = (struct tr_google_key){ 0 };
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text == NULL || text[0] == '\0' ? otherwise : text;
}

enum tr_rc tr_google_key_make(const char *client_email, const char *private_key,
                              const char *private_key_id, const char *token_uri,
                              const char *project_id, struct tr_google_key *ret, struct tr_err *err)
{
    struct tr_google_key k = {
        .client_email = strdup(or_else(client_email, "")),
        .private_key = strdup(or_else(private_key, "")),
        .private_key_id = strdup(or_else(private_key_id, "")),
        .token_uri = strdup(or_else(token_uri, TR_GOOGLE_TOKEN_URI)),
        .project_id = strdup(or_else(project_id, "")),
    };

    if (k.client_email == NULL || k.private_key == NULL || k.private_key_id == NULL ||
        k.token_uri == NULL || k.project_id == NULL) {
        tr_google_key_fini(&k);
        return tr_fail_oom(err);
    }
    *ret = k;
    return TR_OK;
}

static enum tr_rc bad_file(struct tr_err *err, const char *why)
{
    return tr_fail(err, TR_INVALID, "google.key_file",
                   "create a key of the service account, type JSON, and give the file's whole text",
                   "the key file %s", why);
}

static enum tr_rc read_members(const json_t *file, struct tr_google_key *ret, struct tr_err *err)
{
    const char *type = json_string_value(json_object_get(file, "type"));
    const char *email = json_string_value(json_object_get(file, "client_email"));
    const char *key = json_string_value(json_object_get(file, "private_key"));

    if (type == NULL || strcmp(type, "service_account") != 0)
        return bad_file(err, "is not one of a service account (type \"service_account\")");
    if (email == NULL || strchr(email, '@') == NULL)
        return bad_file(err, "has no client_email");
    if (key == NULL)
        return bad_file(err, "has no private_key");
    return tr_google_key_make(email, key,
                              json_string_value(json_object_get(file, "private_key_id")),
                              json_string_value(json_object_get(file, "token_uri")),
                              json_string_value(json_object_get(file, "project_id")), ret, err);
}

/* jansson frees what it read without wiping it: the text of the key is wiped in place first. */
static void wipe_member(json_t *file, const char *name)
{
    json_t *v = json_object_get(file, name);

    if (json_is_string(v) && json_string_length(v) > 0)
        explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
}

enum tr_rc tr_google_key_parse(struct tr_str json, struct tr_google_key *ret, struct tr_err *err)
{
    if (json.n > TR_GOOGLE_KEY_FILE_MAX)
        return bad_file(err, "has more than 16384 bytes");
    json_t *file = json_loadb(json.p == NULL ? "" : json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
    enum tr_rc rc =
        json_is_object(file) ? read_members(file, ret, err) : bad_file(err, "is no JSON object");
    wipe_member(file, "private_key");
    json_decref(file);
    return rc;
}

/* Hosts that give out tokens for service accounts. */
static bool is_googles(const struct tr_url *u)
{
    static const char *const hosts[] = { "oauth2.googleapis.com", "accounts.google.com",
                                         "www.googleapis.com" };

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (u->tls && u->port == 443 && strcmp(u->host, hosts[i]) == 0)
            return true;
    return false;
}

enum tr_rc tr_google_key_check(const struct tr_google_key *k, struct tr_err *err)
{
    struct tr_url u;

    if (tr_url_parse(k->token_uri, &u, err) != TR_OK)
        return tr_wrap(err, "token_uri");
    if (!is_googles(&u) && !tr_egress_is_named(&u))
        return tr_fail(err, TR_REFUSED, "google.token_uri",
                       "use the key file as Google made it; another host must be named by the "
                       "operator with --allow-hosts",
                       "token_uri leads to %s, which is not Google's", u.host);
    return tr_rsa_key_check(k->private_key, err);
}
