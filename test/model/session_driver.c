/* Applies a history (test/lib/history.py) from standard input to sessions, in memory, and prints
 * their rows: what test_sessions.py holds against the reference model.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "identity/session.h"

enum { SLOTS = 1 << 16, LINE_MAX_BYTES = 1 << 24 };

struct session {
    int32_t project;
    struct tr_uuid id;
    char *record;
};

static struct session slots[SLOTS];
static struct tr_session_room room;

static _Noreturn void die(const char *why)
{
    (void)fprintf(stderr, "session_driver: %s\n", why);
    exit(1);
}

static struct session *find(int32_t project, const struct tr_uuid *id)
{
    size_t at = tr_hash64(id, sizeof(*id), (uint64_t)project) % SLOTS;

    for (size_t i = 0; i < SLOTS; i++, at = (at + 1) % SLOTS) {
        struct session *s = &slots[at];
        if (s->record == NULL)
            *s = (struct session){ project, *id, NULL };
        if (s->record == NULL || (s->project == project && memcmp(&s->id, id, sizeof(*id)) == 0))
            return s;
    }
    die("too many sessions");
}

/* Of its own size, so that the sanitizer sees every step beyond it. */
static void keep(struct session *s)
{
    size_t n = tr_session_size(room.record);

    free(s->record);
    s->record = malloc(n);
    if (s->record == NULL)
        die("out of memory");
    memcpy(s->record, room.record, n);
}

static struct tr_json_value member(struct tr_str line, const char *name)
{
    struct tr_json_value v;

    if (!tr_json_find(line, tr_str_of(name), &v))
        die("a member is missing");
    return v;
}

static int64_t number(struct tr_str line, const char *name)
{
    struct tr_json_value v = member(line, name);
    int64_t n;

    if (!tr_json_int64(&v, &n))
        die("a number is expected");
    return n;
}

static void apply(struct tr_str line, struct tr_buf *event, struct tr_buf *distinct_id)
{
    struct tr_json_value name = member(line, "event");
    struct tr_json_value who = member(line, "distinct_id");
    struct tr_event e = { .project = (int32_t)number(line, "project"),
                          .timestamp = number(line, "timestamp"),
                          .inserted_at = number(line, "inserted_at"),
                          .event = tr_json_text(&name, event),
                          .distinct_id = tr_json_text(&who, distinct_id),
                          .properties = member(line, "properties").raw };
    struct tr_facts f;
    struct tr_uuid id;

    tr_facts_read(e.properties, &f);
    if (!tr_session_id(&f, &id))
        return;
    struct session *s = find(e.project, &id);
    if (tr_session_apply(s->record, &e, &f, &room) == TR_SESSION_BUILT)
        keep(s);
    if (!tr_session_sound(s->record, tr_session_size(s->record)))
        die("a record is not sound");
}

/* ---- rows ---- */

union value {
    struct tr_str str;
    struct tr_uuid uuid;
    int64_t i64;
    uint8_t u8;
    double f64;
};

static void put_value(struct tr_buf *out, enum tr_type type, const union value *v)
{
    char uuid[TR_UUID_TEXT];

    switch (type) {
    case TR_TYPE_TEXT:
        if (v->str.p == NULL)
            break;
        tr_buf_json_str(out, v->str);
        return;
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
        tr_buf_str(out, v->str);
        return;
    case TR_TYPE_UUID:
        tr_uuid_format(&v->uuid, uuid);
        tr_buf_json_str(out, tr_str_of(uuid));
        return;
    case TR_TYPE_INT64:
    case TR_TYPE_TIME:
        tr_buf_printf(out, "%" PRId64, v->i64);
        return;
    case TR_TYPE_BOOL:
        if (v->u8 == 0xFF)
            break;
        tr_buf_z(out, v->u8 != 0 ? "true" : "false");
        return;
    case TR_TYPE_FLOAT:
        if (isnan(v->f64))
            break;
        tr_buf_printf(out, "%.17g", v->f64);
        return;
    }
    tr_buf_z(out, "null");
}

static void print_row(const struct session *s, struct tr_arena *texts, struct tr_buf *out)
{
    static union value values[TR_SESSION_COLUMNS];
    uint32_t flags;
    int64_t inserted_at;
    struct tr_batch b = { .schema = &tr_schema_sessions,
                          .flags = &flags,
                          .inserted_at = &inserted_at };

    tr_arena_reset(texts);
    tr_buf_clear(out);
    for (size_t c = 0; c < TR_SESSION_COLUMNS; c++)
        b.col[c].str = &values[c].str;
    if (tr_session_row(s->record, s->project, &s->id, &b, 0, texts, NULL) != TR_OK)
        die("a row cannot be made");
    tr_buf_z(out, "{\"row\":\"session\"");
    for (size_t c = 0; c < TR_SESSION_COLUMNS; c++) {
        tr_buf_printf(out, ",\"%s\":", tr_schema_sessions.columns[c].name);
        put_value(out, tr_schema_sessions.columns[c].type, &values[c]);
    }
    tr_buf_z(out, "}\n");
    (void)fwrite(out->p, 1, out->n, stdout);
}

int main(void)
{
    struct tr_buf event, distinct_id, out;
    struct tr_arena texts;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    tr_buf_init(&event, LINE_MAX_BYTES);
    tr_buf_init(&distinct_id, LINE_MAX_BYTES);
    tr_buf_init(&out, LINE_MAX_BYTES);
    tr_arena_init(&texts, LINE_MAX_BYTES);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct tr_str s = { line, (size_t)n };
        struct tr_json_value what = member(s, "do");
        if (tr_json_text_is(&what, TR_STR("event")))
            apply(s, &event, &distinct_id);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i].record != NULL)
            print_row(&slots[i], &texts, &out);
        free(slots[i].record);
    }
    free(line);
    tr_buf_fini(&event);
    tr_buf_fini(&distinct_id);
    tr_buf_fini(&out);
    tr_arena_fini(&texts);
    return 0;
}
