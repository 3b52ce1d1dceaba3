/* The contract suite of the destination port: one program, run for every adapter.
 *
 * dest.c holds the tests; an adapter adds one file that says how to make an empty place and how to
 * look at it without the adapter's own code, and one line in main.c.
 */
#ifndef TR_TEST_CONTRACT_CONTRACT_H
#define TR_TEST_CONTRACT_CONTRACT_H

#include <jansson.h>

#include "dest/dest.h"

struct contract_place {
    const struct tr_dest_ops *ops;
    const char *name;    /* NULL: the adapter's */
    size_t widest_bytes; /* of a row's properties; 0: 10 MB */
    /* Once, before all. NULL: ready; else why these tests must be skipped. */
    const char *(*setup)(void);
    void (*teardown)(void);
    /* The configuration of a place that is empty and nobody else's. The caller releases it. */
    json_t *(*fresh)(void);
    bool default_columns; /* the adapter's own list instead of every column of the model */
    /* Rows in the place that fresh() made last, and those with this uuid. */
    int64_t (*rows)(void);
    int64_t (*copies)(const struct tr_uuid *uuid);
    /* The properties of that row hold the same as this JSON. */
    bool (*properties_are)(const struct tr_uuid *uuid, struct tr_str json);
};

extern const struct contract_place contract_bigquery, contract_bigquery_live, contract_file,
    contract_postgres;

/* Runs the tests as one cmocka group. */
int contract_dest(const struct contract_place *place);

#endif
