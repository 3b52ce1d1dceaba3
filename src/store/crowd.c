#include "store/crowd.h"

#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "store/who.h"

enum {
    KEPT_MOST = 16 << 20, /* persons beyond are read when a block needs them */
    GAP = 2048,           /* between two persons: cheaper to read than to ask twice */
    RUN_BYTES = 256 << 10,
    FIRST = 4096,
};

void crowd_init(struct crowd *c)
{
    *c = (struct crowd){ 0 };
    tr_buf_init(&c->kept, KEPT_MOST);
    tr_buf_init(&c->run, SIZE_MAX);
}

void crowd_fini(struct crowd *c)
{
    free(c->persons);
    free(c->order);
    free(c->named);
    tr_buf_fini(&c->kept);
    tr_buf_fini(&c->run);
    *c = (struct crowd){ 0 };
}

/* ---- reading ---- */

static int compare_places(const void *a, const void *b)
{
    const struct crowd_order *x = a;
    const struct crowd_order *y = b;

    return x->place < y->place ? -1 : x->place > y->place;
}

/* The events that are somebody's, by place. */
static enum tr_rc sort_events(struct crowd *c, struct crowd_event *events, size_t n, size_t *ret_n,
                              struct tr_err *err)
{
    size_t named = 0;

    if (n > c->cap_order) {
        struct crowd_order *order = realloc(c->order, n * sizeof(*order));
        if (order == NULL)
            return tr_fail_oom(err);
        c->order = order;
        c->cap_order = n;
    }
    for (size_t i = 0; i < n; i++) {
        events[i].person = 0;
        if (events[i].ref.at8 != 0)
            c->order[named++] =
                (struct crowd_order){ (uint64_t)events[i].file << 32 | events[i].ref.at8,
                                      (uint32_t)i };
    }
    if (named > 1)
        qsort(c->order, named, sizeof(*c->order), compare_places);
    *ret_n = named;
    return TR_OK;
}

static enum tr_rc add_person(struct crowd *c, const struct crowd_event *e, struct tr_err *err)
{
    if (c->n == c->cap) {
        size_t cap = c->cap == 0 ? FIRST : 2 * c->cap;
        struct crowd_person *persons = realloc(c->persons, cap * sizeof(*persons));
        if (persons == NULL)
            return tr_fail_oom(err);
        c->persons = persons;
        c->cap = cap;
    }
    c->persons[c->n++] = (struct crowd_person){ .ref = e->ref, .file = e->file, .at = SIZE_MAX };
    return TR_OK;
}

/* Each person once, in the order of the places. */
static enum tr_rc list_persons(struct crowd *c, struct crowd_event *events, size_t n,
                               struct tr_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct crowd_event *e = &events[c->order[i].event];
        bool same = i > 0 && c->order[i].place == c->order[i - 1].place;

        if (!same && add_person(c, e, err) != TR_OK)
            return err == NULL ? TR_INTERNAL : err->rc;
        e->person = (uint32_t)c->n;
    }
    return TR_OK;
}

static uint64_t begins(const struct crowd_person *p)
{
    return (uint64_t)p->ref.at8 * 8;
}

static uint64_t ends(const struct crowd_person *p)
{
    return begins(p) + asof_person_bytes(p->ref);
}

/* From person `from` on, those that one read is worth. */
static size_t run_end(const struct crowd *c, size_t from)
{
    const struct crowd_person *first = &c->persons[from];
    size_t to = from + 1;

    while (to < c->n && c->persons[to].file == first->file &&
           begins(&c->persons[to]) <= ends(&c->persons[to - 1]) + GAP &&
           ends(&c->persons[to]) - begins(first) <= RUN_BYTES)
        to++;
    return to;
}

static enum tr_rc read_run(struct crowd *c, const struct asof_file *f, size_t from, size_t to,
                           struct tr_err *err)
{
    uint64_t start = begins(&c->persons[from]);
    size_t bytes = (size_t)(ends(&c->persons[to - 1]) - start);

    tr_buf_clear(&c->run);
    char *p = tr_buf_reserve(&c->run, bytes);
    if (p == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = tr_file_pread_all(f->fd, p, bytes, (off_t)start, err);
    for (size_t i = from; i < to && rc == TR_OK; i++) {
        struct crowd_person *one = &c->persons[i];
        const char *record = p + (begins(one) - start);

        rc = asof_check(f, one->ref, record, err);
        one->at = c->kept.n;
        if (rc == TR_OK)
            who_put(&c->kept,
                    record + asof_person_bytes(one->ref) - one->ref.n - sizeof(struct tr_uuid),
                    one->ref.n);
    }
    return rc;
}

/* As many as there is room for. */
static enum tr_rc read_persons(struct crowd *c, struct asof_file *const *files, struct tr_err *err)
{
    size_t bytes = 0;
    size_t n = 0;

    while (n < c->n && bytes + who_bytes(c->persons[n].ref.n) <= KEPT_MOST)
        bytes += who_bytes(c->persons[n++].ref.n);
    if (bytes > 0 && tr_buf_reserve(&c->kept, bytes) == NULL)
        return tr_fail_oom(err);
    for (size_t from = 0; from < n;) {
        size_t to = run_end(c, from);

        to = to < n ? to : n;
        enum tr_rc rc = read_run(c, files[c->persons[from].file], from, to, err);
        if (rc != TR_OK)
            return rc;
        from = to;
    }
    return TR_OK;
}

enum tr_rc crowd_read(struct crowd *c, struct asof_file *const *files, struct crowd_event *events,
                      size_t n, struct tr_err *err)
{
    size_t named = 0;

    c->n = 0;
    c->block = 0;
    tr_buf_clear(&c->kept);
    enum tr_rc rc = sort_events(c, events, n, &named, err);
    if (rc == TR_OK)
        rc = list_persons(c, events, named, err);
    return rc == TR_OK ? read_persons(c, files, err) : rc;
}

/* ---- blocks ---- */

void crowd_begin_block(struct crowd *c)
{
    c->block++;
    c->n_named = 0;
    c->named_bytes = 0;
}

size_t crowd_bytes(const struct crowd *c, uint32_t person)
{
    return person == 0 ? 0 : who_bytes(c->persons[person - 1].ref.n);
}

static enum tr_rc name(struct crowd *c, uint32_t person, struct tr_err *err)
{
    if (c->n_named == c->cap_named) {
        size_t cap = c->cap_named == 0 ? FIRST : 2 * c->cap_named;
        uint32_t *named = realloc(c->named, cap * sizeof(*named));
        if (named == NULL)
            return tr_fail_oom(err);
        c->named = named;
        c->cap_named = cap;
    }
    c->named[c->n_named++] = person;
    c->named_bytes += crowd_bytes(c, person);
    return TR_OK;
}

enum tr_rc crowd_add(struct crowd *c, uint32_t person, uint32_t *ret, struct tr_err *err)
{
    *ret = 0;
    if (person == 0)
        return TR_OK;
    struct crowd_person *p = &c->persons[person - 1];
    if (p->block != c->block) {
        enum tr_rc rc = name(c, person, err);
        if (rc != TR_OK)
            return rc;
        p->block = c->block;
        p->number = (uint32_t)c->n_named;
    }
    *ret = p->number;
    return TR_OK;
}

enum tr_rc crowd_write(const struct crowd *c, struct asof_file *const *files, struct tr_buf *out,
                       struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < c->n_named && rc == TR_OK; i++) {
        const struct crowd_person *p = &c->persons[c->named[i] - 1];

        if (p->at == SIZE_MAX)
            rc = who_append(out, files[p->file], p->ref, NULL, err);
        else
            tr_buf_add(out, c->kept.p + p->at, who_bytes(p->ref.n));
    }
    return rc == TR_OK && out->failed ? tr_fail_oom(err) : rc;
}
