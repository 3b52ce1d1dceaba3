/* Persons as they are now, and what was wrong with events about them. */
#include <string.h>

#include "api/api_priv.h"
#include "intake/intake.h"

enum { DISTINCT_ID_BYTES = 4096, UNKNOWN_TOKENS = 100 };

/* Takes what p owns. */
static json_t *person_json(struct tr_store_person *p)
{
    json_t *properties = json_loadb(p->properties.p, p->properties.n, 0, NULL);
    if (properties == NULL) /* an integer beyond 64 bits: shown as near as a double comes */
        properties = json_loadb(p->properties.p, p->properties.n, JSON_DECODE_INT_AS_REAL, NULL);
    json_t *ids = json_loadb(p->distinct_ids.p, p->distinct_ids.n, JSON_ALLOW_NUL, NULL);
    struct tr_str raw = tr_buf_view(&p->properties);
    json_t *answer =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:b, s:o}", "id", api_json_uuid(&p->id),
                  "uuid", api_json_uuid(&p->id), "distinct_ids", ids == NULL ? json_array() : ids,
                  "properties", properties == NULL ? api_json_str(raw) : properties, "created_at",
                  api_json_time(p->created_at), "version", (json_int_t)p->version, "is_identified",
                  (int)p->is_identified, "is_deleted", (int)p->is_deleted, "changed_at",
                  api_json_time(p->changed_at));

    tr_buf_fini(&p->properties);
    tr_buf_fini(&p->distinct_ids);
    return answer;
}

static enum tr_rc get(struct api_call *c, const struct tr_uuid *id, struct tr_str distinct_id,
                      json_t **ret, struct tr_err *err)
{
    struct tr_store_person p;
    bool found = false;
    enum tr_rc rc = tr_store_person_get(api_options(c->api)->store, c->project.id, id, distinct_id,
                                        &p, &found, err);

    *ret = rc == TR_OK && found ? person_json(&p) : NULL;
    return rc;
}

enum tr_rc api_person_list(struct api_call *c, struct tr_err *err)
{
    struct tr_buf tmp;
    json_t *person = NULL;

    tr_buf_init(&tmp, DISTINCT_ID_BYTES);
    struct tr_str id = api_query(c, "distinct_id", &tmp);
    enum tr_rc rc = id.n == 0 ? api_bad(c, err, "distinct_id", "required",
                                        "export the model persons to see all of them",
                                        "say which one: ?distinct_id=..")
                              : get(c, NULL, id, &person, err);
    tr_buf_fini(&tmp);
    if (rc != TR_OK)
        return rc;
    json_t *results = json_array();
    if (person != NULL)
        (void)json_array_append_new(results, person);
    c->answer = json_pack("{s:o}", "results", results);
    return TR_OK;
}

enum tr_rc api_person_show(struct api_call *c, struct tr_err *err)
{
    struct tr_uuid id;
    enum tr_rc rc = api_arg_uuid(c, 1, "person", &id, err);

    if (rc == TR_OK)
        rc = get(c, &id, (struct tr_str){ NULL, 0 }, &c->answer, err);
    return rc == TR_OK && c->answer == NULL ? api_not_found(err, "person") : rc;
}

enum tr_rc api_person_delete(struct api_call *c, struct tr_err *err)
{
    struct tr_uuid id;
    json_t *person = NULL;
    bool distinct_ids = false;
    enum tr_rc rc = api_arg_uuid(c, 1, "person", &id, err);

    if (rc == TR_OK)
        rc = api_query_bool(c, "distinct_ids", &distinct_ids, err);
    if (rc == TR_OK)
        rc = get(c, &id, (struct tr_str){ NULL, 0 }, &person, err);
    if (rc != TR_OK)
        return rc;
    bool gone = person == NULL || json_is_true(json_object_get(person, "is_deleted"));
    json_decref(person);
    if (gone)
        return api_not_found(err, "person");
    rc = tr_store_person_delete(api_options(c->api)->store, c->project.id, &id, distinct_ids, err);
    c->status = 204;
    return rc;
}

static bool add_warning(void *arg, const struct tr_store_warning *w)
{
    return json_array_append_new(
               arg, json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o}", "type", w->type, "day",
                              api_json_time(w->day), "count", (json_int_t)w->n, "first_at",
                              api_json_time(w->first_at), "last_at", api_json_time(w->last_at),
                              "distinct_id", api_json_str(w->distinct_id), "other",
                              w->other.n == 0 ? json_null() : api_json_str(w->other))) == 0;
}

enum tr_rc api_warning_list(struct api_call *c, struct tr_err *err)
{
    json_t *results = json_array();
    int64_t limit = 0;
    enum tr_rc rc = api_query_int(c, "limit", API_PAGE, 1, API_MAX_PAGE, &limit, err);

    if (rc == TR_OK)
        rc = tr_store_warnings(api_options(c->api)->store, c->project.id, (int)limit, add_warning,
                               results, err);
    if (rc != TR_OK) {
        json_decref(results);
        return rc;
    }
    c->answer = json_pack("{s:o}", "results", results);
    return TR_OK;
}

/* Sites that send with a token that no project has. */
enum tr_rc api_unknown_tokens(struct api_call *c, struct tr_err *err)
{
    struct tr_intake_unknown list[UNKNOWN_TOKENS];
    struct tr_intake *intake = api_options(c->api)->intake;
    json_t *results = json_array();

    (void)err;
    size_t n = intake == NULL ? 0 : tr_intake_unknown_tokens(intake, list, UNKNOWN_TOKENS);
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(results, json_pack("{s:o, s:I, s:o}", "capture_token",
                                                       api_json_str(tr_str_of(list[i].token)),
                                                       "requests", (json_int_t)list[i].requests,
                                                       "last_at", api_json_time(list[i].last_at)));
    c->answer = json_pack("{s:o, s:s}", "results", results, "hint",
                          "make the project with that capture_token, or mend the token in the SDK");
    return TR_OK;
}
