/* Request bodies from files: JSON, or YAML that means the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "cli/cli_priv.h"
#include "os/file.h"

enum { MAX_FILE = 4 << 20, MAX_NODES = 100000, MAX_DEPTH = 64 };

struct conversion {
    yaml_document_t *document;
    int nodes; /* aliases make a node count again: their blow-up is bounded */
    char *why;
    size_t cap;
};

static bool is_word(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* Numbers as JSON writes them. 007 stays text: it is a password or a code, not seven. */
static json_t *number(const char *text)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    char *end = NULL;

    if (digits[0] < '0' || digits[0] > '9' ||
        (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'))
        return NULL;
    if (text[strspn(text, "-0123456789")] == '\0') {
        errno = 0;
        long long value = strtoll(text, &end, 10);
        return errno == 0 && *end == '\0' ? json_integer(value) : NULL;
    }
    if (text[strspn(text, "-+0123456789.eE")] != '\0')
        return NULL;
    double value = strtod(text, &end);
    return *end == '\0' ? json_real(value) : NULL;
}

/* The core schema of YAML 1.2 for what is not quoted. */
static json_t *scalar(const yaml_node_t *node)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
    static const char *const trues[] = { "true", "True", "TRUE", NULL };
    static const char *const falses[] = { "false", "False", "FALSE", NULL };
    const char *text = (const char *)node->data.scalar.value;
    size_t n = node->data.scalar.length;

    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strlen(text) == n) {
        if (is_word(text, nulls))
            return json_null();
        if (is_word(text, trues))
            return json_true();
        if (is_word(text, falses))
            return json_false();
        json_t *j = number(text);
        if (j != NULL)
            return j;
    }
    return json_stringn(text, n);
}

static json_t *convert(struct conversion *c, int index, int depth);

static json_t *sequence(struct conversion *c, const yaml_node_t *node, int depth)
{
    json_t *array = json_array();

    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        json_t *value = convert(c, *i, depth + 1);
        if (value == NULL) {
            json_decref(array);
            return NULL;
        }
        (void)json_array_append_new(array, value);
    }
    return array;
}

static json_t *mapping(struct conversion *c, const yaml_node_t *node, int depth)
{
    json_t *object = json_object();

    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *key = yaml_document_get_node(c->document, p->key);
        const char *name = key != NULL && key->type == YAML_SCALAR_NODE
                               ? (const char *)key->data.scalar.value
                               : NULL;
        json_t *value = NULL;

        if (name == NULL)
            (void)snprintf(c->why, c->cap, "line %zu: a key must be a text",
                           node->start_mark.line + 1);
        else if (json_object_get(object, name) != NULL)
            (void)snprintf(c->why, c->cap, "line %zu: '%.60s' stands there twice",
                           key->start_mark.line + 1, name);
        else
            value = convert(c, p->value, depth + 1);
        if (value == NULL || json_object_set_new(object, name, value) != 0) {
            if (c->why[0] == '\0')
                (void)snprintf(c->why, c->cap, "a key is not UTF-8");
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *convert(struct conversion *c, int index, int depth)
{
    const yaml_node_t *node = yaml_document_get_node(c->document, index);
    json_t *j = NULL;

    if (node == NULL || ++c->nodes > MAX_NODES || depth > MAX_DEPTH) {
        (void)snprintf(c->why, c->cap, "more than %d values or %d levels", MAX_NODES, MAX_DEPTH);
        return NULL;
    }
    switch (node->type) {
    case YAML_SCALAR_NODE:
        j = scalar(node);
        if (j == NULL)
            (void)snprintf(c->why, c->cap, "line %zu: not UTF-8", node->start_mark.line + 1);
        return j;
    case YAML_SEQUENCE_NODE:
        return sequence(c, node, depth);
    case YAML_MAPPING_NODE:
        return mapping(c, node, depth);
    case YAML_NO_NODE:
        break;
    }
    (void)snprintf(c->why, c->cap, "it is empty");
    return NULL;
}

json_t *cli_yaml(const char *text, size_t n, char *why, size_t cap)
{
    yaml_parser_t parser;
    yaml_document_t document;
    json_t *j = NULL;

    why[0] = '\0';
    if (yaml_parser_initialize(&parser) == 0) {
        (void)snprintf(why, cap, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    if (yaml_parser_load(&parser, &document) == 0) {
        (void)snprintf(why, cap, "line %zu: %s", parser.problem_mark.line + 1,
                       parser.problem == NULL ? "not YAML" : parser.problem);
    } else {
        struct conversion c = { .document = &document, .why = why, .cap = cap };
        yaml_node_t *root = yaml_document_get_root_node(&document);

        if (root == NULL)
            (void)snprintf(why, cap, "it is empty");
        else
            j = convert(&c, 1, 0);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return j;
}

static bool read_input(const char *path, struct tr_buf *out, struct tr_err *err)
{
    if (strcmp(path, "-") != 0)
        return tr_file_read(path, out, err) == TR_OK;
    for (;;) {
        char *at = tr_buf_reserve(out, 65536);
        ssize_t got = at == NULL ? -1 : read(STDIN_FILENO, at, 65536);
        if (got == 0)
            return true;
        if (got < 0 && at != NULL && errno == EINTR)
            continue;
        if (got < 0) {
            (void)tr_fail(err, TR_INVALID, "cli.input", NULL, "standard input: cannot be read");
            return false;
        }
        tr_buf_used(out, (size_t)got);
    }
}

json_t *cli_read_body(const char *path)
{
    struct tr_buf text;
    struct tr_err err = { 0 };
    char why[200] = "";
    json_t *j = NULL;

    tr_buf_init(&text, MAX_FILE);
    if (!read_input(path, &text, &err)) {
        (void)cli_fail("body", &err);
        tr_buf_fini(&text);
        return NULL;
    }
    struct tr_str trimmed = tr_str_trim(tr_buf_view(&text));
    if (trimmed.n > 0 && trimmed.p[0] == '{') {
        json_error_t bad;
        j = json_loadb(trimmed.p, trimmed.n, JSON_REJECT_DUPLICATES, &bad);
        if (j == NULL)
            (void)snprintf(why, sizeof(why), "line %d: %s", bad.line, bad.text);
    }
    /* {a: 1} is YAML, too. */
    if (j == NULL) {
        char yaml_why[200];
        j = cli_yaml(text.p == NULL ? "" : text.p, text.n, yaml_why, sizeof(yaml_why));
        if (why[0] == '\0')
            memcpy(why, yaml_why, sizeof(why));
    }
    if (text.n > 0)
        explicit_bzero(text.p, text.n); /* it may hold secrets */
    tr_buf_fini(&text);
    if (json_is_object(j))
        return j;
    (void)fprintf(stderr, "error: %s: %s\n", strcmp(path, "-") == 0 ? "standard input" : path,
                  j != NULL ? "must hold one object" : why);
    json_decref(j);
    return NULL;
}
