#include "store/worker.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/metric.h"
#include "store/store_priv.h"

TR_COUNTER(failures, "tailrace_store_keeper_failures_total",
           "Passes of the store's keeper, applier and sealer that failed and are tried again.");

enum {
    RETRY_US = 1000 * 1000, /* after a failure, told or not */
};

void worker_init(struct store_worker *w)
{
    *w = (struct store_worker){ .nap_us = WORKER_NAP_US };
    tr_monitor_init(&w->monitor);
}

void worker_fini(struct store_worker *w)
{
    tr_monitor_fini(&w->monitor);
}

/* Each trouble once, and that it is over. */
static void say(struct store_worker *w, const struct tr_err *err)
{
    void (*to)(const char *, const char *) = w->s->options.say;
    char text[256] = "";
    char line[400];

    if (err != NULL)
        (void)tr_err_text(err, text, sizeof(text));
    if (to == NULL || strcmp(text, w->said) == 0)
        return;
    (void)memccpy(w->said, text, '\0', sizeof(w->said));
    (void)snprintf(line, sizeof(line), "%s: %s%s%s", w->name, err == NULL ? "goes on" : text,
                   err == NULL || err->hint == NULL ? "" : "; ",
                   err == NULL || err->hint == NULL ? "" : err->hint);
    to(err == NULL ? "info" : "error", line);
}

static void *run(void *worker)
{
    struct store_worker *w = worker;
    bool closing = false;

    if (w->niceness != 0) /* of this thread alone, on Linux */
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), w->niceness);
    while (!closing) {
        struct tr_err err = { 0 };
        bool failed = w->pass(w->s, &err) != TR_OK;
        tr_count(&failures, failed);
        say(w, failed ? &err : NULL);

        tr_monitor_enter(&w->monitor);
        w->trouble[0] = '\0';
        if (failed)
            (void)tr_err_text(&err, w->trouble, sizeof(w->trouble));
        if ((!w->told || failed) && !w->closing)
            (void)tr_monitor_wait(&w->monitor, failed ? RETRY_US : w->nap_us);
        w->told = false;
        closing = w->closing;
        tr_monitor_leave(&w->monitor);
    }
    return NULL;
}

enum tr_rc worker_start(struct store_worker *w, const char *name, struct tr_store *s,
                        enum tr_rc (*pass)(struct tr_store *, struct tr_err *), int niceness,
                        struct tr_err *err)
{
    w->s = s;
    w->name = name;
    w->pass = pass;
    w->niceness = niceness;
    if (tr_thread_start(&w->thread, name, run, w, err) != TR_OK)
        return err->rc;
    w->started = true;
    return TR_OK;
}

void worker_tell(struct store_worker *w)
{
    tr_monitor_enter(&w->monitor);
    w->told = true;
    tr_monitor_tell(&w->monitor);
    tr_monitor_leave(&w->monitor);
}

void worker_stop(struct store_worker *w)
{
    if (!w->started)
        return;
    tr_monitor_enter(&w->monitor);
    w->closing = true;
    tr_monitor_tell(&w->monitor);
    tr_monitor_leave(&w->monitor);
    (void)pthread_join(w->thread, NULL);
    w->started = false;
}

void worker_trouble(struct store_worker *w, char *out, size_t cap)
{
    tr_monitor_enter(&w->monitor);
    if (out[0] == '\0')
        (void)memccpy(out, w->trouble, '\0', cap);
    tr_monitor_leave(&w->monitor);
}
