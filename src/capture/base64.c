#include "capture/capture_priv.h"

int tr_base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-' || c == ' ')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

enum tr_rc tr_base64_decode(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                            struct tr_err *err)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t digits = 0;
    size_t i = 0;

    tr_buf_clear(out);
    if (tr_scratch_reserve(s, out, in.n / 4 * 3 + 3, err) != TR_OK)
        return err->rc;
    for (; i < in.n && in.p[i] != '='; i++) {
        int value = tr_base64_value(in.p[i]);
        if (value < 0) {
            if (in.p[i] == '\n' || in.p[i] == '\r')
                continue;
            break;
        }
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        digits++;
        if (have >= 8) {
            have -= 8;
            out->p[out->n++] = (char)(bits >> have);
        }
    }
    while (i < in.n && strchr("=\r\n ", in.p[i]) != NULL && in.p[i] != '\0')
        i++;
    if (i < in.n || digits % 4 == 1)
        return tr_fail(err, TR_INVALID, "capture.bad_base64", NULL,
                       "the data is not base64 at byte %zu", i);
    return TR_OK;
}
