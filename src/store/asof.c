#include "store/asof.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "os/file.h"
#include "store/asof_priv.h"

enum {
    FILE_BYTES = 64 << 20,   /* a new file begins with the record that comes next */
    WRITE_BYTES = 256 << 10, /* gathered before they go to the file */
    OUT_MAX = 64 << 20,
};

uint32_t asof_crc(const struct asof_head *h, const void *p, size_t n, const void *q, size_t m)
{
    struct asof_head copy = *h;

    copy.crc = 0;
    return tr_crc32c(tr_crc32c(tr_crc32c(0, &copy, sizeof(copy)), p, n), q, m);
}

void asof_path(const struct asof *a, const char *name, char out[ASOF_PATH])
{
    (void)snprintf(out, ASOF_PATH, "%s/%s", a->dir, name);
}

/* ---- files ---- */

struct asof_file *asof_file_new(uint64_t id)
{
    struct asof_file *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return NULL;
    atomic_init(&f->refs, 1);
    f->fd = -1;
    f->id = id;
    (void)snprintf(f->name, sizeof(f->name), "%016" PRIx64 ".tra", id);
    return f;
}

void asof_file_unref(struct asof_file *f)
{
    if (f == NULL || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    tr_file_close(&f->fd);
    free(f->marks);
    free(f);
}

enum tr_rc asof_file_mark(struct asof_file *f, uint64_t seq, uint64_t at, struct tr_err *err)
{
    if (f->n == f->cap) {
        size_t cap = f->cap == 0 ? 256 : 2 * f->cap;
        struct asof_mark *marks = realloc(f->marks, cap * sizeof(*marks));
        if (marks == NULL)
            return tr_fail_oom(err);
        f->marks = marks;
        f->cap = cap;
    }
    f->marks[f->n++] = (struct asof_mark){ seq, at };
    return TR_OK;
}

enum tr_rc asof_add_file(struct asof *a, struct asof_file *f, struct tr_err *err)
{
    if (a->n == a->cap) {
        size_t cap = a->cap == 0 ? 16 : 2 * a->cap;
        struct asof_file **files = realloc(a->files, cap * sizeof(struct asof_file *));
        if (files == NULL)
            return tr_fail_oom(err);
        a->files = files;
        a->cap = cap;
    }
    a->files[a->n++] = f;
    return TR_OK;
}

static enum tr_rc begin_file(struct asof *a, struct tr_err *err)
{
    struct asof_file *f = asof_file_new(a->next_id);
    struct asof_file_head h = { .magic = ASOF_FILE_MAGIC, .format = ASOF_FORMAT };
    char path[ASOF_PATH];
    enum tr_rc rc;

    if (f == NULL)
        return tr_fail_oom(err);
    asof_path(a, f->name, path);
    f->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (f->fd < 0)
        rc = tr_fail_errno(err, errno, "create %s", path);
    else if ((rc = tr_file_write_all(f->fd, &h, sizeof(h), err)) != TR_OK)
        (void)tr_wrap(err, "%s", path);
    if (rc == TR_OK) {
        (void)pthread_mutex_lock(&a->lock);
        rc = asof_add_file(a, f, err);
        (void)pthread_mutex_unlock(&a->lock);
    }
    if (rc != TR_OK) {
        (void)unlink(path);
        asof_file_unref(f);
        return rc;
    }
    a->file = f;
    a->next_id++;
    a->at = sizeof(h);
    f->unsynced = true;
    return TR_OK;
}

static enum tr_rc open_with(struct asof *a, const char *dir, uint64_t sealed_seq,
                            uint64_t applied_seq, bool change, struct tr_err *err)
{
    *a = (struct asof){ 0 };
    (void)pthread_mutex_init(&a->lock, NULL);
    atomic_init(&a->flushed_seq, applied_seq);
    tr_buf_init(&a->out, OUT_MAX);
    a->dir = strdup(dir);
    enum tr_rc rc = a->dir == NULL ? tr_fail_oom(err) : TR_OK;
    if (rc == TR_OK && change)
        rc = tr_file_make_dirs(dir, err);
    if (rc == TR_OK)
        rc = asof_recover(a, sealed_seq, applied_seq, change, err);
    if (rc != TR_OK) {
        asof_close(a);
        return tr_wrap(err, "asof");
    }
    return TR_OK;
}

enum tr_rc asof_open(struct asof *a, const char *dir, uint64_t sealed_seq, uint64_t applied_seq,
                     struct tr_err *err)
{
    return open_with(a, dir, sealed_seq, applied_seq, true, err);
}

enum tr_rc asof_look(struct asof *a, const char *dir, uint64_t applied_seq, struct tr_err *err)
{
    return open_with(a, dir, 0, applied_seq, false, err);
}

void asof_close(struct asof *a)
{
    if (a->dir == NULL)
        return;
    for (size_t i = 0; i < a->n; i++)
        asof_file_unref(a->files[i]);
    free(a->files);
    free(a->waiting);
    free(a->list);
    tr_buf_fini(&a->out);
    free(a->dir);
    (void)pthread_mutex_destroy(&a->lock);
    *a = (struct asof){ 0 };
}

/* ---- writing ---- */

static struct asof_file *current(const struct asof *a)
{
    return a->at == 0 ? NULL : a->file;
}

/* What waits goes to the file. Lists are readable from then on. */
static enum tr_rc write_out(struct asof *a, struct tr_err *err)
{
    struct asof_file *f = current(a);
    enum tr_rc rc = TR_OK;

    if (f == NULL || a->out.n == 0)
        return TR_OK;
    struct iovec v = { a->out.p, a->out.n };
    rc = tr_file_pwritev_all(f->fd, &v, 1, (off_t)(a->at - a->out.n), err);
    if (rc != TR_OK)
        return tr_wrap(err, "%s/%s", a->dir, f->name);
    f->unsynced = true;
    tr_buf_clear(&a->out);
    (void)pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n_waiting && rc == TR_OK; i++)
        rc = asof_file_mark(f, a->waiting[i].seq, a->waiting[i].at, err);
    (void)pthread_mutex_unlock(&a->lock);
    a->n_waiting = 0;
    return rc;
}

static enum tr_rc put(struct asof *a, const struct asof_head *h, const void *p, size_t n,
                      const void *q, size_t m, struct tr_err *err)
{
    static const char zeros[8];

    tr_buf_add(&a->out, h, sizeof(*h));
    tr_buf_add(&a->out, p, n);
    tr_buf_add(&a->out, q, m);
    tr_buf_add(&a->out, zeros, asof_padded(n + m) - n - m);
    if (a->out.failed)
        return tr_fail_oom(err);
    a->at += sizeof(*h) + asof_padded(n + m);
    return a->out.n >= WRITE_BYTES ? write_out(a, err) : TR_OK;
}

static enum tr_rc put_person(struct asof *a, struct asof_place *place, const struct tr_uuid *id,
                             struct tr_str properties, struct tr_err *err)
{
    struct asof_head h = {
        .magic = ASOF_MAGIC,
        .type = ASOF_PERSON,
        .bytes = (uint32_t)(sizeof(*id) + properties.n),
    };
    uint64_t at = a->at;

    h.crc = asof_crc(&h, id, sizeof(*id), properties.p, properties.n);
    if (at / 8 > UINT32_MAX)
        return tr_fail(err, TR_INTERNAL, "store.asof_full", NULL,
                       "a journal record with %" PRIu64 " bytes of persons", at);
    enum tr_rc rc = put(a, &h, id, sizeof(*id), properties.p, properties.n, err);
    if (rc == TR_OK)
        *place = (struct asof_place){ a->file->id, { (uint32_t)(at / 8), (uint32_t)properties.n } };
    return rc;
}

static enum tr_rc push(struct asof *a, struct asof_ref ref, struct tr_err *err)
{
    if (a->n_list == a->cap_list) {
        size_t cap = a->cap_list == 0 ? 4096 : 2 * a->cap_list;
        struct asof_ref *list = realloc(a->list, cap * sizeof(*list));
        if (list == NULL)
            return tr_fail_oom(err);
        a->list = list;
        a->cap_list = cap;
    }
    a->list[a->n_list++] = ref;
    return TR_OK;
}

enum tr_rc asof_add(struct asof *a, struct asof_place *place, const struct tr_uuid *id,
                    struct tr_str properties, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    if (a->n_list == 0 && a->at >= FILE_BYTES) {
        rc = write_out(a, err);
        if (rc == TR_OK)
            a->at = 0;
    }
    if (rc == TR_OK && a->at == 0)
        rc = begin_file(a, err);
    if (rc == TR_OK && place != NULL && place->file != a->file->id)
        rc = put_person(a, place, id, properties, err);
    if (rc != TR_OK)
        return tr_wrap(err, "asof");
    return push(a, place == NULL ? (struct asof_ref){ 0, 0 } : place->ref, err);
}

static enum tr_rc wait_for(struct asof *a, uint64_t seq, uint64_t at, struct tr_err *err)
{
    if (a->n_waiting == a->cap_waiting) {
        size_t cap = a->cap_waiting == 0 ? 64 : 2 * a->cap_waiting;
        struct asof_mark *waiting = realloc(a->waiting, cap * sizeof(*waiting));
        if (waiting == NULL)
            return tr_fail_oom(err);
        a->waiting = waiting;
        a->cap_waiting = cap;
    }
    a->waiting[a->n_waiting++] = (struct asof_mark){ seq, at };
    return TR_OK;
}

enum tr_rc asof_end(struct asof *a, uint64_t seq, struct tr_err *err)
{
    size_t bytes = a->n_list * sizeof(*a->list);
    struct asof_head h = {
        .magic = ASOF_MAGIC, .type = ASOF_LIST, .bytes = (uint32_t)bytes, .seq = seq
    };

    if (a->n_list == 0)
        return TR_OK;
    h.crc = asof_crc(&h, a->list, bytes, NULL, 0);
    /* Before it is put: putting may write it out, and then it has to be known. */
    if (wait_for(a, seq, a->at, err) != TR_OK || put(a, &h, a->list, bytes, NULL, 0, err) != TR_OK)
        return tr_wrap(err, "asof");
    a->n_list = 0;
    return TR_OK;
}

enum tr_rc asof_flush(struct asof *a, uint64_t through_seq, struct tr_err *err)
{
    if (write_out(a, err) != TR_OK)
        return tr_wrap(err, "asof");
    atomic_store(&a->flushed_seq, through_seq);
    return TR_OK;
}

/* Files of which nothing is needed any more go before they cost a sync. */
enum tr_rc asof_sync(struct asof *a, struct tr_err *err)
{
    bool any = false;

    /* From the newest on: the oldest may go meanwhile. */
    for (size_t i = 1;; i++) {
        struct asof_file *f = NULL;
        (void)pthread_mutex_lock(&a->lock);
        if (i <= a->n)
            f = a->files[a->n - i];
        if (f != NULL)
            (void)atomic_fetch_add(&f->refs, 1);
        (void)pthread_mutex_unlock(&a->lock);
        if (f == NULL)
            break;
        bool unsynced = atomic_exchange(&f->unsynced, false); /* before: more may be written */
        int error = unsynced && fdatasync(f->fd) != 0 ? errno : 0;
        any = any || unsynced;
        if (error != 0) {
            atomic_store(&f->unsynced, true);
            (void)tr_fail_errno(err, error, "sync %s/%s", a->dir, f->name);
        }
        asof_file_unref(f);
        if (error != 0)
            return TR_INTERNAL;
    }
    return any ? tr_file_sync_dir(a->dir, err) : TR_OK;
}

void asof_reset(struct asof *a, uint64_t applied_seq)
{
    (void)pthread_mutex_lock(&a->lock);
    while (a->n > 0) {
        struct asof_file *f = a->files[a->n - 1];
        char path[ASOF_PATH];

        while (f->n > 0 && f->marks[f->n - 1].seq > applied_seq)
            f->n--;
        if (f->n > 0)
            break;
        asof_path(a, f->name, path);
        (void)unlink(path); /* when it stays, the next start removes it */
        asof_file_unref(f);
        a->n--;
    }
    (void)pthread_mutex_unlock(&a->lock);
    a->at = 0;
    a->n_waiting = 0;
    a->n_list = 0;
    tr_buf_clear(&a->out);
    atomic_store(&a->flushed_seq, applied_seq);
}

enum tr_rc asof_drop(struct asof *a, uint64_t sealed_seq, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    while (rc == TR_OK) {
        struct asof_file *f = NULL;
        char path[ASOF_PATH];

        (void)pthread_mutex_lock(&a->lock);
        if (a->n > 1 &&
            (a->files[0]->n == 0 || a->files[0]->marks[a->files[0]->n - 1].seq <= sealed_seq)) {
            f = a->files[0];
            a->n--;
            memmove(a->files, a->files + 1, a->n * sizeof(struct asof_file *));
        }
        (void)pthread_mutex_unlock(&a->lock);
        if (f == NULL)
            break;
        asof_path(a, f->name, path);
        if (unlink(path) != 0)
            rc = tr_fail_errno(err, errno, "remove %s", path);
        asof_file_unref(f);
    }
    return rc;
}
