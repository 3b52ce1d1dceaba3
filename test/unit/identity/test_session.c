#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "base/utf8.h"
#include "identity/session.h"

#define MS INT64_C(1000)

/* ---- a session and its row ---- */

struct session {
    char *record; /* of its own size, at an odd address: NULL before the first event */
    struct tr_session_room *room;
    int64_t clock; /* inserted_at of the last event */
};

static void begin(struct session *s)
{
    *s = (struct session){ .room = malloc(sizeof(struct tr_session_room)) };
    assert_non_null(s->room);
}

static void end(struct session *s)
{
    free(s->record == NULL ? NULL : s->record - 1);
    free(s->room);
}

/* A copy in the place of the old record, with nothing behind it and not aligned. */
static void keep(struct session *s, const char *record)
{
    size_t n = tr_session_size(record);
    char *copy = malloc(n + 1);

    assert_non_null(copy);
    memcpy(copy + 1, record, n);
    free(s->record == NULL ? NULL : s->record - 1);
    s->record = copy + 1;
}

static enum tr_session_change apply(struct session *s, const char *event, int64_t t,
                                    const char *distinct_id, const char *properties)
{
    struct tr_event e = { .event = tr_str_of(event),
                          .distinct_id = tr_str_of(distinct_id),
                          .timestamp = t,
                          .inserted_at = ++s->clock };
    struct tr_facts f;

    tr_facts_read(tr_str_of(properties), &f);
    enum tr_session_change change = tr_session_apply(s->record, &e, &f, s->room);
    if (change == TR_SESSION_BUILT)
        keep(s, s->room->record);
    assert_true(tr_session_sound(s->record, tr_session_size(s->record)));
    return change;
}

static const struct tr_uuid example_id = { { 0x01, 0x90, 0xc8, 0xe2, 0x7a, 0x5d, 0x7f, 0x00, 0x8a,
                                             0x1b, 0x3c, 0x5d, 0x7e, 0x9f, 0x0a, 0x1b } };

/* One row of every column. */
struct row {
    union {
        struct tr_str str;
        struct tr_uuid uuid;
        int64_t i64;
        uint8_t u8;
        double f64;
    } values[TR_SESSION_COLUMNS];
    uint32_t flags[1];
    int64_t inserted_at[1];
    struct tr_batch b;
    struct tr_arena texts;
};

static void read_row(const struct session *s, struct row *r)
{
    struct tr_err err;

    *r = (struct row){ .b = { .schema = &tr_schema_sessions } };
    r->b.flags = r->flags;
    r->b.inserted_at = r->inserted_at;
    for (size_t c = 0; c < TR_SESSION_COLUMNS; c++)
        r->b.col[c].str = &r->values[c].str;
    tr_arena_init(&r->texts, 1 << 20);
    assert_int_equal(tr_session_row(s->record, 7, &example_id, &r->b, 0, &r->texts, &err), TR_OK);
}

/* A value as text; "NULL" for none. */
static void value_text(const struct row *r, int c, char *out, size_t cap)
{
    char uuid[TR_UUID_TEXT];

    switch (tr_schema_sessions.columns[c].type) {
    case TR_TYPE_TEXT:
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
        (void)snprintf(out, cap, "%.*s", TR_STR_ARGS(r->values[c].str));
        if (r->values[c].str.p == NULL)
            (void)snprintf(out, cap, "NULL");
        break;
    case TR_TYPE_UUID:
        tr_uuid_format(&r->values[c].uuid, uuid);
        (void)snprintf(out, cap, "%s", uuid);
        break;
    case TR_TYPE_INT64:
    case TR_TYPE_TIME:
        (void)snprintf(out, cap, "%" PRId64, r->values[c].i64);
        break;
    case TR_TYPE_BOOL:
        (void)snprintf(out, cap, "%s",
                       r->values[c].u8 == 0xFF ? "NULL"
                       : r->values[c].u8 != 0  ? "true"
                                               : "false");
        break;
    case TR_TYPE_FLOAT:
        (void)snprintf(out, cap, isnan(r->values[c].f64) ? "NULL" : "%g", r->values[c].f64);
        break;
    }
}

/* want: "column=value" by blanks. */
static void assert_row(const struct session *s, const char *want)
{
    struct row r;
    struct tr_str left = tr_str_of(want);

    read_row(s, &r);
    while (left.p != NULL) {
        struct tr_str item = tr_str_cut(left, ' ', &left);
        struct tr_str value;
        struct tr_str name = tr_str_cut(item, '=', &value);
        int c = tr_schema_find(&tr_schema_sessions, name);
        char got[3000];

        if (c < 0)
            fail_msg("no column %.*s", TR_STR_ARGS(name));
        value_text(&r, c, got, sizeof(got));
        if (!tr_str_is(value, got))
            fail_msg("%.*s: %s, not %.*s", TR_STR_ARGS(name), got, TR_STR_ARGS(value));
    }
    tr_arena_fini(&r.texts);
}

/* ---- rules ---- */

#define URL(path) "{\"$current_url\":\"https://a.example" path "\"}"

struct sent {
    const char *event;
    int64_t ms;
    const char *who, *properties;
};

static const struct rule {
    const char *name;
    struct sent events[6];
    const char *want;
} rules[] = {
    { "one event is a whole session",
      { { "clicked", 5, "ann", "{}" } },
      "start_timestamp=5000 end_timestamp=5000 session_duration=0 duration=0 distinct_id=ann "
      "urls=[] num_uniq_urls=0 entry_current_url=NULL pageview_count=0 is_bounce=NULL "
      "page_screen_autocapture_count_up_to=0 vitals_lcp=NULL last_external_click_url=NULL "
      "channel_type=Unknown _inserted_at=1" },
    { "start and end are the earliest and the latest, in any order",
      { { "a", 5000, "ann", "{}" },
        { "a", 1000, "bob", "{}" },
        { "a", 7999, "cid", "{}" },
        { "a", 6000, "dan", "{}" } },
      "start_timestamp=1000000 end_timestamp=7999000 session_duration=6 distinct_id=cid" },
    { "of equally late events the one ingested last names the person",
      { { "a", 5, "ann", "{}" }, { "a", 5, "bob", "{}" } },
      "distinct_id=bob" },
    { "events are counted by their kind",
      { { "$pageview", 1, "a", "{}" },
        { "$screen", 2, "a", "{}" },
        { "$autocapture", 3, "a", "{}" },
        { "$autocapture", 4, "a", "{}" },
        { "$pageleave", 5, "a", "{}" } },
      "pageview_count=1 screen_count=1 autocapture_count=2 page_screen_autocapture_count_up_to=2" },
    { "one counted event is one",
      { { "$screen", 1, "a", "{}" } },
      "page_screen_autocapture_count_up_to=1 is_bounce=NULL" },
    { "a page view alone is a bounce",
      { { "$pageview", 0, "a", "{}" }, { "$pageleave", 9999, "a", "{}" } },
      "is_bounce=true session_duration=9" },
    { "ten seconds are none",
      { { "$pageview", 0, "a", "{}" }, { "$pageleave", 10000, "a", "{}" } },
      "is_bounce=false" },
    { "two page views are none",
      { { "$pageview", 0, "a", "{}" }, { "$pageview", 1, "a", "{}" } },
      "is_bounce=false" },
    { "a click is none",
      { { "$pageview", 0, "a", "{}" }, { "$autocapture", 1, "a", "{}" } },
      "is_bounce=false" },

    { "addresses of page and screen views are kept once each, in the order they came",
      { { "$pageview", 9, "a", URL("/2") },
        { "$screen", 1, "a", URL("/1") },
        { "$pageview", 3, "a", URL("/2") },
        { "clicked", 4, "a", URL("/3") } },
      "urls=[\"https://a.example/2\",\"https://a.example/1\"] num_uniq_urls=2 "
      "entry_current_url=https://a.example/1 end_current_url=https://a.example/2 "
      "entry_pathname=/1 exit_pathname=/2 exit_current_url=https://a.example/2 "
      "end_hostname=a.example" },
    { "without a page view the entry and the end are any events'",
      { { "a", 5, "a", URL("/5") }, { "a", 3, "a", URL("/3") }, { "a", 7, "a", "{}" } },
      "entry_current_url=https://a.example/3 end_current_url=https://a.example/5 urls=[]" },
    { "a page view, though later, takes the entry from an event that is none",
      { { "a", 1, "a", "{\"utm_source\":\"x\"}" },
        { "$pageview", 5, "a", "{\"$current_url\":\"https://a.example/5\",\"gclid\":\"g\"}" },
        { "a", 9, "a", URL("/9") } },
      "entry_current_url=https://a.example/5 entry_utm_source=x entry_gclid=g "
      "end_current_url=https://a.example/5 start_timestamp=1000" },
    { "each column has its first value, the channel and the lesser ids are the entry's",
      { { "$pageview", 2, "a",
          "{\"utm_source\":\"late\",\"utm_medium\":\"cpc\",\"gclsrc\":\"x\"}" },
        { "$pageview", 1, "a", "{\"utm_source\":\"direct\",\"$referring_domain\":\"$direct\"}" } },
      "entry_utm_source=direct entry_utm_medium=cpc entry_referring_domain=$direct "
      "entry_gclsrc=NULL channel_type=Direct _inserted_at=2" },
    { "first values of page views go before those of other events, in any order",
      { { "$pageview", 1, "a", "{}" },
        { "x", 2, "a", "{\"gclid\":\"x2\",\"utm_term\":\"x2\"}" },
        { "x", 1, "a", "{\"gclid\":\"x1\"}" },
        { "$pageview", 9, "a", "{\"gclid\":\"p9\"}" },
        { "$screen", 8, "a", "{\"gclid\":\"p8\"}" },
        { "x", 1, "a", "{\"gclid\":\"no\"}" } },
      "entry_gclid=p8 entry_utm_term=x2 channel_type=Unknown _inserted_at=5" },
    { "another entry without a value leaves the value where it was",
      { { "$pageview", 5, "a", "{\"utm_medium\":\"email\"}" },
        { "$pageview", 3, "a", "{}" },
        { "$pageview", 4, "a", "{\"utm_medium\":\"sms\"}" },
        { "$pageview", 2, "a", "{\"utm_medium\":\"social\"}" } },
      "entry_utm_medium=social entry_gclid=NULL" },
    { "an empty text is a value",
      { { "$pageview", 1, "a", "{\"utm_source\":\"\",\"$current_url\":\"\"}" },
        { "$pageview", 2, "a", "{\"utm_source\":\"x\",\"$current_url\":\"https://a.example/\"}" } },
      "entry_utm_source= entry_current_url= entry_pathname=NULL num_uniq_urls=1 "
      "end_current_url=https://a.example/" },
    { "of equally early page views the one ingested first is the entry",
      { { "$pageview", 1, "a", URL("/1") }, { "$screen", 1, "a", URL("/2") } },
      "entry_current_url=https://a.example/1 end_current_url=https://a.example/2" },
    { "an entry of a page view is not taken by an earlier event that is none",
      { { "$pageview", 5, "a", URL("/5") }, { "a", 1, "a", URL("/1") } },
      "entry_current_url=https://a.example/5 end_current_url=https://a.example/5" },
    { "a page view without an address is not the end",
      { { "$pageview", 5, "a", URL("/5") }, { "$pageview", 6, "a", "{}" } },
      "end_current_url=https://a.example/5 end_pathname=/5" },
    { "the end goes back to an address that is kept",
      { { "$pageview", 1, "a", URL("/1") },
        { "$pageview", 2, "a", URL("/2") },
        { "$pageview", 3, "a", URL("/1") } },
      "end_current_url=https://a.example/1 num_uniq_urls=2 _inserted_at=3" },

    { "every attribution of the entry",
      { { "$pageview", 1, "a",
          "{\"$referring_domain\":\"r\",\"utm_source\":\"1\",\"utm_campaign\":\"2\",\"utm_medium\":"
          "\"3\",\"utm_term\":\"4\",\"utm_content\":\"5\",\"gclid\":\"6\",\"fbclid\":\"7\","
          "\"gad_source\":\"8\",\"gclsrc\":\"9\",\"dclid\":\"10\",\"gbraid\":\"11\",\"wbraid\":"
          "\"12\",\"msclkid\":\"13\",\"twclid\":\"14\",\"li_fat_id\":\"15\",\"mc_cid\":\"16\","
          "\"igshid\":\"17\",\"ttclid\":\"18\",\"_kx\":\"19\",\"irclid\":\"20\"}" } },
      "entry_referring_domain=r entry_utm_source=1 entry_utm_campaign=2 entry_utm_medium=3 "
      "entry_utm_term=4 entry_utm_content=5 entry_gclid=6 entry_fbclid=7 entry_gad_source=8 "
      "entry_gclsrc=9 entry_dclid=10 entry_gbraid=11 entry_wbraid=12 entry_msclkid=13 "
      "entry_twclid=14 entry_li_fat_id=15 entry_mc_cid=16 entry_igshid=17 entry_ttclid=18 "
      "entry__kx=19 entry_irclid=20" },
    { "what is no string is its JSON, null is nothing",
      { { "$pageview", 1, "a",
          "{\"utm_source\":54.10,\"utm_medium\":true,\"utm_campaign\":\"\",\"utm_term\":null,"
          "\"utm_content\":[\"x\"],\"gclid\":{}}" } },
      "entry_utm_source=54.10 entry_utm_medium=true entry_utm_campaign= entry_utm_term=NULL "
      "entry_utm_content=[\"x\"] entry_gclid={}" },
    { "escapes are resolved",
      { { "$pageview", 1, "a",
          "{\"\\u0024current_url\":\"https:\\/\\/a.example\\/"
          "\\u00e4\\\"\",\"utm_source\":\"\\u0061\"}" } },
      "entry_current_url=https://a.example/\xc3\xa4\" entry_utm_source=a "
      "urls=[\"https://a.example/\xc3\xa4\\\"\"]" },

    { "the last click outside is the latest event's that had one",
      { { "$autocapture", 5, "a", "{\"$external_click_url\":\"https://b/5\"}" },
        { "$autocapture", 3, "a", "{\"$external_click_url\":\"https://b/3\"}" },
        { "$autocapture", 9, "a", "{\"$external_click_url\":null}" } },
      "last_external_click_url=https://b/5" },
    { "of equally late ones the one ingested last",
      { { "x", 5, "a", "{\"$external_click_url\":\"https://b/1\"}" },
        { "x", 5, "a", "{\"$external_click_url\":\"https://b/2\"}" } },
      "last_external_click_url=https://b/2" },
    { "the first LCP is the earliest event's, number or text of one",
      { { "$web_vitals", 5, "a", "{\"$web_vitals_LCP_value\":1200.5}" },
        { "$web_vitals", 3, "a", "{\"$web_vitals_LCP_value\":\"9e2\"}" },
        { "$web_vitals", 3, "a", "{\"$web_vitals_LCP_value\":1}" },
        { "$web_vitals", 1, "a", "{\"$web_vitals_LCP_value\":\"fast\"}" },
        { "$web_vitals", 1, "a", "{\"$web_vitals_LCP_value\":\" 5\"}" },
        { "$web_vitals", 1, "a", "{\"$web_vitals_LCP_value\":1e999}" } },
      "vitals_lcp=900" },

    { "the row's version is that of the last event that changed it",
      { { "$pageview", 1, "a", URL("/") }, { "a", 9, "a", "{}" }, { "a", 5, "b", "{}" } },
      "_inserted_at=2 distinct_id=a" },
    { "an event that fits in between changes nothing, whatever else it says",
      { { "$pageview", 1, "a", URL("/") },
        { "a", 9, "a", "{\"$external_click_url\":\"u\",\"$web_vitals_LCP_value\":1}" },
        { "a", 9, "a", "{\"$external_click_url\":\"u\"}" },
        { "a", 8, "a", "{\"$web_vitals_LCP_value\":1,\"gclsrc\":\"x\"}" } },
      "_inserted_at=2 vitals_lcp=1 entry_gclsrc=NULL" },
    { "another entry that shows in nothing changes nothing",
      { { "$pageview", 5, "a", "{\"utm_term\":\"t\",\"$current_url\":\"https://a.example/\"}" },
        { "$screen", 9, "a", "{}" },
        { "x", 4, "a", "{}" } },
      "_inserted_at=3 entry_utm_term=t" },
    { "a page view always changes the row",
      { { "$pageview", 1, "a", URL("/") }, { "$pageview", 1, "a", URL("/") } },
      "_inserted_at=2 pageview_count=2" },
};

static void rules_are_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];
        struct session s;

        print_message("  %s\n", r->name);
        begin(&s);
        for (size_t k = 0; k < 6 && r->events[k].event != NULL; k++)
            (void)apply(&s, r->events[k].event, r->events[k].ms * MS, r->events[k].who,
                        r->events[k].properties);
        assert_row(&s, r->want);
        end(&s);
    }
}

static void the_caller_is_told_what_to_keep(void **state)
{
    struct session s;

    (void)state;
    begin(&s);
    assert_int_equal(apply(&s, "a", 5, "ann", "{}"), TR_SESSION_BUILT);
    assert_int_equal(apply(&s, "a", 6, "ann", "{}"), TR_SESSION_EDITED);
    assert_int_equal(apply(&s, "a", 5, "ann", "{}"), TR_SESSION_SAME);
    assert_int_equal(apply(&s, "a", 6, "ann", "{}"), TR_SESSION_SAME);
    assert_int_equal(apply(&s, "$autocapture", 5, "ann", "{}"), TR_SESSION_EDITED);
    assert_int_equal(apply(&s, "$pageview", 6, "ann", URL("/")), TR_SESSION_BUILT);
    assert_int_equal(apply(&s, "$pageview", 7, "ann", URL("/")), TR_SESSION_EDITED);
    assert_int_equal(apply(&s, "a", 7, "bob", "{}"), TR_SESSION_BUILT);
    /* kept though the row does not show it: when the click was */
    assert_int_equal(apply(&s, "a", 5, "x", "{\"$external_click_url\":\"u\"}"), TR_SESSION_BUILT);
    int64_t changed = tr_session_changed_at(s.record);
    assert_int_equal(apply(&s, "a", 6, "x", "{\"$external_click_url\":\"u\"}"), TR_SESSION_EDITED);
    assert_int_equal(tr_session_changed_at(s.record), changed);
    assert_int_equal(tr_session_end(s.record), 7);
    end(&s);
}

static void ids_are_version_7(void **state)
{
    static const struct {
        const char *properties;
        bool good;
    } cases[] = {
        { "{\"$session_id\":\"0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b\"}", true },
        { "{\"$session_id\":\"0190C8E2-7A5D-7F00-8A1B-3C5D7E9F0A1B\"}", true },
        { "{\"$session_id\":\"0190c8e27a5d7f008a1b3c5d7e9f0a1b\"}", true },
        { "{\"$session_id\":\"{0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b}\"}", true },
        { "{\"$session_id\":\"\\u0030190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b\"}", true },
        { "{\"$session_id\":\"0190c8e2-7a5d-4f00-8a1b-3c5d7e9f0a1b\"}", false },
        { "{\"$session_id\":\"0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1\"}", false },
        { "{\"$session_id\":\"\"}", false },
        { "{\"$session_id\":null}", false },
        { "{\"$session_id\":7}", false },
        { "{}", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_facts f;
        struct tr_uuid id;

        print_message("  %s\n", cases[i].properties);
        tr_facts_read(tr_str_of(cases[i].properties), &f);
        assert_int_equal(tr_session_id(&f, &id), cases[i].good);
        if (cases[i].good)
            assert_memory_equal(&id, &example_id, sizeof(id));
    }

    struct tr_facts f;
    struct tr_uuid id;
    char all[400] = "{\"$session_id\":\"";
    const char *urn = "urn:uuid:0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b";
    size_t at = strlen(all);
    for (; *urn != '\0'; urn++)
        at += (size_t)snprintf(all + at, sizeof(all) - at, "\\u%04x", *urn);
    (void)snprintf(all + at, sizeof(all) - at, "\"}");
    tr_facts_read(tr_str_of(all), &f);
    assert_true(tr_session_id(&f, &id));
}

static void the_id_is_also_a_number(void **state)
{
    static const struct {
        struct tr_uuid id;
        const char *want;
    } cases[] = {
        { { { 0 } }, "0" },
        { { { [15] = 10 } }, "10" },
        { { { [7] = 1 } }, "18446744073709551616" },
        { { { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 } },
          "340282366920938463463374607431768211455" },
    };
    struct session s;

    (void)state;
    begin(&s);
    (void)apply(&s, "a", 1, "a", "{}");
    assert_row(&s, "session_id=0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b "
                   "session_id_v7=2080993168769590659160481639350340123 team_id=7");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_str text;
        uint32_t flags;
        int64_t inserted_at;
        struct tr_batch b = { .schema = &tr_schema_sessions,
                              .flags = &flags,
                              .inserted_at = &inserted_at };
        struct tr_arena texts;
        struct tr_err err;
        b.col[TR_SESSION_ID_V7].str = &text;
        tr_arena_init(&texts, 1 << 16);
        assert_int_equal(tr_session_row(s.record, 1, &cases[i].id, &b, 0, &texts, &err), TR_OK);
        assert_true(tr_str_is(text, cases[i].want));
        tr_arena_fini(&texts);
    }
    end(&s);
}

/* ---- limits ---- */

static void no_more_than_200_addresses_are_kept(void **state)
{
    struct session s;
    struct row r;

    (void)state;
    begin(&s);
    for (int i = 0; i < 300; i++) {
        char text[100];
        (void)snprintf(text, sizeof(text), "{\"$current_url\":\"https://a.example/%d\"}", i);
        (void)apply(&s, "$pageview", i, "a", text);
    }
    assert_row(&s, "num_uniq_urls=200 pageview_count=300 end_pathname=/299 entry_pathname=/0");
    /* one that is kept, one that is not */
    assert_int_equal(apply(&s, "$pageview", 300, "a", URL("/7")), TR_SESSION_EDITED);
    assert_int_equal(apply(&s, "$pageview", 301, "a", URL("/299")), TR_SESSION_BUILT);
    assert_int_equal(apply(&s, "$pageview", 302, "a", URL("/299")), TR_SESSION_EDITED);
    read_row(&s, &r);
    assert_true(tr_str_starts(r.values[TR_SESSION_URLS].str, TR_STR("[\"https://a.example/0\",")));
    tr_arena_fini(&r.texts);
    end(&s);
}

static void fill(char *out, size_t cap, const char *before, size_t n, const char *what,
                 const char *after)
{
    size_t at = (size_t)snprintf(out, cap, "%s", before);

    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s", what);
    (void)snprintf(out + at, cap - at, "%s", after);
}

static void long_texts_are_cut_between_characters(void **state)
{
    static char text[40000];
    struct session s;
    struct row r;

    (void)state;
    begin(&s);
    fill(text, sizeof(text), "{\"$current_url\":\"x", 5000, "\xc3\xa4", "\"}");
    (void)apply(&s, "$pageview", 1, "a", text);
    /* the same in escapes, and one that differs behind the cut only */
    fill(text, sizeof(text), "{\"$current_url\":\"x", 5000, "\\u00e4", "\"}");
    (void)apply(&s, "$pageview", 2, "a", text);
    fill(text, sizeof(text), "{\"$current_url\":\"x", 5000, "\xc3\xa4", "!\"}");
    (void)apply(&s, "$pageview", 3, "a", text);
    assert_row(&s, "num_uniq_urls=1");
    read_row(&s, &r);
    assert_int_equal(r.values[TR_SESSION_ENTRY_CURRENT_URL].str.n, 2047);
    tr_arena_fini(&r.texts);

    fill(text, sizeof(text), "{\"utm_source\":\"", 5000, "\xe2\x82\xac", "\"}");
    (void)apply(&s, "$pageview", 0, "a", text);
    read_row(&s, &r);
    assert_int_equal(r.values[TR_SESSION_ENTRY_UTM_SOURCE].str.n, 1023);
    assert_true(tr_utf8_valid(r.values[TR_SESSION_ENTRY_UTM_SOURCE].str));
    tr_arena_fini(&r.texts);
    end(&s);
}

/* Everything at its longest, and most of it in escapes. */
static void the_longest_record_fits(void **state)
{
    static char text[400000];
    struct session s;
    size_t n = 0;

    (void)state;
    begin(&s);
    for (int k = 0; k < 100; k++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "{\"a\":0");
        for (int i = TR_FACT_AUTOMATIC - 2; i < TR_FACTS; i++) {
            struct tr_str name = tr_fact_name((enum tr_fact)i);
            at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"%.*s\":\"%d\\u0000",
                                   TR_STR_ARGS(name), k);
            for (int c = 0; c < 2048; c++)
                text[at++] = 'y';
            text[at++] = '"';
        }
        (void)snprintf(text + at, sizeof(text) - at, "}");
        (void)apply(&s, "$pageview", k == 50 ? -1 : k, text + 100, text);
        if (tr_session_size(s.record) > n)
            n = tr_session_size(s.record);
        assert_true(n <= TR_SESSION_MAX);
    }
    assert_true(n > 32 * 1024 + 20 * 1024);
    assert_row(&s, "num_uniq_urls=16");
    end(&s);
}

static void a_nul_is_told_in_the_flags(void **state)
{
    struct session s;
    struct row r;

    (void)state;
    begin(&s);
    (void)apply(&s, "$pageview", 1, "a", URL("/"));
    read_row(&s, &r);
    assert_int_equal(r.flags[0], 0);
    tr_arena_fini(&r.texts);
    (void)apply(&s, "$pageview", 2, "a", "{\"$current_url\":\"a\\u0000b\"}");
    read_row(&s, &r);
    assert_int_equal(r.flags[0], TR_EVENT_TEXT_NUL | TR_EVENT_JSON_NUL);
    assert_true(tr_str_is(r.values[TR_SESSION_URLS].str, "[\"https://a.example/\",\"a\\u0000b\"]"));
    assert_int_equal(r.inserted_at[0], 2);
    tr_arena_fini(&r.texts);
    end(&s);
}

static void only_columns_that_are_asked_for_are_filled(void **state)
{
    struct session s;
    uint32_t flags[2];
    int64_t inserted_at[2];
    int64_t counts[2] = { -1, -1 };
    struct tr_batch b = { .schema = &tr_schema_sessions,
                          .flags = flags,
                          .inserted_at = inserted_at };
    struct tr_arena none;
    struct tr_err err;

    (void)state;
    begin(&s);
    (void)apply(&s, "$pageview", 1, "a", URL("/"));
    tr_arena_init(&none, 0);
    b.col[TR_SESSION_PAGEVIEW_COUNT].i64 = counts;
    assert_int_equal(tr_session_row(s.record, 1, &example_id, &b, 1, &none, &err), TR_OK);
    assert_int_equal(counts[0], -1);
    assert_int_equal(counts[1], 1);

    struct tr_str urls[2];
    b.col[TR_SESSION_URLS].str = urls;
    assert_int_equal(tr_session_row(s.record, 1, &example_id, &b, 1, &none, &err), TR_INTERNAL);
    assert_string_equal(err.id, "session.too_big");
    end(&s);
}

/* ---- damage ---- */

static void damage_is_noticed_or_harmless(void **state)
{
    struct session s;

    (void)state;
    begin(&s);
    (void)apply(&s, "$pageview", 1, "ann", URL("/1"));
    (void)apply(&s, "$pageview", 2, "ann",
                "{\"$current_url\":\"\xc3\xa4\",\"gclid\":\"\xc3\xa4\"}");
    (void)apply(&s, "a", 2, "ann", "{\"$external_click_url\":\"u\",\"$web_vitals_LCP_value\":1}");
    size_t n = tr_session_size(s.record);
    for (size_t cut = 0; cut < n; cut++) {
        char *p = malloc(cut == 0 ? 1 : cut);
        memcpy(p, s.record, cut);
        assert_false(tr_session_sound(p, cut));
        free(p);
    }
    for (size_t i = 0; i < n * 8; i++) {
        struct session other = { .record = NULL };
        begin(&other);
        keep(&other, s.record);
        other.record[i / 8] = (char)(other.record[i / 8] ^ 1 << i % 8);
        if (tr_session_sound(other.record, n)) {
            struct row r;
            (void)apply(&other, "$pageview", 3, "bob", URL("/1"));
            read_row(&other, &r);
            tr_arena_fini(&r.texts);
        }
        end(&other);
    }
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_kept),
        cmocka_unit_test(the_caller_is_told_what_to_keep),
        cmocka_unit_test(ids_are_version_7),
        cmocka_unit_test(the_id_is_also_a_number),
        cmocka_unit_test(no_more_than_200_addresses_are_kept),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(the_longest_record_fits),
        cmocka_unit_test(a_nul_is_told_in_the_flags),
        cmocka_unit_test(only_columns_that_are_asked_for_are_filled),
        cmocka_unit_test(damage_is_noticed_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
