#include <inttypes.h>
#include <stdlib.h>

#include "store/rows_priv.h"
#include "store/state_priv.h"

enum { TEXTS_MAX = 1 << 30, NAMES_MAX = 1 << 16, LAST_MAX = 1 << 20 };

static const struct rows_model *const models[TR_MODELS] = {
    [TR_MODEL_PERSONS] = &rows_persons,
    [TR_MODEL_SESSIONS] = &rows_sessions,
    [TR_MODEL_GROUPS] = &rows_groups,
};

struct tr_str rows_text(struct tr_store_rows *r, sqlite3_stmt *q, int i)
{
    struct tr_str s = state_column_text(q, i);

    r->texts_bytes += s.n;
    return tr_arena_str(&r->texts, s);
}

static enum tr_rc find_model(const struct tr_schema *schema, const struct rows_model **ret,
                             struct tr_err *err)
{
    *ret = models[schema->model];
    if (*ret != NULL)
        return TR_OK;
    return tr_fail(err, TR_INVALID, "store.no_such_model", NULL, "the store has no model %s",
                   schema->name);
}

/* Everything in the range has happened, and is where a connection of its own sees it. */
static enum tr_rc make_visible(struct tr_store *s, struct tr_range range, struct tr_err *err)
{
    int64_t closed = tr_store_closed_through(s);

    if (range.hi > closed && !tr_range_empty(range))
        return tr_fail(err, TR_INVALID, "store.not_closed", NULL,
                       "the range ends at %" PRId64 ", but the clock is closed through %" PRId64,
                       range.hi, closed);
    return derived_commit_through(&s->derived, range.hi, err);
}

static enum tr_rc open_db(struct tr_store *s, sqlite3 **ret, struct tr_err *err)
{
    if (store_sql_open(s->derived.path, false, ret, err) != TR_OK)
        return err == NULL ? TR_INTERNAL : err->rc;
    return store_sql_exec(*ret, "PRAGMA cache_size = -2048", err);
}

/* ---- reading ---- */

static enum tr_rc copy_types(struct state *state, void *arg, struct tr_err *err)
{
    struct tr_store_rows *r = arg;

    return state_copy_types(state, r->project, &r->names, &r->types, err);
}

static enum tr_rc open_rows(struct tr_store *s, struct tr_store_rows *r,
                            const struct tr_schema *schema, struct tr_err *err)
{
    r->arrays = tr_batch_arrays(&r->batch, schema, r->columns);
    if (r->arrays == NULL)
        return tr_fail_oom(err);
    enum tr_rc rc = make_visible(s, r->range, err);
    if (rc == TR_OK && schema->model == TR_MODEL_GROUPS)
        rc = derived_use(&s->derived, copy_types, r, err);
    if (rc == TR_OK)
        rc = open_db(s, &r->db, err);
    for (size_t i = 0; rc == TR_OK && r->model->sql[i] != NULL; i++)
        rc = store_sql_prepare(r->db, r->model->sql[i], &r->q[i], err);
    return rc;
}

enum tr_rc tr_store_rows_read(struct tr_store *s, const struct tr_schema *schema, int32_t project,
                              struct tr_range range, tr_column_mask columns,
                              struct tr_store_rows **ret, struct tr_err *err)
{
    const struct rows_model *model;

    if (find_model(schema, &model, err) != TR_OK)
        return TR_INVALID;
    struct tr_store_rows *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return tr_fail_oom(err);
    r->model = model;
    r->project = project;
    r->range = range;
    r->changed = range.lo;
    r->columns = columns;
    r->row = INT64_MIN;
    tr_arena_init(&r->texts, TEXTS_MAX);
    tr_arena_init(&r->names, NAMES_MAX);
    tr_buf_init(&r->last, LAST_MAX);
    enum tr_rc rc = open_rows(s, r, schema, err);
    if (rc != TR_OK) {
        tr_store_rows_close(r);
        return tr_wrap(err, "read %s of project %d", schema->name, (int)project);
    }
    *ret = r;
    return TR_OK;
}

void tr_store_rows_close(struct tr_store_rows *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < sizeof(r->q) / sizeof(r->q[0]); i++)
        (void)sqlite3_finalize(r->q[i]);
    (void)sqlite3_close(r->db);
    tr_arena_fini(&r->texts);
    tr_arena_fini(&r->names);
    tr_buf_fini(&r->last);
    free(r->arrays);
    free(r);
}

enum tr_rc tr_store_rows_next(struct tr_store_rows *r, struct tr_batch **ret, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    r->batch.rows = 0;
    while (rc == TR_OK && r->batch.rows == 0 && !r->done) {
        tr_arena_reset(&r->texts);
        r->texts_bytes = 0;
        /* One look at the database, however many statements it takes. */
        rc = store_sql_exec(r->db, "BEGIN", err);
        if (rc == TR_OK)
            rc = r->model->fill(r, err);
        for (size_t i = 0; i < sizeof(r->q) / sizeof(r->q[0]); i++)
            (void)sqlite3_reset(r->q[i]);
        if (sqlite3_get_autocommit(r->db) == 0)
            (void)sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
    }
    if (rc != TR_OK)
        return tr_wrap(err, "read %s of project %d", r->batch.schema->name, (int)r->project);
    *ret = r->batch.rows == 0 ? NULL : &r->batch;
    return TR_OK;
}

/* ---- planning ---- */

struct planning {
    struct tr_part *parts;
    size_t n, cap;
    bool full;
};

/* Rows of one instant belong to one part. */
static void add(struct planning *p, struct tr_range range, int64_t at, uint64_t rows,
                uint64_t max_rows)
{
    struct tr_part *part = &p->parts[p->n - 1];

    if (part->rows > 0 && part->rows + rows > max_rows) {
        part->range.hi = at;
        if (p->n == p->cap) {
            p->full = true;
            return;
        }
        part = &p->parts[p->n++];
        *part = (struct tr_part){ .range = { at, range.hi } };
    }
    part->rows += rows;
}

static void bind(sqlite3_stmt *q, int32_t project, struct tr_range range)
{
    (void)sqlite3_bind_int64(q, 1, project);
    (void)sqlite3_bind_int64(q, 2, range.lo);
    (void)sqlite3_bind_int64(q, 3, range.hi);
}

static enum tr_rc plan_main(sqlite3 *db, const struct rows_model *model, int32_t project,
                            struct tr_range range, uint64_t max_rows, struct planning *p,
                            struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    bool more = true;
    enum tr_rc rc = store_sql_prepare(db, model->plan, &q, err);

    if (rc == TR_OK)
        bind(q, project, range);
    while (rc == TR_OK && more && !p->full) {
        rc = store_sql_row(q, &more, err);
        if (rc == TR_OK && more)
            add(p, range, sqlite3_column_int64(q, 0), (uint64_t)sqlite3_column_int64(q, 1),
                max_rows);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum tr_rc plan_more(sqlite3 *db, const struct rows_model *model, int32_t project,
                            struct planning *p, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    bool row;
    enum tr_rc rc = store_sql_prepare(db, model->plan_more, &q, err);

    for (size_t i = 0; i < p->n && rc == TR_OK; i++) {
        bind(q, project, p->parts[i].range);
        rc = store_sql_row(q, &row, err);
        if (rc == TR_OK && row)
            p->parts[i].rows += (uint64_t)sqlite3_column_int64(q, 0);
        (void)sqlite3_reset(q);
    }
    (void)sqlite3_finalize(q);
    return rc;
}

enum tr_rc tr_store_rows_plan(struct tr_store *s, const struct tr_schema *schema, int32_t project,
                              struct tr_range range, uint64_t max_rows, struct tr_part *ret,
                              size_t cap, size_t *ret_n, int64_t *ret_covered_hi,
                              struct tr_err *err)
{
    const struct rows_model *model;
    struct planning p = { .parts = ret, .n = 1, .cap = cap };
    sqlite3 *db = NULL;

    if (find_model(schema, &model, err) != TR_OK)
        return TR_INVALID;
    if (cap == 0)
        return tr_fail(err, TR_INVALID, "store.no_room", NULL, "a plan without room for a part");
    ret[0] = (struct tr_part){ .range = range };
    enum tr_rc rc = make_visible(s, range, err);
    if (rc == TR_OK)
        rc = open_db(s, &db, err);
    if (rc == TR_OK)
        rc = store_sql_exec(db, "BEGIN", err);
    if (rc == TR_OK)
        rc = plan_main(db, model, project, range, max_rows > 0 ? max_rows : 1, &p, err);
    if (rc == TR_OK && model->plan_more != NULL)
        rc = plan_more(db, model, project, &p, err);
    (void)sqlite3_close(db);
    if (rc != TR_OK)
        return tr_wrap(err, "plan %s of project %d", schema->name, (int)project);
    *ret_n = p.n;
    *ret_covered_hi = p.parts[p.n - 1].range.hi;
    return TR_OK;
}

enum tr_rc tr_store_rows_extent(struct tr_store *s, const struct tr_schema *schema, int32_t project,
                                struct tr_range range, bool *ret_any, int64_t *ret_first,
                                int64_t *ret_last, struct tr_err *err)
{
    const struct rows_model *model;
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    bool row = false;

    if (find_model(schema, &model, err) != TR_OK)
        return TR_INVALID;
    enum tr_rc rc = make_visible(s, range, err);
    if (rc == TR_OK)
        rc = open_db(s, &db, err);
    if (rc == TR_OK)
        rc = store_sql_prepare(db, model->extent, &q, err);
    if (rc == TR_OK) {
        bind(q, project, range);
        rc = store_sql_row(q, &row, err);
    }
    *ret_any = rc == TR_OK && row && sqlite3_column_type(q, 0) != SQLITE_NULL;
    if (*ret_any) {
        *ret_first = sqlite3_column_int64(q, 0);
        *ret_last = sqlite3_column_int64(q, 1);
    }
    (void)sqlite3_finalize(q);
    (void)sqlite3_close(db);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "extent of %s", schema->name);
}
