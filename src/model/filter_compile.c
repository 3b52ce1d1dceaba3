/* From the API's JSON to conditions. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "model/filter_priv.h"

enum { SHOWN_CHARS = 40 };

static const struct operator_name {
    const char *name;
    enum filter_op op;
    bool negated;
} operators[] = {
    { "exact", FILTER_EXACT, false },
    { "is_not", FILTER_EXACT, true },
    { "icontains", FILTER_ICONTAINS, false },
    { "not_icontains", FILTER_ICONTAINS, true },
    { "regex", FILTER_REGEX, false },
    { "not_regex", FILTER_REGEX, true },
    { "gt", FILTER_GT, false },
    { "gte", FILTER_GTE, false },
    { "lt", FILTER_LT, false },
    { "lte", FILTER_LTE, false },
    { "is_set", FILTER_IS_SET, false },
    { "is_not_set", FILTER_IS_SET, true },
    { "is_date_before", FILTER_DATE_BEFORE, false },
    { "is_date_after", FILTER_DATE_AFTER, false },
};

static struct tr_str text_of(const json_t *string)
{
    return (struct tr_str){ json_string_value(string), json_string_length(string) };
}

static struct tr_str shown(struct tr_str s)
{
    return tr_utf8_head(s, SHOWN_CHARS);
}

static enum tr_rc copy(struct tr_filter *f, struct tr_str s, struct tr_str *ret, struct tr_err *err)
{
    *ret = tr_arena_str(&f->arena, s);
    if (ret->p == NULL)
        return tr_fail(err, TR_INVALID, "filter.too_big", NULL, "the filters are too big");
    return TR_OK;
}

/* ---- values ---- */

/* The shortest text that reads back as this number: 54.1, not 54.100000000000001. */
static char *number_text(const json_t *value)
{
    for (size_t digits = 15;; digits++) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (text == NULL || json_is_integer(value) || digits == 17)
            return text;
        json_t *back = json_loads(text, JSON_DECODE_ANY, NULL);
        bool same = json_is_real(back) && !(json_real_value(back) < json_real_value(value)) &&
                    !(json_real_value(back) > json_real_value(value));
        json_decref(back);
        if (same)
            return text;
        free(text);
    }
}

static enum tr_rc set_number(struct tr_filter *f, const json_t *value, struct filter_operand *o,
                             struct tr_err *err)
{
    char *text = number_text(value);

    if (text == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = copy(f, tr_str_of(text), &o->text, err);
    free(text);
    o->is_number = true;
    o->numeric = true;
    return rc;
}

static enum tr_rc set_operand(struct tr_filter *f, const json_t *value, struct filter_operand *o,
                              struct tr_err *err)
{
    if (json_is_number(value))
        return set_number(f, value, o, err);
    if (json_is_boolean(value)) {
        o->text = json_is_true(value) ? TR_STR("true") : TR_STR("false");
        return TR_OK;
    }
    if (!json_is_string(value))
        return tr_fail(err, TR_INVALID, "filter.value", NULL,
                       "a value must be a text, a number, true or false");
    enum tr_rc rc = copy(f, text_of(value), &o->text, err);
    if (rc == TR_OK)
        o->numeric = filter_is_number(o->text);
    return rc;
}

/* Unicode, one letter to one letter: "É" finds "é", "SS" does not find "ß". */
static enum tr_rc compile_pattern(struct filter_operand *o, bool literal, struct tr_err *err)
{
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK;
    int error = 0;
    PCRE2_SIZE at = 0;

    options |=
        literal ? PCRE2_LITERAL | PCRE2_CASELESS : PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    if (o->text.n > FILTER_PATTERN_BYTES)
        return tr_fail(err, TR_INVALID, "filter.pattern", NULL, "a pattern of over %d bytes",
                       FILTER_PATTERN_BYTES);
    o->code = pcre2_compile((PCRE2_SPTR)o->text.p, o->text.n, options, &error, &at, NULL);
    if (o->code == NULL) {
        PCRE2_UCHAR why[128] = { 0 };
        (void)pcre2_get_error_message(error, why, sizeof(why));
        return tr_fail(err, TR_INVALID, "filter.pattern", "the syntax is Perl's (PCRE2)",
                       "the regular expression is wrong at byte %zu: %s", (size_t)at,
                       (const char *)why);
    }
    (void)pcre2_jit_compile(o->code, PCRE2_JIT_COMPLETE); /* where there is no JIT, it is slower */
    return TR_OK;
}

static enum tr_rc set_patterns(struct tr_filter *f, struct filter_condition *c, struct tr_err *err)
{
    f->has_patterns = true;
    for (size_t i = 0; i < c->n; i++) {
        enum tr_rc rc = compile_pattern(&c->values[i], c->op == FILTER_ICONTAINS, err);
        if (rc != TR_OK)
            return rc;
    }
    return TR_OK;
}

static enum tr_rc set_values(struct tr_filter *f, const json_t *value, struct filter_condition *c,
                             struct tr_err *err)
{
    bool list = json_is_array(value);
    size_t n = list ? json_array_size(value) : 1;

    if (n == 0)
        return tr_fail(err, TR_INVALID, "filter.value", NULL, "value is an empty list");
    if (n > FILTER_VALUES)
        return tr_fail(err, TR_INVALID, "filter.too_big", NULL, "value lists more than %d",
                       FILTER_VALUES);
    c->values = tr_arena_alloc(&f->arena, n * sizeof(*c->values));
    if (c->values == NULL)
        return tr_fail(err, TR_INVALID, "filter.too_big", NULL, "the filters are too big");
    memset(c->values, 0, n * sizeof(*c->values));
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        enum tr_rc rc = set_operand(f, list ? json_array_get(value, i) : value, &c->values[i], err);
        if (rc != TR_OK)
            return rc;
    }
    return TR_OK;
}

static enum tr_rc set_instant(const json_t *value, int64_t reference, struct filter_condition *c,
                              struct tr_err *err)
{
    if (json_is_number(value) && filter_unix_time(json_number_value(value), &c->instant))
        return TR_OK;
    if (json_is_string(value) && (filter_parse_relative(text_of(value), reference, &c->instant) ||
                                  filter_parse_time(text_of(value), &c->instant)))
        return TR_OK;
    return tr_fail(err, TR_INVALID, "filter.date", NULL,
                   "value must be a date (2026-11-21), a time (2026-11-21T09:30:00Z) or relative: "
                   "-3h, -7d, -2w, -1m (month), -1y");
}

static enum tr_rc set_value(struct tr_filter *f, const json_t *value, int64_t reference,
                            struct filter_condition *c, struct tr_err *err)
{
    switch (c->op) {
    case FILTER_IS_SET:
        return TR_OK;
    case FILTER_DATE_BEFORE:
    case FILTER_DATE_AFTER:
        return set_instant(value, reference, c, err);
    case FILTER_GT:
    case FILTER_GTE:
    case FILTER_LT:
    case FILTER_LTE:
        if (!json_is_string(value) && !json_is_number(value))
            return tr_fail(err, TR_INVALID, "filter.value", NULL,
                           "value must be one number or text");
        return set_values(f, value, c, err);
    case FILTER_EXACT:
        return set_values(f, value, c, err);
    case FILTER_ICONTAINS:
    case FILTER_REGEX:
        break;
    }
    enum tr_rc rc = set_values(f, value, c, err);
    return rc == TR_OK ? set_patterns(f, c, err) : rc;
}

/* ---- one filter ---- */

static enum tr_rc check_fields(const json_t *filter, struct tr_err *err)
{
    static const char *const known[] = { "key", "operator", "value", "type", "label" };
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)filter, name, value)
    {
        bool ok = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            ok = ok || strcmp(name, known[i]) == 0;
        if (!ok)
            return tr_fail(err, TR_INVALID, "filter.field", NULL,
                           "there is no field \"%.*s\"; there are key, operator, value, type",
                           TR_STR_ARGS(shown(tr_str_of(name))));
    }
    return TR_OK;
}

static enum tr_rc check_type(const json_t *type, struct tr_err *err)
{
    if (type == NULL || json_is_null(type) ||
        (json_is_string(type) && strcmp(json_string_value(type), "event") == 0))
        return TR_OK;
    if (json_is_string(type) && strcmp(json_string_value(type), "person") == 0)
        return tr_fail(err, TR_INVALID, "filter.type", NULL,
                       "type \"person\" is not supported yet: filter by properties of the event");
    return tr_fail(err, TR_INVALID, "filter.type", NULL, "type must be \"event\"");
}

static enum tr_rc set_operator(const json_t *given, struct filter_condition *c, struct tr_err *err)
{
    const char *name = given == NULL || json_is_null(given) ? "exact" : json_string_value(given);

    for (size_t i = 0; name != NULL && i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (strcmp(name, operators[i].name) == 0) {
            c->op = operators[i].op;
            c->negated = operators[i].negated;
            return TR_OK;
        }
    }
    return tr_fail(err, TR_INVALID, "filter.operator", NULL,
                   "operator must be one of exact, is_not, icontains, not_icontains, regex, "
                   "not_regex, gt, gte, lt, lte, is_set, is_not_set, is_date_before, "
                   "is_date_after");
}

static enum tr_rc set_key(struct tr_filter *f, const json_t *given, struct filter_condition *c,
                          struct tr_err *err)
{
    if (!json_is_string(given))
        return tr_fail(err, TR_INVALID, "filter.key", NULL,
                       "key must be the name of a property, as a text");
    struct tr_str key = text_of(given);
    for (c->key = 0; c->key < f->n_keys; c->key++)
        if (tr_str_eq(f->keys[c->key], key))
            return TR_OK;
    return copy(f, key, &f->keys[f->n_keys++], err);
}

static enum tr_rc add_condition(struct tr_filter *f, const json_t *filter, int64_t reference,
                                struct tr_err *err)
{
    struct filter_condition *c = &f->conditions[f->n];

    if (!json_is_object(filter))
        return tr_fail(err, TR_INVALID, "filter.field", NULL, "a filter must be an object");
    f->n++;
    enum tr_rc rc = check_fields(filter, err);
    if (rc == TR_OK)
        rc = check_type(json_object_get(filter, "type"), err);
    if (rc == TR_OK)
        rc = set_operator(json_object_get(filter, "operator"), c, err);
    if (rc == TR_OK)
        rc = set_key(f, json_object_get(filter, "key"), c, err);
    if (rc == TR_OK)
        rc = set_value(f, json_object_get(filter, "value"), reference, c, err);
    return rc;
}

static int by_cost(const void *a, const void *b)
{
    const struct filter_condition *x = a;
    const struct filter_condition *y = b;
    bool slow_x = x->op == FILTER_REGEX || x->op == FILTER_ICONTAINS;
    bool slow_y = y->op == FILTER_REGEX || y->op == FILTER_ICONTAINS;

    return slow_x - slow_y;
}

static enum tr_rc add_conditions(struct tr_filter *f, const json_t *list, int64_t reference,
                                 struct tr_err *err)
{
    if (list == NULL || json_is_null(list))
        return TR_OK;
    if (!json_is_array(list))
        return tr_fail(err, TR_INVALID, "filter.list", NULL, "filters must be a list");
    if (json_array_size(list) > FILTER_CONDITIONS)
        return tr_fail(err, TR_INVALID, "filter.too_big", NULL, "there are more than %d filters",
                       FILTER_CONDITIONS);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (add_condition(f, json_array_get(list, i), reference, err) != TR_OK)
            return tr_wrap(err, "filters[%zu]", i);
    qsort(f->conditions, f->n, sizeof(f->conditions[0]), by_cost);
    return TR_OK;
}

/* ---- names ---- */

static enum tr_rc set_names(struct tr_filter *f, const json_t *list, const char *what,
                            struct filter_names *ret, struct tr_err *err)
{
    if (list == NULL || json_is_null(list))
        return TR_OK;
    if (!json_is_array(list))
        return tr_fail(err, TR_INVALID, "filter.names", NULL, "%s must be a list of event names",
                       what);
    size_t n = json_array_size(list);
    ret->v = tr_arena_alloc(&f->arena, (n + 1) * sizeof(*ret->v));
    if (ret->v == NULL)
        return tr_fail(err, TR_INVALID, "filter.too_big", NULL, "%s is too long", what);
    for (size_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name))
            return tr_fail(err, TR_INVALID, "filter.names", NULL, "%s[%zu] must be a text", what,
                           i);
        enum tr_rc rc = copy(f, text_of(name), &ret->v[i], err);
        if (rc != TR_OK)
            return rc;
    }
    ret->n = n;
    qsort(ret->v, n, sizeof(*ret->v), filter_compare_names);
    return TR_OK;
}

enum tr_rc tr_filter_compile(const json_t *include, const json_t *exclude, const json_t *properties,
                             int64_t reference, struct tr_filter **ret, struct tr_err *err)
{
    struct tr_filter *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return tr_fail_oom(err);
    tr_arena_init(&f->arena, FILTER_ARENA_BYTES);
    enum tr_rc rc = set_names(f, include, "include_events", &f->include, err);
    if (rc == TR_OK)
        rc = set_names(f, exclude, "exclude_events", &f->exclude, err);
    if (rc == TR_OK)
        rc = add_conditions(f, properties, reference, err);
    if (rc != TR_OK) {
        tr_filter_free(f);
        return rc;
    }
    *ret = f;
    return TR_OK;
}
