#include "base/uuid.h"

#include <openssl/sha.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool tr_uuid_parse(struct tr_str s, struct tr_uuid *ret)
{
    struct tr_uuid u;
    size_t at = 0;

    if (s.n == 45 && tr_str_starts(s, TR_STR("urn:uuid:")))
        s = (struct tr_str){ s.p + 9, s.n - 9 };
    else if (s.n == 38 && s.p[0] == '{' && s.p[37] == '}')
        s = (struct tr_str){ s.p + 1, 36 };
    if (s.n != 36 && s.n != 32)
        return false;
    for (size_t i = 0; i < TR_UUID_BYTES; i++) {
        if (s.n == 36 && (i == 4 || i == 6 || i == 8 || i == 10) && s.p[at++] != '-')
            return false;
        int hi = hex_value(s.p[at]);
        int lo = hex_value(s.p[at + 1]);
        if (hi < 0 || lo < 0)
            return false;
        u.b[i] = (uint8_t)(hi << 4 | lo);
        at += 2;
    }
    *ret = u;
    return true;
}

void tr_uuid_format(const struct tr_uuid *u, char out[TR_UUID_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < TR_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        out[at++] = hex[u->b[i] >> 4];
        out[at++] = hex[u->b[i] & 15];
    }
    out[at] = '\0';
}

static void set_version(struct tr_uuid *u, int version)
{
    u->b[6] = (uint8_t)((u->b[6] & 0x0F) | version << 4);
    u->b[8] = (uint8_t)((u->b[8] & 0x3F) | 0x80);
}

void tr_uuid_v5(const struct tr_uuid *space, const void *name, size_t n, struct tr_uuid *ret)
{
    tr_uuid_v5_joined(space, (struct tr_str){ name, n }, (struct tr_str){ NULL, 0 }, ret);
}

void tr_uuid_v5_joined(const struct tr_uuid *space, struct tr_str first, struct tr_str second,
                       struct tr_uuid *ret)
{
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA_CTX sha;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* EVP costs an allocation per event */
    SHA1_Init(&sha);
    SHA1_Update(&sha, space->b, TR_UUID_BYTES);
    if (first.n > 0)
        SHA1_Update(&sha, first.p, first.n);
    if (second.n > 0)
        SHA1_Update(&sha, second.p, second.n);
    SHA1_Final(digest, &sha);
#pragma GCC diagnostic pop
    memcpy(ret->b, digest, TR_UUID_BYTES);
    set_version(ret, 5);
}

void tr_uuid_v7(int64_t unix_ms, const uint8_t random[10], struct tr_uuid *ret)
{
    uint64_t ms = (uint64_t)unix_ms;

    for (int i = 0; i < 6; i++)
        ret->b[i] = (uint8_t)(ms >> (40 - 8 * i));
    memcpy(ret->b + 6, random, 10);
    set_version(ret, 7);
}

void tr_uuid_v4(const uint8_t random[16], struct tr_uuid *ret)
{
    memcpy(ret->b, random, TR_UUID_BYTES);
    set_version(ret, 4);
}
