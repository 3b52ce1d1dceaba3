#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

/* RFC 3720, appendix B.4; the last one is the check value of the CRC catalogues. */
static void computes_crc32c(void **state)
{
    uint8_t bytes[32];

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(tr_crc32c(0, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xFF, sizeof(bytes));
    assert_int_equal(tr_crc32c(0, bytes, 32), 0x62A8AB43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(tr_crc32c(0, bytes, 32), 0x46DD794E);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(tr_crc32c(0, bytes, 32), 0x113FDB5C);
    assert_int_equal(tr_crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(tr_crc32c(0, NULL, 0), 0);
}

static void goes_on_from_any_place(void **state)
{
    uint8_t bytes[100];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37);
    uint32_t whole = tr_crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
        uint32_t head = tr_crc32c(0, bytes, cut);
        assert_int_equal(tr_crc32c(head, bytes + cut, sizeof(bytes) - cut), whole);
    }
}

/* XXH3 of nothing with seed 0, from its specification. */
static void hashes(void **state)
{
    (void)state;
    assert_true(tr_hash64("", 0, 0) == UINT64_C(0x2D06800538D394C2));
    assert_true(tr_hash64("a", 1, 0) != tr_hash64("b", 1, 0));
    assert_true(tr_hash64("a", 1, 0) != tr_hash64("a", 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_crc32c),
        cmocka_unit_test(goes_on_from_any_place),
        cmocka_unit_test(hashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
