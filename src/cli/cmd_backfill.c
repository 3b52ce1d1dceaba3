#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_priv.h"
#include "os/clock.h"

static const struct cli_column columns[] = {
    { "ID", "id", CLI_TEXT },
    { "STATUS", "status", CLI_TEXT },
    { "FROM", "start_at", CLI_TIME },
    { "UP TO", "end_at", CLI_TIME },
    { "ON DELIVERED", "on_delivered", CLI_TEXT },
    { "RUNS", "progress.total_runs", CLI_COUNT },
    { "DONE", "progress.finished_runs", CLI_COUNT },
    { "FAILED", "progress.failed_runs", CLI_COUNT },
    { "ROWS", "progress.rows_total", CLI_COUNT },
    { "ROWS DONE", "progress.rows_done", CLI_COUNT },
    { "FINISHED", "finished_at", CLI_TIME },
    { .title = NULL },
};

static int backfill_call(const struct cli *c, const char *method, const char *id, const char *what,
                         json_t **ret)
{
    char rest[160];

    *ret = NULL;
    if (id[0] == '\0' || strlen(id) > 64 || id[strspn(id, "0123456789abcdefABCDEF-")] != '\0') {
        (void)fprintf(stderr, "error: '%s' is no backfill's id\n", id);
        return CLI_USAGE;
    }
    (void)snprintf(rest, sizeof(rest), "backfills/%s/%s", id, what);
    return cli_export_call(c, method, cli_value(c, "--export"), rest, NULL, ret);
}

/* ---- waiting ---- */

struct watch {
    bool terminal;
    int64_t began, said;
    json_int_t rows_at_start;
    double share_at_start;
};

static json_int_t count_at(const json_t *b, const char *path)
{
    return json_integer_value(cli_at(b, path));
}

static void format_left(char *out, size_t cap, double seconds)
{
    long s = (long)seconds;

    if (seconds < 0 || seconds > 864000.0)
        (void)snprintf(out, cap, "?");
    else if (s >= 3600)
        (void)snprintf(out, cap, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, cap, "%ld:%02ld", s / 60, s % 60);
}

static void progress_line(const struct watch *w, const json_t *b, char *out, size_t cap)
{
    enum { BAR = 30 };
    double seconds = (double)(tr_clock_boot_us() - w->began) / 1e6;
    json_int_t done = count_at(b, "progress.rows_done");
    json_int_t rows = count_at(b, "progress.rows_total");
    double share = json_number_value(cli_at(b, "progress.progress"));
    double rate = seconds > 0 ? (double)(done - w->rows_at_start) / seconds : 0;
    char bar[BAR + 1];
    char left[32];
    char of[32] = "";

    if (rows > 0) {
        share = (double)done / (double)rows < 1 ? (double)done / (double)rows : 1;
        (void)snprintf(of, sizeof(of), " of %lld", (long long)rows);
    }
    double ahead = -1;
    if (rows > 0 && rate > 0)
        ahead = (double)(rows > done ? rows - done : 0) / rate;
    else if (rows == 0 && share > w->share_at_start)
        ahead = (1 - share) * seconds / (share - w->share_at_start);
    format_left(left, sizeof(left), ahead);
    for (int i = 0; i < BAR; i++)
        bar[i] = (double)i < share * BAR ? '#' : '.';
    bar[BAR] = '\0';
    (void)snprintf(out, cap, "%s%s%s%3.0f%%  runs %lld of %lld  rows %lld%s  %.0f rows/s  %s left",
                   w->terminal ? "[" : "", w->terminal ? bar : "", w->terminal ? "] " : "",
                   share * 100, (long long)count_at(b, "progress.finished_runs"),
                   (long long)count_at(b, "progress.total_runs"), (long long)done, of, rate, left);
}

static void say_progress(struct watch *w, const json_t *b, bool ended)
{
    int64_t now = tr_clock_boot_us();
    char line[256];

    if (!w->terminal && !ended && now - w->said < 2000000)
        return;
    w->said = now;
    progress_line(w, b, line, sizeof(line));
    if (w->terminal)
        (void)fprintf(stderr, "\r%s\033[K%s", line, ended ? "\n" : "");
    else
        (void)fprintf(stderr, "%s\n", line);
}

static bool has_ended(const json_t *b)
{
    const char *status = json_string_value(json_object_get(b, "status"));

    return status == NULL || strcmp(status, "Completed") == 0 || strcmp(status, "Failed") == 0 ||
           strcmp(status, "Cancelled") == 0;
}

/* Stays until it has ended; *b becomes its last state. Progress goes to stderr. */
static int wait_for_end(const struct cli *c, json_t **b)
{
    const char *text = json_string_value(json_object_get(*b, "id"));
    char *id = strdup(text == NULL ? "" : text);
    struct watch w = { .terminal = isatty(STDERR_FILENO) == 1,
                       .began = tr_clock_boot_us(),
                       .rows_at_start = count_at(*b, "progress.rows_done"),
                       .share_at_start = json_number_value(cli_at(*b, "progress.progress")) };
    int failures = 0;
    int status = CLI_OK;

    while (id != NULL && !has_ended(*b)) {
        json_t *newer = NULL;

        say_progress(&w, *b, false);
        tr_clock_sleep_us(300000);
        status = backfill_call(c, "GET", id, "", &newer);
        /* A server that restarts meanwhile goes on with the backfill: so do we, for a while. */
        if (status != CLI_OK && ++failures > 100)
            break;
        if (status != CLI_OK)
            continue;
        failures = 0;
        json_decref(*b);
        *b = newer;
    }
    free(id);
    if (status == CLI_OK)
        say_progress(&w, *b, true);
    return status;
}

static int show(const struct cli *c, json_t *b, bool wait)
{
    int status = wait ? wait_for_end(c, &b) : CLI_OK;
    const char *word = json_string_value(json_object_get(b, "status"));
    bool failed = wait && (word == NULL || strcmp(word, "Completed") != 0);

    (void)cli_show(c, b, columns);
    if (failed && status == CLI_OK)
        (void)fprintf(stderr,
                      "error: the backfill did not complete\n"
                      "hint: tailrace run list --export %s --status Failed says why\n",
                      cli_value(c, "--export"));
    return status != CLI_OK ? status : failed ? CLI_REFUSED : CLI_OK;
}

/* ---- commands ---- */

int cli_backfill_create(struct cli *c)
{
    json_t *answer = NULL;
    json_t *body = json_pack("{s:s?, s:s?}", "start_at", cli_value(c, "--start"), "end_at",
                             cli_value(c, "--end"));
    const char *parallel = cli_value(c, "--parallel");
    char *end = NULL;

    if (cli_given(c, "--on-delivered"))
        (void)json_object_set_new(body, "on_delivered",
                                  json_string(cli_value(c, "--on-delivered")));
    if (parallel != NULL) {
        long n = strtol(parallel, &end, 10);
        if (*end != '\0' || end == parallel) {
            (void)fprintf(stderr, "error: --parallel: '%s' is no number\n", parallel);
            json_decref(body);
            return CLI_USAGE;
        }
        (void)json_object_set_new(body, "parallel", json_integer(n));
    }
    int status = cli_export_post(c, cli_value(c, "--export"), "backfills/", body, &answer);
    return status != CLI_OK ? status : show(c, answer, cli_given(c, "--wait"));
}

int cli_backfill_list(struct cli *c)
{
    json_t *answer = NULL;
    int status = cli_export_call(c, "GET", cli_value(c, "--export"), "backfills/", NULL, &answer);

    if (status != CLI_OK)
        return status;
    return cli_show_list(c, answer, columns, "There are no backfills.");
}

int cli_backfill_show(struct cli *c)
{
    json_t *answer = NULL;
    int status = backfill_call(c, "GET", c->argument[0], "", &answer);

    return status != CLI_OK ? status : show(c, answer, cli_given(c, "--wait"));
}

int cli_backfill_cancel(struct cli *c)
{
    json_t *answer = NULL;
    int status = backfill_call(c, "POST", c->argument[0], "cancel/", &answer);

    return status != CLI_OK ? status : cli_show(c, answer, columns);
}
