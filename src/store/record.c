#include "store/record.h"

#include <string.h>

#include "base/hash.h"
#include "model/event.h"

void segment_head_seal(struct segment_head *h, uint32_t salt)
{
    h->crc = tr_crc32c(salt, h, offsetof(struct segment_head, crc));
}

enum tr_rc segment_head_check(const struct segment_head *h, uint32_t salt, uint32_t epoch,
                              struct tr_err *err)
{
    if (memcmp(h->magic, SEGMENT_MAGIC, sizeof(h->magic)) != 0)
        return tr_fail(err, TR_INVALID, "store.bad_head", NULL, "not a journal segment");
    if (h->crc != tr_crc32c(salt, h, offsetof(struct segment_head, crc)))
        return tr_fail(err, TR_INVALID, "store.bad_head", NULL, "the head's checksum is wrong");
    if (h->format > JOURNAL_FORMAT)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "journal format %u; this program knows %d", h->format, JOURNAL_FORMAT);
    if (h->epoch != epoch)
        return tr_fail(err, TR_INVALID, "store.bad_head", NULL, "it belongs to store epoch %u",
                       h->epoch);
    return TR_OK;
}

static uint32_t head_crc(const struct record_head *h, const void *counters, uint32_t salt)
{
    struct record_head copy = *h;

    copy.head_crc = 0;
    return tr_crc32c(tr_crc32c(salt, &copy, sizeof(copy)), counters,
                     record_prefix(h) - sizeof(copy));
}

void record_head_seal(struct record_head *h, uint32_t salt)
{
    h->head_crc = head_crc(h, h + 1, salt);
}

size_t record_head_look(const void *p, size_t n, uint32_t salt, struct record_head *ret)
{
    struct record_head h;

    if (n < sizeof(h))
        return 0;
    memcpy(&h, p, sizeof(h));
    if (h.magic != RECORD_MAGIC || h.counters > RECORD_COUNTERS ||
        h.events_bytes > RECORD_EVENT + RECORD_BYTES || h.events_bytes % 8 != 0)
        return 0;

    size_t prefix = record_prefix(&h);
    *ret = h;
    if (prefix > n)
        return prefix;
    if (h.head_crc != head_crc(&h, (const char *)p + sizeof(h), salt))
        return 0;
    if (h.last_stamp < h.first_stamp || h.seq == 0)
        return 0;
    return prefix;
}

enum tr_rc record_head_known(const struct record_head *h, struct tr_err *err)
{
    if (h->type < RECORD_GROUP || h->type > RECORD_COMMAND)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "a journal record of unknown type %u", h->type);
    if (h->event_format > TR_EVENT_FORMAT)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "event format %u; this program knows %d", h->event_format, TR_EVENT_FORMAT);
    return TR_OK;
}

bool record_events_sound(const struct record_head *h, const char *events, uint32_t salt)
{
    if (h->events_crc != tr_crc32c(salt, events, h->events_bytes))
        return false;

    size_t at = 0;
    uint32_t n = 0;
    int64_t last = h->first_stamp - 1;
    while (at < h->events_bytes) {
        struct tr_event e;
        size_t size = tr_event_unpack(events + at, h->events_bytes - at, &e);
        if (size == 0 || e.inserted_at <= last)
            return false;
        last = e.inserted_at;
        at += size;
        n++;
    }
    return n == h->events && last <= h->last_stamp;
}
