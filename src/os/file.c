#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum rc_limits { PATH_BYTES = 4096 };

enum tr_rc tr_file_write_all(int fd, const void *p, size_t n, struct tr_err *err)
{
    const char *at = p;

    while (n > 0) {
        ssize_t done = write(fd, at, n);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return tr_fail_errno(err, errno, "write");
        }
        at += done;
        n -= (size_t)done;
    }
    return TR_OK;
}

enum tr_rc tr_file_pwritev_all(int fd, struct iovec *v, int n, off_t at, struct tr_err *err)
{
    enum { MOST = 1024 }; /* IOV_MAX on Linux */

    while (n > 0) {
        ssize_t done = pwritev(fd, v, n < MOST ? n : MOST, at);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return tr_fail_errno(err, errno, "write");
        }
        at += done;
        while (n > 0 && (size_t)done >= v->iov_len) {
            done -= (ssize_t)v->iov_len;
            v++;
            n--;
        }
        if (n > 0 && done > 0) {
            v->iov_base = (char *)v->iov_base + done;
            v->iov_len -= (size_t)done;
        }
    }
    return TR_OK;
}

enum tr_rc tr_file_pread_all(int fd, void *p, size_t n, off_t at, struct tr_err *err)
{
    char *to = p;

    while (n > 0) {
        ssize_t got = pread(fd, to, n, at);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return tr_fail_errno(err, errno, "read");
        }
        if (got == 0)
            return tr_fail(err, TR_INTERNAL, "os.short_read", NULL, "the file ends %zu bytes early",
                           n);
        to += got;
        at += got;
        n -= (size_t)got;
    }
    return TR_OK;
}

enum tr_rc tr_file_read(const char *path, struct tr_buf *out, struct tr_err *err)
{
    TR_CLEANUP(tr_file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return tr_fail(err, TR_INVALID, "os.no_file", NULL, "%s: no such file", path);
    if (fd < 0)
        return tr_fail_errno(err, errno, "open %s", path);
    tr_buf_clear(out);
    for (;;) {
        char *at = tr_buf_reserve(out, 16384);
        size_t room = 16384;
        if (at == NULL) {
            room = out->max - out->n;
            out->failed = false;
            at = room == 0 ? NULL : tr_buf_reserve(out, room);
        }
        char spare;
        ssize_t got = at == NULL ? read(fd, &spare, 1) : read(fd, at, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tr_fail_errno(err, errno, "read %s", path);
        if (got == 0)
            return TR_OK;
        if (at == NULL)
            return tr_fail(err, TR_INVALID, "os.file_too_big", NULL, "%s: over %zu bytes", path,
                           out->max);
        tr_buf_used(out, (size_t)got);
    }
}

enum tr_rc tr_file_sync_dir(const char *path, struct tr_err *err)
{
    TR_CLEANUP(tr_file_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return tr_fail_errno(err, errno, "open folder %s", path);
    if (fsync(fd) != 0)
        return tr_fail_errno(err, errno, "fsync folder %s", path);
    return TR_OK;
}

static enum tr_rc write_and_sync(const char *path, struct tr_str bytes, mode_t mode,
                                 struct tr_err *err)
{
    TR_CLEANUP(tr_file_close)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    if (fd < 0)
        return tr_fail_errno(err, errno, "create %s", path);
    if (fchmod(fd, mode) != 0)
        return tr_fail_errno(err, errno, "chmod %s", path);
    if (tr_file_write_all(fd, bytes.p, bytes.n, err) != TR_OK)
        return tr_wrap(err, "%s", path);
    if (fsync(fd) != 0)
        return tr_fail_errno(err, errno, "fsync %s", path);
    return TR_OK;
}

enum tr_rc tr_file_replace(const char *path, struct tr_str bytes, mode_t mode, struct tr_err *err)
{
    char temporary[PATH_BYTES];
    char folder[PATH_BYTES];

    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
        return tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "path over %d bytes", PATH_BYTES);
    if (write_and_sync(temporary, bytes, mode, err) != TR_OK) {
        (void)unlink(temporary);
        return err == NULL ? TR_INTERNAL : err->rc;
    }
    if (rename(temporary, path) != 0)
        return tr_fail_errno(err, errno, "rename %s", temporary);
    memcpy(folder, temporary, sizeof(folder));
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return tr_file_sync_dir(".", err);
    *slash = '\0';
    return tr_file_sync_dir(folder[0] == '\0' ? "/" : folder, err);
}

enum tr_rc tr_file_make_dirs(const char *path, struct tr_err *err)
{
    char part[PATH_BYTES];
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof(part))
        return tr_fail(err, TR_INVALID, "os.bad_path", NULL, "folder name of %zu bytes", n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return tr_fail_errno(err, errno, "create folder %s", part);
        part[i] = kept;
    }
    struct stat st;
    if (stat(path, &st) != 0)
        return tr_fail_errno(err, errno, "folder %s", path);
    if (!S_ISDIR(st.st_mode))
        return tr_fail(err, TR_INVALID, "os.not_a_folder", NULL, "%s is not a folder", path);
    return TR_OK;
}

/* Locks what fd is open on; a failure says who has it, as far as the lock file tells. */
static enum tr_rc lock_or_tell(int fd, int lock_file, const char *dir, struct tr_err *err)
{
    char pid[32] = { 0 };

    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return TR_OK;
    if (errno != EWOULDBLOCK)
        return tr_fail_errno(err, errno, "lock %s", dir);
    ssize_t got = pread(lock_file, pid, sizeof(pid) - 1, 0);
    pid[strcspn(pid, "\n")] = '\0';
    return tr_fail(err, TR_REFUSED, "os.locked",
                   "stop that process first, or give this one another data folder",
                   "%s is in use by process %s", dir, got > 0 ? pid : "(unknown)");
}

enum tr_rc tr_file_lock_dir(const char *dir, struct tr_dir_lock *ret, struct tr_err *err)
{
    struct tr_dir_lock lock = { -1, -1 };
    char path[PATH_BYTES];
    char text[32];
    enum tr_rc rc = TR_OK;

    if (snprintf(path, sizeof(path), "%s/lock", dir) >= (int)sizeof(path))
        return tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "path over %d bytes", PATH_BYTES);
    lock.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock.dir < 0)
        return tr_fail_errno(err, errno, "open folder %s", dir);
    lock.file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock.file < 0)
        rc = tr_fail_errno(err, errno, "open %s", path);
    if (rc == TR_OK)
        rc = lock_or_tell(lock.dir, lock.file, dir, err);
    if (rc == TR_OK)
        rc = lock_or_tell(lock.file, lock.file, dir, err);
    int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (rc == TR_OK && (ftruncate(lock.file, 0) != 0 || pwrite(lock.file, text, (size_t)n, 0) != n))
        rc = tr_fail_errno(err, errno, "write %s", path);
    if (rc != TR_OK) {
        tr_file_unlock_dir(&lock);
        return rc;
    }
    *ret = lock;
    return TR_OK;
}

void tr_file_unlock_dir(struct tr_dir_lock *lock)
{
    tr_file_close(&lock->file);
    tr_file_close(&lock->dir);
}

enum tr_rc tr_file_free_bytes(const char *path, uint64_t *ret, struct tr_err *err)
{
    struct statvfs fs;

    if (statvfs(path, &fs) != 0)
        return tr_fail_errno(err, errno, "free space of %s", path);
    *ret = (uint64_t)fs.f_bavail * fs.f_frsize;
    return TR_OK;
}

void tr_file_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}
