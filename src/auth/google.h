/* Access to Google's APIs: tokens for a service account, by its key or by impersonation.
 *
 * With a key: a signed assertion is changed for a token. By impersonation: this server's own
 * identity, which the operator gave it, asks for a token of the user's service account. Anybody
 * could name an account that trusts this server; so it must say in its description that it belongs
 * to this organization (tr_google_owner_check).
 *
 * Tokens are kept for as long as they are good, less some minutes, for all threads; by who and what
 * for. Nothing here logs, waits in order to retry, or puts a secret in an error.
 */
#ifndef TR_AUTH_GOOGLE_H
#define TR_AUTH_GOOGLE_H

#include "auth/google_key.h"
#include "base/buf.h"
#include "base/ctx.h"
#include "base/uuid.h"
#include "net/http_client.h"

#define TR_GOOGLE_SCOPE_CLOUD "https://www.googleapis.com/auth/cloud-platform"

struct tr_google_identity {
    const struct tr_google_key *key; /* NULL: impersonate */
    const char *email;               /* of the account to impersonate */
    const char *iam_endpoint;        /* in place of Google's two IAM hosts; NULL: these */
};

/* What the operator gave this process; once, before anything asks for a token.
 * own: NULL or empty: no own identity, nothing can be impersonated. "metadata" or
 * "metadata:HOST:PORT": that of the machine, from its metadata server. Else the JSON text of a key
 * file. TR_INVALID or TR_REFUSED when that is none. */
TR_MUST_USE enum tr_rc tr_google_process_set(const char *own, const struct tr_uuid *organization,
                                             struct tr_err *err);

/* What users may know of it, for the set-up of their accounts: the e-mail of the own identity,
 * "metadata" where only the metadata server knows it (it is not asked), or NULL for none. Stays
 * valid until the next tr_google_process_set. */
const char *tr_google_own_name(void);
/* "tailrace:<organization>": what tr_google_owner_check looks for. Static. */
const char *tr_google_owner_text(void);

/* Appends a token to ret_token, which the caller wipes. scope: what it is for. */
TR_MUST_USE enum tr_rc tr_google_token(const struct tr_ctx *cx, struct tr_http_client *client,
                                       const struct tr_google_identity *who, const char *scope,
                                       struct tr_buf *ret_token, struct tr_err *err);
/* This server's own identity is accepted by Google, today. */
TR_MUST_USE enum tr_rc tr_google_own_check(const struct tr_ctx *cx, struct tr_http_client *client,
                                           struct tr_err *err);
/* That token was refused: the next call gets another. */
void tr_google_token_forget(const struct tr_google_identity *who, const char *scope,
                            struct tr_str token);

/* The account to impersonate belongs to this organization. Google shows a change of its set-up only
 * after a while: the first two refusals within some minutes are TR_THROTTLED (try again in 10 s,
 * then in 20 s), the third is TR_REFUSED. The same holds for tr_google_token's "may not
 * impersonate". Nothing to do, and TR_OK, for an identity with a key. */
TR_MUST_USE enum tr_rc tr_google_owner_check(const struct tr_ctx *cx, struct tr_http_client *client,
                                             const struct tr_google_identity *who,
                                             struct tr_err *err);

#endif
