#include "identity/channel.h"

#include <stdlib.h>

#include "identity/channel_priv.h"

static const struct {
    const char *paid, *organic; /* paid NULL: such visits are not bought */
} names[] = {
    [CHANNEL_SEARCH] = { "Paid Search", "Organic Search" },
    [CHANNEL_SOCIAL] = { "Paid Social", "Organic Social" },
    [CHANNEL_VIDEO] = { "Paid Video", "Organic Video" },
    [CHANNEL_SHOPPING] = { "Paid Shopping", "Organic Shopping" },
    [CHANNEL_EMAIL] = { NULL, "Email" },
    [CHANNEL_SMS] = { NULL, "SMS" },
    [CHANNEL_AFFILIATE] = { "Affiliate", "Affiliate" },
    [CHANNEL_DISPLAY] = { "Display", "Display" },
    [CHANNEL_AUDIO] = { "Audio", "Audio" },
    [CHANNEL_PUSH] = { NULL, "Push" },
    [CHANNEL_REFERRAL] = { NULL, "Referral" },
};

/* ---- inputs ---- */

enum { TEXT_MAX = 1024 };

/* Lower-cased (ASCII); empty when it is "null". */
struct lower {
    char p[TEXT_MAX];
    size_t n;
};

static void lower_into(struct lower *to, struct tr_str s)
{
    to->n = s.n < TEXT_MAX ? s.n : TEXT_MAX;
    for (size_t i = 0; i < to->n; i++) {
        char c = s.p[i];
        to->p[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    if (tr_str_is((struct tr_str){ to->p, to->n }, "null"))
        to->n = 0;
}

static struct tr_str str_of(const struct lower *s)
{
    return (struct tr_str){ s->p, s->n };
}

static bool is_set(struct tr_str s)
{
    return s.n > 0 && !tr_str_eq_nocase(s, TR_STR("null"));
}

static bool contains(struct tr_str s, const char *what)
{
    return s.n > 0 && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static bool ends_with(struct tr_str s, const char *what)
{
    size_t n = strlen(what);

    return s.n >= n && memcmp(s.p + s.n - n, what, n) == 0;
}

/* "shopping", or "shop" that is not the end of another word: "shop", "eshop", "my-shop", but not
 * "workshop" or "bishop". */
static bool tells_of_shop(struct tr_str s)
{
    for (size_t i = 0; i + 4 <= s.n; i++) {
        if (memcmp(s.p + i, "shop", 4) != 0)
            continue;
        char before = i == 0 ? ' ' : s.p[i - 1];
        if (before < 'a' || before > 'z' || before == 'e' ||
            tr_str_starts((struct tr_str){ s.p + i, s.n - i }, TR_STR("shopping")))
            return true;
    }
    return false;
}

/* ---- the lists ---- */

static int by_name(const void *key, const void *item)
{
    const struct tr_str *a = key;
    const char *b = ((const struct channel_name *)item)->name;
    size_t n = strlen(b);
    int order = memcmp(a->p, b, a->n < n ? a->n : n);

    return order != 0 ? order : (a->n > n) - (a->n < n);
}

static const struct channel_name *find(const struct channel_name *list, size_t n, struct tr_str s)
{
    return s.n == 0 ? NULL : bsearch(&s, list, n, sizeof(*list), by_name);
}

static bool all_letters(struct tr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 'a' || s.p[i] > 'z')
            return false;
    return s.n > 0;
}

/* What may stand for the star of "google.*": com, de, co.uk, com.au. */
static bool is_common_end(struct tr_str s)
{
    struct tr_str rest;
    struct tr_str first = tr_str_cut(s, '.', &rest);

    if (rest.p == NULL)
        return all_letters(first) && (first.n == 2 || first.n == 3);
    return (tr_str_is(first, "co") || tr_str_is(first, "com")) && rest.n == 2 && all_letters(rest);
}

/* A domain or one above it; the nearest counts. */
static const struct channel_name *find_domain(struct tr_str domain)
{
    while (domain.n > 0) {
        const struct channel_name *found = find(channel_sources, channel_sources_n, domain);
        struct tr_str rest;
        struct tr_str label = tr_str_cut(domain, '.', &rest);
        char starred[64];

        if (found != NULL)
            return found;
        if (rest.p == NULL)
            return NULL;
        if (label.n > 0 && label.n + 2 <= sizeof(starred) && is_common_end(rest)) {
            memcpy(starred, label.p, label.n);
            memcpy(starred + label.n, ".*", 2);
            found =
                find(channel_sources, channel_sources_n, (struct tr_str){ starred, label.n + 2 });
            if (found != NULL)
                return found;
        }
        domain = rest;
    }
    return NULL;
}

/* A word as it stands, or a domain. */
static const struct channel_name *find_source(struct tr_str s)
{
    const struct channel_name *found = find(channel_sources, channel_sources_n, s);

    if (found != NULL || s.n == 0 || memchr(s.p, '.', s.n) == NULL)
        return found;
    return find_domain(s);
}

/* ---- the rules ---- */

struct visit {
    struct tr_str medium, campaign, referrer, gad_source;
    const struct channel_name *source_type, *medium_type, *referrer_type; /* NULL: not listed */
    bool source_is_direct, fbclid;
};

static bool is_paid(const struct visit *v, bool gclid)
{
    static const char *const mediums[] = { "cpc", "cpm", "cpv", "cpa", "ppc", "retargeting" };

    for (size_t i = 0; i < sizeof(mediums) / sizeof(mediums[0]); i++)
        if (tr_str_is(v->medium, mediums[i]))
            return true;
    return tr_str_starts(v->medium, TR_STR("paid")) || gclid || v->gad_source.n > 0;
}

static const char *paid_of(const struct channel_name *type)
{
    return type == NULL ? NULL : names[type->kind].paid;
}

static const char *paid(const struct visit *v)
{
    if (paid_of(v->source_type) != NULL)
        return paid_of(v->source_type);
    if (tells_of_shop(v->campaign))
        return "Paid Shopping";
    if (paid_of(v->medium_type) != NULL)
        return paid_of(v->medium_type);
    if (paid_of(v->referrer_type) != NULL)
        return paid_of(v->referrer_type);
    if (tr_str_is(v->gad_source, "1"))
        return "Paid Search";
    if (contains(v->campaign, "video"))
        return "Paid Video";
    return v->fbclid ? "Paid Social" : "Paid Unknown";
}

static const char *organic(const struct visit *v)
{
    if (v->source_type != NULL)
        return names[v->source_type->kind].organic;
    if (tells_of_shop(v->campaign))
        return "Organic Shopping";
    if (v->medium_type != NULL)
        return names[v->medium_type->kind].organic;
    if (v->referrer_type != NULL)
        return names[v->referrer_type->kind].organic;
    if (contains(v->campaign, "video"))
        return "Organic Video";
    if (ends_with(v->medium, "push"))
        return "Push";
    if (v->fbclid)
        return "Organic Social";
    if (tr_str_is(v->referrer, "$direct"))
        return "Direct";
    return v->referrer.n > 0 ? "Referral" : "Unknown";
}

const char *tr_channel_type(const struct tr_channel *c)
{
    struct lower source, medium, campaign, referrer, gad_source;

    lower_into(&source, c->source);
    lower_into(&medium, c->medium);
    lower_into(&campaign, c->campaign);
    lower_into(&referrer, c->referring_domain);
    lower_into(&gad_source, c->gad_source);
    struct visit v = {
        .medium = str_of(&medium),
        .campaign = str_of(&campaign),
        .referrer = str_of(&referrer),
        .gad_source = str_of(&gad_source),
        .source_type = find_source(str_of(&source)),
        .medium_type = find(channel_mediums, channel_mediums_n, str_of(&medium)),
        .referrer_type = find_domain(str_of(&referrer)),
        .source_is_direct = source.n == 0 || tr_str_is(str_of(&source), "direct") ||
                            tr_str_is(str_of(&source), "(direct)"),
        .fbclid = is_set(c->fbclid),
    };

    if (contains(v.campaign, "cross-network"))
        return "Cross Network";
    if (is_paid(&v, is_set(c->gclid)))
        return paid(&v);
    if (tr_str_is(v.referrer, "$direct") && v.medium.n == 0 && v.source_is_direct && !v.fbclid)
        return "Direct";
    return organic(&v);
}
