/* The running server: what is wired to what. */
#ifndef TR_APP_APP_PRIV_H
#define TR_APP_APP_PRIV_H

#include "api/api.h"
#include "app/options.h"
#include "base/budget.h"
#include "delivery/delivery.h"
#include "engine/engine.h"
#include "intake/intake.h"
#include "net/http.h"
#include "os/file.h"
#include "source/source.h"
#include "store/store.h"

struct app {
    struct app_options o;
    struct tr_dir_lock lock;
    struct tr_uuid organization;
    struct tr_budget bodies;
    struct tr_keyring *keys;
    struct tr_meta *meta;
    struct tr_store *store;
    struct tr_source *source;
    struct tr_delivery delivery;
    struct tr_epoch *epochs;
    struct tr_engine *engine;
    struct tr_intake *intake;
    struct tr_api *api;
    struct tr_http_server *http;
};

/* wire.c: makes everything from the bottom up; on failure what was made is taken down. */
TR_MUST_USE enum tr_rc app_wire(struct app *a, struct tr_err *err);
/* Stops accepting, answers what is in flight, drains the engine, closes. */
void app_unwire(struct app *a);
/* Reads the capture tokens of all projects into the intake. */
TR_MUST_USE enum tr_rc app_read_tokens(struct app *a, struct tr_err *err);

/* outside.c: where this process may connect to, and as whom. */
TR_MUST_USE enum tr_rc app_set_egress(const struct app *a, struct tr_err *err);
/* Once the organization is known. */
TR_MUST_USE enum tr_rc app_set_identity(const struct app *a, struct tr_err *err);

/* router.c: the handler of the HTTP server. */
struct tr_http_handler app_handler(struct app *a);

/* first_start.c: refuses a folder whose store is full and whose metadata is gone. Looks at files
 * only; before anything is opened or made. */
TR_MUST_USE enum tr_rc app_check_folder(const struct app *a, struct tr_err *err);
/* Opens secret.key; makes it only while no export has secrets that an older key sealed. */
TR_MUST_USE enum tr_rc app_open_keys(struct app *a, struct tr_err *err);
/* An owner token and a project, when there are none. */
TR_MUST_USE enum tr_rc app_first_start(struct app *a, struct tr_err *err);

/* serve.c */
int app_serve(int argc, char **argv);

/* memory.c: the first before anything else; it may start the program anew, with the same pid. */
void app_huge_pages(char **argv);
void app_bound_memory(void);

#endif
