/* Time-zone files: whatever is in one, reading it ends, and a zone that was read cuts time into
 * days and weeks without gap or overlap.
 *
 * The first byte says at which instant to look; the rest is the file. */
#include <assert.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/schedule.h"
#include "model/zone_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { INTERVALS = 40, CHANGES = 300 };

static void walk_intervals(const struct tr_zone *z, enum tr_unit unit, int64_t from)
{
    struct tr_schedule s = {
        .unit = unit, .every = 1, .offset_day = 3, .offset_hour = 2, .zone = z
    };
    int64_t t = from;

    for (int i = 0; i < INTERVALS; i++) {
        struct tr_range r = tr_schedule_at(&s, t);
        assert(r.lo <= t && t < r.hi);
        if (i > 0)
            assert(r.lo == t);
        t = r.hi;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct tr_zone *z = NULL;
    struct tr_err err;

    if (n < 1)
        return 0;
    int64_t from = (int64_t)data[0] * 365 * 86400 / 2; /* 1970 to 2097 */
    /* a copy of its own size, so that a look beyond it is seen */
    char *bytes = malloc(n);
    assert(bytes != NULL);
    memcpy(bytes, data + 1, n - 1);
    enum tr_rc rc = tr_zone_parse(TR_STR("Fuzz/Zone"), (struct tr_str){ bytes, n - 1 }, &z, &err);
    free(bytes);
    if (rc != TR_OK) {
        assert(rc == TR_INVALID);
        return 0;
    }
    int64_t s = from;
    for (int i = 0; i < CHANGES && s != INT64_MAX; i++) {
        int offset = tr_zone_offset_at(z, s);
        assert(offset >= -93600 && offset <= 93600);
        int64_t next = tr_zone_next_change(z, s);
        assert(next > s);
        s = next;
    }
    walk_intervals(z, TR_UNIT_DAY, from * TR_US_PER_S);
    walk_intervals(z, TR_UNIT_WEEK, from * TR_US_PER_S);
    tr_zone_free(z);
    return 0;
}
