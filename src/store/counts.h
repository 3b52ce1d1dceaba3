/* Counts per project and minute of ingestion, from the counters of journal records. */
#ifndef TR_STORE_COUNTS_H
#define TR_STORE_COUNTS_H

#include "model/range.h"
#include "store/record.h"
#include "store/store.h"
#include "store/store_sql.h"

#define COUNTS_SCHEMA                                                                              \
    "CREATE TABLE counts(project INTEGER NOT NULL, minute INTEGER NOT NULL,"                       \
    " stored INTEGER NOT NULL, duplicates INTEGER NOT NULL, conflicts INTEGER NOT NULL,"           \
    " refused INTEGER NOT NULL, PRIMARY KEY(project, minute)) WITHOUT ROWID;"

struct counts;

TR_MUST_USE enum tr_rc counts_new(sqlite3 *db, struct counts **ret, struct tr_err *err);
void counts_free(struct counts *c);

/* The minute of an instant, since 1970. */
int64_t counts_minute(int64_t stamp);

/* Gathers a record in memory. ret_full: time to write. */
TR_MUST_USE enum tr_rc counts_record(struct counts *c, const struct record_head *h,
                                     const struct record_counter *counters, bool *ret_full,
                                     struct tr_err *err);
bool counts_gathered(const struct counts *c);
/* Writes what was gathered into the transaction that is open. */
TR_MUST_USE enum tr_rc counts_write(struct counts *c, struct tr_err *err);
void counts_forget(struct counts *c);

/* Sums whole minutes that meet the range, from the database. */
TR_MUST_USE enum tr_rc counts_sum(struct counts *c, int32_t project, struct tr_range range,
                                  struct tr_counts *ret, struct tr_err *err);

#endif
