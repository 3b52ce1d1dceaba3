/* Events, one after the other, applied to everything. What is known of people lies all over the
 * memory: while events are prepared some ahead, their entries are on their way from there. */
#include "store/state_priv.h"

enum {
    WINDOW = 16, /* events prepared together */
    LINE = 64,
    MAPPING_LINES = 2,
    PERSON_LINES = 6, /* of an entry that are fetched: most have no more */
    SESSION_LINES = 5,
};

static void fetch(const void *p, int lines)
{
    for (int i = 0; p != NULL && i < lines; i++)
        __builtin_prefetch((const char *)p + (size_t)i * LINE);
}

enum tr_rc step_read(struct step *w, struct tr_str packed, size_t *at, struct tr_err *err)
{
    size_t size = tr_event_unpack(packed.p + *at, packed.n - *at, &w->e);

    if (size == 0)
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "a record of the journal has an event that is not whole");
    *at += size;
    tr_facts_read(w->e.properties, &w->f);
    w->mapping_hash = state_hash(w->e.project, w->e.distinct_id.p, w->e.distinct_id.n);
    w->session.project = w->e.project;
    w->has_session = tr_session_id(&w->f, &w->session.id);
    if (w->has_session)
        w->session_hash = session_hash(&w->session);
    w->warnings = tr_event_warnings(&w->e, &w->f);
    return TR_OK;
}

static void fetch_slots(const struct state *s, const struct step *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cache_fetch_slot(&s->mappings, w[i].mapping_hash);
        if (w[i].has_session)
            cache_fetch_slot(&s->sessions, w[i].session_hash);
    }
}

static void fetch_entries(const struct state *s, struct step *w, size_t n)
{
    const struct cache_entry *found[WINDOW];

    for (size_t i = 0; i < n; i++) {
        found[i] = cache_guess(&s->mappings, w[i].mapping_hash);
        fetch(found[i], MAPPING_LINES);
        if (w[i].has_session)
            fetch(cache_guess(&s->sessions, w[i].session_hash), SESSION_LINES);
    }
    for (size_t i = 0; i < n; i++) {
        const struct mapping_entry *m = (const struct mapping_entry *)(const void *)found[i];
        w[i].person_hash = m == NULL ? 0 : person_hash(m->m.person);
        cache_fetch_slot(&s->persons, w[i].person_hash);
    }
    for (size_t i = 0; i < n; i++)
        fetch(cache_guess(&s->persons, w[i].person_hash), PERSON_LINES);
}

/* The person of an event that changes nothing: known, and brought up to events like this before. */
static enum tr_rc find_settled(struct state *s, const struct step *w, uint64_t hash,
                               struct person_entry **ret, struct tr_err *err)
{
    const struct tr_event *e = &w->e;
    struct mapping_entry *m;
    enum tr_rc rc = state_mapping(s, e->project, e->distinct_id, w->mapping_hash, &m, err);

    *ret = NULL;
    if (rc != TR_OK || m == NULL || m->m.person == 0 || m->m.deleted)
        return rc;
    rc = state_person(s, e->project, m->m.person, ret, err);
    if (rc == TR_OK && *ret != NULL && ((*ret)->settled != hash || (*ret)->p.deleted))
        *ret = NULL;
    return rc;
}

static enum tr_rc people(struct state *s, const struct step *w, struct person_entry **ret,
                         bool *ret_bare, struct tr_err *err)
{
    const struct tr_event *e = &w->e;
    const struct tr_facts *f = &w->f;
    struct tr_belongs who = { 0 };
    uint64_t hash = 0;
    bool plain = tr_people_is_plain(e, f, &hash);
    enum tr_rc rc = plain ? find_settled(s, w, hash, ret, err) : TR_OK;

    if (rc != TR_OK || (plain && *ret != NULL))
        return rc;
    *ret = NULL;
    rc = tr_people_event(&s->people, e, f, &who, err);
    *ret_bare = who.bare;
    if (rc != TR_OK || who.row == 0)
        return rc;
    rc = state_person(s, e->project, who.row, ret, err);
    if (rc == TR_OK && *ret != NULL && plain && !who.trimmed)
        (*ret)->settled = hash;
    return rc;
}

static enum tr_rc warn(struct state *s, const struct step *w, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (uint32_t left = w->warnings; left != 0 && rc == TR_OK; left &= left - 1) {
        enum tr_event_warning which = (enum tr_event_warning)__builtin_ctz(left);
        rc = state_warn(s, w->e.project, tr_event_warning_type(which), w->e.distinct_id,
                        tr_event_warning_other(which, &w->e, &w->f), w->e.inserted_at, err);
    }
    return rc;
}

static enum tr_rc apply(struct state *s, const struct step *w, struct asof *asof,
                        struct tr_err *err)
{
    struct person_entry *who = NULL;
    bool bare = false;
    enum tr_rc rc = tr_groups_event(&s->groups, &w->e, &w->f, err);

    if (rc == TR_OK && w->has_session)
        rc = state_session(s, &w->e, &w->f, &w->session, w->session_hash, err);
    if (rc == TR_OK && w->warnings != 0)
        rc = warn(s, w, err);
    if (rc == TR_OK)
        rc = people(s, w, &who, &bare, err);
    if (rc != TR_OK)
        return rc;
    if (who == NULL)
        return asof_add(asof, NULL, NULL, (struct tr_str){ NULL, 0 }, err);
    if (bare)
        return asof_add(asof, &(struct asof_place){ 0 }, &who->p.id, TR_STR("{}"), err);
    return asof_add(asof, &who->place, &who->p.id, who->p.properties, err);
}

enum tr_rc state_steps(struct state *s, struct step *w, size_t n, struct asof *asof,
                       struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t from = 0; from < n && rc == TR_OK; from += WINDOW) {
        size_t some = n - from < WINDOW ? n - from : WINDOW;

        fetch_slots(s, w + from, some);
        fetch_entries(s, w + from, some);
        for (size_t i = from; i < from + some && rc == TR_OK; i++)
            rc = apply(s, &w[i], asof, err);
    }
    return rc;
}

enum tr_rc state_events(struct state *s, struct tr_str packed, struct asof *asof,
                        struct tr_err *err)
{
    struct step w[WINDOW];
    enum tr_rc rc = TR_OK;

    for (size_t at = 0; at < packed.n && rc == TR_OK;) {
        size_t n = 0;
        while (n < WINDOW && at < packed.n && rc == TR_OK)
            rc = step_read(&w[n++], packed, &at, err);
        if (rc == TR_OK)
            rc = state_steps(s, w, n, asof, err);
    }
    return rc;
}
