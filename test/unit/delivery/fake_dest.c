/* A table and a folder in memory. */
#include "fakes_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "os/thread.h"

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
    enum tr_rc rc = fake_meet_simple(FAKE_WRITE, err);

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
    enum tr_rc rc = fake_meet_simple(FAKE_REMOVE, err);

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
            struct tr_batch bad = { .schema = &tr_schema_events, .rows = 1 };
            bad.col[TR_EVENT_UUID].uuid = &l->rows[i];
            bad.inserted_at = &l->at[i];
            l->rejects->reject(l->rejects, &bad, 0, "a bad row");
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

static enum tr_rc load_commit(const struct tr_ctx *cx, struct tr_load *base, struct tr_receipt *ret,
                              struct tr_err *err)
{
    struct fake_load *l = (struct fake_load *)(void *)base;
    enum fake_fault after = FAKE_FINE;
    enum tr_rc rc = fake_meet(FAKE_COMMIT, &after, err);

    (void)cx;
    if (rc == TR_OK && !l->careful && has_bad(l))
        rc = tr_fail(err, TR_REFUSED, tr_dest_rows_refused, NULL, "some row is bad");
    if (rc == TR_OK) {
        (void)pthread_mutex_lock(&place_lock);
        *ret = apply(l, after == FAKE_AMBIGUOUS_LATER ? 1 : 0);
        (void)pthread_mutex_unlock(&place_lock);
        rc = fake_meet_after(after, err);
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
    enum tr_rc rc = fake_meet_simple(FAKE_OPEN, err);

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
                               const struct tr_projection *p, tr_column_mask *ret_used,
                               struct tr_notice_sink *notices, struct tr_err *err)
{
    (void)cx;
    (void)err;
    assert_true(p->n > 0);
    *ret_used = (tr_column_mask)1 << TR_EVENT_UUID | (tr_column_mask)1 << TR_EVENT_EVENT;
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
    enum tr_rc rc = fake_meet_simple(FAKE_BEGIN, err);

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
    enum tr_rc rc = fake_meet_simple(FAKE_LOOKUP, err);

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
static enum tr_rc folder_finish(const struct tr_ctx *cx, struct tr_dest *d,
                                const struct tr_key *run, const struct tr_key *chunks,
                                const struct tr_receipt *receipts, size_t n, struct tr_err *err)
{
    struct fake_place *p = place_of(d);
    enum fake_fault after = FAKE_FINE;
    enum tr_rc rc = fake_meet(FAKE_FINISH, &after, err);

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
        e->is_published = true;
        for (size_t k = 0; k < p->n; k++)
            p->rows[k].is_live = p->rows[k].is_live || strcmp(p->rows[k].chunk, key) == 0;
    }
    (void)pthread_mutex_unlock(&place_lock);
    return fake_meet_after(after, err);
}

static enum tr_rc folder_published(const struct tr_ctx *cx, struct tr_dest *d,
                                   const struct tr_key *run, const struct tr_key *chunk, bool *ret,
                                   struct tr_err *err)
{
    char key[TR_KEY_TEXT];
    enum tr_rc rc = fake_meet_simple(FAKE_LOOKUP, err);

    (void)cx;
    (void)run;
    if (rc != TR_OK)
        return rc;
    (void)pthread_mutex_lock(&place_lock);
    const struct fake_entry *e = find_entry(place_of(d), tr_key_format(chunk, key));
    *ret = e != NULL && e->is_published;
    (void)pthread_mutex_unlock(&place_lock);
    return TR_OK;
}

static enum tr_rc dest_recount(const struct tr_ctx *cx, struct tr_dest *d,
                               const struct tr_owner *owner, const struct tr_key *keys,
                               size_t n_keys, const struct tr_uuid *uuids, size_t n,
                               struct tr_recount *ret, struct tr_err *err)
{
    (void)cx;
    (void)owner;
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
    { .name = "connections",
      .type = TR_OPT_INT,
      .fallback = "1",
      .min = 1,
      .max = 8,
      .doc = "at once" },
    { .name = NULL },
};

static const struct tr_default_column defaults[] = { { "uuid", NULL },
                                                     { "event", NULL },
                                                     { NULL, NULL } };

const struct tr_dest_ops fake_table_ops = {
    .name = "Table",
    .caps = TR_DEST_COMMITS_CHUNK | TR_DEST_REPLACES | TR_DEST_RECOUNTS,
    .options = options,
    .defaults = { defaults },
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
    .defaults = { defaults },
    .target = dest_target,
    .open = folder_open,
    .prepare = dest_prepare,
    .begin = dest_begin,
    .lookup = dest_lookup,
    .finish = folder_finish,
    .published = folder_published,
    .recount = dest_recount,
    .close = dest_close,
};
