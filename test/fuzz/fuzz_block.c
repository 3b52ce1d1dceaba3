/* A sealed block and its row as a damaged disk may give them, behind a right checksum. */
#include <assert.h>
#include <string.h>

#include "model/event.h"
#include "store/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The first bytes are what the row says. */
struct said {
    int32_t project;
    uint32_t n;
    int64_t lo, hi;
    uint32_t raw_bytes;
    uint32_t reserved;
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static ZSTD_DCtx *z;
    struct said said;
    struct tr_buf out;

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
    enum tr_rc rc = block_unpack(z, &row, data, &out, &err);
    assert(rc == TR_OK || rc == TR_REFUSED);
    if (rc == TR_OK) {
        int64_t last = row.lo - 1;
        uint32_t events = 0;
        assert(out.n == row.raw_bytes);
        for (size_t at = 0; at < out.n; events++) {
            struct tr_event e;
            size_t size = tr_event_unpack(out.p + at, out.n - at, &e);
            assert(size > 0 && e.project == row.project && e.inserted_at > last);
            last = e.inserted_at;
            at += size;
        }
        assert(events == row.n && last == row.hi);
    }
    tr_buf_fini(&out);
    return 0;
}
