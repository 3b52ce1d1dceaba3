/* Who may use the API: a bearer token whose SHA-256 meta knows. */
#include <pthread.h>

#include "api/api_priv.h"

/* Tokens that were good; a token that was revoked would have to leave it. */
enum { CACHE = 64 };
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const struct tr_api *api;
    uint8_t sha256[32];
} cache[CACHE];

static bool cached(const struct tr_api *a, const uint8_t sha256[32], bool add)
{
    /* A hash is as good as random: its first byte is the place. */
    size_t at = sha256[0] % CACHE;

    (void)pthread_mutex_lock(&cache_lock);
    bool known = cache[at].api == a && memcmp(cache[at].sha256, sha256, 32) == 0;
    if (add) {
        cache[at].api = a;
        memcpy(cache[at].sha256, sha256, 32);
    }
    (void)pthread_mutex_unlock(&cache_lock);
    return known;
}

static const char how_to[] = "send \"Authorization: Bearer <token>\"; the first start wrote one to "
                             "the file owner-token in the data folder";

enum tr_rc api_authorize(struct tr_api *a, const struct api_request *req, struct tr_err *err)
{
    struct tr_str token = { NULL, 0 };
    struct tr_str scheme = tr_str_cut(tr_str_trim(req->authorization), ' ', &token);
    uint8_t sha256[32];
    bool known = false;
    struct tr_meta *meta = api_options(a)->delivery->meta;

    token = tr_str_trim(token);
    if (!tr_str_eq_nocase(scheme, TR_STR("bearer")) || token.n == 0)
        return tr_fail(err, TR_INVALID, "api.no_token", how_to,
                       "authentication credentials were not provided");
    tr_sha256(token, sha256);
    if (cached(a, sha256, false))
        return TR_OK;
    if (meta->ops->token_known(meta, sha256, &known, err) != TR_OK)
        return tr_wrap(err, "look the token up");
    if (!known)
        return tr_fail(err, TR_INVALID, "api.bad_token", how_to, "this token is not known here");
    (void)cached(a, sha256, true);
    return TR_OK;
}
