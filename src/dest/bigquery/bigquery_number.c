/* A float64 as BigQuery writes it: by Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers
 * Quickly and Accurately with Integers", 2010), in the form that its JSON library has
 * (nlohmann/json). Grisu2's digits always read back as the same number, and of 1,000 numbers some
 * have a digit more than the shortest: 67.174118 is written 67.17411800000001. That matters because
 * the type JSON takes a number only when writing it gives the same digits again
 * (google/zetasql, public/json_value.cc: CheckNumberRoundtrip). */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"

__extension__ typedef unsigned __int128 wide;

/* f * 2^e. */
struct binary {
    uint64_t f;
    int e;
};

/* 10^-300, 10^-292 .. 10^324, each rounded to 64 bits; POWER_STEP lets one of them bring any number
 * to an exponent from -60 to -32. */
enum { POWER_FIRST = -300, POWER_STEP = 8, EXPONENT_LEAST = -60 };
static const uint64_t powers[] = {
    UINT64_C(0xab70fe17c79ac6ca), UINT64_C(0xff77b1fcbebcdc4f), UINT64_C(0xbe5691ef416bd60c),
    UINT64_C(0x8dd01fad907ffc3c), UINT64_C(0xd3515c2831559a83), UINT64_C(0x9d71ac8fada6c9b5),
    UINT64_C(0xea9c227723ee8bcb), UINT64_C(0xaecc49914078536d), UINT64_C(0x823c12795db6ce57),
    UINT64_C(0xc21094364dfb5637), UINT64_C(0x9096ea6f3848984f), UINT64_C(0xd77485cb25823ac7),
    UINT64_C(0xa086cfcd97bf97f4), UINT64_C(0xef340a98172aace5), UINT64_C(0xb23867fb2a35b28e),
    UINT64_C(0x84c8d4dfd2c63f3b), UINT64_C(0xc5dd44271ad3cdba), UINT64_C(0x936b9fcebb25c996),
    UINT64_C(0xdbac6c247d62a584), UINT64_C(0xa3ab66580d5fdaf6), UINT64_C(0xf3e2f893dec3f126),
    UINT64_C(0xb5b5ada8aaff80b8), UINT64_C(0x87625f056c7c4a8b), UINT64_C(0xc9bcff6034c13053),
    UINT64_C(0x964e858c91ba2655), UINT64_C(0xdff9772470297ebd), UINT64_C(0xa6dfbd9fb8e5b88f),
    UINT64_C(0xf8a95fcf88747d94), UINT64_C(0xb94470938fa89bcf), UINT64_C(0x8a08f0f8bf0f156b),
    UINT64_C(0xcdb02555653131b6), UINT64_C(0x993fe2c6d07b7fac), UINT64_C(0xe45c10c42a2b3b06),
    UINT64_C(0xaa242499697392d3), UINT64_C(0xfd87b5f28300ca0e), UINT64_C(0xbce5086492111aeb),
    UINT64_C(0x8cbccc096f5088cc), UINT64_C(0xd1b71758e219652c), UINT64_C(0x9c40000000000000),
    UINT64_C(0xe8d4a51000000000), UINT64_C(0xad78ebc5ac620000), UINT64_C(0x813f3978f8940984),
    UINT64_C(0xc097ce7bc90715b3), UINT64_C(0x8f7e32ce7bea5c70), UINT64_C(0xd5d238a4abe98068),
    UINT64_C(0x9f4f2726179a2245), UINT64_C(0xed63a231d4c4fb27), UINT64_C(0xb0de65388cc8ada8),
    UINT64_C(0x83c7088e1aab65db), UINT64_C(0xc45d1df942711d9a), UINT64_C(0x924d692ca61be758),
    UINT64_C(0xda01ee641a708dea), UINT64_C(0xa26da3999aef774a), UINT64_C(0xf209787bb47d6b85),
    UINT64_C(0xb454e4a179dd1877), UINT64_C(0x865b86925b9bc5c2), UINT64_C(0xc83553c5c8965d3d),
    UINT64_C(0x952ab45cfa97a0b3), UINT64_C(0xde469fbd99a05fe3), UINT64_C(0xa59bc234db398c25),
    UINT64_C(0xf6c69a72a3989f5c), UINT64_C(0xb7dcbf5354e9bece), UINT64_C(0x88fcf317f22241e2),
    UINT64_C(0xcc20ce9bd35c78a5), UINT64_C(0x98165af37b2153df), UINT64_C(0xe2a0b5dc971f303a),
    UINT64_C(0xa8d9d1535ce3b396), UINT64_C(0xfb9b7cd9a4a7443c), UINT64_C(0xbb764c4ca7a44410),
    UINT64_C(0x8bab8eefb6409c1a), UINT64_C(0xd01fef10a657842c), UINT64_C(0x9b10a4e5e9913129),
    UINT64_C(0xe7109bfba19c0c9d), UINT64_C(0xac2820d9623bf429), UINT64_C(0x80444b5e7aa7cf85),
    UINT64_C(0xbf21e44003acdd2d), UINT64_C(0x8e679c2f5e44ff8f), UINT64_C(0xd433179d9c8cb841),
    UINT64_C(0x9e19db92b4e31ba9),
};

/* The exponent of 10^k with 64 bits: floor(k * log2(10)) - 63. */
static int power_exponent(int k)
{
    return (k * 108853 >> 15) - 63;
}

static struct binary times(struct binary a, struct binary b)
{
    wide p = (wide)a.f * b.f + ((wide)1 << 63);

    return (struct binary){ (uint64_t)(p >> 64), a.e + b.e + 64 };
}

static struct binary normalized(struct binary a)
{
    while (a.f >> 63 == 0) {
        a.f <<= 1;
        a.e--;
    }
    return a;
}

/* The digits so far, and what is known of the number: the last digits may be anything from low to
 * high, and w is what was meant; all are distances from high. */
struct digits {
    char *p;
    int n;
    uint64_t delta, dist; /* high - low, high - w */
};

/* Lowers the last digit while that comes closer to w. */
static void come_closer(const struct digits *d, uint64_t rest, uint64_t unit)
{
    while (rest < d->dist && d->delta - rest >= unit &&
           (rest + unit < d->dist || d->dist - rest > rest + unit - d->dist)) {
        d->p[d->n - 1]--;
        rest += unit;
    }
}

/* Digits of high, until what is left is within delta; returns the exponent of the last one. high
 * has an exponent from -60 to -32. */
static int generate(struct digits *d, struct binary high)
{
    int shift = -high.e, k = 0;
    uint64_t one = UINT64_C(1) << shift, fraction = high.f & (one - 1);
    uint32_t whole = (uint32_t)(high.f >> shift), unit = 1;

    for (k = 1; whole / unit >= 10; k++)
        unit *= 10;
    for (; k > 0; unit /= 10) {
        d->p[d->n++] = (char)('0' + whole / unit);
        whole %= unit;
        k--;
        uint64_t rest = ((uint64_t)whole << shift) + fraction;
        if (rest <= d->delta) {
            come_closer(d, rest, (uint64_t)unit << shift);
            return k;
        }
    }
    do {
        fraction *= 10;
        d->p[d->n++] = (char)('0' + (fraction >> shift));
        fraction &= one - 1;
        d->delta *= 10;
        d->dist *= 10;
        k--;
    } while (fraction > d->delta);
    come_closer(d, fraction, one);
    return k;
}

/* A positive number: its digits into text, how many, and the exponent of the last one. */
static int shortest(double v, char *text, int *ret_exponent)
{
    uint64_t bits, hidden = UINT64_C(1) << 52;

    memcpy(&bits, &v, sizeof(bits));
    int exponent = (int)(bits >> 52);
    struct binary m = { bits & (hidden - 1), exponent == 0 ? -1074 : exponent - 1075 };
    if (exponent != 0)
        m.f += hidden;
    /* half-way to its neighbours; below a power of two they are closer */
    struct binary plus = normalized((struct binary){ 2 * m.f + 1, m.e - 1 });
    bool closer = m.f == hidden && exponent > 1;
    struct binary minus = { closer ? 4 * m.f - 1 : 2 * m.f - 1, closer ? m.e - 2 : m.e - 1 };
    minus = (struct binary){ minus.f << (minus.e - plus.e), plus.e };

    int need = EXPONENT_LEAST - plus.e - 1;
    int k = need * 78913 / (1 << 18) + (need > 0); /* ceil(need * log10(2)) */
    int i = (k - POWER_FIRST + POWER_STEP - 1) / POWER_STEP;
    k = POWER_FIRST + i * POWER_STEP;
    struct binary power = { powers[i], power_exponent(k) };
    struct binary w = times(normalized(m), power), high = times(plus, power);
    uint64_t low = times(minus, power).f + 1; /* what was rounded is a unit off at most */

    high.f--;
    struct digits d = { text, 0, high.f - low, high.f - w.f };
    *ret_exponent = generate(&d, high) - k;
    return d.n;
}

/* The digits with their point, or with an exponent where they would be too far from it. */
static int place_point(const char *digits, int n, int exponent, char *out)
{
    int point = n + exponent; /* digits before it */

    if (exponent >= 0 && point <= 15)
        return snprintf(out, BQ_NUMBER - 1, "%.*s%.*s.0", n, digits, exponent, "000000000000000");
    if (point > 0 && point <= 15)
        return snprintf(out, BQ_NUMBER - 1, "%.*s.%.*s", point, digits, n - point, digits + point);
    if (point > -4 && point <= 0)
        return snprintf(out, BQ_NUMBER - 1, "0.%.*s%.*s", -point, "000", n, digits);
    int used = n == 1 ? snprintf(out, BQ_NUMBER - 1, "%c", digits[0])
                      : snprintf(out, BQ_NUMBER - 1, "%c.%.*s", digits[0], n - 1, digits + 1);
    return used + snprintf(out + used, (size_t)(BQ_NUMBER - 1 - used), "e%c%02d",
                           point - 1 < 0 ? '-' : '+', point - 1 < 0 ? 1 - point : point - 1);
}

size_t bq_number(double v, char out[BQ_NUMBER])
{
    char digits[20];
    uint64_t bits;
    int n = 0, exponent = 0;

    memcpy(&bits, &v, sizeof(bits));
    if (bits >> 63 != 0)
        *out = '-';
    char *text = out + (bits >> 63);
    bits &= UINT64_MAX >> 1;
    if (bits == 0) {
        (void)strcpy(text, "0.0");
        return 3 + (size_t)(text - out);
    }
    memcpy(&v, &bits, sizeof(v));
    n = shortest(v, digits, &exponent);
    return (size_t)place_point(digits, n, exponent, text) + (size_t)(text - out);
}
