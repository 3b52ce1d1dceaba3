/* One chunk: encoded and squeezed into a temporary file, which then gets its name. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dest/file/file_priv.h"
#include "encode/encode.h"
#include "os/file.h"
#include "os/kill.h"

enum {
    FLUSH_BYTES = 256 * 1024, /* encoded rows that are gathered before they are squeezed */
    KEEP_BYTES = 1024 * 1024, /* a row that was larger gives its memory back */
    ROW_BYTES_MAX = 128 << 20,
};

struct file_load {
    struct tr_load base;
    struct file_dest *d;
    struct tr_key key;
    struct tr_reject_sink *rejects;
    struct tr_encoder *encoder;
    struct tr_compressor *compressor;
    EVP_MD_CTX *sha;
    struct tr_buf rows;
    struct tr_encode_stats stats;
    uint64_t bytes;
    int fd;
    char temporary[FILE_PATH]; /* "": none */
    char folder[FILE_PATH];
};

static const struct tr_load_ops load_ops;

static struct file_load *load_of(struct tr_load *l)
{
    assert(l->ops == &load_ops);
    return (struct file_load *)(void *)l;
}

static void load_free(struct file_load *l)
{
    tr_file_close(&l->fd);
    if (l->temporary[0] != '\0')
        (void)unlink(l->temporary);
    if (l->encoder != NULL)
        l->encoder->ops->close(l->encoder);
    tr_compressor_free(l->compressor);
    EVP_MD_CTX_free(l->sha);
    tr_buf_fini(&l->rows);
    free(l);
}

/* The last station of the bytes: hashed as they lie on the disk. */
static enum tr_rc pour(void *to, const void *p, size_t n, struct tr_err *err)
{
    struct file_load *l = to;

    if (EVP_DigestUpdate(l->sha, p, n) != 1)
        return tr_fail_oom(err);
    l->bytes += n;
    return file_write_all(l->fd, l->temporary, p, n, err);
}

static enum tr_rc start(struct file_load *l, struct tr_err *err)
{
    char name[FILE_NAME];
    char temps[FILE_PATH];

    l->sha = EVP_MD_CTX_new();
    if (l->sha == NULL || EVP_DigestInit_ex(l->sha, EVP_sha256(), NULL) != 1)
        return tr_fail_oom(err);
    enum tr_rc rc = tr_encode_jsonl_new(&l->d->projection, &l->encoder, err);
    if (rc == TR_OK)
        rc = tr_compressor_new(l->d->compression, 0, pour, l, &l->compressor, err);
    if (rc == TR_OK)
        rc = file_make_folders(l->folder, NULL, err);
    if (rc != TR_OK)
        return rc;

    file_temp_folder(l->d, &l->key.export_id, temps);
    if (!l->d->cleaned)
        file_temp_clean(temps);
    l->d->cleaned = true;
    file_chunk_name(l->key.range, l->d->compression, name);
    char path[FILE_PATH];
    rc = file_temp_open(temps, name, path, &l->fd, err);
    if (rc == TR_OK)
        memcpy(l->temporary, path, sizeof(path));
    return rc == TR_OK ? l->encoder->ops->head(l->encoder, &l->rows, err) : rc;
}

enum tr_rc file_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                      const struct tr_load_spec *spec, struct tr_load **ret, struct tr_err *err)
{
    struct file_dest *d = file_dest_of(dest);

    assert(d->prepared);
    enum tr_rc rc = file_may_go_on(cx, err);
    if (rc == TR_OK)
        rc = file_check_marker(d, err);
    if (rc != TR_OK)
        return rc;
    struct file_load *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return tr_fail_oom(err);
    l->base.ops = &load_ops;
    l->d = d;
    l->key = spec->key;
    l->rejects = spec->rejects;
    l->fd = -1;
    tr_buf_init(&l->rows, ROW_BYTES_MAX);
    file_folder(d, &spec->key, l->folder);
    rc = start(l, err);
    if (rc != TR_OK) {
        load_free(l);
        return rc;
    }
    *ret = &l->base;
    return TR_OK;
}

static enum tr_rc flush(struct file_load *l, struct tr_err *err)
{
    enum tr_rc rc = tr_compressor_write(l->compressor, l->rows.p, l->rows.n, err);

    if (l->rows.cap > KEEP_BYTES)
        tr_buf_fini(&l->rows);
    tr_buf_clear(&l->rows);
    return rc;
}

/* Row by row, so that no more than one of them is ever over FLUSH_BYTES. */
static enum tr_rc load_write(const struct tr_ctx *cx, struct tr_load *load,
                             const struct tr_batch *b, struct tr_err *err)
{
    struct file_load *l = load_of(load);
    enum tr_rc rc = file_may_go_on(cx, err);

    for (size_t i = 0; i < b->rows && rc == TR_OK; i++) {
        rc = l->encoder->ops->rows(l->encoder, b, i, i + 1, &l->rows, l->rejects, &l->stats, err);
        if (rc == TR_OK && l->rows.n >= FLUSH_BYTES) {
            rc = file_may_go_on(cx, err);
            if (rc == TR_OK)
                rc = flush(l, err);
        }
    }
    return rc;
}

/* Nothing is taken away: what the older generations hold stays where it is, and the manifests of
 * this one say that they take their place. The mark outlives this process, whose manifest may be
 * written by another. */
static enum tr_rc load_remove(const struct tr_ctx *cx, struct tr_load *load,
                              const struct tr_uuid *uuids, size_t n, struct tr_err *err)
{
    struct file_load *l = load_of(load);
    char mark[FILE_PATH];

    (void)cx;
    (void)uuids;
    (void)n;
    file_join(l->folder, FILE_REPLACES_MARK, mark);
    if (access(mark, F_OK) == 0)
        return TR_OK;
    TR_CLEANUP(tr_file_close) int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return file_fail(err, errno, "create", mark);
    enum tr_rc rc = file_settle(&fd, mark, err);
    return rc == TR_OK ? file_sync_folder(l->folder, err) : rc;
}

static enum tr_rc end_file(struct file_load *l, struct tr_err *err)
{
    enum tr_rc rc = l->encoder->ops->tail(l->encoder, &l->rows, err);

    if (rc == TR_OK)
        rc = flush(l, err);
    if (rc == TR_OK)
        rc = tr_compressor_finish(l->compressor, err);
    return rc == TR_OK ? file_settle(&l->fd, l->temporary, err) : rc;
}

/* Only a saving of time for finish(): when memory is short, it reads the file. */
static void remember(struct file_load *l)
{
    struct file_dest *d = l->d;
    struct file_written w = {
        .key = l->key,
        .compression = d->compression,
        .facts = { .rows = l->stats.rows, .bytes = l->bytes },
    };

    if (EVP_DigestFinal_ex(l->sha, w.facts.sha256, NULL) != 1)
        return;
    if (d->n_written == d->cap_written) {
        size_t cap = d->cap_written == 0 ? 16 : d->cap_written * 2;
        struct file_written *grown = realloc(d->written, cap * sizeof(*grown));
        if (grown == NULL)
            return;
        d->written = grown;
        d->cap_written = cap;
    }
    d->written[d->n_written++] = w;
}

static enum tr_rc give_name(struct file_load *l, bool *ret_was_there, struct tr_err *err)
{
    char name[FILE_NAME];
    char path[FILE_PATH];

    file_chunk_name(l->key.range, l->d->compression, name);
    file_join(l->folder, name, path);
    *ret_was_there = access(path, F_OK) == 0;
    if (rename(l->temporary, path) != 0)
        return file_fail(err, errno, "rename to", path);
    l->temporary[0] = '\0';
    TR_KILL_POINT("file.renamed");
    if (file_sync_folder(l->folder, err) == TR_OK)
        return TR_OK;
    if (err != NULL)
        err->rc = TR_AMBIGUOUS; /* the name is there, but may not outlive a power cut */
    return TR_AMBIGUOUS;
}

static enum tr_rc load_commit(const struct tr_ctx *cx, struct tr_load *load, struct tr_receipt *ret,
                              struct tr_err *err)
{
    struct file_load *l = load_of(load);
    bool was_there = false;
    enum tr_rc rc = file_may_go_on(cx, err);

    if (rc == TR_OK)
        rc = end_file(l, err);
    if (rc == TR_OK) {
        TR_KILL_POINT("file.written");
        rc = give_name(l, &was_there, err);
    }
    if (rc == TR_OK) {
        remember(l);
        *ret = (struct tr_receipt){
            .delivered = l->stats.rows,
            .rejected = l->stats.rejected,
            .repaired = l->stats.repaired,
            .bytes = l->bytes,
            .was_there = was_there,
        };
    }
    load_free(l);
    return rc;
}

static void load_abort(struct tr_load *load)
{
    if (load != NULL)
        load_free(load_of(load));
}

static const struct tr_load_ops load_ops = {
    .write = load_write,
    .remove = load_remove,
    .commit = load_commit,
    .abort = load_abort,
};
