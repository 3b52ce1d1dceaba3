/* The table of capture tokens: immutable, counted, swapped whole. */
#include <stdlib.h>

#include "intake/intake_priv.h"

void intake_tokens_unref(struct intake_tokens *t)
{
    if (t != NULL && atomic_fetch_sub(&t->refs, 1) == 1)
        free(t);
}

static int by_token(const void *a, const void *b)
{
    const struct tr_intake_token *x = a;
    const struct tr_intake_token *y = b;

    return strcmp(x->token, y->token);
}

static int against(const void *key, const void *item)
{
    const struct tr_str *token = key;
    const struct tr_intake_token *it = item;
    size_t n = strlen(it->token);
    int order = memcmp(token->p, it->token, token->n < n ? token->n : n);

    return order != 0 ? order : (token->n > n) - (token->n < n);
}

bool intake_tokens_find(void *arg, struct tr_str token, int32_t *ret_project)
{
    const struct intake_tokens *t = arg;
    const struct tr_intake_token *found =
        t == NULL || token.n == 0 ? NULL
                                  : bsearch(&token, t->items, t->n, sizeof(t->items[0]), against);

    if (found == NULL)
        return false;
    *ret_project = found->project;
    return true;
}

enum tr_rc tr_intake_set_tokens(struct tr_intake *t, const struct tr_intake_token *tokens, size_t n,
                                struct tr_err *err)
{
    struct intake_tokens *fresh = malloc(sizeof(*fresh) + n * sizeof(fresh->items[0]));

    if (fresh == NULL)
        return tr_fail_oom(err);
    atomic_init(&fresh->refs, 1);
    fresh->n = n;
    if (n > 0)
        memcpy(fresh->items, tokens, n * sizeof(fresh->items[0]));
    qsort(fresh->items, n, sizeof(fresh->items[0]), by_token);

    (void)pthread_mutex_lock(&t->lock);
    struct intake_tokens *old = t->tokens;
    t->tokens = fresh;
    atomic_fetch_add(&t->tokens_version, 1);
    (void)pthread_mutex_unlock(&t->lock);
    intake_tokens_unref(old);
    return TR_OK;
}
