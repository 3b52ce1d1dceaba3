/* A metadata database in a folder of its own, with one project and one export. */
#ifndef TR_TEST_META_FIXTURE_H
#define TR_TEST_META_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "meta/meta.h"

struct fixture {
    char dir[64];
    char path[96];
    struct tr_meta *meta;
    struct tr_err err;
    struct tr_project project;
    struct tr_export export;
};

enum { TARGET = 7, LEASE = 1000 };

/* Every verb that should work: says why when it does not. */
#define OK(f, call)                                                                                \
    do {                                                                                           \
        enum tr_rc rc_ = (call);                                                                   \
        if (rc_ != TR_OK)                                                                          \
            fail_msg("%s: %s%s", #call, (f)->err.where, (f)->err.cause);                           \
    } while (0)

#define FAILS(f, call, rc, name)                                                                   \
    do {                                                                                           \
        assert_int_equal((call), (rc));                                                            \
        assert_string_equal((f)->err.id, (name));                                                  \
    } while (0)

/* meta->ops->verb(meta, ...) */
#define META(f, verb, ...) (f)->meta->ops->verb((f)->meta, __VA_ARGS__)

static inline void fixture_open(struct fixture *f)
{
    OK(f, tr_meta_sqlite_open(f->path, &f->meta, &f->err));
}

static inline void fixture_close(struct fixture *f)
{
    f->meta->ops->close(f->meta);
    f->meta = NULL;
}

static inline struct tr_export fixture_export(struct fixture *f)
{
    static char text[] = "postgres://there";
    struct tr_export e = { .project = f->project.id, .target = TARGET, .target_text = text };

    OK(f, META(f, export_create, &e, TR_STR("{\"name\":\"e\"}"), TR_STR("sealed"), &f->err));
    return e;
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/tr-test-meta-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/meta.db", f->dir);
    fixture_open(f);
    OK(f, META(f, project_create, "first", "phc_first", &f->project, &f->err));
    f->export = fixture_export(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    fixture_close(f);
    (void)snprintf(command, sizeof(command), "rm -r '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* ---- runs ---- */

/* A scheduled run of an export over [lo, hi), due at not_before. */
static inline struct tr_run schedule(struct fixture *f, const struct tr_uuid *export_id, int64_t lo,
                                     int64_t hi, int64_t not_before)
{
    struct tr_run r = { .export_id = *export_id,
                        .project = f->project.id,
                        .interval = { lo, hi },
                        .not_before = not_before };

    OK(f, META(f, run_schedule, &r, &f->err));
    return r;
}

static inline bool claim(struct fixture *f, int64_t now, struct tr_run *ret)
{
    bool found = false;
    int64_t next = 0;

    OK(f, META(f, run_claim, "worker", false, now, LEASE, ret, &found, &next, &f->err));
    return found;
}

/* A scheduled run of the fixture's export over [lo, hi), claimed. */
static inline struct tr_run claimed(struct fixture *f, int64_t lo, int64_t hi)
{
    struct tr_run made = schedule(f, &f->export.id, lo, hi, 0);
    struct tr_run r;

    assert_true(claim(f, 10, &r));
    assert_memory_equal(&r.id, &made.id, sizeof(r.id));
    return r;
}

/* A backfill over [lo, hi) with one run over all of it, claimed. */
static inline struct tr_run backfilled(struct fixture *f, enum tr_on_delivered on_delivered,
                                       int64_t lo, int64_t hi)
{
    struct tr_backfill b = { .export_id = f->export.id,
                             .project = f->project.id,
                             .range = { lo, hi },
                             .on_delivered = on_delivered };
    OK(f, META(f, backfill_create, &b, TARGET, &f->err));

    struct tr_run made = { .export_id = f->export.id,
                           .backfill_id = b.id,
                           .project = f->project.id,
                           .interval = { lo, hi },
                           .on_delivered = on_delivered,
                           .generation = b.generation };
    struct tr_run r;
    OK(f, META(f, run_backfill, &made, &f->err));
    assert_true(claim(f, 10, &r));
    assert_memory_equal(&r.id, &made.id, sizeof(r.id));
    return r;
}

static inline void finish(struct fixture *f, struct tr_run *r, enum tr_run_state state)
{
    r->state = state;
    OK(f, META(f, run_finish, r, TARGET, false, &f->err));
}

/* ---- plans ---- */

static inline void plan(struct fixture *f, const struct tr_run *r, int64_t lo, int64_t hi)
{
    struct tr_chunk c = { .range = { lo, hi }, .rows = 10 };

    OK(f, META(f, plan_add, r, TARGET, &c, 1, &f->err));
}

static inline void send_chunk(struct fixture *f, const struct tr_run *r, uint32_t n)
{
    OK(f, META(f, chunk_sent, r, n, &f->err));
}

static inline void done(struct fixture *f, const struct tr_run *r, uint32_t n, bool deliver)
{
    struct tr_account a = { .stored = 10, .selected = 10, .delivered = 10 };

    OK(f, META(f, chunk_done, r, TARGET, n, &a, deliver, NULL, 0, &f->err));
}

/* Plans, sends and delivers [lo, hi) as chunk n of a run. */
static inline void deliver(struct fixture *f, const struct tr_run *r, uint32_t n, int64_t lo,
                           int64_t hi)
{
    plan(f, r, lo, hi);
    send_chunk(f, r, n);
    done(f, r, n, true);
}

/* What run_taken says, as "0-10 20-30". */
static inline void assert_taken(struct fixture *f, const struct tr_run *r, const char *want)
{
    char text[512] = "";
    struct tr_range *taken = NULL;
    size_t n = 0;
    size_t used = 0;

    OK(f, META(f, run_taken, r, TARGET, &taken, &n, &f->err));
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%ld-%ld", i == 0 ? "" : " ",
                                 (long)taken[i].lo, (long)taken[i].hi);
    free(taken);
    assert_string_equal(text, want);
}

struct listing {
    char text[1024];
    size_t used;
};

static inline bool list_delivered(void *arg, const struct tr_delivered *d)
{
    struct listing *l = arg;

    l->used += (size_t)snprintf(l->text + l->used, sizeof(l->text) - l->used, "%s%ld-%ld/%u%s",
                                l->used == 0 ? "" : " ", (long)d->range.lo, (long)d->range.hi,
                                d->generation, d->is_empty ? "e" : "");
    return true;
}

/* Delivered ranges that meet [lo, hi), as "0-10/0 20-30/1e": bounds, generation, e for empty. */
static inline void assert_delivered(struct fixture *f, int64_t lo, int64_t hi, const char *want)
{
    struct listing l = { 0 };

    OK(f, META(f, delivered_list, &f->export.id, TARGET, (struct tr_range){ lo, hi },
               list_delivered, &l, &f->err));
    assert_string_equal(l.text, want);
}

#endif
