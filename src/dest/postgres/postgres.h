/* The destination "Postgres": rows into a PostgreSQL table, one transaction per chunk.
 *
 * A ledger table in the same schema holds a row for each key; it is inserted first, in the
 * transaction of the chunk, so that of two attempts at one key the second waits and then knows.
 * docs/destinations/postgres.md is the page for people.
 */
#ifndef TR_DEST_POSTGRES_POSTGRES_H
#define TR_DEST_POSTGRES_POSTGRES_H

#include "dest/dest.h"

extern const struct tr_dest_ops tr_dest_postgres_ops;

#endif
