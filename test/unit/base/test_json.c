#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/utf8.h"

/* A copy with nothing behind its last byte, so that the sanitizer sees every step too far. */
static char *exact(const char *text, size_t n)
{
    char *p = malloc(n == 0 ? 1 : n);

    assert_non_null(p);
    memcpy(p, text, n);
    return p;
}

static enum tr_rc scan(const char *text, size_t n, struct tr_json_value *ret, struct tr_err *err)
{
    struct tr_json j;

    tr_json_init(&j, (struct tr_str){ text, n });
    if (tr_json_next(&j, ret, err) != TR_OK)
        return err->rc;
    return tr_json_end(&j, err);
}

#define Z(text) text, sizeof(text) - 1

static const struct good {
    const char *name;
    const char *text;
    size_t n;
    enum tr_json_type type;
    uint32_t flags, depth;
} goods[] = {
    { "null", Z("null"), TR_JSON_NULL, 0, 0 },
    { "true", Z(" true "), TR_JSON_TRUE, 0, 0 },
    { "false", Z("\tfalse\r\n"), TR_JSON_FALSE, 0, 0 },
    { "zero", Z("0"), TR_JSON_NUMBER, 0, 0 },
    { "minus zero", Z("-0"), TR_JSON_NUMBER, 0, 0 },
    { "a decimal", Z("54.10"), TR_JSON_NUMBER, 0, 0 },
    { "an exponent", Z("-1.5E+30"), TR_JSON_NUMBER, 0, 0 },
    { "an exponent without sign", Z("1e30"), TR_JSON_NUMBER, 0, 0 },
    { "the largest int64", Z("9223372036854775807"), TR_JSON_NUMBER, 0, 0 },
    { "one more", Z("9223372036854775808"), TR_JSON_NUMBER, TR_JSON_BIG_INT, 0 },
    { "the smallest int64", Z("-9223372036854775808"), TR_JSON_NUMBER, 0, 0 },
    { "one less", Z("-9223372036854775809"), TR_JSON_NUMBER, TR_JSON_BIG_INT, 0 },
    { "thirty digits", Z("123456789012345678901234567890"), TR_JSON_NUMBER, TR_JSON_BIG_INT, 0 },
    { "thirty digits and a fraction are no integer", Z("123456789012345678901234567890.5"),
      TR_JSON_NUMBER, 0, 0 },
    { "1e300", Z("1e300"), TR_JSON_NUMBER, 0, 0 },
    { "1e301", Z("1e301"), TR_JSON_NUMBER, TR_JSON_WIDE_EXP, 0 },
    { "12e300 has its first digit at 301", Z("12e300"), TR_JSON_NUMBER, TR_JSON_WIDE_EXP, 0 },
    { "1e-300", Z("1e-300"), TR_JSON_NUMBER, 0, 0 },
    { "1.5e-300 has its last digit at -301", Z("1.5e-300"), TR_JSON_NUMBER, TR_JSON_WIDE_EXP, 0 },
    { "an exponent of many digits", Z("1e99999999999999999999999"), TR_JSON_NUMBER,
      TR_JSON_WIDE_EXP, 0 },
    { "NaN", Z("NaN"), TR_JSON_NONFINITE, TR_JSON_BARE, 0 },
    { "Infinity", Z("Infinity"), TR_JSON_NONFINITE, TR_JSON_BARE, 0 },
    { "-Infinity", Z("-Infinity"), TR_JSON_NONFINITE, TR_JSON_BARE, 0 },
    { "an empty string", Z("\"\""), TR_JSON_STRING, 0, 0 },
    { "a string longer than a register", Z("\"0123456789abcdef0123456789abcdef012\""),
      TR_JSON_STRING, 0, 0 },
    { "DEL is no control character for JSON", Z("\"\x7f\""), TR_JSON_STRING, 0, 0 },
    { "every short escape", Z("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), TR_JSON_STRING, TR_JSON_ESCAPES,
      0 },
    { "a unicode escape", Z("\"\\u00e9\""), TR_JSON_STRING, TR_JSON_ESCAPES, 0 },
    { "an escaped NUL", Z("\"a\\u0000b\""), TR_JSON_STRING, TR_JSON_ESCAPES | TR_JSON_NUL, 0 },
    { "a surrogate pair", Z("\"\\ud83d\\uDE00\""), TR_JSON_STRING, TR_JSON_ESCAPES, 0 },
    { "a lone high surrogate", Z("\"\\ud83d\""), TR_JSON_STRING,
      TR_JSON_ESCAPES | TR_JSON_SURROGATE, 0 },
    { "a lone low surrogate", Z("\"\\ude00\""), TR_JSON_STRING, TR_JSON_ESCAPES | TR_JSON_SURROGATE,
      0 },
    { "a high surrogate before another escape", Z("\"\\ud83d\\n\""), TR_JSON_STRING,
      TR_JSON_ESCAPES | TR_JSON_SURROGATE, 0 },
    { "two high surrogates and a low one", Z("\"\\ud83d\\ud83d\\ude00\""), TR_JSON_STRING,
      TR_JSON_ESCAPES | TR_JSON_SURROGATE, 0 },
    { "text outside ASCII", Z("\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\""), TR_JSON_STRING,
      TR_JSON_NON_ASCII, 0 },
    { "an empty object", Z("{ }"), TR_JSON_OBJECT, 0, 1 },
    { "an empty array", Z("[\n]"), TR_JSON_ARRAY, 0, 1 },
    { "blanks everywhere", Z(" { \"a\" : [ 1 , 2 ] , \"b\" : { } } "), TR_JSON_OBJECT, 0, 2 },
    { "flags of keys and of what is inside",
      Z("{\"\\u0024set\":{\"k\\u0000\":[NaN,1e999]},\"\xc3\xa9\":\"\\ud800\"}"), TR_JSON_OBJECT,
      TR_JSON_ESCAPES | TR_JSON_NUL | TR_JSON_BARE | TR_JSON_WIDE_EXP | TR_JSON_NON_ASCII |
          TR_JSON_SURROGATE,
      3 },
    { "the words of NaN inside a string are text", Z("[\"NaN\",\"-Infinity\"]"), TR_JSON_ARRAY, 0,
      1 },
    { "equal keys", Z("{\"a\":1,\"a\":2}"), TR_JSON_OBJECT, 0, 1 },
};

static void takes_what_is_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
        const struct good *c = &goods[i];
        struct tr_json_value v;
        struct tr_err err = { 0 };
        char *text = exact(c->text, c->n);

        print_message("  %s\n", c->name);
        if (scan(text, c->n, &v, &err) != TR_OK)
            fail_msg("%s", err.cause);
        assert_int_equal(v.type, c->type);
        assert_int_equal(v.flags, c->flags);
        assert_int_equal(v.depth, c->depth);
        struct tr_str want = tr_str_trim((struct tr_str){ text, c->n });
        assert_ptr_equal(v.raw.p, want.p);
        assert_int_equal(v.raw.n, want.n);
        free(text);
    }
}

static const struct bad {
    const char *name;
    const char *text;
    size_t n;
    const char *id;
    const char *cause;
} bads[] = {
    { "nothing", Z(""), "json.cut", "not JSON at byte 0: the text ends too soon" },
    { "blanks only", Z("  "), "json.cut", "not JSON at byte 2: the text ends too soon" },
    { "two values", Z("1 2"), "json.invalid", "not JSON at byte 2: something follows the value" },
    { "a word that is none", Z("nul"), "json.cut", "not JSON at byte 3: the text ends too soon" },
    { "another word", Z("nope"), "json.invalid", "not JSON at byte 0: an unknown word" },
    { "a word in capitals", Z("True"), "json.invalid", "not JSON at byte 0: a value is expected" },
    { "half of Infinity", Z("[-Inf]"), "json.invalid", "not JSON at byte 2: an unknown word" },
    { "a leading zero", Z("01"), "json.invalid",
      "not JSON at byte 0: a number with a leading zero" },
    { "a plus", Z("+1"), "json.invalid", "not JSON at byte 0: a value is expected" },
    { "a minus alone", Z("-"), "json.cut", "not JSON at byte 1: the text ends too soon" },
    { "a minus before a letter", Z("-a"), "json.invalid",
      "not JSON at byte 1: a digit is missing in a number" },
    { "a point without digits", Z("[1.]"), "json.invalid",
      "not JSON at byte 3: a digit is missing in a number" },
    { "an exponent without digits", Z("[1e+]"), "json.invalid",
      "not JSON at byte 4: a digit is missing in a number" },
    { "a hexadecimal number", Z("0x10"), "json.invalid",
      "not JSON at byte 1: something follows the value" },
    { "an open string", Z("\"abc"), "json.cut", "not JSON at byte 4: the text ends too soon" },
    { "a string that ends in a backslash", Z("\"abc\\"), "json.cut",
      "not JSON at byte 5: the text ends too soon" },
    { "an unknown escape", Z("\"\\x\""), "json.invalid",
      "not JSON at byte 1: an unknown escape in a string" },
    { "a NUL as an escape", Z("\"\\\0\""), "json.invalid",
      "not JSON at byte 1: an unknown escape in a string" },
    { "a unicode escape cut short", Z("\"\\u12"), "json.cut",
      "not JSON at byte 5: the text ends too soon" },
    { "a unicode escape of other letters", Z("\"\\u12g4\""), "json.invalid",
      "not JSON at byte 1: \\u without four hex digits" },
    { "a raw line feed in a string", Z("\"a\nb\""), "json.invalid",
      "not JSON at byte 2: a raw control character in a string" },
    { "a raw NUL in a string", Z("\"a\0b\""), "json.invalid",
      "not JSON at byte 2: a raw control character in a string" },
    { "a raw control character far into a string", Z("\"0123456789abcdef0123456\x1f\""),
      "json.invalid", "not JSON at byte 24: a raw control character in a string" },
    { "a lone UTF-8 tail", Z("\"\x80\""), "json.utf8",
      "not JSON at byte 1: bytes that are not UTF-8" },
    { "an overlong form", Z("\"\xc0\xaf\""), "json.utf8",
      "not JSON at byte 1: bytes that are not UTF-8" },
    { "a surrogate in UTF-8", Z("\"\xed\xa0\x80\""), "json.utf8",
      "not JSON at byte 1: bytes that are not UTF-8" },
    { "a character cut by the quote", Z("\"\xe2\x82\""), "json.utf8",
      "not JSON at byte 1: bytes that are not UTF-8" },
    { "Latin-1 far into a string", Z("\"0123456789abcdef0123456\xe9 \""), "json.utf8",
      "not JSON at byte 24: bytes that are not UTF-8" },
    { "an open object", Z("{"), "json.cut", "not JSON at byte 1: the text ends too soon" },
    { "an open array", Z("[1"), "json.cut", "not JSON at byte 2: the text ends too soon" },
    { "a comma before a bracket", Z("[1,]"), "json.invalid",
      "not JSON at byte 3: a value is expected" },
    { "a comma before a brace", Z("{\"a\":1,}"), "json.invalid",
      "not JSON at byte 7: a key in quotes is expected" },
    { "a key without quotes", Z("{a:1}"), "json.invalid",
      "not JSON at byte 1: a key in quotes is expected" },
    { "a key without a colon", Z("{\"a\" 1}"), "json.invalid",
      "not JSON at byte 5: ':' is expected" },
    { "a key without a value", Z("{\"a\":}"), "json.invalid",
      "not JSON at byte 5: a value is expected" },
    { "a missing comma", Z("[1 2]"), "json.invalid", "not JSON at byte 3: ',' or ']' is expected" },
    { "the wrong bracket", Z("{\"a\":1]"), "json.invalid",
      "not JSON at byte 6: ',' or '}' is expected" },
    { "the wrong brace", Z("[1}"), "json.invalid", "not JSON at byte 2: ',' or ']' is expected" },
    { "a comment", Z("[1/**/]"), "json.invalid", "not JSON at byte 2: ',' or ']' is expected" },
    { "a vertical tab is no blank", Z("\v1"), "json.invalid",
      "not JSON at byte 0: a value is expected" },
};

static void refuses_the_rest_with_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        const struct bad *c = &bads[i];
        struct tr_json_value v;
        struct tr_err err = { 0 };
        char *text = exact(c->text, c->n);

        print_message("  %s\n", c->name);
        assert_int_equal(scan(text, c->n, &v, &err), TR_INVALID);
        assert_string_equal(err.id, c->id);
        assert_string_equal(err.cause, c->cause);
        free(text);
    }
}

/* The fast and the slow way through a string must agree wherever the odd byte stands. */
static void finds_odd_bytes_at_every_distance(void **state)
{
    static const struct {
        const char *bytes;
        enum tr_rc rc;
    } odd[] = { { "\\n", TR_OK },
                { "\xc3\xa9", TR_OK },
                { "\x01", TR_INVALID },
                { "\xff", TR_INVALID },
                { "\\q", TR_INVALID } };

    (void)state;
    for (size_t at = 0; at < 70; at++) {
        for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
            for (size_t tail = 0; tail < 20; tail++) {
                char text[128] = "\"";
                struct tr_json_value v;
                struct tr_err err = { 0 };
                memset(text + 1, 'x', at);
                size_t n = 1 + at;
                memcpy(text + n, odd[k].bytes, strlen(odd[k].bytes));
                n += strlen(odd[k].bytes);
                memset(text + n, 'y', tail);
                n += tail;
                text[n++] = '"';
                char *copy = exact(text, n);
                assert_int_equal(scan(copy, n, &v, &err), odd[k].rc);
                /* Every shorter text is cut, never good. */
                assert_int_equal(scan(copy, n - 1, &v, &err), TR_INVALID);
                free(copy);
            }
        }
    }
}

static void limits_the_depth(void **state)
{
    static const struct {
        size_t levels;
        uint32_t max;
        enum tr_rc rc;
        uint32_t deep;
    } cases[] = {
        { 100, TR_JSON_MAX_DEPTH, TR_OK, 0 },
        { 101, TR_JSON_MAX_DEPTH, TR_OK, TR_JSON_DEEP },
        { 512, TR_JSON_MAX_DEPTH, TR_OK, TR_JSON_DEEP },
        { 513, TR_JSON_MAX_DEPTH, TR_INVALID, 0 },
        { 5, 5, TR_OK, 0 },
        { 6, 5, TR_INVALID, 0 },
        { 100000, TR_JSON_MAX_DEPTH, TR_INVALID, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = cases[i].levels;
        char *text = malloc(n * 6 + n);
        struct tr_json j;
        struct tr_json_value v;
        struct tr_err err = { 0 };
        size_t at = 0;

        assert_non_null(text);
        /* Objects and arrays in turns: [{"a":[{"a": .. ]}] */
        for (size_t k = 0; k < n; k++) {
            memcpy(text + at, k % 2 == 0 ? "[" : "{\"a\":", k % 2 == 0 ? 1 : 5);
            at += k % 2 == 0 ? 1 : 5;
        }
        if (n % 2 == 0)
            text[at++] = '1';
        for (size_t k = n; k > 0; k--)
            text[at++] = k % 2 == 1 ? ']' : '}';
        tr_json_init(&j, (struct tr_str){ text, at });
        j.max_depth = cases[i].max;
        assert_int_equal(tr_json_next(&j, &v, &err), cases[i].rc);
        if (cases[i].rc == TR_OK) {
            assert_int_equal(v.depth, n);
            assert_int_equal(v.flags, cases[i].deep);
        } else {
            assert_string_equal(err.id, "json.too_deep");
        }
        free(text);
    }
}

/* Every cut and many damaged copies of a text: never a wrong access, and cuts never pass. */
static void survives_damage(void **state)
{
    static const char text[] = "{\"a\":[1,-2.5e3,true,null,\"x\\u00e9\\ud83d\\ude00\xc3\xa9\"],"
                               "\"b\":{\"c\":NaN,\"d\":[[],{}]}}";
    struct tr_json_value v;
    struct tr_err err;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        char *copy = exact(text, n);
        assert_int_equal(scan(copy, n, &v, &err), TR_INVALID);
        bool in_character = n > 0 && text[n - 1] == '\xc3';
        assert_string_equal(err.id, in_character ? "json.utf8" : "json.cut");
        free(copy);
    }
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char *copy = exact(text, sizeof(text) - 1);
            copy[at] = (char)byte;
            if (scan(copy, sizeof(text) - 1, &v, &err) == TR_OK)
                assert_int_equal(v.type, TR_JSON_OBJECT);
            free(copy);
        }
    }
}

static void walks_objects_and_arrays(void **state)
{
    static const char text[] = " { \"a\" : 1 , \"b\":[ 10, {\"x\":[]} ,30 ],\"a\":\"two\" } tail";
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    struct tr_err err = { 0 };
    bool more;

    (void)state;
    tr_json_init(&j, TR_STR(text));
    assert_int_equal(tr_json_open_object(&j, &err), TR_OK);
    assert_int_equal(tr_json_member(&j, &key, &value, &more, &err), TR_OK);
    assert_true(more && tr_str_is(key.raw, "\"a\"") && tr_str_is(value.raw, "1"));
    assert_int_equal(tr_json_member_key(&j, &key, &more, &err), TR_OK);
    assert_true(more && tr_str_is(key.raw, "\"b\""));
    assert_int_equal(tr_json_open_array(&j, &err), TR_OK);
    assert_int_equal(tr_json_element(&j, &value, &more, &err), TR_OK);
    assert_true(more && tr_str_is(value.raw, "10"));
    assert_int_equal(tr_json_element_at(&j, &more, &err), TR_OK);
    assert_true(more);
    assert_int_equal(tr_json_next(&j, &value, &err), TR_OK);
    assert_true(tr_str_is(value.raw, "{\"x\":[]}"));
    assert_int_equal(value.depth, 2);
    assert_int_equal(tr_json_element(&j, &value, &more, &err), TR_OK);
    assert_true(more && tr_str_is(value.raw, "30"));
    assert_int_equal(tr_json_element(&j, &value, &more, &err), TR_OK);
    assert_false(more);
    assert_int_equal(j.depth, 1);
    assert_int_equal(tr_json_member(&j, &key, &value, &more, &err), TR_OK);
    assert_true(more && tr_str_is(value.raw, "\"two\""));
    assert_int_equal(tr_json_member(&j, &key, &value, &more, &err), TR_OK);
    assert_false(more);
    assert_int_equal(j.depth, 0);
    assert_int_equal(tr_json_end(&j, &err), TR_INVALID);
    assert_string_equal(err.cause, "not JSON at byte 50: something follows the value");
}

/* Walking refuses exactly what scanning refuses. */
static void walks_as_strictly_as_it_scans(void **state)
{
    static const char *const texts[] = {
        "{\"a\":1,}",       "{,\"a\":1}", "{\"a\":1 \"b\":2}",
        "{\"a\"}",          "{\"a\":}",   "{1:2}",
        "{\"a\":1]",        "{",          "{\"a\":1",
        "{\"a\":1,\"b",     "[1]",        "{\"a\":01}",
        "{\"a\":{\"b\":}}", "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t n = strlen(texts[i]);
        char *text = exact(texts[i], n);
        struct tr_json j;
        struct tr_json_value key;
        struct tr_json_value value;
        struct tr_err err = { 0 };
        bool more = true;

        print_message("  %s\n", texts[i]);
        tr_json_init(&j, (struct tr_str){ text, n });
        enum tr_rc rc = tr_json_open_object(&j, &err);
        while (rc == TR_OK && more)
            rc = tr_json_member(&j, &key, &value, &more, &err);
        assert_int_equal(rc, TR_INVALID);
        free(text);
    }
}

static void counts_opened_levels_towards_the_limit(void **state)
{
    struct tr_json j;
    struct tr_json_value v;
    struct tr_err err = { 0 };
    bool more;

    (void)state;
    tr_json_init(&j, TR_STR("[[[[]]]]"));
    j.max_depth = 3;
    assert_int_equal(tr_json_open_array(&j, &err), TR_OK);
    assert_int_equal(tr_json_element_at(&j, &more, &err), TR_OK);
    assert_int_equal(tr_json_next(&j, &v, &err), TR_INVALID);
    assert_string_equal(err.id, "json.too_deep");
    assert_int_equal(tr_json_open_array(&j, &err), TR_OK);
    assert_int_equal(tr_json_open_array(&j, &err), TR_OK);
    assert_int_equal(tr_json_open_array(&j, &err), TR_INVALID);
    assert_string_equal(err.id, "json.too_deep");
}

static void tells_a_type_by_its_first_byte(void **state)
{
    static const struct {
        const char *text;
        enum tr_json_type type;
    } cases[] = { { " {", TR_JSON_OBJECT },    { "[", TR_JSON_ARRAY },    { "\"", TR_JSON_STRING },
                  { "t", TR_JSON_TRUE },       { "f", TR_JSON_FALSE },    { "n", TR_JSON_NULL },
                  { "-1", TR_JSON_NUMBER },    { "7", TR_JSON_NUMBER },   { "-", TR_JSON_NUMBER },
                  { "-I", TR_JSON_NONFINITE }, { "N", TR_JSON_NONFINITE } };
    struct tr_json j;
    struct tr_err err = { 0 };
    enum tr_json_type type;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tr_json_init(&j, tr_str_of(cases[i].text));
        assert_int_equal(tr_json_peek(&j, &type, &err), TR_OK);
        assert_int_equal(type, cases[i].type);
        assert_ptr_equal(j.p, cases[i].text);
    }
    tr_json_init(&j, TR_STR(" "));
    assert_int_equal(tr_json_peek(&j, &type, &err), TR_INVALID);
    tr_json_init(&j, TR_STR("}"));
    assert_int_equal(tr_json_peek(&j, &type, &err), TR_INVALID);
    tr_json_init(&j, (struct tr_str){ NULL, 0 });
    assert_int_equal(tr_json_peek(&j, &type, &err), TR_INVALID);
}

static const struct text_case {
    const char *name;
    const char *raw;
    const char *want;
    size_t want_n;
} texts[] = {
    { "plain", "\"abc\"", Z("abc") },
    { "empty", "\"\"", Z("") },
    { "short escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", Z("\"\\/\b\f\n\r\t") },
    { "two bytes", "\"\\u00e9\\u00E9\"", Z("\xc3\xa9\xc3\xa9") },
    { "three bytes", "\"x\\u20acy\"", Z("x\xe2\x82\xacy") },
    { "a pair", "\"\\ud83d\\ude00\"", Z("\xf0\x9f\x98\x80") },
    { "NUL", "\"a\\u0000b\"", Z("a\0b") },
    { "a lone high surrogate", "\"a\\ud83db\"",
      Z("a\xef\xbf\xbd"
        "b") },
    { "a lone low surrogate", "\"\\ude00\"", Z("\xef\xbf\xbd") },
    { "two high and a low", "\"\\ud83d\\ud83d\\ude00\"", Z("\xef\xbf\xbd\xf0\x9f\x98\x80") },
    { "an escaped key", "\"\\u0024\\u0073et\"", Z("$set") },
};

static void unescapes(void **state)
{
    struct tr_buf tmp;

    (void)state;
    tr_buf_init(&tmp, 1000);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct text_case *c = &texts[i];
        struct tr_json_value v;
        struct tr_err err;

        print_message("  %s\n", c->name);
        assert_int_equal(scan(c->raw, strlen(c->raw), &v, &err), TR_OK);
        struct tr_str got = tr_json_text(&v, &tmp);
        assert_int_equal(got.n, c->want_n);
        assert_memory_equal(got.p, c->want, c->want_n);
        if ((v.flags & TR_JSON_ESCAPES) == 0)
            assert_ptr_equal(got.p, c->raw + 1);
        assert_true(tr_json_text_is(&v, (struct tr_str){ c->want, c->want_n }));
        assert_false(tr_json_text_is(&v, TR_STR("other")));
        char longer[64];
        memcpy(longer, c->want, c->want_n);
        longer[c->want_n] = 'x';
        assert_false(tr_json_text_is(&v, (struct tr_str){ longer, c->want_n + 1 }));
        if (c->want_n > 0)
            assert_false(tr_json_text_is(&v, (struct tr_str){ c->want, c->want_n - 1 }));
    }
    tr_buf_fini(&tmp);

    struct tr_json_value v;
    struct tr_err err;
    struct tr_buf small;
    tr_buf_init(&small, 2);
    assert_int_equal(scan(Z("\"\\n\\n\\n\""), &v, &err), TR_OK);
    assert_null(tr_json_text(&v, &small).p);
    tr_buf_fini(&small);
}

/* Every length of every text, and a place that is no longer than allowed. */
static void unescapes_no_more_than_it_may(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tr_json_value v;
        struct tr_err err;

        assert_int_equal(scan(texts[i].raw, strlen(texts[i].raw), &v, &err), TR_OK);
        for (size_t max = 0; max <= texts[i].want_n + 1; max++) {
            char *out = exact("", 0);
            out = realloc(out, max == 0 ? 1 : max);
            size_t n = tr_json_text_head(&v, out, max);
            assert_int_equal(
                n, tr_utf8_head_bytes((struct tr_str){ texts[i].want, texts[i].want_n }, max).n);
            assert_memory_equal(out, texts[i].want, n);
            free(out);
        }
    }
}

static void finds_the_last_member_of_a_name(void **state)
{
    struct tr_str object = TR_STR("{\"a\":1,\"b\":{\"a\":2},\"\\u0061\":3,\"c\":[{\"d\":4}]}");
    struct tr_json_value v;

    (void)state;
    assert_true(tr_json_find(object, TR_STR("a"), &v));
    assert_true(tr_str_is(v.raw, "3"));
    assert_true(tr_json_find(object, TR_STR("b"), &v));
    assert_true(tr_str_is(v.raw, "{\"a\":2}"));
    assert_false(tr_json_find(object, TR_STR("d"), &v));
    assert_false(tr_json_find(object, TR_STR(""), &v));
    assert_false(tr_json_find(TR_STR("[1]"), TR_STR("a"), &v));
    assert_false(tr_json_find(TR_STR("{}"), TR_STR("a"), &v));
    assert_false(tr_json_find((struct tr_str){ NULL, 0 }, TR_STR("a"), &v));
}

static void replaces_bare_words(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        { "NaN", "null" },
        { "[NaN,-Infinity,Infinity]", "[null,null,null]" },
        { "{\"NaN\":\"Infinity\",\"x\":\"\\\"NaN\",\"y\":-1}",
          "{\"NaN\":\"Infinity\",\"x\":\"\\\"NaN\",\"y\":-1}" },
        { "{\"a\\\\\":NaN}", "{\"a\\\\\":null}" },
        { "54.10", "54.10" },
    };
    struct tr_buf out;

    (void)state;
    tr_buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tr_buf_clear(&out);
        tr_json_add_finite(&out, tr_str_of(cases[i].in));
        assert_true(tr_str_is(tr_buf_view(&out), cases[i].want));
    }
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_json),
        cmocka_unit_test(refuses_the_rest_with_the_place),
        cmocka_unit_test(finds_odd_bytes_at_every_distance),
        cmocka_unit_test(limits_the_depth),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(walks_objects_and_arrays),
        cmocka_unit_test(walks_as_strictly_as_it_scans),
        cmocka_unit_test(counts_opened_levels_towards_the_limit),
        cmocka_unit_test(tells_a_type_by_its_first_byte),
        cmocka_unit_test(unescapes),
        cmocka_unit_test(unescapes_no_more_than_it_may),
        cmocka_unit_test(finds_the_last_member_of_a_name),
        cmocka_unit_test(replaces_bare_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
