#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dest/bigquery/bigquery_priv.h"

static const struct json_case {
    const char *name, *in, *out; /* out NULL: the same as in */
    bool repaired;
} cases[] = {
    { "an object", "{\"a\":[1,2.50,\"x\",null,true,false]}", NULL, false },
    { "54.10 stays 54.10", "54.10", NULL, false },
    { "blanks and line breaks go", "{ \"a\" :\n[ 1 ,\r\n2 ]\t}", "{\"a\":[1,2]}", false },
    { "blanks in strings stay", "{\"a b\":\" \"}", NULL, false },
    { "escapes stay", "\"\\n\\t\\\\\\\"\\/\\u0041\"", NULL, false },
    { "a backslash at the end of a string", "[\"a\\\\\",\"b\"]", NULL, false },
    { "a quote within", "[\"a\\\",\\\"\"]", NULL, false },
    { "NUL is a character", "\"\\u0000\"", NULL, false },

    { "a surrogate pair is one character", "\"\\ud83d\\ude00\"", NULL, false },
    { "half a pair is none", "\"a\\ud83db\"", "\"a\\ufffdb\"", true },
    { "the other half", "\"\\ude00\"", "\"\\ufffd\"", true },
    { "two first halves", "\"\\uD83D\\uD83D\\uDE00\"", "\"\\ufffd\\uD83D\\uDE00\"", true },
    { "half a pair at the end", "\"\\ud83d\"", "\"\\ufffd\"", true },
    { "half a pair in a key", "{\"\\ud800\":1}", "{\"\\ufffd\":1}", true },
    { "an escaped backslash before u", "\"\\\\ud800\"", NULL, false },

    { "the smallest integer", "-9223372036854775808", NULL, false },
    { "the largest integer", "18446744073709551615", NULL, false },
    { "one beyond", "18446744073709551616", "1.8446744073709552e+19", true },
    { "one below", "-9223372036854775809", "-9.223372036854776e+18", true },
    { "2^70", "1180591620717411303424", "1.1805916207174113e+21", true },
    { "ten to the 22nd is exact", "1e22", NULL, false },
    { "zeros at the end are no digits", "100000000000000000000000000", NULL, false },
    { "fifteen digits survive", "0.123456789012345", NULL, false },
    { "sixteen may", "0.1234567890123456", NULL, false },
    { "seventeen may", "0.10000000000000001", "0.1", true },
    { "twenty do not", "0.12345678901234567890", "0.12345678901234568", true },
    { "the exponent's sign", "1E+10", NULL, false },
    { "zero has many forms", "[0,-0,0.0,-0.0,0e10,0.000e-5]", "[0,-0,0.0,-0.0,0.0,0.0]", false },
    { "a coordinate that Grisu2 writes with a digit more", "[67.174118,67.174119]",
      "[67.17411800000001,67.174119]", true },
    { "its digits are taken as they are", "67.17411800000001", NULL, false },
    { "a short number, too", "1e23", "9.999999999999999e+22", true },
    { "beyond float64", "1e400", "\"1e400\"", true },
    { "far beyond it", "-1e999999999999", "\"-1e999999999999\"", true },
    { "too small for float64", "1e-400", "0.0", true },
    { "the largest float64", "1.7976931348623157e308", NULL, false },
    { "the smallest float64", "5e-324", NULL, false },
    { "in the middle of things", "{\"a\":1e400,\"b\":[2,1e-400]}",
      "{\"a\":\"1e400\",\"b\":[2,0.0]}", true },

    { "words that JSON does not have", "[NaN,Infinity,-Infinity,1]", "[null,null,null,1]", true },
    { "the same words in strings", "[\"NaN\",\"-Infinity\"]", NULL, false },
    { "an empty object", "{}", NULL, false },
    { "an empty text", "\"\"", NULL, false },
};

static void keeps_what_the_type_can_keep(void **state)
{
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *want = cases[i].out == NULL ? cases[i].in : cases[i].out;

        print_message("#  %s\n", cases[i].name);
        tr_buf_clear(&out);
        enum bq_json got = bq_json_add(&out, tr_str_of(cases[i].in));
        tr_buf_ch(&out, '\0');
        assert_string_equal(out.p, want);
        assert_int_equal(got, cases[i].repaired ? BQ_JSON_REPAIRED : BQ_JSON_SAME);
    }
    tr_buf_fini(&out);
}

static enum bq_json nested(size_t depth, bool objects)
{
    struct tr_buf in, out;

    tr_buf_init(&in, 1 << 20);
    tr_buf_init(&out, 1 << 20);
    for (size_t i = 0; i < depth; i++)
        tr_buf_z(&in, objects ? "{\"a\":" : "[");
    tr_buf_ch(&in, '1');
    for (size_t i = 0; i < depth; i++)
        tr_buf_ch(&in, objects ? '}' : ']');
    enum bq_json got = bq_json_add(&out, tr_buf_view(&in));
    tr_buf_fini(&in);
    tr_buf_fini(&out);
    return got;
}

static void five_hundred_levels_are_the_limit(void **state)
{
    struct tr_buf out;

    (void)state;
    assert_int_equal(nested(500, false), BQ_JSON_SAME);
    assert_int_equal(nested(501, false), BQ_JSON_DEEP);
    assert_int_equal(nested(500, true), BQ_JSON_SAME);
    assert_int_equal(nested(501, true), BQ_JSON_DEEP);
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(bq_json_add(&out, TR_STR("[[],[],[],{},{}]")), BQ_JSON_SAME);
    tr_buf_fini(&out);
}

static void a_number_of_more_characters_than_bigquery_reads_is_written_shorter(void **state)
{
    char text[2000] = "0.5";
    struct tr_buf out;

    (void)state;
    memset(text + 3, '0', sizeof(text) - 3);
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(bq_json_add(&out, (struct tr_str){ text, sizeof(text) }), BQ_JSON_SAME);
    assert_true(tr_str_eq(tr_buf_view(&out), TR_STR("0.5")));
    tr_buf_fini(&out);
}

/* A million coordinates of four to eight decimals: what comes out is the same number, and is not
 * changed a second time: so BigQuery takes it. */
static void a_million_coordinates(void **state)
{
    uint64_t seed = 12345;
    size_t repaired = 0;
    struct tr_buf once, twice;

    (void)state;
    tr_buf_init(&once, 64);
    tr_buf_init(&twice, 64);
    for (int i = 0; i < 1000000; i++) {
        char text[40];

        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        int n = snprintf(text, sizeof(text), "%.*f", 4 + (int)(seed >> 60) % 5,
                         (double)(seed >> 20) / (double)(UINT64_C(1) << 44) * 360 - 180);
        tr_buf_clear(&once);
        tr_buf_clear(&twice);
        repaired += bq_json_add(&once, (struct tr_str){ text, (size_t)n }) == BQ_JSON_REPAIRED;
        assert_int_equal(bq_json_add(&twice, tr_buf_view(&once)), BQ_JSON_SAME);
        tr_buf_ch(&once, '\0');
        assert_true(strtod(text, NULL) == strtod(once.p, NULL));
    }
    assert_in_range(repaired, 500, 3000);
    tr_buf_fini(&once);
    tr_buf_fini(&twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_the_type_can_keep),
        cmocka_unit_test(a_number_of_more_characters_than_bigquery_reads_is_written_shorter),
        cmocka_unit_test(a_million_coordinates),
        cmocka_unit_test(five_hundred_levels_are_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
