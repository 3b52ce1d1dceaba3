#include "store/block.h"

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "model/event.h"

#define BLOCK_MAGIC UINT32_C(0x4B425254) /* "TRBK" */

struct block_head {
    uint32_t magic;
    uint16_t format;
    uint16_t event_format;
};

/* From format 2 on. */
struct block_more {
    uint32_t events_bytes;
    uint32_t persons;
};

uint32_t block_crc(const struct block_row *row, struct tr_str data)
{
    struct {
        int64_t project, n, lo, hi, raw_bytes;
    } said = { row->project, row->n, row->lo, row->hi, (int64_t)row->raw_bytes };

    return tr_crc32c(tr_crc32c(0, &said, sizeof(said)), data.p, data.n);
}

enum tr_rc block_pack(ZSTD_CCtx *z, struct tr_str raw, const struct block_layout *layout,
                      struct block_row *row, struct tr_buf *out, struct tr_err *err)
{
    struct block_head h = { BLOCK_MAGIC, BLOCK_FORMAT, TR_EVENT_FORMAT };
    struct block_more more = { (uint32_t)layout->events_bytes, (uint32_t)layout->persons };
    size_t bound = ZSTD_compressBound(raw.n);

    tr_buf_clear(out);
    tr_buf_add(out, &h, sizeof(h));
    tr_buf_add(out, &more, sizeof(more));
    char *p = tr_buf_reserve(out, bound);
    if (p == NULL)
        return tr_fail_oom(err);
    size_t n = ZSTD_compressCCtx(z, p, bound, raw.p, raw.n, BLOCK_LEVEL);
    if (ZSTD_isError(n))
        return tr_fail(err, TR_INTERNAL, "store.zstd", NULL, "zstd: %s", ZSTD_getErrorName(n));
    tr_buf_used(out, n);
    row->raw_bytes = raw.n;
    row->crc = block_crc(row, tr_buf_view(out));
    return TR_OK;
}

static enum tr_rc damaged(const struct block_row *row, const char *what, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "store.damaged",
                   "run tailrace store check; restore the data folder from a backup",
                   "blocks.db, block %" PRId64 " of project %" PRId32 ": %s", row->id, row->project,
                   what);
}

static bool events_sound(const struct block_row *row, struct tr_str raw)
{
    size_t at = 0;
    uint32_t n = 0;
    int64_t last = INT64_MIN;

    while (at < raw.n) {
        struct tr_event e;
        size_t size = tr_event_unpack(raw.p + at, raw.n - at, &e);
        if (size == 0 || e.project != row->project || (n > 0 && e.inserted_at <= last) ||
            (n == 0 && e.inserted_at != row->lo))
            return false;
        last = e.inserted_at;
        at += size;
        n++;
    }
    return n > 0 && n == row->n && last == row->hi;
}

/* The head, and where the frame begins. */
static enum tr_rc read_head(const struct block_row *row, struct tr_str data,
                            struct block_layout *ret, struct tr_str *ret_frame, struct tr_err *err)
{
    struct block_head h;
    struct block_more more = { (uint32_t)row->raw_bytes, 0 };
    size_t n = sizeof(h);

    if (data.n < sizeof(h) || row->crc != block_crc(row, data))
        return damaged(row, "its checksum is wrong", err);
    memcpy(&h, data.p, sizeof(h));
    if (h.magic != BLOCK_MAGIC)
        return damaged(row, "it is no block", err);
    if (h.format > BLOCK_FORMAT || h.event_format > TR_EVENT_FORMAT)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "block format %u with events of format %u; this program knows %d and %d",
                       h.format, h.event_format, BLOCK_FORMAT, TR_EVENT_FORMAT);
    if (h.format > 1) {
        if (data.n - n < sizeof(more))
            return damaged(row, "it is too short", err);
        memcpy(&more, data.p + n, sizeof(more));
        n += sizeof(more);
    }
    *ret = (struct block_layout){ more.events_bytes, more.persons };
    *ret_frame = (struct tr_str){ data.p + n, data.n - n };
    if (more.events_bytes > row->raw_bytes ||
        (h.format > 1 && row->raw_bytes - more.events_bytes < block_numbers_bytes(row->n)))
        return damaged(row, "its parts do not fit", err);
    return TR_OK;
}

/* Every number is that of a person. */
static bool numbers_sound(const struct block_row *row, struct tr_str raw,
                          const struct block_layout *l)
{
    if (l->events_bytes == raw.n)
        return true;
    for (uint32_t i = 0; i < row->n; i++) {
        uint32_t number;
        memcpy(&number, raw.p + l->events_bytes + i * sizeof(number), sizeof(number));
        if (number > l->persons)
            return false;
    }
    return true;
}

enum tr_rc block_unpack(ZSTD_DCtx *z, const struct block_row *row, struct tr_str data,
                        struct tr_buf *out, struct block_layout *ret, struct tr_err *err)
{
    struct tr_str frame = { NULL, 0 };

    if (read_head(row, data, ret, &frame, err) != TR_OK)
        return err == NULL ? TR_REFUSED : err->rc;
    if (row->raw_bytes > BLOCK_MOST || ZSTD_getFrameContentSize(frame.p, frame.n) != row->raw_bytes)
        return damaged(row, "its size is not what it says", err);
    tr_buf_clear(out);
    char *p = tr_buf_reserve(out, row->raw_bytes + 1);
    if (p == NULL)
        return tr_fail_oom(err);
    size_t n = ZSTD_decompressDCtx(z, p, row->raw_bytes, frame.p, frame.n);
    if (ZSTD_isError(n) || n != row->raw_bytes)
        return damaged(row, ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is too short", err);
    tr_buf_used(out, n);
    if (!events_sound(row, (struct tr_str){ p, ret->events_bytes }))
        return damaged(row, "its events are not what it says", err);
    if (!numbers_sound(row, tr_buf_view(out), ret))
        return damaged(row, "an event belongs to a person who is not there", err);
    return TR_OK;
}
