#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

void tr_buf_fini(struct tr_buf *b)
{
    free(b->p);
    tr_buf_init(b, b->max);
}

char *tr_buf_reserve(struct tr_buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->max - b->n) {
        b->failed = true;
        return NULL;
    }
    if (n > b->cap - b->n) {
        size_t want = b->n + n;
        size_t cap = b->cap < 64 ? 64 : b->cap;

        while (cap < want)
            cap += cap / 2 + 64;
        if (cap > b->max)
            cap = b->max;
        char *p = realloc(b->p, cap);
        if (p == NULL) {
            b->failed = true;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

void tr_buf_add(struct tr_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    char *at = tr_buf_reserve(b, n);
    if (at == NULL)
        return;
    memcpy(at, p, n);
    b->n += n;
}

void tr_buf_printf(struct tr_buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    char *at = tr_buf_reserve(b, (size_t)n + 1);
    if (at == NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(at, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void tr_buf_json_str(struct tr_buf *b, struct tr_str s)
{
    tr_buf_ch(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t width = c < 0x80 ? 1 : tr_utf8_width(s.p + i, s.n - i);

        if (width != 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += width;
            continue;
        }
        tr_buf_add(b, s.p + from, i - from);
        if (width == 0)
            tr_buf_z(b, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            tr_buf_add(b, c == '"' ? "\\\"" : "\\\\", 2);
        else if (c == '\n')
            tr_buf_z(b, "\\n");
        else
            tr_buf_printf(b, "\\u%04x", c);
        i++;
        from = i;
    }
    tr_buf_add(b, s.p + from, s.n - from);
    tr_buf_ch(b, '"');
}
