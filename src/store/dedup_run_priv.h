/* The bytes of a run's file: what reads it and what writes it share. */
#ifndef TR_STORE_DEDUP_RUN_PRIV_H
#define TR_STORE_DEDUP_RUN_PRIV_H

#include "store/dedup_run.h"

enum { FILTER_PROBES = 7, FILTER_BITS_PER_KEY = 10, RUN_PATH = 4096 };

#define RUN_MAGIC "TRDEDUP\n"

/* At 0, in a block of its own; then the blocks, the fences, the filter. */
struct run_head {
    char magic[8];
    uint32_t format;
    uint32_t blocks;
    uint64_t id, entries;
    int64_t oldest, newest;
    uint32_t lines;
    uint32_t tail_crc; /* of fences and filter */
    uint32_t reserved;
    uint32_t crc; /* of all before it */
};

struct run_block {
    struct dedup_entry entries[DEDUP_BLOCK_ENTRIES];
    uint64_t reserved;
    uint32_t n;
    uint32_t crc; /* of all before it, from the block's number */
};

_Static_assert(sizeof(struct run_head) == 64, "a format on disk");
_Static_assert(sizeof(struct run_block) == DEDUP_BLOCK, "a format on disk");

/* Aligned for its lines, for large pages when it is large; free() it. */
struct dedup_filter_line *dedup_filter_alloc(size_t bytes);

void dedup_filter_set(struct dedup_filter_line *line, uint64_t hash);

#endif
