/* A JSON scanner that keeps bytes: it validates and finds, and never re-prints a value.
 *
 * A value is known by the view of its raw bytes. Numbers stay text (54.10 stays 54.10), strings
 * stay escaped until somebody asks. What a destination may not be able to take is noticed in the
 * same pass and told in flags, so that nobody has to look twice.
 *
 * Grammar: RFC 8259, plus the bare words NaN, Infinity and -Infinity that real SDKs send
 * (TR_JSON_BARE); who stores such a value writes null in their place. Strings must be valid UTF-8
 * with no raw control characters below 0x20.
 * Pure; one scanner belongs to one thread; no allocation except where said.
 */
#ifndef TR_BASE_JSON_H
#define TR_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum tr_json_type {
    TR_JSON_NULL,
    TR_JSON_FALSE,
    TR_JSON_TRUE,
    TR_JSON_NUMBER,
    TR_JSON_STRING,
    TR_JSON_ARRAY,
    TR_JSON_OBJECT,
    TR_JSON_NONFINITE, /* bare NaN, Infinity, -Infinity */
};

/* Flags of a value, those of everything inside it included. */
enum {
    TR_JSON_ESCAPES = 1 << 0,   /* some string holds a backslash */
    TR_JSON_NUL = 1 << 1,       /* some string holds \u0000 */
    TR_JSON_SURROGATE = 1 << 2, /* some string holds an unpaired surrogate escape */
    TR_JSON_BARE = 1 << 3,      /* NaN or Infinity occurs */
    TR_JSON_WIDE_EXP =
        1 << 4,               /* a number whose first or last digit stands for a power of ten beyond
                                 +-300, or with over 300 digits: maybe beyond float64 or a
                                 destination's numeric */
    TR_JSON_DEEP = 1 << 5,    /* nesting over TR_JSON_DEEP_AT */
    TR_JSON_BIG_INT = 1 << 6, /* an integer outside int64 */
    TR_JSON_NON_ASCII = 1 << 7,
};

enum { TR_JSON_DEEP_AT = 100 };
enum { TR_JSON_MAX_DEPTH = 512 }; /* deeper input is refused: TR_INVALID "json.too_deep" */

struct tr_json_value {
    enum tr_json_type type;
    uint32_t flags;
    uint32_t depth;    /* levels of nesting: 0 a scalar, 1 a flat object */
    struct tr_str raw; /* the bytes from the first to the last of the value, quotes included */
};

struct tr_json {
    const char *start, *p, *end;
    uint32_t depth;     /* objects and arrays that were opened and not passed yet */
    uint32_t max_depth; /* allowed in all, the opened ones included; may be lowered after init */
};

static inline void tr_json_init(struct tr_json *j, struct tr_str text)
{
    const char *p = text.p == NULL ? "" : text.p;
    *j = (struct tr_json){ p, p, p + text.n, 0, TR_JSON_MAX_DEPTH };
}

/* Scans one whole value and stands behind it. TR_INVALID ("json.invalid", "json.utf8",
 * "json.too_deep", "json.cut" where the text ends too soon) names the byte offset. */
TR_MUST_USE enum tr_rc tr_json_next(struct tr_json *j, struct tr_json_value *ret,
                                    struct tr_err *err);

/* Only white space is left. */
TR_MUST_USE enum tr_rc tr_json_end(struct tr_json *j, struct tr_err *err);

/* Walks an object or array whose raw bytes are not validated yet, member by member:
 *
 *     tr_json_open_object(&j, err);
 *     while ((rc = tr_json_member(&j, &key, &value, &more, err)) == TR_OK && more) ...
 *
 * Members come in order, duplicates included (the last one wins, as in PostHog: the caller's part).
 * ret_more is false when the closing bracket was passed. The first call after open must follow at
 * once. */
TR_MUST_USE enum tr_rc tr_json_open_object(struct tr_json *j, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_json_open_array(struct tr_json *j, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_json_member(struct tr_json *j, struct tr_json_value *ret_key,
                                      struct tr_json_value *ret_value, bool *ret_more,
                                      struct tr_err *err);
TR_MUST_USE enum tr_rc tr_json_element(struct tr_json *j, struct tr_json_value *ret_value,
                                       bool *ret_more, struct tr_err *err);

/* Like tr_json_member, but stands at the value instead of scanning it: the caller goes on with
 * tr_json_next or an open. For envelopes, whose events should be scanned once. */
TR_MUST_USE enum tr_rc tr_json_member_key(struct tr_json *j, struct tr_json_value *ret_key,
                                          bool *ret_more, struct tr_err *err);
/* The same for arrays: stands at the next element, or behind the bracket with ret_more = false. */
TR_MUST_USE enum tr_rc tr_json_element_at(struct tr_json *j, bool *ret_more, struct tr_err *err);

/* The type of what comes next, by its first byte, without moving; TR_INVALID at the end of input.
 */
TR_MUST_USE enum tr_rc tr_json_peek(struct tr_json *j, enum tr_json_type *ret, struct tr_err *err);

/* The text of a string value, unescaped. Without escapes it is a view into raw and nothing is
 * allocated; else it is written to tmp (cleared first). An unpaired surrogate becomes U+FFFD.
 * p == NULL when tmp is too small. */
struct tr_str tr_json_text(const struct tr_json_value *string, struct tr_buf *tmp);

/* The same into out, which has room for the raw bytes; returns how many were written. */
size_t tr_json_text_copy(const struct tr_json_value *string, char *out);

/* The same of the longest prefix that takes at most max bytes; no character is cut in two. */
size_t tr_json_text_head(const struct tr_json_value *string, char *out, size_t max);

/* A string value equals text, escapes resolved ("\u0024browser" equals "$browser"). No allocation.
 */
bool tr_json_text_is(const struct tr_json_value *string, struct tr_str text);

/* The last member of that name in a valid object. False when there is none or raw is no object. */
TR_MUST_USE bool tr_json_find(struct tr_str object, struct tr_str name, struct tr_json_value *ret);

/* A number as the nearest double (beyond float64: infinity or zero with its sign), or as int64
 * (false when it has a fraction or exponent, or does not fit). False for other types. */
TR_MUST_USE bool tr_json_double(const struct tr_json_value *number, double *ret);
TR_MUST_USE bool tr_json_int64(const struct tr_json_value *number, int64_t *ret);

/* Appends a value whose flags hold TR_JSON_BARE, bare words replaced by null. */
void tr_json_add_finite(struct tr_buf *out, struct tr_str raw);

#endif
