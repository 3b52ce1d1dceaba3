/* What the files of asof share. */
#ifndef TR_STORE_ASOF_PRIV_H
#define TR_STORE_ASOF_PRIV_H

#include "store/asof.h"

enum { ASOF_PATH = 4096 };

#define ASOF_FILE_MAGIC "TRASOF\n"
#define ASOF_MAGIC      UINT32_C(0x464F5341) /* "ASOF" */

/* A file begins with this; so no record stands at 0. */
struct asof_file_head {
    char magic[8];
    uint32_t format;
    uint32_t reserved;
};

enum asof_type { ASOF_PERSON = 1, ASOF_LIST = 2 };

/* Then `bytes` of payload, filled up to eight: of a person its id and its properties, of a list a
 * struct asof_ref for each event. */
struct asof_head {
    uint32_t magic;
    uint32_t crc; /* of the head with this 0, and of the payload */
    uint32_t type;
    uint32_t bytes;
    uint64_t seq; /* of a list: the journal record */
};

_Static_assert(sizeof(struct asof_file_head) == 16, "a format on disk");
_Static_assert(sizeof(struct asof_head) == 24, "a format on disk");
_Static_assert(sizeof(struct asof_ref) == 8, "a format on disk");

static inline size_t asof_padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* One payload in two parts. */
uint32_t asof_crc(const struct asof_head *h, const void *p, size_t n, const void *q, size_t m);

void asof_path(const struct asof *a, const char *name, char out[ASOF_PATH]);
struct asof_file *asof_file_new(uint64_t id);
TR_MUST_USE enum tr_rc asof_file_mark(struct asof_file *f, uint64_t seq, uint64_t at,
                                      struct tr_err *err);
/* Puts f at the end of the list; takes it over on success. */
TR_MUST_USE enum tr_rc asof_add_file(struct asof *a, struct asof_file *f, struct tr_err *err);

/* asof_open.c: what the last process left, as far as it counts. */
TR_MUST_USE enum tr_rc asof_recover(struct asof *a, uint64_t sealed_seq, uint64_t applied_seq,
                                    bool remove, struct tr_err *err);

#endif
