#include "auth/seal.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "auth/keyring_priv.h"
#include "os/random.h"

/* What a sealed text looks like: format 1, length of the key's id, the id, a random nonce, the
 * ciphertext, the tag. The first three parts and `about` are authenticated with it. */
enum { FORMAT = 1, NONCE = 12, TAG = 16, ABOUT_MAX = 1024, SEALED_MAX = 16 << 20 };

static void ctx_cleanup(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static enum tr_rc library_failed(struct tr_err *err)
{
    return tr_fail(err, TR_INTERNAL, "seal.openssl", NULL, "AES-256-GCM failed in OpenSSL");
}

static enum tr_rc broken(struct tr_err *err, const char *what)
{
    return tr_fail(err, TR_REFUSED, "seal.broken",
                   "the key file may belong to another data folder, or the database was changed",
                   "the sealed secrets cannot be opened: %s", what);
}

/* Sets key and nonce, and takes in what is authenticated but not encrypted. */
static bool set_up(EVP_CIPHER_CTX *ctx, bool seal, const struct key *key,
                   const unsigned char *nonce, struct tr_str head, struct tr_str about)
{
    int n = 0;

    return EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce, seal ? 1 : 0) == 1 &&
           EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)head.p, (int)head.n) == 1 &&
           (about.n == 0 ||
            EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)about.p, (int)about.n) == 1);
}

static enum tr_rc check_sizes(struct tr_str about, struct tr_str text, struct tr_err *err)
{
    if (about.n > ABOUT_MAX || text.n > SEALED_MAX)
        return tr_fail(err, TR_INVALID, "seal.too_long", NULL, "secrets of more than %d bytes",
                       SEALED_MAX);
    return TR_OK;
}

enum tr_rc tr_seal(const struct tr_keyring *k, struct tr_str about, struct tr_str plain,
                   struct tr_buf *out, struct tr_err *err)
{
    TR_CLEANUP(ctx_cleanup) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const struct key *key = &k->keys[0];
    size_t id = strlen(key->id);
    size_t head = 2 + id;
    int n = 0;
    int last = 0;

    enum tr_rc rc = check_sizes(about, plain, err);
    if (rc != TR_OK)
        return rc;
    unsigned char *at = (unsigned char *)tr_buf_reserve(out, head + NONCE + plain.n + TAG);
    if (at == NULL || ctx == NULL)
        return tr_fail_oom(err);

    at[0] = FORMAT;
    at[1] = (unsigned char)id;
    memcpy(at + 2, key->id, id);
    unsigned char *nonce = at + head;
    unsigned char *text = nonce + NONCE;
    tr_random_bytes(nonce, NONCE);
    if (!set_up(ctx, true, key, nonce, (struct tr_str){ (char *)at, head }, about) ||
        (plain.n > 0 &&
         EVP_CipherUpdate(ctx, text, &n, (const unsigned char *)plain.p, (int)plain.n) != 1) ||
        EVP_CipherFinal_ex(ctx, text + n, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, text + plain.n) != 1)
        return library_failed(err);
    tr_buf_used(out, head + NONCE + plain.n + TAG);
    return TR_OK;
}

enum tr_rc tr_unseal(const struct tr_keyring *k, struct tr_str about, struct tr_str sealed,
                     struct tr_buf *out, struct tr_err *err)
{
    TR_CLEANUP(ctx_cleanup) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const unsigned char *in = (const unsigned char *)sealed.p;
    unsigned char tag[TAG];
    int n = 0;
    int last = 0;

    enum tr_rc rc = check_sizes(about, sealed, err);
    if (rc != TR_OK)
        return rc;
    if (sealed.n < 2 || in[0] != FORMAT || sealed.n < 2u + in[1] + NONCE + TAG)
        return broken(err, "they are cut or of an unknown format");
    size_t head = 2u + in[1];
    const struct key *key = keyring_find(k, (struct tr_str){ sealed.p + 2, in[1] });
    if (key == NULL)
        return broken(err, "their key is not in the key file");

    const unsigned char *text = in + head + NONCE;
    size_t size = sealed.n - head - NONCE - TAG;
    unsigned char *at = (unsigned char *)tr_buf_reserve(out, size + 1); /* no NULL for nothing */
    if (at == NULL || ctx == NULL)
        return tr_fail_oom(err);
    memcpy(tag, text + size, TAG);
    if (!set_up(ctx, false, key, in + head, (struct tr_str){ sealed.p, head }, about) ||
        (size > 0 && EVP_CipherUpdate(ctx, at, &n, text, (int)size) != 1) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag) != 1)
        return library_failed(err);
    if (EVP_CipherFinal_ex(ctx, at + n, &last) != 1) {
        explicit_bzero(at, size);
        return broken(err, "they were changed, or sealed for something else");
    }
    tr_buf_used(out, size);
    return TR_OK;
}

void tr_wipe(struct tr_buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->cap);
    tr_buf_fini(b);
}

void tr_sha256(struct tr_str s, uint8_t out[32])
{
    (void)SHA256((const unsigned char *)(s.p == NULL ? "" : s.p), s.n, out);
}
