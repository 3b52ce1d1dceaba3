/* What is asked of the file system, and what its refusals mean. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "dest/file/file_priv.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"

enum {
    FOLDER_MODE = 0750, /* less the umask: the rows are for the owner and the group */
    FILE_MODE = 0640,
};

struct class
{
    enum tr_rc rc;
    const char *id, *hint;
};

static struct class class_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return (struct class){ TR_TRANSIENT, "file.no_space",
                               "free space on the disk of the destination's folder; the run then "
                               "goes on by itself" };
    case EACCES:
    case EPERM:
        return (struct class){ TR_REFUSED, "file.permission_denied",
                               "let the server's user write there, then retry the run" };
    case EROFS:
        return (struct class){ TR_REFUSED, "file.read_only",
                               "mount the file system for writing, then retry the run" };
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return (struct class){ TR_REFUSED, "file.bad_path",
                               "every part of path must be a folder, or absent" };
    case EFBIG:
        return (struct class){ TR_REFUSED, "file.too_big",
                               "raise the limit of file sizes of the server's process, or of the "
                               "file system" };
    case ENOENT:
        return (struct class){ TR_TRANSIENT, "file.gone",
                               "something removes files or folders of the destination while they "
                               "are written" };
    default:
        return (struct class){ TR_TRANSIENT, "file.io", NULL };
    }
}

enum tr_rc file_fail(struct tr_err *err, int error, const char *what, const char *path)
{
    struct class c = class_of(error);
    const char *text = strerrordesc_np(error);

    return tr_fail(err, c.rc, c.id, c.hint, "%s %s: %s", what, path,
                   text == NULL ? "unknown error" : text);
}

enum tr_rc file_may_go_on(const struct tr_ctx *cx, struct tr_err *err)
{
    if (tr_ctx_cancelled(cx))
        return tr_fail(err, TR_CANCELLED, "file.cancelled", NULL, "cancelled");
    if (tr_clock_boot_us() >= cx->deadline_us)
        return tr_fail(err, TR_TRANSIENT, "file.too_slow", NULL, "the time allowed is over");
    return TR_OK;
}

enum tr_rc file_sync_folder(const char *path, struct tr_err *err)
{
    TR_CLEANUP(tr_file_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return file_fail(err, errno, "open folder", path);
    if (fsync(fd) != 0)
        return file_fail(err, errno, "sync folder", path);
    return TR_OK;
}

/* part: a path whose parent exists. */
static enum tr_rc make_folder(char *part, size_t *made, struct tr_err *err)
{
    struct stat st;

    if (stat(part, &st) == 0)
        return S_ISDIR(st.st_mode) ? TR_OK : file_fail(err, ENOTDIR, "make folder", part);
    if (mkdir(part, FOLDER_MODE) != 0)
        return errno == EEXIST ? TR_OK : file_fail(err, errno, "make folder", part);
    *made += 1;
    char *slash = strrchr(part, '/');
    if (slash == part)
        return file_sync_folder("/", err);
    *slash = '\0';
    enum tr_rc rc = file_sync_folder(part, err);
    *slash = '/';
    return rc;
}

enum tr_rc file_make_folders(const char *path, size_t *ret_made, struct tr_err *err)
{
    char part[FILE_PATH];
    size_t n = strlen(path);
    size_t made = 0;
    enum tr_rc rc = TR_OK;

    assert(n < sizeof(part));
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n && n > 1 && rc == TR_OK; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        rc = make_folder(part, &made, err);
        part[i] = i == n ? '\0' : '/';
    }
    if (rc == TR_OK && ret_made != NULL)
        *ret_made = made;
    return rc;
}

/* ---- temporary files ---- */

enum tr_rc file_temp_open(const char *folder, const char *name, char ret_path[FILE_PATH],
                          int *ret_fd, struct tr_err *err)
{
    enum { RANDOM_BYTES = 8 };
    char random[2 * RANDOM_BYTES + 1];
    char own[FILE_NAME + 64];

    enum tr_rc rc = file_make_folders(folder, NULL, err);
    if (rc != TR_OK)
        return rc;
    tr_random_hex(random, RANDOM_BYTES);
    (void)snprintf(own, sizeof(own), "%s.%ld-%s", name, (long)getpid(), random);
    file_join(folder, own, ret_path);
    int fd = open(ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return file_fail(err, errno, "create", ret_path);
    *ret_fd = fd;
    return TR_OK;
}

/* Whoever still writes to one of them has touched it within the hour; should it have slept longer,
 * its rename fails and the attempt is made again. */
void file_temp_clean(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    if (dir == NULL)
        return;
    int64_t before = tr_clock_wall_us() - TR_US_PER_HOUR;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        if (entry->d_name[0] == '.' ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        int64_t touched = (int64_t)st.st_mtim.tv_sec * TR_US_PER_S + st.st_mtim.tv_nsec / 1000;
        if (S_ISREG(st.st_mode) && touched < before)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
}

enum tr_rc file_write_all(int fd, const char *path, const void *p, size_t n, struct tr_err *err)
{
    const char *at = p;

    while (n > 0) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return file_fail(err, errno, "write", path);
        at += done;
        n -= (size_t)done;
    }
    return TR_OK;
}

enum tr_rc file_settle(int *fd, const char *path, struct tr_err *err)
{
    int taken = *fd;

    *fd = -1;
    if (fsync(taken) != 0) {
        int error = errno;
        (void)close(taken);
        return file_fail(err, error, "sync", path);
    }
    /* On some network file systems only close() tells that there was no space. */
    if (close(taken) != 0 && errno != EINTR)
        return file_fail(err, errno, "close", path);
    return TR_OK;
}
