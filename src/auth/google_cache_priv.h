/* What is remembered between calls, for all threads: tokens, and how often an account has refused
 * us lately. Bounded; the oldest goes. Times are the boot-time clock's. */
#ifndef TR_AUTH_GOOGLE_CACHE_PRIV_H
#define TR_AUTH_GOOGLE_CACHE_PRIV_H

#include "base/buf.h"

/* SHA-256 of what the token is of and for. */
struct google_cache_key {
    uint8_t b[32];
};

/* Appends the token when one is there that is good at now_us. */
bool google_cache_get(const struct google_cache_key *k, int64_t now_us, struct tr_buf *ret_token);
void google_cache_put(const struct google_cache_key *k, struct tr_str token, int64_t good_until_us);
/* Only if it is still this token. */
void google_cache_drop(const struct google_cache_key *k, struct tr_str token);

/* Counts a refusal of an account; how many there were within the last minutes, this one included.
 */
int google_cache_refused(const char *email, int64_t now_us);
void google_cache_accepted(const char *email);

/* Forgets everything. For tests. */
void google_cache_clear(void);

#endif
