#include <math.h>

#include "base/time.h"
#include "identity/channel.h"
#include "identity/session_priv.h"
#include "identity/url.h"

static const struct {
    uint8_t column, text;
} text_columns[] = {
    { TR_SESSION_DISTINCT_ID, TEXT_DISTINCT_ID },
    { TR_SESSION_ENTRY_CURRENT_URL, TEXT_ENTRY_URL },
    { TR_SESSION_END_CURRENT_URL, TEXT_END_URL },
    { TR_SESSION_EXIT_CURRENT_URL, TEXT_END_URL },
    { TR_SESSION_LAST_EXTERNAL_CLICK_URL, TEXT_CLICK_URL },
    { TR_SESSION_ENTRY_UTM_SOURCE, TEXT_UTM_SOURCE },
    { TR_SESSION_ENTRY_UTM_CAMPAIGN, TEXT_UTM_CAMPAIGN },
    { TR_SESSION_ENTRY_UTM_MEDIUM, TEXT_UTM_MEDIUM },
    { TR_SESSION_ENTRY_UTM_TERM, TEXT_UTM_TERM },
    { TR_SESSION_ENTRY_UTM_CONTENT, TEXT_UTM_CONTENT },
    { TR_SESSION_ENTRY_REFERRING_DOMAIN, TEXT_REFERRING_DOMAIN },
    { TR_SESSION_ENTRY_GCLID, TEXT_GCLID },
    { TR_SESSION_ENTRY_FBCLID, TEXT_FBCLID },
    { TR_SESSION_ENTRY_GAD_SOURCE, TEXT_GAD_SOURCE },
    { TR_SESSION_ENTRY_GCLSRC, TEXT_GCLSRC },
    { TR_SESSION_ENTRY_DCLID, TEXT_DCLID },
    { TR_SESSION_ENTRY_GBRAID, TEXT_GBRAID },
    { TR_SESSION_ENTRY_WBRAID, TEXT_WBRAID },
    { TR_SESSION_ENTRY_MSCLKID, TEXT_MSCLKID },
    { TR_SESSION_ENTRY_TWCLID, TEXT_TWCLID },
    { TR_SESSION_ENTRY_LI_FAT_ID, TEXT_LI_FAT_ID },
    { TR_SESSION_ENTRY_MC_CID, TEXT_MC_CID },
    { TR_SESSION_ENTRY_IGSHID, TEXT_IGSHID },
    { TR_SESSION_ENTRY_TTCLID, TEXT_TTCLID },
    { TR_SESSION_ENTRY_KX, TEXT_KX },
    { TR_SESSION_ENTRY_IRCLID, TEXT_IRCLID },
};

/* ---- values that are made ---- */

/* Divides the 128-bit number by a thousand million; returns the rest. */
static uint32_t divide(uint32_t limbs[4])
{
    enum { BY = 1000000000 };
    uint64_t rest = 0;

    for (int i = 0; i < 4; i++) {
        rest = rest << 32 | limbs[i];
        limbs[i] = (uint32_t)(rest / BY);
        rest %= BY;
    }
    return (uint32_t)rest;
}

enum { DECIMAL_MAX = 45 }; /* five times nine digits; 39 of them at most are no leading zeros */

/* The id as a decimal number; a view into out. */
static struct tr_str decimal_of(const struct tr_uuid *id, char out[DECIMAL_MAX])
{
    uint32_t limbs[4];
    size_t first = 0;

    for (int i = 0; i < 4; i++)
        limbs[i] = (uint32_t)id->b[4 * i] << 24 | (uint32_t)id->b[4 * i + 1] << 16 |
                   (uint32_t)id->b[4 * i + 2] << 8 | id->b[4 * i + 3];
    for (int at = DECIMAL_MAX; at > 0;) {
        uint32_t nine = divide(limbs);
        for (int k = 0; k < 9; k++, nine /= 10)
            out[--at] = (char)('0' + nine % 10);
    }
    while (first < DECIMAL_MAX - 1 && out[first] == '0')
        first++;
    return (struct tr_str){ out + first, DECIMAL_MAX - first };
}

/* Bytes of a character inside a JSON string. */
static size_t json_width(char c)
{
    if (c == '"' || c == '\\')
        return 2;
    return (unsigned char)c < 0x20 ? 6 : 1;
}

static char *put_json_text(char *at, struct tr_str s)
{
    static const char hex[] = "0123456789abcdef";

    *at++ = '"';
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20) {
            memcpy(at, "\\u00", 4);
            at[4] = hex[c >> 4];
            at[5] = hex[c & 15];
            at += 6;
            continue;
        }
        if (c == '"' || c == '\\')
            *at++ = '\\';
        *at++ = (char)c;
    }
    *at++ = '"';
    return at;
}

/* The addresses as a JSON array; p == NULL when texts is full. */
static struct tr_str urls_of(const char *record, struct tr_arena *texts)
{
    const struct session_head *h = (const void *)record;
    const struct session_url *urls = session_urls(record);
    size_t n = 2;

    for (size_t i = 0; i < h->n_urls; i++) {
        struct tr_str s = session_span_text(record, urls[i].text);
        n += 3; /* quotes and a comma */
        for (size_t k = 0; k < s.n; k++)
            n += json_width(s.p[k]);
    }
    char *out = tr_arena_alloc(texts, n);
    if (out == NULL)
        return (struct tr_str){ NULL, 0 };
    char *at = out;
    *at++ = '[';
    for (size_t i = 0; i < h->n_urls; i++) {
        if (i > 0)
            *at++ = ',';
        at = put_json_text(at, session_span_text(record, urls[i].text));
    }
    *at++ = ']';
    return (struct tr_str){ out, (size_t)(at - out) };
}

static struct tr_str own_text(const char *record, const struct session_firsts *firsts,
                              enum session_text which)
{
    bool is_entry_s = (firsts->entry >> (which - TEXT_ENTRY) & 1) != 0;

    return is_entry_s ? session_text(record, which) : (struct tr_str){ NULL, 0 };
}

const char *session_channel(const char *record)
{
    struct session_firsts firsts;

    session_firsts(record, &firsts);
    return tr_channel_type(&(struct tr_channel){
        .source = own_text(record, &firsts, TEXT_UTM_SOURCE),
        .medium = own_text(record, &firsts, TEXT_UTM_MEDIUM),
        .campaign = own_text(record, &firsts, TEXT_UTM_CAMPAIGN),
        .referring_domain = own_text(record, &firsts, TEXT_REFERRING_DOMAIN),
        .gclid = own_text(record, &firsts, TEXT_GCLID),
        .fbclid = own_text(record, &firsts, TEXT_FBCLID),
        .gad_source = own_text(record, &firsts, TEXT_GAD_SOURCE),
    });
}

/* ---- the row ---- */

/* Where the row's values go; columns that nobody asked for are passed over. */
struct row {
    struct tr_batch *b;
    size_t i;
};

static void put_str(const struct row *r, enum tr_session_column c, struct tr_str s)
{
    if (r->b->col[c].str != NULL)
        r->b->col[c].str[r->i] = s;
}

static void put_int(const struct row *r, enum tr_session_column c, int64_t v)
{
    if (r->b->col[c].i64 != NULL)
        r->b->col[c].i64[r->i] = v;
}

static void put_texts(const struct row *r, const char *record)
{
    struct tr_str entry = session_text(record, TEXT_ENTRY_URL);
    struct tr_str end = session_text(record, TEXT_END_URL);
    struct tr_str end_path = tr_url_path(end);

    for (size_t i = 0; i < sizeof(text_columns) / sizeof(text_columns[0]); i++)
        put_str(r, (enum tr_session_column)text_columns[i].column,
                session_text(record, (enum session_text)text_columns[i].text));
    put_str(r, TR_SESSION_ENTRY_PATHNAME, tr_url_path(entry));
    put_str(r, TR_SESSION_ENTRY_HOSTNAME, tr_url_host(entry));
    put_str(r, TR_SESSION_END_PATHNAME, end_path);
    put_str(r, TR_SESSION_EXIT_PATHNAME, end_path);
    put_str(r, TR_SESSION_END_HOSTNAME, tr_url_host(end));
    if (r->b->col[TR_SESSION_CHANNEL_TYPE].str != NULL)
        put_str(r, TR_SESSION_CHANNEL_TYPE, tr_str_of(session_channel(record)));
}

/* NULL without page views; otherwise one view, nothing clicked, under ten seconds. */
static uint8_t bounce_of(const struct session_head *h, int64_t seconds)
{
    if (h->counts[COUNT_PAGEVIEWS] == 0)
        return 0xFF;
    return h->counts[COUNT_PAGEVIEWS] == 1 && h->counts[COUNT_AUTOCAPTURES] == 0 && seconds < 10;
}

static void put_numbers(const struct row *r, const struct session_head *h)
{
    int64_t seconds = (int64_t)(((uint64_t)h->end - (uint64_t)h->start) / (uint64_t)TR_US_PER_S);
    uint64_t up_to = 0;

    for (int i = 0; i < COUNTS; i++)
        up_to += h->counts[i];

    put_int(r, TR_SESSION_START_TIMESTAMP, h->start);
    put_int(r, TR_SESSION_END_TIMESTAMP, h->end);
    put_int(r, TR_SESSION_NUM_UNIQ_URLS, h->n_urls);
    put_int(r, TR_SESSION_PAGEVIEW_COUNT, h->counts[COUNT_PAGEVIEWS]);
    put_int(r, TR_SESSION_AUTOCAPTURE_COUNT, h->counts[COUNT_AUTOCAPTURES]);
    put_int(r, TR_SESSION_SCREEN_COUNT, h->counts[COUNT_SCREENS]);
    put_int(r, TR_SESSION_SESSION_DURATION, seconds);
    put_int(r, TR_SESSION_DURATION, seconds);
    put_int(r, TR_SESSION_PAGE_SCREEN_AUTOCAPTURE_COUNT_UP_TO, up_to > 2 ? 2 : (int64_t)up_to);
    put_int(r, TR_SESSION_INSERTED_AT, h->changed_at);
    if (r->b->col[TR_SESSION_IS_BOUNCE].u8 != NULL)
        r->b->col[TR_SESSION_IS_BOUNCE].u8[r->i] = bounce_of(h, seconds);
    if (r->b->col[TR_SESSION_VITALS_LCP].f64 != NULL)
        r->b->col[TR_SESSION_VITALS_LCP].f64[r->i] =
            (h->flags & SESSION_HAS_LCP) != 0 ? h->lcp : (double)NAN;
}

enum tr_rc tr_session_row(const char *record, int32_t project, const struct tr_uuid *id,
                          struct tr_batch *b, size_t row, struct tr_arena *texts,
                          struct tr_err *err)
{
    const struct session_head *h = (const void *)record;
    struct row r = { b, row };

    if (b->col[TR_SESSION_ID_V7].str != NULL) {
        char digits[DECIMAL_MAX];
        struct tr_str s = tr_arena_str(texts, decimal_of(id, digits));
        if (s.p == NULL)
            return tr_fail(err, TR_INTERNAL, "session.too_big", NULL,
                           "the rows' texts do not fit into %zu bytes", texts->max);
        put_str(&r, TR_SESSION_ID_V7, s);
    }
    if (b->col[TR_SESSION_URLS].str != NULL) {
        struct tr_str s = urls_of(record, texts);
        if (s.p == NULL)
            return tr_fail(err, TR_INTERNAL, "session.too_big", NULL,
                           "the rows' texts do not fit into %zu bytes", texts->max);
        put_str(&r, TR_SESSION_URLS, s);
    }
    if (b->col[TR_SESSION_ID].uuid != NULL)
        b->col[TR_SESSION_ID].uuid[row] = *id;
    put_int(&r, TR_SESSION_TEAM_ID, project);
    put_texts(&r, record);
    put_numbers(&r, h);
    b->flags[row] = (h->flags & SESSION_HAS_NUL) != 0 ? TR_EVENT_TEXT_NUL | TR_EVENT_JSON_NUL : 0;
    b->inserted_at[row] = h->changed_at;
    return TR_OK;
}
