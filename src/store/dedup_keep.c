/* The keeper's part of deduplication: tables become runs, runs are merged, old ones go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/metric.h"
#include "os/kill.h"
#include "store/dedup_priv.h"

enum {
    MERGE_MOST = 4, /* runs at once */
    MANY_RUNS = 12, /* from here on fewer than MERGE_MOST are merged, too */
    RUN_PART = 8,   /* a run holds at most this part of max_events, so that expiry is not coarse */
};

TR_GAUGE(runs_now, "tailrace_store_dedup_runs", "Deduplication runs on disk.");
TR_COUNTER(merges, "tailrace_store_dedup_merges_total", "Merges of deduplication runs.");

/* Writes the manifest for the runs of next, then shows them to the writer. Takes next over. */
static enum tr_rc adopt(struct dedup *d, struct dedup_set *next, uint64_t through_seq,
                        bool frozen_done, struct tr_err *err)
{
    struct dedup_manifest m = { .through_seq = through_seq, .next_id = d->next_id, .n = next->n };
    enum tr_rc rc = TR_OK;

    m.ids = calloc(next->n + 1, sizeof(uint64_t));
    if (m.ids == NULL)
        rc = tr_fail_oom(err);
    for (size_t i = 0; i < next->n && rc == TR_OK; i++)
        m.ids[i] = next->runs[i]->id;
    if (rc == TR_OK)
        rc = dedup_manifest_write(d->dir, &m, err);
    free(m.ids);
    if (rc != TR_OK) {
        dedup_set_unref(next);
        return rc;
    }
    TR_KILL_POINT("dedup.manifest");

    struct dedup_table *done = NULL;
    tr_monitor_enter(&d->monitor);
    struct dedup_set *before = d->set;
    d->set = next;
    d->through_seq = through_seq;
    if (frozen_done) {
        done = d->frozen;
        d->frozen = NULL;
    }
    tr_monitor_tell(&d->monitor);
    tr_monitor_leave(&d->monitor);
    dedup_set_unref(before);
    dedup_table_unref(done);
    tr_gauge_set(&runs_now, (int64_t)next->n);
    return TR_OK;
}

/* The current set with runs [from, to) replaced by one (which is taken over; NULL: by none). */
static struct dedup_set *set_with(const struct dedup *d, size_t from, size_t to,
                                  struct dedup_run *by)
{
    const struct dedup_set *set = d->set;
    struct dedup_set *next = dedup_set_new(set->n + 1);

    if (next == NULL)
        return NULL;
    for (size_t i = 0; i < set->n; i++) {
        if (i == from && by != NULL)
            next->runs[next->n++] = by;
        if (i >= from && i < to)
            continue;
        dedup_run_ref(set->runs[i]);
        next->runs[next->n++] = set->runs[i];
    }
    if (from == set->n && by != NULL)
        next->runs[next->n++] = by;
    return next;
}

static void remove_file(const struct dedup *d, uint64_t id)
{
    char name[DEDUP_NAME];
    char path[4096];

    dedup_run_name(id, name);
    if (snprintf(path, sizeof(path), "%s/%s", d->dir, name) < (int)sizeof(path))
        (void)unlink(path); /* one that stays is removed by the next start */
}

struct sorted {
    uint64_t hash;
    uint32_t index;
};

static int compare_sorted(const void *a, const void *b, void *table)
{
    const struct sorted *x = a;
    const struct sorted *y = b;
    const struct dedup_table *t = table;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return memcmp(&t->entries[x->index].key, &t->entries[y->index].key, sizeof(struct dedup_key));
}

static enum tr_rc write_table(struct dedup *d, struct dedup_table *t, struct dedup_run **ret,
                              struct tr_err *err)
{
    struct sorted *order = malloc(t->n * sizeof(*order));
    struct dedup_run_writer *w;

    if (order == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < t->n; i++)
        order[i] = (struct sorted){ dedup_hash_key(&t->hash, &t->entries[i].key), (uint32_t)i };
    qsort_r(order, t->n, sizeof(*order), compare_sorted, t);

    enum tr_rc rc = dedup_run_begin(d->dir, d->next_id, t->n, &w, err);
    if (rc == TR_OK) {
        d->next_id++;
        for (size_t i = 0; i < t->n && rc == TR_OK; i++)
            rc = dedup_run_add(w, order[i].hash, &t->entries[order[i].index], err);
        if (rc == TR_OK)
            rc = dedup_run_finish(w, ret, err);
        else
            dedup_run_abort(w);
    }
    free(order);
    return rc;
}

static enum tr_rc flush(struct dedup *d, struct dedup_table *t, struct tr_err *err)
{
    struct dedup_run *run = NULL;

    if (t->n > 0 && write_table(d, t, &run, err) != TR_OK)
        return tr_wrap(err, "write a deduplication run");
    TR_KILL_POINT("dedup.flushed");
    struct dedup_set *next = set_with(d, d->set->n, d->set->n, run);
    if (next == NULL) {
        dedup_run_unref(run);
        return tr_fail_oom(err);
    }
    return adopt(d, next, d->frozen_seq, true, err);
}

enum tr_rc dedup_flush(struct dedup *d, struct tr_err *err)
{
    tr_monitor_enter(&d->monitor);
    struct dedup_table *t = d->frozen;
    tr_monitor_leave(&d->monitor);
    if (t == NULL)
        return TR_OK;

    enum tr_rc rc = flush(d, t, err);
    tr_monitor_enter(&d->monitor);
    d->flush_failed = rc != TR_OK;
    tr_monitor_tell(&d->monitor);
    tr_monitor_leave(&d->monitor);
    return rc;
}

/* One of the runs that are merged: a block in memory and a place in it. */
struct input {
    const struct dedup_run *run;
    uint32_t block;
    size_t n, at;
    uint64_t hash;
    struct dedup_entry entries[DEDUP_BLOCK_ENTRIES];
};

/* Stands at the next entry; at == n: the run is through. */
static enum tr_rc advance(struct input *in, const struct dedup_hash *h, struct tr_err *err)
{
    if (++in->at >= in->n) {
        in->at = in->n = 0;
        if (in->block == in->run->blocks)
            return TR_OK;
        if (dedup_run_block(in->run, in->block++, in->entries, &in->n, err) != TR_OK)
            return err->rc;
    }
    in->hash = dedup_hash_key(h, &in->entries[in->at].key);
    return TR_OK;
}

static int compare_inputs(const struct input *a, const struct input *b)
{
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return memcmp(&a->entries[a->at].key, &b->entries[b->at].key, sizeof(struct dedup_key));
}

/* inputs are in order of age: of equal keys the newest stays. */
static enum tr_rc merge_into(struct dedup_run_writer *w, struct input *inputs, size_t n,
                             const struct dedup_hash *h, struct tr_err *err)
{
    for (;;) {
        struct input *least = NULL;
        for (size_t i = 0; i < n; i++) {
            struct input *in = &inputs[i];
            if (in->n == 0)
                continue;
            int order = least == NULL ? -1 : compare_inputs(in, least);
            if (order == 0 && advance(least, h, err) != TR_OK)
                return err->rc;
            if (order <= 0)
                least = in;
        }
        if (least == NULL)
            return TR_OK;
        if (dedup_run_add(w, least->hash, &least->entries[least->at], err) != TR_OK ||
            advance(least, h, err) != TR_OK)
            return err->rc;
    }
}

/* Runs next to each other whose merging at least makes 5 of the largest 3, the oldest such. */
static bool choose(const struct dedup *d, size_t *ret_from, size_t *ret_to)
{
    const struct dedup_set *s = d->set;
    uint64_t most = d->limits.max_events / RUN_PART;

    if (most < d->limits.table_entries * DEDUP_OVERFLOW)
        most = d->limits.table_entries * DEDUP_OVERFLOW;
    for (size_t width = MERGE_MOST; width >= 2; width--) {
        for (size_t i = 0; i + width <= s->n; i++) {
            uint64_t sum = 0;
            uint64_t largest = 0;
            for (size_t k = i; k < i + width; k++) {
                sum += s->runs[k]->entries;
                largest = s->runs[k]->entries > largest ? s->runs[k]->entries : largest;
            }
            if (sum <= most && largest * 5 <= sum * 3) {
                *ret_from = i;
                *ret_to = i + width;
                return true;
            }
        }
        if (s->n < MANY_RUNS)
            return false;
    }
    return false;
}

static enum tr_rc merge(struct dedup *d, size_t from, size_t to, struct dedup_run **ret,
                        struct tr_err *err)
{
    struct input *inputs = calloc(to - from, sizeof(*inputs));
    struct dedup_run_writer *w = NULL;
    uint64_t entries = 0;
    enum tr_rc rc = inputs == NULL ? tr_fail_oom(err) : TR_OK;

    for (size_t i = from; i < to && rc == TR_OK; i++) {
        inputs[i - from].run = d->set->runs[i];
        entries += d->set->runs[i]->entries;
        rc = advance(&inputs[i - from], &d->limits.hash, err);
    }
    if (rc == TR_OK)
        rc = dedup_run_begin(d->dir, d->next_id, entries, &w, err);
    if (rc == TR_OK) {
        d->next_id++;
        rc = merge_into(w, inputs, to - from, &d->limits.hash, err);
    }
    free(inputs);
    if (rc != TR_OK) {
        dedup_run_abort(w);
        return rc;
    }
    return dedup_run_finish(w, ret, err);
}

enum tr_rc dedup_merge(struct dedup *d, bool *ret_merged, struct tr_err *err)
{
    size_t from;
    size_t to;
    struct dedup_run *run;

    *ret_merged = false;
    if (!choose(d, &from, &to))
        return TR_OK;
    if (merge(d, from, to, &run, err) != TR_OK)
        return tr_wrap(err, "merge deduplication runs");
    TR_KILL_POINT("dedup.merged");
    struct dedup_set *next = set_with(d, from, to, run);
    if (next == NULL) {
        dedup_run_unref(run);
        return tr_fail_oom(err);
    }
    uint64_t gone[MERGE_MOST];
    for (size_t i = from; i < to; i++)
        gone[i - from] = d->set->runs[i]->id;
    if (adopt(d, next, d->through_seq, false, err) != TR_OK)
        return err->rc;
    for (size_t i = 0; i < to - from; i++)
        remove_file(d, gone[i]);
    tr_count(&merges, 1);
    *ret_merged = true;
    return TR_OK;
}

enum tr_rc dedup_expire(struct dedup *d, int64_t now, struct tr_err *err)
{
    while (d->set->n > 0) {
        const struct dedup_run *oldest = d->set->runs[0];
        uint64_t newer = 0;
        for (size_t i = 1; i < d->set->n; i++)
            newer += d->set->runs[i]->entries;
        if (oldest->newest >= now - d->limits.max_age_us && newer < d->limits.max_events)
            return TR_OK;

        uint64_t id = oldest->id;
        struct dedup_set *next = set_with(d, 0, 1, NULL);
        if (next == NULL)
            return tr_fail_oom(err);
        if (adopt(d, next, d->through_seq, false, err) != TR_OK)
            return err->rc;
        remove_file(d, id);
    }
    return TR_OK;
}
