/* Client times: what is read is an instant that can be written and read again. */
#include <assert.h>
#include <stdint.h>

#include "capture/when.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tr_str s = { (const char *)bytes, n };
    int64_t t;
    int64_t again;
    char text[TR_TIME_TEXT];

    /* What the strict parser takes, the lenient one takes, and means the same by it. */
    if (tr_time_parse(s, &again)) {
        assert(tr_when_parse(s, &t));
        assert(t == again);
    }
    if (!tr_when_parse(s, &t))
        return 0;
    /* Year 0, or a zone's distance outside of what is kept. */
    assert(t > TR_TIME_MIN - 367 * TR_US_PER_DAY && t < TR_TIME_MAX + TR_US_PER_DAY);
    if (t < TR_TIME_MIN || t > TR_TIME_MAX)
        return 0;
    size_t text_n = tr_time_format(t, text);
    assert(tr_when_parse((struct tr_str){ text, text_n }, &again) && again == t);
    if (tr_when_number(s, &again))
        assert(again == t);
    return 0;
}
