/* Output for people: aligned tables, fields, readable times and sizes. */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_priv.h"

enum { MAX_COLUMNS = 16 };

const json_t *cli_at(const json_t *object, const char *path)
{
    char key[64];

    while (object != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        (void)snprintf(key, sizeof(key), "%.*s", (int)n, path);
        object = json_object_get(object, key);
        path += n + (path[n] == '.');
    }
    return object;
}

/* "2026-11-21T09:30:00.000000Z" -> "2026-11-21 09:30:00Z"; a fraction that says something stays. */
static void add_time(const char *iso, struct tr_buf *out)
{
    const char *dot = strchr(iso, '.');

    if (strlen(iso) < 20 || iso[10] != 'T') {
        tr_buf_z(out, iso);
        return;
    }
    tr_buf_add(out, iso, 10);
    tr_buf_ch(out, ' ');
    if (dot != NULL && strcmp(dot, ".000000Z") == 0) {
        tr_buf_add(out, iso + 11, (size_t)(dot - iso) - 11);
        tr_buf_ch(out, 'Z');
    } else {
        tr_buf_z(out, iso + 11);
    }
}

static void add_count(json_int_t n, struct tr_buf *out)
{
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)n);

    for (int i = 0; i < len; i++) {
        tr_buf_ch(out, digits[i]);
        if (digits[i] != '-' && (len - 1 - i) % 3 == 0 && i != len - 1)
            tr_buf_ch(out, ',');
    }
}

static void add_bytes(json_int_t n, struct tr_buf *out)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)n;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    tr_buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void cli_cell(const json_t *value, enum cli_kind kind, struct tr_buf *out)
{
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        if (kind == CLI_TIME) {
            add_time(text, out);
            return;
        }
        for (; *text != '\0'; text++) /* a table's cell is one line, and no terminal command */
            tr_buf_ch(out, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
    } else if (json_is_integer(value) && kind == CLI_BYTES) {
        add_bytes(json_integer_value(value), out);
    } else if (json_is_integer(value) && kind == CLI_COUNT) {
        add_count(json_integer_value(value), out);
    } else if (json_is_integer(value)) {
        tr_buf_printf(out, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        tr_buf_printf(out, "%.3g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        tr_buf_z(out, json_is_true(value) ? "yes" : "no");
    } else if (json_is_array(value) && json_array_size(value) > 0 &&
               json_is_string(json_array_get(value, 0))) {
        size_t i = 0;
        json_t *item = NULL;
        json_array_foreach((json_t *)(uintptr_t)value, i, item)
        {
            tr_buf_z(out, i == 0 ? "" : ", ");
            cli_cell(item, kind, out);
        }
    } else if (json_is_array(value) || json_is_object(value)) {
        char *text = json_dumps(value, JSON_COMPACT);
        tr_buf_z(out, text == NULL ? "" : text);
        free(text);
    } else {
        tr_buf_ch(out, '-');
    }
}

/* Characters, not bytes. */
static size_t width(const char *p, size_t n)
{
    size_t w = 0;

    for (size_t i = 0; i < n; i++)
        w += ((unsigned char)p[i] & 0xC0) != 0x80;
    return w;
}

static void pad(FILE *out, size_t n)
{
    while (n-- > 0)
        (void)fputc(' ', out);
}

static bool right_aligned(enum cli_kind kind)
{
    return kind == CLI_COUNT || kind == CLI_BYTES;
}

static void print_cell(FILE *out, const char *p, size_t n, size_t room, bool right, bool last)
{
    size_t w = width(p, n);

    if (right)
        pad(out, room - w);
    (void)fwrite(p, 1, n, out);
    if (!right && !last)
        pad(out, room - w);
    (void)fputs(last ? "\n" : "  ", out);
}

static bool is_empty(const json_t *value)
{
    return value == NULL || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* The columns that have something to say, and how wide each is. */
static size_t lay_out(const json_t *rows, const struct cli_column *columns,
                      struct cli_column shown[MAX_COLUMNS], size_t room[MAX_COLUMNS],
                      struct tr_buf *cell)
{
    size_t n = 0;

    for (const struct cli_column *c = columns; c->title != NULL && n < MAX_COLUMNS; c++) {
        bool any = c->kind != CLI_NOTE;
        size_t i = 0;
        json_t *row = NULL;

        room[n] = width(c->title, strlen(c->title));
        json_array_foreach((json_t *)(uintptr_t)rows, i, row)
        {
            const json_t *value = cli_at(row, c->path);
            tr_buf_clear(cell);
            cli_cell(value, c->kind, cell);
            size_t w = width(cell->p, cell->n);
            room[n] = w > room[n] ? w : room[n];
            any = any || !is_empty(value);
        }
        if (any)
            shown[n++] = *c;
    }
    return n;
}

void cli_table(FILE *out, const json_t *rows, const struct cli_column *columns,
               const char *when_empty)
{
    struct cli_column shown[MAX_COLUMNS];
    size_t room[MAX_COLUMNS] = { 0 };
    size_t i = 0;
    json_t *row = NULL;
    struct tr_buf cell;

    if (json_array_size(rows) == 0) {
        (void)fprintf(out, "%s\n", when_empty);
        return;
    }
    tr_buf_init(&cell, 1 << 20);
    size_t n = lay_out(rows, columns, shown, room, &cell);
    for (size_t k = 0; k < n; k++)
        print_cell(out, shown[k].title, strlen(shown[k].title), room[k],
                   right_aligned(shown[k].kind), k + 1 == n);
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        for (size_t k = 0; k < n; k++) {
            tr_buf_clear(&cell);
            cli_cell(cli_at(row, shown[k].path), shown[k].kind, &cell);
            print_cell(out, cell.p, cell.n, room[k], right_aligned(shown[k].kind), k + 1 == n);
        }
    }
    tr_buf_fini(&cell);
}

void cli_fields(FILE *out, const json_t *object, const struct cli_column *columns)
{
    size_t room = 0;
    struct tr_buf cell;

    tr_buf_init(&cell, 1 << 20);
    for (const struct cli_column *c = columns; c->title != NULL; c++)
        room = strlen(c->title) > room ? strlen(c->title) : room;
    for (const struct cli_column *c = columns; c->title != NULL; c++) {
        const json_t *value = cli_at(object, c->path);
        if (value == NULL || json_is_null(value))
            continue;
        tr_buf_clear(&cell);
        for (const char *p = c->title; *p != '\0'; p++)
            tr_buf_ch(&cell, (char)tolower((unsigned char)*p));
        print_cell(out, cell.p, cell.n, room, false, false);
        tr_buf_clear(&cell);
        cli_cell(value, c->kind, &cell);
        print_cell(out, cell.p, cell.n, 0, false, true);
    }
    tr_buf_fini(&cell);
}

void cli_print_json(const json_t *j)
{
    (void)json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    (void)fputc('\n', stdout);
}

int cli_show(const struct cli *c, json_t *answer, const struct cli_column *columns)
{
    if (c->json)
        cli_print_json(answer);
    else
        cli_fields(stdout, answer, columns);
    json_decref(answer);
    return CLI_OK;
}

int cli_show_list(const struct cli *c, json_t *answer, const struct cli_column *columns,
                  const char *when_empty)
{
    if (c->json)
        cli_print_json(answer);
    else
        cli_table(stdout, json_object_get(answer, "results"), columns, when_empty);
    json_decref(answer);
    return CLI_OK;
}

int cli_fail(const char *what, const struct tr_err *err)
{
    char text[600];

    (void)fprintf(stderr, "error: %s: %s\n", what, tr_err_text(err, text, sizeof(text)));
    if (err->hint != NULL)
        (void)fprintf(stderr, "hint: %s\n", err->hint);
    return CLI_REFUSED;
}
