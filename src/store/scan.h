/* A project's events over a closed range, as pieces of packed rows in order: sealed blocks first,
 * then the journal. What is sealed meanwhile is found either way, because the scan only remembers
 * which instant comes next. With who, each event's person too. */
#ifndef TR_STORE_SCAN_H
#define TR_STORE_SCAN_H

#include "store/store_priv.h"
#include "store/who.h"

struct scan {
    struct tr_store *s;
    int32_t project;
    struct tr_range range; /* lo moves on: the next instant that is wanted */
    struct blocks_reader *reader;
    struct journal_cursor cursor;
    struct tr_buf rows; /* the piece; may hold events outside of the range at its ends */
    struct tr_buf prefix, record;

    bool with_who;     /* then, for the piece at hand: */
    uint32_t *numbers; /* of each event in rows: 1 + an index of persons, or 0 */
    size_t n_numbers, cap_numbers;
    struct who_person *persons;
    size_t n_persons, cap_persons;
    struct who who;
    struct asof_ref *list;
    size_t cap_list;
};

/* Checks that the range is closed and above the floor: "store.not_closed", "store.below_floor". */
TR_MUST_USE enum tr_rc scan_open(struct scan *c, struct tr_store *s, int32_t project,
                                 struct tr_range range, bool with_who, struct tr_err *err);
void scan_close(struct scan *c);

enum scan_kind {
    SCAN_END,
    SCAN_ROWS,  /* a piece is in rows */
    SCAN_BLOCK, /* a block comes next: scan_load or scan_skip it */
};
TR_MUST_USE enum tr_rc scan_next(struct scan *c, enum scan_kind *ret, struct block_row *ret_block,
                                 struct tr_err *err);
TR_MUST_USE enum tr_rc scan_load(struct scan *c, const struct block_row *block, struct tr_err *err);
void scan_skip(struct scan *c, const struct block_row *block);

#endif
