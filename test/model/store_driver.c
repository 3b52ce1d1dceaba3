/* Puts a history (test/lib/history.py) from standard input into a real store and prints what comes
 * out: {"at":N} for each command, the instant of ingestion that it got, then the rows.
 *
 *   store_driver SEED      groups, restarts, sealing, commits and cache sizes are drawn from it
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/store/kit.h"
#include "base/json.h"
#include "rows.h"

enum { LINE_MOST = 1 << 24, GROUP_MOST = 30, PROJECTS_MOST = 1 << 16 };

/* What the store takes for the time: the history's. */
static _Atomic int64_t now;

static int64_t time_us(void *ctx)
{
    (void)ctx;
    return atomic_load(&now);
}

static void boot_id(void *ctx, char out[INCLOCK_BOOT_ID])
{
    (void)ctx;
    memset(out, 'b', INCLOCK_BOOT_ID - 1);
    out[INCLOCK_BOOT_ID - 1] = '\0';
}

static struct {
    int32_t id;
    int64_t first;
} projects[PROJECTS_MOST];
static size_t n_projects;

static void note_project(int32_t id, int64_t at)
{
    for (size_t i = n_projects; i-- > 0 && i + 4 > n_projects;)
        if (projects[i].id == id)
            return;
    assert_true(n_projects < PROJECTS_MOST);
    projects[n_projects].id = id;
    projects[n_projects++].first = at;
}

/* ---- commands ---- */

static struct tr_json_value member(struct tr_str line, const char *name)
{
    struct tr_json_value v;

    if (!tr_json_find(line, tr_str_of(name), &v))
        fail_msg("a command without %s", name);
    return v;
}

static int64_t number(struct tr_str line, const char *name)
{
    struct tr_json_value v = member(line, name);
    int64_t n;

    assert_true(tr_json_int64(&v, &n));
    return n;
}

static struct tr_uuid uuid_of(struct tr_str line, const char *name)
{
    struct tr_json_value v = member(line, name);
    struct tr_uuid u;

    assert_true(tr_uuid_parse((struct tr_str){ v.raw.p + 1, v.raw.n - 2 }, &u));
    return u;
}

static bool is_event(struct tr_str line)
{
    struct tr_json_value v = member(line, "do");

    return tr_json_text_is(&v, TR_STR("event"));
}

/* Events gathered for one group. */
struct gathered {
    struct tr_group g;
    struct tr_group_event events[GROUP_MOST];
    size_t wanted;
    struct tr_buf event, distinct_id;
};

static void gather(struct gathered *g, struct tr_str line)
{
    struct tr_json_value name = member(line, "event");
    struct tr_json_value who = member(line, "distinct_id");

    tr_buf_clear(&g->event);
    tr_buf_clear(&g->distinct_id);
    struct tr_event e = { .project = (int32_t)number(line, "project"),
                          .uuid = uuid_of(line, "uuid"),
                          .timestamp = number(line, "timestamp"),
                          .event = tr_json_text(&name, &g->event),
                          .distinct_id = tr_json_text(&who, &g->distinct_id),
                          .properties = member(line, "properties").raw };
    if (g->g.n_events == 0)
        atomic_store(&now, number(line, "inserted_at"));
    g->events[g->g.n_events++].at = (uint32_t)g->g.rows.n;
    tr_event_pack(&g->g.rows, &e);
    assert_false(g->g.rows.failed);
}

static void send(struct kit *k, struct gathered *g)
{
    struct tr_err err = { 0 };

    if (g->g.n_events == 0)
        return;
    g->g.events = g->events;
    if (kit_send_group(k, &g->g, &err) != TR_OK)
        fail_msg("send: %s%s", err.where, err.cause);
    for (size_t i = 0; i < g->g.n_events; i++) {
        struct tr_event e;
        assert_int_equal(g->events[i].outcome, TR_EVENT_STORED);
        assert_true(
            tr_event_unpack(g->g.rows.p + g->events[i].at, g->g.rows.n - g->events[i].at, &e) > 0);
        (void)printf("{\"at\":%" PRId64 "}\n", e.inserted_at);
        note_project(e.project, e.inserted_at);
    }
    g->g.n_events = 0;
    tr_buf_clear(&g->g.rows);
    g->wanted = 1 + (size_t)(rand() % (rand() % 3 == 0 ? GROUP_MOST : 3));
}

static void delete_person(struct kit *k, struct tr_str line)
{
    struct tr_err err = { 0 };
    struct tr_uuid id = uuid_of(line, "person_id");
    bool ids = member(line, "with_distinct_ids").type == TR_JSON_TRUE;

    atomic_store(&now, number(line, "inserted_at"));
    if (tr_store_person_delete(k->s, (int32_t)number(line, "project"), &id, ids, &err) != TR_OK)
        fail_msg("delete: %s%s", err.where, err.cause);
    (void)printf("{\"at\":%" PRId64 "}\n", tr_store_closed_through(k->s) - 1);
}

/* ---- what comes out ---- */

static void print_events(struct kit *k, int32_t project, struct tr_range range)
{
    struct tr_store_reader *r;
    struct tr_batch *b;
    struct tr_err err = { 0 };
    tr_column_mask columns = 1U << TR_EVENT_TEAM_ID | 1U << TR_EVENT_UUID |
                             1U << TR_EVENT_PERSON_ID | 1U << TR_EVENT_PERSON_PROPERTIES |
                             0x1FU << TR_EVENT_GROUP_0;

    assert_ok(tr_store_read(k->s, project, range, columns, &r, &err));
    for (;;) {
        if (tr_store_next(r, &b, &err) != TR_OK)
            fail_msg("next: %s%s", err.where, err.cause);
        if (b == NULL)
            break;
        print_rows("event", b);
    }
    tr_store_read_close(r);
}

static void print_model(struct kit *k, const char *kind, const struct tr_schema *schema,
                        int32_t project, struct tr_range range)
{
    struct tr_store_rows *r;
    struct tr_batch *b;
    struct tr_err err = { 0 };

    assert_ok(tr_store_rows_read(k->s, schema, project, range,
                                 ~(tr_column_mask)0 >> (64 - schema->n), &r, &err));
    for (;;) {
        if (tr_store_rows_next(r, &b, &err) != TR_OK)
            fail_msg("next: %s%s", err.where, err.cause);
        if (b == NULL)
            break;
        print_rows(kind, b);
    }
    tr_store_rows_close(r);
}

struct warning {
    char type[64];
    uint64_t n;
};

/* Sums the days. */
static bool add_warning(void *arg, const struct tr_store_warning *w)
{
    struct warning *sums = arg;

    while (sums->n > 0 && strcmp(sums->type, w->type) != 0)
        sums++;
    (void)snprintf(sums->type, sizeof(sums->type), "%s", w->type);
    sums->n += w->n;
    return true;
}

static void print_project(struct kit *k, size_t i, int64_t end)
{
    struct warning sums[64] = { 0 };
    struct tr_err err = { 0 };
    int32_t project = projects[i].id;
    struct tr_range range = { projects[i].first, i + 4 < n_projects ? projects[i + 4].first : end };

    print_events(k, project, range);
    print_model(k, "person", &tr_schema_persons, project, range);
    print_model(k, "session", &tr_schema_sessions, project, range);
    print_model(k, "group", &tr_schema_groups, project, range);
    assert_ok(tr_store_warnings(k->s, project, 1000, add_warning, sums, &err));
    for (struct warning *w = sums; w->n > 0; w++)
        (void)printf("{\"row\":\"warning\",\"project\":%d,\"type\":\"%s\",\"count\":%" PRIu64 "}\n",
                     (int)project, w->type, w->n);
}

/* Now and then what a server does besides taking events. */
static void disturb(struct kit *k)
{
    struct tr_counts counts;
    struct tr_err err = { 0 };

    switch (rand() % 600) {
    case 0:
    case 1:
        kit_close(k);
        kit_open(k);
        break;
    case 2:
        kit_seal_all(k);
        break;
    case 3:
    case 4:
        assert_ok(derived_commit_through(&k->s->derived, tr_store_closed_through(k->s), &err));
        break;
    case 5:
        assert_ok(tr_store_counts(k->s, 1, (struct tr_range){ 0, 1 }, &counts, &err));
        break;
    default:
        break;
    }
}

static void tell(void **state)
{
    static struct gathered g;
    struct kit k;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    (void)state;
    kit_init(&k);
    k.clock = (struct clock_source){ time_us, time_us, boot_id, NULL };
    k.o.state_cache_bytes = (size_t)1 << (14 + rand() % 8);
    k.o.state_commit_us = rand() % 2 == 0 ? 0 : 1 << 30;
    k.o.seal_bytes = (size_t)1 << (14 + rand() % 8);
    k.o.block_bytes = (size_t)1 << (12 + rand() % 7);
    k.o.segment_bytes = 1 << 20;
    tr_buf_init(&g.g.rows, (size_t)1 << 30);
    tr_buf_init(&g.event, LINE_MOST);
    tr_buf_init(&g.distinct_id, LINE_MOST);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct tr_str s = { line, (size_t)n };
        if (k.s == NULL) {
            atomic_store(&now, number(s, "inserted_at") - 1000);
            kit_open(&k);
        }
        if (is_event(s))
            gather(&g, s);
        if (!is_event(s) || g.g.n_events >= g.wanted) {
            send(&k, &g);
            if (!is_event(s))
                delete_person(&k, s);
            disturb(&k);
        }
    }
    send(&k, &g);
    for (size_t i = 0; i < n_projects; i++)
        print_project(&k, i, tr_store_closed_through(k.s));
    free(line);
    tr_buf_fini(&g.g.rows);
    tr_buf_fini(&g.event);
    tr_buf_fini(&g.distinct_id);
    kit_fini(&k);
}

/* A test, so that what the kit asserts ends it with words. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tell) };

    if (argc != 2)
        return 2;
    srand((unsigned)atoi(argv[1]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
