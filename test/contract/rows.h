/* Batches of events for tests of destinations: every column filled, values known. */
#ifndef TR_TEST_CONTRACT_ROWS_H
#define TR_TEST_CONTRACT_ROWS_H

#include "dest/dest.h"
#include "model/batch.h"
#include "model/key.h"
#include "model/projection.h"

struct rows {
    struct tr_batch batch; /* change its values as you like; texts are not owned */
    char *text;            /* what the rows were made with */
};

/* n <= TR_BATCH_ROWS rows of different uuids; seed tells batches apart: row i of one seed is always
 * the same. properties_bytes: about how long the properties are (at least 40). Ends the program
 * when memory runs out. */
struct rows *rows_new(size_t n, uint32_t seed, size_t properties_bytes);
void rows_free(struct rows *r);

/* Every column of the events model under its own name. */
struct tr_projection rows_projection(void);
/* The columns of a list that ends with NULL; of an adapter's defaults. */
struct tr_projection rows_projection_of(const char *const *names);
struct tr_projection rows_projection_default(const struct tr_default_column *columns);
struct tr_projection rows_projection_model(const struct tr_schema *schema,
                                           const struct tr_default_column *columns);

/* A key of an export that no other call of this process, nor of another, has given. */
struct tr_key rows_key(void);
/* Of project 1, as the rows are; alone in its place. */
extern const struct tr_owner rows_owner;
/* The next chunk of the same run. */
struct tr_key rows_key_after(const struct tr_key *key);

#endif
