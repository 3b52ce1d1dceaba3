/* The parts of a verification. Private to this folder.
 *
 * The range is walked in pieces: an interval of the export's schedule, grown until no delivered
 * chunk lies across its ends (runs that caught up cover several), several intervals together where
 * there are very many. Each piece gets one verdict.
 */
#ifndef TR_DELIVERY_VERIFY_PRIV_H
#define TR_DELIVERY_VERIFY_PRIV_H

#include "delivery/delivery_priv.h"

/* A delivered range that meets the piece, and the chunk that it belongs to. */
struct telling {
    struct tr_delivered d;
    struct tr_chunk chunk; /* its account; rows 0 when unknown */
    bool known;            /* the chunk's account was found */
    bool whole;         /* nothing of the chunk was replaced since: the account speaks of d.range */
    int64_t first_from; /* what lies before was told by an earlier one in the list (append) */
};

struct verify {
    const struct tr_ctx *cx;
    const struct tr_delivery *d;
    struct tr_export *export;
    struct tr_conf *conf;
    const struct tr_dest_ops *ops;
    struct tr_dest *dest; /* recount only; else NULL */
    int64_t now, closed, cursor;
    struct ranges due; /* what somebody asked for: from where the export began, and backfills */

    struct tr_uuid plan_of; /* the run whose plan is at hand */
    struct tr_chunk *plan;
    size_t n_plan;

    struct telling *tellings; /* of the present piece, by range.lo */
    size_t n_tellings, cap_tellings;
};

/* verify_recount.c: asks the destination for every event of the tellings. Sets expected_there,
 * found_there, copies_there. */
TR_MUST_USE enum tr_rc verify_open_dest(struct verify *v, struct tr_err *err);
TR_MUST_USE enum tr_rc verify_recount(struct verify *v, struct tr_verdict *verdict,
                                      struct tr_err *err);

/* verify_tellings.c: the tellings of a piece; piece grows to whole chunks. */
TR_MUST_USE enum tr_rc verify_tellings(struct verify *v, struct tr_range *piece,
                                       struct tr_err *err);

#endif
