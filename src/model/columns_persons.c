#include "model/projection.h"

static const struct tr_column columns[TR_PERSON_COLUMNS] = {
    [TR_PERSON_TEAM_ID] = { "team_id", TR_TYPE_INT64, TR_ROLE_KEY, "the project's id (int32)" },
    [TR_PERSON_DISTINCT_ID] = { "distinct_id", TR_TYPE_TEXT, TR_ROLE_KEY,
                                "a distinct id that belongs to the person" },
    [TR_PERSON_ID] = { "person_id", TR_TYPE_UUID, TR_ROLE_PLAIN, "the person's id" },
    [TR_PERSON_PROPERTIES] = { "properties", TR_TYPE_JSON, TR_ROLE_PLAIN,
                               "the person's newest properties" },
    [TR_PERSON_VERSION] = { "person_version", TR_TYPE_INT64, TR_ROLE_VERSION,
                            "raised by each change of the person" },
    [TR_PERSON_DISTINCT_ID_VERSION] = { "person_distinct_id_version", TR_TYPE_INT64,
                                        TR_ROLE_VERSION,
                                        "raised when the distinct id goes to another person" },
    [TR_PERSON_CREATED_AT] = { "created_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                               "timestamp of the event that made the person" },
    [TR_PERSON_IS_DELETED] = { "is_deleted", TR_TYPE_BOOL, TR_ROLE_PLAIN,
                               "the person, or its hold of this distinct id, was deleted" },
    [TR_PERSON_IS_IDENTIFIED] = { "is_identified", TR_TYPE_BOOL, TR_ROLE_PLAIN,
                                  "an identify or alias has joined distinct ids in it" },
    [TR_PERSON_INSERTED_AT] = { "_inserted_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                                "the ingestion instant of the row's last change" },
};

static const int keys[] = { TR_PERSON_TEAM_ID, TR_PERSON_DISTINCT_ID };
static const int versions[] = { TR_PERSON_DISTINCT_ID_VERSION, TR_PERSON_VERSION };

const struct tr_schema tr_schema_persons = {
    .model = TR_MODEL_PERSONS,
    .name = "persons",
    .is_mutable = true,
    .columns = columns,
    .n = TR_PERSON_COLUMNS,
    .keys = keys,
    .n_keys = 2,
    .versions = versions,
    .n_versions = 2,
};

const struct tr_default_column tr_default_persons[] = {
    { "team_id", NULL },    { "distinct_id", NULL },    { "person_id", NULL },
    { "properties", NULL }, { "person_version", NULL }, { "person_distinct_id_version", NULL },
    { "created_at", NULL }, { "is_deleted", NULL },     { NULL, NULL },
};
