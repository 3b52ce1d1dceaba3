/* What a fresh data folder gets: a token for its owner, and a project to send events to. */
#include <stdio.h>

#include "app/app_priv.h"
#include "app/log.h"
#include "auth/seal.h"
#include "os/file.h"
#include "os/random.h"

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

    if (a->meta->ops->token_any(a->meta, &any, err) != TR_OK)
        return tr_wrap(err, "look for tokens");
    if (!any && make_owner_token(a, err) != TR_OK)
        return err->rc;
    if (a->meta->ops->project_list(a->meta, found_one, &any_project, err) != TR_OK)
        return tr_wrap(err, "look for projects");
    return any_project ? TR_OK : make_project(a, err);
}
