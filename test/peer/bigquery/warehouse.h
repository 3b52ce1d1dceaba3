/* A stand-in for BigQuery for tests: what TR_TEST_BQ names, one line of JSON with "url", "host" and
 * "key" (the path of a key file), as test/lib/bq_proxy.py prints it. Looked at with Google's own
 * client, by a Python process of ours (test/lib/bq_reader.py), never through the adapter.
 */
#ifndef TR_TEST_PEER_BIGQUERY_WAREHOUSE_H
#define TR_TEST_PEER_BIGQUERY_WAREHOUSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* NULL: there; else why not. The second: TR_TEST_BQ_FAKE, a fake that can be told what to do wrong
 * (test/lib/bq_fake.py) and knows no SQL but ours. */
const char *warehouse_connect(void);
const char *warehouse_connect_fake(void);
void warehouse_disconnect(void);

/* Makes an empty dataset and returns the configuration of a destination there. */
json_t *warehouse_fresh(void);
const char *warehouse_dataset(void);

/* Calls a method of the reader; the answer is the caller's. Ends the program with the reader's
 * words when it fails. format: of json_pack, an array: the method's name and its arguments. */
json_t *warehouse_ask(const char *format, ...);
/* The first value of a query as a number; -1 for null or no such table. %D in sql becomes the
 * dataset. */
int64_t warehouse_number(const char *sql);
void warehouse_do(const char *sql);

/* Rows of the table "events". */
int64_t warehouse_rows(void);

/* Scripts a fault, or sets an attribute, at the stand-in (test/lib/google_stub.py); format as in
 * warehouse_ask. Its answer's "count". */
int64_t warehouse_control(const char *format, ...);

#endif
