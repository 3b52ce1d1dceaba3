#include <stdint.h>
#include <string.h>

#include "cli/cli_priv.h"

static const struct cli_column plain[] = {
    { "FROM", "data_interval_start", CLI_TIME },
    { "UP TO", "data_interval_end", CLI_TIME },
    { "VERDICT", "verdict", CLI_TEXT },
    { "STORED", "stored", CLI_COUNT },
    { "DELIVERED", "there", CLI_COUNT },
    { "EXCLUDED", "account.excluded", CLI_COUNT },
    { "REJECTED", "account.rejected", CLI_COUNT },
    { "WHAT", "text", CLI_NOTE },
    { .title = NULL },
};

static const struct cli_column recounted[] = {
    { "FROM", "data_interval_start", CLI_TIME },
    { "UP TO", "data_interval_end", CLI_TIME },
    { "VERDICT", "verdict", CLI_TEXT },
    { "STORED", "stored", CLI_COUNT },
    { "DELIVERED", "there", CLI_COUNT },
    { "EXCLUDED", "account.excluded", CLI_COUNT },
    { "REJECTED", "account.rejected", CLI_COUNT },
    { "EXPECTED", "expected_there", CLI_COUNT },
    { "FOUND", "found_there", CLI_COUNT },
    { "COPIES", "copies_there", CLI_COUNT },
    { "WHAT", "text", CLI_NOTE },
    { .title = NULL },
};

static json_int_t count_at(const json_t *j, const char *path)
{
    return json_integer_value(cli_at(j, path));
}

/* What a table shows as one number; what is fine needs no sentence. */
static void prepare(json_t *rows)
{
    size_t i = 0;
    json_t *row = NULL;

    json_array_foreach(rows, i, row)
    {
        (void)json_object_set_new(row, "there",
                                  json_integer(count_at(row, "account.delivered") +
                                               count_at(row, "account.already_there")));
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        if (verdict != NULL && strcmp(verdict, "ok") == 0)
            (void)json_object_set_new(row, "text", json_string(""));
    }
}

static void summary(const json_t *report, bool recount)
{
    static const char *const kinds[] = { "ok",         "pending",        "missing",
                                         "unbalanced", "lost_at_target", "copies_at_target" };
    const char *comma = "";

    (void)printf("\n");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "intervals.%s", kinds[i]);
        json_int_t n = count_at(report, path);
        if (n > 0 || i == 0) {
            (void)printf("%s%lld %s", comma, (long long)n, kinds[i]);
            comma = ", ";
        }
    }
    (void)printf(": %lld stored, %lld delivered, %lld excluded, %lld rejected",
                 (long long)count_at(report, "stored"),
                 (long long)(count_at(report, "account.delivered") +
                             count_at(report, "account.already_there")),
                 (long long)count_at(report, "account.excluded"),
                 (long long)count_at(report, "account.rejected"));
    if (recount)
        (void)printf("; at the destination %lld of %lld, %lld copies",
                     (long long)count_at(report, "found_there"),
                     (long long)count_at(report, "expected_there"),
                     (long long)count_at(report, "copies_there"));
    (void)printf("\n");
    if (count_at(report, "left_out") > 0)
        (void)printf("(%lld intervals are counted but not listed)\n",
                     (long long)count_at(report, "left_out"));
}

int cli_verify(struct cli *c)
{
    json_t *answer = NULL;
    struct tr_buf rest;
    bool recount = cli_given(c, "--recount");

    tr_buf_init(&rest, 1024);
    tr_buf_z(&rest, "verify/");
    if (cli_given(c, "--start"))
        cli_add_query(&rest, "start", cli_value(c, "--start"));
    if (cli_given(c, "--end"))
        cli_add_query(&rest, "end", cli_value(c, "--end"));
    if (recount)
        cli_add_query(&rest, "recount", "true");
    tr_buf_ch(&rest, '\0');
    int status = cli_export_call(c, "GET", cli_value(c, "--export"), rest.p, NULL, &answer);
    tr_buf_fini(&rest);
    if (status != CLI_OK)
        return status;
    bool ok = json_is_true(json_object_get(answer, "ok"));
    if (c->json) {
        cli_print_json(answer);
    } else {
        prepare(json_object_get(answer, "results"));
        cli_table(stdout, json_object_get(answer, "results"), recount ? recounted : plain,
                  "Nothing is due yet.");
        summary(answer, recount);
    }
    json_decref(answer);
    if (!ok)
        (void)fprintf(stderr, "error: something is wrong: see the verdicts\n");
    return ok ? CLI_OK : CLI_REFUSED;
}
