#include "rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "os/random.h"

/* 2026-11-21T09:30:00.123456Z, a microsecond for each row */
#define FIRST_INSTANT INT64_C(1795253400123456)

const struct tr_owner rows_owner = { .project = 1 };

enum { FIXED_TEXT = 256 }; /* of a row, the properties' filling left out */

static void *must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static struct tr_str put(char **at, const char *fmt, ...) TR_FORMAT(2, 3);

static struct tr_str put(char **at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(*at, FIXED_TEXT, fmt, ap);
    va_end(ap);
    struct tr_str s = { *at, (size_t)n };
    *at += n;
    return s;
}

/* {"n":7,"seed":1,"price":54.10,"fill":"xxx.."} */
static struct tr_str put_properties(char **at, uint32_t seed, size_t i, size_t bytes)
{
    const char *start =
        put(at, "{\"seed\":%" PRIu32 ",\"n\":%zu,\"price\":54.10,\"fill\":\"", seed, i).p;
    size_t used = (size_t)(*at - start) + 2;
    if (bytes > used) {
        memset(*at, 'x', bytes - used);
        *at += bytes - used;
    }
    *(*at)++ = '"';
    *(*at)++ = '}';
    return (struct tr_str){ start, (size_t)(*at - start) };
}

static void fill(struct rows *r, uint32_t seed, size_t properties_bytes)
{
    struct tr_batch *b = &r->batch;
    char *at = r->text;

    for (size_t i = 0; i < b->rows; i++) {
        int64_t instant = FIRST_INSTANT + (int64_t)seed * TR_US_PER_MIN + (int64_t)i;
        uint8_t name[12];

        memcpy(name, &seed, 4);
        memcpy(name + 4, &i, 8);
        tr_uuid_v5(&(struct tr_uuid){ { 0 } }, name, sizeof(name), &b->col[TR_EVENT_UUID].uuid[i]);
        b->col[TR_EVENT_EVENT].str[i] = put(&at, "event %u-%zu", seed, i);
        b->col[TR_EVENT_PROPERTIES].str[i] = put_properties(&at, seed, i, properties_bytes);
        b->col[TR_EVENT_ELEMENTS].str[i] = TR_STR("\"button.cta:text=\\\"Buy\\\"\"");
        b->col[TR_EVENT_SET].str[i] = put(&at, "{\"plan\":\"p%u\",\"n\":%zu}", seed, i);
        b->col[TR_EVENT_SET_ONCE].str[i] = (struct tr_str){ NULL, 0 };
        b->col[TR_EVENT_DISTINCT_ID].str[i] = put(&at, "user-%u-%zu", seed, i);
        b->col[TR_EVENT_TEAM_ID].i64[i] = 1;
        b->col[TR_EVENT_IP].str[i] = TR_STR("192.0.2.17");
        b->col[TR_EVENT_SITE_URL].str[i] = TR_STR("");
        b->col[TR_EVENT_TIMESTAMP].i64[i] = instant - 5000;
        b->col[TR_EVENT_ELEMENTS_CHAIN].str[i] = TR_STR("button.cta:text=\"Buy\"");
        b->col[TR_EVENT_CREATED_AT].i64[i] = instant;
        b->col[TR_EVENT_INSERTED_AT].i64[i] = instant;
        b->inserted_at[i] = instant;
    }
}

struct rows *rows_new(size_t n, uint32_t seed, size_t properties_bytes)
{
    struct rows *r = must(calloc(1, sizeof(*r)));
    struct tr_batch *b = &r->batch;

    assert(n <= TR_BATCH_ROWS);
    b->schema = &tr_schema_events;
    b->rows = n;
    for (size_t c = 0; c < TR_EVENT_COLUMNS; c++)
        b->col[c].str = must(calloc(n + 1, sizeof(struct tr_str))); /* the widest kind */
    b->flags = must(calloc(n + 1, sizeof(*b->flags)));
    b->inserted_at = must(calloc(n + 1, sizeof(*b->inserted_at)));
    r->text = must(malloc((n + 1) * (FIXED_TEXT + properties_bytes)));
    fill(r, seed, properties_bytes);
    return r;
}

void rows_free(struct rows *r)
{
    if (r == NULL)
        return;
    for (size_t c = 0; c < TR_EVENT_COLUMNS; c++)
        free(r->batch.col[c].str);
    free(r->batch.flags);
    free(r->batch.inserted_at);
    free(r->text);
    free(r);
}

struct tr_projection rows_projection(void)
{
    struct tr_projection p = { .schema = &tr_schema_events, .n = TR_EVENT_COLUMNS };

    for (int i = 0; i < TR_EVENT_COLUMNS; i++) {
        p.column[i] = i;
        p.name[i] = tr_schema_events.columns[i].name;
    }
    return p;
}

struct tr_projection rows_projection_of(const char *const *names)
{
    struct tr_projection p = { .schema = &tr_schema_events };

    for (; names[p.n] != NULL; p.n++) {
        p.name[p.n] = names[p.n];
        p.column[p.n] = tr_schema_find(p.schema, tr_str_of(names[p.n]));
        assert(p.column[p.n] >= 0);
    }
    return p;
}

struct tr_projection rows_projection_default(const struct tr_default_column *columns)
{
    return rows_projection_model(&tr_schema_events, columns);
}

struct tr_projection rows_projection_model(const struct tr_schema *schema,
                                           const struct tr_default_column *columns)
{
    struct tr_projection p = { .schema = schema };

    for (; columns[p.n].name != NULL; p.n++) {
        p.name[p.n] = columns[p.n].as == NULL ? columns[p.n].name : columns[p.n].as;
        p.column[p.n] = tr_schema_find(p.schema, tr_str_of(columns[p.n].name));
        assert(p.column[p.n] >= 0);
    }
    return p;
}

struct tr_key rows_key(void)
{
    return (struct tr_key){ .installation = tr_random_uuid4(),
                            .epoch = 1,
                            .export_id = tr_random_uuid4(),
                            .target = 7,
                            .range = { FIRST_INSTANT, FIRST_INSTANT + TR_US_PER_HOUR } };
}

struct tr_key rows_key_after(const struct tr_key *key)
{
    struct tr_key next = *key;

    next.range = (struct tr_range){ key->range.hi, key->range.hi + TR_US_PER_HOUR };
    return next;
}
