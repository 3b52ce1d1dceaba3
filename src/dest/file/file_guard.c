/* Folders that must not be written to: the server's own, and one whose disk is not mounted. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dest/file/file_priv.h"

/* The data folder; its device and inode, for it has as many names as there are links and mounts. */
static struct {
    bool known;
    dev_t device;
    ino_t inode;
} own;

enum tr_rc tr_dest_file_keep_out(const char *folder, struct tr_err *err)
{
    struct stat st;

    own.known = false;
    if (folder == NULL)
        return TR_OK;
    if (stat(folder, &st) != 0)
        return file_fail(err, errno, "look at", folder);
    own.known = true;
    own.device = st.st_dev;
    own.inode = st.st_ino;
    return TR_OK;
}

enum tr_rc file_nearest_existing(char *path, struct stat *st, struct tr_err *err)
{
    while (stat(path, st) != 0) {
        if (errno != ENOENT)
            return file_fail(err, errno, "look at", path);
        char *slash = strrchr(path, '/');
        slash[slash == path] = '\0';
    }
    return TR_OK;
}

/* What cannot be looked at is no such folder: nothing can be written there either. */
static bool is_own(const char *root)
{
    char path[FILE_PATH_MAX + 1];
    char real[PATH_MAX];
    struct stat st;

    memcpy(path, root, strlen(root) + 1);
    if (file_nearest_existing(path, &st, &(struct tr_err){ 0 }) != TR_OK ||
        realpath(path, real) == NULL)
        return false;
    while (stat(real, &st) == 0) {
        if (st.st_dev == own.device && st.st_ino == own.inode)
            return true;
        char *slash = strrchr(real, '/');
        if (slash[1] == '\0')
            return false;
        slash[slash == real] = '\0';
    }
    return false;
}

enum tr_rc file_check_outside(const char *root, struct tr_err *err)
{
    if (!own.known || !is_own(root))
        return TR_OK;
    return tr_fail(err, TR_INVALID, "file.data_folder",
                   "give a folder outside of it, best on a disk of its own: /srv/exports",
                   "path lies in the server's data folder");
}

enum tr_rc file_check_marker(const struct file_dest *d, struct tr_err *err)
{
    char path[FILE_PATH];
    struct stat st;

    if (d->marker[0] == '\0')
        return TR_OK;
    file_join(d->root, d->marker, path);
    if (stat(path, &st) == 0)
        return TR_OK;
    if (errno != ENOENT)
        return file_fail(err, errno, "look at marker", path);
    return tr_fail(err, TR_TRANSIENT, "file.no_marker",
                   "mount the disk of the destination's folder, the run then goes on by itself; or "
                   "make the marker when this is the right disk",
                   "the marker %s is not there: nothing was written", path);
}
