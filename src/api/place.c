/* What an export's body says about its destination: type, options, secrets; and testing the place.
 */
#include <stdio.h>

#include "api/api_priv.h"
#include "os/clock.h"

/* In the destination's configuration, but about events, not about the place. */
static bool is_event_list(const char *key)
{
    return strcmp(key, "include_events") == 0 || strcmp(key, "exclude_events") == 0;
}

static enum tr_rc find_type(struct api_call *c, const json_t *destination,
                            const struct tr_dest_ops **ret, struct tr_err *err)
{
    const char *type = json_string_value(json_object_get(destination, "type"));
    char known[160] = "";

    if (!json_is_object(destination))
        return api_bad(c, err, "destination", destination == NULL ? "required" : "invalid_input",
                       NULL, "must be an object with type and config");
    for (const struct tr_dest_ops *const *o = c->d->dests; *o != NULL; o++)
        (void)snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
                       o == c->d->dests ? "" : ", ", (*o)->name);
    if (type == NULL)
        return api_bad(c, err, "destination.type", "required", NULL, "there are %s", known);
    *ret = tr_delivery_dest(c->d, type);
    if (*ret == NULL)
        return api_bad(c, err, "destination.type", "invalid_choice", NULL,
                       "'%.40s' is not a destination type; there are %s", type, known);
    return TR_OK;
}

/* The secrets that an export had: a JSON object; empty when there were none. */
static enum tr_rc open_secrets(struct api_call *c, const char *about, struct tr_str sealed,
                               json_t **ret, struct tr_err *err)
{
    struct tr_buf plain;

    if (sealed.n == 0) {
        *ret = json_object();
        return TR_OK;
    }
    tr_buf_init(&plain, 1 << 20);
    if (tr_unseal(c->d->keys, tr_str_of(about), sealed, &plain, err) != TR_OK) {
        tr_wipe(&plain);
        return tr_wrap(err, "open the secrets of the export");
    }
    *ret = json_loadb(plain.p, plain.n, 0, NULL);
    tr_wipe(&plain);
    if (!json_is_object(*ret))
        return tr_fail(err, TR_INTERNAL, "api.secrets", NULL,
                       "the sealed secrets are not an object");
    return TR_OK;
}

/* Whoever gives them all anew needs no old ones: also the way on when their key is lost. */
static bool needs_old(const struct tr_option *options, const json_t *config)
{
    for (const struct tr_option *o = options; o->name != NULL; o++)
        if (o->secret && json_object_get(config, o->name) == NULL)
            return true;
    return false;
}

/* Old secrets stay where config has none; config's null takes one away. Returns the name of one
 * that stayed. */
static const char *merge_secrets(const struct tr_option *options, json_t *config, json_t *secrets)
{
    const char *kept = NULL;

    for (const struct tr_option *o = options; o->name != NULL; o++) {
        if (!o->secret)
            continue;
        json_t *given = json_object_get(config, o->name);
        if (given == NULL) {
            json_t *old = json_object_get(secrets, o->name);
            if (old != NULL) {
                (void)json_object_set(config, o->name, old);
                kept = o->name;
            }
        } else if (json_is_null(given)) {
            (void)json_object_del(secrets, o->name);
        } else {
            (void)json_object_set(secrets, o->name, given);
        }
    }
    return kept;
}

static void drop_nulls(json_t *object)
{
    void *next = NULL;
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach_safe(object, next, key, value)
    {
        if (json_is_null(value) || is_event_list(key))
            (void)json_object_del(object, key);
    }
}

/* The option that a complaint is about: its text begins with the name, or quotes an unknown one. */
static void blame(struct api_call *c, const struct tr_option *options, const struct tr_err *err)
{
    size_t n = strcspn(err->cause, " :");

    (void)snprintf(c->attr, sizeof(c->attr), "destination.config");
    for (const struct tr_option *o = options; o->name != NULL; o++)
        if (strlen(o->name) == n && strncmp(err->cause, o->name, n) == 0)
            (void)snprintf(c->attr, sizeof(c->attr), "destination.config.%s", o->name);
    const char *quoted = strchr(err->cause, '"');
    if (err->id != NULL && strcmp(err->id, "option.unknown") == 0 && quoted != NULL)
        (void)snprintf(c->attr, sizeof(c->attr), "destination.config.%.*s",
                       (int)strcspn(quoted + 1, "\""), quoted + 1);
}

static bool is_live(const json_t *interval)
{
    return json_is_string(interval) && strcmp(json_string_value(interval), "realtime") == 0;
}

static enum tr_rc check_options(struct api_call *c, struct api_place *p, struct tr_err *err)
{
    if (tr_conf_parse(p->ops->options, p->config, &p->conf, err) != TR_OK ||
        (p->ops->validate != NULL && p->ops->validate(p->conf, err) != TR_OK)) {
        blame(c, p->ops->options, err);
        return tr_wrap(err, "%s", p->ops->name);
    }
    return TR_OK;
}

static const char *model_of(const json_t *body)
{
    const char *model = json_string_value(json_object_get(body, "model"));

    return model == NULL ? tr_schema_events.name : model;
}

/* The destination's configuration in an export's body, and its adapter; NULL: the body has none. */
static json_t *config_of(const struct api_call *c, json_t *body, const struct tr_dest_ops **ops)
{
    json_t *destination = json_object_get(body, "destination");
    json_t *config = json_object_get(destination, "config");
    const char *type = json_string_value(json_object_get(destination, "type"));

    *ops = type == NULL ? NULL : tr_delivery_dest(c->d, type);
    return *ops != NULL && json_is_object(config) ? config : NULL;
}

void api_place_defaults(const struct api_call *c, json_t *body)
{
    const struct tr_dest_ops *ops = NULL;
    json_t *config = config_of(c, body, &ops);

    if (config == NULL)
        return;
    for (const struct tr_option *o = ops->options; o->name != NULL; o++)
        if (o->of_model && json_object_get(config, o->name) == NULL)
            (void)json_object_set_new(config, o->name, json_string(model_of(body)));
}

void api_place_settle(const struct api_call *c, json_t *body)
{
    const struct tr_dest_ops *ops = NULL;
    json_t *config = config_of(c, body, &ops);

    if (config != NULL && ops->settle != NULL)
        ops->settle(config);
}

void api_place_keep(const struct api_call *c, json_t *body, json_t *old)
{
    const struct tr_dest_ops *ops = NULL;
    const struct tr_dest_ops *old_ops = NULL;
    json_t *config = config_of(c, body, &ops);
    json_t *was = config_of(c, old, &old_ops);

    if (config == NULL || was == NULL || ops != old_ops)
        return;
    for (const struct tr_option *o = ops->options; o->name != NULL; o++) {
        json_t *value = json_object_get(was, o->name);
        if (o->settled && value != NULL && json_object_get(config, o->name) == NULL)
            (void)json_object_set(config, o->name, value);
    }
}

enum tr_rc api_place_read(struct api_call *c, const json_t *body, const char *about,
                          struct tr_str old_sealed, struct api_place *ret, struct tr_err *err)
{
    const json_t *destination = json_object_get(body, "destination");
    static const char *const known[] = { "type", "config", NULL };
    static const char *const ignored[] = { "integration_id", "integration", NULL };
    static const struct api_fields fields = { known, ignored };

    *ret = (struct api_place){ 0 };
    if (find_type(c, destination, &ret->ops, err) != TR_OK ||
        api_only_known(c, destination, "destination.", &fields, err) != TR_OK)
        return err->rc;
    ret->tested = tr_dest_for(ret->ops, is_live(json_object_get(body, "interval")));
    ret->schema = tr_schema_by_name(tr_str_of(model_of(body)));
    ret->columns = json_incref(json_object_get(body, "columns"));
    const json_t *config = json_object_get(destination, "config");
    if (config != NULL && !json_is_null(config) && !json_is_object(config))
        return api_bad(c, err, "destination.config", "invalid_input", NULL, "must be an object");
    ret->config = json_is_object(config) ? json_deep_copy(config) : json_object();
    if (!needs_old(ret->ops->options, ret->config))
        old_sealed.n = 0;
    if (open_secrets(c, about, old_sealed, &ret->secrets, err) != TR_OK)
        return err->rc;
    ret->kept = merge_secrets(ret->ops->options, ret->config, ret->secrets);
    drop_nulls(ret->config);
    return check_options(c, ret, err);
}

/* How far to the right a choice stands in "a|b|c". */
static size_t place_in(const char *choices, const char *choice)
{
    struct tr_str rest = tr_str_of(choices);
    size_t i = 0;

    while (rest.p != NULL && !tr_str_is(tr_str_cut(rest, '|', &rest), choice))
        i++;
    return i;
}

/* Would secrets that were given under was be shown to somebody else, or more openly, under is? */
static bool shows_otherwise(const struct tr_option *o, const char *was, const char *is)
{
    was = was == NULL ? "" : was;
    is = is == NULL ? "" : is;
    if (!o->shows || strcmp(was, is) == 0)
        return false;
    if (o->type == TR_OPT_BOOL)
        return strcmp(is, "true") == 0;
    return o->type != TR_OPT_CHOICE || place_in(o->choices, is) < place_in(o->choices, was);
}

enum tr_rc api_place_guard(struct api_call *c, const struct api_place *p, const json_t *old_body,
                           const char *about, struct tr_str old_sealed, struct tr_err *err)
{
    TR_CLEANUP(api_place_fini) struct api_place old = { 0 };
    struct tr_err unused = { 0 };
    char attr[sizeof(c->attr)];

    if (p->kept == NULL)
        return TR_OK;
    bool readable = api_place_read(c, old_body, about, old_sealed, &old, &unused) == TR_OK;
    c->attr[0] = '\0';
    c->code = NULL;
    for (const struct tr_option *o = p->ops->options; o->name != NULL; o++) {
        if (readable &&
            !shows_otherwise(o, tr_conf_text(old.conf, o->name), tr_conf_text(p->conf, o->name)))
            continue;
        (void)snprintf(attr, sizeof(attr), "destination.config.%.40s", p->kept);
        return api_bad(c, err, attr, "required", "give it again, together with the change",
                       "%s was given for another %s: it is not shown to a new one unasked", p->kept,
                       readable ? o->name : "configuration");
    }
    return TR_OK;
}

void api_place_fini(struct api_place *p)
{
    json_decref(p->columns);
    json_decref(p->config);
    json_decref(p->secrets);
    tr_conf_free(p->conf);
    *p = (struct api_place){ 0 };
}

void api_place_strip(const struct tr_dest_ops *ops, json_t *body)
{
    json_t *config = json_object_get(json_object_get(body, "destination"), "config");

    for (const struct tr_option *o = ops->options; o->name != NULL; o++)
        if (o->secret)
            (void)json_object_del(config, o->name);
}

/* What a run of the export would write. */
static enum tr_rc projection(const struct api_place *p, struct tr_projection *ret,
                             struct tr_err *err)
{
    struct tr_export e = { .schema = p->schema,
                           .columns = json_is_null(p->columns) ? NULL : p->columns };

    if (p->schema == NULL)
        return tr_fail(err, TR_INVALID, "export.model", "use events, persons, sessions or groups",
                       "there is no such model");
    if (tr_delivery_takes(p->tested, p->schema, err) != TR_OK)
        return err->rc;
    return tr_export_projection(&e, p->tested->defaults[p->schema->model], ret, err);
}

enum tr_rc api_place_test(struct api_call *c, const struct api_place *p, size_t step,
                          struct tr_err *err)
{
    enum { STEP_S = 30 };
    struct tr_ctx cx = c->cx;
    struct tr_dest *dest = NULL;
    int64_t limit_s = p->tested->test_s == 0 ? STEP_S : p->tested->test_s;
    int64_t until = tr_clock_boot_us() + limit_s * INT64_C(1000000);

    struct tr_projection columns;

    cx.deadline_us = until < cx.deadline_us ? until : cx.deadline_us;
    if (projection(p, &columns, err) != TR_OK || p->tested->open(&cx, p->conf, &dest, err) != TR_OK)
        return err->rc;
    enum tr_rc rc =
        p->tested->test == NULL ? TR_OK : p->tested->test(&cx, dest, &columns, step, err);
    p->tested->close(dest);
    return rc;
}

enum tr_rc api_place_test_all(struct api_call *c, const struct api_place *p, struct tr_err *err)
{
    const struct tr_dest_test *tests = p->tested->tests;

    for (size_t i = 0; tests != NULL && tests[i].name != NULL; i++)
        if (api_place_test(c, p, i, err) != TR_OK) {
            (void)snprintf(c->attr, sizeof(c->attr), "destination");
            c->code = "test_failed";
            /* Whatever it was, the person who creates the export hears it as a refusal. */
            err->rc = TR_REFUSED;
            return tr_wrap(err, "test step '%s'", tests[i].name);
        }
    return TR_OK;
}

/* ---- routes ---- */

static json_t *tests_json(const struct tr_dest_ops *ops)
{
    json_t *steps = json_array();

    for (const struct tr_dest_test *t = ops->tests; t != NULL && t->name != NULL; t++)
        (void)json_array_append_new(steps, json_pack("{s:s, s:s}", "name", t->name, "description",
                                                     t->doc == NULL ? "" : t->doc));
    return steps;
}

/* The models it takes, each with the columns of an export that names none. */
static json_t *models_json(const struct tr_dest_ops *ops)
{
    json_t *models = json_object();

    for (size_t i = 0; i < TR_MODELS; i++) {
        const struct tr_default_column *c = ops->defaults[i];
        if (c == NULL)
            continue;
        json_t *columns = json_array();
        for (; c->name != NULL; c++)
            (void)json_array_append_new(columns, json_string(c->as == NULL ? c->name : c->as));
        (void)json_object_set_new(models, tr_schemas[i]->name, columns);
    }
    return models;
}

enum tr_rc api_destination_list(struct api_call *c, struct tr_err *err)
{
    json_t *results = json_array();

    (void)err;
    for (const struct tr_dest_ops *const *o = c->d->dests; *o != NULL; o++)
        (void)json_array_append_new(
            results, json_pack("{s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o}", "id", (*o)->name, "type",
                               (*o)->name, "can_replace", ((*o)->caps & TR_DEST_REPLACES) != 0,
                               "can_recount", ((*o)->caps & TR_DEST_RECOUNTS) != 0, "can_update",
                               ((*o)->caps & TR_DEST_UPSERTS) != 0, "models", models_json(*o),
                               "schema", tr_option_schema((*o)->options), "tests", tests_json(*o)));
    c->answer = json_pack("{s:o}", "results", results);
    return TR_OK;
}

enum tr_rc api_test_list(struct api_call *c, struct tr_err *err)
{
    struct tr_buf tmp;
    char type[64];
    tr_buf_init(&tmp, 256);
    struct tr_str text = api_query(c, "destination", &tmp);

    (void)snprintf(type, sizeof(type), "%.*s", (int)text.n, text.n == 0 ? "" : text.p);
    tr_buf_clear(&tmp);
    bool live = tr_str_eq(api_query(c, "interval", &tmp), TR_STR("realtime"));
    tr_buf_fini(&tmp);
    if (type[0] == '\0')
        return api_bad(c, err, "destination", "required", "GET /api/destinations/ lists the types",
                       "say which type: ?destination=T");
    const struct tr_dest_ops *ops = tr_delivery_dest(c->d, type);
    ops = ops == NULL ? NULL : tr_dest_for(ops, live);
    if (ops == NULL || ops->tests == NULL)
        return api_not_found(err, "destination type with tests");
    c->answer = json_pack("{s:o}", "steps", tests_json(ops));
    return TR_OK;
}

/* Runs the step that the body names. A step that fails is an answer, not an error. */
static enum tr_rc run_step(struct api_call *c, const struct api_place *p, struct tr_err *err)
{
    int64_t step = 0;
    size_t n = 0;
    char text[600];

    while (p->tested->tests != NULL && p->tested->tests[n].name != NULL)
        n++;
    if (n == 0)
        return api_not_found(err, "test of this destination type");
    if (api_body_int(c, "step", 0, (int64_t)n - 1, &step, err) != TR_OK)
        return err->rc;
    const struct tr_dest_test *t = &p->tested->tests[step];
    struct tr_err why = { 0 };
    bool passed = api_place_test(c, p, (size_t)step, &why) == TR_OK;
    c->answer = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o}", "name", t->name, "description",
        t->doc == NULL ? "" : t->doc, "status", passed ? "Passed" : "Failed", "message",
        passed ? json_null() : api_json_str(tr_str_of(tr_err_text(&why, text, sizeof(text)))),
        "hint", passed ? json_null() : api_json_text(why.hint), "reason",
        passed ? json_null() : api_json_text(why.id));
    return TR_OK;
}

enum tr_rc api_test_step_new(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_place_fini) struct api_place place = { 0 };

    api_place_defaults(c, c->body);
    api_place_settle(c, c->body);
    if (api_place_read(c, c->body, "", (struct tr_str){ NULL, 0 }, &place, err) != TR_OK)
        return err->rc;
    return run_step(c, &place, err);
}

enum tr_rc api_test_step(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    TR_CLEANUP(api_place_fini) struct api_place place = { 0 };
    TR_CLEANUP(api_json_free) json_t *body = NULL;
    char about[TR_UUID_TEXT];

    if (api_export_row(c, 1, &row, err) != TR_OK)
        return err->rc;
    body = json_loadb(row.body.p, row.body.n, 0, NULL);
    TR_CLEANUP(api_json_free)
    json_t *old = json_loadb(row.body.p, row.body.n, 0, NULL);
    json_t *changed = json_object_get(c->body, "destination");
    if (body == NULL ||
        (json_is_object(changed) &&
         json_object_update_recursive(json_object_get(body, "destination"), changed) != 0))
        return tr_fail_oom(err);
    tr_uuid_format(&row.id, about);
    if (api_place_read(c, body, about, row.sealed, &place, err) != TR_OK ||
        api_place_guard(c, &place, old, about, row.sealed, err) != TR_OK)
        return err->rc;
    return run_step(c, &place, err);
}
