#include "base/hash.h"

#include <stdbool.h>
#include <xxhash.h>

enum { POLY = (int)0x82F63B78 }; /* reversed Castagnoli polynomial */

static uint32_t crc_byte(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ ((crc & 1) != 0 ? (uint32_t)POLY : 0);
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *p,
                                                            size_t n)
{
    uint64_t c = crc;

    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    for (; n > 0; n--, p++)
        c = _mm_crc32_u8((uint32_t)c, *p);
    return (uint32_t)c;
}

static bool has_sse42(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}
#endif

uint32_t tr_crc32c(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    crc = ~crc;
#if defined(__x86_64__)
    if (has_sse42())
        return ~crc_sse42(crc, p, n);
#endif
    for (size_t i = 0; i < n; i++)
        crc = crc_byte(crc, p[i]);
    return ~crc;
}

uint64_t tr_hash64(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}
