/* The destination Postgres against its floor: psql \copy of the same rows, binary, into the same
 * table.
 *
 *   TR_TEST_PG="host=.. port=.. user=.. password=.. dbname=.." pg_bench [ROWS] [ROUNDS] [SSLMODE]
 *
 * Rows are made before anything is timed. Each round empties the table before psql and before us,
 * and changes who goes first. Printed: rows/s of both, the median of the ratios of one round, our
 * CPU time for a row. Give the server durable settings (test/lib/pg.sh start DIR durable).
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "dest/postgres/postgres.h"
#include "os/clock.h"
#include "os/random.h"

enum { CHUNK = 100000, BATCH = 4000, MAX_ROUNDS = 51, PROPERTIES = 926, ROW_TEXT = 1400 };

static PGconn *admin;

static void *must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static void check(enum tr_rc rc, const struct tr_err *err)
{
    char text[520];

    if (rc == TR_OK)
        return;
    (void)fprintf(stderr, "%s\n", tr_err_text(err, text, sizeof(text)));
    exit(1);
}

static void sql(const char *text)
{
    PGresult *r = PQexec(admin, text);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        (void)fprintf(stderr, "%s%s\n", PQerrorMessage(admin), text);
        exit(1);
    }
    PQclear(r);
}

/* --- rows: a web page's events, as its SDK sends them --- */

static size_t properties(char *at, uint64_t n)
{
    char id[33];

    tr_random_hex(id, 16);
    int used = sprintf(
        at,
        "{\"$os\":\"Mac OS "
        "X\",\"$os_version\":\"10.15.7\",\"$browser\":\"Chrome\",\"$device_type\":"
        "\"Desktop\",\"$current_url\":\"https://app.example.com/project/%" PRIu64
        "/insights?tab=%" PRIu64
        "\",\"$host\":\"app.example.com\",\"$pathname\":\"/project/%" PRIu64
        "/insights\",\"$browser_version\":%" PRIu64
        ",\"$screen_height\":1080,\"$screen_width\":1920,"
        "\"$viewport_height\":969,\"$viewport_width\":1903,\"$lib\":\"web\",\"$lib_version\":"
        "\"1.205.%" PRIu64 "\",\"$insert_id\":\"%s\",\"$time\":1795253400.%03" PRIu64
        ",\"distinct_id\":\"0194c2f1-7aa1-7e3b-%s\",\"$session_id\":\"%s\",\"$window_id\":\"%s\","
        "\"$referrer\":\"$direct\",\"$referring_domain\":\"$direct\",\"$is_identified\":true,"
        "\"title\":\"Insights \\u2022 "
        "Example\",\"price\":54.10,\"$set\":{\"plan\":\"scale\",\"seats\":"
        "%" PRIu64 "},\"$set_once\":{\"$initial_referrer\":\"$direct\"},\"$ip\":\"192.0.2.%" PRIu64
        "\",\"note\":\"",
        n % 500, n % 7, n % 500, 120 + n % 9, n % 40, id, n % 1000, id + 16, id, id + 8, n % 90,
        n % 250);
    size_t length = (size_t)used;
    for (; length < PROPERTIES - 2; length++)
        at[length] = (char)('a' + (length * 7 + n) % 26);
    at[length++] = '"';
    at[length++] = '}';
    return length;
}

static void fill(struct tr_batch *b, char *text, uint64_t from)
{
    for (size_t i = 0; i < b->rows; i++, text += ROW_TEXT) {
        uint64_t n = from + i;
        struct tr_str p = { text, properties(text, n) };
        char *id = text + p.n;
        int id_length = sprintf(id, "0194c2f1-7aa1-7e3b-9d1c-%012" PRIx64, n % 20000);

        b->col[TR_EVENT_UUID].uuid[i] = tr_random_uuid7();
        b->col[TR_EVENT_EVENT].str[i] = n % 3 == 0 ? TR_STR("$autocapture") : TR_STR("$pageview");
        b->col[TR_EVENT_PROPERTIES].str[i] = p;
        b->col[TR_EVENT_ELEMENTS].str[i] =
            n % 3 == 0 ? TR_STR("\"button.btn:nth-child=\\\"2\\\"text=\\\"Save\\\";div.card\"")
                       : (struct tr_str){ NULL, 0 };
        b->col[TR_EVENT_SET].str[i] = TR_STR("{\"plan\":\"scale\",\"seats\":12}");
        b->col[TR_EVENT_SET_ONCE].str[i] = TR_STR("{\"$initial_referrer\":\"$direct\"}");
        b->col[TR_EVENT_DISTINCT_ID].str[i] = (struct tr_str){ id, (size_t)id_length };
        b->col[TR_EVENT_TEAM_ID].i64[i] = 1;
        b->col[TR_EVENT_IP].str[i] = TR_STR("192.0.2.17");
        b->col[TR_EVENT_SITE_URL].str[i] = TR_STR("");
        b->col[TR_EVENT_TIMESTAMP].i64[i] = INT64_C(1795253400000000) + (int64_t)n;
        b->inserted_at[i] = INT64_C(1795253400000000) + (int64_t)n;
    }
}

static struct tr_batch *batch_new(uint64_t from)
{
    struct tr_batch *b = must(calloc(1, sizeof(*b)));

    b->schema = &tr_schema_events;
    b->rows = BATCH;
    for (size_t c = 0; c < TR_EVENT_COLUMNS; c++)
        b->col[c].str = must(calloc(BATCH, sizeof(struct tr_str)));
    b->flags = must(calloc(BATCH, sizeof(*b->flags)));
    b->inserted_at = must(calloc(BATCH, sizeof(*b->inserted_at)));
    fill(b, must(malloc((size_t)BATCH * ROW_TEXT)), from);
    return b;
}

/* --- the two ways --- */

static struct tr_conf *configure(const char *sslmode)
{
    struct tr_conf *conf = NULL;
    struct tr_err err = { 0 };
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "host", PQhost(admin), "port",
                          PQport(admin), "user", PQuser(admin), "password", PQpass(admin),
                          "database", PQdb(admin), "schema", "tr_bench", "sslmode", sslmode);

    check(tr_conf_parse(tr_dest_postgres_ops.options, o, &conf, &err), &err);
    json_decref(o);
    return conf;
}

static struct tr_dest *open_dest(const struct tr_conf *conf)
{
    struct tr_ctx cx = { .deadline_us = INT64_MAX };
    struct tr_projection p = { .schema = &tr_schema_events };
    struct tr_err err = { 0 };
    struct tr_dest *d = NULL;

    for (; tr_dest_postgres_events[p.n] != NULL; p.n++) {
        p.name[p.n] = tr_dest_postgres_events[p.n];
        p.column[p.n] = tr_schema_find(p.schema, tr_str_of(p.name[p.n]));
    }
    check(tr_dest_postgres_ops.open(&cx, conf, &d, &err), &err);
    check(d->ops->prepare(&cx, d, &p, NULL, &err), &err);
    return d;
}

static void deliver(struct tr_dest *d, struct tr_batch *const *batches, uint64_t rows)
{
    static int64_t next = 1;
    struct tr_ctx cx = { .deadline_us = INT64_MAX };
    struct tr_err err = { 0 };
    struct tr_receipt receipt = { 0 };

    for (uint64_t done = 0; done < rows; done += CHUNK, next++) {
        struct tr_load_spec spec = { .key = { .export_id = tr_random_uuid4(),
                                              .range = { next, next + 1 } } };
        struct tr_load *l = NULL;
        check(d->ops->begin(&cx, d, &spec, &l, &err), &err);
        for (size_t i = 0; i < CHUNK / BATCH; i++)
            check(l->ops->write(&cx, l, batches[i], &err), &err);
        check(l->ops->commit(&cx, l, &receipt, &err), &err);
    }
}

static double psql(const char *file)
{
    char command[1024];
    int64_t began = tr_clock_boot_us();

    (void)snprintf(
        command, sizeof(command),
        "psql -qX \"$TR_TEST_PG\" -c \"\\\\copy tr_bench.events from '%s' (format binary)\"", file);
    if (system(command) != 0) /* NOLINT: a bench's own command line */
        exit(1);
    return (double)(tr_clock_boot_us() - began) / 1e6;
}

/* As the server gives them back: JSON with its keys in jsonb's order, the fastest it can be given.
 */
static void dump(const char *file)
{
    FILE *out = must(fopen(file, "wb"));
    char *block = NULL;
    int n;

    PQclear(PQexec(admin, "COPY tr_bench.events TO STDOUT (FORMAT binary)"));
    while ((n = PQgetCopyData(admin, &block, 0)) > 0) {
        (void)fwrite(block, 1, (size_t)n, out);
        PQfreemem(block);
    }
    while (PQgetResult(admin) != NULL)
        ;
    if (n != -1 || fclose(out) != 0)
        exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 300000;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    double ours[MAX_ROUNDS], floor_s[MAX_ROUNDS], ratio[MAX_ROUNDS], cpu[MAX_ROUNDS];
    struct tr_batch *batches[CHUNK / BATCH];
    const char *sslmode = argc > 3 ? argv[3] : "disable";
    char file[] = "/tmp/tr-pg-bench-XXXXXX";

    if (rounds == 0 || rounds > MAX_ROUNDS || getenv("TR_TEST_PG") == NULL)
        return 2;
    rows = (rows + CHUNK - 1) / CHUNK * CHUNK;
    admin = PQconnectdb(getenv("TR_TEST_PG"));
    if (PQstatus(admin) != CONNECTION_OK || mkstemp(file) < 0)
        return 1;
    (void)setenv("PGSSLMODE", sslmode, 1); /* of psql: the same as ours */
    sql("SET client_min_messages = warning");
    sql("DROP SCHEMA IF EXISTS tr_bench CASCADE; CREATE SCHEMA tr_bench");
    for (size_t i = 0; i < CHUNK / BATCH; i++)
        batches[i] = batch_new(i * BATCH);
    struct tr_conf *conf = configure(sslmode);
    struct tr_dest *d = open_dest(conf);
    deliver(d, batches, rows);
    dump(file);

    for (size_t i = 0; i < rounds; i++) {
        for (size_t turn = 0; turn < 2; turn++) {
            sql("TRUNCATE tr_bench.events");
            sql("CHECKPOINT");
            if (turn == i % 2) {
                floor_s[i] = psql(file);
                continue;
            }
            int64_t began = tr_clock_boot_us(), used = tr_clock_cpu_us();
            deliver(d, batches, rows);
            ours[i] = (double)(tr_clock_boot_us() - began) / 1e6;
            cpu[i] = (double)(tr_clock_cpu_us() - used) / (double)rows;
        }
        ratio[i] = floor_s[i] / ours[i];
        (void)printf(
            "round %zu: psql %.0f rows/s, tailrace %.0f rows/s, ratio %.3f, CPU %.2f us/row\n",
            i + 1, (double)rows / floor_s[i], (double)rows / ours[i], ratio[i], cpu[i]);
        (void)fflush(stdout);
    }
    (void)printf("median: ratio %.3f (at least 0.9), CPU %.2f us/row (at most 8), %.0f rows/s\n",
                 median(ratio, rounds), median(cpu, rounds), (double)rows / median(ours, rounds));
    d->ops->close(d);
    tr_conf_free(conf);
    (void)unlink(file);
    PQfinish(admin);
    return 0;
}
