/* Who waits for the budget: one queue for all loops, first come, first served. A body that does not
 * fit holds up the large ones behind it, so that it is not overtaken for ever; small ones have a
 * quarter of the budget more and pass.
 *
 * Bodies are charged as they come, so several may be half there and all wait for more. When those
 * that wait hold over half of the budget themselves, the first of them gets what it needs whatever
 * is left: one at a time, so the sum is the budget and one body.
 *
 * Lock: wait_lock guards the queue, the granted rings of the loops and need, holds, small, granted,
 * waiting, over of the connections in them. Nothing else is locked inside it. */
#include "net/http_priv.h"

static bool fits(struct tr_http_server *s, const struct conn *c)
{
    return tr_budget_take_below(s->o.bodies, c->need, c->small ? s->small_max : s->o.bodies->max);
}

/* The lock is held. */
static bool may_go_over(struct tr_http_server *s, struct conn *c)
{
    if (c->holds == 0 || s->waiting_hold <= s->o.bodies->max / 2)
        return false;
    if (s->over && !c->x->over)
        return false;
    tr_budget_force(s->o.bodies, c->need);
    s->over = c->over = true;
    return true;
}

bool http_wait_take(struct conn *c, size_t n)
{
    struct tr_http_server *s = c->loop->server;
    bool got = true;

    if (s->o.bodies == NULL)
        return true;
    (void)pthread_mutex_lock(&s->wait_lock);
    c->need = n;
    c->holds = c->x->charged;
    c->small = c->holds + n <= s->o.inline_body_bytes;
    if ((!c->small && !link_alone(&s->waiting)) || !fits(s, c)) {
        c->granted = false;
        c->waiting = true;
        c->over = false;
        s->waiting_hold += c->holds;
        link_append(&s->waiting, &c->wait);
        (void)atomic_fetch_add(&s->n_waiting, 1);
        got = false;
    }
    (void)pthread_mutex_unlock(&s->wait_lock);
    if (!got)
        http_wait_grant(s);
    return got;
}

void http_wait_leave(struct conn *c)
{
    struct tr_http_server *s = c->loop->server;

    if (!c->waiting) /* only this thread sets it, and clears it */
        return;
    (void)pthread_mutex_lock(&s->wait_lock);
    link_remove(&c->wait);
    if (c->granted) {
        tr_budget_give(s->o.bodies, c->need);
        if (c->over && !c->x->over)
            s->over = false;
    } else {
        s->waiting_hold -= c->holds;
        (void)atomic_fetch_sub(&s->n_waiting, 1);
    }
    c->waiting = c->over = false;
    (void)pthread_mutex_unlock(&s->wait_lock);
    http_wait_grant(s);
}

static void grant(struct tr_http_server *s, struct conn *c)
{
    c->granted = true;
    s->waiting_hold -= c->holds;
    (void)atomic_fetch_sub(&s->n_waiting, 1);
    link_remove(&c->wait);
    link_append(&c->loop->granted, &c->wait);
    http_loop_wake(c->loop);
}

void http_wait_grant(struct tr_http_server *s)
{
    bool blocked = false;

    if (atomic_load(&s->n_waiting) == 0)
        return;
    (void)pthread_mutex_lock(&s->wait_lock);
    for (struct link *at = s->waiting.next, *next = at->next; at != &s->waiting;
         at = next, next = at->next) {
        struct conn *c = HTTP_OF(struct conn, wait, at);

        if ((!blocked || c->small) && fits(s, c))
            grant(s, c);
        else if (may_go_over(s, c))
            grant(s, c);
        else if (!c->small)
            blocked = true;
    }
    (void)pthread_mutex_unlock(&s->wait_lock);
}

struct conn *http_wait_granted(struct tr_http_loop *l)
{
    struct tr_http_server *s = l->server;
    struct conn *c = NULL;

    (void)pthread_mutex_lock(&s->wait_lock);
    if (!link_alone(&l->granted)) {
        c = HTTP_OF(struct conn, wait, l->granted.next);
        link_remove(&c->wait);
        c->waiting = false;
        c->x->over = c->x->over || c->over;
        c->over = false;
    }
    (void)pthread_mutex_unlock(&s->wait_lock);
    return c;
}

void http_wait_over_ends(struct exchange *x)
{
    struct tr_http_server *s = x->conn->loop->server;

    (void)pthread_mutex_lock(&s->wait_lock);
    x->over = s->over = false;
    (void)pthread_mutex_unlock(&s->wait_lock);
}

bool http_small_take(struct tr_http_server *s, size_t n)
{
    return s->o.bodies == NULL || tr_budget_take_below(s->o.bodies, n, s->small_max);
}

void http_small_give(struct tr_http_server *s, size_t n)
{
    if (s->o.bodies == NULL || n == 0)
        return;
    tr_budget_give(s->o.bodies, n);
    http_wait_grant(s);
}
