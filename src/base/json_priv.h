/* What the scanner (json.c) and the walker (json_walk.c) share. */
#ifndef TR_BASE_JSON_PRIV_H
#define TR_BASE_JSON_PRIV_H

#include "base/json.h"

/* What is wrong and where. Functions take the place p they stand at and return the place behind
 * what they read, or NULL with the fault filled. */
struct tr_json_fault {
    const char *id;
    const char *at;
    const char *what;
};

const char *tr_json_fault_at(struct tr_json_fault *f, const char *at, const char *id,
                             const char *what) __attribute__((cold));

static inline const char *tr_json_wrong(struct tr_json_fault *f, const char *at, const char *what)
{
    return tr_json_fault_at(f, at, "json.invalid", what);
}

static inline const char *tr_json_cut(struct tr_json_fault *f, const char *at)
{
    return tr_json_fault_at(f, at, "json.cut", "the text ends too soon");
}

/* The fault as an error. */
enum tr_rc tr_json_fail(const struct tr_json *j, const struct tr_json_fault *f, struct tr_err *err);

static inline const char *tr_json_skip_blank(const char *p, const char *end)
{
    if (p < end && (unsigned char)*p > ' ') /* nearly always */
        return p;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

/* A key and its colon, with blanks around them; p may be at the end. */
const char *tr_json_key_at(const char *p, const char *end, struct tr_json_value *ret,
                           struct tr_json_fault *f);

/* One whole value; p is at its first byte, not at the end. */
const char *tr_json_value_at(const struct tr_json *j, const char *p, struct tr_json_value *ret,
                             struct tr_json_fault *f);

#endif
