/* The embedded store as a source. */
#ifndef TR_SOURCE_STORE_H
#define TR_SOURCE_STORE_H

#include "source/source.h"

/* The store stays the caller's and must outlive the source. */
TR_MUST_USE enum tr_rc tr_source_store_new(struct tr_store *store, struct tr_source **ret,
                                           struct tr_err *err);

#endif
