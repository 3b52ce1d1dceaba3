#include "fakes_priv.h"

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

pthread_mutex_t fake_script_lock = PTHREAD_MUTEX_INITIALIZER;

static enum tr_rc died(struct tr_err *err)
{
    fakes.dead = true;
    return tr_fail(err, TR_INTERNAL, "fake.dead", NULL, "the process is dead");
}

/* What an op is to return; TR_OK: go on (*ret_after: what to do once it had its effect). */
enum tr_rc fake_meet(enum fake_op op, enum fake_fault *ret_after, struct tr_err *err)
{
    (void)pthread_mutex_lock(&fake_script_lock);
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
        rc = tr_fail(err, TR_REFUSED, fakes.refusal != NULL ? fakes.refusal : "fake.refused",
                     "mend it", "not allowed");
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
    (void)pthread_mutex_unlock(&fake_script_lock);
    return rc;
}

enum tr_rc fake_meet_after(enum fake_fault after, struct tr_err *err)
{
    if (after == FAKE_DIE_DONE)
        return died(err);
    if (after != FAKE_FINE)
        return tr_fail(err, TR_AMBIGUOUS, "fake.lost", NULL, "the answer was lost");
    return TR_OK;
}

enum tr_rc fake_meet_simple(enum fake_op op, struct tr_err *err)
{
    enum fake_fault after;
    enum tr_rc rc = fake_meet(op, &after, err);

    return rc == TR_OK ? fake_meet_after(after, err) : rc;
}

/* ---- metadata that can die ---- */

/* Each verb that writes: the script is asked before, and a death after it leaves the effect. */
#define MORTAL(verb, params, args)                                                                 \
    static enum tr_rc mortal_##verb params                                                         \
    {                                                                                              \
        enum fake_fault after = FAKE_FINE;                                                         \
        enum tr_rc rc = fake_meet(FAKE_META, &after, err);                                         \
        if (rc == TR_OK)                                                                           \
            rc = fakes.real->verb args;                                                            \
        return rc == TR_OK ? fake_meet_after(after, err) : rc;                                     \
    }

MORTAL(cursor_set, (struct tr_meta * m, const struct tr_uuid *id, int64_t to, struct tr_err *err),
       (m, id, to, err))
MORTAL(run_schedule, (struct tr_meta * m, struct tr_run *r, struct tr_err *err), (m, r, err))
MORTAL(run_backfill, (struct tr_meta * m, struct tr_run *r, struct tr_err *err), (m, r, err))
MORTAL(run_claim,
       (struct tr_meta * m, const char *w, uint32_t which, int64_t now, int64_t lease,
        struct tr_run *ret, bool *found, int64_t *next, struct tr_err *err),
       (m, w, which, now, lease, ret, found, next, err))
/* What it gives belongs to the caller only when it says TR_OK. */
static enum tr_rc mortal_run_taken(struct tr_meta *m, const struct tr_run *r, uint64_t target,
                                   struct tr_range **ret, size_t *ret_n, struct tr_err *err)
{
    enum fake_fault after = FAKE_FINE;
    struct tr_range *taken = NULL;
    size_t n = 0;
    enum tr_rc rc = fake_meet(FAKE_META, &after, err);

    if (rc == TR_OK)
        rc = fakes.real->run_taken(m, r, target, &taken, &n, err);
    if (rc == TR_OK)
        rc = fake_meet_after(after, err);
    if (rc != TR_OK) {
        free(taken);
        return rc;
    }
    *ret = taken;
    *ret_n = n;
    return TR_OK;
}

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
    (void)pthread_mutex_lock(&fake_script_lock);
    assert_true(fakes.awaited != NULL && strcmp(fakes.awaited, part) == 0);
    while (fakes.awaited_lines < times && error == 0)
        error = pthread_cond_timedwait(&line_came, &fake_script_lock, &until);
    (void)pthread_mutex_unlock(&fake_script_lock);
    return error == 0;
}

static void keep_line(void *arg, const char *level, const struct tr_uuid *export_id,
                      const struct tr_uuid *run_id, const char *text)
{
    (void)arg;
    (void)export_id;
    (void)run_id;
    (void)pthread_mutex_lock(&fake_script_lock);
    if (fakes.awaited != NULL && strstr(text, fakes.awaited) != NULL) {
        fakes.awaited_lines++;
        (void)pthread_cond_broadcast(&line_came);
    }
    (void)snprintf(fakes.last_line, sizeof(fakes.last_line), "%s: %s", level, text);
    if (fakes.noisy)
        print_message("# %s: %s\n", level, text);
    (void)pthread_mutex_unlock(&fake_script_lock);
}

static const struct tr_dest_ops *const dests[] = { &fake_table_ops, &fake_folder_ops, NULL };

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
    fakes.source.base.ops = &fake_source_ops;
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
    must(tr_keyring_open(path, true, &fakes.keys, &err), &err);
    fakes.delivery = (struct tr_delivery){
        .meta = fakes.meta,
        .source = &fakes.source.base,
        .keys = fakes.keys,
        .dests = dests,
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
