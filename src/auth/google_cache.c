#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "auth/google_cache_priv.h"
#include "base/hash.h"
#include "base/time.h"

enum { TOKENS = 256, ACCOUNTS = 256 };
#define REFUSALS_LAST_US (3 * TR_US_PER_MIN)

static struct {
    pthread_mutex_t lock;
    struct {
        struct google_cache_key key;
        char *token; /* NULL: free */
        int64_t good_until_us, used;
    } tokens[TOKENS];
    struct {
        uint64_t email; /* its hash; 0: free */
        int64_t last_us;
        int refusals;
    } accounts[ACCOUNTS];
    int64_t use; /* grows with each use of a token */
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void forget(size_t i)
{
    if (cache.tokens[i].token != NULL)
        explicit_bzero(cache.tokens[i].token, strlen(cache.tokens[i].token));
    free(cache.tokens[i].token);
    cache.tokens[i].token = NULL;
}

/* TOKENS when it is not there. */
static size_t find(const struct google_cache_key *k)
{
    size_t i = 0;

    while (i < TOKENS &&
           (cache.tokens[i].token == NULL || memcmp(&cache.tokens[i].key, k, sizeof(*k)) != 0))
        i++;
    return i;
}

bool google_cache_get(const struct google_cache_key *k, int64_t now_us, struct tr_buf *ret_token)
{
    (void)pthread_mutex_lock(&cache.lock);
    size_t i = find(k);
    bool good = i < TOKENS && cache.tokens[i].good_until_us > now_us;
    if (good) {
        cache.tokens[i].used = ++cache.use;
        tr_buf_z(ret_token, cache.tokens[i].token);
    }
    (void)pthread_mutex_unlock(&cache.lock);
    return good;
}

static size_t oldest(void)
{
    size_t at = 0;

    for (size_t i = 0; i < TOKENS; i++) {
        if (cache.tokens[i].token == NULL)
            return i;
        if (cache.tokens[i].used < cache.tokens[at].used)
            at = i;
    }
    return at;
}

void google_cache_put(const struct google_cache_key *k, struct tr_str token, int64_t good_until_us)
{
    char *copy = strndup(token.p, token.n);

    if (copy == NULL) /* it is asked for again */
        return;
    (void)pthread_mutex_lock(&cache.lock);
    size_t i = find(k);
    if (i == TOKENS)
        i = oldest();
    forget(i);
    cache.tokens[i].key = *k;
    cache.tokens[i].token = copy;
    cache.tokens[i].good_until_us = good_until_us;
    cache.tokens[i].used = ++cache.use;
    (void)pthread_mutex_unlock(&cache.lock);
}

void google_cache_drop(const struct google_cache_key *k, struct tr_str token)
{
    (void)pthread_mutex_lock(&cache.lock);
    size_t i = find(k);
    if (i < TOKENS && tr_str_is(token, cache.tokens[i].token))
        forget(i);
    (void)pthread_mutex_unlock(&cache.lock);
}

static uint64_t hash_email(const char *email)
{
    uint64_t h = tr_hash64(email, strlen(email), 0);

    return h == 0 ? 1 : h;
}

/* The account's place, or the one that has been quiet for longest. */
static size_t place_of(uint64_t email)
{
    size_t at = 0;

    for (size_t i = 0; i < ACCOUNTS; i++) {
        if (cache.accounts[i].email == email)
            return i;
        if (cache.accounts[i].last_us < cache.accounts[at].last_us)
            at = i;
    }
    return at;
}

int google_cache_refused(const char *email, int64_t now_us)
{
    uint64_t h = hash_email(email);

    (void)pthread_mutex_lock(&cache.lock);
    size_t i = place_of(h);
    if (cache.accounts[i].email != h || now_us - cache.accounts[i].last_us > REFUSALS_LAST_US)
        cache.accounts[i].refusals = 0;
    cache.accounts[i].email = h;
    cache.accounts[i].last_us = now_us;
    int n = ++cache.accounts[i].refusals;
    (void)pthread_mutex_unlock(&cache.lock);
    return n;
}

void google_cache_accepted(const char *email)
{
    uint64_t h = hash_email(email);

    (void)pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < ACCOUNTS; i++)
        if (cache.accounts[i].email == h)
            cache.accounts[i].refusals = 0;
    (void)pthread_mutex_unlock(&cache.lock);
}

void google_cache_clear(void)
{
    (void)pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < TOKENS; i++)
        forget(i);
    memset(cache.accounts, 0, sizeof(cache.accounts));
    (void)pthread_mutex_unlock(&cache.lock);
}
