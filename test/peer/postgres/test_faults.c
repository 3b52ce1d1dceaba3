/* Connections that break at the worst moment, servers that do not answer, and refusals on the way
 * in. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "loader.h"
#include "os/clock.h"
#include "server.h"

enum { ROWS = 500 };

static void must(enum tr_rc rc, const struct loader *l)
{
    char text[520];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id == NULL ? "?" : l->err.id,
                 tr_err_text(&l->err, text, sizeof(text)));
}

static void each_once(void)
{
    assert_int_equal(server_number("SELECT count(*) FROM %S.events"), ROWS);
    assert_int_equal(server_number("SELECT count(DISTINCT uuid) FROM %S.events"), ROWS);
    assert_int_equal(server_number("SELECT count(*) FROM %S.tailrace_ledger"), 1);
}

/* A loader that reaches the server through a proxy, its place prepared. */
static struct loader *behind(struct proxy *x)
{
    json_t *config = server_fresh();

    (void)json_object_set_new(config, "port", json_integer(proxy_port(x)));
    struct loader *l = loader_new(config);
    must(loader_prepare(l, NULL), l);
    return l;
}

static void a_lost_answer_to_commit_is_resolved(void **state)
{
    static const struct {
        const char *name;
        enum proxy_fault fault;
        bool slow; /* the server takes a second and a half to commit */
        enum tr_chunk_state want;
    } cases[] = {
        { "committed, answer lost", PROXY_LOSE_COMMIT_ANSWER, false, TR_CHUNK_PRESENT },
        { "cut while the server may still be committing", PROXY_CUT_AT_COMMIT, false,
          TR_CHUNK_PRESENT },
        { "cut while the server is still committing", PROXY_CUT_AT_COMMIT, true, TR_CHUNK_PRESENT },
        { "COMMIT itself lost", PROXY_LOSE_COMMIT, false, TR_CHUNK_ABSENT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct proxy *x = proxy_start();
        struct loader *l = behind(x);
        struct rows *r = rows_new(ROWS, 1, 500);
        struct tr_key key = rows_key();
        enum tr_chunk_state s = TR_CHUNK_IN_FLIGHT;

        print_message("# %s\n", cases[i].name);
        if (cases[i].slow)
            server_do(
                "CREATE FUNCTION %S.slow() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN"
                " PERFORM pg_sleep(1.5); RETURN NEW; END $f$;"
                "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON %S.events DEFERRABLE INITIALLY"
                " DEFERRED FOR EACH ROW WHEN (NEW.event = 'event 1-0') EXECUTE FUNCTION"
                " %S.slow()");
        proxy_set(x, cases[i].fault);
        assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_AMBIGUOUS);
        assert_string_equal(l->err.id, "postgres.commit_unknown");
        proxy_set(x, PROXY_NONE);
        must(loader_lookup(l, &key, 10000, &s), l);
        assert_int_equal(s, cases[i].want);
        if (s == TR_CHUNK_PRESENT)
            assert_int_equal(l->receipt.delivered, ROWS);
        must(loader_deliver(l, &key, &r->batch, false), l);
        assert_int_equal(l->receipt.delivered, ROWS);
        assert_int_equal(l->receipt.was_there, cases[i].want == TR_CHUNK_PRESENT);
        each_once();
        loader_free(l);
        proxy_stop(x);
        rows_free(r);
    }
}

static void a_key_that_another_holds_is_in_flight(void **state)
{
    struct loader *first = loader_new(server_fresh());
    struct rows *r = rows_new(ROWS, 1, 500);
    struct tr_key key = rows_key();
    struct tr_load *load = NULL;
    enum tr_chunk_state s = TR_CHUNK_ABSENT;
    struct tr_ctx cx = loader_time(10000);

    (void)state;
    must(loader_prepare(first, NULL), first);
    must(loader_begin(first, &key, false, &load), first);
    must(load->ops->write(&cx, load, &r->batch, &first->err), first);

    json_t *config =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s}", "host", server_host(), "port",
                  server_port(), "user", server_user(), "password", "sekrit-of-the-loader",
                  "database", "tailrace_test", "schema", server_schema(), "sslmode", "disable");
    struct loader *second = loader_new(config);
    must(loader_prepare(second, NULL), second);
    int64_t began = tr_clock_boot_us();
    must(loader_lookup(second, &key, 1000, &s), second);
    assert_int_equal(s, TR_CHUNK_IN_FLIGHT);
    assert_true(tr_clock_boot_us() - began < 2 * TR_US_PER_S);

    struct tr_ctx soon = loader_time(500);
    struct tr_load_spec spec = { .key = key };
    struct tr_load *other = NULL;
    assert_int_equal(second->dest->ops->begin(&soon, second->dest, &spec, &other, &second->err),
                     TR_TRANSIENT);
    assert_null(other);

    load->ops->abort(load); /* what was held is free, and nothing is there */
    must(loader_lookup(second, &key, 5000, &s), second);
    assert_int_equal(s, TR_CHUNK_ABSENT);
    must(loader_deliver(second, &key, &r->batch, false), second);
    each_once();
    loader_free(second);
    loader_free(first);
    rows_free(r);
}

static void kill_backends(void)
{
    server_do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%U'");
    while (server_number("SELECT count(*) FROM pg_stat_activity WHERE usename = '%U'") > 0)
        ;
}

static void a_backend_that_dies_in_the_middle_leaves_nothing(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(ROWS, 1, 3000);
    struct tr_key key = rows_key();
    struct tr_ctx cx = loader_time(10000);
    struct tr_load *load = NULL;

    (void)state;
    must(loader_prepare(l, NULL), l);
    for (int careful = 0; careful < 2; careful++) {
        must(loader_begin(l, &key, careful == 1, &load), l);
        must(load->ops->write(&cx, load, &r->batch, &l->err), l);
        kill_backends();
        enum tr_rc rc = load->ops->write(&cx, load, &r->batch, &l->err);
        if (rc == TR_OK)
            rc = load->ops->commit(&cx, load, &l->receipt, &l->err);
        else
            load->ops->abort(load);
        assert_int_equal(rc, TR_TRANSIENT);
        assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 0);
    }
    must(loader_deliver(l, &key, &r->batch, false), l); /* the object makes a new connection */
    each_once();
    kill_backends(); /* between two chunks */
    key = rows_key();
    must(loader_deliver(l, &key, &r->batch, false), l);
    loader_free(l);
    rows_free(r);
}

static void a_server_that_falls_silent_is_not_waited_for(void **state)
{
    struct proxy *x = proxy_start();
    struct loader *l = behind(x);
    struct rows *r = rows_new(ROWS, 1, 100);
    struct tr_key key = rows_key();
    struct tr_load *load = NULL;
    struct tr_ctx cx;

    (void)state;
    must(loader_begin(l, &key, false, &load), l);
    proxy_set(x, PROXY_STALL);
    cx = loader_time(700);
    int64_t began = tr_clock_boot_us();
    enum tr_rc rc = load->ops->write(&cx, load, &r->batch, &l->err);
    if (rc != TR_OK)
        load->ops->abort(load);
    else
        rc = load->ops->commit(&cx, load, &l->receipt, &l->err);
    assert_int_equal(rc, TR_TRANSIENT);
    assert_string_equal(l->err.id, "postgres.timeout");
    assert_true(tr_clock_boot_us() - began < 3 * TR_US_PER_S);

    /* nor while connecting */
    cx = loader_time(500);
    began = tr_clock_boot_us();
    struct tr_load_spec spec = { .key = key };
    assert_int_equal(l->dest->ops->begin(&cx, l->dest, &spec, &load, &l->err), TR_TRANSIENT);
    assert_true(tr_clock_boot_us() - began < 2 * TR_US_PER_S);

    proxy_set(x, PROXY_NONE);
    must(loader_deliver(l, &key, &r->batch, false), l);
    each_once();
    loader_free(l);
    proxy_stop(x);
    rows_free(r);
}

static void *cancel_soon(void *arg)
{
    tr_clock_sleep_us(300 * TR_US_PER_MS);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void cancelling_ends_a_wait_here_and_there(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(ROWS, 1, 500);
    struct tr_key key = rows_key();
    atomic_bool cancelled = false;
    struct tr_ctx cx = loader_time(60000);
    struct tr_load *load = NULL;
    pthread_t thread;

    (void)state;
    must(loader_prepare(l, NULL), l);
    must(loader_begin(l, &key, false, &load), l);
    server_do("BEGIN; LOCK TABLE %S.events IN ACCESS EXCLUSIVE MODE");
    cx.cancelled = &cancelled;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancelled), 0);
    int64_t began = tr_clock_boot_us();
    assert_int_equal(load->ops->write(&cx, load, &r->batch, &l->err), TR_CANCELLED);
    load->ops->abort(load);
    assert_true(tr_clock_boot_us() - began < 2 * TR_US_PER_S);
    (void)pthread_join(thread, NULL);
    began = tr_clock_boot_us(); /* the backend was told: it does not wait for the lock any longer */
    while (server_number("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation ="
                         " '%S.events'::regclass") > 0)
        assert_true(tr_clock_boot_us() - began < 5 * TR_US_PER_S);
    server_do("COMMIT");
    must(loader_deliver(l, &key, &r->batch, false), l);
    each_once();
    loader_free(l);
    rows_free(r);
}

static void what_was_dropped_is_named(void **state)
{
    struct rows *r = rows_new(10, 1, 100);
    struct tr_key key = rows_key();
    enum tr_chunk_state s;

    (void)state;
    struct loader *l = loader_new(server_fresh());
    must(loader_prepare(l, NULL), l);
    server_do("DROP TABLE %S.events");
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.no_table");
    assert_non_null(l->err.hint);
    must(loader_prepare(l, NULL), l); /* the next attempt makes it again */
    must(loader_deliver(l, &key, &r->batch, false), l);

    server_do("ALTER TABLE %S.events DROP COLUMN ip");
    key = rows_key();
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.no_column");
    must(loader_prepare(l, NULL), l);
    loader_free(l);

    l = loader_new(server_fresh());
    must(loader_prepare(l, NULL), l);
    server_do("DROP TABLE %S.tailrace_ledger");
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.ledger");
    assert_int_equal(loader_lookup(l, &key, 5000, &s), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.ledger");
    loader_free(l);

    l = loader_new(server_fresh());
    must(loader_prepare(l, NULL), l);
    server_do("ALTER ROLE %U SET default_transaction_read_only = on");
    kill_backends();
    assert_int_equal(loader_deliver(l, &key, &r->batch, false), TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.read_only");
    loader_free(l);
    rows_free(r);
}

/* Types that change between prepare and COPY, silently for the binary format or not. */
static void a_column_that_changed_its_type_meanwhile_is_noticed(void **state)
{
    static const char *const changes[] = {
        "ALTER TABLE %S.events ALTER team_id TYPE bigint",
        "ALTER TABLE %S.events ALTER properties TYPE text",
        "ALTER TABLE %S.events ALTER timestamp TYPE bigint USING 0",
        "ALTER TABLE %S.events ALTER timestamp TYPE text",
        "ALTER TABLE %S.events ALTER distinct_id TYPE jsonb USING NULL",
        "ALTER TABLE %S.events ALTER uuid TYPE uuid USING uuid::uuid",
        "ALTER TABLE %S.events ALTER event TYPE varchar(100)",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct rows *r = rows_new(10, 1, 100);
        struct tr_key key = rows_key();
        struct loader *l = loader_new(server_fresh());

        print_message("# %s\n", changes[i]);
        must(loader_prepare(l, NULL), l);
        server_do(changes[i]);
        assert_int_equal(loader_deliver_all(l, &key, &r->batch), TR_REFUSED);
        if (strcmp(l->err.id, "postgres.table_changed") != 0)
            assert_string_equal(l->err.id, "postgres.column_type");
        assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 0);
        loader_free(l);
        rows_free(r);
    }
}

static void refusals_at_the_door_say_why(void **state)
{
    static const struct {
        const char *name, *option, *value;
        enum tr_rc want;
        const char *id, *cause;
    } cases[] = {
        { "a wrong password", "password", "not-it", TR_REFUSED, "postgres.login_failed",
          "password authentication failed" },
        { "an unknown user", "user", "tr_nobody", TR_REFUSED, "postgres.login_failed",
          "password authentication failed" },
        { "an unknown database", "database", "tr_nowhere", TR_REFUSED, "postgres.no_database",
          "does not exist" },
        { "a user whom pg_hba.conf rejects", "user", "tr_not_here", TR_REFUSED,
          "postgres.not_admitted", "pg_hba.conf" },
        { "a port where nobody listens", "port", "1", TR_TRANSIENT, "postgres.unreachable",
          "Connection refused" },
        { "a folder without a socket", "host", "/nonexistent", TR_TRANSIENT, "postgres.unreachable",
          "No such file" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *config = server_fresh();

        print_message("# %s\n", cases[i].name);
        (void)json_object_set_new(config, cases[i].option, json_string(cases[i].value));
        struct loader *l = loader_new(config);
        assert_int_equal(loader_prepare(l, NULL), cases[i].want);
        assert_string_equal(l->err.id, cases[i].id);
        if (strstr(l->err.cause, cases[i].cause) == NULL)
            fail_msg("cause: %s", l->err.cause);
        assert_null(strstr(l->err.cause, "not-it"));
        loader_free(l);
    }
}

static char *other_authority(void)
{
    /* any certificate that did not sign the server's: the server's own */
    return strdup(server_ask("SELECT pg_read_file('server.crt')"));
}

static void encryption_is_what_sslmode_asks_for(void **state)
{
    char *ca = strdup(server_ask("SELECT pg_read_file('ca.pem')"));
    char *stranger = other_authority();
    const struct {
        const char *name, *host, *sslmode, *ca;
        enum tr_rc want;
        const char *tls;
    } cases[] = {
        { "disable", "127.0.0.1", "disable", NULL, TR_OK, "f" },
        { "require", "127.0.0.1", "require", NULL, TR_OK, "t" },
        { "verify-ca", "127.0.0.1", "verify-ca", ca, TR_OK, "t" },
        { "verify-full, by name", "localhost", "verify-full", ca, TR_OK, "t" },
        { "verify-full, by address", "127.0.0.1", "verify-full", ca, TR_OK, "t" },
        { "verify-ca, signed by another", "127.0.0.1", "verify-ca", stranger, TR_REFUSED, NULL },
        { "verify-full, the system's authorities", "127.0.0.1", "verify-full", NULL, TR_REFUSED,
          NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *config = server_fresh();

        print_message("# %s\n", cases[i].name);
        (void)json_object_set_new(config, "host", json_string(cases[i].host));
        (void)json_object_set_new(config, "sslmode", json_string(cases[i].sslmode));
        if (cases[i].ca != NULL)
            (void)json_object_set_new(config, "ssl_root_cert", json_string(cases[i].ca));
        struct loader *l = loader_new(config);
        enum tr_rc rc = loader_test(l, TR_MODEL_EVENTS, 0);
        assert_int_equal(rc, cases[i].want);
        if (rc == TR_OK) {
            must(loader_test(l, TR_MODEL_EVENTS, 1), l);
            assert_string_equal(
                server_ask("SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                           " WHERE a.usename = '%U'"),
                cases[i].tls);
        } else {
            assert_string_equal(l->err.id, "postgres.tls");
            assert_non_null(l->err.hint);
        }
        loader_free(l);
    }
    free(stranger);
    free(ca);
}

static void a_server_without_tls_is_refused(void **state)
{
    (void)state;
    server_do("ALTER SYSTEM SET ssl = off");
    server_do("SELECT pg_reload_conf()");
    json_t *config = server_fresh();
    (void)json_object_set_new(config, "sslmode", json_string("require"));
    struct loader *l = loader_new(config);
    enum tr_rc rc = TR_OK;
    for (int i = 0; i < 100 && rc == TR_OK; i++) { /* until the reload has come through */
        tr_clock_sleep_us(50 * TR_US_PER_MS);
        rc = loader_test(l, TR_MODEL_EVENTS, 0);
    }
    server_do("ALTER SYSTEM RESET ssl");
    server_do("SELECT pg_reload_conf()");
    assert_int_equal(rc, TR_REFUSED);
    assert_string_equal(l->err.id, "postgres.tls");
    assert_non_null(strstr(l->err.cause, "does not support SSL"));
    loader_free(l);
}

/* What a crash of the server can take back is not committed. */
static void commits_are_durable_whatever_the_role_says(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(2, 1, 100);
    struct tr_key key = rows_key();

    (void)state;
    server_do(
        "ALTER ROLE %U SET synchronous_commit = off;"
        "CREATE TABLE %S.events (uuid text, event text);"
        "CREATE TABLE %S.seen (value text); GRANT INSERT ON %S.events, %S.seen TO %U;"
        "CREATE FUNCTION %S.see() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN"
        " INSERT INTO %S.seen VALUES (current_setting('synchronous_commit'));"
        " RETURN NEW; END $f$;"
        "CREATE TRIGGER see BEFORE INSERT ON %S.events FOR EACH ROW EXECUTE FUNCTION %S.see()");
    must(loader_prepare(l, NULL), l);
    must(loader_deliver(l, &key, &r->batch, false), l);
    assert_string_equal(server_ask("SELECT string_agg(DISTINCT value, ',') FROM %S.seen"), "local");
    loader_free(l);
    rows_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_answer_to_commit_is_resolved),
        cmocka_unit_test(a_key_that_another_holds_is_in_flight),
        cmocka_unit_test(a_backend_that_dies_in_the_middle_leaves_nothing),
        cmocka_unit_test(a_server_that_falls_silent_is_not_waited_for),
        cmocka_unit_test(cancelling_ends_a_wait_here_and_there),
        cmocka_unit_test(what_was_dropped_is_named),
        cmocka_unit_test(a_column_that_changed_its_type_meanwhile_is_noticed),
        cmocka_unit_test(refusals_at_the_door_say_why),
        cmocka_unit_test(encryption_is_what_sslmode_asks_for),
        cmocka_unit_test(a_server_without_tls_is_refused),
        cmocka_unit_test(commits_are_durable_whatever_the_role_says),
    };
    const char *why = server_connect();

    if (why != NULL) {
        print_message("1..0 # SKIP %s\n", why);
        return 0;
    }
    int failed = cmocka_run_group_tests_name("postgres faults", tests, NULL, NULL);
    server_disconnect();
    return failed;
}
