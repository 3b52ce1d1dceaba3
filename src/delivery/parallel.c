/* The chunks of a plan over one or several connections. */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_priv.h"

static struct tr_chunk *next_chunk(struct job *j)
{
    struct tr_chunk *c = NULL;

    (void)pthread_mutex_lock(&j->lock);
    while (!j->stop && c == NULL && j->next < j->n_chunks) {
        if (job_must_send(j, &j->chunks[j->next]))
            c = &j->chunks[j->next];
        j->next++;
    }
    (void)pthread_mutex_unlock(&j->lock);
    return c;
}

static void stop_all(struct job *j, const struct tr_err *err)
{
    (void)pthread_mutex_lock(&j->lock);
    if (!j->stop)
        j->first_err = *err;
    j->stop = true;
    (void)pthread_mutex_unlock(&j->lock);
}

static void run_lane(struct lane *l)
{
    struct job *j = l->job;
    struct tr_chunk *c;

    while ((c = next_chunk(j)) != NULL) {
        struct tr_err err = { 0 };

        if (tr_ctx_cancelled(j->cx)) {
            (void)tr_fail(&err, TR_CANCELLED, "delivery.cancelled", NULL, "cancelled");
            stop_all(j, &err);
        } else if (lane_deliver(l, c, &err) != TR_OK) {
            stop_all(j, &err);
        }
    }
}

static enum tr_rc prepare_lane(struct lane *l, struct tr_err *err)
{
    struct job *j = l->job;
    struct job_notices quiet;
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_OPEN_S);
    tr_column_mask used = 0;

    job_notices_init(&quiet, NULL);
    enum tr_rc rc = j->ops->prepare(&call, l->dest, &j->projection, &used, &quiet.sink, err);
    if (rc == TR_OK && (used & ~j->columns) != 0)
        rc = tr_fail(err, TR_TRANSIENT, "delivery.place_changed", NULL,
                     "the place got more columns during the attempt");
    return rc;
}

/* A further connection is a help, not a need: when it cannot be had, the others do the work. One
 * that is open stays so until the job ends. */
static enum tr_rc open_lane(struct lane *l, struct tr_err *err)
{
    struct job *j = l->job;
    struct tr_ctx call = delivery_call(j->cx, DELIVERY_OPEN_S);

    l->dest = j->more[l->number];
    if (l->dest != NULL)
        return TR_OK;
    enum tr_rc rc = j->ops->open(&call, j->conf, &l->dest, err);
    if (rc != TR_OK)
        return rc;
    rc = prepare_lane(l, err);
    if (rc == TR_OK)
        j->more[l->number] = l->dest;
    else
        j->ops->close(l->dest);
    return rc;
}

static void *lane_main(void *arg)
{
    struct lane *l = arg;
    struct tr_err err = { 0 };
    char text[512];

    if (open_lane(l, &err) == TR_OK)
        run_lane(l);
    else
        job_say(l->job, "warn", "going on with fewer connections: %s",
                tr_err_text(&err, text, sizeof(text)));
    return NULL;
}

size_t job_connections(const struct job *j)
{
    int64_t asked = job_option(j, "connections", 1);

    return asked < 1 ? 1 : asked > DELIVERY_LANES ? DELIVERY_LANES : (size_t)asked;
}

/* Connections asked for, but no more than chunks. */
static size_t count_lanes(const struct job *j)
{
    size_t lanes = job_connections(j);
    size_t chunks = 0;

    for (size_t i = 0; i < j->n_chunks; i++)
        chunks += job_must_send(j, &j->chunks[i]);
    if (lanes < j->ops->lanes)
        lanes = j->ops->lanes;
    return lanes < chunks ? lanes : chunks;
}

/* Lane 0 works on this thread with the destination that is open already. */
static void run_lanes(struct job *j, struct lane *lanes, size_t n)
{
    pthread_t threads[DELIVERY_LANES];
    size_t started = 1;

    for (size_t i = 1; i < n; i++, started++) {
        lanes[i].job = j;
        lanes[i].number = i;
        if (tr_thread_start(&threads[i], "tr-lane", lane_main, &lanes[i], NULL) != TR_OK)
            break;
    }
    lanes[0].job = j;
    lanes[0].dest = j->dest;
    run_lane(&lanes[0]);
    for (size_t i = 1; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    for (size_t i = 0; i < started; i++)
        lane_fini(&lanes[i]);
}

enum tr_rc job_deliver(struct job *j, struct tr_err *err)
{
    size_t n = count_lanes(j);

    if (n == 0)
        return TR_OK;
    struct lane *lanes = calloc(n, sizeof(*lanes));
    if (lanes == NULL)
        return tr_fail_oom(err);

    j->next = 0;
    run_lanes(j, lanes, n);
    free(lanes);
    if (!j->stop)
        return TR_OK;
    if (err != NULL)
        *err = j->first_err;
    return j->first_err.rc;
}
