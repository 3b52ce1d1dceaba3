#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "identity/facts.h"

static void assert_raw(const struct tr_facts *f, enum tr_fact which, const char *raw)
{
    const struct tr_json_value *v = tr_fact(f, which);

    assert_non_null(v);
    assert_true(tr_str_is(v->raw, raw));
}

static void every_name_is_found(void **state)
{
    (void)state;
    for (int i = 0; i < TR_FACTS; i++) {
        struct tr_str name = tr_fact_name((enum tr_fact)i);
        struct tr_facts f;
        char text[300];

        print_message("  %.*s\n", TR_STR_ARGS(name));
        assert_int_equal(tr_fact_find(name), i);
        (void)snprintf(text, sizeof(text), "{\"a\":1,\"%.*s\":[%d],\"z\":2}", TR_STR_ARGS(name), i);
        tr_facts_read(tr_str_of(text), &f);
        uint64_t others = i == TR_FACT_OS_NAME ? UINT64_C(1) << TR_FACT_OS : 0;
        assert_int_equal(f.present, UINT64_C(1) << i | others);
        char want[20];
        (void)snprintf(want, sizeof(want), "[%d]", i);
        assert_raw(&f, (enum tr_fact)i, want);
    }
}

static void names_are_found_through_their_escapes(void **state)
{
    (void)state;
    for (int i = 0; i < TR_FACTS; i++) {
        struct tr_str name = tr_fact_name((enum tr_fact)i);
        struct tr_facts f;
        char text[300] = "{\"";
        size_t at = 2;

        for (size_t k = 0; k < name.n; k++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "\\u%04x", name.p[k]);
        (void)snprintf(text + at, sizeof(text) - at, "\":true}");
        tr_facts_read(tr_str_of(text), &f);
        assert_raw(&f, (enum tr_fact)i, "true");
    }
}

/* Each name with one letter changed, left out, or added. */
static void what_only_looks_like_a_name_is_not_found(void **state)
{
    (void)state;
    for (int i = 0; i < TR_FACTS; i++) {
        struct tr_str name = tr_fact_name((enum tr_fact)i);
        char other[64];

        for (size_t k = 0; k < name.n; k++) {
            memcpy(other, name.p, name.n);
            other[k] = (char)(other[k] ^ 1);
            assert_int_not_equal(tr_fact_find((struct tr_str){ other, name.n }), i);
        }
        assert_int_not_equal(tr_fact_find((struct tr_str){ name.p, name.n - 1 }), i);
        assert_int_not_equal(tr_fact_find((struct tr_str){ name.p + 1, name.n - 1 }), i);
        int n = snprintf(other, sizeof(other), "%.*s ", TR_STR_ARGS(name));
        assert_int_not_equal(tr_fact_find((struct tr_str){ other, (size_t)n }), i);
    }
    assert_int_equal(tr_fact_find(TR_STR("")), TR_FACTS);
    assert_int_equal(tr_fact_find(TR_STR("$s")), TR_FACTS);
    assert_int_equal(tr_fact_find(TR_STR("$initial_browser")), TR_FACTS);
    assert_int_equal(tr_fact_find(TR_STR("$process_person_profile_and_much_more_than_that")),
                     TR_FACTS);
}

static void of_equal_names_the_last_one_counts(void **state)
{
    struct tr_facts f;

    (void)state;
    tr_facts_read(TR_STR("{\"alias\":1,\"$set\":{},\"\\u0061lias\":\"two\",\"$set\":3}"), &f);
    assert_raw(&f, TR_FACT_ALIAS, "\"two\"");
    assert_raw(&f, TR_FACT_SET, "3");
}

static void only_the_top_level_is_looked_at(void **state)
{
    struct tr_facts f;

    (void)state;
    tr_facts_read(TR_STR("{\"a\":{\"$set\":1},\"b\":[{\"alias\":2}],\"c\":\"\\\"$lib\\\":3\"}"),
                  &f);
    assert_int_equal(f.present, 0);
    assert_null(tr_fact(&f, TR_FACT_SET));
}

static void what_is_no_object_has_no_facts(void **state)
{
    static const char *const texts[] = { "", "{}", " { } ", "[]", "null", "\"$set\"" };
    struct tr_facts f;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        tr_facts_read(tr_str_of(texts[i]), &f);
        assert_int_equal(f.present, 0);
    }
}

static void values_tell_their_type_and_escapes(void **state)
{
    struct tr_facts f;

    (void)state;
    tr_facts_read(TR_STR(" { \"$current_url\" : \"https:\\/\\/a.example\\/\" , \"gclid\":\"x\","
                         "\"$os\":null, \"$screen_width\": -1.5e3 ,\"$lib\":false}"),
                  &f);
    assert_int_equal(tr_fact(&f, TR_FACT_CURRENT_URL)->type, TR_JSON_STRING);
    assert_int_equal(tr_fact(&f, TR_FACT_CURRENT_URL)->flags, TR_JSON_ESCAPES);
    assert_int_equal(tr_fact(&f, TR_FACT_GCLID)->flags, 0);
    assert_int_equal(tr_fact(&f, TR_FACT_OS)->type, TR_JSON_NULL);
    assert_raw(&f, TR_FACT_SCREEN_WIDTH, "-1.5e3");
    assert_int_equal(tr_fact(&f, TR_FACT_LIB)->type, TR_JSON_FALSE);
}

static void a_client_s_os_name_is_its_os(void **state)
{
    uint64_t os = UINT64_C(1) << TR_FACT_OS;
    uint64_t os_name = UINT64_C(1) << TR_FACT_OS_NAME;
    struct tr_facts f;

    (void)state;
    tr_facts_read(TR_STR("{\"$os_name\":\"iOS\"}"), &f);
    assert_raw(&f, TR_FACT_OS, "\"iOS\"");
    assert_true(tr_facts_automatic(&f) == os && tr_facts_names_os(&f));
    tr_facts_read(TR_STR("{\"$os\":\"iPadOS\",\"$os_name\":\"iOS\"}"), &f);
    assert_raw(&f, TR_FACT_OS, "\"iPadOS\"");
    assert_true(tr_facts_automatic(&f) == os);
    tr_facts_read(TR_STR("{\"$os\":\"Linux\",\"$os_name\":\"Linux\",\"$is_server\":true}"), &f);
    assert_true(tr_facts_automatic(&f) == os_name && !tr_facts_names_os(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_found),
        cmocka_unit_test(names_are_found_through_their_escapes),
        cmocka_unit_test(what_only_looks_like_a_name_is_not_found),
        cmocka_unit_test(of_equal_names_the_last_one_counts),
        cmocka_unit_test(only_the_top_level_is_looked_at),
        cmocka_unit_test(what_is_no_object_has_no_facts),
        cmocka_unit_test(values_tell_their_type_and_escapes),
        cmocka_unit_test(a_client_s_os_name_is_its_os),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
