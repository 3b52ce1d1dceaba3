#include "model/export.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

enum { NAME_BYTES = 256, COLUMN_NAME_BYTES = 128, TYPE_BYTES = 64 };

/* Which fields a body may have. Fields that an answer of the API carries are let through and left
 * alone, so that what was read can be sent back. */
enum field_kind { FIELD_READ, FIELD_ANSWER_ONLY, FIELD_LATER };

static const struct {
    const char *name;
    enum field_kind kind;
} fields[] = {
    { "name", FIELD_READ },
    { "model", FIELD_READ },
    { "interval", FIELD_READ },
    { "timezone", FIELD_READ },
    { "offset_day", FIELD_READ },
    { "offset_hour", FIELD_READ },
    { "destination", FIELD_READ },
    { "paused", FIELD_READ },
    { "start_at", FIELD_READ },
    { "end_at", FIELD_READ },
    { "filters", FIELD_READ },
    { "columns", FIELD_READ },
    { "id", FIELD_ANSWER_ONLY },
    { "team_id", FIELD_ANSWER_ONLY },
    { "project", FIELD_ANSWER_ONLY },
    { "created_at", FIELD_ANSWER_ONLY },
    { "last_updated_at", FIELD_ANSWER_ONLY },
    { "last_paused_at", FIELD_ANSWER_ONLY },
    { "latest_runs", FIELD_ANSWER_ONLY },
    { "version", FIELD_ANSWER_ONLY },
    { "deleted", FIELD_ANSWER_ONLY },
    { "schema", FIELD_LATER },
    { "hogql_query", FIELD_LATER },
    { "hogql_modifiers", FIELD_LATER },
    { "primary_key", FIELD_LATER },
    { "version_key", FIELD_LATER },
    { "incremental_mode", FIELD_LATER },
    { "schema_evolution", FIELD_LATER },
};

static const char later_hint[] = "leave it out, or set it to null";

/* ---- one field at a time ---- */

/* NULL when the field is absent or null. */
static const json_t *field(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    return json_is_null(v) ? NULL : v;
}

static enum tr_rc check_fields(const json_t *body, struct tr_err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)body, name, value)
    {
        size_t i = 0;
        while (i < sizeof(fields) / sizeof(fields[0]) && strcmp(fields[i].name, name) != 0)
            i++;
        if (i == sizeof(fields) / sizeof(fields[0]))
            return tr_fail(err, TR_INVALID, "export.unknown_field",
                           "docs/api.md lists the fields of an export",
                           "an export has no field '%.60s'", name);
        if (fields[i].kind == FIELD_LATER && !json_is_null(value))
            return tr_fail(err, TR_INVALID, "export.later", later_hint,
                           "%s: comes with a later version", name);
    }
    return TR_OK;
}

static enum tr_rc copy_text(const json_t *v, const char *what, const char *id, size_t most,
                            char **ret, struct tr_err *err)
{
    size_t n = json_string_length(v); /* 0 for what is no string */

    if (!json_is_string(v) || n == 0 || n > most)
        return tr_fail(err, TR_INVALID, id, NULL, "%s: must be a text of 1 to %zu bytes", what,
                       most);
    if (strlen(json_string_value(v)) != n)
        return tr_fail(err, TR_INVALID, id, NULL, "%s: must not hold a NUL character", what);
    *ret = strdup(json_string_value(v));
    return *ret == NULL ? tr_fail_oom(err) : TR_OK;
}

static enum tr_rc parse_model(const json_t *body, struct tr_export *e, struct tr_err *err)
{
    const json_t *v = field(body, "model");
    const char *name = v == NULL ? "events" : json_string_value(v);

    if (name == NULL)
        return tr_fail(err, TR_INVALID, "export.model", NULL, "model: must be a text");
    e->schema = tr_schema_by_name(tr_str_of(name));
    if (e->schema == NULL)
        return tr_fail(err, TR_INVALID, "export.model", "use events, persons, sessions or groups",
                       "model: there is no model '%.60s'", name);
    if (e->schedule.unit == TR_UNIT_REALTIME && e->schema->is_mutable)
        return tr_fail(err, TR_INVALID, "export.interval", "use \"every N seconds\" or longer",
                       "interval: rows of the model %s change; only what is added once and for all "
                       "can be followed in real time",
                       e->schema->name);
    return TR_OK;
}

static enum tr_rc parse_offset(const json_t *body, const char *name, const char *id, bool allowed,
                               const char *only, int most, int *ret, struct tr_err *err)
{
    const json_t *v = field(body, name);

    if (v == NULL)
        return TR_OK;
    if (!allowed)
        return tr_fail(err, TR_INVALID, id, later_hint, "%s: only for %s", name, only);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > most)
        return tr_fail(err, TR_INVALID, id, NULL, "%s: must be a whole number from 0 to %d", name,
                       most);
    *ret = (int)json_integer_value(v);
    return TR_OK;
}

static enum tr_rc parse_schedule(const json_t *body, struct tr_schedule *s, struct tr_err *err)
{
    const json_t *interval = field(body, "interval");
    const json_t *zone = field(body, "timezone");

    if (interval != NULL && !json_is_string(interval))
        return tr_fail(err, TR_INVALID, "export.interval", NULL, "interval: must be a text");
    if (zone != NULL && !json_is_string(zone))
        return tr_fail(err, TR_INVALID, "export.timezone", NULL, "timezone: must be a text");
    if (tr_schedule_parse(tr_str_of(interval == NULL ? "hour" : json_string_value(interval)), s,
                          err) != TR_OK)
        return tr_wrap(err, "interval");
    if (tr_zone_get(tr_str_of(zone == NULL ? "UTC" : json_string_value(zone)), &s->zone, err) !=
        TR_OK)
        return tr_wrap(err, "timezone");

    bool week = s->unit == TR_UNIT_WEEK;
    enum tr_rc rc = parse_offset(body, "offset_day", "export.offset_day", week,
                                 "exports with interval week", 6, &s->offset_day, err);
    if (rc != TR_OK)
        return rc;
    return parse_offset(body, "offset_hour", "export.offset_hour", week || s->unit == TR_UNIT_DAY,
                        "exports with interval day or week", 23, &s->offset_hour, err);
}

static enum tr_rc parse_instant(const json_t *body, const char *name, const char *id, int64_t *ret,
                                struct tr_err *err)
{
    const json_t *v = field(body, name);

    if (v == NULL)
        return TR_OK;
    if (!json_is_string(v) || !tr_time_parse(tr_str_of(json_string_value(v)), ret))
        return tr_fail(err, TR_INVALID, id, NULL,
                       "%s: must be an instant with its zone, such as 2026-11-01T00:00:00Z", name);
    return TR_OK;
}

static enum tr_rc parse_bounds(const json_t *body, struct tr_export *e, struct tr_err *err)
{
    e->start_at = INT64_MIN;
    e->end_at = INT64_MAX;
    enum tr_rc rc = parse_instant(body, "start_at", "export.start_at", &e->start_at, err);
    if (rc == TR_OK)
        rc = parse_instant(body, "end_at", "export.end_at", &e->end_at, err);
    if (rc == TR_OK && e->start_at >= e->end_at)
        return tr_fail(err, TR_INVALID, "export.end_at", NULL, "end_at: must be after start_at");
    return rc;
}

/* Takes a list of event names out of the destination's config. */
static enum tr_rc take_names(json_t *config, const char *name, const char *id, json_t **ret,
                             struct tr_err *err)
{
    json_t *v = json_object_get(config, name);
    json_t *each;
    size_t i;

    if (v == NULL || json_is_null(v)) {
        (void)json_object_del(config, name);
        return TR_OK;
    }
    if (!json_is_array(v))
        return tr_fail(err, TR_INVALID, id, NULL,
                       "destination.config.%s: must be a list of event names", name);
    json_array_foreach(v, i, each)
    {
        if (!json_is_string(each) || json_string_length(each) == 0)
            return tr_fail(err, TR_INVALID, id, NULL,
                           "destination.config.%s[%zu]: must be the name of an event", name, i);
    }
    *ret = json_array_size(v) == 0 ? NULL : json_incref(v);
    (void)json_object_del(config, name);
    return TR_OK;
}

static enum tr_rc parse_destination(const json_t *body, struct tr_export *e, struct tr_err *err)
{
    const json_t *d = field(body, "destination");
    const char *name;
    json_t *value;

    if (!json_is_object(d))
        return tr_fail(err, TR_INVALID, "export.destination", NULL,
                       "destination: must be an object {\"type\", \"config\"}");
    json_object_foreach((json_t *)d, name, value)
    {
        if (strcmp(name, "type") == 0 || strcmp(name, "config") == 0 || json_is_null(value))
            continue;
        return tr_fail(err, TR_INVALID, "export.destination", later_hint,
                       "destination: there is no field '%.60s'", name);
    }
    enum tr_rc rc = copy_text(json_object_get(d, "type"), "destination.type", "export.destination",
                              TYPE_BYTES, &e->dest_type, err);
    if (rc != TR_OK)
        return rc;

    const json_t *config = field(d, "config");
    if (config != NULL && !json_is_object(config))
        return tr_fail(err, TR_INVALID, "export.destination", NULL,
                       "destination.config: must be an object");
    e->dest_config = config == NULL ? json_object() : json_deep_copy(config);
    if (e->dest_config == NULL)
        return tr_fail_oom(err);
    rc = take_names(e->dest_config, "include_events", "export.include_events", &e->include, err);
    if (rc == TR_OK)
        rc =
            take_names(e->dest_config, "exclude_events", "export.exclude_events", &e->exclude, err);
    return rc;
}

static enum tr_rc parse_filters(const json_t *body, struct tr_export *e, struct tr_err *err)
{
    const json_t *v = field(body, "filters");

    if (v != NULL && !json_is_array(v))
        return tr_fail(err, TR_INVALID, "export.filters", NULL,
                       "filters: must be a list of property filters");
    if (e->schema->model != TR_MODEL_EVENTS &&
        (json_array_size(v) > 0 || e->include != NULL || e->exclude != NULL))
        return tr_fail(err, TR_INVALID, "export.filters",
                       "leave out filters, include_events and exclude_events",
                       "filters: only for the model events, not for %s", e->schema->name);
    if (v != NULL && json_array_size(v) > 0) {
        e->filters = json_deep_copy(v);
        if (e->filters == NULL)
            return tr_fail_oom(err);
    }
    /* Only to see that it would do: runs compile it anew, with their own reference for relative
     * dates. */
    struct tr_filter *filter = NULL;
    enum tr_rc rc = tr_filter_compile(e->include, e->exclude, e->filters, 0, &filter, err);
    tr_filter_free(filter);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "filters");
}

/* ---- columns ---- */

/* A column of the list: "name" or {"name", "as"}. */
static enum tr_rc column_at(const json_t *item, size_t i, const char **ret_name,
                            const char **ret_as, struct tr_err *err)
{
    const json_t *name = json_is_object(item) ? json_object_get(item, "name") : item;
    const json_t *as = field(item, "as"); /* NULL for what is no object */
    size_t known = (json_object_get(item, "name") != NULL ? 1u : 0u) +
                   (json_object_get(item, "as") != NULL ? 1u : 0u);

    if (!json_is_string(name) || (json_is_object(item) && json_object_size(item) != known))
        return tr_fail(err, TR_INVALID, "export.columns", NULL,
                       "columns[%zu]: must be a name or {\"name\", \"as\"}", i);
    if (as == NULL)
        as = name;
    if (!json_is_string(as) || json_string_length(as) == 0 ||
        json_string_length(as) > COLUMN_NAME_BYTES ||
        strlen(json_string_value(as)) != json_string_length(as))
        return tr_fail(err, TR_INVALID, "export.columns", NULL,
                       "columns[%zu].as: must be a name of 1 to %d bytes", i, COLUMN_NAME_BYTES);
    *ret_name = json_string_value(name);
    *ret_as = json_string_value(as);
    return TR_OK;
}

static enum tr_rc add_column(struct tr_projection *p, const char *name, const char *as,
                             struct tr_err *err)
{
    int column = tr_schema_find(p->schema, tr_str_of(name));

    if (column < 0)
        return tr_fail(err, TR_INVALID, "export.columns",
                       "docs/columns.md lists the columns of each model",
                       "columns: the model %s has no column '%.60s'", p->schema->name, name);
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->name[i], as) == 0)
            return tr_fail(err, TR_INVALID, "export.columns", NULL,
                           "columns: the name '%.60s' occurs twice", as);
    if (p->n == TR_BATCH_COLUMNS)
        return tr_fail(err, TR_INVALID, "export.columns", NULL, "columns: more than %d",
                       TR_BATCH_COLUMNS);
    p->column[p->n] = column;
    p->name[p->n] = as;
    p->n++;
    return TR_OK;
}

static bool has_name(const struct tr_projection *p, const char *as)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->name[i], as) == 0)
            return true;
    return false;
}

/* The defaults, then the rest of the model under its own names, for tables that have more. */
static enum tr_rc add_defaults(struct tr_projection *p, const struct tr_default_column *defaults,
                               struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; rc == TR_OK && defaults[i].name != NULL; i++)
        rc = add_column(p, defaults[i].name,
                        defaults[i].as == NULL ? defaults[i].name : defaults[i].as, err);
    for (size_t i = 0; rc == TR_OK && i < p->schema->n; i++) {
        const char *name = p->schema->columns[i].name;
        if (has_name(p, name))
            continue;
        rc = add_column(p, name, name, err);
        if (rc == TR_OK)
            p->optional[p->n - 1] = true;
    }
    return rc;
}

/* Without them a table cannot be kept right. */
static enum tr_rc check_identity(const struct tr_projection *p, struct tr_err *err)
{
    tr_column_mask left = p->schema->is_mutable ? tr_schema_identity(p->schema) : 0;

    for (size_t i = 0; i < p->n; i++)
        left &= ~((tr_column_mask)1 << p->column[i]);
    for (size_t i = 0; i < p->schema->n; i++)
        if ((left >> i & 1) != 0)
            return tr_fail(err, TR_INVALID, "export.columns",
                           "add it to columns, under any name with \"as\"",
                           "columns: rows of the model %s are found and compared by %s: it cannot "
                           "be left out",
                           p->schema->name, p->schema->columns[i].name);
    return TR_OK;
}

enum tr_rc tr_export_projection(const struct tr_export *e, const struct tr_default_column *defaults,
                                struct tr_projection *ret, struct tr_err *err)
{
    struct tr_projection p = { .schema = e->schema };
    enum tr_rc rc = TR_OK;

    if (e->columns == NULL)
        rc = add_defaults(&p, defaults, err);
    for (size_t i = 0; rc == TR_OK && i < json_array_size(e->columns); i++) {
        const char *name = NULL;
        const char *as = NULL;
        rc = column_at(json_array_get(e->columns, i), i, &name, &as, err);
        if (rc == TR_OK)
            rc = add_column(&p, name, as, err);
    }
    if (rc == TR_OK)
        rc = check_identity(&p, err);
    if (rc == TR_OK)
        *ret = p;
    return rc;
}

static enum tr_rc parse_columns(const json_t *body, struct tr_export *e, struct tr_err *err)
{
    const json_t *v = field(body, "columns");
    struct tr_projection p;

    if (v == NULL)
        return TR_OK;
    if (!json_is_array(v) || json_array_size(v) == 0)
        return tr_fail(err, TR_INVALID, "export.columns",
                       "leave it out to get the destination's default columns",
                       "columns: must be a list of at least one column");
    e->columns = json_deep_copy(v);
    if (e->columns == NULL)
        return tr_fail_oom(err);
    return tr_export_projection(e, NULL, &p, err);
}

/* ---- the whole ---- */

void tr_export_free(struct tr_export *e)
{
    if (e == NULL)
        return;
    free(e->name);
    free(e->dest_type);
    free(e->target_text);
    json_decref(e->dest_config);
    json_decref(e->include);
    json_decref(e->exclude);
    json_decref(e->filters);
    json_decref(e->columns);
    free(e);
}

static enum tr_rc parse(const json_t *body, struct tr_export *e, struct tr_err *err)
{
    static enum tr_rc (*const parts[])(const json_t *, struct tr_export *, struct tr_err *) = {
        parse_model, parse_bounds, parse_destination, parse_filters, parse_columns,
    };
    const json_t *paused = field(body, "paused");
    enum tr_rc rc = check_fields(body, err);

    if (rc == TR_OK)
        rc = copy_text(json_object_get(body, "name"), "name", "export.name", NAME_BYTES, &e->name,
                       err);
    if (rc == TR_OK)
        rc = parse_schedule(body, &e->schedule, err);
    for (size_t i = 0; rc == TR_OK && i < sizeof(parts) / sizeof(parts[0]); i++)
        rc = parts[i](body, e, err);
    if (rc == TR_OK && paused != NULL && !json_is_boolean(paused))
        rc = tr_fail(err, TR_INVALID, "export.paused", NULL, "paused: must be true or false");
    e->paused = json_is_true(paused);
    return rc;
}

enum tr_rc tr_export_parse(const json_t *body, struct tr_export **ret, struct tr_err *err)
{
    if (!json_is_object(body))
        return tr_fail(err, TR_INVALID, "export.not_an_object", NULL,
                       "an export must be a JSON object");
    struct tr_export *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = parse(body, e, err);
    if (rc != TR_OK) {
        tr_export_free(e);
        return rc;
    }
    *ret = e;
    return TR_OK;
}
