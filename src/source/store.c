#include "source/store.h"

#include <stdlib.h>

#include "os/clock.h"

enum { ROW_BYTES = 512 };

struct store_source {
    struct tr_source base; /* first */
    struct tr_store *store;
};

/* Of events, or of a mutable model. */
struct store_stream {
    struct tr_stream base; /* first */
    struct tr_store_reader *events;
    struct tr_store_rows *rows;
};

static struct tr_store *store_of(struct tr_source *s)
{
    return ((struct store_source *)(void *)s)->store;
}

/* The store answers from this machine, a block at a time: to look before each call is soon enough.
 */
static enum tr_rc may_go_on(const struct tr_ctx *cx, struct tr_err *err)
{
    if (tr_ctx_cancelled(cx))
        return tr_fail(err, TR_CANCELLED, "source.cancelled", NULL, "cancelled");
    if (tr_clock_boot_us() >= cx->deadline_us)
        return tr_fail(err, TR_TRANSIENT, "source.too_slow", NULL, "the time allowed is over");
    return TR_OK;
}

static enum tr_rc stream_next(const struct tr_ctx *cx, struct tr_stream *s, struct tr_batch **ret,
                              struct tr_err *err)
{
    struct store_stream *stream = (struct store_stream *)(void *)s;
    enum tr_rc rc = may_go_on(cx, err);

    if (rc != TR_OK)
        return rc;
    return stream->rows != NULL ? tr_store_rows_next(stream->rows, ret, err)
                                : tr_store_next(stream->events, ret, err);
}

static void stream_close(struct tr_stream *s)
{
    if (s == NULL)
        return;
    tr_store_read_close(((struct store_stream *)(void *)s)->events);
    tr_store_rows_close(((struct store_stream *)(void *)s)->rows);
    free(s);
}

static const struct tr_stream_ops stream_ops = { .next = stream_next, .close = stream_close };

static bool close_through(struct tr_source *s, int64_t t)
{
    return tr_store_close_through(store_of(s), t);
}

static int64_t closed_through(struct tr_source *s)
{
    return tr_store_closed_through(store_of(s));
}

static int64_t now(struct tr_source *s)
{
    return tr_store_now(store_of(s));
}

static int64_t floor_of(struct tr_source *s)
{
    return tr_store_floor(store_of(s));
}

static enum tr_rc plan(const struct tr_ctx *cx, struct tr_source *s, int32_t project,
                       const struct tr_schema *schema, struct tr_range range, uint64_t max_rows,
                       uint64_t max_bytes, struct tr_part *ret, size_t cap, size_t *ret_n,
                       int64_t *ret_covered_hi, struct tr_err *err)
{
    enum tr_rc rc = may_go_on(cx, err);

    if (rc != TR_OK)
        return rc;
    /* Rows of the other models are not weighed: they are taken for so many bytes each. */
    if (schema->is_mutable)
        return tr_store_rows_plan(store_of(s), schema, project, range,
                                  max_bytes / ROW_BYTES < max_rows ? max_bytes / ROW_BYTES
                                                                   : max_rows,
                                  ret, cap, ret_n, ret_covered_hi, err);
    return tr_store_plan(store_of(s), project, range, max_rows, max_bytes, ret, cap, ret_n,
                         ret_covered_hi, err);
}

static enum tr_rc read_range(const struct tr_ctx *cx, struct tr_source *s, int32_t project,
                             const struct tr_schema *schema, struct tr_range range,
                             tr_column_mask columns, struct tr_stream **ret, struct tr_err *err)
{
    enum tr_rc rc = may_go_on(cx, err);

    if (rc != TR_OK)
        return rc;
    struct store_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return tr_fail_oom(err);
    stream->base.ops = &stream_ops;
    rc = schema->is_mutable
             ? tr_store_rows_read(store_of(s), schema, project, range, columns, &stream->rows, err)
             : tr_store_read(store_of(s), project, range, columns, &stream->events, err);
    if (rc != TR_OK) {
        free(stream);
        return tr_wrap(err, "read %s", schema->name);
    }
    *ret = &stream->base;
    return TR_OK;
}

static enum tr_rc counts(struct tr_source *s, int32_t project, struct tr_range range,
                         struct tr_counts *ret, struct tr_err *err)
{
    return tr_store_counts(store_of(s), project, range, ret, err);
}

static enum tr_rc extent(struct tr_source *s, int32_t project, const struct tr_schema *schema,
                         struct tr_range range, bool *ret_any, int64_t *ret_first,
                         int64_t *ret_last, struct tr_err *err)
{
    if (schema->is_mutable)
        return tr_store_rows_extent(store_of(s), schema, project, range, ret_any, ret_first,
                                    ret_last, err);
    return tr_store_extent(store_of(s), project, range, ret_any, ret_first, ret_last, err);
}

static void close_source(struct tr_source *s)
{
    free(s);
}

static const struct tr_source_ops ops = {
    .name = "store",
    .caps = TR_SOURCE_STABLE,
    .close_through = close_through,
    .closed_through = closed_through,
    .now = now,
    .floor = floor_of,
    .plan = plan,
    .read = read_range,
    .counts = counts,
    .extent = extent,
    .close = close_source,
};

enum tr_rc tr_source_store_new(struct tr_store *store, struct tr_source **ret, struct tr_err *err)
{
    struct store_source *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return tr_fail_oom(err);
    s->base.ops = &ops;
    s->store = store;
    *ret = &s->base;
    return TR_OK;
}
