/* Who sent a request that was refused, and how many events were in it: the accounts count them. A
 * second look, because the first one stopped at the bad event. */
#include "capture/capture_priv.h"

static bool find_string(struct tr_str object, const char *const *names, size_t n,
                        struct tr_json_value *ret)
{
    for (size_t i = 0; i < n; i++)
        if (tr_json_find(object, tr_str_of(names[i]), ret) && ret->type == TR_JSON_STRING &&
            ret->raw.n > 2)
            return true;
    return false;
}

static bool find_token(struct tr_str object, struct tr_json_value *ret)
{
    static const char *const names[] = { "token", "api_key", "$token" };
    struct tr_json_value properties;

    if (find_string(object, names, 3, ret))
        return true;
    return tr_json_find(object, TR_STR("properties"), &properties) &&
           properties.type == TR_JSON_OBJECT && find_string(properties.raw, names, 1, ret);
}

/* Elements of a valid array; *ret_first is the first one. */
static uint32_t count_elements(struct tr_str array, struct tr_json_value *ret_first)
{
    struct tr_json_value value;
    struct tr_json j;
    struct tr_err unread;
    uint32_t n = 0;
    bool more;

    tr_json_init(&j, array);
    if (tr_json_open_array(&j, &unread) != TR_OK)
        return 0;
    while (tr_json_element(&j, &value, &more, &unread) == TR_OK && more)
        if (n++ == 0)
            *ret_first = value;
    return n;
}

void tr_refused_count(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                      struct tr_str text, tr_token_lookup *lookup, void *lookup_arg,
                      struct tr_capture_out *out)
{
    struct tr_json_value whole;
    struct tr_json_value batch;
    struct tr_json_value token;
    struct tr_json_value first = { .raw = { NULL, 0 } };
    struct tr_json j;
    struct tr_err unread;
    int32_t project;
    uint32_t n = 1;

    tr_request_json(in, text, &j);
    if (tr_json_next(&j, &whole, &unread) != TR_OK)
        return;
    if (whole.type == TR_JSON_ARRAY)
        n = count_elements(whole.raw, &first);
    else if (tr_json_find(whole.raw, TR_STR("batch"), &batch) && batch.type == TR_JSON_ARRAY)
        n = count_elements(batch.raw, &first);
    if (!find_token(whole.raw, &token) && !find_token(first.raw, &token))
        return;
    struct tr_str plain = tr_scratch_text(s, &token, &s->token);
    if (plain.p != NULL && lookup(lookup_arg, tr_str_trim(plain), &project)) {
        out->project = project;
        out->seen = n;
    }
}
