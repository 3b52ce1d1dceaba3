#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

static void grows_up_to_its_limit(void **state)
{
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 100);
    for (int i = 0; i < 100; i++)
        tr_buf_ch(&b, (char)i);
    assert_false(b.failed);
    assert_int_equal(b.n, 100);
    assert_true(b.cap <= 100);
    tr_buf_ch(&b, 'x');
    assert_true(b.failed);
    assert_int_equal(b.n, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(b.p[i], i);
    tr_buf_clear(&b);
    tr_buf_z(&b, "again");
    assert_true(!b.failed && b.n == 5);
    tr_buf_fini(&b);
    assert_int_equal(b.max, 100);
}

static void fails_once_and_stays_failed(void **state)
{
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 10);
    tr_buf_z(&b, "12345678");
    tr_buf_z(&b, "too much");
    assert_true(b.failed);
    tr_buf_ch(&b, 'x'); /* would fit */
    assert_int_equal(b.n, 8);
    assert_null(tr_buf_reserve(&b, 1));
    tr_buf_fini(&b);

    tr_buf_init(&b, SIZE_MAX);
    tr_buf_ch(&b, 'x');
    assert_null(tr_buf_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    tr_buf_fini(&b);
}

static void prints(void **state)
{
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 2000);
    tr_buf_printf(&b, "%s-%d", "a", 7);
    tr_buf_printf(&b, "%1000d", 1);
    assert_int_equal(b.n, 1003);
    assert_memory_equal(b.p, "a-7  ", 5);
    tr_buf_printf(&b, "%1000d", 1);
    assert_true(b.failed);
    assert_int_equal(b.n, 1003);
    tr_buf_fini(&b);
}

static void writes_json_strings(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        const char *want;
    } cases[] = {
        { "", 0, "\"\"" },
        { "plain", 5, "\"plain\"" },
        { "q\"b\\", 4, "\"q\\\"b\\\\\"" },
        { "a\nb\tc\0d\x1f", 8, "\"a\\nb\\u0009c\\u0000d\\u001f\"" },
        { "caf\xc3\xa9 \xf0\x9f\x98\x80", 10, "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"" },
        { "bad\xff!", 5, "\"bad\xef\xbf\xbd!\"" },
        { "cut\xe2\x82", 5, "\"cut\xef\xbf\xbd\xef\xbf\xbd\"" },
    };
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tr_buf_clear(&b);
        tr_buf_json_str(&b, (struct tr_str){ cases[i].in, cases[i].n });
        assert_true(tr_str_is(tr_buf_view(&b), cases[i].want));
    }
    tr_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_up_to_its_limit),
        cmocka_unit_test(fails_once_and_stays_failed),
        cmocka_unit_test(prints),
        cmocka_unit_test(writes_json_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
