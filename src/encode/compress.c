#include "encode/compress.h"

#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "os/file.h"

enum {
    OUT_BYTES = 128 * 1024,
    GZIP_LEVEL = 6,
    ZSTD_LEVEL = 3,
    GZIP_WINDOW = 15 + 16, /* 32 KiB, and zlib writes gzip's header and trailer */
    GZIP_MEMORY = 8,
};

static const struct {
    const char *name, *suffix;
} kinds[TR_COMPRESSIONS] = {
    [TR_COMPRESS_NONE] = { "none", "" },
    [TR_COMPRESS_GZIP] = { "gzip", ".gz" },
    [TR_COMPRESS_ZSTD] = { "zstd", ".zst" },
};

bool tr_compression_parse(const char *name, enum tr_compression *ret)
{
    for (int i = 0; i < TR_COMPRESSIONS; i++) {
        if (strcmp(name == NULL ? "none" : name, kinds[i].name) == 0) {
            *ret = (enum tr_compression)i;
            return true;
        }
    }
    return false;
}

const char *tr_compression_name(enum tr_compression c)
{
    return kinds[c].name;
}

const char *tr_compression_suffix(enum tr_compression c)
{
    return kinds[c].suffix;
}

enum tr_rc tr_pour_buf(void *to, const void *p, size_t n, struct tr_err *err)
{
    struct tr_buf *b = to;

    tr_buf_add(b, p, n);
    if (b->failed)
        return tr_fail(err, TR_INTERNAL, "encode.too_big", NULL, "over %zu bytes", b->max);
    return TR_OK;
}

enum tr_rc tr_pour_fd(void *to, const void *p, size_t n, struct tr_err *err)
{
    return tr_file_write_all(*(int *)to, p, n, err);
}

struct tr_compressor {
    enum tr_compression kind;
    tr_pour *pour;
    void *to;
    z_stream gzip;
    ZSTD_CCtx *zstd;
    unsigned char *out; /* OUT_BYTES; NULL: none */
};

static enum tr_rc start_gzip(struct tr_compressor *c, int level, struct tr_err *err)
{
    /* Without deflateSetHeader the header has no name and time 0. */
    if (deflateInit2(&c->gzip, level == 0 ? GZIP_LEVEL : level, Z_DEFLATED, GZIP_WINDOW,
                     GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return tr_fail_oom(err);
    return TR_OK;
}

static enum tr_rc start_zstd(struct tr_compressor *c, int level, struct tr_err *err)
{
    c->zstd = ZSTD_createCCtx();
    if (c->zstd == NULL)
        return tr_fail_oom(err);
    size_t a =
        ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, level == 0 ? ZSTD_LEVEL : level);
    size_t b = ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1);
    if (ZSTD_isError(a) || ZSTD_isError(b))
        return tr_fail(err, TR_INTERNAL, "encode.zstd", NULL, "zstd refuses level %d", level);
    return TR_OK;
}

enum tr_rc tr_compressor_new(enum tr_compression kind, int level, tr_pour *pour, void *to,
                             struct tr_compressor **ret, struct tr_err *err)
{
    struct tr_compressor *c = calloc(1, sizeof(*c));
    enum tr_rc rc = TR_OK;

    if (c == NULL)
        return tr_fail_oom(err);
    c->kind = TR_COMPRESS_NONE; /* nothing to end yet */
    c->pour = pour;
    c->to = to;
    if (kind != TR_COMPRESS_NONE && (c->out = malloc(OUT_BYTES)) == NULL)
        rc = tr_fail_oom(err);
    if (rc == TR_OK && kind == TR_COMPRESS_GZIP)
        rc = start_gzip(c, level, err);
    if (rc == TR_OK && kind == TR_COMPRESS_ZSTD)
        rc = start_zstd(c, level, err);
    if (rc != TR_OK) {
        tr_compressor_free(c);
        return rc;
    }
    c->kind = kind;
    *ret = c;
    return TR_OK;
}

static enum tr_rc gzip_step(struct tr_compressor *c, int flush, struct tr_err *err)
{
    int z;

    do {
        c->gzip.next_out = c->out;
        c->gzip.avail_out = OUT_BYTES;
        z = deflate(&c->gzip, flush);
        if (z == Z_STREAM_ERROR)
            return tr_fail(err, TR_INTERNAL, "encode.gzip", NULL, "the stream had ended");
        size_t n = OUT_BYTES - c->gzip.avail_out;
        if (n != 0 && c->pour(c->to, c->out, n, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
    } while (c->gzip.avail_out == 0 || (flush == Z_FINISH && z != Z_STREAM_END));
    return TR_OK;
}

static enum tr_rc gzip_write(struct tr_compressor *c, const void *p, size_t n, struct tr_err *err)
{
    const unsigned char *at = p;
    enum tr_rc rc = TR_OK;

    while (n > 0 && rc == TR_OK) {
        uInt piece = n > (1U << 30) ? 1U << 30 : (uInt)n;
        c->gzip.next_in = at;
        c->gzip.avail_in = piece;
        rc = gzip_step(c, Z_NO_FLUSH, err);
        at += piece;
        n -= piece;
    }
    return rc;
}

static enum tr_rc zstd_step(struct tr_compressor *c, const void *p, size_t n, ZSTD_EndDirective end,
                            struct tr_err *err)
{
    ZSTD_inBuffer in = { p, n, 0 };
    size_t left;

    do {
        ZSTD_outBuffer out = { c->out, OUT_BYTES, 0 };
        left = ZSTD_compressStream2(c->zstd, &out, &in, end);
        if (ZSTD_isError(left))
            return tr_fail(err, TR_INTERNAL, "encode.zstd", NULL, "zstd: %s",
                           ZSTD_getErrorName(left));
        if (out.pos != 0 && c->pour(c->to, c->out, out.pos, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
    } while (end == ZSTD_e_end ? left != 0 : in.pos < in.size);
    return TR_OK;
}

enum tr_rc tr_compressor_write(struct tr_compressor *c, const void *p, size_t n, struct tr_err *err)
{
    if (n == 0)
        return TR_OK;
    switch (c->kind) {
    case TR_COMPRESS_NONE:
        return c->pour(c->to, p, n, err);
    case TR_COMPRESS_GZIP:
        return gzip_write(c, p, n, err);
    case TR_COMPRESS_ZSTD:
        return zstd_step(c, p, n, ZSTD_e_continue, err);
    }
    return TR_OK;
}

enum tr_rc tr_compressor_finish(struct tr_compressor *c, struct tr_err *err)
{
    switch (c->kind) {
    case TR_COMPRESS_NONE:
        return TR_OK;
    case TR_COMPRESS_GZIP:
        c->gzip.avail_in = 0;
        return gzip_step(c, Z_FINISH, err);
    case TR_COMPRESS_ZSTD:
        return zstd_step(c, NULL, 0, ZSTD_e_end, err);
    }
    return TR_OK;
}

void tr_compressor_free(struct tr_compressor *c)
{
    if (c == NULL)
        return;
    if (c->kind == TR_COMPRESS_GZIP)
        (void)deflateEnd(&c->gzip);
    (void)ZSTD_freeCCtx(c->zstd);
    free(c->out);
    free(c);
}
