#include "server.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

static PGconn *admin;
static char schema[64], user[64];
static char *answer;
static int places;

const char *server_connect(void)
{
    const char *conninfo = getenv("TR_TEST_PG");

    if (conninfo == NULL || conninfo[0] == '\0')
        return "TR_TEST_PG is not set: no PostgreSQL to test with (test/lib/pg.sh starts one)";
    admin = PQconnectdb(conninfo);
    if (PQstatus(admin) != CONNECTION_OK) {
        (void)fprintf(stderr, "%s", PQerrorMessage(admin));
        exit(1); /* it was promised: not a reason to skip */
    }
    server_do("SET client_min_messages = warning");
    return NULL;
}

static void drop_place(void)
{
    if (schema[0] == '\0')
        return;
    server_do("DROP SCHEMA IF EXISTS %S CASCADE");
    server_do("DROP OWNED BY %U");
    server_do("DROP ROLE %U");
    schema[0] = '\0';
}

void server_disconnect(void)
{
    drop_place();
    PQfinish(admin);
    admin = NULL;
    free(answer);
    answer = NULL;
}

void server_use(const char *database)
{
    const char *const keys[] = { "host", "port", "user", "password", "dbname", NULL };
    const char *const values[] = { PQhost(admin), PQport(admin), PQuser(admin),
                                   PQpass(admin), database,      NULL };

    drop_place();
    PGconn *next = PQconnectdbParams(keys, values, 0);
    PQfinish(admin);
    admin = next;
    server_do("SET client_min_messages = warning");
}

json_t *server_fresh(void)
{
    drop_place();
    places++;
    (void)snprintf(schema, sizeof(schema), "place_%d_%d", (int)getpid(), places);
    (void)snprintf(user, sizeof(user), "loader_%d_%d", (int)getpid(), places);
    server_do("CREATE ROLE %U LOGIN PASSWORD 'sekrit-of-the-loader'");
    server_do("CREATE SCHEMA %S");
    server_do("GRANT USAGE, CREATE ON SCHEMA %S TO %U");
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s}", "host", server_host(), "port",
                     server_port(), "user", user, "password", "sekrit-of-the-loader", "database",
                     PQdb(admin), "schema", schema, "table_name", "events", "sslmode", "disable");
}

const char *server_schema(void)
{
    return schema;
}

const char *server_user(void)
{
    return user;
}

const char *server_host(void)
{
    return PQhost(admin);
}

int server_port(void)
{
    return (int)strtol(PQport(admin), NULL, 10);
}

static PGresult *run(const char *sql)
{
    struct tr_buf text;

    tr_buf_init(&text, 1 << 25);
    for (const char *p = sql; *p != '\0'; p++) {
        if (p[0] == '%' && p[1] == 'S')
            tr_buf_z(&text, schema);
        else if (p[0] == '%' && p[1] == 'U')
            tr_buf_z(&text, user);
        else {
            tr_buf_ch(&text, *p);
            continue;
        }
        p++;
    }
    tr_buf_ch(&text, '\0');
    PGresult *r = PQexec(admin, text.p);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        (void)fprintf(stderr, "%s\n%s", text.p, PQerrorMessage(admin));
        abort();
    }
    tr_buf_fini(&text);
    return r;
}

void server_do(const char *sql)
{
    PQclear(run(sql));
}

const char *server_ask(const char *sql)
{
    PGresult *r = run(sql);

    free(answer);
    if (PQntuples(r) == 0)
        answer = strdup("no row");
    else
        answer = strdup(PQgetisnull(r, 0, 0) == 1 ? "NULL" : PQgetvalue(r, 0, 0));
    PQclear(r);
    if (answer == NULL)
        abort();
    return answer;
}

int64_t server_number(const char *sql)
{
    return strtoll(server_ask(sql), NULL, 10);
}
