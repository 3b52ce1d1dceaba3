/* Streams of bytes, squeezed and back: none, gzip, zstd.
 *
 * The same bytes in, however they were cut into pieces, give the same bytes out (of one version of
 * the libraries): no time, no name, no thread decides. What comes out goes to a function of the
 * caller: tr_pour_buf, tr_pour_fd or one of its own. Memory is bounded by the format's window. One
 * object belongs to one thread.
 */
#ifndef TR_ENCODE_COMPRESS_H
#define TR_ENCODE_COMPRESS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum tr_compression { TR_COMPRESS_NONE, TR_COMPRESS_GZIP, TR_COMPRESS_ZSTD };

enum { TR_COMPRESSIONS = 3 };
/* For an option table. */
#define TR_COMPRESSION_CHOICES "none|gzip|zstd"

/* False when there is no such. NULL is none. */
TR_MUST_USE bool tr_compression_parse(const char *name, enum tr_compression *ret);
const char *tr_compression_name(enum tr_compression c);
/* "", ".gz", ".zst" */
const char *tr_compression_suffix(enum tr_compression c);

/* Takes a piece of the stream; its failure becomes that of the call that poured. */
typedef enum tr_rc tr_pour(void *to, const void *p, size_t n, struct tr_err *err);

/* to is a struct tr_buf; a full one is TR_INTERNAL "encode.too_big". */
tr_pour tr_pour_buf;
/* to points to the int of an open file. */
tr_pour tr_pour_fd;

struct tr_compressor;

/* level 0: 6 of gzip, 3 of zstd. */
TR_MUST_USE enum tr_rc tr_compressor_new(enum tr_compression c, int level, tr_pour *pour, void *to,
                                         struct tr_compressor **ret, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_compressor_write(struct tr_compressor *c, const void *p, size_t n,
                                           struct tr_err *err);
/* Ends the stream; nothing may be written after it. */
TR_MUST_USE enum tr_rc tr_compressor_finish(struct tr_compressor *c, struct tr_err *err);
void tr_compressor_free(struct tr_compressor *c);

struct tr_decompressor;

TR_MUST_USE enum tr_rc tr_decompressor_new(enum tr_compression c, tr_pour *pour, void *to,
                                           struct tr_decompressor **ret, struct tr_err *err);
/* TR_INVALID "encode.damaged" for anything that such a stream cannot hold, checksums included. */
TR_MUST_USE enum tr_rc tr_decompressor_write(struct tr_decompressor *d, const void *p, size_t n,
                                             struct tr_err *err);
/* TR_INVALID "encode.cut" when the stream has not come to its end. */
TR_MUST_USE enum tr_rc tr_decompressor_finish(struct tr_decompressor *d, struct tr_err *err);
void tr_decompressor_free(struct tr_decompressor *d);

#endif
