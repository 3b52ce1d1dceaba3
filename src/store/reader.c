/* Reading a range as batches of columns: views into the piece of packed rows that the scan holds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "model/event.h"
#include "os/clock.h"
#include "store/scan.h"

#define COLUMN(c) ((tr_column_mask)1 << (c))
#define WHO       (COLUMN(TR_EVENT_PERSON_ID) | COLUMN(TR_EVENT_PERSON_PROPERTIES))
#define GROUPS    ((COLUMN(TR_EVENT_GROUP_4 + 1) - 1) & ~(COLUMN(TR_EVENT_GROUP_0) - 1))

enum {
    NAMES_MAX = 1 << 16,
    MADE_BYTES = 8 << 20 /* of persons' properties that are made for one batch; then it ends */
};

struct tr_store_reader {
    struct scan scan;
    struct tr_range range;
    size_t at;                   /* in scan.rows */
    size_t n;                    /* events of scan.rows before that */
    struct tr_group_types types; /* of the project, when groups are asked for; names are in names */
    struct tr_arena names;
    struct tr_batch batch;
    int64_t sent_at;
    struct tr_arena texts; /* unescaped values of the batch */
    struct tr_buf unescaped;
    struct tr_props props;
    size_t made;  /* bytes of texts that are persons' properties */
    void *arrays; /* all columns of the batch */
};

/* The group types are known once every event of the range was applied. */
static enum tr_rc copy_types(struct state *state, void *arg, struct tr_err *err)
{
    struct tr_store_reader *r = arg;

    return state_copy_types(state, r->scan.project, &r->names, &r->types, err);
}

static enum tr_rc read_types(struct tr_store_reader *r, struct tr_err *err)
{
    return derived_use(&r->scan.s->derived, copy_types, r, err);
}

enum tr_rc tr_store_read(struct tr_store *s, int32_t project, struct tr_range range,
                         tr_column_mask columns, struct tr_store_reader **ret, struct tr_err *err)
{
    struct tr_store_reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return tr_fail_oom(err);
    tr_arena_init(&r->texts, 2 * (size_t)BLOCK_MOST);
    tr_arena_init(&r->names, NAMES_MAX);
    tr_buf_init(&r->unescaped, BLOCK_MOST);
    tr_props_init(&r->props);
    r->range = range;
    r->arrays = tr_batch_arrays(&r->batch, &tr_schema_events, columns);
    if ((r->arrays == NULL && tr_fail_oom(err) != TR_OK) ||
        scan_open(&r->scan, s, project, range, (columns & WHO) != 0, err) != TR_OK ||
        ((columns & GROUPS) != 0 && read_types(r, err) != TR_OK)) {
        tr_store_read_close(r);
        return tr_wrap(err, "read project %d", (int)project);
    }
    *ret = r;
    return TR_OK;
}

void tr_store_read_close(struct tr_store_reader *r)
{
    if (r == NULL)
        return;
    scan_close(&r->scan);
    tr_arena_fini(&r->texts);
    tr_arena_fini(&r->names);
    tr_buf_fini(&r->unescaped);
    tr_props_fini(&r->props);
    free(r->arrays);
    free(r);
}

/* The text of a span that holds a JSON string; NULL for no span and for other values. */
static enum tr_rc text_of(struct tr_store_reader *r, struct tr_str raw, struct tr_str *ret,
                          struct tr_err *err)
{
    struct tr_json_value v = { .type = TR_JSON_STRING, .raw = raw };

    *ret = (struct tr_str){ NULL, 0 };
    if (raw.n < 2 || raw.p[0] != '"')
        return TR_OK;
    if (memchr(raw.p, '\\', raw.n) == NULL) {
        *ret = (struct tr_str){ raw.p + 1, raw.n - 2 };
        return TR_OK;
    }
    v.flags = TR_JSON_ESCAPES;
    *ret = tr_json_text(&v, &r->unescaped);
    if (ret->p != NULL)
        *ret = tr_arena_str(&r->texts, *ret);
    return ret->p != NULL ? TR_OK : tr_fail_oom(err);
}

/* What the event shows of its person; made in texts where it is not what the person had. */
static enum tr_rc shown_of(struct tr_store_reader *r, const struct tr_event *e,
                           const struct who_person *p, struct tr_str *ret, struct tr_err *err)
{
    *ret = TR_STR("{}");
    if (p == NULL)
        return TR_OK;
    enum tr_rc rc = tr_people_shown(&r->props, e, p->properties, ret, err);
    if (rc == TR_OK && ret->p == r->props.out.p) {
        *ret = tr_arena_str(&r->texts, *ret);
        r->made += ret->n;
    }
    return rc != TR_OK || ret->p != NULL ? rc : tr_fail_oom(err);
}

/* Whose the event was. Nobody's has the id that a person of its distinct id would have. */
static enum tr_rc add_who(struct tr_store_reader *r, const struct tr_event *e, size_t i,
                          struct tr_err *err)
{
    union tr_vector *col = r->batch.col;
    uint32_t number = r->scan.numbers[r->n];
    const struct who_person *p = number == 0 ? NULL : &r->scan.persons[number - 1];

    if (col[TR_EVENT_PERSON_ID].uuid != NULL && p == NULL)
        tr_person_id(e->project, e->distinct_id, &col[TR_EVENT_PERSON_ID].uuid[i]);
    else if (col[TR_EVENT_PERSON_ID].uuid != NULL)
        col[TR_EVENT_PERSON_ID].uuid[i] = p->id;
    if (col[TR_EVENT_PERSON_PROPERTIES].str == NULL)
        return TR_OK;
    return shown_of(r, e, p, &col[TR_EVENT_PERSON_PROPERTIES].str[i], err);
}

static bool wants_groups(const struct tr_batch *b)
{
    for (int g = 0; g < TR_GROUP_TYPES; g++)
        if (b->col[TR_EVENT_GROUP_0 + g].str != NULL)
            return true;
    return false;
}

/* An event without a person shows no groups. */
static enum tr_rc add_groups(struct tr_store_reader *r, const struct tr_event *e, size_t i,
                             struct tr_err *err)
{
    struct tr_str keys[TR_GROUP_TYPES] = { { NULL, 0 } };
    struct tr_json_value groups;
    struct tr_facts f;

    if (r->types.n > 0 && tr_json_find(e->properties, TR_STR("$groups"), &groups) &&
        groups.type == TR_JSON_OBJECT) {
        tr_facts_read(e->properties, &f);
        if (tr_people_is_full(e, &f) && !tr_groups_of(groups.raw, &r->types, &r->texts, keys))
            return tr_fail_oom(err);
    }
    for (int g = 0; g < TR_GROUP_TYPES; g++)
        if (r->batch.col[TR_EVENT_GROUP_0 + g].str != NULL)
            r->batch.col[TR_EVENT_GROUP_0 + g].str[i] = keys[g];
    return TR_OK;
}

static enum tr_rc add_row(struct tr_store_reader *r, const struct tr_event *e, struct tr_err *err)
{
    struct tr_batch *b = &r->batch;
    union tr_vector *col = b->col;
    size_t i = b->rows++;

    b->flags[i] = e->flags;
    b->inserted_at[i] = e->inserted_at;
    if (col[TR_EVENT_UUID].uuid != NULL)
        col[TR_EVENT_UUID].uuid[i] = e->uuid;
    if (col[TR_EVENT_EVENT].str != NULL)
        col[TR_EVENT_EVENT].str[i] = e->event;
    if (col[TR_EVENT_PROPERTIES].str != NULL)
        col[TR_EVENT_PROPERTIES].str[i] = e->properties;
    if (col[TR_EVENT_ELEMENTS].str != NULL)
        col[TR_EVENT_ELEMENTS].str[i] = tr_event_span(e, e->elements_chain);
    if (col[TR_EVENT_SET].str != NULL)
        col[TR_EVENT_SET].str[i] = tr_event_span(e, e->set);
    if (col[TR_EVENT_SET_ONCE].str != NULL)
        col[TR_EVENT_SET_ONCE].str[i] = tr_event_span(e, e->set_once);
    if (col[TR_EVENT_DISTINCT_ID].str != NULL)
        col[TR_EVENT_DISTINCT_ID].str[i] = e->distinct_id;
    if (col[TR_EVENT_TEAM_ID].i64 != NULL)
        col[TR_EVENT_TEAM_ID].i64[i] = e->project;
    if (col[TR_EVENT_SITE_URL].str != NULL)
        col[TR_EVENT_SITE_URL].str[i] = (struct tr_str){ NULL, 0 };
    if (col[TR_EVENT_TIMESTAMP].i64 != NULL)
        col[TR_EVENT_TIMESTAMP].i64[i] = e->timestamp;
    if (col[TR_EVENT_CREATED_AT].i64 != NULL)
        col[TR_EVENT_CREATED_AT].i64[i] = e->inserted_at;
    if (col[TR_EVENT_INSERTED_AT].i64 != NULL)
        col[TR_EVENT_INSERTED_AT].i64[i] = e->inserted_at;
    if (col[TR_EVENT_SENT_AT].i64 != NULL)
        col[TR_EVENT_SENT_AT].i64[i] = r->sent_at;
    if (r->scan.with_who && add_who(r, e, i, err) != TR_OK)
        return err->rc;
    if (wants_groups(b) && add_groups(r, e, i, err) != TR_OK)
        return err->rc;
    if (col[TR_EVENT_IP].str != NULL &&
        text_of(r, tr_event_span(e, e->ip), &col[TR_EVENT_IP].str[i], err) != TR_OK)
        return err->rc;
    if (col[TR_EVENT_ELEMENTS_CHAIN].str != NULL &&
        text_of(r, tr_event_span(e, e->elements_chain), &col[TR_EVENT_ELEMENTS_CHAIN].str[i],
                err) != TR_OK)
        return err->rc;
    return TR_OK;
}

/* Rows from the piece at hand, until the batch is full or the piece is through. */
static enum tr_rc fill(struct tr_store_reader *r, struct tr_err *err)
{
    const struct tr_buf *rows = &r->scan.rows;

    while (r->at < rows->n && r->batch.rows < TR_BATCH_ROWS && r->made < MADE_BYTES) {
        struct tr_event e;
        r->at += tr_event_unpack(rows->p + r->at, rows->n - r->at, &e);
        bool in_range = e.inserted_at >= r->range.lo && e.inserted_at < r->range.hi;
        if (in_range && add_row(r, &e, err) != TR_OK)
            return err->rc;
        r->n++;
    }
    return TR_OK;
}

enum tr_rc tr_store_next(struct tr_store_reader *r, struct tr_batch **ret, struct tr_err *err)
{
    tr_arena_reset(&r->texts);
    r->batch.rows = 0;
    r->made = 0;
    r->sent_at = tr_clock_wall_us();
    for (;;) {
        if (fill(r, err) != TR_OK)
            return tr_wrap(err, "read project %d", (int)r->scan.project);
        if (r->batch.rows > 0) {
            *ret = &r->batch;
            return TR_OK;
        }
        struct block_row block;
        enum scan_kind kind;
        r->at = 0;
        r->n = 0;
        if (scan_next(&r->scan, &kind, &block, err) != TR_OK ||
            (kind == SCAN_BLOCK && scan_load(&r->scan, &block, err) != TR_OK))
            return tr_wrap(err, "read project %d", (int)r->scan.project);
        if (kind == SCAN_END) {
            *ret = NULL;
            return TR_OK;
        }
    }
}
