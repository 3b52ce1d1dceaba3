/* The destination "BigQuery": rows into a BigQuery table by load jobs, over the REST API.
 *
 * What makes a chunk count is a job whose id is made from the chunk's key: BigQuery takes each id
 * once. Rows of events are loaded straight into the table; of models that change they are loaded
 * into a table that lasts some hours, and merged from there. docs/destinations/bigquery.md is the
 * page for people.
 */
#ifndef TR_DEST_BIGQUERY_BIGQUERY_H
#define TR_DEST_BIGQUERY_BIGQUERY_H

#include "dest/dest.h"

extern const struct tr_dest_ops tr_dest_bigquery_ops;
extern const struct tr_dest_ops
    tr_dest_bigquery_live_ops; /* its live functions: rows are streamed */

#endif
