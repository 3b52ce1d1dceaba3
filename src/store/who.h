/* The persons that a piece of events belongs to: each once, numbered from 1; 0 is nobody.
 *
 * They stand one after the other in the form in which blocks keep them: id, length of the
 * properties (uint32), zeros (uint32), properties, filled up to eight.
 */
#ifndef TR_STORE_WHO_H
#define TR_STORE_WHO_H

#include "store/asof.h"

struct who {
    struct tr_buf persons;
    struct asof_window window;
    size_t n;
    /* Where each came from, by a hash of it: */
    struct who_slot {
        uint64_t file;
        uint32_t at8, number;
    } * slots;
    size_t n_slots;
};

void who_init(struct who *w, size_t max_bytes);
void who_fini(struct who *w);
void who_clear(struct who *w);

/* The number of a person, who is read when he is new. */
TR_MUST_USE enum tr_rc who_add(struct who *w, const struct asof_file *f, struct asof_ref ref,
                               uint32_t *ret, struct tr_err *err);

/* Appends a person in that form; id is followed by n bytes of properties. */
void who_put(struct tr_buf *out, const char *id, uint32_t n);
/* The same, read from where it stands. */
TR_MUST_USE enum tr_rc who_append(struct tr_buf *out, const struct asof_file *f,
                                  struct asof_ref ref, struct asof_window *window,
                                  struct tr_err *err);

/* What who_add would make longer by a person with so many bytes of properties. */
static inline size_t who_bytes(size_t properties_n)
{
    return sizeof(struct tr_uuid) + 8 + ((properties_n + 7) & ~(size_t)7);
}

struct who_person {
    struct tr_uuid id;
    struct tr_str properties;
};

/* Takes n persons apart: views into bytes. False when that is not what the bytes hold. */
TR_MUST_USE bool who_read(struct tr_str bytes, size_t n, struct who_person *ret);

#endif
