#include "dest/option.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum {
    TEXT_MAX = 4096, /* bytes of a TEXT option that names no limit */
    SHOWN_CHARS = 40,
    NAME_MAX_BYTES = 63, /* longer ones are not compared */
};

static size_t count(const struct tr_option *options)
{
    size_t n = 0;

    while (options[n].name != NULL)
        n++;
    return n;
}

static size_t find(const struct tr_option *options, const char *name)
{
    size_t i = 0;

    while (options[i].name != NULL && strcmp(options[i].name, name) != 0)
        i++;
    return i;
}

/* ---- values ---- */

static enum tr_rc set_text(struct tr_conf_value *v, const char *text, struct tr_err *err)
{
    v->text = strdup(text);
    return v->text == NULL ? tr_fail_oom(err) : TR_OK;
}

static enum tr_rc set_number(struct tr_conf_value *v, int64_t number, struct tr_err *err)
{
    char text[24];

    v->number = number;
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    return set_text(v, text, err);
}

static enum tr_rc check_text(const struct tr_option *o, const char *text, struct tr_conf_value *v,
                             struct tr_err *err)
{
    size_t n = strlen(text);
    int64_t max = o->max == 0 ? TEXT_MAX : o->max;

    if (n == 0 && o->min > 0)
        return tr_fail(err, TR_INVALID, "option.empty", NULL, "%s must not be empty", o->name);
    if ((int64_t)n < o->min || (int64_t)n > max)
        return tr_fail(err, TR_INVALID, "option.length", NULL,
                       "%s must have %" PRId64 " to %" PRId64 " bytes, not %zu", o->name, o->min,
                       max, n);
    return set_text(v, text, err);
}

static enum tr_rc check_int(const struct tr_option *o, int64_t number, struct tr_conf_value *v,
                            struct tr_err *err)
{
    bool limited = o->min != 0 || o->max != 0;

    if (limited && (number < o->min || number > o->max))
        return tr_fail(err, TR_INVALID, "option.range", NULL,
                       "%s must be from %" PRId64 " to %" PRId64 ", not %" PRId64, o->name, o->min,
                       o->max, number);
    return set_number(v, number, err);
}

static enum tr_rc check_int_text(const struct tr_option *o, const char *text,
                                 struct tr_conf_value *v, struct tr_err *err)
{
    char *end = NULL;

    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool digit = text[0] == '-' || (text[0] >= '0' && text[0] <= '9');
    if (!digit || end == text || *end != '\0' || errno != 0)
        return tr_fail(err, TR_INVALID, "option.type", NULL, "%s must be a whole number", o->name);
    return check_int(o, number, v, err);
}

static enum tr_rc check_bool_text(const struct tr_option *o, const char *text,
                                  struct tr_conf_value *v, struct tr_err *err)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return tr_fail(err, TR_INVALID, "option.type", NULL, "%s must be true or false", o->name);
    v->number = text[0] == 't';
    return set_text(v, text, err);
}

/* The choice that equals text, case aside; n == 0: none. */
static struct tr_str find_choice(const char *choices, struct tr_str text)
{
    struct tr_str rest = tr_str_of(choices);

    while (rest.p != NULL) {
        struct tr_str one = tr_str_cut(rest, '|', &rest);
        if (tr_str_eq_nocase(one, text))
            return one;
    }
    return (struct tr_str){ NULL, 0 };
}

static enum tr_rc check_choice(const struct tr_option *o, const char *text, struct tr_conf_value *v,
                               struct tr_err *err)
{
    struct tr_str like = find_choice(o->choices, tr_str_of(text));

    if (like.n != 0 && tr_str_is(like, text))
        return set_text(v, text, err);
    if (like.n != 0)
        return tr_fail(err, TR_INVALID, "option.choice", NULL,
                       "%s must be spelt \"%.*s\": case matters", o->name, TR_STR_ARGS(like));
    struct tr_str shown = { "", 0 };
    if (tr_utf8_valid(tr_str_of(text)))
        shown = tr_utf8_head(tr_str_of(text), SHOWN_CHARS);
    return tr_fail(err, TR_INVALID, "option.choice", NULL, "%s must be one of %s, not \"%.*s\"",
                   o->name, o->choices, TR_STR_ARGS(shown));
}

static enum tr_rc check_string(const struct tr_option *o, const char *text, struct tr_conf_value *v,
                               struct tr_err *err)
{
    switch (o->type) {
    case TR_OPT_TEXT:
        return check_text(o, text, v, err);
    case TR_OPT_INT:
        return check_int_text(o, text, v, err);
    case TR_OPT_BOOL:
        return check_bool_text(o, text, v, err);
    case TR_OPT_CHOICE:
        return check_choice(o, text, v, err);
    }
    return tr_fail(err, TR_INTERNAL, "option.table", NULL, "%s has no type", o->name);
}

static enum tr_rc wrong_type(const struct tr_option *o, struct tr_err *err)
{
    switch (o->type) {
    case TR_OPT_TEXT:
        return tr_fail(err, TR_INVALID, "option.type", "put the value in quotes",
                       "%s must be a text", o->name);
    case TR_OPT_INT:
        return tr_fail(err, TR_INVALID, "option.type", NULL, "%s must be a whole number", o->name);
    case TR_OPT_BOOL:
        return tr_fail(err, TR_INVALID, "option.type", NULL, "%s must be true or false", o->name);
    case TR_OPT_CHOICE:
        return tr_fail(err, TR_INVALID, "option.type", NULL, "%s must be one of %s", o->name,
                       o->choices);
    }
    return tr_fail(err, TR_INTERNAL, "option.table", NULL, "%s has no type", o->name);
}

static enum tr_rc check_value(const struct tr_option *o, const json_t *given,
                              struct tr_conf_value *v, struct tr_err *err)
{
    if (json_is_string(given)) {
        const char *text = json_string_value(given);
        if (strlen(text) != json_string_length(given))
            return tr_fail(err, TR_INVALID, "option.type", NULL, "%s holds a NUL character",
                           o->name);
        return check_string(o, text, v, err);
    }
    if (json_is_integer(given) && o->type == TR_OPT_INT)
        return check_int(o, json_integer_value(given), v, err);
    if (json_is_boolean(given) && o->type == TR_OPT_BOOL)
        return check_bool_text(o, json_is_true(given) ? "true" : "false", v, err);
    return wrong_type(o, err);
}

/* ---- names ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to add, take away or change (Levenshtein), case aside. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1];
    size_t na = strlen(a);
    size_t nb = strlen(b);

    if (na > NAME_MAX_BYTES || nb > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            bool same =
                tr_str_eq_nocase((struct tr_str){ a + i - 1, 1 }, (struct tr_str){ b + j - 1, 1 });
            size_t changed = diagonal + !same;
            diagonal = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[nb];
}

static const char *nearest(const struct tr_option *options, const char *name)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 3 + 2; /* farther is another word */

    for (const struct tr_option *o = options; o->name != NULL; o++) {
        size_t d = distance(name, o->name);
        if (d < best_distance) {
            best_distance = d;
            best = o->name;
        }
    }
    return best;
}

static enum tr_rc unknown_name(const struct tr_option *options, const char *name,
                               struct tr_err *err)
{
    struct tr_str shown = tr_utf8_head(tr_str_of(name), SHOWN_CHARS);
    const char *like = nearest(options, name);

    if (like != NULL)
        return tr_fail(err, TR_INVALID, "option.unknown", NULL,
                       "there is no option \"%.*s\"; did you mean %s?", TR_STR_ARGS(shown), like);

    char known[160];
    size_t n = 0;
    known[0] = '\0';
    for (const struct tr_option *o = options; o->name != NULL && n < sizeof(known); o++) {
        int more = snprintf(known + n, sizeof(known) - n, "%s%s", n == 0 ? "" : ", ", o->name);
        n += (size_t)more;
    }
    return tr_fail(err, TR_INVALID, "option.unknown", NULL,
                   "there is no option \"%.*s\"; there are %s", TR_STR_ARGS(shown), known);
}

static enum tr_rc check_names(const struct tr_option *options, const json_t *object,
                              struct tr_err *err)
{
    const char *name;
    json_t *value;

    /* jansson's iterator takes no const object; nothing is changed. */
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (options[find(options, name)].name == NULL)
            return unknown_name(options, name, err);
    }
    return TR_OK;
}

/* ---- the whole ---- */

static enum tr_rc parse_values(const struct tr_option *options, const json_t *object,
                               struct tr_conf *c, struct tr_err *err)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        const struct tr_option *o = &options[i];
        const json_t *given = json_object_get(object, o->name);
        enum tr_rc rc = TR_OK;

        if (given != NULL && !json_is_null(given))
            rc = check_value(o, given, &c->values[i], err);
        else if (o->fallback != NULL)
            rc = check_string(o, o->fallback, &c->values[i], err);
        else if (o->required)
            rc = tr_fail(err, TR_INVALID, "option.missing", NULL, "%s is missing: %s", o->name,
                         o->doc);
        if (rc != TR_OK)
            return rc;
    }
    return TR_OK;
}

enum tr_rc tr_conf_parse(const struct tr_option *options, const json_t *object,
                         struct tr_conf **ret, struct tr_err *err)
{
    if (!json_is_object(object))
        return tr_fail(err, TR_INVALID, "option.type", NULL, "the options must be an object");
    enum tr_rc rc = check_names(options, object, err);
    if (rc != TR_OK)
        return rc;

    struct tr_conf *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return tr_fail_oom(err);
    c->options = options;
    c->values = calloc(count(options) + 1, sizeof(*c->values));
    rc = c->values == NULL ? tr_fail_oom(err) : parse_values(options, object, c, err);
    if (rc != TR_OK) {
        tr_conf_free(c);
        return rc;
    }
    *ret = c;
    return TR_OK;
}

void tr_conf_free(struct tr_conf *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; c->values != NULL && c->options[i].name != NULL; i++) {
        struct tr_conf_value *v = &c->values[i];
        if (c->options[i].secret && v->text != NULL)
            explicit_bzero(v->text, strlen(v->text));
        if (c->options[i].secret)
            explicit_bzero(&v->number, sizeof(v->number));
        free(v->text);
    }
    free(c->values);
    free(c);
}

static const struct tr_conf_value *value_of(const struct tr_conf *c, const char *name)
{
    size_t i = find(c->options, name);

    assert(c->options[i].name != NULL);
    return &c->values[i];
}

const char *tr_conf_text(const struct tr_conf *c, const char *name)
{
    return value_of(c, name)->text;
}

int64_t tr_conf_int(const struct tr_conf *c, const char *name)
{
    return value_of(c, name)->number;
}

bool tr_conf_bool(const struct tr_conf *c, const char *name)
{
    return value_of(c, name)->number != 0;
}

/* ---- schema ---- */

static json_t *choices_json(const char *choices)
{
    json_t *list = json_array();
    struct tr_str rest = tr_str_of(choices);

    while (rest.p != NULL) {
        struct tr_str one = tr_str_cut(rest, '|', &rest);
        (void)json_array_append_new(list, json_stringn(one.p, one.n));
    }
    return list;
}

static void put(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

static json_t *default_json(const struct tr_option *o)
{
    if (o->type == TR_OPT_INT)
        return json_integer(strtoll(o->fallback, NULL, 10));
    if (o->type == TR_OPT_BOOL)
        return json_boolean(strcmp(o->fallback, "true") == 0);
    return json_string(o->fallback);
}

static json_t *option_json(const struct tr_option *o)
{
    static const char *const types[] = {
        [TR_OPT_TEXT] = "string",
        [TR_OPT_INT] = "integer",
        [TR_OPT_BOOL] = "boolean",
        [TR_OPT_CHOICE] = "string",
    };
    json_t *j = json_object();

    put(j, "type", json_string(types[o->type]));
    put(j, "description", json_string(o->doc));
    if (o->fallback != NULL)
        put(j, "default", default_json(o));
    if (o->type == TR_OPT_TEXT) {
        put(j, "minLength", json_integer(o->min));
        put(j, "maxLength", json_integer(o->max == 0 ? TEXT_MAX : o->max));
    }
    if (o->type == TR_OPT_INT && (o->min != 0 || o->max != 0)) {
        put(j, "minimum", json_integer(o->min));
        put(j, "maximum", json_integer(o->max));
    }
    if (o->type == TR_OPT_CHOICE)
        put(j, "enum", choices_json(o->choices));
    if (o->secret) {
        put(j, "format", json_string("password"));
        put(j, "writeOnly", json_true());
    }
    if (o->fixed)
        put(j, "x-fixed", json_true());
    return j;
}

json_t *tr_option_schema(const struct tr_option *options)
{
    json_t *schema = json_object();
    json_t *properties = json_object();
    json_t *required = json_array();

    for (const struct tr_option *o = options; o->name != NULL; o++) {
        put(properties, o->name, option_json(o));
        if (o->required)
            (void)json_array_append_new(required, json_string(o->name));
    }
    put(schema, "type", json_string("object"));
    put(schema, "properties", properties);
    put(schema, "required", required);
    put(schema, "additionalProperties", json_false());
    return schema;
}
