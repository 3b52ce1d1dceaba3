/* Inside the API: one call, its route, and the helpers that handlers share.
 *
 * A handler runs on a worker's thread, reads c->req, c->arg and c->body, and either sets c->status
 * and c->answer or fills err (and, for a person who sent something wrong, c->attr and c->code).
 */
#ifndef TR_API_API_PRIV_H
#define TR_API_API_PRIV_H

#include <jansson.h>

#include "api/api.h"

/* A request as a worker sees it: its own copy, so that a connection may go away meanwhile. */
struct api_request {
    enum tr_http_method method;
    struct tr_str path, query, body, host, authorization;
    bool https; /* a proxy in front of us says so; only for the links in answers */
};

enum { API_MAX_ARGS = 4, API_PAGE = 100, API_MAX_PAGE = 1000, API_LATEST_RUNS = 10 };

struct api_call {
    struct tr_api *api;
    const struct tr_delivery *d;
    struct tr_meta *meta;
    const struct api_request *req;
    const struct api_route *route;
    struct tr_ctx cx;
    struct tr_str arg[API_MAX_ARGS]; /* the ':name' segments of the pattern, in order */
    struct tr_project project;       /* of routes below /api/projects/:project/ */
    json_t *body;                    /* an object, possibly empty; never NULL inside a handler */

    int status;       /* 200 unless the handler says otherwise */
    json_t *answer;   /* owned; NULL: no body */
    char attr[64];    /* which field was wrong; empty: none */
    const char *code; /* "required", "invalid_input", ..; NULL: by the error's class */
};

typedef enum tr_rc api_handler(struct api_call *c, struct tr_err *err);

enum { API_SLOW = 1 << 0 /* may take long: never occupies the last worker */ };

/* Members that a body, or an object in it, may have; both lists end with NULL. */
struct api_fields {
    const char *const *known;
    const char *const *ignored; /* of answers, and of PostHog's; not named in errors. May be NULL */
};

struct api_route {
    enum tr_http_method method;
    const char *pattern; /* "/api/projects/:project/"; environments/ is an alias of projects/ */
    api_handler *handler;
    unsigned flags;
    const char *doc;
    const struct api_fields *fields; /* checked before the handler runs; NULL: the body has none */
};

/* fields.c */
extern const struct api_fields api_fields_project, api_fields_export, api_fields_new_step,
    api_fields_step, api_fields_unpause, api_fields_backfill;
extern const char *const api_export_fields[]; /* ends with NULL */
/* Refuses members that fields does not have, null or not; prefix: where the object stands. */
TR_MUST_USE enum tr_rc api_only_known(struct api_call *c, const json_t *object, const char *prefix,
                                      const struct api_fields *fields, struct tr_err *err);

/* Ends with pattern == NULL. docs/api.md holds the same lines; a test compares them. */
extern const struct api_route api_routes[];

/* The route of a path, its arguments into arg. NULL: *ret_allow holds the methods that the path has
 * (empty: there is no such path). */
const struct api_route *api_route_find(enum tr_http_method method, struct tr_str path,
                                       struct tr_str arg[API_MAX_ARGS], struct tr_buf *ret_allow);

/* From a request to an answer, on the calling thread: authorization, route, handler, errors.
 * *ret_answer (or NULL) is the caller's. Extra header lines go to headers. */
void api_handle(struct tr_api *a, const struct api_request *req, int *ret_status,
                json_t **ret_answer, struct tr_buf *headers);

/* TR_OK when the request carries a known token. */
TR_MUST_USE enum tr_rc api_authorize(struct tr_api *a, const struct api_request *req,
                                     struct tr_err *err);

/* ---- the parts of struct tr_api that handlers use ---- */
const struct tr_api_options *api_options(const struct tr_api *a);
void api_wake_engine(struct api_call *c);
/* Changes of exports are read-modify-write: one at a time. */
void api_change_begin(struct tr_api *a);
void api_change_end(struct tr_api *a);
int64_t api_now(const struct api_call *c); /* the ingestion clock */

/* ---- problem.c: what went wrong, as JSON ---- */
json_t *api_problem(const struct tr_err *err, const char *attr, const char *code, int *ret_status);
/* The person's input is wrong: sets c->attr and c->code, fills err, returns TR_INVALID. */
enum tr_rc api_bad(struct api_call *c, struct tr_err *err, const char *attr, const char *code,
                   const char *hint, const char *fmt, ...) TR_FORMAT(6, 7);
enum tr_rc api_not_found(struct tr_err *err, const char *what);

/* ---- read.c: input ---- */
/* A query value, decoded into tmp; p == NULL: absent. */
struct tr_str api_query(const struct api_call *c, const char *key, struct tr_buf *tmp);
TR_MUST_USE enum tr_rc api_query_int(struct api_call *c, const char *key, int64_t fallback,
                                     int64_t min, int64_t max, int64_t *ret, struct tr_err *err);
TR_MUST_USE enum tr_rc api_query_bool(struct api_call *c, const char *key, bool *ret,
                                      struct tr_err *err);
/* An instant with a zone; a bare date where schedule (may be NULL) is of days or weeks; "-7d",
 * "-12h", "now" where relative. */
TR_MUST_USE enum tr_rc api_when(struct api_call *c, const char *attr, struct tr_str text,
                                const struct tr_schedule *schedule, bool relative, int64_t *ret,
                                struct tr_err *err);
/* The same for a query key; *ret stays as it was when the key is absent or empty. */
TR_MUST_USE enum tr_rc api_query_when(struct api_call *c, const char *key,
                                      const struct tr_schedule *schedule, int64_t *ret,
                                      struct tr_err *err);
/* Members of the body. A wrong type is TR_INVALID; absent or null leaves *ret as it was. */
TR_MUST_USE enum tr_rc api_body_text(struct api_call *c, const char *key, const char **ret,
                                     struct tr_err *err);
TR_MUST_USE enum tr_rc api_body_int(struct api_call *c, const char *key, int64_t min, int64_t max,
                                    int64_t *ret, struct tr_err *err);
TR_MUST_USE enum tr_rc api_body_bool(struct api_call *c, const char *key, bool *ret,
                                     struct tr_err *err);
/* An argument of the path as an id; one that is not an id is "not found". */
TR_MUST_USE enum tr_rc api_arg_uuid(struct api_call *c, size_t i, const char *what,
                                    struct tr_uuid *ret, struct tr_err *err);

/* ---- json.c: output ---- */
json_t *api_json_str(struct tr_str s);          /* bytes that are not UTF-8 become U+FFFD */
json_t *api_json_text(const char *z);           /* null for NULL and "" */
json_t *api_json_uuid(const struct tr_uuid *u); /* null for nil */
json_t *api_json_time(int64_t t);               /* null outside what a calendar has */
json_t *api_json_time_or_null(int64_t t);       /* null for 0, too */
json_t *api_json_account(const struct tr_account *a);
json_t *api_json_run(const struct tr_run *r);
json_t *api_json_backfill(const struct tr_backfill *b);
json_t *api_json_project(const struct tr_project *p);
bool api_uuid_is_nil(const struct tr_uuid *u);
/* {"next", "previous", "results"}; takes results. */
/* The same for lists with limit and offset, of which count are there in all. */
json_t *api_json_offsets(struct api_call *c, json_t *results, int64_t offset, int64_t limit,
                         int64_t count);
json_t *api_json_page(struct api_call *c, json_t *results, const char *next_cursor,
                      const char *previous_cursor);

/* ---- exports.c: shared ---- */
/* The export of path argument i, which must belong to c->project and not be deleted. The caller
 * runs api_row_fini. */
TR_MUST_USE enum tr_rc api_export_row(struct api_call *c, size_t i, struct tr_export_row *ret,
                                      struct tr_err *err);
void api_row_fini(struct tr_export_row *row);
/* NULL: err is filled. */
json_t *api_json_export(struct api_call *c, const struct tr_export_row *row, struct tr_err *err);
/* The export parsed, without its secrets. Free with tr_export_free. */
TR_MUST_USE enum tr_rc api_export_parse_row(const struct tr_export_row *row, struct tr_export **ret,
                                            struct tr_err *err);
void api_export_free(struct tr_export **e);
/* Sets where the schedule goes on: the interval that holds now, or start_at. */
TR_MUST_USE enum tr_rc api_cursor_to_now(struct api_call *c, const struct tr_export *e,
                                         struct tr_err *err);
void api_log(struct api_call *c, const char *level, const struct tr_uuid *export_id,
             const struct tr_uuid *run_id, const char *fmt, ...) TR_FORMAT(5, 6);
void api_json_free(json_t **j);
/* Answers the newest lines of an export, or of one of its runs (nil: all). */
TR_MUST_USE enum tr_rc api_logs(struct api_call *c, const struct tr_uuid *export_id,
                                const struct tr_uuid *run_id, struct tr_err *err);

/* ---- place.c: what an export's body says about its destination ---- */
struct api_place {
    const struct tr_dest_ops *ops;
    const struct tr_dest_ops *tested; /* whose test steps are those of the export */
    const struct tr_schema *schema;   /* of the export; NULL: it names no model that there is */
    json_t *columns;                  /* that the export chooses, or NULL */
    json_t *config; /* options of the adapter, secrets included, include/exclude left out */
    json_t *secrets;
    const char *kept; /* a secret option that the body leaves as it was; NULL: none */
    struct tr_conf *conf;
};
/* Fills in what a new export leaves to its model: the table's name. */
void api_place_defaults(const struct api_call *c, json_t *body);
/* Writes down what the adapter chooses for a new export where the person left it open. */
void api_place_settle(const struct api_call *c, json_t *body);
/* In a body that replaces old: what was settled then and is left open now stays as it was. */
void api_place_keep(const struct api_call *c, json_t *body, json_t *old);
/* body is an export's; old_sealed (may be empty) are the secrets it had, under the id about. */
TR_MUST_USE enum tr_rc api_place_read(struct api_call *c, const json_t *body, const char *about,
                                      struct tr_str old_sealed, struct api_place *ret,
                                      struct tr_err *err);
/* Refuses to show secrets that were kept to another place than they were given for: old_body is
 * what the export was before. */
TR_MUST_USE enum tr_rc api_place_guard(struct api_call *c, const struct api_place *p,
                                       const json_t *old_body, const char *about,
                                       struct tr_str old_sealed, struct tr_err *err);
void api_place_fini(struct api_place *p);
/* Takes the adapter's secret options out of the body's configuration. */
void api_place_strip(const struct tr_dest_ops *ops, json_t *body);
/* Opens the place and runs one step. */
TR_MUST_USE enum tr_rc api_place_test(struct api_call *c, const struct api_place *p, size_t step,
                                      struct tr_err *err);
/* Runs all steps; on failure err says which. */
TR_MUST_USE enum tr_rc api_place_test_all(struct api_call *c, const struct api_place *p,
                                          struct tr_err *err);

/* ---- handlers, by file ---- */
api_handler api_index;
api_handler api_project_list, api_project_create, api_project_show;
api_handler api_export_list, api_export_show, api_export_delete, api_export_pause,
    api_export_unpause, api_export_logs;
api_handler api_export_create, api_export_put, api_export_patch;
api_handler api_run_list, api_day_list, api_run_show, api_run_retry, api_run_cancel, api_run_logs,
    api_run_rejects;
api_handler api_backfill_list, api_backfill_create, api_backfill_show, api_backfill_cancel;
api_handler api_verify;
api_handler api_destination_list, api_test_list, api_test_step_new, api_test_step;
api_handler api_status;
api_handler api_person_list, api_person_show, api_person_delete, api_warning_list,
    api_unknown_tokens;

#endif
