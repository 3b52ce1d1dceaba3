#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encode/pgcopy_json.h"

static const struct repair_case {
    const char *name, *in, *want;
} repairs[] = {
    { "nothing odd", "{\"a\":\"b\\n\\u0041\"}", "{\"a\":\"b\\n\\u0041\"}" },
    { "NUL in a value", "{\"a\":\"x\\u0000y\"}", "{\"a\":\"x\\ufffdy\"}" },
    { "NUL in a key", "{\"\\u0000\":1}", "{\"\\ufffd\":1}" },
    { "two NULs in a row", "\"\\u0000\\u0000\"", "\"\\ufffd\\ufffd\"" },
    { "a backslash before u0000", "\"\\\\u0000\"", "\"\\\\u0000\"" },
    { "two backslashes before an escape", "\"\\\\\\u0000\"", "\"\\\\\\ufffd\"" },
    { "a pair", "\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\"" },
    { "a pair in upper case", "\"\\uD83D\\uDE00\"", "\"\\uD83D\\uDE00\"" },
    { "a high surrogate alone", "\"\\ud83d\"", "\"\\ufffd\"" },
    { "a high surrogate before text", "\"\\ud83dx\\ude00\"", "\"\\ufffdx\\ufffd\"" },
    { "a high surrogate before a pair", "\"\\ud83d\\ud83d\\ude00\"", "\"\\ufffd\\ud83d\\ude00\"" },
    { "a high surrogate before NUL", "\"\\ud83d\\u0000\"", "\"\\ufffd\\ufffd\"" },
    { "a high surrogate before another escape", "\"\\udbff\\n\"", "\"\\ufffd\\n\"" },
    { "a low surrogate alone", "\"\\uDFFF\"", "\"\\ufffd\"" },
    { "a pair the wrong way round", "\"\\ude00\\ud83d\"", "\"\\ufffd\\ufffd\"" },
    { "the last below and the first above surrogates", "\"\\ud7ff\\ue000\"", "\"\\ud7ff\\ue000\"" },
    { "an escaped quote at the end", "\"\\\"\"", "\"\\\"\"" },
    { "empty", "", "" },
};

static void repairs_what_jsonb_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(repairs) / sizeof(repairs[0]); i++) {
        const struct repair_case *c = &repairs[i];
        size_t n = strlen(c->in);
        char *json = malloc(n + 1); /* exact, so that ASan sees one byte too far */

        print_message("# %s\n", c->name);
        assert_non_null(json);
        memcpy(json, c->in, n);
        bool changed = tr_pgjson_repair(json, n);
        assert_memory_equal(json, c->want, n);
        assert_int_equal(changed, strcmp(c->in, c->want) != 0);
        free(json);
    }
}

/* before digits, a point, after digits, an exponent */
static char *number(int before, int after, const char *exponent)
{
    char *text = malloc((size_t)before + (size_t)after + 64);
    char *p = text;

    assert_non_null(text);
    *p++ = '[';
    memset(p, '7', (size_t)before);
    p += before;
    if (after > 0) {
        *p++ = '.';
        memset(p, '7', (size_t)after);
        p += after;
    }
    (void)snprintf(p, 60, "%s]", exponent);
    return text;
}

static void knows_the_bounds_of_numeric(void **state)
{
    static const struct {
        int before, after;
        const char *exponent;
        bool fits;
    } cases[] = {
        { 1, 0, "", true },
        { 131072, 0, "", true },
        { 131073, 0, "", false },
        { 1, 16383, "", true },
        { 1, 16384, "", false },
        { 1, 0, "e131071", true },
        { 1, 0, "e131072", false },
        { 1, 0, "E+131072", false },
        { 2, 0, "e131070", true },
        { 2, 0, "e131071", false },
        { 1, 0, "e-16383", true },
        { 1, 0, "e-16384", false },
        { 1, 16384, "e1", true },
        { 1, 10, "e-16374", false },
        { 1, 0, "e400000", false },
        { 1, 0, "e99999999999999999999999999", false },
        { 1, 0, "e-99999999999999999999999999", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = number(cases[i].before, cases[i].after, cases[i].exponent);
        print_message("# %d.%d%s\n", cases[i].before, cases[i].after, cases[i].exponent);
        assert_int_equal(tr_pgjson_numbers_fit(tr_str_of(text)), cases[i].fits);
        free(text);
    }
}

static void reads_numbers_only(void **state)
{
    static const struct {
        const char *name, *json;
        bool fits;
    } cases[] = {
        { "inside a string", "{\"a\":\"1e999999\"}", true },
        { "inside a key", "{\"1e999999\":1}", true },
        { "behind an escaped quote", "{\"a\":\"\\\"\",\"b\":1e999999}", false },
        { "behind an escaped backslash", "{\"a\":\"\\\\\",\"b\":1e999999}", false },
        { "zero with a large exponent", "[0e999999]", true },
        { "zero with digits and a large exponent", "[0.000e131075]", true },
        { "zero with a small exponent", "[0e-20000]", false },
        { "a negative one", "[-1e131072]", false },
        { "zeros after the point push it back in", "[0.001e131074]", true },
        { "but not far enough", "[0.001e131075]", false },
        { "the last of many", "[1,2,{\"x\":[true,false,null,1e131072]}]", false },
        { "no number at all", "{\"e\":[\"-\"]}", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("# %s\n", cases[i].name);
        assert_int_equal(tr_pgjson_numbers_fit(tr_str_of(cases[i].json)), cases[i].fits);
    }
}

static void members_come_in_the_order_of_jsonb(void **state)
{
    static const struct {
        const char *name, *in, *want; /* NULL: left as it is */
    } cases[] = {
        { "shorter keys first, then by bytes", "{\"bb\":1,\"a\":2,\"ba\":3,\"c\":4}",
          "{\"a\":2,\"c\":4,\"ba\":3,\"bb\":1}" },
        { "in order already", "{\"a\":2,\"c\":4,\"ba\":3,\"bb\":1}", NULL },
        { "few members", "{\"b\":1,\"a\":2,\"0\":3}", NULL },
        { "values of every kind",
          "{\"z\":[1,{\"y\":\"]}\"},[]],\"b\":\"a,\\\"b\\\\\",\"c\":{\"q\":{},\"a\":[\"}\"]},\"a\":"
          "-1.5e3,"
          "\"d\":null}",
          "{\"a\":-1.5e3,\"b\":\"a,\\\"b\\\\\",\"c\":{\"q\":{},\"a\":[\"}\"]},\"d\":null,\"z\":[1,{"
          "\"y\":"
          "\"]}\"},[]]}" },
        { "blanks", "{ \"d\" : 1 ,\n\"c\":\t2\r, \"b\":[ ] , \"a\": true }",
          "{\"a\": true,\"b\":[ ],\"c\":\t2,\"d\" : 1}" },
        { "equal keys keep their order", "{\"b\":1,\"a\":2,\"b\":3,\"a\":4}",
          "{\"a\":2,\"a\":4,\"b\":1,\"b\":3}" },
        { "keys that differ late", "{\"abcdefgz\":1,\"abcdefga\":2,\"abcdefgm\":3,\"abcdefg\":4}",
          "{\"abcdefg\":4,\"abcdefga\":2,\"abcdefgm\":3,\"abcdefgz\":1}" },
        { "a key that is empty", "{\"b\":1,\"a\":2,\"\":3,\"c\":4}",
          "{\"\":3,\"a\":2,\"b\":1,\"c\":4}" },
        { "bytes are unsigned", "{\"\xC3\xA4\":1,\"zz\":2,\"aa\":3,\"mm\":4}",
          "{\"aa\":3,\"mm\":4,\"zz\":2,\"\xC3\xA4\":1}" },
        { "an escaped key may equal another", "{\"\\u0061\":1,\"d\":2,\"c\":3,\"a\":4}", NULL },
        { "an array", "[4,3,2,1]", NULL },
        { "a string", "\"{\"", NULL },
        { "empty", "{}", NULL },
        { "nothing", "", NULL },
        { "cut off in a key", "{\"d\":1,\"c\":2,\"b\":3,\"a", NULL },
        { "cut off in a string", "{\"d\":1,\"c\":2,\"b\":3,\"a\":\"x\\", NULL },
        { "cut off in a list", "{\"d\":1,\"c\":2,\"b\":3,\"a\":[[1]", NULL },
        { "cut off before the end", "{\"d\":1,\"c\":2,\"b\":3,\"a\":4", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = strlen(cases[i].in);
        char *in = malloc(n + 1), *out = malloc(n + 1); /* ASan sees one byte too far */

        print_message("# %s\n", cases[i].name);
        assert_non_null(in);
        assert_non_null(out);
        in = realloc(in, n == 0 ? 1 : n);
        assert_non_null(in);
        memcpy(in, cases[i].in, n);
        size_t wrote = tr_pgjson_sort((struct tr_str){ in, n }, out);
        if (cases[i].want == NULL) {
            assert_int_equal(wrote, 0);
        } else {
            assert_int_equal(wrote, strlen(cases[i].want));
            assert_memory_equal(out, cases[i].want, wrote);
        }
        free(out);
        free(in);
    }
}

static void many_members_are_left_as_they_are(void **state)
{
    enum { MANY = 200 };
    char in[MANY * 10], out[MANY * 10];

    (void)state;
    for (int n = 120; n <= MANY; n += 80) {
        char *p = in;
        for (int i = 0; i < n; i++)
            p += sprintf(p, "%c\"%03d\":1", i == 0 ? '{' : ',', n - i); /* NOLINT: sized above */
        *p++ = '}';
        struct tr_str json = { in, (size_t)(p - in) };
        assert_int_equal(tr_pgjson_sort(json, out), n == 120 ? json.n : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repairs_what_jsonb_refuses),
        cmocka_unit_test(knows_the_bounds_of_numeric),
        cmocka_unit_test(reads_numbers_only),
        cmocka_unit_test(members_come_in_the_order_of_jsonb),
        cmocka_unit_test(many_members_are_left_as_they_are),
    };

    return cmocka_run_group_tests_name("pgcopy_json", tests, NULL, NULL);
}
