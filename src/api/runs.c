/* Runs: list, show, retry, cancel, their logs and rejects. */
#include <stdio.h>
#include <stdlib.h>

#include "api/api_priv.h"
#include "os/clock.h"

/* ---- which runs ---- */

static enum tr_rc read_states(struct api_call *c, struct tr_run_query *q, struct tr_err *err)
{
    struct tr_str rest = c->req->query;
    struct tr_buf tmp;
    char name[32];
    enum tr_rc rc = TR_OK;

    tr_buf_init(&tmp, 64);
    while (rest.p != NULL && rc == TR_OK) {
        struct tr_str part = tr_str_cut(rest, '&', &rest);
        enum tr_run_state state;

        tr_buf_clear(&tmp);
        struct tr_str text = tr_query_get(part, "status", &tmp);
        if (text.n == 0)
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", TR_STR_ARGS(text));
        if (tr_run_state_parse(name, &state))
            q->states |= 1u << state;
        else
            rc = api_bad(c, err, "status", "invalid_choice", NULL,
                         "there are Starting, Running, FailedRetryable, Completed, Failed and "
                         "Cancelled");
    }
    tr_buf_fini(&tmp);
    return rc;
}

static enum tr_rc read_ordering(struct api_call *c, struct tr_run_query *q, struct tr_err *err)
{
    struct tr_buf tmp;

    tr_buf_init(&tmp, 64);
    struct tr_str text = api_query(c, "ordering", &tmp);
    bool by_interval = tr_str_is(text, "-data_interval_start");
    bool known = text.n == 0 || by_interval || tr_str_is(text, "-created_at");
    tr_buf_fini(&tmp);
    if (!known)
        return api_bad(c, err, "ordering", "invalid_choice", NULL,
                       "there are -created_at and -data_interval_start: the newest come first");
    q->by_interval = by_interval;
    return TR_OK;
}

static enum tr_rc read_range(struct api_call *c, const char *from, const char *to,
                             struct tr_range *ret, struct tr_err *err)
{
    struct tr_range r = { INT64_MIN, INT64_MAX };

    if (api_query_when(c, from, NULL, &r.lo, err) != TR_OK ||
        api_query_when(c, to, NULL, &r.hi, err) != TR_OK)
        return err->rc;
    if (r.lo != INT64_MIN || r.hi != INT64_MAX)
        *ret = r;
    return TR_OK;
}

static enum tr_rc read_backfill(struct api_call *c, struct tr_run_query *q, struct tr_err *err)
{
    struct tr_buf tmp;

    tr_buf_init(&tmp, 128);
    struct tr_str text = api_query(c, "backfill_id", &tmp);
    q->has_backfill = text.n > 0;
    bool ok = text.n == 0 || tr_uuid_parse(text, &q->backfill_id);
    tr_buf_fini(&tmp);
    return ok ? TR_OK : api_bad(c, err, "backfill_id", "invalid_input", NULL, "is no id");
}

/* ---- pages ----
 * A cursor is the id of the last run of the page before, or "-" and the id of the first run of the
 * page behind: the page in front of a run is found by walking from the newest. */

struct page {
    json_t *results;
    size_t want;
    struct tr_uuid *ids; /* of results; room for want + 1 */
    size_t n;
    bool more;
    struct tr_uuid until; /* walking: stop in front of this one, keep the last want */
    bool walking, found;
    size_t dropped;
};

static bool add_page_run(void *arg, const struct tr_run *run)
{
    struct page *p = arg;

    if (p->walking && memcmp(&run->id, &p->until, sizeof(run->id)) == 0) {
        p->found = true;
        return false;
    }
    if (p->n == p->want) {
        p->more = true;
        if (!p->walking)
            return false;
        (void)json_array_remove(p->results, 0);
        memmove(p->ids, p->ids + 1, (p->n - 1) * sizeof(p->ids[0]));
        p->n--;
        p->dropped++;
    }
    p->ids[p->n++] = run->id;
    return json_array_append_new(p->results, api_json_run(run)) == 0;
}

static enum tr_rc read_cursor(struct api_call *c, struct tr_run_query *q, struct page *p,
                              struct tr_err *err)
{
    struct tr_buf tmp;
    bool ok = true;

    tr_buf_init(&tmp, 128);
    struct tr_str text = api_query(c, "cursor", &tmp);
    if (text.n > 0 && text.p[0] == '-') {
        p->walking = true;
        ok = tr_uuid_parse((struct tr_str){ text.p + 1, text.n - 1 }, &p->until);
    } else if (text.n > 0) {
        ok = tr_uuid_parse(text, &q->after);
    }
    tr_buf_fini(&tmp);
    return ok ? TR_OK
              : api_bad(c, err, "cursor", "invalid_input", "take it from next or previous",
                        "is no cursor of this list");
}

static void cursor_text(const char *sign, const struct tr_uuid *id, char out[48])
{
    char text[TR_UUID_TEXT];

    tr_uuid_format(id, text);
    (void)snprintf(out, 48, "%s%s", sign, text);
}

static enum tr_rc list_page(struct api_call *c, struct tr_run_query *q, struct page *p,
                            struct tr_err *err)
{
    char next[48];
    char previous[48];
    bool from_start = api_uuid_is_nil(&q->after) && !p->walking;

    q->limit = p->walking ? INT32_MAX : (int)p->want + 1;
    p->ids = calloc(p->want + 1, sizeof(p->ids[0]));
    if (p->ids == NULL)
        return tr_fail_oom(err);
    if (c->meta->ops->run_list(c->meta, q, add_page_run, p, err) != TR_OK)
        return tr_wrap(err, "list runs");
    bool has_next = p->n > 0 && (p->walking || p->more);
    bool has_previous = p->n > 0 && (p->walking ? p->dropped > 0 : !from_start);
    if (has_next)
        cursor_text("", &p->ids[p->n - 1], next);
    if (has_previous)
        cursor_text("-", &p->ids[0], previous);
    c->answer = api_json_page(c, json_incref(p->results), has_next ? next : NULL,
                              has_previous ? previous : NULL);
    return TR_OK;
}

enum tr_rc api_run_list(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    struct tr_run_query q = { 0 };
    struct page p = { 0 };
    int64_t limit = 0;

    if (api_export_row(c, 1, &row, err) != TR_OK || read_states(c, &q, err) != TR_OK ||
        read_ordering(c, &q, err) != TR_OK || read_backfill(c, &q, err) != TR_OK ||
        read_range(c, "after", "before", &q.created, err) != TR_OK ||
        read_range(c, "start", "end", &q.interval, err) != TR_OK ||
        api_query_int(c, "limit", API_PAGE, 1, API_MAX_PAGE, &limit, err) != TR_OK ||
        read_cursor(c, &q, &p, err) != TR_OK)
        return err->rc;
    q.export_id = row.id;
    p.want = (size_t)limit;
    p.results = json_array();
    enum tr_rc rc = list_page(c, &q, &p, err);
    json_decref(p.results);
    free(p.ids);
    return rc;
}

/* ---- runs that are folded ---- */

static bool add_day(void *arg, const struct tr_day *d)
{
    return json_array_append_new(arg, json_pack("{s:o, s:I, s:o}", "day", api_json_time(d->day),
                                                "runs", (json_int_t)d->runs, "account",
                                                api_json_account(&d->account))) == 0;
}

enum tr_rc api_day_list(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    int64_t limit = 0;

    if (api_export_row(c, 1, &row, err) != TR_OK ||
        api_query_int(c, "limit", API_PAGE, 1, API_MAX_PAGE, &limit, err) != TR_OK)
        return err->rc;
    json_t *days = json_array();
    if (c->meta->ops->day_list(c->meta, &row.id, (int)limit, add_day, days, err) != TR_OK) {
        json_decref(days);
        return tr_wrap(err, "list days");
    }
    c->answer = api_json_page(c, days, NULL, NULL);
    return TR_OK;
}

/* ---- one run ---- */

/* The run of the path, which must be the export's. */
static enum tr_rc find_run(struct api_call *c, struct tr_run *ret, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    struct tr_uuid id;

    if (api_export_row(c, 1, &row, err) != TR_OK || api_arg_uuid(c, 2, "run", &id, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->run_get(c->meta, &id, ret, err) != TR_OK)
        return tr_wrap(err, "run");
    if (memcmp(&ret->export_id, &row.id, sizeof(row.id)) != 0)
        return api_not_found(err, "run");
    return TR_OK;
}

enum tr_rc api_run_show(struct api_call *c, struct tr_err *err)
{
    struct tr_run run;

    if (find_run(c, &run, err) != TR_OK)
        return err->rc;
    c->answer = api_json_run(&run);
    return TR_OK;
}

enum tr_rc api_run_retry(struct api_call *c, struct tr_err *err)
{
    struct tr_run run;
    struct tr_run again;

    if (find_run(c, &run, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->run_retry(c->meta, &run.id, tr_clock_wall_us(), &again, err) != TR_OK)
        return tr_wrap(err, "retry");
    api_log(c, "info", &run.export_id, &run.id, "a person asked to try again");
    api_wake_engine(c);
    c->answer = api_json_run(&again);
    c->status = 201;
    return TR_OK;
}

enum tr_rc api_run_cancel(struct api_call *c, struct tr_err *err)
{
    struct tr_run run;
    struct tr_run after;

    if (find_run(c, &run, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->run_cancel(c->meta, &run.id, tr_clock_wall_us(), &after, err) != TR_OK)
        return tr_wrap(err, "cancel");
    api_log(c, "info", &run.export_id, &run.id, "a person asked to stop");
    api_wake_engine(c);
    c->answer = api_json_run(&after);
    (void)json_object_set_new(c->answer, "cancelled", json_true());
    return TR_OK;
}

enum tr_rc api_run_logs(struct api_call *c, struct tr_err *err)
{
    struct tr_run run;

    if (find_run(c, &run, err) != TR_OK)
        return err->rc;
    return api_logs(c, &run.export_id, &run.id, err);
}

static bool add_reject(void *arg, const struct tr_reject *r)
{
    return json_array_append_new(arg, json_pack("{s:o, s:o, s:o}", "uuid", api_json_uuid(&r->uuid),
                                                "inserted_at", api_json_time(r->inserted_at),
                                                "reason", api_json_str(tr_str_of(r->reason)))) == 0;
}

enum tr_rc api_run_rejects(struct api_call *c, struct tr_err *err)
{
    struct tr_run run;
    int64_t limit = 0;

    if (find_run(c, &run, err) != TR_OK ||
        api_query_int(c, "limit", API_PAGE, 1, 10 * API_MAX_PAGE, &limit, err) != TR_OK)
        return err->rc;
    json_t *results = json_array();
    if (c->meta->ops->reject_list(c->meta, &run.id, (int)limit, add_reject, results, err) !=
        TR_OK) {
        json_decref(results);
        return tr_wrap(err, "list rejects");
    }
    c->answer = json_pack("{s:o}", "results", results);
    return TR_OK;
}
