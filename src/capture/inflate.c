/* Decompression into a buffer with a limit. The limit and the budget are asked before each piece of
 * output, so that a small body cannot become a large one unnoticed. */
#include "capture/capture_priv.h"

/* Room for the next piece: at first a guess from the input, then what doubling gives. */
static enum tr_rc next_piece(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                             struct tr_err *err)
{
    size_t want = out->n == 0 ? in.n * 4 : out->n;

    if (want < 4096)
        want = 4096;
    if (want > out->max - out->n)
        want = out->max - out->n;
    return tr_scratch_reserve(s, out, want, err);
}

static enum tr_rc not_over(struct tr_capture_scratch *s, struct tr_buf *out, struct tr_err *err)
{
    if (out->n > s->max_inflated)
        return tr_fail(err, TR_INVALID, "capture.too_large", NULL,
                       "the decoded body is larger than the limit of %zu bytes", s->max_inflated);
    return TR_OK;
}

/* What the messages call it, and their id. */
struct format {
    const char *id;
    const char *name;
};

static enum tr_rc cut_short(const struct format *f, struct tr_err *err)
{
    return tr_fail(err, TR_INVALID, f->id, NULL, "the %s data is cut short", f->name);
}

static enum tr_rc damaged(const struct format *f, struct tr_err *err)
{
    return tr_fail(err, TR_INVALID, f->id, NULL, "the %s data is damaged", f->name);
}

static bool starts_gzip(const z_stream *z)
{
    return z->avail_in >= 2 && z->next_in[0] == 0x1f && z->next_in[1] == 0x8b;
}

static enum tr_rc inflate_all(struct tr_capture_scratch *s, struct tr_str in,
                              const struct format *f, struct tr_buf *out, struct tr_err *err)
{
    z_stream *z = &s->inflater;

    z->next_in = (const unsigned char *)in.p;
    z->avail_in = (uInt)in.n;
    for (;;) {
        if (next_piece(s, in, out, err) != TR_OK)
            return err->rc;
        size_t room = out->cap - out->n;
        z->next_out = (unsigned char *)out->p + out->n;
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_NO_FLUSH);
        out->n += room - z->avail_out;
        if (not_over(s, out, err) != TR_OK)
            return err->rc;
        if (rc == Z_STREAM_END) {
            if (!starts_gzip(z))
                return TR_OK; /* what follows the end is nobody's */
            if (inflateReset(z) != Z_OK)
                return damaged(f, err);
        } else if (rc == Z_MEM_ERROR) {
            return tr_fail_oom(err);
        } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return damaged(f, err);
        } else if (z->avail_in == 0 && z->avail_out > 0) {
            return cut_short(f, err);
        }
    }
}

enum { GZIP_BITS = 15 + 16, ZLIB_BITS = 15, RAW_BITS = -15 };

static enum tr_rc inflate_as(struct tr_capture_scratch *s, struct tr_str in, int window_bits,
                             const struct format *f, struct tr_buf *out, struct tr_err *err)
{
    tr_buf_clear(out);
    if (in.n > UINT32_MAX)
        return tr_fail(err, TR_INVALID, "capture.too_large", NULL, "the body is too large");
    int rc = s->inflater_ready ? inflateReset2(&s->inflater, window_bits)
                               : inflateInit2(&s->inflater, window_bits);
    if (rc != Z_OK)
        return tr_fail_oom(err);
    s->inflater_ready = true;
    return inflate_all(s, in, f, out, err);
}

enum tr_rc tr_gunzip(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                     struct tr_err *err)
{
    static const struct format gzip = { "capture.bad_gzip", "gzip" };

    return inflate_as(s, in, GZIP_BITS, &gzip, out, err);
}

/* RFC 1950: method 8 and a checksum over the first two bytes. */
static bool has_zlib_head(struct tr_str in)
{
    const unsigned char *p = (const unsigned char *)in.p;

    return in.n >= 2 && (p[0] & 0x0F) == 8 && (p[0] << 8 | p[1]) % 31 == 0;
}

enum tr_rc tr_inflate(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                      struct tr_err *err)
{
    static const struct format deflate = { "capture.bad_deflate", "deflate" };

    /* "deflate" means zlib (RFC 9110), but bare deflate is sent under that name too. */
    return inflate_as(s, in, has_zlib_head(in) ? ZLIB_BITS : RAW_BITS, &deflate, out, err);
}

enum tr_rc tr_unzstd(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                     struct tr_err *err)
{
    static const struct format zstd = { "capture.bad_zstd", "zstd" };
    ZSTD_inBuffer from = { in.p, in.n, 0 };

    tr_buf_clear(out);
    if (s->zstd == NULL && (s->zstd = ZSTD_createDCtx()) == NULL)
        return tr_fail_oom(err);
    (void)ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only);
    /* The window is memory too: 8 MiB is what decoders must offer (RFC 8878). */
    (void)ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, 23);
    for (;;) {
        if (next_piece(s, in, out, err) != TR_OK)
            return err->rc;
        ZSTD_outBuffer to = { out->p + out->n, out->cap - out->n, 0 };
        size_t left = ZSTD_decompressStream(s->zstd, &to, &from);
        out->n += to.pos;
        if (ZSTD_isError(left))
            return damaged(&zstd, err);
        if (not_over(s, out, err) != TR_OK)
            return err->rc;
        if (from.pos == from.size && left == 0)
            return TR_OK;
        if (from.pos == from.size && to.pos < to.size)
            return cut_short(&zstd, err);
    }
}
