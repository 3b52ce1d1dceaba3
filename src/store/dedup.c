#include "store/dedup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "store/dedup_priv.h"

struct dedup_set *dedup_set_new(size_t n)
{
    struct dedup_set *s = calloc(1, sizeof(*s) + n * sizeof(struct dedup_run *));

    if (s != NULL)
        atomic_init(&s->refs, 1);
    return s;
}

void dedup_set_unref(struct dedup_set *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->n; i++)
        dedup_run_unref(s->runs[i]);
    free(s);
}

enum tr_rc dedup_sweep(const struct dedup *d, struct tr_err *err)
{
    /* The manifest that was found may not be durable yet: it has to be before what it replaced
     * goes. */
    if (tr_file_sync_dir(d->dir, err) != TR_OK)
        return err->rc;
    DIR *dir = opendir(d->dir);
    if (dir == NULL)
        return tr_fail_errno(err, errno, "open folder %s", d->dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t n = strlen(e->d_name);
        bool named = n < 5 || strcmp(e->d_name + n - 4, ".trd") != 0;
        for (size_t i = 0; i < d->set->n && !named; i++) {
            char name[DEDUP_NAME];
            dedup_run_name(d->set->runs[i]->id, name);
            named = strcmp(name, e->d_name) == 0;
        }
        if (!named)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    }
    (void)closedir(dir);
    return TR_OK;
}

static enum tr_rc open_runs(struct dedup *d, struct tr_err *err)
{
    struct dedup_manifest m;

    if (dedup_manifest_read(d->dir, &m, err) != TR_OK)
        return err->rc;
    d->through_seq = m.through_seq;
    d->next_id = m.next_id;
    d->set = dedup_set_new(m.n);
    enum tr_rc rc = d->set == NULL ? tr_fail_oom(err) : TR_OK;
    for (size_t i = 0; i < m.n && rc == TR_OK; i++) {
        rc = dedup_run_open(d->dir, m.ids[i], &d->set->runs[i], err);
        d->set->n += rc == TR_OK;
    }
    free(m.ids);
    return rc;
}

enum tr_rc dedup_open(struct dedup *d, const char *dir, const struct dedup_limits *limits,
                      struct tr_err *err)
{
    *d = (struct dedup){ .limits = *limits };
    tr_monitor_init(&d->monitor);
    d->dir = strdup(dir);
    d->active = dedup_table_new(&limits->hash, limits->table_entries);
    enum tr_rc rc = TR_OK;
    if (d->dir == NULL || d->active == NULL)
        rc = tr_fail_oom(err);
    if (rc == TR_OK)
        rc = tr_file_make_dirs(dir, err);
    if (rc == TR_OK)
        rc = open_runs(d, err);
    if (rc != TR_OK)
        dedup_close(d);
    return rc;
}

void dedup_close(struct dedup *d)
{
    dedup_set_unref(d->set);
    dedup_table_unref(d->active);
    dedup_table_unref(d->frozen);
    free(d->dir);
    tr_monitor_fini(&d->monitor);
    *d = (struct dedup){ 0 };
}

void dedup_view_begin(struct dedup *d, struct dedup_view *ret)
{
    tr_monitor_enter(&d->monitor);
    *ret = (struct dedup_view){
        .dedup = d, .active = d->active, .frozen = d->frozen, .set = d->set, .mark = d->active->n
    };
    (void)atomic_fetch_add(&ret->set->refs, 1);
    if (ret->frozen != NULL)
        dedup_table_ref(ret->frozen);
    tr_monitor_leave(&d->monitor);
}

void dedup_view_end(struct dedup_view *v, bool keep)
{
    if (!keep)
        dedup_table_cut(v->active, v->mark);
    dedup_table_unref(v->frozen);
    dedup_set_unref(v->set);
}

void dedup_prefetch(const struct dedup_view *v, uint64_t hash)
{
    dedup_table_prefetch(v->active, hash);
    if (v->frozen != NULL)
        dedup_table_prefetch(v->frozen, hash);
    for (size_t i = 0; i < v->set->n; i++)
        __builtin_prefetch(dedup_filter_at(v->set->runs[i], hash));
}

enum tr_rc dedup_find(const struct dedup_view *v, uint64_t hash, const struct dedup_key *k,
                      bool *ret_found, struct dedup_entry *ret, struct tr_err *err)
{
    const struct dedup_entry *e = dedup_table_find(v->active, hash, k);

    if (e == NULL && v->frozen != NULL)
        e = dedup_table_find(v->frozen, hash, k);
    *ret_found = e != NULL;
    if (e != NULL)
        *ret = *e;
    for (size_t i = v->set->n; i-- > 0 && !*ret_found;)
        if (dedup_run_may_hold(v->set->runs[i], hash) &&
            dedup_run_find(v->set->runs[i], hash, k, ret_found, ret, err) != TR_OK)
            return err->rc;
    return TR_OK;
}

enum tr_rc dedup_add(struct dedup_view *v, uint64_t hash, const struct dedup_entry *e,
                     struct tr_err *err)
{
    return dedup_table_add(v->active, hash, e) ? TR_OK : tr_fail_oom(err);
}

enum tr_rc dedup_freeze(struct dedup *d, uint64_t last_seq, bool at_once, bool *ret_told,
                        struct tr_err *err)
{
    enum tr_rc rc = TR_OK;
    size_t full = d->limits.table_entries;

    *ret_told = false;
    if (d->active->n < full && !at_once)
        return TR_OK;
    tr_monitor_enter(&d->monitor);
    while (d->frozen != NULL && d->active->n >= DEDUP_OVERFLOW * full && !d->flush_failed)
        (void)tr_monitor_wait(&d->monitor, -1);
    if (d->frozen == NULL) {
        struct dedup_table *next = dedup_table_new(&d->limits.hash, full);
        if (next != NULL) { /* without memory the table grows instead, and this is tried again */
            d->frozen = d->active;
            d->frozen_seq = last_seq;
            d->active = next;
            *ret_told = true;
        }
    } else if (d->active->n >= DEDUP_OVERFLOW * full) {
        rc = tr_fail(err, TR_THROTTLED, "store.full",
                     "free space on the disk that holds the data folder",
                     "deduplication runs cannot be written");
    }
    tr_monitor_leave(&d->monitor);
    return rc;
}

void dedup_status(struct dedup *d, struct dedup_status *ret)
{
    tr_monitor_enter(&d->monitor);
    *ret = (struct dedup_status){ .runs = d->set->n, .through_seq = d->through_seq };
    for (size_t i = 0; i < d->set->n; i++) {
        ret->entries += d->set->runs[i]->entries;
        ret->bytes += d->set->runs[i]->bytes;
    }
    if (d->frozen != NULL)
        ret->entries += d->frozen->n;
    tr_monitor_leave(&d->monitor);
}
