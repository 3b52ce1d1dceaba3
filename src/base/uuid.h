/* UUIDs (RFC 9562) as 16 bytes in network order. */
#ifndef TR_BASE_UUID_H
#define TR_BASE_UUID_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { TR_UUID_BYTES = 16, TR_UUID_TEXT = 37 };

struct tr_uuid {
    uint8_t b[TR_UUID_BYTES];
};

/* 8-4-4-4-12 hex digits in any case, also without dashes, in braces or with urn:uuid: before it
 * (what real SDKs and their languages print). Any version, nil included. */
TR_MUST_USE bool tr_uuid_parse(struct tr_str s, struct tr_uuid *ret);

static inline bool tr_uuid_is_nil(const struct tr_uuid *u)
{
    static const struct tr_uuid nil;

    return memcmp(u, &nil, sizeof(nil)) == 0;
}

/* Lower case, with dashes, NUL-terminated. */
void tr_uuid_format(const struct tr_uuid *u, char out[TR_UUID_TEXT]);

/* Version 5: SHA-1 of the namespace and name. */
void tr_uuid_v5(const struct tr_uuid *space, const void *name, size_t n, struct tr_uuid *ret);

/* The same of a name in two parts, as if they stood together. */
void tr_uuid_v5_joined(const struct tr_uuid *space, struct tr_str first, struct tr_str second,
                       struct tr_uuid *ret);

/* Version 7 of a Unix time in milliseconds and ten random bytes. */
void tr_uuid_v7(int64_t unix_ms, const uint8_t random[10], struct tr_uuid *ret);

/* Version 4 of sixteen random bytes. */
void tr_uuid_v4(const uint8_t random[16], struct tr_uuid *ret);

#endif
