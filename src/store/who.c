#include "store/who.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024 };

void who_init(struct who *w, size_t max_bytes)
{
    *w = (struct who){ 0 };
    tr_buf_init(&w->persons, max_bytes);
}

void who_fini(struct who *w)
{
    free(w->slots);
    asof_window_fini(&w->window);
    tr_buf_fini(&w->persons);
    *w = (struct who){ 0 };
}

void who_clear(struct who *w)
{
    if (w->n > 0)
        memset(w->slots, 0, w->n_slots * sizeof(*w->slots));
    w->n = 0;
    tr_buf_clear(&w->persons);
}

static struct who_slot *find(const struct who *w, uint64_t file, uint32_t at8)
{
    size_t i = ((uint64_t)at8 * UINT64_C(0x9E3779B97F4A7C15) >> 32 ^ file) & (w->n_slots - 1);

    while (w->slots[i].number != 0 && (w->slots[i].at8 != at8 || w->slots[i].file != file))
        i = (i + 1) & (w->n_slots - 1);
    return &w->slots[i];
}

static bool grow(struct who *w)
{
    struct who old = *w;
    size_t n = w->n_slots == 0 ? FIRST_SLOTS : 2 * w->n_slots;
    struct who_slot *slots = calloc(n, sizeof(*slots));

    if (slots == NULL)
        return false;
    w->slots = slots;
    w->n_slots = n;
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].number != 0)
            *find(w, old.slots[i].file, old.slots[i].at8) = old.slots[i];
    free(old.slots);
    return true;
}

void who_put(struct tr_buf *out, const char *id, uint32_t n)
{
    static const char zeros[8];
    uint32_t length[2] = { n, 0 };

    tr_buf_add(out, id, sizeof(struct tr_uuid));
    tr_buf_add(out, length, sizeof(length));
    tr_buf_add(out, id + sizeof(struct tr_uuid), n);
    tr_buf_add(out, zeros, ((n + 7U) & ~7U) - n);
}

enum tr_rc who_append(struct tr_buf *out, const struct asof_file *f, struct asof_ref ref,
                      struct asof_window *window, struct tr_err *err)
{
    size_t start = out->n;
    uint32_t n[2] = { ref.n, 0 };
    /* The id comes with the properties behind it: the length goes in between. */
    char *p = tr_buf_reserve(out, who_bytes(ref.n) + sizeof(struct tr_uuid) + 8);

    if (p == NULL)
        return tr_fail_oom(err);
    if (asof_person(f, ref, window, out, err) != TR_OK)
        return err == NULL ? TR_INTERNAL : err->rc;
    p = out->p + start + sizeof(struct tr_uuid);
    memmove(p + sizeof(n), p, ref.n);
    memcpy(p, n, sizeof(n));
    memset(p + sizeof(n) + ref.n, 0, ((ref.n + 7U) & ~7U) - ref.n);
    out->n = start + who_bytes(ref.n);
    return TR_OK;
}

enum tr_rc who_add(struct who *w, const struct asof_file *f, struct asof_ref ref, uint32_t *ret,
                   struct tr_err *err)
{
    *ret = 0;
    if (ref.at8 == 0)
        return TR_OK;
    if ((w->n + 1) * 2 > w->n_slots && !grow(w))
        return tr_fail_oom(err);
    struct who_slot *slot = find(w, f->id, ref.at8);
    *ret = slot->number;
    if (*ret != 0)
        return TR_OK;
    enum tr_rc rc = who_append(&w->persons, f, ref, &w->window, err);
    if (rc != TR_OK)
        return rc;
    *slot = (struct who_slot){ f->id, ref.at8, (uint32_t)++w->n };
    *ret = slot->number;
    return TR_OK;
}

bool who_read(struct tr_str bytes, size_t n, struct who_person *ret)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t length;
        if (bytes.n - at < who_bytes(0))
            return false;
        memcpy(&ret[i].id, bytes.p + at, sizeof(ret[i].id));
        memcpy(&length, bytes.p + at + sizeof(ret[i].id), sizeof(length));
        if (length > bytes.n || who_bytes(length) > bytes.n - at)
            return false;
        ret[i].properties = (struct tr_str){ bytes.p + at + who_bytes(0), length };
        at += who_bytes(length);
    }
    return at == bytes.n;
}
