/* Cutting a range into chunks, and its first and last event. Cuts depend on the events only,
 * counted one by one from the range's start, never on whether they are sealed. */
#include "model/event.h"
#include "store/scan.h"

struct planner {
    struct tr_range range;
    uint64_t max_rows, max_bytes;
    struct tr_part *parts;
    size_t n, cap; /* the last part is open */
    bool full;     /* one part more would be needed */
};

static bool fits(const struct planner *p, uint64_t rows, uint64_t bytes)
{
    const struct tr_part *part = &p->parts[p->n - 1];

    return part->rows + rows <= p->max_rows && part->bytes + bytes <= p->max_bytes;
}

static void add(struct planner *p, uint64_t rows, uint64_t bytes)
{
    p->parts[p->n - 1].rows += rows;
    p->parts[p->n - 1].bytes += bytes;
}

/* The next part begins with the event at this instant. */
static void cut(struct planner *p, int64_t at)
{
    p->parts[p->n - 1].range.hi = at;
    if (p->n == p->cap) {
        p->full = true;
        return;
    }
    p->parts[p->n++] = (struct tr_part){ .range = { at, p->range.hi } };
}

static void add_rows(struct planner *p, const struct tr_buf *rows)
{
    for (size_t at = 0; at < rows->n && !p->full;) {
        struct tr_event e;
        size_t size = tr_event_unpack(rows->p + at, rows->n - at, &e);
        at += size;
        if (e.inserted_at < p->range.lo || e.inserted_at >= p->range.hi)
            continue;
        if (p->parts[p->n - 1].rows > 0 && !fits(p, 1, size))
            cut(p, e.inserted_at);
        if (!p->full)
            add(p, 1, size);
    }
}

/* A block that is whole in the range and in the part counts by what it says about itself. */
static bool add_block(struct planner *p, const struct block_row *b)
{
    if (b->lo < p->range.lo || b->hi >= p->range.hi || !fits(p, b->n, b->events_bytes))
        return false;
    add(p, b->n, b->events_bytes);
    return true;
}

static enum tr_rc plan(struct planner *p, struct scan *c, struct tr_err *err)
{
    while (!p->full) {
        struct block_row block;
        enum scan_kind kind;
        if (scan_next(c, &kind, &block, err) != TR_OK)
            return err->rc;
        if (kind == SCAN_END)
            return TR_OK;
        if (kind == SCAN_BLOCK && add_block(p, &block)) {
            scan_skip(c, &block);
            continue;
        }
        if (kind == SCAN_BLOCK && scan_load(c, &block, err) != TR_OK)
            return err->rc;
        add_rows(p, &c->rows);
    }
    return TR_OK;
}

enum tr_rc tr_store_plan(struct tr_store *s, int32_t project, struct tr_range range,
                         uint64_t max_rows, uint64_t max_bytes, struct tr_part *ret, size_t cap,
                         size_t *ret_n, int64_t *ret_covered_hi, struct tr_err *err)
{
    struct scan c = { 0 };
    struct planner p = { .range = range,
                         .max_rows = max_rows > 0 ? max_rows : 1,
                         .max_bytes = max_bytes,
                         .parts = ret,
                         .n = 1,
                         .cap = cap };

    if (cap == 0)
        return tr_fail(err, TR_INVALID, "store.no_room", NULL, "a plan without room for a part");
    ret[0] = (struct tr_part){ .range = range };
    enum tr_rc rc = scan_open(&c, s, project, range, false, err);
    if (rc == TR_OK)
        rc = plan(&p, &c, err);
    scan_close(&c);
    if (rc != TR_OK)
        return tr_wrap(err, "plan project %d", (int)project);
    *ret_n = p.n;
    *ret_covered_hi = p.parts[p.n - 1].range.hi;
    return TR_OK;
}

/* ---- the first and the last event ---- */

struct extent {
    struct tr_range range;
    bool any;
    int64_t first, last;
};

static void widen(struct extent *x, const struct tr_buf *rows)
{
    for (size_t at = 0; at < rows->n;) {
        struct tr_event e;
        at += tr_event_unpack(rows->p + at, rows->n - at, &e);
        if (e.inserted_at < x->range.lo || e.inserted_at >= x->range.hi)
            continue;
        if (!x->any || e.inserted_at < x->first)
            x->first = e.inserted_at;
        if (!x->any || e.inserted_at > x->last)
            x->last = e.inserted_at;
        x->any = true;
    }
}

/* The first event by scanning on; what lies between it and the last block is jumped over. */
static enum tr_rc extent(struct extent *x, struct scan *c, struct tr_err *err)
{
    for (;;) {
        struct block_row block;
        enum scan_kind kind;
        if (scan_next(c, &kind, &block, err) != TR_OK)
            return err->rc;
        if (kind == SCAN_END)
            return TR_OK;
        if (kind == SCAN_BLOCK) {
            bool found = true;
            if (x->any &&
                blocks_find_last(c->reader, c->project, c->range, &found, &block, err) != TR_OK)
                return err->rc;
            if (scan_load(c, &block, err) != TR_OK)
                return err->rc;
        }
        widen(x, &c->rows);
    }
}

enum tr_rc tr_store_extent(struct tr_store *s, int32_t project, struct tr_range range,
                           bool *ret_any, int64_t *ret_first, int64_t *ret_last, struct tr_err *err)
{
    struct scan c = { 0 };
    struct extent x = { .range = range };

    enum tr_rc rc = scan_open(&c, s, project, range, false, err);
    if (rc == TR_OK)
        rc = extent(&x, &c, err);
    scan_close(&c);
    if (rc != TR_OK)
        return tr_wrap(err, "extent of project %d", (int)project);
    *ret_any = x.any;
    *ret_first = x.first;
    *ret_last = x.last;
    return TR_OK;
}
