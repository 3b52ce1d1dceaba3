/* Rows of any model as the JSON lines of test/lib/history.py. */
#ifndef TR_TEST_MODEL_ROWS_H
#define TR_TEST_MODEL_ROWS_H

#include "base/buf.h"
#include "model/batch.h"

/* Writes each row of the batch to standard output: {"row":"<kind>",<the columns that are there>}.
 */
void print_rows(const char *kind, const struct tr_batch *b);

#endif
