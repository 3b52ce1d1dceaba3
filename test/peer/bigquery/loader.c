#include "loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "model/export.h"
#include "os/clock.h"

static void take_notice(struct tr_notice_sink *sink, const char *text)
{
    struct loader *l =
        (struct loader *)(void *)((char *)(void *)sink - offsetof(struct loader, notice_sink));

    if (l->n_notices < LOADER_NOTICES)
        (void)snprintf(l->notices[l->n_notices++], sizeof(l->notices[0]), "%s", text);
}

static void take_reject(struct tr_reject_sink *sink, const struct tr_batch *b, size_t row,
                        const char *reason)
{
    struct loader *l =
        (struct loader *)(void *)((char *)(void *)sink - offsetof(struct loader, reject_sink));

    if (l->n_rejects == LOADER_REJECTS)
        return;
    l->rejects[l->n_rejects].row = row;
    if (b->schema == &tr_schema_events)
        l->rejects[l->n_rejects].uuid = b->col[TR_EVENT_UUID].uuid[row];
    (void)snprintf(l->rejects[l->n_rejects++].reason, sizeof(l->rejects[0].reason), "%s", reason);
}

struct tr_ctx loader_time(int64_t ms)
{
    return (struct tr_ctx){ .deadline_us = tr_clock_boot_us() + ms * TR_US_PER_MS };
}

static void must(enum tr_rc rc, const struct tr_err *err)
{
    if (rc == TR_OK)
        return;
    (void)fprintf(stderr, "loader: %s: %s%s\n", err->id, err->where, err->cause);
    abort();
}

struct loader *loader_new(json_t *config)
{
    struct loader *l = calloc(1, sizeof(*l));
    struct tr_ctx cx = loader_time(60000);

    if (l == NULL)
        abort();
    l->notice_sink.notice = take_notice;
    l->reject_sink.reject = take_reject;
    must(tr_conf_parse(tr_dest_bigquery_ops.options, config, &l->conf, &l->err), &l->err);
    must(tr_dest_bigquery_ops.validate(l->conf, &l->err), &l->err);
    must(tr_dest_bigquery_ops.open(&cx, l->conf, &l->dest, &l->err), &l->err);
    json_decref(config);
    return l;
}

void loader_free(struct loader *l)
{
    l->dest->ops->close(l->dest);
    tr_conf_free(l->conf);
    free(l);
}

static enum tr_rc prepare(struct loader *l, const struct tr_projection *p)
{
    struct tr_ctx cx = loader_time(60000);

    l->n_notices = 0;
    return l->dest->ops->prepare(&cx, l->dest, p, &l->used, &l->notice_sink, &l->err);
}

enum tr_rc loader_prepare(struct loader *l, const struct tr_schema *schema)
{
    struct tr_export e = { .schema = (struct tr_schema *)(uintptr_t)schema };
    struct tr_projection *p = calloc(1, sizeof(*p));

    must(tr_export_projection(&e, tr_dest_bigquery_ops.defaults[schema->model], p, &l->err),
         &l->err);
    enum tr_rc rc = prepare(l, p);
    free(p);
    return rc;
}

enum tr_rc loader_prepare_columns(struct loader *l, const char *const *names)
{
    struct tr_projection p = rows_projection_of(names);

    return prepare(l, &p);
}

static enum tr_rc deliver(struct loader *l, const struct tr_load_spec *spec,
                          const struct tr_batch *b)
{
    struct tr_ctx cx = loader_time(120000);
    struct tr_load *load = NULL;

    l->n_rejects = 0;
    enum tr_rc rc = l->dest->ops->begin(&cx, l->dest, spec, &load, &l->err);
    if (rc != TR_OK)
        return rc;
    rc = load->ops->write(&cx, load, b, &l->err);
    if (rc != TR_OK) {
        load->ops->abort(load);
        return rc;
    }
    return load->ops->commit(&cx, load, &l->receipt, &l->err);
}

enum tr_rc loader_deliver(struct loader *l, const struct tr_key *key, const struct tr_batch *b,
                          bool careful)
{
    struct tr_load_spec spec = {
        .key = *key, .careful = careful, .rejects = &l->reject_sink, .notices = &l->notice_sink
    };

    return deliver(l, &spec, b);
}

enum tr_rc loader_deliver_all(struct loader *l, const struct tr_key *key, const struct tr_batch *b)
{
    enum tr_rc rc = loader_deliver(l, key, b, false);

    if (rc != TR_OK && strcmp(l->err.id, tr_dest_rows_refused) == 0)
        rc = loader_deliver(l, key, b, true);
    return rc;
}

enum tr_rc loader_replace(struct loader *l, const struct tr_key *key, const struct tr_batch *b)
{
    struct tr_load_spec spec = {
        .key = *key, .replace = true, .rejects = &l->reject_sink, .notices = &l->notice_sink
    };

    return deliver(l, &spec, b);
}

enum tr_rc loader_lookup(struct loader *l, const struct tr_key *key, int64_t ms,
                         enum tr_chunk_state *ret)
{
    struct tr_ctx cx = loader_time(ms);

    return l->dest->ops->lookup(&cx, l->dest, key, ret, &l->receipt, &l->err);
}

bool loader_noticed(const struct loader *l, const char *part)
{
    for (size_t i = 0; i < l->n_notices; i++)
        if (strstr(l->notices[i], part) != NULL)
            return true;
    return false;
}
