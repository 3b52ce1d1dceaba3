#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/uuid.h"

static void reads_the_forms_that_languages_print(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        { "0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f", true },
        { "0192F0C0-7E3A-7B11-9C4D-0A0B0C0D0E0F", true },
        { "0192f0c07e3a7b119c4d0a0b0c0d0e0f", true },
        { "{0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f}", true },
        { "urn:uuid:0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f", true },
        { "", false },
        { "0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0", false },
        { "0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0g", false },
        { "0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f0", false },
        { "0192f0c0-7e3a-7b119-c4d-0a0b0c0d0e0f", false },
        { "(0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f}", false },
        { "0192f0c07e3a7b11-9c4d-0a0b0c0d0e0f", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_uuid u;
        char text[TR_UUID_TEXT];

        print_message("  \"%s\"\n", cases[i].text);
        assert_int_equal(tr_uuid_parse(tr_str_of(cases[i].text), &u), cases[i].ok);
        if (cases[i].ok) {
            tr_uuid_format(&u, text);
            assert_string_equal(text, "0192f0c0-7e3a-7b11-9c4d-0a0b0c0d0e0f");
        }
    }
}

/* RFC 9562, appendix A.4: www.example.com in the DNS namespace. */
static void makes_version_5(void **state)
{
    struct tr_uuid dns;
    struct tr_uuid u;
    char text[TR_UUID_TEXT];

    (void)state;
    assert_true(tr_uuid_parse(TR_STR("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), &dns));
    tr_uuid_v5(&dns, "www.example.com", 15, &u);
    tr_uuid_format(&u, text);
    assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    for (size_t at = 0; at <= 15; at++) {
        tr_uuid_v5_joined(&dns, (struct tr_str){ "www.example.com", at },
                          (struct tr_str){ "www.example.com" + at, 15 - at }, &u);
        tr_uuid_format(&u, text);
        assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}

/* RFC 9562, appendix A.6 and A.3. */
static void makes_versions_7_and_4(void **state)
{
    static const uint8_t seven[10] = { 0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F };
    static const uint8_t four[16] = { 0x91, 0x91, 0x08, 0xF7, 0x52, 0xD1, 0x33, 0x20,
                                      0x5B, 0xAC, 0xF8, 0x47, 0xDB, 0x41, 0x48, 0xA8 };
    struct tr_uuid u;
    char text[TR_UUID_TEXT];

    (void)state;
    tr_uuid_v7(0x017F22E279B0, seven, &u);
    tr_uuid_format(&u, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    tr_uuid_v4(four, &u);
    tr_uuid_format(&u, text);
    assert_string_equal(text, "919108f7-52d1-4320-9bac-f847db4148a8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_forms_that_languages_print),
        cmocka_unit_test(makes_version_5),
        cmocka_unit_test(makes_versions_7_and_4),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
