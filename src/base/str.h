/* Views: a pointer and a length into bytes that somebody else owns. Not NUL-terminated. */
#ifndef TR_BASE_STR_H
#define TR_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct tr_str {
    const char *p;
    size_t n;
};

/* TR_STR("literal") */
#define TR_STR(lit) ((struct tr_str){ (lit), sizeof(lit) - 1 })
/* printf("%.*s", TR_STR_ARGS(s)) */
#define TR_STR_ARGS(s) (int)(s).n, (s).p

static inline struct tr_str tr_str_of(const char *z)
{
    return (struct tr_str){ z, z == NULL ? 0 : strlen(z) };
}

static inline bool tr_str_eq(struct tr_str a, struct tr_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool tr_str_is(struct tr_str a, const char *z)
{
    return tr_str_eq(a, tr_str_of(z));
}

static inline bool tr_str_starts(struct tr_str a, struct tr_str prefix)
{
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

/* ASCII only, whatever the locale. */
bool tr_str_eq_nocase(struct tr_str a, struct tr_str b);

/* Without leading and trailing ASCII white space. */
struct tr_str tr_str_trim(struct tr_str s);

/* The part before the first sep; *rest becomes what follows it (p == NULL when there was none). */
struct tr_str tr_str_cut(struct tr_str s, char sep, struct tr_str *rest);

#endif
