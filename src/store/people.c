/* Persons one by one, for the API: looking, deleting, and what was wrong with events about them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/event.h"
#include "store/state_priv.h"
#include "store/store_priv.h"

enum { PROPERTIES_MAX = 16 << 20, DISTINCT_IDS_MAX = 16 << 20, COMMAND_MAX = 4096 };

/* ---- looking ---- */

struct look {
    int32_t project;
    const struct tr_uuid *id;
    struct tr_str distinct_id;
    struct tr_store_person *ret;
    bool found;
};

static enum tr_rc list_distinct_ids(struct state *s, int32_t project, int64_t row,
                                    struct tr_buf *out, struct tr_err *err)
{
    sqlite3_stmt *q;
    bool more = true;
    enum tr_rc rc = state_sql(s, SQL_PERSON_IDS, &q, err);

    if (rc != TR_OK)
        return rc;
    tr_buf_ch(out, '[');
    (void)sqlite3_bind_int64(q, 1, row);
    (void)sqlite3_bind_int64(q, 2, project);
    while (rc == TR_OK && more) {
        rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more)
            break;
        if (out->n > 1)
            tr_buf_ch(out, ',');
        tr_buf_json_str(out, state_column_text(q, 0));
    }
    tr_buf_ch(out, ']');
    return rc;
}

static enum tr_rc look(struct state *s, void *arg, struct tr_err *err)
{
    struct look *l = arg;
    struct tr_store_person *ret = l->ret;
    struct tr_person p;
    enum tr_rc rc = state_find_person(s, l->project, l->distinct_id, l->id, &p, &l->found, err);

    if (rc != TR_OK || !l->found)
        return rc;
    ret->id = p.id;
    ret->created_at = p.created_at;
    ret->version = p.version;
    ret->changed_at = p.changed_at;
    ret->is_identified = p.identified;
    ret->is_deleted = p.deleted;
    tr_buf_str(&ret->properties, p.properties);
    rc = list_distinct_ids(s, l->project, p.row, &ret->distinct_ids, err);
    return rc == TR_OK && (ret->properties.failed || ret->distinct_ids.failed) ? tr_fail_oom(err)
                                                                               : rc;
}

enum tr_rc tr_store_person_get(struct tr_store *s, int32_t project, const struct tr_uuid *id,
                               struct tr_str distinct_id, struct tr_store_person *ret,
                               bool *ret_found, struct tr_err *err)
{
    struct look l = { .project = project, .id = id, .distinct_id = distinct_id, .ret = ret };

    *ret = (struct tr_store_person){ 0 };
    tr_buf_init(&ret->properties, PROPERTIES_MAX);
    tr_buf_init(&ret->distinct_ids, DISTINCT_IDS_MAX);
    enum tr_rc rc = derived_use(&s->derived, look, &l, err);
    *ret_found = rc == TR_OK && l.found;
    if (!*ret_found) {
        tr_buf_fini(&ret->properties);
        tr_buf_fini(&ret->distinct_ids);
    }
    return rc;
}

/* ---- deleting ---- */

struct waiting {
    struct tr_monitor monitor;
    bool done;
    enum tr_rc rc;
    struct tr_err err;
};

static void on_done(struct tr_group *g, enum tr_rc rc, const struct tr_err *err)
{
    struct waiting *w = g->owner;

    tr_monitor_enter(&w->monitor);
    w->done = true;
    w->rc = rc;
    if (rc != TR_OK)
        w->err = *err;
    tr_monitor_tell(&w->monitor);
    tr_monitor_leave(&w->monitor);
}

/* Through the writer, into the journal: what it changes has its place among the events. */
static enum tr_rc submit_command(struct tr_store *s, const struct tr_event *e, struct tr_err *err)
{
    struct waiting w = { .rc = TR_OK };
    struct tr_group g = { .command = true, .done = on_done, .owner = &w };

    tr_buf_init(&g.rows, COMMAND_MAX);
    tr_event_pack(&g.rows, e);
    if (g.rows.failed) {
        tr_buf_fini(&g.rows);
        return tr_fail_oom(err);
    }
    tr_monitor_init(&w.monitor);
    enum tr_rc rc = tr_store_submit(s, &g, err);
    if (rc == TR_OK) {
        tr_monitor_enter(&w.monitor);
        while (!w.done)
            (void)tr_monitor_wait(&w.monitor, -1);
        tr_monitor_leave(&w.monitor);
        rc = w.rc;
        if (rc != TR_OK && err != NULL)
            *err = w.err;
    }
    tr_monitor_fini(&w.monitor);
    tr_buf_fini(&g.rows);
    return rc;
}

enum tr_rc tr_store_person_delete(struct tr_store *s, int32_t project, const struct tr_uuid *id,
                                  bool distinct_ids, struct tr_err *err)
{
    char text[TR_UUID_TEXT];
    char properties[128];

    tr_uuid_format(id, text);
    int n = snprintf(properties, sizeof(properties), "{\"person_id\":\"%s\",\"distinct_ids\":%s}",
                     text, distinct_ids ? "true" : "false");
    struct tr_event e = {
        .project = project,
        .timestamp = store_clock(s),
        .event = tr_str_of(state_delete_person),
        .distinct_id = tr_str_of(text),
        .properties = { properties, (size_t)n },
    };
    enum tr_rc rc = submit_command(s, &e, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "delete person %s", text);
}

/* ---- warnings ---- */

struct listing {
    int32_t project;
    int limit;
    bool (*each)(void *, const struct tr_store_warning *);
    void *arg;
};

static enum tr_rc list(struct state *s, void *arg, struct tr_err *err)
{
    const struct listing *l = arg;
    sqlite3_stmt *q;
    bool more = true;
    enum tr_rc rc = state_write_warnings(s, err);

    if (rc == TR_OK)
        rc = state_sql(s, SQL_WARNINGS, &q, err);
    if (rc != TR_OK)
        return rc;
    (void)sqlite3_bind_int64(q, 1, l->project);
    (void)sqlite3_bind_int(q, 2, l->limit);
    while (rc == TR_OK && more) {
        rc = store_sql_row(q, &more, err);
        if (rc != TR_OK || !more)
            break;
        struct tr_store_warning w = {
            .type = (const char *)sqlite3_column_text(q, 0),
            .day = sqlite3_column_int64(q, 1) * TR_US_PER_DAY,
            .n = (uint64_t)sqlite3_column_int64(q, 2),
            .first_at = sqlite3_column_int64(q, 3),
            .last_at = sqlite3_column_int64(q, 4),
            .distinct_id = state_column_text(q, 5),
            .other = state_column_text(q, 6),
        };
        more = l->each(l->arg, &w);
    }
    (void)sqlite3_reset(q);
    return rc;
}

enum tr_rc tr_store_warnings(struct tr_store *s, int32_t project, int limit,
                             bool (*each)(void *, const struct tr_store_warning *), void *arg,
                             struct tr_err *err)
{
    struct listing l = { project, limit, each, arg };

    return derived_use(&s->derived, list, &l, err);
}
