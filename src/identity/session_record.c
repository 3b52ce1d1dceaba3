#include <math.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "identity/session_priv.h"

_Static_assert(sizeof(struct session_head) + TR_SESSION_KEPT_URLS * sizeof(struct session_url) +
                       TR_SESSION_KEPT_URL_BYTES + 3 * TR_SESSION_URL_MAX +
                       sizeof(struct session_firsts) + (TEXTS - 3) * TR_SESSION_TEXT_MAX <=
                   TR_SESSION_MAX,
               "the longest record fits");
_Static_assert(TR_SESSION_MAX <= UINT16_MAX, "spans are of 16 bits");

static const struct session_head *head_of(const char *record)
{
    return (const void *)record;
}

size_t tr_session_size(const char *record)
{
    return head_of(record)->size;
}

int64_t tr_session_end(const char *record)
{
    return head_of(record)->end;
}

int64_t tr_session_changed_at(const char *record)
{
    return head_of(record)->changed_at;
}

size_t session_text_max(enum session_text which)
{
    return which == TEXT_ENTRY_URL || which == TEXT_END_URL || which == TEXT_CLICK_URL
               ? TR_SESSION_URL_MAX
               : TR_SESSION_TEXT_MAX;
}

/* ---- the addresses that are kept ---- */

static uint32_t hash_of(struct tr_str url)
{
    return (uint32_t)tr_hash64(url.p, url.n, 0);
}

struct session_span session_find_url(const char *record, struct tr_str url)
{
    const struct session_url *urls = session_urls(record);
    size_t n = head_of(record)->n_urls;
    uint32_t hash = n == 0 ? 0 : hash_of(url);

    for (size_t i = 0; i < n; i++)
        if (urls[i].hash == hash && tr_str_eq(session_span_text(record, urls[i].text), url))
            return urls[i].text;
    return (struct session_span){ 0, 0 };
}

bool session_has_room(const char *record, struct tr_str url)
{
    const struct session_url *urls = session_urls(record);
    size_t n = head_of(record)->n_urls;
    size_t bytes = n == 0 ? 0 : urls[n - 1].text.at + urls[n - 1].text.n - (size_t)urls[0].text.at;

    return n < TR_SESSION_KEPT_URLS && bytes + url.n <= TR_SESSION_KEPT_URL_BYTES;
}

/* ---- building ---- */

/* A record on its way: texts are put one behind the other. */
struct build {
    char *out;
    size_t at;
};

static struct session_span put(struct build *b, struct tr_str s)
{
    struct session_span span = { (uint16_t)b->at, (uint16_t)s.n };

    if (s.p == NULL)
        return (struct session_span){ 0, 0 };
    if (s.n == 0)
        return span;
    memcpy(b->out + b->at, s.p, s.n);
    b->at += s.n;
    return span;
}

/* Those kept so far lie one behind the other: they are copied at once. */
static void put_urls(struct build *b, const char *old, struct tr_str one_more)
{
    const struct session_url *from = session_urls(old);
    struct session_url *to = (void *)(b->out + sizeof(struct session_head));
    size_t n = head_of(old)->n_urls;
    size_t moved = one_more.n > 0 ? sizeof(*to) : 0;

    b->at = sizeof(struct session_head) + n * sizeof(*to) + moved;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].text.at = (uint16_t)(to[i].text.at + moved);
    }
    if (n > 0) {
        size_t bytes = from[n - 1].text.at + from[n - 1].text.n - (size_t)from[0].text.at;
        memcpy(b->out + b->at, old + from[0].text.at, bytes);
        b->at += bytes;
    }
    if (one_more.n > 0) {
        to[n].hash = hash_of(one_more);
        to[n].text = put(b, one_more);
    }
}

/* Of the first texts that are there. */
static uint16_t firsts_there(const char *record)
{
    uint16_t there = 0;

    for (int i = 0; i < FIRSTS; i++)
        if (session_text(record, (enum session_text)(TEXT_ENTRY + i)).p != NULL)
            there = (uint16_t)(there | 1U << i);
    return there;
}

void session_firsts(const char *record, struct session_firsts *ret)
{
    const struct session_head *h = head_of(record);

    *ret = (struct session_firsts){ .entry = firsts_there(record) };
    if (h->format == SESSION_FORMAT_FIRSTS)
        memcpy(ret, record + h->size - sizeof(*ret), sizeof(*ret));
}

static void put_firsts(struct build *b, const struct session_firsts *firsts)
{
    struct session_head *h = (void *)b->out;

    h->format = SESSION_FORMAT;
    if ((firsts_there(b->out) & ~firsts->entry) == 0)
        return;
    h->format = SESSION_FORMAT_FIRSTS;
    memcpy(b->out + b->at, firsts, sizeof(*firsts));
    b->at += sizeof(*firsts);
}

void session_build(const char *old, const struct session_news *news,
                   const struct session_firsts *firsts, char out[TR_SESSION_MAX])
{
    struct session_head *h = (void *)out;
    struct build b = { out, 0 };

    memcpy(h, old, sizeof(*h));
    put_urls(&b, old, news->url);
    h->n_urls = (uint16_t)(h->n_urls + (news->url.n > 0));
    for (int i = 0; i < TEXTS; i++) {
        bool set = (news->set >> i & 1) != 0;
        struct tr_str s = set ? news->v[i] : session_text(old, (enum session_text)i);
        bool may_be_kept = s.n > 0 && (i == TEXT_ENTRY_URL || i == TEXT_END_URL);
        struct session_span kept =
            may_be_kept ? session_find_url(out, s) : (struct session_span){ 0, 0 };
        h->text[i] = kept.n > 0 ? kept : put(&b, s);
    }
    put_firsts(&b, firsts);
    h->size = (uint16_t)b.at;
}

/* ---- checking ---- */

static bool span_is_sound(const char *p, size_t n, size_t texts, struct session_span s, size_t max)
{
    if (s.n == 0)
        return s.at <= n;
    return s.at >= texts && s.at + (size_t)s.n <= n && s.n <= max &&
           tr_utf8_valid(session_span_text(p, s));
}

static bool urls_are_sound(const char *p, size_t n, size_t texts)
{
    const struct session_url *urls = session_urls(p);
    size_t count = head_of(p)->n_urls;
    size_t at = texts;

    for (size_t i = 0; i < count; i++) {
        struct session_span s = urls[i].text;
        if (s.n == 0 || s.at != at || !span_is_sound(p, n, texts, s, TR_SESSION_URL_MAX) ||
            urls[i].hash != hash_of(session_span_text(p, s)))
            return false;
        at += s.n;
    }
    return at - texts <= TR_SESSION_KEPT_URL_BYTES;
}

bool tr_session_sound(const char *p, size_t n)
{
    const struct session_head *h = (const void *)p;

    if (n < sizeof(*h) || (h->format != SESSION_FORMAT && h->format != SESSION_FORMAT_FIRSTS) ||
        h->size != n || n > TR_SESSION_MAX || h->n_urls > TR_SESSION_KEPT_URLS ||
        (h->flags & ~SESSION_FLAGS) != 0)
        return false;
    size_t texts = sizeof(*h) + h->n_urls * sizeof(struct session_url);
    if (h->format == SESSION_FORMAT_FIRSTS) {
        if (n < texts + sizeof(struct session_firsts))
            return false;
        n -= sizeof(struct session_firsts);
    }
    if (texts > n || h->start > h->end || !isfinite(h->lcp) || !urls_are_sound(p, n, texts))
        return false;
    for (int i = 0; i < TEXTS; i++)
        if (!span_is_sound(p, n, texts, h->text[i], session_text_max((enum session_text)i)))
            return false;
    return true;
}
