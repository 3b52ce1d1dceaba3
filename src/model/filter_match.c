/* One condition on one value. docs/filters.md is the table. */
#include "model/filter_priv.h"

/* How a value reads. Lists are taken apart before; a list or an object inside a list is its JSON.
 */
struct form {
    struct tr_str text;
    bool is_number; /* a JSON number */
};

static bool run_pattern(const pcre2_code *code, struct tr_str text, struct filter_scratch *s)
{
    PCRE2_SPTR p = (PCRE2_SPTR)(text.n == 0 ? "" : text.p);
    /* The scanner has checked the UTF-8. */
    int found = pcre2_match(code, p, text.n, 0, PCRE2_NO_UTF_CHECK, s->match, s->limits);

    if (found >= 0)
        return true;
    if (found != PCRE2_ERROR_NOMATCH)
        s->limited++;
    return false;
}

/* Two texts are equal as texts, unless one of them is a number and the other reads as one. */
static bool equals(const struct form *f, const struct filter_operand *o)
{
    if (tr_str_eq(f->text, o->text))
        return true;
    if (!o->numeric || (!f->is_number && !o->is_number))
        return false;
    return (f->is_number || filter_is_number(f->text)) &&
           filter_compare_numbers(f->text, o->text) == 0;
}

static int compare_texts(struct tr_str a, struct tr_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Numbers with numbers, texts with texts; one of each has no order. */
static bool in_order(const struct filter_condition *c, const struct form *f, bool is_string)
{
    const struct filter_operand *o = &c->values[0];
    int order;

    if (o->numeric) {
        if (!f->is_number && !(is_string && filter_is_number(f->text)))
            return false;
        order = filter_compare_numbers(f->text, o->text);
    } else {
        if (!is_string)
            return false;
        order = compare_texts(f->text, o->text);
    }
    if (c->op == FILTER_GT || c->op == FILTER_GTE)
        return c->op == FILTER_GT ? order > 0 : order >= 0;
    return c->op == FILTER_LT ? order < 0 : order <= 0;
}

static bool on_date(const struct filter_condition *c, const struct tr_json_value *v,
                    const struct form *f)
{
    int64_t t;
    double number;

    if (v->type == TR_JSON_STRING) {
        if (!filter_parse_time(f->text, &t))
            return false;
    } else if (!tr_json_double(v, &number) || !filter_unix_time(number, &t)) {
        return false;
    }
    return c->op == FILTER_DATE_BEFORE ? t < c->instant : t > c->instant;
}

static bool match_one(const struct filter_condition *c, const struct tr_json_value *v,
                      struct filter_scratch *s)
{
    struct form f = { .text = v->raw, .is_number = v->type == TR_JSON_NUMBER };

    if (v->type == TR_JSON_NULL)
        return false;
    if (v->type == TR_JSON_STRING) {
        f.text = tr_json_text(v, &s->text);
        if (f.text.p == NULL) {
            s->failed = true;
            return false;
        }
    }
    switch (c->op) {
    case FILTER_EXACT:
        for (size_t i = 0; i < c->n; i++)
            if (equals(&f, &c->values[i]))
                return true;
        return false;
    case FILTER_ICONTAINS:
    case FILTER_REGEX:
        for (size_t i = 0; i < c->n; i++)
            if (run_pattern(c->values[i].code, f.text, s))
                return true;
        return false;
    case FILTER_GT:
    case FILTER_GTE:
    case FILTER_LT:
    case FILTER_LTE:
        return in_order(c, &f, v->type == TR_JSON_STRING);
    case FILTER_DATE_BEFORE:
    case FILTER_DATE_AFTER:
        return on_date(c, v, &f);
    case FILTER_IS_SET:
        return true;
    }
    return false;
}

static bool match_any_element(const struct filter_condition *c, const struct tr_json_value *list,
                              struct filter_scratch *s)
{
    struct tr_json j;
    struct tr_json_value element;
    bool more;

    tr_json_init(&j, list->raw);
    if (tr_json_open_array(&j, NULL) != TR_OK)
        return false;
    while (tr_json_element(&j, &element, &more, NULL) == TR_OK && more)
        if (match_one(c, &element, s))
            return true;
    return false;
}

bool filter_match(const struct filter_condition *c, const struct tr_json_value *v,
                  struct filter_scratch *s)
{
    bool yes;

    if (v == NULL || v->type == TR_JSON_NULL || v->type == TR_JSON_NONFINITE)
        yes = false;
    else if (v->type == TR_JSON_ARRAY && c->op != FILTER_IS_SET)
        yes = match_any_element(c, v, s);
    else
        yes = match_one(c, v, s);
    return yes != c->negated;
}

bool filter_scratch_init(struct filter_scratch *s, const struct tr_filter *f)
{
    enum { TEXT_MAX = 256 << 20, STACK_FROM = 32 << 10, STACK_TO = 1 << 20 };

    *s = (struct filter_scratch){ 0 };
    tr_buf_init(&s->text, TEXT_MAX);
    if (!f->has_patterns)
        return true;
    s->match = pcre2_match_data_create(1, NULL);
    s->limits = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(STACK_FROM, STACK_TO, NULL);
    if (s->match == NULL || s->limits == NULL || s->stack == NULL)
        return false;
    (void)pcre2_set_match_limit(s->limits, FILTER_MATCH_LIMIT);
    (void)pcre2_set_depth_limit(s->limits, FILTER_DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(s->limits, FILTER_HEAP_KIB);
    pcre2_jit_stack_assign(s->limits, NULL, s->stack);
    return true;
}

void filter_scratch_fini(struct filter_scratch *s)
{
    tr_buf_fini(&s->text);
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->limits);
    pcre2_jit_stack_free(s->stack);
}
