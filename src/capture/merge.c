/* Two JSON objects as one. The keys of the upper one stand in a hash table, so that the time grows
 * with the bytes, whatever somebody sends. */
#include "base/hash.h"
#include "capture/capture_priv.h"

struct slot {
    uint64_t hash;
    struct tr_json_value key; /* raw.p == NULL: free */
};

struct keys {
    struct slot *slots;
    size_t mask;
};

static enum tr_rc key_text(struct tr_capture_scratch *s, const struct tr_json_value *key,
                           struct tr_str *ret, struct tr_err *err)
{
    *ret = tr_scratch_text(s, key, &s->key);
    return ret->p == NULL ? tr_fail_oom(err) : TR_OK;
}

/* The slot of a key: its own, or the free one where it belongs. */
static struct slot *slot_of(const struct keys *k, struct tr_str text, uint64_t hash)
{
    for (size_t i = hash & k->mask;; i = (i + 1) & k->mask) {
        struct slot *slot = &k->slots[i];
        if (slot->key.raw.p == NULL || (slot->hash == hash && tr_json_text_is(&slot->key, text)))
            return slot;
    }
}

static enum tr_rc start(struct tr_json *j, struct tr_str object, struct tr_err *err)
{
    tr_json_init(j, object);
    return tr_json_open_object(j, err);
}

static enum tr_rc make_table(struct tr_capture_scratch *s, size_t n, struct keys *ret,
                             struct tr_err *err)
{
    size_t slots = 16;

    while (slots < n * 2)
        slots *= 2;
    tr_buf_clear(&s->keys);
    if (tr_scratch_reserve(s, &s->keys, slots * sizeof(struct slot), err) != TR_OK)
        return err->rc;
    *ret = (struct keys){ (struct slot *)(void *)s->keys.p, slots - 1 };
    memset(ret->slots, 0, slots * sizeof(struct slot));
    return TR_OK;
}

/* Puts all keys of an object into the table; *ret_n counts its members. */
static enum tr_rc collect(struct tr_capture_scratch *s, struct tr_str object, struct keys *ret,
                          size_t *ret_n, struct tr_err *err)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    bool more;
    size_t n = 0;

    if (start(&j, object, err) != TR_OK)
        return err->rc;
    while (tr_json_member(&j, &key, &value, &more, err) == TR_OK && more)
        n++;
    if (make_table(s, n, ret, err) != TR_OK || start(&j, object, err) != TR_OK)
        return err->rc;
    for (size_t i = 0; i < n; i++) {
        struct tr_str text;
        if (tr_json_member(&j, &key, &value, &more, err) != TR_OK ||
            key_text(s, &key, &text, err) != TR_OK)
            return err->rc;
        uint64_t hash = tr_hash64(text.p, text.n, s->hash_seed);
        *slot_of(ret, text, hash) = (struct slot){ hash, key };
    }
    *ret_n = n;
    return TR_OK;
}

enum tr_rc tr_merge_objects(struct tr_capture_scratch *s, struct tr_str under, struct tr_str over,
                            struct tr_buf *out, struct tr_err *err)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value value;
    struct keys keys = { 0 };
    size_t n_over = 0;
    bool more;
    bool any = false;

    tr_buf_clear(out);
    if (collect(s, over, &keys, &n_over, err) != TR_OK || start(&j, under, err) != TR_OK ||
        tr_scratch_reserve(s, out, under.n + over.n + 1, err) != TR_OK)
        return err->rc;
    tr_buf_ch(out, '{');
    for (;;) {
        struct tr_str text;
        if (tr_json_member(&j, &key, &value, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            break;
        if (key_text(s, &key, &text, err) != TR_OK)
            return err->rc;
        if (slot_of(&keys, text, tr_hash64(text.p, text.n, s->hash_seed))->key.raw.p != NULL)
            continue;
        if (any)
            tr_buf_ch(out, ',');
        tr_buf_add(out, key.raw.p, (size_t)(value.raw.p + value.raw.n - key.raw.p));
        any = true;
    }
    if (any && n_over > 0)
        tr_buf_ch(out, ',');
    tr_buf_add(out, over.p + 1, over.n - 1);
    return out->failed ? tr_fail_oom(err) : TR_OK;
}
