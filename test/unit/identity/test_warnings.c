/* What capture told by flags; the rest is held against test/lib/reference_warnings.py by histories.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity/warnings.h"

static uint32_t warnings_of(uint32_t flags, uint8_t version)
{
    struct tr_event e = { .flags = flags, .event = TR_STR("x"), .properties = TR_STR("{}") };
    struct tr_facts f;

    e.uuid.b[6] = (uint8_t)(version << 4);
    tr_facts_read(TR_STR("{\"$lib\":\"own\"}"), &f);
    return tr_event_warnings(&e, &f);
}

static void flags_are_told(void **state)
{
    static const struct {
        uint32_t flag;
        enum tr_event_warning which;
        const char *type;
    } cases[] = {
        { TR_EVENT_NO_TIME, TR_WARN_TIMESTAMP, "ignored_invalid_timestamp" },
        { TR_EVENT_ID_CUT, TR_WARN_DISTINCT_ID, "distinct_id_truncated" },
        { TR_EVENT_NAME_CUT, TR_WARN_EVENT_NAME, "event_name_too_long" },
        { TR_EVENT_SHARED_UUID, TR_WARN_SHARED_UUID, "duplicate_event_uuid" },
    };

    (void)state;
    assert_int_equal(warnings_of(TR_EVENT_HISTORICAL | TR_EVENT_UNKNOWN, 7), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(warnings_of(cases[i].flag, 7), 1U << cases[i].which);
        assert_string_equal(tr_event_warning_type(cases[i].which), cases[i].type);
    }
}

static void a_uuid_that_the_server_made_is_not_the_client_s_fault(void **state)
{
    (void)state;
    assert_int_equal(warnings_of(0, 4), 1U << TR_WARN_UUID_VERSION);
    assert_int_equal(warnings_of(TR_EVENT_MADE_UUID, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_are_told),
        cmocka_unit_test(a_uuid_that_the_server_made_is_not_the_client_s_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
