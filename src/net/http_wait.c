/* Who waits for the budget: one queue for all loops, first come, first served. A body that does not
 * fit holds up the ones behind it, so that a large one is not overtaken for ever.
 *
 * Lock: wait_lock guards the queue, the granted rings of the loops and need, granted, waiting of
 * the connections in them. Nothing else is locked inside it. */
#include "net/http_priv.h"

bool http_wait_take(struct conn *c, size_t n)
{
    struct tr_http_server *s = c->loop->server;
    bool got = true;

    if (s->o.bodies == NULL)
        return true;
    (void)pthread_mutex_lock(&s->wait_lock);
    if (!link_alone(&s->waiting) || !tr_budget_take(s->o.bodies, n)) {
        c->need = n;
        c->granted = false;
        c->waiting = true;
        link_append(&s->waiting, &c->wait);
        (void)atomic_fetch_add(&s->n_waiting, 1);
        got = false;
    }
    (void)pthread_mutex_unlock(&s->wait_lock);
    return got;
}

void http_wait_leave(struct conn *c)
{
    struct tr_http_server *s = c->loop->server;

    if (!c->waiting) /* only this thread sets it, and clears it */
        return;
    (void)pthread_mutex_lock(&s->wait_lock);
    link_remove(&c->wait);
    if (c->granted)
        tr_budget_give(s->o.bodies, c->need);
    else
        (void)atomic_fetch_sub(&s->n_waiting, 1);
    c->waiting = false;
    (void)pthread_mutex_unlock(&s->wait_lock);
    http_wait_grant(s);
}

void http_wait_grant(struct tr_http_server *s)
{
    if (atomic_load(&s->n_waiting) == 0)
        return;
    (void)pthread_mutex_lock(&s->wait_lock);
    while (!link_alone(&s->waiting)) {
        struct conn *c = HTTP_OF(struct conn, wait, s->waiting.next);

        if (!tr_budget_take(s->o.bodies, c->need))
            break;
        c->granted = true;
        (void)atomic_fetch_sub(&s->n_waiting, 1);
        link_remove(&c->wait);
        link_append(&c->loop->granted, &c->wait);
        http_loop_wake(c->loop);
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
    }
    (void)pthread_mutex_unlock(&s->wait_lock);
    return c;
}
