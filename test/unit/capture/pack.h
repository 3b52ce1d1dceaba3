/* The encodings a request may come in, for the tests of this folder. Each returns malloc'ed bytes.
 */
#ifndef TR_TEST_CAPTURE_PACK_H
#define TR_TEST_CAPTURE_PACK_H

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct packed {
    char *p;
    size_t n;
};

enum { PACK_GZIP = 15 + 16, PACK_ZLIB = 15, PACK_RAW = -15 };

static inline struct packed pack_deflate(const void *in, size_t n, int window_bits)
{
    z_stream z = { 0 };
    size_t cap = n + n / 100 + 200;
    struct packed out = { malloc(cap), 0 };

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)in;
    z.avail_in = (uInt)n;
    z.next_out = (unsigned char *)out.p;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.n = cap - z.avail_out;
    deflateEnd(&z);
    return out;
}

static inline struct packed pack_zstd(const void *in, size_t n)
{
    size_t cap = ZSTD_compressBound(n);
    struct packed out = { malloc(cap), 0 };

    out.n = ZSTD_compress(out.p, cap, in, n, 3);
    assert_false(ZSTD_isError(out.n));
    return out;
}

/* The alphabet ends with what stands for 62 and 63; no padding without pad. */
static inline struct packed pack_base64(const void *in, size_t n, const char *last_two, int pad)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const unsigned char *p = in;
    struct packed out = { malloc(n * 2 + 8), 0 };

    for (size_t i = 0; i < n; i += 3) {
        unsigned v = p[i] * 65536u + (i + 1 < n ? p[i + 1] * 256u : 0) + (i + 2 < n ? p[i + 2] : 0);
        for (int k = 0; k < 4; k++) {
            unsigned d = v >> (18 - 6 * k) & 63;
            if (i + (size_t)k > n) {
                if (pad)
                    out.p[out.n++] = '=';
            } else {
                out.p[out.n++] = d < 62 ? digits[d] : last_two[d - 62];
            }
        }
    }
    return out;
}

/* In front of it text, e.g. "data=". percent: everything but letters and digits is escaped. */
static inline struct packed pack_form(const char *front, struct packed in, int percent)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t front_n = strlen(front);
    struct packed out = { malloc(front_n + in.n * 3 + 1), front_n };

    memcpy(out.p, front, front_n);
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        if (!percent || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) {
            out.p[out.n++] = (char)c;
        } else {
            out.p[out.n++] = '%';
            out.p[out.n++] = hex[c >> 4];
            out.p[out.n++] = hex[c & 15];
        }
    }
    free(in.p);
    return out;
}

#endif
