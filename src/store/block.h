/* A sealed block: packed events of one project, back to back, then who each belonged to, as one
 * zstd frame behind a small head. Pure. A block is told by its data and its row in blocks.db; the
 * checksum covers both.
 *
 * Who: a number (uint32) for each event, filled up to eight, then the persons (who.h). */
#ifndef TR_STORE_BLOCK_H
#define TR_STORE_BLOCK_H

#include <zstd.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/record.h"

enum { BLOCK_FORMAT = 2, BLOCK_LEVEL = 1 };
/* Raw bytes of a block: its events, and persons up to BLOCK_PERSONS times that (more are in the
 * next block); but at least one event and its person. */
enum { BLOCK_PERSONS = 3 };
enum { BLOCK_MOST = RECORD_EVENT + 4 * (64 << 20) };

struct block_row {
    int64_t id;
    int32_t project;
    uint32_t n;
    int64_t lo, hi; /* inserted_at of the first and the last event */
    uint64_t raw_bytes;
    uint32_t crc;
    uint64_t events_bytes; /* not under the checksum: for planning only */
};

/* How the raw bytes are made up. */
struct block_layout {
    size_t events_bytes;
    size_t persons; /* their number */
};

static inline size_t block_numbers_bytes(size_t events)
{
    return (events * sizeof(uint32_t) + 7) & ~(size_t)7;
}

/* Compresses raw (whose first and last stamp and count stand in row) into out, cleared first, and
 * sets raw_bytes and crc. */
TR_MUST_USE enum tr_rc block_pack(ZSTD_CCtx *z, struct tr_str raw,
                                  const struct block_layout *layout, struct block_row *row,
                                  struct tr_buf *out, struct tr_err *err);

/* Decompresses into out, cleared first, and checks everything but the persons: TR_REFUSED
 * "store.damaged". A block of format 1 has no numbers: events_bytes is all of it. */
TR_MUST_USE enum tr_rc block_unpack(ZSTD_DCtx *z, const struct block_row *row, struct tr_str data,
                                    struct tr_buf *out, struct block_layout *ret,
                                    struct tr_err *err);

uint32_t block_crc(const struct block_row *row, struct tr_str data);

#endif
