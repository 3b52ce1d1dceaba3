/* What BigQuery is asked, written. Pure. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "encode/json_put.h"

const char *const bq_what_names[BQ_WHATS] = {
    [BQ_WHAT_LOAD] = "load",   [BQ_WHAT_EMPTY] = "empty",   [BQ_WHAT_MERGE] = "merge",
    [BQ_WHAT_FENCE] = "fence", [BQ_WHAT_COUNTS] = "counts", [BQ_WHAT_STAGE] = "stage",
    [BQ_WHAT_PROBE] = "probe", [BQ_WHAT_TEST] = "test",
};

/* ---- names ---- */

const char *bq_job_id(const struct tr_key *key, uint32_t n, char out[BQ_JOB_ID])
{
    char text[TR_KEY_TEXT];

    (void)snprintf(out, BQ_JOB_ID, "tailrace_%s_%" PRIu32, tr_key_format(key, text), n);
    for (char *p = out; *p != '\0'; p++)
        if (*p == '/')
            *p = '_';
    return out;
}

void bq_path_add(struct tr_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || c == ':';
        if (plain)
            tr_buf_ch(out, (char)c);
        else
            tr_buf_printf(out, "%%%02X", c);
    }
}

static void add_text(struct tr_buf *out, const char *before, const char *text)
{
    tr_buf_z(out, before);
    tr_buf_json_str(out, tr_str_of(text));
}

static void add_table_ref(struct tr_buf *out, const struct bq_place *p, const char *table)
{
    add_text(out, "{\"projectId\":", p->project);
    add_text(out, ",\"datasetId\":", p->dataset);
    add_text(out, ",\"tableId\":", table);
    tr_buf_ch(out, '}');
}

static void add_job_ref(struct tr_buf *out, const struct bq_place *p, const char *id)
{
    add_text(out, "\"jobReference\":{\"projectId\":", p->project);
    add_text(out, ",\"jobId\":", id);
    add_text(out, ",\"location\":", p->location);
    tr_buf_ch(out, '}');
}

/* ---- labels: what a job is, and what it alone knows ---- */

static void add_labels(struct tr_buf *out, const struct bq_label *l)
{
    tr_buf_printf(out, "\"labels\":{\"" BQ_LABEL_WHAT "\":\"%s\"", bq_what_names[l->what]);
    if (l->attempt != NULL)
        tr_buf_printf(out, ",\"" BQ_LABEL_ATTEMPT "\":\"%s\"", l->attempt);
    if (l->counts != NULL)
        tr_buf_printf(out,
                      ",\"" BQ_LABEL_ROWS "\":\"%" PRIu64 "\",\"" BQ_LABEL_REJECTED "\":\"%" PRIu64
                      "\",\"" BQ_LABEL_REPAIRED "\":\"%" PRIu64 "\",\"" BQ_LABEL_COUNTS "\":\"%s\"",
                      l->counts->delivered, l->counts->rejected, l->counts->repaired,
                      l->counts_later ? "later" : "final");
    tr_buf_ch(out, '}');
}

/* ---- jobs ---- */

static void add_field(struct tr_buf *out, const struct bq_column *c)
{
    add_text(out, "{\"name\":", c->name);
    add_text(out, ",\"type\":", c->type_name);
    tr_buf_printf(out, ",\"mode\":\"%s\"",
                  c->is_repeated   ? "REPEATED"
                  : c->is_required ? "REQUIRED"
                                   : "NULLABLE");
    if (c->max_length > 0)
        tr_buf_printf(out, ",\"maxLength\":\"%" PRId64 "\"", c->max_length);
    if (c->precision > 0)
        tr_buf_printf(out, ",\"precision\":\"%" PRId64 "\",\"scale\":\"%" PRId64 "\"", c->precision,
                      c->scale);
    tr_buf_ch(out, '}');
}

/* With the columns that are written: others get their default, as in a stream ("Default column
 * values", BigQuery documentation; without a schema they would be NULL, or fail where they are
 * REQUIRED). */
void bq_write_load(struct tr_buf *out, const struct bq_place *p, const char *id,
                   const struct bq_label *label, const char *table, const struct bq_fit *fit,
                   uint64_t max_bad)
{
    tr_buf_ch(out, '{');
    add_job_ref(out, p, id);
    tr_buf_z(out, ",\"configuration\":{");
    add_labels(out, label);
    tr_buf_z(out, ",\"load\":{\"destinationTable\":");
    add_table_ref(out, p, table);
    tr_buf_z(out, ",\"sourceFormat\":\"NEWLINE_DELIMITED_JSON\",\"encoding\":\"UTF-8\","
                  "\"createDisposition\":\"CREATE_NEVER\",\"writeDisposition\":\"WRITE_APPEND\"");
    tr_buf_z(out, ",\"schema\":{\"fields\":[");
    for (size_t i = 0; i < fit->n; i++) {
        if (i != 0)
            tr_buf_ch(out, ',');
        add_field(out, fit->col[i].to);
    }
    tr_buf_z(out, "]}");
    if (max_bad != 0)
        tr_buf_printf(out, ",\"maxBadRecords\":%" PRIu64, max_bad);
    tr_buf_z(out, "}}}");
}

void bq_write_query(struct tr_buf *out, const struct bq_place *p, const char *id,
                    const struct bq_label *label, const char *sql)
{
    tr_buf_ch(out, '{');
    add_job_ref(out, p, id);
    tr_buf_z(out, ",\"configuration\":{");
    add_labels(out, label);
    add_text(out, ",\"query\":{\"query\":", sql);
    tr_buf_z(out, ",\"useLegacySql\":false,\"useQueryCache\":false}}}");
}

/* ---- streams ---- */

/* Two projects may stream events of one uuid into one table, and BigQuery must keep both. */
void bq_write_insert_row(struct tr_buf *out, const struct tr_uuid *uuid, int32_t project)
{
    char text[TR_UUID_TEXT];

    tr_uuid_format(uuid, text);
    tr_buf_printf(out, "{\"insertId\":\"%s-%" PRId32 "\",\"json\":", text, project);
}

void bq_write_insert(struct tr_buf *out, const struct tr_str *rows, size_t n)
{
    tr_buf_z(out, "{\"kind\":\"bigquery#tableDataInsertAllRequest\",\"skipInvalidRows\":true,"
                  "\"rows\":[");
    for (size_t i = 0; i < n; i++) {
        if (i != 0)
            tr_buf_ch(out, ',');
        tr_buf_str(out, rows[i]);
    }
    tr_buf_z(out, "]}");
}

/* ---- tables ---- */

void bq_write_table(struct tr_buf *out, const struct bq_place *p, const char *table,
                    const struct bq_new_table *t)
{
    tr_buf_z(out, "{\"tableReference\":");
    add_table_ref(out, p, table);
    tr_buf_z(out, ",\"schema\":{\"fields\":[");
    for (size_t i = 0; i < t->n; i++) {
        if (i != 0)
            tr_buf_ch(out, ',');
        add_field(out, t->columns[i]);
    }
    tr_buf_z(out, "]}");
    if (t->partition_column != NULL) {
        add_text(out, ",\"timePartitioning\":{\"type\":\"DAY\",\"field\":", t->partition_column);
        tr_buf_ch(out, '}');
    }
    for (size_t i = 0; i < t->n_cluster; i++)
        add_text(out, i == 0 ? ",\"clustering\":{\"fields\":[" : ",", t->cluster[i]);
    tr_buf_z(out, t->n_cluster == 0 ? "" : "]}");
    if (t->expires_us != 0)
        tr_buf_printf(out, ",\"expirationTime\":\"%" PRId64 "\"", t->expires_us / TR_US_PER_MS);
    if (t->what != BQ_WHAT_OTHER)
        tr_buf_printf(out, ",\"labels\":{\"" BQ_LABEL_WHAT "\":\"%s\"}", bq_what_names[t->what]);
    tr_buf_ch(out, '}');
}

/* ---- SQL ---- */

void bq_sql_name(struct tr_buf *out, const char *name)
{
    tr_buf_ch(out, '`');
    for (; *name != '\0'; name++) {
        if (*name == '`' || *name == '\\')
            tr_buf_ch(out, '\\');
        tr_buf_ch(out, *name);
    }
    tr_buf_ch(out, '`');
}

void bq_sql_table(struct tr_buf *out, const struct bq_place *p, const char *table)
{
    bq_sql_name(out, p->project);
    tr_buf_ch(out, '.');
    bq_sql_name(out, p->dataset);
    tr_buf_ch(out, '.');
    bq_sql_name(out, table);
}

/* Rows without a value there have a partition of their own, and so have those of the streaming
 * buffer where the partition is by the time of loading. */
void bq_sql_any_partition(struct tr_buf *out, const struct bq_table *t)
{
    if (!t->requires_filter || t->filter_column[0] == '\0')
        return;
    tr_buf_z(out, " AND (t.");
    bq_sql_name(out, t->filter_column);
    tr_buf_z(out, " IS NULL OR t.");
    bq_sql_name(out, t->filter_column);
    tr_buf_z(out, t->filter_is_number ? " >= -9223372036854775808)" : " >= '0001-01-01')");
}
