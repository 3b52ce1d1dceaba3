/* What an event costs the derived state, on one thread: reading its facts, applying it to its
 * session, making the session's row. Nanoseconds of CPU time each; nothing else runs, no disk is
 * touched.
 *
 *   gcc -O2 -D_GNU_SOURCE -Isrc -o identity_bench bench/identity_bench.c \
 *       src/identity/{channel,channel_list,facts,session,session_record,session_row,url}.c \
 *       src/model/{batch,columns_sessions}.c \
 *       src/base/{arena,buf,err,hash,json,json_number,json_text,json_valid,json_walk,str,utf8,uuid}.c
 * \ -lcrypto -lxxhash -lm -lpthread
 *   ./identity_bench [sessions]
 *
 * Sessions are met in turn, so that with many of them (50,000 when not said otherwise) none is in
 * the processor's nearest cache: what the store's own cache sees.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/time.h"
#include "identity/session.h"

enum { ROUNDS = 2000000 };

#define URL "https://shop.example.com/products/waterwheel?utm_source=newsletter&size="

/* As a browser's SDK sends them: 25 members, some 780 bytes. */
static const char properties[] =
    "{\"$os\":\"Mac OS X\",\"$os_version\":\"10.15.7\",\"$browser\":\"Chrome\",\"$device_type\":"
    "\"Desktop\",\"$current_url\":\"" URL "100\",\"$host\":\"shop.example.com\",\"$pathname\":"
    "\"/products/waterwheel\",\"$browser_version\":126,\"$browser_language\":\"en-GB\","
    "\"$screen_height\":1080,\"$screen_width\":1920,\"$viewport_height\":960,\"$viewport_width\":"
    "1905,"
    "\"$lib\":\"web\",\"$lib_version\":\"1.205.0\",\"$insert_id\":\"k2v9w1u8x7c6b5n4\",\"$time\":"
    "1721379600.123,\"distinct_id\":\"0190c8e2-7a5b-7cc3-9d1e-2f4a6b8c0d1e\",\"$device_id\":"
    "\"0190c8e2-7a5b-7cc3-9d1e-2f4a6b8c0d1e\",\"$referrer\":\"$direct\",\"$referring_domain\":"
    "\"$direct\",\"token\":\"phc_0123456789abcdef\",\"$session_id\":"
    "\"0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b\",\"$window_id\":\"0190c8e2-7a5d-7f00-8a1b-"
    "3c5e11112222\","
    "\"utm_source\":\"newsletter\"}";

struct session {
    char *record;
    size_t n;
};

static int64_t cpu_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void say(const char *what, int64_t since, size_t n)
{
    (void)printf("%-52s %8.1f ns\n", what, (double)(cpu_ns() - since) / (double)n);
}

static void keep(struct session *s, enum tr_session_change change,
                 const struct tr_session_room *room)
{
    if (change != TR_SESSION_BUILT)
        return;
    size_t n = tr_session_size(room->record);
    if (n > s->n) {
        free(s->record);
        s->record = malloc(n);
        if (s->record == NULL)
            exit(1);
    }
    s->n = n;
    memcpy(s->record, room->record, n);
}

static void bench_facts(void)
{
    struct tr_str text = TR_STR(properties);
    struct tr_facts f;
    struct tr_uuid id;
    uint64_t found = 0;

    int64_t start = cpu_ns();
    for (size_t i = 0; i < ROUNDS; i++) {
        tr_facts_read(text, &f);
        found += f.present & 1;
    }
    say("facts of an event of 780 bytes", start, ROUNDS);
    start = cpu_ns();
    for (size_t i = 0; i < ROUNDS; i++)
        found += tr_session_id(&f, &id);
    say("the session's id", start, ROUNDS);
    if (found != ROUNDS)
        exit(1);
}

/* Applies name to the sessions in turn, each time a second later. */
static void bench_apply(const char *what, const char *name, struct session *sessions, size_t n,
                        const struct tr_facts *f, struct tr_session_room *room)
{
    static int64_t now;
    struct tr_event e = { .event = tr_str_of(name),
                          .distinct_id = TR_STR("0190c8e2-7a5b-7cc3-9d1e-2f4a6b8c0d1e") };

    int64_t start = cpu_ns();
    for (size_t i = 0; i < ROUNDS; i++) {
        struct session *s = &sessions[i % n];
        now += TR_US_PER_S;
        e.timestamp = e.inserted_at = now;
        keep(s, tr_session_apply(s->record, &e, f, room), room);
    }
    say(what, start, ROUNDS);
}

static void bench_new(const struct tr_facts *f, struct tr_session_room *room)
{
    struct tr_event e = { .event = TR_STR("$pageview"), .distinct_id = TR_STR("someone") };
    uint64_t bytes = 0;

    int64_t start = cpu_ns();
    for (size_t i = 0; i < ROUNDS; i++) {
        (void)tr_session_apply(NULL, &e, f, room);
        bytes += tr_session_size(room->record);
    }
    say("a session's first event", start, ROUNDS);
    (void)printf("%-52s %8" PRIu64 "\n", "  bytes of its record", bytes / ROUNDS);
}

/* Each page view at another address, until no more are kept. */
static void bench_addresses(struct tr_session_room *room)
{
    struct tr_event e = { .event = TR_STR("$pageview"), .distinct_id = TR_STR("someone") };
    struct session s = { NULL, 0 };

    int64_t start = cpu_ns();
    for (size_t i = 0; i < ROUNDS / 10; i++) {
        char text[200];
        struct tr_facts f;
        int len = snprintf(text, sizeof(text), "{\"$current_url\":\"" URL "%zu\"}", i % 1000);
        tr_facts_read((struct tr_str){ text, (size_t)len }, &f);
        e.timestamp = (int64_t)i;
        if (i % 1000 == 0)
            s = (struct session){ s.record, 0 };
        keep(&s, tr_session_apply(s.n == 0 ? NULL : s.record, &e, &f, room), room);
    }
    say("1,000 addresses, 200 of them kept, facts included", start, ROUNDS / 10);
    free(s.record);
}

static void bench_rows(const struct session *sessions, size_t n)
{
    enum { ROWS = 1000 };
    static union {
        struct tr_str s;
        int64_t i;
        struct tr_uuid u;
        double d;
    } arrays[TR_SESSION_COLUMNS][ROWS];
    static uint32_t flags[ROWS];
    static int64_t inserted_at[ROWS];
    struct tr_batch b = { .schema = &tr_schema_sessions,
                          .flags = flags,
                          .inserted_at = inserted_at };
    struct tr_arena texts;
    struct tr_uuid id = { { 1, 144, 200, 226, 122, 93, 127, 0, 138, 27, 60, 93, 126, 159, 10,
                            27 } };

    for (size_t c = 0; c < TR_SESSION_COLUMNS; c++)
        b.col[c].str = (void *)arrays[c];
    tr_arena_init(&texts, 1 << 26);
    int64_t start = cpu_ns();
    for (size_t i = 0; i < ROUNDS / 10; i++) {
        if (i % ROWS == 0)
            tr_arena_reset(&texts);
        if (tr_session_row(sessions[i % n].record, 1, &id, &b, i % ROWS, &texts, NULL) != TR_OK)
            exit(1);
    }
    say("a row of all columns", start, ROUNDS / 10);
    tr_arena_fini(&texts);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 50000;
    struct session *sessions = calloc(n == 0 ? 1 : n, sizeof(*sessions));
    struct tr_session_room *room = malloc(sizeof(*room));
    struct tr_facts f;

    if (n == 0 || sessions == NULL || room == NULL)
        return 2;
    tr_facts_read(TR_STR(properties), &f);
    bench_facts();
    bench_new(&f, room);
    bench_apply("page views, one session", "$pageview", sessions, 1, &f, room);
    bench_apply("other events, one session", "clicked", sessions, 1, &f, room);
    (void)printf("%zu sessions in turn:\n", n);
    bench_apply("page views", "$pageview", sessions, n, &f, room);
    bench_apply("autocaptures", "$autocapture", sessions, n, &f, room);
    bench_apply("other events", "clicked", sessions, n, &f, room);
    bench_addresses(room);
    bench_rows(sessions, n);
    for (size_t i = 0; i < n; i++)
        free(sessions[i].record);
    free(sessions);
    free(room);
    return 0;
}
