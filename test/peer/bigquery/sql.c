/* Every statement that the adapter makes, with the tables they speak of, as JSON: for analysers of
 * GoogleSQL (test_sql.py). */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "model/projection.h"

static const struct bq_place place = {
    .project = "proj", .dataset = "d", .table = "target", .location = "US"
};

static struct bq_column columns[TR_BATCH_COLUMNS];
static const struct bq_column *list[TR_BATCH_COLUMNS];
static struct bq_table table;
static struct bq_fit fit;

static void make_table(const struct tr_schema *s, bool json, bool filter)
{
    const struct tr_default_column *c = tr_dest_bigquery_ops.defaults[s->model];
    struct tr_projection p = { .schema = s };
    struct tr_err err;

    for (; c->name != NULL; c++, p.n++) {
        p.name[p.n] = c->as == NULL ? c->name : c->as;
        p.column[p.n] = tr_schema_find(s, tr_str_of(c->name));
        bq_fit_new_column(s, p.column[p.n], p.name[p.n], json, &columns[p.n]);
        list[p.n] = &columns[p.n];
    }
    table = (struct bq_table){ .kind = "TABLE", .columns = columns, .n = p.n };
    table.requires_filter = filter;
    if (filter)
        (void)snprintf(table.filter_column, sizeof(table.filter_column), "timestamp");
    enum tr_rc rc = bq_fit(&p, &table, &fit, NULL, &err);
    assert(rc == TR_OK);
}

static void print_text(const char *name, const struct tr_buf *b)
{
    struct tr_buf quoted;

    tr_buf_init(&quoted, 1 << 24);
    tr_buf_json_str(&quoted, tr_buf_view(b));
    (void)printf(",\"%s\":%.*s", name, (int)quoted.n, quoted.p);
    tr_buf_fini(&quoted);
}

static void print_table(const char *name, const char *id)
{
    struct bq_new_table t = { .columns = list, .n = table.n, .what = BQ_WHAT_OTHER };
    struct tr_buf b;

    tr_buf_init(&b, 1 << 24);
    bq_write_table(&b, &place, id, &t);
    (void)printf(",\"%s\":%.*s", name, (int)b.n, b.p);
    tr_buf_fini(&b);
}

static void print_merges(const struct tr_schema *s)
{
    struct tr_buf b;

    tr_buf_init(&b, 1 << 24);
    bq_merge_sql(&b, &place, &table, &fit, "stage", false);
    print_text("merge", &b);
    tr_buf_clear(&b);
    bq_merge_sql(&b, &place, &table, &fit, "stage", true);
    print_text("replace", &b);
    tr_buf_clear(&b);
    bq_recount_rows_sql(&b, &place, &table, &fit);
    print_text("recount_rows", &b);
    (void)printf(",\"parameters\":[");
    for (size_t i = 0; i < s->n_keys + s->n_versions; i++) {
        int column = i < s->n_keys ? s->keys[i] : s->versions[i - s->n_keys];
        for (size_t k = 0; k < fit.n; k++)
            if (fit.col[k].column == column)
                (void)printf("%s\"%s\"", i == 0 ? "" : ",", bq_recount_type(&fit.col[k]));
    }
    (void)printf("]");
    tr_buf_fini(&b);
}

int main(void)
{
    struct tr_buf b;

    tr_buf_init(&b, 1 << 20);
    for (int json = 0; json <= 1; json++)
        for (size_t m = 0; m < TR_MODELS; m++) {
            const struct tr_schema *s = tr_schemas[m];

            make_table(s, json != 0, !s->is_mutable && json != 0);
            (void)printf("{\"model\":\"%s\",\"json\":%s", s->name, json != 0 ? "true" : "false");
            print_table("target", "target");
            print_table("stage", "stage");
            if (s->is_mutable) {
                print_merges(s);
            } else {
                tr_buf_clear(&b);
                bq_recount_sql(&b, &place, &table, &fit, &(struct tr_owner){ .project = 1 });
                print_text("recount", &b);
                tr_buf_clear(&b);
                bq_which_sql(&b, &place, &table, &fit, &(struct tr_owner){ .project = 1 });
                print_text("which", &b);
            }
            (void)printf("}\n");
        }
    tr_buf_fini(&b);
    return 0;
}
