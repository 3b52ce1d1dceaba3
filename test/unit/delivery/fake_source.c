/* Events in memory. */
#include "fakes_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"

static struct fake_source *source_of(struct tr_source *s)
{
    return (struct fake_source *)(void *)s;
}

void fake_ingest(struct fake_source *s, int32_t project, int kind, bool bad)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 256 : s->cap * 2;
        s->events = realloc(s->events, s->cap * sizeof(*s->events));
        assert_non_null(s->events);
    }
    int64_t at =
        s->n != 0 && s->events[s->n - 1].at >= s->now ? s->events[s->n - 1].at + 1 : s->now;
    struct fake_event *e = &s->events[s->n++];
    *e = (struct fake_event){ .at = at, .project = project, .kind = kind };
    for (int i = 0; i < 8; i++)
        e->uuid.b[i] = (uint8_t)((uint64_t)s->n >> (8 * i));
    e->uuid.b[15] = bad ? 0xbd : 0;
    if (s->now <= at)
        s->now = at + 1;
}

bool fake_is_bad(const struct tr_uuid *u)
{
    return u->b[15] == 0xbd;
}

static size_t first_at(const struct fake_source *s, int64_t t)
{
    size_t lo = 0;
    size_t hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->events[mid].at < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool source_close_through(struct tr_source *s, int64_t t)
{
    return t <= source_of(s)->now && !source_of(s)->never_closes;
}

static int64_t source_closed_through(struct tr_source *s)
{
    return source_of(s)->now;
}

static int64_t source_now(struct tr_source *s)
{
    return source_of(s)->now;
}

static int64_t source_floor(struct tr_source *s)
{
    return source_of(s)->floor;
}

static enum tr_rc check_range(const struct fake_source *s, struct tr_range r, struct tr_err *err)
{
    if (r.hi > s->now)
        return tr_fail(err, TR_INVALID, "store.not_closed", NULL, "not closed");
    if (r.lo < s->floor)
        return tr_fail(err, TR_INVALID, "store.below_floor", NULL, "below the floor");
    return TR_OK;
}

/* Parts of max_rows events each. */
static enum tr_rc source_plan(const struct tr_ctx *cx, struct tr_source *base, int32_t project,
                              const struct tr_schema *schema, struct tr_range range,
                              uint64_t max_rows, uint64_t max_bytes, struct tr_part *ret,
                              size_t cap, size_t *ret_n, int64_t *ret_covered_hi,
                              struct tr_err *err)
{
    struct fake_source *s = source_of(base);
    size_t n = 0;
    enum tr_rc rc = check_range(s, range, err);

    (void)schema;
    (void)cx;
    (void)max_bytes;
    if (rc == TR_OK)
        rc = fake_meet_simple(FAKE_PLAN, err);
    if (rc != TR_OK)
        return rc;
    ret[0] = (struct tr_part){ .range = range };
    for (size_t i = first_at(s, range.lo); i < s->n && s->events[i].at < range.hi; i++) {
        if (s->events[i].project != project)
            continue;
        if (ret[n].rows == max_rows) {
            ret[n].range.hi = s->events[i].at;
            if (n + 1 == cap)
                break;
            ret[++n] = (struct tr_part){ .range = { s->events[i].at, range.hi } };
        }
        ret[n].rows++;
    }
    *ret_covered_hi = ret[n].range.hi;
    *ret_n = n + 1;
    return TR_OK;
}

struct fake_stream {
    struct tr_stream base;
    struct fake_source *source;
    int32_t project;
    struct tr_range range;
    size_t at;
    struct tr_batch batch;
    struct tr_uuid uuids[TR_BATCH_ROWS];
    struct tr_str names[TR_BATCH_ROWS];
    struct tr_str properties[TR_BATCH_ROWS];
    char text[TR_BATCH_ROWS][16];
    uint32_t flags[TR_BATCH_ROWS];
    int64_t at_us[TR_BATCH_ROWS];
};

static enum tr_rc stream_next(const struct tr_ctx *cx, struct tr_stream *base,
                              struct tr_batch **ret, struct tr_err *err)
{
    struct fake_stream *st = (struct fake_stream *)(void *)base;
    struct fake_source *s = st->source;
    struct tr_batch *b = &st->batch;
    enum tr_rc rc = fake_meet_simple(FAKE_READ, err);

    (void)cx;
    if (rc != TR_OK)
        return rc;
    b->rows = 0;
    for (; st->at < s->n && s->events[st->at].at < st->range.hi && b->rows < s->batch_rows;
         st->at++) {
        const struct fake_event *e = &s->events[st->at];
        size_t i = b->rows;

        if (e->project != st->project)
            continue;
        st->uuids[i] = e->uuid;
        (void)snprintf(st->text[i], sizeof(st->text[i]), "kind-%d", e->kind);
        st->names[i] = tr_str_of(st->text[i]);
        st->properties[i] = TR_STR("{}");
        st->flags[i] = 0;
        st->at_us[i] = e->at;
        b->rows++;
    }
    *ret = b->rows == 0 ? NULL : b;
    return TR_OK;
}

static void stream_close(struct tr_stream *s)
{
    free(s);
}

static const struct tr_stream_ops stream_ops = { .next = stream_next, .close = stream_close };

static enum tr_rc source_read(const struct tr_ctx *cx, struct tr_source *base, int32_t project,
                              const struct tr_schema *schema, struct tr_range range,
                              tr_column_mask columns, struct tr_stream **ret, struct tr_err *err)
{
    struct fake_source *s = source_of(base);
    enum tr_rc rc = check_range(s, range, err);

    (void)cx;
    if (rc != TR_OK)
        return rc;
    struct fake_stream *st = calloc(1, sizeof(*st));
    assert_non_null(st);
    st->base.ops = &stream_ops;
    st->source = s;
    st->project = project;
    st->range = range;
    st->at = first_at(s, range.lo);
    st->batch.schema = schema;
    st->batch.flags = st->flags;
    st->batch.inserted_at = st->at_us;
    if (columns >> TR_EVENT_UUID & 1)
        st->batch.col[TR_EVENT_UUID].uuid = st->uuids;
    if (columns >> TR_EVENT_EVENT & 1)
        st->batch.col[TR_EVENT_EVENT].str = st->names;
    if (columns >> TR_EVENT_PROPERTIES & 1)
        st->batch.col[TR_EVENT_PROPERTIES].str = st->properties;
    *ret = &st->base;
    return TR_OK;
}

static enum tr_rc source_counts(struct tr_source *base, int32_t project, struct tr_range range,
                                struct tr_counts *ret, struct tr_err *err)
{
    struct fake_source *s = source_of(base);

    (void)err;
    *ret = (struct tr_counts){ 0 };
    for (size_t i = 0; i < s->n; i++) {
        int64_t minute = s->events[i].at / TR_US_PER_MIN * TR_US_PER_MIN;
        if (s->events[i].project == project && minute + TR_US_PER_MIN > range.lo &&
            minute < range.hi)
            ret->stored++;
    }
    return TR_OK;
}

static enum tr_rc source_extent(struct tr_source *base, int32_t project,
                                const struct tr_schema *schema, struct tr_range range,
                                bool *ret_any, int64_t *ret_first, int64_t *ret_last,
                                struct tr_err *err)
{
    struct fake_source *s = source_of(base);

    (void)err;
    (void)schema;
    *ret_any = false;
    for (size_t i = first_at(s, range.lo); i < s->n && s->events[i].at < range.hi; i++) {
        if (s->events[i].project != project)
            continue;
        if (!*ret_any)
            *ret_first = s->events[i].at;
        *ret_last = s->events[i].at;
        *ret_any = true;
    }
    return TR_OK;
}

static void source_close(struct tr_source *s)
{
    (void)s;
}

const struct tr_source_ops fake_source_ops = {
    .name = "fake",
    .caps = TR_SOURCE_STABLE,
    .close_through = source_close_through,
    .closed_through = source_closed_through,
    .now = source_now,
    .floor = source_floor,
    .plan = source_plan,
    .read = source_read,
    .counts = source_counts,
    .extent = source_extent,
    .close = source_close,
};
