/* Every allocation fails once: the request is answered as "out of memory", never as the client's
 * fault, nothing of it stays in the rows, and the scratch works on. Linked with --wrap. */
#include "request.h"

#include "pack.h"

static size_t countdown; /* 0: nothing fails */
static bool hit;

static bool fails(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    hit = true;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

/* Something of everything: escapes, merges, bare words, no uuid, a second project's token. */
#define BODY                                                                                       \
    "{\"batch\":[{\"\\u0065vent\":\"\\u0061\",\"distinct_id\":\"\\u0075\",\"uuid\":\"\\u0030\","   \
    "\"timestamp\":\"2026\\u002d11-21\",\"$set\":{\"a\":NaN},\"properties\":{\"\\u0024set\":"      \
    "{\"\\u0062\":1}}},{\"event\":\"b\",\"distinct_id\":[NaN]}],\"sent_at\":\"2026\\u002d11-21\"," \
    "\"api_key\":\"phc\\u005fone\"}"

static void fails_cleanly_at_every_allocation(void **state)
{
    struct packed gz = pack_deflate(BODY, sizeof(BODY) - 1, PACK_GZIP);
    struct packed b64 = pack_base64(gz.p, gz.n, "+/", 1);
    struct packed form = pack_form("data=", b64, 1);
    size_t n = 1;

    (void)state;
    for (;; n++) {
        struct request q;

        request_init(&q);
        tr_buf_z(&q.rows, "earlier!");
        q.in.body = (struct tr_str){ form.p, form.n };
        q.out = (struct tr_capture_out){ .rows = &q.rows };
        hit = false;
        countdown = n;
        q.rc = tr_capture_posthog(&q.in, request_lookup, &q.lookups, q.scratch, &q.out, &q.err);
        countdown = 0;
        if (!hit) {
            assert_int_equal(request_event(&q, 1).project, 1);
            request_fini(&q);
            break;
        }
        if (q.rc != TR_INTERNAL)
            fail_msg("allocation %zu: %s %s", n, tr_rc_name(q.rc), q.err.cause);
        assert_string_equal(q.err.id, "os.no_memory");
        assert_int_equal(q.rows.n, 8);
        assert_false(q.rows.failed);
        assert_int_equal(request_send_bytes(&q, form.p, form.n), TR_OK);
        assert_int_equal(q.out.events, 2);
        request_fini(&q);
    }
    print_message("  %zu allocations\n", n - 1);
    assert_true(n > 12);
    free(form.p);
    free(gz.p);
}

static void makes_no_scratch_without_memory(void **state)
{
    struct tr_capture_scratch *s = NULL;
    struct tr_err err;

    (void)state;
    countdown = 1;
    assert_int_equal(tr_capture_scratch_new(&s, &err), TR_INTERNAL);
    assert_null(s);
    countdown = 0;
    tr_capture_scratch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fails_cleanly_at_every_allocation),
        cmocka_unit_test(makes_no_scratch_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
