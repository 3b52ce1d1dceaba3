/* Files: whole writes, durable replacement, and one owner per data folder. */
#ifndef TR_OS_FILE_H
#define TR_OS_FILE_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"

/* Writes all of it, through EINTR and short writes. */
TR_MUST_USE enum tr_rc tr_file_write_all(int fd, const void *p, size_t n, struct tr_err *err);

/* Writes all vectors at offset (they are changed on the way). */
TR_MUST_USE enum tr_rc tr_file_pwritev_all(int fd, struct iovec *v, int n, off_t at,
                                           struct tr_err *err);

/* Reads exactly n bytes at an offset; fewer is TR_INTERNAL "os.short_read". */
TR_MUST_USE enum tr_rc tr_file_pread_all(int fd, void *p, size_t n, off_t at, struct tr_err *err);

/* The whole file into out (its limit applies). A missing one is TR_INVALID "os.no_file". */
TR_MUST_USE enum tr_rc tr_file_read(const char *path, struct tr_buf *out, struct tr_err *err);

/* Replaces path by a file with these bytes: temporary file, fsync, rename, fsync of the folder. */
TR_MUST_USE enum tr_rc tr_file_replace(const char *path, struct tr_str bytes, mode_t mode,
                                       struct tr_err *err);

/* fsync of a folder, so that names made or removed in it last. */
TR_MUST_USE enum tr_rc tr_file_sync_dir(const char *path, struct tr_err *err);

/* mkdir with parents, mode 0700 for those it makes. */
TR_MUST_USE enum tr_rc tr_file_make_dirs(const char *path, struct tr_err *err);

/* Takes a folder for this process until it is unlocked. A second one gets TR_REFUSED "os.locked"
 * with the pid of the first. The folder itself is locked (flock(2) on a descriptor of it), so that
 * nothing in it can be removed to get past; and "<dir>/lock", which says whose it is and is all
 * that version 0.1.0 looks at. */
struct tr_dir_lock {
    int dir, file; /* descriptors; -1: not locked */
};
TR_MUST_USE enum tr_rc tr_file_lock_dir(const char *dir, struct tr_dir_lock *ret,
                                        struct tr_err *err);
void tr_file_unlock_dir(struct tr_dir_lock *lock);

/* Free bytes for this user on the file system of path. */
TR_MUST_USE enum tr_rc tr_file_free_bytes(const char *path, uint64_t *ret, struct tr_err *err);

/* close() that takes a pointer, for TR_CLEANUP; -1 is fine. */
void tr_file_close(int *fd);

#endif
