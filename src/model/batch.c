#include "model/batch.h"

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
