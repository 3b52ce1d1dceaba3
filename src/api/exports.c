/* Exports: look at, pause, go on, delete. Writing their configuration is in export_write.c. */
#include <stdio.h>
#include <stdlib.h>

#include "api/api_priv.h"
#include "os/clock.h"

void api_row_fini(struct tr_export_row *row)
{
    tr_buf_fini(&row->buf);
}

void api_export_free(struct tr_export **e)
{
    tr_export_free(*e);
    *e = NULL;
}

enum tr_rc api_export_row(struct api_call *c, size_t i, struct tr_export_row *ret,
                          struct tr_err *err)
{
    struct tr_uuid id;

    tr_buf_init(&ret->buf, 8 << 20);
    if (api_arg_uuid(c, i, "export", &id, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->export_get(c->meta, &id, ret, err) != TR_OK)
        return tr_wrap(err, "export");
    if (ret->deleted || ret->project != c->project.id)
        return api_not_found(err, "export");
    return TR_OK;
}

enum tr_rc api_export_parse_row(const struct tr_export_row *row, struct tr_export **ret,
                                struct tr_err *err)
{
    TR_CLEANUP(api_json_free) json_t *body = json_loadb(row->body.p, row->body.n, 0, NULL);

    if (body == NULL)
        return tr_fail(err, TR_INTERNAL, "api.body", NULL,
                       "the kept body of the export is no JSON");
    if (tr_export_parse(body, ret, err) != TR_OK)
        return tr_wrap(err, "read the kept export");
    (*ret)->id = row->id;
    (*ret)->project = row->project;
    (*ret)->paused = row->paused;
    (*ret)->target = row->target;
    (*ret)->created_at = row->created_at;
    (*ret)->version = row->version;
    return TR_OK;
}

struct run_array {
    json_t *array;
};

static bool add_run(void *arg, const struct tr_run *run)
{
    struct run_array *to = arg;

    return json_array_append_new(to->array, api_json_run(run)) == 0;
}

static enum tr_rc latest_runs(struct api_call *c, const struct tr_uuid *id, json_t **ret,
                              struct tr_err *err)
{
    struct tr_run_query q = { .export_id = *id, .limit = API_LATEST_RUNS };
    struct run_array to = { json_array() };

    if (c->meta->ops->run_list(c->meta, &q, add_run, &to, err) != TR_OK) {
        json_decref(to.array);
        return tr_wrap(err, "list runs");
    }
    *ret = to.array;
    return TR_OK;
}

/* All but latest_runs: makes no call to meta. */
static json_t *export_base(const struct tr_delivery *d, const struct tr_export_row *row)
{
    json_t *j = json_loadb(row->body.p, row->body.n, 0, NULL);

    if (j == NULL)
        return NULL;
    const char *type =
        json_string_value(json_object_get(json_object_get(j, "destination"), "type"));
    const struct tr_dest_ops *ops = type == NULL ? NULL : tr_delivery_dest(d, type);
    if (ops != NULL)
        api_place_strip(ops, j); /* they are not kept there; once more does no harm */
    (void)json_object_set_new(j, "id", api_json_uuid(&row->id));
    (void)json_object_set_new(j, "team_id", json_integer(row->project));
    (void)json_object_set_new(j, "paused", json_boolean(row->paused));
    (void)json_object_set_new(j, "target", api_json_str(row->target_text));
    (void)json_object_set_new(j, "version", json_integer((json_int_t)row->version));
    (void)json_object_set_new(j, "created_at", api_json_time_or_null(row->created_at));
    (void)json_object_set_new(j, "last_updated_at", api_json_time_or_null(row->updated_at));
    (void)json_object_set_new(j, "last_paused_at", api_json_time_or_null(row->last_paused_at));
    return j;
}

json_t *api_json_export(struct api_call *c, const struct tr_export_row *row, struct tr_err *err)
{
    json_t *j = export_base(c->d, row);
    json_t *runs = NULL;

    if (j == NULL)
        (void)tr_fail_oom(err);
    if (j == NULL || latest_runs(c, &row->id, &runs, err) != TR_OK) {
        json_decref(j);
        return NULL;
    }
    (void)json_object_set_new(j, "latest_runs", runs);
    return j;
}

struct export_array {
    const struct tr_delivery *d;
    json_t *array;
};

static bool add_export(void *arg, const struct tr_export_row *row)
{
    struct export_array *to = arg;

    if (!row->deleted)
        (void)json_array_append_new(to->array, export_base(to->d, row));
    return true;
}

enum tr_rc api_export_list(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_json_free) json_t *all = json_array();
    struct export_array to = { c->d, all };
    int64_t limit = 0;
    int64_t offset = 0;

    if (api_query_int(c, "limit", API_PAGE, 1, API_MAX_PAGE, &limit, err) != TR_OK ||
        api_query_int(c, "offset", 0, 0, INT32_MAX, &offset, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->export_list(c->meta, c->project.id, add_export, &to, err) != TR_OK)
        return tr_wrap(err, "list exports");

    json_t *results = json_array();
    size_t count = json_array_size(all);
    for (size_t i = (size_t)offset; i < count && i < (size_t)(offset + limit); i++) {
        json_t *e = json_array_get(all, i);
        json_t *runs = NULL;
        struct tr_uuid id;
        if (!tr_uuid_parse(tr_str_of(json_string_value(json_object_get(e, "id"))), &id) ||
            latest_runs(c, &id, &runs, err) != TR_OK) {
            json_decref(results);
            return err->rc;
        }
        (void)json_object_set_new(e, "latest_runs", runs);
        (void)json_array_append(results, e);
    }
    c->answer = api_json_offsets(c, results, offset, limit, (int64_t)count);
    return TR_OK;
}

enum tr_rc api_export_show(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };

    if (api_export_row(c, 1, &row, err) != TR_OK)
        return err->rc;
    c->answer = api_json_export(c, &row, err);
    return c->answer == NULL ? err->rc : TR_OK;
}

enum tr_rc api_export_delete(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    struct tr_uuid id;

    tr_buf_init(&row.buf, 8 << 20);
    if (api_arg_uuid(c, 1, "export", &id, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->export_get(c->meta, &id, &row, err) != TR_OK)
        return tr_wrap(err, "export");
    if (row.project != c->project.id)
        return api_not_found(err, "export");
    c->status = 204;
    if (row.deleted)
        return TR_OK;
    if (c->meta->ops->export_delete(c->meta, &id, tr_clock_wall_us(), err) != TR_OK)
        return tr_wrap(err, "delete the export");
    api_log(c, "info", &id, NULL, "deleted");
    api_wake_engine(c);
    return TR_OK;
}

enum tr_rc api_cursor_to_now(struct api_call *c, const struct tr_export *e, struct tr_err *err)
{
    int64_t lo = tr_schedule_at(&e->schedule, api_now(c)).lo;

    if (e->start_at > lo)
        lo = e->start_at;
    if (c->meta->ops->cursor_set(c->meta, &e->id, lo, err) != TR_OK)
        return tr_wrap(err, "set where the schedule starts");
    return TR_OK;
}

enum tr_rc api_export_pause(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };

    if (api_export_row(c, 1, &row, err) != TR_OK)
        return err->rc;
    if (!row.paused) {
        if (c->meta->ops->export_pause(c->meta, &row.id, true, tr_clock_wall_us(), err) != TR_OK)
            return tr_wrap(err, "pause");
        api_log(c, "info", &row.id, NULL, "paused");
        api_wake_engine(c);
    }
    c->answer = json_pack("{s:b}", "paused", 1);
    return TR_OK;
}

static enum tr_rc unpause(struct api_call *c, const struct tr_export_row *row, bool backfill,
                          struct tr_err *err)
{
    TR_CLEANUP(api_export_free) struct tr_export *e = NULL;

    /* The cursor first: once it is not paused, the engine may make runs from it. */
    if (!backfill &&
        (api_export_parse_row(row, &e, err) != TR_OK || api_cursor_to_now(c, e, err) != TR_OK))
        return err->rc;
    if (c->meta->ops->export_pause(c->meta, &row->id, false, tr_clock_wall_us(), err) != TR_OK)
        return tr_wrap(err, "unpause");
    api_log(c, "info", &row->id, NULL,
            backfill ? "unpaused; goes on where it was paused" : "unpaused from now on");
    api_wake_engine(c);
    return TR_OK;
}

enum tr_rc api_export_unpause(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    bool backfill = false;

    if (api_export_row(c, 1, &row, err) != TR_OK ||
        api_body_bool(c, "backfill", &backfill, err) != TR_OK)
        return err->rc;
    if (row.paused && unpause(c, &row, backfill, err) != TR_OK)
        return err->rc;
    c->answer = json_pack("{s:b}", "paused", 0);
    return TR_OK;
}

/* ---- logs ---- */

static bool add_line(void *arg, const struct tr_log_line *line)
{
    return json_array_append_new(arg, json_pack("{s:o, s:s, s:o, s:o}", "timestamp",
                                                api_json_time(line->at), "level", line->level,
                                                "message", api_json_str(tr_str_of(line->text)),
                                                "run_id", api_json_uuid(&line->run_id))) == 0;
}

enum tr_rc api_logs(struct api_call *c, const struct tr_uuid *export_id,
                    const struct tr_uuid *run_id, struct tr_err *err)
{
    int64_t limit = 0;

    if (api_query_int(c, "limit", API_PAGE, 1, API_MAX_PAGE, &limit, err) != TR_OK)
        return err->rc;
    json_t *results = json_array();
    if (c->meta->ops->log_list(c->meta, export_id, run_id, (int)limit, add_line, results, err) !=
        TR_OK) {
        json_decref(results);
        return tr_wrap(err, "list the log");
    }
    c->answer = json_pack("{s:o}", "results", results);
    return TR_OK;
}

enum tr_rc api_export_logs(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    static const struct tr_uuid nil;

    if (api_export_row(c, 1, &row, err) != TR_OK)
        return err->rc;
    return api_logs(c, &row.id, &nil, err);
}
