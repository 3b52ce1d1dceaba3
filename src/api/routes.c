#include "api/api_priv.h"

#define EXPORTS "/api/projects/:project/batch_exports/"
#define EXPORT  EXPORTS ":export/"

/* More particular patterns stand before ':name' ones of the same length. */
const struct api_route api_routes[] = {
    { TR_HTTP_GET, "/api/", api_index, 0, "this table", NULL },
    { TR_HTTP_GET, "/api/status/", api_status, 0,
      "version, ids, the store, and how far each export is behind", NULL },
    { TR_HTTP_GET, "/api/destinations/", api_destination_list, 0,
      "destination types with the JSON schema of their options", NULL },
    { TR_HTTP_GET, "/api/projects/", api_project_list, 0, "projects", NULL },
    { TR_HTTP_POST, "/api/projects/", api_project_create, 0,
      "make a project: name, capture_token (made when absent)", &api_fields_project },
    { TR_HTTP_GET, "/api/projects/:project/", api_project_show, 0, "one project", NULL },
    { TR_HTTP_GET, "/api/unknown_tokens/", api_unknown_tokens, 0,
      "capture tokens that requests came with and no project has", NULL },
    { TR_HTTP_GET, "/api/projects/:project/warnings/", api_warning_list, 0,
      "what was wrong with events that were taken all the same, by day: limit", NULL },
    { TR_HTTP_GET, "/api/projects/:project/persons/", api_person_list, 0,
      "the person of ?distinct_id=", NULL },
    { TR_HTTP_GET, "/api/projects/:project/persons/:person/", api_person_show, 0, "one person",
      NULL },
    { TR_HTTP_DELETE, "/api/projects/:project/persons/:person/", api_person_delete, 0,
      "delete a person; with ?distinct_ids=true its distinct ids too", NULL },

    { TR_HTTP_GET, EXPORTS, api_export_list, 0, "exports of the project", NULL },
    { TR_HTTP_POST, EXPORTS, api_export_create, API_SLOW,
      "make an export; with \"test\": true its destination is tested first", &api_fields_export },
    { TR_HTTP_GET, EXPORTS "test/", api_test_list, 0,
      "test steps of the type ?destination= (and, in real time, &interval=realtime)", NULL },
    { TR_HTTP_POST, EXPORTS "run_test_step_new/", api_test_step_new, API_SLOW,
      "run test step number step of a body that is not saved", &api_fields_new_step },
    { TR_HTTP_GET, EXPORT, api_export_show, 0, "one export with its latest runs", NULL },
    { TR_HTTP_PUT, EXPORT, api_export_put, API_SLOW,
      "replace its configuration; secrets that are absent stay", &api_fields_export },
    { TR_HTTP_PATCH, EXPORT, api_export_patch, API_SLOW,
      "change parts of its configuration; objects are merged, secrets that are absent stay",
      &api_fields_export },
    { TR_HTTP_DELETE, EXPORT, api_export_delete, 0,
      "delete it: its backfills and runs are cancelled", NULL },
    { TR_HTTP_POST, EXPORT "pause/", api_export_pause, 0, "make no more runs", NULL },
    { TR_HTTP_POST, EXPORT "unpause/", api_export_unpause, 0,
      "go on; with \"backfill\": true also with what was missed", &api_fields_unpause },
    { TR_HTTP_POST, EXPORT "run_test_step/", api_test_step, API_SLOW,
      "run test step number step with its configuration, changed by the body", &api_fields_step },
    { TR_HTTP_GET, EXPORT "logs/", api_export_logs, 0, "its log, newest first: limit", NULL },
    { TR_HTTP_GET, EXPORT "verify/", api_verify, API_SLOW,
      "does everything balance: start, end, recount", NULL },

    { TR_HTTP_GET, EXPORT "runs/", api_run_list, 0,
      "runs: status (repeatable), after, before, start, end, ordering, limit, cursor", NULL },
    { TR_HTTP_GET, EXPORT "days/", api_day_list, 0,
      "what old runs came to, by day, newest first: limit", NULL },
    { TR_HTTP_GET, EXPORT "runs/:run/", api_run_show, 0, "one run", NULL },
    { TR_HTTP_POST, EXPORT "runs/:run/retry/", api_run_retry, 0,
      "start a failed or cancelled run again", NULL },
    { TR_HTTP_POST, EXPORT "runs/:run/cancel/", api_run_cancel, 0, "stop a run", NULL },
    { TR_HTTP_GET, EXPORT "runs/:run/logs/", api_run_logs, 0, "the run's log, newest first: limit",
      NULL },
    { TR_HTTP_GET, EXPORT "runs/:run/rejects/", api_run_rejects, 0,
      "rows that the destination could not take: limit", NULL },

    { TR_HTTP_GET, EXPORT "backfills/", api_backfill_list, 0, "backfills of the export", NULL },
    { TR_HTTP_POST, EXPORT "backfills/", api_backfill_create, 0,
      "deliver a past range: start_at, end_at, on_delivered, parallel", &api_fields_backfill },
    { TR_HTTP_GET, EXPORT "backfills/:backfill/", api_backfill_show, 0,
      "one backfill with its progress", NULL },
    { TR_HTTP_POST, EXPORT "backfills/:backfill/cancel/", api_backfill_cancel, 0,
      "stop a backfill and its runs", NULL },
    { .pattern = NULL },
};

static struct tr_str without_end_slash(struct tr_str s)
{
    if (s.n > 1 && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static bool matches(struct tr_str pattern, struct tr_str path, struct tr_str arg[API_MAX_ARGS])
{
    size_t args = 0;

    pattern = without_end_slash(pattern);
    path = without_end_slash(path);
    for (size_t i = 0; pattern.p != NULL || path.p != NULL; i++) {
        if (pattern.p == NULL || path.p == NULL)
            return false;
        struct tr_str want = tr_str_cut(pattern, '/', &pattern);
        struct tr_str have = tr_str_cut(path, '/', &path);

        if (want.n > 0 && want.p[0] == ':') {
            if (have.n == 0)
                return false;
            arg[args++] = have;
        } else if (!tr_str_eq(want, have) &&
                   !(i == 2 && tr_str_is(want, "projects") && tr_str_is(have, "environments"))) {
            return false;
        }
    }
    return true;
}

static const char *method_name(enum tr_http_method m)
{
    switch (m) {
    case TR_HTTP_GET:
    case TR_HTTP_HEAD:
        return "GET";
    case TR_HTTP_POST:
        return "POST";
    case TR_HTTP_PUT:
        return "PUT";
    case TR_HTTP_PATCH:
        return "PATCH";
    case TR_HTTP_DELETE:
        return "DELETE";
    case TR_HTTP_OPTIONS:
    case TR_HTTP_OTHER:
        break;
    }
    return "?";
}

const struct api_route *api_route_find(enum tr_http_method method, struct tr_str path,
                                       struct tr_str arg[API_MAX_ARGS], struct tr_buf *ret_allow)
{
    const char *pattern = NULL; /* the first that matched: others of that text, not of that shape */

    if (method == TR_HTTP_HEAD)
        method = TR_HTTP_GET;
    for (const struct api_route *r = api_routes; r->pattern != NULL; r++) {
        if (!matches(tr_str_of(r->pattern), path, arg))
            continue;
        if (pattern != NULL && strcmp(pattern, r->pattern) != 0)
            continue;
        if (r->method == method)
            return r;
        pattern = r->pattern;
        tr_buf_printf(ret_allow, "%s%s", ret_allow->n == 0 ? "" : ", ", method_name(r->method));
    }
    return NULL;
}

enum tr_rc api_index(struct api_call *c, struct tr_err *err)
{
    json_t *routes = json_array();

    (void)err;
    for (const struct api_route *r = api_routes; r->pattern != NULL; r++)
        (void)json_array_append_new(routes,
                                    json_pack("{s:s, s:s, s:s}", "method", method_name(r->method),
                                              "path", r->pattern, "does", r->doc));
    c->answer = json_pack("{s:s, s:o}", "version", TR_VERSION, "routes", routes);
    return TR_OK;
}
