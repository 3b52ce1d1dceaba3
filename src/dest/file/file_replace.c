/* A generation that replaces: what it covers is taken out of the manifests of the older ones.
 *
 * The new manifest is in its place by then, so nothing is ever missing; until this is done, rows
 * are listed twice, and whoever reads in between sees "replaces" and the higher generation. All of
 * it may be done again after a death in the middle.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dest/file/file_priv.h"

struct cover {
    struct tr_range *v; /* sorted, without overlap */
    size_t n;
};

static int by_lo(const void *a, const void *b)
{
    const struct tr_range *x = a;
    const struct tr_range *y = b;

    return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Sorts, and joins what touches. */
static void tidy(struct cover *c)
{
    size_t to = 0;

    qsort(c->v, c->n, sizeof(*c->v), by_lo);
    for (size_t i = 0; i < c->n; i++) {
        if (tr_range_empty(c->v[i]))
            continue;
        if (to > 0 && c->v[i].lo <= c->v[to - 1].hi) {
            if (c->v[i].hi > c->v[to - 1].hi)
                c->v[to - 1].hi = c->v[i].hi;
        } else {
            c->v[to++] = c->v[i];
        }
    }
    c->n = to;
}

/* The parts of whole that ranges or the list of entries hold. */
static bool cover_make(struct cover *ret, struct tr_range whole, const struct cover *ranges,
                       const json_t *entries)
{
    size_t more = ranges == NULL ? 0 : ranges->n;

    ret->n = 0;
    ret->v = calloc(more + json_array_size(entries) + 1, sizeof(*ret->v));
    if (ret->v == NULL)
        return false;
    for (size_t i = 0; i < more; i++)
        ret->v[ret->n++] = tr_range_meet(ranges->v[i], whole);
    for (size_t i = 0; i < json_array_size(entries); i++)
        ret->v[ret->n++] = tr_range_meet(file_entry_range(json_array_get(entries, i)), whole);
    tidy(ret);
    return true;
}

static json_t *cover_json(const struct cover *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->n; i++)
        (void)json_array_append_new(list,
                                    json_pack("{s:o, s:o}", "start", file_time_json(c->v[i].lo),
                                              "end", file_time_json(c->v[i].hi)));
    return list;
}

/* One manifest of an older generation while it is cut. */
struct cutting {
    const struct tr_ctx *cx;
    const struct file_dest *d;
    const struct tr_uuid *export_id;
    const char *folder;
    const struct cover *fresh;
    json_t *gone; /* names of files that are covered wholly */
    bool changed;
};

/* A file that is covered in part is written anew without the rows that a newer generation holds.
 * "except" says which ranges these are; where rows do not tell their instant, it is all there is.
 */
static enum tr_rc trim_entry(struct cutting *c, json_t *entry, const struct cover *all,
                             struct tr_err *err)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *compression = json_string_value(json_object_get(entry, "compression"));
    enum tr_compression kind;
    struct file_facts facts;
    bool done = false;

    if (strchr(name, '/') != NULL || strlen(name) >= FILE_NAME ||
        !tr_compression_parse(compression, &kind))
        return tr_fail(err, TR_REFUSED, "file.bad_manifest",
                       "look at it, move it away, and retry the run",
                       "a manifest in %s lists a file that is not its own", c->folder);
    enum tr_rc rc = file_trim(c->cx, c->d, c->export_id, c->folder, name, kind, all->v, all->n,
                              &done, &facts, err);
    if (rc != TR_OK)
        return rc;
    if (done)
        file_facts_json(entry, &facts);
    (void)json_object_set_new(entry, "except", cover_json(all));
    return TR_OK;
}

/* *ret_gone: nothing of the entry is left. An entry of an empty range holds nothing and stays. */
static enum tr_rc cut_entry(struct cutting *c, json_t *entry, bool *ret_gone, struct tr_err *err)
{
    struct tr_range whole = file_entry_range(entry);
    struct cover met;
    struct cover all;
    enum tr_rc rc = TR_OK;

    if (!cover_make(&met, whole, c->fresh, NULL))
        return tr_fail_oom(err);
    bool meets = met.n != 0;
    free(met.v);
    if (!meets)
        return TR_OK;
    if (!cover_make(&all, whole, c->fresh, json_object_get(entry, "except")))
        return tr_fail_oom(err);
    c->changed = true;
    *ret_gone = all.n == 1 && all.v[0].lo == whole.lo && all.v[0].hi == whole.hi;
    if (!*ret_gone)
        rc = trim_entry(c, entry, &all, err);
    free(all.v);
    return rc;
}

static enum tr_rc cut_files(struct cutting *c, json_t *files, struct tr_err *err)
{
    for (size_t i = json_array_size(files); i-- > 0;) {
        json_t *entry = json_array_get(files, i);
        bool gone = false;
        enum tr_rc rc = cut_entry(c, entry, &gone, err);
        if (rc != TR_OK)
            return rc;
        if (gone) {
            (void)json_array_append(c->gone, json_object_get(entry, "name"));
            (void)json_array_remove(files, i);
        }
    }
    return TR_OK;
}

static void remove_files(const char *folder, const json_t *gone)
{
    for (size_t i = 0; i < json_array_size(gone); i++) {
        const char *name = json_string_value(json_array_get(gone, i));
        char path[FILE_PATH];
        if (strchr(name, '/') != NULL || strlen(name) >= FILE_NAME)
            continue; /* not a name of ours */
        file_join(folder, name, path);
        (void)unlink(path); /* no manifest lists it any more: should this fail, it is only space */
    }
}

static enum tr_rc cut_manifest(struct cutting *c, const char *name, struct tr_err *err)
{
    char path[FILE_PATH];
    json_t *manifest = NULL;

    c->gone = json_array();
    c->changed = false;
    file_join(c->folder, name, path);
    enum tr_rc rc = file_manifest_read(path, &manifest, err);
    if (rc == TR_OK && manifest != NULL)
        rc = cut_files(c, json_object_get(manifest, "files"), err);
    if (rc == TR_OK && c->changed)
        rc = file_manifest_write(c->d, c->export_id, c->folder, name, manifest, err);
    if (rc == TR_OK)
        remove_files(c->folder, c->gone);
    json_decref(c->gone);
    json_decref(manifest);
    return rc;
}

/* By the name alone, so that most manifests need not be opened. */
static bool may_meet(const char *name, struct tr_range hull)
{
    char own[FILE_NAME];
    const char *end = strstr(name, "_manifest.json");
    size_t n = end == NULL ? 0 : (size_t)(end - name);

    file_manifest_name(hull, own);
    size_t stamp = (strlen(own) - strlen("_manifest.json") - 1) / 2;
    if (end == NULL || strcmp(end, "_manifest.json") != 0)
        return false;
    if (n != 2 * stamp + 1)
        return true; /* an odd year: look inside */
    return memcmp(name, own + stamp + 1, stamp) < 0 && memcmp(name + stamp + 1, own, stamp) > 0;
}

static enum tr_rc cut_folder(const struct tr_ctx *cx, const struct file_dest *d,
                             const struct tr_key *run, const char *folder,
                             const struct cover *fresh, struct tr_err *err)
{
    DIR *dir = opendir(folder);
    struct tr_range hull = { fresh->v[0].lo, fresh->v[fresh->n - 1].hi };
    struct cutting c = {
        .cx = cx, .d = d, .export_id = &run->export_id, .folder = folder, .fresh = fresh
    };
    enum tr_rc rc = TR_OK;
    struct dirent *e;

    if (dir == NULL)
        return errno == ENOENT ? TR_OK : file_fail(err, errno, "open folder", folder);
    while (rc == TR_OK && (e = readdir(dir)) != NULL) {
        if (!may_meet(e->d_name, hull))
            continue;
        rc = file_may_go_on(cx, err);
        if (rc == TR_OK)
            rc = cut_manifest(&c, e->d_name, err);
    }
    (void)closedir(dir);
    return rc;
}

/* The folder of an older generation. Not of another epoch of the store: what a store told before it
 * was restored from a backup, it may not be able to tell again. */
static bool is_older(const char *name, const struct tr_key *run)
{
    unsigned generation = 0;
    unsigned epoch = 0;
    int n = 0;

    return sscanf(name, "g%9u-%8x%n", &generation, &epoch, &n) == 2 && name[n] == '\0' &&
           generation < run->generation && epoch == run->epoch;
}

enum tr_rc file_replace_older(const struct tr_ctx *cx, const struct file_dest *d,
                              const struct tr_key *run, const json_t *files, struct tr_err *err)
{
    struct cover fresh;
    char of_export[FILE_PATH];
    struct dirent *e;
    enum tr_rc rc = TR_OK;

    if (!cover_make(&fresh, (struct tr_range){ INT64_MIN, INT64_MAX }, NULL, files))
        return tr_fail_oom(err);
    file_export_folder(d, &run->export_id, of_export);
    DIR *dir = fresh.n == 0 ? NULL : opendir(of_export);
    if (dir == NULL && fresh.n != 0)
        rc = file_fail(err, errno, "open folder", of_export);
    while (dir != NULL && rc == TR_OK && (e = readdir(dir)) != NULL) {
        char folder[FILE_PATH];
        if (!is_older(e->d_name, run) || strlen(e->d_name) >= FILE_NAME)
            continue;
        file_join(of_export, e->d_name, folder);
        rc = cut_folder(cx, d, run, folder, &fresh, err);
    }
    if (dir != NULL)
        (void)closedir(dir);
    free(fresh.v);
    return rc;
}
