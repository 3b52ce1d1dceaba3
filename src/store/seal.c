/* The sealer: the oldest part of the journal becomes compressed blocks, one project each. */
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "model/event.h"
#include "os/kill.h"
#include "store/crowd.h"
#include "store/store_priv.h"

TR_COUNTER(sealed_events, "tailrace_store_sealed_events_total", "Events moved into sealed blocks.");
TR_COUNTER(sealed_blocks, "tailrace_store_sealed_blocks_total", "Sealed blocks written.");
TR_COUNTER(sealed_bytes, "tailrace_store_sealed_bytes_total", "Compressed bytes of sealed blocks.");

enum { IDLE_SEALS = 6 /* passes without work, some seconds, before memory is given back */ };

/* An event in the piece that is sealed. */
struct place {
    int32_t project;
    uint32_t size;
    size_t at;
    int64_t inserted_at;
    uint32_t person; /* of the crowd */
};

/* What one block is made of, and what made it. */
struct making {
    struct tr_buf raw;
    uint32_t *numbers;
    size_t cap;
};

/* Its memory serves the next piece, too, until nothing is due any more. */
struct piece {
    struct tr_buf events;
    struct place *places;
    struct crowd_event *whose; /* of each place, in the order they came */
    size_t n, cap;
    struct asof_ref *list; /* of the record at hand */
    size_t cap_list;
    struct asof_file **files;
    size_t n_files;
    struct crowd crowd;
    uint64_t seq;    /* the last record; 0: none */
    int64_t through; /* everything below is in it */
    uint64_t records_bytes;
    struct making making;
};

static enum tr_rc make_room(struct piece *p, struct tr_err *err)
{
    size_t cap = p->cap == 0 ? 4096 : 2 * p->cap;
    struct place *places = realloc(p->places, cap * sizeof(*places));

    if (places == NULL)
        return tr_fail_oom(err);
    p->places = places;
    struct crowd_event *whose = realloc(p->whose, cap * sizeof(*whose));
    if (whose == NULL)
        return tr_fail_oom(err);
    p->whose = whose;
    p->cap = cap;
    return TR_OK;
}

static enum tr_rc note(struct piece *p, size_t from, struct tr_err *err)
{
    while (from < p->events.n) {
        struct tr_event e;
        size_t size = tr_event_unpack(p->events.p + from, p->events.n - from, &e);
        if (p->n == p->cap && make_room(p, err) != TR_OK)
            return TR_INTERNAL;
        p->whose[p->n] = (struct crowd_event){ 0 };
        p->places[p->n++] = (struct place){
            .project = e.project, .size = (uint32_t)size, .at = from, .inserted_at = e.inserted_at
        };
        from += size;
    }
    return TR_OK;
}

/* Keeps the file open for as long as the piece refers to it. */
static enum tr_rc hold_file(struct piece *p, struct asof_file *f, struct tr_err *err)
{
    if (p->n_files > 0 && p->files[p->n_files - 1] == f) {
        asof_file_unref(f);
        return TR_OK;
    }
    struct asof_file **files = realloc(p->files, (p->n_files + 1) * sizeof(struct asof_file *));
    if (files == NULL) {
        asof_file_unref(f);
        return tr_fail_oom(err);
    }
    p->files = files;
    p->files[p->n_files++] = f;
    return TR_OK;
}

/* Whose the n events from place `from` on are. */
static enum tr_rc note_who(struct tr_store *s, struct piece *p, uint64_t seq, size_t from,
                           struct tr_err *err)
{
    size_t n = p->n - from;
    struct asof_file *f;

    if (n == 0 || seq <= s->derived.asof_from)
        return TR_OK;
    if (n > p->cap_list) {
        struct asof_ref *list = realloc(p->list, n * sizeof(*list));
        if (list == NULL)
            return tr_fail_oom(err);
        p->list = list;
        p->cap_list = n;
    }
    if (asof_read(&s->asof, seq, n, p->list, &f, err) != TR_OK || hold_file(p, f, err) != TR_OK)
        return err->rc;
    for (size_t i = 0; i < n; i++)
        p->whose[from + i] =
            (struct crowd_event){ .ref = p->list[i], .file = (uint32_t)(p->n_files - 1) };
    return TR_OK;
}

static enum tr_rc read_crowd(struct piece *p, struct tr_err *err)
{
    enum tr_rc rc = crowd_read(&p->crowd, p->files, p->whose, p->n, err);

    for (size_t i = 0; i < p->n && rc == TR_OK; i++)
        p->places[i].person = p->whose[i].person;
    return rc;
}

static enum tr_rc gather_record(struct tr_store *s, struct piece *p, struct journal_cursor *c,
                                const struct record_head *h, struct tr_err *err)
{
    size_t from = p->events.n;
    size_t first = p->n;
    enum tr_rc rc = TR_OK;

    if (h->type == RECORD_GROUP) {
        rc = journal_events(c, h, &p->events, err);
        if (rc == TR_OK)
            rc = note(p, from, err);
        if (rc == TR_OK)
            rc = note_who(s, p, h->seq, first, err);
    }
    p->seq = h->seq;
    p->through = h->last_stamp + 1;
    p->records_bytes += record_size(h);
    return rc;
}

/* As far as the journal was applied: before, nobody knows whose the events are. */
static enum tr_rc gather(struct tr_store *s, struct piece *p, struct tr_err *err)
{
    struct journal_cursor c = { 0 };
    struct tr_buf prefix;
    uint64_t first = atomic_load(&s->sealed_seq) + 1;
    uint64_t applied = atomic_load(&s->asof.flushed_seq);
    enum tr_rc rc = TR_OK;

    if (first > applied || !journal_seek(&s->journal, first, &c))
        return TR_OK; /* nothing there yet */
    tr_buf_init(&prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    while (rc == TR_OK && p->events.n < s->options.seal_bytes && p->seq < applied) {
        struct record_head h;
        enum journal_step step;
        rc = journal_next(&c, &prefix, &step, err);
        if (rc != TR_OK || step != JOURNAL_RECORD)
            break;
        memcpy(&h, prefix.p, sizeof(h));
        rc = gather_record(s, p, &c, &h, err);
    }
    tr_buf_fini(&prefix);
    journal_cursor_fini(&c);
    return rc;
}

/* By project, then in the order they came. */
static int compare_places(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;

    if (x->project != y->project)
        return x->project < y->project ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static enum tr_rc write_block(struct tr_store *s, struct piece *p, size_t from, size_t to,
                              struct tr_err *err)
{
    struct making *m = &p->making;
    struct block_row row = {
        .project = p->places[from].project,
        .n = (uint32_t)(to - from),
        .lo = p->places[from].inserted_at,
        .hi = p->places[to - 1].inserted_at,
    };

    tr_buf_clear(&m->raw);
    for (size_t i = from; i < to; i++)
        tr_buf_add(&m->raw, p->events.p + p->places[i].at, p->places[i].size);
    struct block_layout layout = { m->raw.n, p->crowd.n_named };
    m->numbers[to - from] = 0; /* may be what fills up */
    tr_buf_add(&m->raw, m->numbers, block_numbers_bytes(to - from));
    if (m->raw.failed)
        return tr_fail_oom(err);
    if (crowd_write(&p->crowd, p->files, &m->raw, err) != TR_OK)
        return err == NULL ? TR_INTERNAL : err->rc;
    return blocks_add(&s->blocks, tr_buf_view(&m->raw), &layout, &row, err);
}

/* The end of the block that begins at `from`: one project's, so many bytes of events and persons.
 */
static enum tr_rc fill_block(const struct tr_store *s, struct piece *p, size_t from, size_t *ret_to,
                             struct tr_err *err)
{
    struct making *m = &p->making;
    struct crowd *crowd = &p->crowd;
    size_t to = from;
    size_t bytes = 0;
    size_t most = s->options.block_bytes;

    crowd_begin_block(crowd);
    for (; to < p->n && p->places[to].project == p->places[from].project; to++) {
        const struct place *e = &p->places[to];
        if (to > from &&
            (bytes + e->size > most ||
             crowd->named_bytes + crowd_bytes(crowd, e->person) > BLOCK_PERSONS * most))
            break;
        if (to - from + 1 >= m->cap) {
            size_t cap = m->cap == 0 ? 4096 : 2 * m->cap;
            uint32_t *numbers = realloc(m->numbers, cap * sizeof(*numbers));
            if (numbers == NULL)
                return tr_fail_oom(err);
            m->numbers = numbers;
            m->cap = cap;
        }
        if (crowd_add(crowd, e->person, &m->numbers[to - from], err) != TR_OK)
            return err->rc;
        bytes += e->size;
    }
    *ret_to = to;
    return TR_OK;
}

static enum tr_rc write_blocks(struct tr_store *s, struct piece *p, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t from = 0; from < p->n && rc == TR_OK;) {
        size_t to = from;
        rc = fill_block(s, p, from, &to, err);
        if (rc == TR_OK)
            rc = write_block(s, p, from, to, err);
        from = to;
    }
    return rc;
}

static void publish(struct tr_store *s, const struct piece *p)
{
    const struct blocks_totals *t = &s->blocks.totals;

    atomic_store(&s->sealed_through, p->through);
    atomic_store(&s->sealed_seq, p->seq);
    (void)pthread_mutex_lock(&s->tally_lock);
    tr_count(&sealed_blocks, (int64_t)(t->blocks - s->tally.blocks));
    tr_count(&sealed_bytes, (int64_t)(t->bytes - s->tally.block_bytes));
    s->tally.sealed_events = t->events;
    s->tally.blocks = t->blocks;
    s->tally.block_bytes = t->bytes;
    s->tally.unsealed_bytes -= (int64_t)p->records_bytes;
    s->tally.unsealed_events -= (int64_t)p->n;
    /* What is left came after this piece; its own first stamp is not far from here. */
    s->tally.oldest_unsealed = s->tally.unsealed_events > 0 ? p->through : 0;
    (void)pthread_mutex_unlock(&s->tally_lock);
    tr_count(&sealed_events, (int64_t)p->n);
}

static enum tr_rc seal_piece(struct tr_store *s, struct piece *p, struct tr_err *err)
{
    if (read_crowd(p, err) != TR_OK)
        return err->rc;
    if (p->n > 1)
        qsort(p->places, p->n, sizeof(*p->places), compare_places);
    if (blocks_begin(&s->blocks, err) != TR_OK)
        return err->rc;
    if (write_blocks(s, p, err) != TR_OK) {
        blocks_abort(&s->blocks);
        return err->rc;
    }
    if (blocks_commit(&s->blocks, p->seq, p->through, err) != TR_OK)
        return err->rc;
    publish(s, p);
    TR_KILL_POINT("seal.committed");
    return blocks_checkpoint(&s->blocks, err);
}

static struct piece *piece_new(const struct tr_store *s)
{
    struct piece *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    tr_buf_init(&p->events, s->options.seal_bytes + BLOCK_MOST);
    tr_buf_init(&p->making.raw, BLOCK_MOST);
    crowd_init(&p->crowd);
    return p;
}

static void piece_clear(struct piece *p)
{
    for (size_t i = 0; i < p->n_files; i++)
        asof_file_unref(p->files[i]);
    p->n_files = 0;
    p->n = 0;
    p->seq = p->records_bytes = 0;
    tr_buf_clear(&p->events);
}

void store_seal_rest(struct tr_store *s)
{
    struct piece *p = s->piece;

    if (p == NULL)
        return;
    piece_clear(p);
    free(p->files);
    free(p->list);
    free(p->places);
    free(p->whose);
    tr_buf_fini(&p->events);
    tr_buf_fini(&p->making.raw);
    crowd_fini(&p->crowd);
    free(p->making.numbers);
    free(p);
    s->piece = NULL;
}

static enum tr_rc seal_next(struct tr_store *s, struct tr_err *err)
{
    if (s->piece == NULL)
        s->piece = piece_new(s);
    struct piece *p = s->piece;
    if (p == NULL)
        return tr_fail_oom(err);
    /* At once what it will be: growing would hold it twice. */
    enum tr_rc rc = tr_buf_reserve(&p->events, s->options.seal_bytes + RECORD_BYTES) == NULL
                        ? tr_fail_oom(err)
                        : gather(s, p, err);
    if (rc == TR_OK && p->seq != 0)
        rc = seal_piece(s, p, err);
    piece_clear(p);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "seal blocks");
}

static bool due(struct tr_store *s)
{
    int64_t now = store_clock(s);

    if (atomic_load(&s->sealed_seq) < atomic_load(&s->seal_wanted))
        return true;
    (void)pthread_mutex_lock(&s->tally_lock);
    const struct store_tally *t = &s->tally;
    bool is = t->unsealed_bytes >= (int64_t)s->options.seal_bytes ||
              (t->oldest_unsealed != 0 && t->unsealed_events > 0 &&
               now - t->oldest_unsealed >= s->options.seal_age_us);
    (void)pthread_mutex_unlock(&s->tally_lock);
    return is;
}

enum tr_rc store_seal(struct tr_store *s, struct tr_err *err)
{
    if (!due(s)) {
        if (++s->idle_seals >= IDLE_SEALS)
            store_seal_rest(s);
        return TR_OK;
    }
    s->idle_seals = 0;
    if (seal_next(s, err) != TR_OK)
        return err->rc;
    if (due(s) && atomic_load(&s->sealed_seq) < atomic_load(&s->asof.flushed_seq))
        worker_tell(&s->sealer); /* one piece a pass, so that closing does not wait for all */
    return TR_OK;
}
