#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/batch.h"

enum { ROWS = 8 };

static const struct keep_case {
    const char *name;
    bool keep[ROWS];
    size_t want;
    int left[ROWS]; /* numbers of the rows that stay */
} cases[] = {
    { "all", { 1, 1, 1, 1, 1, 1, 1, 1 }, 8, { 0, 1, 2, 3, 4, 5, 6, 7 } },
    { "none", { 0 }, 0, { 0 } },
    { "the first", { 1 }, 1, { 0 } },
    { "the last", { 0, 0, 0, 0, 0, 0, 0, 1 }, 1, { 7 } },
    { "every second", { 0, 1, 0, 1, 0, 1, 0, 1 }, 4, { 1, 3, 5, 7 } },
};

static void keeps_rows_in_order_in_every_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct keep_case *c = &cases[i];
        struct tr_str names[ROWS];
        struct tr_uuid ids[ROWS];
        int64_t times[ROWS];
        uint32_t flags[ROWS];
        int64_t inserted_at[ROWS];
        static const char text[ROWS + 1] = "abcdefgh";
        struct tr_batch b = {
            .schema = &tr_schema_events, .rows = ROWS, .flags = flags, .inserted_at = inserted_at
        };

        print_message("# %s\n", c->name);
        for (int k = 0; k < ROWS; k++) {
            names[k] = (struct tr_str){ text + k, 1 };
            memset(&ids[k], k, sizeof(ids[k]));
            times[k] = k * 10;
            flags[k] = (uint32_t)k;
            inserted_at[k] = k * 100;
        }
        b.col[TR_EVENT_EVENT].str = names; /* the other columns were not asked for */
        b.col[TR_EVENT_UUID].uuid = ids;
        b.col[TR_EVENT_TIMESTAMP].i64 = times;
        tr_batch_keep(&b, c->keep);

        assert_int_equal(b.rows, c->want);
        for (size_t k = 0; k < b.rows; k++) {
            int row = c->left[k];
            assert_int_equal(names[k].p[0], text[row]);
            assert_int_equal(ids[k].b[15], row);
            assert_int_equal(times[k], row * 10);
            assert_int_equal(flags[k], row);
            assert_int_equal(inserted_at[k], row * 100);
        }
    }
}

static void finds_columns_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(tr_schema_by_name(TR_STR("events")), &tr_schema_events);
    assert_null(tr_schema_by_name(TR_STR("event")));
    for (size_t i = 0; i < tr_schema_events.n; i++)
        assert_int_equal(
            tr_schema_find(&tr_schema_events, tr_str_of(tr_schema_events.columns[i].name)), (int)i);
    assert_int_equal(tr_schema_find(&tr_schema_events, TR_STR("Event")), -1);
    assert_true(tr_schema_events.n <= TR_BATCH_COLUMNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_rows_in_order_in_every_column),
        cmocka_unit_test(finds_columns_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
