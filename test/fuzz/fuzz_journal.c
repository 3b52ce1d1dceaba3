/* A journal segment as a damaged disk may give it. Checksums are made right first where the first
 * byte says so, so that what stands behind them is reached, too. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "model/event.h"
#include "store/journal_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { SALT = 0x5A17 };

/* Gives the record at p right checksums, when its lengths fit into n bytes. */
static void mend(char *p, size_t n)
{
    struct record_head h;

    if (n < sizeof(h))
        return;
    memcpy(&h, p, sizeof(h));
    if (h.magic != RECORD_MAGIC || h.counters > RECORD_COUNTERS || record_size(&h) > n)
        return;
    h.events_crc = tr_crc32c(SALT, p + record_prefix(&h), h.events_bytes);
    char *copy = malloc(record_prefix(&h));
    assert(copy != NULL);
    memcpy(copy, p, record_prefix(&h));
    memcpy(copy, &h, sizeof(h));
    record_head_seal((struct record_head *)(void *)copy, SALT);
    memcpy(p, copy, record_prefix(&h));
    free(copy);
}

static void take(const char *p, const struct record_head *h)
{
    const char *events = p + record_prefix(h);
    uint32_t n = 0;

    (void)!record_head_known(h, &(struct tr_err){ 0 });
    if (!record_events_sound(h, events, SALT))
        return;
    for (size_t at = 0; at < h->events_bytes; n++) {
        struct tr_event e;
        size_t size = tr_event_unpack(events + at, h->events_bytes - at, &e);
        assert(size > 0);
        assert(e.inserted_at >= h->first_stamp && e.inserted_at <= h->last_stamp);
        at += size;
    }
    assert(n == h->events);
}

/* As recovery and check do it: record after record, and the next whole one behind damage. */
static void walk(const struct journal *j, int fd, const char *p, size_t end)
{
    struct tr_buf prefix;
    struct tr_err err;
    uint64_t at = 0;

    tr_buf_init(&prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    while (at < end) {
        struct record_head h;
        uint64_t later;
        bool found;
        assert(journal_look_at(j, fd, at, end, &prefix, &found, &err) == TR_OK);
        if (found) {
            memcpy(&h, prefix.p, sizeof(h));
            assert(prefix.n == record_prefix(&h) && record_size(&h) <= end - at);
            take(p + at, &h);
            at += record_size(&h);
            continue;
        }
        assert(journal_find_later(j, fd, at + 1, end, 0, &found, &later, &h, &err) == TR_OK);
        if (!found)
            break;
        assert(later > at && later % 8 == 0);
        at = later;
    }
    tr_buf_fini(&prefix);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static int fd = -1;
    struct journal j = { .salt = SALT };

    if (n == 0 || n > 1 << 20)
        return 0;
    if (fd < 0)
        fd = memfd_create("segment", MFD_CLOEXEC);
    assert(fd >= 0);
    size_t size = n - 1;
    char *p = malloc(size + 1);
    assert(p != NULL);
    memcpy(p, bytes + 1, size);
    if (bytes[0] % 2 == 1)
        for (size_t at = 0; at < size; at += 8)
            mend(p + at, size - at);

    struct segment_head head = { .epoch = 1 };
    memcpy(&head, p, size < sizeof(head) ? size : sizeof(head));
    (void)!segment_head_check(&head, SALT, 1, &(struct tr_err){ 0 });

    assert(ftruncate(fd, 0) == 0 && pwrite(fd, p, size, 0) == (ssize_t)size);
    walk(&j, fd, p, size);
    free(p);
    return 0;
}
