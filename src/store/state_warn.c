/* What went wrong with events that were taken all the same, by project, kind and day, with the last
 * example: for a person who wonders why two visitors did not become one. */
#include "base/metric.h"
#include "base/time.h"
#include "store/state_priv.h"

TR_COUNTER(warnings, "tailrace_identity_warnings_total",
           "Events whose merge, group or person update was refused or cut; the API lists them.");

enum { EXAMPLE_BYTES = 200 };

static struct tr_str cut(struct tr_str s)
{
    return s.n > EXAMPLE_BYTES ? (struct tr_str){ s.p, EXAMPLE_BYTES } : s;
}

enum tr_rc state_warn(void *state, int32_t project, const char *type, struct tr_str distinct_id,
                      struct tr_str other, int64_t at, struct tr_err *err)
{
    struct state *s = state;
    sqlite3_stmt *q;

    if (state_sql(s, SQL_WARN, &q, err) != TR_OK)
        return err->rc;
    tr_count(&warnings, 1);
    (void)sqlite3_bind_int64(q, 1, project);
    (void)sqlite3_bind_text(q, 2, type, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 3, at / TR_US_PER_DAY);
    (void)sqlite3_bind_int64(q, 4, at);
    state_bind_text(q, 5, cut(distinct_id));
    state_bind_text(q, 6, cut(other));
    enum tr_rc rc = store_sql_run(q, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "write a warning");
}
