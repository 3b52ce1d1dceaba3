/* Filters against a slow and obvious implementation: properties read by jansson, regular
 * expressions by POSIX, letters folded by hand. Thousands of made-up objects under every operator.
 */
#include <math.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"
#include "model/filter.h"

#define REFERENCE INT64_C(1774958400000000)

enum { FILTERS = 400, ROWS = 200, TEXT = 2048 };

/* ---- chance ---- */

static uint64_t seed = 0x9E3779B97F4A7C15U;

static size_t chance(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % n);
}

#define PICK(list) list[chance(sizeof(list) / sizeof((list)[0]))]

/* Values whose text jansson prints as they stand here. */
static const char *const scalars[] = {
    "0",
    "1",
    "1.0",
    "-3",
    "2.5",
    "10",
    "100",
    "9007199254740993",
    "true",
    "false",
    "null",
    "\"\"",
    "\"1\"",
    "\"1.0\"",
    "\"01\"",
    "\"10\"",
    "\"-3\"",
    "\"2.50\"",
    "\"9007199254740992\"",
    "\"abc\"",
    "\"ABC\"",
    "\"a.c\"",
    "\"\\u0061bc\"",
    "\"b\"",
    "\"true\"",
    "\"null\"",
    "\"\xC3\x89"
    "cole\"",
    "\"\xC3\xA9"
    "COLE\"",
    "\"\\u00e9cole\"",
    "\"2026-01-02\"",
    "\"2026-03-31T11:00:00Z\"",
    "\"2026-03-31 11:00:00+02:00\"",
    "\"2025-12-31T23:59\"",
    "1767312000",
    "1767312000000",
};

/* "$browser" in its spellings, and what only looks like it. */
static const char *const keys[] = {
    "$browser",  "\\u0024browser", "$brows\\u0065r", "browser", "$Browser",
    "$browser ", "$browser2",      "other",          "a",       "b",
};

static void put(char *out, const char *text)
{
    assert_true(strlen(out) + strlen(text) < TEXT);
    strcat(out, text);
}

/* raw: inside an object or a list's list, whose text is the JSON as it was sent. */
static void put_value(char *out, int depth, bool raw)
{
    const char *scalar;

    size_t kind = depth > 1 ? 9 : chance(10);
    size_t n;

    if (kind == 0) { /* a list */
        put(out, "[");
        n = chance(4);
        for (size_t i = 0; i < n; i++) {
            put(out, i == 0 ? "" : ",");
            put_value(out, depth + 1, depth > 0);
        }
        put(out, "]");
    } else if (kind == 1) { /* an object with a look-alike */
        put(out, "{\"$browser\":");
        put_value(out, depth + 1, true);
        put(out, "}");
    } else {
        do {
            scalar = PICK(scalars); /* jansson would print escapes otherwise */
        } while (raw && strchr(scalar, '\\') != NULL);
        put(out, scalar);
    }
}

static void make_properties(char *out)
{
    size_t n = chance(7);

    out[0] = '\0';
    put(out, chance(2) == 0 ? "{" : " { ");
    for (size_t i = 0; i < n; i++) {
        put(out, i == 0 ? "\"" : chance(2) == 0 ? ",\"" : " ,\n\"");
        put(out, PICK(keys));
        put(out, chance(2) == 0 ? "\":" : "\" : ");
        put_value(out, 0, false);
    }
    put(out, "}");
}

/* ---- the slow reference ---- */

static void text_of(const json_t *v, char *out)
{
    if (json_is_string(v)) {
        (void)snprintf(out, TEXT, "%s", json_string_value(v));
        return;
    }
    char *dumped = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    (void)snprintf(out, TEXT, "%s", dumped);
    free(dumped);
}

static bool reads_as_number(const char *text, long double *ret)
{
    json_error_t bad;
    json_t *v = json_loads(text, JSON_DECODE_ANY, &bad);
    bool yes =
        json_is_number(v) && text[strspn(text, " \n")] == text[0] && text[strlen(text) - 1] > ' ';

    if (yes)
        *ret = strtold(text, NULL);
    json_decref(v);
    return yes;
}

static bool ref_equals(const json_t *v, const json_t *operand)
{
    char a[TEXT];
    char b[TEXT];
    long double x;
    long double y;

    text_of(v, a);
    text_of(operand, b);
    if (strcmp(a, b) == 0)
        return true;
    return (json_is_number(v) || json_is_number(operand)) && reads_as_number(a, &x) &&
           reads_as_number(b, &y) && !(x < y) && !(x > y);
}

static void fold(char *s)
{
    for (; *s != '\0'; s++) {
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + 'a' - 'A');
        else if (s[0] == '\xC3' && s[1] == '\x89') /* capital e with an acute accent */
            s[1] = '\xA9';
    }
}

static bool ref_contains(const json_t *v, const json_t *operand)
{
    char a[TEXT];
    char b[TEXT];

    text_of(v, a);
    text_of(operand, b);
    fold(a);
    fold(b);
    return strstr(a, b) != NULL;
}

static bool ref_regex(const json_t *v, const json_t *operand)
{
    char a[TEXT];
    regex_t re;

    text_of(v, a);
    assert_int_equal(regcomp(&re, json_string_value(operand), REG_EXTENDED | REG_NOSUB), 0);
    bool yes = regexec(&re, a, 0, NULL, 0) == 0;
    regfree(&re);
    return yes;
}

static bool ref_order(const char *op, const json_t *v, const json_t *operand)
{
    char a[TEXT];
    char b[TEXT];
    long double x;
    long double y;
    int order;

    if (!json_is_string(v) && !json_is_number(v))
        return false;
    text_of(v, a);
    text_of(operand, b);
    bool number = reads_as_number(b, &y);
    if (number && !reads_as_number(a, &x))
        return false;
    if (!number && !json_is_string(v))
        return false;
    order = number ? (x > y) - (x < y) : strcmp(a, b);
    if (strcmp(op, "gt") == 0)
        return order > 0;
    if (strcmp(op, "gte") == 0)
        return order >= 0;
    return strcmp(op, "lt") == 0 ? order < 0 : order <= 0;
}

/* The dates that occur here, to the second. */
static bool ref_instant(const json_t *v, int64_t *ret)
{
    static const char *const forms[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M" };
    const char *text = json_string_value(v);

    if (json_is_number(v)) {
        double n = json_number_value(v);
        *ret = (int64_t)(n >= 1e11 ? n / 1000 : n);
        return n < 1e14;
    }
    if (text != NULL && strcmp(text, "2026-03-31 11:00:00+02:00") == 0) {
        *ret = 1774947600;
        return true;
    }
    for (size_t i = 0; text != NULL && i < 3; i++) {
        struct tm tm = { 0 };
        const char *end = strptime(text, forms[i], &tm);
        if (end != NULL && *end == '\0' && strlen(text) >= 10) {
            *ret = timegm(&tm);
            return true;
        }
    }
    return false;
}

static bool ref_date(const char *op, const json_t *v, const json_t *operand)
{
    const char *text = json_string_value(operand);
    int64_t t;
    int64_t limit;

    if (!ref_instant(v, &t))
        return false;
    if (text != NULL && text[0] == '-')
        limit = REFERENCE / 1000000 - atoi(text + 1) * (strchr(text, 'h') ? 3600 : 86400);
    else
        assert_true(ref_instant(operand, &limit));
    return strcmp(op, "is_date_before") == 0 ? t < limit : t > limit;
}

static bool ref_one(const char *op, const json_t *v, const json_t *operand)
{
    if (json_is_null(v))
        return false;
    if (strcmp(op, "exact") == 0)
        return ref_equals(v, operand);
    if (strcmp(op, "icontains") == 0)
        return ref_contains(v, operand);
    if (strcmp(op, "regex") == 0)
        return ref_regex(v, operand);
    if (strncmp(op, "is_date", 7) == 0)
        return ref_date(op, v, operand);
    return ref_order(op, v, operand);
}

static bool ref_operands(const char *op, const json_t *v, const json_t *operand)
{
    if (!json_is_array(operand))
        return ref_one(op, v, operand);
    for (size_t i = 0; i < json_array_size(operand); i++)
        if (ref_one(op, v, json_array_get(operand, i)))
            return true;
    return false;
}

static bool ref_takes(const json_t *filter, const json_t *properties)
{
    const char *op = json_string_value(json_object_get(filter, "operator"));
    const json_t *operand = json_object_get(filter, "value");
    const json_t *v =
        json_object_get(properties, json_string_value(json_object_get(filter, "key")));
    bool there = v != NULL && !json_is_null(v);

    if (strcmp(op, "is_set") == 0)
        return there;
    if (strcmp(op, "is_not_set") == 0)
        return !there;
    if (strcmp(op, "is_not") == 0 || strncmp(op, "not_", 4) == 0) {
        const char *positive = op[0] == 'i' ? "exact" : op + 4;
        json_t *opposite = json_pack("{s:O, s:s, s:O}", "key", json_object_get(filter, "key"),
                                     "operator", positive, "value", operand);
        bool yes = !ref_takes(opposite, properties);
        json_decref(opposite);
        return yes;
    }
    if (!there)
        return false;
    if (!json_is_array(v))
        return ref_operands(op, v, operand);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (ref_operands(op, json_array_get(v, i), operand))
            return true;
    return false;
}

/* ---- the comparison ---- */

static json_t *make_operand(const char *op)
{
    static const char *const patterns[] = { "^a", "c$", "[0-9]+", "a.c", "^$", "b|1", "1\\.0" };
    static const char *const dates[] = { "2026-01-02", "2026-03-31T11:00:00Z", "-1d", "-90d",
                                         "-2h" };

    if (strstr(op, "regex") != NULL)
        return json_string(PICK(patterns));
    if (strncmp(op, "is_date", 7) == 0)
        return json_string(PICK(dates));
    for (;;) {
        json_t *v = json_loads(PICK(scalars), JSON_DECODE_ANY, NULL);
        bool order = op[0] == 'g' || op[0] == 'l';
        if (!json_is_null(v) && !(order && json_is_boolean(v)))
            return v;
        json_decref(v);
    }
}

static json_t *make_filter(void)
{
    static const char *const operators[] = {
        "exact",
        "is_not",
        "icontains",
        "not_icontains",
        "regex",
        "not_regex",
        "gt",
        "gte",
        "lt",
        "lte",
        "is_set",
        "is_not_set",
        "is_date_before",
        "is_date_after",
    };
    const char *op = PICK(operators);
    json_t *operand = make_operand(op);

    if (op[0] != 'g' && op[0] != 'l' && strncmp(op, "is_date", 7) != 0 && chance(3) == 0)
        operand = json_pack("[o, o]", operand, make_operand(op));
    return json_pack("{s:s, s:s, s:o, s:s}", "key", chance(3) == 0 ? "a" : "$browser", "operator",
                     op, "value", operand, "type", "event");
}

static void compare(const json_t *filters, char (*texts)[TEXT], size_t *ret_taken)
{
    struct tr_filter *f = NULL;
    struct tr_err err = { 0 };
    struct tr_str properties[ROWS];
    bool keep[ROWS];
    uint64_t limited;
    struct tr_batch b = { .schema = &tr_schema_events, .rows = ROWS };

    if (tr_filter_compile(NULL, NULL, filters, REFERENCE, &f, &err) != TR_OK)
        fail_msg("%s: %s", json_dumps(filters, 0), err.cause);
    for (size_t i = 0; i < ROWS; i++) {
        make_properties(texts[i]);
        properties[i] = tr_str_of(texts[i]);
    }
    b.col[TR_EVENT_PROPERTIES].str = properties;
    assert_int_equal(tr_filter_rows(f, &b, keep, &limited, &err), TR_OK);
    for (size_t i = 0; i < ROWS; i++) {
        json_t *object = json_loads(texts[i], 0, NULL);
        bool want = true;
        assert_non_null(object);
        for (size_t k = 0; k < json_array_size(filters); k++)
            want = want && ref_takes(json_array_get(filters, k), object);
        if (keep[i] != want)
            fail_msg("%s on %s: %d", json_dumps(filters, 0), texts[i], keep[i]);
        *ret_taken += want;
        json_decref(object);
    }
    tr_filter_free(f);
}

static void agrees_with_the_slow_reference(void **state)
{
    static char texts[ROWS][TEXT];
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < FILTERS; i++) {
        json_t *filters = json_array();
        (void)json_array_append_new(filters, make_filter());
        if (chance(4) == 0)
            (void)json_array_append_new(filters, make_filter());
        compare(filters, texts, &taken);
        json_decref(filters);
    }
    print_message("# %zu of %d rows taken\n", taken, FILTERS * ROWS);
    assert_true(taken > FILTERS * ROWS / 10 && taken < FILTERS * ROWS * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_slow_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
