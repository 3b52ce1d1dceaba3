#include <assert.h>

#include "base/json_priv.h"

static enum tr_rc open_container(struct tr_json *j, char bracket, const char *what,
                                 struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = tr_json_skip_blank(j->p, j->end);

    if (p == j->end)
        (void)tr_json_cut(&f, p);
    else if (*p != bracket)
        (void)tr_json_wrong(&f, p, what);
    else if (j->depth >= j->max_depth)
        (void)tr_json_fault_at(&f, p, "json.too_deep", "too many levels of nesting");
    else {
        j->p = p + 1;
        j->depth++;
        return TR_OK;
    }
    return tr_json_fail(j, &f, err);
}

enum tr_rc tr_json_open_object(struct tr_json *j, struct tr_err *err)
{
    return open_container(j, '{', "an object is expected", err);
}

enum tr_rc tr_json_open_array(struct tr_json *j, struct tr_err *err)
{
    return open_container(j, '[', "an array is expected", err);
}

/* To where the next member or element starts, or behind the closing bracket. No value ends with an
 * opening bracket, so the byte before tells whether this is the first call. */
static inline const char *next_inside(struct tr_json *j, char open, char close, bool *ret_more,
                                      struct tr_json_fault *f)
{
    assert(j->p > j->start);
    bool first = j->p[-1] == open;
    const char *p = tr_json_skip_blank(j->p, j->end);

    if (p == j->end)
        return tr_json_cut(f, p);
    *ret_more = *p != close;
    if (*p == close) {
        j->depth--;
        return p + 1;
    }
    if (first)
        return p;
    if (*p != ',')
        return tr_json_wrong(f, p,
                             close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
    p = tr_json_skip_blank(p + 1, j->end);
    return p == j->end ? tr_json_cut(f, p) : p;
}

static inline const char *member_key(struct tr_json *j, struct tr_json_value *ret, bool *ret_more,
                                     struct tr_json_fault *f)
{
    const char *p = next_inside(j, '{', '}', ret_more, f);

    if (p == NULL || !*ret_more)
        return p;
    p = tr_json_key_at(p, j->end, ret, f);
    return p == j->end ? tr_json_cut(f, p) : p;
}

enum tr_rc tr_json_member_key(struct tr_json *j, struct tr_json_value *ret_key, bool *ret_more,
                              struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = member_key(j, ret_key, ret_more, &f);

    if (p == NULL)
        return tr_json_fail(j, &f, err);
    j->p = p;
    return TR_OK;
}

enum tr_rc tr_json_member(struct tr_json *j, struct tr_json_value *ret_key,
                          struct tr_json_value *ret_value, bool *ret_more, struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = member_key(j, ret_key, ret_more, &f);

    if (p != NULL && *ret_more)
        p = tr_json_value_at(j, p, ret_value, &f);
    if (p == NULL)
        return tr_json_fail(j, &f, err);
    j->p = p;
    return TR_OK;
}

enum tr_rc tr_json_element_at(struct tr_json *j, bool *ret_more, struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = next_inside(j, '[', ']', ret_more, &f);

    if (p == NULL)
        return tr_json_fail(j, &f, err);
    j->p = p;
    return TR_OK;
}

enum tr_rc tr_json_element(struct tr_json *j, struct tr_json_value *ret_value, bool *ret_more,
                           struct tr_err *err)
{
    struct tr_json_fault f;
    const char *p = next_inside(j, '[', ']', ret_more, &f);

    if (p != NULL && *ret_more)
        p = tr_json_value_at(j, p, ret_value, &f);
    if (p == NULL)
        return tr_json_fail(j, &f, err);
    j->p = p;
    return TR_OK;
}
