#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#include "dest/bigquery/bigquery.h"
#include "warehouse.h"

static int64_t rows(void)
{
    int64_t n = warehouse_number("SELECT count(*) FROM `%D.events`");

    return n < 0 ? 0 : n;
}

static int64_t copies(const struct tr_uuid *uuid)
{
    char text[TR_UUID_TEXT], sql[128];

    tr_uuid_format(uuid, text);
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM `%%D.events` WHERE uuid = '%s'", text);
    return warehouse_number(sql);
}

static bool properties_are(const struct tr_uuid *uuid, struct tr_str json)
{
    char text[TR_UUID_TEXT], sql[192];

    tr_uuid_format(uuid, text);
    (void)snprintf(sql, sizeof(sql), "SELECT properties FROM `%s.events` WHERE uuid = '%s'",
                   warehouse_dataset(), text);
    json_t *j = warehouse_ask("[s, s, s%]", "same_json", sql, json.p, json.n);
    bool same = json_is_true(j);
    json_decref(j);
    return same;
}

const struct contract_place contract_bigquery = {
    .ops = &tr_dest_bigquery_ops,
    .setup = warehouse_connect,
    .teardown = warehouse_disconnect,
    .fresh = warehouse_fresh,
    .default_columns = true, /* there are names of the model that BigQuery does not take */
    .rows = rows,
    .copies = copies,
    .properties_are = properties_are,
};

const struct contract_place contract_bigquery_live = {
    .ops = &tr_dest_bigquery_live_ops,
    .name = "BigQuery-live",
    .widest_bytes = 4000000, /* a request holds 10 MB */
    .setup = warehouse_connect,
    .teardown = warehouse_disconnect,
    .fresh = warehouse_fresh,
    .default_columns = true,
    .rows = rows,
    .copies = copies,
    .properties_are = properties_are,
};
