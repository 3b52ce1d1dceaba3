/* A sealed block: packed events of one project, back to back, as one zstd frame behind a small
 * head. Pure. A block is told by its data and its row in blocks.db; the checksum covers both. */
#ifndef TR_STORE_BLOCK_H
#define TR_STORE_BLOCK_H

#include <zstd.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/record.h"

enum { BLOCK_FORMAT = 1, BLOCK_LEVEL = 1 };
enum { BLOCK_MOST = RECORD_EVENT + RECORD_BYTES }; /* raw bytes of a block */

struct block_row {
    int64_t id;
    int32_t project;
    uint32_t n;
    int64_t lo, hi; /* inserted_at of the first and the last event */
    uint64_t raw_bytes;
    uint32_t crc;
};

/* Compresses raw (whose first and last stamp and count stand in row) into out, cleared first, and
 * sets raw_bytes and crc. */
TR_MUST_USE enum tr_rc block_pack(ZSTD_CCtx *z, struct tr_str raw, struct block_row *row,
                                  struct tr_buf *out, struct tr_err *err);

/* Decompresses into out, cleared first, and checks everything: TR_REFUSED "store.damaged". */
TR_MUST_USE enum tr_rc block_unpack(ZSTD_DCtx *z, const struct block_row *row, struct tr_str data,
                                    struct tr_buf *out, struct tr_err *err);

uint32_t block_crc(const struct block_row *row, struct tr_str data);

#endif
