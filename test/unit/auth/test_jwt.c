#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "auth/jwt.h"
#include "rfc7515_key.h"

/* RFC 4648, section 10, and two that show the other alphabet. */
static void base64url_has_its_own_alphabet_and_no_padding(void **state)
{
    const struct {
        struct tr_str in;
        const char *out;
    } cases[] = {
        { TR_STR(""), "" },
        { TR_STR("f"), "Zg" },
        { TR_STR("fo"), "Zm8" },
        { TR_STR("foo"), "Zm9v" },
        { TR_STR("foob"), "Zm9vYg" },
        { TR_STR("fooba"), "Zm9vYmE" },
        { TR_STR("foobar"), "Zm9vYmFy" },
        { TR_STR("\xfb\xff\xfe"), "-__-" },
        { TR_STR("\0\0"), "AAA" },
    };
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 100);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tr_buf_clear(&b);
        tr_base64url_add(&b, cases[i].in);
        assert_true(tr_str_is(tr_buf_view(&b), cases[i].out));
    }
    tr_buf_fini(&b);
}

static void signs_as_the_standard_shows(void **state)
{
    static const char want[] =
        "eyJhbGciOiJSUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ."
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W"
        "2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkS"
        "jtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnv"
        "Wh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    struct tr_err err = { 0 };
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 4096);
    assert_int_equal(tr_jwt_rs256(rfc7515_key, TR_STR("{\"alg\":\"RS256\"}"),
                                  TR_STR("{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n "
                                         "\"http://example.com/is_root\":true}"),
                                  &out, &err),
                     TR_OK);
    assert_true(tr_str_is(tr_buf_view(&out), want));
    tr_buf_fini(&out);
    tr_buf_init(&out, 200); /* too small for the signature */
    assert_int_equal(tr_jwt_rs256(rfc7515_key, TR_STR("{}"), TR_STR("{}"), &out, &err),
                     TR_INTERNAL);
    tr_buf_fini(&out);
}

/* A key as PEM text in out. */
static void print_key(EVP_PKEY *key, const char *passphrase, char out[8192])
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_non_null(key);
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(
                         bio, key, passphrase == NULL ? NULL : EVP_aes_128_cbc(), passphrase,
                         passphrase == NULL ? 0 : (int)strlen(passphrase), NULL, NULL),
                     1);
    int n = BIO_read(bio, out, 8191);
    assert_true(n > 0);
    out[n] = '\0';
    BIO_free(bio);
    EVP_PKEY_free(key);
}

static void knows_keys_it_can_sign_with(void **state)
{
    struct tr_err err = { 0 };
    char pem[8192];

    (void)state;
    assert_int_equal(tr_rsa_key_check(rfc7515_key, &err), TR_OK);
    assert_int_equal(tr_rsa_key_check("", &err), TR_INVALID);
    assert_string_equal(err.id, "jwt.key");
    assert_int_equal(tr_rsa_key_check("-----BEGIN PRIVATE KEY-----\nAAAA\n", &err), TR_INVALID);
    print_key(EVP_RSA_gen(1024), NULL, pem);
    assert_int_equal(tr_rsa_key_check(pem, &err), TR_INVALID);
    print_key(EVP_EC_gen("P-256"), NULL, pem);
    assert_int_equal(tr_rsa_key_check(pem, &err), TR_INVALID);
    print_key(EVP_RSA_gen(2048), "secret", pem);
    assert_int_equal(tr_rsa_key_check(pem, &err), TR_INVALID); /* and nobody is asked for it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_has_its_own_alphabet_and_no_padding),
        cmocka_unit_test(signs_as_the_standard_shows),
        cmocka_unit_test(knows_keys_it_can_sign_with),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
