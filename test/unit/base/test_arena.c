#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>

#include "base/arena.h"

static void gives_aligned_memory_that_stays(void **state)
{
    struct tr_arena a;
    char *given[500];

    (void)state;
    tr_arena_init(&a, 1 << 24);
    for (size_t i = 0; i < 500; i++) {
        given[i] = tr_arena_alloc(&a, i + 1);
        assert_non_null(given[i]);
        assert_int_equal((uintptr_t)given[i] % alignof(max_align_t), 0);
        memset(given[i], (int)(i & 0x7F), i + 1);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k <= i; k++)
            assert_int_equal(given[i][k], i & 0x7F);
    tr_arena_fini(&a);
}

static void stops_at_its_limit(void **state)
{
    struct tr_arena a;

    (void)state;
    tr_arena_init(&a, 100000);
    assert_null(tr_arena_alloc(&a, 100001));
    assert_null(tr_arena_alloc(&a, SIZE_MAX));
    size_t got = 0;
    while (tr_arena_alloc(&a, 1000) != NULL)
        got += 1000;
    assert_true(got >= 50000 && got <= 100000);
    assert_true(a.total <= 100000);
    tr_arena_reset(&a);
    assert_non_null(tr_arena_alloc(&a, 1000));
    tr_arena_fini(&a);
}

static void copies_strings(void **state)
{
    struct tr_arena a;
    char text[] = "text";

    (void)state;
    tr_arena_init(&a, 100000);
    struct tr_str copy = tr_arena_str(&a, (struct tr_str){ text, 3 });
    text[0] = 'X';
    assert_string_equal(copy.p, "tex");
    assert_int_equal(copy.n, 3);
    assert_string_equal(tr_arena_str(&a, (struct tr_str){ NULL, 0 }).p, "");
    tr_arena_fini(&a);

    tr_arena_init(&a, 10);
    assert_null(tr_arena_str(&a, TR_STR("0123456789")).p);
    tr_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_aligned_memory_that_stays),
        cmocka_unit_test(stops_at_its_limit),
        cmocka_unit_test(copies_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
