/* Reading files of rows back: to know them after a lost answer, to list them, to count them. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "dest/file/file_priv.h"
#include "os/file.h"

enum { READ_BYTES = 256 * 1024, LINE_BYTES_MAX = 128 << 20 };

struct reader {
    const char *path;
    EVP_MD_CTX *sha;
    struct tr_decompressor *decompressor;
    struct tr_buf line; /* the beginning of a line whose end is not read yet */
    bool inside;        /* of a line */
    file_each_line *each;
    void *arg;
    struct file_facts facts;
};

bool file_find(const struct file_dest *d, const struct tr_key *key, char ret_path[FILE_PATH],
               enum tr_compression *ret)
{
    char folder[FILE_PATH];
    char name[FILE_NAME];

    file_folder(d, key, folder);
    for (int i = -1; i < TR_COMPRESSIONS; i++) {
        enum tr_compression c = i < 0 ? d->compression : (enum tr_compression)i;
        file_chunk_name(key->range, c, name);
        file_join(folder, name, ret_path);
        if (access(ret_path, F_OK) == 0) {
            *ret = c;
            return true;
        }
    }
    return false;
}

static enum tr_rc take_line(struct reader *r, struct tr_str line, struct tr_err *err)
{
    r->facts.rows++;
    return r->each == NULL ? TR_OK : r->each(r->arg, line, err);
}

/* Lines of which nobody wants the bytes are only counted. */
static void keep_rest(struct reader *r, const char *p, size_t n)
{
    if (n == 0)
        return;
    r->inside = true;
    if (r->each != NULL)
        tr_buf_add(&r->line, p, n);
}

static enum tr_rc take_text(void *to, const void *p, size_t n, struct tr_err *err)
{
    struct reader *r = to;
    const char *at = p;
    const char *end = at + n;
    enum tr_rc rc = TR_OK;

    while (rc == TR_OK && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) {
            keep_rest(r, at, (size_t)(end - at));
            break;
        }
        if (r->line.n == 0) {
            rc = take_line(r, (struct tr_str){ at, (size_t)(stop - at) }, err);
        } else {
            tr_buf_add(&r->line, at, (size_t)(stop - at));
            if (r->line.failed)
                break;
            rc = take_line(r, tr_buf_view(&r->line), err);
            tr_buf_clear(&r->line);
        }
        r->inside = false;
        at = stop + 1;
    }
    if (r->line.failed)
        return tr_fail(err, TR_INVALID, "file.damaged", NULL, "%s: a line of over %d MiB", r->path,
                       LINE_BYTES_MAX >> 20);
    return rc;
}

static enum tr_rc read_bytes(const struct tr_ctx *cx, struct reader *r, int fd, char *piece,
                             struct tr_err *err)
{
    for (;;) {
        enum tr_rc rc = file_may_go_on(cx, err);
        if (rc != TR_OK)
            return rc;
        ssize_t n = read(fd, piece, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_fail(err, errno, "read", r->path);
        if (n == 0)
            break;
        r->facts.bytes += (uint64_t)n;
        if (EVP_DigestUpdate(r->sha, piece, (size_t)n) != 1)
            return tr_fail_oom(err);
        rc = tr_decompressor_write(r->decompressor, piece, (size_t)n, err);
        if (rc != TR_OK)
            return rc;
    }
    enum tr_rc rc = tr_decompressor_finish(r->decompressor, err);
    if (rc != TR_OK)
        return rc;
    if (r->inside)
        return tr_fail(err, TR_INVALID, "file.cut", NULL, "%s ends in the middle of a line",
                       r->path);
    if (EVP_DigestFinal_ex(r->sha, r->facts.sha256, NULL) != 1)
        return tr_fail_oom(err);
    return TR_OK;
}

enum tr_rc file_read_rows(const struct tr_ctx *cx, const char *path, enum tr_compression c,
                          file_each_line *each, void *arg, struct file_facts *ret,
                          struct tr_err *err)
{
    struct reader r = { .path = path, .each = each, .arg = arg };
    TR_CLEANUP(tr_file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *piece = malloc(READ_BYTES);
    enum tr_rc rc = TR_OK;

    tr_buf_init(&r.line, LINE_BYTES_MAX);
    if (fd < 0)
        rc = file_fail(err, errno, "open", path);
    r.sha = EVP_MD_CTX_new();
    if (rc == TR_OK &&
        (piece == NULL || r.sha == NULL || EVP_DigestInit_ex(r.sha, EVP_sha256(), NULL) != 1))
        rc = tr_fail_oom(err);
    if (rc == TR_OK)
        rc = tr_decompressor_new(c, take_text, &r, &r.decompressor, err);
    if (rc == TR_OK)
        rc = read_bytes(cx, &r, fd, piece, err);
    if (rc == TR_OK)
        *ret = r.facts;
    tr_decompressor_free(r.decompressor);
    EVP_MD_CTX_free(r.sha);
    tr_buf_fini(&r.line);
    free(piece);
    return rc;
}

enum tr_rc file_lookup(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *key,
                       enum tr_chunk_state *ret, struct tr_receipt *ret_receipt, struct tr_err *err)
{
    const struct file_dest *d = file_dest_of(dest);
    struct file_facts facts;
    struct tr_err own = { 0 };
    enum tr_compression c;
    char path[FILE_PATH];

    enum tr_rc rc = file_may_go_on(cx, err);
    if (rc == TR_OK)
        rc = file_check_marker(d, err);
    if (rc != TR_OK)
        return rc;
    if (!file_find(d, key, path, &c)) {
        *ret = TR_CHUNK_ABSENT;
        return TR_OK;
    }
    rc = file_read_rows(cx, path, c, NULL, NULL, &facts, &own);
    if (rc == TR_INVALID) { /* somebody has damaged it: it is written again under its name */
        *ret = TR_CHUNK_ABSENT;
        return TR_OK;
    }
    if (rc != TR_OK) {
        if (err != NULL)
            *err = own;
        return tr_wrap(err, "look up a chunk");
    }
    *ret = TR_CHUNK_PRESENT;
    *ret_receipt = (struct tr_receipt){
        .delivered = facts.rows,
        .bytes = facts.bytes,
        .was_there = true,
    };
    return TR_OK;
}
