#include "base/arena.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

struct tr_arena_block {
    struct tr_arena_block *next;
    size_t cap;
    alignas(max_align_t) char bytes[];
};

enum { FIRST_BLOCK = 16 * 1024 };

void tr_arena_init(struct tr_arena *a, size_t max)
{
    *a = (struct tr_arena){ .max = max };
}

static void free_from(struct tr_arena_block *b)
{
    while (b != NULL) {
        struct tr_arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void tr_arena_fini(struct tr_arena *a)
{
    free_from(a->head);
    tr_arena_init(a, a->max);
}

void tr_arena_reset(struct tr_arena *a)
{
    if (a->head != NULL) {
        free_from(a->head->next);
        a->head->next = NULL;
        a->total = a->head->cap;
    }
    a->used = 0;
}

void *tr_arena_alloc(struct tr_arena *a, size_t n)
{
    size_t align = alignof(max_align_t);

    if (n > a->max)
        return NULL;
    n = (n + align - 1) / align * align;
    if (a->head == NULL || n > a->head->cap - a->used) {
        size_t cap = a->head == NULL ? FIRST_BLOCK : a->head->cap * 2;

        if (cap > a->max - a->total)
            cap = a->max - a->total;
        if (cap < n)
            cap = n;
        if (cap > a->max - a->total)
            return NULL;
        struct tr_arena_block *b = malloc(sizeof(*b) + cap);
        if (b == NULL)
            return NULL;
        b->cap = cap;
        b->next = a->head;
        a->head = b;
        a->used = 0;
        a->total += cap;
    }
    void *p = a->head->bytes + a->used;
    a->used += n;
    return p;
}

struct tr_str tr_arena_str(struct tr_arena *a, struct tr_str s)
{
    char *p = tr_arena_alloc(a, s.n + 1);

    if (p == NULL)
        return (struct tr_str){ NULL, 0 };
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct tr_str){ p, s.n };
}
