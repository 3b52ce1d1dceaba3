/* What is said to Google's token and IAM services, and what their answers mean. Pure: no network,
 * no clock.
 *
 * Shapes: "Using OAuth 2.0 for Server to Server Applications" (developers.google.com), IAM Service
 * Account Credentials API v1 generateAccessToken, IAM API v1 serviceAccounts.get.
 */
#ifndef TR_AUTH_GOOGLE_WIRE_H
#define TR_AUTH_GOOGLE_WIRE_H

#include "auth/google_key.h"
#include "base/buf.h"

enum { TR_GOOGLE_TOKEN_MAX = 16384, TR_GOOGLE_LIFETIME_S = 3600 };

/* The form that asks for a token: a signed assertion of this instant. out is to be wiped. */
TR_MUST_USE enum tr_rc tr_google_write_assertion(const struct tr_google_key *k, const char *scope,
                                                 int64_t now_us, struct tr_buf *out,
                                                 struct tr_err *err);

/* The answer to it, or the metadata server's: appends the token to ret_token (to be wiped) and says
 * how many seconds it is good for. date: the answer's Date header or empty; now_us: this machine's
 * clock, for the sentence that says how far it is off. */
TR_MUST_USE enum tr_rc tr_google_read_token(int status, struct tr_str body, const char *date,
                                            int64_t now_us, struct tr_buf *ret_token,
                                            int64_t *ret_seconds, struct tr_err *err);

/* Body of generateAccessToken. */
void tr_google_write_impersonation(const char *scope, struct tr_buf *out);
/* email: the account that was asked for; now_us: Google's clock, as far as known. Errors of a
 * set-up that Google may just not have spread yet have the id "google.may_not_impersonate". */
TR_MUST_USE enum tr_rc tr_google_read_impersonation(int status, struct tr_str body,
                                                    const char *email, int64_t now_us,
                                                    struct tr_buf *ret_token, int64_t *ret_seconds,
                                                    struct tr_err *err);

/* The answer of serviceAccounts.get: is this account one that this organization may use? TR_OK, or
 * TR_REFUSED "google.not_owner" (the description does not say so), "google.may_not_look",
 * "google.account_disabled". */
TR_MUST_USE enum tr_rc tr_google_read_owner(int status, struct tr_str body, const char *email,
                                            const char *organization, struct tr_err *err);

/* description holds "posthog:<organization>" or "tailrace:<organization>" as a whole: what stands
 * before and after is no letter, digit, '-' or '_'. */
bool tr_google_owns(struct tr_str description, const char *organization);

#endif
