/* Records of a commit, as vectors: heads and counters from the arena, events where they are. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model/event.h"
#include "store/commit_priv.h"

static enum tr_rc add_vector(struct commit *c, const void *p, size_t n, struct tr_err *err)
{
    if (c->n_v == c->cap_v) {
        size_t cap = c->cap_v == 0 ? 256 : 2 * c->cap_v;
        struct iovec *v = realloc(c->v, cap * sizeof(*v));
        if (v == NULL)
            return tr_fail_oom(err);
        c->v = v;
        c->cap_v = cap;
    }
    c->v[c->n_v++] = (struct iovec){ (void *)(uintptr_t)p, n };
    return TR_OK;
}

static enum tr_rc add_head(struct commit *c, const struct record_head *h, struct tr_err *err)
{
    if (c->n_heads == c->cap_heads) {
        size_t cap = c->cap_heads == 0 ? 64 : 2 * c->cap_heads;
        const struct record_head **heads = realloc(c->heads, cap * sizeof(*heads));
        if (heads == NULL)
            return tr_fail_oom(err);
        c->heads = heads;
        c->cap_heads = cap;
    }
    c->heads[c->n_heads++] = h;
    return TR_OK;
}

static enum tr_rc open_record(struct commit *c, enum record_type type, struct tr_err *err)
{
    c->head = (struct record_head){
        .magic = RECORD_MAGIC,
        .type = (uint16_t)type,
        .events_crc = c->s->salt,
        .seq = c->next_seq,
        .commit = c->commit,
        .first_stamp = c->stamp,
        .last_stamp = c->stamp,
        .event_format = TR_EVENT_FORMAT,
    };
    c->head_v = c->n_v;
    c->n_counters = 0;
    memset(c->slots, 0, sizeof(c->slots));
    if (add_vector(c, NULL, 0, err) != TR_OK) /* its head comes when it is closed */
        return err->rc;
    c->record = &c->head;
    return TR_OK;
}

enum tr_rc commit_close_record(struct commit *c, bool ends_commit, struct tr_err *err)
{
    if (c->record == NULL)
        return TR_OK;
    if (c->head.events == 0)
        c->stamp++; /* every record has an instant of its own */
    c->head.counters = (uint32_t)c->n_counters;
    c->head.flags = ends_commit ? RECORD_ENDS_COMMIT : 0;

    size_t prefix = record_prefix(&c->head);
    struct record_head *h = tr_arena_alloc(&c->arena, prefix);
    if (h == NULL)
        return tr_fail_oom(err);
    *h = c->head;
    memcpy(h + 1, c->counters, prefix - sizeof(*h));
    record_head_seal(h, c->s->salt);
    c->v[c->head_v] = (struct iovec){ h, prefix };
    c->next_seq++;
    c->record = NULL;
    return add_head(c, h, err);
}

static struct record_counter *find_counter(struct commit *c, int32_t project)
{
    if (c->n_counters > 0 && c->counters[c->last_counter].project == project)
        return &c->counters[c->last_counter];

    size_t slot = ((uint32_t)project * UINT32_C(2654435769) >> 16) % COUNTER_SLOTS;
    while (c->slots[slot] != 0) {
        size_t i = c->slots[slot] - 1U;
        if (c->counters[i].project == project) {
            c->last_counter = i;
            return &c->counters[i];
        }
        slot = (slot + 1) % COUNTER_SLOTS;
    }
    if (c->n_counters == RECORD_COUNTERS)
        return NULL;
    c->counters[c->n_counters] = (struct record_counter){ .project = project };
    c->slots[slot] = (uint16_t)++c->n_counters;
    c->last_counter = c->n_counters - 1;
    return &c->counters[c->last_counter];
}

static bool has_room(const struct commit *c, size_t event_bytes)
{
    if (c->head.type != RECORD_GROUP ||
        counts_minute(c->stamp) != counts_minute(c->head.first_stamp))
        return false;
    return c->head.events_bytes == 0 || c->head.events_bytes + event_bytes <= RECORD_BYTES;
}

enum tr_rc commit_counter(struct commit *c, int32_t project, size_t event_bytes,
                          struct record_counter **ret, struct tr_err *err)
{
    if (c->record != NULL && !has_room(c, event_bytes) &&
        commit_close_record(c, false, err) != TR_OK)
        return err->rc;
    for (;;) {
        if (c->record == NULL && open_record(c, RECORD_GROUP, err) != TR_OK)
            return err->rc;
        *ret = find_counter(c, project);
        if (*ret != NULL)
            return TR_OK;
        if (commit_close_record(c, false, err) != TR_OK)
            return err->rc;
    }
}

enum tr_rc commit_event(struct commit *c, const char *p, size_t size, struct tr_err *err)
{
    struct iovec *last = &c->v[c->n_v - 1];

    if (c->n_v - 1 > c->head_v && (const char *)last->iov_base + last->iov_len == p)
        last->iov_len += size;
    else if (add_vector(c, p, size, err) != TR_OK)
        return err->rc;
    c->head.events_crc = tr_crc32c(c->head.events_crc, p, size);
    c->head.events_bytes += (uint32_t)size;
    c->head.events++;
    c->head.last_stamp = c->stamp;
    c->stamp++;
    return TR_OK;
}

enum tr_rc commit_command(struct commit *c, char *p, size_t size, struct tr_err *err)
{
    if (commit_close_record(c, false, err) != TR_OK || open_record(c, RECORD_COMMAND, err) != TR_OK)
        return err->rc;
    tr_event_stamp(p, c->stamp);
    return commit_event(c, p, size, err);
}

enum tr_rc commit_add_fence(struct commit *c, struct tr_err *err)
{
    struct record_head *h = tr_arena_alloc(&c->arena, sizeof(*h));

    if (h == NULL)
        return tr_fail_oom(err);
    *h = (struct record_head){
        .magic = RECORD_MAGIC,
        .type = RECORD_FENCE,
        .flags = RECORD_ENDS_COMMIT,
        .events_crc = c->s->salt,
        .seq = c->next_seq,
        .commit = c->commit,
        .first_stamp = c->stamp - 1,
        .last_stamp = c->stamp - 1,
        .event_format = TR_EVENT_FORMAT,
    };
    record_head_seal(h, c->s->salt);
    if (add_vector(c, h, sizeof(*h), err) != TR_OK)
        return err->rc;
    return add_head(c, h, err);
}
