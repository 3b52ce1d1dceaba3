/* An API over a real metadata file, with a source and a destination made for the tests. */
#ifndef TEST_API_FIXTURE_H
#define TEST_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/api_priv.h"
#include "base/time.h"

/* 2026-11-21T09:30:00Z */
static const int64_t test_now = INT64_C(1795253400) * TR_US_PER_S;

/* ---- a source that holds 7 events in whatever range it is asked for ---- */

static int64_t source_floor = 0;
static int64_t source_ahead = 0; /* of test_now */

static int64_t fake_now(struct tr_source *s)
{
    (void)s;
    return test_now + source_ahead;
}

static int64_t fake_floor(struct tr_source *s)
{
    (void)s;
    return source_floor;
}

static bool fake_close_through(struct tr_source *s, int64_t t)
{
    (void)s;
    return t <= test_now;
}

static enum tr_rc fake_counts(struct tr_source *s, int32_t project, struct tr_range r,
                              struct tr_counts *ret, struct tr_err *err)
{
    (void)s;
    (void)project;
    (void)r;
    (void)err;
    *ret = (struct tr_counts){ .stored = 7 };
    return TR_OK;
}

/* One event, 20 seconds after test_now. */
static enum tr_rc fake_extent(struct tr_source *s, int32_t project, const struct tr_schema *schema,
                              struct tr_range r, bool *ret_any, int64_t *ret_first,
                              int64_t *ret_last, struct tr_err *err)
{
    int64_t at = test_now + 20 * TR_US_PER_S;

    (void)s;
    (void)project;
    (void)schema;
    (void)err;
    *ret_any = at >= r.lo && at < r.hi;
    *ret_first = *ret_last = at;
    return TR_OK;
}

static const struct tr_source_ops fake_source_ops = {
    .name = "fake",
    .caps = TR_SOURCE_STABLE,
    .now = fake_now,
    .floor = fake_floor,
    .close_through = fake_close_through,
    .closed_through = fake_now,
    .counts = fake_counts,
    .extent = fake_extent,
};
static struct tr_source fake_source = { &fake_source_ops };

/* ---- a destination: its second test step fails where the host is "bad.example" ---- */

static const struct tr_option fake_options[] = {
    { .name = "host",
      .type = TR_OPT_TEXT,
      .shows = true,
      .required = true,
      .min = 1,
      .max = 200,
      .doc = "a host" },
    { .name = "port",
      .type = TR_OPT_INT,
      .fallback = "5432",
      .min = 1,
      .max = 65535,
      .doc = "a port" },
    { .name = "password",
      .type = TR_OPT_TEXT,
      .required = true,
      .secret = true,
      .doc = "a secret" },
    { .name = "layout",
      .type = TR_OPT_CHOICE,
      .fixed = true,
      .fallback = "wide",
      .choices = "wide|long",
      .doc = "cannot change" },
    { .name = NULL },
};
static const struct tr_dest_test fake_tests[] = {
    { "Connect", "reaches the host" },
    { "Write", "may write there" },
    { .name = NULL },
};

struct fake_dest {
    struct tr_dest base;
    const struct tr_conf *conf;
};

static enum tr_rc fake_open(const struct tr_ctx *cx, const struct tr_conf *conf,
                            struct tr_dest **ret, struct tr_err *err)
{
    extern const struct tr_dest_ops fake_dest_ops;
    struct fake_dest *d = calloc(1, sizeof(*d));

    (void)cx;
    if (d == NULL)
        return tr_fail_oom(err);
    d->base.ops = &fake_dest_ops;
    d->conf = conf;
    *ret = &d->base;
    return TR_OK;
}

static enum tr_rc fake_test(const struct tr_ctx *cx, struct tr_dest *dest,
                            const struct tr_projection *p, size_t step, struct tr_err *err)
{
    struct fake_dest *d = (struct fake_dest *)(void *)dest;

    (void)cx;
    if (p->schema->is_mutable && p->n == 2)
        return tr_fail(err, TR_REFUSED, "fake.no_key", NULL, "the table has no key");
    if (step == 1 && strcmp(tr_conf_text(d->conf, "host"), "bad.example") == 0)
        return tr_fail(err, TR_REFUSED, "fake.no_rights", "grant INSERT", "the user may not write");
    return TR_OK;
}

static void fake_close(struct tr_dest *dest)
{
    free(dest);
}

static void fake_target(const struct tr_conf *conf, struct tr_buf *out)
{
    tr_buf_printf(out, "fake://%s:%s", tr_conf_text(conf, "host"), tr_conf_text(conf, "port"));
}

static const struct tr_default_column fake_columns[] = { { "uuid", NULL },
                                                         { "event", NULL },
                                                         { NULL, NULL } };

static const char *const fake_left_out[] = { "$autocapture", "$feature_flag_called", NULL };

static const struct tr_dest_ops fake_live_ops = {
    .name = "Fake",
    .caps = TR_DEST_COMMITS_CHUNK,
    .options = fake_options,
    .defaults = { [TR_MODEL_EVENTS] = fake_columns },
    .left_out = fake_left_out,
    .target = fake_target,
    .open = fake_open,
    .close = fake_close,
};

const struct tr_dest_ops fake_dest_ops = {
    .name = "Fake",
    .min_interval_us = 20 * TR_US_PER_S,
    .min_interval_why = "it is slow",
    .min_interval_hint = "use longer ones, or realtime",
    .live = &fake_live_ops,
    .caps = TR_DEST_COMMITS_CHUNK,
    .options = fake_options,
    .defaults = { [TR_MODEL_EVENTS] = fake_columns, [TR_MODEL_PERSONS] = tr_default_persons },
    .tests = fake_tests,
    .target = fake_target,
    .open = fake_open,
    .test = fake_test,
    .close = fake_close,
};

/* A place that shows whole runs. */
static const struct tr_dest_ops fake_folder_ops = {
    .name = "Folder",
    .caps = TR_DEST_COMMITS_RUN,
    .options = fake_options,
    .defaults = { [TR_MODEL_EVENTS] = fake_columns },
    .target = fake_target,
    .open = fake_open,
    .close = fake_close,
};

static const struct tr_dest_ops *const fake_dests[] = { &fake_dest_ops, &fake_folder_ops, NULL };

/* ---- the API over them ---- */

static struct fixture {
    char dir[64];
    struct tr_keyring *keys;
    struct tr_meta *meta;
    struct tr_delivery delivery;
    struct tr_api *api;
    int tokens_read;
    char log[4096]; /* what was logged */
} fx;

static void fake_log(void *arg, const char *level, const struct tr_uuid *export_id,
                     const struct tr_uuid *run_id, const char *text)
{
    (void)arg;
    (void)export_id;
    (void)run_id;
    size_t n = strlen(fx.log);
    (void)snprintf(fx.log + n, sizeof(fx.log) - n, "%s %s\n", level, text);
}

static void fake_projects_changed(void *arg)
{
    (void)arg;
    fx.tokens_read++;
}

static int fixture_up(void **state)
{
    struct tr_err err = { 0 };
    struct tr_project project;
    char path[128];
    uint8_t sha256[32];

    (void)state;
    (void)snprintf(fx.dir, sizeof(fx.dir), "/tmp/test-api-XXXXXX");
    if (mkdtemp(fx.dir) == NULL)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/secret.key", fx.dir);
    if (tr_keyring_open(path, true, &fx.keys, &err) != TR_OK)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/meta.db", fx.dir);
    if (tr_meta_sqlite_open(path, &fx.meta, &err) != TR_OK)
        return -1;
    tr_sha256(TR_STR("good-token"), sha256);
    if (fx.meta->ops->token_add(fx.meta, sha256, "test", &err) != TR_OK ||
        fx.meta->ops->project_create(fx.meta, "first", "phc_first", &project, &err) != TR_OK)
        return -1;
    fx.delivery = (struct tr_delivery){
        .meta = fx.meta,
        .source = &fake_source,
        .keys = fx.keys,
        .dests = fake_dests,
        .log = fake_log,
    };
    struct tr_api_options o = {
        .delivery = &fx.delivery,
        .workers = 1,
        .max_body_bytes = 1 << 20,
        .projects_changed = fake_projects_changed,
    };
    return tr_api_new(&o, &fx.api, &err) == TR_OK ? 0 : -1;
}

static int fixture_down(void **state)
{
    static const char *const files[] = { "meta.db", "meta.db-wal", "meta.db-shm", "secret.key" };
    char path[128];

    (void)state;
    tr_api_free(fx.api);
    fx.meta->ops->close(fx.meta);
    tr_keyring_free(fx.keys);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", fx.dir, files[i]);
        (void)unlink(path);
    }
    return rmdir(fx.dir);
}

/* One call; the answer is the caller's (NULL: empty). */
static json_t *call_as(const char *authorization, enum tr_http_method method, const char *address,
                       const char *body, int want_status)
{
    struct tr_str query = { NULL, 0 };
    struct tr_str path = tr_str_cut(tr_str_of(address), '?', &query);
    struct api_request req = {
        .method = method,
        .path = path,
        .query = query,
        .body = tr_str_of(body),
        .host = TR_STR("tailrace.example"),
        .authorization = tr_str_of(authorization),
    };
    struct tr_buf headers;
    json_t *answer = NULL;
    int status = 0;

    tr_buf_init(&headers, 1024);
    api_handle(fx.api, &req, &status, &answer, &headers);
    tr_buf_fini(&headers);
    if (status != want_status) {
        char *text = answer == NULL ? NULL : json_dumps(answer, 0);
        fail_msg("%s: status %d, not %d: %s", address, status, want_status,
                 text == NULL ? "" : text);
    }
    return answer;
}

static json_t *call(enum tr_http_method method, const char *address, const char *body,
                    int want_status)
{
    return call_as("Bearer good-token", method, address, body, want_status);
}

static const char *text_at(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));

    return text == NULL ? "" : text;
}

#endif
