/* What a fresh data folder gets: a token for its owner, and a project to send events to. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "app/app_priv.h"
#include "app/log.h"
#include "auth/seal.h"
#include "os/file.h"
#include "os/random.h"

/* ---- is it a first start? ----
 * The store is made last of all, so a folder with a store has had its metadata. Making new metadata
 * beside an old store would lose every export, give SDKs another capture token and put the old
 * events under a project that is not theirs. */

static const char lost_hint[] =
    "put meta.db back from a backup of this folder, then start again; to begin anew without the "
    "old exports, projects and events, give --data an empty folder";

static enum tr_rc size_of(const struct app *a, const char *name, int64_t *ret, struct tr_err *err)
{
    char path[4096];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/%s", a->o.data, name);
    *ret = -1; /* there is none */
    if (stat(path, &st) != 0)
        return errno == ENOENT ? TR_OK : tr_fail_errno(err, errno, "%s", name);
    *ret = st.st_size;
    return TR_OK;
}

static enum tr_rc has_store(const struct app *a, bool *ret, struct tr_err *err)
{
    int64_t size = 0;
    enum tr_rc rc = size_of(a, "store/store", &size, err);

    *ret = size >= 0;
    return rc;
}

enum tr_rc app_check_folder(const struct app *a, struct tr_err *err)
{
    bool store = false;
    int64_t meta = 0;

    if (has_store(a, &store, err) != TR_OK || size_of(a, "meta.db", &meta, err) != TR_OK)
        return err->rc;
    if (store && meta <= 0)
        return tr_fail(err, TR_REFUSED, "app.metadata_lost", lost_hint,
                       "the store holds events, but meta.db, which says whose they are, is %s",
                       meta < 0 ? "not there" : "empty");
    return TR_OK;
}

/* ---- keys ---- */

struct sealed_search {
    struct app *a;
    bool found;
    struct tr_err *err;
    enum tr_rc rc;
};

static bool has_secrets(void *arg, const struct tr_export_row *row)
{
    struct sealed_search *s = arg;

    s->found = s->found || (!row->deleted && row->sealed.n > 0);
    return !s->found;
}

static bool search_project(void *arg, const struct tr_project *p)
{
    struct sealed_search *s = arg;
    struct tr_meta *meta = s->a->meta;

    s->rc = meta->ops->export_list(meta, p->id, has_secrets, s, s->err);
    return s->rc == TR_OK && !s->found;
}

enum tr_rc app_open_keys(struct app *a, struct tr_err *err)
{
    struct sealed_search s = { .a = a, .err = err, .rc = TR_OK };
    char path[4096];

    if (a->meta->ops->project_list(a->meta, search_project, &s, err) != TR_OK || s.rc != TR_OK)
        return tr_wrap(err, "look for secrets");
    (void)snprintf(path, sizeof(path), "%s/secret.key", a->o.data);
    return tr_keyring_open(path, !s.found, &a->keys, err);
}

/* ---- what a first start makes ---- */

/* The file is written before meta knows the token: dying in between leaves a file that the next
 * start replaces, never a token that nobody was told. */
static enum tr_rc make_owner_token(struct app *a, struct tr_err *err)
{
    char path[4096];
    char token[4 + 64 + 2] = "tro_";
    uint8_t sha256[32];

    tr_random_hex(token + 4, 32);
    tr_sha256(tr_str_of(token), sha256);
    (void)snprintf(path, sizeof(path), "%s/owner-token", a->o.data);
    size_t n = strlen(token);
    token[n] = '\n';
    enum tr_rc rc = tr_file_replace(path, (struct tr_str){ token, n + 1 }, 0600, err);
    explicit_bzero(token, sizeof(token));
    if (rc == TR_OK)
        rc = a->meta->ops->token_add(a->meta, sha256, "owner", err);
    if (rc != TR_OK)
        return tr_wrap(err, "make the owner token");
    app_log("info", "first start: the API token of the owner is in %s", path);
    return TR_OK;
}

static bool found_one(void *arg, const struct tr_project *p)
{
    (void)p;
    *(bool *)arg = true;
    return false;
}

static enum tr_rc make_project(struct app *a, struct tr_err *err)
{
    struct tr_project project;
    char token[64] = "phc_";

    tr_random_hex(token + 4, 20);
    if (a->meta->ops->project_create(a->meta, "Default project", token, &project, err) != TR_OK)
        return tr_wrap(err, "make the first project");
    app_log("info", "first start: project %d takes events with the capture token %s",
            (int)project.id, project.capture_token);
    return TR_OK;
}

enum tr_rc app_first_start(struct app *a, struct tr_err *err)
{
    bool any = false;
    bool any_project = false;
    bool store = false;

    if (has_store(a, &store, err) != TR_OK)
        return err->rc;
    if (a->meta->ops->token_any(a->meta, &any, err) != TR_OK)
        return tr_wrap(err, "look for tokens");
    if (!any && store)
        return tr_fail(err, TR_REFUSED, "app.metadata_lost", lost_hint,
                       "the store holds events, but meta.db knows no owner's token");
    if (!any && make_owner_token(a, err) != TR_OK)
        return err->rc;
    if (a->meta->ops->project_list(a->meta, found_one, &any_project, err) != TR_OK)
        return tr_wrap(err, "look for projects");
    if (!any_project && store)
        return tr_fail(err, TR_REFUSED, "app.metadata_lost", lost_hint,
                       "the store holds events, but meta.db knows no project");
    return any_project ? TR_OK : make_project(a, err);
}
