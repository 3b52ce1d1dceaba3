/* Inside the CLI: a parsed command line, the API client, and output. */
#ifndef TR_CLI_CLI_PRIV_H
#define TR_CLI_CLI_PRIV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"

enum { CLI_OK = 0, CLI_REFUSED = 1, CLI_USAGE = 2 };
enum { CLI_MAX_OPTIONS = 8, CLI_MAX_ARGUMENTS = 2 };

struct cli_option {
    const char *name;  /* "--file" */
    const char *alias; /* "-f", or NULL */
    const char *value; /* what --help calls it; NULL: a switch */
    const char *doc;
    bool required;
};

struct cli;

struct cli_command {
    const char *group;                            /* "export" */
    const char *name;                             /* "create"; NULL: the group is the command */
    const char *arguments[CLI_MAX_ARGUMENTS + 1]; /* names of positional ones */
    struct cli_option options[CLI_MAX_OPTIONS];   /* ends with name == NULL */
    int (*run)(struct cli *);
    const char *doc;
};

/* Ends with group == NULL. docs/cli.md holds the same lines. */
extern const struct cli_command cli_commands[];

struct cli {
    const struct cli_command *command;
    const char *argument[CLI_MAX_ARGUMENTS];
    const char *value[CLI_MAX_OPTIONS]; /* as the command's options; NULL: not given */
    const char *server, *token, *project;
    bool json;
    char only_export[64]; /* what value[] points to when --export was left out */
};

/* args.c: 0, or an exit status with what is wrong said on stderr; *ret_help: help was printed. */
int cli_parse(int argc, char **argv, struct cli *ret, bool *ret_help);
const char *cli_value(const struct cli *c, const char *option);
static inline bool cli_given(const struct cli *c, const char *option)
{
    return cli_value(c, option) != NULL;
}

/* only_export.c: fills in --export where the command has it, it was not given, and the project has
 * just one. 0, or an exit status with what to do said on stderr. */
int cli_only_export(struct cli *c);

/* client.c: one call. 0 with *ret_answer (or NULL for an empty one), or CLI_REFUSED with the reason
 * and hint on stderr. path_fmt's texts must be checked ids or encoded. */
int cli_call(const struct cli *c, const char *method, const char *path, const json_t *body,
             json_t **ret_answer);
/* "/api/projects/<project>/batch_exports/<id>/<rest>"; false when a part does not belong in a path.
 */
bool cli_export_path(const struct cli *c, const char *id, const char *rest, struct tr_buf *out);
/* Adds "key=value" to a path, encoded. */
void cli_add_query(struct tr_buf *path, const char *key, const char *value);
/* A call on an export; the path is checked. */
int cli_export_call(const struct cli *c, const char *method, const char *id, const char *rest,
                    const json_t *body, json_t **ret_answer);
/* The same with a JSON object that is taken (may be NULL). */
int cli_export_post(const struct cli *c, const char *id, const char *rest, json_t *body,
                    json_t **ret_answer);

/* body.c: a JSON or YAML file ("-": standard input) as an object; NULL with the reason on stderr.
 */
json_t *cli_read_body(const char *path);
/* YAML (or JSON, which is YAML) as JSON. NULL: why holds the reason. For tests. */
json_t *cli_yaml(const char *text, size_t n, char *why, size_t cap);

/* key_file.c: destination.config.key_file "@PATH" becomes the file's text, of at most
 * TR_GOOGLE_KEY_FILE_MAX bytes; anything else stays. false with the reason on stderr. */
bool cli_read_key_file(json_t *body);

/* out.c */
enum cli_kind {
    CLI_TEXT,
    CLI_NOTE, /* text; the column goes when no row has any */
    CLI_COUNT,
    CLI_BYTES,
    CLI_TIME,
    CLI_FLAG
};
struct cli_column {
    const char *title;
    const char *path; /* "progress.total_runs" */
    enum cli_kind kind;
};
/* Rows of an array as aligned columns; columns end with title == NULL. */
void cli_table(FILE *out, const json_t *rows, const struct cli_column *columns,
               const char *when_empty);
/* One object as "title  value" lines. */
void cli_fields(FILE *out, const json_t *object, const struct cli_column *columns);
void cli_print_json(const json_t *j);
/* The usual end of an object, or of a list with its "results": as JSON, or as fields or a table.
 * Takes answer. */
int cli_show(const struct cli *c, json_t *answer, const struct cli_column *columns);
int cli_show_list(const struct cli *c, json_t *answer, const struct cli_column *columns,
                  const char *when_empty);
const json_t *cli_at(const json_t *object, const char *path);
/* For tests: what a cell says. */
void cli_cell(const json_t *value, enum cli_kind kind, struct tr_buf *out);
int cli_fail(const char *what, const struct tr_err *err);

/* ---- commands, by file ---- */
int cli_project_create(struct cli *c), cli_project_list(struct cli *c),
    cli_project_show(struct cli *c);
int cli_export_create(struct cli *c), cli_export_list(struct cli *c),
    cli_export_show(struct cli *c), cli_export_update(struct cli *c),
    cli_export_pause(struct cli *c), cli_export_unpause(struct cli *c),
    cli_export_delete(struct cli *c), cli_export_logs(struct cli *c),
    cli_export_test(struct cli *c);
int cli_run_list(struct cli *c), cli_run_show(struct cli *c), cli_run_retry(struct cli *c),
    cli_run_cancel(struct cli *c), cli_run_logs(struct cli *c), cli_run_rejects(struct cli *c);
int cli_backfill_create(struct cli *c), cli_backfill_list(struct cli *c),
    cli_backfill_show(struct cli *c), cli_backfill_cancel(struct cli *c);
int cli_person_show(struct cli *c), cli_person_delete(struct cli *c),
    cli_project_warnings(struct cli *c), cli_unknown_tokens(struct cli *c);
int cli_verify(struct cli *c);
int cli_store_stat(struct cli *c), cli_store_check(struct cli *c);
int cli_status(struct cli *c), cli_destinations(struct cli *c);

extern const struct cli_column cli_run_columns[];

#endif
