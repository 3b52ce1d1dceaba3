#include "model/batch.h"

#include <stdlib.h>

size_t tr_type_width(enum tr_type type)
{
    switch (type) {
    case TR_TYPE_TEXT:
    case TR_TYPE_JSON:
    case TR_TYPE_TEXTS:
        return sizeof(struct tr_str);
    case TR_TYPE_UUID:
        return sizeof(struct tr_uuid);
    case TR_TYPE_INT64:
    case TR_TYPE_TIME:
        return sizeof(int64_t);
    case TR_TYPE_BOOL:
        return 1;
    case TR_TYPE_FLOAT:
        return sizeof(double);
    }
    return 0;
}

tr_column_mask tr_schema_identity(const struct tr_schema *s)
{
    tr_column_mask mask = 0;

    for (size_t i = 0; i < s->n; i++)
        if (s->columns[i].role != TR_ROLE_PLAIN)
            mask |= (tr_column_mask)1 << i;
    return mask;
}

void *tr_batch_arrays(struct tr_batch *b, const struct tr_schema *schema, tr_column_mask columns)
{
    size_t row = sizeof(*b->flags) + sizeof(*b->inserted_at);

    for (size_t i = 0; i < schema->n; i++)
        if ((columns >> i & 1) != 0)
            row += tr_type_width(schema->columns[i].type);
    char *memory = malloc(row * TR_BATCH_ROWS);
    if (memory == NULL)
        return NULL;

    *b = (struct tr_batch){ .schema = schema };
    char *p = memory;
    b->inserted_at = (int64_t *)(void *)p;
    p += TR_BATCH_ROWS * sizeof(*b->inserted_at);
    for (size_t i = 0; i < schema->n; i++) {
        if ((columns >> i & 1) == 0 || tr_type_width(schema->columns[i].type) % 8 != 0)
            continue;
        b->col[i].u8 = (uint8_t *)p;
        p += TR_BATCH_ROWS * tr_type_width(schema->columns[i].type);
    }
    b->flags = (uint32_t *)(void *)p;
    p += TR_BATCH_ROWS * sizeof(*b->flags);
    for (size_t i = 0; i < schema->n; i++) {
        if ((columns >> i & 1) == 0 || tr_type_width(schema->columns[i].type) % 8 == 0)
            continue;
        b->col[i].u8 = (uint8_t *)p;
        p += TR_BATCH_ROWS * tr_type_width(schema->columns[i].type);
    }
    return memory;
}

static void compact(void *array, size_t item, const bool *keep, size_t rows)
{
    char *p = array;
    size_t to = 0;

    for (size_t i = 0; i < rows; i++) {
        if (!keep[i])
            continue;
        if (to != i)
            memcpy(p + to * item, p + i * item, item);
        to++;
    }
}

void tr_batch_keep(struct tr_batch *b, const bool *keep)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->rows; i++)
        kept += keep[i];
    if (kept == b->rows)
        return;
    for (size_t c = 0; c < b->schema->n; c++)
        if (b->col[c].str != NULL)
            compact(b->col[c].str, tr_type_width(b->schema->columns[c].type), keep, b->rows);
    compact(b->flags, sizeof(*b->flags), keep, b->rows);
    compact(b->inserted_at, sizeof(*b->inserted_at), keep, b->rows);
    b->rows = kept;
}
