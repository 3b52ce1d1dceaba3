#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "base/time.h"
#include "dest/postgres/postgres_priv.h"
#include "os/clock.h"
#include "os/kill.h"
#include "os/thread.h"

TR_COUNTER(connects, "tailrace_postgres_connections_total", "Connections made to PostgreSQL.");

enum {
    SLICE_MS = 100,            /* how often a wait looks at cx->cancelled */
    RESET_US = 1000000,        /* for a connection to come to rest after a failure */
    COMMIT_GRACE_US = 3000000, /* for the answer to a COMMIT when somebody cancels */
    IDLE_IN_TRANSACTION_MS = 600000,
};

static void ignore_notices(void *arg, const PGresult *r)
{
    struct pg_dest *d = arg;

    (void)r;
    d->spoke++;
}

int64_t pg_left_ms(const struct tr_ctx *cx)
{
    if (cx->deadline_us == INT64_MAX)
        return 0;
    int64_t left = (cx->deadline_us - tr_clock_boot_us()) / TR_US_PER_MS;
    return left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : left;
}

/* Waits until the socket is ready for one of events. */
static enum tr_rc wait_socket(const struct tr_ctx *cx, int fd, short events, struct tr_err *err)
{
    for (;;) {
        int64_t left = cx->deadline_us - tr_clock_boot_us();
        int slice = left >= SLICE_MS * TR_US_PER_MS ? SLICE_MS : (int)(left / TR_US_PER_MS) + 1;
        struct pollfd p = { .fd = fd, .events = events };

        if (tr_ctx_cancelled(cx))
            return tr_fail(err, TR_CANCELLED, "postgres.cancelled", NULL, "cancelled");
        if (left <= 0)
            return tr_fail(err, TR_TRANSIENT, "postgres.timeout", NULL,
                           "no answer from the server in time");
        if (poll(&p, 1, slice) > 0)
            return TR_OK;
    }
}

/* --- connecting --- */

static enum tr_rc fail_connect(struct pg_dest *d, struct tr_err *err)
{
    char cause[256];
    struct pg_class class = pg_classify_connect(PQerrorMessage(d->conn), cause, sizeof(cause));

    PQfinish(d->conn);
    d->conn = NULL;
    return tr_fail(err, class.rc, class.id, class.hint, "%s", cause);
}

static enum tr_rc poll_connect(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED)
            return fail_connect(d, err);
        if (wait_socket(cx, PQsocket(d->conn), state == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                        err) != TR_OK) {
            pg_drop(d);
            return err == NULL ? TR_TRANSIENT : err->rc;
        }
        state = PQconnectPoll(d->conn);
    }
    return TR_OK;
}

enum tr_rc pg_open(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    struct pg_params params;
    struct tr_ctx soon = *cx;
    int64_t limit = tr_clock_boot_us() + tr_conf_int(d->conf, "connect_timeout_s") * TR_US_PER_S;

    if (d->conn != NULL && PQstatus(d->conn) == CONNECTION_OK)
        return TR_OK;
    pg_drop(d);
    if (limit < soon.deadline_us)
        soon.deadline_us = limit;
    pg_conf_params(d->conf, d->ca_fd, &params);
    if (pg_conf_resolve(d->conf, &params, err) != TR_OK)
        return tr_wrap(err, "connect to %s", tr_conf_text(d->conf, "host"));
    d->conn = PQconnectStartParams(params.key, params.value, 0);
    if (d->conn == NULL)
        return tr_fail_oom(err);
    if (PQstatus(d->conn) == CONNECTION_BAD)
        return fail_connect(d, err);
    /* so that a refusal's text carries its SQLSTATE: libpq has no other way to tell it */
    (void)PQsetErrorVerbosity(d->conn, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(d->conn, ignore_notices, d);
    enum tr_rc rc = poll_connect(&soon, d, err);
    if (rc != TR_OK)
        return tr_wrap(err, "connect to %s", tr_conf_text(d->conf, "host"));
    tr_count(&connects, 1);
    d->reused = false;
    if (PQserverVersion(d->conn) < PG_MIN_VERSION) {
        int version = PQserverVersion(d->conn);
        pg_drop(d);
        return tr_fail(err, TR_REFUSED, "postgres.old_server", "PostgreSQL 12 or newer is needed",
                       "the server's version is %d.%d", version / 10000, version % 10000);
    }
    if (PQsetnonblocking(d->conn, 1) != 0)
        return pg_fail_lost(d, err);
    return TR_OK;
}

/* PQcancel connects and waits by itself: in a thread of its own, so that nobody waits for it. */
static void *cancel_main(void *arg)
{
    PGcancel *cancel = arg;
    char ignored[256];

    (void)PQcancel(cancel, ignored, sizeof(ignored));
    PQfreeCancel(cancel);
    return NULL;
}

static void ask_to_stop(PGconn *conn)
{
    PGcancel *cancel = PQgetCancel(conn);
    pthread_t thread;

    if (cancel == NULL)
        return;
    if (tr_thread_start(&thread, "pg-cancel", cancel_main, cancel, NULL) != TR_OK) {
        PQfreeCancel(cancel);
        return;
    }
    (void)pthread_detach(thread);
}

void pg_drop(struct pg_dest *d)
{
    if (d->conn == NULL)
        return;
    if (PQstatus(d->conn) == CONNECTION_OK && PQtransactionStatus(d->conn) == PQTRANS_ACTIVE)
        ask_to_stop(d->conn);
    PQfinish(d->conn);
    d->conn = NULL;
}

/* --- errors --- */

enum tr_rc pg_fail_lost(struct pg_dest *d, struct tr_err *err)
{
    char cause[200] = "the connection broke";

    if (d->conn != NULL && PQerrorMessage(d->conn)[0] != '\0') {
        const char *text = PQerrorMessage(d->conn);
        (void)snprintf(cause, sizeof(cause), "%.*s", (int)strcspn(text, "\n"), text);
    }
    pg_drop(d);
    return tr_fail(err, TR_TRANSIENT, "postgres.connection_lost", NULL, "%s", cause);
}

static const char *field(const PGresult *r, int code)
{
    const char *text = PQresultErrorField(r, code);

    return text == NULL ? "" : text;
}

enum tr_rc pg_fail_result(struct pg_dest *d, const PGresult *r, struct pg_class *ret_class,
                          struct tr_err *err)
{
    const char *sqlstate = field(r, PG_DIAG_SQLSTATE);
    const char *message = field(r, PG_DIAG_MESSAGE_PRIMARY);

    if (sqlstate[0] == '\0') { /* made by libpq itself: the connection broke */
        message = PQresultErrorMessage(r);
        if (ret_class != NULL)
            *ret_class =
                (struct pg_class){ TR_TRANSIENT, PG_ELSE, "postgres.connection_lost", NULL };
        return tr_fail(err, TR_TRANSIENT, "postgres.connection_lost", NULL, "%.*s",
                       (int)strcspn(message, "\n"), message);
    }
    struct pg_class class = pg_classify(sqlstate, message);
    d->line = pg_careful_line(field(r, PG_DIAG_CONTEXT));
    if (ret_class != NULL)
        *ret_class = class;
    return tr_fail(err, class.rc, class.id, class.hint, "%s (SQLSTATE %s)", message, sqlstate);
}

/* --- statements --- */

static enum tr_rc flush_all(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    int left;

    while ((left = PQflush(d->conn)) == 1) {
        enum tr_rc rc = wait_socket(cx, PQsocket(d->conn), POLLIN | POLLOUT, err);
        if (rc != TR_OK)
            return rc;
        if (PQconsumeInput(d->conn) == 0)
            return pg_fail_lost(d, err);
    }
    return left == 0 ? TR_OK : pg_fail_lost(d, err);
}

/* The next result, or NULL when the answer is complete. */
static enum tr_rc next_result(const struct tr_ctx *cx, struct pg_dest *d, PGresult **ret,
                              struct tr_err *err)
{
    enum tr_rc rc = flush_all(cx, d, err);

    if (rc != TR_OK)
        return rc;
    while (PQisBusy(d->conn) == 1) {
        rc = wait_socket(cx, PQsocket(d->conn), POLLIN, err);
        if (rc != TR_OK)
            return rc;
        /* what arrived before the end of the connection is still parsed, below */
        if (PQconsumeInput(d->conn) == 0 && PQisBusy(d->conn) == 1)
            return pg_fail_lost(d, err);
    }
    *ret = PQgetResult(d->conn);
    return TR_OK;
}

static bool is_error(const PGresult *r)
{
    ExecStatusType s = PQresultStatus(r);

    return s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE || s == PGRES_NONFATAL_ERROR;
}

/* One of them is kept: the first error, else the last. */
static void keep_result(PGresult **kept, PGresult *r)
{
    if (*kept != NULL && is_error(*kept)) {
        PQclear(r);
        return;
    }
    PQclear(*kept);
    *kept = r;
}

enum tr_rc pg_answer(const struct tr_ctx *cx, struct pg_dest *d, PGresult **ret,
                     struct pg_class *ret_class, struct tr_err *err)
{
    TR_CLEANUP(pg_result_cleanup) PGresult *kept = NULL;
    PGresult *r = NULL;

    if (ret_class != NULL)
        *ret_class = (struct pg_class){ TR_TRANSIENT, PG_ELSE, "postgres.connection_lost", NULL };
    for (;;) {
        enum tr_rc rc = next_result(cx, d, &r, err);
        if (rc != TR_OK)
            return rc;
        if (r == NULL)
            break;
        keep_result(&kept, r);
        if (PQresultStatus(kept) == PGRES_COPY_IN)
            break;
    }
    if (kept == NULL)
        return pg_fail_lost(d, err);
    if (is_error(kept))
        return pg_fail_result(d, kept, ret_class, err);
    if (ret != NULL) {
        *ret = kept;
        kept = NULL;
    }
    return TR_OK;
}

enum tr_rc pg_run(const struct tr_ctx *cx, struct pg_dest *d, const char *sql, int n,
                  const char *const *params, PGresult **ret, struct pg_class *ret_class,
                  struct tr_err *err)
{
    int sent = n == 0 ? PQsendQuery(d->conn, sql)
                      : PQsendQueryParams(d->conn, sql, n, NULL, params, NULL, NULL, 0);

    if (sent == 0) {
        if (ret_class != NULL)
            *ret_class =
                (struct pg_class){ TR_TRANSIENT, PG_ELSE, "postgres.connection_lost", NULL };
        return pg_fail_lost(d, err);
    }
    return pg_answer(cx, d, ret, ret_class, err);
}

/* --- transactions --- */

static enum tr_rc send_begin(const struct tr_ctx *cx, struct pg_dest *d, int64_t lock_ms,
                             bool is_load, struct tr_err *err)
{
    /* A chunk's COPY is one statement, however long it takes: no limit of the server's ends it. It
     * notices a client that is gone, by the network or (from version 14) by asking the socket. */
    static const char gone[] =
        ";SET LOCAL tcp_keepalives_idle = 60;SET LOCAL tcp_keepalives_interval = 10;"
        "SET LOCAL tcp_keepalives_count = 6;"
        "SELECT pg_catalog.set_config(name, '10s', true) FROM pg_catalog.pg_settings"
        " WHERE name = 'client_connection_check_interval'";
    char sql[1024];

    /* A role may have turned synchronous_commit off; then a crash of the server would take back
     * what it said was committed. */
    (void)snprintf(sql, sizeof(sql),
                   "BEGIN ISOLATION LEVEL READ COMMITTED;"
                   "SET LOCAL statement_timeout = %lld;"
                   "SET LOCAL lock_timeout = %lld;"
                   "SET LOCAL idle_in_transaction_session_timeout = %d;"
                   "SELECT pg_catalog.set_config('synchronous_commit', 'local', true)"
                   " WHERE pg_catalog.current_setting('synchronous_commit') = 'off'%s",
                   is_load ? 0 : (long long)pg_left_ms(cx), (long long)lock_ms,
                   IDLE_IN_TRANSACTION_MS, is_load ? gone : "");
    return pg_run(cx, d, sql, 0, NULL, NULL, NULL, err);
}

static enum tr_rc begin(const struct tr_ctx *cx, struct pg_dest *d, int64_t lock_ms, bool is_load,
                        struct tr_err *err)
{
    enum tr_rc rc = pg_open(cx, d, err);

    if (rc != TR_OK)
        return rc;
    bool reused = d->reused;
    rc = send_begin(cx, d, lock_ms, is_load, err);
    if (rc == TR_TRANSIENT && reused && (d->conn == NULL || PQstatus(d->conn) != CONNECTION_OK)) {
        pg_drop(d);
        rc = pg_open(cx, d, err);
        if (rc == TR_OK)
            rc = send_begin(cx, d, lock_ms, is_load, err);
    }
    if (rc != TR_OK) {
        pg_reset(d);
        return tr_wrap(err, "begin a transaction");
    }
    d->reused = true;
    return TR_OK;
}

enum tr_rc pg_begin(const struct tr_ctx *cx, struct pg_dest *d, int64_t lock_ms, struct tr_err *err)
{
    return begin(cx, d, lock_ms, false, err);
}

enum tr_rc pg_begin_load(const struct tr_ctx *cx, struct pg_dest *d, int64_t lock_ms,
                         struct tr_err *err)
{
    return begin(cx, d, lock_ms, true, err);
}

enum tr_rc pg_commit(const struct tr_ctx *cx, struct pg_dest *d, struct pg_class *ret_class,
                     struct tr_err *err)
{
    static const char hint[] = "the ledger is asked before the next attempt";
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;
    struct tr_err why = { 0 };
    int sent = PQsendQuery(d->conn, "COMMIT");
    TR_KILL_POINT("pg.commit_sent");
    enum tr_rc rc = sent == 0 ? pg_fail_lost(d, &why) : pg_answer(cx, d, &r, ret_class, &why);
    if (rc == TR_CANCELLED) {
        /* who cancels now would rather know: the answer is some milliseconds away */
        struct tr_ctx grace = { .deadline_us = tr_clock_boot_us() + COMMIT_GRACE_US };
        if (cx->deadline_us < grace.deadline_us)
            grace.deadline_us = cx->deadline_us;
        rc = pg_answer(&grace, d, &r, ret_class, &why);
    }
    if (rc == TR_OK && strcmp(PQcmdStatus(r), "COMMIT") == 0)
        return TR_OK;
    if (rc == TR_OK)
        return tr_fail(err, TR_INTERNAL, "postgres.rolled_back", NULL,
                       "the transaction had failed before its COMMIT");
    /* An error with the connection alive is an answer: it was rolled back. Anything else is not. */
    if (d->conn != NULL && PQstatus(d->conn) == CONNECTION_OK &&
        PQtransactionStatus(d->conn) == PQTRANS_IDLE) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    pg_drop(d);
    return tr_fail(err, TR_AMBIGUOUS, "postgres.commit_unknown", hint,
                   "COMMIT was sent and its answer did not come: %s", why.cause);
}

/* Brings a COPY to its end without rows; the answer is an error, and that is fine. */
static bool end_copy(const struct tr_ctx *cx, struct pg_dest *d)
{
    PGresult *r = NULL;

    if (flush_all(cx, d, NULL) != TR_OK || d->conn == NULL ||
        PQputCopyEnd(d->conn, "the load was given up") < 0)
        return false;
    do {
        if (next_result(cx, d, &r, NULL) != TR_OK)
            return false;
        PQclear(r);
    } while (r != NULL);
    return true;
}

void pg_reset(struct pg_dest *d)
{
    struct tr_ctx cx = { .deadline_us = tr_clock_boot_us() + RESET_US };
    TR_CLEANUP(pg_result_cleanup) PGresult *r = NULL;

    if (d->conn == NULL)
        return;
    if (PQstatus(d->conn) != CONNECTION_OK) {
        pg_drop(d);
        return;
    }
    switch (PQtransactionStatus(d->conn)) {
    case PQTRANS_IDLE:
        return;
    case PQTRANS_ACTIVE: {
        /* a statement under way is not waited for, except a COPY from us, which we can end */
        PGresult *state = PQisBusy(d->conn) == 0 ? PQgetResult(d->conn) : NULL;
        bool copying = PQresultStatus(state) == PGRES_COPY_IN;
        PQclear(state);
        if (!copying || !end_copy(&cx, d)) {
            pg_drop(d);
            return;
        }
        break;
    }
    case PQTRANS_INTRANS:
    case PQTRANS_INERROR:
    case PQTRANS_UNKNOWN:
        break;
    }
    if (d->conn == NULL || pg_run(&cx, d, "ROLLBACK", 0, NULL, NULL, NULL, NULL) != TR_OK)
        pg_drop(d);
}

/* --- COPY --- */

enum tr_rc pg_put(const struct tr_ctx *cx, struct pg_dest *d, const char *p, size_t n,
                  struct tr_err *err)
{
    while (n > 0) {
        size_t part = n < PG_FLUSH_BYTES ? n : PG_FLUSH_BYTES;

        /* libpq's own buffer holds one part: what was put before goes out first */
        enum tr_rc rc = flush_all(cx, d, err);
        if (rc != TR_OK)
            return rc;
        if (PQputCopyData(d->conn, p, (int)part) != 1)
            return pg_fail_lost(d, err);
        p += part;
        n -= part;
    }
    /* the kernel takes what it can while the next rows are encoded */
    return PQflush(d->conn) < 0 ? pg_fail_lost(d, err) : TR_OK;
}

enum tr_rc pg_put_end(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err)
{
    enum tr_rc rc = flush_all(cx, d, err);

    if (rc != TR_OK)
        return rc;
    return PQputCopyEnd(d->conn, NULL) == 1 ? TR_OK : pg_fail_lost(d, err);
}

bool pg_interrupted(struct pg_dest *d)
{
    struct pollfd p = { .fd = PQsocket(d->conn), .events = POLLIN };
    uint64_t before = d->spoke;

    if (poll(&p, 1, 0) <= 0)
        return false;
    if (PQconsumeInput(d->conn) == 0)
        return true;
    (void)PQisBusy(d->conn); /* parses: hands notices over, leaves an error where it is */
    return d->spoke == before;
}
