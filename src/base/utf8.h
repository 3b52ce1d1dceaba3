/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF. */
#ifndef TR_BASE_UTF8_H
#define TR_BASE_UTF8_H

#include "base/str.h"

/* Bytes of the character at p (1..4), or 0 when there is no whole valid one in n bytes. */
size_t tr_utf8_width(const char *p, size_t n);

/* The whole view is valid. Fast on ASCII. */
bool tr_utf8_valid(struct tr_str s);

/* The longest prefix of at most max characters; s must be valid. */
struct tr_str tr_utf8_head(struct tr_str s, size_t max_chars);

/* The longest prefix of at most max bytes that cuts no character in two; s must be valid. */
struct tr_str tr_utf8_head_bytes(struct tr_str s, size_t max_bytes);

/* Writes a code point (<= U+10FFFF, no surrogate) and returns its bytes, 1..4. */
size_t tr_utf8_put(char *out, unsigned code_point);

#endif
