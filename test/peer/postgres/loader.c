#include "loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/clock.h"

static void keep_notice(struct tr_notice_sink *sink, const char *text)
{
    struct loader *l =
        (struct loader *)(void *)((char *)sink - offsetof(struct loader, notice_sink));

    if (l->n_notices < LOADER_NOTICES)
        (void)snprintf(l->notices[l->n_notices++], sizeof(l->notices[0]), "%s", text);
}

static void keep_reject(struct tr_reject_sink *sink, const struct tr_batch *b, size_t row,
                        const char *reason)
{
    struct loader *l =
        (struct loader *)(void *)((char *)sink - offsetof(struct loader, reject_sink));

    if (l->n_rejects < LOADER_REJECTS) {
        if (b->col[TR_EVENT_UUID].uuid != NULL)
            l->rejects[l->n_rejects].uuid = b->col[TR_EVENT_UUID].uuid[row];
        (void)snprintf(l->rejects[l->n_rejects].reason, sizeof(l->rejects[0].reason), "%s", reason);
    }
    l->n_rejects++;
}

static void must(enum tr_rc rc, const struct tr_err *err)
{
    char text[520];

    if (rc == TR_OK)
        return;
    (void)fprintf(stderr, "%s\n", tr_err_text(err, text, sizeof(text)));
    abort();
}

struct loader *loader_new(json_t *config)
{
    struct loader *l = calloc(1, sizeof(*l));
    struct tr_ctx cx = loader_time(10000);

    if (l == NULL)
        abort();
    l->notice_sink.notice = keep_notice;
    l->reject_sink.reject = keep_reject;
    must(tr_conf_parse(tr_dest_postgres_ops.options, config, &l->conf, &l->err), &l->err);
    must(tr_dest_postgres_ops.validate(l->conf, &l->err), &l->err);
    must(tr_dest_postgres_ops.open(&cx, l->conf, &l->dest, &l->err), &l->err);
    json_decref(config);
    return l;
}

void loader_free(struct loader *l)
{
    if (l == NULL)
        return;
    l->dest->ops->close(l->dest);
    tr_conf_free(l->conf);
    free(l);
}

struct tr_ctx loader_time(int64_t ms)
{
    return (struct tr_ctx){ .deadline_us = tr_clock_boot_us() + ms * TR_US_PER_MS };
}

enum tr_rc loader_prepare(struct loader *l, const char *const *names)
{
    struct tr_ctx cx = loader_time(20000);
    struct tr_projection p =
        names == NULL ? rows_projection_default(tr_dest_postgres_ops.defaults[TR_MODEL_EVENTS])
                      : rows_projection_of(names);

    l->n_notices = 0;
    return l->dest->ops->prepare(&cx, l->dest, &p, &(tr_column_mask){ 0 }, &l->notice_sink,
                                 &l->err);
}

enum tr_rc loader_test(struct loader *l, enum tr_model model, size_t step)
{
    struct tr_ctx cx = loader_time(10000);
    struct tr_projection p =
        rows_projection_model(tr_schemas[model], tr_dest_postgres_ops.defaults[model]);

    return l->dest->ops->test(&cx, l->dest, &p, step, &l->err);
}

enum tr_rc loader_begin(struct loader *l, const struct tr_key *key, bool careful,
                        struct tr_load **ret)
{
    struct tr_ctx cx = loader_time(20000);
    struct tr_load_spec spec = { .key = *key, .careful = careful, .rejects = &l->reject_sink };

    l->n_rejects = 0;
    return l->dest->ops->begin(&cx, l->dest, &spec, ret, &l->err);
}

enum tr_rc loader_deliver(struct loader *l, const struct tr_key *key, const struct tr_batch *b,
                          bool careful)
{
    struct tr_ctx cx = loader_time(30000);
    struct tr_load *load = NULL;

    enum tr_rc rc = loader_begin(l, key, careful, &load);
    if (rc != TR_OK)
        return rc;
    rc = load->ops->write(&cx, load, b, &l->err);
    if (rc != TR_OK) {
        load->ops->abort(load);
        return rc;
    }
    return load->ops->commit(&cx, load, &l->receipt, &l->err);
}

enum tr_rc loader_deliver_all(struct loader *l, const struct tr_key *key, const struct tr_batch *b)
{
    enum tr_rc rc = loader_deliver(l, key, b, false);

    if (rc == TR_REFUSED && l->err.id == tr_dest_rows_refused)
        rc = loader_deliver(l, key, b, true);
    return rc;
}

enum tr_rc loader_lookup(struct loader *l, const struct tr_key *key, int64_t ms,
                         enum tr_chunk_state *ret)
{
    struct tr_ctx cx = loader_time(ms);

    l->receipt = (struct tr_receipt){ 0 };
    return l->dest->ops->lookup(&cx, l->dest, key, ret, &l->receipt, &l->err);
}

bool loader_noticed(const struct loader *l, const char *part)
{
    for (size_t i = 0; i < l->n_notices; i++)
        if (strstr(l->notices[i], part) != NULL)
            return true;
    return false;
}
