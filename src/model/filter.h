/* Which events an export takes: names to include and exclude, and property filters (ANDed).
 *
 * A property filter is {"key", "operator", "value", "type": "event"}; key is looked up at the top
 * level of properties with escapes resolved, the last duplicate wins. Operators: exact, is_not,
 * icontains, not_icontains, regex, not_regex, gt, gte, lt, lte, is_set, is_not_set, is_date_before,
 * is_date_after. docs/filters.md is the table of every operator over every type;
 * test/unit/model/test_filter.c and a slow reference in test/ hold this to it.
 */
#ifndef TR_MODEL_FILTER_H
#define TR_MODEL_FILTER_H

#include <jansson.h>

#include "model/batch.h"

struct tr_filter; /* immutable: may be used from several threads, each with its own match state */

/* include / exclude: JSON arrays of strings or NULL; properties: the API's "filters" or NULL.
 * Relative dates ("-7d", "-24h", "-1m" month, "-1y", "-2w") resolve to reference (the interval's
 * end). TR_INVALID names the filter by its index and what is wrong. */
TR_MUST_USE enum tr_rc tr_filter_compile(const json_t *include, const json_t *exclude,
                                         const json_t *properties, int64_t reference,
                                         struct tr_filter **ret, struct tr_err *err);
void tr_filter_free(struct tr_filter *f);

/* Takes everything: the caller may skip tr_filter_rows. */
bool tr_filter_is_all(const struct tr_filter *f);

/* The columns it looks at. */
tr_column_mask tr_filter_columns(const struct tr_filter *f);

/* keep[i] for every row of a batch of the events model. TR_INTERNAL when memory runs out; a regular
 * expression that reaches its match limit does not match and is counted in *ret_limited. */
TR_MUST_USE enum tr_rc tr_filter_rows(const struct tr_filter *f, const struct tr_batch *b,
                                      bool *keep, uint64_t *ret_limited, struct tr_err *err);

#endif
