#include "os/random.h"

#include <assert.h>
#include <sys/random.h>

#include "os/clock.h"

void tr_random_bytes(void *p, size_t n)
{
    char *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0)
            continue; /* EINTR */
        at += got;
        n -= (size_t)got;
    }
}

struct tr_uuid tr_random_uuid7(void)
{
    uint8_t random[10];
    struct tr_uuid u;

    tr_random_bytes(random, sizeof(random));
    tr_uuid_v7(tr_clock_wall_us() / 1000, random, &u);
    return u;
}

struct tr_uuid tr_random_uuid4(void)
{
    uint8_t random[16];
    struct tr_uuid u;

    tr_random_bytes(random, sizeof(random));
    tr_uuid_v4(random, &u);
    return u;
}

void tr_random_hex(char *out, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[64];

    assert(n <= sizeof(bytes));
    tr_random_bytes(bytes, n);
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}
