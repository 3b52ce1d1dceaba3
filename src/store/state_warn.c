/* What went wrong with events that were taken all the same, by project, kind and day, with the last
 * example: for a person who wonders why two visitors did not become one.
 *
 * They are gathered in memory: a client that does something wrong does it in every event. */
#include <stdlib.h>

#include "base/metric.h"
#include "base/time.h"
#include "base/utf8.h"
#include "store/state_priv.h"

TR_COUNTER(warnings, "tailrace_identity_warnings_total",
           "Events whose merge, group or person update was refused or cut, or in which something "
           "else was wrong; the API lists them.");

enum { EXAMPLE_BYTES = 200 };

struct gathered_warning {
    int32_t project;
    const char *type; /* static text */
    int64_t day, n, first_at, last_at;
    uint8_t distinct_id_n, other_n;
    char distinct_id[EXAMPLE_BYTES], other[EXAMPLE_BYTES];
};

enum { GATHERED_MOST = 256 };

static uint8_t copy(char to[EXAMPLE_BYTES], struct tr_str s)
{
    s = tr_utf8_head_bytes(s, EXAMPLE_BYTES);
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    return (uint8_t)s.n;
}

/* NULL without memory. */
static struct gathered_warning *find(struct state *s, int32_t project, const char *type,
                                     int64_t day)
{
    for (size_t i = s->n_warnings; i-- > 0;) {
        struct gathered_warning *w = &s->warnings[i];
        if (w->project == project && w->day == day && strcmp(w->type, type) == 0)
            return w;
    }
    if (s->warnings == NULL)
        s->warnings = calloc(GATHERED_MOST, sizeof(*s->warnings));
    if (s->warnings == NULL)
        return NULL;
    struct gathered_warning *w = &s->warnings[s->n_warnings++];
    *w = (struct gathered_warning){ .project = project, .type = type, .day = day };
    return w;
}

enum tr_rc state_warn(void *state, int32_t project, const char *type, struct tr_str distinct_id,
                      struct tr_str other, int64_t at, struct tr_err *err)
{
    struct state *s = state;

    if (s->n_warnings == GATHERED_MOST && state_write_warnings(s, err) != TR_OK)
        return err->rc;
    struct gathered_warning *w = find(s, project, type, at / TR_US_PER_DAY);
    if (w == NULL)
        return tr_fail_oom(err);
    tr_count(&warnings, 1);
    if (w->n++ == 0)
        w->first_at = at;
    w->last_at = at;
    w->distinct_id_n = copy(w->distinct_id, distinct_id);
    w->other_n = copy(w->other, other);
    return TR_OK;
}

static enum tr_rc write(sqlite3_stmt *q, const struct gathered_warning *w, struct tr_err *err)
{
    (void)sqlite3_bind_int64(q, 1, w->project);
    (void)sqlite3_bind_text(q, 2, w->type, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 3, w->day);
    (void)sqlite3_bind_int64(q, 4, w->n);
    (void)sqlite3_bind_int64(q, 5, w->first_at);
    (void)sqlite3_bind_int64(q, 6, w->last_at);
    state_bind_text(q, 7, (struct tr_str){ w->distinct_id, w->distinct_id_n });
    state_bind_text(q, 8, (struct tr_str){ w->other, w->other_n });
    return store_sql_run(q, err);
}

enum tr_rc state_write_warnings(struct state *s, struct tr_err *err)
{
    sqlite3_stmt *q;

    if (s->n_warnings == 0)
        return TR_OK;
    enum tr_rc rc = state_sql(s, SQL_WARN, &q, err);
    for (size_t i = 0; i < s->n_warnings && rc == TR_OK; i++)
        rc = write(q, &s->warnings[i], err);
    if (rc != TR_OK)
        return tr_wrap(err, "write a warning");
    s->n_warnings = 0;
    return TR_OK;
}

bool state_has_warnings(const struct state *s)
{
    return s->n_warnings > 0;
}
