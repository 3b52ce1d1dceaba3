/* dedup/manifest: which runs there are, oldest first, and what of the journal they hold. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "os/file.h"
#include "store/dedup.h"

#define MANIFEST_MAGIC "TRDEDUPM"

enum { MOST_RUNS = 65536, PATH = 4096 };

struct head {
    char magic[8];
    uint32_t format;
    uint32_t n; /* ids that follow */
    uint64_t through_seq, next_id;
    uint32_t reserved;
    uint32_t crc; /* of the head with this 0, then the ids */
};

_Static_assert(sizeof(struct head) == 40, "a format on disk");

static uint32_t checksum(const struct head *h, const void *ids)
{
    struct head copy = *h;

    copy.crc = 0;
    return tr_crc32c(tr_crc32c(0, &copy, sizeof(copy)), ids, h->n * sizeof(uint64_t));
}

static enum tr_rc parse(struct tr_str bytes, struct dedup_manifest *ret, struct tr_err *err)
{
    struct head h = { 0 };

    if (bytes.n >= sizeof(h))
        memcpy(&h, bytes.p, sizeof(h));
    if (memcmp(h.magic, MANIFEST_MAGIC, sizeof(h.magic)) != 0 || h.n > MOST_RUNS ||
        bytes.n != sizeof(h) + h.n * sizeof(uint64_t) || h.crc != checksum(&h, bytes.p + sizeof(h)))
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "dedup/manifest is not sound");
    if (h.format > DEDUP_FORMAT)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "deduplication format %u; this program knows %d", h.format, DEDUP_FORMAT);
    *ret = (struct dedup_manifest){ h.through_seq, h.next_id, h.n, NULL };
    if (h.n == 0)
        return TR_OK;
    ret->ids = malloc(h.n * sizeof(uint64_t));
    if (ret->ids == NULL)
        return tr_fail_oom(err);
    memcpy(ret->ids, bytes.p + sizeof(h), h.n * sizeof(uint64_t));
    return TR_OK;
}

enum tr_rc dedup_manifest_read(const char *dir, struct dedup_manifest *ret, struct tr_err *err)
{
    char path[PATH];
    struct tr_buf bytes;

    tr_buf_init(&bytes, sizeof(struct head) + MOST_RUNS * sizeof(uint64_t));
    (void)snprintf(path, sizeof(path), "%s/manifest", dir);
    enum tr_rc rc = tr_file_read(path, &bytes, err);
    if (rc == TR_INVALID && strcmp(err->id, "os.no_file") == 0) {
        *ret = (struct dedup_manifest){ .next_id = 1 };
        rc = TR_OK;
    } else if (rc == TR_OK) {
        rc = parse(tr_buf_view(&bytes), ret, err);
    }
    tr_buf_fini(&bytes);
    return rc;
}

enum tr_rc dedup_manifest_write(const char *dir, const struct dedup_manifest *m, struct tr_err *err)
{
    char path[PATH];
    struct tr_buf bytes;
    struct head h = {
        .format = DEDUP_FORMAT,
        .n = (uint32_t)m->n,
        .through_seq = m->through_seq,
        .next_id = m->next_id,
    };

    memcpy(h.magic, MANIFEST_MAGIC, sizeof(h.magic));
    h.crc = checksum(&h, m->ids);
    tr_buf_init(&bytes, sizeof(h) + MOST_RUNS * sizeof(uint64_t));
    tr_buf_add(&bytes, &h, sizeof(h));
    tr_buf_add(&bytes, m->ids, m->n * sizeof(uint64_t));
    (void)snprintf(path, sizeof(path), "%s/manifest", dir);
    enum tr_rc rc =
        bytes.failed ? tr_fail_oom(err) : tr_file_replace(path, tr_buf_view(&bytes), 0600, err);
    tr_buf_fini(&bytes);
    return rc;
}
