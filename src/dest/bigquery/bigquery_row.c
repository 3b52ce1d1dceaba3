/* A row as a line of JSON, for a load or a stream. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "dest/bigquery/bigquery_priv.h"
#include "encode/json_put.h"
#include "os/clock.h"

/* Beyond them a JSON number may be read as a double on its way ("Load JSON data", BigQuery
 * documentation): then as a string. */
#define SAFE_INTEGER INT64_C(9007199254740991)

enum { PREFIXES_MAX = 1 << 20, PARTS_SLOTS = 8192, JSON_MAX = BQ_ROW_BYTES };

/* ---- partitions of a job ---- */

/* Different ones among the rows of a load, by open addressing. */
static bool has_room(struct bq_rows *r, int64_t part)
{
    size_t at = (size_t)((uint64_t)part * UINT64_C(0x9E3779B97F4A7C15) >> 51);

    for (; r->used[at / 8] >> at % 8 & 1; at = (at + 1) % PARTS_SLOTS)
        if (r->parts[at] == part)
            return true;
    if (r->n_parts == BQ_PARTITIONS_A_JOB)
        return false;
    r->parts[at] = part;
    r->used[at / 8] |= (uint8_t)(1 << at % 8);
    r->n_parts++;
    return true;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The first instant of the partition that holds t. */
static int64_t partition_start(enum bq_partition by, int64_t t)
{
    int64_t length = by == BQ_BY_HOUR ? TR_US_PER_HOUR : TR_US_PER_DAY;

    if (by == BQ_BY_MONTH || by == BQ_BY_YEAR) {
        struct tr_civil c;
        tr_civil_from_time(t, &c);
        c = (struct tr_civil){ .year = c.year, .month = by == BQ_BY_YEAR ? 1 : c.month, .day = 1 };
        return tr_time_from_civil(&c);
    }
    return floor_div(t, length) * length;
}

static bool is_by_days(enum bq_partition by)
{
    return by == BQ_BY_DAY || by == BQ_BY_HOUR;
}

/* NULL, or why the row's partition is none that it may have. */
static const char *check_partition(struct bq_rows *r, const struct tr_batch *b, size_t i,
                                   bool *ret_too_wide)
{
    const struct bq_fit *fit = r->fit;

    if (fit->partition < 0)
        return NULL;
    int64_t t = b->col[fit->col[fit->partition].column].i64[i];
    if (t == TR_NULL_INT || t < TR_TIME_MIN ||
        t > TR_TIME_MAX) /* has none of its own; no instant */
        return NULL;
    int64_t ahead = floor_div(t, TR_US_PER_DAY) - floor_div(b->inserted_at[i], TR_US_PER_DAY);
    int64_t start = partition_start(fit->by, t);

    if (is_by_days(fit->by) && ahead > r->days_future)
        return "its partition is too far in the future (days_future): a clock that is wrong?";
    if (is_by_days(fit->by) && -ahead > r->days_past)
        return "its partition is too far in the past (days_past): a clock that is wrong?";
    if (fit->life_us != 0 && start <= r->now_us - fit->life_us)
        return "the table does not keep partitions for so long (partition expiration): BigQuery "
               "would delete the row at once";
    *ret_too_wide = !r->streamed && !has_room(r, start);
    return NULL;
}

/* ---- values ---- */

static bool too_long(const struct bq_column *to, struct tr_str s)
{
    return to->max_length > 0 && s.n > (size_t)to->max_length &&
           tr_utf8_head(s, (size_t)to->max_length).n < s.n;
}

/* Text that the column is too short for is cut. */
static bool put_text(struct tr_buf *out, const struct bq_column *to, struct tr_str s)
{
    bool cut = too_long(to, s);

    tr_buf_json_str(out, cut ? tr_utf8_head(s, (size_t)to->max_length) : s);
    return cut;
}

static void put_int(struct tr_buf *out, int64_t v, bool quoted)
{
    quoted = quoted || v > SAFE_INTEGER || v < -SAFE_INTEGER;
    if (quoted)
        tr_buf_ch(out, '"');
    tr_json_put_int(out, v);
    if (quoted)
        tr_buf_ch(out, '"');
}

static void put_time(struct tr_buf *out, int64_t t, bool zoned)
{
    tr_json_put_time(out, t);
    if (!zoned && !out->failed) { /* the clock in UTC: without its Z */
        out->n -= 2;
        tr_buf_ch(out, '"');
    }
}

static const char *put_json(struct tr_buf *out, struct tr_str s, bool *repaired)
{
    switch (bq_json_add(out, s)) {
    case BQ_JSON_SAME:
        break;
    case BQ_JSON_REPAIRED:
        *repaired = true;
        break;
    case BQ_JSON_DEEP:
        return "JSON nested deeper than 500 levels";
    }
    return NULL;
}

static bool is_null(enum tr_type type, const union tr_vector *v, size_t i)
{
    switch (type) {
    case TR_TYPE_UUID:
        return tr_uuid_is_nil(&v->uuid[i]);
    case TR_TYPE_TEXT:
        return v->str[i].p == NULL;
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
        return v->str[i].p == NULL || v->str[i].n == 0;
    case TR_TYPE_INT64:
    case TR_TYPE_TIME:
        return v->i64[i] == TR_NULL_INT;
    case TR_TYPE_BOOL:
        return v->u8[i] == 0xFF;
    case TR_TYPE_FLOAT:
        return !isfinite(v->f64[i]);
    }
    return true;
}

/* A stream takes the text of a value of type JSON. */
static const char *put_json_text(struct bq_rows *r, struct tr_buf *out, struct tr_str s,
                                 bool *repaired)
{
    tr_buf_clear(&r->json);
    const char *why = put_json(&r->json, s, repaired);
    if (r->json.failed)
        out->failed = true;
    else
        tr_buf_json_str(out, tr_buf_view(&r->json));
    return why;
}

/* Two keys must not become one. */
static bool is_key(const struct bq_rows *r, const struct bq_fit_column *c)
{
    return r->fit->schema->columns[c->column].role == TR_ROLE_KEY;
}

/* NULL, or why this row cannot go. */
static const char *put_value(struct bq_rows *r, struct tr_buf *out, const struct bq_fit_column *c,
                             const union tr_vector *v, size_t i, bool *repaired)
{
    switch (c->form) {
    case BQ_AS_TEXT:
        if (is_key(r, c) && too_long(c->to, v->str[i]))
            return "longer than its column, and rows are known by it: it is not cut";
        *repaired |= put_text(out, c->to, v->str[i]);
        return NULL;
    case BQ_AS_JSON_TEXT:
        if (too_long(c->to, v->str[i]))
            return "JSON longer than its column";
        tr_buf_json_str(out, v->str[i]);
        return NULL;
    case BQ_AS_JSON:
        return r->streamed ? put_json_text(r, out, v->str[i], repaired)
                           : put_json(out, v->str[i], repaired);
    case BQ_AS_TEXTS:
        return put_json(out, v->str[i], repaired);
    case BQ_AS_UUID:
        tr_json_put_uuid(out, &v->uuid[i]);
        return NULL;
    case BQ_AS_INT:
    case BQ_AS_INT_TEXT:
        put_int(out, v->i64[i], c->form == BQ_AS_INT_TEXT);
        return NULL;
    case BQ_AS_TIME:
    case BQ_AS_DATETIME:
        if (v->i64[i] < TR_TIME_MIN || v->i64[i] > TR_TIME_MAX)
            return "an instant outside the years 1 to 9999";
        put_time(out, v->i64[i], c->form == BQ_AS_TIME);
        return NULL;
    case BQ_AS_BOOL:
        tr_buf_z(out, v->u8[i] != 0 ? "true" : "false");
        return NULL;
    case BQ_AS_BOOL_TEXT:
        tr_buf_z(out, v->u8[i] != 0 ? "\"true\"" : "\"false\"");
        return NULL;
    case BQ_AS_FLOAT:
        tr_json_put_float(out, v->f64[i]);
        return NULL;
    case BQ_AS_FLOAT_TEXT:
        tr_buf_ch(out, '"');
        tr_json_put_float(out, v->f64[i]);
        tr_buf_ch(out, '"');
        return NULL;
    }
    return NULL;
}

static const char *put_null(struct tr_buf *out, const struct bq_column *to)
{
    if (to->is_required)
        return "no value for a column that is REQUIRED";
    tr_buf_z(out, to->is_repeated ? "[]" : "null");
    return NULL;
}

/* ---- rows ---- */

void bq_rows_fini(struct bq_rows *r)
{
    tr_buf_fini(&r->prefixes);
    tr_buf_fini(&r->json);
    free(r->parts);
    free(r->used);
    r->parts = NULL;
    r->used = NULL;
}

enum tr_rc bq_rows_init(struct bq_rows *r, const struct bq_fit *fit, int64_t days_past,
                        int64_t days_future, struct tr_err *err)
{
    *r = (struct bq_rows){
        .fit = fit, .days_past = days_past, .days_future = days_future, .now_us = tr_clock_wall_us()
    };
    tr_buf_init(&r->prefixes, PREFIXES_MAX);
    tr_buf_init(&r->json, JSON_MAX);
    for (size_t k = 0; k < fit->n; k++) {
        tr_buf_ch(&r->prefixes, k == 0 ? '{' : ',');
        tr_buf_json_str(&r->prefixes, tr_str_of(fit->col[k].to->name));
        tr_buf_ch(&r->prefixes, ':');
        r->prefix_end[k] = r->prefixes.n;
    }
    r->parts = calloc(PARTS_SLOTS, sizeof(*r->parts));
    r->used = calloc(PARTS_SLOTS / 8, 1);
    if (r->prefixes.failed || r->parts == NULL || r->used == NULL) {
        bq_rows_fini(r);
        return tr_fail_oom(err);
    }
    return TR_OK;
}

/* As the streaming app did: elements of other events than these only when they were asked for. */
static bool has_no_elements(const struct bq_rows *r, const struct tr_batch *b, size_t i, int column)
{
    return r->few_elements && column == TR_EVENT_ELEMENTS &&
           !tr_str_eq(b->col[TR_EVENT_EVENT].str[i], TR_STR("$autocapture"));
}

static const char *put_column(struct bq_rows *r, const struct bq_fit_column *c,
                              const struct tr_batch *b, size_t i, struct tr_buf *out,
                              bool *repaired)
{
    const union tr_vector *v = &b->col[c->column];

    if (has_no_elements(r, b, i, c->column)) {
        tr_buf_z(out, "\"[]\"");
        return NULL;
    }
    return is_null(r->fit->schema->columns[c->column].type, v, i)
               ? put_null(out, c->to)
               : put_value(r, out, c, v, i, repaired);
}

static const char *put_columns(struct bq_rows *r, const struct tr_batch *b, size_t i,
                               struct tr_buf *out, bool *repaired, const char **ret_column)
{
    const struct bq_fit *fit = r->fit;
    size_t from = 0;

    for (size_t k = 0; k < fit->n; k++) {
        const struct bq_fit_column *c = &fit->col[k];
        size_t to = r->prefix_end[k];

        tr_buf_add(out, r->prefixes.p + from, to - from);
        from = to;
        const char *why = put_column(r, c, b, i, out, repaired);
        if (why != NULL) {
            *ret_column = c->to->name;
            return why;
        }
    }
    tr_buf_add(out, "}\n", 2);
    return NULL;
}

enum bq_row bq_row_add(struct bq_rows *r, const struct tr_batch *b, size_t i, struct tr_buf *out,
                       char reason[BQ_REASON])
{
    size_t start = out->n;
    const char *column = NULL;
    bool repaired = false, too_wide = false;

    const char *why = check_partition(r, b, i, &too_wide);
    if (too_wide)
        return BQ_ROW_TOO_WIDE;
    if (why == NULL)
        why = put_columns(r, b, i, out, &repaired, &column);
    if (out->failed) {
        out->n = start;
        return BQ_ROW_FULL;
    }
    if (why == NULL && out->n - start > (r->streamed ? BQ_INSERT_ROW_BYTES : BQ_ROW_BYTES))
        why = r->streamed ? "a row of more than 9 MB" : "a row of more than 100 MB";
    if (why != NULL) {
        out->n = start;
        (void)snprintf(reason, BQ_REASON, "%.100s%s%s", column == NULL ? "" : column,
                       column == NULL ? "" : ": ", why);
        return BQ_ROW_REJECTED;
    }
    return repaired ? BQ_ROW_REPAIRED : BQ_ROW_WROTE;
}
