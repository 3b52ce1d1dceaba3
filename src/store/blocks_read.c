/* Readers of blocks.db. */
#include <stdlib.h>

#include "store/blocks.h"

enum { POOL_MOST = 8 }; /* connections kept open while nobody uses them */

static enum tr_rc open_reader(const char *path, struct blocks_reader *r, struct tr_err *err)
{
    r->zstd = ZSTD_createDCtx();
    if (r->zstd == NULL)
        return tr_fail_oom(err);
    if (store_sql_open(path, false, &r->db, err) != TR_OK ||
        store_sql_exec(r->db, "PRAGMA cache_size = -1024", err) != TR_OK ||
        store_sql_prepare(r->db,
                          "SELECT " BLOCKS_ROW " FROM blocks INDEXED BY blocks_at"
                          " WHERE project = ? AND hi >= ? ORDER BY hi LIMIT 1",
                          &r->find, err) != TR_OK ||
        store_sql_prepare(r->db, "SELECT data FROM blocks WHERE id = ?", &r->data, err) != TR_OK)
        return err->rc;
    return store_sql_prepare(r->db,
                             "SELECT " BLOCKS_ROW " FROM blocks INDEXED BY blocks_at"
                             " WHERE project = ? AND hi < ? ORDER BY hi DESC LIMIT 1",
                             &r->last, err);
}

static void reader_free(struct blocks_reader *r)
{
    (void)sqlite3_finalize(r->find);
    (void)sqlite3_finalize(r->data);
    (void)sqlite3_finalize(r->last);
    (void)sqlite3_close(r->db);
    (void)ZSTD_freeDCtx(r->zstd);
    free(r);
}

enum tr_rc blocks_borrow(struct blocks *b, struct blocks_reader **ret, struct tr_err *err)
{
    (void)pthread_mutex_lock(&b->pool_lock);
    struct blocks_reader *r = b->pool;
    if (r != NULL) {
        b->pool = r->next;
        b->n_pool--;
    }
    (void)pthread_mutex_unlock(&b->pool_lock);
    if (r == NULL) {
        r = calloc(1, sizeof(*r));
        if (r == NULL)
            return tr_fail_oom(err);
        if (open_reader(b->path, r, err) != TR_OK) {
            reader_free(r);
            return tr_wrap(err, "blocks.db");
        }
    }
    *ret = r;
    return TR_OK;
}

void blocks_return(struct blocks *b, struct blocks_reader *r)
{
    if (r == NULL)
        return;
    (void)pthread_mutex_lock(&b->pool_lock);
    bool keep = b->n_pool < POOL_MOST;
    if (keep) {
        r->next = b->pool;
        b->pool = r;
        b->n_pool++;
    }
    (void)pthread_mutex_unlock(&b->pool_lock);
    if (!keep)
        reader_free(r);
}

void blocks_close_readers(struct blocks *b)
{
    while (b->pool != NULL) {
        struct blocks_reader *r = b->pool;
        b->pool = r->next;
        reader_free(r);
    }
}

void blocks_row(sqlite3_stmt *q, struct block_row *ret)
{
    *ret = (struct block_row){
        .id = sqlite3_column_int64(q, 0),
        .project = sqlite3_column_int(q, 1),
        .n = (uint32_t)sqlite3_column_int64(q, 2),
        .lo = sqlite3_column_int64(q, 3),
        .hi = sqlite3_column_int64(q, 4),
        .raw_bytes = (uint64_t)sqlite3_column_int64(q, 5),
        .crc = (uint32_t)sqlite3_column_int64(q, 6),
        .events_bytes = (uint64_t)sqlite3_column_int64(q, 7),
    };
}

static enum tr_rc one_row(sqlite3_stmt *q, bool *ret_found, struct block_row *ret,
                          struct tr_err *err)
{
    if (store_sql_row(q, ret_found, err) != TR_OK)
        return tr_wrap(err, "blocks.db");
    if (*ret_found)
        blocks_row(q, ret);
    (void)sqlite3_reset(q);
    return TR_OK;
}

enum tr_rc blocks_find(struct blocks_reader *r, int32_t project, struct tr_range range,
                       bool *ret_found, struct block_row *ret, struct tr_err *err)
{
    (void)sqlite3_bind_int64(r->find, 1, project);
    (void)sqlite3_bind_int64(r->find, 2, range.lo);
    if (one_row(r->find, ret_found, ret, err) != TR_OK)
        return err->rc;
    *ret_found = *ret_found && ret->lo < range.hi;
    return TR_OK;
}

enum tr_rc blocks_find_last(struct blocks_reader *r, int32_t project, struct tr_range range,
                            bool *ret_found, struct block_row *ret, struct tr_err *err)
{
    /* Blocks of a project do not overlap: it is the one around hi, or the last one that ends
     * before. */
    struct tr_range around = { range.hi, range.hi };
    enum tr_rc rc = blocks_find(r, project, around, ret_found, ret, err);
    if (rc != TR_OK || *ret_found)
        return rc;
    (void)sqlite3_bind_int64(r->last, 1, project);
    (void)sqlite3_bind_int64(r->last, 2, range.hi);
    if (one_row(r->last, ret_found, ret, err) != TR_OK)
        return err->rc;
    *ret_found = *ret_found && ret->hi >= range.lo;
    return TR_OK;
}

enum tr_rc blocks_load(struct blocks_reader *r, const struct block_row *row, struct tr_buf *out,
                       struct block_layout *ret, struct tr_err *err)
{
    bool found;

    (void)sqlite3_bind_int64(r->data, 1, row->id);
    if (store_sql_row(r->data, &found, err) != TR_OK)
        return tr_wrap(err, "blocks.db");
    if (!found)
        return tr_fail(err, TR_INTERNAL, "store.block_gone", NULL,
                       "block %lld went while it was looked for", (long long)row->id);
    struct tr_str data = { sqlite3_column_blob(r->data, 0),
                           (size_t)sqlite3_column_bytes(r->data, 0) };
    enum tr_rc rc =
        data.p == NULL ? tr_fail_oom(err) : block_unpack(r->zstd, row, data, out, ret, err);
    (void)sqlite3_reset(r->data);
    return rc;
}
