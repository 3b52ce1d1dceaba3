/* The key of everything written outside: who wrote it, for which export, where, which telling of
 * which range. Two attempts at one chunk have one key, whatever process they run in. */
#ifndef TR_MODEL_KEY_H
#define TR_MODEL_KEY_H

#include "base/uuid.h"
#include "model/range.h"

struct tr_key {
    struct tr_uuid installation;
    uint32_t epoch; /* of the store: a restored backup starts a new one */
    struct tr_uuid export_id;
    uint64_t target;     /* hash of the target's identity text */
    uint32_t generation; /* 0 the first telling of the range */
    struct tr_range range;
};

enum { TR_KEY_TEXT = 160 };

/* "<installation>/<epoch>/<export>/<target, 16 hex>/<generation>/<lo>-<hi>", NUL-terminated. */
const char *tr_key_format(const struct tr_key *k, char out[TR_KEY_TEXT]);

#endif
