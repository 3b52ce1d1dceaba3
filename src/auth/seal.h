/* Secrets at rest: AES-256-GCM under a key that lives outside the database.
 *
 * A keyring holds one key for sealing and any number of older ones for opening; each has an id that
 * stands in what it sealed. The key file (0600) is made on first start; TAILRACE_KEY overrides it.
 *
 * A key is a line "<id> <64 hex digits>", or the 64 digits alone: then the id is "k" and the first
 * 16 digits of the SHA-256 of the key's bytes.
 */
#ifndef TR_AUTH_SEAL_H
#define TR_AUTH_SEAL_H

#include "base/buf.h"
#include "base/err.h"

struct tr_keyring; /* immutable: any thread */

/* Reads path, or makes it with a fresh random key where may_make; keys stand in it newest first. A
 * file that others may read is TR_REFUSED; so is one that is not there while !may_make and no key
 * is in the environment ("seal.key_lost"). */
TR_MUST_USE enum tr_rc tr_keyring_open(const char *path, bool may_make, struct tr_keyring **ret,
                                       struct tr_err *err);
void tr_keyring_free(struct tr_keyring *k); /* wipes */

/* about binds the sealed bytes to what they belong to (an export's id): opening under another is
 * TR_REFUSED "seal.broken". */
TR_MUST_USE enum tr_rc tr_seal(const struct tr_keyring *k, struct tr_str about, struct tr_str plain,
                               struct tr_buf *out, struct tr_err *err);
/* out must be wiped by the caller (tr_wipe). */
TR_MUST_USE enum tr_rc tr_unseal(const struct tr_keyring *k, struct tr_str about,
                                 struct tr_str sealed, struct tr_buf *out, struct tr_err *err);

/* Overwrites and frees. */
void tr_wipe(struct tr_buf *b);

void tr_sha256(struct tr_str s, uint8_t out[32]);

#endif
