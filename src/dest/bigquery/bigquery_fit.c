#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"

static const struct {
    enum tr_type from;
    enum bq_type to;
    enum bq_form form;
} forms[] = {
    { TR_TYPE_TEXT, BQ_STRING, BQ_AS_TEXT },       { TR_TYPE_JSON, BQ_STRING, BQ_AS_JSON_TEXT },
    { TR_TYPE_JSON, BQ_JSON, BQ_AS_JSON },         { TR_TYPE_UUID, BQ_STRING, BQ_AS_UUID },
    { TR_TYPE_INT64, BQ_INTEGER, BQ_AS_INT },      { TR_TYPE_INT64, BQ_NUMERIC, BQ_AS_INT },
    { TR_TYPE_INT64, BQ_STRING, BQ_AS_INT_TEXT },  { TR_TYPE_TIME, BQ_TIMESTAMP, BQ_AS_TIME },
    { TR_TYPE_TIME, BQ_STRING, BQ_AS_TIME },       { TR_TYPE_TIME, BQ_DATETIME, BQ_AS_DATETIME },
    { TR_TYPE_BOOL, BQ_BOOLEAN, BQ_AS_BOOL },      { TR_TYPE_BOOL, BQ_STRING, BQ_AS_BOOL_TEXT },
    { TR_TYPE_FLOAT, BQ_FLOAT, BQ_AS_FLOAT },      { TR_TYPE_FLOAT, BQ_STRING, BQ_AS_FLOAT_TEXT },
    { TR_TYPE_TEXTS, BQ_STRING, BQ_AS_JSON_TEXT }, { TR_TYPE_TEXTS, BQ_JSON, BQ_AS_JSON },
};

static const char *type_words(enum tr_type t)
{
    switch (t) {
    case TR_TYPE_TEXT:
    case TR_TYPE_UUID:
        return "STRING";
    case TR_TYPE_JSON:
        return "JSON or STRING";
    case TR_TYPE_INT64:
        return "INT64, NUMERIC, BIGNUMERIC or STRING";
    case TR_TYPE_TIME:
        return "TIMESTAMP, DATETIME or STRING";
    case TR_TYPE_BOOL:
        return "BOOL or STRING";
    case TR_TYPE_FLOAT:
        return "FLOAT64 or STRING";
    case TR_TYPE_TEXTS:
        return "ARRAY<STRING>, JSON or STRING";
    }
    return "";
}

/* PostHog's table has elements as STRING whatever the type of the others. */
static bool is_json_type(const struct tr_schema *s, int column, bool use_json_type)
{
    return use_json_type && !(s->model == TR_MODEL_EVENTS && column == TR_EVENT_ELEMENTS);
}

void bq_fit_new_column(const struct tr_schema *s, int column, const char *name, bool use_json_type,
                       struct bq_column *ret)
{
    static const struct {
        enum bq_type type;
        const char *name;
    } types[TR_TYPES] = {
        [TR_TYPE_TEXT] = { BQ_STRING, "STRING" },       [TR_TYPE_JSON] = { BQ_STRING, "STRING" },
        [TR_TYPE_UUID] = { BQ_STRING, "STRING" },       [TR_TYPE_INT64] = { BQ_INTEGER, "INTEGER" },
        [TR_TYPE_TIME] = { BQ_TIMESTAMP, "TIMESTAMP" }, [TR_TYPE_BOOL] = { BQ_BOOLEAN, "BOOLEAN" },
        [TR_TYPE_FLOAT] = { BQ_FLOAT, "FLOAT" },        [TR_TYPE_TEXTS] = { BQ_STRING, "STRING" },
    };
    enum tr_type t = s->columns[column].type;

    *ret = (struct bq_column){ .type = types[t].type, .is_repeated = t == TR_TYPE_TEXTS };
    (void)snprintf(ret->type_name, sizeof(ret->type_name), "%s", types[t].name);
    if (t == TR_TYPE_JSON && is_json_type(s, column, use_json_type)) {
        ret->type = BQ_JSON;
        (void)snprintf(ret->type_name, sizeof(ret->type_name), "JSON");
    }
    (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
}

/* "Flexible column names", BigQuery documentation: letters of any script, digits and some marks. */
bool bq_fit_name_ok(const char *name)
{
    static const char *const reserved[] = { "_TABLE_",        "_FILE_",   "_PARTITION",
                                            "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER" };
    size_t n = strlen(name);

    if (n == 0 || n > BQ_NAME_BYTES || strpbrk(name, "!\"$()*,./;?@[\\]^`{}~") != NULL)
        return false;
    for (const char *p = name; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strncasecmp(name, reserved[i], strlen(reserved[i])) == 0)
            return false;
    return true;
}

/* BigQuery's names differ by more than case. */
static const struct bq_column *find(const struct bq_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcasecmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

static void notice(struct tr_notice_sink *sink, const char *name, const char *what)
{
    char text[BQ_NAME_BYTES + 128];

    if (sink == NULL)
        return;
    (void)snprintf(text, sizeof(text), "column %s %s", name, what);
    sink->notice(sink, text);
}

static bool find_form(enum tr_type from, const struct bq_column *to, enum bq_form *ret)
{
    if (to->is_repeated) {
        *ret = BQ_AS_TEXTS;
        return from == TR_TYPE_TEXTS && to->type == BQ_STRING;
    }
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i].from != from || forms[i].to != to->type)
            continue;
        *ret = forms[i].form;
        /* values of fixed shape that the column would have to cut */
        return to->max_length == 0 || !((from == TR_TYPE_UUID && to->max_length < 36) ||
                                        (from == TR_TYPE_TIME && to->max_length < 27));
    }
    return false;
}

static enum tr_rc bad_type(const struct tr_column *from, const struct bq_column *to,
                           struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "bigquery.column_type",
                   "change the column's type, rename it in the export's columns, or use another "
                   "table",
                   "column %.60s of the table is %s%s%s; %s needs %s", to->name,
                   to->is_repeated ? "ARRAY<" : "", to->type_name, to->is_repeated ? ">" : "",
                   from->name, type_words(from->type));
}

static bool is_filled(const struct bq_fit *fit, const struct bq_column *c)
{
    for (size_t i = 0; i < fit->n; i++)
        if (fit->col[i].to == c)
            return true;
    return false;
}

/* Columns that must have a value, have no default and get none from us: every row would fail. */
static enum tr_rc check_required(const struct bq_fit *fit, const struct bq_table *t,
                                 struct tr_err *err)
{
    char names[180] = "";
    size_t used = 0;

    for (size_t i = 0; i < t->n; i++) {
        const struct bq_column *c = &t->columns[i];
        if (c->is_required && !c->has_default && !is_filled(fit, c) && used < sizeof(names))
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.100s",
                                     used == 0 ? "" : ", ", c->name);
    }
    if (used == 0)
        return TR_OK;
    return tr_fail(
        err, TR_REFUSED, "bigquery.column_required",
        "relax these columns to NULLABLE, give them a default, or add them to the export",
        "the table wants a value in columns that the export does not fill: %s", names);
}

/* Rows are merged by these: a table without one of them cannot be kept right. */
static enum tr_rc check_identity(const struct bq_fit *fit, struct tr_err *err)
{
    tr_column_mask left = fit->schema->is_mutable ? tr_schema_identity(fit->schema) : 0;

    for (size_t i = 0; i < fit->n; i++) {
        const struct tr_column *c = &fit->schema->columns[fit->col[i].column];
        left &= ~((tr_column_mask)1 << fit->col[i].column);
        if (c->role == TR_ROLE_VERSION && fit->col[i].to->type == BQ_STRING)
            return bad_type(c, fit->col[i].to, err); /* "10" comes before "9" */
    }
    for (size_t i = 0; i < fit->schema->n; i++)
        if ((left >> i & 1) != 0)
            return tr_fail(err, TR_REFUSED, "bigquery.no_key_column",
                           "add the column to the table, or use another table",
                           "rows of %s are merged by %s, which the table does not have",
                           fit->schema->name, fit->schema->columns[i].name);
    return TR_OK;
}

static void find_partition(const struct bq_table *t, struct bq_fit *fit)
{
    fit->partition = -1;
    fit->by = t->partition;
    fit->life_us = t->partition_life_us;
    for (size_t i = 0; i < fit->n && t->partition != BQ_NOT_BY_COLUMN; i++)
        if (strcasecmp(fit->col[i].to->name, t->partition_column) == 0 &&
            fit->schema->columns[fit->col[i].column].type == TR_TYPE_TIME)
            fit->partition = (int)i;
}

/* One column of the export. TR_OK, also where it is left out with a notice. */
static enum tr_rc fit_column(const struct tr_projection *p, size_t i, const struct bq_table *t,
                             struct bq_fit *fit, struct tr_notice_sink *notices, struct tr_err *err)
{
    const struct tr_column *from = &p->schema->columns[p->column[i]];
    const struct bq_column *to = find(t, p->name[i]);
    enum bq_form form;

    if (to == NULL || is_filled(fit, to)) {
        if (!p->optional[i])
            notice(notices, p->name[i], "is missing in the table: it is skipped");
        return TR_OK;
    }
    if (!find_form(from->type, to, &form)) {
        if (!p->optional[i] || to->is_required)
            return bad_type(from, to, err);
        notice(notices, p->name[i], "has a type of its own: it is left alone");
        return TR_OK;
    }
    if (from->role == TR_ROLE_KEY && fit->uuid < 0)
        fit->uuid = (int)fit->n;
    fit->col[fit->n++] = (struct bq_fit_column){ .column = p->column[i], .form = form, .to = to };
    return TR_OK;
}

enum tr_rc bq_fit(const struct tr_projection *p, const struct bq_table *t, struct bq_fit *ret,
                  struct tr_notice_sink *notices, struct tr_err *err)
{
    struct bq_fit fit = { .schema = p->schema, .uuid = -1 };

    if (strcmp(t->kind, "TABLE") != 0 && t->kind[0] != '\0')
        return tr_fail(err, TR_REFUSED, "bigquery.not_a_table", "choose another table_id",
                       "it is a %s, no table", t->kind);
    for (size_t i = 0; i < p->n; i++) {
        enum tr_rc rc = fit_column(p, i, t, &fit, notices, err);
        if (rc != TR_OK)
            return rc;
    }
    if (fit.n == 0)
        return tr_fail(err, TR_REFUSED, "bigquery.no_common_column",
                       "use another table_id, or name the columns as the table does",
                       "the table has none of the export's columns");
    find_partition(t, &fit);
    enum tr_rc rc = check_required(&fit, t, err);
    if (rc == TR_OK)
        rc = check_identity(&fit, err);
    if (rc == TR_OK)
        *ret = fit;
    return rc;
}
