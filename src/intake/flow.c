/* Between a loop and the store: groups go out, come back and are answered; what the store or the
 * memory has no room for is held for a while. The store's writer only meets on_done. */
#include <stdlib.h>

#include "base/metric.h"
#include "intake/intake_priv.h"
#include "os/clock.h"

TR_COUNTER(held, "tailrace_capture_held_total",
           "Requests that waited for memory or for the store.");

/* ---- groups ---- */

/* The writer's thread: the loop hears of it once, however many groups finish before it looks. */
static void on_done(struct tr_group *group, enum tr_rc rc, const struct tr_err *err)
{
    struct intake_group *g = group->owner;
    struct intake_loop *l = g->loop;

    g->rc = rc;
    if (rc != TR_OK)
        g->err = *err;
    g->next = NULL;
    tr_monitor_enter(&l->done);
    *l->finished_end = g;
    l->finished_end = &g->next;
    if (!l->posted) {
        l->posted = true;
        tr_http_post(l->loop, &l->post);
    }
    tr_monitor_tell(&l->done);
    tr_monitor_leave(&l->done);
}

static struct intake_group *take_finished(struct intake_loop *l)
{
    struct intake_group *first = l->finished;

    l->finished = NULL;
    l->finished_end = &l->finished;
    l->posted = false;
    return first;
}

static void answer_finished(struct intake_loop *l, struct intake_group *g)
{
    while (g != NULL) {
        struct intake_group *next = g->next;
        l->at_store--;
        intake_reply_group(l, g);
        g = next;
    }
}

static void fail_group(struct intake_loop *l, struct intake_group *g, const struct tr_err *err)
{
    g->rc = err->rc;
    g->err = *err;
    intake_reply_group(l, g);
}

/* Hands a group over. False: the store is busy and the group is still ours. */
static bool submit(struct intake_loop *l, struct intake_group *g)
{
    struct tr_err err;

    g->g.done = on_done;
    l->at_store++;
    enum tr_rc rc = tr_store_submit(l->t->o.store, &g->g, &err);
    if (rc == TR_OK)
        return true;
    l->at_store--;
    if (rc == TR_THROTTLED)
        return false;
    fail_group(l, g, &err);
    return true;
}

static void retry_soon(struct intake_loop *l)
{
    if (!l->timer.set)
        tr_http_timer_set(l->loop, &l->timer, INTAKE_RETRY_US);
}

void intake_flush(struct intake_loop *l)
{
    struct intake_group *g = l->filling;

    if (g == NULL || l->held != NULL || (g->n_pending == 0 && g->g.n_refused == 0))
        return;
    l->filling = NULL;
    if (g->until_us == 0) /* nobody waits for it: only counts of what was refused */
        g->until_us = tr_clock_boot_us() + l->t->o.hold_us;
    if (submit(l, g))
        return;
    tr_count(&held, (int64_t)g->n_pending);
    l->held = g;
    retry_soon(l);
}

/* ---- waiting ---- */

void intake_wait(struct intake_loop *l, const struct intake_waiting *now)
{
    struct intake_waiting *w = malloc(sizeof(*w));

    if (w == NULL) {
        intake_reply_busy(l, now->req, "out of memory");
        return;
    }
    *w = *now;
    *l->waiting_end = w;
    l->waiting_end = &w->next;
    l->waiting_bytes += w->req->body.n;
    tr_count(&held, 1);
    if (!l->paused && l->waiting_bytes > INTAKE_WAIT_BYTES) {
        l->paused = true;
        tr_http_pause(l->loop, true);
    }
    retry_soon(l);
}

/* The first one that waits leaves the queue. */
static struct tr_http_request *pop_waiting(struct intake_loop *l, size_t body_n)
{
    struct intake_waiting *w = l->waiting;
    struct tr_http_request *req = w->req;

    l->waiting = w->next;
    if (l->waiting == NULL)
        l->waiting_end = &l->waiting;
    l->waiting_bytes -= body_n;
    free(w);
    return req;
}

static void try_waiting(struct intake_loop *l)
{
    int64_t now = tr_clock_boot_us();

    while (l->waiting != NULL && l->held == NULL) {
        struct intake_waiting *w = l->waiting;
        struct tr_http_request *req = w->req;
        size_t body_n = req->body.n;
        struct tr_str token;

        if (intake_admit(l, w, tr_route_find(req->path, &token))) {
            (void)pop_waiting(l, body_n);
        } else if (now >= w->until_us) {
            (void)pop_waiting(l, body_n);
            intake_reply_busy(l, req, "too many large requests at once");
        } else {
            break;
        }
    }
    while (l->waiting != NULL && l->held != NULL && now >= l->waiting->until_us) {
        struct tr_http_request *req = pop_waiting(l, l->waiting->req->body.n);
        intake_reply_busy(l, req, "the store cannot keep up");
    }
}

/* Something may have changed: time, the store's queue, the budget. */
static void progress(struct intake_loop *l)
{
    if (l->held != NULL && submit(l, l->held))
        l->held = NULL;
    if (l->held != NULL && tr_clock_boot_us() >= l->held->until_us) {
        struct tr_err err;
        (void)tr_fail(&err, TR_THROTTLED, "store.busy", NULL, "the store cannot keep up");
        fail_group(l, l->held, &err);
        l->held = NULL;
    }
    try_waiting(l);
    intake_flush(l);
    if (l->paused && l->waiting_bytes <= INTAKE_WAIT_BYTES / 2) {
        l->paused = false;
        tr_http_pause(l->loop, false);
    }
    if (l->held != NULL || l->waiting != NULL)
        retry_soon(l);
}

static void on_post(struct tr_http_post *post)
{
    struct intake_loop *l =
        (struct intake_loop *)(void *)((char *)post - offsetof(struct intake_loop, post));

    tr_monitor_enter(&l->done);
    struct intake_group *first = take_finished(l);
    tr_monitor_leave(&l->done);
    answer_finished(l, first);
    if (l->held != NULL || l->waiting != NULL)
        progress(l);
}

static void on_timer(struct tr_http_timer *timer)
{
    progress((struct intake_loop *)(void *)((char *)timer - offsetof(struct intake_loop, timer)));
}

void intake_flow_init(struct intake_loop *l)
{
    l->waiting_end = &l->waiting;
    l->finished_end = &l->finished;
    l->post.fn = on_post;
    l->timer.fn = on_timer;
}

/* ---- the end ---- */

/* Groups at the store come back whatever happens: their requests get their answer here. */
static void wait_for_store(struct intake_loop *l)
{
    while (l->at_store > 0) {
        tr_monitor_enter(&l->done);
        while (l->finished == NULL)
            (void)tr_monitor_wait(&l->done, -1);
        struct intake_group *first = take_finished(l);
        tr_monitor_leave(&l->done);
        answer_finished(l, first);
    }
}

void intake_flow_end(struct intake_loop *l)
{
    struct tr_err err;

    tr_http_timer_clear(l->loop, &l->timer);
    intake_flush(l);
    wait_for_store(l);
    while (l->waiting != NULL) {
        struct tr_http_request *req = pop_waiting(l, l->waiting->req->body.n);
        intake_reply_busy(l, req, "the server is stopping");
    }
    (void)tr_fail(&err, TR_TRANSIENT, "intake.stopping", NULL, "the server is stopping");
    if (l->held != NULL)
        fail_group(l, l->held, &err);
}
