/* A file of rows without those of some ranges: written anew under its name. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/time.h"
#include "dest/file/file_priv.h"
#include "os/file.h"

struct trim {
    const struct tr_range *cut;
    size_t n;
    struct tr_str column; /* that holds the row's instant */
    struct tr_compressor *compressor;
    EVP_MD_CTX *sha;
    struct file_facts facts;
    int fd;
    char temporary[FILE_PATH];
};

/* created_at is the same instant, for exports that leave _inserted_at out. */
static struct tr_str instant_column(const struct file_dest *d)
{
    static const int either[] = { TR_EVENT_INSERTED_AT, TR_EVENT_CREATED_AT };

    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < d->projection.n; i++)
            if (d->projection.column[i] == either[k])
                return tr_str_of(d->projection.name[i]);
    return (struct tr_str){ NULL, 0 };
}

static bool is_cut(const struct trim *t, int64_t instant)
{
    for (size_t i = 0; i < t->n; i++)
        if (instant >= t->cut[i].lo && instant < t->cut[i].hi)
            return true;
    return false;
}

static enum tr_rc keep_line(void *arg, struct tr_str line, struct tr_err *err)
{
    struct trim *t = arg;
    struct tr_json_value v;
    int64_t instant;

    if (!tr_json_find(line, t->column, &v) || v.type != TR_JSON_STRING ||
        !tr_time_parse((struct tr_str){ v.raw.p + 1, v.raw.n - 2 }, &instant))
        return tr_fail(err, TR_INVALID, "file.no_instant", NULL, "a row has no instant");
    if (is_cut(t, instant))
        return TR_OK;
    t->facts.rows++;
    enum tr_rc rc = tr_compressor_write(t->compressor, line.p, line.n, err);
    return rc == TR_OK ? tr_compressor_write(t->compressor, "\n", 1, err) : rc;
}

static enum tr_rc pour(void *to, const void *p, size_t n, struct tr_err *err)
{
    struct trim *t = to;

    if (EVP_DigestUpdate(t->sha, p, n) != 1)
        return tr_fail_oom(err);
    t->facts.bytes += n;
    return file_write_all(t->fd, t->temporary, p, n, err);
}

static enum tr_rc copy_rows(const struct tr_ctx *cx, struct trim *t, const char *path,
                            enum tr_compression c, struct tr_err *err)
{
    struct file_facts before;

    t->sha = EVP_MD_CTX_new();
    if (t->sha == NULL || EVP_DigestInit_ex(t->sha, EVP_sha256(), NULL) != 1)
        return tr_fail_oom(err);
    enum tr_rc rc = tr_compressor_new(c, 0, pour, t, &t->compressor, err);
    if (rc == TR_OK)
        rc = file_read_rows(cx, path, c, keep_line, t, &before, err);
    if (rc == TR_OK)
        rc = tr_compressor_finish(t->compressor, err);
    if (rc == TR_OK)
        rc = file_settle(&t->fd, t->temporary, err);
    if (rc == TR_OK && EVP_DigestFinal_ex(t->sha, t->facts.sha256, NULL) != 1)
        rc = tr_fail_oom(err);
    return rc;
}

enum tr_rc file_trim(const struct tr_ctx *cx, const struct file_dest *d,
                     const struct tr_uuid *export_id, const char *folder, const char *name,
                     enum tr_compression c, const struct tr_range *cut, size_t n, bool *ret_done,
                     struct file_facts *ret, struct tr_err *err)
{
    struct trim t = { .cut = cut, .n = n, .column = instant_column(d), .fd = -1 };
    char temps[FILE_PATH];
    char path[FILE_PATH];

    *ret_done = false;
    file_join(folder, name, path);
    if (t.column.p == NULL || access(path, F_OK) != 0)
        return TR_OK;
    file_temp_folder(d, export_id, temps);
    enum tr_rc rc = file_temp_open(temps, name, t.temporary, &t.fd, err);
    if (rc != TR_OK)
        return rc;
    rc = copy_rows(cx, &t, path, c, err);
    if (rc == TR_OK && rename(t.temporary, path) != 0)
        rc = file_fail(err, errno, "rename to", path);
    if (rc != TR_OK)
        (void)unlink(t.temporary);
    else
        rc = file_sync_folder(folder, err);
    tr_compressor_free(t.compressor);
    EVP_MD_CTX_free(t.sha);
    tr_file_close(&t.fd);
    if (rc == TR_INVALID) /* rows without instants, or not whole: it stays as it is */
        return TR_OK;
    *ret_done = rc == TR_OK;
    *ret = t.facts;
    return rc;
}
