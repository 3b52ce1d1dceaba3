#include "request.h"

#include "pack.h"

#define ID1       "0192f0c0-7e3a-7b11-9c4d-000000000001"
#define ID2       "0192f0c0-7e3a-7b11-9c4d-000000000002"
#define EVENT(id) "{\"event\":\"a\",\"uuid\":\"" id "\",\"distinct_id\":\"u\"}"

static enum tr_rc send_v1(struct request *q, const void *body, size_t n)
{
    q->in.body = (struct tr_str){ body, n };
    q->out = (struct tr_capture_out){ .rows = &q->rows };
    q->err = (struct tr_err){ 0 };
    q->rc =
        tr_capture_posthog_v1(&q->in, request_lookup, &q->lookups, q->scratch, &q->out, &q->err);
    return q->rc;
}

static void v1_init(struct request *q)
{
    request_init(q);
    q->in.path = TR_STR("/i/v1/analytics/events");
    q->in.bearer = TR_STR("phc_one");
}

static const struct v1_case {
    const char *name;
    const char *sdk_info, *request_time;
    const char *body;
    const char *properties, *time;
} cases[] = {
    { "the library comes from the header", "posthog-node/5.70.0", "",
      "{\"created_at\":\"2026-11-21T09:30:00.000Z\",\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"timestamp\":\"2026-11-21T09:29:00.000Z\",\"options\":{},"
      "\"properties\":{\"x\":1}}]}",
      "{\"x\":1,\"$ip\":\"203.0.113.9\",\"$lib\":\"posthog-node\",\"$lib_version\":\"5.70.0\"}",
      "2026-11-21T09:29:00.000000Z" },
    { "fields and options become properties", "", "",
      "{\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"session_id\":\"s1\",\"window_id\":\"w1\",\"options\":"
      "{\"process_person_profile\":false,\"cookieless_mode\":true,\"product_tour_id\":\"t\","
      "\"other\":1},\"properties\":{\"$ip\":\"1.1.1.1\"}}]}",
      "{\"$ip\":\"1.1.1.1\",\"$session_id\":\"s1\",\"$window_id\":\"w1\","
      "\"$process_person_profile\":false,\"$cookieless_mode\":true,\"$product_tour_id\":\"t\"}",
      "2026-11-21T09:30:00.000000Z" },
    { "properties that were sent stay", "posthog-python/7.91.1", "",
      "{\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"session_id\":\"s1\",\"properties\":{\"$lib\":\"mine\","
      "\"$session_id\":\"s0\",\"$lib_version\":\"1\",\"$ip\":null}}]}",
      "{\"$lib\":\"mine\",\"$session_id\":\"s0\",\"$lib_version\":\"1\",\"$ip\":null}",
      "2026-11-21T09:30:00.000000Z" },
    { "an SDK without version", "x", "", "{\"batch\":[" EVENT(ID1) "]}",
      "{\"$ip\":\"203.0.113.9\",\"$lib\":\"x\"}", "2026-11-21T09:30:00.000000Z" },
    { "null fields are none", "", "",
      "{\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"session_id\":null,\"options\":null,\"properties\":null}]}",
      "{\"$ip\":\"203.0.113.9\"}", "2026-11-21T09:30:00.000000Z" },
    { "the request's own time corrects the clock", "", "2026-11-21T10:30:00Z",
      "{\"created_at\":\"2026-11-21T11:30:00Z\",\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"timestamp\":\"2026-11-21T10:29:00Z\"}]}",
      "{\"$ip\":\"203.0.113.9\"}", "2026-11-21T09:29:00.000000Z" },
    { "without it created_at does", "", "",
      "{\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"timestamp\":\"2026-11-21T10:29:00Z\"}],"
      "\"created_at\":\"2026-11-21T10:30:00Z\"}",
      "{\"$ip\":\"203.0.113.9\"}", "2026-11-21T09:29:00.000000Z" },
    { "the correction can be switched off", "", "2026-11-21T10:30:00Z",
      "{\"batch\":[{\"event\":\"a\",\"uuid\":\"" ID1
      "\",\"distinct_id\":\"u\",\"timestamp\":\"2026-11-21T08:00:00Z\",\"options\":"
      "{\"disable_skew_correction\":true}}]}",
      "{\"$ip\":\"203.0.113.9\"}", "2026-11-21T08:00:00.000000Z" },
};

static void the_ai_route_takes_ai_events_and_names_the_others(void **state)
{
    struct request q;

    (void)state;
    v1_init(&q);
    q.in.ai_only = true;
    static const char body[] =
        "{\"batch\":[{\"event\":\"$ai_generation\",\"uuid\":\"" ID1 "\",\"distinct_id\":\"u\"},"
        "{\"event\":\"$pageview\",\"uuid\":\"" ID2 "\",\"distinct_id\":\"u\"}]}";
    assert_int_equal(send_v1(&q, body, sizeof(body) - 1), TR_OK);
    assert_int_equal(q.out.events, 1);
    request_is(request_event(&q, 0).event, "$ai_generation");
    assert_int_equal(q.out.n_verdicts, 2);
    assert_false(q.out.verdicts[0].refused);
    assert_true(q.out.verdicts[1].refused);
    assert_string_equal(q.out.verdicts[1].details, "misrouted_event");
    request_fini(&q);
}

static void reads_events(void **state)
{
    struct request q;

    (void)state;
    v1_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct v1_case *c = &cases[i];
        char text[TR_UUID_TEXT];

        print_message("  %s\n", c->name);
        q.in.sdk_info = tr_str_of(c->sdk_info);
        q.in.request_time = tr_str_of(c->request_time);
        (void)send_v1(&q, c->body, strlen(c->body));
        struct tr_event e = request_event(&q, 0);
        request_is(e.properties, c->properties);
        tr_uuid_format(&e.uuid, text);
        assert_string_equal(text, ID1);
        tr_time_format(e.timestamp, text);
        assert_string_equal(text, c->time);
        assert_int_equal(e.project, 1);
        assert_int_equal(q.out.n_verdicts, 1);
        assert_false(q.out.verdicts[0].refused);
    }
    request_fini(&q);
}

static void judges_each_event_apart(void **state)
{
    static const char body[] = "{\"batch\":[" EVENT(
        ID1) ",{\"event\":\"\",\"uuid\":\"" ID2 "\",\"distinct_id\":\"u\"},"
             "{\"event\":\"b\",\"uuid\":\"0192f0c0-7e3a-7b11-9c4d-000000000003\"},"
             "{\"event\":\"b\",\"uuid\":\"0192f0c0-7e3a-7b11-9c4d-000000000004\",\"distinct_id\":"
             "\"u\","
             "\"properties\":[]},"
             "{\"event\":\"$performance_event\",\"uuid\":\"0192f0c0-7e3a-7b11-9c4d-000000000005\","
             "\"distinct_id\":\"u\"},"
             "{\"event\":\"c\",\"uuid\":\"0192f0c0-7e3a-7b11-9c4d-000000000006\",\"distinct_id\":"
             "\"u\"}],"
             "\"historical_migration\":true}";
    static const struct {
        bool refused;
        uint32_t index;
        const char *details;
    } want[] = {
        { false, 0, NULL },
        { true, 1, "has no event name" },
        { true, 1, "has no distinct_id" },
        { true, 1, "has properties that are not an object" },
        { true, 1, "performance events are not kept" },
        { false, 1, NULL },
    };
    struct request q;

    (void)state;
    v1_init(&q);
    assert_int_equal(send_v1(&q, body, sizeof(body) - 1), TR_OK);
    assert_int_equal(q.out.seen, 6);
    assert_int_equal(q.out.events, 2);
    assert_int_equal(q.out.ignored, 1);
    assert_int_equal(q.out.n_verdicts, 6);
    for (uint32_t i = 0; i < 6; i++) {
        const struct tr_capture_verdict *v = &q.out.verdicts[i];
        assert_int_equal(v->refused, want[i].refused);
        assert_int_equal(v->uuid.b[15], i + 1);
        if (v->refused)
            assert_string_equal(v->details, want[i].details);
        else
            assert_int_equal(v->index, want[i].index);
    }
    request_is(request_event(&q, 1).event, "c");
    assert_int_equal(request_event(&q, 1).flags, TR_EVENT_HISTORICAL);
    request_fini(&q);
}

static const struct v1_refusal {
    const char *name;
    const char *bearer, *encoding, *body;
    const char *id, *cause;
} refusals[] = {
    { "no token", "", "", "{\"batch\":[" EVENT(ID1) "]}", "capture.no_token",
      "the request names no project: api_key is missing or empty" },
    { "a token of nobody", "phc_x", "", "{\"batch\":[" EVENT(ID1) "]}", "capture.unknown_token",
      "no project has this api_key" },
    { "no body", "phc_one", "", "", "capture.no_data", "the request has no body" },
    { "an encoding that is not supported", "phc_one", "br", "{\"batch\":[" EVENT(ID1) "]}",
      "capture.bad_encoding",
      "Content-Encoding br is not supported: use gzip, deflate, zstd or none" },
    { "no batch", "phc_one", "", "{\"created_at\":\"2026-11-21T09:30:00Z\"}", "capture.empty_batch",
      "the request has no events" },
    { "an empty batch", "phc_one", "", "{\"batch\":[]}", "capture.empty_batch",
      "the request has no events" },
    { "a batch that is no array", "phc_one", "", "{\"batch\":{}}", "json.invalid",
      "not JSON at byte 9: an array is expected" },
    { "an array", "phc_one", "", "[]", "json.invalid",
      "not JSON at byte 0: an object is expected" },
    { "an event without uuid", "phc_one", "",
      "{\"batch\":[" EVENT(ID1) ",{\"event\":\"a\",\"distinct_id\":\"u\"}]}", "capture.no_uuid",
      "batch[1] has no valid uuid: its result could not be told" },
    { "an event that is no object", "phc_one", "", "{\"batch\":[" EVENT(ID1) ",5]}",
      "capture.bad_event", "batch[1] is not an object" },
    { "broken JSON", "phc_one", "", "{\"batch\":[" EVENT(ID1) "}", "json.invalid",
      "not JSON at byte 87: ',' or ']' is expected" },
    { "base64 is version 0's", "phc_one", "", "eyJiYXRjaCI6W119", "capture.not_json",
      "the data is neither a JSON object or array nor an encoding of one "
      "(gzip, zstd, deflate, base64, lz64)" },
};

static void refuses_requests_with_a_reason(void **state)
{
    struct request q;

    (void)state;
    v1_init(&q);
    const char *good = "{\"batch\":[" EVENT(ID1) "]}";
    assert_int_equal(send_v1(&q, good, strlen(good)), TR_OK);
    size_t n = q.rows.n;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct v1_refusal *c = &refusals[i];

        print_message("  %s\n", c->name);
        q.in.bearer = tr_str_of(c->bearer);
        q.in.content_encoding = tr_str_of(c->encoding);
        assert_int_equal(send_v1(&q, c->body, strlen(c->body)), TR_INVALID);
        assert_string_equal(q.err.id, c->id);
        assert_string_equal(q.err.cause, c->cause);
        assert_int_equal(q.rows.n, n);
        assert_int_equal(q.out.events, 0);
        assert_int_equal(q.out.n_verdicts, 0);
    }
    request_fini(&q);
}

static void takes_the_encodings_of_its_sdks(void **state)
{
    static const char body[] = "{\"batch\":[" EVENT(ID1) "]}";
    static const struct {
        const char *encoding;
        int window_bits;
    } packings[] = { { "gzip", PACK_GZIP },    { "GZIP", PACK_GZIP },   { "", PACK_GZIP },
                     { "deflate", PACK_ZLIB }, { "deflate", PACK_RAW }, { "zstd", 0 } };
    struct request q;

    (void)state;
    v1_init(&q);
    for (size_t i = 0; i < sizeof(packings) / sizeof(packings[0]); i++) {
        int bits = packings[i].window_bits;
        struct packed p = bits == 0 ? pack_zstd(body, sizeof(body) - 1)
                                    : pack_deflate(body, sizeof(body) - 1, bits);
        q.in.content_encoding = tr_str_of(packings[i].encoding);
        assert_int_equal(send_v1(&q, p.p, p.n), TR_OK);
        assert_int_equal(q.out.events, 1);
        free(p.p);
    }
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ai_route_takes_ai_events_and_names_the_others),
        cmocka_unit_test(reads_events),
        cmocka_unit_test(judges_each_event_apart),
        cmocka_unit_test(refuses_requests_with_a_reason),
        cmocka_unit_test(takes_the_encodings_of_its_sdks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
