/* Looking into a data folder that no server uses. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_priv.h"
#include "os/file.h"
#include "store/store.h"

/* A shared lock, when fd is open: refused while a server has it. */
static bool is_free(int fd)
{
    return fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0;
}

/* A server that runs has locked the folder itself, and the file "lock" in it, which is all that
 * version 0.1.0 locks. Only looked at: nothing in the folder is changed. */
static int check_unused(const char *folder, struct tr_dir_lock *ret)
{
    char path[4096];
    struct stat st;

    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)) {
        (void)fprintf(stderr,
                      "error: %s: there is no such folder\n"
                      "hint: --data says which data folder to look into\n",
                      folder);
        return CLI_REFUSED;
    }
    (void)snprintf(path, sizeof(path), "%s/lock", folder);
    ret->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ret->file = open(path, O_RDONLY | O_CLOEXEC);
    if (!is_free(ret->dir) || !is_free(ret->file)) {
        (void)fprintf(stderr,
                      "error: %s is in use by a running server\n"
                      "hint: stop it first; GET /api/status/ tells of a running one\n",
                      folder);
        tr_file_unlock_dir(ret);
        return CLI_REFUSED;
    }
    return CLI_OK;
}

static void print_fields(const json_t *j, int depth)
{
    const char *key = NULL;
    json_t *value = NULL;
    struct tr_buf cell;

    tr_buf_init(&cell, 1 << 20);
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
    {
        if (json_is_object(value)) {
            (void)printf("%*s%s\n", depth * 2, "", key);
            print_fields(value, depth + 1);
            continue;
        }
        tr_buf_clear(&cell);
        cli_cell(value, CLI_COUNT, &cell);
        (void)printf("%*s%-*s  %.*s\n", depth * 2, "", 24 - depth * 2, key, (int)cell.n, cell.p);
    }
    tr_buf_fini(&cell);
}

static int look(struct cli *c, bool check)
{
    const char *folder = cli_value(c, "--data");
    TR_CLEANUP(tr_file_unlock_dir) struct tr_dir_lock lock = { -1, -1 };
    struct tr_buf out;
    struct tr_err err = { 0 };
    char path[4096];
    bool sound = true;

    if (folder == NULL)
        folder = getenv("TAILRACE_DATA");
    if (folder == NULL || folder[0] == '\0')
        folder = "tailrace-data";
    if (check_unused(folder, &lock) != CLI_OK)
        return CLI_REFUSED;
    (void)snprintf(path, sizeof(path), "%s/store", folder);
    tr_buf_init(&out, 64 << 20);
    enum tr_rc rc =
        check ? tr_store_check(path, &out, &sound, &err) : tr_store_stat(path, &out, &err);
    json_t *j = rc == TR_OK ? json_loadb(out.p, out.n, 0, NULL) : NULL;
    tr_buf_fini(&out);
    if (rc != TR_OK)
        return cli_fail(folder, &err);
    if (c->json)
        cli_print_json(j);
    else
        print_fields(j, 0);
    json_decref(j);
    if (!sound)
        (void)fprintf(stderr, "error: the store has problems\n");
    return sound ? CLI_OK : CLI_REFUSED;
}

int cli_store_stat(struct cli *c)
{
    return look(c, false);
}

int cli_store_check(struct cli *c)
{
    return look(c, true);
}
