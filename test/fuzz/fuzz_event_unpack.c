/* Packed events as they may come from a damaged disk. */
#include <assert.h>
#include <stdint.h>

#include "model/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void touch(struct tr_str s)
{
    volatile char sum = 0;

    for (size_t i = 0; i < s.n; i++)
        sum = (char)(sum ^ s.p[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *p = (const char *)bytes;
    struct tr_event e;
    struct tr_event again;
    struct tr_buf out;

    for (size_t taken; n > 0 && (taken = tr_event_unpack(p, n, &e)) > 0; p += taken, n -= taken) {
        assert(taken <= n && taken == tr_event_packed_size(&e));
        touch(e.event);
        touch(e.distinct_id);
        touch(e.properties);
        touch(tr_event_span(&e, e.set));
        touch(tr_event_span(&e, e.set_once));
        touch(tr_event_span(&e, e.ip));
        touch(tr_event_span(&e, e.elements_chain));

        tr_buf_init(&out, 1 << 24);
        tr_event_pack(&out, &e);
        assert(!out.failed && out.n == taken);
        assert(tr_event_unpack(out.p, out.n, &again) == taken);
        assert(tr_str_eq(again.properties, e.properties) && again.timestamp == e.timestamp);
        assert(tr_event_identity(&again) == tr_event_identity(&e));
        tr_buf_fini(&out);
    }
    return 0;
}
