/* The adapter as tests use it: configured from JSON, steps that may fail kept as results. */
#ifndef TR_TEST_PEER_BIGQUERY_LOADER_H
#define TR_TEST_PEER_BIGQUERY_LOADER_H

#include <jansson.h>

#include "dest/bigquery/bigquery.h"
#include "rows.h"

enum { LOADER_REJECTS = 256, LOADER_NOTICES = 64 };

struct loader {
    struct tr_conf *conf;
    struct tr_dest *dest;
    struct tr_err err; /* of the last step that failed */
    struct tr_receipt receipt;
    tr_column_mask used;
    struct tr_notice_sink notice_sink;
    char notices[LOADER_NOTICES][400];
    size_t n_notices;
    struct tr_reject_sink reject_sink;
    struct {
        struct tr_uuid uuid; /* events only */
        size_t row;
        char reason[256];
    } rejects[LOADER_REJECTS];
    size_t n_rejects;
};

/* config: of warehouse_fresh(), changed as the test likes; consumed. The configuration must be
 * valid. */
struct loader *loader_new(json_t *config);
void loader_free(struct loader *l);

struct tr_ctx loader_time(int64_t ms);

/* The adapter's own columns of a model, others of the model where the table has them. */
enum tr_rc loader_prepare(struct loader *l, const struct tr_schema *schema);
enum tr_rc loader_prepare_columns(struct loader *l, const char *const *names);
/* begin, write, commit; aborts when a step fails. */
enum tr_rc loader_deliver(struct loader *l, const struct tr_key *key, const struct tr_batch *b,
                          bool careful);
/* The same, careful when rows were refused, as delivery does it. */
enum tr_rc loader_deliver_all(struct loader *l, const struct tr_key *key, const struct tr_batch *b);
enum tr_rc loader_replace(struct loader *l, const struct tr_key *key, const struct tr_batch *b);
enum tr_rc loader_lookup(struct loader *l, const struct tr_key *key, int64_t ms,
                         enum tr_chunk_state *ret);
bool loader_noticed(const struct loader *l, const char *part);

#endif
