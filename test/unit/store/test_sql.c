/* No statement over persons, sessions and groups walks through a table: each finds its rows by an
 * index, however many others there are. */
#include "kit.h"

#include <string.h>

#include "store/rows_priv.h"
#include "store/state_priv.h"

/* A scan, or all of a project by its key. */
static bool walks(const char *step)
{
    if (strncmp(step, "SCAN", 4) == 0)
        return strstr(step, "CONSTANT ROW") == NULL && strstr(step, "(subquery") == NULL;
    return strstr(step, "PRIMARY KEY (project=? AND distinct_id>?)") != NULL;
}

static void finds_its_rows(sqlite3 *db, const char *sql)
{
    struct tr_buf explain;
    struct tr_err err = { 0 };
    sqlite3_stmt *q = NULL;
    bool row = true;

    tr_buf_init(&explain, 1 << 16);
    tr_buf_z(&explain, "EXPLAIN QUERY PLAN ");
    tr_buf_z(&explain, sql);
    tr_buf_ch(&explain, '\0');
    assert_int_equal(store_sql_prepare(db, explain.p, &q, &err), TR_OK);
    while (store_sql_row(q, &row, &err) == TR_OK && row) {
        const char *step = (const char *)sqlite3_column_text(q, 3);
        if (walks(step))
            fail_msg("%s: %s", step, sql);
    }
    (void)sqlite3_finalize(q);
    tr_buf_fini(&explain);
}

static void statements_of_the_applier(void **state)
{
    struct kit k;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    struct state *s = k.s->derived.state;
    for (size_t i = 0; i < SQL_STATEMENTS; i++)
        finds_its_rows(s->db.db, sqlite3_sql(s->sql[i]));
    kit_fini(&k);
}

static void statements_of_readers(void **state)
{
    static const struct rows_model *const models[] = { &rows_persons, &rows_groups,
                                                       &rows_sessions };
    struct kit k;

    (void)state;
    kit_init(&k);
    kit_open(&k);
    sqlite3 *db = k.s->derived.state->db.db;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        const struct rows_model *m = models[i];
        for (const char *const *sql = m->sql; *sql != NULL; sql++)
            finds_its_rows(db, *sql);
        finds_its_rows(db, m->plan);
        if (m->plan_more != NULL)
            finds_its_rows(db, m->plan_more);
        finds_its_rows(db, m->extent);
    }
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_of_the_applier),
        cmocka_unit_test(statements_of_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
