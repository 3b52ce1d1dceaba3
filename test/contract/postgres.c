#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#include "dest/postgres/postgres.h"
#include "server.h"

static int64_t rows(void)
{
    return server_number("SELECT CASE WHEN to_regclass('%S.events') IS NULL THEN 0 ELSE 1 END") == 0
               ? 0
               : server_number("SELECT count(*) FROM %S.events");
}

static int64_t copies(const struct tr_uuid *uuid)
{
    char text[TR_UUID_TEXT], sql[128];

    tr_uuid_format(uuid, text);
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %%S.events WHERE uuid = '%s'", text);
    return server_number(sql);
}

static bool properties_are(const struct tr_uuid *uuid, struct tr_str json)
{
    struct tr_buf sql;
    char text[TR_UUID_TEXT];

    tr_uuid_format(uuid, text);
    tr_buf_init(&sql, 1 << 25);
    tr_buf_z(&sql, "SELECT properties = $tr$");
    tr_buf_str(&sql, json);
    tr_buf_printf(&sql, "$tr$::jsonb FROM %%S.events WHERE uuid = '%s'", text);
    tr_buf_ch(&sql, '\0');
    bool same = strcmp(server_ask(sql.p), "t") == 0;
    tr_buf_fini(&sql);
    return same;
}

const struct contract_place contract_postgres = {
    .ops = &tr_dest_postgres_ops,
    .setup = server_connect,
    .teardown = server_disconnect,
    .fresh = server_fresh,
    .rows = rows,
    .copies = copies,
    .properties_are = properties_are,
};
