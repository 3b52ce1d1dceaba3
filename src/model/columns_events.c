#include "model/column.h"

static const struct tr_column columns[TR_EVENT_COLUMNS] = {
    [TR_EVENT_UUID] = { "uuid", TR_TYPE_UUID, TR_ROLE_KEY, "the event's unique id" },
    [TR_EVENT_EVENT] = { "event", TR_TYPE_TEXT, TR_ROLE_PLAIN, "the event's name" },
    [TR_EVENT_PROPERTIES] = { "properties", TR_TYPE_JSON, TR_ROLE_PLAIN,
                              "all properties sent with the event" },
    [TR_EVENT_ELEMENTS] = { "elements", TR_TYPE_JSON, TR_ROLE_PLAIN,
                            "autocaptured elements as one JSON string (kept for compatibility)" },
    [TR_EVENT_SET] = { "set", TR_TYPE_JSON, TR_ROLE_PLAIN, "person properties sent as $set" },
    [TR_EVENT_SET_ONCE] = { "set_once", TR_TYPE_JSON, TR_ROLE_PLAIN,
                            "person properties sent as $set_once" },
    [TR_EVENT_DISTINCT_ID] = { "distinct_id", TR_TYPE_TEXT, TR_ROLE_PLAIN, "who sent the event" },
    [TR_EVENT_TEAM_ID] = { "team_id", TR_TYPE_INT64, TR_ROLE_PLAIN, "the project's id (int32)" },
    [TR_EVENT_IP] = { "ip", TR_TYPE_TEXT, TR_ROLE_PLAIN, "the IP address sent with the event" },
    [TR_EVENT_SITE_URL] = { "site_url", TR_TYPE_TEXT, TR_ROLE_PLAIN,
                            "always empty (kept for compatibility)" },
    [TR_EVENT_TIMESTAMP] = { "timestamp", TR_TYPE_TIME, TR_ROLE_PLAIN, "when the event happened" },
    [TR_EVENT_ELEMENTS_CHAIN] = { "elements_chain", TR_TYPE_TEXT, TR_ROLE_PLAIN,
                                  "autocaptured elements as text" },
    [TR_EVENT_CREATED_AT] = { "created_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                              "when the server took the event" },
    [TR_EVENT_INSERTED_AT] = { "_inserted_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                               "the event's instant on the ingestion clock, unique" },
    [TR_EVENT_PERSON_ID] = { "person_id", TR_TYPE_UUID, TR_ROLE_PLAIN,
                             "the person that the event belonged to when it came in" },
    [TR_EVENT_PERSON_PROPERTIES] = { "person_properties", TR_TYPE_JSON, TR_ROLE_PLAIN,
                                     "the person's properties when the event came in, with what it "
                                     "set itself" },
    [TR_EVENT_GROUP_0] = { "$group_0", TR_TYPE_TEXT, TR_ROLE_PLAIN,
                           "key of the event's group of the project's first group type" },
    [TR_EVENT_GROUP_0 + 1] = { "$group_1", TR_TYPE_TEXT, TR_ROLE_PLAIN, "of the second type" },
    [TR_EVENT_GROUP_0 + 2] = { "$group_2", TR_TYPE_TEXT, TR_ROLE_PLAIN, "of the third type" },
    [TR_EVENT_GROUP_0 + 3] = { "$group_3", TR_TYPE_TEXT, TR_ROLE_PLAIN, "of the fourth type" },
    [TR_EVENT_GROUP_4] = { "$group_4", TR_TYPE_TEXT, TR_ROLE_PLAIN, "of the fifth type" },
    [TR_EVENT_SENT_AT] = { "_sent_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                           "when the row was read to be sent to the destination" },
};

static const int keys[] = { TR_EVENT_UUID };

const struct tr_schema tr_schema_events = {
    .model = TR_MODEL_EVENTS,
    .name = "events",
    .is_mutable = false,
    .columns = columns,
    .n = TR_EVENT_COLUMNS,
    .keys = keys,
    .n_keys = 1,
};
