/* The walker of valid JSON against the scanner, on JSON made up at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/json_valid.h"

static uint64_t seed = 0x9E3779B97F4A7C15U;

static size_t chance(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % n);
}

#define PICK(list) list[chance(sizeof(list) / sizeof((list)[0]))]

/* ---- made-up JSON ---- */

static void put_blanks(struct tr_buf *b)
{
    static const char *const blanks[] = { "", "", "", "", "", "", " ", "\n", "\t \r\n" };

    tr_buf_z(b, PICK(blanks));
}

static void put_string(struct tr_buf *b)
{
    static const char *const pieces[] = {
        "a",    "bc",   "{",       "}]",       "[,:",
        "\\\"", "\\\\", "\\u0022", "\\n",      "\xc3\xa9",
        " ",    ":",    "$set",    "\\\\\\\\", "plain text, long"
    };
    size_t n = chance(6) == 0 ? chance(60) : chance(6);

    tr_buf_ch(b, '"');
    for (size_t i = 0; i < n; i++)
        tr_buf_z(b, PICK(pieces));
    tr_buf_ch(b, '"');
}

static void put_value(struct tr_buf *b, int depth);

static void put_object(struct tr_buf *b, int depth)
{
    size_t n = chance(depth == 0 ? 20 : 4);

    tr_buf_ch(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            tr_buf_ch(b, ',');
        put_blanks(b);
        put_string(b);
        put_blanks(b);
        tr_buf_ch(b, ':');
        put_blanks(b);
        put_value(b, depth + 1);
        put_blanks(b);
    }
    if (n == 0)
        put_blanks(b);
    tr_buf_ch(b, '}');
}

static void put_array(struct tr_buf *b, int depth)
{
    size_t n = chance(depth == 0 ? 20 : 4);

    tr_buf_ch(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            tr_buf_ch(b, ',');
        put_blanks(b);
        put_value(b, depth + 1);
        put_blanks(b);
    }
    if (n == 0)
        put_blanks(b);
    tr_buf_ch(b, ']');
}

static void put_value(struct tr_buf *b, int depth)
{
    static const char *const bare[] = {
        "0",    "-1",       "54.10",     "1e30", "123456789012345678901", "true", "false",
        "null", "Infinity", "-Infinity", "NaN"
    };

    switch (depth > 4 ? 1 + chance(3) : chance(6)) {
    case 0:
        put_object(b, depth);
        break;
    case 4:
        put_array(b, depth);
        break;
    case 1:
        tr_buf_z(b, PICK(bare));
        break;
    default:
        put_string(b);
        break;
    }
}

/* A copy with nothing behind its last byte, so that the sanitizer sees every step too far. */
static char *exact(const struct tr_buf *b)
{
    char *p = malloc(b->n == 0 ? 1 : b->n);

    assert_non_null(p);
    memcpy(p, b->p, b->n);
    return p;
}

/* ---- both walks ---- */

static void assert_same(const struct tr_json_value *got, const struct tr_json_value *want)
{
    assert_int_equal(got->type, want->type);
    assert_ptr_equal(got->raw.p, want->raw.p);
    assert_int_equal(got->raw.n, want->raw.n);
    assert_int_equal(got->flags, want->flags & TR_JSON_ESCAPES);
}

static void compare(struct tr_str text);

static void compare_inside(const struct tr_json_value *v)
{
    if (v->type == TR_JSON_OBJECT || v->type == TR_JSON_ARRAY)
        compare(v->raw);
}

static void compare_object(struct tr_str text)
{
    struct tr_json j;
    struct tr_json_valid w;
    struct tr_json_value key, value, got_key, got;
    bool more;

    tr_json_init(&j, text);
    assert_int_equal(tr_json_open_object(&j, NULL), TR_OK);
    assert_true(tr_json_valid_object(&w, text));
    for (;;) {
        assert_int_equal(tr_json_member(&j, &key, &value, &more, NULL), TR_OK);
        assert_int_equal(tr_json_valid_member(&w, &got_key, &got), more);
        if (!more)
            return;
        assert_same(&got_key, &key);
        assert_same(&got, &value);
        compare_inside(&value);
    }
}

static void compare_array(struct tr_str text)
{
    struct tr_json j;
    struct tr_json_valid w;
    struct tr_json_value value, got;
    bool more;

    tr_json_init(&j, text);
    assert_int_equal(tr_json_open_array(&j, NULL), TR_OK);
    assert_true(tr_json_valid_array(&w, text));
    for (;;) {
        assert_int_equal(tr_json_element(&j, &value, &more, NULL), TR_OK);
        assert_int_equal(tr_json_valid_element(&w, &got), more);
        if (!more)
            return;
        assert_same(&got, &value);
        compare_inside(&value);
    }
}

static void compare(struct tr_str text)
{
    struct tr_json j;
    enum tr_json_type type;

    tr_json_init(&j, text);
    assert_int_equal(tr_json_peek(&j, &type, NULL), TR_OK);
    if (type == TR_JSON_OBJECT)
        compare_object(text);
    else
        compare_array(text);
}

static void walks_as_the_scanner_does(void **state)
{
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 1 << 20);
    for (int i = 0; i < 4000; i++) {
        tr_buf_clear(&b);
        put_blanks(&b);
        if (chance(2) == 0)
            put_object(&b, 0);
        else
            put_array(&b, 0);
        put_blanks(&b);
        assert_false(b.failed);
        char *text = exact(&b);
        compare((struct tr_str){ text, b.n });
        free(text);
    }
    tr_buf_fini(&b);
}

/* Strings of every length before an escaped quote: the border of the blocks is met at each byte. */
static void escapes_are_seen_across_blocks(void **state)
{
    (void)state;
    for (size_t n = 0; n < 200; n++) {
        for (size_t backslashes = 0; backslashes < 6; backslashes++) {
            struct tr_buf b;
            tr_buf_init(&b, 4096);
            tr_buf_z(&b, "{\"k\":\"");
            for (size_t i = 0; i < n; i++)
                tr_buf_ch(&b, 'x');
            for (size_t i = 0; i < backslashes; i++)
                tr_buf_z(&b, "\\\\");
            tr_buf_z(&b, "\\\"tail\",\"a\\\\\":[\"]\",{}],\"b\":1}");
            char *text = exact(&b);
            compare((struct tr_str){ text, b.n });
            free(text);
            tr_buf_fini(&b);
        }
    }
}

/* Bytes flipped and cut: whatever the walk finds lies inside, and it ends. */
static void survives_what_is_no_json(void **state)
{
    struct tr_buf b;

    (void)state;
    tr_buf_init(&b, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        struct tr_json_valid w;
        struct tr_json_value key, value;
        size_t steps = 0;

        tr_buf_clear(&b);
        put_object(&b, 0);
        b.n = chance(b.n + 1);
        for (size_t k = chance(4); k > 0 && b.n > 0; k--)
            b.p[chance(b.n)] = (char)chance(256);
        char *text = exact(&b);
        struct tr_str s = { text, b.n };
        if (tr_json_valid_object(&w, s))
            while (tr_json_valid_member(&w, &key, &value)) {
                assert_true(key.raw.p >= text && key.raw.p + key.raw.n <= text + b.n);
                assert_true(value.raw.p >= text && value.raw.p + value.raw.n <= text + b.n);
                assert_true(++steps <= b.n);
            }
        if (tr_json_valid_array(&w, s))
            while (tr_json_valid_element(&w, &value)) {
                assert_true(value.raw.p >= text && value.raw.p + value.raw.n <= text + b.n);
                assert_true(++steps <= b.n);
            }
        free(text);
    }
    tr_buf_fini(&b);
}

static void only_objects_and_arrays_are_walked(void **state)
{
    static const char *const others[] = { "", " ", "1", "\"{\"", "null" };
    struct tr_json_valid w;

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(tr_json_valid_object(&w, tr_str_of(others[i])));
        assert_false(tr_json_valid_array(&w, tr_str_of(others[i])));
    }
    assert_false(tr_json_valid_object(&w, TR_STR("[]")));
    assert_false(tr_json_valid_array(&w, TR_STR("{}")));
    assert_false(tr_json_valid_object(&w, (struct tr_str){ NULL, 0 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_as_the_scanner_does),
        cmocka_unit_test(escapes_are_seen_across_blocks),
        cmocka_unit_test(survives_what_is_no_json),
        cmocka_unit_test(only_objects_and_arrays_are_walked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
