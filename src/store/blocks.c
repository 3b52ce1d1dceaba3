#include "store/blocks.h"

#include <stdlib.h>
#include <string.h>

#include "os/kill.h"

#define SETTINGS                                                                                   \
    "PRAGMA page_size = 32768; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"              \
    "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -2048;"                                    \
    "PRAGMA journal_size_limit = 67108864"

/* The index holds all of a row but its data: planning reads nothing else. */
#define MAKE                                                                                       \
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"               \
    "CREATE TABLE blocks(id INTEGER PRIMARY KEY, project INTEGER NOT NULL, n INTEGER NOT NULL,"    \
    " lo INTEGER NOT NULL, hi INTEGER NOT NULL, raw_bytes INTEGER NOT NULL,"                       \
    " crc INTEGER NOT NULL, data BLOB NOT NULL);"                                                  \
    "CREATE UNIQUE INDEX blocks_at ON blocks(project, hi, lo, n, raw_bytes, crc);"

/* The bytes of events alone, by which chunks are planned. */
#define EVENTS_BYTES                                                                               \
    "ALTER TABLE blocks ADD COLUMN events_bytes INTEGER NOT NULL DEFAULT 0;"                       \
    "UPDATE blocks SET events_bytes = raw_bytes; DROP INDEX blocks_at;"                            \
    "CREATE UNIQUE INDEX blocks_at ON blocks(project, hi, lo, n, raw_bytes, crc, events_bytes);"

static const char *const steps[] = { MAKE, EVENTS_BYTES };

static enum tr_rc meta_get(sqlite3 *db, const char *key, int64_t *ret, struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum tr_rc rc = store_sql_prepare(db, "SELECT value FROM meta WHERE key = ?", &q, err);

    *ret = 0;
    if (rc == TR_OK) {
        (void)sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
        rc = store_sql_row(q, &row, err);
    }
    if (rc == TR_OK && row)
        *ret = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    return rc;
}

enum tr_rc blocks_read_totals(sqlite3 *db, struct blocks_totals *ret, struct tr_err *err)
{
    static const char *const keys[] = { "sealed_seq", "sealed_through", "floor",
                                        "events",     "blocks",         "bytes" };
    int64_t v[6];

    for (size_t i = 0; i < 6; i++)
        if (meta_get(db, keys[i], &v[i], err) != TR_OK)
            return err->rc;
    *ret = (struct blocks_totals){ (uint64_t)v[0], v[1],           v[2],
                                   (uint64_t)v[3], (uint64_t)v[4], (uint64_t)v[5] };
    return TR_OK;
}

static enum tr_rc meta_set(struct blocks *b, const char *key, int64_t value, struct tr_err *err)
{
    (void)sqlite3_bind_text(b->set, 1, key, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(b->set, 2, value);
    return store_sql_run(b->set, err);
}

static enum tr_rc check_epoch(struct blocks *b, uint32_t epoch, struct tr_err *err)
{
    int64_t is;

    if (meta_get(b->db, "epoch", &is, err) != TR_OK)
        return err->rc;
    if (is == 0)
        return meta_set(b, "epoch", epoch, err);
    if (is != epoch)
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "the data folder was put together from two; restore one of them",
                       "it belongs to store epoch %lld, the folder to %u", (long long)is, epoch);
    return TR_OK;
}

static enum tr_rc open_writer(struct blocks *b, uint32_t epoch, struct tr_err *err)
{
    if (store_sql_open(b->path, true, &b->db, err) != TR_OK ||
        store_sql_exec(b->db, SETTINGS, err) != TR_OK ||
        store_sql_schema(b->db, "blocks.db", steps, 2, err) != TR_OK ||
        store_sql_prepare(
            b->db,
            "INSERT INTO blocks(project, n, lo, hi, raw_bytes, crc, data, events_bytes)"
            " VALUES(?,?,?,?,?,?,?,?)",
            &b->insert, err) != TR_OK ||
        store_sql_prepare(b->db, "REPLACE INTO meta VALUES(?, ?)", &b->set, err) != TR_OK ||
        check_epoch(b, epoch, err) != TR_OK)
        return err->rc;
    return blocks_read_totals(b->db, &b->totals, err);
}

enum tr_rc blocks_open(struct blocks *b, const char *path, uint32_t epoch, struct tr_err *err)
{
    *b = (struct blocks){ 0 };
    (void)pthread_mutex_init(&b->pool_lock, NULL);
    tr_buf_init(&b->packed, ZSTD_compressBound(BLOCK_MOST) + 64);
    b->path = strdup(path);
    b->zstd = ZSTD_createCCtx();
    enum tr_rc rc =
        b->path == NULL || b->zstd == NULL ? tr_fail_oom(err) : open_writer(b, epoch, err);
    if (rc != TR_OK) {
        blocks_close(b);
        return tr_wrap(err, "blocks.db");
    }
    return TR_OK;
}

void blocks_close(struct blocks *b)
{
    blocks_close_readers(b);
    (void)sqlite3_finalize(b->insert);
    (void)sqlite3_finalize(b->set);
    (void)sqlite3_close(b->db);
    (void)ZSTD_freeCCtx(b->zstd);
    tr_buf_fini(&b->packed);
    free(b->path);
    (void)pthread_mutex_destroy(&b->pool_lock);
    *b = (struct blocks){ 0 };
}

enum tr_rc blocks_begin(struct blocks *b, struct tr_err *err)
{
    b->next = b->totals;
    return store_sql_exec(b->db, "BEGIN IMMEDIATE", err);
}

enum tr_rc blocks_add(struct blocks *b, struct tr_str raw, const struct block_layout *layout,
                      struct block_row *row, struct tr_err *err)
{
    if (block_pack(b->zstd, raw, layout, row, &b->packed, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(b->insert, 1, row->project);
    (void)sqlite3_bind_int64(b->insert, 2, row->n);
    (void)sqlite3_bind_int64(b->insert, 3, row->lo);
    (void)sqlite3_bind_int64(b->insert, 4, row->hi);
    (void)sqlite3_bind_int64(b->insert, 5, (int64_t)row->raw_bytes);
    (void)sqlite3_bind_int64(b->insert, 6, row->crc);
    (void)sqlite3_bind_blob64(b->insert, 7, b->packed.p, b->packed.n, SQLITE_STATIC);
    (void)sqlite3_bind_int64(b->insert, 8, (int64_t)layout->events_bytes);
    if (store_sql_run(b->insert, err) != TR_OK)
        return err->rc;
    b->next.events += row->n;
    b->next.blocks++;
    b->next.bytes += b->packed.n;
    return TR_OK;
}

void blocks_abort(struct blocks *b)
{
    if (sqlite3_get_autocommit(b->db) == 0)
        (void)sqlite3_exec(b->db, "ROLLBACK", NULL, NULL, NULL);
}

enum tr_rc blocks_commit(struct blocks *b, uint64_t sealed_seq, int64_t sealed_through,
                         struct tr_err *err)
{
    b->next.sealed_seq = sealed_seq;
    b->next.sealed_through = sealed_through;
    if (meta_set(b, "sealed_seq", (int64_t)sealed_seq, err) != TR_OK ||
        meta_set(b, "sealed_through", sealed_through, err) != TR_OK ||
        meta_set(b, "events", (int64_t)b->next.events, err) != TR_OK ||
        meta_set(b, "blocks", (int64_t)b->next.blocks, err) != TR_OK ||
        meta_set(b, "bytes", (int64_t)b->next.bytes, err) != TR_OK) {
        blocks_abort(b);
        return err->rc;
    }
    TR_KILL_POINT("seal.before_commit");
    if (store_sql_exec(b->db, "COMMIT", err) != TR_OK) {
        blocks_abort(b);
        return err->rc;
    }
    b->totals = b->next;
    return TR_OK;
}

enum tr_rc blocks_checkpoint(struct blocks *b, struct tr_err *err)
{
    int code = sqlite3_wal_checkpoint_v2(b->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    return code == SQLITE_OK || code == SQLITE_BUSY ? TR_OK : store_sql_fail(b->db, err);
}
