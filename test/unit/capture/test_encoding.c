/* What a request may be packed in, and what says so. */
#include "request.h"

#include "pack.h"

/* Its base64 has '+', '/' and padding: see the assertions. */
#define BODY                                                                                       \
    "{\"api_key\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"~~~>>>\xc3\xbf\xc3\xbe\",\"x\":"   \
    "\"\xf0\x9f\x98\x80\"}"
#define FORM "application/x-www-form-urlencoded"

static struct packed plain(void)
{
    struct packed out = { malloc(sizeof(BODY)), sizeof(BODY) - 1 };

    memcpy(out.p, BODY, sizeof(BODY));
    return out;
}

static struct packed gzip(void)
{
    return pack_deflate(BODY, sizeof(BODY) - 1, PACK_GZIP);
}

static struct packed base64(const char *last_two, int pad)
{
    return pack_base64(BODY, sizeof(BODY) - 1, last_two, pad);
}

static struct packed base64_std(void)
{
    struct packed b = base64("+/", 1);

    assert_non_null(memchr(b.p, '+', b.n));
    assert_non_null(memchr(b.p, '/', b.n));
    assert_int_equal(b.p[b.n - 1], '=');
    return b;
}

static struct packed base64_url(void)
{
    return base64("-_", 0);
}

static struct packed base64_blanks(void)
{
    return base64(" /", 1);
}

static struct packed base64_lines(void)
{
    struct packed b = base64("+/", 1);
    struct packed out = { malloc(b.n + 8), 0 };

    memcpy(out.p, b.p, 40);
    memcpy(out.p + 40, "\r\n", 2);
    memcpy(out.p + 42, b.p + 40, b.n - 40);
    out.n = b.n + 2;
    free(b.p);
    return out;
}

static struct packed form_base64(void)
{
    return pack_form("data=", base64("+/", 1), 1);
}

static struct packed form_base64_unescaped(void)
{
    return pack_form("compression=base64&data=", base64("+/", 1), 0);
}

static struct packed form_json(void)
{
    return pack_form("ip=1&data=", plain(), 1);
}

static struct packed base64_of_gzip(void)
{
    struct packed g = gzip();
    struct packed b = pack_base64(g.p, g.n, "+/", 1);

    free(g.p);
    return b;
}

static struct packed form_base64_of_gzip(void)
{
    return pack_form("data=", base64_of_gzip(), 1);
}

static struct packed base64_twice(void)
{
    struct packed once = base64("+/", 1);
    struct packed twice = pack_base64(once.p, once.n, "+/", 1);

    free(once.p);
    return twice;
}

static struct packed gzip_in_two_members(void)
{
    struct packed a = pack_deflate(BODY, 20, PACK_GZIP);
    struct packed b = pack_deflate(BODY + 20, sizeof(BODY) - 1 - 20, PACK_GZIP);

    a.p = realloc(a.p, a.n + b.n);
    memcpy(a.p + a.n, b.p, b.n);
    a.n += b.n;
    free(b.p);
    return a;
}

static struct packed gzip_with_a_tail(void)
{
    struct packed a = gzip();

    a.p = realloc(a.p, a.n + 3);
    memcpy(a.p + a.n, "\0\0\n", 3);
    a.n += 3;
    return a;
}

static struct packed zlib_stream(void)
{
    return pack_deflate(BODY, sizeof(BODY) - 1, PACK_ZLIB);
}

static struct packed raw_deflate(void)
{
    return pack_deflate(BODY, sizeof(BODY) - 1, PACK_RAW);
}

static struct packed zstd(void)
{
    return pack_zstd(BODY, sizeof(BODY) - 1);
}

static const struct encoding_case {
    const char *name;
    struct packed (*make)(void);
    const char *query, *content_type, *content_encoding;
} cases[] = {
    { "JSON", plain, "", "application/json", "" },
    { "JSON with a charset", plain, "", "application/json; charset=utf-8", "" },
    { "JSON as text/plain", plain, "", "text/plain", "" },
    { "JSON without a type", plain, "", "", "" },
    { "JSON that says it is a form, as curl -d sends it", plain, "", FORM, "" },
    { "JSON with a hint of gzip", plain, "compression=gzip-js", "text/plain", "gzip" },
    { "JSON with a hint of lz64", plain, "compression=lz64", "text/plain", "" },
    { "JSON with an encoding nobody knows", plain, "compression=brotli", "", "br" },
    { "gzip that nothing announces, as posthog-js sends it", gzip, "", "text/plain", "" },
    { "gzip with Content-Encoding, as posthog-node does", gzip, "", "application/json", "gzip" },
    { "gzip with a query, as older posthog-js does", gzip,
      "ip=1&_=1795253400000&ver=1.200.1&compression=gzip-js", "text/plain", "" },
    { "gzip with both, as posthog-rs does", gzip, "compression=gzip", "application/json", "GZIP" },
    { "gzip with the wrong hint", gzip, "compression=base64", "text/plain", "deflate" },
    { "gzip that says it is a form", gzip, "", FORM, "" },
    { "gzip in two members", gzip_in_two_members, "", "", "" },
    { "gzip with something behind it", gzip_with_a_tail, "", "", "" },
    { "zlib with Content-Encoding: deflate", zlib_stream, "", "application/json", "deflate" },
    { "raw deflate with Content-Encoding: deflate", raw_deflate, "", "application/json",
      "Deflate" },
    { "zstd", zstd, "", "application/json", "zstd" },
    { "zstd that nothing announces", zstd, "", "", "" },
    { "bare base64", base64_std, "", "text/plain", "" },
    { "URL-safe base64 without padding", base64_url, "", "", "" },
    { "base64 whose plus signs became blanks", base64_blanks, "", "", "" },
    { "base64 in lines", base64_lines, "", "", "" },
    { "base64 twice", base64_twice, "", "", "" },
    { "base64 of gzip", base64_of_gzip, "", "", "" },
    { "a form of base64, as sendBeacon sends it", form_base64, "compression=base64", FORM, "" },
    { "a form without any hint, as posthog-js 1.96 sends it", form_base64, "ip=1&ver=1.96.1", FORM,
      "" },
    { "a form with a charset", form_base64, "", FORM "; charset=UTF-8", "" },
    { "a form that does not say so", form_base64, "", "text/plain", "" },
    { "a form whose base64 was not escaped", form_base64_unescaped, "", FORM, "" },
    { "a form of JSON", form_json, "", FORM, "" },
    { "a form of base64 of gzip", form_base64_of_gzip, "", FORM, "" },
};

static void takes_every_encoding(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct encoding_case *c = &cases[i];
        struct packed body = c->make();

        print_message("  %s\n", c->name);
        q.in.path = TR_STR("/e/");
        q.in.query = tr_str_of(c->query);
        q.in.content_type = tr_str_of(c->content_type);
        q.in.content_encoding = tr_str_of(c->content_encoding);
        (void)request_send_bytes(&q, body.p, body.n);
        request_is(request_event(&q, 0).distinct_id, "~~~>>>\xc3\xbf\xc3\xbe");
        free(body.p);
    }
    request_fini(&q);
}

static void takes_data_from_the_query(void **state)
{
    struct packed (*const makers[])(void) = { base64_std, base64_of_gzip, plain, base64_url };
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct packed query = pack_form("ver=1&data=", makers[i](), 1);
        q.in.query = (struct tr_str){ query.p, query.n };
        /* The query goes before the body. */
        (void)request_send(&q, i % 2 == 0 ? "" : "ignored");
        request_is(request_event(&q, 0).distinct_id, "~~~>>>\xc3\xbf\xc3\xbe");
        free(query.p);
    }
    q.in.query = TR_STR("data=&x=1");
    assert_int_equal(request_send(&q, ""), TR_INVALID);
    assert_string_equal(q.err.id, "capture.no_data");
    request_fini(&q);
}

/* Made with lz-string 1.5.0, compressToBase64. */
static const struct lz_case {
    const char *name;
    const char *packed;
    const char *body;
} lz[] = {
#include "lz64_vectors.h"
};

static void takes_lz64(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    q.in.path = TR_STR("/e/");
    for (size_t i = 0; i < sizeof(lz) / sizeof(lz[0]); i++) {
        struct packed packed = { strdup(lz[i].packed), strlen(lz[i].packed) };

        print_message("  %s\n", lz[i].name);
        (void)request_send(&q, lz[i].body);
        struct tr_event e = request_event(&q, 0);
        struct tr_buf want;
        tr_buf_init(&want, 1 << 20);
        tr_buf_str(&want, e.properties);

        packed = pack_form("data=", packed, 1);
        q.in.query = TR_STR("compression=lz64");
        q.in.content_type = TR_STR(FORM);
        (void)request_send_bytes(&q, packed.p, packed.n);
        e = request_event(&q, 0);
        assert_int_equal(e.properties.n, want.n);
        assert_memory_equal(e.properties.p, want.p, want.n);
        tr_buf_fini(&want);

        /* Cut anywhere it is refused, or at least not read beyond. */
        q.in.content_type = (struct tr_str){ NULL, 0 };
        for (size_t n = 0; n + 4 < strlen(lz[i].packed); n += 7)
            assert_int_equal(request_send_bytes(&q, lz[i].packed, n), TR_INVALID);
        q.in.query = (struct tr_str){ NULL, 0 };
        free(packed.p);
    }
    request_fini(&q);
}

static const struct damage_case {
    const char *name;
    const char *query, *content_type, *content_encoding;
    const char *body;
    size_t n;
    const char *id, *cause;
} damages[] = {
#define Z(text) text, sizeof(text) - 1
    { "a form without data", "", FORM, "", Z("a=1&b=2"), "capture.bad_form",
      "the form has no data field" },
    { "a form with empty data", "", FORM, "", Z("data="), "capture.bad_form",
      "the form has no data field" },
    { "a form of something else", "", FORM, "", Z("data=%%%"), "capture.bad_base64",
      "the data is not base64 at byte 0" },
    { "base64 of one character too many", "", FORM, "", Z("data=eyJhIjoxf"), "capture.bad_base64",
      "the data is not base64 at byte 9" },
    { "base64 with something behind its padding", "", FORM, "", Z("data=e30=e30="),
      "capture.bad_base64", "the data is not base64 at byte 4" },
    { "base64 of nothing", "", FORM, "", Z("data=bnVsbA=="), "capture.not_json",
      "the data is neither a JSON object or array nor an encoding of one "
      "(gzip, zstd, deflate, base64, lz64)" },
    { "damaged gzip", "", "", "", Z("\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff\xff"),
      "capture.bad_gzip", "the gzip data is damaged" },
    { "gzip of nothing but its magic", "", "", "", Z("\x1f\x8b"), "capture.bad_gzip",
      "the gzip data is cut short" },
    { "damaged deflate", "", "", "deflate", Z("\x78\x9c\xff\xff\xff\xff"), "capture.bad_deflate",
      "the deflate data is damaged" },
    { "damaged zstd", "", "", "", Z("\x28\xb5\x2f\xfd\x08\0\0\0\0\0\0\0\0\0\0"), "capture.bad_zstd",
      "the zstd data is damaged" },
    { "lz64 that is none", "compression=lz64", "", "", Z("!!!"), "capture.bad_lz64",
      "the lz64 data is damaged or cut short" },
    { "lz64 that names a word there is not", "compression=lz64", "", "", Z("////////"),
      "capture.bad_lz64", "the lz64 data is damaged or cut short" },
    { "lz64 of the empty text", "compression=lz64", "", "", Z("Q==="), "capture.not_json",
      "the data is neither a JSON object or array nor an encoding of one "
      "(gzip, zstd, deflate, base64, lz64)" },
};

static void refuses_what_is_damaged(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        const struct damage_case *c = &damages[i];

        print_message("  %s\n", c->name);
        q.in.query = tr_str_of(c->query);
        q.in.content_type = tr_str_of(c->content_type);
        q.in.content_encoding = tr_str_of(c->content_encoding);
        assert_int_equal(request_send_bytes(&q, c->body, c->n), TR_INVALID);
        assert_string_equal(q.err.id, c->id);
        assert_string_equal(q.err.cause, c->cause);
    }
    request_fini(&q);
}

static void refuses_every_cut_of_compressed_bodies(void **state)
{
    struct packed (*const makers[])(void) = { gzip, zstd, zlib_stream };
    struct request q;

    (void)state;
    request_init(&q);
    q.in.content_encoding = TR_STR("deflate"); /* gzip and zstd tell themselves */
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct packed body = makers[i]();
        for (size_t n = 4; n < body.n; n++)
            assert_int_equal(request_send_bytes(&q, body.p, n), TR_INVALID);
        assert_int_equal(request_send_bytes(&q, body.p, body.n), TR_OK);
        free(body.p);
    }
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_encoding),
        cmocka_unit_test(takes_data_from_the_query),
        cmocka_unit_test(takes_lz64),
        cmocka_unit_test(refuses_what_is_damaged),
        cmocka_unit_test(refuses_every_cut_of_compressed_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
