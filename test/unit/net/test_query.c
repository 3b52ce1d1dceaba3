#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#include "net/http.h"

static const struct query_case {
    const char *name;
    const char *query;
    const char *key;
    const char *want; /* NULL: absent */
} cases[] = {
    { "a plain value", "a=1&b=2", "b", "2" },
    { "the first of two", "a=1&a=2", "a", "1" },
    { "absent", "a=1", "b", NULL },
    { "a longer name is another name", "data2=1", "data", NULL },
    { "a shorter name is another name", "dat=1", "data", NULL },
    { "empty value", "a=&b=2", "a", "" },
    { "no equals sign", "beacon&b=2", "beacon", "" },
    { "empty query", "", "a", NULL },
    { "only separators", "&&==&", "a", NULL },
    { "percent and plus", "d=%7B%22a%22%3a+1%7D", "d", "{\"a\": 1}" },
    { "a broken percent stands for itself", "d=100%&e=%zz%4", "d", "100%" },
    { "broken hex stands for itself", "d=100%&e=%zz%4", "e", "%zz%4" },
    { "an escaped name", "%64ata=x", "data", "x" },
    { "a value with an equals sign", "d=YQ==&x=1", "d", "YQ==" },
};

static void finds_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct query_case *c = &cases[i];
        struct tr_buf tmp;

        print_message("  %s\n", c->name);
        tr_buf_init(&tmp, 1024);
        struct tr_str got = tr_query_get(tr_str_of(c->query), c->key, &tmp);
        if (c->want == NULL) {
            assert_null(got.p);
        } else {
            assert_non_null(got.p);
            assert_true(tr_str_is(got, c->want));
        }
        tr_buf_fini(&tmp);
    }
}

static void a_value_too_long_for_the_buffer_is_absent(void **state)
{
    (void)state;
    struct tr_buf tmp;

    tr_buf_init(&tmp, 4);
    assert_null(tr_query_get(TR_STR("a=%41%41%41"), "a", &tmp).p);
    assert_true(tr_str_is(tr_query_get(TR_STR("a=plain+not"), "b", &tmp), ""));
    assert_true(tr_str_is(tr_query_get(TR_STR("a=%41"), "a", &tmp), "A"));
    tr_buf_fini(&tmp);
}

static void nul_bytes_come_through(void **state)
{
    (void)state;
    struct tr_buf tmp;

    tr_buf_init(&tmp, 64);
    struct tr_str got = tr_query_get(TR_STR("a=x%00y"), "a", &tmp);
    assert_int_equal(got.n, 3);
    assert_memory_equal(got.p, "x\0y", 3);
    tr_buf_fini(&tmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_values),
        cmocka_unit_test(a_value_too_long_for_the_buffer_is_absent),
        cmocka_unit_test(nul_bytes_come_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
