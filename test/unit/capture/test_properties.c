#include "request.h"

#include "base/json.h"

#define ONE(fields) "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\"" fields "}"
#define IP          ",\"$ip\":\"203.0.113.9\"}"

static const struct properties_case {
    const char *name;
    const char *body;
    const char *properties;
    const char *set, *set_once, *ip, *chain;
} cases[] = {
    { "no properties", ONE(""), "{\"$ip\":\"203.0.113.9\"}", "", "", "\"203.0.113.9\"", "" },
    { "null properties", ONE(",\"properties\":null"), "{\"$ip\":\"203.0.113.9\"}", "", "",
      "\"203.0.113.9\"", "" },
    { "empty properties", ONE(",\"properties\":{ }"), "{ \"$ip\":\"203.0.113.9\"}", "", "",
      "\"203.0.113.9\"", "" },
    { "the client's bytes stay",
      ONE(",\"properties\":{ \"b\" : 54.10,\"a\":1e2, \"u\":\"\\u00e9\\/\",\"b\":-0.0 }"),
      "{ \"b\" : 54.10,\"a\":1e2, \"u\":\"\\u00e9\\/\",\"b\":-0.0 " IP, "", "", "\"203.0.113.9\"",
      "" },
    { "token and distinct_id inside the properties stay",
      ONE(",\"properties\":{\"token\":\"phc_one\",\"distinct_id\":\"u\"}"),
      "{\"token\":\"phc_one\",\"distinct_id\":\"u\"" IP, "", "", "\"203.0.113.9\"", "" },
    { "a $ip that was sent stays", ONE(",\"properties\":{\"$ip\":\"10.1.1.1\",\"x\":1}"),
      "{\"$ip\":\"10.1.1.1\",\"x\":1}", "", "", "\"10.1.1.1\"", "" },
    { "also null", ONE(",\"properties\":{\"$ip\":null}"), "{\"$ip\":null}", "", "", "null", "" },
    { "also with its key escaped", ONE(",\"properties\":{\"\\u0024ip\":\"10.1.1.1\"}"),
      "{\"\\u0024ip\":\"10.1.1.1\"}", "", "", "\"10.1.1.1\"", "" },
    { "the $ip of an inner object is not the event's", ONE(",\"properties\":{\"x\":{\"$ip\":1}}"),
      "{\"x\":{\"$ip\":1}" IP, "", "", "\"203.0.113.9\"", "" },
    { "spans point to what the client sent",
      ONE(",\"properties\":{\"$set\":{\"a\":1},\"$elements_chain\":\"a:b\",\"$set_once\":{}}"),
      "{\"$set\":{\"a\":1},\"$elements_chain\":\"a:b\",\"$set_once\":{}" IP, "{\"a\":1}", "{}",
      "\"203.0.113.9\"", "\"a:b\"" },
    { "of equal keys the last one", ONE(",\"properties\":{\"$set\":{\"a\":1},\"$set\":{\"b\":2}}"),
      "{\"$set\":{\"a\":1},\"$set\":{\"b\":2}" IP, "{\"b\":2}", "", "\"203.0.113.9\"", "" },
    { "a client's $os_name is its $os too", ONE(",\"properties\":{\"$os_name\":\"iOS\"}"),
      "{\"$os_name\":\"iOS\",\"$ip\":\"203.0.113.9\",\"$os\":\"iOS\"}", "", "", "\"203.0.113.9\"",
      "" },
    { "where it has none", ONE(",\"properties\":{\"$os_name\":\"iOS\",\"$os\":null}"),
      "{\"$os_name\":\"iOS\",\"$os\":null" IP, "", "", "\"203.0.113.9\"", "" },
    { "a server's is not", ONE(",\"properties\":{\"$is_server\":true,\"$os_name\":\"Linux\"}"),
      "{\"$is_server\":true,\"$os_name\":\"Linux\"" IP, "", "", "\"203.0.113.9\"", "" },
    { "an old SDK's $elements array leaves the chain empty",
      ONE(",\"properties\":{\"$elements\":[{\"tag_name\":\"a\"}]}"),
      "{\"$elements\":[{\"tag_name\":\"a\"}]" IP, "", "", "\"203.0.113.9\"", "" },
    { "bare words become null",
      ONE(",\"properties\":{\"a\":NaN,\"NaN\":[Infinity,{\"b\":-Infinity}],\"c\":\"NaN\"}"),
      "{\"a\":null,\"NaN\":[null,{\"b\":null}],\"c\":\"NaN\"" IP, "", "", "\"203.0.113.9\"", "" },
    { "spans are those after bare words became null",
      ONE(",\"properties\":{\"a\":-Infinity,\"$set\":{\"n\":NaN},\"b\":NaN,"
          "\"$elements_chain\":\"x\",\"$ip\":\"1.2.3.4\"}"),
      "{\"a\":null,\"$set\":{\"n\":null},\"b\":null,\"$elements_chain\":\"x\","
      "\"$ip\":\"1.2.3.4\"}",
      "{\"n\":null}", "", "\"1.2.3.4\"", "\"x\"" },
    { "a top-level $set goes into the properties",
      ONE(",\"$set\":{\"name\":\"x\"},\"properties\":{\"p\":1}"),
      "{\"p\":1,\"$set\":{\"name\":\"x\"}" IP, "{\"name\":\"x\"}", "", "\"203.0.113.9\"", "" },
    { "without properties too", ONE(",\"$set\":{\"a\":1},\"$set_once\":{\"b\":2}"),
      "{\"$set\":{\"a\":1},\"$set_once\":{\"b\":2}" IP, "{\"a\":1}", "{\"b\":2}", "\"203.0.113.9\"",
      "" },
    { "a null $set is none", ONE(",\"$set\":null,\"properties\":{\"$set\":{\"a\":1}}"),
      "{\"$set\":{\"a\":1}" IP, "{\"a\":1}", "", "\"203.0.113.9\"", "" },
    { "top-level keys win over those inside, the others stay",
      ONE(",\"$set\":{\"b\":20,\"d\":40},\"properties\":{\"x\":0,\"$set\":{\"a\":1,\"b\":2,"
          "\"c\":3},\"y\":0}"),
      "{\"x\":0,\"$set\":{\"a\":1,\"c\":3,\"b\":20,\"d\":40},\"y\":0" IP,
      "{\"a\":1,\"c\":3,\"b\":20,\"d\":40}", "", "\"203.0.113.9\"", "" },
    { "keys are compared unescaped",
      ONE(",\"$set\":{\"\\u0062\":20},\"properties\":{\"$set\":{\"b\":2,\"\\u0063\":3}}"),
      "{\"$set\":{\"\\u0063\":3,\"\\u0062\":20}" IP, "{\"\\u0063\":3,\"\\u0062\":20}", "",
      "\"203.0.113.9\"", "" },
    { "an inner $set that is no object gives way",
      ONE(",\"$set\":{\"a\":1},\"properties\":{\"$set\":[7],\"x\":1}"),
      "{\"$set\":{\"a\":1},\"x\":1" IP, "{\"a\":1}", "", "\"203.0.113.9\"", "" },
    { "an empty top-level $set changes nothing",
      ONE(",\"$set\":{},\"properties\":{\"$set\":{\"a\":1}}"), "{\"$set\":{\"a\":1}" IP,
      "{\"a\":1}", "", "\"203.0.113.9\"", "" },
    { "all inner keys replaced", ONE(",\"$set\":{\"a\":2},\"properties\":{\"$set\":{\"a\":1}}"),
      "{\"$set\":{\"a\":2}" IP, "{\"a\":2}", "", "\"203.0.113.9\"", "" },
    { "$set and $set_once merge apart from each other",
      ONE(",\"$set_once\":{\"a\":9},\"$set\":{\"a\":8},\"properties\":{\"$set_once\":{\"a\":1,"
          "\"z\":1},\"$set\":{\"a\":2,\"y\":2}}"),
      "{\"$set_once\":{\"z\":1,\"a\":9},\"$set\":{\"y\":2,\"a\":8}" IP, "{\"y\":2,\"a\":8}",
      "{\"z\":1,\"a\":9}", "\"203.0.113.9\"", "" },
    { "bare words in a merged $set",
      ONE(",\"$set\":{\"a\":NaN},\"properties\":{\"$set\":{\"b\":2}}"),
      "{\"$set\":{\"b\":2,\"a\":null}" IP, "{\"b\":2,\"a\":null}", "", "\"203.0.113.9\"", "" },
};

static void keeps_bytes_and_adds_what_is_listed(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct properties_case *c = &cases[i];
        struct tr_json j;
        struct tr_json_value v;

        print_message("  %s\n", c->name);
        (void)request_send(&q, c->body);
        struct tr_event e = request_event(&q, 0);
        request_is(e.properties, c->properties);
        request_is(tr_event_span(&e, e.set), c->set);
        request_is(tr_event_span(&e, e.set_once), c->set_once);
        request_is(tr_event_span(&e, e.ip), c->ip);
        request_is(tr_event_span(&e, e.elements_chain), c->chain);
        tr_json_init(&j, e.properties);
        assert_int_equal(tr_json_next(&j, &v, NULL), TR_OK);
        assert_int_equal(tr_json_end(&j, NULL), TR_OK);
        assert_int_equal(v.flags & TR_JSON_BARE, 0);
    }
    request_fini(&q);
}

static void leaves_the_address_out(void **state)
{
    static const struct {
        const char *name;
        const char *query;
        const char *ip;
        const char *properties;
    } asks[] = {
        { "an old browser SDK says ip=0", "ip=0&_=1795253400000&ver=1.200.1", "203.0.113.9",
          "{\"x\":1}" },
        { "ip=1 wants it", "ip=1", "203.0.113.9", "{\"x\":1,\"$ip\":\"203.0.113.9\"}" },
        { "the address is not known", "", NULL, "{\"x\":1}" },
        { "IPv6", "", "2001:db8::1", "{\"x\":1,\"$ip\":\"2001:db8::1\"}" },
    };
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        print_message("  %s\n", asks[i].name);
        q.in.query = tr_str_of(asks[i].query);
        q.in.ip = asks[i].ip;
        (void)request_send(&q, ONE(",\"properties\":{\"x\":1}"));
        request_is(request_event(&q, 0).properties, asks[i].properties);
    }
    request_fini(&q);
}

static const struct flags_case {
    const char *name;
    const char *fields;
    uint32_t want;
} flags[] = {
    { "nothing odd", ",\"properties\":{\"a\":1,\"b\":\"\\n\xc3\xa9\"}", 0 },
    { "NUL", ",\"properties\":{\"a\":\"\\u0000\"}", TR_EVENT_JSON_NUL },
    { "NUL in a key deep inside", ",\"properties\":{\"a\":[{\"\\u0000\":1}]}", TR_EVENT_JSON_NUL },
    { "a lone surrogate", ",\"properties\":{\"a\":\"\\ud83d\"}", TR_EVENT_JSON_SURROGATE },
    { "a lone surrogate in a key", ",\"properties\":{\"\\ude00\":1}", TR_EVENT_JSON_SURROGATE },
    { "a number beyond float64", ",\"properties\":{\"a\":1e999}", TR_EVENT_JSON_WIDE },
    { "thirty digits", ",\"properties\":{\"a\":123456789012345678901234567890}",
      TR_EVENT_JSON_BIG_INT },
    { "NaN is gone and leaves no trace", ",\"properties\":{\"a\":NaN}", 0 },
    { "in a top-level $set", ",\"$set\":{\"a\":\"\\u0000\",\"b\":9223372036854775808}",
      TR_EVENT_JSON_NUL | TR_EVENT_JSON_BIG_INT },
    { "outside the properties it does not count", ",\"other\":\"\\u0000\"", 0 },
};

static void tells_what_destinations_may_not_take(void **state)
{
    struct request q;
    char body[512];

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        print_message("  %s\n", flags[i].name);
        (void)snprintf(body, sizeof(body), "%s%s}",
                       "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\","
                       "\"uuid\":\"0192f0c0-7e3a-7b11-9c4d-000000000001\"",
                       flags[i].fields);
        (void)request_send(&q, body);
        assert_int_equal(request_event(&q, 0).flags, flags[i].want);
    }
    request_fini(&q);
}

static void tells_deep_nesting_and_refuses_deeper(void **state)
{
    struct request q;
    char body[2000];

    (void)state;
    request_init(&q);
    q.in.max_depth = 150;
    for (size_t levels = 98; levels < 152; levels++) {
        size_t n = (size_t)snprintf(body, sizeof(body),
                                    "{\"api_key\":\"phc_one\",\"event\":\"a\","
                                    "\"distinct_id\":\"u\",\"properties\":{\"a\":");
        /* The object of the event is a level too, for the limit; properties are one for both. */
        memset(body + n, '[', levels);
        memset(body + n + levels, ']', levels);
        memcpy(body + n + 2 * levels, "}}", 3);
        (void)request_send(&q, body);
        if (levels + 2 > 150) {
            assert_int_equal(q.rc, TR_INVALID);
            assert_string_equal(q.err.id, "json.too_deep");
        } else {
            assert_int_equal((request_event(&q, 0).flags & TR_EVENT_JSON_DEEP) != 0,
                             levels + 1 > 100);
        }
    }
    request_fini(&q);
}

/* Merging takes time by the bytes: 2 x 20,000 keys would be 400 million comparisons otherwise. */
static void merges_many_keys(void **state)
{
    enum { KEYS = 20000 };
    struct request q;
    struct tr_buf body;
    struct tr_json_value v;

    (void)state;
    request_init(&q);
    q.in.max_event_bytes = 10 << 20;
    q.in.max_inflated = 10 << 20;
    tr_buf_init(&body, 10 << 20);
    tr_buf_z(&body,
             "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"$set\":{\"_\":0");
    for (int i = 0; i < KEYS; i++)
        tr_buf_printf(&body, ",\"k%d\":\"top\"", i * 2);
    tr_buf_z(&body, "},\"properties\":{\"$set\":{\"__\":0");
    for (int i = 0; i < KEYS; i++)
        tr_buf_printf(&body, ",\"k%d\":\"in\"", i * 3);
    tr_buf_z(&body, "}}}");
    assert_false(body.failed);
    (void)request_send_bytes(&q, body.p, body.n);
    struct tr_event e = request_event(&q, 0);
    struct tr_str set = tr_event_span(&e, e.set);
    assert_true(tr_json_find(set, TR_STR("k6"), &v) && tr_str_is(v.raw, "\"top\""));
    assert_true(tr_json_find(set, TR_STR("k9"), &v) && tr_str_is(v.raw, "\"in\""));
    assert_true(tr_json_find(set, TR_STR("k59997"), &v) && tr_str_is(v.raw, "\"in\""));
    assert_true(tr_json_find(set, TR_STR("__"), &v) && tr_json_find(set, TR_STR("_"), &v));
    size_t members = 0;
    for (size_t i = 0; i < set.n; i++)
        members += set.p[i] == ':';
    assert_int_equal(members, 2 + 2 * KEYS - KEYS / 3 - 1);
    tr_buf_fini(&body);
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_bytes_and_adds_what_is_listed),
        cmocka_unit_test(leaves_the_address_out),
        cmocka_unit_test(tells_what_destinations_may_not_take),
        cmocka_unit_test(tells_deep_nesting_and_refuses_deeper),
        cmocka_unit_test(merges_many_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
