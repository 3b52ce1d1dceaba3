/* A real PostgreSQL for tests: what TR_TEST_PG names (test/lib/pg.sh starts one and prints it).
 * Looked at with plain libpq, by an administrator, never through the adapter.
 */
#ifndef TR_TEST_PEER_POSTGRES_SERVER_H
#define TR_TEST_PEER_POSTGRES_SERVER_H

#include <jansson.h>
#include <stdint.h>

/* NULL: connected; else why not. */
const char *server_connect(void);
void server_disconnect(void);
/* Goes on as administrator of another database of the same server. */
void server_use(const char *database);

/* Makes an empty schema and a user that may use it and create in it, nothing else; drops those of
 * the call before. Returns the configuration of a destination there. */
json_t *server_fresh(void);
const char *server_schema(void);
const char *server_user(void);
const char *server_host(void);
int server_port(void);

/* Runs a command as administrator; %S in it becomes the schema's name, %U the user's. Ends the
 * program with the server's words when it fails. */
void server_do(const char *sql);
/* The first value of a query as text, in a buffer that is good until the next call; "NULL" for
 * NULL. */
const char *server_ask(const char *sql);
int64_t server_number(const char *sql);

#endif
