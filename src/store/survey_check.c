/* Every block, and every count against what blocks and journal hold. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/event.h"
#include "os/file.h"
#include "store/survey.h"

/* The recount is kept in a temporary database, so that its size does not matter. */
struct check {
    struct survey *v;
    sqlite3 *db;
    sqlite3_stmt *add;
    int32_t project;
    int64_t minute;
    int64_t n; /* of that project and minute, not in the database yet */
};

static enum tr_rc flush(struct check *c, struct tr_err *err)
{
    if (c->n == 0)
        return TR_OK;
    (void)sqlite3_bind_int64(c->add, 1, c->project);
    (void)sqlite3_bind_int64(c->add, 2, c->minute);
    (void)sqlite3_bind_int64(c->add, 3, c->n);
    c->n = 0;
    return store_sql_run(c->add, err);
}

static enum tr_rc count(struct check *c, const struct tr_event *e, struct tr_err *err)
{
    int64_t minute = counts_minute(e->inserted_at);

    if (c->n > 0 && (c->project != e->project || c->minute != minute) && flush(c, err) != TR_OK)
        return err->rc;
    c->project = e->project;
    c->minute = minute;
    c->n++;
    return TR_OK;
}

static enum tr_rc count_rows(struct check *c, const char *p, size_t n, struct tr_err *err)
{
    for (size_t at = 0; at < n;) {
        struct tr_event e;
        at += tr_event_unpack(p + at, n - at, &e);
        if (count(c, &e, err) != TR_OK)
            return err->rc;
    }
    return TR_OK;
}

/* A record's counters must say what its events are. */
static void check_counters(struct check *c, const struct record_head *h)
{
    const struct record_counter *counters = (const void *)(h + 1);
    uint64_t stored = 0;

    for (uint32_t i = 0; i < h->counters; i++)
        stored += counters[i].stored;
    if (stored != record_stored(h))
        survey_problem(&c->v->problems, "journal", 0,
                       "record %" PRIu64 " counts %" PRIu64 " events and holds %u", h->seq, stored,
                       h->events);
    if (counts_minute(h->first_stamp) != counts_minute(h->last_stamp) && h->type == RECORD_GROUP)
        survey_problem(&c->v->problems, "journal", 0, "record %" PRIu64 " spans two minutes",
                       h->seq);
}

static enum tr_rc on_record(void *ctx, const struct record_head *h, const char *events,
                            struct tr_err *err)
{
    struct check *c = ctx;

    check_counters(c, h);
    if (h->type != RECORD_GROUP || h->seq <= c->v->blocks.sealed_seq || h->seq > c->v->applied_seq)
        return TR_OK;
    if (h->events > 0 && !asof_has(&c->v->asof, h->seq))
        survey_problem(&c->v->problems, "asof", 0,
                       "who the events of record %" PRIu64 " belonged to is not there", h->seq);
    return count_rows(c, events, h->events_bytes, err);
}

struct last {
    int32_t project;
    int64_t hi;
    uint64_t events, blocks;
};

static enum tr_rc check_block(struct check *c, sqlite3_stmt *q, ZSTD_DCtx *z, struct tr_buf *rows,
                              struct last *last, struct tr_err *err)
{
    struct block_row b;
    struct block_layout layout;
    struct tr_err why;

    blocks_row(q, &b);
    struct tr_str data = { sqlite3_column_blob(q, 8), (size_t)sqlite3_column_bytes(q, 8) };
    if (last->blocks > 0 && b.project == last->project && b.lo <= last->hi)
        survey_problem(&c->v->problems, "blocks.db", (uint64_t)b.id,
                       "a block of project %" PRId32 " overlaps the one before", b.project);
    if (b.hi >= c->v->blocks.sealed_through)
        survey_problem(&c->v->problems, "blocks.db", (uint64_t)b.id,
                       "a block of project %" PRId32 " is newer than what was sealed", b.project);
    last->project = b.project;
    last->hi = b.hi;
    last->events += b.n;
    last->blocks++;
    if (block_unpack(z, &b, data, rows, &layout, &why) != TR_OK) {
        survey_problem(&c->v->problems, "blocks.db", (uint64_t)b.id, "%s", why.cause);
        return TR_OK;
    }
    return count_rows(c, rows->p, layout.events_bytes, err);
}

static enum tr_rc walk_blocks(struct check *c, sqlite3 *db, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    ZSTD_DCtx *z = ZSTD_createDCtx();
    struct tr_buf rows;
    struct last last = { 0 };
    bool row = true;
    enum tr_rc rc = z == NULL ? tr_fail_oom(err) : TR_OK;

    tr_buf_init(&rows, BLOCK_MOST + 1);
    if (rc == TR_OK)
        rc = store_sql_prepare(db, "SELECT " BLOCKS_ROW ", data FROM blocks ORDER BY project, hi",
                               &q, err);
    while (rc == TR_OK) {
        rc = store_sql_row(q, &row, err);
        if (rc != TR_OK || !row)
            break;
        rc = check_block(c, q, z, &rows, &last, err);
    }
    (void)sqlite3_finalize(q);
    (void)ZSTD_freeDCtx(z);
    tr_buf_fini(&rows);
    if (rc == TR_OK && (last.events != c->v->blocks.events || last.blocks != c->v->blocks.blocks))
        survey_problem(&c->v->problems, "blocks.db", 0,
                       "%" PRIu64 " events in %" PRIu64 " blocks, but %" PRIu64 " in %" PRIu64
                       " were sealed",
                       last.events, last.blocks, c->v->blocks.events, c->v->blocks.blocks);
    return rc;
}

static enum tr_rc open_recount(struct check *c, struct tr_err *err)
{
    sqlite3_stmt *attach = NULL;
    char path[STORE_PATH];

    /* An empty name is a temporary file of SQLite's. */
    if (store_sql_open("", true, &c->db, err) != TR_OK ||
        store_sql_exec(c->db,
                       "CREATE TABLE recount(project INTEGER NOT NULL, minute INTEGER NOT NULL,"
                       " n INTEGER NOT NULL, PRIMARY KEY(project, minute)) WITHOUT ROWID",
                       err) != TR_OK ||
        store_sql_prepare(c->db,
                          "INSERT INTO recount VALUES(?,?,?)"
                          " ON CONFLICT DO UPDATE SET n = n + excluded.n",
                          &c->add, err) != TR_OK ||
        store_sql_prepare(c->db, "ATTACH ? AS state", &attach, err) != TR_OK)
        return err->rc;
    (void)snprintf(path, sizeof(path), "%s/state.db", c->v->dir);
    (void)sqlite3_bind_text(attach, 1, path, -1, SQLITE_STATIC);
    enum tr_rc rc = store_sql_run(attach, err);
    (void)sqlite3_finalize(attach);
    return rc;
}

#define DIFFERENCES                                                                                \
    "SELECT c.project, c.minute, c.stored, coalesce(r.n, 0) FROM state.counts c"                   \
    " LEFT JOIN recount r USING(project, minute)"                                                  \
    " WHERE c.stored <> coalesce(r.n, 0) AND c.minute >= ?1 "                                      \
    "UNION ALL SELECT r.project, r.minute, 0, r.n FROM recount r"                                  \
    " LEFT JOIN state.counts c USING(project, minute) WHERE c.stored IS NULL AND r.minute >= ?1"

static enum tr_rc compare(struct check *c, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    bool row = true;
    int64_t floor = c->v->blocks.floor;
    enum tr_rc rc = flush(c, err);

    if (rc == TR_OK)
        rc = store_sql_prepare(c->db, DIFFERENCES, &q, err);
    if (rc == TR_OK)
        (void)sqlite3_bind_int64(q, 1, floor == 0 ? INT64_MIN : counts_minute(floor - 1) + 1);
    while (rc == TR_OK) {
        rc = store_sql_row(q, &row, err);
        if (rc != TR_OK || !row)
            break;
        survey_problem(&c->v->problems, "state.db", 0,
                       "project %lld, minute %lld: %lld stored, but %lld are there",
                       (long long)sqlite3_column_int64(q, 0), (long long)sqlite3_column_int64(q, 1),
                       (long long)sqlite3_column_int64(q, 2),
                       (long long)sqlite3_column_int64(q, 3));
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static enum tr_rc check_blocks(struct check *c, struct tr_err *err)
{
    char path[STORE_PATH];
    sqlite3 *db = NULL;

    (void)snprintf(path, sizeof(path), "%s/blocks.db", c->v->dir);
    enum tr_rc rc = store_sql_open(path, false, &db, err);
    if (rc == TR_OK)
        rc = walk_blocks(c, db, err);
    (void)sqlite3_close(db);
    if (rc == TR_REFUSED) { /* the database itself is damaged */
        survey_problem(&c->v->problems, "blocks.db", 0, "%s", err->cause);
        return TR_OK;
    }
    return rc;
}

/* A folder that is not there has no lists: the records will say so. */
static enum tr_rc open_asof(struct survey *v, struct tr_err *err)
{
    char path[STORE_PATH];

    (void)snprintf(path, sizeof(path), "%s/asof", v->dir);
    if (access(path, F_OK) != 0)
        return TR_OK;
    return asof_look(&v->asof, path, v->applied_seq, err);
}

enum tr_rc survey_check(struct survey *v, struct tr_err *err)
{
    struct check c = { .v = v };
    struct journal_visitor visitor = { on_record, &c };
    enum tr_rc rc = open_recount(&c, err);

    if (rc == TR_OK)
        rc = open_asof(v, err);
    if (rc == TR_OK)
        rc = store_sql_exec(c.db, "BEGIN", err);
    if (rc == TR_OK)
        rc = check_blocks(&c, err);
    if (rc == TR_OK)
        rc = survey_journal(v->dir, &v->id, &visitor, &v->problems, &v->journal, err);
    if (rc == TR_OK)
        rc = compare(&c, err);
    (void)sqlite3_finalize(c.add);
    (void)sqlite3_close(c.db);
    asof_close(&v->asof);
    return rc;
}
