/* Projects: whose events they are, and the public token that SDKs send. */
#include <stdio.h>

#include "api/api_priv.h"
#include "os/random.h"

static bool add_project(void *arg, const struct tr_project *p)
{
    return json_array_append_new(arg, api_json_project(p)) == 0;
}

enum tr_rc api_project_list(struct api_call *c, struct tr_err *err)
{
    json_t *results = json_array();

    if (c->meta->ops->project_list(c->meta, add_project, results, err) != TR_OK) {
        json_decref(results);
        return tr_wrap(err, "list projects");
    }
    c->answer = json_pack("{s:I, s:n, s:n, s:o}", "count", (json_int_t)json_array_size(results),
                          "next", "previous", "results", results);
    return TR_OK;
}

enum tr_rc api_project_show(struct api_call *c, struct tr_err *err)
{
    (void)err;
    c->answer = api_json_project(&c->project);
    return TR_OK;
}

/* What a capture token may look like: what SDKs take, and no personal key by mistake. */
static enum tr_rc check_token(struct api_call *c, const char *token, struct tr_err *err)
{
    size_t n = strlen(token);

    if (strncmp(token, "phx_", 4) == 0)
        return api_bad(c, err, "capture_token", "invalid_input", NULL,
                       "phx_ begins a personal API key: SDKs must not hold one");
    if (n < 1 || n > 64)
        return api_bad(c, err, "capture_token", "invalid_input", NULL,
                       "must have 1 to 64 characters");
    for (size_t i = 0; i < n; i++)
        if (token[i] <= ' ' || token[i] > '~' || token[i] == '"' || token[i] == '\\')
            return api_bad(c, err, "capture_token", "invalid_input", NULL,
                           "must be printable ASCII without blanks, quotes and backslashes");
    return TR_OK;
}

enum tr_rc api_project_create(struct api_call *c, struct tr_err *err)
{
    const char *name = NULL;
    const char *token = NULL;
    char made[64] = "phc_";

    if (api_body_text(c, "name", &name, err) != TR_OK ||
        api_body_text(c, "capture_token", &token, err) != TR_OK)
        return err->rc;
    if (name == NULL || tr_str_trim(tr_str_of(name)).n == 0)
        return api_bad(c, err, "name", "required", NULL, "a project needs a name");
    if (strlen(name) >= sizeof(c->project.name))
        return api_bad(c, err, "name", "max_length", NULL, "must have at most %zu bytes",
                       sizeof(c->project.name) - 1);
    if (token != NULL && check_token(c, token, err) != TR_OK)
        return err->rc;
    if (token == NULL) {
        tr_random_hex(made + 4, 20);
        token = made;
    }
    if (c->meta->ops->project_create(c->meta, name, token, &c->project, err) != TR_OK) {
        (void)snprintf(
            c->attr, sizeof(c->attr), "%s",
            err->id != NULL && strcmp(err->id, "meta.token_in_use") == 0 ? "capture_token" : "");
        return tr_wrap(err, "create the project");
    }
    const struct tr_api_options *o = api_options(c->api);
    if (o->projects_changed != NULL)
        o->projects_changed(o->arg);
    c->answer = api_json_project(&c->project);
    c->status = 201;
    return TR_OK;
}
