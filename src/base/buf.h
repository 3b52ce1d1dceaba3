/* A growable buffer with a limit fixed at birth and a sticky failure: append as often as you like,
 * ask buf->failed once. A failed buffer keeps what it had and ignores further appends.
 */
#ifndef TR_BASE_BUF_H
#define TR_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

struct tr_buf {
    char *p;
    size_t n;    /* bytes used */
    size_t cap;  /* bytes allocated */
    size_t max;  /* bytes allowed */
    bool failed; /* the limit was reached or memory ran out */
};

static inline void tr_buf_init(struct tr_buf *b, size_t max)
{
    *b = (struct tr_buf){ .max = max };
}

/* Frees the memory; the buffer may be used again with its old limit. */
void tr_buf_fini(struct tr_buf *b);

/* Empty and not failed, memory kept. */
static inline void tr_buf_clear(struct tr_buf *b)
{
    b->n = 0;
    b->failed = false;
}

/* Room for n more bytes at the returned place (NULL: failed); the caller fills them and calls
 * tr_buf_used. */
char *tr_buf_reserve(struct tr_buf *b, size_t n);

static inline void tr_buf_used(struct tr_buf *b, size_t n)
{
    b->n += n;
}

void tr_buf_add(struct tr_buf *b, const void *p, size_t n);
void tr_buf_printf(struct tr_buf *b, const char *fmt, ...) TR_FORMAT(2, 3);

static inline void tr_buf_str(struct tr_buf *b, struct tr_str s)
{
    tr_buf_add(b, s.p, s.n);
}

static inline void tr_buf_z(struct tr_buf *b, const char *z)
{
    tr_buf_add(b, z, strlen(z));
}

static inline void tr_buf_ch(struct tr_buf *b, char c)
{
    tr_buf_add(b, &c, 1);
}

/* s as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void tr_buf_json_str(struct tr_buf *b, struct tr_str s);

static inline struct tr_str tr_buf_view(const struct tr_buf *b)
{
    return (struct tr_str){ b->p, b->n };
}

#endif
