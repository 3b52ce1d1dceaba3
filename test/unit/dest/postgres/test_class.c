#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dest/postgres/postgres_priv.h"

static void sqlstates_say_what_to_do_next(void **state)
{
    static const struct {
        const char *name, *sqlstate, *message;
        enum tr_rc rc;
        enum pg_about about;
        const char *id;
    } cases[] = {
        { "connection failure", "08006", "", TR_TRANSIENT, PG_ELSE, "postgres.connection_lost" },
        { "a pooler without a server", "08P01", "server login failed", TR_TRANSIENT, PG_ELSE,
          "postgres.connection_lost" },
        { "bytes for another type", "08P01", "insufficient data left in message", TR_REFUSED,
          PG_ELSE, "postgres.table_changed" },
        { "more bytes for another type", "22P03", "incorrect binary data format", TR_REFUSED,
          PG_ELSE, "postgres.table_changed" },
        { "text where jsonb is", "XX000", "unsupported jsonb version number 123", TR_REFUSED,
          PG_ELSE, "postgres.table_changed" },
        { "shutting down", "57P01", "", TR_TRANSIENT, PG_ELSE, "postgres.unavailable" },
        { "crashed", "57P02", "", TR_TRANSIENT, PG_ELSE, "postgres.unavailable" },
        { "starting up", "57P03", "", TR_TRANSIENT, PG_ELSE, "postgres.unavailable" },
        { "database dropped", "57P04", "", TR_REFUSED, PG_ELSE, "postgres.no_database" },
        { "serialization", "40001", "", TR_TRANSIENT, PG_ELSE, "postgres.conflict" },
        { "deadlock", "40P01", "", TR_TRANSIENT, PG_ELSE, "postgres.conflict" },
        { "lock timeout", "55P03", "", TR_TRANSIENT, PG_ELSE, "postgres.locked" },
        { "statement timeout", "57014", "", TR_TRANSIENT, PG_ELSE, "postgres.timeout" },
        { "disk full", "53100", "", TR_TRANSIENT, PG_ELSE, "postgres.disk_full" },
        { "too many connections", "53300", "", TR_TRANSIENT, PG_ELSE,
          "postgres.too_many_connections" },
        { "out of memory", "53200", "", TR_TRANSIENT, PG_ELSE, "postgres.no_resources" },
        { "an I/O error there", "58030", "", TR_TRANSIENT, PG_ELSE, "postgres.server_error" },
        { "an internal error there", "XX000", "cache lookup failed", TR_TRANSIENT, PG_ELSE,
          "postgres.server_error" },
        { "password", "28P01", "", TR_REFUSED, PG_ELSE, "postgres.login_failed" },
        { "pg_hba.conf", "28000", "no pg_hba.conf entry for host", TR_REFUSED, PG_ELSE,
          "postgres.not_admitted" },
        { "no login", "28000", "role is not permitted to log in", TR_REFUSED, PG_ELSE,
          "postgres.login_failed" },
        { "no database", "3D000", "", TR_REFUSED, PG_ELSE, "postgres.no_database" },
        { "no schema", "3F000", "", TR_REFUSED, PG_ELSE, "postgres.no_schema" },
        { "privilege on the schema", "42501", "permission denied for schema x", TR_REFUSED, PG_ELSE,
          "postgres.permission_denied" },
        { "privilege on the table", "42501", "permission denied for table x", TR_REFUSED, PG_ELSE,
          "postgres.permission_denied" },
        { "no table", "42P01", "", TR_REFUSED, PG_ELSE, "postgres.no_table" },
        { "no column", "42703", "", TR_REFUSED, PG_ELSE, "postgres.no_column" },
        { "syntax", "42601", "", TR_REFUSED, PG_ELSE, "postgres.refused" },
        { "read only", "25006", "", TR_REFUSED, PG_ELSE, "postgres.read_only" },
        { "row security and COPY", "0A000", "", TR_REFUSED, PG_ELSE, "postgres.not_supported" },
        { "created by another", "42P07", "", TR_TRANSIENT, PG_RACE, "postgres.created_meanwhile" },
        { "created by another, seen by the index", "23505",
          "duplicate key value violates unique constraint \"pg_type_typname_nsp_index\"",
          TR_TRANSIENT, PG_RACE, "postgres.created_meanwhile" },
        { "a key twice", "23505", "duplicate key value violates unique constraint \"events_pkey\"",
          TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "not null", "23502", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "check", "23514", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "bad JSON", "22P02", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "untranslatable", "22P05", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "too long", "22001", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "an index row too wide", "54000", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "nested too deep", "54001", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "a trigger's RAISE", "P0001", "", TR_REFUSED, PG_ROWS, "dest.rows_refused" },
        { "never heard of", "ZZ999", "", TR_REFUSED, PG_ELSE, "postgres.refused" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pg_class class = pg_classify(cases[i].sqlstate, cases[i].message);
        print_message("# %s\n", cases[i].name);
        assert_int_equal(class.rc, cases[i].rc);
        assert_int_equal(class.about, cases[i].about);
        assert_string_equal(class.id, cases[i].id);
        /* compared by pointer elsewhere: see dest.h */
        assert_int_equal(class.about == PG_ROWS, class.id == tr_dest_rows_refused);
    }
}

#define AT "connection to server at \"db.example.com\" (192.0.2.1), port 5432 failed: "

static void failed_connections_are_classed_by_code_or_words(void **state)
{
    static const struct {
        const char *name, *message;
        enum tr_rc rc;
        const char *id, *cause;
    } cases[] = {
        { "a code from the server",
          AT "FATAL:  28P01: password authentication failed for user \"u\"\n", TR_REFUSED,
          "postgres.login_failed", "password authentication failed for user \"u\"" },
        { "in another language",
          AT "FATAL:  28P01: Passwort-Authentifizierung f\xC3\xBCr Benutzer\n", TR_REFUSED,
          "postgres.login_failed", "Passwort-Authentifizierung f\xC3\xBCr Benutzer" },
        { "behind another address's failure",
          AT "Connection refused\n\tIs the server running on that host and accepting TCP/IP "
             "connections?\n" AT
             "FATAL:  3D000: database \"x\" does not exist\nLOCATION:  x, y.c:1\n",
          TR_REFUSED, "postgres.no_database", "database \"x\" does not exist" },
        { "starting up", AT "FATAL:  57P03: the database system is starting up\n", TR_TRANSIENT,
          "postgres.unavailable", "the database system is starting up" },
        { "full", AT "FATAL:  53300: sorry, too many clients already\n", TR_TRANSIENT,
          "postgres.too_many_connections", "sorry, too many clients already" },
        { "nobody there", AT "Connection refused\n\tIs the server running?\n", TR_TRANSIENT,
          "postgres.unreachable", AT "Connection refused" },
        { "no such name",
          "could not translate host name \"nope\" to address: Name or service not known\n",
          TR_TRANSIENT, "postgres.unknown_host",
          "could not translate host name \"nope\" to address: Name or service not known" },
        { "a stranger's certificate", AT "SSL error: certificate verify failed\n", TR_REFUSED,
          "postgres.tls", AT "SSL error: certificate verify failed" },
        { "another host's certificate",
          AT "server certificate for \"a\" does not match host name \"b\"\n", TR_REFUSED,
          "postgres.tls", AT "server certificate for \"a\" does not match host name \"b\"" },
        { "no TLS", AT "server does not support SSL, but SSL was required\n", TR_REFUSED,
          "postgres.tls", AT "server does not support SSL, but SSL was required" },
        { "cut while shaking hands", AT "SSL error: unexpected eof while reading\n", TR_TRANSIENT,
          "postgres.tls_broken", AT "SSL error: unexpected eof while reading" },
        { "a web server", AT "received invalid response to SSL negotiation: H\n", TR_REFUSED,
          "postgres.protocol", "what answers there is no PostgreSQL server" },
        { "a web server without TLS",
          AT "expected authentication request from server, but received H\n", TR_REFUSED,
          "postgres.protocol", "what answers there is no PostgreSQL server" },
        { "an answer that begins as an old server's error", AT "RROR secret words\n", TR_TRANSIENT,
          "postgres.unreachable",
          "no connection came about, or what answers is no PostgreSQL server" },
        { "nothing said", "", TR_TRANSIENT, "postgres.unreachable",
          "no connection came about, or what answers is no PostgreSQL server" },
        { "no code where one might be", "a:  b:  FATAL", TR_TRANSIENT, "postgres.unreachable",
          "no connection came about, or what answers is no PostgreSQL server" },
        { "silence", AT "server closed the connection unexpectedly\n", TR_TRANSIENT,
          "postgres.unreachable", AT "server closed the connection unexpectedly" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char cause[256] = "";
        struct pg_class class = pg_classify_connect(cases[i].message, cause, sizeof(cause));
        print_message("# %s\n", cases[i].name);
        assert_int_equal(class.rc, cases[i].rc);
        assert_string_equal(class.id, cases[i].id);
        assert_string_equal(cause, cases[i].cause);
    }
}

static void the_line_of_a_copy_is_read(void **state)
{
    static const struct {
        const char *context;
        uint64_t line;
    } cases[] = {
        { "COPY events, line 17", 17 },
        { "COPY events, line 17, column event: \"x\"", 17 },
        { "COPY a, line x, line 3, column b", 3 },
        { "COPY events, line 4: \"text\"", 4 },
        { "COPY events", 0 },
        { "COPY events, line ", 0 },
        { "SQL statement \"SELECT 1\"\nCOPY events, line 3", 3 },
        { "PL/pgSQL function no() line 1 at RAISE\nCOPY events, line 42", 42 },
        { "SQL statement \"x\" line 7", 0 },
        { "COPY events, line 99999999999999999999", 0 },
        { "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(pg_careful_line(cases[i].context), cases[i].line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sqlstates_say_what_to_do_next),
        cmocka_unit_test(failed_connections_are_classed_by_code_or_words),
        cmocka_unit_test(the_line_of_a_copy_is_read),
    };

    return cmocka_run_group_tests_name("postgres class", tests, NULL, NULL);
}
