#include "rows.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void put_value(struct tr_buf *out, enum tr_type type, const union tr_vector *v, size_t i)
{
    char uuid[TR_UUID_TEXT];

    switch (type) {
    case TR_TYPE_TEXT:
        if (v->str[i].p == NULL)
            break;
        tr_buf_json_str(out, v->str[i]);
        return;
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
        tr_buf_str(out, v->str[i]);
        return;
    case TR_TYPE_UUID:
        tr_uuid_format(&v->uuid[i], uuid);
        tr_buf_json_str(out, tr_str_of(uuid));
        return;
    case TR_TYPE_INT64:
    case TR_TYPE_TIME:
        tr_buf_printf(out, "%" PRId64, v->i64[i]);
        return;
    case TR_TYPE_BOOL:
        if (v->u8[i] == 0xFF)
            break;
        tr_buf_z(out, v->u8[i] != 0 ? "true" : "false");
        return;
    case TR_TYPE_FLOAT:
        if (isnan(v->f64[i]))
            break;
        tr_buf_printf(out, "%.17g", v->f64[i]);
        return;
    }
    tr_buf_z(out, "null");
}

void print_rows(const char *kind, const struct tr_batch *b)
{
    struct tr_buf out;

    tr_buf_init(&out, (size_t)1 << 30);
    for (size_t i = 0; i < b->rows; i++) {
        tr_buf_printf(&out, "{\"row\":\"%s\"", kind);
        for (size_t c = 0; c < b->schema->n; c++) {
            if (b->col[c].str == NULL)
                continue;
            tr_buf_printf(&out, ",\"%s\":", b->schema->columns[c].name);
            put_value(&out, b->schema->columns[c].type, &b->col[c], i);
        }
        tr_buf_z(&out, "}\n");
    }
    if (out.failed)
        abort();
    (void)fwrite(out.p, 1, out.n, stdout);
    tr_buf_fini(&out);
}
