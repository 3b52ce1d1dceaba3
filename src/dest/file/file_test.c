/* The steps of a connection test. They leave nothing behind. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dest/file/file_priv.h"
#include "os/file.h"

const struct tr_dest_test file_tests[] = {
    { "Find the folder", "The folder exists, or one above it in which it can be made" },
    { "Write a file", "A file can be written there and removed again" },
    { .name = NULL },
};

static enum tr_rc find_folder(const char *root, struct tr_err *err)
{
    char path[FILE_PATH_MAX + 1];
    struct stat st;

    memcpy(path, root, strlen(root) + 1);
    enum tr_rc rc = file_nearest_existing(path, &st, err);
    if (rc != TR_OK)
        return rc;
    if (!S_ISDIR(st.st_mode))
        return file_fail(err, ENOTDIR, "use", path);
    if (access(path, W_OK | X_OK) != 0)
        return file_fail(err, errno, "write to folder", path);
    return TR_OK;
}

static enum tr_rc try_file(const char *folder, struct tr_err *err)
{
    char path[FILE_PATH];
    TR_CLEANUP(tr_file_close) int fd = -1;
    enum tr_rc rc = file_temp_open(folder, "tailrace-test", path, &fd, err);

    if (rc != TR_OK)
        return rc;
    rc = file_write_all(fd, path, "{}\n", 3, err);
    if (rc == TR_OK)
        rc = file_settle(&fd, path, err);
    if (unlink(path) != 0 && rc == TR_OK)
        rc = file_fail(err, errno, "remove", path);
    return rc;
}

/* Folders made for the test go again, the deepest first; one that is in use by now stays. */
static void unmake_folders(const char *root, size_t made)
{
    char path[FILE_PATH_MAX + 1];

    memcpy(path, root, strlen(root) + 1);
    for (; made > 0 && rmdir(path) == 0; made--)
        *strrchr(path, '/') = '\0';
}

enum tr_rc file_test(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                     size_t step, struct tr_err *err)
{
    const struct file_dest *d = file_dest_of(dest);
    size_t made = 0;
    enum tr_rc rc = file_may_go_on(cx, err);

    (void)p; /* a file takes any columns */
    if (rc != TR_OK)
        return rc;
    rc = file_check_marker(d, err);
    if (rc != TR_OK)
        return rc;
    if (step == 0)
        return find_folder(d->root, err);
    rc = file_make_folders(d->root, &made, err);
    if (rc == TR_OK)
        rc = try_file(d->root, err);
    unmake_folders(d->root, made);
    return rc;
}
