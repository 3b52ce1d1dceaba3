/* A Google service account's key file, read. Pure. */
#ifndef TR_AUTH_GOOGLE_KEY_H
#define TR_AUTH_GOOGLE_KEY_H

#include "base/err.h"
#include "base/str.h"

#define TR_GOOGLE_TOKEN_URI "https://oauth2.googleapis.com/token"

/* Texts of its own, none of them NULL; private_key is wiped when it goes. */
struct tr_google_key {
    char *client_email, *private_key, *private_key_id, *token_uri;
    char *project_id; /* empty: the file does not say */
};

enum { TR_GOOGLE_KEY_FILE_MAX = 16384 };

/* The file's JSON text. TR_INVALID "google.key_file" says what is missing; the file's contents are
 * never in the error, whatever it is. */
TR_MUST_USE enum tr_rc tr_google_key_parse(struct tr_str json, struct tr_google_key *ret,
                                           struct tr_err *err);
/* The same from its parts; NULL or empty: private_key_id, token_uri (then Google's), project_id. */
TR_MUST_USE enum tr_rc tr_google_key_make(const char *client_email, const char *private_key,
                                          const char *private_key_id, const char *token_uri,
                                          const char *project_id, struct tr_google_key *ret,
                                          struct tr_err *err);
void tr_google_key_fini(struct tr_google_key *k);

/* The key is one that signs, and its token_uri leads to Google or to a host that the operator
 * named: TR_INVALID "jwt.key", TR_REFUSED "google.token_uri". */
TR_MUST_USE enum tr_rc tr_google_key_check(const struct tr_google_key *k, struct tr_err *err);

#endif
