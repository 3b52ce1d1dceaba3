/* Sealed secrets and the keyring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/seal.h"
#include "os/file.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

struct folder {
    char dir[64];
    char path[96];
};

static int setup(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/tr-test-seal-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/secret.key", f->dir);
    *state = f;
    return unsetenv("TAILRACE_KEY");
}

static int teardown(void **state)
{
    struct folder *f = *state;

    (void)unlink(f->path);
    int rc = rmdir(f->dir); /* fails when anything else was left there */
    free(f);
    return rc;
}

static struct tr_keyring *open_keys(const char *path)
{
    struct tr_keyring *k = NULL;
    struct tr_err err;

    if (tr_keyring_open(path, true, &k, &err) != TR_OK)
        fail_msg("%s%s", err.where, err.cause);
    return k;
}

static void write_keys(const char *path, const char *text)
{
    struct tr_err err;

    assert_int_equal(tr_file_replace(path, tr_str_of(text), 0600, &err), TR_OK);
}

static struct tr_buf seal(const struct tr_keyring *k, const char *about, struct tr_str plain)
{
    struct tr_buf out;
    struct tr_err err;

    tr_buf_init(&out, 1 << 20);
    assert_int_equal(tr_seal(k, tr_str_of(about), plain, &out, &err), TR_OK);
    return out;
}

static void assert_opens(const struct tr_keyring *k, const char *about, const struct tr_buf *sealed,
                         struct tr_str want)
{
    struct tr_buf out;
    struct tr_err err;

    tr_buf_init(&out, 1 << 20);
    if (tr_unseal(k, tr_str_of(about), tr_buf_view(sealed), &out, &err) != TR_OK)
        fail_msg("%s", err.cause);
    assert_true(tr_str_eq(tr_buf_view(&out), want));
    tr_wipe(&out);
}

static void assert_broken(const struct tr_keyring *k, const char *about, struct tr_str sealed)
{
    struct tr_buf out;
    struct tr_err err = { 0 };

    tr_buf_init(&out, 1 << 20);
    assert_int_equal(tr_unseal(k, tr_str_of(about), sealed, &out, &err), TR_REFUSED);
    assert_string_equal(err.id, "seal.broken");
    assert_int_equal(out.n, 0);
    tr_wipe(&out);
}

static void what_was_sealed_opens_again(void **state)
{
    struct folder *f = *state;
    struct tr_keyring *k = open_keys(f->path);
    static const char *const texts[] = { "", "x", "{\"password\":\"hunter2\"}" };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tr_buf a = seal(k, "export 1", tr_str_of(texts[i]));
        struct tr_buf b = seal(k, "export 1", tr_str_of(texts[i]));

        assert_opens(k, "export 1", &a, tr_str_of(texts[i]));
        assert_int_equal(a.n, b.n);
        assert_memory_not_equal(a.p, b.p, a.n); /* a nonce of its own each time */
        if (texts[i][0] != '\0' && texts[i][1] != '\0')
            assert_null(memmem(a.p, a.n, "hunter2", 7));
        tr_buf_fini(&a);
        tr_buf_fini(&b);
    }
    tr_keyring_free(k);
}

static void opens_only_for_what_it_was_sealed_for(void **state)
{
    struct folder *f = *state;
    struct tr_keyring *k = open_keys(f->path);
    struct tr_buf s = seal(k, "export 1", TR_STR("secret"));

    assert_broken(k, "export 2", tr_buf_view(&s));
    assert_broken(k, "", tr_buf_view(&s));
    tr_buf_fini(&s);
    tr_keyring_free(k);
}

static void any_changed_bit_is_noticed(void **state)
{
    struct folder *f = *state;
    struct tr_keyring *k = open_keys(f->path);
    struct tr_buf s = seal(k, "a", TR_STR("secret"));

    for (size_t i = 0; i < s.n * 8; i++) {
        s.p[i / 8] ^= (char)(1 << (i % 8));
        assert_broken(k, "a", tr_buf_view(&s));
        s.p[i / 8] ^= (char)(1 << (i % 8));
    }
    for (size_t n = 0; n < s.n; n++)
        assert_broken(k, "a", (struct tr_str){ s.p, n });
    assert_opens(k, "a", &s, TR_STR("secret"));
    tr_buf_fini(&s);
    tr_keyring_free(k);
}

static void the_key_file_is_made_once_and_private(void **state)
{
    struct folder *f = *state;
    struct tr_keyring *k = open_keys(f->path);
    struct tr_buf s = seal(k, "a", TR_STR("secret"));
    struct stat st;

    tr_keyring_free(k);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    k = open_keys(f->path);
    assert_opens(k, "a", &s, TR_STR("secret"));
    tr_buf_fini(&s);
    tr_keyring_free(k);
}

static void a_key_that_others_may_read_is_refused(void **state)
{
    struct folder *f = *state;
    struct tr_keyring *k = open_keys(f->path);
    struct tr_err err = { 0 };

    tr_keyring_free(k);
    k = NULL;
    assert_int_equal(chmod(f->path, 0640), 0);
    assert_int_equal(tr_keyring_open(f->path, true, &k, &err), TR_REFUSED);
    assert_string_equal(err.id, "seal.key_exposed");
    assert_null(k);
}

static void the_newest_key_seals_and_older_ones_open(void **state)
{
    struct folder *f = *state;

    write_keys(f->path, "old " KEY_A "\n");
    struct tr_keyring *k = open_keys(f->path);
    struct tr_buf s = seal(k, "a", TR_STR("secret"));
    tr_keyring_free(k);

    write_keys(f->path, "# rotated\nnew " KEY_B "\n\nold " KEY_A "\n");
    k = open_keys(f->path);
    assert_opens(k, "a", &s, TR_STR("secret"));
    struct tr_buf t = seal(k, "a", TR_STR("secret"));
    tr_keyring_free(k);

    write_keys(f->path, "new " KEY_B);
    k = open_keys(f->path);
    assert_opens(k, "a", &t, TR_STR("secret"));
    assert_broken(k, "a", tr_buf_view(&s)); /* its key is gone */
    tr_keyring_free(k);
    tr_buf_fini(&s);
    tr_buf_fini(&t);
}

static void the_environment_gives_the_key(void **state)
{
    struct folder *f = *state;

    assert_int_equal(setenv("TAILRACE_KEY", "env " KEY_B, 1), 0);
    struct tr_keyring *k = open_keys(f->path);
    struct tr_buf s = seal(k, "a", TR_STR("secret"));
    assert_int_equal(access(f->path, F_OK), -1); /* no file is made */
    tr_keyring_free(k);

    assert_int_equal(unsetenv("TAILRACE_KEY"), 0);
    write_keys(f->path, "env " KEY_B);
    k = open_keys(f->path);
    assert_opens(k, "a", &s, TR_STR("secret"));
    tr_buf_fini(&s);

    /* what the file's key has sealed still opens when the environment has another */
    s = seal(k, "a", TR_STR("by file"));
    tr_keyring_free(k);
    assert_int_equal(setenv("TAILRACE_KEY", "env2 " KEY_A, 1), 0);
    k = open_keys(f->path);
    assert_opens(k, "a", &s, TR_STR("by file"));
    tr_keyring_free(k);
    tr_buf_fini(&s);
    assert_int_equal(unsetenv("TAILRACE_KEY"), 0);
}

static void digits_alone_are_a_key(void **state)
{
    struct folder *f = *state;

    assert_int_equal(setenv("TAILRACE_KEY", KEY_B, 1), 0);
    struct tr_keyring *k = open_keys(f->path);
    struct tr_buf s = seal(k, "a", TR_STR("secret"));
    tr_keyring_free(k);
    assert_int_equal(unsetenv("TAILRACE_KEY"), 0);
    /* written into the file as digits alone it is the same key */
    write_keys(f->path, KEY_A "\n" KEY_B "\n");
    k = open_keys(f->path);
    assert_opens(k, "a", &s, TR_STR("secret"));
    tr_keyring_free(k);
    tr_buf_fini(&s);
}

static void no_new_key_beside_old_secrets(void **state)
{
    struct folder *f = *state;
    struct tr_keyring *k = NULL;
    struct tr_err err = { 0 };

    assert_int_equal(tr_keyring_open(f->path, false, &k, &err), TR_REFUSED);
    assert_string_equal(err.id, "seal.key_lost");
    assert_non_null(err.hint);
    assert_int_equal(access(f->path, F_OK), -1);
    assert_int_equal(setenv("TAILRACE_KEY", KEY_A, 1), 0);
    assert_int_equal(tr_keyring_open(f->path, false, &k, &err), TR_OK);
    assert_int_equal(unsetenv("TAILRACE_KEY"), 0);
    tr_keyring_free(k);
}

static void lines_that_are_no_keys_are_refused_and_not_shown(void **state)
{
    static const char *const bad[] = {
        "",
        "# nothing\n",
        "only-an-id\n",
        "id 0011\n",
        "id " KEY_A "00\n",
        "i d " KEY_A "\n",
        "id/1 " KEY_A "\n",
        "good " KEY_A "\nid zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
    };
    struct folder *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tr_keyring *k = NULL;
        struct tr_err err = { 0 };

        print_message("# file %zu\n", i);
        write_keys(f->path, bad[i]);
        assert_int_equal(tr_keyring_open(f->path, true, &k, &err), TR_REFUSED);
        assert_string_equal(err.id, "seal.bad_key");
        assert_null(strstr(err.cause, "112233"));
        assert_null(k);
    }
}

static void hashes_as_published(void **state)
{
    static const uint8_t abc[32] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                     0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                     0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                     0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };
    uint8_t out[32];

    (void)state;
    tr_sha256(TR_STR("abc"), out); /* FIPS 180-4, the first example */
    assert_memory_equal(out, abc, sizeof(abc));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_sealed_opens_again),
        CASE(opens_only_for_what_it_was_sealed_for),
        CASE(any_changed_bit_is_noticed),
        CASE(the_key_file_is_made_once_and_private),
        CASE(a_key_that_others_may_read_is_refused),
        CASE(the_newest_key_seals_and_older_ones_open),
        CASE(the_environment_gives_the_key),
        CASE(digits_alone_are_a_key),
        CASE(no_new_key_beside_old_secrets),
        CASE(lines_that_are_no_keys_are_refused_and_not_shown),
        cmocka_unit_test(hashes_as_published),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
