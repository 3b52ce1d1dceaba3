/* Where a key's files lie. Pure: two attempts at one key have one name, in whatever process. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"
#include "dest/file/file_priv.h"

enum { STAMP = 32 };

/* "20261121T093000.000000Z": sorts as text, and every file system takes it. */
static void stamp(int64_t t, char out[STAMP])
{
    struct tr_civil c;

    if (t < TR_TIME_MIN || t > TR_TIME_MAX) {
        (void)snprintf(out, STAMP, "%" PRId64, t);
        return;
    }
    tr_civil_from_time(t, &c);
    (void)snprintf(out, STAMP, "%04u%02u%02uT%02u%02u%02u.%06uZ", (unsigned)c.year % 10000U,
                   (unsigned)c.month % 100U, (unsigned)c.day % 100U, (unsigned)c.hour % 100U,
                   (unsigned)c.minute % 100U, (unsigned)c.second % 100U, (unsigned)c.us % 1000000U);
}

void file_export_folder(const struct file_dest *d, const struct tr_uuid *export_id,
                        char out[FILE_PATH])
{
    char id[TR_UUID_TEXT];

    tr_uuid_format(export_id, id);
    (void)snprintf(out, FILE_PATH, "%s/%s", strcmp(d->root, "/") == 0 ? "" : d->root, id);
}

void file_temp_folder(const struct file_dest *d, const struct tr_uuid *export_id,
                      char out[FILE_PATH])
{
    char of_export[FILE_PATH];

    file_export_folder(d, export_id, of_export);
    file_join(of_export, "tmp", out);
}

void file_folder(const struct file_dest *d, const struct tr_key *key, char out[FILE_PATH])
{
    char of_export[FILE_PATH];
    char name[FILE_NAME];

    file_export_folder(d, &key->export_id, of_export);
    (void)snprintf(name, sizeof(name), "g%" PRIu32 "-%08" PRIx32, key->generation, key->epoch);
    file_join(of_export, name, out);
}

void file_chunk_name(struct tr_range range, enum tr_compression c, char out[FILE_NAME])
{
    char lo[STAMP];
    char hi[STAMP];

    stamp(range.lo, lo);
    stamp(range.hi, hi);
    (void)snprintf(out, FILE_NAME, "%s-%s.jsonl%s", lo, hi, tr_compression_suffix(c));
}

void file_manifest_name(struct tr_range range, char out[FILE_NAME])
{
    char lo[STAMP];
    char hi[STAMP];

    stamp(range.lo, lo);
    stamp(range.hi, hi);
    (void)snprintf(out, FILE_NAME, "%s-%s_manifest.json", lo, hi);
}

/* The limits of the parts leave room: FILE_PATH_MAX, and names made here. */
void file_join(const char *folder, const char *name, char out[FILE_PATH])
{
    size_t n = strlen(folder);
    size_t m = strlen(name);

    assert(n + m + 2 <= FILE_PATH);
    memmove(out, folder, n);
    out[n] = '/';
    memcpy(out + n + 1, name, m + 1);
}
