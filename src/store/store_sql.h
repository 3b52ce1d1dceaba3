/* SQLite as the store uses it: opened, asked and failed in one way. */
#ifndef TR_STORE_STORE_SQL_H
#define TR_STORE_STORE_SQL_H

#include <sqlite3.h>

#include "base/err.h"

/* Opens a database without its own mutexes. write: made when absent. */
TR_MUST_USE enum tr_rc store_sql_open(const char *path, bool write, sqlite3 **ret,
                                      struct tr_err *err);
TR_MUST_USE enum tr_rc store_sql_exec(sqlite3 *db, const char *sql, struct tr_err *err);
TR_MUST_USE enum tr_rc store_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret,
                                         struct tr_err *err);
/* Steps; true while there is a row. A statement that is through was reset. */
TR_MUST_USE enum tr_rc store_sql_row(sqlite3_stmt *q, bool *ret_row, struct tr_err *err);
/* Steps a statement that gives no rows, and resets it. */
TR_MUST_USE enum tr_rc store_sql_run(sqlite3_stmt *q, struct tr_err *err);
/* One statement without parameters that gives one integer; no row gives `otherwise`. */
TR_MUST_USE enum tr_rc store_sql_int64(sqlite3 *db, const char *sql, int64_t otherwise,
                                       int64_t *ret, struct tr_err *err);
/* The database's last error: full disks are TR_THROTTLED "store.full", damage is TR_REFUSED. */
enum tr_rc store_sql_fail(sqlite3 *db, struct tr_err *err);

/* Brings a database to the schema with the number n: steps[i] leads from i to i + 1, an empty one
 * begins at 0. All in one transaction. A newer one refuses. */
TR_MUST_USE enum tr_rc store_sql_schema(sqlite3 *db, const char *name, const char *const *steps,
                                        int n, struct tr_err *err);

#endif
