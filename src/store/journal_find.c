/* Finding segments in a folder, and records in what may be damaged. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "store/journal_priv.h"

static bool name_seq(const char *name, uint64_t *ret)
{
    char *end;

    if (strlen(name) != 20 || strcmp(name + 16, ".trj") != 0 ||
        strspn(name, "0123456789abcdef") != 16)
        return false;
    *ret = strtoull(name, &end, 16);
    return end == name + 16;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

enum tr_rc journal_list(const char *dir, uint64_t **ret, size_t *ret_n, struct tr_err *err)
{
    DIR *d = opendir(dir);
    uint64_t *list = NULL;
    size_t n = 0;
    size_t cap = 0;

    if (d == NULL)
        return tr_fail_errno(err, errno, "open folder %s", dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint64_t seq;
        if (!name_seq(e->d_name, &seq))
            continue;
        if (n == cap) {
            cap = cap == 0 ? 16 : cap * 2;
            uint64_t *more = realloc(list, cap * sizeof(*more));
            if (more == NULL) {
                free(list);
                (void)closedir(d);
                return tr_fail_oom(err);
            }
            list = more;
        }
        list[n++] = seq;
    }
    (void)closedir(d);
    if (n > 0)
        qsort(list, n, sizeof(*list), compare_u64);
    *ret = list;
    *ret_n = n;
    return TR_OK;
}

static enum tr_rc find_in(const struct journal *j, int fd, uint64_t at, uint64_t end,
                          uint64_t after_seq, struct tr_buf *window, struct tr_buf *prefix,
                          bool *ret_found, uint64_t *ret_at, struct record_head *ret,
                          struct tr_err *err)
{
    enum { STEP = 1 << 20, OVERLAP = sizeof(struct record_head) };

    for (at += -at % 8; at < end; at += STEP) {
        size_t n = end - at < STEP + OVERLAP ? (size_t)(end - at) : STEP + OVERLAP;
        tr_buf_clear(window);
        char *p = tr_buf_reserve(window, n);
        if (p == NULL)
            return tr_fail_oom(err);
        if (tr_file_pread_all(fd, p, n, (off_t)at, err) != TR_OK)
            return err->rc;
        for (size_t i = 0; i + OVERLAP <= n; i += 8) {
            uint32_t magic;
            memcpy(&magic, p + i, sizeof(magic));
            if (magic != RECORD_MAGIC)
                continue;
            bool found;
            if (journal_look_at(j, fd, at + i, end, prefix, &found, err) != TR_OK)
                return err->rc;
            memcpy(ret, prefix->p, sizeof(*ret));
            if (found && ret->seq > after_seq) {
                *ret_found = true;
                *ret_at = at + i;
                return TR_OK;
            }
        }
    }
    return TR_OK;
}

enum tr_rc journal_find_later(const struct journal *j, int fd, uint64_t at, uint64_t end,
                              uint64_t after_seq, bool *ret_found, uint64_t *ret_at,
                              struct record_head *ret, struct tr_err *err)
{
    struct tr_buf window;
    struct tr_buf prefix;

    tr_buf_init(&window, 2 << 20);
    tr_buf_init(&prefix,
                sizeof(struct record_head) + RECORD_COUNTERS * sizeof(struct record_counter));
    *ret_found = false;
    enum tr_rc rc =
        find_in(j, fd, at, end, after_seq, &window, &prefix, ret_found, ret_at, ret, err);
    tr_buf_fini(&window);
    tr_buf_fini(&prefix);
    return rc;
}
