/* Where rows come from: the port. Adapters: store.c (the embedded store).
 *
 * Contract: a range that is closed is STABLE when the source says so: reading it again gives the
 * same events in the same order. Calls may come from several threads at once; a stream belongs to
 * one.
 *
 * Mutable models are read by change: a row belongs to the instant of its last change, and is read
 * in its newest state. A row that changes again leaves its old range for a later one, so a range
 * can only lose rows, and one row's change never moves another. No row appears in a closed range.
 */
#ifndef TR_SOURCE_SOURCE_H
#define TR_SOURCE_SOURCE_H

#include "model/batch.h"
#include "model/ctx.h"
#include "store/store.h" /* struct tr_part, struct tr_counts: the nouns are shared */

enum { TR_SOURCE_STABLE = 1 << 0 };

struct tr_source {
    const struct tr_source_ops *ops;
};
struct tr_stream {
    const struct tr_stream_ops *ops;
};

struct tr_stream_ops {
    /* The next batch (the stream's own memory, valid until the next call), NULL at the end. */
    TR_MUST_USE enum tr_rc (*next)(const struct tr_ctx *, struct tr_stream *, struct tr_batch **ret,
                                   struct tr_err *);
    void (*close)(struct tr_stream *);
};

struct tr_source_ops {
    const char *name;
    uint32_t caps;

    /* Asks for the clock to be closed through t; true when it is. Does not wait. */
    bool (*close_through)(struct tr_source *, int64_t t);
    /* Up to where it is closed, without asking for more. */
    int64_t (*closed_through)(struct tr_source *);
    int64_t (*now)(struct tr_source *);
    int64_t (*floor)(struct tr_source *);

    TR_MUST_USE enum tr_rc (*plan)(const struct tr_ctx *, struct tr_source *, int32_t project,
                                   const struct tr_schema *, struct tr_range, uint64_t max_rows,
                                   uint64_t max_bytes, struct tr_part *ret, size_t cap,
                                   size_t *ret_n, int64_t *ret_covered_hi, struct tr_err *);
    TR_MUST_USE enum tr_rc (*read)(const struct tr_ctx *, struct tr_source *, int32_t project,
                                   const struct tr_schema *, struct tr_range, tr_column_mask,
                                   struct tr_stream **ret, struct tr_err *);
    /* Of events. */
    TR_MUST_USE enum tr_rc (*counts)(struct tr_source *, int32_t project, struct tr_range,
                                     struct tr_counts *ret, struct tr_err *);
    TR_MUST_USE enum tr_rc (*extent)(struct tr_source *, int32_t project, const struct tr_schema *,
                                     struct tr_range, bool *ret_any, int64_t *ret_first,
                                     int64_t *ret_last, struct tr_err *);
    void (*close)(struct tr_source *);
};

#endif
