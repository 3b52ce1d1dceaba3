#include "model/column.h"

const struct tr_schema *const tr_schemas[TR_MODELS] = {
    [TR_MODEL_EVENTS] = &tr_schema_events,
    [TR_MODEL_PERSONS] = &tr_schema_persons,
    [TR_MODEL_SESSIONS] = &tr_schema_sessions,
    [TR_MODEL_GROUPS] = &tr_schema_groups,
};

const struct tr_schema *tr_schema_by_name(struct tr_str name)
{
    for (size_t i = 0; i < TR_MODELS; i++)
        if (tr_str_is(name, tr_schemas[i]->name))
            return tr_schemas[i];
    return NULL;
}

int tr_schema_find(const struct tr_schema *s, struct tr_str column)
{
    for (size_t i = 0; i < s->n; i++)
        if (tr_str_is(column, s->columns[i].name))
            return (int)i;
    return -1;
}
