#include "store/derived.h"

#include <string.h>

#include "os/kill.h"

enum {
    SCHEMA = 1,
    IDLE_RECORDS =
        4096, /* records without counters, after which the position is written all the same */
};

enum tr_rc derived_open(struct derived *d, const char *path, struct tr_err *err)
{
    *d = (struct derived){ 0 };
    (void)pthread_mutex_init(&d->lock, NULL);
    tr_buf_init(&d->prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    enum tr_rc rc = store_sql_open(path, true, &d->db, err);
    if (rc == TR_OK)
        rc = store_sql_exec(d->db,
                            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;"
                            "PRAGMA synchronous = FULL; PRAGMA cache_size = -4096;"
                            "PRAGMA journal_size_limit = 16777216",
                            err);
    if (rc == TR_OK)
        rc = store_sql_schema(d->db, "state.db", SCHEMA,
                              "CREATE TABLE applied(name TEXT PRIMARY KEY, seq INTEGER NOT NULL,"
                              " through INTEGER NOT NULL) WITHOUT ROWID;" COUNTS_SCHEMA,
                              err);
    int64_t seq = 0;
    int64_t through = 0;
    if (rc == TR_OK)
        rc = store_sql_int64(d->db, "SELECT seq FROM applied WHERE name = 'counts'", 0, &seq, err);
    if (rc == TR_OK)
        rc = store_sql_int64(d->db, "SELECT through FROM applied WHERE name = 'counts'", 0,
                             &through, err);
    if (rc == TR_OK)
        rc = store_sql_prepare(d->db, "REPLACE INTO applied VALUES('counts', ?, ?)",
                               &d->set_applied, err);
    if (rc == TR_OK)
        rc = counts_new(d->db, &d->counts, err);
    if (rc != TR_OK) {
        derived_close(d);
        return tr_wrap(err, "state.db");
    }
    d->applied_seq = (uint64_t)seq;
    atomic_init(&d->durable_seq, d->applied_seq);
    atomic_init(&d->applied_through, through);
    return TR_OK;
}

void derived_close(struct derived *d)
{
    counts_free(d->counts);
    (void)sqlite3_finalize(d->set_applied);
    (void)sqlite3_close(d->db);
    tr_buf_fini(&d->prefix);
    (void)pthread_mutex_destroy(&d->lock);
    *d = (struct derived){ 0 };
}

void derived_attach(struct derived *d, struct journal *j)
{
    d->journal = j;
}

static enum tr_rc write_all(struct derived *d, uint64_t seq, int64_t through, struct tr_err *err)
{
    if (counts_write(d->counts, err) != TR_OK)
        return err->rc;
    (void)sqlite3_bind_int64(d->set_applied, 1, (int64_t)seq);
    (void)sqlite3_bind_int64(d->set_applied, 2, through);
    return store_sql_run(d->set_applied, err);
}

/* What was gathered, and the position that it stands for, in one transaction. */
static enum tr_rc commit(struct derived *d, uint64_t seq, int64_t through, struct tr_err *err)
{
    enum tr_rc rc = store_sql_exec(d->db, "BEGIN IMMEDIATE", err);

    if (rc != TR_OK)
        return rc;
    rc = write_all(d, seq, through, err);
    TR_KILL_POINT("derived.before_commit");
    if (rc == TR_OK)
        rc = store_sql_exec(d->db, "COMMIT", err);
    if (rc != TR_OK && sqlite3_get_autocommit(d->db) == 0)
        (void)sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
    if (rc == TR_OK) {
        d->applied_seq = seq;
        atomic_store(&d->durable_seq, seq);
        atomic_store(&d->applied_through, through);
    }
    return rc;
}

/* Gathers records until there are enough for a transaction, or no more. */
static enum tr_rc gather(struct derived *d, struct journal_cursor *c, uint64_t *ret_seq,
                         int64_t *ret_through, bool *ret_more, struct tr_err *err)
{
    bool full = false;

    *ret_more = true;
    while (!full) {
        struct record_head h;
        enum journal_step step;
        if (journal_next(c, &d->prefix, &step, err) != TR_OK)
            return err->rc;
        if (step != JOURNAL_RECORD) {
            *ret_more = false;
            return TR_OK;
        }
        memcpy(&h, d->prefix.p, sizeof(h));
        const void *counters = d->prefix.p + sizeof(h);
        if (counts_record(d->counts, &h, counters, &full, err) != TR_OK)
            return err->rc;
        *ret_seq = h.seq;
        *ret_through = h.last_stamp + 1;
    }
    return TR_OK;
}

static enum tr_rc catch_up(struct derived *d, struct tr_err *err)
{
    struct journal_position end;
    struct journal_cursor c = { 0 };

    journal_position(d->journal, &end);
    if (end.last_seq <= d->applied_seq)
        return TR_OK;
    if (!journal_seek(d->journal, d->applied_seq + 1, &c))
        return tr_fail(err, TR_INTERNAL, "store.gap", NULL,
                       "record %llu is gone from the journal before it was applied",
                       (unsigned long long)d->applied_seq + 1);

    enum tr_rc rc = TR_OK;
    bool more = true;
    while (more && rc == TR_OK) {
        uint64_t seq = d->applied_seq;
        int64_t through = atomic_load(&d->applied_through);
        rc = gather(d, &c, &seq, &through, &more, err);
        if (rc == TR_OK &&
            (counts_gathered(d->counts) || seq - atomic_load(&d->durable_seq) >= IDLE_RECORDS))
            rc = commit(d, seq, through, err);
        if (rc == TR_OK) {
            d->applied_seq = seq;
            atomic_store(&d->applied_through, through);
        }
        counts_forget(d->counts);
    }
    journal_cursor_fini(&c);
    return rc;
}

enum tr_rc derived_catch_up(struct derived *d, struct tr_err *err)
{
    (void)pthread_mutex_lock(&d->lock);
    enum tr_rc rc = catch_up(d, err);
    (void)pthread_mutex_unlock(&d->lock);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "state.db");
}

enum tr_rc derived_counts(struct derived *d, int32_t project, struct tr_range range,
                          struct tr_counts *ret, struct tr_err *err)
{
    (void)pthread_mutex_lock(&d->lock);
    enum tr_rc rc = catch_up(d, err);
    if (rc == TR_OK)
        rc = counts_sum(d->counts, project, range, ret, err);
    (void)pthread_mutex_unlock(&d->lock);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "state.db");
}

void derived_position(struct derived *d, struct derived_position *ret)
{
    *ret =
        (struct derived_position){ atomic_load(&d->durable_seq), atomic_load(&d->applied_through) };
}
