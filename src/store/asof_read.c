#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "store/asof_priv.h"

static enum tr_rc damaged(const struct asof_file *f, uint64_t at, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "store.damaged",
                   "run tailrace store check; restore the data folder from a backup",
                   "asof/%s is damaged at byte %" PRIu64, f->name, at);
}

static const struct asof_mark *find_mark(const struct asof_file *f, uint64_t seq)
{
    size_t lo = 0;
    size_t hi = f->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (f->marks[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->n && f->marks[lo].seq == seq ? &f->marks[lo] : NULL;
}

/* The newest file that has the list; a reference to it. */
static struct asof_file *find(struct asof *a, uint64_t seq, uint64_t *ret_at)
{
    struct asof_file *found = NULL;

    (void)pthread_mutex_lock(&a->lock);
    for (size_t i = a->n; i-- > 0;) {
        const struct asof_mark *mark = find_mark(a->files[i], seq);
        if (mark == NULL)
            continue;
        found = a->files[i];
        *ret_at = mark->at;
        (void)atomic_fetch_add(&found->refs, 1);
        break;
    }
    (void)pthread_mutex_unlock(&a->lock);
    return found;
}

bool asof_has(struct asof *a, uint64_t seq)
{
    uint64_t at;
    struct asof_file *f = find(a, seq, &at);

    if (f != NULL)
        asof_file_unref(f);
    return f != NULL;
}

enum tr_rc asof_read(struct asof *a, uint64_t seq, size_t n, struct asof_ref *ret,
                     struct asof_file **ret_file, struct tr_err *err)
{
    struct asof_head h;
    uint64_t at = 0;
    struct asof_file *f = find(a, seq, &at);

    if (f == NULL)
        return tr_fail(err, TR_REFUSED, "store.damaged",
                       "run tailrace store check; restore the data folder from a backup",
                       "asof has no list for journal record %" PRIu64, seq);
    enum tr_rc rc = tr_file_pread_all(f->fd, &h, sizeof(h), (off_t)at, err);
    if (rc == TR_OK && (h.magic != ASOF_MAGIC || h.type != ASOF_LIST || h.seq != seq ||
                        h.bytes != n * sizeof(*ret)))
        rc = damaged(f, at, err);
    if (rc == TR_OK)
        rc = tr_file_pread_all(f->fd, ret, n * sizeof(*ret), (off_t)(at + sizeof(h)), err);
    if (rc == TR_OK && h.crc != asof_crc(&h, ret, n * sizeof(*ret), NULL, 0))
        rc = damaged(f, at, err);
    if (rc != TR_OK) {
        asof_file_unref(f);
        return rc;
    }
    *ret_file = f;
    return TR_OK;
}

void asof_window_fini(struct asof_window *w)
{
    free(w->p);
    *w = (struct asof_window){ 0 };
}

/* The window moves on when something just behind it is asked for; where it stands alone, only that
 * is read. A window may reach into what is written at the moment. */
static enum tr_rc read_at(const struct asof_file *f, struct asof_window *w, uint64_t at, char *p,
                          size_t n, struct tr_err *err)
{
    if (w == NULL || n > ASOF_WINDOW / 4)
        return tr_file_pread_all(f->fd, p, n, (off_t)at, err);
    bool same = w->file == f->id && w->n > 0;
    if (!same || at < w->at || at + n > w->at + w->n) {
        bool follows = same && at >= w->at && at < w->at + w->n + ASOF_WINDOW;
        if (same && !follows)
            return tr_file_pread_all(f->fd, p, n, (off_t)at, err);
        if (w->p == NULL && (w->p = malloc(ASOF_WINDOW)) == NULL)
            return tr_fail_oom(err);
        ssize_t got = pread(f->fd, w->p, ASOF_WINDOW, (off_t)at);
        w->n = 0;
        if (got < 0 || (size_t)got < n) /* says what is wrong, or was interrupted */
            return tr_file_pread_all(f->fd, p, n, (off_t)at, err);
        w->file = f->id;
        w->at = at;
        w->n = (size_t)got;
    }
    memcpy(p, w->p + (at - w->at), n);
    return TR_OK;
}

size_t asof_person_bytes(struct asof_ref ref)
{
    return sizeof(struct asof_head) + sizeof(struct tr_uuid) + ref.n;
}

static bool is_person(struct asof_ref ref, const char *record)
{
    size_t n = asof_person_bytes(ref) - sizeof(struct asof_head);
    struct asof_head h;

    memcpy(&h, record, sizeof(h));
    return h.magic == ASOF_MAGIC && h.type == ASOF_PERSON && h.bytes == n &&
           h.crc == asof_crc(&h, record + sizeof(h), n, NULL, 0);
}

enum tr_rc asof_check(const struct asof_file *f, struct asof_ref ref, const char *record,
                      struct tr_err *err)
{
    return is_person(ref, record) ? TR_OK : damaged(f, (uint64_t)ref.at8 * 8, err);
}

enum tr_rc asof_person(const struct asof_file *f, struct asof_ref ref, struct asof_window *w,
                       struct tr_buf *out, struct tr_err *err)
{
    uint64_t at = (uint64_t)ref.at8 * 8;
    size_t bytes = asof_person_bytes(ref);
    char *p = tr_buf_reserve(out, bytes);

    if (p == NULL)
        return tr_fail_oom(err);
    if (read_at(f, w, at, p, bytes, err) != TR_OK)
        return tr_wrap(err, "asof/%s", f->name);
    if (!is_person(ref, p)) {
        if (w == NULL)
            return damaged(f, at, err);
        w->n = 0; /* it may be older than the record */
        return asof_person(f, ref, NULL, out, err);
    }
    memmove(p, p + sizeof(struct asof_head), bytes - sizeof(struct asof_head));
    tr_buf_used(out, bytes - sizeof(struct asof_head));
    return TR_OK;
}
