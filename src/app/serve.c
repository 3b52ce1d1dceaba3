/* `tailrace serve`: from options to a running server, and down again. */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app/app_priv.h"
#include "app/log.h"

/* Process-wide settings; before anything else allocates or opens. */
static void set_process_up(void)
{
    struct rlimit files;

    /* SQLite's own memory counters cost a lock for each allocation. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    app_bound_memory();
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* The address that the server can be reached at: what was asked for, with the real port. */
static void address(const struct app *a, char *out, size_t cap)
{
    const char *colon = strrchr(a->o.listen, ':');
    int host = colon == NULL ? (int)strlen(a->o.listen) : (int)(colon - a->o.listen);

    (void)snprintf(out, cap, "%.*s:%d", host, a->o.listen, tr_http_port(a->http));
}

/* Says it once each time the store stops or starts taking events. */
static void watch_readiness(struct app *a, int *was)
{
    struct tr_store_status s = { 0 };

    tr_store_status(a->store, &s);
    if ((int)s.ready == *was)
        return;
    if (!s.ready) {
        app_log("error", "not ready: %s%s%s",
                s.not_ready_why == NULL ? "the store takes no events" : s.not_ready_why,
                s.trouble[0] == '\0' ? "" : ": ", s.trouble);
        if (s.not_ready_hint != NULL)
            app_log("error", "hint: %s", s.not_ready_hint);
    } else if (*was == 0) {
        app_log("info", "ready again");
    }
    *was = s.ready;
}

static void wait_for_stop(struct app *a, const sigset_t *stop)
{
    struct timespec second = { .tv_sec = 1 };
    int was = -1;

    for (;;) {
        watch_readiness(a, &was);
        int got = sigtimedwait(stop, NULL, &second);
        if (got > 0) {
            app_log("info", "%s: stopping", got == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
    }
}

static void refused(const struct tr_err *err)
{
    char text[600];

    (void)fprintf(stderr, "error: %s\n", tr_err_text(err, text, sizeof(text)));
    if (err->hint != NULL)
        (void)fprintf(stderr, "hint: %s\n", err->hint);
}

int app_serve(int argc, char **argv)
{
    struct app a = { .lock = { -1, -1 } };
    struct tr_err err = { 0 };
    bool help = false;
    sigset_t stop;
    char at[256];

    if (!app_options_read(argc, argv, &a.o, &help))
        return 2;
    if (help)
        return 0;
    if (!app_log_level(a.o.log_level)) {
        (void)fprintf(stderr, "error: --log-level: there are debug, info, warn and error\n");
        return 2;
    }
    set_process_up();
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTERM);
    (void)sigaddset(&stop, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    if (app_wire(&a, &err) != TR_OK) {
        refused(&err);
        return 1;
    }
    address(&a, at, sizeof(at));
    (void)printf("tailrace ready on http://%s (data %s)\n", at, a.o.data);
    (void)fflush(stdout);
    wait_for_stop(&a, &stop);
    /* A second signal ends it at once. */
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
    app_unwire(&a);
    app_log("info", "stopped");
    return 0;
}
