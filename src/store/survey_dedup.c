#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/survey.h"

static void check_run(const struct dedup_run *r, const char *file, const struct dedup_hash *h,
                      struct survey_problems *p)
{
    uint64_t entries = 0;
    uint64_t last = 0;

    for (uint32_t b = 0; b < r->blocks; b++) {
        struct dedup_entry block[DEDUP_BLOCK_ENTRIES];
        struct tr_err why;
        size_t n;
        if (dedup_run_block(r, b, block, &n, &why) != TR_OK) {
            survey_problem(p, file, (uint64_t)DEDUP_BLOCK * (b + 1), "%s", why.cause);
            continue;
        }
        bool sound = true;
        for (size_t i = 0; i < n; i++) {
            uint64_t hash = dedup_hash_key(h, &block[i].key);
            sound = sound && hash >= last && dedup_run_may_hold(r, hash) &&
                    (i > 0 || hash == r->fences[b]);
            last = hash;
        }
        if (!sound)
            survey_problem(p, file, (uint64_t)DEDUP_BLOCK * (b + 1), "entries are out of order");
        entries += n;
    }
    if (entries != r->entries)
        survey_problem(p, file, 0, "%" PRIu64 " entries, but its head says %" PRIu64, entries,
                       r->entries);
}

enum tr_rc survey_dedup(const char *dir, const struct store_identity *id, bool deep,
                        struct survey_problems *p, struct survey_dedup *ret, struct tr_err *err)
{
    char path[STORE_PATH];
    struct dedup_manifest m;
    struct dedup_hash h = { id->seed, UINT64_MAX };

    *ret = (struct survey_dedup){ 0 };
    (void)snprintf(path, sizeof(path), "%s/dedup", dir);
    enum tr_rc rc = dedup_manifest_read(path, &m, err);
    if (rc == TR_REFUSED) {
        survey_problem(p, "dedup/manifest", 0, "%s", err->cause);
        return TR_OK;
    }
    if (rc != TR_OK)
        return rc;
    ret->through_seq = m.through_seq;
    for (size_t i = 0; i < m.n; i++) {
        struct dedup_run *r;
        struct tr_err why;
        char name[DEDUP_NAME];
        char file[64];
        dedup_run_name(m.ids[i], name);
        (void)snprintf(file, sizeof(file), "dedup/%s", name);
        ret->runs++;
        if (dedup_run_open(path, m.ids[i], &r, &why) != TR_OK) {
            survey_problem(p, file, 0, "%s", why.cause);
            continue;
        }
        ret->entries += r->entries;
        ret->bytes += r->bytes;
        if (deep)
            check_run(r, file, &h, p);
        dedup_run_unref(r);
    }
    free(m.ids);
    return TR_OK;
}
