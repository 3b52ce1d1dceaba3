#include "dest/file/file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dest/file/file_priv.h"

static const struct tr_default_column events[] = {
    { "uuid", NULL },        { "event", NULL },        { "properties", NULL },
    { "distinct_id", NULL }, { "team_id", NULL },      { "timestamp", NULL },
    { "created_at", NULL },  { "_inserted_at", NULL }, { "elements_chain", NULL },
    { "set", NULL },         { "set_once", NULL },     { "ip", NULL },
    { NULL, NULL },
};

struct file_dest *file_dest_of(struct tr_dest *d)
{
    assert(d->ops == &tr_dest_file_ops);
    return (struct file_dest *)(void *)d;
}

static enum tr_rc file_open(const struct tr_ctx *cx, const struct tr_conf *conf,
                            struct tr_dest **ret, struct tr_err *err)
{
    enum tr_rc rc = file_may_go_on(cx, err);

    if (rc == TR_OK)
        rc = file_check_options(conf, err);
    if (rc != TR_OK)
        return rc;
    struct file_dest *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return tr_fail_oom(err);
    d->base.ops = &tr_dest_file_ops;
    if (!file_clean_path(tr_conf_text(conf, "path"), d->root) ||
        !tr_compression_parse(tr_conf_text(conf, "compression"), &d->compression)) {
        free(d);
        return tr_fail(err, TR_INTERNAL, "file.option", NULL, "options were not checked");
    }
    const char *marker = tr_conf_text(conf, "marker");
    if (marker != NULL)
        memcpy(d->marker, marker, strlen(marker) + 1);
    *ret = &d->base;
    return TR_OK;
}

static void drop_projection(struct file_dest *d)
{
    for (size_t i = 0; i < TR_BATCH_COLUMNS; i++) {
        free(d->names[i]);
        d->names[i] = NULL;
    }
    d->projection = (struct tr_projection){ 0 };
    d->prepared = false;
}

static enum tr_rc copy_projection(struct file_dest *d, const struct tr_projection *p,
                                  struct tr_err *err)
{
    drop_projection(d);
    d->projection = *p;
    tr_projection_drop_optional(&d->projection);
    for (size_t i = 0; i < d->projection.n; i++) {
        d->names[i] = strdup(d->projection.name[i]);
        d->projection.name[i] = d->names[i];
        if (d->names[i] == NULL) {
            drop_projection(d);
            return tr_fail_oom(err);
        }
    }
    return TR_OK;
}

/* A file takes every column there is: nothing to fit. */
static enum tr_rc file_prepare(const struct tr_ctx *cx, struct tr_dest *dest,
                               const struct tr_projection *p, tr_column_mask *ret_used,
                               struct tr_notice_sink *notices, struct tr_err *err)
{
    struct file_dest *d = file_dest_of(dest);
    size_t made = 0;
    enum tr_rc rc = file_may_go_on(cx, err);

    if (rc == TR_OK)
        rc = copy_projection(d, p, err);
    if (rc == TR_OK)
        rc = file_check_marker(d, err);
    if (rc == TR_OK)
        rc = file_make_folders(d->root, &made, err);
    if (rc != TR_OK)
        return rc;
    if (made != 0 && notices != NULL)
        notices->notice(notices, "the folder was made");
    d->prepared = true;
    *ret_used = tr_projection_mask(&d->projection);
    return TR_OK;
}

static void file_close(struct tr_dest *dest)
{
    if (dest == NULL)
        return;
    struct file_dest *d = file_dest_of(dest);
    drop_projection(d);
    free(d->written);
    free(d);
}

const struct tr_dest_ops tr_dest_file_ops = {
    .name = "File",
    .caps = TR_DEST_COMMITS_RUN | TR_DEST_REPLACES | TR_DEST_RECOUNTS | TR_DEST_OWNS_ROWS,
    .options = file_options,
    .tests = file_tests,
    .defaults = { events, tr_default_persons, tr_default_sessions, tr_default_groups },
    .validate = file_validate,
    .target = file_target,
    .open = file_open,
    .test = file_test,
    .prepare = file_prepare,
    .begin = file_begin,
    .lookup = file_lookup,
    .finish = file_finish,
    .published = file_published,
    .recount = file_recount,
    .close = file_close,
};
