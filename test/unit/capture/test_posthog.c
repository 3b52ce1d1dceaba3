#include "request.h"

/* The shapes a request may have. A missing expectation is an empty string. */
static const struct shape_case {
    const char *name;
    const char *path;
    const char *body;
    const char *events; /* "project:name:distinct_id ..." */
    uint32_t seen, ignored;
} shapes[] = {
    { "an envelope as posthog-js and posthog-node send it", "/batch/",
      "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"},"
      "{\"event\":\"b\",\"distinct_id\":\"v\"}],\"sent_at\":\"2026-11-21T09:30:00.000Z\"}",
      "1:a:u 1:b:v ", 2, 0 },
    { "the envelope's keys after the batch, as posthog-python sends them", "/batch/",
      "{\"batch\": [{\"event\": \"a\", \"distinct_id\": \"u\"}], \"historical_migration\": false, "
      "\"sent_at\": \"2026-11-21T09:30:00.000000+00:00\", \"api_key\": \"phc_two\"}",
      "2:a:u ", 1, 0 },
    { "an envelope on /e/", "/e/",
      "{\"token\":\"phc_one\",\"batch\":[{\"event\":\"a\",\"properties\":{\"distinct_id\":\"u\"}}]"
      "}",
      "1:a:u ", 1, 0 },
    { "a bare array with the token inside the properties", "/e/",
      "[{\"event\":\"a\",\"properties\":{\"token\":\"phc_one\",\"distinct_id\":\"u\"}},"
      "{\"event\":\"b\",\"properties\":{\"token\":\"phc_one\",\"distinct_id\":\"u\"}}]",
      "1:a:u 1:b:u ", 2, 0 },
    { "one event with api_key", "/capture/",
      "{\"api_key\":\"phc_two\",\"event\":\"a\",\"distinct_id\":\"u\"}", "2:a:u ", 1, 0 },
    { "one event with token", "/track",
      "{\"token\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\"}", "1:a:u ", 1, 0 },
    { "one event with $token and $distinct_id", "/i/v0/e",
      "{\"$token\":\"phc_one\",\"event\":\"a\",\"$distinct_id\":\"u\"}", "1:a:u ", 1, 0 },
    { "one event with its token in the properties", "/e",
      "{\"event\":\"a\",\"properties\":{\"token\":\"phc_one\",\"distinct_id\":\"u\"}}", "1:a:u ", 1,
      0 },
    { "an update on /engage has no name", "/engage/",
      "{\"$token\":\"phc_one\",\"$distinct_id\":\"u\",\"$set\":{\"a\":1}}", "1:$identify:u ", 1,
      0 },
    { "updates on /engage in an array", "/engage",
      "[{\"$token\":\"phc_one\",\"$distinct_id\":\"u\"},{\"$token\":\"phc_one\","
      "\"$distinct_id\":\"v\",\"event\":\"x\"}]",
      "1:$identify:u 1:x:v ", 2, 0 },
    { "the envelope's token wins over those of the events", "/batch",
      "{\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\",\"token\":\"phc_two\"},{\"event\":\"a\","
      "\"distinct_id\":\"u\"}],\"api_key\":\"phc_one\"}",
      "1:a:u 1:a:u ", 2, 0 },
    { "an empty token of the envelope is none", "/batch",
      "{\"api_key\":\"\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\",\"token\":\"phc_two\"}]"
      "}",
      "2:a:u ", 1, 0 },
    { "a token with blanks around it", "/batch",
      "{\"api_key\":\" phc_one\\n\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"}]}", "1:a:u ",
      1, 0 },
    { "equal tokens, one of them escaped", "/e/",
      "[{\"event\":\"a\",\"distinct_id\":\"u\",\"token\":\"phc\\u005fone\"},"
      "{\"event\":\"b\",\"distinct_id\":\"u\",\"token\":\"phc_one\"}]",
      "1:a:u 1:b:u ", 2, 0 },
    { "performance events are dropped", "/e/",
      "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"$performance_event\"},{\"event\":\"a\","
      "\"distinct_id\":\"u\"}]}",
      "1:a:u ", 2, 1 },
    { "nothing but performance events is a silent success", "/e/",
      "[{\"event\":\"$performance_event\",\"distinct_id\":\"u\"}]", "", 1, 1 },
    { "unknown keys vanish", "/e/",
      "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"type\":\"capture\","
      "\"library\":{\"x\":[1,2,{}]},\"$unset\":[\"q\"],\"send_feature_flags\":null}",
      "1:a:u ", 1, 0 },
    { "escaped keys are keys", "/e/",
      "{\"\\u0061pi_key\":\"phc_one\",\"e\\u0076ent\":\"a\",\"distinct\\u005fid\":\"u\"}", "1:a:u ",
      1, 0 },
    { "of equal keys the last one counts", "/e/",
      "{\"api_key\":\"phc_two\",\"event\":\"a\",\"distinct_id\":\"u\",\"event\":\"b\","
      "\"distinct_id\":\"v\",\"api_key\":\"phc_one\"}",
      "1:b:v ", 1, 0 },
    { "of two batches the last one counts", "/e/",
      "{\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"},{\"event\":\"b\",\"distinct_id\":\"u\"}]"
      ","
      "\"batch\":[{\"event\":\"c\",\"distinct_id\":\"v\"}],\"api_key\":\"phc_one\"}",
      "1:c:v ", 1, 0 },
    { "a batch that is no array is an unknown key", "/e/",
      "{\"batch\":null,\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\"}", "1:a:u ", 1,
      0 },
    { "a number as distinct_id is its text", "/e/",
      "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":12345678901234567890}",
      "1:a:12345678901234567890 ", 1, 0 },
    { "an object as distinct_id is its JSON", "/e/",
      "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":{\"id\":[1, NaN]}}",
      "1:a:{\"id\":[1, null]} ", 1, 0 },
    { "true as distinct_id", "/e/",
      "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":true}", "1:a:true ", 1, 0 },
    { "an empty or null distinct_id gives way to that of the properties", "/e/",
      "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"a\",\"distinct_id\":null,\"properties\":"
      "{\"distinct_id\":\"u\"}},{\"event\":\"a\",\"distinct_id\":\"\",\"properties\":"
      "{\"distinct_id\":7}}]}",
      "1:a:u 1:a:7 ", 2, 0 },
    { "names are unescaped, a lone surrogate becomes U+FFFD", "/e/",
      "{\"api_key\":\"phc_one\",\"event\":\"caf\\u00e9 \\ud83d\\ude00 \\ud83d\","
      "\"distinct_id\":\"\\\"q\\\"\"}",
      "1:caf\xc3\xa9 \xf0\x9f\x98\x80 \xef\xbf\xbd:\"q\" ", 1, 0 },
    { "blanks before and behind", "/e/",
      " \r\n{\"api_key\":\"phc_one\" , \"event\" : \"a\",\"distinct_id\":\"u\" } \n", "1:a:u ", 1,
      0 },
};

static void describe(const struct request *q, char *out, size_t cap)
{
    size_t n = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < q->out.events; i++) {
        struct tr_event e = request_event(q, i);
        n += (size_t)snprintf(out + n, cap - n, "%d:%.*s:%.*s ", (int)e.project,
                              TR_STR_ARGS(e.event), TR_STR_ARGS(e.distinct_id));
    }
}

static void takes_every_shape(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape_case *c = &shapes[i];
        char got[512];

        print_message("  %s\n", c->name);
        q.in.path = tr_str_of(c->path);
        if (request_send(&q, c->body) != TR_OK)
            fail_msg("%s: %s", q.err.id, q.err.cause);
        describe(&q, got, sizeof(got));
        assert_string_equal(got, c->events);
        assert_int_equal(q.out.seen, c->seen);
        assert_int_equal(q.out.ignored, c->ignored);
        assert_int_equal(q.lookups, q.out.events > 0);
        assert_int_equal(q.out.project, q.out.events > 0 ? request_event(&q, 0).project : 0);
    }
    request_fini(&q);
}

/* A refused request: whose it was and how many events it held, for the accounts. */
static const struct refused_case {
    const char *name;
    const char *body;
    int32_t project;
    uint32_t seen;
} refused_counts[] = {
    { "a batch with one bad event counts whole",
      "{\"api_key\":\"phc_two\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"},{\"event\":"
      "\"b\"},"
      "{\"event\":\"c\",\"distinct_id\":\"u\"}]}",
      2, 3 },
    { "an array, its token inside properties",
      "[{\"event\":\"a\",\"properties\":{\"token\":\"phc_one\"}},{\"event\":\"b\"}]", 1, 2 },
    { "one event", "{\"api_key\":\"phc_one\",\"event\":\"a\"}", 1, 1 },
    { "an unknown token counts for nobody", "{\"api_key\":\"phc_none\",\"event\":\"a\"}", 0, 0 },
    { "what is no JSON counts nothing", "{\"api_key\":\"phc_one\",\"batch\":[", 0, 0 },
};

static void counts_what_it_refuses(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(refused_counts) / sizeof(refused_counts[0]); i++) {
        const struct refused_case *c = &refused_counts[i];

        print_message("  %s\n", c->name);
        assert_int_equal(request_send(&q, c->body), TR_INVALID);
        assert_int_equal(q.out.project, c->project);
        if (c->project != 0)
            assert_int_equal(q.out.seen, c->seen);
        assert_int_equal(q.out.events, 0);
    }
    request_fini(&q);
}

#define ONE(fields) "{\"api_key\":\"phc_one\"," fields "}"
#define EVENT       "\"event\":\"a\",\"distinct_id\":\"u\""

static const struct refusal_case {
    const char *name;
    const char *path;
    const char *body;
    const char *id;
    const char *cause;
} refusals[] = {
    { "no data", "/e/", "", "capture.no_data",
      "the request has no data: neither a body nor data= in the query" },
    { "no JSON", "/e/", "hello, world!", "capture.not_json",
      "the data is neither a JSON object or array nor an encoding of one "
      "(gzip, zstd, deflate, base64, lz64)" },
    { "a JSON value that is no object", "/e/", "12", "capture.not_json",
      "the data is neither a JSON object or array nor an encoding of one "
      "(gzip, zstd, deflate, base64, lz64)" },
    { "broken JSON", "/e/", "{\"event\":\"a\",}", "json.invalid",
      "not JSON at byte 13: a key in quotes is expected" },
    { "JSON cut short", "/e/", "{\"event\":\"a\"", "json.cut",
      "not JSON at byte 12: the text ends too soon" },
    { "something behind the JSON", "/e/", ONE(EVENT) "x", "json.invalid",
      "not JSON at byte 51: something follows the value" },
    { "bytes that are not UTF-8", "/e/", "{\"event\":\"\xe9\"}", "json.utf8",
      "not JSON at byte 10: bytes that are not UTF-8" },
    { "an empty array", "/e/", "[]", "capture.empty_batch", "the request has no events" },
    { "an empty batch", "/e/", ONE("\"batch\":[]"), "capture.empty_batch",
      "the request has no events" },
    { "an element that is no object", "/e/", ONE("\"batch\":[{" EVENT "},7]"), "capture.bad_event",
      "batch[1] is not an object" },
    { "no event name", "/e/", ONE("\"distinct_id\":\"u\""), "capture.no_event_name",
      "the event has no event name" },
    { "a null event name", "/e/", ONE("\"event\":null,\"distinct_id\":\"u\""),
      "capture.no_event_name", "the event has no event name" },
    { "an empty event name", "/e/", ONE("\"event\":\"\",\"distinct_id\":\"u\""),
      "capture.no_event_name", "the event has no event name" },
    { "an empty event name on /engage", "/engage/", ONE("\"event\":\"\",\"distinct_id\":\"u\""),
      "capture.no_event_name", "the event has no event name" },
    { "an event name that is a number", "/e/", ONE("\"event\":5,\"distinct_id\":\"u\""),
      "capture.bad_event_name", "the event has an event name that is not a string" },
    { "no distinct_id in the second of an array", "/e/",
      "[{\"token\":\"phc_one\"," EVENT "},{\"token\":\"phc_one\",\"event\":\"b\"}]",
      "capture.no_distinct_id", "event[1] has no distinct_id" },
    { "an empty distinct_id", "/e/", ONE("\"event\":\"a\",\"distinct_id\":\"\""),
      "capture.no_distinct_id", "the event has no distinct_id" },
    { "NaN as distinct_id", "/e/", ONE("\"event\":\"a\",\"distinct_id\":NaN"),
      "capture.no_distinct_id", "the event has no distinct_id" },
    { "properties that are an array", "/e/", ONE(EVENT ",\"properties\":[1]"),
      "capture.bad_properties", "the event has properties that are not an object" },
    { "properties that are a string", "/e/", ONE(EVENT ",\"properties\":\"{}\""),
      "capture.bad_properties", "the event has properties that are not an object" },
    { "a $set that is a number", "/e/", ONE(EVENT ",\"$set\":1"), "capture.bad_set",
      "the event has a $set that is not an object" },
    { "a $set_once that is an array", "/e/", ONE("\"batch\":[{" EVENT ",\"$set_once\":[]}]"),
      "capture.bad_set", "batch[0] has a $set_once that is not an object" },
    { "no token", "/e/", "{" EVENT "}", "capture.no_token",
      "the request names no project: api_key is missing or empty" },
    { "an empty token", "/e/", "{\"api_key\":\"\"," EVENT "}", "capture.no_token",
      "the request names no project: api_key is missing or empty" },
    { "a token that is a number", "/e/", "{\"api_key\":12," EVENT "}", "capture.no_token",
      "the request names no project: api_key is missing or empty" },
    { "a token of blanks", "/e/", "{\"api_key\":\"  \"," EVENT "}", "capture.no_token",
      "the request names no project: api_key is missing or empty" },
    { "one event of two without a token", "/e/", "[{\"token\":\"phc_one\"," EVENT "},{" EVENT "}]",
      "capture.no_token", "the request names no project: api_key is missing or empty" },
    { "events of two projects", "/e/",
      "[{\"token\":\"phc_one\"," EVENT "},{\"token\":\"phc_two\"," EVENT "}]", "capture.bad_token",
      "the events of one request name several projects" },
    { "a token of 65 characters", "/e/",
      "{\"api_key\":\"phc_0123456789012345678901234567890123456789012345678901234567890\"," EVENT
      "}",
      "capture.bad_token", "the api_key is longer than 64 characters" },
    { "a token outside ASCII", "/e/", "{\"api_key\":\"phc_\xc3\xa9\"," EVENT "}",
      "capture.bad_token", "the api_key has characters outside ASCII" },
    { "a token with NUL", "/e/", "{\"api_key\":\"phc_\\u0000\"," EVENT "}", "capture.bad_token",
      "the api_key has characters outside ASCII" },
    { "a personal key", "/e/", "{\"api_key\":\"phx_secret\"," EVENT "}", "capture.bad_token",
      "the api_key is a personal key (phx_), not a project's capture token" },
    { "a token of nobody", "/e/", "{\"api_key\":\"phc_nobody\"," EVENT "}", "capture.unknown_token",
      "no project has this api_key" },
};

static void refuses_whole_requests_with_a_reason(void **state)
{
    struct request q;
    char before[64];

    (void)state;
    request_init(&q);
    assert_int_equal(request_send(&q, ONE(EVENT)), TR_OK);
    size_t n = q.rows.n;
    memcpy(before, q.rows.p, sizeof(before));
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal_case *c = &refusals[i];

        print_message("  %s\n", c->name);
        q.in.path = tr_str_of(c->path);
        assert_int_equal(request_send(&q, c->body), TR_INVALID);
        assert_string_equal(q.err.id, c->id);
        assert_string_equal(q.err.cause, c->cause);
        assert_int_equal(q.rows.n, n);
        assert_memory_equal(q.rows.p, before, sizeof(before));
        assert_int_equal(q.out.events, 0);
        assert_false(q.out.no_memory_now);
    }
    /* What is known of an unknown token is told, for counting. */
    request_is(q.out.token, "phc_nobody");
    request_fini(&q);
}

static void appends_after_what_is_there(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    assert_int_equal(request_send(&q, ONE(EVENT)), TR_OK);
    size_t first = q.rows.n;
    assert_int_equal(
        request_send(&q, ONE("\"batch\":[{" EVENT "},{\"event\":\"b\",\"distinct_id\":\"v\"}]")),
        TR_OK);
    assert_int_equal(q.out.events, 2);
    assert_int_equal(q.out.at[0], first);
    request_is(request_event(&q, 1).event, "b");
    request_fini(&q);
}

static void cuts_distinct_ids_at_200_characters(void **state)
{
    struct request q;
    char body[2000] = "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"";
    struct tr_event e;

    (void)state;
    request_init(&q);
    for (int i = 0; i < 201; i++)
        memcpy(body + strlen(body), "\xe2\x82\xac", 4);
    memcpy(body + strlen(body), "\"}", 3);
    assert_int_equal(request_send(&q, body), TR_OK);
    e = request_event(&q, 0);
    assert_int_equal(e.distinct_id.n, 600);
    assert_int_equal(e.flags & TR_EVENT_ID_CUT, TR_EVENT_ID_CUT);
    request_fini(&q);
}

/* As the public server: by units of UTF-16, of which a character outside the BMP has two. */
static void cuts_event_names_at_200_units(void **state)
{
    static const struct {
        int euros, faces, want;
    } cases[] = {
        { 200, 0, 600 }, { 201, 0, 600 }, { 0, 100, 400 }, { 0, 101, 400 }, { 199, 1, 597 }
    };
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        char body[2000] = "{\"api_key\":\"phc_one\",\"distinct_id\":\"u\",\"event\":\"";
        for (int i = 0; i < cases[k].euros; i++)
            memcpy(body + strlen(body), "\xe2\x82\xac", 4);
        for (int i = 0; i < cases[k].faces; i++)
            memcpy(body + strlen(body), "\xf0\x9f\x98\x80", 5);
        memcpy(body + strlen(body), "\"}", 3);
        assert_int_equal(request_send(&q, body), TR_OK);
        struct tr_event e = request_event(&q, 0);
        assert_int_equal(e.event.n, cases[k].want);
        bool cut = 3 * cases[k].euros + 4 * cases[k].faces > cases[k].want;
        assert_int_equal((e.flags & TR_EVENT_NAME_CUT) != 0, cut);
    }
    request_fini(&q);
}

static void notes_a_timestamp_that_cannot_be_read(void **state)
{
    static const struct {
        const char *timestamp;
        bool noted;
    } cases[] = { { "\"yesterday\"", true },
                  { "null", false },
                  { "\"2026-11-20T09:30:00Z\"", false },
                  { "\"yesterday\",\"offset\":5", false } };
    struct request q;
    char body[200];

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(
            body, sizeof(body),
            "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"timestamp\":%s}",
            cases[i].timestamp);
        assert_int_equal(request_send(&q, body), TR_OK);
        assert_int_equal((request_event(&q, 0).flags & TR_EVENT_NO_TIME) != 0, cases[i].noted);
    }
    request_fini(&q);
}

static void refuses_event_names_of_any_length(void **state)
{
    struct request q;
    static char body[70000];

    (void)state;
    request_init(&q);
    for (int over = 0; over < 2; over++) {
        size_t n = (size_t)snprintf(body, sizeof(body),
                                    "{\"api_key\":\"phc_one\",\"distinct_id\":\"u\",\"event\":\"");
        memset(body + n, 'e', 65535 + (size_t)over);
        memcpy(body + n + 65535 + over, "\"}", 3);
        (void)request_send(&q, body);
        if (over == 0) {
            assert_int_equal(request_event(&q, 0).event.n, 200);
        } else {
            assert_int_equal(q.rc, TR_INVALID);
            assert_string_equal(q.err.cause, "the event has an event name of over 65535 bytes");
        }
    }
    request_fini(&q);
}

static void keeps_nul_in_names_and_says_so(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    assert_int_equal(request_send(&q, ONE("\"event\":\"a\\u0000b\",\"distinct_id\":\"u\"")), TR_OK);
    struct tr_event e = request_event(&q, 0);
    assert_int_equal(e.event.n, 3);
    assert_memory_equal(e.event.p, "a\0b", 3);
    assert_int_equal(e.flags & TR_EVENT_TEXT_NUL, TR_EVENT_TEXT_NUL);
    assert_int_equal(request_send(&q, ONE("\"event\":\"a\",\"distinct_id\":\"\\u0000\"")), TR_OK);
    assert_int_equal(request_event(&q, 0).flags & TR_EVENT_TEXT_NUL, TR_EVENT_TEXT_NUL);
    assert_int_equal(request_send(&q, ONE(EVENT)), TR_OK);
    assert_int_equal(request_event(&q, 0).flags & TR_EVENT_TEXT_NUL, 0);
    request_fini(&q);
}

static void marks_historical_batches_only(void **state)
{
    static const struct {
        const char *body;
        uint32_t want;
    } cases[] = {
        { ONE("\"batch\":[{" EVENT "}],\"historical_migration\":true"), TR_EVENT_HISTORICAL },
        { ONE("\"historical_migration\":true,\"batch\":[{" EVENT "}]"), TR_EVENT_HISTORICAL },
        { ONE("\"batch\":[{" EVENT "}],\"historical_migration\":false"), 0 },
        { ONE("\"batch\":[{" EVENT ",\"historical_migration\":true}]"), 0 },
        { ONE(EVENT ",\"historical_migration\":true"), 0 },
    };
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(request_send(&q, cases[i].body), TR_OK);
        assert_int_equal(request_event(&q, 0).flags & TR_EVENT_HISTORICAL, cases[i].want);
    }
    request_fini(&q);
}

static void an_ai_batch_with_one_other_event_is_refused_whole(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    q.in.ai_only = true;
    assert_int_equal(request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":["
                                      "{\"event\":\"$ai_trace\",\"distinct_id\":\"u\"},"
                                      "{\"event\":\"$ai_metric\",\"distinct_id\":\"u\"}]}"),
                     TR_OK);
    assert_int_equal(q.out.events, 2);
    assert_int_equal(request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":["
                                      "{\"event\":\"$ai_trace\",\"distinct_id\":\"u\"},"
                                      "{\"event\":\"ai\",\"distinct_id\":\"u\"}]}"),
                     TR_INVALID);
    assert_string_equal(q.err.id, "capture.misrouted_event");
    assert_non_null(strstr(q.err.cause, "batch[1]"));
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ai_batch_with_one_other_event_is_refused_whole),
        cmocka_unit_test(takes_every_shape),
        cmocka_unit_test(counts_what_it_refuses),
        cmocka_unit_test(refuses_whole_requests_with_a_reason),
        cmocka_unit_test(appends_after_what_is_there),
        cmocka_unit_test(cuts_distinct_ids_at_200_characters),
        cmocka_unit_test(cuts_event_names_at_200_units),
        cmocka_unit_test(notes_a_timestamp_that_cannot_be_read),
        cmocka_unit_test(refuses_event_names_of_any_length),
        cmocka_unit_test(keeps_nul_in_names_and_says_so),
        cmocka_unit_test(marks_historical_batches_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
