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

enum change { SAME, LESS, GONE, NO_MEMORY };

/* "except" of an entry: ranges whose rows a newer generation holds. */
static enum change cut_entry(json_t *entry, const struct cover *fresh)
{
    struct tr_range whole = file_entry_range(entry);
    struct cover met;
    struct cover all;

    if (!cover_make(&met, whole, fresh, NULL))
        return NO_MEMORY;
    bool meets = met.n != 0;
    free(met.v);
    /* A file of an empty range holds nothing: it stays. */
    if (!meets)
        return SAME;
    if (!cover_make(&all, whole, fresh, json_object_get(entry, "except")))
        return NO_MEMORY;
    bool gone = all.n == 1 && all.v[0].lo == whole.lo && all.v[0].hi == whole.hi;
    if (!gone)
        (void)json_object_set_new(entry, "except", cover_json(&all));
    free(all.v);
    return gone ? GONE : LESS;
}

/* Takes the covered entries out of files and adds their names to gone. */
static enum tr_rc cut_files(json_t *files, const struct cover *fresh, json_t *gone,
                            bool *ret_changed, struct tr_err *err)
{
    for (size_t i = json_array_size(files); i-- > 0;) {
        json_t *entry = json_array_get(files, i);
        switch (cut_entry(entry, fresh)) {
        case SAME:
            break;
        case LESS:
            *ret_changed = true;
            break;
        case GONE:
            *ret_changed = true;
            (void)json_array_append(gone, json_object_get(entry, "name"));
            (void)json_array_remove(files, i);
            break;
        case NO_MEMORY:
            return tr_fail_oom(err);
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

static enum tr_rc cut_manifest(const struct file_dest *d, const struct tr_key *run,
                               const char *folder, const char *name, const struct cover *fresh,
                               struct tr_err *err)
{
    char path[FILE_PATH];
    json_t *manifest = NULL;
    json_t *gone = json_array();
    bool changed = false;

    file_join(folder, name, path);
    enum tr_rc rc = file_manifest_read(path, &manifest, err);
    if (rc == TR_OK && manifest != NULL)
        rc = cut_files(json_object_get(manifest, "files"), fresh, gone, &changed, err);
    if (rc == TR_OK && changed)
        rc = file_manifest_write(d, &run->export_id, folder, name, manifest, err);
    if (rc == TR_OK)
        remove_files(folder, gone);
    json_decref(gone);
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
    enum tr_rc rc = TR_OK;
    struct dirent *e;

    if (dir == NULL)
        return errno == ENOENT ? TR_OK : file_fail(err, errno, "open folder", folder);
    while (rc == TR_OK && (e = readdir(dir)) != NULL) {
        if (!may_meet(e->d_name, hull))
            continue;
        rc = file_may_go_on(cx, err);
        if (rc == TR_OK)
            rc = cut_manifest(d, run, folder, e->d_name, fresh, err);
    }
    (void)closedir(dir);
    return rc;
}

/* "g3" or "g3-e2" of an older generation. */
static bool is_older(const char *name, uint32_t generation)
{
    char *end = NULL;

    if (name[0] != 'g' || name[1] < '0' || name[1] > '9')
        return false;
    unsigned long g = strtoul(name + 1, &end, 10);
    return (*end == '\0' || *end == '-') && g < generation;
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
        if (!is_older(e->d_name, run->generation) || strlen(e->d_name) >= FILE_NAME)
            continue;
        file_join(of_export, e->d_name, folder);
        rc = cut_folder(cx, d, run, folder, &fresh, err);
    }
    if (dir != NULL)
        (void)closedir(dir);
    free(fresh.v);
    return rc;
}
