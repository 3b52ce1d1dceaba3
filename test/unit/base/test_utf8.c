#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"

static const struct {
    const char *name;
    const char *bytes;
    size_t width;
} cases[] = {
    { "ASCII", "a", 1 },
    { "the first of two bytes", "\xc2\x80", 2 },
    { "the last of two bytes", "\xdf\xbf", 2 },
    { "the first of three bytes", "\xe0\xa0\x80", 3 },
    { "the last before the surrogates", "\xed\x9f\xbf", 3 },
    { "the first after them", "\xee\x80\x80", 3 },
    { "the first of four bytes", "\xf0\x90\x80\x80", 4 },
    { "the last character", "\xf4\x8f\xbf\xbf", 4 },
    { "a tail alone", "\x80", 0 },
    { "two bytes, overlong", "\xc1\xbf", 0 },
    { "three bytes, overlong", "\xe0\x9f\xbf", 0 },
    { "four bytes, overlong", "\xf0\x8f\xbf\xbf", 0 },
    { "a surrogate", "\xed\xa0\x80", 0 },
    { "the last surrogate", "\xed\xbf\xbf", 0 },
    { "beyond the last character", "\xf4\x90\x80\x80", 0 },
    { "far beyond", "\xf5\x80\x80\x80", 0 },
    { "two bytes cut", "\xc3", 0 },
    { "three bytes cut", "\xe2\x82", 0 },
    { "four bytes cut", "\xf0\x9f\x98", 0 },
    { "a wrong second byte", "\xe2(\xa1", 0 },
    { "a wrong last byte", "\xf0\x9f\x98z", 0 },
    { "0xff", "\xff", 0 },
};

static void tells_characters_from_other_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_str s = tr_str_of(cases[i].bytes);

        print_message("  %s\n", cases[i].name);
        assert_int_equal(tr_utf8_width(s.p, s.n), cases[i].width);
        /* Behind any number of plain bytes: the fast way must stop in time. */
        for (size_t before = 0; before < 20; before++) {
            char text[40];
            memset(text, 'a', sizeof(text));
            memcpy(text + before, s.p, s.n);
            assert_int_equal(tr_utf8_valid((struct tr_str){ text, before + s.n }),
                             cases[i].width == s.n);
            assert_int_equal(tr_utf8_valid((struct tr_str){ text, sizeof(text) }),
                             cases[i].width == s.n);
        }
    }
    assert_int_equal(tr_utf8_width("", 0), 0);
    assert_true(tr_utf8_valid((struct tr_str){ NULL, 0 }));
}

static void cuts_between_characters(void **state)
{
    struct tr_str s = TR_STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    static const size_t bytes[] = { 0, 1, 3, 6, 10, 11, 11 };

    (void)state;
    for (size_t chars = 0; chars < sizeof(bytes) / sizeof(bytes[0]); chars++)
        assert_int_equal(tr_utf8_head(s, chars).n, bytes[chars]);
}

static void cuts_by_bytes_between_characters(void **state)
{
    struct tr_str s = TR_STR("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    static const size_t want[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10 };

    (void)state;
    for (size_t max = 0; max < sizeof(want) / sizeof(want[0]); max++)
        assert_int_equal(tr_utf8_head_bytes(s, max).n, want[max]);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    for (unsigned c = 0; c <= 0x10FFFF; c += c < 0x900 ? 1 : 13) {
        char out[4];

        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        size_t n = tr_utf8_put(out, c);
        assert_int_equal(tr_utf8_width(out, n), n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_characters_from_other_bytes),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(cuts_by_bytes_between_characters),
        cmocka_unit_test(writes_what_it_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
