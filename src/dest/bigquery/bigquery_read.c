/* What BigQuery answers, read. Pure: any bytes may come in. Shapes: the REST reference's Job,
 * Table, Dataset, QueryResponse and error resources. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"

static void json_cleanup(json_t **j)
{
    json_decref(*j);
}

static json_t *parse(struct tr_str body)
{
    json_t *j = json_loadb(body.p == NULL ? "" : body.p, body.n, JSON_ALLOW_NUL, NULL);

    if (json_is_object(j))
        return j;
    json_decref(j);
    return NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static void copy_text(char *out, size_t cap, const json_t *object, const char *name)
{
    (void)snprintf(out, cap, "%s", text_of(object, name));
}

/* int64 comes as a string of digits. */
static int64_t number_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    if (json_is_integer(v))
        return json_integer_value(v);
    return json_is_string(v) ? strtoll(json_string_value(v), NULL, 10) : 0;
}

static uint64_t count_of(const json_t *object, const char *name)
{
    int64_t n = number_of(object, name);

    return n < 0 ? 0 : (uint64_t)n;
}

static const json_t *path(const json_t *j, const char *a, const char *b)
{
    return json_object_get(json_object_get(j, a), b);
}

static enum tr_rc bad_answer(struct tr_err *err, const char *what)
{
    return tr_fail(err, TR_TRANSIENT, "bigquery.bad_answer", NULL, "BigQuery's answer holds no %s",
                   what);
}

/* ---- errors ---- */

void bq_read_error(struct tr_str body, struct bq_said *ret)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);
    const json_t *error = json_object_get(j, "error");
    const json_t *first = json_array_get(json_object_get(error, "errors"), 0);

    *ret = (struct bq_said){ 0 };
    copy_text(ret->message, sizeof(ret->message), error, "message");
    copy_text(ret->reason, sizeof(ret->reason), first, "reason");
    if (ret->message[0] == '\0')
        copy_text(ret->message, sizeof(ret->message), first, "message");
}

/* ---- jobs ---- */

/* ".. row starting at position 1234: .." of an NDJSON load: the offset of its first byte. */
static int64_t position_in(const char *message)
{
    static const char words[] = "starting at position ";
    const char *at = strstr(message, words);
    char *end = NULL;

    if (at == NULL || at[sizeof(words) - 1] < '0' || at[sizeof(words) - 1] > '9')
        return -1;
    errno = 0;
    long long n = strtoll(at + sizeof(words) - 1, &end, 10);
    return errno == 0 ? n : -1;
}

static void read_row_errors(const json_t *errors, struct bq_job *ret)
{
    size_t i;
    json_t *e;

    json_array_foreach((json_t *)(uintptr_t)errors, i, e)
    {
        const char *message = text_of(e, "message");
        int64_t position = position_in(message);
        if (position < 0 || ret->n_rows == BQ_ROW_ERRORS)
            continue;
        ret->rows[ret->n_rows].position = position;
        (void)snprintf(ret->rows[ret->n_rows].message, sizeof(ret->rows[0].message), "%s", message);
        ret->n_rows++;
    }
}

static bool read_state(const json_t *status, struct bq_job *ret)
{
    static const struct {
        const char *name;
        enum bq_job_state state;
    } states[] = { { "PENDING", BQ_PENDING }, { "RUNNING", BQ_RUNNING }, { "DONE", BQ_DONE } };
    const char *name = text_of(status, "state");

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(states[i].name, name) == 0) {
            ret->state = states[i].state;
            return true;
        }
    return false;
}

static void read_labels(const json_t *labels, struct bq_job *ret)
{
    const char *what = text_of(labels, BQ_LABEL_WHAT);

    ret->what = BQ_WHAT_OTHER;
    for (size_t i = 0; i < BQ_WHATS; i++)
        if (strcmp(bq_what_names[i], what) == 0)
            ret->what = (enum bq_what)i;
    copy_text(ret->attempt, sizeof(ret->attempt), labels, BQ_LABEL_ATTEMPT);
    ret->counts.delivered = count_of(labels, BQ_LABEL_ROWS);
    ret->counts.rejected = count_of(labels, BQ_LABEL_REJECTED);
    ret->counts.repaired = count_of(labels, BQ_LABEL_REPAIRED);
    ret->counts_later = strcmp(text_of(labels, BQ_LABEL_COUNTS), "later") == 0;
}

enum tr_rc bq_read_job(struct tr_str body, struct bq_job *ret, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);
    const json_t *status = json_object_get(j, "status");
    const json_t *result = json_object_get(status, "errorResult");
    const json_t *load = path(j, "statistics", "load");
    const json_t *query = path(j, "statistics", "query");

    memset(ret, 0, sizeof(*ret));
    if (j == NULL || !read_state(status, ret))
        return bad_answer(err, "job");
    ret->created_us = number_of(json_object_get(j, "statistics"), "creationTime") * TR_US_PER_MS;
    ret->is_failed = json_is_object(result);
    copy_text(ret->said.reason, sizeof(ret->said.reason), result, "reason");
    copy_text(ret->said.message, sizeof(ret->said.message), result, "message");
    read_row_errors(json_object_get(status, "errors"), ret);
    read_labels(path(j, "configuration", "labels"), ret);
    ret->is_load = json_is_object(path(j, "configuration", "load"));
    ret->output_rows = count_of(load, "outputRows");
    ret->bad_records = count_of(load, "badRecords");
    ret->affected = count_of(query, "numDmlAffectedRows");
    return TR_OK;
}

/* ---- datasets and tables ---- */

enum tr_rc bq_read_dataset(struct tr_str body, struct bq_dataset *ret, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);

    *ret = (struct bq_dataset){ 0 };
    copy_text(ret->location, sizeof(ret->location), j, "location");
    return ret->location[0] == '\0' ? bad_answer(err, "location of the dataset") : TR_OK;
}

/* Names of types and their other spellings. */
static const struct {
    const char *name;
    enum bq_type type;
} types[] = {
    { "STRING", BQ_STRING },      { "JSON", BQ_JSON },           { "INTEGER", BQ_INTEGER },
    { "INT64", BQ_INTEGER },      { "TIMESTAMP", BQ_TIMESTAMP }, { "DATETIME", BQ_DATETIME },
    { "BOOLEAN", BQ_BOOLEAN },    { "BOOL", BQ_BOOLEAN },        { "FLOAT", BQ_FLOAT },
    { "FLOAT64", BQ_FLOAT },      { "NUMERIC", BQ_NUMERIC },     { "DECIMAL", BQ_NUMERIC },
    { "BIGNUMERIC", BQ_NUMERIC }, { "BIGDECIMAL", BQ_NUMERIC },
};

static void read_column(const json_t *field, struct bq_column *ret)
{
    const char *mode = text_of(field, "mode");

    copy_text(ret->name, sizeof(ret->name), field, "name");
    copy_text(ret->type_name, sizeof(ret->type_name), field, "type");
    ret->type = BQ_TYPE_OTHER;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, ret->type_name) == 0)
            ret->type = types[i].type;
    ret->is_required = strcmp(mode, "REQUIRED") == 0;
    ret->is_repeated = strcmp(mode, "REPEATED") == 0;
    ret->has_default = text_of(field, "defaultValueExpression")[0] != '\0';
    ret->max_length = number_of(field, "maxLength");
    ret->precision = number_of(field, "precision");
    ret->scale = number_of(field, "scale");
}

static enum tr_rc read_columns(const json_t *fields, struct bq_table *ret, struct tr_err *err)
{
    size_t n = json_array_size(fields);

    if (n > BQ_COLUMNS_MAX)
        return tr_fail(err, TR_REFUSED, "bigquery.too_many_columns", "use another table",
                       "the table has more than %d columns", BQ_COLUMNS_MAX);
    ret->columns = calloc(n + 1, sizeof(*ret->columns));
    if (ret->columns == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < n; i++)
        read_column(json_array_get(fields, i), &ret->columns[i]);
    ret->n = n;
    return TR_OK;
}

static const struct {
    const char *name;
    enum bq_partition by;
} partitions[] = {
    { "DAY", BQ_BY_DAY },
    { "HOUR", BQ_BY_HOUR },
    { "MONTH", BQ_BY_MONTH },
    { "YEAR", BQ_BY_YEAR },
};

static enum bq_partition read_partition(const json_t *j, struct bq_table *ret)
{
    const json_t *time = json_object_get(j, "timePartitioning");
    const json_t *range = json_object_get(j, "rangePartitioning");
    const char *type = text_of(time, "type");

    ret->requires_filter = json_is_true(json_object_get(j, "requirePartitionFilter")) ||
                           json_is_true(json_object_get(time, "requirePartitionFilter"));
    ret->partition_life_us = (int64_t)count_of(time, "expirationMs") * TR_US_PER_MS;
    copy_text(ret->partition_column, sizeof(ret->partition_column), time, "field");
    copy_text(ret->filter_column, sizeof(ret->filter_column), range, "field");
    ret->filter_is_number = json_is_object(range);
    if (json_is_object(time))
        (void)snprintf(ret->filter_column, sizeof(ret->filter_column), "%s",
                       ret->partition_column[0] == '\0' ? "_PARTITIONTIME" : ret->partition_column);
    if (ret->partition_column[0] == '\0') /* by the time of loading: rows have no say */
        return BQ_NOT_BY_COLUMN;
    for (size_t i = 0; i < sizeof(partitions) / sizeof(partitions[0]); i++)
        if (strcmp(partitions[i].name, type) == 0)
            return partitions[i].by;
    return BQ_NOT_BY_COLUMN;
}

enum tr_rc bq_read_table(struct tr_str body, struct bq_table *ret, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);

    memset(ret, 0, sizeof(*ret));
    if (j == NULL || !json_is_object(json_object_get(j, "tableReference")))
        return bad_answer(err, "table");
    copy_text(ret->kind, sizeof(ret->kind), j, "type");
    ret->expires_us = number_of(j, "expirationTime") * TR_US_PER_MS;
    ret->created_us = number_of(j, "creationTime") * TR_US_PER_MS;
    ret->is_ours = text_of(json_object_get(j, "labels"), BQ_LABEL_WHAT)[0] != '\0';
    ret->partition = read_partition(j, ret);
    return read_columns(path(j, "schema", "fields"), ret, err);
}

void bq_table_fini(struct bq_table *t)
{
    free(t->columns);
    t->columns = NULL;
    t->n = 0;
}

/* ---- streams ---- */

/* Of several complaints about a row the first that is its own. */
static void read_complaint(const json_t *errors, struct bq_said *ret)
{
    size_t i;
    json_t *e;

    *ret = (struct bq_said){ 0 };
    json_array_foreach((json_t *)(uintptr_t)errors, i, e)
    {
        const char *field = text_of(e, "location");
        copy_text(ret->reason, sizeof(ret->reason), e, "reason");
        (void)snprintf(ret->message, sizeof(ret->message), "%.100s%s%s", field,
                       field[0] == '\0' ? "" : ": ", text_of(e, "message"));
        if (strcmp(ret->reason, "stopped") != 0)
            return;
    }
}

enum tr_rc bq_read_insert(struct tr_str body, size_t n_rows,
                          void (*complain)(void *, size_t row, const struct bq_said *), void *arg,
                          struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);
    const json_t *errors = json_object_get(j, "insertErrors");
    struct bq_said said;
    size_t i;
    json_t *e;

    if (j == NULL || strncmp(text_of(j, "kind"), "bigquery#tableDataInsertAll", 27) != 0 ||
        (errors != NULL && !json_is_array(errors)))
        return bad_answer(err, "word about the rows");
    json_array_foreach((json_t *)(uintptr_t)errors, i, e)
    {
        const json_t *index = json_object_get(e, "index"); /* 0 may be left out */
        int64_t row = number_of(e, "index");
        if ((index != NULL && !json_is_integer(index) && !json_is_string(index)) || row < 0 ||
            (uint64_t)row >= n_rows)
            return bad_answer(err, "row that was sent");
        read_complaint(json_object_get(e, "errors"), &said);
        complain(arg, (size_t)row, &said);
    }
    return TR_OK;
}

/* ---- results of queries ---- */

enum tr_rc bq_read_result(struct tr_str body, size_t n, struct bq_result *ret, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);
    const json_t *complete = json_object_get(j, "jobComplete");

    *ret = (struct bq_result){ 0 };
    if (!json_is_boolean(complete))
        return bad_answer(err, "result of a query");
    copy_text(ret->job_id, sizeof(ret->job_id), json_object_get(j, "jobReference"), "jobId");
    ret->is_complete = json_is_true(complete);
    if (!ret->is_complete)
        return ret->job_id[0] == '\0' ? bad_answer(err, "job id") : TR_OK;
    const json_t *row = json_array_get(json_object_get(j, "rows"), 0);
    for (size_t i = 0; i < n && i < BQ_RESULT_COLUMNS; i++) {
        const json_t *cell = json_array_get(json_object_get(row, "f"), i);
        if (!json_is_string(json_object_get(cell, "v")))
            return bad_answer(err, "row of numbers");
        ret->number[i] = count_of(cell, "v");
    }
    return TR_OK;
}

enum tr_rc bq_read_marks(struct tr_str body, size_t n, bool *ret, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *j = parse(body);
    const json_t *row = json_array_get(json_object_get(j, "rows"), 0);
    const json_t *cell = json_object_get(json_array_get(json_object_get(row, "f"), 0), "v");
    const char *at = json_is_null(cell) ? "" : json_string_value(cell); /* null: none */

    memset(ret, 0, n * sizeof(*ret));
    if (at == NULL)
        return bad_answer(err, "list of rows");
    while (*at != '\0') {
        char *end = NULL;
        errno = 0;
        unsigned long long i = strtoull(at, &end, 10);
        if (*at < '0' || *at > '9' || errno != 0 || i >= n || (*end != ',' && *end != '\0'))
            return bad_answer(err, "list of rows");
        ret[i] = true;
        at = *end == ',' ? end + 1 : end;
    }
    return TR_OK;
}

/* ---- uploads ---- */

bool bq_read_range(const char *header, uint64_t *ret_next)
{
    static const char head[] = "bytes=0-";
    char *end = NULL;

    if (header[0] == '\0') { /* nothing has arrived */
        *ret_next = 0;
        return true;
    }
    if (strncmp(header, head, sizeof(head) - 1) != 0 || header[sizeof(head) - 1] < '0' ||
        header[sizeof(head) - 1] > '9')
        return false;
    errno = 0;
    unsigned long long last = strtoull(header + sizeof(head) - 1, &end, 10);
    if (errno != 0 || *end != '\0' || last >= UINT64_MAX)
        return false;
    *ret_next = last + 1;
    return true;
}
