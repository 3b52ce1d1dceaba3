/* Which tokens that nobody has are being sent here. */
#include "intake/intake_priv.h"

void intake_unknown_note(struct intake_unknown *u, struct tr_str token, int64_t now)
{
    struct tr_intake_unknown item = { .last_at = now };
    size_t i = 0;

    if (token.n == 0 || token.n >= sizeof(item.token))
        return;
    memcpy(item.token, token.p, token.n);
    (void)pthread_mutex_lock(&u->lock);
    while (i < u->n && strcmp(u->items[i].token, item.token) != 0)
        i++;
    if (i < u->n)
        item.requests = u->items[i].requests;
    else if (u->n < INTAKE_UNKNOWN)
        u->n++;
    else
        i--; /* the oldest one goes */
    item.requests++;
    memmove(u->items + 1, u->items, i * sizeof(u->items[0]));
    u->items[0] = item;
    (void)pthread_mutex_unlock(&u->lock);
}

size_t tr_intake_unknown_tokens(struct tr_intake *t, struct tr_intake_unknown *ret, size_t cap)
{
    struct intake_unknown *u = &t->unknown;

    (void)pthread_mutex_lock(&u->lock);
    size_t n = u->n < cap ? u->n : cap;
    memcpy(ret, u->items, n * sizeof(u->items[0]));
    (void)pthread_mutex_unlock(&u->lock);
    return n;
}
