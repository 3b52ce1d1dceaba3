#include "model/projection.h"

void tr_projection_drop_optional(struct tr_projection *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++) {
        if (p->optional[i])
            continue;
        p->column[n] = p->column[i];
        p->name[n] = p->name[i];
        p->optional[n++] = false;
    }
    p->n = n;
}

tr_column_mask tr_projection_mask(const struct tr_projection *p)
{
    tr_column_mask mask = 0;

    for (size_t i = 0; i < p->n; i++)
        mask |= (tr_column_mask)1 << p->column[i];
    return mask;
}
