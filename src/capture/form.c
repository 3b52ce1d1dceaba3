#include "capture/capture_priv.h"

struct tr_str tr_form_get(struct tr_str form, const char *key)
{
    struct tr_str rest = form;

    while (rest.p != NULL && rest.n > 0) {
        struct tr_str value;
        struct tr_str pair = tr_str_cut(rest, '&', &rest);
        struct tr_str name = tr_str_cut(pair, '=', &value);
        if (tr_str_is(name, key))
            return value.p == NULL ? (struct tr_str){ "", 0 } : value;
    }
    return (struct tr_str){ NULL, 0 };
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum tr_rc tr_form_decode(struct tr_capture_scratch *s, struct tr_str value, struct tr_buf *tmp,
                          struct tr_str *ret, struct tr_err *err)
{
    if (value.n == 0 ||
        (memchr(value.p, '%', value.n) == NULL && memchr(value.p, '+', value.n) == NULL)) {
        *ret = value;
        return TR_OK;
    }
    tr_buf_clear(tmp);
    if (tr_scratch_reserve(s, tmp, value.n, err) != TR_OK)
        return err->rc;

    char *out = tmp->p;
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '+')
            c = ' ';
        else if (c == '%' && value.n - i > 2 && hex_value(value.p[i + 1]) >= 0 &&
                 hex_value(value.p[i + 2]) >= 0) {
            c = (char)(hex_value(value.p[i + 1]) << 4 | hex_value(value.p[i + 2]));
            i += 2;
        }
        *out++ = c;
    }
    tmp->n = (size_t)(out - tmp->p);
    *ret = tr_buf_view(tmp);
    return TR_OK;
}
