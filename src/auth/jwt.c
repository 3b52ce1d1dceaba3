#include "auth/jwt.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

enum { RSA_BITS_MIN = 2048, SIGNATURE_MAX = 1024 };

void tr_base64url_add(struct tr_buf *out, struct tr_str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;

    for (; i + 3 <= s.n; i += 3) {
        unsigned v = (unsigned)p[i] << 16 | (unsigned)p[i + 1] << 8 | p[i + 2];
        tr_buf_ch(out, digits[v >> 18]);
        tr_buf_ch(out, digits[v >> 12 & 63]);
        tr_buf_ch(out, digits[v >> 6 & 63]);
        tr_buf_ch(out, digits[v & 63]);
    }
    if (i == s.n)
        return;
    unsigned v = (unsigned)p[i] << 16 | (i + 1 < s.n ? (unsigned)p[i + 1] << 8 : 0);
    tr_buf_ch(out, digits[v >> 18]);
    tr_buf_ch(out, digits[v >> 12 & 63]);
    if (i + 1 < s.n)
        tr_buf_ch(out, digits[v >> 6 & 63]);
}

/* OpenSSL would ask at the terminal for the passphrase of an encrypted key. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

    BIO_free(bio);
    if (key != NULL && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

static enum tr_rc bad_key(struct tr_err *err, const char *why)
{
    return tr_fail(err, TR_INVALID, "jwt.key",
                   "paste the whole text, from BEGIN PRIVATE KEY to END PRIVATE KEY",
                   "private_key %s", why);
}

enum tr_rc tr_rsa_key_check(const char *pem, struct tr_err *err)
{
    EVP_PKEY *key = read_key(pem);

    if (key == NULL)
        return bad_key(err, "is no RSA private key in PEM form");
    bool small = EVP_PKEY_get_bits(key) < RSA_BITS_MIN;
    EVP_PKEY_free(key);
    return small ? bad_key(err, "has fewer than 2048 bits") : TR_OK;
}

static bool sign(EVP_PKEY *key, struct tr_str text, unsigned char *out, size_t *ret_n)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    *ret_n = SIGNATURE_MAX;
    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, out, ret_n, (const unsigned char *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

enum tr_rc tr_jwt_rs256(const char *pem, struct tr_str header, struct tr_str claims,
                        struct tr_buf *out, struct tr_err *err)
{
    unsigned char signature[SIGNATURE_MAX];
    size_t start = out->n;
    size_t n = 0;

    EVP_PKEY *key = read_key(pem);
    if (key == NULL)
        return bad_key(err, "is no RSA private key in PEM form");
    tr_base64url_add(out, header);
    tr_buf_ch(out, '.');
    tr_base64url_add(out, claims);
    bool signed_it = !out->failed && EVP_PKEY_get_size(key) <= SIGNATURE_MAX &&
                     sign(key, (struct tr_str){ out->p + start, out->n - start }, signature, &n);
    EVP_PKEY_free(key);
    if (out->failed)
        return tr_fail_oom(err);
    if (!signed_it)
        return tr_fail(err, TR_INTERNAL, "jwt.openssl", NULL, "OpenSSL did not sign");
    tr_buf_ch(out, '.');
    tr_base64url_add(out, (struct tr_str){ (char *)signature, n });
    return out->failed ? tr_fail_oom(err) : TR_OK;
}
