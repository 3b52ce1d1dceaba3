/* From batches to bytes: the port of the encoders. Pure; an encoder belongs to one thread.
 *
 * Order of calls: head, rows*, tail, close. Each appends to out (whose limit is the caller's: a
 * failed out is TR_INTERNAL). A row that the format cannot take is left out and told to rejects; a
 * row that had to change is counted as repaired, never silently.
 */
#ifndef TR_ENCODE_ENCODE_H
#define TR_ENCODE_ENCODE_H

#include "base/buf.h"
#include "model/projection.h"

struct tr_encode_stats {
    uint64_t rows, rejected, repaired;
};

struct tr_encoder {
    const struct tr_encoder_ops *ops; /* first member of the encoder's struct */
};

struct tr_encoder_ops {
    const char *name;      /* "JSONLines" */
    const char *extension; /* "jsonl" */
    TR_MUST_USE enum tr_rc (*head)(struct tr_encoder *, struct tr_buf *out, struct tr_err *);
    TR_MUST_USE enum tr_rc (*rows)(struct tr_encoder *, const struct tr_batch *, size_t from,
                                   size_t to, struct tr_buf *out, struct tr_reject_sink *rejects,
                                   struct tr_encode_stats *stats, struct tr_err *);
    TR_MUST_USE enum tr_rc (*tail)(struct tr_encoder *, struct tr_buf *out, struct tr_err *);
    void (*close)(struct tr_encoder *);
};

/* One JSON object a line, in the projection's order; times as RFC 3339 text; JSON columns nested.
 */
TR_MUST_USE enum tr_rc tr_encode_jsonl_new(const struct tr_projection *p, struct tr_encoder **ret,
                                           struct tr_err *err);

#endif
