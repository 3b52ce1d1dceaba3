/* The journal's bytes: heads of segments and records, and their checks. Pure.
 *
 * A segment is a head and records, all multiples of 8. A record is a head, the counters of the
 * projects in it, then packed events (model/event.h). Records of one write and sync make a commit;
 * its last record says so. A record never spans a minute of the ingestion clock, so its counters
 * belong to the minute of first_stamp. Little-endian; docs/store.md has the tables.
 *
 * Checksums start from the store's salt: bytes that a client sent can never look like a record.
 */
#ifndef TR_STORE_RECORD_H
#define TR_STORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { JOURNAL_FORMAT = 1 };

enum {
    RECORD_BYTES = 1 << 20,   /* a record is closed at this many bytes of events */
    RECORD_COUNTERS = 4096,   /* and at this many projects */
    RECORD_EVENT = 256 << 20, /* no event is larger; capture takes bodies of some 20 MiB */
};

struct segment_head {
    char magic[8]; /* SEGMENT_MAGIC */
    uint32_t format;
    uint32_t epoch;
    uint64_t first_seq;   /* of the record that follows */
    int64_t last_stamp;   /* of the segment before */
    uint64_t last_commit; /* likewise */
    uint8_t reserved[20];
    uint32_t crc; /* of all before it, from the salt */
};

enum record_type {
    RECORD_GROUP = 1,   /* events and counters */
    RECORD_FENCE = 2,   /* nothing, but the clock is closed through last_stamp */
    RECORD_COMMAND = 3, /* one event that no client sent: what a person told the store to do */
};

enum { RECORD_ENDS_COMMIT = 1 };

struct record_head {
    uint32_t magic;
    uint16_t type;
    uint16_t flags;
    uint32_t head_crc; /* of head (with this 0) and counters, from the salt */
    uint32_t events_crc;
    uint64_t seq;    /* 1, 2, 3, ... over all segments */
    uint64_t commit; /* 1, 2, 3, ...: a commit begins after the one before was synced */
    int64_t first_stamp, last_stamp;
    uint32_t counters;
    uint32_t events;
    uint32_t events_bytes;
    uint32_t event_format;
};

struct record_counter {
    int32_t project;
    uint32_t stored, duplicates, conflicts, refused;
    uint32_t reserved;
};

#define SEGMENT_MAGIC "TRJOURN\n"
#define RECORD_MAGIC  UINT32_C(0x524A5254) /* "TRJR" */

_Static_assert(sizeof(struct segment_head) == 64, "a format on disk");
_Static_assert(sizeof(struct record_head) == 64, "a format on disk");
_Static_assert(sizeof(struct record_counter) == 24, "a format on disk");

/* Events that clients sent, which everybody can read. */
static inline uint32_t record_stored(const struct record_head *h)
{
    return h->type == RECORD_GROUP ? h->events : 0;
}

static inline size_t record_prefix(const struct record_head *h)
{
    return sizeof(*h) + (size_t)h->counters * sizeof(struct record_counter);
}

static inline size_t record_size(const struct record_head *h)
{
    return record_prefix(h) + h->events_bytes;
}

void segment_head_seal(struct segment_head *h, uint32_t salt);

/* TR_INVALID "store.bad_head" when it is no head of this store; TR_REFUSED "store.newer_format". */
TR_MUST_USE enum tr_rc segment_head_check(const struct segment_head *h, uint32_t salt,
                                          uint32_t epoch, struct tr_err *err);

/* Sets head_crc; counters follow the head in memory. */
void record_head_seal(struct record_head *h, uint32_t salt);

/* Looks at the n bytes at p. 0: no record begins here. Else the bytes of head and counters; when
 * that is more than n the rest has to be read first and nothing was checked but the magic. */
size_t record_head_look(const void *p, size_t n, uint32_t salt, struct record_head *ret);

/* A type or event format that this program does not know, in a head whose checksum is right. */
TR_MUST_USE enum tr_rc record_head_known(const struct record_head *h, struct tr_err *err);

/* The events of a record: checksum, every event whole, stamps strictly increasing within the
 * head's, as many as it says. */
bool record_events_sound(const struct record_head *h, const char *events, uint32_t salt);

#endif
