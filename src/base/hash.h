/* Hashes and checksums. */
#ifndef TR_BASE_HASH_H
#define TR_BASE_HASH_H

#include <stdint.h>

#include "base/str.h"

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the SSE 4.2 instruction where there is one.
 * crc is 0 to start, or the result so far to go on. */
uint32_t tr_crc32c(uint32_t crc, const void *p, size_t n);

/* XXH3, 64 bits. For tables and comparisons, never for security. */
uint64_t tr_hash64(const void *p, size_t n, uint64_t seed);

#endif
