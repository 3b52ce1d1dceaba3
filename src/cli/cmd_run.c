#include <stdlib.h>
#include <string.h>

#include "cli/cli_priv.h"

const struct cli_column cli_run_columns[] = {
    { "ID", "id", CLI_TEXT },
    { "STATUS", "status", CLI_TEXT },
    { "FROM", "data_interval_start", CLI_TIME },
    { "UP TO", "data_interval_end", CLI_TIME },
    { "ROWS", "records_completed", CLI_COUNT },
    { "REJECTED", "records_failed", CLI_COUNT },
    { "BYTES", "bytes_exported", CLI_BYTES },
    { "TRIES", "attempts", CLI_COUNT },
    { "FINISHED", "finished_at", CLI_TIME },
    { "ERROR", "latest_error", CLI_NOTE },
    { .title = NULL },
};

static const struct cli_column fields[] = {
    { "id", "id", CLI_TEXT },
    { "export", "batch_export_id", CLI_TEXT },
    { "backfill", "backfill_id", CLI_TEXT },
    { "status", "status", CLI_TEXT },
    { "from", "data_interval_start", CLI_TIME },
    { "up to", "data_interval_end", CLI_TIME },
    { "attempts", "attempts", CLI_COUNT },
    { "next attempt", "next_attempt_at", CLI_TIME },
    { "created", "created_at", CLI_TIME },
    { "started", "started_at", CLI_TIME },
    { "finished", "finished_at", CLI_TIME },
    { "error", "latest_error", CLI_TEXT },
    { "hint", "hint", CLI_TEXT },
    { "stored", "account.stored", CLI_COUNT },
    { "  elsewhere", "account.elsewhere", CLI_COUNT },
    { "  excluded", "account.excluded", CLI_COUNT },
    { "  selected", "account.selected", CLI_COUNT },
    { "    delivered", "account.delivered", CLI_COUNT },
    { "    already there", "account.already_there", CLI_COUNT },
    { "    rejected", "account.rejected", CLI_COUNT },
    { "repaired", "account.repaired", CLI_COUNT },
    { "sent", "account.bytes", CLI_BYTES },
    { "balanced", "account.balanced", CLI_FLAG },
    { "generation", "generation", CLI_COUNT },
    { .title = NULL },
};

/* Adds a query for each given option of the command. */
static void add_filters(const struct cli *c, struct tr_buf *rest)
{
    static const struct {
        const char *option, *key;
    } plain[] = { { "--start", "start" }, { "--end", "end" }, { "--backfill", "backfill_id" } };
    const char *status = cli_value(c, "--status");

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (cli_given(c, plain[i].option))
            cli_add_query(rest, plain[i].key, cli_value(c, plain[i].option));
    while (status != NULL && *status != '\0') {
        char one[64];
        size_t n = strcspn(status, ",");
        (void)snprintf(one, sizeof(one), "%.*s", (int)n, status);
        cli_add_query(rest, "status", one);
        status += n + (status[n] == ',');
    }
}

/* All pages up to limit, or one page when there is none. */
static int list_runs(const struct cli *c, long limit, json_t *results)
{
    char cursor[64] = "";
    char page[24];

    for (;;) {
        json_t *answer = NULL;
        struct tr_buf rest;
        long left = limit - (long)json_array_size(results);

        (void)snprintf(page, sizeof(page), "%ld", left > 1000 ? 1000L : left);
        tr_buf_init(&rest, 4096);
        tr_buf_z(&rest, "runs/");
        add_filters(c, &rest);
        cli_add_query(&rest, "limit", page);
        if (cursor[0] != '\0')
            cli_add_query(&rest, "cursor", cursor);
        tr_buf_ch(&rest, '\0');
        int status = cli_export_call(c, "GET", cli_value(c, "--export"), rest.p, NULL, &answer);
        tr_buf_fini(&rest);
        if (status != CLI_OK)
            return status;
        (void)json_array_extend(results, json_object_get(answer, "results"));
        bool more = json_is_string(json_object_get(answer, "next"));
        json_decref(answer);
        size_t n = json_array_size(results);
        if (!more || n == 0 || (long)n >= limit)
            return CLI_OK;
        (void)snprintf(cursor, sizeof(cursor), "%s",
                       json_string_value(json_object_get(json_array_get(results, n - 1), "id")));
    }
}

int cli_run_list(struct cli *c)
{
    json_t *results = json_array();
    const char *text = cli_value(c, "--limit");
    long limit = text == NULL ? 100 : strtol(text, NULL, 10);

    if (limit < 1) {
        (void)fprintf(stderr, "error: --limit: '%s' is no number over 0\n", text);
        json_decref(results);
        return CLI_USAGE;
    }
    int status = list_runs(c, limit, results);
    if (status != CLI_OK) {
        json_decref(results);
        return status;
    }
    return cli_show_list(c, json_pack("{s:o}", "results", results), cli_run_columns,
                         "There are no such runs.");
}

static int run_call(const struct cli *c, const char *method, const char *what, json_t **ret)
{
    struct tr_buf rest;

    tr_buf_init(&rest, 1024);
    tr_buf_z(&rest, "runs/");
    /* An id has none of the characters that a path would have to encode. */
    if (c->argument[0][strspn(c->argument[0], "0123456789abcdefABCDEF-")] != '\0' ||
        c->argument[0][0] == '\0') {
        (void)fprintf(stderr, "error: '%s' is no run's id\n", c->argument[0]);
        tr_buf_fini(&rest);
        return CLI_USAGE;
    }
    tr_buf_printf(&rest, "%s/%s", c->argument[0], what);
    if (cli_given(c, "--limit"))
        cli_add_query(&rest, "limit", cli_value(c, "--limit"));
    tr_buf_ch(&rest, '\0');
    int status = cli_export_call(c, method, cli_value(c, "--export"), rest.p, NULL, ret);
    tr_buf_fini(&rest);
    return status;
}

static int show_call(const struct cli *c, const char *method, const char *what)
{
    json_t *answer = NULL;
    int status = run_call(c, method, what, &answer);

    return status != CLI_OK ? status : cli_show(c, answer, fields);
}

int cli_run_show(struct cli *c)
{
    return show_call(c, "GET", "");
}

int cli_run_retry(struct cli *c)
{
    return show_call(c, "POST", "retry/");
}

int cli_run_cancel(struct cli *c)
{
    return show_call(c, "POST", "cancel/");
}

static int list_call(const struct cli *c, const char *what, const struct cli_column *columns,
                     const char *when_empty)
{
    json_t *answer = NULL;
    int status = run_call(c, "GET", what, &answer);

    if (status != CLI_OK)
        return status;
    return cli_show_list(c, answer, columns, when_empty);
}

int cli_run_logs(struct cli *c)
{
    static const struct cli_column columns[] = {
        { "TIME", "timestamp", CLI_TIME },
        { "LEVEL", "level", CLI_TEXT },
        { "MESSAGE", "message", CLI_TEXT },
        { .title = NULL },
    };

    return list_call(c, "logs/", columns, "The log of this run is empty.");
}

int cli_run_rejects(struct cli *c)
{
    static const struct cli_column columns[] = {
        { "EVENT", "uuid", CLI_TEXT },
        { "INGESTED", "inserted_at", CLI_TIME },
        { "REASON", "reason", CLI_TEXT },
        { .title = NULL },
    };

    return list_call(c, "rejects/", columns, "No row was rejected.");
}
