/* Blocks: what is packed is unpacked, and no damage passes. */
#include "kit.h"

#include <stdlib.h>
#include <string.h>

#include "model/event.h"
#include "store/who.h"

enum { PERSONS = 3 };

struct fixture {
    ZSTD_CCtx *c;
    ZSTD_DCtx *d;
    struct tr_buf raw, packed, out;
    struct block_row row;
    struct block_layout layout, back;
};

static void init(struct fixture *f, uint32_t n)
{
    *f = (struct fixture){ .c = ZSTD_createCCtx(), .d = ZSTD_createDCtx() };
    tr_buf_init(&f->raw, 1 << 20);
    tr_buf_init(&f->packed, 2 << 20);
    tr_buf_init(&f->out, 2 << 20);
    for (uint32_t i = 0; i < n; i++) {
        struct kit_event e = { .project = 4, .number = i };
        size_t at = f->raw.n;
        kit_pack(&f->raw, &e, i % 50);
        tr_event_stamp(f->raw.p + at, 1000 + 3 * (int64_t)i);
    }
    f->layout = (struct block_layout){ f->raw.n, PERSONS };
    for (uint32_t i = 0; i < n + n % 2; i++) {
        uint32_t number = i < n ? i % (PERSONS + 1) : 0;
        tr_buf_add(&f->raw, &number, sizeof(number));
    }
    for (uint32_t i = 0; i < PERSONS; i++) {
        struct tr_uuid id = { { (uint8_t)(i + 1) } };
        uint32_t length[2] = { i, 0 };
        tr_buf_add(&f->raw, &id, sizeof(id));
        tr_buf_add(&f->raw, length, sizeof(length));
        tr_buf_add(&f->raw, "{\"a\":1}", i == 0 ? 0 : 8); /* i bytes of it are meant */
    }
    f->row =
        (struct block_row){ .project = 4, .n = n, .lo = 1000, .hi = 1000 + 3 * (int64_t)(n - 1) };
    assert_ok(block_pack(f->c, tr_buf_view(&f->raw), &f->layout, &f->row, &f->packed, &err_));
}

static void fini(struct fixture *f)
{
    (void)ZSTD_freeCCtx(f->c);
    (void)ZSTD_freeDCtx(f->d);
    tr_buf_fini(&f->raw);
    tr_buf_fini(&f->packed);
    tr_buf_fini(&f->out);
}

static void a_block_comes_back_as_it_was(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, 300);
    assert_ok(block_unpack(f.d, &f.row, tr_buf_view(&f.packed), &f.out, &f.back, &err_));
    assert_int_equal(f.out.n, f.raw.n);
    assert_memory_equal(f.out.p, f.raw.p, f.raw.n);
    assert_int_equal(f.back.events_bytes, f.layout.events_bytes);
    assert_int_equal(f.back.persons, PERSONS);
    fini(&f);
}

static void its_persons_come_back(void **state)
{
    struct fixture f;
    struct who_person p[PERSONS];

    (void)state;
    for (uint32_t n = 6; n < 8; n++) {
        init(&f, n);
        size_t at = f.layout.events_bytes + block_numbers_bytes(n);
        struct tr_str bytes = { f.raw.p + at, f.raw.n - at };
        assert_true(who_read(bytes, PERSONS, p));
        for (uint8_t i = 0; i < PERSONS; i++) {
            assert_int_equal(p[i].id.b[0], i + 1);
            assert_int_equal(p[i].properties.n, i);
        }
        assert_false(who_read(bytes, PERSONS - 1, p));
        assert_false(who_read((struct tr_str){ bytes.p, bytes.n - 8 }, PERSONS, p));
        fini(&f);
    }
}

static void an_event_of_a_person_who_is_not_there_is_damage(void **state)
{
    struct fixture f;
    struct tr_err err;

    (void)state;
    init(&f, 20);
    f.layout.persons = PERSONS - 1;
    assert_ok(block_pack(f.c, tr_buf_view(&f.raw), &f.layout, &f.row, &f.packed, &err_));
    assert_int_equal(block_unpack(f.d, &f.row, tr_buf_view(&f.packed), &f.out, &f.back, &err),
                     TR_REFUSED);
    assert_string_equal(err.id, "store.damaged");
    fini(&f);
}

static void a_flipped_bit_or_a_cut_end_is_damage(void **state)
{
    struct fixture f;
    struct tr_err err;

    (void)state;
    init(&f, 20);
    for (size_t i = 0; i < f.packed.n; i++) {
        f.packed.p[i] ^= 1;
        assert_int_equal(block_unpack(f.d, &f.row, tr_buf_view(&f.packed), &f.out, &f.back, &err),
                         TR_REFUSED);
        assert_string_equal(err.id, "store.damaged");
        f.packed.p[i] ^= 1;
        struct tr_str cut = { f.packed.p, i };
        assert_int_equal(block_unpack(f.d, &f.row, cut, &f.out, &f.back, &err), TR_REFUSED);
    }
    fini(&f);
}

static void a_row_that_says_something_else_is_damage_even_with_a_right_checksum(void **state)
{
    struct fixture f;
    struct tr_err err;

    (void)state;
    init(&f, 20);
    for (int i = 0; i < 5; i++) {
        struct block_row row = f.row;
        row.project += i == 0;
        row.n += (uint32_t)(i == 1);
        row.lo -= i == 2;
        row.hi += i == 3;
        row.raw_bytes += (uint64_t)(i == 4) * 8;
        assert_int_equal(block_unpack(f.d, &row, tr_buf_view(&f.packed), &f.out, &f.back, &err),
                         TR_REFUSED);
        row.crc = block_crc(&row, tr_buf_view(&f.packed));
        assert_int_equal(block_unpack(f.d, &row, tr_buf_view(&f.packed), &f.out, &f.back, &err),
                         TR_REFUSED);
    }
    fini(&f);
}

static void a_newer_block_is_refused_with_a_hint(void **state)
{
    struct fixture f;
    struct tr_err err;

    (void)state;
    init(&f, 20);
    f.packed.p[4] = BLOCK_FORMAT + 1;
    f.row.crc = block_crc(&f.row, tr_buf_view(&f.packed));
    assert_int_equal(block_unpack(f.d, &f.row, tr_buf_view(&f.packed), &f.out, &f.back, &err),
                     TR_REFUSED);
    assert_string_equal(err.id, "store.newer_format");
    assert_non_null(err.hint);
    fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_comes_back_as_it_was),
        cmocka_unit_test(its_persons_come_back),
        cmocka_unit_test(an_event_of_a_person_who_is_not_there_is_damage),
        cmocka_unit_test(a_flipped_bit_or_a_cut_end_is_damage),
        cmocka_unit_test(a_row_that_says_something_else_is_damage_even_with_a_right_checksum),
        cmocka_unit_test(a_newer_block_is_refused_with_a_hint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
