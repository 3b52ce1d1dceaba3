/* What deduplication's own files share. */
#ifndef TR_STORE_DEDUP_PRIV_H
#define TR_STORE_DEDUP_PRIV_H

#include "store/dedup.h"

/* n is 0 at first; NULL without memory. */
struct dedup_set *dedup_set_new(size_t n);
void dedup_set_unref(struct dedup_set *s);

#endif
