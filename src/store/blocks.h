/* blocks.db: the sealed blocks, and how far the journal is sealed, in one transaction.
 *
 * The sealer's thread writes through one connection; readers borrow theirs from a pool. Every read
 * is its own short transaction, so that the write-ahead log can be reset.
 */
#ifndef TR_STORE_BLOCKS_H
#define TR_STORE_BLOCKS_H

#include <pthread.h>

#include "model/range.h"
#include "store/block.h"
#include "store/store_sql.h"

struct blocks_totals {
    uint64_t sealed_seq;    /* journal records up to here are in blocks */
    int64_t sealed_through; /* every event below is in a block */
    int64_t floor;
    uint64_t events, blocks, bytes; /* bytes: compressed */
};

/* A reader's connection. */
struct blocks_reader {
    struct blocks_reader *next;
    sqlite3 *db;
    sqlite3_stmt *find, *data, *last;
    ZSTD_DCtx *zstd;
};

struct blocks {
    char *path;
    sqlite3 *db; /* the sealer's, as are these: */
    sqlite3_stmt *insert, *set;
    ZSTD_CCtx *zstd;
    struct tr_buf packed;
    struct blocks_totals totals; /* what is committed; the sealer's */
    struct blocks_totals next;   /* with what is in the transaction */
    pthread_mutex_t pool_lock;
    struct blocks_reader *pool;
    size_t n_pool;
};

TR_MUST_USE enum tr_rc blocks_open(struct blocks *b, const char *path, uint32_t epoch,
                                   struct tr_err *err);
void blocks_close(struct blocks *b);

/* ---- the sealer ---- */

TR_MUST_USE enum tr_rc blocks_begin(struct blocks *b, struct tr_err *err);
/* raw: events of row->project and who they belong to; row says n, lo and hi. */
TR_MUST_USE enum tr_rc blocks_add(struct blocks *b, struct tr_str raw,
                                  const struct block_layout *layout, struct block_row *row,
                                  struct tr_err *err);
/* Durable when it returns. Ends the transaction, whatever happens. */
TR_MUST_USE enum tr_rc blocks_commit(struct blocks *b, uint64_t sealed_seq, int64_t sealed_through,
                                     struct tr_err *err);
void blocks_abort(struct blocks *b);
/* Moves the write-ahead log into the database. */
TR_MUST_USE enum tr_rc blocks_checkpoint(struct blocks *b, struct tr_err *err);

/* ---- readers ---- */

TR_MUST_USE enum tr_rc blocks_borrow(struct blocks *b, struct blocks_reader **ret,
                                     struct tr_err *err);
void blocks_return(struct blocks *b, struct blocks_reader *r);
void blocks_close_readers(struct blocks *b);

/* The first block of a project with an event at or behind lo; it begins before hi. */
TR_MUST_USE enum tr_rc blocks_find(struct blocks_reader *r, int32_t project, struct tr_range range,
                                   bool *ret_found, struct block_row *ret, struct tr_err *err);
/* The last one with an event before range.hi, not wholly before range.lo. */
TR_MUST_USE enum tr_rc blocks_find_last(struct blocks_reader *r, int32_t project,
                                        struct tr_range range, bool *ret_found,
                                        struct block_row *ret, struct tr_err *err);
/* Its events, verified; out is cleared first. */
TR_MUST_USE enum tr_rc blocks_load(struct blocks_reader *r, const struct block_row *row,
                                   struct tr_buf *out, struct block_layout *ret,
                                   struct tr_err *err);

/* For one row of "SELECT " BLOCKS_ROW: */
void blocks_row(sqlite3_stmt *q, struct block_row *ret);
#define BLOCKS_ROW "id, project, n, lo, hi, raw_bytes, crc, events_bytes"
TR_MUST_USE enum tr_rc blocks_read_totals(sqlite3 *db, struct blocks_totals *ret,
                                          struct tr_err *err);

#endif
