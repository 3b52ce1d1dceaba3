/* Objects as the API shows them. */
#include <inttypes.h>
#include <stdio.h>

#include "api/api_priv.h"
#include "base/time.h"
#include "base/utf8.h"

json_t *api_json_str(struct tr_str s)
{
    if (tr_utf8_valid(s))
        return json_stringn(s.n == 0 ? "" : s.p, s.n);

    struct tr_buf clean;
    tr_buf_init(&clean, 3 * s.n + 1);
    for (size_t i = 0; i < s.n;) {
        size_t width = tr_utf8_width(s.p + i, s.n - i);
        if (width == 0) {
            tr_buf_z(&clean, "\xEF\xBF\xBD");
            i++;
        } else {
            tr_buf_add(&clean, s.p + i, width);
            i += width;
        }
    }
    json_t *j = clean.failed ? json_null() : json_stringn(clean.p, clean.n);
    tr_buf_fini(&clean);
    return j;
}

json_t *api_json_text(const char *z)
{
    return z == NULL || z[0] == '\0' ? json_null() : api_json_str(tr_str_of(z));
}

bool api_uuid_is_nil(const struct tr_uuid *u)
{
    static const struct tr_uuid nil;

    return memcmp(u, &nil, sizeof(nil)) == 0;
}

json_t *api_json_uuid(const struct tr_uuid *u)
{
    char text[TR_UUID_TEXT];

    if (api_uuid_is_nil(u))
        return json_null();
    tr_uuid_format(u, text);
    return json_string(text);
}

json_t *api_json_time(int64_t t)
{
    char text[TR_TIME_TEXT];

    if (t < TR_TIME_MIN || t > TR_TIME_MAX)
        return json_null();
    (void)tr_time_format(t, text);
    return json_string(text);
}

json_t *api_json_time_or_null(int64_t t)
{
    return t == 0 ? json_null() : api_json_time(t);
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

json_t *api_json_account(const struct tr_account *a)
{
    bool balanced = a->stored == a->selected + a->excluded + a->elsewhere &&
                    a->selected == a->delivered + a->already_there + a->rejected;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "stored",
                     count(a->stored), "elsewhere", count(a->elsewhere), "selected",
                     count(a->selected), "excluded", count(a->excluded), "delivered",
                     count(a->delivered), "already_there", count(a->already_there), "rejected",
                     count(a->rejected), "repaired", count(a->repaired), "bytes", count(a->bytes),
                     "balanced", (int)balanced);
}

json_t *api_json_run(const struct tr_run *r)
{
    const struct tr_account *a = &r->account;
    bool begun = r->attempts > 0;

    return json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, "
        "s:I, s:o, s:s, s:o, s:b}",
        "id", api_json_uuid(&r->id), "batch_export_id", api_json_uuid(&r->export_id), "status",
        tr_run_state_name(r->state), "data_interval_start", api_json_time(r->interval.lo),
        "data_interval_end", api_json_time(r->interval.hi), "records_completed",
        begun ? count(a->delivered + a->already_there) : json_null(), "records_failed",
        begun ? count(a->rejected) : json_null(), "records_total_count",
        begun ? count(a->selected) : json_null(), "bytes_exported",
        begun ? count(a->bytes) : json_null(), "latest_error", api_json_text(r->error), "hint",
        api_json_text(r->error_hint), "reason", api_json_text(r->error_id), "created_at",
        api_json_time_or_null(r->created_at), "started_at", api_json_time_or_null(r->started_at),
        "finished_at", api_json_time_or_null(r->finished_at), "attempts", (json_int_t)r->attempts,
        "next_attempt_at",
        r->state == TR_RUN_RETRYING ? api_json_time_or_null(r->next_attempt_at) : json_null(),
        "generation", (json_int_t)r->generation, "backfill_id", api_json_uuid(&r->backfill_id),
        "on_delivered", tr_on_delivered_name(r->on_delivered), "account", api_json_account(a),
        "cancel_asked", (int)r->cancel_asked);
}

static json_t *progress(const struct tr_backfill *b)
{
    double share = b->total_runs == 0 ? (tr_run_state_ended(b->state) ? 1.0 : 0.0)
                                      : (double)b->finished_runs / (double)b->total_runs;
    double rounded = (double)(int64_t)(share * 1000.0) / 1000.0;

    return json_pack("{s:o, s:o, s:o, s:f, s:o, s:o}", "total_runs", count(b->total_runs),
                     "finished_runs", count(b->finished_runs), "failed_runs", count(b->failed_runs),
                     "progress", rounded, "rows_total", count(b->rows_total), "rows_done",
                     count(b->rows_done));
}

json_t *api_json_backfill(const struct tr_backfill *b)
{
    return json_pack("{s:o, s:o, s:s, s:o, s:o, s:s, s:i, s:I, s:o, s:o, s:o, s:o, s:o}", "id",
                     api_json_uuid(&b->id), "batch_export_id", api_json_uuid(&b->export_id),
                     "status", tr_run_state_name(b->state), "start_at", api_json_time(b->range.lo),
                     "end_at", api_json_time(b->range.hi), "on_delivered",
                     tr_on_delivered_name(b->on_delivered), "parallel", b->parallel, "generation",
                     (json_int_t)b->generation, "progress", progress(b), "total_records_count",
                     count(b->rows_total), "created_at", api_json_time_or_null(b->created_at),
                     "started_at", api_json_time_or_null(b->started_at), "finished_at",
                     api_json_time_or_null(b->finished_at));
}

json_t *api_json_project(const struct tr_project *p)
{
    return json_pack("{s:i, s:o, s:s, s:s, s:o}", "id", (int)p->id, "name",
                     api_json_str(tr_str_of(p->name)), "capture_token", p->capture_token,
                     "api_token", p->capture_token, "created_at",
                     api_json_time_or_null(p->created_at));
}

/* The request's own address with another value of key. */
static json_t *page_link(struct api_call *c, const char *key, const char *value)
{
    struct tr_buf b;
    struct tr_str rest = c->req->query;
    size_t n = strlen(key);

    if (value == NULL)
        return json_null();
    tr_buf_init(&b, 16384);
    tr_buf_printf(&b, "%s://", c->req->https ? "https" : "http");
    tr_buf_str(&b, c->req->host);
    tr_buf_str(&b, c->req->path);
    tr_buf_printf(&b, "?%s=%s", key, value);
    while (rest.p != NULL) {
        struct tr_str part = tr_str_cut(rest, '&', &rest);
        if (part.n == 0 || (part.n > n && memcmp(part.p, key, n) == 0 && part.p[n] == '='))
            continue;
        tr_buf_ch(&b, '&');
        tr_buf_str(&b, part);
    }
    json_t *j = b.failed ? json_null() : api_json_str(tr_buf_view(&b));
    tr_buf_fini(&b);
    return j;
}

json_t *api_json_page(struct api_call *c, json_t *results, const char *next_cursor,
                      const char *previous_cursor)
{
    return json_pack("{s:o, s:o, s:o}", "next", page_link(c, "cursor", next_cursor), "previous",
                     page_link(c, "cursor", previous_cursor), "results", results);
}

json_t *api_json_offsets(struct api_call *c, json_t *results, int64_t offset, int64_t limit,
                         int64_t count)
{
    char next[24];
    char previous[24];

    (void)snprintf(next, sizeof(next), "%" PRId64, offset + limit);
    (void)snprintf(previous, sizeof(previous), "%" PRId64, offset > limit ? offset - limit : 0);
    return json_pack("{s:I, s:o, s:o, s:o}", "count", (json_int_t)count, "next",
                     page_link(c, "offset", offset + limit < count ? next : NULL), "previous",
                     page_link(c, "offset", offset > 0 ? previous : NULL), "results", results);
}

void api_json_free(json_t **j)
{
    json_decref(*j);
    *j = NULL;
}
