#include "store/ahead.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void ahead_init(struct ahead *a, int niceness)
{
    *a = (struct ahead){ .niceness = niceness };
    tr_monitor_init(&a->monitor);
    tr_buf_init(&a->events, (size_t)RECORD_EVENT + RECORD_BYTES);
}

void ahead_fini(struct ahead *a)
{
    if (a->is_started) {
        tr_monitor_enter(&a->monitor);
        a->closing = true;
        tr_monitor_tell(&a->monitor);
        tr_monitor_leave(&a->monitor);
        (void)pthread_join(a->thread, NULL);
    }
    tr_monitor_fini(&a->monitor);
    tr_buf_fini(&a->events);
    free(a->parts);
    *a = (struct ahead){ 0 };
}

/* ---- the thread ---- */

/* A part that nobody uses; NULL: nobody wants more. Waits until half of them are free, so that the
 * two threads do not wake each other all the time. */
static struct ahead_part *free_part(struct ahead *a)
{
    tr_monitor_enter(&a->monitor);
    if (a->made - a->used == AHEAD_PARTS)
        while (a->made - a->used > AHEAD_PARTS / 2 && !a->stopping)
            (void)tr_monitor_wait(&a->monitor, -1);
    bool stopping = a->stopping;
    tr_monitor_leave(&a->monitor);
    return stopping ? NULL : &a->parts[a->made % AHEAD_PARTS];
}

static void give(struct ahead *a)
{
    tr_monitor_enter(&a->monitor);
    a->made++;
    if (a->made - a->used == 1)
        tr_monitor_tell(&a->monitor);
    tr_monitor_leave(&a->monitor);
}

static enum tr_rc read_record(struct ahead *a, struct tr_err *err)
{
    struct ahead_part *part = NULL;

    tr_buf_clear(&a->events);
    enum tr_rc rc = journal_events(a->cursor, &a->head, &a->events, err);
    for (size_t at = 0; rc == TR_OK && at < a->events.n;) {
        part = free_part(a);
        if (part == NULL)
            break;
        for (part->n = 0; part->n < AHEAD_STEPS && at < a->events.n && rc == TR_OK; part->n++)
            rc = step_read(&part->steps[part->n], tr_buf_view(&a->events), &at, err);
        if (rc == TR_OK)
            give(a);
    }
    return rc;
}

static void *run(void *arg)
{
    struct ahead *a = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), a->niceness); /* where that is allowed */
    tr_monitor_enter(&a->monitor);
    while (!a->closing) {
        if (a->cursor == NULL || a->is_through) {
            (void)tr_monitor_wait(&a->monitor, -1);
            continue;
        }
        tr_monitor_leave(&a->monitor);
        struct tr_err err = { 0 };
        enum tr_rc rc = read_record(a, &err);
        tr_monitor_enter(&a->monitor);
        a->rc = rc;
        a->err = err;
        a->is_through = true;
        tr_monitor_tell(&a->monitor);
    }
    tr_monitor_leave(&a->monitor);
    return NULL;
}

/* ---- its user ---- */

enum tr_rc ahead_start(struct ahead *a, struct journal_cursor *c, const struct record_head *h,
                       struct tr_err *err)
{
    if (a->parts == NULL)
        a->parts = calloc(AHEAD_PARTS, sizeof(*a->parts));
    if (a->parts == NULL)
        return tr_fail_oom(err);
    if (!a->is_started) {
        enum tr_rc rc = tr_thread_start(&a->thread, "store-ahead", run, a, err);
        if (rc != TR_OK)
            return rc;
        a->is_started = true;
    }
    tr_monitor_enter(&a->monitor);
    a->cursor = c;
    a->head = *h;
    a->made = a->used = 0;
    a->is_through = a->stopping = false;
    a->rc = TR_OK;
    tr_monitor_tell(&a->monitor);
    tr_monitor_leave(&a->monitor);
    return TR_OK;
}

enum tr_rc ahead_take(struct ahead *a, struct ahead_part **ret, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    *ret = NULL;
    tr_monitor_enter(&a->monitor);
    while (a->made == a->used && !a->is_through)
        (void)tr_monitor_wait(&a->monitor, -1);
    if (a->made != a->used) {
        *ret = &a->parts[a->used % AHEAD_PARTS];
    } else if (a->rc != TR_OK) {
        rc = a->rc;
        if (err != NULL)
            *err = a->err;
    }
    tr_monitor_leave(&a->monitor);
    return rc;
}

void ahead_give_back(struct ahead *a)
{
    tr_monitor_enter(&a->monitor);
    a->used++;
    if (a->made - a->used == AHEAD_PARTS / 2)
        tr_monitor_tell(&a->monitor);
    tr_monitor_leave(&a->monitor);
}

void ahead_stop(struct ahead *a)
{
    tr_monitor_enter(&a->monitor);
    a->stopping = true;
    tr_monitor_tell(&a->monitor);
    while (!a->is_through)
        (void)tr_monitor_wait(&a->monitor, -1);
    a->cursor = NULL;
    tr_monitor_leave(&a->monitor);
}
