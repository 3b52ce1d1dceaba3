/* Random bytes from the kernel. */
#ifndef TR_OS_RANDOM_H
#define TR_OS_RANDOM_H

#include <stddef.h>

#include "base/uuid.h"

/* Fills p; the kernel's generator cannot fail once the system is up (asserted). */
void tr_random_bytes(void *p, size_t n);

/* A version 7 id of this instant; safe from any thread. */
struct tr_uuid tr_random_uuid7(void);

struct tr_uuid tr_random_uuid4(void);

/* 2 * n lower-case hex digits and a NUL. */
void tr_random_hex(char *out, size_t n);

#endif
