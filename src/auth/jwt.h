/* JSON Web Tokens signed with RS256 (RFC 7515, RFC 7519). Pure: no clock, no network. */
#ifndef TR_AUTH_JWT_H
#define TR_AUTH_JWT_H

#include "base/buf.h"

/* Base64 with '-' and '_' and without padding (RFC 4648, section 5). */
void tr_base64url_add(struct tr_buf *out, struct tr_str s);

/* pem holds an RSA private key of 2048 bits or more, without a passphrase: TR_INVALID "jwt.key"
 * otherwise. Nothing of the key is ever in the error. */
TR_MUST_USE enum tr_rc tr_rsa_key_check(const char *pem, struct tr_err *err);

/* Appends "<header>.<claims>.<signature>", each part base64url; header and claims are JSON texts. A
 * smaller key than tr_rsa_key_check() takes is used as it is. */
TR_MUST_USE enum tr_rc tr_jwt_rs256(const char *pem, struct tr_str header, struct tr_str claims,
                                    struct tr_buf *out, struct tr_err *err);

#endif
