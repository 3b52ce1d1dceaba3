/* The persons that the events of a piece belong to, for the sealer.
 *
 * All of them are read at once, in the order of their places, so that what stands close together
 * costs one read; then each block takes those that its events name.
 */
#ifndef TR_STORE_CROWD_H
#define TR_STORE_CROWD_H

#include "store/asof.h"

struct crowd_person {
    struct asof_ref ref;
    uint32_t file; /* of the files that crowd_read was given */
    uint32_t number;
    uint32_t block; /* number is of this one */
    size_t at;      /* in kept; SIZE_MAX: there was no room */
};

/* An event, and whose it is. */
struct crowd_event {
    struct asof_ref ref;
    uint32_t file;
    uint32_t person; /* crowd_read sets it: from 1, 0 is nobody */
};

struct crowd {
    struct crowd_person *persons;
    size_t n, cap;
    struct tr_buf kept; /* persons in the form of blocks (store/who.h) */
    struct crowd_order {
        uint64_t place;
        uint32_t event;
    } * order;
    size_t cap_order;
    struct tr_buf run; /* what was read at once */

    /* The block at hand: */
    uint32_t block;
    uint32_t *named; /* its persons, by number */
    size_t n_named, cap_named, named_bytes;
};

void crowd_init(struct crowd *c);
void crowd_fini(struct crowd *c);

/* Forgets the last piece; files must stay until the next call. */
TR_MUST_USE enum tr_rc crowd_read(struct crowd *c, struct asof_file *const *files,
                                  struct crowd_event *events, size_t n, struct tr_err *err);

void crowd_begin_block(struct crowd *c);
/* What crowd_add could make the block's persons longer by. */
size_t crowd_bytes(const struct crowd *c, uint32_t person);
/* The number of a person within the block, which he is given when he is new there. */
TR_MUST_USE enum tr_rc crowd_add(struct crowd *c, uint32_t person, uint32_t *ret,
                                 struct tr_err *err);
/* The block's persons, n_named of them in named_bytes. */
TR_MUST_USE enum tr_rc crowd_write(const struct crowd *c, struct asof_file *const *files,
                                   struct tr_buf *out, struct tr_err *err);

#endif
