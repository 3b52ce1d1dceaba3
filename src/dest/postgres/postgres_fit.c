#include <stdio.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"

/* Object ids of built-in types (pg_type.dat): fixed since long before version 12. */
enum {
    OID_BOOL = 16,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_TEXTS = 1009,
    OID_VARCHARS = 1015,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_JSONB = 3802,
};

enum { VARHDRSZ = 4 }; /* what the typmod of varchar(n) is more than n */

static const struct {
    enum tr_type from;
    uint32_t to;
    enum tr_pgcopy_form form;
} forms[] = {
    { TR_TYPE_TEXT, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_TEXT, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_TEXT, OID_BPCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_JSON, OID_JSONB, TR_PGCOPY_JSONB },
    { TR_TYPE_JSON, OID_JSON, TR_PGCOPY_JSON },
    { TR_TYPE_JSON, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_JSON, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_UUID, OID_UUID, TR_PGCOPY_UUID },
    { TR_TYPE_UUID, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_UUID, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_UUID, OID_BPCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_INT64, OID_INT4, TR_PGCOPY_INT4 },
    { TR_TYPE_INT64, OID_INT8, TR_PGCOPY_INT8 },
    { TR_TYPE_INT64, OID_INT2, TR_PGCOPY_INT2 },
    { TR_TYPE_INT64, OID_NUMERIC, TR_PGCOPY_NUMERIC },
    { TR_TYPE_INT64, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_INT64, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_TIME, OID_TIMESTAMPTZ, TR_PGCOPY_TIMESTAMP },
    { TR_TYPE_TIME, OID_TIMESTAMP, TR_PGCOPY_TIMESTAMP },
    { TR_TYPE_TIME, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_TIME, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_BOOL, OID_BOOL, TR_PGCOPY_BOOL },
    { TR_TYPE_BOOL, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_BOOL, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_FLOAT, OID_FLOAT8, TR_PGCOPY_FLOAT8 },
    { TR_TYPE_FLOAT, OID_FLOAT4, TR_PGCOPY_FLOAT4 },
    { TR_TYPE_FLOAT, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_FLOAT, OID_VARCHAR, TR_PGCOPY_TEXT },
    { TR_TYPE_TEXTS, OID_TEXTS, TR_PGCOPY_TEXTS },
    { TR_TYPE_TEXTS, OID_VARCHARS, TR_PGCOPY_VARCHARS },
    { TR_TYPE_TEXTS, OID_JSONB, TR_PGCOPY_JSONB },
    { TR_TYPE_TEXTS, OID_JSON, TR_PGCOPY_JSON },
    { TR_TYPE_TEXTS, OID_TEXT, TR_PGCOPY_TEXT },
    { TR_TYPE_TEXTS, OID_VARCHAR, TR_PGCOPY_TEXT },
};

static const char *type_words(enum tr_type t)
{
    switch (t) {
    case TR_TYPE_TEXT:
        return "text, varchar or char";
    case TR_TYPE_JSON:
        return "jsonb, json, text or varchar";
    case TR_TYPE_UUID:
        return "varchar, text, char or uuid";
    case TR_TYPE_INT64:
        return "integer, bigint, smallint, numeric, text or varchar";
    case TR_TYPE_TIME:
        return "timestamp with or without time zone, text or varchar";
    case TR_TYPE_BOOL:
        return "boolean, text or varchar";
    case TR_TYPE_FLOAT:
        return "double precision, real, text or varchar";
    case TR_TYPE_TEXTS:
        return "text[], varchar[], jsonb, json, text or varchar";
    }
    return "";
}

const char *pg_fit_create_type(const struct tr_schema *s, int column)
{
    switch (s->columns[column].type) {
    case TR_TYPE_TEXT:
        return s->model == TR_MODEL_EVENTS && column != TR_EVENT_ELEMENTS_CHAIN ? "VARCHAR(200)"
                                                                                : "TEXT";
    case TR_TYPE_JSON:
        return "JSONB";
    case TR_TYPE_UUID:
        return s->model == TR_MODEL_EVENTS ? "VARCHAR(200)" : "TEXT";
    case TR_TYPE_INT64:
        return strcmp(s->columns[column].name, "team_id") == 0 ? "INTEGER" : "BIGINT";
    case TR_TYPE_TIME:
        return "TIMESTAMP WITH TIME ZONE";
    case TR_TYPE_BOOL:
        return "BOOLEAN";
    case TR_TYPE_FLOAT:
        return "DOUBLE PRECISION";
    case TR_TYPE_TEXTS:
        return "TEXT[]";
    }
    return "TEXT";
}

static const struct pg_column *find(const struct pg_column *columns, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(columns[i].name, name) == 0)
            return &columns[i];
    return NULL;
}

static void notice(struct tr_notice_sink *sink, const char *fmt, const char *name, const char *more)
{
    char text[256];

    if (sink == NULL)
        return;
    (void)snprintf(text, sizeof(text), "column %s %s%s", name, fmt, more);
    sink->notice(sink, text);
}

/* Values of fixed shape that the column would have to cut. */
static bool too_narrow(enum tr_type type, uint32_t max_chars)
{
    return max_chars != 0 &&
           ((type == TR_TYPE_UUID && max_chars < 36) || (type == TR_TYPE_TIME && max_chars < 27));
}

static enum tr_rc fit_type(const struct tr_column *from, const struct pg_column *to,
                           struct tr_pgcopy_column *ret, struct tr_notice_sink *notices,
                           struct tr_err *err)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i].from != from->type || forms[i].to != to->type)
            continue;
        ret->form = forms[i].form;
        ret->max_chars = 0;
        if ((to->type == OID_VARCHAR || to->type == OID_BPCHAR) && to->typmod > VARHDRSZ)
            ret->max_chars = (uint32_t)(to->typmod - VARHDRSZ);
        if (too_narrow(from->type, ret->max_chars))
            break;
        if (ret->form == TR_PGCOPY_TIMESTAMP && to->typmod >= 0 && to->typmod < 6)
            notice(notices, "keeps less than microseconds: the server rounds, type ", to->name,
                   to->type_name);
        return TR_OK;
    }
    return tr_fail(
        err, TR_REFUSED, "postgres.column_type",
        "change the column's type, rename it in the export's columns, or use another table",
        "column %s of the table is %s; %s needs %s", to->name, to->type_name, from->name,
        type_words(from->type));
}

/* Keys that differ here must differ there. char(n) takes blanks at the end for nothing, and a
 * collation may do so with case and accents. */
static enum tr_rc check_key(const struct tr_schema *s, const struct tr_column *from,
                            const struct pg_column *to, enum tr_pgcopy_form form,
                            struct tr_err *err)
{
    if (!s->is_mutable || from->role != TR_ROLE_KEY || form != TR_PGCOPY_TEXT ||
        (to->type != OID_BPCHAR && !to->folds))
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "postgres.column_type",
                   "make it text, with a collation that is deterministic, or use another table",
                   "column %s of the table is %s%s: keys that differ would be equal in it",
                   to->name, to->type_name, to->folds ? " of a nondeterministic collation" : "");
}

/* "10" and "9" as texts stand in the wrong order. */
static enum tr_rc check_version(const struct tr_column *from, const struct pg_column *to,
                                enum tr_pgcopy_form form, struct tr_err *err)
{
    bool rounded = form == TR_PGCOPY_TIMESTAMP && to->typmod >= 0 && to->typmod < 6;

    if (from->role != TR_ROLE_VERSION || (form != TR_PGCOPY_TEXT && !rounded))
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "postgres.column_type",
                   "change the column's type, or use another table",
                   "column %s of the table is %s: versions are compared, so it must be a number or "
                   "a time with microseconds",
                   to->name, to->type_name);
}

/* Without its keys and versions a row cannot be found and compared. */
static enum tr_rc check_identity(const struct pg_fit *fit, const struct tr_projection *p,
                                 struct tr_err *err)
{
    tr_column_mask left = p->schema->is_mutable ? tr_schema_identity(p->schema) : 0;

    for (size_t i = 0; i < fit->copy.n; i++)
        left &= ~((tr_column_mask)1 << fit->copy.col[i].column);
    for (size_t i = 0; i < p->n; i++)
        if ((left >> p->column[i] & 1) != 0)
            return tr_fail(err, TR_REFUSED, "postgres.column_missing",
                           "add the column to the table, or use another table",
                           "the table has no column %s, by which rows are found and compared",
                           p->name[i]);
    return TR_OK;
}

static bool is_filled(const struct pg_fit *fit, const char *name)
{
    for (size_t i = 0; i < fit->copy.n; i++)
        if (strcmp(fit->name[i], name) == 0)
            return true;
    return false;
}

/* Columns that must have a value, have no default and get none from us: every row would fail. */
static enum tr_rc check_required(const struct pg_fit *fit, const struct pg_column *columns,
                                 size_t n, struct tr_err *err)
{
    char names[180] = "";
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        const struct pg_column *c = &columns[i];
        if (!c->not_null || c->has_default || c->generated || is_filled(fit, c->name))
            continue;
        if (used < sizeof(names))
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                     used == 0 ? "" : ", ", c->name);
    }
    if (used == 0)
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "postgres.column_required",
                   "give these columns a default, drop NOT NULL, or add them to the export",
                   "the table wants a value in columns that the export does not fill: %s", names);
}

enum tr_rc pg_fit(const struct tr_projection *p, const struct pg_column *columns, size_t n,
                  struct pg_fit *ret, struct tr_notice_sink *notices, struct tr_err *err)
{
    struct pg_fit fit = { .copy.schema = p->schema, .uuid = -1 };

    for (size_t i = 0; i < p->n; i++) {
        const struct tr_column *from = &p->schema->columns[p->column[i]];
        const struct pg_column *to = find(columns, n, p->name[i]);
        struct tr_pgcopy_column *c = &fit.copy.col[fit.copy.n];

        if (to == NULL) {
            if (!p->optional[i])
                notice(notices, "is missing in the table: it is skipped", p->name[i], "");
            continue;
        }
        if (to->generated || (to->always && p->schema->is_mutable)) {
            notice(notices, "is generated by the table: it is skipped", p->name[i], "");
            continue;
        }
        enum tr_rc rc = fit_type(from, to, c, notices, err);
        if (rc != TR_OK && p->optional[i] && !to->not_null) {
            notice(notices, "has a type of its own: it is left alone", p->name[i], "");
            continue;
        }
        if (rc == TR_OK)
            rc = check_version(from, to, c->form, err);
        if (rc == TR_OK)
            rc = check_key(p->schema, from, to, c->form, err);
        if (rc != TR_OK)
            return rc;
        c->column = p->column[i];
        c->whole = p->schema->is_mutable && from->role == TR_ROLE_KEY;
        if (from->role == TR_ROLE_KEY && fit.uuid < 0)
            fit.uuid = (int)fit.copy.n;
        fit.name[fit.copy.n++] = p->name[i];
    }
    if (fit.copy.n == 0)
        return tr_fail(err, TR_REFUSED, "postgres.no_common_column",
                       "use another table_name, or name the columns as the table does",
                       "the table has none of the export's columns");
    enum tr_rc rc = check_required(&fit, columns, n, err);
    if (rc == TR_OK)
        rc = check_identity(&fit, p, err);
    if (rc == TR_OK)
        *ret = fit;
    return rc;
}
