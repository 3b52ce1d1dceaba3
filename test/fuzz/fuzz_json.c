/* The JSON scanner: scanning, walking and editing must agree about every text. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_string(const struct tr_json_value *v, struct tr_buf *tmp)
{
    struct tr_str text = tr_json_text(v, tmp);

    assert(text.p != NULL);
    assert(tr_utf8_valid(text));
    assert(tr_json_text_is(v, text));
    bool has_nul = text.n > 0 && memchr(text.p, 0, text.n) != NULL;
    assert(has_nul == ((v->flags & TR_JSON_NUL) != 0));
}

static void check_number(const struct tr_json_value *v)
{
    double d;
    int64_t i;

    assert(tr_json_double(v, &d));
    if (tr_json_int64(v, &i)) {
        assert((v->flags & TR_JSON_BIG_INT) == 0);
        assert(d == (double)i);
    }
}

/* Walks a value that was scanned: the parts have the flags and depth of the whole. */
static void check_inside(const struct tr_json_value *whole, struct tr_buf *tmp)
{
    struct tr_json j;
    struct tr_json_value key;
    struct tr_json_value v;
    struct tr_json_value found;
    uint32_t flags = 0;
    uint32_t depth = 1;
    bool object = whole->type == TR_JSON_OBJECT;
    bool more;

    tr_json_init(&j, whole->raw);
    assert((object ? tr_json_open_object(&j, NULL) : tr_json_open_array(&j, NULL)) == TR_OK);
    for (;;) {
        key.flags = 0;
        assert((object ? tr_json_member(&j, &key, &v, &more, NULL)
                       : tr_json_element(&j, &v, &more, NULL)) == TR_OK);
        if (!more)
            break;
        flags |= key.flags | v.flags;
        depth = v.depth + 1 > depth ? v.depth + 1 : depth;
        if (object) {
            struct tr_str name = tr_json_text(&key, tmp);
            /* A lone surrogate's name is not found by its text only if another key has it too. */
            assert(name.p != NULL && tr_json_find(whole->raw, name, &found));
        }
        if (v.type == TR_JSON_STRING)
            check_string(&v, tmp);
        else if (v.type == TR_JSON_NUMBER)
            check_number(&v);
    }
    assert(tr_json_end(&j, NULL) == TR_OK);
    assert(depth == whole->depth);
    if (depth > TR_JSON_DEEP_AT)
        flags |= TR_JSON_DEEP;
    assert(flags == whole->flags);
}

static void check_finite(const struct tr_json_value *v, struct tr_buf *out)
{
    struct tr_json j;
    struct tr_json_value again;

    tr_buf_clear(out);
    tr_json_add_finite(out, v->raw);
    assert(!out->failed);
    tr_json_init(&j, tr_buf_view(out));
    assert(tr_json_next(&j, &again, NULL) == TR_OK && tr_json_end(&j, NULL) == TR_OK);
    assert(again.flags == (v->flags & ~(uint32_t)TR_JSON_BARE));
    assert(again.depth == v->depth);
    if ((v->flags & TR_JSON_BARE) == 0)
        assert(tr_str_eq(tr_buf_view(out), v->raw));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tr_json j;
    struct tr_json_value v;
    struct tr_err err;
    struct tr_buf tmp;
    bool ok;

    tr_buf_init(&tmp, 1 << 22);
    tr_json_init(&j, (struct tr_str){ (const char *)bytes, n });
    ok = tr_json_next(&j, &v, &err) == TR_OK;
    if (ok) {
        if (v.type == TR_JSON_OBJECT || v.type == TR_JSON_ARRAY)
            check_inside(&v, &tmp);
        else if (v.type == TR_JSON_STRING)
            check_string(&v, &tmp);
        else if (v.type == TR_JSON_NUMBER)
            check_number(&v);
        check_finite(&v, &tmp);
        (void)tr_json_end(&j, &err);
    } else {
        assert(err.rc == TR_INVALID && err.id != NULL && err.cause[0] != '\0');
    }
    tr_buf_fini(&tmp);
    return 0;
}
