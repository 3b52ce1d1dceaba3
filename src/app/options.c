#include "app/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

enum kind { TEXT, COUNT, BYTES, DURATION, SWITCH };

static const struct app_option {
    const char *name;
    enum kind kind;
    size_t at;
    const char *fallback;
    int64_t min, max; /* in the unit of the field */
    const char *doc;
} table[] = {
#define AT(field) offsetof(struct app_options, field)
    { "data", TEXT, AT(data), "tailrace-data", 0, 0, "folder that holds everything" },
    { "listen", TEXT, AT(listen), "127.0.0.1:8000", 0, 0,
      "address and port; port 0 picks a free one" },
    { "log-level", TEXT, AT(log_level), "info", 0, 0, "debug, info, warn or error" },
    { "trusted-proxies", TEXT, AT(trusted_proxies), "", 0, 0,
      "addresses or prefixes, with commas, whose X-Forwarded-For is believed" },
    { "egress", TEXT, AT(egress), "any", 0, 0, "any, or public: connect to public addresses only" },
    { "allow-hosts", TEXT, AT(allow_hosts), "", 0, 0,
      "host or host:port, with commas: may be private, without TLS, stand in for Google's" },
    { "iam-hosts", TEXT, AT(iam_hosts), "", 0, 0,
      "likewise, for Google's IAM: hosts that this server's own identity may be shown to" },
    { "google-identity", TEXT, AT(google_identity), "", 0, 0,
      "key file, or metadata: whom BigQuery exports impersonate service accounts as" },
    { "loops", COUNT, AT(loops), "0", 0, 64, "network threads; 0: by the number of processors" },
    { "workers", COUNT, AT(workers), "4", 1, 64, "runs at work at once" },
    { "waiting", COUNT, AT(waiting), "128", 1, 512,
      "and as many more that only wait for their destination" },
    { "live-workers", COUNT, AT(live_workers), "256", 1, 256,
      "exports in real time that are served at once" },
    { "api-workers", COUNT, AT(api_workers), "3", 1, 64, "API requests at once" },
    { "max-connections", COUNT, AT(max_connections), "10000", 1, 1000000,
      "open connections; more wait to be accepted" },
    { "max-header-bytes", BYTES, AT(max_header_bytes), "64KiB", 4096, 1 << 20,
      "request line and headers of one request" },
    { "max-batch-bytes", BYTES, AT(max_batch_bytes), "20MiB", 1024, 1 << 30,
      "a capture request, also after it was inflated" },
    { "max-event-bytes", BYTES, AT(max_event_bytes), "1MiB", 1024, 16 << 20, "one event" },
    { "max-ai-event-bytes", BYTES, AT(max_ai_event_bytes), "8MiB", 1024, 16 << 20,
      "one event on the routes for AI events" },
    { "max-api-body-bytes", BYTES, AT(max_api_body_bytes), "1MiB", 1024, 64 << 20,
      "the body of an API request" },
    { "body-budget", BYTES, AT(body_budget), "32MiB", 1 << 20, INT64_C(1) << 40,
      "bodies in memory at once, over all connections" },
    { "inline-body-bytes", BYTES, AT(inline_body_bytes), "0", 0, 1 << 20,
      "bodies up to this size live in the connection's buffer; 0: the server's choice" },
    { "queue-bytes", BYTES, AT(queue_bytes), "32MiB", 1 << 20, INT64_C(1) << 40,
      "events in memory that wait for the disk" },
    { "hold", DURATION, AT(hold_us), "5s", 0, 60 * TR_US_PER_S,
      "how long a request waits for a full server before 503" },
    { "body-timeout", DURATION, AT(body_timeout_us), "30s", TR_US_PER_S, TR_US_PER_HOUR,
      "silence within a body before 408" },
    { "idle-timeout", DURATION, AT(idle_timeout_us), "75s", 75 * TR_US_PER_S, TR_US_PER_DAY,
      "silence between requests before a connection is closed" },
    { "answer-timeout", DURATION, AT(answer_timeout_us), "10m", TR_US_PER_S, TR_US_PER_DAY,
      "work on one request before it is answered 503 and its connection closed" },
    { "drain-bytes", BYTES, AT(drain_bytes), "64MiB", 0, INT64_C(1) << 40,
      "what is read and dropped after an early answer (413, 503)" },
    { "grace", DURATION, AT(grace_us), "10s", 0, TR_US_PER_HOUR,
      "how long a stopping server waits for requests, and for runs" },
    { "dedup-age", DURATION, AT(dedup_age_us), "7d", TR_US_PER_MIN, 3650 * TR_US_PER_DAY,
      "a re-sent event is recognised for at least this long" },
    { "dedup-events", COUNT, AT(dedup_events), "20000000", 1000, INT64_C(1) << 40,
      "and for at least this many later events" },
    { "min-free", BYTES, AT(min_free_bytes), "64MiB", 0, INT64_C(1) << 50,
      "free disk below which events are refused" },
    { "max-clock-jump", DURATION, AT(max_clock_jump_us), "5m", TR_US_PER_S, 3650 * TR_US_PER_DAY,
      "a wall clock that steps further makes the server not ready" },
    { "accept-clock", SWITCH, AT(accept_clock), NULL, 0, 0,
      "the wall clock is right as it is now, whatever it was before" },
    { "restored", SWITCH, AT(restored), NULL, 0, 0,
      "the folder comes from a backup: what is sent from now on meets nothing of before" },
    { "segment-bytes", BYTES, AT(segment_bytes), "64MiB", 65536, INT64_C(1) << 31,
      "size of a journal file" },
    { "seal-bytes", BYTES, AT(seal_bytes), "16MiB", 65536, INT64_C(1) << 31,
      "unsealed journal that starts a sealing" },
    { "seal-age", DURATION, AT(seal_age_us), "10m", TR_US_PER_S, 7 * TR_US_PER_DAY,
      "age of the oldest unsealed event that starts one" },
    { "block-bytes", BYTES, AT(block_bytes), "1MiB", 65536, 64 << 20,
      "raw size of a sealed block" },
    { "state-cache", BYTES, AT(state_cache_bytes), "96MiB", 1 << 20, INT64_C(1) << 40,
      "persons, distinct ids and sessions kept in memory" },
    { "state-commit", DURATION, AT(state_commit_us), "10s", TR_US_PER_MS, TR_US_PER_HOUR,
      "persons and sessions are written at least this often; what was not is made again at a "
      "start" },
    { "chunk-rows", COUNT, AT(chunk_rows), "0", 0, 10000000,
      "events of a project in a chunk; 0: what suits the destination" },
    { "chunk-bytes", BYTES, AT(chunk_bytes), "0", 0, INT64_C(1) << 34,
      "bytes of events in a chunk; 0: what suits the destination" },
    { "lease", DURATION, AT(lease_us), "60s", 5 * TR_US_PER_S, TR_US_PER_HOUR,
      "how long a claimed run is its worker's without a sign of life" },
    { "quiet", DURATION, AT(quiet_us), "10m", 0, TR_US_PER_HOUR,
      "intervals in which nothing came in are one run, up to this length; 0: each has its own" },
    { "patience", DURATION, AT(patience_us), "5m", 0, TR_US_PER_HOUR,
      "how long a refusal that may pass (a failover, a new password) is tried again; 0: not" },
    { "keep-runs", DURATION, AT(keep_runs_us), "30d", 0, 36500 * TR_US_PER_DAY,
      "completed runs become numbers of their day after this time; 0: never" },
    { "keep-quiet-runs", DURATION, AT(keep_quiet_us), "1d", 0, 36500 * TR_US_PER_DAY,
      "those that found nothing, after this; 0: like the others" },
#undef AT
};
enum { OPTIONS = sizeof(table) / sizeof(table[0]) };

/* ---- numbers ---- */

struct unit {
    const char *name;
    int64_t factor;
};

static bool read_scaled(const char *text, const struct unit *units, size_t n, int64_t *ret)
{
    char *end = NULL;

    if (!isdigit((unsigned char)text[0]))
        return false;
    int64_t value = strtoll(text, &end, 10);
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(end, units[i].name) == 0)
            return !__builtin_mul_overflow(value, units[i].factor, ret);
    return false;
}

bool app_read_bytes(const char *text, int64_t *ret)
{
    static const struct unit units[] = {
        { "", 1 },          { "B", 1 },        { "KiB", 1 << 10 },   { "K", 1 << 10 },
        { "MiB", 1 << 20 }, { "M", 1 << 20 },  { "GiB", 1 << 30 },   { "G", 1 << 30 },
        { "KB", 1000 },     { "MB", 1000000 }, { "GB", 1000000000 }, { "TiB", INT64_C(1) << 40 },
    };

    return read_scaled(text, units, sizeof(units) / sizeof(units[0]), ret);
}

bool app_read_duration(const char *text, int64_t *ret_us)
{
    static const struct unit units[] = {
        { "s", TR_US_PER_S },   { "", TR_US_PER_S },        { "ms", TR_US_PER_MS },
        { "m", TR_US_PER_MIN }, { "min", TR_US_PER_MIN },   { "h", TR_US_PER_HOUR },
        { "d", TR_US_PER_DAY }, { "w", 7 * TR_US_PER_DAY },
    };

    return read_scaled(text, units, sizeof(units) / sizeof(units[0]), ret_us);
}

/* ---- one option ---- */

static bool set(const struct app_option *o, const char *from, const char *text,
                struct app_options *to)
{
    static const char *const what[] = {
        [COUNT] = "a whole number",
        [BYTES] = "a size such as 64MiB",
        [DURATION] = "a duration such as 90s, 10m, 7d",
    };
    void *field = (char *)to + o->at;
    int64_t value = 0;
    char *end = NULL;
    bool ok = true;

    switch (o->kind) {
    case TEXT:
        *(const char **)field = text;
        return true;
    case SWITCH:
        *(bool *)field =
            strcmp(text, "0") != 0 && strcasecmp(text, "false") != 0 && text[0] != '\0';
        return true;
    case COUNT:
        value = strtoll(text, &end, 10);
        ok = isdigit((unsigned char)text[0]) && *end == '\0';
        break;
    case BYTES:
        ok = app_read_bytes(text, &value);
        break;
    case DURATION:
        ok = app_read_duration(text, &value);
        break;
    }
    if (!ok) {
        (void)fprintf(stderr, "error: %s: '%s' is not %s\n", from, text, what[o->kind]);
        return false;
    }
    if (value < o->min || value > o->max) {
        (void)fprintf(stderr, "error: %s: '%s' is out of bounds (%lld to %lld%s)\n", from, text,
                      (long long)(o->kind == DURATION ? o->min / TR_US_PER_S : o->min),
                      (long long)(o->kind == DURATION ? o->max / TR_US_PER_S : o->max),
                      o->kind == DURATION ? " seconds"
                      : o->kind == BYTES  ? " bytes"
                                          : "");
        return false;
    }
    *(int64_t *)field = value;
    return true;
}

static void variable_name(const struct app_option *o, char out[64])
{
    int n = snprintf(out, 64, "TAILRACE_%s", o->name);

    for (int i = 9; i < n; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static void usage(void)
{
    (void)printf(
        "Usage: tailrace serve [options]\n\n"
        "Takes events from SDKs, keeps them, and runs the exports. Each option may stand in\n"
        "the environment instead: --max-batch-bytes is TAILRACE_MAX_BATCH_BYTES.\n\n"
        "Options:\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct app_option *o = &table[i];
        char left[48];

        (void)snprintf(left, sizeof(left), "--%s%s", o->name, o->kind == SWITCH ? "" : " VALUE");
        (void)printf("  %-28s %s%s%s%s\n", left, o->doc,
                     o->fallback != NULL && o->fallback[0] != '\0' ? " (" : "",
                     o->fallback == NULL ? "" : o->fallback,
                     o->fallback != NULL && o->fallback[0] != '\0' ? ")" : "");
    }
    (void)printf("  %-28s this text\n", "--help");
}

static const struct app_option *find(const char *name, size_t n)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
            return &table[i];
    return NULL;
}

static bool read_argument(int argc, char **argv, int *i, struct app_options *ret)
{
    const char *arg = argv[*i];

    if (strncmp(arg, "--", 2) != 0) {
        (void)fprintf(stderr, "error: unexpected argument '%s'; see tailrace serve --help\n", arg);
        return false;
    }
    size_t n = strcspn(arg + 2, "=");
    const struct app_option *o = find(arg + 2, n);
    if (o == NULL) {
        (void)fprintf(stderr, "error: there is no option '%s'; see tailrace serve --help\n", arg);
        return false;
    }
    const char *value = arg[2 + n] == '=' ? arg + 3 + n : o->kind == SWITCH ? "1" : NULL;
    if (value == NULL && *i + 1 < argc)
        value = argv[++*i];
    if (value == NULL) {
        (void)fprintf(stderr, "error: %s needs a value\n", arg);
        return false;
    }
    return set(o, arg, value, ret);
}

bool app_options_read(int argc, char **argv, struct app_options *ret, bool *ret_help)
{
    char variable[64];

    *ret = (struct app_options){ 0 };
    *ret_help = false;
    for (size_t i = 0; i < OPTIONS; i++) {
        variable_name(&table[i], variable);
        const char *given = getenv(variable);

        if (table[i].fallback != NULL && !set(&table[i], "default", table[i].fallback, ret))
            return false;
        if (given != NULL && !set(&table[i], variable, given, ret))
            return false;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage();
            *ret_help = true;
            return true;
        }
        if (!read_argument(argc, argv, &i, ret))
            return false;
    }
    return true;
}
