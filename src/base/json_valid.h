/* Walks an object or array that is known to be valid JSON, at a fraction of the scanner's price.
 *
 * What is stored was scanned once (base/json.h) and need not be checked again: no UTF-8, no
 * numbers, no escapes are looked at here. Of bytes that are no JSON the walk makes what it can; it
 * ends, and it never reads beyond them. Pure; one walk belongs to one thread.
 */
#ifndef TR_BASE_JSON_VALID_H
#define TR_BASE_JSON_VALID_H

#include "base/json.h"

struct tr_json_valid {
    const char *p, *end;
    /* Of an object: the 64 bytes at block, with a bit for each quote that stands for itself and was
     * not passed yet. */
    const char *block;
    uint64_t quotes;
    bool carry;   /* the last byte of the block escapes the one behind it */
    bool escapes; /* some byte so far was a backslash */
};

/* Stands inside the object or array, before its first member. text is that one value. False when it
 * is of another type. */
TR_MUST_USE bool tr_json_valid_object(struct tr_json_valid *w, struct tr_str text);
TR_MUST_USE bool tr_json_valid_array(struct tr_json_valid *w, struct tr_str text);

/* The next member or element; false behind the last one. Type and raw bytes are those the scanner
 * gives; of the flags only TR_JSON_ESCAPES is told, and no depth. */
TR_MUST_USE bool tr_json_valid_member(struct tr_json_valid *w, struct tr_json_value *ret_key,
                                      struct tr_json_value *ret_value);
TR_MUST_USE bool tr_json_valid_element(struct tr_json_valid *w, struct tr_json_value *ret_value);

#endif
