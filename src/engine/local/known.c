/* The exports as the scheduler knows them. A body is parsed once per version. */
#include <stdlib.h>
#include <string.h>

#include "engine/local/local_priv.h"
#include "os/clock.h"

enum { REFRESH_S = 30, LIVE_MINUTES_MAX = 10 };

struct refresh {
    struct engine *e;
    struct known *v;
    size_t n, cap;
    enum tr_rc rc;
    struct tr_err *err;
};

static int by_id(const void *a, const void *b)
{
    return memcmp(&((const struct known *)a)->id, &((const struct known *)b)->id,
                  sizeof(struct tr_uuid));
}

struct known *engine_known(struct engine *e, const struct tr_uuid *export_id)
{
    struct known key = { .id = *export_id };

    return e->n_known == 0 ? NULL : bsearch(&key, e->known, e->n_known, sizeof(*e->known), by_id);
}

/* In real time what waits is sent when the run ends, however little it is: so a run lasts for some
 * ten buffers. */
static int live_minutes(const struct tr_export *x)
{
    json_int_t seconds = json_integer_value(json_object_get(x->dest_config, "buffer_seconds"));
    json_int_t minutes = (seconds * 10 + 59) / 60;

    return minutes < 1 ? 1 : minutes > LIVE_MINUTES_MAX ? LIVE_MINUTES_MAX : (int)minutes;
}

static enum tr_rc parse(const struct tr_export_row *row, struct known *k, struct tr_err *err)
{
    struct tr_export *x = NULL;
    json_t *body = json_loadb(row->body.p, row->body.n, 0, NULL);
    enum tr_rc rc = body == NULL ? tr_fail(err, TR_INTERNAL, "engine.bad_body", NULL,
                                           "the stored body is no JSON")
                                 : tr_export_parse(body, &x, err);

    json_decref(body);
    if (rc == TR_OK) {
        k->schema = x->schema;
        k->schedule = x->schedule;
        if (known_is_live(k))
            k->schedule.every = live_minutes(x);
        k->bounds = tr_export_bounds(x);
    }
    tr_export_free(x);
    return rc;
}

static bool take_row(void *arg, const struct tr_export_row *row)
{
    struct refresh *r = arg;
    struct tr_err err = { 0 };
    char text[512];

    if (row->deleted)
        return true;
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        struct known *v = realloc(r->v, cap * sizeof(*v));

        if (v == NULL) {
            r->rc = tr_fail_oom(r->err);
            return false;
        }
        r->v = v;
        r->cap = cap;
    }

    const struct known *old = engine_known(r->e, &row->id);
    struct known *k = &r->v[r->n++];
    bool same = old != NULL && old->version == row->version;
    *k = same ? *old : (struct known){ .id = row->id };
    k->version = row->version;
    k->project = row->project;
    k->target = row->target;
    k->paused = row->paused;
    k->created_at = row->created_at;
    k->look_at = 0;
    if (!same && parse(row, k, &err) != TR_OK) {
        k->broken = true;
        engine_say(r->e, "error", &row->id, NULL, "the export cannot be scheduled: %s",
                   tr_err_text(&err, text, sizeof(text)));
    }
    return true;
}

enum tr_rc engine_refresh(struct engine *e, struct tr_err *err)
{
    struct refresh r = { .e = e, .err = err };
    int64_t boot = tr_clock_boot_us();

    tr_monitor_enter(&e->monitor);
    bool dirty = e->exports_dirty;
    e->exports_dirty = false;
    tr_monitor_leave(&e->monitor);
    if (!dirty && boot - e->refreshed_at < REFRESH_S * TR_US_PER_S)
        return TR_OK;

    enum tr_rc rc = e->meta->ops->export_list(e->meta, 0, take_row, &r, err);
    if (rc == TR_OK)
        rc = r.rc;
    if (rc != TR_OK) {
        free(r.v);
        tr_monitor_enter(&e->monitor);
        e->exports_dirty = true;
        tr_monitor_leave(&e->monitor);
        return tr_wrap(err, "read the exports");
    }
    if (r.n > 1)
        qsort(r.v, r.n, sizeof(*r.v), by_id);
    free(e->known);
    e->known = r.v;
    e->n_known = r.n;
    e->refreshed_at = boot;
    return TR_OK;
}
