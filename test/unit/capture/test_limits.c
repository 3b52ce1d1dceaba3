/* What a request may cost. */
#include "request.h"

#include "pack.h"

#define EVENT "{\"event\":\"a\",\"distinct_id\":\"u\"}"

/* An envelope whose text has exactly n bytes. */
static struct packed body_of(size_t n)
{
    static const char head[] = "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "]";
    struct packed out = { malloc(n), n };

    memset(out.p, ' ', n);
    memcpy(out.p, head, sizeof(head) - 1);
    out.p[n - 1] = '}';
    return out;
}

static struct packed lz64_bomb(void)
{
    /* The letter a, then codes that each name the word made last: 1 + 2 + 3 + .. letters. */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct packed out = { malloc(100000), 0 };
    unsigned digit = 0;
    unsigned have = 0;
    unsigned width = 2;
    unsigned grow_in = 4;

    for (unsigned i = 0, next = 4; i < 10000; i++) {
        unsigned value = i == 0 ? 0 : i == 1 ? 'a' : next++;
        unsigned bits = i == 1 ? 8 : width;
        for (unsigned b = 0; b < bits; b++) {
            digit = digit << 1 | (value >> b & 1);
            if (++have == 6) {
                out.p[out.n++] = digits[digit];
                digit = have = 0;
            }
        }
        if (i == 0)
            width = 3;
        else if (i > 1 && --grow_in == 0)
            grow_in = 1u << width++;
    }
    return out;
}

static void inflates_up_to_the_limit(void **state)
{
    static const struct {
        const char *name;
        size_t over;
        enum tr_rc rc;
    } cases[] = { { "as large as allowed", 0, TR_OK },
                  { "one byte more", 1, TR_INVALID },
                  { "much more", 30 << 20, TR_INVALID } };
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int how = 0; how < 6; how++) {
            static const char *const names[] = { "plain",  "gzip", "zstd",
                                                 "base64", "form", "gzip of gzip" };
            struct packed b = body_of(q.in.max_inflated + cases[i].over);
            struct packed text = b;

            print_message("  %s, %s\n", names[how], cases[i].name);
            if (how == 1 || how == 5)
                text = pack_deflate(b.p, b.n, PACK_GZIP);
            else if (how == 2)
                text = pack_zstd(b.p, b.n);
            else if (how == 3 || how == 4)
                text = pack_base64(b.p, b.n, "+/", 1);
            if (how == 4)
                text = pack_form("data=", text, 0);
            if (how == 5) {
                struct packed once = text;
                text = pack_deflate(once.p, once.n, PACK_GZIP);
                free(once.p);
            }
            if (request_send_bytes(&q, text.p, text.n) != cases[i].rc)
                fail_msg("%d %s", (int)q.rc, q.err.cause);
            if (cases[i].rc != TR_OK) {
                assert_string_equal(q.err.id, "capture.too_large");
                assert_string_equal(q.err.cause,
                                    "the decoded body is larger than the limit of 1048576 bytes");
            }
            if (text.p != b.p)
                free(text.p);
            free(b.p);
        }
    }
    struct packed bomb = lz64_bomb();
    q.in.query = TR_STR("compression=lz64");
    assert_int_equal(request_send_bytes(&q, bomb.p, bomb.n), TR_INVALID);
    assert_string_equal(q.err.id, "capture.too_large");
    free(bomb.p);
    request_fini(&q);
}

/* A small limit and a large bomb: what is allocated stays near the limit. */
static void charges_while_it_inflates(void **state)
{
    struct request q;
    struct tr_budget budget;
    struct packed b = body_of(8 << 20);
    struct packed gz = pack_deflate(b.p, b.n, PACK_GZIP);

    (void)state;
    request_init(&q);
    q.in.max_inflated = 16 << 20;
    q.in.budget = &budget;

    tr_budget_init(&budget, 32 << 20);
    assert_int_equal(request_send_bytes(&q, gz.p, gz.n), TR_OK);
    assert_int_equal(budget.used, 0);

    /* Somebody else holds nearly all of it. */
    tr_budget_force(&budget, 30 << 20);
    assert_int_equal(request_send_bytes(&q, gz.p, gz.n), TR_THROTTLED);
    assert_true(q.out.no_memory_now);
    assert_string_equal(q.err.id, "capture.no_memory_now");
    assert_int_equal(budget.used, 30 << 20);

    /* Small bodies live in memory that is always there. */
    tr_budget_force(&budget, 2 << 20);
    struct packed s = body_of(100000);
    struct packed s_gz = pack_deflate(s.p, s.n, PACK_GZIP);
    assert_int_equal(request_send_bytes(&q, s_gz.p, s_gz.n), TR_OK);
    assert_int_equal(budget.used, 32 << 20);

    tr_budget_give(&budget, 32 << 20);
    assert_int_equal(request_send_bytes(&q, gz.p, gz.n), TR_OK);
    assert_int_equal(budget.used, 0);

    /* Larger than the whole budget: it goes through when it is alone, and waits when it is not. */
    budget.max = 1 << 20;
    assert_int_equal(request_send_bytes(&q, gz.p, gz.n), TR_OK);
    assert_int_equal(budget.used, 0);
    tr_budget_force(&budget, 1);
    assert_int_equal(request_send_bytes(&q, gz.p, gz.n), TR_THROTTLED);
    assert_int_equal(budget.used, 1);
    tr_budget_give(&budget, 1);

    /* A damaged one gives back too. */
    gz.p[gz.n / 2] ^= 0x55;
    assert_int_equal(request_send_bytes(&q, gz.p, gz.n), TR_INVALID);
    assert_int_equal(budget.used, 0);
    free(s_gz.p);
    free(s.p);
    free(gz.p);
    free(b.p);
    request_fini(&q);
}

static void refuses_an_event_over_its_limit_by_number(void **state)
{
    struct request q;
    struct tr_buf body;

    (void)state;
    request_init(&q);
    q.in.max_event_bytes = 1000;
    tr_buf_init(&body, 1 << 20);
    for (int where = 0; where < 4; where++) {
        static const char *const fields[] = { "\"properties\":{\"x\":\"%s\"}",
                                              "\"$set\":{\"x\":\"%s\"}", "\"event\":\"%s\"",
                                              "\"ignored\":\"%s\"" };
        char big[1001];
        memset(big, 'x', 1000);
        big[1000] = '\0';
        tr_buf_clear(&body);
        tr_buf_z(&body, "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "," EVENT
                        ",{\"event\":\"a\",\"distinct_id\":\"u\",");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        tr_buf_printf(&body, fields[where], big);
#pragma GCC diagnostic pop
        tr_buf_z(&body, "}]}");
        size_t before = q.rows.n;
        (void)request_send_bytes(&q, body.p, body.n);
        if (where >= 2) { /* what is cut or not kept does not count */
            assert_int_equal(q.rc, TR_OK);
            continue;
        }
        assert_int_equal(q.rc, TR_INVALID);
        assert_string_equal(q.err.id, "capture.too_large");
        assert_string_equal(q.err.cause, "batch[2] is larger than the limit of 1000 bytes");
        assert_int_equal(q.rows.n, before);
    }
    tr_buf_fini(&body);
    request_fini(&q);
}

/* An event of exactly the limit: packed bytes count. */
static void counts_packed_bytes(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    assert_int_equal(request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "]}"), TR_OK);
    q.in.max_event_bytes = q.rows.n;
    assert_int_equal(request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "]}"), TR_OK);
    q.in.max_event_bytes--;
    assert_int_equal(request_send(&q, "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "]}"),
                     TR_INVALID);
    request_fini(&q);
}

static void asks_to_wait_when_the_rows_are_full(void **state)
{
    static const char body[] = "{\"api_key\":\"phc_one\",\"batch\":[" EVENT "," EVENT "]}";
    struct request q;

    (void)state;
    request_init(&q);
    q.rows.max = 600;
    assert_int_equal(request_send(&q, body), TR_OK);
    size_t n = q.rows.n;
    assert_int_equal(request_send(&q, body), TR_OK);
    assert_int_equal(q.rows.n, 2 * n);
    /* Other requests' events are in the way: later there will be room. */
    assert_int_equal(request_send(&q, body), TR_THROTTLED);
    assert_true(q.out.no_memory_now);
    assert_int_equal(q.rows.n, 2 * n);
    assert_false(q.rows.failed);
    /* Its own alone are too many. */
    q.rows.n = 0;
    q.rows.max = n - 8;
    tr_buf_fini(&q.rows);
    assert_int_equal(request_send(&q, body), TR_INVALID);
    assert_string_equal(q.err.id, "capture.too_large");
    assert_int_equal(q.rows.n, 0);
    request_fini(&q);
}

static void uses_scratch_again_and_again(void **state)
{
    struct request q;
    struct packed b = body_of(1 << 20);
    struct packed gz = pack_deflate(b.p, b.n, PACK_GZIP);

    (void)state;
    request_init(&q);
    for (int i = 0; i < 50; i++) {
        q.rows.n = 0;
        assert_int_equal(request_send_bytes(&q, gz.p, i % 3 == 0 ? gz.n / 2 : gz.n),
                         i % 3 == 0 ? TR_INVALID : TR_OK);
        assert_int_equal(request_send(&q, "{\"api_key\":\"phc_two\",\"batch\":[" EVENT "]}"),
                         TR_OK);
        assert_int_equal(request_event(&q, 0).project, 2);
    }
    free(gz.p);
    free(b.p);
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inflates_up_to_the_limit),
        cmocka_unit_test(charges_while_it_inflates),
        cmocka_unit_test(refuses_an_event_over_its_limit_by_number),
        cmocka_unit_test(counts_packed_bytes),
        cmocka_unit_test(asks_to_wait_when_the_rows_are_full),
        cmocka_unit_test(uses_scratch_again_and_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
