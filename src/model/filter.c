#include "model/filter.h"

#include <stdlib.h>

#include "model/filter_priv.h"

int filter_compare_names(const void *a, const void *b)
{
    const struct tr_str *x = a;
    const struct tr_str *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n == 0 ? 0 : memcmp(x->p, y->p, n);

    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

void tr_filter_free(struct tr_filter *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; k < f->conditions[i].n; k++)
            pcre2_code_free(f->conditions[i].values[k].code);
    tr_arena_fini(&f->arena);
    free(f);
}

bool tr_filter_is_all(const struct tr_filter *f)
{
    return f->include.n == 0 && f->exclude.n == 0 && f->n == 0;
}

tr_column_mask tr_filter_columns(const struct tr_filter *f)
{
    tr_column_mask mask = 0;

    if (f->include.n != 0 || f->exclude.n != 0)
        mask |= (tr_column_mask)1 << TR_EVENT_EVENT;
    if (f->n != 0)
        mask |= (tr_column_mask)1 << TR_EVENT_PROPERTIES;
    return mask;
}

static bool has_name(const struct filter_names *names, struct tr_str name)
{
    return bsearch(&name, names->v, names->n, sizeof(*names->v), filter_compare_names) != NULL;
}

static bool takes_name(const struct tr_filter *f, struct tr_str name)
{
    if (f->include.n != 0 && !has_name(&f->include, name))
        return false;
    return f->exclude.n == 0 || !has_name(&f->exclude, name);
}

/* One pass over the properties for all keys; of duplicates the last one stays. */
static void find_values(const struct tr_filter *f, struct tr_str properties,
                        struct tr_json_value *values, bool *found)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more;

    memset(found, 0, f->n_keys * sizeof(*found));
    tr_json_init(&j, properties);
    if (properties.p == NULL || tr_json_open_object(&j, NULL) != TR_OK)
        return;
    while (tr_json_member(&j, &key, &value, &more, NULL) == TR_OK && more) {
        for (size_t k = 0; k < f->n_keys; k++) {
            if (!tr_json_text_is(&key, f->keys[k]))
                continue;
            values[k] = value;
            found[k] = true;
            break; /* keys are there once */
        }
    }
}

static bool takes_properties(const struct tr_filter *f, struct tr_str properties,
                             struct filter_scratch *s)
{
    struct tr_json_value values[FILTER_CONDITIONS];
    bool found[FILTER_CONDITIONS];

    find_values(f, properties, values, found);
    for (size_t i = 0; i < f->n; i++) {
        const struct filter_condition *c = &f->conditions[i];
        if (!filter_match(c, found[c->key] ? &values[c->key] : NULL, s))
            return false;
    }
    return true;
}

enum tr_rc tr_filter_rows(const struct tr_filter *f, const struct tr_batch *b, bool *keep,
                          uint64_t *ret_limited, struct tr_err *err)
{
    const struct tr_str *names = b->col[TR_EVENT_EVENT].str;
    const struct tr_str *properties = b->col[TR_EVENT_PROPERTIES].str;
    bool by_name = f->include.n != 0 || f->exclude.n != 0;
    struct filter_scratch s;

    if ((by_name && names == NULL) || (f->n != 0 && properties == NULL))
        return tr_fail(err, TR_INTERNAL, "filter.no_column", NULL,
                       "the columns that the filter looks at were not read");
    bool ok = filter_scratch_init(&s, f);
    for (size_t i = 0; ok && i < b->rows; i++) {
        keep[i] = !by_name || takes_name(f, names[i]);
        if (keep[i] && f->n != 0)
            keep[i] = takes_properties(f, properties[i], &s);
        ok = !s.failed;
    }
    if (ok)
        *ret_limited = s.limited;
    filter_scratch_fini(&s);
    return ok ? TR_OK : tr_fail_oom(err);
}
