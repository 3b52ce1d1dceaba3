/* A sealed block and its row as a damaged disk may give them, behind a right checksum. */
#include <assert.h>
#include <string.h>

#include "model/event.h"
#include "store/block.h"
#include "store/who.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The first bytes are what the row says. */
struct said {
    int32_t project;
    uint32_t n;
    int64_t lo, hi;
    uint32_t raw_bytes;
    uint32_t reserved;
};

/* Persons that are taken apart lie inside of the block. */
static void check_persons(const struct block_row *row, struct tr_str raw,
                          const struct block_layout *l)
{
    enum { MOST = 1000 };
    struct who_person p[MOST];
    size_t at = l->events_bytes + block_numbers_bytes(row->n);

    if (l->events_bytes == raw.n || l->persons > MOST ||
        !who_read((struct tr_str){ raw.p + at, raw.n - at }, l->persons, p))
        return;
    for (size_t i = 0; i < l->persons; i++)
        assert(p[i].properties.p >= raw.p + at &&
               p[i].properties.p + p[i].properties.n <= raw.p + raw.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static ZSTD_DCtx *z;
    struct said said;
    struct tr_buf out;
    struct block_layout layout;

    if (z == NULL)
        z = ZSTD_createDCtx();
    if (z == NULL || n < sizeof(said))
        return 0;
    memcpy(&said, bytes, sizeof(said));
    struct block_row row = { .project = said.project,
                             .n = said.n,
                             .lo = said.lo,
                             .hi = said.hi,
                             .raw_bytes = said.raw_bytes % (1 << 20) };
    struct tr_str data = { (const char *)bytes + sizeof(said), n - sizeof(said) };
    row.crc = block_crc(&row, data);

    struct tr_err err = { 0 };
    tr_buf_init(&out, 2 << 20);
    enum tr_rc rc = block_unpack(z, &row, data, &out, &layout, &err);
    assert(rc == TR_OK || rc == TR_REFUSED);
    if (rc == TR_OK) {
        int64_t last = row.lo - 1;
        uint32_t events = 0;
        assert(out.n == row.raw_bytes);
        assert(layout.events_bytes <= out.n);
        for (size_t at = 0; at < layout.events_bytes; events++) {
            struct tr_event e;
            size_t size = tr_event_unpack(out.p + at, layout.events_bytes - at, &e);
            assert(size > 0 && e.project == row.project && e.inserted_at > last);
            last = e.inserted_at;
            at += size;
        }
        check_persons(&row, tr_buf_view(&out), &layout);
        assert(events == row.n && last == row.hi);
    }
    tr_buf_fini(&out);
    return 0;
}
