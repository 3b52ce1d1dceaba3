#include <stdlib.h>

#include "capture/capture_priv.h"

/* Where the buffers of a scratch stand, so that none is forgotten. */
static const size_t buffers[] = {
#define AT(member) offsetof(struct tr_capture_scratch, member)
    AT(form),       AT(decoded[0]),  AT(decoded[1]), AT(units),    AT(words),
    AT(properties), AT(merged[0]),   AT(merged[1]),  AT(keys),     AT(key),
    AT(event),      AT(distinct_id), AT(token),      AT(text),     AT(ip),
    AT(lib),        AT(at),          AT(pending),    AT(verdicts),
#undef AT
};
enum { N_BUFFERS = sizeof(buffers) / sizeof(buffers[0]) };

enum {
    MAX_ESCAPED = 6, /* bytes of an escape that stands for one: \u0041 */
    MAX_SHORT_TEXT = 4096
};

static struct tr_buf *buffer(struct tr_capture_scratch *s, size_t i)
{
    return (struct tr_buf *)(void *)((char *)s + buffers[i]);
}

enum tr_rc tr_capture_scratch_new(struct tr_capture_scratch **ret, struct tr_err *err)
{
    struct tr_capture_scratch *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < N_BUFFERS; i++)
        tr_buf_init(buffer(s, i), SIZE_MAX);
    *ret = s;
    return TR_OK;
}

void tr_capture_scratch_free(struct tr_capture_scratch *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < N_BUFFERS; i++)
        tr_buf_fini(buffer(s, i));
    if (s->inflater_ready)
        (void)inflateEnd(&s->inflater);
    (void)ZSTD_freeDCtx(s->zstd);
    free(s);
}

void tr_scratch_begin(struct tr_capture_scratch *s, const struct tr_capture_in *in)
{
    for (size_t i = 0; i < N_BUFFERS; i++) {
        tr_buf_clear(buffer(s, i));
        if (buffer(s, i)->cap > TR_CAPTURE_KEEP)
            tr_buf_fini(buffer(s, i)); /* what the last request's reader still needed */
    }
    /* Strings beyond these mean nothing to anybody: they are not even unescaped. */
    s->event.max = MAX_ESCAPED * (size_t)UINT16_MAX;
    s->key.max = in->max_event_bytes;
    s->distinct_id.max = 2 * in->max_event_bytes; /* null is longer than NaN */
    s->text.max = MAX_SHORT_TEXT;
    s->token.max = MAX_SHORT_TEXT;
    /* A few bytes more than allowed: what is too large shows itself, and base64 has room to end. */
    size_t max = in->max_inflated < SIZE_MAX - 8 ? in->max_inflated + 8 : SIZE_MAX;
    s->max_inflated = in->max_inflated;
    memcpy(&s->hash_seed, in->random, sizeof(s->hash_seed));
    s->decoded[0].max = max;
    s->decoded[1].max = max;
    s->budget = in->budget;
    s->charged = 0;
    s->no_memory = false;
}

void tr_scratch_end(struct tr_capture_scratch *s)
{
    /* out's arrays and token are read after the call: they go with the next request. */
    for (size_t i = 0; i < N_BUFFERS; i++) {
        struct tr_buf *b = buffer(s, i);
        if (b->cap > TR_CAPTURE_KEEP && b != &s->at && b != &s->verdicts && b != &s->token)
            tr_buf_fini(b);
    }
    if (s->budget != NULL)
        tr_budget_give(s->budget, s->charged);
    s->charged = 0;
    s->budget = NULL;
}

struct tr_str tr_scratch_text(struct tr_capture_scratch *s, const struct tr_json_value *string,
                              struct tr_buf *tmp)
{
    struct tr_str text = tr_json_text(string, tmp);

    if (text.p == NULL && string->raw.n <= tmp->max)
        s->no_memory = true;
    return text;
}

/* What a buffer of that size costs. */
static size_t cost(size_t cap)
{
    return cap > TR_CAPTURE_KEEP ? cap - TR_CAPTURE_KEEP : 0;
}

/* As in tr_budget_take, who has the budget to himself may have more than it: else a request that is
 * charged piece by piece could never come to its end. */
static bool charge(struct tr_capture_scratch *s, size_t n)
{
    if (n == 0 || s->budget == NULL)
        return true;
    if (!tr_budget_take(s->budget, n)) {
        if (atomic_load(&s->budget->used) != s->charged)
            return false;
        tr_budget_force(s->budget, n);
    }
    s->charged += n;
    return true;
}

enum tr_rc tr_scratch_reserve(struct tr_capture_scratch *s, struct tr_buf *b, size_t n,
                              struct tr_err *err)
{
    if (n > b->max - b->n)
        return tr_fail(err, TR_INVALID, "capture.too_large", NULL,
                       "the decoded body is larger than the limit of %zu bytes", s->max_inflated);
    if (n > b->cap - b->n) {
        size_t want = b->cap < 4096 ? 4096 : b->cap * 2;
        if (want < b->n + n)
            want = b->n + n;
        if (want > b->max)
            want = b->max;
        if (!charge(s, cost(want) - cost(b->cap)))
            return tr_fail(err, TR_THROTTLED, "capture.no_memory_now", NULL,
                           "the memory for request bodies is in use");
        char *p = realloc(b->p, want);
        if (p == NULL)
            return tr_fail_oom(err);
        b->p = p;
        b->cap = want;
    }
    return TR_OK;
}
