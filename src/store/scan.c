#include "store/scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model/event.h"

enum tr_rc scan_open(struct scan *c, struct tr_store *s, int32_t project, struct tr_range range,
                     bool with_who, struct tr_err *err)
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
    if (with_who && derived_catch_up(&s->derived, err) != TR_OK)
        return err->rc;
    *c = (struct scan){ .s = s, .project = project, .range = range, .with_who = with_who };
    who_init(&c->who, BLOCK_MOST);
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
    who_fini(&c->who);
    free(c->numbers);
    free(c->persons);
    free(c->list);
    *c = (struct scan){ 0 };
}

void scan_skip(struct scan *c, const struct block_row *block)
{
    c->range.lo = block->hi + 1;
}

/* ---- who ---- */

static enum tr_rc damaged_who(const struct scan *c, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "store.damaged",
                   "run tailrace store check; restore the data folder from a backup",
                   "blocks.db: a block of project %" PRId32 " has persons that cannot be read",
                   c->project);
}

static enum tr_rc read_persons(struct scan *c, struct tr_str bytes, size_t n, struct tr_err *err)
{
    if (n > bytes.n / who_bytes(0))
        return damaged_who(c, err);
    if (n > c->cap_persons) {
        struct who_person *persons = realloc(c->persons, n * sizeof(*persons));
        if (persons == NULL)
            return tr_fail_oom(err);
        c->persons = persons;
        c->cap_persons = n;
    }
    c->n_persons = n;
    return who_read(bytes, n, c->persons) ? TR_OK : damaged_who(c, err);
}

static enum tr_rc room_for_numbers(struct scan *c, size_t n, struct tr_err *err)
{
    if (n <= c->cap_numbers)
        return TR_OK;
    size_t cap = n < 4096 ? 4096 : 2 * n;
    uint32_t *numbers = realloc(c->numbers, cap * sizeof(*numbers));
    if (numbers == NULL)
        return tr_fail_oom(err);
    c->numbers = numbers;
    c->cap_numbers = cap;
    return TR_OK;
}

static enum tr_rc load_who(struct scan *c, const struct block_row *block,
                           const struct block_layout *l, struct tr_err *err)
{
    struct tr_str raw = { c->rows.p + l->events_bytes, c->rows.n - l->events_bytes };
    size_t numbers = block_numbers_bytes(block->n);

    if (room_for_numbers(c, block->n, err) != TR_OK)
        return TR_INTERNAL;
    c->n_numbers = block->n;
    if (raw.n == 0) { /* of format 1: nobody asked then */
        memset(c->numbers, 0, block->n * sizeof(*c->numbers));
        return read_persons(c, raw, 0, err);
    }
    memcpy(c->numbers, raw.p, block->n * sizeof(*c->numbers));
    return read_persons(c, (struct tr_str){ raw.p + numbers, raw.n - numbers }, l->persons, err);
}

enum tr_rc scan_load(struct scan *c, const struct block_row *block, struct tr_err *err)
{
    struct block_layout l;

    if (blocks_load(c->reader, block, &c->rows, &l, err) != TR_OK ||
        (c->with_who && load_who(c, block, &l, err) != TR_OK))
        return err == NULL ? TR_INTERNAL : err->rc;
    c->rows.n = l.events_bytes;
    scan_skip(c, block);
    return TR_OK;
}

/* ---- the journal ---- */

/* The list of a record; *ret_file NULL: nobody's events. *ret_gone: it was sealed meanwhile and the
 * list is not kept any more. */
static enum tr_rc read_list(struct scan *c, const struct record_head *h,
                            struct asof_file **ret_file, bool *ret_gone, struct tr_err *err)
{
    *ret_file = NULL;
    *ret_gone = false;
    if (!c->with_who || h->seq <= c->s->derived.asof_from)
        return TR_OK;
    if (h->events > c->cap_list) {
        struct asof_ref *list = realloc(c->list, h->events * sizeof(*list));
        if (list == NULL)
            return tr_fail_oom(err);
        c->list = list;
        c->cap_list = h->events;
    }
    enum tr_rc rc = asof_read(&c->s->asof, h->seq, h->events, c->list, ret_file, err);
    *ret_gone = rc != TR_OK && atomic_load(&c->s->sealed_seq) >= h->seq;
    if (rc == TR_OK || *ret_gone)
        return TR_OK;
    /* What is derived was taken back, by a full disk for example, and is made again. */
    if (h->seq > atomic_load(&c->s->asof.flushed_seq))
        return tr_fail(err, TR_TRANSIENT, "store.not_applied", NULL,
                       "journal record %" PRIu64 " is applied again at the moment", h->seq);
    return rc;
}

static enum tr_rc add_number(struct scan *c, const struct asof_file *f, size_t i,
                             struct tr_err *err)
{
    uint32_t number = 0;

    if (!c->with_who)
        return TR_OK;
    if (room_for_numbers(c, c->n_numbers + 1, err) != TR_OK ||
        (f != NULL && who_add(&c->who, f, c->list[i], &number, err) != TR_OK))
        return err == NULL ? TR_INTERNAL : err->rc;
    c->numbers[c->n_numbers++] = number;
    return TR_OK;
}

/* Copies what is the project's and in the range. */
static enum tr_rc pick(struct scan *c, const struct asof_file *f, struct tr_err *err)
{
    size_t i = 0;

    for (size_t at = 0; at < c->record.n; i++) {
        struct tr_event e;
        size_t size = tr_event_unpack(c->record.p + at, c->record.n - at, &e);
        if (e.project == c->project && e.inserted_at >= c->range.lo &&
            e.inserted_at < c->range.hi) {
            tr_buf_add(&c->rows, c->record.p + at, size);
            if (add_number(c, f, i, err) != TR_OK)
                return err == NULL ? TR_INTERNAL : err->rc;
        }
        at += size;
    }
    return c->rows.failed ? tr_fail_oom(err) : TR_OK;
}

static enum tr_rc pick_record(struct scan *c, const struct record_head *h, bool *ret_gone,
                              struct tr_err *err)
{
    struct asof_file *f;

    tr_buf_clear(&c->record);
    enum tr_rc rc = read_list(c, h, &f, ret_gone, err);
    if (rc == TR_OK && !*ret_gone)
        rc = journal_events(&c->cursor, h, &c->record, err);
    if (rc == TR_OK && !*ret_gone)
        rc = pick(c, f, err);
    asof_file_unref(f);
    return rc;
}

/* Whether a record may hold events of the project. */
static bool concerns(const struct scan *c, const struct record_head *h)
{
    const struct record_counter *counters = (const void *)(c->prefix.p + sizeof(*h));

    if (record_stored(h) == 0 || h->last_stamp < c->range.lo)
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
    while (c->range.lo < hi && c->rows.n < c->s->options.block_bytes &&
           c->who.persons.n < BLOCK_PERSONS * c->s->options.block_bytes) {
        bool gone = false;
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
        if (concerns(c, &h) && pick_record(c, &h, &gone, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
        if (gone) {
            *ret_step = JOURNAL_DROPPED;
            return TR_OK;
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
    who_clear(&c->who);
    c->n_numbers = 0;
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
        if (c->rows.n > 0 && c->with_who &&
            read_persons(c, tr_buf_view(&c->who.persons), c->who.n, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
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
