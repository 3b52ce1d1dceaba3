/* How the server is: version, store, and how far each export is behind. */
#include <stdlib.h>

#include "api/api_priv.h"
#include "auth/google.h"
#include "base/time.h"

static json_t *store_json(struct tr_store *store)
{
    struct tr_store_status s = { 0 };

    if (store == NULL)
        return json_null();
    tr_store_status(store, &s);
    return json_pack(
        "{s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ready",
        (int)s.ready, "why", api_json_text(s.not_ready_why), "hint",
        api_json_text(s.not_ready_hint), "trouble",
        api_json_text(s.trouble[0] == '\0' ? NULL : s.trouble), "closed_through",
        api_json_time_or_null(s.closed_through), "applied_through",
        api_json_time_or_null(s.applied_through), "sealed_through",
        api_json_time_or_null(s.sealed_through), "floor", api_json_time_or_null(s.floor),
        "last_event_at", api_json_time_or_null(s.last_event_at), "events", (json_int_t)s.events,
        "blocks", (json_int_t)s.blocks, "journal_bytes", (json_int_t)s.journal_bytes, "block_bytes",
        (json_int_t)s.block_bytes, "dedup_entries", (json_int_t)s.dedup_entries, "dedup_runs",
        (json_int_t)s.dedup_runs, "queue_bytes", (json_int_t)s.queue_bytes);
}

static bool collect(void *arg, const struct tr_export_row *row)
{
    if (row->deleted)
        return true;
    json_t *body = json_loadb(row->body.p, row->body.n, 0, NULL);
    json_t *destination = json_object_get(body, "destination");
    json_t *name = json_object_get(body, "name");
    json_t *type = json_object_get(destination, "type");
    (void)json_array_append_new(
        arg,
        json_pack("{s:o, s:i, s:o, s:o, s:b}", "id", api_json_uuid(&row->id), "project_id",
                  (int)row->project, "name", name == NULL ? json_null() : json_incref(name), "type",
                  type == NULL ? json_null() : json_incref(type), "paused", (int)row->paused));
    json_decref(body);
    return true;
}

/* ---- how far an export is behind ---- */

enum { FAILED_LOOKED_AT = 1000 };

struct lag {
    struct api_call *c;
    const struct tr_export_row *row;
    const struct tr_export *e;
    int64_t oldest; /* start of the oldest scheduled interval that is not delivered yet */
    uint64_t failed, looked_at;
    struct tr_err err;
};

/* How far a closed range is delivered; its end when nothing in it waits. */
static enum tr_rc through_of(const struct lag *l, struct tr_range r, int64_t *ret,
                             struct tr_err *err)
{
    struct tr_source *source = l->c->d->source;
    int64_t floor = source->ops->floor(source);
    int64_t closed = source->ops->closed_through(source);
    struct tr_range left = tr_range_meet(r, (struct tr_range){ floor, closed });

    *ret = r.hi;
    left = tr_range_meet(left, tr_export_bounds(l->e));
    if (tr_range_empty(left))
        return TR_OK;
    if (tr_delivered_through(l->c->d, &l->row->id, l->row->target, l->row->project, l->e->schema,
                             left, ret, err) != TR_OK)
        return err->rc;
    if (*ret == left.hi)
        *ret = r.hi;
    return TR_OK;
}

/* A failed run whose interval was delivered since, by a backfill or another run, waits for nobody.
 */
static bool look_failed(void *arg, const struct tr_run *run)
{
    struct lag *l = arg;
    int64_t through = run->interval.lo;

    if (l->looked_at++ < FAILED_LOOKED_AT &&
        through_of(l, run->interval, &through, &l->err) != TR_OK)
        return false;
    if (through == run->interval.hi)
        return true;
    l->failed++;
    if (api_uuid_is_nil(&run->backfill_id) && run->interval.lo < l->oldest)
        l->oldest = run->interval.lo;
    return true;
}

/* In real time, and where short intervals without rows are bundled, the runs do not say how far it
 * is: the first row that is not delivered does. */
static enum tr_rc rows_through(const struct lag *l, int64_t *through, struct tr_err *err)
{
    struct tr_source *source = l->c->d->source;
    int64_t now = api_now(l->c);
    struct tr_range r = { *through, source->ops->closed_through(source) };

    if (!tr_export_is_live(l->e)) {
        int64_t lo = tr_schedule_at(&l->e->schedule, now).lo;

        if (l->row->paused || l->e->schedule.unit >= TR_UNIT_HOUR || l->oldest < *through)
            return TR_OK;
        r.hi = lo < r.hi ? lo : r.hi;
    }
    if (tr_range_empty(r))
        return TR_OK;
    if (through_of(l, r, through, err) != TR_OK)
        return err->rc;
    if (tr_export_is_live(l->e) && *through == r.hi) /* nothing waits */
        *through = now;
    return TR_OK;
}

static enum tr_rc find_lag(struct lag *l, const struct tr_backlog *b, int64_t *through,
                           struct tr_err *err)
{
    struct tr_run_query q = {
        .export_id = l->row->id,
        .states = 1u << TR_RUN_FAILED,
        .by_interval = true,
        .limit = 100000,
    };

    if (b->failed > 0 && l->c->meta->ops->run_list(l->c->meta, &q, look_failed, l, err) != TR_OK)
        return err->rc;
    if (l->err.rc != TR_OK) {
        *err = l->err;
        return err->rc;
    }
    *through = l->oldest < *through ? l->oldest : *through;
    return rows_through(l, through, err);
}

static enum tr_rc add_lag(struct api_call *c, json_t *to, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    TR_CLEANUP(api_export_free) struct tr_export *e = NULL;
    struct tr_backlog b = { 0 };
    struct tr_uuid id;
    int64_t through = 0;

    tr_buf_init(&row.buf, 8 << 20);
    if (!tr_uuid_parse(tr_str_of(json_string_value(json_object_get(to, "id"))), &id))
        return TR_OK;
    if (c->meta->ops->export_get(c->meta, &id, &row, err) != TR_OK ||
        api_export_parse_row(&row, &e, err) != TR_OK ||
        c->meta->ops->cursor_get(c->meta, &id, &through, err) != TR_OK ||
        c->meta->ops->backlog(c->meta, &id, &b, err) != TR_OK)
        return tr_wrap(err, "lag of an export");
    struct lag l = { .c = c, .row = &row, .e = e, .oldest = b.oldest_lo };
    if (find_lag(&l, &b, &through, err) != TR_OK)
        return tr_wrap(err, "lag of an export");
    int64_t lag = api_now(c) - through;
    (void)json_object_set_new(to, "delivered_through", api_json_time(through));
    (void)json_object_set_new(to, "lag_seconds",
                              json_real((double)(lag < 0 ? 0 : lag / TR_US_PER_MS) / 1000.0));
    (void)json_object_set_new(to, "open_runs", json_integer((json_int_t)b.open));
    (void)json_object_set_new(to, "failed_runs", json_integer((json_int_t)l.failed));
    return TR_OK;
}

enum tr_rc api_status(struct api_call *c, struct tr_err *err)
{
    struct tr_uuid installation;
    struct tr_uuid organization;

    if (c->meta->ops->identity(c->meta, &installation, &organization, err) != TR_OK)
        return tr_wrap(err, "identity");
    json_t *exports = json_array();
    enum tr_rc rc = c->meta->ops->export_list(c->meta, 0, collect, exports, err);
    for (size_t i = 0; i < json_array_size(exports) && rc == TR_OK; i++)
        rc = add_lag(c, json_array_get(exports, i), err);
    if (rc != TR_OK) {
        json_decref(exports);
        return tr_wrap(err, "status");
    }
    c->answer = json_pack("{s:s, s:o, s:o, s:s?, s:s, s:I, s:o, s:o, s:o}", "version", TR_VERSION,
                          "installation_id", api_json_uuid(&installation), "organization_id",
                          api_json_uuid(&organization), "google_identity", tr_google_own_name(),
                          "google_description", tr_google_owner_text(), "store_epoch",
                          (json_int_t)c->d->epoch, "now", api_json_time(api_now(c)), "store",
                          store_json(api_options(c->api)->store), "exports", exports);
    return TR_OK;
}
