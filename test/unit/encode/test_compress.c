#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "encode/compress.h"

enum { TEXT_BYTES = 700 * 1000, LIMIT = 4 << 20 };

static char text[TEXT_BYTES];

/* Lines that squeeze about as events do. */
static int make_text(void **state)
{
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        x = x * 1664525U + 1013904223U;
        text[i] = i % 61 == 60 ? '\n' : "{\"event\":abc,012}"[(x >> 24) % 17];
    }
    return 0;
}

static void squeeze(enum tr_compression c, const char *p, size_t n, size_t piece,
                    struct tr_buf *out)
{
    struct tr_compressor *z = NULL;

    tr_buf_init(out, LIMIT);
    assert_int_equal(tr_compressor_new(c, 0, tr_pour_buf, out, &z, NULL), TR_OK);
    for (size_t at = 0; at < n; at += piece)
        assert_int_equal(tr_compressor_write(z, p + at, n - at < piece ? n - at : piece, NULL),
                         TR_OK);
    assert_int_equal(tr_compressor_finish(z, NULL), TR_OK);
    tr_compressor_free(z);
}

static enum tr_rc widen(enum tr_compression c, const char *p, size_t n, size_t piece,
                        struct tr_buf *out, struct tr_err *err)
{
    struct tr_decompressor *d = NULL;
    enum tr_rc rc = tr_decompressor_new(c, tr_pour_buf, out, &d, err);

    for (size_t at = 0; at < n && rc == TR_OK; at += piece)
        rc = tr_decompressor_write(d, p + at, n - at < piece ? n - at : piece, err);
    if (rc == TR_OK)
        rc = tr_decompressor_finish(d, err);
    tr_decompressor_free(d);
    return rc;
}

static void names_and_suffixes(void **state)
{
    static const struct {
        const char *name, *suffix;
    } want[] = { { "none", "" }, { "gzip", ".gz" }, { "zstd", ".zst" } };
    enum tr_compression c;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(tr_compression_parse(want[i].name, &c));
        assert_string_equal(tr_compression_name(c), want[i].name);
        assert_string_equal(tr_compression_suffix(c), want[i].suffix);
        assert_non_null(strstr(TR_COMPRESSION_CHOICES, want[i].name));
    }
    assert_true(tr_compression_parse(NULL, &c));
    assert_int_equal(c, TR_COMPRESS_NONE);
    assert_false(tr_compression_parse("lz4", &c));
}

static void what_goes_in_comes_out(void **state)
{
    static const size_t sizes[] = { 0, 1, 100, TEXT_BYTES };
    static const size_t pieces[] = { 1000, 65536, TEXT_BYTES };

    (void)state;
    for (int c = 0; c < TR_COMPRESSIONS; c++) {
        for (size_t s = 0; s < 4; s++) {
            for (size_t k = 0; k < 3; k++) {
                struct tr_buf small;
                struct tr_buf back;
                squeeze((enum tr_compression)c, text, sizes[s], pieces[k], &small);
                tr_buf_init(&back, LIMIT);
                assert_int_equal(widen((enum tr_compression)c, small.p, small.n, 777, &back, NULL),
                                 TR_OK);
                assert_int_equal(back.n, sizes[s]);
                if (back.n != 0)
                    assert_memory_equal(back.p, text, back.n);
                if (c != TR_COMPRESS_NONE && sizes[s] == TEXT_BYTES)
                    assert_true(small.n < TEXT_BYTES * 3 / 4);
                tr_buf_fini(&small);
                tr_buf_fini(&back);
            }
        }
    }
}

/* The libraries' own one-call readers take it. */
static void other_readers_read_it(void **state)
{
    static char back[TEXT_BYTES + 1];
    struct tr_buf small;
    z_stream z = { 0 };

    (void)state;
    squeeze(TR_COMPRESS_ZSTD, text, TEXT_BYTES, 5000, &small);
    assert_int_equal(ZSTD_decompress(back, sizeof(back), small.p, small.n), TEXT_BYTES);
    assert_memory_equal(back, text, TEXT_BYTES);
    tr_buf_fini(&small);

    squeeze(TR_COMPRESS_GZIP, text, TEXT_BYTES, 5000, &small);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (unsigned char *)small.p;
    z.avail_in = (uInt)small.n;
    z.next_out = (unsigned char *)back;
    z.avail_out = sizeof(back);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, TEXT_BYTES);
    assert_memory_equal(back, text, TEXT_BYTES);
    (void)inflateEnd(&z);
    tr_buf_fini(&small);
}

static void the_same_in_gives_the_same_out_however_it_is_cut(void **state)
{
    (void)state;
    for (int c = 0; c < TR_COMPRESSIONS; c++) {
        struct tr_buf first;
        squeeze((enum tr_compression)c, text, TEXT_BYTES, TEXT_BYTES, &first);
        for (size_t piece = 333; piece < TEXT_BYTES; piece *= 9) {
            struct tr_buf other;
            squeeze((enum tr_compression)c, text, TEXT_BYTES, piece, &other);
            assert_int_equal(other.n, first.n);
            assert_memory_equal(other.p, first.p, first.n);
            tr_buf_fini(&other);
        }
        tr_buf_fini(&first);
    }
}

static void gzip_has_no_time_and_no_name(void **state)
{
    static const unsigned char head[8] = { 0x1F, 0x8B, 8, 0, 0, 0, 0, 0 };
    struct tr_buf small;

    (void)state;
    squeeze(TR_COMPRESS_GZIP, text, 100, 100, &small);
    assert_memory_equal(small.p, head, sizeof(head));
    tr_buf_fini(&small);
}

static void a_cut_stream_is_noticed(void **state)
{
    (void)state;
    for (int c = TR_COMPRESS_GZIP; c < TR_COMPRESSIONS; c++) {
        struct tr_buf small;
        squeeze((enum tr_compression)c, text, TEXT_BYTES, TEXT_BYTES, &small);
        for (size_t keep = 0; keep < small.n; keep += 1 + small.n / 37) {
            struct tr_buf back;
            struct tr_err err = { 0 };
            tr_buf_init(&back, LIMIT);
            assert_int_equal(widen((enum tr_compression)c, small.p, keep, 4096, &back, &err),
                             TR_INVALID);
            assert_string_equal(err.id, "encode.cut");
            tr_buf_fini(&back);
        }
        tr_buf_fini(&small);
    }
}

static void damage_is_noticed(void **state)
{
    (void)state;
    for (int c = TR_COMPRESS_GZIP; c < TR_COMPRESSIONS; c++) {
        struct tr_buf small;
        squeeze((enum tr_compression)c, text, TEXT_BYTES, TEXT_BYTES, &small);
        /* gzip's header has bytes that mean nothing; the rest is under its checksum */
        for (size_t at = 10; at < small.n; at += 1 + small.n / 41) {
            struct tr_buf back;
            tr_buf_init(&back, LIMIT);
            small.p[at] ^= 0x10;
            assert_int_equal(widen((enum tr_compression)c, small.p, small.n, 4096, &back, NULL),
                             TR_INVALID);
            small.p[at] ^= 0x10;
            tr_buf_fini(&back);
        }
        tr_buf_ch(&small, 'x');
        struct tr_buf back;
        tr_buf_init(&back, LIMIT);
        assert_int_equal(widen((enum tr_compression)c, small.p, small.n, 4096, &back, NULL),
                         TR_INVALID);
        tr_buf_fini(&back);
        tr_buf_fini(&small);
    }
}

static void a_full_buffer_stops_the_stream(void **state)
{
    (void)state;
    for (int c = 0; c < TR_COMPRESSIONS; c++) {
        struct tr_buf out;
        struct tr_compressor *z = NULL;
        struct tr_err err = { 0 };
        tr_buf_init(&out, 1000);
        assert_int_equal(tr_compressor_new((enum tr_compression)c, 0, tr_pour_buf, &out, &z, &err),
                         TR_OK);
        enum tr_rc rc = tr_compressor_write(z, text, TEXT_BYTES, &err);
        if (rc == TR_OK)
            rc = tr_compressor_finish(z, &err);
        assert_int_equal(rc, TR_INTERNAL);
        assert_string_equal(err.id, "encode.too_big");
        tr_compressor_free(z);
        tr_buf_fini(&out);
    }
}

static void a_file_takes_it(void **state)
{
    FILE *f = tmpfile();
    int fd = fileno(f);
    struct tr_compressor *z = NULL;
    struct tr_buf want;
    static char got[TEXT_BYTES];

    (void)state;
    assert_int_equal(tr_compressor_new(TR_COMPRESS_ZSTD, 0, tr_pour_fd, &fd, &z, NULL), TR_OK);
    assert_int_equal(tr_compressor_write(z, text, TEXT_BYTES, NULL), TR_OK);
    assert_int_equal(tr_compressor_finish(z, NULL), TR_OK);
    tr_compressor_free(z);
    squeeze(TR_COMPRESS_ZSTD, text, TEXT_BYTES, TEXT_BYTES, &want);
    assert_int_equal(pread(fd, got, sizeof(got), 0), want.n);
    assert_memory_equal(got, want.p, want.n);
    tr_buf_fini(&want);
    (void)fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_suffixes),
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(other_readers_read_it),
        cmocka_unit_test(the_same_in_gives_the_same_out_however_it_is_cut),
        cmocka_unit_test(gzip_has_no_time_and_no_name),
        cmocka_unit_test(a_cut_stream_is_noticed),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(a_full_buffer_stops_the_stream),
        cmocka_unit_test(a_file_takes_it),
    };
    return cmocka_run_group_tests(tests, make_text, NULL);
}
