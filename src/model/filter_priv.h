/* Shared by filter*.c only. */
#ifndef TR_MODEL_FILTER_PRIV_H
#define TR_MODEL_FILTER_PRIV_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/arena.h"
#include "base/json.h"
#include "model/filter.h"

enum {
    FILTER_CONDITIONS = 64,
    FILTER_VALUES = 10000, /* of one condition */
    FILTER_ARENA_BYTES = 64 << 20,
    FILTER_PATTERN_BYTES = 4096,
    FILTER_MATCH_LIMIT = 1000000, /* steps of one regular expression on one value */
    FILTER_DEPTH_LIMIT = 10000,
    FILTER_HEAP_KIB = 16 * 1024,
};

/* The operators that are not the opposite of another one. */
enum filter_op {
    FILTER_EXACT,
    FILTER_ICONTAINS,
    FILTER_REGEX,
    FILTER_GT,
    FILTER_GTE,
    FILTER_LT,
    FILTER_LTE,
    FILTER_IS_SET,
    FILTER_DATE_BEFORE,
    FILTER_DATE_AFTER,
};

/* One value of a condition. */
struct filter_operand {
    struct tr_str text;
    bool is_number;   /* a JSON number in the filter */
    bool numeric;     /* the text reads as one */
    pcre2_code *code; /* ICONTAINS, REGEX */
};

struct filter_condition {
    size_t key; /* index into keys */
    enum filter_op op;
    bool negated; /* true where op is false */
    struct filter_operand *values;
    size_t n;
    int64_t instant; /* DATE_* */
};

struct filter_names {
    struct tr_str *v; /* sorted */
    size_t n;
};

struct tr_filter {
    struct tr_arena arena; /* all of the texts and arrays */
    struct filter_names include, exclude;
    struct tr_str keys[FILTER_CONDITIONS];
    size_t n_keys;
    struct filter_condition conditions[FILTER_CONDITIONS];
    size_t n;
    bool has_patterns;
};

int filter_compare_names(const void *a, const void *b);

/* ---- filter_match.c ---- */

/* What a thread needs to match; made once per batch. */
struct filter_scratch {
    struct tr_buf text; /* an unescaped string */
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    uint64_t limited;
    bool failed; /* out of memory */
};

TR_MUST_USE bool filter_scratch_init(struct filter_scratch *s, const struct tr_filter *f);
void filter_scratch_fini(struct filter_scratch *s);

/* v: NULL when the row has no such property. */
bool filter_match(const struct filter_condition *c, const struct tr_json_value *v,
                  struct filter_scratch *s);

/* ---- filter_value.c: pure ---- */

/* The text reads as JSON writes a number. */
bool filter_is_number(struct tr_str text);
/* Two such texts as the numbers they are, however long: < 0, 0, > 0. */
int filter_compare_numbers(struct tr_str a, struct tr_str b);

/* ISO 8601: a date, or a date and a time with or without seconds, fraction and zone; UTC without
 * one. */
bool filter_parse_time(struct tr_str text, int64_t *ret);
/* Unix time: seconds, or milliseconds from 100,000,000,000 up. */
bool filter_unix_time(double number, int64_t *ret);
/* "-7d": hours, days, weeks, months (m), years before reference. */
bool filter_parse_relative(struct tr_str text, int64_t reference, int64_t *ret);

#endif
