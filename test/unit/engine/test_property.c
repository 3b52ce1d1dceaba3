/* Whatever happens in whatever order, every stored event is at the destination once in the end.
 *
 * A random history (live runs, backfills, edits of frequency, filters and place, retries,
 * cancelling, pausing) with failures and deaths at random calls; then the failures stop, a person
 * mends what is left, and every promise is looked at. A seed that fails is told: TR_TEST_SEED=<n>
 * runs that one alone, TR_TEST_SEEDS=<n> runs more of them; the first argument chooses tests by
 * name ("folders*").
 */
#include "steps.h"

enum { STEPS = 120, SEEDS = 12 };

static const char *const frequencies[] = { "every 1 minutes", "every 5 minutes", "every 10 seconds",
                                           "every 2 minutes", "hour" };

struct history {
    uint64_t seed, random;
    const char *type; /* of the destination */
    bool may_replace, may_append, may_move, may_filter;
    struct tr_uuid export_id;
    const char *place;
    int frequency, connections;
    bool excludes;
    unsigned per_mille;
    struct tr_range appended[64];
    size_t n_appended;
};

static uint64_t dice(struct history *h, uint64_t sides)
{
    return fake_random(&h->random) % sides;
}

/* ---- the engine, which may die ---- */

static void restart(struct history *h)
{
    engine_free(engine);
    fakes_revive();
    fake_chance(&fakes.script, fake_random(&h->random), h->per_mille);
    engine_up();
}

static void after(struct history *h, enum tr_rc rc, const struct tr_err *err)
{
    if (fakes.dead)
        restart(h);
    else if (rc == TR_INTERNAL && strncmp(err->id, "fake.", 5) != 0)
        fail_msg("seed %llu: %s: %s", (unsigned long long)h->seed, err->id, err->cause);
}

static void turn(struct history *h)
{
    struct tr_err err = { 0 };
    bool found = true;
    int64_t next = 0;

    after(h, engine_schedule(engine, &next, &err), &err);
    after(h, engine_expand(engine, &err), &err);
    for (int i = 0; i < 6 && found; i++)
        after(h, engine_work(engine, &engine->slots[0], &found, &next, &err), &err);
}

/* ---- people ---- */

static const char *body(const struct history *h)
{
    static char text[1024];

    (void)snprintf(text, sizeof(text),
                   "{\"name\": \"x\", \"interval\": \"%s\", \"destination\": {\"type\": \"%s\","
                   " \"config\": {\"place\": \"%s\", \"connections\": %d%s}}}",
                   frequencies[h->frequency], h->type, h->place, h->connections,
                   h->excludes ? ", \"exclude_events\": [\"kind-1\"]" : "");
    return text;
}

static void edit(struct history *h)
{
    switch (dice(h, 4)) {
    case 0:
        h->frequency = (int)dice(h, sizeof(frequencies) / sizeof(frequencies[0]));
        break;
    case 1:
        if (h->may_filter)
            h->excludes = !h->excludes;
        break;
    case 2:
        if (h->may_move)
            h->place = dice(h, 2) == 0 ? "t" : "u";
        break;
    default:
        break;
    }
    fake_export_update(&h->export_id, body(h));
    engine_wake(engine);
}

static void backfill(struct history *h, struct tr_range range, enum tr_on_delivered how)
{
    struct tr_err err = { 0 };
    struct tr_export *e = NULL;
    struct tr_conf *conf = NULL;
    struct tr_backfill b = {
        .export_id = h->export_id,
        .project = 1,
        .range = range,
        .cursor = range.lo,
        .on_delivered = how,
        .parallel = 1 + (int)dice(h, 3),
        .created_at = fakes.source.now,
    };

    must_be_ok(tr_delivery_load(&fakes.delivery, &h->export_id, &e, &conf, &err), &err);
    must_be_ok(fakes.real->backfill_create(fakes.meta, &b, e->target, &err), &err);
    tr_export_free(e);
    tr_conf_free(conf);
    engine_wake(engine);
}

static void random_backfill(struct history *h)
{
    int64_t length = fakes.source.now - start;
    struct tr_range r;

    if (length < TR_US_PER_MIN)
        return;
    r.lo = start + (int64_t)dice(h, (uint64_t)length);
    r.hi = r.lo + 1 + (int64_t)dice(h, (uint64_t)(fakes.source.now - r.lo));
    if (h->may_replace && dice(h, 3) == 0) {
        backfill(h, r, TR_REPLACE_DELIVERED);
    } else if (h->may_append && dice(h, 3) == 0 && h->n_appended < 64) {
        h->appended[h->n_appended++] = r;
        backfill(h, r, TR_APPEND_DELIVERED);
    } else {
        backfill(h, r, TR_SKIP_DELIVERED);
    }
}

static size_t mend(struct history *h)
{
    const struct run_list *l = runs_of(&h->export_id);
    size_t open = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct tr_run run;
        struct tr_err err = { 0 };

        open += l->v[i].state != TR_RUN_COMPLETED;
        if (l->v[i].state == TR_RUN_FAILED || l->v[i].state == TR_RUN_CANCELLED)
            must_be_ok(fakes.real->run_retry(fakes.meta, &l->v[i].id, fakes.source.now, &run, &err),
                       &err);
    }
    return open;
}

static void cancel_some(struct history *h)
{
    const struct run_list *l = runs_of(&h->export_id);
    struct tr_run run;
    struct tr_err err = { 0 };

    if (l->n == 0)
        return;
    const struct tr_run *r = &l->v[dice(h, l->n)];
    if (!tr_run_state_ended(r->state))
        must_be_ok(fakes.real->run_cancel(fakes.meta, &r->id, fakes.source.now, &run, &err), &err);
}

static void pause(struct history *h, bool paused)
{
    struct tr_err err = { 0 };

    must_be_ok(fakes.real->export_pause(fakes.meta, &h->export_id, paused, fakes.source.now, &err),
               &err);
    engine_wake(engine);
}

/* ---- the history ---- */

static void ingest(struct history *h)
{
    int n = (int)dice(h, 30);

    for (int i = 0; i < n; i++) {
        fake_ingest(&fakes.source, 1 + (dice(h, 10) == 0), (int)dice(h, 2), dice(h, 100) == 0);
        fakes.source.now += (int64_t)dice(h, TR_US_PER_S);
    }
}

static void step(struct history *h)
{
    fakes.source.now += (int64_t)dice(h, 60 * TR_US_PER_S);
    switch (dice(h, 16)) {
    case 0:
        edit(h);
        break;
    case 1:
        random_backfill(h);
        break;
    case 2:
        (void)mend(h);
        break;
    case 3:
        if (dice(h, 2) == 0)
            cancel_some(h);
        break;
    case 4:
        pause(h, true);
        break;
    case 5:
    case 6:
        pause(h, false);
        break;
    default:
        ingest(h);
        break;
    }
    turn(h);
}

/* The failures stop, and somebody sees to everything that is left. */
static void settle(struct history *h)
{
    h->per_mille = 0;
    restart(h);
    pause(h, false);
    for (int i = 0; i < 200; i++) {
        fakes.source.now += (int64_t)dice(h, 20 * TR_US_PER_MIN);
        turn(h);
        for (int k = 0; k < 50; k++)
            turn(h);
        if (mend(h) == 0)
            return;
    }
    const struct run_list *l = runs_of(&h->export_id);
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].state != TR_RUN_COMPLETED)
            print_message("# run %zu is %s: %s (due %+lld s)\n", i,
                          tr_run_state_name(l->v[i].state), l->v[i].error,
                          (long long)(l->v[i].not_before - fakes.source.now) / 1000000);
    }
    fail_msg("seed %llu: runs are left", (unsigned long long)h->seed);
}

/* ---- what must hold ---- */

/* Once; with append as often as asked, and once more when it was there before. */
static bool is_right(const struct history *h, const struct fake_event *e, size_t there)
{
    size_t appended = 0;

    if (e->project != 1 || fake_is_bad(&e->uuid))
        return there == 0;
    for (size_t i = 0; i < h->n_appended; i++)
        appended += e->at >= h->appended[i].lo && e->at < h->appended[i].hi;
    return there == appended + 1 || (appended != 0 && there == appended);
}

static void assert_everything_once(const struct history *h)
{
    for (size_t i = 0; i < fakes.source.n; i++) {
        const struct fake_event *e = &fakes.source.events[i];
        size_t there = fake_live(fake_place(h->place), &e->uuid);

        if (!is_right(h, e, there))
            fail_msg("seed %llu: event %zu is there %zu times", (unsigned long long)h->seed, i,
                     there);
        for (size_t p = 0; p < fakes.n_places && h->n_appended == 0; p++)
            assert_true(fake_live(&fakes.places[p], &e->uuid) <= 1);
    }
}

static bool assert_ok(void *arg, const struct tr_verdict *v)
{
    const struct history *h = arg;

    if (v->what != TR_VERDICT_OK && v->what != TR_VERDICT_PENDING)
        fail_msg("seed %llu: verify: %s", (unsigned long long)h->seed, v->text);
    return true;
}

static void assert_accounts(const struct history *h)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX };
    struct tr_err err = { 0 };
    const struct run_list *l = runs_of(&h->export_id);

    for (size_t i = 0; i < l->n; i++) {
        if (!tr_account_balances(&l->v[i].account))
            fail_msg("seed %llu: run %zu does not balance", (unsigned long long)h->seed, i);
    }
    struct tr_range all = { start, fakes.source.now };
    must_be_ok(
        tr_verify(&cx, &fakes.delivery, &h->export_id, all, true, assert_ok, (void *)h, &err),
        &err);
}

static void live(struct history h)
{
    void *none = NULL;

    (void)steps_set_up(&none);
    h.random = h.seed * UINT64_C(0x2545f4914f6cdd1d);
    h.place = "t";
    h.connections = h.connections == 0 ? 1 : h.connections;
    h.export_id = fake_export(body(&h));
    fake_chance(&fakes.script, h.seed, h.per_mille);
    for (int i = 0; i < STEPS; i++)
        step(&h);
    settle(&h);
    /* What was delivered under other filters or to another place, or was cancelled, is told anew.
     */
    h.excludes = false;
    fake_export_update(&h.export_id, body(&h));
    backfill(&h, (struct tr_range){ start, fakes.source.now },
             h.may_filter ? TR_REPLACE_DELIVERED : TR_SKIP_DELIVERED);
    settle(&h);
    assert_everything_once(&h);
    assert_accounts(&h);
    (void)steps_tear_down(&none);
}

static void live_many(const struct history *kind)
{
    const char *one = getenv("TR_TEST_SEED");
    const char *many = getenv("TR_TEST_SEEDS");
    uint64_t last = many == NULL ? SEEDS : strtoull(many, NULL, 10);

    for (uint64_t seed = 1; seed <= last; seed++) {
        struct history h = *kind;

        h.seed = one == NULL ? seed : strtoull(one, NULL, 10);
        h.per_mille = h.seed % 4 == 0 ? 0 : 5 + (unsigned)(h.seed % 5) * 8;
        live(h);
        if (one != NULL)
            return;
    }
}

static void tables_end_with_every_event_once(void **state)
{
    (void)state;
    live_many(&(struct history){ .type = "Table", .may_replace = true });
}

static void tables_that_move_and_filter_end_with_every_event_once(void **state)
{
    (void)state;
    live_many(&(struct history){
        .type = "Table", .may_replace = true, .may_move = true, .may_filter = true });
}

static void folders_end_with_every_event_once(void **state)
{
    (void)state;
    live_many(&(struct history){ .type = "Folder", .may_move = true });
}

static void appended_ranges_end_with_as_many_copies_as_asked(void **state)
{
    (void)state;
    live_many(&(struct history){ .type = "Table", .may_append = true });
}

static void several_connections_end_with_every_event_once(void **state)
{
    (void)state;
    live_many(&(struct history){ .type = "Table", .may_replace = true, .connections = 3 });
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_end_with_every_event_once),
        cmocka_unit_test(tables_that_move_and_filter_end_with_every_event_once),
        cmocka_unit_test(folders_end_with_every_event_once),
        cmocka_unit_test(appended_ranges_end_with_as_many_copies_as_asked),
        cmocka_unit_test(several_connections_end_with_every_event_once),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
