#include "kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/event.h"
#include "os/clock.h"
#include "os/file.h"

void kit_init(struct kit *k)
{
    const char *tmp = getenv("TMPDIR");

    *k = (struct kit){ .clock = clock_source_system };
    (void)snprintf(k->dir, sizeof(k->dir), "%.40s/trs-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(k->dir));
    tr_store_options_default(&k->o);
    k->o.dir = k->dir;
}

enum tr_rc kit_try_open(struct kit *k, struct tr_err *err)
{
    return store_open_with(&k->o, &k->clock, &k->s, err);
}

void kit_open(struct kit *k)
{
    struct tr_err err = { 0 };

    if (kit_try_open(k, &err) != TR_OK)
        fail_msg("open: %s%s", err.where, err.cause);
}

void kit_close(struct kit *k)
{
    tr_store_close(k->s);
    k->s = NULL;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);

    if (d != NULL) {
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            char inner[1024];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            (void)snprintf(inner, sizeof(inner), "%s/%s", path, e->d_name);
            remove_tree(inner);
        }
        (void)closedir(d);
        (void)rmdir(path);
        return;
    }
    (void)unlink(path);
}

void kit_fini(struct kit *k)
{
    kit_close(k);
    remove_tree(k->dir);
}

struct tr_uuid kit_uuid(uint64_t number)
{
    struct tr_uuid u;
    uint64_t spread = number * UINT64_C(0x9E3779B97F4A7C15);

    memcpy(u.b, &spread, 8);
    memcpy(u.b + 8, &number, 8);
    return u;
}

uint64_t kit_number(const struct tr_uuid *u)
{
    uint64_t number;

    memcpy(&number, u->b + 8, 8);
    return number;
}

void kit_pack(struct tr_buf *out, const struct kit_event *k, size_t pad)
{
    char name[32];
    char who[32];
    struct tr_buf properties;

    tr_buf_init(&properties, 64 << 20);
    (void)snprintf(name, sizeof(name), "e%" PRIu64, k->number % 7);
    (void)snprintf(who, sizeof(who), "user-%" PRIu64, k->number % 1000);
    tr_buf_printf(&properties, "{\"$ip\":\"10.0.0.%d\",\"n\":%" PRIu64 ",\"pad\":\"",
                  (int)(k->number % 256), k->number);
    for (size_t i = 0; i < pad; i++)
        tr_buf_ch(&properties, (char)('a' + (i * 7 + k->number) % 26));
    tr_buf_printf(&properties, "\"%s}", k->more == NULL ? "" : k->more);
    assert_false(properties.failed);

    struct tr_event e = {
        .project = k->project,
        .uuid = kit_uuid(k->number),
        .timestamp = (int64_t)k->number * 1000,
        .event = tr_str_of(k->event == NULL ? name : k->event),
        .distinct_id = tr_str_of(who),
        .properties = tr_buf_view(&properties),
        .ip = { 7, (uint32_t)(strcspn(properties.p + 8, "\"") + 2) },
    };
    tr_event_pack(out, &e);
    tr_buf_fini(&properties);
}

struct waiter {
    struct tr_monitor m;
    bool done;
    enum tr_rc rc;
    struct tr_err err;
};

static void on_done(struct tr_group *g, enum tr_rc rc, const struct tr_err *err)
{
    struct waiter *w = g->owner;

    tr_monitor_enter(&w->m);
    w->rc = rc;
    if (err != NULL)
        w->err = *err;
    w->done = true;
    tr_monitor_tell(&w->m);
    tr_monitor_leave(&w->m);
}

enum tr_rc kit_send_group(struct kit *k, struct tr_group *g, struct tr_err *err)
{
    struct waiter w = { 0 };

    tr_monitor_init(&w.m);
    g->done = on_done;
    g->owner = &w;
    enum tr_rc rc = tr_store_submit(k->s, g, err);
    if (rc == TR_OK) {
        tr_monitor_enter(&w.m);
        while (!w.done)
            (void)tr_monitor_wait(&w.m, -1);
        tr_monitor_leave(&w.m);
        rc = w.rc;
        if (rc != TR_OK)
            *err = w.err;
    }
    tr_monitor_fini(&w.m);
    return rc;
}

void kit_group_init(struct kit_group *ret, const struct tr_event *events, size_t n)
{
    *ret = (struct kit_group){ .g.n_events = n };
    tr_buf_init(&ret->g.rows, (size_t)1 << 30);
    ret->g.events = calloc(n, sizeof(*ret->g.events));
    assert_non_null(ret->g.events);
    for (size_t i = 0; i < n; i++) {
        ret->g.events[i].at = (uint32_t)ret->g.rows.n;
        tr_event_pack(&ret->g.rows, &events[i]);
    }
    assert_false(ret->g.rows.failed);
}

void kit_group_fini(struct kit_group *g)
{
    free(g->g.events);
    tr_buf_fini(&g->g.rows);
}

enum tr_rc kit_send(struct kit *k, struct kit_event *events, size_t n, struct tr_err *err)
{
    struct tr_group g = { .n_events = n };

    tr_buf_init(&g.rows, (size_t)1 << 30);
    g.events = calloc(n, sizeof(*g.events));
    assert_non_null(g.events);
    for (size_t i = 0; i < n; i++) {
        g.events[i].at = (uint32_t)g.rows.n;
        kit_pack(&g.rows, &events[i], k->pad);
    }
    assert_false(g.rows.failed);
    enum tr_rc rc = kit_send_group(k, &g, err);
    for (size_t i = 0; i < n; i++)
        events[i].outcome = g.events[i].outcome;
    free(g.events);
    tr_buf_fini(&g.rows);
    return rc;
}

enum tr_rc kit_send_refused(struct kit *k, int32_t project, uint32_t refused, struct tr_err *err)
{
    struct tr_group_refused r = { project, refused };
    struct tr_group g = { .refused = &r, .n_refused = 1 };

    return kit_send_group(k, &g, err);
}

void kit_store(struct kit *k, int32_t project, uint64_t first, size_t n, size_t per)
{
    struct kit_event *events = calloc(per, sizeof(*events));

    assert_non_null(events);
    for (size_t done = 0; done < n;) {
        size_t m = n - done < per ? n - done : per;
        struct tr_err err = { 0 };
        for (size_t i = 0; i < m; i++)
            events[i] = (struct kit_event){ .project = project, .number = first + done + i };
        if (kit_send(k, events, m, &err) != TR_OK)
            fail_msg("send: %s%s", err.where, err.cause);
        for (size_t i = 0; i < m; i++)
            assert_int_equal(events[i].outcome, TR_EVENT_STORED);
        done += m;
    }
    free(events);
}

int64_t kit_fence(struct kit *k)
{
    int64_t t = tr_store_now(k->s);

    for (int i = 0; !tr_store_close_through(k->s, t); i++) {
        assert_true(i < 10000);
        tr_clock_sleep_us(1000);
    }
    return t;
}

size_t kit_read(struct kit *k, int32_t project, struct tr_range range, uint64_t *numbers,
                size_t cap)
{
    struct tr_store_reader *r;
    struct tr_err err = { 0 };
    size_t n = 0;
    int64_t last = INT64_MIN;

    if (tr_store_read(k->s, project, range,
                      1U << TR_EVENT_UUID | 1U << TR_EVENT_TEAM_ID | 1U << TR_EVENT_IP |
                          1U << TR_EVENT_EVENT,
                      &r, &err) != TR_OK)
        fail_msg("read: %s%s", err.where, err.cause);
    for (;;) {
        struct tr_batch *b;
        if (tr_store_next(r, &b, &err) != TR_OK)
            fail_msg("next: %s%s", err.where, err.cause);
        if (b == NULL)
            break;
        assert_true(b->rows > 0 && b->rows <= TR_BATCH_ROWS);
        for (size_t i = 0; i < b->rows; i++, n++) {
            assert_true(b->inserted_at[i] > last);
            assert_true(b->inserted_at[i] >= range.lo && b->inserted_at[i] < range.hi);
            last = b->inserted_at[i];
            assert_int_equal(b->col[TR_EVENT_TEAM_ID].i64[i], project);
            if (n < cap)
                numbers[n] = kit_number(&b->col[TR_EVENT_UUID].uuid[i]);
        }
    }
    tr_store_read_close(r);
    return n;
}

size_t kit_read_all(struct kit *k, int32_t project, uint64_t *numbers, size_t cap)
{
    struct tr_range all = { 0, tr_store_closed_through(k->s) };

    return kit_read(k, project, all, numbers, cap);
}

void kit_seal_all(struct kit *k)
{
    struct journal_position last;

    journal_position(&k->s->journal, &last);
    atomic_store(&k->s->seal_wanted, last.last_seq);
    worker_tell(&k->s->sealer);
    for (int i = 0; i < 10000; i++) {
        if (atomic_load(&k->s->sealed_seq) >= last.last_seq)
            return;
        tr_clock_sleep_us(1000);
    }
    fail_msg("sealing does not end: %s", k->s->sealer.trouble);
}

void kit_path(struct kit *k, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", k->dir, name);
}

void kit_last_file(struct kit *k, const char *folder, const char *ending, char out[256])
{
    char path[256];
    char best[128] = "";

    kit_path(k, folder, path);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (n < sizeof(best) && n > strlen(ending) &&
            strcmp(e->d_name + n - strlen(ending), ending) == 0 && strcmp(e->d_name, best) > 0)
            memcpy(best, e->d_name, n + 1);
    }
    (void)closedir(d);
    assert_true(best[0] != '\0');
    (void)snprintf(out, 256, "%s/%s/%s", k->dir, folder, best);
}

int64_t kit_file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void copy_file(const char *from, const char *to)
{
    struct tr_buf bytes;
    struct tr_err err;

    tr_buf_init(&bytes, (size_t)1 << 30);
    assert_int_equal(tr_file_read(from, &bytes, &err), TR_OK);
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(tr_file_write_all(fd, bytes.p, bytes.n, &err), TR_OK);
    (void)close(fd);
    tr_buf_fini(&bytes);
}

void kit_copy_dir(const char *from, const char *to)
{
    DIR *d = opendir(from);

    assert_non_null(d);
    (void)mkdir(to, 0700);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char a[512];
        char b[512];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(a, sizeof(a), "%s/%s", from, e->d_name);
        (void)snprintf(b, sizeof(b), "%s/%s", to, e->d_name);
        assert_int_equal(stat(a, &st), 0);
        if (S_ISDIR(st.st_mode))
            kit_copy_dir(a, b);
        else
            copy_file(a, b);
    }
    (void)closedir(d);
}

void kit_flip(const char *path, int64_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}
