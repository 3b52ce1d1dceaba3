/* The options of an adapter as one table, and the values a person gave for them.
 *
 * The table feeds validation, --help, the JSON schema, the form and the docs. Values are checked
 * against it once (tr_conf_parse); an adapter then reads typed values. It sees JSON in one place
 * only, tr_dest_ops.settle, which comes before that.
 */
#ifndef TR_DEST_OPTION_H
#define TR_DEST_OPTION_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum tr_option_type { TR_OPT_TEXT, TR_OPT_INT, TR_OPT_BOOL, TR_OPT_CHOICE };

struct tr_option {
    const char *name; /* as in the API */
    enum tr_option_type type;
    bool required;
    bool secret; /* write-only: sealed at rest, never answered */
    /* Says what the secrets are shown to: when it changes, kept secrets must be given again. A
     * later (stronger) choice of a CHOICE is no such change, nor is turning a BOOL off. */
    bool shows;
    bool fixed;    /* cannot change after creation */
    bool settled;  /* chosen when the export was made (tr_dest_ops.settle): a body that replaces
                      its configuration and leaves it out leaves it as it was */
    bool of_model; /* an export that does not say it gets the model's name */
    const char *fallback; /* default as text, or NULL */
    int64_t min, max;     /* INT: value; TEXT: length in bytes (max 0: 4096) */
    const char *choices;  /* CHOICE: "none|gzip|zstd" */
    const char *doc;      /* one line */
};

/* Checked values, in the order of the table. */
struct tr_conf {
    const struct tr_option *options;
    struct tr_conf_value {
        char *text;     /* NULL: not given and no default. INT and BOOL too ("true") */
        int64_t number; /* INT; BOOL 0 or 1 */
    } * values;
};

/* Checks a JSON object against the table. TR_INVALID names the option, what is wrong with it and
 * what would be right; unknown names are refused. Numbers and booleans may come as strings
 * ("5432"). */
TR_MUST_USE enum tr_rc tr_conf_parse(const struct tr_option *options, const json_t *object,
                                     struct tr_conf **ret, struct tr_err *err);
/* Wipes secrets. */
void tr_conf_free(struct tr_conf *c);

/* By name; asserts that the table has it. NULL / fallback rules as in tr_conf_value. */
const char *tr_conf_text(const struct tr_conf *c, const char *name);
int64_t tr_conf_int(const struct tr_conf *c, const char *name);
bool tr_conf_bool(const struct tr_conf *c, const char *name);

/* JSON schema of the table (for the API, the form, --help --json). */
json_t *tr_option_schema(const struct tr_option *options);

#endif
