/* The record of a session: what apply (session.c), the record's own part (session_record.c) and its
 * row (session_row.c) share.
 *
 * A record is a head, then one entry for each address that is kept, then bytes of text: those of
 * the addresses one behind the other, then the others. Texts are spans of the record; the entry's
 * and the end's address are mostly those of a kept one. Bytes that no span names any more go when
 * the record is built the next time.
 */
#ifndef TR_IDENTITY_SESSION_PRIV_H
#define TR_IDENTITY_SESSION_PRIV_H

#include "identity/session.h"

/* Format 1: every first text that is there is the entry's. Format 2 has a struct session_firsts
 * behind the last text, because of some this is not so. */
enum { SESSION_FORMAT = 1, SESSION_FORMAT_FIRSTS = 2 };

enum session_text {
    TEXT_DISTINCT_ID,
    TEXT_END_URL,
    TEXT_CLICK_URL,
    /* Of the entry: up to TEXT_FIRSTS each the first that there is, the others from one event. */
    TEXT_ENTRY,
    TEXT_ENTRY_URL = TEXT_ENTRY,
    TEXT_REFERRING_DOMAIN,
    TEXT_UTM_SOURCE,
    TEXT_UTM_CAMPAIGN,
    TEXT_UTM_MEDIUM,
    TEXT_UTM_TERM,
    TEXT_UTM_CONTENT,
    TEXT_GCLID,
    TEXT_FBCLID,
    TEXT_GAD_SOURCE,
    TEXT_FIRSTS_END,
    TEXT_GCLSRC = TEXT_FIRSTS_END,
    TEXT_DCLID,
    TEXT_GBRAID,
    TEXT_WBRAID,
    TEXT_MSCLKID,
    TEXT_TWCLID,
    TEXT_LI_FAT_ID,
    TEXT_MC_CID,
    TEXT_IGSHID,
    TEXT_TTCLID,
    TEXT_KX,
    TEXT_IRCLID,
    TEXTS
};

enum { FIRSTS = TEXT_FIRSTS_END - TEXT_ENTRY };

/* Where the first texts come from. Bit i and at[i] are of text TEXT_ENTRY + i, where it is there.
 */
struct session_firsts {
    uint16_t entry; /* the event that is the entry: at[i] says nothing more */
    uint16_t page;  /* a page or screen view */
    int64_t at[FIRSTS];
} __attribute__((packed));

/* Events that are counted. */
enum session_count { COUNT_PAGEVIEWS, COUNT_SCREENS, COUNT_AUTOCAPTURES, COUNTS };

struct session_span {
    uint16_t at, n; /* at == 0: NULL */
} __attribute__((packed));

/* One address of a page or screen view. */
struct session_url {
    uint32_t hash;
    struct session_span text;
} __attribute__((packed));

enum {
    SESSION_ENTRY_IS_PAGE = 1 << 0, /* the entry is a page or screen view */
    SESSION_END_IS_PAGE = 1 << 1,
    SESSION_HAS_CLICK = 1 << 2,
    SESSION_HAS_LCP = 1 << 3,
    SESSION_HAS_NUL = 1 << 4, /* some text held, or holds, a NUL byte */
    SESSION_FLAGS = (1 << 5) - 1,
};

/* Little-endian, a format on disk; records lie at any address. */
struct session_head {
    uint16_t format;
    uint16_t size; /* of the record */
    uint16_t n_urls;
    uint16_t flags;
    uint32_t counts[COUNTS];
    uint32_t reserved;
    int64_t start, end; /* of all events */
    int64_t entry_at, end_at, click_at, lcp_at;
    double lcp;
    int64_t changed_at;
    struct session_span text[TEXTS];
} __attribute__((packed));

_Static_assert(sizeof(struct session_head) == 188, "the head is a format on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

/* Texts that an event brings. */
struct session_news {
    uint32_t set; /* bit i: v[i] takes the place of text i */
    struct tr_str v[TEXTS];
    struct tr_str url; /* to be kept besides the others; p == NULL: none */
};

static inline struct tr_str session_span_text(const char *record, struct session_span s)
{
    return s.at == 0 ? (struct tr_str){ NULL, 0 } : (struct tr_str){ record + s.at, s.n };
}

static inline struct tr_str session_text(const char *record, enum session_text which)
{
    const struct session_head *h = (const void *)record;

    return session_span_text(record, h->text[which]);
}

static inline const struct session_url *session_urls(const char *record)
{
    return (const void *)(record + sizeof(struct session_head));
}

/* The longest that a text may be, in bytes. */
size_t session_text_max(enum session_text which);

/* Where url is kept; n == 0: it is not. */
struct session_span session_find_url(const char *record, struct tr_str url);

/* One more may be kept. */
bool session_has_room(const char *record, struct tr_str url);

/* Where the first texts of a record come from. */
void session_firsts(const char *record, struct session_firsts *ret);

/* old with the news in it, written to out. */
void session_build(const char *old, const struct session_news *news,
                   const struct session_firsts *firsts, char out[TR_SESSION_MAX]);

/* What the channel is worked out of: the entry's own texts. */
const char *session_channel(const char *record);

#endif
