/* One JSON object a line. JSON columns go in as the bytes they came in: 54.10 stays 54.10. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/time.h"
#include "encode/encode.h"
#include "encode/json_put.h"

struct jsonl {
    struct tr_encoder base;
    struct tr_projection projection; /* its names are copied into prefixes */
    struct tr_buf prefixes;          /* '{"uuid":' ',"event":' ... back to back */
    size_t prefix_end[TR_BATCH_COLUMNS];
};

static const struct tr_encoder_ops jsonl_ops;

static struct jsonl *jsonl_of(struct tr_encoder *e)
{
    assert(e->ops == &jsonl_ops);
    return (struct jsonl *)(void *)e;
}

static enum tr_rc out_failed(const struct tr_buf *out, struct tr_err *err)
{
    return tr_fail(err, TR_INTERNAL, "encode.too_big", NULL, "the rows do not fit into %zu bytes",
                   out->max);
}

/* ---- values ---- */

/* Between its tokens JSON may hold line breaks (never inside strings): a row must be one line. */
static void put_json(struct tr_buf *out, struct tr_str s)
{
    char *to = tr_buf_reserve(out, s.n);

    if (to == NULL)
        return;
    memcpy(to, s.p, s.n);
    for (char *p = to; (p = memchr(p, '\n', s.n - (size_t)(p - to))) != NULL;)
        *p = ' ';
    for (char *p = to; (p = memchr(p, '\r', s.n - (size_t)(p - to))) != NULL;)
        *p = ' ';
    tr_buf_used(out, s.n);
}

/* NULL, or why this row cannot go. */
static const char *put_value(struct tr_buf *out, enum tr_type type, const union tr_vector *v,
                             size_t i)
{
    switch (type) {
    case TR_TYPE_UUID:
        if (tr_uuid_is_nil(&v->uuid[i]))
            break;
        tr_json_put_uuid(out, &v->uuid[i]);
        return NULL;
    case TR_TYPE_TEXT:
        if (v->str[i].p == NULL)
            break;
        tr_buf_json_str(out, v->str[i]);
        return NULL;
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
        if (v->str[i].p == NULL || v->str[i].n == 0)
            break;
        put_json(out, v->str[i]);
        return NULL;
    case TR_TYPE_INT64:
        if (v->i64[i] == TR_NULL_INT)
            break;
        tr_json_put_int(out, v->i64[i]);
        return NULL;
    case TR_TYPE_TIME:
        if (v->i64[i] == TR_NULL_INT)
            break;
        if (v->i64[i] < TR_TIME_MIN || v->i64[i] > TR_TIME_MAX)
            return "an instant outside the years 1 to 9999";
        tr_json_put_time(out, v->i64[i]);
        return NULL;
    case TR_TYPE_BOOL:
        if (v->u8[i] == 0xFF)
            break;
        tr_buf_z(out, v->u8[i] != 0 ? "true" : "false");
        return NULL;
    case TR_TYPE_FLOAT:
        if (!isfinite(v->f64[i]))
            break;
        tr_json_put_float(out, v->f64[i]);
        return NULL;
    }
    tr_buf_z(out, "null");
    return NULL;
}

/* ---- the encoder ---- */

static enum tr_rc jsonl_nothing(struct tr_encoder *e, struct tr_buf *out, struct tr_err *err)
{
    (void)e;
    (void)out;
    (void)err;
    return TR_OK;
}

static const char *put_row(const struct jsonl *j, const struct tr_batch *b, size_t i,
                           struct tr_buf *out)
{
    const struct tr_projection *p = &j->projection;
    size_t from = 0;

    for (size_t k = 0; k < p->n; k++) {
        size_t to = j->prefix_end[k];
        int c = p->column[k];
        tr_buf_add(out, j->prefixes.p + from, to - from);
        const char *why = put_value(out, p->schema->columns[c].type, &b->col[c], i);
        if (why != NULL)
            return why;
        from = to;
    }
    tr_buf_add(out, "}\n", 2);
    return NULL;
}

static enum tr_rc jsonl_rows(struct tr_encoder *e, const struct tr_batch *b, size_t from, size_t to,
                             struct tr_buf *out, struct tr_reject_sink *rejects,
                             struct tr_encode_stats *stats, struct tr_err *err)
{
    const struct jsonl *j = jsonl_of(e);

    for (size_t k = 0; k < j->projection.n; k++)
        if (b->col[j->projection.column[k]].str == NULL)
            return tr_fail(err, TR_INTERNAL, "encode.no_column", NULL, "column %s was not read",
                           b->schema->columns[j->projection.column[k]].name);
    for (size_t i = from; i < to; i++) {
        size_t start = out->n;
        const char *why = put_row(j, b, i, out);
        if (out->failed)
            return out_failed(out, err);
        if (why == NULL) {
            stats->rows++;
            continue;
        }
        out->n = start;
        stats->rejected++;
        if (rejects != NULL)
            rejects->reject(rejects, b, i, why);
    }
    return TR_OK;
}

static void jsonl_close(struct tr_encoder *e)
{
    if (e == NULL)
        return;
    struct jsonl *j = jsonl_of(e);
    tr_buf_fini(&j->prefixes);
    free(j);
}

static const struct tr_encoder_ops jsonl_ops = {
    .name = "JSONLines",
    .extension = "jsonl",
    .head = jsonl_nothing,
    .rows = jsonl_rows,
    .tail = jsonl_nothing,
    .close = jsonl_close,
};

enum tr_rc tr_encode_jsonl_new(const struct tr_projection *p, struct tr_encoder **ret,
                               struct tr_err *err)
{
    enum { PREFIXES_MAX = 1 << 20 };

    if (p->n == 0)
        return tr_fail(err, TR_INVALID, "encode.no_columns", NULL, "there are no columns");
    struct jsonl *j = calloc(1, sizeof(*j));
    if (j == NULL)
        return tr_fail_oom(err);
    j->base.ops = &jsonl_ops;
    j->projection = *p;
    tr_buf_init(&j->prefixes, PREFIXES_MAX);
    for (size_t k = 0; k < p->n; k++) {
        tr_buf_ch(&j->prefixes, k == 0 ? '{' : ',');
        tr_buf_json_str(&j->prefixes, tr_str_of(p->name[k]));
        tr_buf_ch(&j->prefixes, ':');
        j->prefix_end[k] = j->prefixes.n;
        j->projection.name[k] = NULL;
    }
    if (j->prefixes.failed) {
        jsonl_close(&j->base);
        return tr_fail_oom(err);
    }
    *ret = &j->base;
    return TR_OK;
}
