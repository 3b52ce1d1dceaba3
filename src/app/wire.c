/* Everything made and connected, from the bottom up; and the one list of destinations. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "app/app_priv.h"
#include "app/log.h"
#include "dest/bigquery/bigquery.h"
#include "dest/file/file.h"
#include "dest/postgres/postgres.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "source/store.h"

enum { RESERVED_FILES = 256, FILES_OF_A_RUN = 8 };

/* A new destination is a line here, and its folder under dest/. */
static const struct tr_dest_ops *const dests[] = {
    &tr_dest_postgres_ops,
    &tr_dest_bigquery_ops,
    &tr_dest_file_ops,
    NULL,
};

/* ---- what the engine and delivery say ---- */

static bool is_nil(const struct tr_uuid *u)
{
    static const struct tr_uuid nil;

    return u == NULL || memcmp(u, &nil, sizeof(nil)) == 0;
}

static void say(void *arg, const char *level, const struct tr_uuid *export_id,
                const struct tr_uuid *run_id, const char *text)
{
    struct app *a = arg;
    struct tr_log_line line = { .at = tr_clock_wall_us() };
    char about[2 * TR_UUID_TEXT + 16] = "";
    char id[TR_UUID_TEXT];
    struct tr_err err = { 0 };
    size_t n = 0;

    if (!is_nil(export_id)) {
        tr_uuid_format(export_id, id);
        n = (size_t)snprintf(about, sizeof(about), "export %s", id);
    }
    if (!is_nil(run_id)) {
        tr_uuid_format(run_id, id);
        (void)snprintf(about + n, sizeof(about) - n, "%srun %s", n == 0 ? "" : " ", id);
    }
    app_log(level, "%s%s%s", about, about[0] == '\0' ? "" : ": ", text);
    /* A log of one export has no place for what is about none. */
    if (is_nil(export_id) || strcmp(level, "debug") == 0)
        return;
    line.export_id = *export_id;
    if (run_id != NULL)
        line.run_id = *run_id;
    (void)snprintf(line.level, sizeof(line.level), "%s", level);
    (void)snprintf(line.text, sizeof(line.text), "%s", text);
    if (a->meta->ops->log_add(a->meta, &line, &err) != TR_OK)
        app_log_err("warn", "keep a log line", &err);
}

/* ---- projects ---- */

struct tokens {
    struct tr_intake_token *t;
    size_t n, cap;
    bool no_memory;
};

static bool add_token(void *arg, const struct tr_project *p)
{
    struct tokens *all = arg;

    if (all->n == all->cap) {
        size_t cap = all->cap == 0 ? 16 : all->cap * 2;
        struct tr_intake_token *t = realloc(all->t, cap * sizeof(*t));
        if (t == NULL) {
            all->no_memory = true;
            return false;
        }
        all->t = t;
        all->cap = cap;
    }
    (void)snprintf(all->t[all->n].token, sizeof(all->t[0].token), "%s", p->capture_token);
    all->t[all->n++].project = p->id;
    return true;
}

enum tr_rc app_read_tokens(struct app *a, struct tr_err *err)
{
    struct tokens all = { 0 };
    enum tr_rc rc = a->meta->ops->project_list(a->meta, add_token, &all, err);

    if (rc == TR_OK && all.no_memory)
        rc = tr_fail_oom(err);
    if (rc == TR_OK)
        rc = tr_intake_set_tokens(a->intake, all.t, all.n, err);
    free(all.t);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "read the capture tokens");
}

static void projects_changed(void *arg)
{
    struct tr_err err = { 0 };

    if (app_read_tokens(arg, &err) != TR_OK)
        app_log_err("error", "a new project does not take events yet", &err);
}

/* ---- from the bottom up ---- */

static enum tr_rc open_folder(struct app *a, struct tr_err *err)
{
    char path[4096];

    if (strlen(a->o.data) > sizeof(path) - 64)
        return tr_fail(err, TR_INVALID, "app.data", NULL,
                       "the name of the data folder is too long");
    if (tr_file_make_dirs(a->o.data, err) != TR_OK)
        return tr_wrap(err, "data folder");
    if (tr_file_lock_dir(a->o.data, &a->lock, err) != TR_OK)
        return err->rc;
    if (app_check_folder(a, err) != TR_OK)
        return tr_wrap(err, "data folder");
    if (tr_dest_file_keep_out(a->o.data, err) != TR_OK)
        return tr_wrap(err, "data folder");
    (void)snprintf(path, sizeof(path), "%s/meta.db", a->o.data);
    if (tr_meta_sqlite_open(path, &a->meta, err) != TR_OK)
        return tr_wrap(err, "metadata");
    if (app_open_keys(a, err) != TR_OK)
        return tr_wrap(err, "key file");
    return TR_OK;
}

static void store_says(const char *level, const char *text)
{
    app_log(level, "%s", text);
}

static enum tr_rc open_store(struct app *a, struct tr_err *err)
{
    struct tr_store_options o;
    char path[4096];

    tr_store_options_default(&o);
    (void)snprintf(path, sizeof(path), "%s/store", a->o.data);
    o.dir = path;
    o.queue_bytes = (size_t)a->o.queue_bytes;
    o.segment_bytes = (size_t)a->o.segment_bytes;
    o.seal_bytes = (size_t)a->o.seal_bytes;
    o.seal_age_us = a->o.seal_age_us;
    o.block_bytes = (size_t)a->o.block_bytes;
    o.state_cache_bytes = (size_t)a->o.state_cache_bytes;
    o.state_commit_us = a->o.state_commit_us;
    o.dedup_age_us = a->o.dedup_age_us;
    o.dedup_events = (uint64_t)a->o.dedup_events;
    o.min_free_bytes = (uint64_t)a->o.min_free_bytes;
    o.max_clock_jump_us = a->o.max_clock_jump_us;
    o.accept_clock = a->o.accept_clock;
    o.say = store_says;
    if (tr_store_open(&o, &a->store, err) != TR_OK)
        return tr_wrap(err, "store");
    if (tr_source_store_new(a->store, &a->source, err) != TR_OK)
        return tr_wrap(err, "source");
    return TR_OK;
}

/* The folder may come from a backup: what was sent after that was made is not known here. */
static enum tr_rc read_epochs(struct app *a, struct tr_err *err)
{
    const struct tr_meta_ops *ops = a->meta->ops;
    uint32_t epoch = 0;
    size_t n = 0;

    if (a->o.restored) {
        tr_random_bytes(&epoch, sizeof(epoch));
        if (ops->epoch_begin(a->meta, epoch, a->source->ops->now(a->source), err) != TR_OK)
            return tr_wrap(err, "begin a new epoch");
        app_log("warn",
                "--restored: a new epoch begins. Events that were stored before are replaced where "
                "they are delivered again; tables of persons and groups hold what the lost server "
                "told of rows that have not changed since, until a backfill with on_delivered "
                "replace: docs/restore.md");
    }
    if (ops->epoch_list(a->meta, &a->epochs, &n, err) != TR_OK)
        return tr_wrap(err, "read the epochs");
    a->delivery.first_epoch = tr_store_epoch(a->store);
    a->delivery.epochs = a->epochs;
    a->delivery.n_epochs = n;
    a->delivery.epoch = n == 0 ? a->delivery.first_epoch : a->epochs[n - 1].epoch;
    return TR_OK;
}

static enum tr_rc start_engine(struct app *a, struct tr_err *err)
{
    a->delivery = (struct tr_delivery){
        .meta = a->meta,
        .source = a->source,
        .keys = a->keys,
        .dests = dests,
        .chunk_rows = (uint64_t)a->o.chunk_rows,
        .chunk_bytes = (uint64_t)a->o.chunk_bytes,
        .log = say,
        .log_arg = a,
    };
    if (a->meta->ops->identity(a->meta, &a->delivery.installation, &a->organization, err) != TR_OK)
        return tr_wrap(err, "identity");
    if (read_epochs(a, err) != TR_OK)
        return err->rc;
    if (app_set_identity(a, err) != TR_OK)
        return err->rc;

    struct tr_engine_options o = {
        .delivery = &a->delivery,
        .workers = (int)a->o.workers,
        .waiting = (int)a->o.waiting,
        .live_workers = (int)a->o.live_workers,
        .lease_us = a->o.lease_us,
        .quiet_us = a->o.quiet_us,
        .patience_us = a->o.patience_us,
        .keep_us = a->o.keep_runs_us,
        .keep_quiet_us = a->o.keep_quiet_us,
    };
    if (tr_engine_local_start(&o, &a->engine, err) != TR_OK)
        return tr_wrap(err, "engine");
    return TR_OK;
}

static enum tr_rc start_faces(struct app *a, struct tr_err *err)
{
    struct tr_intake_options intake = {
        .store = a->store,
        .bodies = &a->bodies,
        .max_batch_bytes = (size_t)a->o.max_batch_bytes,
        .max_single_bytes = (size_t)a->o.max_batch_bytes,
        .max_event_bytes = (size_t)a->o.max_event_bytes,
        .max_ai_event_bytes = (size_t)a->o.max_ai_event_bytes,
        .hold_us = a->o.hold_us,
        .trusted_proxies = a->o.trusted_proxies,
    };

    if (tr_intake_new(&intake, &a->intake, err) != TR_OK)
        return tr_wrap(err, "intake");

    struct tr_api_options api = {
        .delivery = &a->delivery,
        .engine = a->engine,
        .store = a->store,
        .intake = a->intake,
        .workers = (int)a->o.api_workers,
        .max_body_bytes = (size_t)a->o.max_api_body_bytes,
        .bodies = &a->bodies,
        .projects_changed = projects_changed,
        .arg = a,
    };

    if (app_read_tokens(a, err) != TR_OK || tr_api_new(&api, &a->api, err) != TR_OK)
        return err->rc;
    return TR_OK;
}

/* Sockets leave files for the store, meta and the exports: a part for each run, but at most half.
 */
static int connections(const struct app *a)
{
    struct rlimit files;
    int64_t most = a->o.max_connections;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return (int)most;
    int64_t all = (int64_t)files.rlim_cur;
    int64_t reserve = RESERVED_FILES + FILES_OF_A_RUN * (a->o.workers + a->o.live_workers);
    if (reserve > all / 2)
        reserve = all / 2;
    if (most <= all - reserve)
        return (int)most;
    most = all - reserve < 1 ? 1 : all - reserve;
    app_log("warn",
            "%lld connections at most, not %lld: this process may open %lld files, and keeps %lld "
            "for itself (ulimit -n, LimitNOFILE)",
            (long long)most, (long long)a->o.max_connections, (long long)all, (long long)reserve);
    return (int)most;
}

static enum tr_rc listen_http(struct app *a, struct tr_err *err)
{
    struct tr_http_options o;
    struct tr_http_handler handler = app_handler(a);

    tr_http_options_default(&o);
    o.listen = a->o.listen;
    o.bodies = &a->bodies;
    if (a->o.loops > 0)
        o.loops = (int)a->o.loops;
    if (a->o.inline_body_bytes > 0)
        o.inline_body_bytes = (size_t)a->o.inline_body_bytes;
    o.max_connections = connections(a);
    o.max_header_bytes = (size_t)a->o.max_header_bytes;
    o.hold_us = a->o.hold_us;
    o.body_timeout_us = a->o.body_timeout_us;
    o.idle_timeout_us = a->o.idle_timeout_us;
    o.answer_timeout_us = a->o.answer_timeout_us;
    o.drain_bytes = (size_t)a->o.drain_bytes;
    return tr_http_start(&o, &handler, &a->http, err);
}

enum tr_rc app_wire(struct app *a, struct tr_err *err)
{
    a->lock = (struct tr_dir_lock){ -1, -1 };
    tr_budget_init(&a->bodies, (size_t)a->o.body_budget);
    if (app_set_egress(a, err) != TR_OK || open_folder(a, err) != TR_OK ||
        app_first_start(a, err) != TR_OK || open_store(a, err) != TR_OK ||
        start_engine(a, err) != TR_OK || start_faces(a, err) != TR_OK ||
        listen_http(a, err) != TR_OK) {
        app_unwire(a);
        return err->rc;
    }
    return TR_OK;
}

void app_unwire(struct app *a)
{
    if (a->api != NULL)
        tr_api_stop(a->api);
    if (a->http != NULL)
        tr_http_stop(a->http, a->o.grace_us);
    tr_api_free(a->api);
    if (a->engine != NULL)
        a->engine->ops->stop(a->engine, a->o.grace_us);
    if (a->intake != NULL)
        tr_intake_free(a->intake);
    if (a->source != NULL)
        a->source->ops->close(a->source);
    if (a->store != NULL)
        tr_store_close(a->store);
    if (a->meta != NULL)
        a->meta->ops->close(a->meta);
    if (a->keys != NULL)
        tr_keyring_free(a->keys);
    free(a->epochs);
    tr_file_unlock_dir(&a->lock);
}
