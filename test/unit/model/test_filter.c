#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "model/filter.h"

/* 2026-03-31T12:00:00Z: a month before it has no such day. */
#define REFERENCE INT64_C(1774958400000000)

static json_t *parse(const char *text)
{
    json_error_t bad;
    json_t *j = text == NULL ? NULL : json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &bad);

    if (text != NULL && j == NULL)
        fail_msg("%s: %s", text, bad.text);
    return j;
}

static enum tr_rc compile(const char *include, const char *exclude, const char *filters,
                          struct tr_filter **ret, struct tr_err *err)
{
    json_t *a = parse(include);
    json_t *b = parse(exclude);
    json_t *c = parse(filters);
    enum tr_rc rc = tr_filter_compile(a, b, c, REFERENCE, ret, err);

    json_decref(a);
    json_decref(b);
    json_decref(c);
    return rc;
}

/* Whether a filter takes one event. */
static bool takes(const struct tr_filter *f, const char *event, const char *properties,
                  uint64_t *ret_limited)
{
    struct tr_str name = tr_str_of(event);
    struct tr_str json = tr_str_of(properties);
    struct tr_batch b = { .schema = &tr_schema_events, .rows = 1 };
    struct tr_err err = { 0 };
    bool keep = false;

    b.col[TR_EVENT_EVENT].str = &name;
    b.col[TR_EVENT_PROPERTIES].str = &json;
    assert_int_equal(tr_filter_rows(f, &b, &keep, ret_limited, &err), TR_OK);
    return keep;
}

static const struct filter_case {
    const char *name, *filter, *properties;
    bool want;
} cases[] = {
    /* exact: texts, numbers, booleans */
    { "a text equals itself", "'exact','value':'Chrome'", "{'p':'Chrome'}", true },
    { "case matters", "'exact','value':'chrome'", "{'p':'Chrome'}", false },
    { "any of a list", "'exact','value':['Safari','Chrome']", "{'p':'Chrome'}", true },
    { "none of a list", "'exact','value':['Safari','Edge']", "{'p':'Chrome'}", false },
    { "an empty text is a value", "'exact','value':''", "{'p':''}", true },
    { "1 is 1", "'exact','value':1", "{'p':1}", true },
    { "1 is 1.0", "'exact','value':1", "{'p':1.0}", true },
    { "1 is 10e-1", "'exact','value':1", "{'p':10e-1}", true },
    { "the number 1 is the text 1", "'exact','value':'1'", "{'p':1}", true },
    { "the number 1.0 is the text 1", "'exact','value':'1'", "{'p':1.0}", true },
    { "the text 1 is the number 1", "'exact','value':1", "{'p':'1'}", true },
    { "the text 1.0 is the number 1", "'exact','value':1", "{'p':'1.0'}", true },
    { "the text 1.0 is not the text 1", "'exact','value':'1'", "{'p':'1.0'}", false },
    { "the text 1.10 is not the text 1.1", "'exact','value':'1.1'", "{'p':'1.10'}", false },
    { "54.10 is 54.1", "'exact','value':54.1", "{'p':54.10}", true },
    { "54.1 is 54.10", "'exact','value':54.10", "{'p':54.1}", true },
    { "0.1 is 0.1", "'exact','value':0.1", "{'p':0.1}", true },
    { "-0 is 0", "'exact','value':0", "{'p':-0}", true },
    { "0.000 is 0", "'exact','value':0", "{'p':0.000}", true },
    { "-1 is not 1", "'exact','value':1", "{'p':-1}", false },
    { "digits beyond a double count", "'exact','value':'9007199254740993'",
      "{'p':9007199254740992}", false },
    { "2^70 is itself", "'exact','value':'1180591620717411303424'", "{'p':1180591620717411303424}",
      true },
    { "1e400 is itself", "'exact','value':'1e400'", "{'p':10e399}", true },
    { "01 is a text, not a number", "'exact','value':1", "{'p':'01'}", false },
    { "true is true", "'exact','value':true", "{'p':true}", true },
    { "true is the text true", "'exact','value':'true'", "{'p':true}", true },
    { "the text true is true", "'exact','value':true", "{'p':'true'}", true },
    { "true is not 1", "'exact','value':1", "{'p':true}", false },
    { "false is not the empty text", "'exact','value':''", "{'p':false}", false },
    { "null is nothing", "'exact','value':'null'", "{'p':null}", false },
    { "the text null is a text", "'exact','value':'null'", "{'p':'null'}", true },
    { "an object is its JSON", "'exact','value':'{\"a\":1}'", "{'p':{'a':1}}", true },
    { "no operator means exact", "", "{'p':'x'}", true },
    /* is_not */
    { "is_not another", "'is_not','value':'Chrome'", "{'p':'Safari'}", true },
    { "is_not itself", "'is_not','value':'Chrome'", "{'p':'Chrome'}", false },
    { "is_not any of a list", "'is_not','value':['Safari','Chrome']", "{'p':'Chrome'}", false },
    { "is_not takes null", "'is_not','value':'x'", "{'p':null}", true },
    /* lists */
    { "a list with the value", "'exact','value':'b'", "{'p':['a','b']}", true },
    { "a list without it", "'exact','value':'c'", "{'p':['a','b']}", false },
    { "is_not: a list with it", "'is_not','value':'b'", "{'p':['a','b']}", false },
    { "is_not: a list without it", "'is_not','value':'c'", "{'p':['a','b']}", true },
    { "an empty list equals nothing", "'exact','value':''", "{'p':[]}", false },
    { "an empty list is_not anything", "'is_not','value':''", "{'p':[]}", true },
    { "an empty list is set", "'is_set'", "{'p':[]}", true },
    { "any number of a list", "'gt','value':5", "{'p':[1,'x',7]}", true },
    { "a list in a list is its JSON", "'icontains','value':'[\"A\"]'", "{'p':[['a']]}", true },
    { "null in a list equals nothing", "'exact','value':'null'", "{'p':[null]}", false },
    /* icontains */
    { "contains, case aside", "'icontains','value':'HROM'", "{'p':'Chrome'}", true },
    { "does not contain", "'icontains','value':'fox'", "{'p':'Chrome'}", false },
    { "case aside beyond ASCII", "'icontains','value':'\u00c9COLE'", "{'p':'une \u00e9cole'}",
      true },
    { "case aside in Greek", "'icontains','value':'\u03a9'", "{'p':'\u03c9'}", true },
    { "one letter is one letter", "'icontains','value':'SS'", "{'p':'\u00df'}", false },
    { "a pattern is no pattern", "'icontains','value':'a.c'", "{'p':'abc'}", false },
    { "any of a list is contained", "'icontains','value':['x','rom']", "{'p':'Chrome'}", true },
    { "a number contains digits", "'icontains','value':4.1", "{'p':54.10}", true },
    { "an object contains its inside", "'icontains','value':'DEEP'", "{'p':{'a':'deep'}}", true },
    { "not_icontains", "'not_icontains','value':'fox'", "{'p':'Chrome'}", true },
    { "not_icontains what is there", "'not_icontains','value':'CHR'", "{'p':'Chrome'}", false },
    /* regex */
    { "a regular expression", "'regex','value':'^C.+e$'", "{'p':'Chrome'}", true },
    { "which does not match", "'regex','value':'^c'", "{'p':'Chrome'}", false },
    { "it is searched, not anchored", "'regex','value':'ro'", "{'p':'Chrome'}", true },
    { "it sees characters, not bytes", "'regex','value':'^.$'", "{'p':'\u00e9'}", true },
    { "it sees a number's own text", "'regex','value':'^54\\\\.10$'", "{'p':54.10}", true },
    { "its $ is the end of the text, not of a line", "'regex','value':'a$'", "{'p':'a\\n'}",
      false },
    { "it sees true", "'regex','value':'^tr'", "{'p':true}", true },
    { "not_regex", "'not_regex','value':'^c'", "{'p':'Chrome'}", true },
    { "not_regex of null", "'not_regex','value':'.'", "{'p':null}", true },
    /* order */
    { "10 > 9", "'gt','value':9", "{'p':10}", true },
    { "9 > 9", "'gt','value':9", "{'p':9}", false },
    { "9 >= 9.0", "'gte','value':9", "{'p':9.0}", true },
    { "the text 10 > 9", "'gt','value':9", "{'p':'10'}", true },
    { "10 > the text 9", "'gt','value':'9'", "{'p':10}", true },
    { "the text 10 > the text 9, as numbers", "'gt','value':'9'", "{'p':'10'}", true },
    { "-2 < -1.5", "'lt','value':-1.5", "{'p':-2}", true },
    { "1e3 <= 1000", "'lte','value':1000", "{'p':1e3}", true },
    { "0.09 < 0.1", "'lt','value':0.1", "{'p':0.09}", true },
    { "2^64 + 1 > 2^64", "'gt','value':'18446744073709551616'", "{'p':18446744073709551617}",
      true },
    { "texts have their order", "'lt','value':'b'", "{'p':'a'}", true },
    { "a longer text is more", "'gt','value':'a'", "{'p':'ab'}", true },
    { "a text is not over a number", "'gt','value':9", "{'p':'abc'}", false },
    { "nor under it", "'lt','value':9", "{'p':'abc'}", false },
    { "a number is not over a text", "'gt','value':'abc'", "{'p':9}", false },
    { "true is not over 0", "'gt','value':0", "{'p':true}", false },
    { "null is not under 1", "'lt','value':1", "{'p':null}", false },
    /* set */
    { "there", "'is_set'", "{'p':0}", true },
    { "empty but there", "'is_set'", "{'p':''}", true },
    { "null is not set", "'is_set'", "{'p':null}", false },
    { "is_not_set", "'is_not_set'", "{'p':null}", true },
    { "is_not_set but there", "'is_not_set'", "{'p':false}", false },
    /* dates */
    { "a day before", "'is_date_before','value':'2026-01-02'", "{'p':'2026-01-01'}", true },
    { "the same instant is not before", "'is_date_before','value':'2026-01-02'",
      "{'p':'2026-01-02T00:00:00Z'}", false },
    { "nor after", "'is_date_after','value':'2026-01-02'", "{'p':'2026-01-02T00:00:00Z'}", false },
    { "a microsecond after", "'is_date_after','value':'2026-01-02'",
      "{'p':'2026-01-02T00:00:00.000001Z'}", true },
    { "zones count", "'is_date_before','value':'2026-01-02T00:00:00Z'",
      "{'p':'2026-01-02T01:00:00+02:00'}", true },
    { "without a zone it is UTC", "'is_date_after','value':'2026-01-02T09:59:59Z'",
      "{'p':'2026-01-02 10:00'}", true },
    { "seconds since 1970", "'is_date_after','value':'2023-11-14'", "{'p':1700000000}", true },
    { "milliseconds since 1970", "'is_date_before','value':'2023-11-15'", "{'p':1700000000000}",
      true },
    { "no date is not before", "'is_date_before','value':'2026-01-02'", "{'p':'soon'}", false },
    { "no date is not after", "'is_date_after','value':'2026-01-02'", "{'p':true}", false },
    { "hours ago", "'is_date_after','value':'-3h'", "{'p':'2026-03-31T09:00:01Z'}", true },
    { "days ago", "'is_date_after','value':'-7d'", "{'p':'2026-03-24T12:00:00Z'}", false },
    { "weeks ago", "'is_date_before','value':'-2w'", "{'p':'2026-03-17T11:59:59Z'}", true },
    { "a month ago is its last day", "'is_date_before','value':'-1m'",
      "{'p':'2026-02-28T11:59:59Z'}", true },
    { "and not the day before", "'is_date_after','value':'-1m'", "{'p':'2026-02-28T11:59:59Z'}",
      false },
    { "years ago", "'is_date_after','value':'-2y'", "{'p':'2024-03-31T12:00:00.5Z'}", true },
    { "any date of a list", "'is_date_after','value':'-1d'", "{'p':['2020-01-01','2026-03-31']}",
      true },
    /* finding the property */
    { "an escaped key", "'exact','value':1", "{'\\u0070':1}", true },
    { "a nested look-alike", "'is_set'", "{'q':{'p':1}}", false },
    { "a look-alike in a list", "'is_set'", "{'q':[{'p':1}]}", false },
    { "a look-alike in a text", "'is_set'", "{'q':'\\\"p\\\":1'}", false },
    { "the last duplicate wins", "'exact','value':2", "{'p':1,'p':2}", true },
    { "the first duplicate does not", "'exact','value':1", "{'p':1,'p':2}", false },
    { "not even when spelt otherwise", "'exact','value':1", "{'p':1,'\\u0070':2}", false },
    { "a last null takes the value away", "'is_set'", "{'p':1,'p':null}", false },
    { "an escaped value", "'exact','value':'a/\"\\n\u00e9\U0001F600'",
      "{'p':'\\u0061\\/\\\"\\n\\u00e9\\ud83d\\ude00'}", true },
    { "a NUL in a value", "'exact','value':'a\\u0000b'", "{'p':'a\\u0000b'}", true },
    { "half a pair is U+FFFD", "'exact','value':'\uFFFD'", "{'p':'\\ud83d'}", true },
};

/* ' for " keeps the table readable. */
static void quotes(const char *from, char *to, size_t cap)
{
    size_t n = strlen(from);

    assert_true(n < cap);
    for (size_t i = 0; i <= n; i++)
        to[i] = from[i] == '\'' ? '"' : from[i];
}

static void make_filter(const char *operator_and_value, char *out, size_t cap)
{
    char escaped[600]; /* a value may have quotes of its own */
    size_t n = 0;

    assert_true(strlen(operator_and_value) < sizeof(escaped) / 2);
    for (const char *p = operator_and_value; *p != '\0'; p++) {
        if (*p == '"')
            escaped[n++] = '\\';
        escaped[n++] = *p == '\'' ? '"' : *p;
    }
    escaped[n] = '\0';
    if (n == 0)
        (void)snprintf(out, cap, "[{\"key\":\"p\",\"value\":\"x\"}]");
    else
        (void)snprintf(out, cap, "[{\"key\":\"p\",\"type\":\"event\",\"operator\":%s}]", escaped);
}

static void every_operator_over_every_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_filter *f = NULL;
        struct tr_err err = { 0 };
        uint64_t limited = 0;
        char filter[700];
        char properties[512];

        make_filter(cases[i].filter, filter, sizeof(filter));
        quotes(cases[i].properties, properties, sizeof(properties));
        if (compile(NULL, NULL, filter, &f, &err) != TR_OK)
            fail_msg("%s: %s: %s", cases[i].name, filter, err.cause);
        if (takes(f, "x", properties, &limited) != cases[i].want)
            fail_msg("%s: %s on %s", cases[i].name, filter, properties);
        assert_int_equal(limited, 0);
        tr_filter_free(f);
    }
}

static void a_missing_key_under_every_operator(void **state)
{
    static const struct {
        const char *filter;
        bool want;
    } missing[] = {
        { "'exact','value':''", false },
        { "'is_not','value':''", true },
        { "'icontains','value':''", false },
        { "'not_icontains','value':''", true },
        { "'regex','value':''", false },
        { "'not_regex','value':''", true },
        { "'gt','value':-1", false },
        { "'gte','value':-1", false },
        { "'lt','value':1", false },
        { "'lte','value':1", false },
        { "'is_set'", false },
        { "'is_not_set'", true },
        { "'is_date_before','value':'2026-01-01'", false },
        { "'is_date_after','value':'2026-01-01'", false },
    };
    static const char *const without[] = { "{}", "{\"q\":1}", "{\"p\":null}", "{\"P\":1}" };

    (void)state;
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        struct tr_filter *f = NULL;
        uint64_t limited;
        char filter[700];

        make_filter(missing[i].filter, filter, sizeof(filter));
        assert_int_equal(compile(NULL, NULL, filter, &f, NULL), TR_OK);
        for (size_t k = 0; k < sizeof(without) / sizeof(without[0]); k++)
            if (takes(f, "x", without[k], &limited) != missing[i].want)
                fail_msg("%s on %s", filter, without[k]);
        tr_filter_free(f);
    }
}

static void filters_are_anded(void **state)
{
    static const char filters[] = "[{\"key\":\"a\",\"operator\":\"gt\",\"value\":1},"
                                  "{\"key\":\"b\",\"operator\":\"icontains\",\"value\":\"x\"},"
                                  "{\"key\":\"a\",\"operator\":\"lt\",\"value\":5}]";
    struct tr_filter *f = NULL;
    uint64_t limited;

    (void)state;
    assert_int_equal(compile(NULL, NULL, filters, &f, NULL), TR_OK);
    assert_true(takes(f, "e", "{\"a\":3,\"b\":\"X\"}", &limited));
    assert_false(takes(f, "e", "{\"a\":7,\"b\":\"X\"}", &limited));
    assert_false(takes(f, "e", "{\"a\":1,\"b\":\"X\"}", &limited));
    assert_false(takes(f, "e", "{\"a\":3,\"b\":\"y\"}", &limited));
    assert_false(takes(f, "e", "{\"a\":3}", &limited));
    tr_filter_free(f);
}

static void event_names_are_included_and_excluded(void **state)
{
    static const struct {
        const char *include, *exclude, *event;
        bool want;
    } names[] = {
        { NULL, NULL, "a", true },
        { "[]", "[]", "a", true },
        { "[\"b\",\"a\"]", NULL, "a", true },
        { "[\"b\",\"a\"]", NULL, "A", false },
        { "[\"b\",\"a\"]", NULL, "aa", false },
        { "[\"b\",\"a\"]", NULL, "", false },
        { NULL, "[\"b\",\"a\"]", "a", false },
        { NULL, "[\"b\",\"a\"]", "c", true },
        { "[\"a\",\"b\"]", "[\"a\"]", "a", false },
        { "[\"a\",\"b\"]", "[\"a\"]", "b", true },
        { "[\"$pageview\"]", NULL, "$pageview", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct tr_filter *f = NULL;
        uint64_t limited;

        assert_int_equal(compile(names[i].include, names[i].exclude, NULL, &f, NULL), TR_OK);
        if (takes(f, names[i].event, "{}", &limited) != names[i].want)
            fail_msg("case %zu", i);
        tr_filter_free(f);
    }
}

static void says_what_it_looks_at(void **state)
{
    struct tr_filter *f = NULL;
    tr_column_mask event = (tr_column_mask)1 << TR_EVENT_EVENT;
    tr_column_mask properties = (tr_column_mask)1 << TR_EVENT_PROPERTIES;

    (void)state;
    assert_int_equal(compile(NULL, "null", "[]", &f, NULL), TR_OK);
    assert_true(tr_filter_is_all(f));
    assert_int_equal(tr_filter_columns(f), 0);
    tr_filter_free(f);
    assert_int_equal(compile(NULL, "[\"a\"]", NULL, &f, NULL), TR_OK);
    assert_false(tr_filter_is_all(f));
    assert_int_equal(tr_filter_columns(f), event);
    tr_filter_free(f);
    assert_int_equal(
        compile("[\"a\"]", NULL, "[{\"key\":\"p\",\"operator\":\"is_set\"}]", &f, NULL), TR_OK);
    assert_int_equal(tr_filter_columns(f), event | properties);

    struct tr_batch b = { .schema = &tr_schema_events, .rows = 1 };
    struct tr_err err = { 0 };
    bool keep;
    uint64_t limited;
    assert_int_equal(tr_filter_rows(f, &b, &keep, &limited, &err), TR_INTERNAL);
    tr_filter_free(f);
}

static void wrong_filters_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *filters, *id, *says;
    } wrong[] = {
        { "{}", "filter.list", "list" },
        { "[1]", "filter.field", "object" },
        { "[{'operator':'is_set'}]", "filter.key", "key" },
        { "[{'key':1,'operator':'is_set'}]", "filter.key", "key" },
        { "[{'key':'p','operator':'is','value':1}]", "filter.operator", "not_icontains" },
        { "[{'key':'p','operator':7,'value':1}]", "filter.operator", "not_icontains" },
        { "[{'key':'p','value':1,'type':'person'}]", "filter.type", "by properties of the event" },
        { "[{'key':'p','value':1,'type':'cohort'}]", "filter.type", "event" },
        { "[{'key':'p','value':1,'negation':true}]", "filter.field", "negation" },
        { "[{'key':'p'}]", "filter.value", "value" },
        { "[{'key':'p','value':null}]", "filter.value", "value" },
        { "[{'key':'p','value':[]}]", "filter.value", "empty list" },
        { "[{'key':'p','value':[{}]}]", "filter.value", "value" },
        { "[{'key':'p','operator':'gt','value':[1]}]", "filter.value", "one number" },
        { "[{'key':'p','operator':'gt','value':true}]", "filter.value", "one number" },
        { "[{'key':'p','operator':'regex','value':'a('}]", "filter.pattern", "byte 2" },
        { "[{'key':'p','operator':'regex','value':'\\\\C'}]", "filter.pattern", "wrong" },
        { "[{'key':'p','operator':'is_date_before','value':'soon'}]", "filter.date", "-7d" },
        { "[{'key':'p','operator':'is_date_before','value':'2026-02-30'}]", "filter.date", "-7d" },
        { "[{'key':'p','operator':'is_date_before','value':'7d'}]", "filter.date", "-7d" },
        { "[{'key':'p','operator':'is_date_before','value':'-7q'}]", "filter.date", "-7d" },
        { "[{'key':'p','operator':'is_date_before','value':'-d'}]", "filter.date", "-7d" },
        { "[{'key':'p','operator':'is_date_before'}]", "filter.date", "-7d" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct tr_filter *f = NULL;
        struct tr_err err = { 0 };
        char filters[512];

        quotes(wrong[i].filters, filters, sizeof(filters));
        print_message("# %s\n", filters);
        assert_int_equal(compile(NULL, NULL, filters, &f, &err), TR_INVALID);
        assert_null(f);
        assert_string_equal(err.id, wrong[i].id);
        assert_non_null(strstr(err.cause, wrong[i].says));
    }
}

static void the_error_names_the_filter(void **state)
{
    struct tr_filter *f = NULL;
    struct tr_err err = { 0 };
    char text[520];

    (void)state;
    assert_int_equal(
        compile(NULL, NULL, "[{\"key\":\"a\",\"operator\":\"is_set\"},{\"key\":\"b\"}]", &f, &err),
        TR_INVALID);
    assert_non_null(strstr(tr_err_text(&err, text, sizeof(text)), "filters[1]"));
    assert_int_equal(compile("[1]", NULL, NULL, &f, &err), TR_INVALID);
    assert_non_null(strstr(err.cause, "include_events[0]"));
    assert_int_equal(compile(NULL, "\"a\"", NULL, &f, &err), TR_INVALID);
    assert_non_null(strstr(err.cause, "exclude_events"));
}

static void a_runaway_pattern_gives_up_and_is_counted(void **state)
{
    struct tr_filter *yes = NULL;
    struct tr_filter *no = NULL;
    uint64_t limited = 0;

    (void)state;
    /* Backtracks for ever on a text of a's without an end that fits. */
    assert_int_equal(compile(NULL, NULL,
                             "[{\"key\":\"p\",\"operator\":\"regex\",\"value\":\"^(a|a?)+$\"}]",
                             &yes, NULL),
                     TR_OK);
    assert_int_equal(compile(NULL, NULL,
                             "[{\"key\":\"p\",\"operator\":\"not_regex\","
                             "\"value\":\"^(a|a?)+$\"}]",
                             &no, NULL),
                     TR_OK);
    const char *text = "{\"p\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaX\"}";
    assert_false(takes(yes, "e", text, &limited));
    assert_int_equal(limited, 1);
    assert_true(takes(no, "e", text, &limited));
    assert_int_equal(limited, 1);
    assert_true(takes(yes, "e", "{\"p\":\"aaa\"}", &limited));
    assert_int_equal(limited, 0);
    tr_filter_free(yes);
    tr_filter_free(no);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_over_every_type),
        cmocka_unit_test(a_missing_key_under_every_operator),
        cmocka_unit_test(filters_are_anded),
        cmocka_unit_test(event_names_are_included_and_excluded),
        cmocka_unit_test(says_what_it_looks_at),
        cmocka_unit_test(wrong_filters_are_refused_with_the_reason),
        cmocka_unit_test(the_error_names_the_filter),
        cmocka_unit_test(a_runaway_pattern_gives_up_and_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
