#include "warehouse.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "net/http_policy.h"
#include "os/random.h"

static struct {
    json_t *where;
    char *key;
    char dataset[64];
    pid_t pid;
    FILE *to, *from;
} w;

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "warehouse: %s: %s\n", what, why);
    abort();
}

static const char *where(const char *name)
{
    return json_string_value(json_object_get(w.where, name));
}

/* ---- the reader ---- */

static void start_reader(void)
{
    const char *python = getenv("VENV");
    char path[512], script[] = TR_TEST_LIB "/bq_reader.py";
    int in[2], out[2];

    (void)snprintf(path, sizeof(path), "%s%s", python == NULL ? "" : python,
                   python == NULL ? "python3" : "/bin/python");
    if (pipe(in) != 0 || pipe(out) != 0)
        die("pipe", "failed");
    w.pid = fork();
    if (w.pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        (void)close(in[1]);
        (void)close(out[0]);
        (void)execlp(path, path, script, where("url"), where("key"), (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    w.to = fdopen(in[1], "w");
    w.from = fdopen(out[0], "r");
}

static json_t *ask(json_t *command)
{
    char *line = json_dumps(command, JSON_COMPACT);
    char *answer = NULL;
    size_t cap = 0;

    (void)fprintf(w.to, "%s\n", line);
    (void)fflush(w.to);
    if (getline(&answer, &cap, w.from) <= 0)
        die(line, "the reader is gone");
    json_t *j = json_loads(answer, JSON_DECODE_ANY, NULL);
    if (json_object_get(j, "error") != NULL)
        die(line, answer);
    json_t *ok = json_incref(json_object_get(j, "ok"));
    json_decref(j);
    json_decref(command);
    free(answer);
    free(line);
    return ok;
}

json_t *warehouse_ask(const char *format, ...)
{
    json_error_t e;
    va_list ap;

    va_start(ap, format);
    json_t *command = json_vpack_ex(&e, 0, format, ap);
    va_end(ap);
    if (command == NULL)
        die(format, e.text);
    return ask(command);
}

/* ---- queries ---- */

static char *with_dataset(const char *sql)
{
    struct tr_buf b;

    tr_buf_init(&b, 1 << 26);
    for (; *sql != '\0'; sql++) {
        if (sql[0] == '%' && sql[1] == 'D') {
            tr_buf_z(&b, w.dataset);
            sql++;
        } else {
            tr_buf_ch(&b, *sql);
        }
    }
    tr_buf_ch(&b, '\0');
    return b.p;
}

int64_t warehouse_number(const char *sql)
{
    char *text = with_dataset(sql);
    json_t *j = warehouse_ask("[s, s]", "ask", text);
    int64_t n = json_is_integer(j) ? json_integer_value(j) : -1;

    json_decref(j);
    free(text);
    return n;
}

void warehouse_do(const char *sql)
{
    char *text = with_dataset(sql);

    json_decref(warehouse_ask("[s, s]", "do", text));
    free(text);
}

/* ---- the place ---- */

static const char *connect_to(const char *variable, const char *without)
{
    const char *given = getenv(variable);
    struct tr_buf key;
    struct tr_err err;

    if (given == NULL || given[0] == '\0')
        return without;
    w.where = json_loads(given, 0, NULL);
    tr_buf_init(&key, 1 << 20);
    FILE *f = fopen(where("key"), "r");
    if (f == NULL)
        die("open", where("key"));
    char *at = tr_buf_reserve(&key, 65536);
    size_t n = fread(at, 1, 65535, f);
    at[n] = '\0';
    (void)fclose(f);
    w.key = at;
    if (tr_egress_set(false, where("host"), &err) != TR_OK)
        die("allow", err.cause);
    start_reader();
    return NULL;
}

const char *warehouse_connect(void)
{
    return connect_to("TR_TEST_BQ", "TR_TEST_BQ does not say where a stand-in for BigQuery is");
}

const char *warehouse_connect_fake(void)
{
    return connect_to("TR_TEST_BQ_FAKE", "TR_TEST_BQ_FAKE does not say where a fake BigQuery is");
}

void warehouse_disconnect(void)
{
    int status;

    (void)fclose(w.to);
    (void)fclose(w.from);
    (void)waitpid(w.pid, &status, 0);
    json_decref(w.where);
    free(w.key);
}

const char *warehouse_dataset(void)
{
    return w.dataset;
}

json_t *warehouse_fresh(void)
{
    char hex[17];

    tr_random_hex(hex, 8);
    (void)snprintf(w.dataset, sizeof(w.dataset), "exports_%s", hex);
    json_decref(warehouse_ask("[s, s]", "dataset", w.dataset));
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "key_file", w.key, "dataset_id", w.dataset,
                     "table_id", "events", "api_endpoint", where("url"), "new_table_seconds", 0,
                     "loads_per_10_seconds", 1000);
}

int64_t warehouse_rows(void)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s.events", w.dataset);
    json_t *j = warehouse_ask("[s, s]", "count", name);
    int64_t n = json_integer_value(j);
    json_decref(j);
    return n;
}

/* ---- faults ---- */

static size_t keep(char *p, size_t size, size_t n, void *arg)
{
    tr_buf_add(arg, p, size * n);
    return size * n;
}

int64_t warehouse_control(const char *format, ...)
{
    CURL *c = curl_easy_init();
    struct tr_buf answer;
    json_error_t e;
    char url[256];
    va_list ap;

    va_start(ap, format);
    json_t *command = json_vpack_ex(&e, 0, format, ap);
    va_end(ap);
    if (command == NULL)
        die(format, e.text);
    char *body = json_dumps(command, JSON_COMPACT);
    tr_buf_init(&answer, 65536);
    (void)snprintf(url, sizeof(url), "%s/_control", where("url"));
    (void)curl_easy_setopt(c, CURLOPT_URL, url);
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer);
    if (curl_easy_perform(c) != CURLE_OK)
        die("control", body);
    json_t *j = json_loadb(answer.p, answer.n, 0, NULL);
    int64_t count = json_integer_value(json_object_get(j, "count"));
    json_decref(j);
    json_decref(command);
    tr_buf_fini(&answer);
    curl_easy_cleanup(c);
    free(body);
    return count;
}
