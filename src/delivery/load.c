/* An export as it is kept -> an export that can be run. */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_priv.h"

const struct tr_dest_ops *tr_delivery_dest(const struct tr_delivery *d, const char *type)
{
    for (const struct tr_dest_ops *const *ops = d->dests; *ops != NULL; ops++) {
        if (strcmp((*ops)->name, type) == 0)
            return *ops;
    }
    return NULL;
}

enum tr_rc tr_delivery_takes(const struct tr_dest_ops *ops, const struct tr_schema *schema,
                             struct tr_err *err)
{
    if (ops->defaults[schema->model] != NULL)
        return TR_OK;
    return tr_fail(err, TR_REFUSED, "delivery.no_such_model", "choose another destination",
                   "the destination %s does not take the model %s", ops->name, schema->name);
}

static void row_cleanup(struct tr_export_row *row)
{
    tr_buf_fini(&row->buf);
}

static void json_cleanup(json_t **j)
{
    json_decref(*j);
}

static void export_cleanup(struct tr_export **e)
{
    tr_export_free(*e);
}

/* Secrets are a JSON object sealed under the export's id; they join the destination's options. */
static enum tr_rc open_secrets(const struct tr_keyring *keys, const struct tr_export_row *row,
                               json_t *config, struct tr_err *err)
{
    char id[TR_UUID_TEXT];
    TR_CLEANUP(tr_wipe) struct tr_buf plain;

    tr_buf_init(&plain, 1 << 20);
    if (row->sealed.n == 0)
        return TR_OK;

    tr_uuid_format(&row->id, id);
    enum tr_rc rc = tr_unseal(keys, tr_str_of(id), row->sealed, &plain, err);
    if (rc != TR_OK)
        return tr_wrap(err, "open the secrets of export %s", id);

    TR_CLEANUP(json_cleanup) json_t *secrets = json_loadb(plain.p, plain.n, 0, NULL);
    if (!json_is_object(secrets))
        return tr_fail(err, TR_INTERNAL, "delivery.bad_secrets", "give the export's secrets again",
                       "the secrets of export %s are no object", id);
    if (json_object_update(config, secrets) != 0)
        return tr_fail_oom(err);
    return TR_OK;
}

/* What the row says beside the body. */
static enum tr_rc adopt_row(struct tr_export *e, const struct tr_export_row *row,
                            struct tr_err *err)
{
    char *text = strndup(row->target_text.n == 0 ? "" : row->target_text.p, row->target_text.n);

    if (text == NULL)
        return tr_fail_oom(err);
    free(e->target_text);
    e->target_text = text;
    e->id = row->id;
    e->project = row->project;
    e->paused = row->paused;
    e->deleted = row->deleted;
    e->target = row->target;
    e->version = row->version;
    e->created_at = row->created_at;
    e->updated_at = row->updated_at;
    e->last_paused_at = row->last_paused_at;
    return TR_OK;
}

static enum tr_rc parse_row(const struct tr_delivery *d, const struct tr_export_row *row,
                            struct tr_export **ret, struct tr_conf **ret_conf, struct tr_err *err)
{
    TR_CLEANUP(export_cleanup) struct tr_export *e = NULL;
    json_error_t bad;
    TR_CLEANUP(json_cleanup) json_t *body = json_loadb(row->body.p, row->body.n, 0, &bad);

    if (body == NULL)
        return tr_fail(err, TR_INTERNAL, "delivery.bad_body", NULL, "stored body: %s", bad.text);
    if (tr_export_parse(body, &e, err) != TR_OK)
        return tr_wrap(err, "stored export");

    enum tr_rc rc = adopt_row(e, row, err);
    if (rc != TR_OK)
        return rc;

    const struct tr_dest_ops *ops = tr_delivery_dest(d, e->dest_type);
    if (ops == NULL)
        return tr_fail(err, TR_REFUSED, "delivery.no_such_destination",
                       "this program is older or was built without it",
                       "there is no destination type %s", e->dest_type);
    rc = open_secrets(d->keys, row, e->dest_config, err);
    if (rc != TR_OK)
        return rc;
    rc = tr_conf_parse(ops->options, e->dest_config, ret_conf, err);
    if (rc != TR_OK)
        return tr_wrap(err, "destination options");

    *ret = e;
    e = NULL;
    return TR_OK;
}

enum tr_rc tr_delivery_load(const struct tr_delivery *d, const struct tr_uuid *id,
                            struct tr_export **ret, struct tr_conf **ret_conf, struct tr_err *err)
{
    TR_CLEANUP(row_cleanup) struct tr_export_row row = { 0 };

    tr_buf_init(&row.buf, DELIVERY_EXPORT_BYTES);
    enum tr_rc rc = d->meta->ops->export_get(d->meta, id, &row, err);
    if (rc != TR_OK)
        return tr_wrap(err, "read the export");
    return parse_row(d, &row, ret, ret_conf, err);
}

int64_t job_option(const struct job *j, const char *name, int64_t otherwise)
{
    for (const struct tr_option *o = j->ops->options; o != NULL && o->name != NULL; o++)
        if (strcmp(o->name, name) == 0 && o->type == TR_OPT_INT)
            return tr_conf_int(j->conf, name);
    return otherwise;
}
