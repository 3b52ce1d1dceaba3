/* Writing a run. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "os/file.h"
#include "store/dedup_run_priv.h"

enum { WRITE_BLOCKS = 32 }; /* gathered for one write */

struct dedup_run_writer {
    struct dedup_run *run;
    char path[RUN_PATH];
    char dir[RUN_PATH];
    uint32_t most_blocks;
    struct run_block *gathered; /* WRITE_BLOCKS */
    uint32_t written;           /* blocks that are in the file */
};

void dedup_run_abort(struct dedup_run_writer *w)
{
    if (w == NULL)
        return;
    if (w->run != NULL && w->run->fd >= 0)
        (void)unlink(w->path);
    dedup_run_unref(w->run);
    free(w->gathered);
    free(w);
}

static enum tr_rc allocate(struct dedup_run_writer *w, uint64_t most_entries, struct tr_err *err)
{
    struct dedup_run *r = w->run;

    w->most_blocks = (uint32_t)(most_entries / DEDUP_BLOCK_ENTRIES + 1);
    r->lines = (uint32_t)(most_entries * FILTER_BITS_PER_KEY / (8 * sizeof(*r->filter)) + 1);
    size_t filter_bytes = (size_t)r->lines * sizeof(*r->filter);
    r->fences = malloc((size_t)w->most_blocks * sizeof(*r->fences));
    r->filter = dedup_filter_alloc(filter_bytes);
    w->gathered = calloc(WRITE_BLOCKS, sizeof(*w->gathered));
    if (r->fences == NULL || r->filter == NULL || w->gathered == NULL)
        return tr_fail_oom(err);
    memset(r->filter, 0, filter_bytes);
    return TR_OK;
}

enum tr_rc dedup_run_begin(const char *dir, uint64_t id, uint64_t most_entries,
                           struct dedup_run_writer **ret, struct tr_err *err)
{
    struct dedup_run_writer *w = calloc(1, sizeof(*w));
    char name[DEDUP_NAME];

    if (w == NULL || (w->run = calloc(1, sizeof(*w->run))) == NULL) {
        free(w);
        return tr_fail_oom(err);
    }
    atomic_init(&w->run->refs, 1);
    w->run->id = id;
    w->run->fd = -1;
    w->run->oldest = INT64_MAX;
    w->run->newest = INT64_MIN;
    dedup_run_name(id, name);
    (void)snprintf(w->dir, sizeof(w->dir), "%s", dir);
    int n = snprintf(w->path, sizeof(w->path), "%s/%s", dir, name);
    enum tr_rc rc = n >= (int)sizeof(w->path)
                        ? tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "path of %d bytes", n)
                        : allocate(w, most_entries, err);
    if (rc == TR_OK) {
        w->run->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (w->run->fd < 0)
            rc = tr_fail_errno(err, errno, "create %s", w->path);
    }
    if (rc != TR_OK) {
        dedup_run_abort(w);
        return rc;
    }
    *ret = w;
    return TR_OK;
}

/* Writes the blocks that are gathered; the last one may be part full. */
static enum tr_rc write_gathered(struct dedup_run_writer *w, struct tr_err *err)
{
    uint32_t n = w->run->blocks - w->written;

    for (uint32_t i = 0; i < n; i++) {
        struct run_block *b = &w->gathered[i];
        b->crc = tr_crc32c(w->written + i, b, offsetof(struct run_block, crc));
    }
    struct iovec v = { w->gathered, n * sizeof(*w->gathered) };
    if (tr_file_pwritev_all(w->run->fd, &v, 1, (off_t)DEDUP_BLOCK * (1 + (off_t)w->written), err) !=
        TR_OK)
        return tr_wrap(err, "%s", w->path);
    memset(w->gathered, 0, WRITE_BLOCKS * sizeof(*w->gathered));
    w->written = w->run->blocks;
    return TR_OK;
}

enum tr_rc dedup_run_add(struct dedup_run_writer *w, uint64_t hash, const struct dedup_entry *e,
                         struct tr_err *err)
{
    struct dedup_run *r = w->run;
    struct run_block *b = r->blocks == w->written ? NULL : &w->gathered[r->blocks - w->written - 1];

    if (b == NULL || b->n == DEDUP_BLOCK_ENTRIES) {
        if (r->blocks - w->written == WRITE_BLOCKS && write_gathered(w, err) != TR_OK)
            return err->rc;
        assert(r->blocks < w->most_blocks);
        b = &w->gathered[r->blocks - w->written];
        r->fences[r->blocks++] = hash;
    }
    b->entries[b->n++] = *e;
    dedup_filter_set(dedup_filter_at(r, hash), hash);
    r->entries++;
    if (e->inserted_at < r->oldest)
        r->oldest = e->inserted_at;
    if (e->inserted_at > r->newest)
        r->newest = e->inserted_at;
    return TR_OK;
}

/* Fences and filter, then the head, which makes the file a run. */
static enum tr_rc write_frame(struct dedup_run_writer *w, struct tr_err *err)
{
    struct dedup_run *r = w->run;
    size_t fences_bytes = (size_t)r->blocks * sizeof(*r->fences);
    size_t filter_bytes = (size_t)r->lines * sizeof(*r->filter);
    off_t tail = (off_t)DEDUP_BLOCK * (1 + (off_t)r->blocks);
    struct run_head h = {
        .format = DEDUP_FORMAT,
        .blocks = r->blocks,
        .id = r->id,
        .entries = r->entries,
        .oldest = r->oldest,
        .newest = r->newest,
        .lines = r->lines,
        .tail_crc = tr_crc32c(tr_crc32c(0, r->fences, fences_bytes), r->filter, filter_bytes),
    };
    memcpy(h.magic, RUN_MAGIC, sizeof(h.magic));
    h.crc = tr_crc32c(0, &h, offsetof(struct run_head, crc));

    struct iovec v[2] = { { r->fences, fences_bytes }, { r->filter, filter_bytes } };
    struct iovec head = { &h, sizeof(h) };
    if (tr_file_pwritev_all(r->fd, v, 2, tail, err) != TR_OK ||
        tr_file_pwritev_all(r->fd, &head, 1, 0, err) != TR_OK)
        return tr_wrap(err, "%s", w->path);
    if (fsync(r->fd) != 0)
        return tr_fail_errno(err, errno, "fsync %s", w->path);
    r->bytes = (uint64_t)tail + fences_bytes + filter_bytes;
    return tr_file_sync_dir(w->dir, err);
}

enum tr_rc dedup_run_finish(struct dedup_run_writer *w, struct dedup_run **ret, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    assert(w->run->entries > 0);
    if (w->run->blocks > w->written)
        rc = write_gathered(w, err);
    if (rc == TR_OK)
        rc = write_frame(w, err);
    if (rc != TR_OK) {
        dedup_run_abort(w);
        return rc;
    }
    *ret = w->run;
    w->run = NULL;
    dedup_run_abort(w);
    return TR_OK;
}
