#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "encode/compress.h"

enum { OUT_BYTES = 128 * 1024, GZIP_WINDOW = 15 + 16 };

struct tr_decompressor {
    enum tr_compression kind;
    tr_pour *pour;
    void *to;
    z_stream gzip;
    ZSTD_DCtx *zstd;
    unsigned char *out;
    bool ended; /* the stream's own end was read */
};

static enum tr_rc damaged(struct tr_err *err, const char *what)
{
    return tr_fail(err, TR_INVALID, "encode.damaged", NULL, "the compressed bytes are damaged: %s",
                   what);
}

enum tr_rc tr_decompressor_new(enum tr_compression kind, tr_pour *pour, void *to,
                               struct tr_decompressor **ret, struct tr_err *err)
{
    struct tr_decompressor *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return tr_fail_oom(err);
    d->pour = pour;
    d->to = to;
    bool ok = kind == TR_COMPRESS_NONE || (d->out = malloc(OUT_BYTES)) != NULL;
    if (ok && kind == TR_COMPRESS_GZIP)
        ok = inflateInit2(&d->gzip, GZIP_WINDOW) == Z_OK;
    if (ok && kind == TR_COMPRESS_ZSTD)
        ok = (d->zstd = ZSTD_createDCtx()) != NULL;
    if (!ok) {
        tr_decompressor_free(d);
        return tr_fail_oom(err);
    }
    d->kind = kind;
    *ret = d;
    return TR_OK;
}

static enum tr_rc gzip_write(struct tr_decompressor *d, const void *p, size_t n, struct tr_err *err)
{
    if (n > UINT32_MAX)
        return tr_fail(err, TR_INTERNAL, "encode.too_big", NULL, "a piece of %zu bytes", n);
    d->gzip.next_in = p;
    d->gzip.avail_in = (uInt)n;
    do {
        d->gzip.next_out = d->out;
        d->gzip.avail_out = OUT_BYTES;
        int z = inflate(&d->gzip, Z_NO_FLUSH);
        if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
            return damaged(err, d->gzip.msg == NULL ? "gzip" : d->gzip.msg);
        size_t made = OUT_BYTES - d->gzip.avail_out;
        if (made != 0 && d->pour(d->to, d->out, made, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
        d->ended = z == Z_STREAM_END;
        if (d->ended && d->gzip.avail_in != 0)
            return damaged(err, "something follows the end");
    } while (!d->ended && (d->gzip.avail_in != 0 || d->gzip.avail_out == 0));
    return TR_OK;
}

static enum tr_rc zstd_write(struct tr_decompressor *d, const void *p, size_t n, struct tr_err *err)
{
    ZSTD_inBuffer in = { p, n, 0 };
    bool full;

    do {
        ZSTD_outBuffer out = { d->out, OUT_BYTES, 0 };
        size_t z = ZSTD_decompressStream(d->zstd, &out, &in);
        if (ZSTD_isError(z))
            return damaged(err, ZSTD_getErrorName(z));
        if (out.pos != 0 && d->pour(d->to, d->out, out.pos, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
        d->ended = z == 0;
        if (d->ended && in.pos < in.size)
            return damaged(err, "something follows the end");
        full = out.pos == out.size;
    } while (!d->ended && (in.pos < in.size || full));
    return TR_OK;
}

enum tr_rc tr_decompressor_write(struct tr_decompressor *d, const void *p, size_t n,
                                 struct tr_err *err)
{
    if (n == 0)
        return TR_OK;
    if (d->ended)
        return damaged(err, "something follows the end");
    switch (d->kind) {
    case TR_COMPRESS_NONE:
        return d->pour(d->to, p, n, err);
    case TR_COMPRESS_GZIP:
        return gzip_write(d, p, n, err);
    case TR_COMPRESS_ZSTD:
        return zstd_write(d, p, n, err);
    }
    return TR_OK;
}

enum tr_rc tr_decompressor_finish(struct tr_decompressor *d, struct tr_err *err)
{
    if (d->kind != TR_COMPRESS_NONE && !d->ended)
        return tr_fail(err, TR_INVALID, "encode.cut", NULL, "the compressed bytes end too soon");
    return TR_OK;
}

void tr_decompressor_free(struct tr_decompressor *d)
{
    if (d == NULL)
        return;
    if (d->kind == TR_COMPRESS_GZIP)
        (void)inflateEnd(&d->gzip);
    (void)ZSTD_freeDCtx(d->zstd);
    free(d->out);
    free(d);
}
