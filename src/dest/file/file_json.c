/* Manifests as documents: read, checked, written whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/time.h"
#include "dest/file/file_priv.h"
#include "os/clock.h"
#include "os/file.h"

enum { MANIFEST_BYTES_MAX = 256 << 20, LOCK_LOOK_US = 5000 };

json_t *file_time_json(int64_t t)
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

struct tr_range file_entry_range(const json_t *entry)
{
    struct tr_range r = { 0, 0 };

    if (!time_of(entry, "start", &r.lo) || !time_of(entry, "end", &r.hi))
        return (struct tr_range){ 0, 0 };
    return r;
}

void file_facts_json(json_t *entry, const struct file_facts *facts)
{
    char sha256[2 * FILE_SHA256 + 1];

    for (size_t i = 0; i < FILE_SHA256; i++)
        (void)snprintf(sha256 + 2 * i, 3, "%02x", facts->sha256[i]);
    (void)json_object_set_new(entry, "rows", json_integer((json_int_t)facts->rows));
    (void)json_object_set_new(entry, "bytes", json_integer((json_int_t)facts->bytes));
    (void)json_object_set_new(entry, "sha256", json_string(sha256));
}

static bool is_manifest(const json_t *manifest)
{
    const json_t *files = json_object_get(manifest, "files");
    size_t i;
    const json_t *entry;
    int64_t t;

    if (!json_is_array(files))
        return false;
    json_array_foreach(files, i, entry)
    {
        if (!json_is_string(json_object_get(entry, "name")) || !time_of(entry, "start", &t) ||
            !time_of(entry, "end", &t))
            return false;
    }
    return true;
}

enum tr_rc file_manifest_read(const char *path, json_t **ret, struct tr_err *err)
{
    struct tr_buf text;

    if (access(path, F_OK) != 0)
        return TR_OK;
    tr_buf_init(&text, MANIFEST_BYTES_MAX);
    enum tr_rc rc = tr_file_read(path, &text, err);
    json_t *manifest = rc == TR_OK ? json_loadb(text.p, text.n, 0, NULL) : NULL;
    tr_buf_fini(&text);
    if (rc != TR_OK)
        return rc;
    if (!is_manifest(manifest)) {
        json_decref(manifest);
        return tr_fail(err, TR_REFUSED, "file.bad_manifest",
                       "look at it, move it away, and retry the run", "%s is no manifest", path);
    }
    *ret = manifest;
    return TR_OK;
}

static json_t *sum(const json_t *files, const char *what)
{
    json_int_t total = 0;

    for (size_t i = 0; i < json_array_size(files); i++)
        total += json_integer_value(json_object_get(json_array_get(files, i), what));
    return json_integer(total);
}

static enum tr_rc write_text(const char *temps, const char *folder, const char *name,
                             const char *text, struct tr_err *err)
{
    char temporary[FILE_PATH];
    char path[FILE_PATH];
    TR_CLEANUP(tr_file_close) int fd = -1;

    file_join(folder, name, path);
    enum tr_rc rc = file_temp_open(temps, name, temporary, &fd, err);
    if (rc != TR_OK)
        return rc;
    rc = file_write_all(fd, temporary, text, strlen(text), err);
    if (rc == TR_OK)
        rc = file_settle(&fd, temporary, err);
    if (rc == TR_OK && rename(temporary, path) != 0)
        rc = file_fail(err, errno, "rename to", path);
    if (rc == TR_OK)
        return file_sync_folder(folder, err);
    (void)unlink(temporary);
    return rc;
}

enum tr_rc file_manifest_write(const struct file_dest *d, const struct tr_uuid *export_id,
                               const char *folder, const char *name, json_t *manifest,
                               struct tr_err *err)
{
    char temps[FILE_PATH];
    const json_t *files = json_object_get(manifest, "files");
    bool ok = json_object_set_new(manifest, "rows", sum(files, "rows")) == 0 &&
              json_object_set_new(manifest, "bytes", sum(files, "bytes")) == 0;
    char *text = ok ? json_dumps(manifest, JSON_INDENT(2)) : NULL;

    if (text == NULL)
        return tr_fail_oom(err);
    file_temp_folder(d, export_id, temps);
    enum tr_rc rc = write_text(temps, folder, name, text, err);
    free(text);
    return rc;
}

enum tr_rc file_lock(const struct tr_ctx *cx, const struct file_dest *d,
                     const struct tr_uuid *export_id, int *ret_fd, struct tr_err *err)
{
    char folder[FILE_PATH];

    file_export_folder(d, export_id, folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_fail(err, errno, "open folder", folder);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum tr_rc rc = errno == EWOULDBLOCK || errno == EINTR
                            ? file_may_go_on(cx, err)
                            : file_fail(err, errno, "lock folder", folder);
        if (rc != TR_OK) {
            (void)close(fd);
            return rc;
        }
        tr_clock_sleep_us(LOCK_LOOK_US);
    }
    *ret_fd = fd;
    return TR_OK;
}
