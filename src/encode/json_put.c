#include "encode/json_put.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

void tr_json_put_int(struct tr_buf *out, int64_t v)
{
    char digits[20];
    char *p = digits + sizeof(digits);
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    if (v < 0)
        *--p = '-';
    tr_buf_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

void tr_json_put_time(struct tr_buf *out, int64_t t)
{
    char text[TR_TIME_TEXT + 2] = "\"";
    size_t n = tr_time_format(t, text + 1);

    text[n + 1] = '"';
    tr_buf_add(out, text, n + 2);
}

void tr_json_put_float(struct tr_buf *out, double v)
{
    char text[32];
    int digits = fabs(v) < 1e-300 ? 1 : 15; /* near its end float64 has fewer of them */

    do {
        (void)snprintf(text, sizeof(text), "%.*g", digits, v);
    } while (strtod(text, NULL) != v && ++digits <= 17);
    tr_buf_z(out, text);
}

void tr_json_put_uuid(struct tr_buf *out, const struct tr_uuid *u)
{
    char text[TR_UUID_TEXT + 2] = "\"";

    tr_uuid_format(u, text + 1);
    text[TR_UUID_TEXT] = '"';
    tr_buf_add(out, text, TR_UUID_TEXT + 1);
}
