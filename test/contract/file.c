/* Reads what the manifests of a folder list, as any consumer of the files would. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contract.h"
#include "dest/file/file.h"

static char base[64] = "/tmp/tailrace-contract-XXXXXX";
static char root[128];
static int places;

/* What a walk over the listed rows looks for and finds. */
static struct {
    const char *uuid; /* or NULL: all */
    int64_t rows;
    json_t *properties; /* of the last one; owned */
} look;

static const char *setup(void)
{
    return mkdtemp(base) == NULL ? "no temporary folder" : NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    (void)nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static json_t *fresh(void)
{
    (void)snprintf(root, sizeof(root), "%s/%d", base, ++places);
    return json_pack("{s:s}", "path", root);
}

static void see_row(const char *line)
{
    json_t *row = json_loads(line, 0, NULL);

    if (row == NULL)
        abort();
    const char *uuid = json_string_value(json_object_get(row, "uuid"));
    if (look.uuid == NULL || (uuid != NULL && strcmp(uuid, look.uuid) == 0)) {
        look.rows++;
        json_decref(look.properties);
        look.properties = json_incref(json_object_get(row, "properties"));
    }
    json_decref(row);
}

static void see_file(const char *folder, const char *name)
{
    char path[1024];
    char *line = NULL;
    size_t cap = 0;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *in = fopen(path, "r");
    if (in == NULL)
        abort();
    while (getline(&line, &cap, in) > 0)
        see_row(line);
    free(line);
    (void)fclose(in);
}

static int see_manifest(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    static const char ending[] = "_manifest.json";
    size_t n = strlen(path), e = sizeof(ending) - 1;
    json_t *file;
    size_t i;

    (void)st;
    if (kind != FTW_F || n < e || strcmp(path + n - e, ending) != 0)
        return 0;
    json_t *manifest = json_load_file(path, 0, NULL);
    if (manifest == NULL)
        abort();
    char *folder = strndup(path, (size_t)ftw->base - 1);
    json_array_foreach(json_object_get(manifest, "files"), i, file)
        see_file(folder, json_string_value(json_object_get(file, "name")));
    free(folder);
    json_decref(manifest);
    return 0;
}

static void walk(const char *uuid)
{
    json_decref(look.properties);
    look.uuid = uuid;
    look.rows = 0;
    look.properties = NULL;
    (void)nftw(root, see_manifest, 8, FTW_PHYS);
}

static int64_t rows(void)
{
    walk(NULL);
    return look.rows;
}

static int64_t copies(const struct tr_uuid *uuid)
{
    char text[TR_UUID_TEXT];

    tr_uuid_format(uuid, text);
    walk(text);
    return look.rows;
}

static bool properties_are(const struct tr_uuid *uuid, struct tr_str json)
{
    json_t *want = json_loadb(json.p, json.n, 0, NULL);

    (void)copies(uuid);
    bool same = want != NULL && json_equal(want, look.properties) == 1;
    json_decref(want);
    json_decref(look.properties);
    look.properties = NULL;
    return same;
}

const struct contract_place contract_file = {
    .ops = &tr_dest_file_ops,
    .setup = setup,
    .teardown = teardown,
    .fresh = fresh,
    .rows = rows,
    .copies = copies,
    .properties_are = properties_are,
};
