#include "store/scan.h"

#include <inttypes.h>
#include <string.h>

#include "model/event.h"

enum tr_rc scan_open(struct scan *c, struct tr_store *s, int32_t project, struct tr_range range,
                     struct tr_err *err)
{
    int64_t closed = tr_store_closed_through(s);

    if (range.hi > closed && !tr_range_empty(range))
        return tr_fail(err, TR_INVALID, "store.not_closed", NULL,
                       "the range ends at %" PRId64 ", but the clock is closed through %" PRId64,
                       range.hi, closed);
    if (range.lo < tr_store_floor(s))
        return tr_fail(err, TR_INVALID, "store.below_floor",
                       "choose a range that the store still holds",
                       "the range begins at %" PRId64 ", but nothing before %" PRId64 " is held",
                       range.lo, tr_store_floor(s));
    *c = (struct scan){ .s = s, .project = project, .range = range };
    tr_buf_init(&c->rows, BLOCK_MOST + BLOCK_MOST / 2);
    tr_buf_init(&c->record, BLOCK_MOST);
    tr_buf_init(&c->prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    return blocks_borrow(&s->blocks, &c->reader, err);
}

void scan_close(struct scan *c)
{
    if (c->s == NULL)
        return;
    blocks_return(&c->s->blocks, c->reader);
    journal_cursor_fini(&c->cursor);
    tr_buf_fini(&c->rows);
    tr_buf_fini(&c->record);
    tr_buf_fini(&c->prefix);
    *c = (struct scan){ 0 };
}

void scan_skip(struct scan *c, const struct block_row *block)
{
    c->range.lo = block->hi + 1;
}

enum tr_rc scan_load(struct scan *c, const struct block_row *block, struct tr_err *err)
{
    if (blocks_load(c->reader, block, &c->rows, err) != TR_OK)
        return err->rc;
    scan_skip(c, block);
    return TR_OK;
}

/* Copies what is the project's and in the range. */
static enum tr_rc pick(struct scan *c, struct tr_err *err)
{
    for (size_t at = 0; at < c->record.n;) {
        struct tr_event e;
        size_t size = tr_event_unpack(c->record.p + at, c->record.n - at, &e);
        if (e.project == c->project && e.inserted_at >= c->range.lo && e.inserted_at < c->range.hi)
            tr_buf_add(&c->rows, c->record.p + at, size);
        at += size;
    }
    return c->rows.failed ? tr_fail_oom(err) : TR_OK;
}

/* Whether a record may hold events of the project. */
static bool concerns(const struct scan *c, const struct record_head *h)
{
    const struct record_counter *counters = (const void *)(c->prefix.p + sizeof(*h));

    if (h->events == 0 || h->last_stamp < c->range.lo)
        return false;
    for (uint32_t i = 0; i < h->counters; i++)
        if (counters[i].project == c->project)
            return counters[i].stored > 0;
    return false;
}

/* Fills rows from the journal, about a block's bytes. */
static enum tr_rc read_journal(struct scan *c, enum journal_step *ret_step, struct tr_err *err)
{
    int64_t hi = c->range.hi;

    *ret_step = JOURNAL_END;
    while (c->range.lo < hi && c->rows.n < c->s->options.block_bytes) {
        struct record_head h;
        if (journal_next(&c->cursor, &c->prefix, ret_step, err) != TR_OK)
            return err->rc;
        if (*ret_step != JOURNAL_RECORD)
            return TR_OK;
        memcpy(&h, c->prefix.p, sizeof(h));
        if (h.first_stamp >= hi) {
            c->range.lo = hi;
            return TR_OK;
        }
        if (concerns(c, &h)) {
            tr_buf_clear(&c->record);
            if (journal_events(&c->cursor, &h, &c->record, err) != TR_OK || pick(c, err) != TR_OK)
                return err->rc;
        }
        if (h.last_stamp >= c->range.lo)
            c->range.lo = h.last_stamp + 1;
    }
    return TR_OK;
}

enum tr_rc scan_next(struct scan *c, enum scan_kind *ret, struct block_row *ret_block,
                     struct tr_err *err)
{
    tr_buf_clear(&c->rows);
    while (!tr_range_empty(c->range)) {
        if (c->cursor.segment == NULL) {
            int64_t sealed = atomic_load(&c->s->sealed_through);
            bool found;
            if (c->range.lo < sealed) {
                if (blocks_find(c->reader, c->project, c->range, &found, ret_block, err) != TR_OK)
                    return err->rc;
                if (found) {
                    *ret = SCAN_BLOCK;
                    return TR_OK;
                }
                c->range.lo = sealed;
                continue;
            }
            if (!journal_seek_stamp(&c->s->journal, c->range.lo, &c->cursor))
                break;
            /* Sealed between the two looks, and maybe dropped: then it is in the blocks. */
            if (atomic_load(&c->s->sealed_through) > c->range.lo) {
                journal_cursor_fini(&c->cursor);
                continue;
            }
        }
        enum journal_step step;
        if (read_journal(c, &step, err) != TR_OK)
            return err->rc;
        if (step == JOURNAL_DROPPED)
            journal_cursor_fini(&c->cursor);
        if (c->rows.n > 0) {
            *ret = SCAN_ROWS;
            return TR_OK;
        }
        if (step == JOURNAL_END)
            break;
    }
    *ret = SCAN_END;
    return TR_OK;
}
