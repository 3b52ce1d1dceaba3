#include "encode/pgcopy.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/time.h"
#include "base/utf8.h"
#include "encode/pgcopy_json.h"
#include "model/event.h"

/* 2000-01-01T00:00:00Z, where timestamps count from, and the first instant they know (4713 BC). */
#define PG_EPOCH    INT64_C(946684800000000)
#define PG_TIME_MIN INT64_C(-211813488000000000)

enum { FIXED_MAX = 40 }; /* bytes that a value of fixed size takes at most: a uuid as text */

/* Where a row stands while it is written: p moves on, within what was reserved. */
struct row {
    const struct tr_pgcopy *c;
    char *p;
    uint32_t odd; /* flags that call for a second look */
    bool repaired;
    char *reason;
    const char *name; /* of the column, for the reason */
};

static void put16(struct row *r, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(r->p, &v, sizeof(v));
    r->p += sizeof(v);
}

static void put32(struct row *r, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(r->p, &v, sizeof(v));
    r->p += sizeof(v);
}

static void put64(struct row *r, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(r->p, &v, sizeof(v));
    r->p += sizeof(v);
}

static void put_null(struct row *r)
{
    put32(r, UINT32_MAX);
}

static void put_bytes(struct row *r, const void *p, size_t n)
{
    put32(r, (uint32_t)n);
    memcpy(r->p, p, n);
    r->p += n;
}

static bool reject(struct row *r, const char *why)
{
    (void)snprintf(r->reason, TR_PGCOPY_REASON, "column %s: %s", r->name, why);
    return false;
}

/* Bytes of s when each NUL has become U+FFFD. */
static size_t size_without_nul(struct tr_str s)
{
    size_t n = s.n;

    for (const char *p = s.p, *end = s.p + s.n;
         p < end && (p = memchr(p, '\0', (size_t)(end - p))) != NULL; p++)
        n += 2;
    return n;
}

/* Text with each NUL as U+FFFD, cut to the column's length. */
static bool put_text(struct row *r, const struct tr_pgcopy_column *c, struct tr_str s)
{
    struct tr_str fit = c->max_chars == 0 ? s : tr_utf8_head(s, c->max_chars);

    if (fit.n != s.n) {
        if (c->whole)
            return reject(r, "a key longer than the column");
        r->repaired = true;
    }
    if ((r->odd & (TR_EVENT_TEXT_NUL | TR_EVENT_JSON_NUL)) == 0 || fit.n == 0 ||
        memchr(fit.p, '\0', fit.n) == NULL) {
        put_bytes(r, fit.p, fit.n);
        return true;
    }
    if (c->whole)
        return reject(r, "a key with a NUL byte, which text cannot hold");
    r->repaired = true;
    put32(r, (uint32_t)size_without_nul(fit));
    for (size_t i = 0; i < fit.n; i++) {
        if (fit.p[i] != '\0') {
            *r->p++ = fit.p[i];
        } else {
            memcpy(r->p, "\xEF\xBF\xBD", 3);
            r->p += 3;
        }
    }
    return true;
}

/* json and jsonb alike: json would take \u0000, and fail when somebody reads the value. */
static bool put_json(struct row *r, struct tr_str s, bool binary)
{
    if ((r->odd & TR_EVENT_JSON_WIDE) != 0 && binary && !tr_pgjson_numbers_fit(s))
        return reject(r, "a number beyond numeric (131072 digits before the point, 16383 after)");
    char *length = r->p;
    r->p += sizeof(uint32_t);
    if (binary)
        *r->p++ = 1; /* the version of jsonb's wire format */
    size_t n = binary ? tr_pgjson_sort(s, r->p) : 0;
    if (n == 0) {
        n = s.n;
        memcpy(r->p, s.p, n);
    }
    if ((r->odd & (TR_EVENT_JSON_NUL | TR_EVENT_JSON_SURROGATE)) != 0 && tr_pgjson_repair(r->p, n))
        r->repaired = true;
    char *end = r->p + n;
    r->p = length;
    put32(r, (uint32_t)(n + binary));
    r->p = end;
    return true;
}

static bool put_str(struct row *r, const struct tr_pgcopy_column *c, enum tr_type type,
                    struct tr_str s)
{
    if (s.p == NULL) {
        put_null(r);
        return true;
    }
    if (s.n > TR_PGCOPY_MAX_VALUE)
        return reject(r, "longer than 268435455 bytes");
    if (c->form != TR_PGCOPY_TEXT)
        return put_json(r, s, c->form == TR_PGCOPY_JSONB);
    if (type == TR_TYPE_JSON || type == TR_TYPE_TEXTS) {
        if (c->max_chars != 0 && tr_utf8_head(s, c->max_chars).n != s.n)
            return reject(r, "JSON longer than the column, and cut it would not be JSON");
        put_bytes(r, s.p, s.n);
        return true;
    }
    return put_text(r, c, s);
}

static void put_uuid(struct row *r, enum tr_pgcopy_form form, const struct tr_uuid *u)
{
    char text[TR_UUID_TEXT];

    if (tr_uuid_is_nil(u)) {
        put_null(r);
        return;
    }
    if (form == TR_PGCOPY_UUID) {
        put_bytes(r, u->b, sizeof(u->b));
        return;
    }
    tr_uuid_format(u, text);
    put_bytes(r, text, sizeof(text) - 1);
}

/* numeric on the wire: count of base 10000 digits, weight of the first, sign, scale, digits. */
static void put_numeric(struct row *r, int64_t v)
{
    uint16_t digits[8];
    uint16_t n = 0, trailing = 0;
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    for (; left > 0; left /= 10000)
        digits[n++] = (uint16_t)(left % 10000);
    while (trailing < n && digits[trailing] == 0)
        trailing++;
    uint16_t sent = (uint16_t)(n - trailing);
    put32(r, 8U + 2U * sent);
    put16(r, sent);
    put16(r, n == 0 ? 0 : (uint16_t)(n - 1));
    put16(r, v < 0 ? 0x4000 : 0);
    put16(r, 0);
    while (n > trailing)
        put16(r, digits[--n]);
}

static bool put_int(struct row *r, const struct tr_pgcopy_column *c, int64_t v)
{
    char text[24];

    if (v == TR_NULL_INT) {
        put_null(r);
        return true;
    }
    if (c->form == TR_PGCOPY_INT4) {
        if (v < INT32_MIN || v > INT32_MAX)
            return reject(r, "a number that does not fit integer");
        put32(r, 4);
        put32(r, (uint32_t)v);
    } else if (c->form == TR_PGCOPY_INT8) {
        put32(r, 8);
        put64(r, (uint64_t)v);
    } else if (c->form == TR_PGCOPY_INT2) {
        if (v < INT16_MIN || v > INT16_MAX)
            return reject(r, "a number that does not fit smallint");
        put32(r, 2);
        put16(r, (uint16_t)v);
    } else if (c->form == TR_PGCOPY_NUMERIC) {
        put_numeric(r, v);
    } else {
        int n = snprintf(text, sizeof(text), "%" PRId64, v);
        if (c->max_chars != 0 && (uint32_t)n > c->max_chars)
            return reject(r, "a number longer than the column");
        put_bytes(r, text, (size_t)n);
    }
    return true;
}

static bool put_time(struct row *r, const struct tr_pgcopy_column *c, int64_t t)
{
    char text[TR_TIME_TEXT];

    if (t == TR_NULL_INT) {
        put_null(r);
        return true;
    }
    if (c->form == TR_PGCOPY_TIMESTAMP) {
        if (t < PG_TIME_MIN + PG_EPOCH)
            return reject(r, "an instant before 4713 BC");
        put32(r, 8);
        put64(r, (uint64_t)(t - PG_EPOCH));
        return true;
    }
    if (t < TR_TIME_MIN || t > TR_TIME_MAX)
        return reject(r, "an instant outside the years 1 to 9999");
    put_bytes(r, text, tr_time_format(t, text));
    return true;
}

static void put_bool(struct row *r, enum tr_pgcopy_form form, uint8_t v)
{
    if (v == 0xFF) {
        put_null(r);
    } else if (form == TR_PGCOPY_BOOL) {
        put32(r, 1);
        *r->p++ = (char)(v != 0);
    } else {
        put_bytes(r, v != 0 ? "true" : "false", v != 0 ? 4 : 5);
    }
}

static bool put_float(struct row *r, const struct tr_pgcopy_column *c, double v)
{
    char text[32];
    uint64_t bits;
    uint32_t half;

    if (!isfinite(v)) {
        put_null(r);
    } else if (c->form == TR_PGCOPY_FLOAT8) {
        memcpy(&bits, &v, sizeof(bits));
        put32(r, sizeof(bits));
        put64(r, bits);
    } else if (c->form == TR_PGCOPY_FLOAT4) {
        float narrow = (float)v;
        if (!isfinite(narrow))
            return reject(r, "a number that does not fit real");
        memcpy(&half, &narrow, sizeof(half));
        put32(r, sizeof(half));
        put32(r, half);
    } else {
        int n = snprintf(text, sizeof(text), "%.17g", v);
        if (c->max_chars != 0 && (uint32_t)n > c->max_chars)
            return reject(r, "a number longer than the column");
        put_bytes(r, text, (size_t)n);
    }
    return true;
}

/* One text of a list: the only value that is unescaped here. NUL, which text cannot hold, becomes
 * U+FFFD: shorter than the escape it came from. */
static void put_element(struct row *r, const struct tr_json_value *v)
{
    char *length = r->p;
    char *p = length + sizeof(uint32_t);
    size_t n = tr_json_text_copy(v, p);

    if ((v->flags & TR_JSON_NUL) != 0) {
        for (char *nul; (nul = memchr(p, '\0', n)) != NULL; n += 2) {
            memmove(nul + 3, nul + 1, n - (size_t)(nul - p) - 1);
            memcpy(nul, "\xEF\xBF\xBD", 3);
        }
        r->repaired = true;
    }
    put32(r, (uint32_t)n);
    r->p += n;
}

/* An array on the wire: dimensions, null flag, type of the elements; for each dimension its size
 * and lower bound; then the elements. */
static bool put_texts(struct row *r, enum tr_pgcopy_form form, struct tr_str s)
{
    enum { OID_TEXT = 25, OID_VARCHAR = 1043 };
    struct tr_json j;
    struct tr_json_value v;
    uint32_t n = 0;
    bool more = true;

    if (s.p == NULL) {
        put_null(r);
        return true;
    }
    if (s.n > TR_PGCOPY_MAX_VALUE)
        return reject(r, "longer than 268435455 bytes");
    char *start = r->p;
    r->p += 6 * sizeof(uint32_t);
    tr_json_init(&j, s);
    if (tr_json_open_array(&j, NULL) != TR_OK)
        return reject(r, "no list");
    while (tr_json_element(&j, &v, &more, NULL) == TR_OK && more && v.type == TR_JSON_STRING) {
        put_element(r, &v);
        n++;
    }
    if (more)
        return reject(r, "a list of other things than texts");
    char *end = n == 0 ? start + 4 * sizeof(uint32_t) : r->p;
    r->p = start;
    put32(r, (uint32_t)(end - start - (ptrdiff_t)sizeof(uint32_t)));
    put32(r, n == 0 ? 0 : 1);
    put32(r, 0);
    put32(r, form == TR_PGCOPY_TEXTS ? OID_TEXT : OID_VARCHAR);
    if (n > 0) {
        put32(r, n);
        put32(r, 1);
    }
    r->p = end;
    return true;
}

static bool put_value(struct row *r, const struct tr_pgcopy_column *c, const union tr_vector *v,
                      size_t i)
{
    enum tr_type type = r->c->schema->columns[c->column].type;

    r->name = r->c->schema->columns[c->column].name;
    switch (type) {
    case TR_TYPE_TEXT:
    case TR_TYPE_JSON:
        return put_str(r, c, type, v->str[i]);
    case TR_TYPE_UUID:
        put_uuid(r, c->form, &v->uuid[i]);
        return true;
    case TR_TYPE_INT64:
        return put_int(r, c, v->i64[i]);
    case TR_TYPE_TIME:
        return put_time(r, c, v->i64[i]);
    case TR_TYPE_BOOL:
        put_bool(r, c->form, v->u8[i]);
        return true;
    case TR_TYPE_FLOAT:
        return put_float(r, c, v->f64[i]);
    case TR_TYPE_TEXTS:
        if (c->form == TR_PGCOPY_TEXTS || c->form == TR_PGCOPY_VARCHARS)
            return put_texts(r, c->form, v->str[i]);
        return put_str(r, c, type, v->str[i]);
    }
    return reject(r, "of an unknown type");
}

/* An upper bound of the tuple's bytes. A value that is too long adds nothing: its row is rejected
 * when its turn comes. */
static size_t tuple_bound(const struct tr_pgcopy *c, const struct tr_batch *b, size_t i,
                          uint32_t odd)
{
    size_t n = sizeof(uint16_t);
    bool may_grow = (odd & (TR_EVENT_TEXT_NUL | TR_EVENT_JSON_NUL)) != 0;

    for (size_t k = 0; k < c->n; k++) {
        int column = c->col[k].column;
        enum tr_type type = c->schema->columns[column].type;
        n += FIXED_MAX;
        if (tr_type_width(type) != sizeof(struct tr_str) || type == TR_TYPE_UUID)
            continue;
        size_t bytes = b->col[column].str[i].n;
        /* A list's element of two quotes and a comma becomes four bytes of length. */
        if (bytes <= TR_PGCOPY_MAX_VALUE)
            n += may_grow && type == TR_TYPE_TEXT ? 3 * bytes
                 : type == TR_TYPE_TEXTS          ? 2 * bytes
                                                  : bytes;
    }
    return n;
}

enum tr_pgcopy_row tr_pgcopy_row(const struct tr_pgcopy *c, const struct tr_batch *b, size_t row,
                                 struct tr_buf *out, char reason[TR_PGCOPY_REASON])
{
    struct row r = {
        .c = c,
        .odd = b->flags[row] & (TR_EVENT_JSON_NUL | TR_EVENT_JSON_SURROGATE | TR_EVENT_JSON_WIDE |
                                TR_EVENT_TEXT_NUL),
        .reason = reason,
    };

    r.p = tr_buf_reserve(out, tuple_bound(c, b, row, r.odd));
    if (r.p == NULL)
        return TR_PGCOPY_FULL;
    char *start = r.p;
    put16(&r, (uint16_t)c->n);
    for (size_t k = 0; k < c->n; k++) {
        assert(b->col[c->col[k].column].str != NULL); /* the reader was asked for this column */
        if (!put_value(&r, &c->col[k], &b->col[c->col[k].column], row))
            return TR_PGCOPY_REJECTED;
    }
    tr_buf_used(out, (size_t)(r.p - start));
    return r.repaired ? TR_PGCOPY_REPAIRED : TR_PGCOPY_WROTE;
}

void tr_pgcopy_head(struct tr_buf *out)
{
    /* signature, flags, length of the header's extension */
    static const char head[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";

    tr_buf_add(out, head, sizeof(head));
}

void tr_pgcopy_tail(struct tr_buf *out)
{
    tr_buf_add(out, "\377\377", 2);
}
