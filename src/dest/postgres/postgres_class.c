#include <stdio.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"

#define HINT_GRANT_SCHEMA "GRANT USAGE, CREATE ON SCHEMA <schema> TO <user>"
#define HINT_CHANGED      "somebody changed the table: start the run again"

struct rule {
    const char *prefix;   /* of the SQLSTATE: five characters, or the class's two */
    const char *contains; /* in the message, or NULL */
    struct pg_class class;
};

/* The first that matches. Codes: PostgreSQL documentation, appendix A. */
static const struct rule rules[] = {
    { "42P07", NULL, { TR_TRANSIENT, PG_RACE, "postgres.created_meanwhile", NULL } },
    { "42710", NULL, { TR_TRANSIENT, PG_RACE, "postgres.created_meanwhile", NULL } },
    { "23505",
      "pg_type_typname_nsp_index",
      { TR_TRANSIENT, PG_RACE, "postgres.created_meanwhile", NULL } },
    { "23505",
      "pg_class_relname_nsp_index",
      { TR_TRANSIENT, PG_RACE, "postgres.created_meanwhile", NULL } },

    /* what a column's input function says about bytes made for another type */
    { "08P01",
      "insufficient data left in message",
      { TR_REFUSED, PG_ELSE, "postgres.table_changed", HINT_CHANGED } },
    { "22P03", NULL, { TR_REFUSED, PG_ELSE, "postgres.table_changed", HINT_CHANGED } },
    { "XX000",
      "unsupported jsonb version",
      { TR_REFUSED, PG_ELSE, "postgres.table_changed", HINT_CHANGED } },

    { "08", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.connection_lost", NULL } },
    { "40", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.conflict", NULL } },
    { "53100",
      NULL,
      { TR_TRANSIENT, PG_ELSE, "postgres.disk_full", "free disk space on the server" } },
    { "53300",
      NULL,
      { TR_TRANSIENT, PG_ELSE, "postgres.too_many_connections",
        "raise max_connections, or let fewer exports run at once" } },
    { "53", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.no_resources", NULL } },
    { "55P03",
      NULL,
      { TR_TRANSIENT, PG_ELSE, "postgres.locked",
        "somebody holds a lock on the table or the ledger's row" } },
    { "55006", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.locked", NULL } },
    { "57014", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.timeout", NULL } },
    { "25P03", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.timeout", NULL } },
    { "57P04",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.no_database", "create the database, or correct its name" } },
    { "57P", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.unavailable", NULL } },
    { "58P01", NULL, { TR_REFUSED, PG_ELSE, "postgres.server_error", NULL } },
    { "58", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.server_error", NULL } },
    { "XX", NULL, { TR_TRANSIENT, PG_ELSE, "postgres.server_error", NULL } },

    { "28P01", NULL, { TR_REFUSED, PG_ELSE, "postgres.login_failed", "check user and password" } },
    { "28000",
      "pg_hba.conf",
      { TR_REFUSED, PG_ELSE, "postgres.not_admitted",
        "add a line for this user, database and address to the server's pg_hba.conf" } },
    { "28", NULL, { TR_REFUSED, PG_ELSE, "postgres.login_failed", "check user and password" } },
    { "3D000",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.no_database", "create the database, or correct its name" } },
    { "3F000",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.no_schema", "CREATE SCHEMA <schema>; " HINT_GRANT_SCHEMA } },
    { "42501", "schema", { TR_REFUSED, PG_ELSE, "postgres.permission_denied", HINT_GRANT_SCHEMA } },
    { "42501",
      "temporary",
      { TR_REFUSED, PG_ELSE, "postgres.permission_denied",
        "GRANT TEMPORARY ON DATABASE <database> TO <user>: rows that change go through a table of "
        "the session" } },
    { "42501",
      "database",
      { TR_REFUSED, PG_ELSE, "postgres.permission_denied",
        "GRANT CONNECT ON DATABASE <database> TO <user>" } },
    { "42501",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.permission_denied",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON <table> TO <user>, or let the user own it" } },
    { "42P01",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.no_table",
        "the table went away: start the run again to create it" } },
    { "42703",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.no_column", "the table was changed: start the run again" } },
    { "42", NULL, { TR_REFUSED, PG_ELSE, "postgres.refused", NULL } },
    { "25006",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.read_only",
        "give the address of the primary, not of a replica" } },
    { "55000",
      NULL,
      { TR_REFUSED, PG_ELSE, "postgres.not_ready",
        "the server's message says what stands in the way" } },
    { "0A000", NULL, { TR_REFUSED, PG_ELSE, "postgres.not_supported", NULL } },
    { "54001", NULL, { TR_REFUSED, PG_ROWS, tr_dest_rows_refused, NULL } },

    { "22", NULL, { TR_REFUSED, PG_ROWS, tr_dest_rows_refused, NULL } },
    { "23", NULL, { TR_REFUSED, PG_ROWS, tr_dest_rows_refused, NULL } },
    { "44", NULL, { TR_REFUSED, PG_ROWS, tr_dest_rows_refused, NULL } },
    { "54", NULL, { TR_REFUSED, PG_ROWS, tr_dest_rows_refused, NULL } },
    /* RAISE EXCEPTION in a trigger of the table */
    { "P0", NULL, { TR_REFUSED, PG_ROWS, tr_dest_rows_refused, NULL } },
};

struct pg_class pg_classify(const char *sqlstate, const char *message)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];
        if (strncmp(sqlstate, r->prefix, strlen(r->prefix)) != 0)
            continue;
        if (r->contains == NULL || strstr(message, r->contains) != NULL)
            return r->class;
    }
    return (struct pg_class){ TR_REFUSED, PG_ELSE, "postgres.refused", NULL };
}

static bool is_code_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

/* "..FATAL:  28P01: password authentication failed" -> at "28P01". The server's words may be in any
 * language; the shape is libpq's. */
static const char *find_sqlstate(const char *message)
{
    for (const char *p = message; (p = strstr(p, ":  ")) != NULL; p++) {
        const char *code = p + 3;
        size_t n = 0;

        while (n < 5 && is_code_char(code[n]))
            n++;
        if (n == 5 && code[5] == ':' && code[6] == ' ')
            return code;
    }
    return NULL;
}

static void copy_line(const char *from, char *cause, size_t cap)
{
    (void)snprintf(cause, cap, "%.*s", (int)strcspn(from, "\n"), from);
}

static const char not_postgres[] = "what answers there is no PostgreSQL server";

/* What libpq and the system say of a connection that did not come about. Anything else may be what
 * some other server has answered: it is not repeated. */
static const char *const own_words[] = {
    "timeout",
    "timed out",
    "No route to host",
    "unreachable",
    "closed the connection",
    "reset by peer",
    "No such file or directory",
    "Permission denied",
    "could not connect",
    "could not create socket",
    "out of memory",
    "could not send",
    "could not receive",
    "SCRAM",
    "channel binding",
    "Broken pipe",
};

/* What libpq itself says when no server has spoken. */
static const struct {
    const char *contains;
    struct pg_class class;
} connect_rules[] = {
    { "certificate verify failed",
      { TR_REFUSED, PG_ELSE, "postgres.tls",
        "give the authority that signed the server's certificate as "
        "ssl_root_cert, or set sslmode require (has_self_signed_cert: true "
        "does the same where sslmode is not given)" } },
    { "does not match host name",
      { TR_REFUSED, PG_ELSE, "postgres.tls",
        "use the host name that the certificate was made for, or sslmode "
        "verify-ca" } },
    { "could not get server's host name from server certificate",
      { TR_REFUSED, PG_ELSE, "postgres.tls", "use sslmode verify-ca" } },
    { "server does not support SSL",
      { TR_REFUSED, PG_ELSE, "postgres.tls",
        "turn on ssl at the server; sslmode disable is for this machine "
        "only" } },
    { "could not read root certificate file",
      { TR_REFUSED, PG_ELSE, "postgres.tls", "ssl_root_cert must be a whole PEM certificate" } },
    { "root certificate file",
      { TR_REFUSED, PG_ELSE, "postgres.tls", "give the certificate authority as ssl_root_cert" } },
    { "invalid response to SSL negotiation",
      { TR_REFUSED, PG_ELSE, "postgres.protocol",
        "check that host and port are a PostgreSQL server's" } },
    { "expected authentication request from server",
      { TR_REFUSED, PG_ELSE, "postgres.protocol",
        "check that host and port are a PostgreSQL server's" } },
    { "no password supplied",
      { TR_REFUSED, PG_ELSE, "postgres.login_failed", "give the password" } },
    { "authentication method",
      { TR_REFUSED, PG_ELSE, "postgres.login_failed",
        "the server asks for a way to log in that is not supported" } },
    { "could not translate host name",
      { TR_TRANSIENT, PG_ELSE, "postgres.unknown_host", "check the host name" } },
    { "Connection refused",
      { TR_TRANSIENT, PG_ELSE, "postgres.unreachable",
        "check host and port, and that the server runs" } },
    { "SSL error", { TR_TRANSIENT, PG_ELSE, "postgres.tls_broken", NULL } },
};

struct pg_class pg_classify_connect(const char *message, char *cause, size_t cap)
{
    const char *code = find_sqlstate(message);

    if (code != NULL) {
        char sqlstate[6] = { 0 };
        memcpy(sqlstate, code, 5);
        copy_line(code + 7, cause, cap);
        struct pg_class class = pg_classify(sqlstate, cause);
        class.about = PG_ELSE;
        return class;
    }
    for (size_t i = 0; i < sizeof(connect_rules) / sizeof(connect_rules[0]); i++) {
        const char *at = strstr(message, connect_rules[i].contains);
        if (at == NULL)
            continue;
        while (at > message && at[-1] != '\n')
            at--;
        /* libpq repeats a byte of the answer here */
        bool other = strcmp(connect_rules[i].class.id, "postgres.protocol") == 0;
        copy_line(other ? not_postgres : at, cause, cap);
        return connect_rules[i].class;
    }
    bool own = false;
    for (size_t i = 0; i < sizeof(own_words) / sizeof(own_words[0]); i++)
        own = own || strstr(message, own_words[i]) != NULL;
    copy_line(own ? message : "no connection came about, or what answers is no PostgreSQL server",
              cause, cap);
    return (struct pg_class){ TR_TRANSIENT, PG_ELSE, "postgres.unreachable",
                              "check host and port, and that the server runs" };
}
