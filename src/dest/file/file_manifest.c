/* The manifest of a run: which files count. It is written last, and whole. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "dest/file/file_priv.h"
#include "os/file.h"
#include "os/kill.h"

enum { MANIFEST_BYTES_MAX = 256 << 20, MANIFEST_VERSION = 1 };

static void json_cleanup(json_t **j)
{
    json_decref(*j);
}

static void buf_cleanup(struct tr_buf *b)
{
    tr_buf_fini(b);
}

static json_t *time_json(int64_t t)
{
    char text[TR_TIME_TEXT];

    t = t < TR_TIME_MIN ? TR_TIME_MIN : t > TR_TIME_MAX ? TR_TIME_MAX : t;
    (void)tr_time_format(t, text);
    return json_string(text);
}

static bool time_of(const json_t *entry, const char *name, int64_t *ret)
{
    const char *text = json_string_value(json_object_get(entry, name));

    return text != NULL && tr_time_parse(tr_str_of(text), ret);
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
    char sha256[2 * FILE_SHA256 + 1];

    file_chunk_name(key->range, c, name);
    for (size_t i = 0; i < FILE_SHA256; i++)
        (void)snprintf(sha256 + 2 * i, 3, "%02x", facts->sha256[i]);
    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:s}", "name", name, "compression",
                     tr_compression_name(c), "start", time_json(key->range.lo), "end",
                     time_json(key->range.hi), "rows", (json_int_t)facts->rows, "bytes",
                     (json_int_t)facts->bytes, "sha256", sha256);
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
    TR_CLEANUP(buf_cleanup) struct tr_buf text;
    TR_CLEANUP(json_cleanup) json_t *old = NULL;
    size_t i;
    json_t *entry;

    tr_buf_init(&text, MANIFEST_BYTES_MAX);
    if (access(path, F_OK) != 0)
        return TR_OK;
    enum tr_rc rc = tr_file_read(path, &text, err);
    if (rc == TR_OK)
        old = json_loadb(text.p, text.n, 0, NULL);
    if (rc != TR_OK)
        return rc;
    if (!json_is_array(json_object_get(old, "files")))
        return tr_fail(err, TR_REFUSED, "file.bad_manifest",
                       "look at it, move it away, and retry the run", "%s is no manifest", path);
    struct tr_range *ranges = calloc(n + 1, sizeof(*ranges));
    if (ranges == NULL)
        return tr_fail_oom(err);
    for (i = 0; i < n; i++)
        ranges[i] = chunks[i].range;
    qsort(ranges, n, sizeof(*ranges), by_lo);
    json_array_foreach(json_object_get(old, "files"), i, entry)
    {
        struct tr_range r;
        if (!time_of(entry, "start", &r.lo) || !time_of(entry, "end", &r.hi)) {
            rc = tr_fail(err, TR_REFUSED, "file.bad_manifest",
                         "look at it, move it away, and retry the run",
                         "%s lists a file without its range", path);
            break;
        }
        if (!meets_any(r, ranges, n))
            (void)json_array_append(files, entry);
    }
    free(ranges);
    return rc;
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

static json_int_t sum(const json_t *files, const char *what)
{
    json_int_t total = 0;

    for (size_t i = 0; i < json_array_size(files); i++)
        total += json_integer_value(json_object_get(json_array_get(files, i), what));
    return total;
}

static json_t *manifest_json(const struct file_dest *d, const struct tr_key *run, bool replaces,
                             json_t *files)
{
    char installation[TR_UUID_TEXT];
    char export_id[TR_UUID_TEXT];

    tr_uuid_format(&run->installation, installation);
    tr_uuid_format(&run->export_id, export_id);
    return json_pack("{s:i, s:s, s:s, s:I, s:s, s:I, s:b, s:o, s:o, s:s, s:I, s:I, s:O}", "version",
                     MANIFEST_VERSION, "export_id", export_id, "installation_id", installation,
                     "store_epoch", (json_int_t)run->epoch, "model", d->projection.schema->name,
                     "generation", (json_int_t)run->generation, "replaces", replaces,
                     "data_interval_start", time_json(run->range.lo), "data_interval_end",
                     time_json(run->range.hi), "file_format", "JSONLines", "rows",
                     sum(files, "rows"), "bytes", sum(files, "bytes"), "files", files);
}

static enum tr_rc write_manifest(const struct file_dest *d, const struct tr_key *run,
                                 const char *folder, const char *path, const char *text,
                                 struct tr_err *err)
{
    char temporary[FILE_PATH];
    char temps[FILE_PATH];
    char name[FILE_NAME];
    TR_CLEANUP(tr_file_close) int fd = -1;

    file_temp_folder(d, &run->export_id, temps);
    file_manifest_name(run->range, name);
    enum tr_rc rc = file_temp_open(temps, name, temporary, &fd, err);
    if (rc != TR_OK)
        return rc;
    rc = file_write_all(fd, temporary, text, strlen(text), err);
    if (rc == TR_OK)
        rc = file_settle(&fd, temporary, err);
    TR_KILL_POINT("file.before_manifest");
    if (rc == TR_OK && rename(temporary, path) != 0)
        rc = file_fail(err, errno, "rename to", path);
    if (rc != TR_OK) {
        (void)unlink(temporary);
        return rc;
    }
    TR_KILL_POINT("file.manifest");
    return file_sync_folder(folder, err);
}

enum tr_rc file_finish(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *run,
                       const struct tr_key *chunks, const struct tr_receipt *receipts, size_t n,
                       struct tr_err *err)
{
    const struct file_dest *d = file_dest_of(dest);
    TR_CLEANUP(json_cleanup) json_t *files = json_array();
    char folder[FILE_PATH];
    char path[FILE_PATH];
    char mark[FILE_PATH];
    char name[FILE_NAME];

    assert(d->prepared);
    file_folder(d, run, folder);
    file_manifest_name(run->range, name);
    file_join(folder, name, path);
    file_join(folder, FILE_REPLACES_MARK, mark);
    enum tr_rc rc = file_make_folders(folder, NULL, err);
    if (rc == TR_OK)
        rc = list_files(cx, d, path, chunks, receipts, n, files, err);
    if (rc != TR_OK)
        return tr_wrap(err, "manifest %s", name);

    TR_CLEANUP(json_cleanup)
    json_t *manifest = manifest_json(d, run, access(mark, F_OK) == 0, files);
    char *text = manifest == NULL ? NULL : json_dumps(manifest, JSON_INDENT(2));
    if (text == NULL)
        return tr_fail_oom(err);
    rc = write_manifest(d, run, folder, path, text, err);
    free(text);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "manifest %s", name);
}
