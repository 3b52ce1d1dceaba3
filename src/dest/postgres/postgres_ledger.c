#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dest/postgres/postgres_priv.h"

const char pg_ledger_columns[] = "key text PRIMARY KEY,"
                                 " range_lo bigint NOT NULL,"
                                 " range_hi bigint NOT NULL,"
                                 " delivered bigint NOT NULL DEFAULT 0,"
                                 " rejected bigint NOT NULL DEFAULT 0,"
                                 " repaired bigint NOT NULL DEFAULT 0,"
                                 " table_name text NOT NULL,"
                                 " committed_at timestamp with time zone NOT NULL DEFAULT now()";

enum { NUMBER_TEXT = 24, SQL_TEXT = 512 };

static const char no_ledger_hint[] = "the ledger was dropped or changed: start the run again, and "
                                     "look with verify --recount for rows delivered twice";

/* What is wrong with the ledger is worth saying in its own words. */
static enum tr_rc fail_ledger(struct tr_err *err, const struct pg_class *class)
{
    if (class->id != NULL && (strcmp(class->id, "postgres.no_table") == 0 ||
                              strcmp(class->id, "postgres.no_column") == 0))
        return tr_fail(err, TR_REFUSED, "postgres.ledger", no_ledger_hint, "%s", err->cause);
    return tr_wrap(err, "write to the ledger");
}

enum tr_rc pg_ledger_insert(const struct tr_ctx *cx, struct pg_dest *d, const struct tr_key *key,
                            struct pg_class *ret_class, struct tr_err *err)
{
    char sql[SQL_TEXT], text[TR_KEY_TEXT], lo[NUMBER_TEXT], hi[NUMBER_TEXT];
    const char *const params[] = { tr_key_format(key, text), lo, hi, d->table };

    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO %s (key, range_lo, range_hi, table_name) VALUES ($1, $2, $3, $4)",
                   d->ledger_sql);
    (void)snprintf(lo, sizeof(lo), "%" PRId64, key->range.lo);
    (void)snprintf(hi, sizeof(hi), "%" PRId64, key->range.hi);
    enum tr_rc rc = pg_run(cx, d, sql, 4, params, NULL, ret_class, err);
    return rc == TR_OK || ret_class->about == PG_ROWS ? rc : fail_ledger(err, ret_class);
}

enum tr_rc pg_ledger_finish(const struct tr_ctx *cx, struct pg_dest *d, const struct tr_key *key,
                            const struct tr_receipt *receipt, struct tr_err *err)
{
    char sql[SQL_TEXT], text[TR_KEY_TEXT], n[3][NUMBER_TEXT];
    const char *const params[] = { tr_key_format(key, text), n[0], n[1], n[2] };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct pg_class class;

    (void)snprintf(sql, sizeof(sql),
                   "UPDATE %s SET delivered = $2, rejected = $3, repaired = $4 WHERE key = $1",
                   d->ledger_sql);
    (void)snprintf(n[0], NUMBER_TEXT, "%" PRIu64, receipt->delivered);
    (void)snprintf(n[1], NUMBER_TEXT, "%" PRIu64, receipt->rejected);
    (void)snprintf(n[2], NUMBER_TEXT, "%" PRIu64, receipt->repaired);
    enum tr_rc rc = pg_run(cx, d, sql, 4, params, &r, &class, err);
    if (rc != TR_OK)
        return fail_ledger(err, &class);
    if (strcmp(PQcmdTuples(r), "1") != 0)
        return tr_fail(err, TR_REFUSED, "postgres.ledger", no_ledger_hint,
                       "the ledger's row is gone within its own transaction");
    return TR_OK;
}

enum tr_rc pg_ledger_read(const struct tr_ctx *cx, struct pg_dest *d, const struct tr_key *key,
                          struct tr_receipt *ret, struct tr_err *err)
{
    char sql[SQL_TEXT], text[TR_KEY_TEXT];
    const char *const params[] = { tr_key_format(key, text) };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct pg_class class;

    (void)snprintf(sql, sizeof(sql), "SELECT delivered, rejected, repaired FROM %s WHERE key = $1",
                   d->ledger_sql);
    enum tr_rc rc = pg_run(cx, d, sql, 1, params, &r, &class, err);
    if (rc != TR_OK)
        return fail_ledger(err, &class);
    *ret = (struct tr_receipt){ 0 };
    if (PQntuples(r) == 0)
        return TR_OK;
    ret->was_there = true;
    ret->delivered = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    ret->rejected = strtoull(PQgetvalue(r, 0, 1), NULL, 10);
    ret->repaired = strtoull(PQgetvalue(r, 0, 2), NULL, 10);
    return TR_OK;
}

/* How long the server may wait for the row's lock, so that its answer comes before the deadline. */
static int64_t lock_ms(const struct tr_ctx *cx)
{
    int64_t left = pg_left_ms(cx);
    int64_t margin = left / 10 < 500 ? left / 10 : 500;

    return left == 0 ? 0 : left - margin > 0 ? left - margin : 1;
}

/* Inserting the key waits for whoever holds it: a lost connection's transaction that is still on
 * its way to commit. What comes then tells what became of it. */
enum tr_rc pg_lookup(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *key,
                     enum tr_chunk_state *ret, struct tr_receipt *ret_receipt, struct tr_err *err)
{
    struct pg_dest *d = pg_dest_of(dest);
    struct tr_receipt receipt = { 0 };
    struct pg_class class = { .rc = TR_INTERNAL };

    enum tr_rc rc = pg_begin(cx, d, lock_ms(cx), err);
    if (rc != TR_OK)
        return rc;
    rc = pg_ledger_insert(cx, d, key, &class, err);
    if (rc == TR_OK) {
        pg_reset(d);
        *ret = TR_CHUNK_ABSENT;
        return TR_OK;
    }
    pg_reset(d);
    if (class.id != NULL && strcmp(class.id, "postgres.locked") == 0) {
        *ret = TR_CHUNK_IN_FLIGHT;
        return TR_OK;
    }
    if (class.about != PG_ROWS)
        return rc;
    rc = pg_open(cx, d, err);
    if (rc == TR_OK)
        rc = pg_ledger_read(cx, d, key, &receipt, err);
    if (rc != TR_OK)
        return rc;
    if (!receipt.was_there)
        return tr_fail(err, TR_REFUSED, "postgres.ledger", no_ledger_hint,
                       "the ledger refused the key and does not hold it");
    *ret = TR_CHUNK_PRESENT;
    *ret_receipt = receipt;
    return TR_OK;
}
