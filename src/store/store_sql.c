#include "store/store_sql.h"

#include <stdio.h>

enum { BUSY_MS = 10000 };

enum tr_rc store_sql_fail(sqlite3 *db, struct tr_err *err)
{
    int code = sqlite3_errcode(db);
    const char *text = sqlite3_errmsg(db);

    switch (code & 0xff) {
    case SQLITE_FULL:
        return tr_fail(err, TR_THROTTLED, "store.full",
                       "free space on the disk that holds the data folder", "%s", text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup", "%s",
                       text);
    case SQLITE_NOMEM:
        return tr_fail_oom(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return tr_fail(err, TR_TRANSIENT, "store.locked",
                       "no other program may write to the data folder", "%s", text);
    default:
        return tr_fail(err, TR_INTERNAL, "store.sqlite", NULL, "%s (%d)", text,
                       sqlite3_extended_errcode(db));
    }
}

enum tr_rc store_sql_open(const char *path, bool write, sqlite3 **ret, struct tr_err *err)
{
    int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        enum tr_rc rc = db == NULL ? tr_fail_oom(err) : store_sql_fail(db, err);
        (void)sqlite3_close(db);
        if (rc != TR_OK && err != NULL)
            (void)tr_wrap(err, "open %s", path);
        return rc;
    }
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    *ret = db;
    return TR_OK;
}

enum tr_rc store_sql_exec(sqlite3 *db, const char *sql, struct tr_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? TR_OK : store_sql_fail(db, err);
}

enum tr_rc store_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct tr_err *err)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) == SQLITE_OK
               ? TR_OK
               : store_sql_fail(db, err);
}

enum tr_rc store_sql_row(sqlite3_stmt *q, bool *ret_row, struct tr_err *err)
{
    int code = sqlite3_step(q);

    *ret_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return TR_OK;
    enum tr_rc rc = code == SQLITE_DONE ? TR_OK : store_sql_fail(sqlite3_db_handle(q), err);
    (void)sqlite3_reset(q);
    return rc;
}

enum tr_rc store_sql_run(sqlite3_stmt *q, struct tr_err *err)
{
    bool row;
    enum tr_rc rc = store_sql_row(q, &row, err);

    if (row)
        (void)sqlite3_reset(q);
    return rc;
}

enum tr_rc store_sql_int64(sqlite3 *db, const char *sql, int64_t otherwise, int64_t *ret,
                           struct tr_err *err)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    enum tr_rc rc = store_sql_prepare(db, sql, &q, err);

    if (rc == TR_OK)
        rc = store_sql_row(q, &row, err);
    if (rc == TR_OK)
        *ret = row ? sqlite3_column_int64(q, 0) : otherwise;
    (void)sqlite3_finalize(q);
    return rc;
}

static enum tr_rc climb(sqlite3 *db, const char *const *steps, int from, int to, struct tr_err *err)
{
    char set[64];
    enum tr_rc rc = store_sql_exec(db, "BEGIN IMMEDIATE", err);

    for (int i = from; i < to && rc == TR_OK; i++)
        rc = store_sql_exec(db, steps[i], err);
    (void)snprintf(set, sizeof(set), "PRAGMA user_version = %d", to);
    if (rc == TR_OK)
        rc = store_sql_exec(db, set, err);
    if (rc == TR_OK)
        rc = store_sql_exec(db, "COMMIT", err);
    if (rc != TR_OK)
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

enum tr_rc store_sql_schema(sqlite3 *db, const char *name, const char *const *steps, int n,
                            struct tr_err *err)
{
    int64_t is;

    if (store_sql_int64(db, "PRAGMA user_version", 0, &is, err) != TR_OK)
        return tr_wrap(err, "%s", name);
    if (is > n || is < 0)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "%s has schema %lld; this program knows %d", name, (long long)is, n);
    if (is == n)
        return TR_OK;
    enum tr_rc rc = climb(db, steps, (int)is, n, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "make %s", name);
}
