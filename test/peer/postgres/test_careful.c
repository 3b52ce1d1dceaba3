/* Chunks of which very many rows are bad: all good rows arrive, every bad one is counted, and what
 * that costs grows with the chunk, not with the number of bad rows in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loader.h"
#include "server.h"

enum { ROW_BYTES = 600 };

static void must(enum tr_rc rc, const struct loader *l)
{
    char text[520];

    if (rc != TR_OK)
        fail_msg("%s: %s", l->err.id == NULL ? "?" : l->err.id,
                 tr_err_text(&l->err, text, sizeof(text)));
}

static json_t *behind(json_t *config, const struct proxy *p)
{
    if (json_object_set_new(config, "host", json_string("127.0.0.1")) != 0 ||
        json_object_set_new(config, "port", json_integer(proxy_port(p))) != 0)
        fail();
    return config;
}

/* Row i of the chunk is in batch i / TR_BATCH_ROWS; team_id tells whether the table takes it. */
static struct rows *batch(size_t first, size_t n, bool (*is_bad)(size_t))
{
    struct rows *r = rows_new(n, (uint32_t)(1 + first / TR_BATCH_ROWS), ROW_BYTES);

    for (size_t i = 0; i < n; i++)
        r->batch.col[TR_EVENT_TEAM_ID].i64[i] = is_bad(first + i) ? 2 : 1;
    return r;
}

static bool is_second_half(size_t i)
{
    return i % 100000 >= 50000;
}

static bool is_odd(size_t i)
{
    return i % 2 == 1;
}

/* A coin's throw, the same each time: runs of all lengths. */
static bool is_random(size_t i)
{
    uint64_t x = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);

    x ^= x >> 29;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    return (x >> 40 & 1) == 1;
}

static bool is_rare(size_t i)
{
    return i % 997 == 500;
}

static const struct bad_case {
    const char *name, *sql;
    bool (*is_bad)(size_t);
    size_t rows;
    double factor; /* bytes sent at most, in chunks */
} cases[] = {
    { "no partition for half of a chunk",
      "CREATE TABLE %S.events (uuid text, properties jsonb, team_id int) PARTITION BY LIST "
      "(team_id);"
      "CREATE TABLE %S.p PARTITION OF %S.events FOR VALUES IN (1)",
      is_second_half, 100000, 3 },
    { "every second row",
      "CREATE TABLE %S.events (uuid text, properties jsonb, team_id int CHECK (team_id = 1))",
      is_odd, 5000, 5 },
    { "one of two, at random",
      "CREATE TABLE %S.events (uuid text, properties jsonb, team_id int CHECK (team_id = 1))",
      is_random, 5000, 5 },
    { "one of a thousand",
      "CREATE TABLE %S.events (uuid text, properties jsonb, team_id int CHECK (team_id = 1))",
      is_rare, 5000, 5 },
    { "one of two, checked at the statement's end (no line is named)",
      "CREATE TABLE %S.known (id int PRIMARY KEY); INSERT INTO %S.known VALUES (1);"
      "CREATE TABLE %S.events (uuid text, properties jsonb, team_id int REFERENCES %S.known)",
      is_random, 5000, 6 },
    { "one of a thousand, at the statement's end",
      "CREATE TABLE %S.known (id int PRIMARY KEY); INSERT INTO %S.known VALUES (1);"
      "CREATE TABLE %S.events (uuid text, properties jsonb, team_id int REFERENCES %S.known)",
      is_rare, 5000, 6 },
};

static size_t deliver(struct loader *l, const struct bad_case *c)
{
    struct tr_key key = rows_key();
    struct tr_load *load = NULL;
    size_t bad = 0;

    must(loader_begin(l, &key, true, &load), l);
    for (size_t first = 0; first < c->rows; first += TR_BATCH_ROWS) {
        size_t n = c->rows - first < TR_BATCH_ROWS ? c->rows - first : TR_BATCH_ROWS;
        struct rows *r = batch(first, n, c->is_bad);
        struct tr_ctx cx = loader_time(300000);

        for (size_t i = 0; i < n; i++)
            bad += c->is_bad(first + i);
        must(load->ops->write(&cx, load, &r->batch, &l->err), l);
        rows_free(r);
    }
    struct tr_ctx cx = loader_time(60000);
    must(load->ops->commit(&cx, load, &l->receipt, &l->err), l);
    return bad;
}

static void bad_rows_cost_a_small_multiple_of_the_chunk(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct bad_case *c = &cases[i];
        struct proxy *p = proxy_start();
        struct loader *l = loader_new(behind(server_fresh(), p));

        print_message("# %s\n", c->name);
        server_do(c->sql);
        server_do("GRANT INSERT ON ALL TABLES IN SCHEMA %S TO %U");
        must(loader_prepare(l, (const char *const[]){ "uuid", "properties", "team_id", NULL }), l);
        size_t bad = deliver(l, c);
        double sent = (double)proxy_sent(p) / ((double)c->rows * ROW_BYTES);
        print_message("# %.1f chunks' bytes for %zu bad rows\n", sent, bad);
        assert_int_equal(l->receipt.rejected, bad);
        assert_int_equal(l->receipt.delivered, c->rows - bad);
        assert_int_equal(server_number("SELECT count(*) FROM %S.events"), c->rows - bad);
        assert_int_equal(server_number("SELECT count(DISTINCT uuid) FROM %S.events"),
                         c->rows - bad);
        assert_int_equal(server_number("SELECT count(*) FROM %S.events WHERE team_id <> 1"), 0);
        if (sent > c->factor)
            fail_msg("%.1f times the chunk went over the wire", sent);
        loader_free(l);
        proxy_stop(p);
    }
}

/* begin() may take a second and a half; the COPY that it opens may take longer, as long as it gets
 * on.
 */
static void a_copy_may_take_longer_than_a_call(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(100, 1, 100), *more = rows_new(100, 2, 100);
    struct tr_load_spec spec = { .key = rows_key(), .owner = rows_owner };
    struct tr_ctx cx = loader_time(1500);
    struct tr_load *load = NULL;

    (void)state;
    must(loader_prepare(l, NULL), l);
    cx = loader_time(1500);
    must(l->dest->ops->begin(&cx, l->dest, &spec, &load, &l->err), l);
    cx = loader_time(1500);
    must(load->ops->write(&cx, load, &r->batch, &l->err), l);
    server_do("SELECT pg_sleep(2)");
    cx = loader_time(1500);
    must(load->ops->write(&cx, load, &more->batch, &l->err), l);
    cx = loader_time(5000);
    must(load->ops->commit(&cx, load, &l->receipt, &l->err), l);
    assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 200);
    loader_free(l);
    rows_free(more);
    rows_free(r);
}

/* What the server does at the end of the statement takes too long for so many rows: they are asked
 * for in smaller chunks, not again and again as they were. */
static void a_chunk_that_takes_too_long_is_too_wide(void **state)
{
    struct loader *l = loader_new(server_fresh());
    struct rows *r = rows_new(100, 1, 100);
    struct tr_key key = rows_key();
    struct tr_load *load = NULL;

    (void)state;
    server_do("CREATE TABLE %S.events (uuid text, event text);"
              "CREATE FUNCTION %S.slow() RETURNS trigger LANGUAGE plpgsql AS"
              " $f$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $f$;"
              "CREATE TRIGGER s AFTER INSERT ON %S.events FOR EACH ROW EXECUTE FUNCTION %S.slow();"
              "GRANT INSERT ON %S.events TO %U");
    must(loader_prepare(l, NULL), l);
    must(loader_begin(l, &key, false, &load), l);
    struct tr_ctx cx = loader_time(5000);
    must(load->ops->write(&cx, load, &r->batch, &l->err), l);
    cx = loader_time(500);
    assert_int_equal(load->ops->commit(&cx, load, &l->receipt, &l->err), TR_TRANSIENT);
    assert_ptr_equal(l->err.id, tr_dest_too_wide);
    assert_non_null(strstr(l->err.hint, "--chunk-rows"));
    r->batch.rows = 5;
    must(loader_begin(l, &key, false, &load), l);
    cx = loader_time(5000);
    must(load->ops->write(&cx, load, &r->batch, &l->err), l);
    cx = loader_time(5000);
    must(load->ops->commit(&cx, load, &l->receipt, &l->err), l);
    assert_int_equal(server_number("SELECT count(*) FROM %S.events"), 5);
    loader_free(l);
    rows_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_may_take_longer_than_a_call),
        cmocka_unit_test(a_chunk_that_takes_too_long_is_too_wide),
        cmocka_unit_test(bad_rows_cost_a_small_multiple_of_the_chunk),
    };
    const char *why = server_connect();

    if (why != NULL) {
        print_message("1..0 # SKIP %s\n", why);
        return 0;
    }
    int failed = cmocka_run_group_tests_name("postgres careful", tests, NULL, NULL);
    server_disconnect();
    return failed;
}
