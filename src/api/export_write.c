/* Making an export and changing it: one path for POST, PUT and PATCH.
 *
 * What is kept: the body without read-only members and without secrets, and the secrets sealed
 * under the export's id. Everything is checked before anything is written.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/hash.h"
#include "model/filter.h"
#include "os/clock.h"
#include "os/random.h"

/* What PostHog has besides: model/export.c says what becomes of it. */
static const char *const later[] = { "hogql_query", "hogql_modifiers",  "primary_key",
                                     "version_key", "incremental_mode", "schema_evolution",
                                     NULL };

struct draft {
    char about[TR_UUID_TEXT];
    bool is_new;
    json_t *body; /* as it will be kept */
    struct api_place place;
    struct tr_export *e;
    struct tr_buf text, sealed, target;
};

static void draft_fini(struct draft *d)
{
    json_decref(d->body);
    api_place_fini(&d->place);
    tr_export_free(d->e);
    tr_buf_fini(&d->text);
    tr_buf_fini(&d->sealed);
    tr_buf_fini(&d->target);
}

static json_t *known_only(const json_t *body)
{
    json_t *kept = json_object();

    for (const char *const *f = api_export_fields; *f != NULL; f++) {
        json_t *v = json_object_get(body, *f);
        if (v != NULL && !json_is_null(v) && strcmp(*f, "test") != 0 && strcmp(*f, "paused") != 0)
            (void)json_object_set_new(kept, *f, json_deep_copy(v));
    }
    return kept;
}

/* The field that a complaint of the model is about: "destination.config.include_events[2]: ..." */
static void blame(struct api_call *c, const struct tr_err *err)
{
    char text[600];
    size_t n = strcspn(tr_err_text(err, text, sizeof(text)), ": ");

    for (const char *const *f = api_export_fields; *f != NULL; f++) {
        size_t len = strlen(*f);
        if (text[n] == ':' && len <= n && strncmp(text, *f, len) == 0 && n < sizeof(c->attr) &&
            !isalnum((unsigned char)text[len]) && text[len] != '_') {
            (void)snprintf(c->attr, sizeof(c->attr), "%.*s", (int)n, text);
            return;
        }
    }
}

/* model/export.h reads the whole body, secrets included. */
static enum tr_rc parse_export(struct api_call *c, const json_t *body, struct draft *d, bool paused,
                               struct tr_err *err)
{
    TR_CLEANUP(api_json_free) json_t *whole = json_deep_copy(d->body);
    json_t *destination = json_object_get(whole, "destination");
    json_t *config = json_object_get(destination, "config");

    if (!json_is_object(config)) {
        config = json_object();
        (void)json_object_set_new(destination, "config", config);
    }
    if (json_object_update(config, d->place.config) != 0)
        return tr_fail_oom(err);
    (void)json_object_set_new(whole, "paused", json_boolean(paused));
    for (const char *const *l = later; *l != NULL; l++) {
        json_t *v = json_object_get(body, *l);
        if (v != NULL && !json_is_null(v))
            (void)json_object_set(whole, *l, v);
    }
    if (tr_export_parse(whole, &d->e, err) != TR_OK) {
        blame(c, err);
        return err->rc;
    }
    return TR_OK;
}

/* Filters and columns are compiled as a run will do it. */
static enum tr_rc check_rows(struct api_call *c, const struct draft *d, struct tr_err *err)
{
    struct tr_filter *filter = NULL;
    struct tr_projection *projection = calloc(1, sizeof(*projection));
    const struct tr_export *e = d->e;
    const struct tr_dest_ops *ops = tr_dest_for(d->place.ops, tr_export_is_live(e));

    if (projection == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = tr_delivery_takes(ops, e->schema, err);
    if (rc == TR_OK)
        rc = tr_export_projection(e, ops->defaults[e->schema->model], projection, err);
    free(projection);
    if (rc != TR_OK) {
        (void)snprintf(c->attr, sizeof(c->attr), "columns");
        return rc;
    }
    rc = tr_filter_compile(e->include, e->exclude, e->filters, api_now(c), &filter, err);
    tr_filter_free(filter);
    if (rc != TR_OK)
        blame(c, err);
    return rc;
}

/* Some places cannot bear to be loaded often. */
static enum tr_rc check_interval(struct api_call *c, const struct draft *d, struct tr_err *err)
{
    bool is_live = tr_export_is_live(d->e);
    const struct tr_dest_ops *ops = tr_dest_for(d->place.ops, is_live);
    struct tr_range r = tr_schedule_at(&d->e->schedule, api_now(c));
    char words[32];

    if (is_live && (ops->caps & TR_DEST_COMMITS_RUN) != 0)
        return api_bad(c, err, "interval", "invalid_input", "use \"every N seconds\" or longer",
                       "interval: %s shows what it was given when a whole run is there, which in "
                       "real time is once a minute",
                       ops->name);
    if (r.hi - r.lo >= ops->min_interval_us)
        return TR_OK;
    return api_bad(c, err, "interval", "invalid_input", ops->min_interval_hint,
                   "interval: \"%s\" is too often for %s: %s",
                   tr_schedule_format(&d->e->schedule, words), ops->name, ops->min_interval_why);
}

static enum tr_rc set_target(struct draft *d, struct tr_err *err)
{
    tr_buf_init(&d->target, 65536);
    d->place.ops->target(d->place.conf, &d->target);
    tr_buf_ch(&d->target, '\0');
    if (d->target.failed)
        return tr_fail_oom(err);
    free(d->e->target_text);
    d->e->target_text = strdup(d->target.p);
    if (d->e->target_text == NULL)
        return tr_fail_oom(err);
    d->e->target = tr_hash64(d->target.p, d->target.n - 1, 0);
    return TR_OK;
}

static enum tr_rc seal_secrets(struct api_call *c, struct draft *d, struct tr_err *err)
{
    TR_CLEANUP(api_json_free) json_t *secrets = json_object();

    tr_buf_init(&d->sealed, 1 << 20);
    for (const struct tr_option *o = d->place.ops->options; o->name != NULL; o++) {
        json_t *v = o->secret ? json_object_get(d->place.config, o->name) : NULL;
        if (v != NULL)
            (void)json_object_set(secrets, o->name, v);
    }
    if (json_object_size(secrets) == 0)
        return TR_OK;
    char *plain = json_dumps(secrets, JSON_COMPACT);
    if (plain == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = tr_seal(c->d->keys, tr_str_of(d->about), tr_str_of(plain), &d->sealed, err);
    explicit_bzero(plain, strlen(plain));
    free(plain);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "seal the secrets");
}

/* The kept text: no secrets, no nulls, a name. */
static enum tr_rc print_body(struct draft *d, struct tr_err *err)
{
    api_place_strip(d->place.ops, d->body);
    json_t *config = json_object_get(json_object_get(d->body, "destination"), "config");
    void *next = NULL;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach_safe(config, next, key, value)
    {
        if (json_is_null(value))
            (void)json_object_del(config, key);
    }
    char *text = json_dumps(d->body, JSON_COMPACT);
    tr_buf_init(&d->text, 4 << 20);
    if (text != NULL)
        tr_buf_z(&d->text, text);
    free(text);
    return d->text.n == 0 || d->text.failed ? tr_fail_oom(err) : TR_OK;
}

/* What every answer shows even where the person left it to us. */
static void fill_defaults(const struct api_call *c, struct draft *d)
{
    const char *type =
        json_string_value(json_object_get(json_object_get(d->body, "destination"), "type"));
    static const struct {
        const char *field, *value;
    } defaults[] = { { "model", "events" }, { "interval", "hour" }, { "timezone", "UTC" } };

    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        if (json_object_get(d->body, defaults[i].field) == NULL)
            (void)json_object_set_new(d->body, defaults[i].field, json_string(defaults[i].value));
    if (json_object_get(d->body, "name") == NULL && type != NULL)
        (void)json_object_set_new(
            d->body, "name",
            json_sprintf("%s %s", type,
                         json_string_value(json_object_get(d->body, "model")) == NULL
                             ? "export"
                             : json_string_value(json_object_get(d->body, "model"))));
    api_place_defaults(c, d->body);
}

/* What a new export in real time leaves out where the person says nothing about events. */
static enum tr_rc leave_out(struct draft *d, struct tr_err *err)
{
    const char *interval = json_string_value(json_object_get(d->body, "interval"));
    const char *const *names = tr_dest_for(d->place.ops, true)->left_out;
    json_t *destination = json_object_get(d->body, "destination");
    json_t *config = json_object_get(destination, "config");

    if (!d->is_new || names == NULL || interval == NULL || strcmp(interval, "realtime") != 0 ||
        json_object_get(config, "exclude_events") != NULL ||
        json_object_get(config, "include_events") != NULL)
        return TR_OK;
    json_t *list = json_array();
    for (; *names != NULL; names++)
        (void)json_array_append_new(list, json_string(*names));
    return json_object_set_new(config, "exclude_events", list) == 0 ? TR_OK : tr_fail_oom(err);
}

static enum tr_rc draft_read(struct api_call *c, const json_t *body, const struct tr_uuid *id,
                             struct tr_str old_sealed, bool paused, struct draft *d,
                             struct tr_err *err)
{
    tr_uuid_format(id, d->about);
    d->body = known_only(body);
    fill_defaults(c, d);
    if (d->is_new)
        api_place_settle(c, d->body);
    if (api_place_read(c, d->body, d->about, old_sealed, &d->place, err) != TR_OK ||
        leave_out(d, err) != TR_OK || parse_export(c, body, d, paused, err) != TR_OK)
        return err->rc;
    d->e->id = *id;
    d->e->project = c->project.id;
    if (check_interval(c, d, err) != TR_OK || check_rows(c, d, err) != TR_OK ||
        set_target(d, err) != TR_OK || seal_secrets(c, d, err) != TR_OK)
        return err->rc;
    return print_body(d, err);
}

static enum tr_rc answer_export(struct api_call *c, const struct tr_uuid *id, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };

    tr_buf_init(&row.buf, 8 << 20);
    if (c->meta->ops->export_get(c->meta, id, &row, err) != TR_OK)
        return tr_wrap(err, "read the export back");
    c->answer = api_json_export(c, &row, err);
    return c->answer == NULL ? err->rc : TR_OK;
}

enum tr_rc api_export_create(struct api_call *c, struct tr_err *err)
{
    TR_CLEANUP(draft_fini) struct draft d = { .is_new = true };
    struct tr_uuid id = tr_random_uuid7();
    bool paused = false;

    if (api_body_bool(c, "paused", &paused, err) != TR_OK ||
        draft_read(c, c->body, &id, (struct tr_str){ NULL, 0 }, paused, &d, err) != TR_OK)
        return err->rc;
    bool test = (d.place.ops->caps & TR_DEST_TEST_FIRST) != 0;
    if (api_body_bool(c, "test", &test, err) != TR_OK)
        return err->rc;
    if (test && api_place_test_all(c, &d.place, err) != TR_OK)
        return err->rc;
    d.e->created_at = tr_clock_wall_us();
    d.e->updated_at = d.e->created_at;
    /* Paused until its cursor stands: the engine must not find it half made. */
    d.e->paused = true;
    if (c->meta->ops->export_create(c->meta, d.e, tr_buf_view(&d.text), tr_buf_view(&d.sealed),
                                    err) != TR_OK)
        return tr_wrap(err, "create the export");
    if (api_cursor_to_now(c, d.e, err) != TR_OK)
        return err->rc;
    if (!paused &&
        c->meta->ops->export_pause(c->meta, &id, false, tr_clock_wall_us(), err) != TR_OK)
        return tr_wrap(err, "start the export");
    api_log(c, "info", &id, NULL, "created: %s, interval %s", d.e->target_text,
            json_string_value(json_object_get(d.body, "interval")));
    api_wake_engine(c);
    c->status = 201;
    return answer_export(c, &id, err);
}

/* Options marked fixed, the model and the type stay what they were. */
static enum tr_rc check_fixed(struct api_call *c, const struct tr_export_row *row,
                              const struct draft *d, struct tr_err *err)
{
    TR_CLEANUP(api_json_free) json_t *old = json_loadb(row->body.p, row->body.n, 0, NULL);
    TR_CLEANUP(api_place_fini) struct api_place place = { 0 };
    json_t *type = json_object_get(json_object_get(old, "destination"), "type");
    struct tr_err unused = { 0 };

    if (!json_equal(type, json_object_get(json_object_get(d->body, "destination"), "type")))
        return api_bad(c, err, "destination.type", "invalid_input",
                       "make a new export for another destination",
                       "the destination type cannot be changed after creation");
    if (!json_equal(json_object_get(old, "model"), json_object_get(d->body, "model")))
        return api_bad(c, err, "model", "invalid_input", "make a new export for another model",
                       "the model cannot be changed after creation");
    /* An old configuration that this release refuses has nothing that could be kept. */
    if (api_place_read(c, old, d->about, row->sealed, &place, &unused) != TR_OK)
        return TR_OK;
    for (const struct tr_option *o = place.ops->options; o->name != NULL; o++) {
        const char *was = tr_conf_text(place.conf, o->name);
        const char *is = tr_conf_text(d->place.conf, o->name);
        char attr[sizeof(c->attr)];

        if (!o->fixed || strcmp(was == NULL ? "" : was, is == NULL ? "" : is) == 0)
            continue;
        (void)snprintf(attr, sizeof(attr), "destination.config.%.40s", o->name);
        return api_bad(c, err, attr, "invalid_input", "make a new export for another one",
                       "%s cannot be changed after creation", o->name);
    }
    return TR_OK;
}

static enum tr_rc guard(struct api_call *c, const struct tr_export_row *row, const struct draft *d,
                        struct tr_err *err)
{
    TR_CLEANUP(api_json_free) json_t *old = json_loadb(row->body.p, row->body.n, 0, NULL);

    return api_place_guard(c, &d->place, old, d->about, row->sealed, err);
}

static enum tr_rc pause_as_asked(struct api_call *c, const struct tr_export_row *row,
                                 const struct tr_export *e, bool paused, struct tr_err *err)
{
    if (paused == row->paused)
        return TR_OK;
    if (!paused && api_cursor_to_now(c, e, err) != TR_OK)
        return err->rc;
    if (c->meta->ops->export_pause(c->meta, &row->id, paused, tr_clock_wall_us(), err) != TR_OK)
        return tr_wrap(err, "pause");
    return TR_OK;
}

static enum tr_rc update(struct api_call *c, bool merge, struct tr_err *err)
{
    TR_CLEANUP(api_row_fini) struct tr_export_row row = { 0 };
    TR_CLEANUP(api_json_free) json_t *body = NULL;
    TR_CLEANUP(draft_fini) struct draft d = { 0 };
    bool test = false;

    if (api_export_row(c, 1, &row, err) != TR_OK || api_body_bool(c, "test", &test, err) != TR_OK)
        return err->rc;
    bool paused = row.paused;
    if (api_body_bool(c, "paused", &paused, err) != TR_OK)
        return err->rc;
    body = merge ? json_loadb(row.body.p, row.body.n, 0, NULL) : json_deep_copy(c->body);
    if (body == NULL || (merge && json_object_update_recursive(body, c->body) != 0))
        return tr_fail_oom(err);
    TR_CLEANUP(api_json_free) json_t *old = json_loadb(row.body.p, row.body.n, 0, NULL);
    if (!merge)
        api_place_keep(c, body, old);
    if (draft_read(c, body, &row.id, row.sealed, row.paused, &d, err) != TR_OK ||
        check_fixed(c, &row, &d, err) != TR_OK || guard(c, &row, &d, err) != TR_OK)
        return err->rc;
    if (test && api_place_test_all(c, &d.place, err) != TR_OK)
        return err->rc;
    d.e->created_at = row.created_at;
    d.e->last_paused_at = row.last_paused_at;
    d.e->updated_at = tr_clock_wall_us();
    d.e->version = row.version; /* meta raises it, or refuses when it is not that any more */
    if (c->meta->ops->export_update(c->meta, d.e, tr_buf_view(&d.text), tr_buf_view(&d.sealed),
                                    err) != TR_OK)
        return tr_wrap(err, "change the export");
    if (pause_as_asked(c, &row, d.e, paused, err) != TR_OK)
        return err->rc;
    api_log(c, "info", &row.id, NULL, "configuration changed: %s", d.e->target_text);
    api_wake_engine(c);
    return answer_export(c, &row.id, err);
}

static enum tr_rc update_alone(struct api_call *c, bool merge, struct tr_err *err)
{
    api_change_begin(c->api);
    enum tr_rc rc = update(c, merge, err);
    api_change_end(c->api);
    return rc;
}

enum tr_rc api_export_put(struct api_call *c, struct tr_err *err)
{
    return update_alone(c, false, err);
}

enum tr_rc api_export_patch(struct api_call *c, struct tr_err *err)
{
    return update_alone(c, true, err);
}
