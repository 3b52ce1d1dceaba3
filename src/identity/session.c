#include "identity/session.h"

#include <math.h>

#include "base/utf8.h"
#include "identity/session_priv.h"

/* The properties that the entry's texts are taken from. */
static const uint8_t entry_facts[TEXTS] = {
    [TEXT_ENTRY_URL] = TR_FACT_CURRENT_URL,
    [TEXT_REFERRING_DOMAIN] = TR_FACT_REFERRING_DOMAIN,
    [TEXT_UTM_SOURCE] = TR_FACT_UTM_SOURCE,
    [TEXT_UTM_CAMPAIGN] = TR_FACT_UTM_CAMPAIGN,
    [TEXT_UTM_MEDIUM] = TR_FACT_UTM_MEDIUM,
    [TEXT_UTM_TERM] = TR_FACT_UTM_TERM,
    [TEXT_UTM_CONTENT] = TR_FACT_UTM_CONTENT,
    [TEXT_GCLID] = TR_FACT_GCLID,
    [TEXT_FBCLID] = TR_FACT_FBCLID,
    [TEXT_GAD_SOURCE] = TR_FACT_GAD_SOURCE,
    [TEXT_GCLSRC] = TR_FACT_GCLSRC,
    [TEXT_DCLID] = TR_FACT_DCLID,
    [TEXT_GBRAID] = TR_FACT_GBRAID,
    [TEXT_WBRAID] = TR_FACT_WBRAID,
    [TEXT_MSCLKID] = TR_FACT_MSCLKID,
    [TEXT_TWCLID] = TR_FACT_TWCLID,
    [TEXT_LI_FAT_ID] = TR_FACT_LI_FAT_ID,
    [TEXT_MC_CID] = TR_FACT_MC_CID,
    [TEXT_IGSHID] = TR_FACT_IGSHID,
    [TEXT_TTCLID] = TR_FACT_TTCLID,
    [TEXT_KX] = TR_FACT_KX,
    [TEXT_IRCLID] = TR_FACT_IRCLID,
};

/* The longest form of a UUID in which it is read, urn:uuid:.., and its length in escapes. */
enum { ID_MAX = 45, ID_RAW_MAX = 6 * ID_MAX + 2 };

bool tr_session_id(const struct tr_facts *f, struct tr_uuid *ret)
{
    const struct tr_json_value *v = tr_fact(f, TR_FACT_SESSION_ID);
    char room[ID_RAW_MAX];

    if (v == NULL || v->type != TR_JSON_STRING || v->raw.n > ID_RAW_MAX)
        return false;
    struct tr_str text = { v->raw.p + 1, v->raw.n - 2 };
    if ((v->flags & TR_JSON_ESCAPES) != 0)
        text = (struct tr_str){ room, tr_json_text_copy(v, room) };
    struct tr_uuid id;
    if (!tr_uuid_parse(text, &id) || id.b[6] >> 4 != 7)
        return false;
    *ret = id;
    return true;
}

/* ---- one event ---- */

/* COUNTS: none of those that are counted. */
static enum session_count count_of(struct tr_str event)
{
    if (tr_str_eq(event, TR_STR("$pageview")))
        return COUNT_PAGEVIEWS;
    if (tr_str_eq(event, TR_STR("$autocapture")))
        return COUNT_AUTOCAPTURES;
    return tr_str_eq(event, TR_STR("$screen")) ? COUNT_SCREENS : COUNTS;
}

/* An event being applied. Numbers are edited in the head at once; texts gather in the news. */
struct step {
    char *record;
    struct session_head *h;
    const struct tr_event *e;
    const struct tr_facts *f;
    struct session_news *news;
    struct session_firsts firsts;
    const char *channel; /* before the entry became another one; NULL: it did not */
    char *scratch;       /* unescaped texts; moves on */
    struct tr_str url;   /* the event's $current_url */
    bool first;          /* the session's first event */
    bool page;           /* a page or screen view */
    bool changed;        /* something that the row shows */
    bool touched;        /* something at all */
    bool moved;          /* where the first texts come from */
};

static struct tr_str text_of(struct step *s, enum tr_fact which, size_t max)
{
    const struct tr_json_value *v = tr_fact(s->f, which);
    struct tr_str text = { NULL, 0 };

    if (v == NULL || v->type == TR_JSON_NULL)
        return text;
    if (v->type != TR_JSON_STRING)
        text = v->raw;
    else if ((v->flags & TR_JSON_ESCAPES) == 0)
        text = (struct tr_str){ v->raw.p + 1, v->raw.n - 2 };
    else {
        text = (struct tr_str){ s->scratch, tr_json_text_head(v, s->scratch, max) };
        s->scratch += text.n;
    }
    return tr_utf8_head_bytes(text, max);
}

/* An empty text is one. */
static bool same(struct tr_str a, struct tr_str b)
{
    return (a.p == NULL) == (b.p == NULL) && tr_str_eq(a, b);
}

static void put_text(struct step *s, enum session_text which, struct tr_str text)
{
    if (same(session_text(s->record, which), text))
        return;
    s->news->v[which] = text;
    s->news->set |= UINT32_C(1) << which;
    s->changed = true;
}

static void mark(struct step *s, unsigned flag, bool on)
{
    s->h->flags = (uint16_t)(on ? s->h->flags | flag : s->h->flags & ~flag);
}

static void apply_count(struct step *s, enum session_count which)
{
    if (which == COUNTS)
        return;
    if (s->h->counts[which] < UINT32_MAX)
        s->h->counts[which]++;
    s->changed = true;
}

static void apply_times(struct step *s)
{
    int64_t t = s->e->timestamp;

    if (s->first || t < s->h->start) {
        s->h->start = t;
        s->changed = true;
    }
    if (s->first || t >= s->h->end) { /* of equally late events the one ingested last */
        s->changed |= t != s->h->end;
        s->h->end = t;
        put_text(s, TEXT_DISTINCT_ID, tr_utf8_head_bytes(s->e->distinct_id, TR_SESSION_TEXT_MAX));
    }
}

/* A page or screen view goes before any other event; of two of a kind the earlier one. */
static bool wins_entry(const struct step *s)
{
    bool held_by_page = (s->h->flags & SESSION_ENTRY_IS_PAGE) != 0;

    return s->first || (s->page == held_by_page ? s->e->timestamp < s->h->entry_at : s->page);
}

/* Of those that have an address. */
static bool wins_end(const struct step *s)
{
    bool held_by_page = (s->h->flags & SESSION_END_IS_PAGE) != 0;

    if (s->url.p == NULL || session_text(s->record, TEXT_END_URL).p == NULL)
        return s->url.p != NULL;
    return s->page == held_by_page ? s->e->timestamp >= s->h->end_at : s->page;
}

static void move_first(struct step *s, int i, bool is_entry_s, bool page, int64_t at)
{
    uint16_t bit = (uint16_t)(1U << i);
    struct session_firsts *f = &s->firsts;

    f->entry = (uint16_t)(is_entry_s ? f->entry | bit : f->entry & ~bit);
    f->page = (uint16_t)(page ? f->page | bit : f->page & ~bit);
    f->at[i] = at;
    s->moved = true;
}

static struct tr_str first_text(struct step *s, int i)
{
    if (i == 0)
        return s->url;
    return text_of(s, (enum tr_fact)entry_facts[TEXT_ENTRY + i], TR_SESSION_TEXT_MAX);
}

/* The event is the entry from now on. What it has no value for keeps the one of whoever has it. */
static void apply_entry(struct step *s)
{
    bool page = (s->h->flags & SESSION_ENTRY_IS_PAGE) != 0;

    if (!s->first)
        s->channel = session_channel(s->record);
    for (int i = 0; i < FIRSTS; i++) {
        enum session_text which = (enum session_text)(TEXT_ENTRY + i);
        struct tr_str text = first_text(s, i);
        if (text.p != NULL) {
            put_text(s, which, text);
            move_first(s, i, true, s->page, s->e->timestamp);
        } else if ((s->firsts.entry >> i & 1) != 0 && session_text(s->record, which).p != NULL)
            move_first(s, i, false, page, s->h->entry_at);
    }
    for (int i = TEXT_FIRSTS_END; i < TEXTS; i++)
        put_text(s, (enum session_text)i,
                 text_of(s, (enum tr_fact)entry_facts[i], TR_SESSION_TEXT_MAX));
    mark(s, SESSION_ENTRY_IS_PAGE, s->page);
    s->h->entry_at = s->e->timestamp;
    s->touched = true;
}

/* The entry's own values always come first. */
static bool wins_first(const struct step *s, int i)
{
    bool held_by_page = (s->firsts.page >> i & 1) != 0;

    if (session_text(s->record, (enum session_text)(TEXT_ENTRY + i)).p == NULL)
        return true;
    if ((s->firsts.entry >> i & 1) != 0)
        return false;
    return s->page == held_by_page ? s->e->timestamp < s->firsts.at[i] : s->page;
}

static void apply_firsts(struct step *s)
{
    for (int i = 0; i < FIRSTS; i++) {
        if (tr_fact_is_null(s->f, (enum tr_fact)entry_facts[TEXT_ENTRY + i]) || !wins_first(s, i))
            continue;
        put_text(s, (enum session_text)(TEXT_ENTRY + i), first_text(s, i));
        move_first(s, i, false, s->page, s->e->timestamp);
    }
}

/* kept: where the address is among those kept, if it is. */
static void apply_end(struct step *s, struct session_span kept)
{
    mark(s, SESSION_END_IS_PAGE, s->page);
    s->touched |= s->h->end_at != s->e->timestamp;
    s->h->end_at = s->e->timestamp;
    if (kept.n == 0) {
        put_text(s, TEXT_END_URL, s->url);
        return;
    }
    s->changed |= !same(session_text(s->record, TEXT_END_URL), s->url);
    s->h->text[TEXT_END_URL] = kept;
}

static void apply_addresses(struct step *s)
{
    struct session_span kept = { 0, 0 };

    s->url = text_of(s, TR_FACT_CURRENT_URL, TR_SESSION_URL_MAX);
    if (s->page && s->url.n > 0) {
        kept = session_find_url(s->record, s->url);
        if (kept.n == 0 && session_has_room(s->record, s->url)) {
            s->news->url = s->url;
            s->changed = true;
        }
    }
    if (wins_entry(s))
        apply_entry(s);
    else
        apply_firsts(s);
    if (wins_end(s))
        apply_end(s, kept);
}

static void apply_click(struct step *s)
{
    struct tr_str url = text_of(s, TR_FACT_EXTERNAL_CLICK_URL, TR_SESSION_URL_MAX);
    bool has = (s->h->flags & SESSION_HAS_CLICK) != 0;

    if (url.p == NULL || (has && s->e->timestamp < s->h->click_at))
        return;
    mark(s, SESSION_HAS_CLICK, true);
    s->touched |= s->h->click_at != s->e->timestamp;
    s->h->click_at = s->e->timestamp;
    put_text(s, TEXT_CLICK_URL, url);
}

/* A number, or a string that reads as one. */
static bool number_of(const struct tr_json_value *v, double *ret)
{
    char room[64];
    struct tr_json j;
    struct tr_json_value inside;

    if (v->type == TR_JSON_STRING && v->raw.n <= sizeof(room)) {
        tr_json_init(&j, (struct tr_str){ room, tr_json_text_copy(v, room) });
        if (tr_json_next(&j, &inside, NULL) != TR_OK || j.p != j.end || inside.raw.p != room)
            return false;
        v = &inside;
    }
    return tr_json_double(v, ret) && isfinite(*ret);
}

static void apply_lcp(struct step *s)
{
    const struct tr_json_value *v = tr_fact(s->f, TR_FACT_WEB_VITALS_LCP);
    bool has = (s->h->flags & SESSION_HAS_LCP) != 0;
    double lcp;

    if (v == NULL || (has && s->e->timestamp >= s->h->lcp_at) || !number_of(v, &lcp))
        return;
    s->changed |= !has || lcp != s->h->lcp;
    s->touched = true;
    mark(s, SESSION_HAS_LCP, true);
    s->h->lcp_at = s->e->timestamp;
    s->h->lcp = lcp;
}

static bool holds_nul(const struct session_news *news)
{
    if (news->url.n > 0 && memchr(news->url.p, '\0', news->url.n) != NULL)
        return true;
    for (uint32_t left = news->set; left != 0; left &= left - 1) {
        struct tr_str s = news->v[__builtin_ctz(left)];
        if (s.n > 0 && memchr(s.p, '\0', s.n) != NULL)
            return true;
    }
    return false;
}

static void apply(struct step *s)
{
    enum session_count counted = count_of(s->e->event);

    s->page = counted == COUNT_PAGEVIEWS || counted == COUNT_SCREENS;
    apply_count(s, counted);
    apply_times(s);
    apply_addresses(s);
    apply_click(s);
    apply_lcp(s);
    if (s->changed)
        s->h->changed_at = s->e->inserted_at;
    if (holds_nul(s->news))
        mark(s, SESSION_HAS_NUL, true);
}

enum tr_session_change tr_session_apply(char *record, const struct tr_event *e,
                                        const struct tr_facts *f, struct tr_session_room *room)
{
    struct session_head fresh;
    struct session_news news;
    struct step s = { .record = record, .e = e, .f = f, .news = &news, .scratch = room->scratch };

    news.set = 0;
    news.url = (struct tr_str){ NULL, 0 };
    if (record == NULL) {
        fresh = (struct session_head){ .format = SESSION_FORMAT };
        s.record = (char *)&fresh;
        s.first = true;
        s.changed = true;
    }
    s.h = (void *)s.record;
    session_firsts(s.record, &s.firsts);
    apply(&s);
    if (!s.first && news.set == 0 && news.url.n == 0 && !s.moved)
        return s.changed || s.touched ? TR_SESSION_EDITED : TR_SESSION_SAME;
    session_build(s.record, &news, &s.firsts, room->record);
    if (!s.changed && s.channel != NULL && strcmp(s.channel, session_channel(room->record)) != 0)
        ((struct session_head *)(void *)room->record)->changed_at = e->inserted_at;
    return TR_SESSION_BUILT;
}
