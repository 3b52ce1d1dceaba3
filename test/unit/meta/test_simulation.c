/* Many runs that meet each other, fail, are cancelled and come back in every order: each event
 * reaches the destination once, and none that a completed run stands for is missing.
 *
 * There is an event at every instant of [0, SPAN). The destination is a count per instant. */
#include "fixture.h"

enum { SPAN = 60, RUNS = 12, STEPS = 150, ROUNDS = 12 };

struct sim {
    struct fixture *f;
    unsigned seed;
    int there[SPAN]; /* copies at the destination */
    struct tr_uuid runs[RUNS];
    int n_runs;
    struct tr_run at_work[RUNS];
    int n_at_work;
    int64_t cursor;
};

static int chance(struct sim *s, int below)
{
    return rand_r(&s->seed) % below;
}

/* ---- what a worker does ---- */

static bool has(const struct sim *s, struct tr_range r)
{
    return s->there[r.lo] > 0;
}

static void arrive(struct sim *s, struct tr_range r)
{
    for (int64_t t = r.lo; t < r.hi; t++)
        s->there[t]++;
}

/* What former attempts sent: the destination knows. */
static void settle(struct sim *s, const struct tr_run *r)
{
    struct tr_chunk *c = NULL;
    size_t n = 0;

    OK(s->f, META(s->f, plan_get, &r->id, &c, &n, &s->f->err));
    for (size_t i = 0; i < n; i++) {
        if (c[i].state != TR_CHUNK_SENT)
            continue;
        if (has(s, c[i].range))
            done(s->f, r, c[i].n, true);
        else
            OK(s->f, META(s->f, chunk_absent, r, c[i].n, &s->f->err));
    }
    free(c);
}

/* Plans all that is free, in chunks of some width. */
static void plan_rest(struct sim *s, const struct tr_run *r)
{
    bool free_at[SPAN] = { false };
    struct tr_range *taken = NULL;
    struct tr_chunk *c = NULL;
    size_t n = 0;

    for (int64_t t = r->interval.lo; t < r->interval.hi; t++)
        free_at[t] = true;
    OK(s->f, META(s->f, run_taken, r, TARGET, &taken, &n, &s->f->err));
    for (size_t i = 0; i < n; i++)
        for (int64_t t = taken[i].lo; t < taken[i].hi; t++)
            free_at[t] = false;
    free(taken);
    OK(s->f, META(s->f, plan_get, &r->id, &c, &n, &s->f->err));
    for (size_t i = 0; i < n; i++)
        for (int64_t t = c[i].range.lo; t < c[i].range.hi; t++)
            free_at[t] = false;
    free(c);
    for (int64_t t = 0; t < SPAN;) {
        int64_t lo = t;
        int64_t width = 1 + chance(s, 9);
        while (t < SPAN && t < lo + width && free_at[t])
            t++;
        if (t > lo)
            plan(s->f, r, lo, t);
        else
            t++;
    }
}

/* Sends some planned chunks; each may arrive, and the worker may live to hear of it. */
static void send_some(struct sim *s, const struct tr_run *r, int in_a_hundred)
{
    struct tr_chunk *c = NULL;
    size_t n = 0;

    OK(s->f, META(s->f, plan_get, &r->id, &c, &n, &s->f->err));
    for (size_t i = 0; i < n; i++) {
        if (c[i].state != TR_CHUNK_PLANNED || chance(s, 100) >= in_a_hundred)
            continue;
        send_chunk(s->f, r, c[i].n);
        if (in_a_hundred == 100 || chance(s, 4) != 0) {
            arrive(s, c[i].range);
            if (in_a_hundred == 100 || chance(s, 4) != 0)
                done(s->f, r, c[i].n, true);
        }
    }
    free(c);
}

static bool is_done(struct sim *s, const struct tr_run *r)
{
    struct tr_chunk *c = NULL;
    size_t n = 0;
    bool all = true;

    OK(s->f, META(s->f, plan_get, &r->id, &c, &n, &s->f->err));
    for (size_t i = 0; i < n; i++)
        all = all && c[i].state == TR_CHUNK_DELIVERED;
    free(c);
    return all;
}

/* COMPLETED, or RETRYING when a part came free. */
static void complete(struct sim *s, struct tr_run *r)
{
    r->state = TR_RUN_COMPLETED;
    enum tr_rc rc = META(s->f, run_finish, r, TARGET, false, &s->f->err);
    if (rc == TR_TRANSIENT) {
        assert_string_equal(s->f->err.id, "meta.range_freed");
        finish(s->f, r, TR_RUN_RETRYING);
    } else {
        assert_int_equal(rc, TR_OK);
    }
}

/* ---- what happens ---- */

static void make_run(struct sim *s)
{
    struct tr_run r = { .export_id = s->f->export.id, .project = s->f->project.id };

    if (s->n_runs == RUNS)
        return;
    if (chance(s, 2) == 0 && s->cursor < SPAN - 12) {
        r.interval = (struct tr_range){ s->cursor, s->cursor + 4 + chance(s, 8) };
        OK(s->f, META(s->f, run_schedule, &r, &s->f->err));
        s->cursor = r.interval.hi;
    } else {
        struct tr_backfill b = { .export_id = s->f->export.id };
        b.range.lo = chance(s, SPAN - 20);
        b.range.hi = b.range.lo + 1 + chance(s, 20);
        OK(s->f, META(s->f, backfill_create, &b, TARGET, &s->f->err));
        r.backfill_id = b.id;
        r.interval = b.range;
        OK(s->f, META(s->f, run_backfill, &r, &s->f->err));
    }
    s->runs[s->n_runs++] = r.id;
}

static void start_one(struct sim *s)
{
    struct tr_run r;

    if (s->n_at_work < RUNS && claim(s->f, 10, &r)) {
        settle(s, &r);
        plan_rest(s, &r);
        s->at_work[s->n_at_work++] = r;
    }
}

static void go_on_with_one(struct sim *s)
{
    if (s->n_at_work == 0)
        return;
    int i = chance(s, s->n_at_work);
    struct tr_run *r = &s->at_work[i];

    send_some(s, r, 30);
    if (chance(s, 3) != 0)
        return;
    if (is_done(s, r))
        complete(s, r);
    else
        finish(s->f, r, chance(s, 2) == 0 ? TR_RUN_FAILED : TR_RUN_RETRYING);
    s->at_work[i] = s->at_work[--s->n_at_work];
}

static void disturb(struct sim *s)
{
    struct tr_run r;

    if (s->n_runs == 0)
        return;
    const struct tr_uuid *id = &s->runs[chance(s, s->n_runs)];
    if (chance(s, 2) == 0)
        (void)!META(s->f, run_cancel, id, 10, &r, &s->f->err); /* may have ended */
    else
        (void)!META(s->f, run_retry, id, 10, &r, &s->f->err); /* may not have failed */
}

/* A restart: whoever was at work is gone. */
static void restart(struct sim *s)
{
    OK(s->f, s->f->meta->ops->run_release_all(s->f->meta, &s->f->err));
    s->n_at_work = 0;
}

/* A person retries what has not completed, but leaves every third run alone; the workers finish
 * everything else. */
static void bring_to_an_end(struct sim *s)
{
    struct tr_run r;

    restart(s);
    for (int left = 1; left > 0;) {
        left = 0;
        for (int i = 0; i < s->n_runs; i++)
            if (i % 3 != 0 && META(s->f, run_retry, &s->runs[i], 20, &r, &s->f->err) == TR_OK)
                left++;
        while (claim(s->f, INT64_MAX / 4, &r)) {
            settle(s, &r);
            plan_rest(s, &r);
            send_some(s, &r, 100);
            complete(s, &r);
            left++;
        }
    }
}

static void assert_nothing_twice(const struct sim *s)
{
    for (int t = 0; t < SPAN; t++)
        if (s->there[t] > 1)
            fail_msg("the event at %d is there %d times", t, s->there[t]);
}

/* Instants that a run has sent and will never ask about. */
static void mark_unknown(struct sim *s, const struct tr_uuid *run_id, bool unknown[SPAN])
{
    struct tr_chunk *c = NULL;
    size_t n = 0;

    OK(s->f, META(s->f, plan_get, run_id, &c, &n, &s->f->err));
    for (size_t i = 0; i < n; i++)
        for (int64_t t = c[i].range.lo; c[i].state == TR_CHUNK_SENT && t < c[i].range.hi; t++)
            unknown[t] = true;
    free(c);
}

static void assert_complete(struct sim *s)
{
    bool unknown[SPAN] = { false };
    struct tr_run r;

    for (int i = 0; i < s->n_runs; i++)
        mark_unknown(s, &s->runs[i], unknown);
    for (int i = 0; i < s->n_runs; i++) {
        OK(s->f, META(s->f, run_get, &s->runs[i], &r, &s->f->err));
        if (i % 3 != 0)
            assert_int_equal(r.state, TR_RUN_COMPLETED);
        if (r.state != TR_RUN_COMPLETED)
            continue;
        for (int64_t t = r.interval.lo; t < r.interval.hi; t++)
            if (s->there[t] != 1 && !unknown[t])
                fail_msg("run %d has completed and the event at %d is there %d times", i, (int)t,
                         s->there[t]);
    }
}

static void play(struct sim *s)
{
    for (int step = 0; step < STEPS; step++) {
        int what = chance(s, 100);

        if (what < 15)
            make_run(s);
        else if (what < 45)
            start_one(s);
        else if (what < 85)
            go_on_with_one(s);
        else if (what < 97)
            disturb(s);
        else
            restart(s);
        assert_nothing_twice(s);
    }
    bring_to_an_end(s);
    assert_nothing_twice(s);
    assert_complete(s);
}

static void every_event_arrives_once_whatever_happens(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        void *f = NULL;

        print_message("# round %u\n", round);
        assert_int_equal(fixture_setup(&f), 0);
        struct sim s = { .f = f, .seed = round };
        play(&s);
        assert_int_equal(fixture_teardown(&f), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_arrives_once_whatever_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
