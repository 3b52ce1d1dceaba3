#include "dest/sample.h"

#include "os/random.h"

void tr_sample_fill(struct tr_sample *s, const struct tr_schema *schema, int64_t now)
{
    *s = (struct tr_sample){ .text = TR_STR("test"),
                             .json = TR_STR("{}"),
                             .texts = TR_STR("[\"test\"]"),
                             .uuid = tr_random_uuid4(),
                             .number = 1,
                             .time = now };
    s->batch = (struct tr_batch){
        .schema = schema, .rows = 1, .flags = &s->flags, .inserted_at = &s->time
    };
    for (size_t i = 0; i < schema->n; i++) {
        union tr_vector *v = &s->batch.col[i];
        switch (schema->columns[i].type) {
        case TR_TYPE_TEXT:
            v->str = &s->text;
            break;
        case TR_TYPE_JSON:
            v->str = &s->json;
            break;
        case TR_TYPE_TEXTS:
            v->str = &s->texts;
            break;
        case TR_TYPE_FLOAT:
            v->f64 = &s->real;
            break;
        case TR_TYPE_UUID:
            v->uuid = &s->uuid;
            break;
        case TR_TYPE_INT64:
            v->i64 = &s->number;
            break;
        case TR_TYPE_TIME:
            v->i64 = &s->time;
            break;
        case TR_TYPE_BOOL:
            v->u8 = &s->truth;
            break;
        }
    }
}
