/* From a request to its JSON text. Headers and parameters are hints; the bytes decide. */
#include "capture/capture_priv.h"

/* What the request says about its packing where no magic number tells. Each is taken once. */
struct hints {
    bool deflate, lz64;
    bool text_forms; /* base64 and lz64 are allowed at all */
    bool from_form;  /* the data came out of a form or query, where base64 belongs: say so */
};

static bool starts_with_bytes(struct tr_str s, const char *magic, size_t n)
{
    return s.n >= n && memcmp(s.p, magic, n) == 0;
}

static bool is_gzip(struct tr_str s)
{
    return starts_with_bytes(s, "\x1f\x8b", 2);
}

static bool is_zstd(struct tr_str s)
{
    return starts_with_bytes(s, "\x28\xb5\x2f\xfd", 4);
}

static bool looks_like_json(struct tr_str s)
{
    size_t i = 0;

    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == '\t'))
        i++;
    return i < s.n && (s.p[i] == '{' || s.p[i] == '[');
}

static enum tr_rc not_json(struct tr_err *err)
{
    return tr_fail(err, TR_INVALID, "capture.not_json", NULL,
                   "the data is neither a JSON object or array nor an encoding of one "
                   "(gzip, zstd, deflate, base64, lz64)");
}

static enum tr_rc unpack_once(struct tr_capture_scratch *s, struct hints *h, struct tr_str in,
                              struct tr_buf *out, struct tr_err *err)
{
    if (is_gzip(in))
        return tr_gunzip(s, in, out, err);
    if (is_zstd(in))
        return tr_unzstd(s, in, out, err);
    if (h->deflate) {
        h->deflate = false;
        return tr_inflate(s, in, out, err);
    }
    if (h->lz64) {
        h->lz64 = false;
        return tr_lzstring_decode(s, in, out, err);
    }
    if (!h->text_forms)
        return not_json(err);
    enum tr_rc rc = tr_base64_decode(s, in, out, err);
    bool meant = h->from_form;
    h->from_form = false;
    return rc == TR_INVALID && !meant && strcmp(err->id, "capture.bad_base64") == 0 ? not_json(err)
                                                                                    : rc;
}

/* Real requests need two steps (base64 of gzip); old clients encode once more on the way. */
enum { MAX_STEPS = 4 };

static enum tr_rc unpack(struct tr_capture_scratch *s, struct hints *h, struct tr_str in,
                         struct tr_str *ret, struct tr_err *err)
{
    for (int step = 0; !looks_like_json(in); step++) {
        struct tr_buf *out = &s->decoded[step % 2];

        if (step == MAX_STEPS)
            return not_json(err);
        if (unpack_once(s, h, in, out, err) != TR_OK)
            return err->rc;
        in = tr_buf_view(out);
    }
    if (in.n > s->max_inflated)
        return tr_fail(err, TR_INVALID, "capture.too_large", NULL,
                       "the decoded body is larger than the limit of %zu bytes", s->max_inflated);
    *ret = in;
    return TR_OK;
}

/* The whole header value, or the part before parameters. */
static bool names(struct tr_str header, const char *name)
{
    struct tr_str rest;

    return tr_str_eq_nocase(tr_str_trim(tr_str_cut(header, ';', &rest)), tr_str_of(name));
}

static bool is_form(const struct tr_capture_in *in)
{
    if (tr_str_starts(in->body, TR_STR("data=")))
        return true;
    /* What curl -d sends says form and is JSON. */
    return names(in->content_type, "application/x-www-form-urlencoded") &&
           !looks_like_json(in->body) && !is_gzip(in->body) && !is_zstd(in->body);
}

static void take_hint(struct hints *h, struct tr_str name)
{
    h->lz64 |= names(name, "lz64") || names(name, "lz-string");
    h->deflate |= names(name, "deflate");
}

enum tr_rc tr_payload_v0(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                         struct tr_str *ret, struct tr_err *err)
{
    struct hints h = { .text_forms = true };
    struct tr_str data = tr_form_get(in->query, "data");

    take_hint(&h, in->content_encoding);
    take_hint(&h, tr_form_get(in->query, "compression"));
    if (data.n > 0) {
        h.from_form = true;
    } else if (in->body.n == 0) {
        return tr_fail(err, TR_INVALID, "capture.no_data", NULL,
                       "the request has no data: neither a body nor data= in the query");
    } else if (is_form(in)) {
        h.from_form = true;
        take_hint(&h, tr_form_get(in->body, "compression"));
        data = tr_form_get(in->body, "data");
        if (data.n == 0)
            return tr_fail(err, TR_INVALID, "capture.bad_form", NULL, "the form has no data field");
    } else {
        return unpack(s, &h, in->body, ret, err);
    }
    if (tr_form_decode(s, data, &s->form, &data, err) != TR_OK)
        return err->rc;
    return unpack(s, &h, data, ret, err);
}

enum tr_rc tr_payload_v1(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                         struct tr_str *ret, struct tr_err *err)
{
    static const char *const known[] = { "", "identity", "gzip", "x-gzip", "deflate", "zstd" };
    struct hints h = { 0 };
    bool ok = false;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        ok |= names(in->content_encoding, known[i]);
    if (!ok)
        return tr_fail(err, TR_INVALID, "capture.bad_encoding", NULL,
                       "Content-Encoding %.*s is not supported: use gzip, deflate, zstd or none",
                       (int)(in->content_encoding.n < 40 ? in->content_encoding.n : 40),
                       in->content_encoding.p);
    if (in->body.n == 0)
        return tr_fail(err, TR_INVALID, "capture.no_data", NULL, "the request has no body");
    take_hint(&h, in->content_encoding);
    return unpack(s, &h, in->body, ret, err);
}
