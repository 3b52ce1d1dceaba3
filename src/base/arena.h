/* Many small allocations that die together. Never moves what it gave out. */
#ifndef TR_BASE_ARENA_H
#define TR_BASE_ARENA_H

#include "base/str.h"

struct tr_arena_block;

struct tr_arena {
    struct tr_arena_block *head; /* the block in use; older ones follow */
    size_t used;                 /* bytes of head in use */
    size_t total;                /* bytes allocated in all blocks */
    size_t max;                  /* limit for total */
};

void tr_arena_init(struct tr_arena *a, size_t max);
void tr_arena_fini(struct tr_arena *a);

/* Everything given out becomes invalid; one block is kept for the next round. */
void tr_arena_reset(struct tr_arena *a);

/* n bytes aligned for any type, or NULL when the limit is reached or memory ran out. */
void *tr_arena_alloc(struct tr_arena *a, size_t n);

/* Copies; NUL-terminated; p == NULL on failure. */
struct tr_str tr_arena_str(struct tr_arena *a, struct tr_str s);

#endif
