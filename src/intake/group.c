/* The group of a turn: packed events and the requests that wait for them. */
#include <stdlib.h>

#include "intake/intake_priv.h"

enum { POOL = 4 };

/* Room for n items of an array that grows by doubling. */
static bool grow(void **array, size_t item, size_t *cap, size_t n)
{
    if (n <= *cap)
        return true;
    size_t want = *cap == 0 ? 64 : *cap * 2;
    while (want < n)
        want *= 2;
    void *p = realloc(*array, want * item);
    if (p == NULL)
        return false;
    *array = p;
    *cap = want;
    return true;
}

static void empty(struct intake_group *g)
{
    if (g->charged > 0)
        tr_budget_give(g->loop->t->o.bodies, g->charged);
    g->charged = 0;
    g->until_us = 0;
    for (size_t i = 0; i < g->n_pending; i++)
        free(g->pending[i].verdicts);
    g->n_pending = 0;
    g->g.n_events = 0;
    g->g.n_refused = 0;
    g->rc = TR_OK;
    if (g->g.rows.cap > INTAKE_KEEP_BYTES)
        tr_buf_fini(&g->g.rows);
    tr_buf_clear(&g->g.rows);
}

struct intake_group *intake_group_take(struct intake_loop *l)
{
    struct intake_group *g = l->pool;

    if (g != NULL) {
        l->pool = g->next;
        l->pooled--;
        return g;
    }
    g = calloc(1, sizeof(*g));
    if (g == NULL)
        return NULL;
    g->loop = l;
    g->g.owner = g;
    tr_buf_init(&g->g.rows, INTAKE_GROUP_MAX_BYTES);
    return g;
}

void intake_group_free(struct intake_group *g)
{
    if (g == NULL)
        return;
    empty(g);
    tr_buf_fini(&g->g.rows);
    free(g->g.events);
    free(g->g.refused);
    free(g->pending);
    free(g);
}

void intake_group_give(struct intake_loop *l, struct intake_group *g)
{
    if (l->pooled >= POOL) {
        intake_group_free(g);
        return;
    }
    empty(g);
    g->next = l->pool;
    l->pool = g;
    l->pooled++;
}

bool intake_group_add(struct intake_group *g, const struct tr_capture_out *out,
                      const struct intake_pending *pending)
{
    size_t n = g->g.n_events;

    if (!grow((void **)&g->g.events, sizeof(*g->g.events), &g->cap_events, n + out->events) ||
        !grow((void **)&g->pending, sizeof(*g->pending), &g->cap_pending, g->n_pending + 1))
        return false;
    for (uint32_t i = 0; i < out->events; i++)
        g->g.events[n + i] = (struct tr_group_event){ .at = out->at[i] };
    g->g.n_events += out->events;
    g->pending[g->n_pending++] = *pending;
    return true;
}

void intake_group_refuse(struct intake_group *g, int32_t project, uint32_t events)
{
    for (size_t i = 0; i < g->g.n_refused; i++) {
        if (g->g.refused[i].project == project) {
            g->g.refused[i].events += events;
            return;
        }
    }
    if (grow((void **)&g->g.refused, sizeof(*g->g.refused), &g->cap_refused, g->g.n_refused + 1))
        g->g.refused[g->g.n_refused++] =
            (struct tr_group_refused){ .project = project, .events = events };
}
