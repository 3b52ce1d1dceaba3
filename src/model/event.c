#include "model/event.h"

#include <stddef.h>

#include "base/hash.h"

/* The packed form: this header, then event, distinct_id and properties, padded with zeros to a
 * multiple of 8. Little-endian, as every machine this runs on. */
struct packed {
    uint32_t size; /* of all, padding included */
    int32_t project;
    uint32_t flags;
    uint32_t properties_n;
    uint16_t event_n;
    uint16_t distinct_id_n;
    uint32_t reserved;
    int64_t inserted_at;
    int64_t timestamp;
    struct tr_uuid uuid;
    struct tr_span set, set_once, ip, elements_chain;
};

_Static_assert(sizeof(struct packed) == 88, "the packed header is a format on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed events are little-endian");

size_t tr_event_packed_size(const struct tr_event *e)
{
    return (sizeof(struct packed) + e->event.n + e->distinct_id.n + e->properties.n + 7) &
           ~(size_t)7;
}

static char *put(char *at, struct tr_str s)
{
    if (s.n > 0)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

void tr_event_pack(struct tr_buf *out, const struct tr_event *e)
{
    size_t size = tr_event_packed_size(e);

    if (e->event.n > UINT16_MAX || e->distinct_id.n > UINT16_MAX || size > UINT32_MAX) {
        out->failed = true;
        return;
    }
    char *at = tr_buf_reserve(out, size);
    if (at == NULL)
        return;

    struct packed head = {
        .size = (uint32_t)size,
        .project = e->project,
        .flags = e->flags,
        .properties_n = (uint32_t)e->properties.n,
        .event_n = (uint16_t)e->event.n,
        .distinct_id_n = (uint16_t)e->distinct_id.n,
        .inserted_at = e->inserted_at,
        .timestamp = e->timestamp,
        .uuid = e->uuid,
        .set = e->set,
        .set_once = e->set_once,
        .ip = e->ip,
        .elements_chain = e->elements_chain,
    };
    char *end = at + size;
    memcpy(at, &head, sizeof(head));
    at = put(at + sizeof(head), e->event);
    at = put(at, e->distinct_id);
    at = put(at, e->properties);
    memset(at, 0, (size_t)(end - at));
    tr_buf_used(out, size);
}

static bool span_fits(struct tr_span s, uint32_t n)
{
    return s.at <= n && s.n <= n - s.at;
}

size_t tr_event_unpack(const char *p, size_t n, struct tr_event *ret)
{
    struct packed head;

    if (n < sizeof(head))
        return 0;
    memcpy(&head, p, sizeof(head));
    size_t body = (size_t)head.event_n + head.distinct_id_n + head.properties_n;
    if (head.size > n || head.size % 8 != 0 || head.size < sizeof(head) + body ||
        head.size - sizeof(head) - body >= 8)
        return 0;
    if (!span_fits(head.set, head.properties_n) || !span_fits(head.set_once, head.properties_n) ||
        !span_fits(head.ip, head.properties_n) ||
        !span_fits(head.elements_chain, head.properties_n))
        return 0;

    const char *at = p + sizeof(head);
    *ret = (struct tr_event){
        .project = head.project,
        .flags = head.flags,
        .uuid = head.uuid,
        .inserted_at = head.inserted_at,
        .timestamp = head.timestamp,
        .event = { at, head.event_n },
        .distinct_id = { at + head.event_n, head.distinct_id_n },
        .properties = { at + head.event_n + head.distinct_id_n, head.properties_n },
        .set = head.set,
        .set_once = head.set_once,
        .ip = head.ip,
        .elements_chain = head.elements_chain,
    };
    return head.size;
}

void tr_event_settle(char *packed, int32_t project, int64_t timestamp, uint32_t more_flags,
                     const struct tr_uuid *uuid)
{
    struct packed head;

    memcpy(&head, packed, sizeof(head));
    head.project = project;
    head.timestamp = timestamp;
    head.flags |= more_flags;
    if (uuid != NULL)
        head.uuid = *uuid;
    memcpy(packed, &head, sizeof(head));
}

void tr_event_stamp(char *packed, int64_t inserted_at)
{
    memcpy(packed + offsetof(struct packed, inserted_at), &inserted_at, sizeof(inserted_at));
}

uint64_t tr_event_identity(const struct tr_event *e)
{
    uint64_t seed = tr_hash64(e->event.p, e->event.n, e->event.n);

    return tr_hash64(e->distinct_id.p, e->distinct_id.n, seed);
}
