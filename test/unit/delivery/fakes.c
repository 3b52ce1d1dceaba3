#include "fakes.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "os/random.h"
#include "os/thread.h"

struct fakes fakes;

/* ---- scripts ---- */

uint64_t fake_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static enum fake_fault next_never(struct fake_script *s, enum fake_op op)
{
    s->calls[op]++;
    return FAKE_FINE;
}

static enum fake_fault next_once(struct fake_script *s, enum fake_op op)
{
    return ++s->calls[op] == s->nth && op == s->op ? s->fault : FAKE_FINE;
}

static enum fake_fault next_chance(struct fake_script *s, enum fake_op op)
{
    static const enum fake_fault commit[] = { FAKE_TRANSIENT,       FAKE_REFUSED,
                                              FAKE_AMBIGUOUS_DONE,  FAKE_AMBIGUOUS_NOT,
                                              FAKE_AMBIGUOUS_LATER, FAKE_DIE,
                                              FAKE_DIE_DONE,        FAKE_THROTTLED };
    static const enum fake_fault meta[] = { FAKE_DIE, FAKE_DIE_DONE, FAKE_TRANSIENT };
    static const enum fake_fault other[] = { FAKE_TRANSIENT, FAKE_REFUSED, FAKE_DIE };
    uint64_t r = fake_random(&s->random);

    s->calls[op]++;
    if (r % 1000 >= s->per_mille)
        return FAKE_FINE;
    r >>= 32;
    if (op == FAKE_COMMIT)
        return commit[r % (sizeof(commit) / sizeof(commit[0]))];
    if (op == FAKE_META)
        return meta[r % (sizeof(meta) / sizeof(meta[0]))];
    return other[r % (sizeof(other) / sizeof(other[0]))];
}

void fake_never(struct fake_script *s)
{
    *s = (struct fake_script){ .next = next_never };
}

void fake_once(struct fake_script *s, enum fake_op op, int nth, enum fake_fault fault)
{
    *s = (struct fake_script){ .next = next_once, .op = op, .nth = nth, .fault = fault };
}

void fake_chance(struct fake_script *s, uint64_t seed, unsigned per_mille)
{
    *s = (struct fake_script){ .next = next_chance, .random = seed, .per_mille = per_mille };
}

static pthread_mutex_t script_lock = PTHREAD_MUTEX_INITIALIZER;

static enum tr_rc died(struct tr_err *err)
{
    fakes.dead = true;
    return tr_fail(err, TR_INTERNAL, "fake.dead", NULL, "the process is dead");
}

/* What an op is to return; TR_OK: go on (*ret_after: what to do once it had its effect). */
static enum tr_rc meet(enum fake_op op, enum fake_fault *ret_after, struct tr_err *err)
{
    (void)pthread_mutex_lock(&script_lock);
    enum fake_fault f = fakes.dead ? FAKE_DIE : fakes.script.next(&fakes.script, op);
    enum tr_rc rc = TR_OK;

    *ret_after = FAKE_FINE;
    switch (f) {
    case FAKE_FINE:
        break;
    case FAKE_TRANSIENT:
        rc = tr_fail(err, TR_TRANSIENT, "fake.transient", NULL, "try again");
        break;
    case FAKE_THROTTLED:
        rc = tr_fail(err, TR_THROTTLED, "fake.throttled", NULL, "too often");
        break;
    case FAKE_REFUSED:
        rc = tr_fail(err, TR_REFUSED, "fake.refused", "mend it", "not allowed");
        break;
    case FAKE_AMBIGUOUS_NOT:
        rc = tr_fail(err, TR_AMBIGUOUS, "fake.lost", NULL, "the answer was lost");
        break;
    case FAKE_DIE:
        rc = died(err);
        break;
    case FAKE_CANCEL:
        atomic_store(&fakes.cancelled, true);
        break;
    case FAKE_AMBIGUOUS_DONE:
    case FAKE_AMBIGUOUS_LATER:
    case FAKE_DIE_DONE:
        *ret_after = f;
        break;
    }
    (void)pthread_mutex_unlock(&script_lock);
    return rc;
}

static enum tr_rc meet_after(enum fake_fault after, struct tr_err *err)
{
    if (after == FAKE_DIE_DONE)
        return died(err);
    if (after != FAKE_FINE)
        return tr_fail(err, TR_AMBIGUOUS, "fake.lost", NULL, "the answer was lost");
    return TR_OK;
}

static enum tr_rc meet_simple(enum fake_op op, struct tr_err *err)
{
    enum fake_fault after;
    enum tr_rc rc = meet(op, &after, err);

    return rc == TR_OK ? meet_after(after, err) : rc;
}

/* ---- the source ---- */

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
    int64_t at = s->n != 0 && s->events[s->n - 1].at >= s->now ? s->events[s->n - 1].at + 1 : s->now;
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
    return t <= source_of(s)->now;
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
                              struct tr_range range, uint64_t max_rows, uint64_t max_bytes,
                              struct tr_part *ret, size_t cap, size_t *ret_n,
                              int64_t *ret_covered_hi, struct tr_err *err)
{
    struct fake_source *s = source_of(base);
    size_t n = 0;
    enum tr_rc rc = check_range(s, range, err);

    (void)cx;
    (void)max_bytes;
    if (rc == TR_OK)
        rc = meet_simple(FAKE_PLAN, err);
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
    enum tr_rc rc = meet_simple(FAKE_READ, err);

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

static enum tr_rc source_extent(struct tr_source *base, int32_t project, struct tr_range range,
                                bool *ret_any, int64_t *ret_first, int64_t *ret_last,
                                struct tr_err *err)
{
    struct fake_source *s = source_of(base);

    (void)err;
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

static const struct tr_source_ops source_ops = {
    .name = "fake",
    .caps = TR_SOURCE_STABLE,
    .close_through = source_close_through,
    .now = source_now,
    .floor = source_floor,
    .plan = source_plan,
    .read = source_read,
    .counts = source_counts,
    .extent = source_extent,
    .close = source_close,
};

/* ---- the destination ---- */

static pthread_mutex_t place_lock = PTHREAD_MUTEX_INITIALIZER;

struct fake_dest {
    struct tr_dest base;
    struct fake_place *place;
};

struct fake_load {
    struct tr_load base;
    struct fake_place *place;
    char key[TR_KEY_TEXT];
    bool careful, run_commits;
    struct tr_reject_sink *rejects;
    struct tr_uuid *rows, *removed;
    int64_t *at;
    size_t n, n_removed;
};

struct fake_place *fake_place(const char *name)
{
    for (size_t i = 0; i < fakes.n_places; i++) {
        if (strcmp(fakes.places[i].name, name) == 0)
            return &fakes.places[i];
    }
    assert_true(fakes.n_places < FAKE_PLACES);
    struct fake_place *p = &fakes.places[fakes.n_places++];
    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    return p;
}

size_t fake_live(const struct fake_place *p, const struct tr_uuid *u)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++)
        n += p->rows[i].is_live && memcmp(&p->rows[i].uuid, u, sizeof(*u)) == 0;
    return n;
}

void fake_remove_one(struct fake_place *p, const struct tr_uuid *u)
{
    for (size_t i = 0; i < p->n; i++) {
        if (memcmp(&p->rows[i].uuid, u, sizeof(*u)) == 0) {
            p->rows[i] = p->rows[--p->n];
            return;
        }
    }
}

static void add_row(struct fake_place *p, const struct tr_uuid *u, const char *chunk, bool live)
{
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 256 : p->cap * 2;
        p->rows = realloc(p->rows, p->cap * sizeof(*p->rows));
        assert_non_null(p->rows);
    }
    struct fake_row *r = &p->rows[p->n++];
    *r = (struct fake_row){ .uuid = *u, .is_live = live };
    (void)snprintf(r->chunk, sizeof(r->chunk), "%s", chunk);
}

static struct fake_entry *find_entry(struct fake_place *p, const char *key)
{
    for (size_t i = 0; i < p->n_ledger; i++) {
        if (strcmp(p->ledger[i].key, key) == 0)
            return &p->ledger[i];
    }
    return NULL;
}

static struct fake_entry *add_entry(struct fake_place *p, const char *key)
{
    if (p->n_ledger == p->cap_ledger) {
        p->cap_ledger = p->cap_ledger == 0 ? 64 : p->cap_ledger * 2;
        p->ledger = realloc(p->ledger, p->cap_ledger * sizeof(*p->ledger));
        assert_non_null(p->ledger);
    }
    struct fake_entry *e = &p->ledger[p->n_ledger++];
    *e = (struct fake_entry){ 0 };
    (void)snprintf(e->key, sizeof(e->key), "%s", key);
    return e;
}

static enum tr_rc load_write(const struct tr_ctx *cx, struct tr_load *base,
                             const struct tr_batch *b, struct tr_err *err)
{
    struct fake_load *l = (struct fake_load *)(void *)base;
    enum tr_rc rc = meet_simple(FAKE_WRITE, err);

    if (rc == TR_OK && tr_ctx_cancelled(cx))
        rc = tr_fail(err, TR_CANCELLED, "fake.cancelled", NULL, "cancelled");
    if (rc != TR_OK)
        return rc;
    l->rows = realloc(l->rows, (l->n + b->rows) * sizeof(*l->rows));
    l->at = realloc(l->at, (l->n + b->rows) * sizeof(*l->at));
    assert_true(l->rows != NULL && l->at != NULL);
    memcpy(l->rows + l->n, b->col[TR_EVENT_UUID].uuid, b->rows * sizeof(*l->rows));
    memcpy(l->at + l->n, b->inserted_at, b->rows * sizeof(*l->at));
    l->n += b->rows;
    return TR_OK;
}

static enum tr_rc load_remove(const struct tr_ctx *cx, struct tr_load *base,
                              const struct tr_uuid *uuids, size_t n, struct tr_err *err)
{
    struct fake_load *l = (struct fake_load *)(void *)base;
    enum tr_rc rc = meet_simple(FAKE_REMOVE, err);

    (void)cx;
    if (rc != TR_OK)
        return rc;
    assert_true(n <= 20000 && l->n == 0);
    l->removed = realloc(l->removed, (l->n_removed + n) * sizeof(*l->removed));
    assert_non_null(l->removed);
    memcpy(l->removed + l->n_removed, uuids, n * sizeof(*uuids));
    l->n_removed += n;
    return TR_OK;
}

static void load_abort(struct tr_load *base)
{
    struct fake_load *l = (struct fake_load *)(void *)base;

    (void)pthread_mutex_lock(&place_lock);
    l->place->loads_at_once--;
    (void)pthread_mutex_unlock(&place_lock);
    free(l->rows);
    free(l->removed);
    free(l->at);
    free(l);
}

/* Puts the rows there; under the lock. */
static struct tr_receipt apply(struct fake_load *l, int in_flight)
{
    struct fake_place *p = l->place;
    struct fake_entry *e = find_entry(p, l->key);

    if (e != NULL) {
        struct tr_receipt r = e->receipt;
        r.was_there = true;
        return r;
    }
    e = add_entry(p, l->key);
    e->in_flight = in_flight;
    for (size_t i = 0; i < l->n_removed; i++) {
        for (size_t k = 0; k < p->n; k++) {
            if (memcmp(&p->rows[k].uuid, &l->removed[i], sizeof(struct tr_uuid)) == 0)
                p->rows[k--] = p->rows[--p->n];
        }
    }
    for (size_t i = 0; i < l->n; i++) {
        if (fake_is_bad(&l->rows[i])) {
            l->rejects->reject(l->rejects, &l->rows[i], l->at[i], "a bad row");
            e->receipt.rejected++;
        } else {
            add_row(p, &l->rows[i], l->key, !l->run_commits);
            e->receipt.delivered++;
        }
    }
    e->receipt.bytes = l->n * 100;
    return e->receipt;
}

static bool has_bad(const struct fake_load *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (fake_is_bad(&l->rows[i]))
            return true;
    }
    return false;
}

static enum tr_rc load_commit(const struct tr_ctx *cx, struct tr_load *base,
                              struct tr_receipt *ret, struct tr_err *err)
{
    struct fake_load *l = (struct fake_load *)(void *)base;
    enum fake_fault after = FAKE_FINE;
    enum tr_rc rc = meet(FAKE_COMMIT, &after, err);

    (void)cx;
    if (rc == TR_OK && !l->careful && has_bad(l))
        rc = tr_fail(err, TR_REFUSED, tr_dest_rows_refused, NULL, "some row is bad");
    if (rc == TR_OK) {
        (void)pthread_mutex_lock(&place_lock);
        *ret = apply(l, after == FAKE_AMBIGUOUS_LATER ? 1 : 0);
        (void)pthread_mutex_unlock(&place_lock);
        rc = meet_after(after, err);
    }
    load_abort(base);
    return rc;
}

static const struct tr_load_ops table_load_ops = {
    .write = load_write,
    .remove = load_remove,
    .commit = load_commit,
    .abort = load_abort,
};
static const struct tr_load_ops folder_load_ops = {
    .write = load_write,
    .commit = load_commit,
    .abort = load_abort,
};

static void dest_target(const struct tr_conf *conf, struct tr_buf *out)
{
    tr_buf_printf(out, "fake://%s", tr_conf_text(conf, "place"));
}

static enum tr_rc open_place(const struct tr_conf *conf, const struct tr_dest_ops *ops,
                             struct tr_dest **ret, struct tr_err *err)
{
    enum tr_rc rc = meet_simple(FAKE_OPEN, err);

    if (rc != TR_OK)
        return rc;
    assert_string_equal(tr_conf_text(conf, "token"), "s3cret"); /* the sealed one arrived */
    struct fake_dest *d = calloc(1, sizeof(*d));
    assert_non_null(d);
    d->base.ops = ops;
    (void)pthread_mutex_lock(&place_lock);
    d->place = fake_place(tr_conf_text(conf, "place"));
    d->place->opened++;
    d->place->open_now++;
    (void)pthread_mutex_unlock(&place_lock);
    *ret = &d->base;
    return TR_OK;
}

static enum tr_rc table_open(const struct tr_ctx *cx, const struct tr_conf *conf,
                             struct tr_dest **ret, struct tr_err *err)
{
    (void)cx;
    return open_place(conf, &fake_table_ops, ret, err);
}

static enum tr_rc folder_open(const struct tr_ctx *cx, const struct tr_conf *conf,
                              struct tr_dest **ret, struct tr_err *err)
{
    (void)cx;
    return open_place(conf, &fake_folder_ops, ret, err);
}

static struct fake_place *place_of(struct tr_dest *d)
{
    return ((struct fake_dest *)(void *)d)->place;
}

static enum tr_rc dest_prepare(const struct tr_ctx *cx, struct tr_dest *d,
                               const struct tr_projection *p, struct tr_notice_sink *notices,
                               struct tr_err *err)
{
    (void)cx;
    (void)err;
    assert_true(p->n > 0);
    (void)pthread_mutex_lock(&place_lock);
    bool first = place_of(d)->prepared++ == 0;
    (void)pthread_mutex_unlock(&place_lock);
    if (first)
        notices->notice(notices, "the place was made");
    return TR_OK;
}

static enum tr_rc dest_begin(const struct tr_ctx *cx, struct tr_dest *d,
                             const struct tr_load_spec *spec, struct tr_load **ret,
                             struct tr_err *err)
{
    struct fake_place *p = place_of(d);
    enum tr_rc rc = meet_simple(FAKE_BEGIN, err);

    (void)cx;
    if (rc != TR_OK)
        return rc;
    struct fake_load *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    l->run_commits = (d->ops->caps & TR_DEST_COMMITS_RUN) != 0;
    l->base.ops = l->run_commits ? &folder_load_ops : &table_load_ops;
    l->place = p;
    l->careful = spec->careful;
    l->rejects = spec->rejects;
    (void)tr_key_format(&spec->key, l->key);
    (void)pthread_mutex_lock(&place_lock);
    if (++p->loads_at_once > p->most_loads)
        p->most_loads = p->loads_at_once;
    (void)pthread_mutex_unlock(&place_lock);
    *ret = &l->base;
    return TR_OK;
}

static enum tr_rc dest_lookup(const struct tr_ctx *cx, struct tr_dest *d, const struct tr_key *key,
                              enum tr_chunk_state *ret, struct tr_receipt *ret_receipt,
                              struct tr_err *err)
{
    char text[TR_KEY_TEXT];
    enum tr_rc rc = meet_simple(FAKE_LOOKUP, err);

    (void)cx;
    if (rc != TR_OK)
        return rc;
    (void)pthread_mutex_lock(&place_lock);
    struct fake_entry *e = find_entry(place_of(d), tr_key_format(key, text));
    if (e == NULL) {
        *ret = TR_CHUNK_ABSENT;
    } else if (e->in_flight > 0) {
        e->in_flight--;
        *ret = TR_CHUNK_IN_FLIGHT;
    } else {
        *ret = TR_CHUNK_PRESENT;
        *ret_receipt = e->receipt;
    }
    (void)pthread_mutex_unlock(&place_lock);
    return TR_OK;
}

/* Publishes exactly the chunks it is told of. */
static enum tr_rc folder_finish(const struct tr_ctx *cx, struct tr_dest *d, const struct tr_key *run,
                                const struct tr_key *chunks, const struct tr_receipt *receipts,
                                size_t n, struct tr_err *err)
{
    struct fake_place *p = place_of(d);
    enum fake_fault after = FAKE_FINE;
    enum tr_rc rc = meet(FAKE_FINISH, &after, err);

    (void)cx;
    (void)run;
    if (rc != TR_OK)
        return rc;
    (void)pthread_mutex_lock(&place_lock);
    for (size_t i = 0; i < n; i++) {
        char key[TR_KEY_TEXT];
        struct fake_entry *e = find_entry(p, tr_key_format(&chunks[i], key));

        assert_non_null(e); /* a manifest never names what is not there */
        assert_int_equal(e->receipt.delivered, receipts[i].delivered);
        for (size_t k = 0; k < p->n; k++)
            p->rows[k].is_live = p->rows[k].is_live || strcmp(p->rows[k].chunk, key) == 0;
    }
    (void)pthread_mutex_unlock(&place_lock);
    return meet_after(after, err);
}

static enum tr_rc dest_recount(const struct tr_ctx *cx, struct tr_dest *d,
                               const struct tr_key *keys, size_t n_keys,
                               const struct tr_uuid *uuids, size_t n, struct tr_recount *ret,
                               struct tr_err *err)
{
    (void)cx;
    (void)keys;
    (void)err;
    assert_true(n_keys > 0 && n > 0 && n <= 20000);
    *ret = (struct tr_recount){ .expected = n };
    for (size_t i = 0; i < n; i++) {
        size_t there = fake_live(place_of(d), &uuids[i]);
        ret->found += there != 0;
        ret->copies += there > 1 ? there - 1 : 0;
    }
    return TR_OK;
}

static void dest_close(struct tr_dest *d)
{
    (void)pthread_mutex_lock(&place_lock);
    place_of(d)->open_now--;
    (void)pthread_mutex_unlock(&place_lock);
    free(d);
}

static const struct tr_option options[] = {
    { .name = "place", .type = TR_OPT_TEXT, .required = true, .doc = "where" },
    { .name = "token", .type = TR_OPT_TEXT, .required = true, .secret = true, .doc = "secret" },
    { .name = "connections", .type = TR_OPT_INT, .fallback = "1", .min = 1, .max = 8,
      .doc = "at once" },
    { .name = NULL },
};

const struct tr_dest_ops fake_table_ops = {
    .name = "Table",
    .caps = TR_DEST_COMMITS_CHUNK | TR_DEST_REPLACES | TR_DEST_RECOUNTS,
    .options = options,
    .target = dest_target,
    .open = table_open,
    .prepare = dest_prepare,
    .begin = dest_begin,
    .lookup = dest_lookup,
    .recount = dest_recount,
    .close = dest_close,
};

const struct tr_dest_ops fake_folder_ops = {
    .name = "Folder",
    .caps = TR_DEST_COMMITS_RUN | TR_DEST_RECOUNTS,
    .options = options,
    .target = dest_target,
    .open = folder_open,
    .prepare = dest_prepare,
    .begin = dest_begin,
    .lookup = dest_lookup,
    .finish = folder_finish,
    .recount = dest_recount,
    .close = dest_close,
};

static const struct tr_dest_ops *const dests[] = { &fake_table_ops, &fake_folder_ops, NULL };

/* ---- metadata that can die ---- */

/* Each verb that writes: the script is asked before, and a death after it leaves the effect. */
#define MORTAL(verb, params, args)                                                                 \
    static enum tr_rc mortal_##verb params                                                         \
    {                                                                                              \
        enum fake_fault after = FAKE_FINE;                                                         \
        enum tr_rc rc = meet(FAKE_META, &after, err);                                              \
        if (rc == TR_OK)                                                                           \
            rc = fakes.real->verb args;                                                            \
        return rc == TR_OK ? meet_after(after, err) : rc;                                          \
    }

MORTAL(cursor_set, (struct tr_meta * m, const struct tr_uuid *id, int64_t to, struct tr_err *err),
       (m, id, to, err))
MORTAL(run_schedule, (struct tr_meta * m, struct tr_run *r, struct tr_err *err), (m, r, err))
MORTAL(run_backfill, (struct tr_meta * m, struct tr_run *r, struct tr_err *err), (m, r, err))
MORTAL(run_claim,
       (struct tr_meta * m, const char *w, int64_t now, int64_t lease, struct tr_run *ret,
        bool *found, int64_t *next, struct tr_err *err),
       (m, w, now, lease, ret, found, next, err))
MORTAL(run_taken,
       (struct tr_meta * m, const struct tr_run *r, uint64_t target, struct tr_range **ret,
        size_t *n, struct tr_err *err),
       (m, r, target, ret, n, err))
MORTAL(plan_add,
       (struct tr_meta * m, const struct tr_run *r, uint64_t target, const struct tr_chunk *c,
        size_t n, struct tr_err *err),
       (m, r, target, c, n, err))
MORTAL(plan_drop, (struct tr_meta * m, const struct tr_run *r, struct tr_err *err), (m, r, err))
MORTAL(chunk_sent, (struct tr_meta * m, const struct tr_run *r, uint32_t n, struct tr_err *err),
       (m, r, n, err))
MORTAL(chunk_done,
       (struct tr_meta * m, const struct tr_run *r, uint64_t target, uint32_t n,
        const struct tr_account *a, bool deliver, const struct tr_reject *rejects, size_t n_rejects,
        struct tr_err *err),
       (m, r, target, n, a, deliver, rejects, n_rejects, err))
MORTAL(chunk_absent, (struct tr_meta * m, const struct tr_run *r, uint32_t n, struct tr_err *err),
       (m, r, n, err))
MORTAL(run_finish,
       (struct tr_meta * m, const struct tr_run *r, uint64_t target, bool deliver,
        struct tr_err *err),
       (m, r, target, deliver, err))
MORTAL(orphan_settle,
       (struct tr_meta * m, const struct tr_run *r, uint64_t target, const struct tr_orphan *o,
        const struct tr_account *a, int64_t now, struct tr_err *err),
       (m, r, target, o, a, now, err))
MORTAL(backfill_finish,
       (struct tr_meta * m, const struct tr_uuid *id, enum tr_run_state state, int64_t now,
        struct tr_err *err),
       (m, id, state, now, err))

static void make_mortal(void)
{
    fakes.real = fakes.meta->ops;
    fakes.mortal = *fakes.real;
    fakes.mortal.cursor_set = mortal_cursor_set;
    fakes.mortal.run_schedule = mortal_run_schedule;
    fakes.mortal.run_backfill = mortal_run_backfill;
    fakes.mortal.run_claim = mortal_run_claim;
    fakes.mortal.run_taken = mortal_run_taken;
    fakes.mortal.plan_add = mortal_plan_add;
    fakes.mortal.plan_drop = mortal_plan_drop;
    fakes.mortal.chunk_sent = mortal_chunk_sent;
    fakes.mortal.chunk_done = mortal_chunk_done;
    fakes.mortal.chunk_absent = mortal_chunk_absent;
    fakes.mortal.run_finish = mortal_run_finish;
    fakes.mortal.orphan_settle = mortal_orphan_settle;
    fakes.mortal.backfill_finish = mortal_backfill_finish;
    fakes.meta->ops = &fakes.mortal;
}

/* ---- all of it ---- */

static pthread_cond_t line_came = PTHREAD_COND_INITIALIZER;

bool fakes_wait_for_lines(const char *part, int times)
{
    struct timespec until;
    int error = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    (void)pthread_mutex_lock(&script_lock);
    assert_true(fakes.awaited != NULL && strcmp(fakes.awaited, part) == 0);
    while (fakes.awaited_lines < times && error == 0)
        error = pthread_cond_timedwait(&line_came, &script_lock, &until);
    (void)pthread_mutex_unlock(&script_lock);
    return error == 0;
}

static void keep_line(void *arg, const char *level, const struct tr_uuid *export_id,
                      const struct tr_uuid *run_id, const char *text)
{
    (void)arg;
    (void)export_id;
    (void)run_id;
    (void)pthread_mutex_lock(&script_lock);
    if (fakes.awaited != NULL && strstr(text, fakes.awaited) != NULL) {
        fakes.awaited_lines++;
        (void)pthread_cond_broadcast(&line_came);
    }
    (void)snprintf(fakes.last_line, sizeof(fakes.last_line), "%s: %s", level, text);
    if (fakes.noisy)
        print_message("# %s: %s\n", level, text);
    (void)pthread_mutex_unlock(&script_lock);
}

static const char *const *default_columns(const struct tr_dest_ops *ops, const struct tr_schema *s)
{
    static const char *const names[] = { "uuid", "event", NULL };

    (void)ops;
    (void)s;
    return names;
}

static void must(enum tr_rc rc, const struct tr_err *err)
{
    char text[512];

    if (rc != TR_OK)
        fail_msg("%s", tr_err_text(err, text, sizeof(text)));
}

void fakes_open(void)
{
    struct tr_err err = { 0 };
    struct tr_project project;
    char path[96];

    memset(&fakes, 0, sizeof(fakes));
    fake_never(&fakes.script);
    fakes.source.base.ops = &source_ops;
    fakes.source.batch_rows = 7;
    fakes.source.now = INT64_C(1767225600) * TR_US_PER_S; /* 2026-01-01T00:00:00Z */
    /* Memory, where there is some: what is tested here is not the disk. */
    (void)snprintf(fakes.dir, sizeof(fakes.dir), "%s/tr-delivery-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(fakes.dir));
    (void)snprintf(path, sizeof(path), "%s/meta.db", fakes.dir);
    must(tr_meta_sqlite_open(path, &fakes.meta, &err), &err);
    must(fakes.meta->ops->project_create(fakes.meta, "p", "token", &project, &err), &err);
    assert_int_equal(project.id, 1);
    make_mortal();
    (void)snprintf(path, sizeof(path), "%s/key", fakes.dir);
    must(tr_keyring_open(path, &fakes.keys, &err), &err);
    fakes.delivery = (struct tr_delivery){
        .meta = fakes.meta,
        .source = &fakes.source.base,
        .keys = fakes.keys,
        .dests = dests,
        .default_columns = default_columns,
        .epoch = 1,
        .chunk_rows = 10,
        .chunk_bytes = 1 << 20,
        .log = keep_line,
    };
    must(fakes.meta->ops->identity(fakes.meta, &fakes.delivery.installation,
                                   &(struct tr_uuid){ { 0 } }, &err),
         &err);
}

void fakes_close(void)
{
    static const char *const files[] = { "meta.db", "meta.db-wal", "meta.db-shm", "key" };

    for (size_t i = 0; i < fakes.n_places; i++) {
        assert_int_equal(fakes.places[i].open_now, 0);
        assert_int_equal(fakes.places[i].loads_at_once, 0);
        free(fakes.places[i].rows);
        free(fakes.places[i].ledger);
    }
    free(fakes.source.events);
    fakes.meta->ops = fakes.real;
    fakes.meta->ops->close(fakes.meta);
    tr_keyring_free(fakes.keys);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[96];
        (void)snprintf(path, sizeof(path), "%s/%s", fakes.dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(fakes.dir);
}

void fakes_revive(void)
{
    struct tr_err err = { 0 };

    fakes.dead = false;
    atomic_store(&fakes.cancelled, false);
    for (size_t i = 0; i < fakes.n_places; i++) {
        for (size_t k = 0; k < fakes.places[i].n_ledger; k++)
            fakes.places[i].ledger[k].in_flight = 0;
    }
    must(fakes.real->run_release_all(fakes.meta, &err), &err);
}

/* ---- exports ---- */

const char *fake_body(const char *interval, const char *type, const char *place, int connections,
                      const char *more)
{
    static char text[2048];

    (void)snprintf(text, sizeof(text),
                   "{\"name\": \"x\", \"interval\": \"%s\", \"destination\": {\"type\": \"%s\","
                   " \"config\": {\"place\": \"%s\", \"connections\": %d}}%s%s}",
                   interval, type, place, connections, more[0] == '\0' ? "" : ", ", more);
    return text;
}

static uint64_t target_of(const char *place)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (; *place != '\0'; place++)
        h = (h ^ (uint8_t)*place) * UINT64_C(0x100000001b3);
    return h;
}

static void save_export(struct tr_uuid *id, const char *text, bool is_new)
{
    struct tr_err err = { 0 };
    struct tr_export *e = NULL;
    struct tr_buf sealed;
    char id_text[TR_UUID_TEXT];
    json_t *body = json_loads(text, 0, NULL);

    assert_non_null(body);
    must(tr_export_parse(body, &e, &err), &err);
    e->id = *id;
    e->project = 1;
    e->created_at = fakes.source.now;
    e->updated_at = fakes.source.now;
    const char *place = json_string_value(json_object_get(e->dest_config, "place"));
    e->target = target_of(place);
    free(e->target_text);
    e->target_text = strdup(place);

    tr_buf_init(&sealed, 4096);
    tr_uuid_format(id, id_text);
    must(tr_seal(fakes.keys, tr_str_of(id_text), TR_STR("{\"token\": \"s3cret\"}"), &sealed, &err),
         &err);
    if (is_new)
        must(fakes.real->export_create(fakes.meta, e, tr_str_of(text), tr_buf_view(&sealed), &err),
             &err);
    else
        must(fakes.real->export_update(fakes.meta, e, tr_str_of(text), tr_buf_view(&sealed), &err),
             &err);
    tr_buf_fini(&sealed);
    tr_export_free(e);
    json_decref(body);
}

struct tr_uuid fake_export(const char *body)
{
    struct tr_uuid id = { { 0 } };

    /* Always the same ones: delays at start come from the id. */
    id.b[0] = ++fakes.n_exports;
    id.b[15] = 0x77;
    save_export(&id, body, true);
    return id;
}

void fake_export_update(const struct tr_uuid *id, const char *body)
{
    struct tr_uuid same = *id;

    save_export(&same, body, false);
}
