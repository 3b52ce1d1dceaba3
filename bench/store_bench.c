/* The store alone, beside its floors in the same run:
 *
 *   store_bench FOLDER [events] [events of history] [projects] [group events] [groups in flight]
 *
 * writes that many events of some 1 KB through submit..done, reads them back sealed, and does the
 * same bytes with memcpy and with write + fdatasync. Every event has a fresh uuid. One JSON object
 * on stdout; the folder must be new.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/metric.h"
#include "model/event.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "store/store_priv.h"

enum { PAD = 760 };

struct bench {
    struct tr_store *s;
    size_t per, in_flight;
    int projects;
    uint64_t next;
    struct tr_monitor m;
    size_t out;
    uint64_t stored, refused;
};

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

static int64_t thread_cpu_us(pthread_t t)
{
    clockid_t id;
    struct timespec ts = { 0 };

    if (pthread_getcpuclockid(t, &id) == 0)
        (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static struct tr_uuid uuid_of(uint64_t n)
{
    struct tr_uuid u;
    uint64_t a = mix(n);
    uint64_t b = mix(n ^ UINT64_C(0x5555555555555555));

    memcpy(u.b, &a, 8);
    memcpy(u.b + 8, &b, 8);
    return u;
}

/* Properties as an SDK sends them: words that repeat, numbers that do not. */
static size_t make_properties(char *out, size_t cap, uint64_t n)
{
    static const char *const words[] = { "Chrome",
                                         "Firefox",
                                         "Safari",
                                         "Linux",
                                         "Windows",
                                         "Mac OS X",
                                         "https://example.com/pricing",
                                         "https://example.com/docs" };
    int at =
        snprintf(out, cap,
                 "{\"$ip\":\"203.0.113.%u\",\"$browser\":\"%s\",\"$os\":\"%s\",\"$current_url\":"
                 "\"%s\",\"$lib\":\"web\",\"$lib_version\":\"1.205.0\",\"n\":%" PRIu64,
                 (unsigned)(n % 250), words[n % 3], words[3 + n % 3], words[6 + n % 2], n);
    for (int i = 0; at < PAD; i++)
        at += snprintf(out + at, cap - (size_t)at, ",\"prop_%d\":\"value %" PRIu64 "\"", i,
                       mix(n * 31 + (uint64_t)i) % 100000);
    at += snprintf(out + at, cap - (size_t)at, "}");
    return (size_t)at;
}

static void fill(struct bench *b, struct tr_group *g)
{
    tr_buf_clear(&g->rows);
    for (size_t i = 0; i < b->per; i++) {
        char properties[2048];
        char who[32];
        uint64_t n = b->next++;
        struct tr_event e = { .project = (int32_t)(1 + n % (uint64_t)b->projects),
                              .uuid = uuid_of(n),
                              .timestamp = tr_clock_wall_us(),
                              .event = TR_STR("$pageview"),
                              .ip = { 7, 14 } };
        e.properties = (struct tr_str){ properties, make_properties(properties, 2048, n) };
        e.distinct_id =
            (struct tr_str){ who, (size_t)snprintf(who, sizeof(who), "user-%" PRIu64, n % 50000) };
        g->events[i].at = (uint32_t)g->rows.n;
        tr_event_pack(&g->rows, &e);
    }
}

static void done(struct tr_group *g, enum tr_rc rc, const struct tr_err *err)
{
    struct bench *b = g->owner;

    tr_monitor_enter(&b->m);
    b->out--;
    for (size_t i = 0; i < g->n_events && rc == TR_OK; i++)
        b->stored += g->events[i].outcome == TR_EVENT_STORED;
    if (rc != TR_OK && b->refused++ == 0)
        (void)fprintf(stderr, "refused: %s\n", err->cause);
    tr_monitor_tell(&b->m);
    tr_monitor_leave(&b->m);
}

/* Prepared groups are submitted round and round; only their uuids are new each time. */
static void renew(struct bench *b, struct tr_group *g)
{
    for (size_t i = 0; i < g->n_events; i++) {
        struct tr_uuid u = uuid_of(b->next++);
        memcpy(g->rows.p + g->events[i].at + 40, &u, sizeof(u));
    }
}

static int64_t run(struct bench *b, struct tr_group *groups, size_t n, uint64_t events)
{
    int64_t start = tr_clock_boot_us();
    struct tr_err err;

    for (uint64_t sent = 0, i = 0; sent < events; sent += b->per, i++) {
        struct tr_group *g = &groups[i % n];
        tr_monitor_enter(&b->m);
        while (b->out >= b->in_flight)
            (void)tr_monitor_wait(&b->m, -1);
        b->out++;
        tr_monitor_leave(&b->m);
        renew(b, g);
        while (tr_store_submit(b->s, g, &err) != TR_OK)
            tr_clock_sleep_us(1000);
    }
    tr_monitor_enter(&b->m);
    while (b->out > 0)
        (void)tr_monitor_wait(&b->m, -1);
    tr_monitor_leave(&b->m);
    return tr_clock_boot_us() - start;
}

/* History for deduplication, without events: tables that are frozen and flushed. */
static void make_history(struct bench *b, uint64_t entries)
{
    struct dedup *d = &b->s->dedup;
    struct tr_err err;
    struct dedup_view v;

    for (uint64_t i = 0; i < entries;) {
        bool told;
        dedup_view_begin(d, &v);
        for (int k = 0; k < 65536 && i < entries; k++, i++) {
            struct dedup_entry e = { .key = { uuid_of(~i), (int32_t)(1 + i % 50) },
                                     .inserted_at = tr_store_now(b->s) };
            if (dedup_add(&v, dedup_hash_key(&d->limits.hash, &e.key), &e, &err) != TR_OK)
                exit(2);
        }
        dedup_view_end(&v, true);
        if (dedup_freeze(d, 0, true, &told, &err) != TR_OK)
            exit(2);
        worker_tell(&b->s->keeper);
        for (bool busy = true; busy;) {
            tr_clock_sleep_us(500);
            tr_monitor_enter(&d->monitor);
            busy = d->frozen != NULL;
            tr_monitor_leave(&d->monitor);
        }
    }
}

static int64_t floor_memcpy(const struct tr_group *groups, size_t n, uint64_t bytes)
{
    char *to = malloc(8 << 20);
    int64_t start = tr_clock_boot_us();

    for (uint64_t done_bytes = 0, i = 0, at = 0; done_bytes < bytes; i++) {
        const struct tr_buf *rows = &groups[i % n].rows;
        if (at + rows->n > 8 << 20)
            at = 0;
        memcpy(to + at, rows->p, rows->n);
        at += rows->n;
        done_bytes += rows->n;
    }
    int64_t us = tr_clock_boot_us() - start;
    free(to);
    return us;
}

static int64_t floor_write(const char *dir, const struct tr_group *groups, size_t n, uint64_t bytes,
                           uint64_t per_sync)
{
    char path[4096];
    struct tr_err err;

    (void)snprintf(path, sizeof(path), "%s/floor", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int64_t start = tr_clock_boot_us();
    uint64_t unsynced = 0;
    uint64_t in_file = 0;
    for (uint64_t done_bytes = 0, i = 0; done_bytes < bytes; i++) {
        const struct tr_buf *rows = &groups[i % n].rows;
        if (tr_file_write_all(fd, rows->p, rows->n, &err) != TR_OK)
            exit(2);
        done_bytes += rows->n;
        unsynced += rows->n;
        in_file += rows->n;
        if (unsynced >= per_sync) {
            (void)fdatasync(fd);
            unsynced = 0;
        }
        if (in_file >= 64 << 20) { /* as the journal begins segments */
            (void)close(fd);
            (void)unlink(path);
            fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            in_file = 0;
        }
    }
    (void)fdatasync(fd);
    int64_t us = tr_clock_boot_us() - start;
    (void)close(fd);
    (void)unlink(path);
    return us;
}

static int64_t read_all(struct bench *b, int32_t project, struct tr_range range, uint64_t *ret_rows)
{
    tr_column_mask columns = 1U << TR_EVENT_UUID | 1U << TR_EVENT_EVENT |
                             1U << TR_EVENT_PROPERTIES | 1U << TR_EVENT_TIMESTAMP;
    struct tr_store_reader *r;
    struct tr_batch *batch;
    struct tr_err err;
    int64_t start = tr_clock_boot_us();
    uint64_t touched = 0;

    *ret_rows = 0;
    if (tr_store_read(b->s, project, range, columns, &r, &err) != TR_OK)
        exit(2);
    while (tr_store_next(r, &batch, &err) == TR_OK && batch != NULL) {
        *ret_rows += batch->rows;
        for (size_t i = 0; i < batch->rows; i++) {
            const struct tr_str *p = &batch->col[TR_EVENT_PROPERTIES].str[i];
            touched += (unsigned char)p->p[p->n / 2];
        }
    }
    tr_store_read_close(r);
    if (touched == 1)
        (void)fputs("", stderr);
    return tr_clock_boot_us() - start;
}

int main(int argc, char **argv)
{
    struct tr_store_options o;
    struct tr_err err = { 0 };
    struct bench b = { 0 };
    uint64_t events = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    uint64_t history = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;

    if (argc < 2) {
        (void)fprintf(stderr,
                      "use: store_bench FOLDER [events] [history] [projects] [per] [flight]\n");
        return 2;
    }
    b.projects = argc > 4 ? atoi(argv[4]) : 1;
    b.per = argc > 5 ? strtoull(argv[5], NULL, 10) : 50 * 50;
    b.in_flight = argc > 6 ? strtoull(argv[6], NULL, 10) : 4;
    tr_random_bytes(&b.next, sizeof(b.next));
    tr_monitor_init(&b.m);
    tr_store_options_default(&o);
    o.dir = argv[1];
    if (tr_store_open(&o, &b.s, &err) != TR_OK) {
        (void)fprintf(stderr, "%s%s\n", err.where, err.cause);
        return 1;
    }
    size_t n = b.in_flight * 2;
    struct tr_group *groups = calloc(n, sizeof(*groups));
    for (size_t i = 0; i < n; i++) {
        groups[i] = (struct tr_group){ .n_events = b.per, .done = done, .owner = &b };
        tr_buf_init(&groups[i].rows, (size_t)1 << 30);
        groups[i].events = calloc(b.per, sizeof(*groups[i].events));
        fill(&b, &groups[i]);
    }
    double bytes_each = (double)groups[0].rows.n / (double)b.per;
    if (history > 0)
        make_history(&b, history);

    int64_t cpu = thread_cpu_us(b.s->writer);
    int64_t keeper_cpu = thread_cpu_us(b.s->keeper.thread);
    int64_t sealer_cpu = thread_cpu_us(b.s->sealer.thread);
    int64_t first = tr_store_now(b.s);
    int64_t us = run(&b, groups, n, events);
    cpu = thread_cpu_us(b.s->writer) - cpu;
    int64_t syncs = tr_metric_value("tailrace_store_syncs_total");
    int64_t sync_us = tr_metric_value("tailrace_store_sync_microseconds_total");
    uint64_t bytes = (uint64_t)(bytes_each * (double)events);
    uint64_t per_sync = bytes / (uint64_t)(syncs > 0 ? syncs : 1);

    while (tr_metric_value("tailrace_store_sealed_events_total") + 20000 < (int64_t)events)
        tr_clock_sleep_us(100000);
    keeper_cpu = thread_cpu_us(b.s->keeper.thread) - keeper_cpu;
    sealer_cpu = thread_cpu_us(b.s->sealer.thread) - sealer_cpu;
    struct tr_range whole = { first, tr_store_closed_through(b.s) };
    uint64_t rows;
    int64_t read_cpu = thread_cpu_us(pthread_self());
    int64_t read_us = read_all(&b, 1, whole, &rows);
    read_cpu = thread_cpu_us(pthread_self()) - read_cpu;
    struct tr_range tenth = { first, first + (whole.hi - first) / 10 };
    uint64_t tenth_rows;
    int64_t tenth_us = read_all(&b, 1, tenth, &tenth_rows);
    int64_t memcpy_cpu = thread_cpu_us(pthread_self());
    int64_t memcpy_us = floor_memcpy(groups, n, bytes);
    int64_t write_cpu = thread_cpu_us(pthread_self());
    int64_t write_us = floor_write(argv[1], groups, n, bytes, per_sync);
    memcpy_cpu = write_cpu - memcpy_cpu;
    write_cpu = thread_cpu_us(pthread_self()) - write_cpu;
    struct tr_store_status st;
    struct rusage usage;
    tr_store_status(b.s, &st);
    (void)getrusage(RUSAGE_SELF, &usage);

    (void)printf("{\"events\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"bytes_each\":%.0f,"
                 "\"history\":%" PRIu64 ",\"projects\":%d,\"dedup_runs\":%" PRIu64 ",\n",
                 events, b.stored, bytes_each, history, b.projects, st.dedup_runs);
    (void)printf(" \"events_per_s\":%.0f,\"syncs\":%" PRId64 ",\"sync_s\":%.3f,"
                 "\"groups_per_sync\":%.1f,\n",
                 (double)events / seconds(us), syncs, seconds(sync_us),
                 (double)events / (double)b.per / (double)(syncs > 0 ? syncs : 1));
    (void)printf(" \"memcpy_events_per_s\":%.0f,\"write_fdatasync_events_per_s\":%.0f,"
                 "\"of_write_fdatasync\":%.2f,\n",
                 (double)events / seconds(memcpy_us), (double)events / seconds(write_us),
                 (double)write_us / (double)us);
    (void)printf(" \"read_rows\":%" PRIu64 ",\"read_rows_per_s\":%.0f,\"tenth_rows\":%" PRIu64
                 ",\"tenth_rows_per_s\":%.0f,\"read_of_memcpy\":%.3f,\n",
                 rows, (double)rows / seconds(read_us), tenth_rows,
                 (double)tenth_rows / seconds(tenth_us),
                 (double)rows / seconds(read_us) / ((double)events / seconds(memcpy_us)));
    (void)printf(
        " \"cpu_us_per_event\":{\"writer\":%.3f,\"keeper\":%.3f,\"sealer\":%.3f,\"read\":%.3f,"
        "\"floor_memcpy\":%.3f,\"floor_write_fdatasync\":%.3f},\n",
        (double)cpu / (double)events, (double)keeper_cpu / (double)events,
        (double)sealer_cpu / (double)events, (double)read_cpu / (double)(rows > 0 ? rows : 1),
        (double)memcpy_cpu / (double)events, (double)write_cpu / (double)events);
    (void)printf(" \"max_rss_mib\":%ld,\"block_bytes_each\":%.0f}\n", usage.ru_maxrss / 1024,
                 (double)st.block_bytes / (double)(st.events > 0 ? st.events : 1));
    tr_store_close(b.s);
    for (size_t i = 0; i < n; i++) {
        tr_buf_fini(&groups[i].rows);
        free(groups[i].events);
    }
    free(groups);
    return b.stored == events && b.refused == 0 ? 0 : 1;
}
