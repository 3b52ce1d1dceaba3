/* What former processes left: lists of journal records that state.db has and that are not sealed
 * yet. Where in a file a list of a later record comes, or something that is not whole, the rest of
 * that file was written after its last sync and was made anew from the journal, into a later file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "store/asof_priv.h"

enum { RECORD_MAX = 1 << 30 };

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static enum tr_rc list_files(const char *dir, uint64_t **ret, size_t *ret_n, struct tr_err *err)
{
    DIR *d = opendir(dir);
    uint64_t *list = NULL;
    size_t n = 0;
    size_t cap = 0;

    if (d == NULL)
        return tr_fail_errno(err, errno, "open %s", dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint64_t id;
        char end[8] = "";
        if (sscanf(e->d_name, "%16" SCNx64 "%7s", &id, end) != 2 || strcmp(end, ".tra") != 0)
            continue;
        if (n == cap) {
            cap = cap == 0 ? 16 : 2 * cap;
            uint64_t *grown = realloc(list, cap * sizeof(*list));
            if (grown == NULL) {
                free(list);
                (void)closedir(d);
                return tr_fail_oom(err);
            }
            list = grown;
        }
        list[n++] = id;
    }
    (void)closedir(d);
    if (n > 1)
        qsort(list, n, sizeof(*list), by_id);
    *ret = list;
    *ret_n = n;
    return TR_OK;
}

struct reading {
    struct asof_file *f;
    uint64_t end, applied_seq;
    struct tr_buf payload;
    bool later; /* something was met in the file that does not count */
};

/* The record at `at`; *ret_next == at: there is none that counts. */
static enum tr_rc read_record(struct reading *r, uint64_t at, uint64_t *ret_next,
                              struct tr_err *err)
{
    struct asof_head h;

    *ret_next = at;
    r->later = true;
    if (r->end - at < sizeof(h))
        return TR_OK;
    if (tr_file_pread_all(r->f->fd, &h, sizeof(h), (off_t)at, err) != TR_OK)
        return err->rc;
    if (h.magic != ASOF_MAGIC || h.bytes > RECORD_MAX ||
        asof_padded(h.bytes) > r->end - at - sizeof(h))
        return TR_OK;
    tr_buf_clear(&r->payload);
    char *p = tr_buf_reserve(&r->payload, h.bytes + 1U);
    if (p == NULL)
        return tr_fail_oom(err);
    if (tr_file_pread_all(r->f->fd, p, h.bytes, (off_t)(at + sizeof(h)), err) != TR_OK)
        return err->rc;
    if (h.crc != asof_crc(&h, p, h.bytes, NULL, 0) ||
        (h.type == ASOF_LIST && h.seq > r->applied_seq))
        return TR_OK;
    r->later = false;
    *ret_next = at + sizeof(h) + asof_padded(h.bytes);
    return h.type == ASOF_LIST ? asof_file_mark(r->f, h.seq, at, err) : TR_OK;
}

static enum tr_rc read_file(struct asof *a, struct reading *r, struct tr_err *err)
{
    struct asof_file_head head;
    char path[ASOF_PATH];
    struct stat st;
    uint64_t at = sizeof(head);

    asof_path(a, r->f->name, path);
    r->f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->f->fd < 0 || fstat(r->f->fd, &st) != 0)
        return tr_fail_errno(err, errno, "open %s", path);
    r->end = (uint64_t)st.st_size;
    r->later = r->end < sizeof(head);
    if (!r->later && tr_file_pread_all(r->f->fd, &head, sizeof(head), 0, err) != TR_OK)
        return err->rc;
    if (!r->later && memcmp(head.magic, ASOF_FILE_MAGIC, sizeof(head.magic)) == 0 &&
        head.format > ASOF_FORMAT)
        return tr_fail(err, TR_REFUSED, "store.newer_format",
                       "start the version of tailrace that wrote it, or a later one",
                       "%s has format %u; this program knows %d", path, head.format, ASOF_FORMAT);
    while (!r->later && at < r->end) {
        uint64_t next;
        if (read_record(r, at, &next, err) != TR_OK)
            return tr_wrap(err, "%s, byte %" PRIu64, path, at);
        at = next;
    }
    return TR_OK;
}

/* The file holds a list that somebody needs. */
static bool is_needed(const struct asof_file *f, uint64_t sealed_seq)
{
    return f->n > 0 && f->marks[f->n - 1].seq > sealed_seq;
}

enum tr_rc asof_recover(struct asof *a, uint64_t sealed_seq, uint64_t applied_seq, bool remove,
                        struct tr_err *err)
{
    struct reading r = { .applied_seq = applied_seq };
    uint64_t *list = NULL;
    size_t n = 0;
    enum tr_rc rc = list_files(a->dir, &list, &n, err);

    tr_buf_init(&r.payload, RECORD_MAX);
    a->next_id = n == 0 ? 1 : list[n - 1] + 1;
    for (size_t i = 0; i < n && rc == TR_OK; i++) {
        char path[ASOF_PATH];
        bool kept = false;

        r.f = asof_file_new(list[i]);
        rc = r.f == NULL ? tr_fail_oom(err) : TR_OK;
        if (rc == TR_OK)
            rc = read_file(a, &r, err);
        if (rc == TR_OK && is_needed(r.f, sealed_seq)) {
            rc = asof_add_file(a, r.f, err);
            kept = rc == TR_OK;
        } else if (rc == TR_OK && remove) {
            asof_path(a, r.f->name, path);
            if (unlink(path) != 0)
                rc = tr_fail_errno(err, errno, "remove %s", path);
        }
        if (!kept)
            asof_file_unref(r.f);
    }
    free(list);
    tr_buf_fini(&r.payload);
    return rc;
}
