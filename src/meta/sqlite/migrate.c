/* The tables. Numbers that stand for enum values are a format on disk. */
#include "meta/sqlite/sqlite_priv.h"

_Static_assert(TR_RUN_STARTING == 0 && TR_RUN_RUNNING == 1 && TR_RUN_RETRYING == 2 &&
                   TR_RUN_COMPLETED == 3 && TR_RUN_FAILED == 4 && TR_RUN_CANCELLED == 5,
               "run states are a format on disk");
_Static_assert(TR_CHUNK_PLANNED == 0 && TR_CHUNK_SENT == 1 && TR_CHUNK_DELIVERED == 2,
               "chunk states are a format on disk");
_Static_assert(TR_SKIP_DELIVERED == 0 && TR_REPLACE_DELIVERED == 1 && TR_APPEND_DELIVERED == 2,
               "on_delivered is a format on disk");

#define ACCOUNT_COLUMNS                                                                            \
    "stored INTEGER NOT NULL DEFAULT 0, elsewhere INTEGER NOT NULL DEFAULT 0,"                     \
    "selected INTEGER NOT NULL DEFAULT 0, excluded INTEGER NOT NULL DEFAULT 0,"                    \
    "delivered INTEGER NOT NULL DEFAULT 0, already_there INTEGER NOT NULL DEFAULT 0,"              \
    "rejected INTEGER NOT NULL DEFAULT 0, repaired INTEGER NOT NULL DEFAULT 0,"                    \
    "bytes INTEGER NOT NULL DEFAULT 0"

/* schema_1[] leads from schema number 0 to 1, and so on. Never edit one that was released: add the
 * next. */
static const char *const schema_1[] = {
    "CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), installation BLOB NOT NULL,"
    " organization BLOB NOT NULL) STRICT",
    "CREATE TABLE token (sha256 BLOB PRIMARY KEY, label TEXT NOT NULL, created_at INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE project (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " capture_token TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL) STRICT",
    /* cursor NULL: no scheduled run yet */
    "CREATE TABLE export (id BLOB PRIMARY KEY NOT NULL, project INTEGER NOT NULL REFERENCES "
    "project(id),"
    " paused INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0, target INTEGER NOT NULL,"
    " target_text TEXT NOT NULL, version INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL, last_paused_at INTEGER NOT NULL, cursor INTEGER,"
    " body TEXT NOT NULL, sealed BLOB NOT NULL) STRICT",
    "CREATE TABLE backfill (id BLOB PRIMARY KEY NOT NULL,"
    " export_id BLOB NOT NULL REFERENCES export(id), project INTEGER NOT NULL,"
    " lo INTEGER NOT NULL, hi INTEGER NOT NULL, on_delivered INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, parallel INTEGER NOT NULL, cursor INTEGER NOT NULL,"
    " state INTEGER NOT NULL, rows_total INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL, started_at INTEGER NOT NULL DEFAULT 0,"
    " finished_at INTEGER NOT NULL DEFAULT 0) STRICT",
    "CREATE INDEX backfill_of_export ON backfill(export_id, created_at)",
    "CREATE INDEX backfill_open ON backfill(state) WHERE state <= 2",
    /* due: when a worker may take it; NULL once it has ended */
    "CREATE TABLE run (id BLOB PRIMARY KEY NOT NULL, export_id BLOB NOT NULL REFERENCES export(id),"
    " backfill_id BLOB REFERENCES backfill(id), project INTEGER NOT NULL,"
    " lo INTEGER NOT NULL, hi INTEGER NOT NULL, state INTEGER NOT NULL, on_delivered INTEGER NOT "
    "NULL,"
    " generation INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,"
    " fence INTEGER NOT NULL DEFAULT 0, cancel_asked INTEGER NOT NULL DEFAULT 0,"
    " created_at INTEGER NOT NULL, started_at INTEGER NOT NULL DEFAULT 0,"
    " finished_at INTEGER NOT NULL DEFAULT 0, next_attempt_at INTEGER NOT NULL DEFAULT 0,"
    " lease_until INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL, due INTEGER,"
    " worker TEXT NOT NULL DEFAULT '', error_rc INTEGER NOT NULL DEFAULT 0,"
    " error_id TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',"
    " error_hint TEXT NOT NULL DEFAULT ''," ACCOUNT_COLUMNS ") STRICT",
    "CREATE INDEX run_by_creation ON run(export_id, created_at, id)",
    "CREATE INDEX run_by_interval ON run(export_id, lo, id)",
    "CREATE INDEX run_of_backfill ON run(backfill_id) WHERE backfill_id IS NOT NULL",
    /* holds all that choosing a run looks at */
    "CREATE INDEX run_due ON run(due, lo, id, export_id, backfill_id) WHERE due IS NOT NULL",
    "CREATE INDEX run_running ON run(export_id) WHERE state = 1",
    /* published: its range stands in delivered */
    "CREATE TABLE chunk (run_id BLOB NOT NULL REFERENCES run(id), n INTEGER NOT NULL,"
    " export_id BLOB NOT NULL, target INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,"
    " state INTEGER NOT NULL, was_sent INTEGER NOT NULL DEFAULT 0,"
    " published INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL," ACCOUNT_COLUMNS ","
    " PRIMARY KEY (run_id, n)) STRICT, WITHOUT ROWID",
    "CREATE INDEX chunk_open ON chunk(export_id, target, lo) WHERE published = 0",
    /* parts that others held when a run planned around them */
    "CREATE TABLE held (run_id BLOB NOT NULL REFERENCES run(id), export_id BLOB NOT NULL,"
    " target INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,"
    " PRIMARY KEY (run_id, target, lo, hi)) STRICT, WITHOUT ROWID",
    "CREATE INDEX held_by_range ON held(export_id, target, lo)",
    /* Within a generation ranges do not meet. chunk_lo, chunk_hi: the bounds in the key they were
     * delivered under, which a later replacement may have cut. */
    "CREATE TABLE delivered (export_id BLOB NOT NULL, target INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL, run_id BLOB NOT NULL,"
    " chunk_lo INTEGER NOT NULL, chunk_hi INTEGER NOT NULL, is_empty INTEGER NOT NULL,"
    " PRIMARY KEY (export_id, target, generation, lo), CHECK (lo < hi)) STRICT, WITHOUT ROWID",
    /* n counts the lines of an export, so that the oldest ones can go */
    "CREATE TABLE log (export_id BLOB NOT NULL, n INTEGER NOT NULL, run_id BLOB, at INTEGER NOT "
    "NULL,"
    " level TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (export_id, n)) STRICT, WITHOUT ROWID",
    "CREATE INDEX log_of_run ON log(run_id, n) WHERE run_id IS NOT NULL",
    "CREATE TABLE reject (run_id BLOB NOT NULL REFERENCES run(id), chunk INTEGER NOT NULL,"
    " inserted_at INTEGER NOT NULL, uuid BLOB NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY (run_id, chunk, inserted_at, uuid)) STRICT, WITHOUT ROWID",
    NULL,
};

/* real time */
static const char *const schema_2[] = {
    "ALTER TABLE run ADD COLUMN is_live INTEGER NOT NULL DEFAULT 0",
    "DROP INDEX run_due",
    "CREATE INDEX run_due ON run(due, lo, id, export_id, backfill_id, is_live)"
    " WHERE due IS NOT NULL",
    NULL,
};

/* An export whose last attempt did not end well takes no place from the others (engine/local). Open
 * runs are found by their export without passing over those that have ended. */
static const char *const schema_3[] = {
    "ALTER TABLE export ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 1",
    "CREATE INDEX run_open ON run(export_id, is_live, lo, id) WHERE due IS NOT NULL",
    NULL,
};

/* Old runs are folded into days; their chunks outlive them, so they point to no run any more. What
 * is asked for all the time has indexes of its own. */
#define CHUNK_COLUMNS                                                                              \
    "run_id, n, export_id, target, lo, hi, state, was_sent, published, rows, stored, elsewhere, "  \
    "selected, excluded, delivered, already_there, rejected, repaired, bytes"
static const char *const schema_4[] = {
    "CREATE TABLE new_chunk (run_id BLOB NOT NULL, n INTEGER NOT NULL,"
    " export_id BLOB NOT NULL, target INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,"
    " state INTEGER NOT NULL, was_sent INTEGER NOT NULL DEFAULT 0,"
    " published INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL," ACCOUNT_COLUMNS ","
    " PRIMARY KEY (run_id, n)) STRICT, WITHOUT ROWID",
    "INSERT INTO new_chunk (" CHUNK_COLUMNS ") SELECT " CHUNK_COLUMNS " FROM chunk",
    "DROP TABLE chunk",
    "ALTER TABLE new_chunk RENAME TO chunk",
    "CREATE INDEX chunk_open ON chunk(export_id, target, lo) WHERE published = 0",
    "CREATE TABLE run_day (export_id BLOB NOT NULL REFERENCES export(id), day INTEGER NOT NULL,"
    " runs INTEGER NOT NULL," ACCOUNT_COLUMNS ", PRIMARY KEY (export_id, day)) STRICT,"
    " WITHOUT ROWID",
    "CREATE INDEX run_bad ON run(export_id, lo, id) WHERE state IN (4, 5)",
    "CREATE INDEX run_quiet ON run(finished_at)"
    " WHERE state = 3 AND backfill_id IS NULL AND stored = 0",
    "CREATE INDEX run_done ON run(finished_at)"
    " WHERE state = 3 AND backfill_id IS NULL AND stored <> 0",
    NULL,
};

/* Restored backups: epoch of a delivered range is the n of epoch, 0 the store's own. */
static const char *const schema_5[] = {
    "CREATE TABLE epoch (n INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,"
    " began_at INTEGER NOT NULL) STRICT",
    "ALTER TABLE delivered ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
    NULL,
};

/* Where the intervals of an export began. */
static const char *const schema_6[] = {
    "ALTER TABLE export ADD COLUMN began INTEGER",
    "UPDATE export SET began = coalesce((SELECT min(r.lo) FROM run r WHERE r.export_id = export.id"
    " AND r.backfill_id IS NULL), cursor)",
    NULL,
};

static const char *const *const migrations[] = { schema_1, schema_2, schema_3,
                                                 schema_4, schema_5, schema_6 };

enum {
    NEWEST = sizeof(migrations) / sizeof(migrations[0]),
    APPLICATION_ID = 0x54524d44, /* "TRMD" */
};

static enum tr_rc pragma(struct meta *m, const char *text, int64_t *ret, struct tr_err *err)
{
    TR_CLEANUP(sql_close) struct sql q = sql_open_once(m, text);
    bool row = false;
    enum tr_rc rc = sql_next(&q, &row, err);

    *ret = rc == TR_OK && row ? sql_get_int(&q) : 0;
    return rc;
}

static enum tr_rc step(struct meta *m, int64_t from, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    char numbers[128];

    enum tr_rc rc = tx_write(&tx, &m->base, err);
    for (const char *const *text = migrations[from]; rc == TR_OK && *text != NULL; text++)
        rc = sql_exec(m, *text, err);
    (void)snprintf(numbers, sizeof(numbers), "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   APPLICATION_ID, (int)from + 1);
    if (rc == TR_OK)
        rc = sql_exec(m, numbers, err);
    return tx_commit(&tx, rc, err);
}

enum tr_rc meta_check(struct meta *m, int64_t *ret_version, struct tr_err *err)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t tables = 0;

    enum tr_rc rc = pragma(m, "PRAGMA application_id", &application, err);
    if (rc == TR_OK)
        rc = pragma(m, "PRAGMA user_version", &version, err);
    if (rc == TR_OK)
        rc = pragma(m, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (rc != TR_OK)
        return rc;
    if (application != APPLICATION_ID && (application != 0 || tables != 0))
        return tr_fail(err, TR_REFUSED, "meta.not_ours", "choose another data folder",
                       "the file is an SQLite database of another program");
    if (version > NEWEST)
        return tr_fail(err, TR_REFUSED, "meta.newer",
                       "start the version of tailrace that wrote it, or a newer one",
                       "the metadata has schema %d, this program knows up to %d", (int)version,
                       (int)NEWEST);
    *ret_version = version;
    return TR_OK;
}

enum tr_rc meta_migrate(struct meta *m, int64_t version, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    while (rc == TR_OK && version < NEWEST)
        rc = step(m, version++, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "migrate to schema %d", (int)version);
}
