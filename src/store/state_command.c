#include "base/json.h"
#include "store/state_priv.h"

const char state_delete_person[] = "$delete_person";

/* {"person_id": "..", "distinct_ids": true} */
enum tr_rc state_command(struct state *s, struct tr_str packed, struct tr_err *err)
{
    struct tr_event e;
    struct tr_json_value v;
    struct tr_uuid id;
    bool found;

    if (tr_event_unpack(packed.p, packed.n, &e) == 0 || !tr_str_is(e.event, state_delete_person))
        return TR_OK; /* of a later version: what it means is not for this one */
    if (!tr_json_find(e.properties, TR_STR("person_id"), &v) || v.type != TR_JSON_STRING ||
        !tr_uuid_parse((struct tr_str){ v.raw.p + 1, v.raw.n - 2 }, &id))
        return TR_OK;
    bool distinct_ids =
        tr_json_find(e.properties, TR_STR("distinct_ids"), &v) && v.type == TR_JSON_TRUE;
    return tr_people_delete(&s->people, e.project, &id, distinct_ids, e.inserted_at, &found, err);
}
