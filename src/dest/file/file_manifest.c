/* The manifest of a run: which files count. It is written last, and whole. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dest/file/file_priv.h"
#include "os/file.h"
#include "os/kill.h"

enum { MANIFEST_VERSION = 1 };

static void json_cleanup(json_t **j)
{
    json_decref(*j);
}

/* ---- one file ---- */

static bool same_chunk(const struct tr_key *a, const struct tr_key *b)
{
    char text_a[TR_KEY_TEXT];
    char text_b[TR_KEY_TEXT];

    return strcmp(tr_key_format(a, text_a), tr_key_format(b, text_b)) == 0;
}

static const struct file_written *recall(const struct file_dest *d, const struct tr_key *key,
                                         enum tr_compression c)
{
    for (size_t i = d->n_written; i-- > 0;) {
        const struct file_written *w = &d->written[i];
        if (w->key.range.lo == key->range.lo && w->compression == c && same_chunk(&w->key, key))
            return w;
    }
    return NULL;
}

static enum tr_rc facts_of(const struct tr_ctx *cx, const struct file_dest *d,
                           const struct tr_key *key, const struct tr_receipt *receipt,
                           enum tr_compression *ret_c, struct file_facts *ret, struct tr_err *err)
{
    char path[FILE_PATH];

    if (!file_find(d, key, path, ret_c)) {
        file_chunk_name(key->range, d->compression, path);
        return tr_fail(err, TR_TRANSIENT, "file.gone",
                       "something removes files of the destination; it is written again",
                       "%s was written and is gone", path);
    }
    const struct file_written *w = recall(d, key, *ret_c);
    if (w != NULL) {
        *ret = w->facts;
    } else {
        enum tr_rc rc = file_read_rows(cx, path, *ret_c, NULL, NULL, ret, err);
        if (rc == TR_INVALID && err != NULL) /* the next attempt's lookup has it written again */
            err->rc = TR_TRANSIENT;
        if (rc != TR_OK)
            return err == NULL ? TR_TRANSIENT : err->rc;
    }
    if (ret->rows != receipt->delivered)
        return tr_fail(err, TR_REFUSED, "file.changed",
                       "move that file away and retry the run: it is written again",
                       "%s holds %llu rows where %llu were delivered", path,
                       (unsigned long long)ret->rows, (unsigned long long)receipt->delivered);
    return TR_OK;
}

static json_t *entry_json(const struct tr_key *key, enum tr_compression c,
                          const struct file_facts *facts)
{
    char name[FILE_NAME];

    file_chunk_name(key->range, c, name);
    json_t *entry =
        json_pack("{s:s, s:s, s:o, s:o}", "name", name, "compression", tr_compression_name(c),
                  "start", file_time_json(key->range.lo), "end", file_time_json(key->range.hi));
    if (entry != NULL)
        file_facts_json(entry, facts);
    return entry;
}

/* ---- the list ---- */

static int by_lo(const void *a, const void *b)
{
    const struct tr_range *x = a;
    const struct tr_range *y = b;

    return (x->lo > y->lo) - (x->lo < y->lo);
}

/* ranges: sorted, without overlap. */
static bool meets_any(struct tr_range r, const struct tr_range *ranges, size_t n)
{
    size_t lo = 0;
    size_t hi = n;

    while (lo < hi) { /* the first that begins at or after the end of r */
        size_t mid = lo + (hi - lo) / 2;
        if (ranges[mid].lo < r.hi)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo > 0 && !tr_range_empty(tr_range_meet(ranges[lo - 1], r));
}

/* A manifest of that name may be there: of a former attempt, or of a former run of the same
 * interval that delivered other parts of it. What it lists of other parts stays listed. */
static enum tr_rc keep_others(const char *path, const struct tr_key *chunks, size_t n,
                              json_t *files, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *old = NULL;
    size_t i;
    json_t *entry;

    enum tr_rc rc = file_manifest_read(path, &old, err);
    if (rc != TR_OK || old == NULL)
        return rc;
    struct tr_range *ranges = calloc(n + 1, sizeof(*ranges));
    if (ranges == NULL)
        return tr_fail_oom(err);
    for (i = 0; i < n; i++)
        ranges[i] = chunks[i].range;
    qsort(ranges, n, sizeof(*ranges), by_lo);
    json_array_foreach(json_object_get(old, "files"), i, entry)
    {
        if (!meets_any(file_entry_range(entry), ranges, n))
            (void)json_array_append(files, entry);
    }
    free(ranges);
    return TR_OK;
}

static int by_start(const void *a, const void *b)
{
    json_t *const *x = a;
    json_t *const *y = b;

    return strcmp(json_string_value(json_object_get(*x, "start")),
                  json_string_value(json_object_get(*y, "start")));
}

static enum tr_rc sort_files(json_t *files, struct tr_err *err)
{
    size_t n = json_array_size(files);
    json_t **all = calloc(n + 1, sizeof(json_t *));

    if (all == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < n; i++)
        all[i] = json_incref(json_array_get(files, i));
    qsort(all, n, sizeof(json_t *), by_start);
    (void)json_array_clear(files);
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(files, all[i]);
    free(all);
    return TR_OK;
}

static enum tr_rc list_files(const struct tr_ctx *cx, const struct file_dest *d, const char *path,
                             const struct tr_key *chunks, const struct tr_receipt *receipts,
                             size_t n, json_t *files, struct tr_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct file_facts facts;
        enum tr_compression c;
        enum tr_rc rc = facts_of(cx, d, &chunks[i], &receipts[i], &c, &facts, err);
        if (rc != TR_OK)
            return rc;
        if (json_array_append_new(files, entry_json(&chunks[i], c, &facts)) != 0)
            return tr_fail_oom(err);
    }
    enum tr_rc rc = keep_others(path, chunks, n, files, err);
    return rc == TR_OK ? sort_files(files, err) : rc;
}

/* ---- the document ---- */

static json_t *manifest_json(const struct file_dest *d, const struct tr_key *run, bool replaces,
                             json_t *files)
{
    char installation[TR_UUID_TEXT];
    char export_id[TR_UUID_TEXT];

    tr_uuid_format(&run->installation, installation);
    tr_uuid_format(&run->export_id, export_id);
    return json_pack("{s:i, s:s, s:s, s:I, s:s, s:I, s:b, s:o, s:o, s:s, s:i, s:i, s:O}", "version",
                     MANIFEST_VERSION, "export_id", export_id, "installation_id", installation,
                     "store_epoch", (json_int_t)run->epoch, "model", d->projection.schema->name,
                     "generation", (json_int_t)run->generation, "replaces", replaces,
                     "data_interval_start", file_time_json(run->range.lo), "data_interval_end",
                     file_time_json(run->range.hi), "file_format", "JSONLines", "rows", 0, "bytes",
                     0, "files", files);
}

enum tr_rc file_finish(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *run,
                       const struct tr_key *chunks, const struct tr_receipt *receipts, size_t n,
                       struct tr_err *err)
{
    const struct file_dest *d = file_dest_of(dest);
    TR_CLEANUP(json_cleanup) json_t *files = json_array();
    TR_CLEANUP(tr_file_close) int lock = -1;
    char folder[FILE_PATH];
    char path[FILE_PATH];
    char mark[FILE_PATH];
    char name[FILE_NAME];

    assert(d->prepared);
    file_folder(d, run, folder);
    file_manifest_name(run->range, name);
    file_join(folder, name, path);
    file_join(folder, FILE_REPLACES_MARK, mark);
    bool replaces = access(mark, F_OK) == 0;
    enum tr_rc rc = file_check_marker(d, err);
    if (rc == TR_OK)
        rc = file_make_folders(folder, NULL, err);
    if (rc == TR_OK)
        rc = file_lock(cx, d, &run->export_id, &lock, err);
    if (rc == TR_OK)
        rc = list_files(cx, d, path, chunks, receipts, n, files, err);
    if (rc != TR_OK)
        return tr_wrap(err, "manifest %s", name);

    TR_CLEANUP(json_cleanup) json_t *manifest = manifest_json(d, run, replaces, files);
    if (manifest == NULL)
        return tr_fail_oom(err);
    TR_KILL_POINT("file.before_manifest");
    rc = file_manifest_write(d, &run->export_id, folder, name, manifest, err);
    TR_KILL_POINT("file.manifest");
    if (rc == TR_OK && replaces)
        rc = file_replace_older(cx, d, run, files, err);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "manifest %s", name);
}

enum tr_rc file_published(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *run,
                          const struct tr_key *chunk, bool *ret, struct tr_err *err)
{
    TR_CLEANUP(json_cleanup) json_t *manifest = NULL;
    char folder[FILE_PATH];
    char path[FILE_PATH];
    char name[FILE_NAME];
    size_t i;
    json_t *entry;

    (void)cx;
    file_folder(file_dest_of(dest), run, folder);
    file_manifest_name(run->range, name);
    file_join(folder, name, path);
    enum tr_rc rc = file_check_marker(file_dest_of(dest), err);
    if (rc == TR_OK)
        rc = file_manifest_read(path, &manifest, err);
    if (rc != TR_OK)
        return tr_wrap(err, "manifest %s", name);
    *ret = false;
    json_array_foreach(json_object_get(manifest, "files"), i, entry)
    {
        struct tr_range r = file_entry_range(entry);
        *ret = *ret || (r.lo == chunk->range.lo && r.hi == chunk->range.hi);
    }
    return TR_OK;
}
