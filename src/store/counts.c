#include "store/counts.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/time.h"

struct cell {
    bool used;
    int32_t project;
    int64_t minute;
    struct tr_counts n;
};

enum { CELLS = 16384 }; /* a power of two; written out when half of them are used */

struct counts {
    sqlite3_stmt *add, *sum;
    size_t used;
    struct cell cells[CELLS];
};

enum tr_rc counts_new(sqlite3 *db, struct counts **ret, struct tr_err *err)
{
    struct counts *c = calloc(1, sizeof(*c));
    enum tr_rc rc;

    if (c == NULL)
        return tr_fail_oom(err);
    rc = store_sql_prepare(db,
                           "INSERT INTO counts VALUES(?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
                           " stored = stored + excluded.stored,"
                           " duplicates = duplicates + excluded.duplicates,"
                           " conflicts = conflicts + excluded.conflicts,"
                           " refused = refused + excluded.refused",
                           &c->add, err);
    if (rc == TR_OK)
        rc = store_sql_prepare(db,
                               "SELECT sum(stored), sum(duplicates), sum(conflicts),"
                               " sum(refused) FROM counts"
                               " WHERE project = ? AND minute BETWEEN ? AND ?",
                               &c->sum, err);
    if (rc != TR_OK) {
        counts_free(c);
        return rc;
    }
    *ret = c;
    return TR_OK;
}

void counts_free(struct counts *c)
{
    if (c == NULL)
        return;
    (void)sqlite3_finalize(c->add);
    (void)sqlite3_finalize(c->sum);
    free(c);
}

int64_t counts_minute(int64_t stamp)
{
    int64_t minute = stamp / TR_US_PER_MIN;

    return stamp % TR_US_PER_MIN < 0 ? minute - 1 : minute;
}

static struct cell *cell_of(struct counts *c, int32_t project, int64_t minute)
{
    struct {
        int64_t minute;
        int64_t project;
    } key = { minute, project };
    size_t i = tr_hash64(&key, sizeof(key), 0) & (CELLS - 1);

    while (c->cells[i].used && (c->cells[i].project != project || c->cells[i].minute != minute))
        i = (i + 1) & (CELLS - 1);
    if (!c->cells[i].used) {
        c->cells[i] = (struct cell){ .used = true, .project = project, .minute = minute };
        c->used++;
    }
    return &c->cells[i];
}

enum tr_rc counts_record(struct counts *c, const struct record_head *h,
                         const struct record_counter *counters, bool *ret_full, struct tr_err *err)
{
    int64_t minute = counts_minute(h->first_stamp);

    (void)err;
    for (uint32_t i = 0; i < h->counters; i++) {
        struct cell *cell = cell_of(c, counters[i].project, minute);
        cell->n.stored += counters[i].stored;
        cell->n.duplicates += counters[i].duplicates;
        cell->n.conflicts += counters[i].conflicts;
        cell->n.refused += counters[i].refused;
    }
    *ret_full = c->used >= CELLS / 2;
    return TR_OK;
}

bool counts_gathered(const struct counts *c)
{
    return c->used > 0;
}

enum tr_rc counts_write(struct counts *c, struct tr_err *err)
{
    for (size_t i = 0; i < CELLS && c->used > 0; i++) {
        const struct cell *cell = &c->cells[i];
        if (!cell->used)
            continue;
        (void)sqlite3_bind_int64(c->add, 1, cell->project);
        (void)sqlite3_bind_int64(c->add, 2, cell->minute);
        (void)sqlite3_bind_int64(c->add, 3, (int64_t)cell->n.stored);
        (void)sqlite3_bind_int64(c->add, 4, (int64_t)cell->n.duplicates);
        (void)sqlite3_bind_int64(c->add, 5, (int64_t)cell->n.conflicts);
        (void)sqlite3_bind_int64(c->add, 6, (int64_t)cell->n.refused);
        if (store_sql_run(c->add, err) != TR_OK)
            return tr_wrap(err, "write counts");
    }
    return TR_OK;
}

void counts_forget(struct counts *c)
{
    if (c->used > 0)
        memset(c->cells, 0, sizeof(c->cells));
    c->used = 0;
}

enum tr_rc counts_sum(struct counts *c, int32_t project, struct tr_range range,
                      struct tr_counts *ret, struct tr_err *err)
{
    bool row;

    *ret = (struct tr_counts){ 0 };
    if (tr_range_empty(range))
        return TR_OK;
    (void)sqlite3_bind_int64(c->sum, 1, project);
    (void)sqlite3_bind_int64(c->sum, 2, counts_minute(range.lo));
    (void)sqlite3_bind_int64(c->sum, 3, counts_minute(range.hi - 1));
    if (store_sql_row(c->sum, &row, err) != TR_OK)
        return tr_wrap(err, "sum counts");
    if (row) {
        ret->stored = (uint64_t)sqlite3_column_int64(c->sum, 0);
        ret->duplicates = (uint64_t)sqlite3_column_int64(c->sum, 1);
        ret->conflicts = (uint64_t)sqlite3_column_int64(c->sum, 2);
        ret->refused = (uint64_t)sqlite3_column_int64(c->sum, 3);
    }
    (void)sqlite3_reset(c->sum);
    return TR_OK;
}
