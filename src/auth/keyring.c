/* Where the keys come from: the environment, the key file, or chance on the first start. */
#include "auth/keyring_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "os/random.h"

enum { FILE_BYTES = 8192, PATH_BYTES = 4096 };

static const char bad_line[] =
    "a key is a line of 64 hexadecimal digits, with an id and a blank before them if you like";
static const char lost[] = "put secret.key back from its backup, or give its line as TAILRACE_KEY; "
                           "if it is lost, make a new "
                           "one (openssl rand -hex 32 > secret.key; chmod 600 secret.key) and give "
                           "every export its secrets "
                           "again";

const struct key *keyring_find(const struct tr_keyring *k, struct tr_str id)
{
    for (size_t i = 0; i < k->n; i++)
        if (tr_str_is(id, k->keys[i].id))
            return &k->keys[i];
    return NULL;
}

void tr_keyring_free(struct tr_keyring *k)
{
    if (k == NULL)
        return;
    explicit_bzero(k, sizeof(*k));
    free(k);
}

static void keyring_cleanup(struct tr_keyring **k)
{
    tr_keyring_free(*k);
}

/* ---- lines ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_id(struct tr_str s)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (s.n == 0 || s.n > KEY_ID)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (memchr(allowed, s.p[i], sizeof(allowed) - 1) == NULL)
            return false;
    return true;
}

/* The id of a key that was written down without one. */
static void name_key(struct key *k)
{
    uint8_t sum[32];

    tr_sha256((struct tr_str){ (const char *)k->bytes, sizeof(k->bytes) }, sum);
    k->id[0] = 'k';
    for (size_t i = 0; i < 8; i++)
        (void)snprintf(k->id + 1 + 2 * i, 3, "%02x", sum[i]);
}

static bool read_key(struct tr_str line, struct key *ret)
{
    struct tr_str rest = { NULL, 0 };
    struct tr_str id = tr_str_cut(line, ' ', &rest);
    struct tr_str hex = rest.p == NULL ? id : tr_str_trim(rest);

    if (hex.n != sizeof(ret->bytes) * 2 || (rest.p != NULL && !is_id(id)))
        return false;
    if (rest.p != NULL) {
        memcpy(ret->id, id.p, id.n);
        ret->id[id.n] = '\0';
    }
    for (size_t i = 0; i < sizeof(ret->bytes); i++) {
        int high = hex_digit(hex.p[2 * i]);
        int low = hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret->bytes[i] = (unsigned char)(high << 4 | low);
    }
    if (rest.p == NULL)
        name_key(ret);
    return true;
}

/* Adds the keys of a text; what names the text for the error, which never shows a line. */
static enum tr_rc add_keys(struct tr_keyring *k, struct tr_str text, const char *what,
                           struct tr_err *err)
{
    for (int number = 1; text.p != NULL; number++) {
        struct tr_str line = tr_str_trim(tr_str_cut(text, '\n', &text));

        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (k->n == KEYS_MOST)
            return tr_fail(err, TR_REFUSED, "seal.bad_key", NULL, "%s: more than %d keys", what,
                           KEYS_MOST);
        struct key *key = &k->keys[k->n];
        if (!read_key(line, key))
            return tr_fail(err, TR_REFUSED, "seal.bad_key", bad_line, "%s: line %d is no key", what,
                           number);
        if (keyring_find(k, tr_str_of(key->id)) == NULL)
            k->n++;
    }
    return TR_OK;
}

/* ---- the file ---- */

static enum tr_rc check_private(const char *path, bool *ret_there, struct tr_err *err)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        *ret_there = false;
        return errno == ENOENT ? TR_OK : tr_fail_errno(err, errno, "%s", path);
    }
    *ret_there = true;
    if ((st.st_mode & 077) != 0)
        return tr_fail(err, TR_REFUSED, "seal.key_exposed",
                       "chmod 600 the file; if others may have read it, use a new key as well",
                       "%s: the key file may be read by others (mode %03o)", path,
                       (unsigned)(st.st_mode & 0777));
    return TR_OK;
}

static enum tr_rc read_file(struct tr_keyring *k, const char *path, struct tr_err *err)
{
    TR_CLEANUP(tr_wipe) struct tr_buf text;

    tr_buf_init(&text, FILE_BYTES);
    /* All of it at once: a buffer that grows would leave copies of the keys behind. */
    if (tr_buf_reserve(&text, FILE_BYTES) == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = tr_file_read(path, &text, err);
    return rc == TR_OK ? add_keys(k, tr_buf_view(&text), path, err) : rc;
}

static enum tr_rc write_new(const char *path, const char *text, struct tr_err *err)
{
    TR_CLEANUP(tr_file_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return tr_fail_errno(err, errno, "create %s", path);
    enum tr_rc rc = tr_file_write_all(fd, text, strlen(text), err);
    if (rc == TR_OK && fsync(fd) != 0)
        rc = tr_fail_errno(err, errno, "fsync %s", path);
    return rc;
}

/* Under a name of its own first, so that a crash leaves no key file with half a key; never over an
 * existing one, whose loss would make every secret unreadable. */
static enum tr_rc make_file(const char *path, struct tr_err *err)
{
    char temporary[PATH_BYTES];
    char folder[PATH_BYTES];
    char id[2 * 4 + 1];
    char hex[2 * KEY_BYTES + 1];
    char text[sizeof(id) + sizeof(hex) + 2];

    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
        return tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "path over %d bytes", PATH_BYTES);
    tr_random_hex(id, 4);
    tr_random_hex(hex, KEY_BYTES);
    (void)snprintf(text, sizeof(text), "%s %s\n", id, hex);
    (void)unlink(temporary); /* of a former start that died here */
    enum tr_rc rc = write_new(temporary, text, err);
    explicit_bzero(hex, sizeof(hex));
    explicit_bzero(text, sizeof(text));
    if (rc == TR_OK && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        rc = tr_fail_errno(err, errno, "rename %s", temporary);
    if (rc != TR_OK) {
        (void)unlink(temporary);
        return rc;
    }
    (void)snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = '\0';
    return tr_file_sync_dir(slash == NULL ? "." : folder, err);
}

enum tr_rc tr_keyring_open(const char *path, bool may_make, struct tr_keyring **ret,
                           struct tr_err *err)
{
    TR_CLEANUP(keyring_cleanup) struct tr_keyring *k = calloc(1, sizeof(*k));
    const char *given = getenv("TAILRACE_KEY");
    bool there = false;

    if (k == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = TR_OK;
    if (given != NULL && given[0] != '\0')
        rc = add_keys(k, tr_str_of(given), "TAILRACE_KEY", err);
    if (rc == TR_OK)
        rc = check_private(path, &there, err);
    /* With a key from outside no file is made; one that is there still opens what it has sealed. */
    if (rc == TR_OK && !there && k->n == 0 && !may_make)
        rc =
            tr_fail(err, TR_REFUSED, "seal.key_lost", lost,
                    "%s: the key file is not there, but exports have secrets that it sealed", path);
    if (rc == TR_OK && !there && k->n == 0) {
        rc = make_file(path, err);
        there = rc == TR_OK;
    }
    if (rc == TR_OK && there)
        rc = read_file(k, path, err);
    if (rc == TR_OK && k->n == 0)
        rc = tr_fail(err, TR_REFUSED, "seal.bad_key", bad_line, "%s: there is no key in it", path);
    if (rc != TR_OK)
        return rc;
    *ret = k;
    k = NULL;
    return TR_OK;
}
