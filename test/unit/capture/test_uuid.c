/* Which id an event gets. */
#include "request.h"

#define GIVEN "0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f"

static void id_of(const struct request *q, uint32_t i, char out[TR_UUID_TEXT])
{
    struct tr_event e = request_event(q, i);

    tr_uuid_format(&e.uuid, out);
}

static void send_with(struct request *q, const char *fields)
{
    char body[512];

    (void)snprintf(
        body, sizeof(body),
        "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"%s}]}", fields);
    (void)request_send(q, body);
}

static void keeps_valid_ids(void **state)
{
    static const struct {
        const char *fields, *want;
    } cases[] = {
        { ",\"uuid\":\"" GIVEN "\"", GIVEN },
        { ",\"uuid\":\"0192F0C0-7E3A-7B11-9C4D-0A0B0C0D0E0F\"", GIVEN },
        { ",\"uuid\":\"0192f0c07e3a7b119c4d0a0b0c0d0e0f\"", GIVEN },
        { ",\"uuid\":\"{" GIVEN "}\"", GIVEN },
        { ",\"uuid\":\"urn:uuid:" GIVEN "\"", GIVEN },
        { ",\"uuid\":\" " GIVEN " \"", GIVEN },
        { ",\"uuid\":\"\\u0030192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f\"", GIVEN },
        { ",\"uuid\":\"ffffffff-ffff-ffff-ffff-ffffffffffff\"",
          "ffffffff-ffff-ffff-ffff-ffffffffffff" },
    };
    struct request q;
    char id[TR_UUID_TEXT];

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("  %s\n", cases[i].fields);
        send_with(&q, cases[i].fields);
        id_of(&q, 0, id);
        assert_string_equal(id, cases[i].want);
        assert_int_equal(request_event(&q, 0).flags & TR_EVENT_MADE_UUID, 0);
    }
    request_fini(&q);
}

static void makes_ids_where_none_is_valid(void **state)
{
    static const char *const none[] = {
        "",
        ",\"uuid\":\"\"",
        ",\"uuid\":null",
        ",\"uuid\":\"not-a-uuid\"",
        ",\"uuid\":12345",
        ",\"uuid\":{}",
        ",\"uuid\":\"0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0\"",
        ",\"uuid\":\"00000000-0000-0000-0000-000000000000\"",
    };
    struct request q;
    char id[TR_UUID_TEXT];

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        char fields[256];
        print_message("  %s\n", none[i]);
        send_with(&q, none[i]);
        id_of(&q, 0, id);
        assert_int_equal(id[14], '7');
        assert_int_equal(request_event(&q, 0).flags & TR_EVENT_MADE_UUID, TR_EVENT_MADE_UUID);
        /* Version 7 holds the event's time: now, in milliseconds. */
        assert_memory_equal(id, "01a1fd70-f1c0", 13);

        (void)snprintf(fields, sizeof(fields), "%s,\"timestamp\":\"2026-11-20T00:00:00.5+01:00\"",
                       none[i]);
        send_with(&q, fields);
        id_of(&q, 0, id);
        assert_int_equal(id[14], '5');
        assert_int_equal(request_event(&q, 0).flags & TR_EVENT_MADE_UUID, TR_EVENT_MADE_UUID);
    }
    request_fini(&q);
}

#define EVENT                                                                                      \
    "{\"event\":\"a\",\"distinct_id\":\"u\",\"uuid\":\"\",\"timestamp\":\"2026-11-20T00:00:00Z\"," \
    "\"properties\":{\"n\":1}}"

/* What Go's SDK sends again after a lost reply: other envelope, other company, same event. */
static void knows_a_resent_event_again(void **state)
{
    static const struct {
        const char *name;
        const char *body;
        uint32_t index;
        bool same;
    } cases[] = {
        { "the same request", "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "]}", 0, true },
        { "another sent_at",
          "{\"api_key\":\"phc_one\",\"sent_at\":\"2026-11-21T09:31:00Z\",\"batch\":[" EVENT "]}", 0,
          true },
        { "another batch",
          "{\"batch\":[{\"event\":\"b\",\"distinct_id\":\"v\"}, " EVENT
          "],\"api_key\":\"phc_one\"}",
          1, true },
        { "another project", "{\"api_key\":\"phc_two\",\"batch\":[" EVENT "]}", 0, false },
        { "another event",
          "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\",\"uuid\":"
          "\"\","
          "\"timestamp\":\"2026-11-20T00:00:00Z\",\"properties\":{\"n\":2}}]}",
          0, false },
    };
    struct request q;
    char first[TR_UUID_TEXT];
    char id[TR_UUID_TEXT];

    (void)state;
    request_init(&q);
    (void)request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "]}");
    id_of(&q, 0, first);
    /* Fixed for ever: the namespace and the rule are a format. */
    assert_string_equal(first, "91149d9a-a72c-5aca-842d-21e741346c44");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("  %s\n", cases[i].name);
        q.in.now += 60 * TR_US_PER_S;
        q.in.ip = "198.51.100.7";
        (void)request_send(&q, cases[i].body);
        id_of(&q, cases[i].index, id);
        assert_int_equal(strcmp(id, first) == 0, cases[i].same);
    }
    request_fini(&q);
}

static void gives_each_event_of_a_request_its_own_id(void **state)
{
    struct request q;
    char first[TR_UUID_TEXT];
    char second[TR_UUID_TEXT];

    (void)state;
    request_init(&q);
    (void)request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":[{\"event\":\"a\","
                           "\"distinct_id\":\"u\"},{\"event\":\"a\",\"distinct_id\":\"u\"}]}");
    id_of(&q, 0, first);
    id_of(&q, 1, second);
    assert_string_not_equal(first, second);
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_valid_ids),
        cmocka_unit_test(makes_ids_where_none_is_valid),
        cmocka_unit_test(knows_a_resent_event_again),
        cmocka_unit_test(gives_each_event_of_a_request_its_own_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
