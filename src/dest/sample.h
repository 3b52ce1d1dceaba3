/* One row of a model with a value in every column: for the step of a connection test that writes.
 */
#ifndef TR_DEST_SAMPLE_H
#define TR_DEST_SAMPLE_H

#include "model/batch.h"

/* The batch points into it: it must not be moved. */
struct tr_sample {
    struct tr_batch batch;
    struct tr_str text, json, texts;
    double real;
    struct tr_uuid uuid;
    int64_t number, time;
    uint8_t truth;
    uint32_t flags;
};

/* now: the row's instants. */
void tr_sample_fill(struct tr_sample *s, const struct tr_schema *schema, int64_t now);

#endif
