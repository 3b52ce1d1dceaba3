/* Backfills: runs over a past range. */
#include <stdio.h>

#include "api/api_priv.h"
#include "base/time.h"
#include "os/clock.h"

enum { MAX_PARALLEL = 16 };

static bool add_backfill(void *arg, const struct tr_backfill *b)
{
    return json_array_append_new(arg, api_json_backfill(b)) == 0;
}

enum tr_rc api_backfill_list(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };

    if (api_export_row(c, 1, &row, err) != TR_OK)
        return err->rc;
    json_t *results = json_array();
    if (c->meta->ops->backfill_list(c->meta, &row.id, add_backfill, results, err) != TR_OK) {
        json_decref(results);
        return tr_wrap(err, "list backfills");
    }
    c->answer = json_pack("{s:n, s:n, s:o}", "next", "previous", "results", results);
    return TR_OK;
}

static enum tr_rc find_backfill(struct api_call *c, struct tr_backfill *ret, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    struct tr_uuid id;

    if (api_export_row(c, 1, &row, err) != TR_OK ||
        api_arg_uuid(c, 2, "backfill", &id, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->backfill_get(c->meta, &id, ret, err) != TR_OK)
        return tr_wrap(err, "backfill");
    if (memcmp(&ret->export_id, &row.id, sizeof(row.id)) != 0)
        return api_not_found(err, "backfill");
    return TR_OK;
}

enum tr_rc api_backfill_show(struct api_call *c, struct tr_err *err)
{
    struct tr_backfill b;

    if (find_backfill(c, &b, err) != TR_OK)
        return err->rc;
    c->answer = api_json_backfill(&b);
    return TR_OK;
}

enum tr_rc api_backfill_cancel(struct api_call *c, struct tr_err *err)
{
    struct tr_backfill b;

    if (find_backfill(c, &b, err) != TR_OK)
        return err->rc;
    if (tr_run_state_ended(b.state))
        return api_bad(c, err, NULL, "invalid_input", NULL, "the backfill has ended: it is %s",
                       tr_run_state_name(b.state));
    if (c->meta->ops->backfill_finish(c->meta, &b.id, TR_RUN_CANCELLED, tr_clock_wall_us(), err) !=
            TR_OK ||
        c->meta->ops->backfill_get(c->meta, &b.id, &b, err) != TR_OK)
        return tr_wrap(err, "cancel the backfill");
    api_log(c, "info", &b.export_id, NULL, "a backfill was cancelled");
    api_wake_engine(c);
    c->answer = api_json_backfill(&b);
    return TR_OK;
}

/* ---- creating one ---- */

static enum tr_rc first_row(struct api_call *c, const struct tr_export *e, int64_t *ret,
                            struct tr_err *err)
{
    struct tr_source *source = c->d->source;
    int64_t floor = e->schema->is_mutable ? TR_TIME_MIN : source->ops->floor(source);
    struct tr_range closed = { floor, source->ops->closed_through(source) };
    struct tr_range r = tr_range_meet(closed, tr_export_bounds(e));
    bool any = false;
    int64_t last = 0;

    if (source->ops->extent(source, e->project, e->schema, r, &any, ret, &last, err) != TR_OK)
        return tr_wrap(err, "find the first row");
    if (any)
        *ret = tr_schedule_at(&e->schedule, *ret).lo;
    return any ? TR_OK
               : api_bad(c, err, "start_at", "invalid_input", NULL,
                         "there is nothing to backfill yet");
}

/* Without a start: from the first row on; without an end: to this instant. */
static enum tr_rc read_range(struct api_call *c, const struct tr_export *e, struct tr_range *ret,
                             struct tr_err *err)
{
    const char *start = NULL;
    const char *end = NULL;

    if (api_body_text(c, "start_at", &start, err) != TR_OK ||
        api_body_text(c, "end_at", &end, err) != TR_OK)
        return err->rc;
    ret->hi = c->d->source->ops->now(c->d->source);
    enum tr_rc rc = end == NULL
                        ? TR_OK
                        : api_when(c, "end_at", tr_str_of(end), &e->schedule, false, &ret->hi, err);
    if (rc != TR_OK)
        return rc;
    return start == NULL
               ? first_row(c, e, &ret->lo, err)
               : api_when(c, "start_at", tr_str_of(start), &e->schedule, false, &ret->lo, err);
}

static enum tr_rc read_on_delivered(struct api_call *c, const struct tr_export *e,
                                    struct tr_backfill *b, struct tr_err *err)
{
    static const enum tr_on_delivered all[] = { TR_SKIP_DELIVERED, TR_REPLACE_DELIVERED,
                                                TR_APPEND_DELIVERED };
    const struct tr_dest_ops *ops = tr_delivery_dest(c->d, e->dest_type);
    const char *text = "skip";
    bool found = false;

    if (api_body_text(c, "on_delivered", &text, err) != TR_OK)
        return err->rc;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(text, tr_on_delivered_name(all[i])) == 0) {
            b->on_delivered = all[i];
            found = true;
        }
    if (!found)
        return api_bad(c, err, "on_delivered", "invalid_choice", NULL,
                       "there are skip, replace and append");
    if (b->on_delivered == TR_REPLACE_DELIVERED &&
        (ops == NULL || !tr_dest_replaces(ops, e->schema)))
        return api_bad(c, err, "on_delivered", "invalid_input",
                       e->schema->is_mutable ? "use skip" : "use skip, or append",
                       "a %s destination cannot replace what it has", e->dest_type);
    if (b->on_delivered == TR_APPEND_DELIVERED && e->schema->is_mutable)
        return api_bad(c, err, "on_delivered", "invalid_input", "use skip, or replace",
                       "rows of %s are updated by key: there is nothing to append",
                       e->schema->name);
    return TR_OK;
}

static enum tr_rc check_range(struct api_call *c, const struct tr_export *e, struct tr_backfill *b,
                              struct tr_err *err)
{
    struct tr_source *source = c->d->source;
    int64_t now = source->ops->now(source);
    int64_t floor = source->ops->floor(source);
    char until[TR_TIME_TEXT];

    if (b->range.lo >= b->range.hi)
        return api_bad(c, err, "end_at", "invalid_input", NULL, "end_at must be after start_at");
    if (b->range.hi > now) {
        (void)tr_time_format(now, until);
        return api_bad(c, err, "end_at", "invalid_input",
                       "choose an earlier end; what comes later is delivered by the schedule",
                       "end_at is in the future: events are complete until %s", until);
    }
    /* It is past, but maybe not closed yet: who needs it closed will not have to wait. */
    (void)source->ops->close_through(source, b->range.hi);
    struct tr_range inside = tr_range_meet(b->range, tr_export_bounds(e));
    if (tr_range_empty(inside))
        return api_bad(c, err, "start_at", "invalid_input", NULL,
                       "the range is outside of the export's own start_at and end_at");
    b->range = inside;
    if (b->range.lo < floor && floor > TR_TIME_MIN && !e->schema->is_mutable) {
        /* What the store let go of cannot be delivered: never say "0 rows" about it. */
        (void)tr_time_format(floor, until);
        return api_bad(c, err, "start_at", "invalid_input", "choose a later start",
                       "events are held from %s on", until);
    }
    return TR_OK;
}

enum tr_rc api_backfill_create(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    TR_CLEANUP(api_export_free) struct tr_export *e = NULL;
    struct tr_backfill b = { .state = TR_RUN_STARTING };
    struct tr_counts counts = { 0 };
    int64_t parallel = 1;

    if (api_export_row(c, 1, &row, err) != TR_OK || api_export_parse_row(&row, &e, err) != TR_OK ||
        read_range(c, e, &b.range, err) != TR_OK || read_on_delivered(c, e, &b, err) != TR_OK ||
        api_body_int(c, "parallel", 1, MAX_PARALLEL, &parallel, err) != TR_OK ||
        check_range(c, e, &b, err) != TR_OK)
        return err->rc;
    if (c->d->source->ops->counts(c->d->source, c->project.id, b.range, &counts, err) != TR_OK)
        return tr_wrap(err, "count the range");
    b.export_id = row.id;
    b.project = row.project;
    b.parallel = (int)parallel;
    b.cursor = b.range.lo;
    b.rows_total = e->schema->is_mutable ? 0 : counts.stored; /* how many changed is not known */
    b.created_at = tr_clock_wall_us();
    if (c->meta->ops->backfill_create(c->meta, &b, row.target, err) != TR_OK)
        return tr_wrap(err, "create the backfill");
    api_log(c, "info", &row.id, NULL, "a backfill was created (on_delivered: %s)",
            tr_on_delivered_name(b.on_delivered));
    api_wake_engine(c);
    c->status = 201;
    c->answer = api_json_backfill(&b);
    json_t *id = api_json_uuid(&b.id);
    (void)json_object_set_new(c->answer, "backfill_id", id);
    return TR_OK;
}
