#include "store/dedup_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "os/file.h"
#include "store/dedup_run_priv.h"

uint64_t dedup_hash_key(const struct dedup_hash *h, const struct dedup_key *k)
{
    return tr_hash64(k, sizeof(*k), h->seed) & h->mask;
}

void dedup_run_name(uint64_t id, char out[DEDUP_NAME])
{
    (void)snprintf(out, DEDUP_NAME, "%016" PRIx64 ".trd", id);
}

void dedup_run_ref(struct dedup_run *r)
{
    (void)atomic_fetch_add(&r->refs, 1);
}

void dedup_run_unref(struct dedup_run *r)
{
    if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    tr_file_close(&r->fd);
    free(r->fences);
    free(r->filter);
    free(r);
}

struct dedup_filter_line *dedup_filter_alloc(size_t bytes)
{
    enum { HUGE = 2 << 20 };
    void *p;

    if (posix_memalign(&p, bytes < HUGE ? sizeof(struct dedup_filter_line) : HUGE, bytes) != 0)
        return NULL;
    if (bytes >= HUGE)
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* every look at it would miss the TLB otherwise */
    return p;
}

/* Seven bits of one cache line, nine bits of a remixed hash for each. */
static inline uint64_t filter_bits(uint64_t hash)
{
    hash *= UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

void dedup_filter_set(struct dedup_filter_line *line, uint64_t hash)
{
    uint64_t bits = filter_bits(hash);

    for (int i = 0; i < FILTER_PROBES; i++, bits >>= 9)
        line->word[bits >> 6 & 7] |= UINT64_C(1) << (bits & 63);
}

bool dedup_run_may_hold(const struct dedup_run *r, uint64_t hash)
{
    const struct dedup_filter_line *line = dedup_filter_at(r, hash);
    uint64_t bits = filter_bits(hash);

    for (int i = 0; i < FILTER_PROBES; i++, bits >>= 9)
        if ((line->word[bits >> 6 & 7] >> (bits & 63) & 1) == 0)
            return false;
    return true;
}

static enum tr_rc damaged(uint64_t id, const char *what, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "store.damaged",
                   "run tailrace store check; restore the data folder from a backup",
                   "dedup/%016" PRIx64 ".trd: %s", id, what);
}

static enum tr_rc load(struct dedup_run *r, struct tr_err *err)
{
    struct run_head h;
    struct stat st;

    if (fstat(r->fd, &st) != 0)
        return tr_fail_errno(err, errno, "stat a run");
    if ((uint64_t)st.st_size < sizeof(h))
        return damaged(r->id, "cut inside its head", err);
    if (tr_file_pread_all(r->fd, &h, sizeof(h), 0, err) != TR_OK)
        return err->rc;
    if (memcmp(h.magic, RUN_MAGIC, sizeof(h.magic)) != 0 ||
        h.crc != tr_crc32c(0, &h, offsetof(struct run_head, crc)))
        return damaged(r->id, "its head is not sound", err);
    if (h.format > DEDUP_FORMAT)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "deduplication format %u; this program knows %d", h.format, DEDUP_FORMAT);

    size_t fences_bytes = (size_t)h.blocks * sizeof(*r->fences);
    size_t filter_bytes = (size_t)h.lines * sizeof(*r->filter);
    uint64_t tail = DEDUP_BLOCK * (1 + (uint64_t)h.blocks);
    if (h.id != r->id || h.blocks == 0 || h.lines == 0 ||
        (uint64_t)st.st_size != tail + fences_bytes + filter_bytes)
        return damaged(r->id, "its head does not fit its size", err);
    r->fences = malloc(fences_bytes);
    r->filter = dedup_filter_alloc(filter_bytes);
    if (r->fences == NULL || r->filter == NULL)
        return tr_fail_oom(err);
    if (tr_file_pread_all(r->fd, r->fences, fences_bytes, (off_t)tail, err) != TR_OK ||
        tr_file_pread_all(r->fd, r->filter, filter_bytes, (off_t)(tail + fences_bytes), err) !=
            TR_OK)
        return err->rc;
    uint32_t crc = tr_crc32c(tr_crc32c(0, r->fences, fences_bytes), r->filter, filter_bytes);
    if (crc != h.tail_crc)
        return damaged(r->id, "its filter's checksum is wrong", err);

    r->entries = h.entries;
    r->oldest = h.oldest;
    r->newest = h.newest;
    r->blocks = h.blocks;
    r->lines = h.lines;
    r->bytes = (uint64_t)st.st_size;
    return TR_OK;
}

enum tr_rc dedup_run_open(const char *dir, uint64_t id, struct dedup_run **ret, struct tr_err *err)
{
    char name[DEDUP_NAME];
    char path[RUN_PATH];
    struct dedup_run *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return tr_fail_oom(err);
    atomic_init(&r->refs, 1);
    r->id = id;
    dedup_run_name(id, name);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    enum tr_rc rc = TR_OK;
    if (r->fd < 0)
        rc = errno == ENOENT ? damaged(id, "no such file", err)
                             : tr_fail_errno(err, errno, "open %s", path);
    if (rc == TR_OK)
        rc = load(r, err);
    if (rc != TR_OK) {
        dedup_run_unref(r);
        return rc;
    }
    *ret = r;
    return TR_OK;
}

enum tr_rc dedup_run_block(const struct dedup_run *r, uint32_t b, struct dedup_entry *out,
                           size_t *ret_n, struct tr_err *err)
{
    struct run_block block;

    if (tr_file_pread_all(r->fd, &block, sizeof(block), (off_t)DEDUP_BLOCK * (1 + (off_t)b), err) !=
        TR_OK)
        return tr_wrap(err, "dedup/%016" PRIx64 ".trd", r->id);
    if (block.n == 0 || block.n > DEDUP_BLOCK_ENTRIES ||
        block.crc != tr_crc32c(b, &block, offsetof(struct run_block, crc)))
        return damaged(r->id, "a block's checksum is wrong", err);
    memcpy(out, block.entries, block.n * sizeof(*out));
    *ret_n = block.n;
    return TR_OK;
}

/* The block before the first one that begins at or behind hash: equal hashes may end it. */
static uint32_t first_block_for(const struct dedup_run *r, uint64_t hash)
{
    uint32_t lo = 0;
    uint32_t hi = r->blocks;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (r->fences[mid] < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo > 0 ? lo - 1 : 0;
}

enum tr_rc dedup_run_find(const struct dedup_run *r, uint64_t hash, const struct dedup_key *k,
                          bool *ret_found, struct dedup_entry *ret, struct tr_err *err)
{
    *ret_found = false;
    for (uint32_t b = first_block_for(r, hash); b < r->blocks && r->fences[b] <= hash; b++) {
        struct dedup_entry entries[DEDUP_BLOCK_ENTRIES];
        size_t n;
        if (dedup_run_block(r, b, entries, &n, err) != TR_OK)
            return err->rc;
        for (size_t i = 0; i < n; i++) {
            if (memcmp(&entries[i].key, k, sizeof(*k)) != 0)
                continue;
            *ret = entries[i];
            *ret_found = true;
            return TR_OK;
        }
    }
    return TR_OK;
}
