#include "model/projection.h"

static const struct tr_column columns[TR_GROUP_COLUMNS] = {
    [TR_GROUP_TEAM_ID] = { "team_id", TR_TYPE_INT64, TR_ROLE_KEY, "the project's id (int32)" },
    [TR_GROUP_TYPE_INDEX] = { "group_type_index", TR_TYPE_INT64, TR_ROLE_KEY,
                              "0 to 4: the group's type, in the order they appeared" },
    [TR_GROUP_TYPE] = { "group_type", TR_TYPE_TEXT, TR_ROLE_PLAIN, "the type's name" },
    [TR_GROUP_KEY] = { "group_key", TR_TYPE_TEXT, TR_ROLE_KEY, "the group within its type" },
    [TR_GROUP_PROPERTIES] = { "group_properties", TR_TYPE_JSON, TR_ROLE_PLAIN,
                              "the group's newest properties" },
    [TR_GROUP_VERSION] = { "group_version", TR_TYPE_INT64, TR_ROLE_VERSION,
                           "raised by each change of the group" },
    [TR_GROUP_CREATED_AT] = { "created_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                              "timestamp of the event that made the group" },
    [TR_GROUP_INSERTED_AT] = { "_inserted_at", TR_TYPE_TIME, TR_ROLE_PLAIN,
                               "the ingestion instant of the row's last change" },
};

static const int keys[] = { TR_GROUP_TEAM_ID, TR_GROUP_TYPE_INDEX, TR_GROUP_KEY };
static const int versions[] = { TR_GROUP_VERSION };

const struct tr_schema tr_schema_groups = {
    .model = TR_MODEL_GROUPS,
    .name = "groups",
    .is_mutable = true,
    .columns = columns,
    .n = TR_GROUP_COLUMNS,
    .keys = keys,
    .n_keys = 3,
    .versions = versions,
    .n_versions = 1,
};

const struct tr_default_column tr_default_groups[] = {
    { "team_id", NULL },          { "group_type_index", NULL },
    { "group_type", NULL },       { "group_key", NULL },
    { "group_properties", NULL }, { "group_version", NULL },
    { "created_at", NULL },       { NULL, NULL },
};
