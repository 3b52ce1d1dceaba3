/* One event, as views, and its packed form: the bytes that journal and blocks hold.
 *
 * The packed form is made once, by capture, straight into the buffer that the journal writes;
 * sealing copies it as it is. Its layout is a format on disk: TR_EVENT_FORMAT changes when it does.
 */
#ifndef TR_MODEL_EVENT_H
#define TR_MODEL_EVENT_H

#include "base/buf.h"
#include "base/uuid.h"

enum { TR_EVENT_FORMAT = 1 };

/* Where a value lies inside properties: raw JSON bytes. n == 0: not there. */
struct tr_span {
    uint32_t at, n;
};

/* What a destination may want to know without looking (set by capture from the scanner's flags). */
enum {
    TR_EVENT_JSON_NUL = 1 << 0,       /* properties hold \u0000 */
    TR_EVENT_JSON_SURROGATE = 1 << 1, /* properties hold an unpaired surrogate escape */
    TR_EVENT_JSON_WIDE = 1 << 2,      /* properties hold a number beyond float64 */
    TR_EVENT_JSON_DEEP = 1 << 3,      /* properties nest over 100 levels */
    TR_EVENT_JSON_BIG_INT = 1 << 4,   /* properties hold an integer outside int64 */
    TR_EVENT_TEXT_NUL = 1 << 5,       /* event or distinct_id holds a NUL byte */
    /* Nobody has looked: all of it may be there (rows of other models). */
    TR_EVENT_UNKNOWN = TR_EVENT_JSON_NUL | TR_EVENT_JSON_SURROGATE | TR_EVENT_JSON_WIDE |
                       TR_EVENT_JSON_DEEP | TR_EVENT_JSON_BIG_INT | TR_EVENT_TEXT_NUL,
    TR_EVENT_HISTORICAL = 1 << 8, /* sent with historical_migration */
    TR_EVENT_MADE_UUID = 1 << 9,  /* the client gave no valid uuid */
    /* What a warning tells of (identity/warnings.h); the event was taken all the same. */
    TR_EVENT_NO_TIME = 1 << 10,     /* its timestamp could not be read: it is the server's time */
    TR_EVENT_ID_CUT = 1 << 11,      /* its distinct id was longer */
    TR_EVENT_NAME_CUT = 1 << 12,    /* its name was longer */
    TR_EVENT_SHARED_UUID = 1 << 13, /* another event has its uuid: this one's was made */
};

struct tr_event {
    int32_t project;
    uint32_t flags;
    struct tr_uuid uuid;
    int64_t inserted_at;       /* given by the store's writer; 0 before */
    int64_t timestamp;         /* when it happened, corrected for the client's clock */
    struct tr_str event;       /* valid UTF-8 */
    struct tr_str distinct_id; /* valid UTF-8, at most 200 characters */
    struct tr_str properties;  /* a valid JSON object with no bare NaN or Infinity */
    /* inside properties, top level: */
    struct tr_span set, set_once, ip, elements_chain;
};

/* Bytes of the packed form, a multiple of 8. */
size_t tr_event_packed_size(const struct tr_event *e);

/* Appends the packed form; out->failed when it did not fit. */
void tr_event_pack(struct tr_buf *out, const struct tr_event *e);

/* Reads the packed event at p; ret's views point into it. Returns the bytes it takes, or 0 when
 * p[0..n) does not start with a whole, consistent one (offsets and lengths are checked; the JSON is
 * not). */
size_t tr_event_unpack(const char *p, size_t n, struct tr_event *ret);

/* In place, for capture, before anybody else sees the packed event: what only the end of a request
 * tells. more_flags are added; uuid may be NULL: it stays. */
void tr_event_settle(char *packed, int32_t project, int64_t timestamp, uint32_t more_flags,
                     const struct tr_uuid *uuid);

/* In place, for the store's writer: no other field of a packed event ever changes after capture. */
void tr_event_stamp(char *packed, int64_t inserted_at);

/* XXH3 of event and distinct_id with their lengths: two events of one uuid that differ here are
 * two events, not a re-send. The hash is part of ids (store/commit.c): it never changes. */
uint64_t tr_event_identity(const struct tr_event *e);

static inline struct tr_str tr_event_span(const struct tr_event *e, struct tr_span s)
{
    return s.n == 0 ? (struct tr_str){ NULL, 0 } : (struct tr_str){ e->properties.p + s.at, s.n };
}

#endif
