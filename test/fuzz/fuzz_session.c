/* Sessions: a record as it may come from a damaged disk, then events with properties that are valid
 * but made up. The first line of the input is a record, in hex; each other line is an event: its
 * first byte says which, its second when, the rest are the properties.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "identity/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct tr_session_room room;

/* A copy of its own size, so that the sanitizer sees every step beyond it. */
static char *keep(char *old, const char *record, size_t n)
{
    char *copy = malloc(n == 0 ? 1 : n);

    assert(copy != NULL);
    if (n > 0)
        memcpy(copy, record, n);
    free(old);
    return copy;
}

static int hex_of(char c)
{
    const char *at = c == '\0' ? NULL : strchr("0123456789abcdef", c);

    return at == NULL ? -1 : (int)(at - "0123456789abcdef");
}

/* The record of a line of hex when it is sound, or NULL. */
static char *read_record(struct tr_str line)
{
    char *p = malloc(line.n / 2 + 1);
    size_t n = 0;

    assert(p != NULL);
    for (size_t i = 0; i + 1 < line.n; i += 2) {
        int hi = hex_of(line.p[i]);
        int lo = hex_of(line.p[i + 1]);
        if (hi < 0 || lo < 0)
            break;
        p[n++] = (char)(hi << 4 | lo);
    }
    char *exact = keep(p, p, n);
    if (tr_session_sound(exact, n))
        return exact;
    free(exact);
    return NULL;
}

static bool is_object(struct tr_str text)
{
    struct tr_json j;
    struct tr_json_value v;

    tr_json_init(&j, text);
    return tr_json_next(&j, &v, NULL) == TR_OK && tr_json_end(&j, NULL) == TR_OK &&
           v.type == TR_JSON_OBJECT;
}

/* What one walk found is what a search for each name finds. */
static void check_facts(struct tr_str properties, const struct tr_facts *f)
{
    for (int i = 0; i < TR_FACTS; i++) {
        struct tr_json_value v;
        const struct tr_json_value *found = tr_fact(f, (enum tr_fact)i);
        bool there = tr_json_find(properties, tr_fact_name((enum tr_fact)i), &v);
        assert(there == (found != NULL));
        assert(!there || (found->raw.p == v.raw.p && found->raw.n == v.raw.n));
    }
}

static void read_row(const char *record)
{
    static union {
        struct tr_str str;
        struct tr_uuid uuid;
    } values[TR_SESSION_COLUMNS];
    uint32_t flags;
    int64_t inserted_at;
    struct tr_batch b = { .schema = &tr_schema_sessions,
                          .flags = &flags,
                          .inserted_at = &inserted_at };
    struct tr_uuid id = { { 7 } };
    struct tr_arena texts;
    struct tr_json j;
    struct tr_json_value urls;

    for (size_t c = 0; c < TR_SESSION_COLUMNS; c++)
        b.col[c].str = &values[c].str;
    tr_arena_init(&texts, 1 << 20);
    enum tr_rc rc = tr_session_row(record, 1, &id, &b, 0, &texts, NULL);
    assert(rc == TR_OK);
    tr_json_init(&j, values[TR_SESSION_URLS].str);
    rc = tr_json_next(&j, &urls, NULL);
    assert(rc == TR_OK && urls.type == TR_JSON_ARRAY);
    tr_arena_fini(&texts);
}

/* Returns the session's record. */
static char *apply(char *record, struct tr_str line)
{
    static const char *const names[] = { "$pageview", "$screen", "$autocapture", "other" };
    struct tr_str properties = { line.p + 2, line.n - 2 };
    struct tr_event e = { .event = tr_str_of(names[(unsigned char)line.p[0] % 4]),
                          .timestamp = line.p[1],
                          .inserted_at = 1,
                          .distinct_id = properties };
    struct tr_facts f;

    tr_facts_read(properties, &f);
    check_facts(properties, &f);
    enum tr_session_change change = tr_session_apply(record, &e, &f, &room);
    if (change == TR_SESSION_BUILT)
        record = keep(record, room.record, tr_session_size(room.record));
    assert(tr_session_sound(record, tr_session_size(record)));
    read_row(record);
    return record;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tr_str left = { (const char *)bytes, n };
    char *record = read_record(tr_str_cut(left, '\n', &left));

    if (record != NULL)
        read_row(record);
    while (left.p != NULL) {
        struct tr_str line = tr_str_cut(left, '\n', &left);
        if (line.n > 2 && is_object((struct tr_str){ line.p + 2, line.n - 2 }))
            record = apply(record, line);
    }
    free(record);
    return 0;
}
