/* How many of these events are there: reads every file of the keys. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "dest/file/file_priv.h"

struct wanted {
    struct tr_uuid uuid;
    uint32_t found;
};

struct recount {
    struct wanted *all; /* sorted, each once */
    size_t n;
    struct tr_str uuid_name;
    const char *path;
    struct tr_recount result;
};

static int by_uuid(const void *a, const void *b)
{
    return memcmp(((const struct wanted *)a)->uuid.b, ((const struct wanted *)b)->uuid.b,
                  TR_UUID_BYTES);
}

static enum tr_rc make_wanted(struct recount *r, const struct tr_uuid *uuids, size_t n,
                              struct tr_err *err)
{
    r->all = calloc(n + 1, sizeof(*r->all));
    if (r->all == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < n; i++)
        r->all[i].uuid = uuids[i];
    qsort(r->all, n, sizeof(*r->all), by_uuid);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || by_uuid(&r->all[r->n - 1], &r->all[i]) != 0)
            r->all[r->n++] = r->all[i];
    r->result.expected = r->n;
    return TR_OK;
}

static enum tr_rc count_line(void *arg, struct tr_str line, struct tr_err *err)
{
    struct recount *r = arg;
    struct tr_json_value value;
    struct wanted key = { 0 };

    if (!tr_json_find(line, r->uuid_name, &value))
        return tr_fail(err, TR_REFUSED, "file.no_uuid_column",
                       "only exports with the column uuid can be counted",
                       "%s: a row has no \"%.*s\"", r->path, TR_STR_ARGS(r->uuid_name));
    struct tr_str text = { value.raw.p + 1, value.raw.n < 2 ? 0 : value.raw.n - 2 };
    if (value.type != TR_JSON_STRING || !tr_uuid_parse(text, &key.uuid))
        return TR_OK; /* not a row of ours */
    struct wanted *hit = bsearch(&key, r->all, r->n, sizeof(*r->all), by_uuid);
    if (hit == NULL)
        return TR_OK;
    if (hit->found++ == 0)
        r->result.found++;
    else
        r->result.copies++;
    return TR_OK;
}

static enum tr_rc count_file(const struct tr_ctx *cx, const struct file_dest *d,
                             const struct tr_key *key, struct recount *r, struct tr_err *err)
{
    struct file_facts facts;
    enum tr_compression c;
    char path[FILE_PATH];

    if (!file_find(d, key, path, &c))
        return TR_OK; /* its rows are not found: that is the answer */
    r->path = path;
    return file_read_rows(cx, path, c, count_line, r, &facts, err);
}

/* The name that uuid goes by in the files; the column's own when this export has none. */
static struct tr_str uuid_name(const struct file_dest *d)
{
    for (size_t i = 0; i < d->projection.n; i++)
        if (d->projection.column[i] == TR_EVENT_UUID)
            return tr_str_of(d->projection.name[i]);
    return TR_STR("uuid");
}

enum tr_rc file_recount(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_owner *owner,
                        const struct tr_key *keys, size_t n_keys, const struct tr_uuid *uuids,
                        size_t n, struct tr_recount *ret, struct tr_err *err)
{
    (void)owner; /* the files of these keys are nobody else's */
    const struct file_dest *d = file_dest_of(dest);
    struct recount r = { .uuid_name = uuid_name(d) };
    enum tr_rc rc = file_check_marker(d, err);

    if (rc == TR_OK)
        rc = make_wanted(&r, uuids, n, err);
    for (size_t i = 0; i < n_keys && rc == TR_OK; i++)
        rc = count_file(cx, d, &keys[i], &r, err);
    if (rc == TR_OK)
        *ret = r.result;
    free(r.all);
    return rc;
}
