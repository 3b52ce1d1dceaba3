/* Reading a range as batches of columns: views into the piece of packed rows that the scan holds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "model/event.h"
#include "store/scan.h"

struct tr_store_reader {
    struct scan scan;
    struct tr_range range;
    size_t at; /* in scan.rows */
    struct tr_batch batch;
    struct tr_arena texts; /* unescaped values of the batch */
    struct tr_buf unescaped;
    char *arrays; /* all columns of the batch, one allocation */
};

static enum tr_rc make_arrays(struct tr_store_reader *r, tr_column_mask columns, struct tr_err *err)
{
    const struct tr_schema *schema = &tr_schema_events;
    size_t row = sizeof(*r->batch.flags) + sizeof(*r->batch.inserted_at);

    for (size_t i = 0; i < schema->n; i++)
        if ((columns >> i & 1) != 0)
            row += tr_type_width(schema->columns[i].type);
    r->arrays = malloc(row * TR_BATCH_ROWS);
    if (r->arrays == NULL)
        return tr_fail_oom(err);

    char *p = r->arrays;
    r->batch.schema = schema;
    r->batch.inserted_at = (int64_t *)(void *)p;
    p += TR_BATCH_ROWS * sizeof(*r->batch.inserted_at);
    for (size_t i = 0; i < schema->n; i++) {
        if ((columns >> i & 1) == 0)
            continue;
        r->batch.col[i].u8 = (uint8_t *)p;
        p += TR_BATCH_ROWS * tr_type_width(schema->columns[i].type);
    }
    r->batch.flags = (uint32_t *)(void *)p;
    return TR_OK;
}

enum tr_rc tr_store_read(struct tr_store *s, int32_t project, struct tr_range range,
                         tr_column_mask columns, struct tr_store_reader **ret, struct tr_err *err)
{
    struct tr_store_reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return tr_fail_oom(err);
    tr_arena_init(&r->texts, 2 * (size_t)BLOCK_MOST);
    tr_buf_init(&r->unescaped, BLOCK_MOST);
    r->range = range;
    if (make_arrays(r, columns, err) != TR_OK ||
        scan_open(&r->scan, s, project, range, err) != TR_OK) {
        tr_store_read_close(r);
        return tr_wrap(err, "read project %d", (int)project);
    }
    *ret = r;
    return TR_OK;
}

void tr_store_read_close(struct tr_store_reader *r)
{
    if (r == NULL)
        return;
    scan_close(&r->scan);
    tr_arena_fini(&r->texts);
    tr_buf_fini(&r->unescaped);
    free(r->arrays);
    free(r);
}

/* The text of a span that holds a JSON string; NULL for no span and for other values. */
static enum tr_rc text_of(struct tr_store_reader *r, struct tr_str raw, struct tr_str *ret,
                          struct tr_err *err)
{
    struct tr_json_value v = { .type = TR_JSON_STRING, .raw = raw };

    *ret = (struct tr_str){ NULL, 0 };
    if (raw.n < 2 || raw.p[0] != '"')
        return TR_OK;
    if (memchr(raw.p, '\\', raw.n) == NULL) {
        *ret = (struct tr_str){ raw.p + 1, raw.n - 2 };
        return TR_OK;
    }
    v.flags = TR_JSON_ESCAPES;
    *ret = tr_json_text(&v, &r->unescaped);
    if (ret->p != NULL)
        *ret = tr_arena_str(&r->texts, *ret);
    return ret->p != NULL ? TR_OK : tr_fail_oom(err);
}

static enum tr_rc add_row(struct tr_store_reader *r, const struct tr_event *e, struct tr_err *err)
{
    struct tr_batch *b = &r->batch;
    union tr_vector *col = b->col;
    size_t i = b->rows++;

    b->flags[i] = e->flags;
    b->inserted_at[i] = e->inserted_at;
    if (col[TR_EVENT_UUID].uuid != NULL)
        col[TR_EVENT_UUID].uuid[i] = e->uuid;
    if (col[TR_EVENT_EVENT].str != NULL)
        col[TR_EVENT_EVENT].str[i] = e->event;
    if (col[TR_EVENT_PROPERTIES].str != NULL)
        col[TR_EVENT_PROPERTIES].str[i] = e->properties;
    if (col[TR_EVENT_ELEMENTS].str != NULL)
        col[TR_EVENT_ELEMENTS].str[i] = tr_event_span(e, e->elements_chain);
    if (col[TR_EVENT_SET].str != NULL)
        col[TR_EVENT_SET].str[i] = tr_event_span(e, e->set);
    if (col[TR_EVENT_SET_ONCE].str != NULL)
        col[TR_EVENT_SET_ONCE].str[i] = tr_event_span(e, e->set_once);
    if (col[TR_EVENT_DISTINCT_ID].str != NULL)
        col[TR_EVENT_DISTINCT_ID].str[i] = e->distinct_id;
    if (col[TR_EVENT_TEAM_ID].i64 != NULL)
        col[TR_EVENT_TEAM_ID].i64[i] = e->project;
    if (col[TR_EVENT_SITE_URL].str != NULL)
        col[TR_EVENT_SITE_URL].str[i] = (struct tr_str){ NULL, 0 };
    if (col[TR_EVENT_TIMESTAMP].i64 != NULL)
        col[TR_EVENT_TIMESTAMP].i64[i] = e->timestamp;
    if (col[TR_EVENT_CREATED_AT].i64 != NULL)
        col[TR_EVENT_CREATED_AT].i64[i] = e->inserted_at;
    if (col[TR_EVENT_INSERTED_AT].i64 != NULL)
        col[TR_EVENT_INSERTED_AT].i64[i] = e->inserted_at;
    if (col[TR_EVENT_IP].str != NULL &&
        text_of(r, tr_event_span(e, e->ip), &col[TR_EVENT_IP].str[i], err) != TR_OK)
        return err->rc;
    if (col[TR_EVENT_ELEMENTS_CHAIN].str != NULL &&
        text_of(r, tr_event_span(e, e->elements_chain), &col[TR_EVENT_ELEMENTS_CHAIN].str[i],
                err) != TR_OK)
        return err->rc;
    return TR_OK;
}

/* Rows from the piece at hand, until the batch is full or the piece is through. */
static enum tr_rc fill(struct tr_store_reader *r, struct tr_err *err)
{
    const struct tr_buf *rows = &r->scan.rows;

    while (r->at < rows->n && r->batch.rows < TR_BATCH_ROWS) {
        struct tr_event e;
        r->at += tr_event_unpack(rows->p + r->at, rows->n - r->at, &e);
        if (e.inserted_at < r->range.lo || e.inserted_at >= r->range.hi)
            continue;
        if (add_row(r, &e, err) != TR_OK)
            return err->rc;
    }
    return TR_OK;
}

enum tr_rc tr_store_next(struct tr_store_reader *r, struct tr_batch **ret, struct tr_err *err)
{
    tr_arena_reset(&r->texts);
    r->batch.rows = 0;
    for (;;) {
        if (fill(r, err) != TR_OK)
            return tr_wrap(err, "read project %d", (int)r->scan.project);
        if (r->batch.rows > 0) {
            *ret = &r->batch;
            return TR_OK;
        }
        struct block_row block;
        enum scan_kind kind;
        r->at = 0;
        if (scan_next(&r->scan, &kind, &block, err) != TR_OK ||
            (kind == SCAN_BLOCK && scan_load(&r->scan, &block, err) != TR_OK))
            return tr_wrap(err, "read project %d", (int)r->scan.project);
        if (kind == SCAN_END) {
            *ret = NULL;
            return TR_OK;
        }
    }
}
